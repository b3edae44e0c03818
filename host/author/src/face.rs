//! What a component shows without running: imports and who uses them, exports, the sizes of its sections, who made it. Of
//! any component, also of ones that were not made with our SDK.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tenure_core::decision::Hook;
use tenure_core::name::Digest;
use wasmparser::{KnownCustom, Operator, Parser, Payload, TypeRef};

use crate::component::{Metadata, SECTION};
use crate::error::AuthorError;

/// Interfaces that a policy may import.
const ALLOWED: [&str; 2] = ["tenure:policy/host@0.1.", "tenure:policy/types@0.1."];
/// Functions that are named as users of an import.
const USERS: usize = 8;

/// The outer face of a component.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Face {
    /// Its digest.
    pub digest: Digest,
    /// Bytes of the whole.
    pub size: usize,
    /// What it imports.
    pub imports: Vec<Import>,
    /// What it exports.
    pub exports: Vec<String>,
    /// Hooks among them.
    pub hooks: Vec<Hook>,
    /// Sizes, the largest first; those of core modules together.
    pub sections: Vec<Section>,
    /// Who made it: `language Rust`, `processed-by rustc 1.95.0`.
    pub producers: Vec<String>,
    /// What its builder wrote into it.
    pub metadata: Option<Metadata>,
    /// Whether functions have names.
    pub has_names: bool,
    /// Versions of the contract that a host must serve, e.g. `0.1.0`; none if it is no policy.
    pub needs: Vec<String>,
}

/// An import of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Import {
    /// The interface.
    pub name: String,
    /// Whether a policy may import it.
    pub allowed: bool,
    /// Functions of the component that call it, as far as they have names.
    pub used_by: Vec<String>,
    /// How to lose it; empty where it is allowed.
    pub advice: String,
}

/// A part of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    /// `code`, `data`, `names`, ...
    pub name: String,
    /// Bytes.
    pub size: usize,
}

/// A core module while it is read.
#[derive(Default)]
struct Module {
    /// Imported functions, in the order of their indexes: module and name.
    imported: Vec<(String, String)>,
    /// Calls of imported functions: caller, callee.
    calls: BTreeSet<(u32, u32)>,
    names: BTreeMap<u32, String>,
    next: u32,
}

// === impl Face ===

impl Face {
    /// Reads a component.
    ///
    /// # Errors
    /// It is none, or damaged.
    pub fn read(bytes: &[u8]) -> Result<Self, AuthorError> {
        let damaged = |why: String| AuthorError::Component { what: "this file".to_owned(), why };
        if !Parser::is_component(bytes) {
            return Err(damaged(
                "it is no Wasm component; build it with `tenure policy build`".to_owned(),
            ));
        }
        let mut reader = Reader::default();
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload.map_err(|error| damaged(format!("it is damaged: {error}")))?;
            reader.take(&payload).map_err(|error| damaged(format!("it is damaged: {error}")))?;
        }
        let face = reader.finish(bytes);
        Ok(Self { needs: face.contract(), ..face })
    }

    fn contract(&self) -> Vec<String> {
        let names = self.exports.iter().chain(self.imports.iter().map(|import| &import.name));
        let ours = names.filter_map(|name| name.strip_prefix("tenure:policy/")?.split_once('@'));
        let versions: BTreeSet<&str> = ours.map(|(_, version)| version).collect();
        versions.into_iter().map(str::to_owned).collect()
    }

    /// Imports that keep a host from loading it.
    pub fn unwanted(&self) -> impl Iterator<Item = &Import> {
        self.imports.iter().filter(|import| !import.allowed)
    }
}

/// Takes a component apart.
#[derive(Default)]
struct Reader {
    depth: usize,
    imports: Vec<String>,
    exports: Vec<String>,
    sizes: BTreeMap<&'static str, usize>,
    producers: BTreeSet<String>,
    metadata: Option<Metadata>,
    modules: Vec<Module>,
    /// Which of `modules` is read now, if any.
    open: Vec<bool>,
}

// === impl Reader ===

