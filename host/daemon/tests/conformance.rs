//! The cases of CNI over the daemon of one machine. Those over agent and allocator are in `cluster/conformance.rs`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod lab;

use lab::Lab;

fn standalone() -> Lab {
    let pools = lab::conformance::pools();
    pools.into_iter().fold(Lab::enter(), |lab, (name, spec)| lab.pool(name, spec)).start()
}

conformance_suite!(standalone);
