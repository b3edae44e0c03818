//! Manifests: files, folders or standard input, each with any number of YAML documents.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::Value;
use serde_saphyr::Spanned;
use tenure_core::objects::{API_VERSION, Object};

use crate::documents;
use crate::error::{CliError, Refusal};
use crate::lines::{Node, line_of};

/// An object and where it was read.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) object: Object,
    /// As read, but for the status, which is derived: the daemon does its own reading.
    pub(crate) value: Value,
    place: Place,
}

#[derive(Debug, Clone)]
struct Place {
    file: String,
    /// Counted from 1; 0 where there is only one.
    document: usize,
    /// Where in the document, e.g. `items[2]`; empty for the whole.
    within: String,
    lines: Rc<Spanned<Node>>,
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
            manifests.extend(parse(&shown(source), &text)?);
            continue;
        }
        for file in files_of(source)? {
            let text = std::fs::read_to_string(&file).map_err(unreadable(&file))?;
            manifests.extend(parse(&shown(&file), &text)?);
        }
    }
    if manifests.is_empty() {
        let sources: Vec<_> = sources.iter().map(|source| shown(source)).collect();
        return Err(CliError::Usage { why: format!("{} holds no object", sources.join(", ")) });
    }
    Ok(manifests)
}

/// Names the place of the object that a refusal is about.
pub(crate) fn locate(refusal: Box<Refusal>, manifests: &[Manifest]) -> CliError {
    let about = |manifest: &&Manifest| {
        let object = &manifest.object;
        refusal.object.as_ref() == Some(&format!("{} {}", object.kind(), object.name()))
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
    let values: Vec<Value> = documents::read(file, text)?;
    let lines: Vec<Spanned<Node>> = documents::read(file, text)?;
    let many = values.len() > 1;
    let mut manifests = Vec::new();
    for (at, (value, lines)) in values.into_iter().zip(lines).enumerate() {
        if value.is_null() {
            continue;
        }
        let document = if many { at.saturating_add(1) } else { 0 };
        let place =
            Place { file: file.to_owned(), document, within: String::new(), lines: Rc::new(lines) };
        for (value, place) in unpacked(value, place) {
            manifests.push(manifest(value, place)?);
        }
    }
    Ok(manifests)
}

/// The items of a list, as `get -o yaml` and kubectl write it; else the document itself.
fn unpacked(mut document: Value, place: Place) -> Vec<(Value, Place)> {
    let kind = document.get("kind").map(|kind| kind.as_str().unwrap_or_default());
    let is_list = kind.is_none_or(|kind| kind.ends_with("List"));
    let items = document.get_mut("items").filter(|_| is_list).and_then(Value::as_array_mut);
    let Some(items) = items.map(std::mem::take) else { return vec![(document, place)] };
    let item = |(at, item)| (item, Place { within: format!("items[{at}]"), ..place.clone() });
    items.into_iter().enumerate().map(item).collect()
}

fn manifest(mut value: Value, place: Place) -> Result<Manifest, CliError> {
    let wrong = |field: &str, why: String| CliError::Manifest { place: place.show(field), why };
    let Some(fields) = value.as_object_mut() else {
        return Err(wrong("", "it is no object: apiVersion, kind, metadata and spec".to_owned()));
    };
    fields.remove("status");
    for (field, example) in [("apiVersion", API_VERSION), ("kind", "IPPool")] {
        if fields.get(field).is_none_or(Value::is_null) {
            return Err(wrong(field, format!("{field} is missing, e.g. `{field}: {example}`")));
        }
    }
    let object = Object::from_json(value.clone());
    let object = object.map_err(|bad| wrong(&bad.field, bad.to_string()))?;
    Ok(Manifest { object, value, place })
}

impl Place {
    fn show(&self, field: &str) -> String {
        let path = [self.within.as_str(), field].join(".");
        let line = line_of(&self.lines, path.trim_matches('.'));
        match self.document {
            0 => format!("{}, line {line}", self.file),
            document => format!("{}, document {document}, line {line}", self.file),
        }
    }
}

/// The name of a source for the reader.
fn shown(source: &Path) -> String {
    match source == Path::new("-") {
        true => "standard input".to_owned(),
        false => source.display().to_string(),
    }
}

fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> CliError + use<> {
    let path = shown(path);
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
        let placed = |object: &str, message: &str| {
            let refusal = Refusal {
                code: "REFUSED".into(),
                kind: "refused".into(),
                message: message.into(),
                object: Some(object.into()),
                field: None,
            };
            locate(Box::new(refusal), &manifests).to_string()
        };
        let second = placed("IPPool blue-2", "spec.cidr overlaps");
        assert_eq!(second, "pools.yaml, document 2, line 9: spec.cidr overlaps");
        assert_eq!(placed("IPPool other", "no"), "no");
    }

    #[test]
    fn the_items_of_a_list_are_objects_each_with_its_own_line() {
        let item = |name: &str, cidr: &str| {
            format!(
                "- apiVersion: tenure.dev/v1alpha1\n  kind: IPPool\n  metadata: {{name: {name}}}\n  spec:\n    cidr: {cidr}\n  status: {{size: 79228162514264337593543950335}}\n"
            )
        };
        let list = |second: &str| {
            format!("kind: List\nitems:\n{}{}", item("a", "10.0.0.0/24"), item("b", second))
        };
        let manifests = parse("list.yaml", &list("10.0.1.0/24")).unwrap();
        let names: Vec<_> = manifests.iter().map(|m| m.object.name().as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(manifests.iter().all(|m| m.value.get("status").is_none()), "{manifests:?}");
        let wrong = parse("list.yaml", &list("ten")).unwrap_err().to_string();
        assert!(wrong.starts_with("list.yaml, line 13: IPPool b: spec.cidr"), "{wrong}");
        assert!(parse("list.yaml", "items: []\n").unwrap().is_empty());
    }

    #[test]
    fn what_is_missing_is_called_missing() {
        let told = |text: &str| parse("a.yaml", text).unwrap_err().to_string();
        assert!(told("kind: IPPool\n").contains("line 1: apiVersion is missing"));
        let without_kind = told("apiVersion: tenure.dev/v1alpha1\nspec: {}\n");
        assert!(without_kind.contains("kind is missing"), "{without_kind}");
        assert!(told("just words\n").contains("it is no object"));
    }
}
