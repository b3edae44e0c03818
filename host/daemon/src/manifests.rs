//! Objects that come with the daemon: the policies of a fresh store, and the folder of `--manifests`.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;
use tenure_core::objects::{API_VERSION, Object};

/// What a fresh store starts with: ordinary objects, to be changed or removed.
const SHIPPED: [&str; 3] = ["pool-order", "sticky-identity", "grace"];

/// The policy objects of a fresh store.
pub(crate) fn shipped() -> anyhow::Result<Vec<Object>> {
    let policy = |name: &str| {
        Object::from_json(json!({
            "apiVersion": API_VERSION,
            "kind": "IPAMPolicy",
            "metadata": {"name": name},
            "spec": {"source": {"bundled": name}},
        }))
        .with_context(|| format!("the shipped policy {name}"))
    };
    SHIPPED.into_iter().map(policy).collect()
}

/// All objects of a folder, in the order of file names. A folder that is not there holds none: nobody has put any there yet.
pub(crate) fn read(folder: &Path) -> anyhow::Result<Vec<Object>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            tracing::warn!(folder = %folder.display(), "the folder of --manifests does not exist; nothing is applied");
            return Ok(Vec::new());
        }
        entries => entries,
    };
    let mut files: Vec<PathBuf> = entries
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .with_context(|| format!("reading the folder {}", folder.display()))?;
    files.retain(|file| file.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json"));
    files.sort();
    let mut objects = Vec::new();
    for file in files {
        let text =
            fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        objects.extend(parse(&text).with_context(|| format!("in {}", file.display()))?);
    }
    Ok(objects)
}

fn parse(text: &str) -> anyhow::Result<Vec<Object>> {
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(text)?;
    let objects = documents.into_iter().filter(|value| !value.is_null()).map(Object::from_json);
    Ok(objects.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_read_in_the_order_of_names_and_an_error_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let pool = |name: &str, cidr: &str| {
            format!(
                "apiVersion: tenure.dev/v1alpha1\nkind: IPPool\nmetadata: {{name: {name}}}\nspec: {{cidr: {cidr}}}\n"
            )
        };
        let two = format!("{}---\n{}", pool("b", "10.1.0.0/24"), pool("c", "10.2.0.0/24"));
        fs::write(folder.path().join("20.yaml"), two).unwrap();
        fs::write(folder.path().join("10.yml"), pool("a", "10.0.0.0/24")).unwrap();
        fs::write(folder.path().join("notes.txt"), "not an object").unwrap();
        let names: Vec<_> =
            read(folder.path()).unwrap().iter().map(|o| o.name().to_string()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        fs::write(folder.path().join("30.yaml"), "kind: IPPool\n").unwrap();
        let error = format!("{:#}", read(folder.path()).unwrap_err());
        assert!(error.contains("30.yaml") && error.contains("apiVersion"), "{error}");
    }

    #[test]
    fn a_folder_that_does_not_exist_holds_nothing_and_a_file_is_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(&folder.path().join("later")).unwrap(), vec![]);
        let file = folder.path().join("pool.yaml");
        fs::write(&file, "").unwrap();
        assert!(format!("{:#}", read(&file).unwrap_err()).contains("reading the folder"));
    }

    #[test]
    fn the_shipped_policy_objects_are_well_formed() {
        assert_eq!(shipped().unwrap().len(), SHIPPED.len());
    }
}
