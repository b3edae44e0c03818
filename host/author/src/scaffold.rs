//! `tenure policy new`: a crate that builds, passes its tests and its fixtures at once.

use std::path::{Path, PathBuf};

use tenure_core::decision::Hook;

use crate::error::AuthorError;

#[path = "../../../sdk/templates/fill.rs"]
#[allow(unreachable_pub, reason = "the SDK's test includes it, too")]
mod fill;

pub use fill::HOOKS;

/// The SDK where this program was built: right where it still is there.
const SDK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sdk");

/// What a new crate shall be.
#[derive(Debug, Clone)]
pub struct Scaffold {
    /// Its name, and that of its folder.
    pub name: String,
    /// The hooks that it has.
    pub hooks: Vec<Hook>,
    /// The folder of the SDK's source, or its version on a registry; the one that this program was built with by default.
    pub sdk: Option<String>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The folder of the crate.
    pub folder: PathBuf,
    /// Its files, relative to that.
    pub files: Vec<String>,
}

// === impl Scaffold ===

impl Scaffold {
    /// Writes the crate into a new folder under `parent`.
    ///
    /// # Errors
    /// The name is none of a crate, no hook is given, or the folder exists.
    pub fn write(&self, parent: &Path) -> Result<Written, AuthorError> {
        if !fill::is_name(&self.name) {
            let why = "it must begin with a lower-case letter and have only lower-case letters, digits and dashes, at most 63";
            return Err(AuthorError::Wrong(format!(
                "{:?} is no name of a policy: {why}",
                self.name
            )));
        }
        if self.hooks.is_empty() {
            return Err(AuthorError::Wrong(format!(
                "name at least one hook: {}",
                HOOKS.join(", ")
            )));
        }
        let folder = parent.join(&self.name);
        if folder.exists() {
            return Err(AuthorError::Exists(folder));
        }
        let hooks: Vec<&str> = self.hooks.iter().map(|hook| hook.name()).collect();
        let files = fill::fill(&self.name, &hooks, &self.dependency()?);
        for (path, text) in &files {
            let path = folder.join(path);
            let parent = path.parent().unwrap_or(&folder);
            std::fs::create_dir_all(parent).map_err(AuthorError::file("making", parent))?;
            std::fs::write(&path, text).map_err(AuthorError::file("writing", &path))?;
        }
        Ok(Written { folder, files: files.into_iter().map(|(path, _)| path.to_owned()).collect() })
    }

    fn dependency(&self) -> Result<String, AuthorError> {
        let at = |path: &Path| {
            let path = path.canonicalize().map_err(AuthorError::file("reading", path))?;
            Ok(format!("{{ path = {:?} }}", path.display().to_string()))
        };
        match &self.sdk {
            Some(path) if Path::new(path).is_dir() => at(Path::new(path)),
            Some(version) if version.starts_with(|c: char| c.is_ascii_digit()) => {
                Ok(format!("{version:?}"))
            }
            Some(other) => Err(AuthorError::Wrong(format!(
                "{other:?} is neither a folder nor a version of the SDK"
            ))),
            None if Path::new(SDK).is_dir() => at(Path::new(SDK)),
            None => Err(AuthorError::Wrong(
                "name the SDK with --sdk DIR (or TENURE_SDK): the folder `sdk` of Tenure's sources; it is in no registry of crates yet".to_owned(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(name: &str, hooks: &[Hook], parent: &Path) -> Result<Written, AuthorError> {
        Scaffold { name: name.to_owned(), hooks: hooks.to_vec(), sdk: None }.write(parent)
    }

    #[test]
    fn only_the_chosen_hooks_are_written_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let written = new("spread", &[Hook::Reclaim], folder.path()).unwrap();
        let has = |file: &str| written.files.iter().any(|known| known == file);
        assert!(has("Cargo.toml") && has("src/reclaim.rs") && has("fixtures/reclaim.yaml"));
        assert!(!has("src/select.rs"), "{:?}", written.files);
        for file in &written.files {
            let text = std::fs::read_to_string(written.folder.join(file)).unwrap();
            assert!(!text.contains("{{"), "{file}: {text}");
        }
        let again = new("spread", &[Hook::Select], folder.path()).unwrap_err();
        assert!(again.to_string().contains("exists already"), "{again}");
    }

    #[test]
    fn what_is_no_name_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "Spread", "../spread", "a/b", "1st", "spread-"] {
            new(name, &[Hook::Select], folder.path()).unwrap_err();
        }
        new("spread", &[], folder.path()).unwrap_err();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
