//! `tenure policy diff A B`: what the second asks of those who use the first.
//!
//! ```text
//! major   a hook or a setting is gone, a setting is required now, takes less, or has another default
//! minor   a hook, a setting or an attribute is new, a setting takes more
//! patch   nothing of that
//! ```
//!
//! And what both say to the same requests: a policy that decides otherwise is another policy, whatever its interface.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};
use tenure_core::objects::PolicyLimits;
use tenure_policy_host::About;

use crate::error::AuthorError;
use crate::fixture_file::FixtureFile;
use crate::json::at;
use crate::trial::Trial;

/// How much a version must grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The third number.
    Patch,
    /// The second number.
    Minor,
    /// The first number.
    Major,
}

/// What two versions say of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Declared {
    /// The second goes back.
    Earlier,
    /// They are one.
    Same,
    /// The second comes after the first.
    Grown(Level),
}

/// Two components beside each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// What the interface asks for.
    pub level: Level,
    /// Each difference of the interface, with its level.
    pub interface: Vec<(Level, String)>,
    /// Version of the first.
    pub version_a: String,
    /// Version of the second.
    pub version_b: String,
    /// What the versions say; none where they cannot be compared.
    pub declared: Option<Declared>,
    /// Whether both are the same file.
    pub is_same_file: bool,
    /// Sizes, in bytes.
    pub sizes: (usize, usize),
    /// Fixtures that were played.
    pub cases: usize,
    /// Those that are answered otherwise.
    pub behaviour: Vec<Behaviour>,
}

/// One request, two answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Behaviour {
    /// The case.
    pub case: String,
    /// What it shows.
    pub about: String,
    /// Of the first.
    pub a: Value,
    /// Of the second.
    pub b: Value,
}

// === impl Difference ===

impl Difference {
    /// Compares two components; on these fixtures, if there are any.
    ///
    /// # Errors
    /// One of them, or a fixture, cannot be read or is refused.
    pub fn of(
        a: &Path,
        b: &Path,
        fixtures: Option<&Path>,
        limits: &PolicyLimits,
    ) -> Result<Self, AuthorError> {
        let (first, second) = (Trial::of(a, limits)?, Trial::of(b, limits)?);
        let (about_a, about_b) = (first.about()?, second.about()?);
        let interface = interface(&about_a, &about_b);
        let files = fixtures.map(FixtureFile::all).transpose()?.unwrap_or_default();
        let mut behaviour = Vec::new();
        for file in &files {
            let (a, b) = (said(&first, file)?, said(&second, file)?);
            if a != b {
                let (case, about) = (file.name(), file.fixture.about.clone());
                behaviour.push(Behaviour { case, about, a, b });
            }
        }
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
        let size = |path: &Path| usize::try_from(size(path)).unwrap_or(usize::MAX);
        Ok(Self {
            level: interface.iter().map(|(level, _)| *level).max().unwrap_or(Level::Patch),
            interface,
            declared: declared(&about_a.version, &about_b.version),
            is_same_file: about_a.digest == about_b.digest,
            version_a: about_a.version,
            version_b: about_b.version,
            sizes: (size(a), size(b)),
            cases: files.len(),
            behaviour,
        })
    }

    /// Whether the version of the second says as much as its interface asks for.
    #[must_use]
    pub fn is_declared(&self) -> bool {
        match self.declared {
            None => true,
            Some(Declared::Earlier) => false,
            Some(Declared::Same) => self.level == Level::Patch,
            Some(Declared::Grown(level)) => level >= self.level,
        }
    }
}

/// A policy that refuses the settings of a case says so, and that is an answer, too.
fn said(trial: &Trial, file: &FixtureFile) -> Result<Value, AuthorError> {
    match trial.install(&file.fixture.settings) {
        Ok(()) => {}
        Err(AuthorError::Refused { stage, why, .. }) => {
            return Ok(Value::String(format!("refused while {stage}: {why}")));
        }
        Err(error) => return Err(error),
    }
    let played = file.fixture.play(&trial.host).map_err(|error| AuthorError::Document {
        path: file.path.clone(),
        why: error.to_string(),
    })?;
    Ok(played.answer)
}

fn interface(a: &About, b: &About) -> Vec<(Level, String)> {
    let mut found = Vec::new();
    for hook in a.hooks.iter().filter(|hook| !b.hooks.contains(hook)) {
        found.push((Level::Major, format!("hook {} is gone", hook.name())));
    }
    for hook in b.hooks.iter().filter(|hook| !a.hooks.contains(hook)) {
        found.push((Level::Minor, format!("hook {} is new", hook.name())));
    }
    for key in b.attribute_keys.iter().filter(|key| !a.attribute_keys.contains(key)) {
        found.push((Level::Minor, format!("it asks for the attribute {key}, too")));
    }
    for key in a.attribute_keys.iter().filter(|key| !b.attribute_keys.contains(key)) {
        found.push((Level::Patch, format!("it no longer asks for the attribute {key}")));
    }
    schema(&a.settings_schema, &b.settings_schema, "", &mut found);
    found
}

