//! Makes policies by hand: a core module in text, of which every part can be replaced by something hostile, and the component
//! around it.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

/// The parts of a core module in text, each the body of a function unless said otherwise. [`Parts::default`] is a policy that loads
/// and abstains.
pub struct Parts {
    /// Imports, before everything else.
    pub imports: String,
    /// The definition of memory 0.
    pub memory: String,
    /// `cabi_realloc`: old pointer, old size, alignment, size.
    pub realloc: String,
    /// `describe`; 64 is the address of an honest answer.
    pub describe: String,
    /// `validate-settings`; 128 is "no error".
    pub validate: String,
    /// `init`; 160 is "done".
    pub init: String,
    /// `select`; 192 is "no opinion".
    pub select: String,
    /// Further fields of the module.
    pub extra: String,
}

/// Text of a function's body that answers with the record at that address.
pub fn answer(address: u32) -> String {
    format!("(i32.const {address})")
}

/// A data segment of little-endian words.
pub fn words(address: u32, words: &[u32]) -> String {
    let bytes = words.iter().flat_map(|word| word.to_le_bytes());
    let text: String = bytes.map(|byte| format!("\\{byte:02x}")).collect();
    format!("(data (i32.const {address}) \"{text}\")")
}

/// A data segment of text; it must hold neither quotes nor backslashes unless they are escaped.
pub fn text(address: u32, text: &str) -> String {
    format!("(data (i32.const {address}) \"{text}\")")
}

/// The description record at 64, with its schema elsewhere.
pub fn described(schema: (u32, u32)) -> String {
    words(64, &[16, 7, 32, 1, schema.0, schema.1, 0, 0])
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            imports: String::new(),
            memory: "(memory (export \"memory\") 8)".to_owned(),
            realloc: "(local $at i32)
                (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
                (global.set $next (i32.add (local.get $at) (local.get 3)))
                (local.get $at)"
                .to_owned(),
            describe: answer(64),
            validate: answer(128),
            init: answer(160),
            select: answer(192),
            extra: String::new(),
        }
    }
}

impl Parts {
    /// The core module in text.
    pub fn text(&self) -> String {
        let Self { imports, memory, realloc, describe, validate, init, select, extra } = self;
        let honest = [text(16, "hostile"), text(32, "1"), text(48, "{}"), described((48, 2))];
        let honest = honest.concat();
        format!(
            r#"(module {imports} {memory}
                (global $next (mut i32) (i32.const 65536))
                {honest}
                (func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc})
                (func $describe (export "tenure:policy/lifecycle@0.1.0#describe") (result i32) {describe})
                (func $validate (export "tenure:policy/lifecycle@0.1.0#validate-settings")
                    (param i32 i32) (result i32) {validate})
                (func $init (export "tenure:policy/lifecycle@0.1.0#init")
                    (param i32 i32) (result i32) {init})
                (func $select (export "tenure:policy/select@0.1.0#select") (param i32) (result i32) {select})
                {extra})"#
        )
    }

    /// The component, as the SDK's build would make it of such a module.
    pub fn component(&self) -> Vec<u8> {
        let module = wat::parse_str(self.text()).unwrap_or_else(|error| panic!("{error}"));
        componentize(module).unwrap_or_else(|error| panic!("{error:#}"))
    }
}

/// A component of any core module that has the exports of a `select` policy. It is not validated: that is the host's part.
pub fn componentize(mut module: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let (resolve, world) = contract();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)?;
    ComponentEncoder::default().module(&module)?.validate(false).encode()
}

/// The contract with the world of a policy that has the one hook `select`.
pub fn contract() -> (Resolve, WorldId) {
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/wit");
    let (package, _) = resolve.push_dir(&wit).expect("the contract reads");
    let world = resolve.select_world(&[package], Some("select-only")).expect("it has the world");
    (resolve, world)
}