impl Reader {
    fn take(&mut self, payload: &Payload<'_>) -> wasmparser::Result<()> {
        self.measure(payload);
        match payload {
            Payload::ModuleSection { .. } => {
                self.depth += 1;
                self.open.push(true);
                self.modules.push(Module::default());
            }
            Payload::ComponentSection { .. } => {
                self.depth += 1;
                self.open.push(false);
            }
            Payload::End(_) => {
                self.depth = self.depth.saturating_sub(1);
                self.open.pop();
            }
            Payload::ComponentImportSection(section) if self.depth == 0 => {
                for import in section.clone() {
                    self.imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if self.depth == 0 => {
                for export in section.clone() {
                    self.exports.push(export?.name.name.to_owned());
                }
            }
            Payload::CustomSection(custom) if custom.name() == SECTION && self.depth == 0 => {
                self.metadata = serde_json::from_slice(custom.data()).ok();
            }
            Payload::CustomSection(custom) => self.take_custom(custom.as_known()),
            Payload::ImportSection(section) => {
                if let Some(module) = self.module() {
                    for import in section.clone().into_imports() {
                        let import = import?;
                        if matches!(import.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)) {
                            module
                                .imported
                                .push((import.module.to_owned(), import.name.to_owned()));
                        }
                    }
                    module.next = u32::try_from(module.imported.len()).unwrap_or(u32::MAX);
                }
            }
            Payload::CodeSectionEntry(body) => {
                if let Some(module) = self.module() {
                    module.read(body)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn module(&mut self) -> Option<&mut Module> {
        let is_module = self.open.last().copied().unwrap_or_default();
        self.modules.last_mut().filter(|_| is_module)
    }

    fn measure(&mut self, payload: &Payload<'_>) {
        let Some((_, range)) = payload.as_section() else { return };
        let name = match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => return,
            Payload::CodeSectionStart { .. } => "code",
            Payload::DataSection(_) => "data",
            Payload::CustomSection(custom) => match custom.name() {
                "name" | "component-name" => "names",
                SECTION => "metadata",
                name if name.starts_with(".debug") => "debug",
                _ => "custom",
            },
            _ => "types and links",
        };
        *self.sizes.entry(name).or_default() += range.len();
    }

    fn take_custom(&mut self, custom: KnownCustom<'_>) {
        match custom {
            KnownCustom::Producers(fields) => {
                for field in fields.into_iter().flatten() {
                    for value in field.values.into_iter().flatten() {
                        let line = format!("{} {} {}", field.name, value.name, value.version);
                        self.producers.insert(line.trim_end().to_owned());
                    }
                }
            }
            KnownCustom::Name(names) => {
                for part in names.into_iter().flatten() {
                    if let (wasmparser::Name::Function(map), Some(module)) = (part, self.module()) {
                        let named = map.into_iter().flatten();
                        let plain = |name: &str| format!("{:#}", rustc_demangle::demangle(name));
                        module.names = named.map(|one| (one.index, plain(one.name))).collect();
                    }
                }
            }
            _ => {}
        }
    }

    fn finish(self, bytes: &[u8]) -> Face {
        let users = |import: &str| {
            let mut users = BTreeSet::new();
            for module in &self.modules {
                module.users_of(import, &mut users);
            }
            users.into_iter().take(USERS).collect()
        };
        let allowed = |name: &str| ALLOWED.iter().any(|prefix| name.starts_with(prefix));
        let import = |name: &String| Import {
            name: name.clone(),
            allowed: allowed(name),
            used_by: users(name),
            advice: if allowed(name) { String::new() } else { advice(name).to_owned() },
        };
        let section =
            |(name, size): (&&str, &usize)| Section { name: (*name).to_owned(), size: *size };
        let mut sections: Vec<Section> = self.sizes.iter().map(section).collect();
        sections.sort_by_key(|section| std::cmp::Reverse(section.size));
        let all = [Hook::Select, Hook::Affinity, Hook::Reclaim];
        let exports_hook = |hook: &Hook| {
            let prefix = format!("tenure:policy/{}@", hook.name());
            self.exports.iter().any(|name| name.starts_with(&prefix))
        };
        Face {
            digest: Digest::of(bytes),
            size: bytes.len(),
            imports: self.imports.iter().map(import).collect(),
            hooks: all.into_iter().filter(exports_hook).collect(),
            exports: self.exports,
            sections,
            producers: self.producers.into_iter().collect(),
            has_names: self.modules.iter().any(|module| !module.names.is_empty()),
            needs: Vec::new(),
            metadata: self.metadata,
        }
    }
}

// === impl Module ===

impl Module {
    fn read(&mut self, body: &wasmparser::FunctionBody<'_>) -> wasmparser::Result<()> {
        let own = self.next;
        self.next = self.next.saturating_add(1);
        let imported = u32::try_from(self.imported.len()).unwrap_or(u32::MAX);
        for operator in body.get_operators_reader()? {
            if let Operator::Call { function_index } | Operator::ReturnCall { function_index } =
                operator?
                && function_index < imported
            {
                self.calls.insert((own, function_index));
            }
        }
        Ok(())
    }

    /// Functions that call something of the interface. A core module names it in full, or an older name of WASI.
    fn users_of(&self, import: &str, users: &mut BTreeSet<String>) {
        let is_it = |(module, name): &(String, String)| {
            module == import || (module == "wasi_snapshot_preview1" && comes_from(name, import))
        };
        for (caller, callee) in &self.calls {
            let callee = usize::try_from(*callee).ok().and_then(|at| self.imported.get(at));
            if callee.is_some_and(is_it) {
                let unnamed = || format!("function {caller}");
                users.insert(self.names.get(caller).cloned().unwrap_or_else(unnamed));
            }
        }
    }
}

/// Whether a function of WASI preview 1 is made of an interface of preview 2.
fn comes_from(function: &str, import: &str) -> bool {
    let parts: &[&str] = match function {
        "random_get" => &["wasi:random/"],
        "clock_time_get" | "clock_res_get" => &["wasi:clocks/"],
        "environ_get" | "environ_sizes_get" => &["wasi:cli/environment"],
        "args_get" | "args_sizes_get" => &["wasi:cli/environment"],
        "proc_exit" => &["wasi:cli/exit"],
        "fd_write" | "fd_read" => &["wasi:io/", "wasi:cli/std", "wasi:filesystem/"],
        name if name.starts_with("path_") || name.starts_with("fd_") => &["wasi:filesystem/"],
        _ => &[],
    };
    parts.iter().any(|part| import.starts_with(part))
}

/// Where an import comes from, and how to lose it.
fn advice(name: &str) -> &'static str {
    let known = [
        (
            "wasi:random/",
            "randomness: `HashMap` and `HashSet` seed themselves, so use `BTreeMap` and `BTreeSet`; for a random choice use `request.seed`",
        ),
        ("wasi:clocks/", "a clock: use `request.now_ms`"),
        (
            "wasi:cli/environment",
            "environment variables or arguments: the standard library of a WASI target reads them at start; build for wasm32-unknown-unknown, and pass what you need as settings",
        ),
        (
            "wasi:cli/exit",
            "`std::process::exit` or an abort of a WASI target: return an error, and build for wasm32-unknown-unknown",
        ),
        ("wasi:cli/", "printing: use `tenure_policy::log`, and build for wasm32-unknown-unknown"),
        (
            "wasi:io/",
            "streams, mostly of printing or panics of a WASI target: use `tenure_policy::log`, and build for wasm32-unknown-unknown",
        ),
        (
            "wasi:filesystem/",
            "files: a policy has none; the standard library of a WASI target brings them along, so build for wasm32-unknown-unknown",
        ),
        ("wasi:sockets/", "the network: a policy has none"),
        ("wasi:http/", "the network: a policy has none"),
        (
            "wasi:",
            "a WASI target: build for wasm32-unknown-unknown, or have it answered with nothing: `tenure policy build --module MODULE --wasi stub`",
        ),
        ("tenure:policy/", "another version of the contract than 0.1: use the SDK of this host"),
    ];
    let found = known.iter().find(|(prefix, _)| name.starts_with(prefix));
    found.map_or("nothing offers it to a policy; remove what needs it", |(_, advice)| advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Face {
        Face::read(&wat::parse_str(text).unwrap()).unwrap()
    }

    #[test]
    fn an_unwanted_import_is_told_with_who_calls_it_and_how_to_lose_it() {
        let face = read(
            r#"(component
                (import "wasi:random/random@0.2.6" (instance))
                (import "tenure:policy/types@0.1.0" (instance))
                (core module
                    (import "wasi:random/random@0.2.6" "get" (func $get (result i64)))
                    (func $_ZN8my_state4seed17h0123456789abcdefE (result i64) call $get)
                    (func $calm)))"#,
        );
        let unwanted: Vec<&Import> = face.unwanted().collect();
        assert_eq!(unwanted.len(), 1);
        assert_eq!(unwanted[0].used_by, ["my_state::seed"]);
        assert!(unwanted[0].advice.contains("BTreeMap"), "{}", unwanted[0].advice);
        assert!(face.has_names);
    }

    #[test]
    fn a_user_of_an_old_name_of_wasi_is_found_and_told_by_its_number_where_it_has_no_name() {
        let face = read(
            r#"(component
                (import "wasi:clocks/monotonic-clock@0.2.6" (instance))
                (core module
                    (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32)))
                    (func i32.const 1 call 0)))"#,
        );
        assert_eq!(face.imports[0].used_by, ["function 1"]);
        assert!(!face.has_names);
    }

    #[test]
    fn sizes_are_told_by_section_and_modules_are_taken_apart() {
        let face = read(
            r#"(component
                (core module
                    (memory 1) (data (i32.const 0) "0123456789abcdef")
                    (func (result i32) i32.const 1))
                (core module (func (result i32) i32.const 2)))"#,
        );
        let size = |name: &str| face.sections.iter().find(|s| s.name == name).map(|s| s.size);
        assert!(size("data").is_some_and(|size| size > 16), "{:?}", face.sections);
        assert!(size("code").is_some_and(|size| size >= 12), "{:?}", face.sections);
        assert!(face.sections.iter().map(|s| s.size).sum::<usize>() < face.size);
    }

    #[test]
    fn what_is_no_component_is_refused() {
        assert!(
            Face::read(b"\0asm\x01\0\0\0").unwrap_err().to_string().contains("no Wasm component")
        );
        assert!(Face::read(b"\0asm\x0d\0\x01\0\x99").unwrap_err().to_string().contains("damaged"));
    }
}
