//! From a core module that the compiler of another language made to a component. The contract's types come from here, and WASI,
//! where it is imported, is answered inside of the component by `sdk/wasi/inert.wat`: the host never sees it.

use std::collections::BTreeSet;

use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{PackageId, Resolve, SourceMap};

use crate::error::AuthorError;

/// The contract, as the SDK has it.
const WIT: [(&str, &str); 2] = [
    ("types.wit", include_str!("../../../sdk/wit/types.wit")),
    ("worlds.wit", include_str!("../../../sdk/wit/worlds.wit")),
];
/// No arguments, no files, one instant, no output.
const INERT: &str = include_str!("../../../sdk/wasi/inert.wat");
/// What modules of WASI preview 1 import from.
const WASI: &str = "wasi_snapshot_preview1";

/// What becomes of a module's imports of WASI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wasi {
    /// They are an error: no policy has any of it.
    #[default]
    None,
    /// They lead nowhere.
    Stub,
}

/// Makes a component of a core module with the exports of a world of `sdk/wit`, e.g. `select-only`.
///
/// # Errors
/// There is no such world, it is no module, it lacks an export of the world, or it imports what nobody gives.
pub fn adapt(
    what: &str,
    mut module: Vec<u8>,
    world: &str,
    wasi: Wasi,
) -> Result<Vec<u8>, AuthorError> {
    let wrong = |why: String| AuthorError::Component { what: what.to_owned(), why };
    let (resolve, package) = contract().map_err(&wrong)?;
    let worlds = || {
        let worlds = resolve.packages.get(package).map(|package| package.worlds.keys());
        let names = worlds
            .into_iter()
            .flatten()
            .filter(|name| !name.ends_with("-policy") || *name == "full-policy");
        names.filter(|name| !name.ends_with("-imports")).cloned().collect::<Vec<_>>().join(", ")
    };
    let world = resolve
        .select_world(&[package], Some(world))
        .map_err(|_| wrong(format!("the contract has no world {world:?}; it has {}", worlds())))?;
    let wanted = wanted_of_wasi(&module).map_err(&wrong)?;
    if wasi == Wasi::None && !wanted.is_empty() {
        let wanted = wanted.into_iter().collect::<Vec<_>>().join(", ");
        return Err(wrong(format!(
            "it imports WASI ({wanted}), of which a policy has nothing; build without it, or have it lead nowhere with `--wasi stub`"
        )));
    }
    let failed = |error: &dyn std::fmt::Display| wrong(format!("{error:#}"));
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)
        .map_err(|error| failed(&error))?;
    let inert = wat::parse_str(INERT).map_err(|error| failed(&error))?;
    let encoded = ComponentEncoder::default().module(&module).and_then(|encoder| {
        let encoder = if wanted.is_empty() { encoder } else { encoder.adapter(WASI, &inert)? };
        encoder.validate(true).encode()
    });
    encoded.map_err(|error| failed(&error))
}

fn contract() -> Result<(Resolve, PackageId), String> {
    let mut files = SourceMap::new();
    for (name, text) in WIT {
        files.push_str(name, text);
    }
    let group = files.parse().map_err(|(_, error)| error.to_string())?;
    let mut resolve = Resolve::default();
    let package = resolve.push_group(group).map_err(|error| error.to_string())?;
    Ok((resolve, package))
}

/// The functions of WASI that a module imports.
fn wanted_of_wasi(module: &[u8]) -> Result<BTreeSet<String>, String> {
    let mut wanted = BTreeSet::new();
    if !Parser::is_core_wasm(module) {
        return Err("it is no core Wasm module".to_owned());
    }
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(|error| format!("it is damaged: {error}"))?;
        let Payload::ImportSection(section) = payload else { continue };
        for import in section.into_imports() {
            let import = import.map_err(|error| format!("it is damaged: {error}"))?;
            if import.module == WASI {
                wanted.insert(import.name.to_owned());
            }
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a module of another language looks like: it asks for the time and prints.
    const MODULE: &str = r#"(module
        (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
        (func (export "tenure:policy/lifecycle@0.1.0#describe") (result i32)
            (call $time (i32.const 0) (i64.const 1) (i32.const 64)))
        (func (export "tenure:policy/lifecycle@0.1.0#validate-settings") (param i32 i32) (result i32) (i32.const 0))
        (func (export "tenure:policy/lifecycle@0.1.0#init") (param i32 i32) (result i32) (i32.const 0))
        (func (export "tenure:policy/select@0.1.0#select") (param i32) (result i32) (i32.const 0)))"#;

    fn adapted(module: &str, world: &str, wasi: Wasi) -> Result<Vec<u8>, String> {
        adapt("m.wasm", wat::parse_str(module).unwrap(), world, wasi).map_err(|e| e.to_string())
    }

    #[test]
    fn a_module_that_wants_wasi_becomes_a_component_that_imports_none() {
        let component = adapted(MODULE, "select-only", Wasi::Stub).unwrap();
        let decoded = wit_component::decode(&component).unwrap();
        let resolve = decoded.resolve();
        let (_, world) = resolve.worlds.iter().next().unwrap();
        let imports: Vec<String> =
            world.imports.keys().map(|key| resolve.name_world_key(key)).collect();
        assert_eq!(imports, ["tenure:policy/types@0.1.0"]);
        assert!(
            component.windows(8).all(|window| window != b"wasi:cli"),
            "WASI must not be seen from outside"
        );
    }

    #[test]
    fn wasi_leads_nowhere_only_where_that_was_asked_for() {
        let error = adapted(MODULE, "select-only", Wasi::None).unwrap_err();
        assert!(
            error.contains("(clock_time_get, fd_write)") && error.contains("--wasi stub"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_world_is_told_with_those_that_there_are() {
        let error = adapted(MODULE, "selekt", Wasi::Stub).unwrap_err();
        let worlds = "full-policy, select-only, affinity-only, reclaim-only";
        assert!(error.ends_with(worlds), "{error}");
    }

    #[test]
    fn a_module_without_the_exports_of_its_world_is_told_which() {
        let error = adapted(MODULE, "reclaim-only", Wasi::Stub).unwrap_err();
        assert!(error.contains("tenure:policy/reclaim"), "{error}");
    }

    #[test]
    fn a_component_or_a_text_is_no_module() {
        for bytes in [wat::parse_str("(component)").unwrap(), b"(module)".to_vec()] {
            let error = adapt("m", bytes, "select-only", Wasi::Stub).unwrap_err();
            assert!(error.to_string().contains("no core Wasm module"), "{error}");
        }
    }
}
