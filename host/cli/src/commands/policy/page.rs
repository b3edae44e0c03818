//! A component on a page.

use std::path::Path;

use tenure_author::{Checked, Face, Import};

use crate::commands::text::Text;
use crate::error::CliError;

/// Why the host does not take it, as an error of the command.
pub(super) fn refused(path: &Path, checked: &Checked) -> CliError {
    let stage = checked.stage.clone().unwrap_or_default();
    let why = checked.why.clone().unwrap_or_default();
    CliError::PolicyRefused { what: path.display().to_string(), stage, why }
}

/// Each import that no daemon gives, how to lose it, and who calls it; to standard error.
pub(super) fn tell_unwanted(face: &Face) {
    for import in face.unwanted() {
        let used = import.used_by.join(", ");
        let by = if used.is_empty() { String::new() } else { format!("; used by {used}") };
        eprintln!("import {}: {}{by}", import.name, import.advice);
    }
    if !face.has_names && face.unwanted().any(|import| !import.used_by.is_empty()) {
        eprintln!("note: `tenure policy build --keep-names` gives functions their names");
    }
}

/// What there is to know of it.
pub(super) fn page(path: &Path, checked: &Checked) -> String {
    let mut text = Text::default();
    let face = &checked.face;
    text.line("File", path.display()).line("Digest", &face.digest).line("Size", bytes(face.size));
    if let Some(about) = &checked.about {
        text.line("Name", &about.name).line("Version", &about.version);
    } else if let Some(metadata) = &face.metadata {
        text.line("Name", format!("{} (as its builder wrote)", metadata.name));
        text.line("Version", &metadata.version);
    }
    let hooks: Vec<&str> = face.hooks.iter().map(|hook| hook.name()).collect();
    text.line("Hooks", if hooks.is_empty() { "none".to_owned() } else { hooks.join(", ") });
    text.line("Needs", contract(face));
    text.list("Imports", face.imports.iter().flat_map(import));
    text.list("Exports", face.exports.iter().cloned());
    let section = |section: &tenure_author::Section| {
        format!("{:<16}{:>10}", section.name, bytes(section.size))
    };
    text.list("Sections", face.sections.iter().map(section));
    let written = face.metadata.as_ref().map(|m| (&m.attribute_keys, &m.settings_schema));
    let told = checked.about.as_ref().map(|about| (&about.attribute_keys, &about.settings_schema));
    if let Some((keys, schema)) = told.or(written) {
        text.list("Attributes", keys.iter().cloned());
        let schema = serde_json::to_string_pretty(schema).unwrap_or_default();
        text.list("Settings schema", schema.lines().map(str::to_owned));
    }
    text.list("Made by", face.producers.iter().cloned());
    match (&checked.stage, &checked.why) {
        (Some(stage), Some(why)) => {
            text.line("Accepted", format!("no, refused while {stage}: {why}"))
        }
        _ => text.line("Accepted", "yes"),
    };
    text.finish()
}

/// The daemon that it needs.
fn contract(face: &Face) -> String {
    match face.needs.is_empty() {
        true => "nothing of Tenure: it is no policy".to_owned(),
        false => format!("a host of tenure:policy {}", face.needs.join(" and ")),
    }
}

fn import(import: &Import) -> Vec<String> {
    let mut lines = vec![match import.allowed {
        true => import.name.clone(),
        false => format!("{}  not offered to a policy", import.name),
    }];
    if !import.allowed {
        lines.push(format!("  to lose it: {}", import.advice));
        if !import.used_by.is_empty() {
            lines.push(format!("  used by: {}", import.used_by.join(", ")));
        }
    }
    lines
}

/// `1.2 KiB`.
pub(super) fn bytes(count: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let count = count as f64;
    match count {
        small if small < 1024.0 => format!("{small} B"),
        some if some < 1024.0 * 1024.0 => format!("{:.1} KiB", some / 1024.0),
        many => format!("{:.1} MiB", many / (1024.0 * 1024.0)),
    }
}
