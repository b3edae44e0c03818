//! Reading JSON of which nobody promises anything.

use serde_json::Value;

/// What stands at a JSON pointer; null where nothing does.
pub(crate) fn at<'v>(value: &'v Value, pointer: &str) -> &'v Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}
