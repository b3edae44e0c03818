//! The recipes of `sdk/cookbook`: their fixtures, on their components, under the limits of the daemon.

use std::path::{Path, PathBuf};

use serde_json::json;
use tenure_policy_host::Fixture;

use crate::world::*;

/// Under a hundred KB, as every policy of the SDK should be.
const SIZE: u64 = 100_000;

pub fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

pub fn read(path: &Path) -> Fixture {
    let text = std::fs::read_to_string(path).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_recipe_of_the_cookbook_passes_its_fixtures() {
    let cookbook = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/cookbook");
    let recipes: Vec<PathBuf> =
        entries(&cookbook).into_iter().filter(|path| path.join("Cargo.toml").is_file()).collect();
    assert!(recipes.len() >= 10, "{recipes:?}");
    let mut wrong = Vec::new();
    for recipe in recipes {
        let policy = recipe.file_name().unwrap().to_str().unwrap();
        let component = folder().join("cookbook").join(format!("{policy}.wasm"));
        let size =
            component.metadata().unwrap_or_else(|e| panic!("{}: {e}", component.display())).len();
        assert!(size < SIZE, "{policy} has {size} bytes");
        let fixtures = entries(&recipe.join("fixtures"));
        assert!(fixtures.len() >= 2, "{policy} has {} fixtures", fixtures.len());
        let world = World::new();
        for path in fixtures {
            let fixture = read(&path);
            let spec = json!({"source": {"file": component}, "settings": fixture.settings});
            world.install(policy, spec).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let answer = fixture.ask(&world.host).unwrap();
            if !fixture.admits(&answer) {
                let Fixture { about, answer: expected, .. } = &fixture;
                let file = path.display();
                wrong.push(format!("{file}: {about}\nexpected {expected}\n     got {answer}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
