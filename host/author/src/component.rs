//! From a core module to a component, in process, and what is written into it.

use serde::{Deserialize, Serialize};
use tenure_core::decision::Hook;
use wasm_encoder::{ComponentSection as _, CustomSection, Encode as _};
use wasmparser::{Parser, Payload};

use crate::error::AuthorError;

/// The custom section of a component that says what it is. Advice only: what counts is what it exports and what it says when
/// it is asked.
pub(crate) const SECTION: &str = "tenure:policy";

/// What `tenure policy build` writes into a component, so that it can be looked at without running it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// What it calls itself.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The hooks that it exports.
    pub hooks: Vec<Hook>,
    /// The JSON Schema of its settings.
    pub settings_schema: serde_json::Value,
    /// Attributes that it asks for without settings of its own.
    pub attribute_keys: Vec<String>,
    /// Version of the contract, e.g. `0.1.0`.
    pub contract: String,
}

/// Makes a component of the module that cargo built; the module carries the WIT that it was built against.
///
/// # Errors
/// It is no module, or not built with the SDK.
pub fn componentize(what: &str, module: &[u8]) -> Result<Vec<u8>, AuthorError> {
    let mut encoder = wit_component::ComponentEncoder::default();
    let encoded = encoder.module(module).and_then(|encoder| {
        encoder.validate(true);
        encoder.encode()
    });
    encoded.map_err(|error| AuthorError::Component {
        what: what.to_owned(),
        why: format!("{error:#}"),
    })
}

/// The module without names of its functions and without debug information: they are for people and tools only, and
/// often as large as the code.
///
/// # Errors
/// It is no module.
pub fn without_names(what: &str, module: &[u8]) -> Result<Vec<u8>, AuthorError> {
    let mut out = wasm_encoder::Module::HEADER.to_vec();
    let is_for_people = |name: &str| name == "name" || name.starts_with(".debug");
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(|error| AuthorError::Component {
            what: what.to_owned(),
            why: format!("it is damaged: {error}"),
        })?;
        if matches!(&payload, Payload::CustomSection(custom) if is_for_people(custom.name())) {
            continue;
        }
        if let Some((id, range)) = payload.as_section() {
            let contents = module.get(range).unwrap_or_default();
            out.push(id);
            contents.encode(&mut out);
        }
    }
    Ok(out)
}

/// The component with its metadata at the end.
#[must_use]
pub fn with_metadata(mut component: Vec<u8>, metadata: &Metadata) -> Vec<u8> {
    // Strings, numbers and JSON only: writing them cannot fail.
    let text = serde_json::to_vec(metadata).unwrap_or_default();
    CustomSection { name: SECTION.into(), data: text.into() }.append_to_component(&mut component);
    component
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Face;

    #[test]
    fn names_and_debug_information_go_and_all_else_stays() {
        let text = r#"(module $policy (func $decide (export "f") (result i32) i32.const 7))"#;
        let module = wat::parse_str(text).unwrap();
        let bare = without_names("x", &module).unwrap();
        assert!(bare.len() < module.len());
        let find = |bytes: &[u8]| bytes.windows(6).any(|window| window == b"decide");
        assert_eq!((find(&module), find(&bare)), (true, false));
        let plain = wat::parse_str(r#"(module (func (export "f") (result i32) i32.const 7))"#);
        assert_eq!(bare, plain.unwrap());
    }

    #[test]
    fn metadata_reads_back_from_the_component() {
        let metadata = Metadata {
            name: "spread".to_owned(),
            version: "1.2.0".to_owned(),
            hooks: vec![Hook::Select],
            settings_schema: serde_json::json!({"type": "object"}),
            attribute_keys: vec!["pod.label/team".to_owned()],
            contract: "0.1.0".to_owned(),
        };
        let component = wat::parse_str("(component)").unwrap();
        let face = Face::read(&with_metadata(component, &metadata)).unwrap();
        assert_eq!(face.metadata, Some(metadata));
    }
}
