//! The fixtures of the shipped policies, run on their components.

use std::path::{Path, PathBuf};

use serde_json::json;
use tenure_policy_host::Fixture;

use crate::world::*;

const SHIPPED: [&str; 4] = ["balanced", "grace", "pool-order", "sticky-identity"];

fn fixtures(policy: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let entries = std::fs::read_dir(folder.join(policy).join("fixtures")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_fixture_of_every_shipped_policy_holds() {
    for policy in SHIPPED {
        let paths = fixtures(policy);
        assert!(paths.len() >= 3, "{policy} has {} fixtures", paths.len());
        let world = World::new();
        for path in paths {
            let text = std::fs::read_to_string(&path).unwrap();
            let fixture: Fixture = serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let spec = json!({"source": {"bundled": policy}, "settings": fixture.settings});
            world.install(policy, spec).unwrap();
            let answer = fixture.ask(&world.host).unwrap();
            let Fixture { about, answer: expected, .. } = &fixture;
            let file = path.display();
            assert!(
                fixture.admits(&answer),
                "{file}: {about}\nexpected {expected}\n     got {answer}"
            );
        }
    }
}

#[test]
fn every_shipped_policy_serves_without_settings() {
    let world = World::new();
    for policy in SHIPPED {
        let status = world.install(policy, json!({"source": {"bundled": policy}})).unwrap();
        assert_eq!(status.component, policy);
        assert!(!status.hooks.is_empty());
    }
}
