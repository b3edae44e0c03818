//! Which compiler can make Wasm here. A rustup toolchain has the target as a component; where it
//! cannot be fetched, a compiler that brings the source of its standard library builds that too
//! (Debian: `rustc-web` and `rust-web-src`).

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::AuthorError;

/// What policies are built for: nothing of WASI comes with it.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// A compiler that can build for the target.
#[derive(Debug)]
pub enum Toolchain {
    /// With the target's standard library.
    Ready {
        /// The compiler.
        rustc: PathBuf,
    },
    /// With the source of it.
    FromSource {
        /// The compiler.
        rustc: PathBuf,
        /// Such a compiler often comes without a linker for Wasm; rustup's has one.
        linker: Option<PathBuf>,
    },
}

// === impl Toolchain ===

impl Toolchain {
    /// The first compiler on PATH that will do.
    ///
    /// # Errors
    /// [`AuthorError::NoTarget`]: none will; says what to install.
    pub fn find() -> Result<Self, AuthorError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let all: Vec<(PathBuf, PathBuf)> = std::env::split_paths(&path)
            .map(|dir| dir.join("rustc"))
            .filter(|rustc| rustc.is_file())
            .filter_map(|rustc| Some((sysroot(&rustc)?, rustc)))
            .collect();
        for (sysroot, rustc) in &all {
            let rustlib = sysroot.join("lib/rustlib");
            if rustlib.join(TARGET).join("lib").is_dir() {
                return Ok(Self::Ready { rustc: rustc.clone() });
            }
            if rustlib.join("src/rust/library/std").is_dir() {
                let linker = all.iter().find_map(|(sysroot, _)| linker(sysroot));
                return Ok(Self::FromSource { rustc: rustc.clone(), linker });
            }
        }
        Err(AuthorError::NoTarget)
    }

    /// Makes `cargo` build with it.
    pub fn apply(&self, cargo: &mut Command) {
        match self {
            Self::Ready { rustc } => {
                cargo.env("RUSTC", rustc);
            }
            Self::FromSource { rustc, linker } => {
                cargo.env("RUSTC", rustc);
                // `-Z` on a stable cargo.
                cargo.env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=std,panic_abort");
                if let Some(linker) = linker {
                    cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
                }
            }
        }
    }
}

fn sysroot(rustc: &Path) -> Option<PathBuf> {
    let output = Command::new(rustc).args(["--print", "sysroot"]).output().ok()?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
}

fn linker(sysroot: &Path) -> Option<PathBuf> {
    let hosts = std::fs::read_dir(sysroot.join("lib/rustlib")).ok()?.flatten();
    hosts.map(|host| host.path().join("bin/rust-lld")).find(|linker| linker.is_file())
}
