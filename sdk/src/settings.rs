//! Settings from JSON, with the place of each error.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

use crate::FieldError;

/// For policies that have nothing to set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

impl NoSettings {
    /// Its schema.
    pub const SCHEMA: &str = r#"{"type": "object", "additionalProperties": false}"#;
}

/// Reads settings as the host does.
///
/// # Errors
/// The first error, at its JSON pointer.
pub fn parse_settings<T: DeserializeOwned>(json: &str) -> Result<T, Vec<FieldError>> {
    let mut reader = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| vec![FieldError::new(pointer(error.path()), error.inner().to_string())])
}

/// RFC 6901.
fn pointer(path: &Path) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => text.push_str(&format!("/{index}")),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                text.push('/');
                text.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Unknown => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[allow(dead_code)]
        rules: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[allow(dead_code)]
        seconds: u32,
    }

    #[test]
    fn an_error_carries_the_json_pointer_of_its_field() {
        let error = parse_settings::<Outer>(r#"{"rules": [{"seconds": 1}, {"seconds": -1}]}"#);
        let error = error.unwrap_err().remove(0);
        assert_eq!(error.path, "/rules/1/seconds");
        assert!(error.message.contains("-1"), "{}", error.message);
    }

    #[test]
    fn an_unknown_field_is_named() {
        let error = parse_settings::<NoSettings>(r#"{"a/b": 1}"#).unwrap_err().remove(0);
        assert_eq!(error.path, "/a~1b");
        assert!(error.message.contains("a/b"), "{}", error.message);
    }
}
