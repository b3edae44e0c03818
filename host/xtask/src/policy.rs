//! `cargo xtask policy build --module`: what `tenure policy build --module` does, before there is a `tenure`. The examples in other
//! languages are built with it.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use tenure_author::{Wasi, adapt};

/// What is done.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Makes a component of a core module that another language's compiler made.
    Build(Args),
}

/// As those of `tenure policy build`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The core module, with the exports of a world of `sdk/wit`.
    #[arg(long)]
    module: PathBuf,
    /// The world: select-only, affinity-only, reclaim-only, full-policy.
    #[arg(long, default_value = "full-policy")]
    world: String,
    /// `stub`: its imports of WASI lead nowhere.
    #[arg(long, value_parser = ["stub"])]
    wasi: Option<String>,
    /// Where to write the component.
    #[arg(long)]
    out: PathBuf,
}

pub(crate) fn run(verb: Verb) -> Result<()> {
    let Verb::Build(args) = verb;
    let name = args.module.display().to_string();
    let module = std::fs::read(&args.module).with_context(|| format!("reading {name}"))?;
    let wasi = if args.wasi.is_some() { Wasi::Stub } else { Wasi::None };
    let component = adapt(&name, module, &args.world, wasi)?;
    std::fs::write(&args.out, &component)
        .with_context(|| format!("writing {}", args.out.display()))?;
    println!("{} {} B", args.out.display(), component.len());
    Ok(())
}