/// Differences of two schemas of objects, and of what is in them.
fn schema(a: &Value, b: &Value, place: &str, found: &mut Vec<(Level, String)>) {
    let none = Map::new();
    let properties = |of: &Value| at(of, "/properties").as_object().unwrap_or(&none).clone();
    let (before, after) = (properties(a), properties(b));
    let required = |of: &Value| -> BTreeSet<String> {
        let names = at(of, "/required").as_array().into_iter().flatten().filter_map(Value::as_str);
        names.map(str::to_owned).collect()
    };
    let (must_before, must_after) = (required(a), required(b));
    let of_name = |name: &str| format!("{place}/{name}");
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        found.push((Level::Major, format!("setting {} is gone", of_name(name))));
    }
    for name in after.keys().filter(|name| !before.contains_key(*name)) {
        let level = if must_after.contains(name) { Level::Major } else { Level::Minor };
        let kind = if level == Level::Major { "new and required" } else { "new" };
        found.push((level, format!("setting {} is {kind}", of_name(name))));
    }
    for (name, old) in &before {
        let Some(new) = after.get(name) else { continue };
        let place = of_name(name);
        if must_after.contains(name) && !must_before.contains(name) {
            found.push((Level::Major, format!("setting {place} is required now")));
        } else if must_before.contains(name) && !must_after.contains(name) {
            found.push((Level::Minor, format!("setting {place} is no longer required")));
        }
        value(old, new, &place, found);
    }
}

fn value(a: &Value, b: &Value, place: &str, found: &mut Vec<(Level, String)>) {
    let (old, new) = (at(a, "/type"), at(b, "/type"));
    if old != new {
        found.push((Level::Major, format!("setting {place} was {old}, and is {new}")));
    }
    let (old, new) = (at(a, "/default"), at(b, "/default"));
    if old != new {
        found.push((Level::Major, format!("the default of {place} was {old}, and is {new}")));
    }
    for (key, grows_is_less) in [
        ("minimum", true),
        ("minLength", true),
        ("minItems", true),
        ("exclusiveMinimum", true),
        ("maximum", false),
        ("exclusiveMaximum", false),
        ("maxLength", false),
        ("maxItems", false),
    ] {
        bound(a, b, (key, grows_is_less), place, found);
    }
    let choices = |of: &Value| at(of, "/enum").as_array().cloned();
    if let (Some(old), Some(new)) = (choices(a), choices(b)) {
        for gone in old.iter().filter(|one| !new.contains(one)) {
            found.push((Level::Major, format!("setting {place} no longer takes {gone}")));
        }
        for more in new.iter().filter(|one| !old.contains(one)) {
            found.push((Level::Minor, format!("setting {place} takes {more}, too")));
        }
    } else if choices(a).is_none() && choices(b).is_some() {
        found.push((Level::Major, format!("setting {place} takes only {} now", at(b, "/enum"))));
    }
    for (key, is) in RULES {
        let pointer = format!("/{key}");
        let (old, new) = (at(a, &pointer), at(b, &pointer));
        if old != new {
            // What it lets through cannot be compared; none at all lets all through.
            let level = if new.is_null() { Level::Minor } else { Level::Major };
            found.push((level, format!("setting {place} {is}: {old} before, {new} now")));
        }
    }
    schema(a, b, place, found);
    if at(a, "/items").is_object() && at(b, "/items").is_object() {
        value(at(a, "/items"), at(b, "/items"), &format!("{place}/*"), found);
    }
}

/// Rules of a schema that are the same or another one.
const RULES: [(&str, &str); 5] = [
    ("pattern", "must match another pattern"),
    ("format", "is of another format"),
    ("const", "is another constant"),
    ("multipleOf", "is a multiple of something else"),
    ("additionalProperties", "has another rule for unknown settings"),
];

fn bound(
    a: &Value,
    b: &Value,
    (key, grows_is_less): (&str, bool),
    place: &str,
    found: &mut Vec<(Level, String)>,
) {
    let pointer = format!("/{key}");
    let (old, new) = (at(a, &pointer), at(b, &pointer));
    let is_tighter = match (old.as_f64(), new.as_f64()) {
        (None, Some(_)) => true,
        (Some(_), None) => false,
        (Some(old), Some(new)) if old == new => return,
        (Some(old), Some(new)) => (new > old) == grows_is_less,
        (None, None) => return,
    };
    let level = if is_tighter { Level::Major } else { Level::Minor };
    found.push((level, format!("{key} of {place} was {old}, and is {new}")));
}

