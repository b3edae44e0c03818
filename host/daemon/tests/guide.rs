//! The guide for authors, executed as it is written: from `tenure policy new` to another pool choice of a running daemon.
//!
//! In a network and mount namespace of its own, in which the paths of the guide are those of an installation.

#![allow(clippy::unwrap_used)]

mod lab;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The chapter whose blocks are typed one after another.
const CHAPTER: &str = "## A policy in ten minutes";

const TEN_MINUTES: Duration = Duration::from_secs(600);

/// What an installation is to the guide. The daemon ends with the shell.
const INSTALLED: &str = r#"
for folder in /run /var/lib /opt; do mount -t tmpfs tmpfs $folder; done
mkdir -p /run/netns /run/tenure /opt/cni/bin /opt/tenure /var/lib/tenure
ln -s /run /var/run 2>/dev/null || true
ip link set lo up
cp "$PLUGIN" /opt/cni/bin/tenure-ipam
cp "$PROGRAMS/tenured" "$PROGRAMS/tenure" /opt/tenure
cp -r "$POLICIES" /opt/tenure/policies
PATH=/opt/tenure:$PATH
touch /run/tenured.toml
tenured --config /run/tenured.toml > /run/tenured.log 2>&1 &
trap 'kill $! && wait $! || true' EXIT
for try in $(seq 200); do tenure status > /dev/null 2>&1 && break; sleep 0.1; done
tenure status > /dev/null
export TENURE_SDK="$SDK" CARGO_NET_OFFLINE=true
"#;

/// The `sh` blocks of the chapter, in order.
fn blocks(guide: &str) -> Vec<String> {
    let chapter = guide.split_once(CHAPTER).unwrap().1;
    let chapter = chapter.split("\n## ").next().unwrap();
    let fenced = chapter.split("```sh\n").skip(1);
    fenced.map(|rest| rest.split_once("```").unwrap().0.to_owned()).collect()
}

#[test]
fn the_ten_minutes_of_the_guide_work_as_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let guide = std::fs::read_to_string(root.join("sdk/README.md")).unwrap();
    let blocks = blocks(&guide);
    assert!(blocks.len() >= 8, "only {} blocks of the guide were found", blocks.len());
    let programs = Path::new(env!("CARGO_BIN_EXE_tenured")).parent().unwrap().to_owned();
    assert!(programs.join("tenure").is_file(), "build it first: cargo build -p tenure-cli");
    let desk = tempfile::tempdir().unwrap();
    let mut script = format!("set -euo pipefail\n{INSTALLED}\n");
    for (number, block) in blocks.iter().enumerate() {
        script.push_str(&format!("echo '=== block {}'\n{block}\n", number + 1));
    }
    script.push_str("echo '=== all done'\n");
    let began = Instant::now();
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private", "--", "bash", "-c", &script])
        .current_dir(desk.path())
        .env("PROGRAMS", &programs)
        .env("PLUGIN", lab::plugin())
        .env("POLICIES", lab::policies())
        .env("SDK", root.join("sdk"))
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{out}");
    assert!(output.status.success() && out.contains("=== all done"), "{out}\n{err}");
    println!("ten minutes took {:.0} s", began.elapsed().as_secs_f64());
    assert!(began.elapsed() < TEN_MINUTES, "on a machine that does nothing else");
}
