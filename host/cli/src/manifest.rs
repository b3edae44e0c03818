//! Manifests: files, folders or standard input, each with any number of YAML documents.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use serde_saphyr::Spanned;
use tenure_core::objects::Object;

use crate::error::{CliError, Refusal};
use crate::lines::{Node, line_of};

/// An object and where it was read.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) object: Object,
    /// As read: the daemon does its own reading.
    pub(crate) value: Value,
    place: Place,
}

#[derive(Debug)]
struct Place {
    file: String,
    /// Counted from 1; 0 where there is only one.
    document: usize,
    lines: Spanned<Node>,
}

/// Reads `-`, a file, or all *.yaml, *.yml and *.json files of a folder in the order of their names.
///
/// # Errors
/// The first text that is no object, with file, document and line.
pub(crate) fn read_all(sources: &[PathBuf]) -> Result<Vec<Manifest>, CliError> {
    let mut manifests = Vec::new();
    for source in sources {
        if source == Path::new("-") {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(unreadable(source))?;
            manifests.extend(parse("standard input", &text)?);
            continue;
        }
        for file in files_of(source)? {
            let text = std::fs::read_to_string(&file).map_err(unreadable(&file))?;
            manifests.extend(parse(&file.display().to_string(), &text)?);
        }
    }
    if manifests.is_empty() {
        let shown: Vec<_> = sources.iter().map(|source| source.display().to_string()).collect();
        return Err(CliError::Usage { why: format!("{} holds no object", shown.join(", ")) });
    }
    Ok(manifests)
}

/// Names the place of the object that a refusal is about.
pub(crate) fn locate(refusal: Refusal, manifests: &[Manifest]) -> CliError {
    let about = |manifest: &&Manifest| {
        let object = &manifest.object;
        let name = format!("{} {}", object.kind(), object.name());
        let rest = refusal.message.strip_prefix(&name);
        rest.is_some_and(|rest| rest.starts_with([':', ' ', '.']))
    };
    let named = refusal.message.split(' ').find(|word| word.starts_with("spec."));
    let field = refusal.field.as_deref().or(named).unwrap_or("").trim_end_matches(':');
    let place = manifests.iter().find(about);
    let place = place.map(|manifest| format!("{}: ", manifest.place.show(field)));
    CliError::Refused { place: place.unwrap_or_default(), refusal }
}

fn files_of(source: &Path) -> Result<Vec<PathBuf>, CliError> {
    if !source.is_dir() {
        return Ok(vec![source.to_owned()]);
    }
    let entries = std::fs::read_dir(source).map_err(unreadable(source))?;
    let mut files = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable(source))?;
    files.retain(|file| file.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json"));
    files.sort();
    Ok(files)
}

fn parse(file: &str, text: &str) -> Result<Vec<Manifest>, CliError> {
    // The reader's message names line and column, and shows them.
    let bad = |error: serde_saphyr::Error| {
        let why = error.to_string();
        let why = why.strip_prefix("error: ").unwrap_or(&why).to_owned();
        CliError::Manifest { place: file.to_owned(), why }
    };
    let values: Vec<Value> = serde_saphyr::from_multiple(text).map_err(bad)?;
    let lines: Vec<Spanned<Node>> = serde_saphyr::from_multiple(text).map_err(bad)?;
    let many = values.len() > 1;
    let mut manifests = Vec::new();
    for (at, (value, lines)) in values.into_iter().zip(lines).enumerate() {
        if value.is_null() {
            continue;
        }
        let document = if many { at.saturating_add(1) } else { 0 };
        let place = Place { file: file.to_owned(), document, lines };
        let object = Object::from_json(value.clone()).map_err(|bad| CliError::Manifest {
            place: place.show(&bad.field),
            why: bad.to_string(),
        })?;
        manifests.push(Manifest { object, value, place });
    }
    Ok(manifests)
}

impl Place {
    fn show(&self, field: &str) -> String {
        let line = line_of(&self.lines, field);
        match self.document {
            0 => format!("{}, line {line}", self.file),
            document => format!("{}, document {document}, line {line}", self.file),
        }
    }
}

fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> CliError + use<> {
    let path = path.display().to_string();
    move |source| CliError::File { act: "reading", path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_need_no_quotes() {
        let text = "
apiVersion: tenure.dev/v1alpha1
kind: IPPool
metadata: {name: blue-v4}
spec:
  cidr: 10.6.0.0/16
  ranges: [10.6.1.0-10.6.1.255, 10.6.4.0/24]     # default: the whole CIDR
  exclude: [10.6.1.1]
  gateway: 10.6.0.1
  routes: [{dst: 0.0.0.0/0}]
  cooldown: 120s
---
apiVersion: tenure.dev/v1alpha1
kind: IPPool
metadata: {name: blue-v6}
spec:
  cidr: fd00:1::/64
  gateway: fd00:1::1
  exclude:
  - fd00:1:0:0:0:0:0:2
  - fd00:1::10-fd00:1::20
---
";
        let manifests = parse("pools.yaml", text).unwrap();
        let names: Vec<_> = manifests.iter().map(|m| m.object.name().as_str()).collect();
        assert_eq!(names, ["blue-v4", "blue-v6"]);
    }

    #[test]
    fn a_refusal_is_placed_only_where_its_object_was_read() {
        let text = |name: &str| {
            format!(
                "apiVersion: tenure.dev/v1alpha1\nkind: IPPool\nmetadata: {{name: {name}}}\nspec: {{cidr: 10.0.0.0/24}}\n"
            )
        };
        let both = format!("{}---\n{}", text("blue"), text("blue-2"));
        let manifests = parse("pools.yaml", &both).unwrap();
        let placed = |message: &str| {
            let refusal = Refusal { kind: "refused".into(), message: message.into(), field: None };
            locate(refusal, &manifests).to_string()
        };
        let second = placed("IPPool blue-2: spec.cidr overlaps");
        assert!(second.starts_with("pools.yaml, document 2, line 9: IPPool blue-2"), "{second}");
        assert_eq!(placed("IPPool other: no"), "IPPool other: no");
    }
}
