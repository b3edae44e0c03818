//! `cargo xtask bench`: release builds, one run, side by side with what we compare against.

mod cluster;
mod figures;
mod memory;
mod processes;
mod scale;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::{policies, sandbox, tools, workspace};
use figures::Figure;

/// All benchmarks, in the order in which they run.
pub(crate) const ALL: [&str; 8] =
    ["process", "durable", "select", "swap", "pool-size", "memory", cluster::NAME, scale::NAME];

/// Those of Kubernetes mode, which take minutes: they run where they are named.
const LONG: [&str; 2] = [cluster::NAME, scale::NAME];

/// What the benchmarks run.
pub(crate) struct Built {
    pub(crate) tools: PathBuf,
    pub(crate) bin: PathBuf,
    pub(crate) plugin: PathBuf,
    pub(crate) policies: PathBuf,
}

/// Runs the named benchmarks; all but those of Kubernetes mode where none is named.
pub(crate) fn run(names: &[String], json: bool) -> anyhow::Result<()> {
    for name in names {
        ensure!(
            ALL.contains(&name.as_str()),
            "no benchmark {name:?}; there are {}",
            ALL.join(", ")
        );
    }
    if names.iter().any(|name| LONG.contains(&name.as_str())) {
        tools::install_kubernetes()?;
    }
    let built = Built {
        tools: tools::install()?,
        policies: policies::build().map(|_| workspace::target().join("policies"))?,
        plugin: workspace::build_plugin()?,
        bin: workspace::target().join("release"),
    };
    // In one run: two with different packages would build some dependencies twice.
    workspace::cargo(&[
        "build",
        "--release",
        "-p",
        "tenure-daemon",
        "-p",
        "tenure-cli",
        "--bins",
        "--example",
        "bench",
    ])?;
    sandbox::enter()?;
    workspace::run(Command::new("ip").args(["netns", "add", "bench"]))?;
    // On the disk of the workspace: a temporary folder may be memory, and then nothing is durable.
    let folder = workspace::target().join(format!("bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let outcome = run_all(names, &built, &folder, json);
    let _ = std::fs::remove_dir_all(&folder);
    outcome
}

fn run_all(
    names: &[String],
    built: &Built,
    folder: &std::path::Path,
    json: bool,
) -> anyhow::Result<()> {
    let mut all: Vec<Figure> = Vec::new();
    figures::machine(folder)?;
    for name in ALL {
        let is_wanted = match names {
            [] => !LONG.contains(&name),
            names => names.iter().any(|wanted| wanted == name),
        };
        if !is_wanted {
            continue;
        }
        eprintln!("running {name} ...");
        let figures = match name {
            "process" => processes::run(built, folder)?,
            // The daemon's own program compiles.
            "swap" => by_program(name, built, folder, &[&built.bin.join("tenured")])?,
            "memory" => memory::run(built, folder)?,
            cluster::NAME => cluster::run(built, folder)?,
            scale::NAME => scale::run(built, folder)?,
            inside => by_program(inside, built, folder, &[])?,
        };
        if json {
            figures.iter().for_each(|figure| println!("{}", figure.to_json()));
        }
        all.extend(figures);
    }
    if !json {
        figures::table(&all);
    }
    Ok(())
}

/// Runs the benchmark program of the daemon; each line of its output is a figure.
fn by_program(
    name: &str,
    built: &Built,
    folder: &std::path::Path,
    more: &[&std::path::Path],
) -> anyhow::Result<Vec<Figure>> {
    let output = Command::new(built.bin.join("examples/bench"))
        .arg(name)
        .arg(folder)
        .arg(&built.policies)
        .args(more)
        .env("TENURE_TOOLS", &built.tools)
        .stderr(Stdio::inherit())
        .output()
        .context("running the benchmark program")?;
    ensure!(output.status.success(), "benchmark {name} ended with {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}
