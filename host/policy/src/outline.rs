//! What a file is and what it imports and exports, read without compiling it: a component that
//! wants too much is refused before it costs anything.

use tenure_core::decision::Hook;
use wasmparser::{Parser, Payload};

use crate::error::PolicyHostError;

const PACKAGE: &str = "tenure:policy/";
/// Versions of one minor number are compatible below 1.0, as wasmtime's linker has it.
const VERSION: &str = "0.1.";
const IMPORTS: [&str; 2] = ["host", "types"];

/// The outer face of a component.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outline {
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Outline {
    /// Recognises a component.
    ///
    /// # Errors
    /// [`PolicyHostError::NotAComponent`], saying what the bytes are instead.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, PolicyHostError> {
        if !Parser::is_component(bytes) {
            return Err(not_a_component(bytes));
        }
        names(bytes).map_err(|error| PolicyHostError::NotAComponent {
            what: format!("a damaged component ({error})"),
            hint: "copy or build it again",
        })
    }

    /// Refuses what a policy may not import, all of it in one error.
    pub(crate) fn check_imports(&self) -> Result<(), PolicyHostError> {
        let imports: Vec<String> = self
            .imports
            .iter()
            .filter(|name| !IMPORTS.iter().any(|i| is(name, i)))
            .cloned()
            .collect();
        if imports.is_empty() {
            return Ok(());
        }
        let hint = if imports.iter().any(|name| name.starts_with("wasi:")) {
            "build for wasm32-unknown-unknown instead of a WASI target, and use no clock, file, \
             network or randomness"
        } else if imports.iter().any(|name| name.starts_with(PACKAGE)) {
            "use the SDK of this host"
        } else {
            "remove them"
        };
        Err(PolicyHostError::Imports { imports, hint })
    }

    /// The hooks that it exports.
    pub(crate) fn hooks(&self) -> Result<Vec<Hook>, PolicyHostError> {
        let all = [Hook::Select, Hook::Affinity, Hook::Reclaim];
        let exports = |interface: &str| self.exports.iter().any(|name| is(name, interface));
        let known = |name: &str| is(name, "lifecycle") || all.iter().any(|h| is(name, h.name()));
        let ours = |name: &&String| name.starts_with(PACKAGE);
        if let Some(export) = self.exports.iter().filter(ours).find(|name| !known(name)) {
            return Err(PolicyHostError::UnknownExport { export: export.clone() });
        }
        let hooks: Vec<Hook> = all.into_iter().filter(|hook| exports(hook.name())).collect();
        let none = |what| PolicyHostError::NoHooks { what, exports: self.exports.clone() };
        if hooks.is_empty() {
            return Err(none("hook (select, affinity or reclaim)"));
        }
        if exports("lifecycle") { Ok(hooks) } else { Err(none("lifecycle")) }
    }
}

/// Whether `name` is `tenure:policy/INTERFACE@0.1.x`.
fn is(name: &str, interface: &str) -> bool {
    name.strip_prefix(PACKAGE)
        .and_then(|rest| rest.strip_prefix(interface))
        .and_then(|rest| rest.strip_prefix('@'))
        .is_some_and(|version| version.starts_with(VERSION))
}

fn names(bytes: &[u8]) -> wasmparser::Result<Outline> {
    let mut outline = Outline { imports: Vec::new(), exports: Vec::new() };
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    outline.imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    outline.exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(outline)
}

fn not_a_component(bytes: &[u8]) -> PolicyHostError {
    let (what, hint) = if bytes.is_empty() {
        ("an empty file", "was the build or the copy interrupted?")
    } else if Parser::is_core_wasm(bytes) {
        (
            "a core Wasm module",
            "the last step is missing: `tenure policy build --module` makes a component of it, and so does `tenure policy build --module`",
        )
    } else if bytes.starts_with(b"\x7fELF") {
        ("a native program or library", "build with `--target wasm32-unknown-unknown`")
    } else if bytes.trim_ascii_start().starts_with(b"(") {
        ("Wasm in text form", "translate it with `wasm-tools parse`")
    } else if std::str::from_utf8(bytes).is_ok() {
        ("text", "name the built component, not its source or settings")
    } else {
        ("no Wasm of any kind", "name the built component")
    };
    PolicyHostError::NotAComponent { what: what.to_owned(), hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_component_is_told_by_what_it_is() {
        let said = |bytes: &[u8]| Outline::read(bytes).unwrap_err().to_string();
        assert!(said(b"").contains("an empty file"));
        let core = said(b"\0asm\x01\0\0\0");
        assert!(
            core.contains("a core Wasm module") && core.contains("`tenure policy build --module`")
        );
        assert!(said(b"\x7fELF\x02").contains("a native program"));
        assert!(said(b" (component)").contains("text form"));
        assert!(said(b"apiVersion: x").contains("it is text"));
        assert!(said(b"\xff\xfe\x00").contains("no Wasm of any kind"));
        assert!(said(b"\0asm\x0d\0\x01\0\x99").contains("a damaged component"));
    }

    #[test]
    fn all_forbidden_imports_are_listed_and_wasi_gets_its_own_advice() {
        let outline = |text: &str| Outline::read(&wat::parse_str(text).unwrap()).unwrap();
        let error = outline(
            r#"(component
                (import "wasi:cli/environment@0.2.6" (instance))
                (import "wasi:io/streams@0.2.6" (instance))
                (import "tenure:policy/types@0.1.3" (instance)))"#,
        )
        .check_imports()
        .unwrap_err()
        .to_string();
        assert!(error.contains("wasi:cli/environment@0.2.6, wasi:io/streams@0.2.6"), "{error}");
        assert!(
            !error.contains("types@0.1.3") && error.contains("wasm32-unknown-unknown"),
            "{error}"
        );
    }

    #[test]
    fn an_interface_of_a_later_contract_is_refused_by_name() {
        let text =
            r#"(component (instance $i) (export "tenure:policy/select@0.2.0" (instance $i)))"#;
        let error = Outline::read(&wat::parse_str(text).unwrap()).unwrap().hooks().unwrap_err();
        assert!(error.to_string().contains("tenure:policy/select@0.2.0"), "{error}");
    }
}
