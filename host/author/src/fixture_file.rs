//! Fixture files: read, and their answer written anew without touching the rest.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tenure_policy_host::Fixture;

use crate::error::AuthorError;

/// Endings of fixture files.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// A fixture and where it stands.
#[derive(Debug, Clone)]
pub struct FixtureFile {
    /// The file.
    pub path: PathBuf,
    /// What it says.
    pub fixture: Fixture,
}

// === impl FixtureFile ===

impl FixtureFile {
    /// One file, or all of a folder in the order of their names.
    ///
    /// # Errors
    /// A file cannot be read, is no fixture, or there is none.
    pub fn all(path: &Path) -> Result<Vec<Self>, AuthorError> {
        if path.is_file() {
            return Ok(vec![Self::read(path)?]);
        }
        let entries = std::fs::read_dir(path).map_err(AuthorError::file("reading", path))?;
        let is_fixture = |path: &PathBuf| {
            path.extension().is_some_and(|end| ENDINGS.iter().any(|known| end == *known))
        };
        let mut paths: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(is_fixture).collect();
        paths.sort_unstable();
        if paths.is_empty() {
            let why = "there is no fixture here (*.yaml, *.yml, *.json)".to_owned();
            return Err(AuthorError::Document { path: path.to_owned(), why });
        }
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// One file.
    ///
    /// # Errors
    /// It cannot be read, or is no fixture.
    pub fn read(path: &Path) -> Result<Self, AuthorError> {
        let text = std::fs::read_to_string(path).map_err(AuthorError::file("reading", path))?;
        let wrong = |why: String| AuthorError::Document { path: path.to_owned(), why };
        let fixture: Fixture = match is_json(path) {
            true => serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?,
            false => serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string()))?,
        };
        fixture.question().map_err(|error| wrong(format!("request: {error}")))?;
        Ok(Self { path: path.to_owned(), fixture })
    }

    /// The name of the case.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Writes another answer into the file. In YAML only the lines of `answer` change; JSON is written anew.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn bless(&self, answer: &Value) -> Result<(), AuthorError> {
        let path = &self.path;
        let text = std::fs::read_to_string(path).map_err(AuthorError::file("reading", path))?;
        let text = match is_json(path) {
            true => in_json(&text, answer),
            false => in_yaml(&text, answer),
        };
        let text = text.map_err(|why| AuthorError::Document { path: path.clone(), why })?;
        std::fs::write(path, text).map_err(AuthorError::file("writing", path))
    }
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "json")
}

fn in_json(text: &str, answer: &Value) -> Result<String, String> {
    let mut whole: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if let Some(object) = whole.as_object_mut() {
        object.insert("answer".to_owned(), answer.clone());
    }
    let text = serde_json::to_string_pretty(&whole).map_err(|error| error.to_string())?;
    Ok(format!("{text}\n"))
}

/// The block of a top-level key goes to the next line that begins at the margin.
fn in_yaml(text: &str, answer: &Value) -> Result<String, String> {
    let block = yaml(answer)?;
    let (mut out, mut is_inside, mut is_done) = (String::new(), false, false);
    for line in text.lines() {
        let begins = !line.is_empty() && !line.starts_with([' ', '\t', '-', '#']);
        if begins {
            is_inside = line.starts_with("answer:");
            if is_inside {
                out.push_str(&block);
                is_done = true;
                continue;
            }
        }
        if !is_inside || line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
    }
    match is_done {
        true => Ok(out),
        false => Err("no line of it begins with `answer:`".to_owned()),
    }
}

/// As YAML in one line where it is short.
fn yaml(answer: &Value) -> Result<String, String> {
    let inline = serde_json::to_string(answer).map_err(|error| error.to_string())?;
    if inline.len() <= 100 {
        return Ok(format!("answer: {inline}\n"));
    }
    let whole = serde_json::json!({ "answer": answer });
    let text = serde_saphyr::to_string(&whole).map_err(|error| error.to_string())?;
    Ok(format!("{}\n", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = "# what it is about\nabout: x\nhook: select\nanswer:\n  ranked:\n  - 1\n# kept\nrequest:\n  candidates: [{}]\n";

    #[test]
    fn only_the_answer_changes_and_comments_stay() {
        let text = in_yaml(TEXT, &json!({"ranked": [0]})).unwrap();
        assert_eq!(
            text,
            "# what it is about\nabout: x\nhook: select\nanswer: {\"ranked\":[0]}\n# kept\nrequest:\n  candidates: [{}]\n"
        );
        let fixture: Fixture = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(fixture.answer, json!({"ranked": [0]}));
        assert!(in_yaml("about: x\n", &json!(1)).is_err());
    }

    #[test]
    fn a_fixture_whose_request_is_none_of_its_hook_is_refused_by_file_and_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("odd.yaml");
        std::fs::write(
            &path,
            "about: x\nhook: select\nrequest: {candidates: 7}\nanswer: abstained\n",
        )
        .unwrap();
        let said = FixtureFile::all(folder.path()).unwrap_err().to_string();
        assert!(said.contains("odd.yaml: request: "), "{said}");
        std::fs::write(&path, "about: x\nhook: selekt\nanswer: abstained\n").unwrap();
        let said = FixtureFile::read(&path).unwrap_err().to_string();
        assert!(said.contains("selekt") || said.contains("hook"), "{said}");
    }

    #[test]
    fn an_empty_folder_is_no_suite_that_passes() {
        let folder = tempfile::tempdir().unwrap();
        assert!(FixtureFile::all(folder.path()).unwrap_err().to_string().contains("no fixture"));
    }
}
