//! What a host that starts again does with what the one before it left in its state folder.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tenure_core::decision::{DecidedBy, Selection};
use tenure_core::ports::{Policies, SERVING};

use crate::world::*;

/// A state folder, and a folder of shipped policies that a test may spoil.
struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("shipped")).unwrap();
        Self { folder }
    }

    fn start(&self) -> World {
        World::keeping(&self.state(), &self.folder.path().join("shipped"))
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Puts bytes where the shipped policy `policy` lies.
    fn ship(&self, bytes: &[u8]) {
        std::fs::write(self.folder.path().join("shipped/policy.wasm"), bytes).unwrap();
    }

    fn withdraw(&self) {
        std::fs::remove_file(self.folder.path().join("shipped/policy.wasm")).unwrap();
    }

    /// Files of a folder of the state.
    fn files(&self, of: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.state().join(of)).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

fn shipped() -> Value {
    json!({"source": {"bundled": "policy"}})
}

#[test]
fn a_start_with_a_component_that_is_gone_or_bad_serves_the_last_good_one_and_says_so() {
    let site = Site::new();
    site.ship(&bytes(&guest("hostile")));
    let good = site.start().install("p", shipped()).unwrap();
    site.withdraw();
    let spoilt: [(&[u8], &str); 3] = [
        (b"", "reading the component"),
        (b"\0asm\x01\0\0\0", "recognising the file"),
        (&bytes(&guest("misshapen")), "making a trial instance"),
    ];
    for (bytes, stage) in spoilt {
        if !bytes.is_empty() {
            site.ship(bytes);
        }
        let world = site.start();
        let refusal = world.install("p", shipped()).unwrap_err();
        assert_eq!(refusal.stage, stage);
        let status = world.status("p");
        assert_eq!((status.digest, status.stage.as_str()), (good.digest.clone(), stage));
        assert_eq!(status.last_refusal, Some(refusal.to_string()));
        assert_eq!(world.host.select(&select("first")).answer, Selection::Ranked(vec![0]));
    }
    site.ship(&bytes(&guest("hostile")));
    let status = site.start().install("p", shipped()).unwrap();
    assert_eq!((status.stage.as_str(), status.last_refusal), (SERVING, None));
}

#[test]
fn without_a_last_good_version_the_built_in_strategy_answers() {
    let site = Site::new();
    let world = site.start();
    assert!(world.install("p", shipped()).is_err());
    assert!(world.host.status().is_empty());
    assert_eq!(world.host.select(&select("first")).by, DecidedBy::BuiltIn);
}

#[test]
fn a_kept_component_that_was_changed_is_not_served() {
    let site = Site::new();
    site.ship(&bytes(&guest("hostile")));
    site.start().install("p", shipped()).unwrap();
    site.withdraw();
    let kept = site.files("policy-kept");
    let component = kept.iter().find(|path| path.extension().unwrap() == "wasm").unwrap();
    // Still a component that would serve: one more custom section.
    let mut changed = bytes(component);
    changed.extend(b"\0\x05\x04twin");
    std::fs::write(component, changed).unwrap();
    let world = site.start();
    assert!(world.install("p", shipped()).is_err());
    assert!(world.host.status().is_empty());
}

#[test]
fn what_the_breaker_took_back_stays_back_after_a_restart_until_the_object_changes() {
    let site = Site::new();
    site.ship(&bytes(&folder().join("balanced.wasm")));
    let world = site.start();
    let good = world.install("p", shipped()).unwrap();
    site.ship(&bytes(&guest("hostile")));
    world.install("p", shipped()).unwrap();
    (0..5).for_each(|_| drop(world.host.select(&select("panic"))));
    assert_eq!(world.status("p").digest, good.digest);
    until("the roll-back is on disk", || {
        let record = String::from_utf8(bytes(&site.state().join("policy-kept/p.json"))).unwrap();
        record.contains("was taken back")
    });
    // In the same process as after a restart.
    let again = world.install("p", shipped()).unwrap_err();
    assert_eq!(again.stage, "serving on probation");
    let world = site.start();
    let refusal = world.install("p", shipped()).unwrap_err();
    assert_eq!(refusal.stage, "serving on probation");
    assert!(refusal.why.contains("was taken back after repeated faults"), "{refusal}");
    let status = world.status("p");
    assert_eq!((&status.digest, &*status.stage), (&good.digest, "serving on probation"));
    // And after one more, which has nothing but what the last one wrote.
    let world = site.start();
    world.install("p", shipped()).unwrap_err();
    assert_eq!(world.status("p").digest, good.digest);
    let changed = json!({"source": {"bundled": "policy"}, "priority": 1});
    assert_ne!(world.install("p", changed).unwrap().digest, good.digest);
}

#[test]
fn a_version_that_fails_soon_after_a_restart_gives_way_to_what_served_before_it() {
    let site = Site::new();
    site.ship(&bytes(&folder().join("balanced.wasm")));
    let good = site.start().install("p", shipped()).unwrap();
    // Swapped while no host ran, and swapped right before a restart.
    site.ship(&bytes(&guest("hostile")));
    site.start().install("p", shipped()).unwrap();
    let world = site.start();
    world.install("p", shipped()).unwrap();
    (0..5).for_each(|_| drop(world.host.select(&select("panic"))));
    assert_eq!(world.status("p").digest, good.digest);
}

#[test]
fn a_removed_policy_leaves_nothing_and_components_that_nobody_names_go() {
    let site = Site::new();
    let world = site.start();
    for component in ["balanced", "grace", "pool-order"] {
        site.ship(&bytes(&folder().join(format!("{component}.wasm"))));
        world.install("p", shipped()).unwrap();
    }
    let kept = site.files("policy-kept");
    assert_eq!(kept.len(), 3, "the record, what serves and what served before: {kept:?}");
    for path in &kept {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    world.host.remove(&name("p"));
    assert!(site.files("policy-kept").is_empty());
}

#[test]
fn a_start_compiles_nothing_that_is_kept_and_runs_nothing_that_was_forged() {
    let site = Site::new();
    site.ship(&bytes(&guest("hostile")));
    site.start().install("p", shipped()).unwrap();
    let code = site.files("policy-cache");
    assert_eq!(code.len(), 1);
    let honest = bytes(&code[0]);
    // Still there after a start that used it.
    site.start().install("p", shipped()).unwrap();
    assert_eq!(bytes(&code[0]), honest);
    // Forged in the code, behind the MAC: were it loaded, this would be another program.
    let mut forged = honest.clone();
    let middle = forged.len() / 2;
    forged[middle..middle + 64].fill(0xcc);
    std::fs::write(&code[0], &forged).unwrap();
    let world = site.start();
    world.install("p", shipped()).unwrap();
    assert_eq!(world.host.select(&select("first")).answer, Selection::Ranked(vec![0]));
    // The same component gives the same code; only the MAC tells that this is not the forged file.
    assert_ne!(bytes(&code[0]), forged, "it was compiled anew");
    assert_eq!(bytes(&code[0]), honest);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let modes = ["policy-cache", "policy-kept"].map(|folder| mode(&site.state().join(folder)));
    assert_eq!(modes, [0o700; 2]);
    assert_eq!((mode(&code[0]), mode(&site.state().join("policy-cache.key"))), (0o600, 0o600));
}
