//! The same rule in other languages (`sdk/examples`): each component that was built passes the same fixtures.

use std::path::Path;

use serde_json::json;

use crate::cookbook::{entries, read};
use crate::world::*;

#[test]
fn the_same_rule_in_other_languages_passes_the_same_fixtures() {
    let examples = folder().join("examples");
    let components = if examples.is_dir() { entries(&examples) } else { Vec::new() };
    let is_go = |path: &std::path::PathBuf| path.ends_with("emptiest-go.wasm");
    assert!(components.iter().any(is_go), "none is built: run `cargo xtask policies`, it needs go");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/examples/fixtures");
    for component in components {
        let world = World::new();
        // JavaScript sorts 512 candidates with more than the default of 15 M.
        let spec = json!({"source": {"file": component}, "limits": {"fuel": 50_000_000}});
        let file = component.display();
        if component.ends_with("emptiest-python.wasm") {
            // CPython alone is larger than what a host reads.
            let refusal = world.install("example", spec).unwrap_err();
            assert_eq!(refusal.stage, "reading the component", "{refusal}");
            continue;
        }
        world.install("example", spec).unwrap_or_else(|refusal| panic!("{file}: {refusal}"));
        for path in entries(&fixtures) {
            let fixture = read(&path);
            let played = fixture.play(&world.host).unwrap();
            let (about, wanted, answer) = (&fixture.about, &fixture.answer, &played.answer);
            assert!(fixture.admits(answer), "{file}: {about}: {answer}, not {wanted}");
            // What its README says of it, to be seen with `--nocapture`.
            if let Some(step) = played.step {
                println!("{file}: {} fuel, {} B, {} us", step.fuel, step.memory, step.micros);
            }
        }
    }
}
