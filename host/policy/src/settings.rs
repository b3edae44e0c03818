//! The settings of a policy against the JSON Schema that it embeds. The schema comes from the
//! policy, so it is as little trusted as the rest of it.

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

use crate::error::PolicyHostError;
use crate::guest::cut;

/// So many errors are told; the first one is what its reader mends.
pub(crate) const ERRORS: usize = 10;
/// So much of a path and of a message is told: both may come from the policy, and end in conditions and terminals.
const PATH_BYTES: usize = 128;
const MESSAGE_BYTES: usize = 512;

/// Checks `settings`, naming each field that is wrong by its JSON pointer.
pub(crate) fn check(schema: &str, settings: &Value) -> Result<(), PolicyHostError> {
    let errors: Vec<String> = validator(schema)?
        .iter_errors(settings)
        .take(ERRORS)
        .map(|error| line(&error.instance_path().to_string(), &error.to_string()))
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(PolicyHostError::Settings(errors)) }
}

/// One line of an error: where and what.
pub(crate) fn line(path: &str, message: &str) -> String {
    let path = if path.is_empty() { "/" } else { path };
    let told = |text: &str, most: usize| cut(text, most).replace(char::is_control, " ");
    format!("{}: {}", told(path, PATH_BYTES), told(message, MESSAGE_BYTES))
}

fn validator(schema: &str) -> Result<Validator, PolicyHostError> {
    let bad = |why: String| {
        PolicyHostError::Description(format!("its settings schema cannot be used: {why}"))
    };
    let schema: Value =
        serde_json::from_str(schema).map_err(|error| bad(format!("it is not JSON: {error}")))?;
    if !schema.is_object() {
        return Err(bad("it is not an object; `{}` admits everything".to_owned()));
    }
    if let Some(reference) = reference(&schema) {
        return Err(bad(format!(
            "it uses {reference:?}; write the schema out (schemars: `inline_subschemas`), because a \
             circle of references has no end"
        )));
    }
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        // The other engine backtracks, for minutes if a pattern is made for it.
        .with_pattern_options(PatternOptions::regex())
        .build(&schema)
        .map_err(|error| bad(error.to_string()))
}

/// The first keyword that refers to another place.
fn reference(schema: &Value) -> Option<&'static str> {
    const KEYWORDS: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];
    match schema {
        Value::Object(map) => KEYWORDS
            .into_iter()
            .find(|keyword| map.get(*keyword).is_some_and(Value::is_string))
            .or_else(|| map.values().find_map(reference)),
        Value::Array(items) => items.iter().find_map(reference),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_wrong_field_is_named_by_its_pointer() {
        let schema = json!({"type": "object", "additionalProperties": false, "properties": {
            "retain": {"type": "object", "properties": {"seconds": {"type": "integer", "minimum": 0}}},
        }});
        let error = check(&schema.to_string(), &json!({"retain": {"seconds": -1}, "extra": 1}))
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("/retain/seconds: ") && text.contains("extra"), "{text}");
        check(&schema.to_string(), &json!({"retain": {"seconds": 5}})).unwrap();
    }

    #[test]
    fn a_schema_that_goes_in_circles_is_refused_instead_of_followed() {
        for circle in [json!({"$ref": "#"}), json!({"properties": {"a": {"$dynamicRef": "#x"}}})] {
            let error = check(&circle.to_string(), &json!({"a": 1})).unwrap_err().to_string();
            assert!(error.contains("write the schema out"), "{error}");
        }
    }

    #[test]
    fn a_pattern_made_to_backtrack_takes_no_time() {
        let schema = json!({"pattern": "^(a+)+$"});
        let hostile = json!(format!("{}!", "a".repeat(50_000)));
        assert!(check(&schema.to_string(), &hostile).is_err());
    }
}
