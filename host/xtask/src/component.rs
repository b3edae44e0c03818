//! `cargo xtask component`: a component of a core module that another language's compiler made. The contract's types are
//! embedded, and WASI, where it is imported, is satisfied by `sdk/wasi/inert.wat` inside of the component.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What modules of WASI preview 1 import from.
const WASI: &str = "wasi_snapshot_preview1";

/// Reads the module, writes the component.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The core module, with the exports of a world of `sdk/wit`.
    module: PathBuf,
    /// The world: select-only, affinity-only, reclaim-only, full-policy.
    #[arg(long, default_value = "full-policy")]
    world: String,
    /// Where to write the component.
    #[arg(long)]
    out: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = crate::workspace::root();
    let module = std::fs::read(&args.module)
        .with_context(|| format!("reading {}", args.module.display()))?;
    let component = componentize(&root, module, &args.world)?;
    std::fs::write(&args.out, &component)
        .with_context(|| format!("writing {}", args.out.display()))?;
    println!("{} {} B", args.out.display(), component.len());
    Ok(())
}

fn componentize(root: &Path, mut module: Vec<u8>, world: &str) -> Result<Vec<u8>> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(root.join("sdk/wit"))?;
    let world = resolve.select_world(&[package], Some(world))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)?;
    let inert = wat::parse_file(root.join("sdk/wasi/inert.wat"))?;
    ComponentEncoder::default().module(&module)?.adapter(WASI, &inert)?.validate(true).encode()
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

    #[test]
    fn a_module_that_wants_wasi_becomes_a_component_that_imports_none() {
        let module = wat::parse_str(MODULE).unwrap();
        let component = componentize(&crate::workspace::root(), module, "select-only").unwrap();
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
}
