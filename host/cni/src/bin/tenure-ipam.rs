//! The CNI IPAM plugin `tenure-ipam`; all of it is in [`tenure_cni::plugin`].

use std::process::ExitCode;

fn main() -> ExitCode {
    tenure_cni::plugin::run()
}