/// What two versions say, as cargo reads them: below 1.0 the second number counts as the first.
fn declared(a: &str, b: &str) -> Option<Declared> {
    let numbers = |version: &str| -> Option<[u64; 3]> {
        let core = version.split(['-', '+']).next()?;
        let mut parts = core.split('.').map(|part| part.parse().ok());
        let all = [parts.next()??, parts.next()??, parts.next()??];
        parts.next().is_none().then_some(all)
    };
    let (old, new) = (numbers(a)?, numbers(b)?);
    let [a1, a2, a3] = old;
    let [b1, b2, b3] = new;
    Some(if new < old {
        Declared::Earlier
    } else if b1 > a1 || (a1 == 0 && b2 > a2) {
        Declared::Grown(Level::Major)
    } else if b2 > a2 || (a1 == 0 && b3 > a3) {
        Declared::Grown(Level::Minor)
    } else if b3 > a3 {
        Declared::Grown(Level::Patch)
    } else {
        Declared::Same
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tenure_core::decision::Hook;
    use tenure_core::name::Digest;

    use super::*;

    fn about(hooks: &[Hook], settings_schema: Value) -> About {
        About {
            name: "x".to_owned(),
            version: "1.0.0".to_owned(),
            hooks: hooks.to_vec(),
            settings_schema,
            attribute_keys: Vec::new(),
            digest: Digest::of(b""),
        }
    }

    /// The highest level, and what is said.
    fn compared(a: Value, b: Value) -> (Option<Level>, String) {
        let hooks = [Hook::Select];
        let found = interface(&about(&hooks, a), &about(&hooks, b));
        let said: Vec<&str> = found.iter().map(|(_, what)| what.as_str()).collect();
        (found.iter().map(|(level, _)| *level).max(), said.join("; "))
    }

    fn of(properties: Value) -> Value {
        json!({"type": "object", "properties": properties})
    }

    #[test]
    fn what_takes_something_away_is_major_and_what_adds_is_minor() {
        let one =
            || of(json!({"a": {"type": "integer", "minimum": 1, "maximum": 9, "default": 2}}));
        let with = |key: &str, value: Value| {
            let mut schema = one();
            schema["properties"]["a"][key] = value;
            schema
        };
        let two = of(json!({"a": one()["properties"]["a"], "b": {"type": "string"}}));
        let needed = json!({"type": "object", "properties": two["properties"], "required": ["b"]});
        for (a, b, level) in [
            (one(), one(), None),
            (one(), two.clone(), Some(Level::Minor)),
            (two.clone(), one(), Some(Level::Major)),
            (one(), needed.clone(), Some(Level::Major)),
            (two.clone(), needed.clone(), Some(Level::Major)),
            (needed, two, Some(Level::Minor)),
            (one(), with("minimum", json!(2)), Some(Level::Major)),
            (one(), with("minimum", json!(0)), Some(Level::Minor)),
            (one(), with("maximum", json!(8)), Some(Level::Major)),
            (one(), with("maximum", json!(10)), Some(Level::Minor)),
            (one(), with("type", json!("string")), Some(Level::Major)),
            (one(), with("default", json!(3)), Some(Level::Major)),
            (one(), with("multipleOf", json!(2)), Some(Level::Major)),
            (one(), with("exclusiveMaximum", json!(9)), Some(Level::Major)),
            (with("format", json!("cidr")), one(), Some(Level::Minor)),
        ] {
            let (found, said) = compared(a.clone(), b.clone());
            assert_eq!(found, level, "{a} -> {b}: {said}");
        }
    }

    #[test]
    fn settings_are_named_by_their_place_also_deep_inside() {
        let a = of(
            json!({"rules": {"type": "array", "items": of(json!({"zone": {"enum": ["a", "b"]}}))}}),
        );
        let b =
            of(json!({"rules": {"type": "array", "items": of(json!({"zone": {"enum": ["a"]}}))}}));
        let (level, said) = compared(a, b);
        assert_eq!(
            (level, said.as_str()),
            (Some(Level::Major), "setting /rules/*/zone no longer takes \"b\"")
        );
    }

    #[test]
    fn hooks_and_versions_are_compared_as_cargo_does() {
        let found =
            interface(&about(&[Hook::Select], json!({})), &about(&[Hook::Reclaim], json!({})));
        assert_eq!(
            found.iter().map(|(level, _)| *level).collect::<Vec<_>>(),
            [Level::Major, Level::Minor]
        );
        for (a, b, level) in [
            ("1.0.0", "2.0.0", Some(Declared::Grown(Level::Major))),
            ("1.9.9", "2.0.0", Some(Declared::Grown(Level::Major))),
            ("1.0.0", "1.1.0", Some(Declared::Grown(Level::Minor))),
            ("1.0.0", "1.0.1", Some(Declared::Grown(Level::Patch))),
            ("0.1.0", "0.2.0", Some(Declared::Grown(Level::Major))),
            ("0.1.0", "0.1.1", Some(Declared::Grown(Level::Minor))),
            ("1.0.0", "1.0.0", Some(Declared::Same)),
            ("2.0.0", "1.1.0", Some(Declared::Earlier)),
            ("1.2.0", "0.9.9", Some(Declared::Earlier)),
            ("1.0", "2", None),
        ] {
            assert_eq!(declared(a, b), level, "{a} -> {b}");
        }
    }
}
