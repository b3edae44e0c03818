//! The manifests in `deploy/crds` are what the types and tables say. Renew them with
//! `TENURE_BLESS=1 cargo test -p tenure-kube --test goldens`.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

const HEAD: &str = "# Made by `cargo xtask bless` from the Rust types; not to be edited.\n";

#[test]
fn the_manifests_are_those_of_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/crds");
    let bless = std::env::var_os("TENURE_BLESS").is_some();
    for (name, manifest) in tenure_kube::manifests().unwrap() {
        let text = format!("{HEAD}{}", serde_saphyr::to_string(&manifest).unwrap());
        let path = folder.join(name);
        if bless {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == text, "{name} is out of date; renew it with TENURE_BLESS=1");
        let read: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read, manifest, "{name} reads back as what was written");
    }
}
