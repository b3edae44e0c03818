//! From the JSON schema of a Rust type to a structural schema as Kubernetes wants it.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The structural schema of a type, everything written out.
pub(super) fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.meta_schema = None;
        settings.inline_subschemas = true;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    rewrite(&mut schema);
    if let Some(map) = schema.as_object_mut() {
        map.remove("title");
    }
    schema
}

/// Rewrites a schema and all below it.
fn rewrite(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    drop_null_branch(map);
    merge_branches(map);
    // Unknown fields are pruned by the API server, and refused by kubectl.
    if map.get("additionalProperties") == Some(&Value::Bool(false)) {
        map.remove("additionalProperties");
    }
    // A null is pruned where a field is not nullable, which is what an absent field means here.
    map.remove("nullable");
    plain_number(map);
    if let Some(default) = map.get_mut("default") {
        drop_nulls(default);
        if default.is_null() {
            map.remove("default");
        }
    }
    let fields = map.get_mut("properties").and_then(Value::as_object_mut);
    fields.into_iter().flat_map(|fields| fields.values_mut()).for_each(rewrite);
    for key in ["items", "additionalProperties"] {
        map.get_mut(key).into_iter().for_each(rewrite);
    }
}

/// `Option<Enum>` comes as a choice between the enum and null.
fn drop_null_branch(map: &mut Map<String, Value>) {
    let Some(branches) = map.get_mut("anyOf").and_then(Value::as_array_mut) else { return };
    branches.retain(|branch| branch.get("enum") != Some(&json!([null])));
    if let [only] = &mut branches[..]
        && let Some(only) = only.as_object_mut()
    {
        let only = std::mem::take(only);
        map.remove("anyOf");
        for (key, value) in only {
            map.entry(key).or_insert(value);
        }
    }
}

/// An enum comes as a choice: of texts, with a description each, or of objects with one field each. A structural schema
/// lists fields once, and a choice may only say which must be there.
fn merge_branches(map: &mut Map<String, Value>) {
    let Some(Value::Array(branches)) = map.remove("oneOf") else { return };
    let texts: Vec<Value> = branches
        .iter()
        .filter_map(|branch| branch.get("enum").and_then(Value::as_array))
        .flatten()
        .cloned()
        .collect();
    if !texts.is_empty() {
        map.insert("type".to_owned(), json!("string"));
        map.insert("enum".to_owned(), Value::Array(texts));
        return;
    }
    let mut fields = Map::new();
    let mut choice = Vec::new();
    for branch in branches {
        choice.push(json!({"required": branch.get("required")}));
        let description = branch.get("description").cloned();
        let Some(Value::Object(properties)) = branch.get("properties").cloned() else { continue };
        for (name, mut field) in properties {
            if let (Some(field), Some(text)) = (field.as_object_mut(), &description) {
                field.entry("description").or_insert_with(|| text.clone());
            }
            fields.insert(name, field);
        }
    }
    map.insert("type".to_owned(), json!("object"));
    map.insert("properties".to_owned(), Value::Object(fields));
    map.insert("oneOf".to_owned(), Value::Array(choice));
}

/// Kubernetes knows int32 and int64 only, and no format of an address of either family.
fn plain_number(map: &mut Map<String, Value>) {
    let format = map.get("format").and_then(Value::as_str).map(str::to_owned);
    match format.as_deref() {
        Some("uint32") => {
            map.insert("format".to_owned(), json!("int64"));
            map.insert("maximum".to_owned(), json!(u32::MAX));
        }
        Some("uint64") => {
            map.insert("format".to_owned(), json!("int64"));
        }
        Some("ip") => {
            map.remove("format");
        }
        _ => {}
    }
    if let Some(minimum) = map.get_mut("minimum")
        && minimum.as_f64() == Some(0.0)
    {
        *minimum = json!(0);
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
