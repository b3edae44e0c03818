//! Tests against the real kernel. Without root each runs itself again in a user namespace of its own.

mod addresses;
mod census;
mod identity;
mod lifetime;
mod reuse;
mod wake;
pub(crate) mod world;

use tenure_core::lease::Netns;
use tenure_core::ports::NetnsLook;

use crate::{KernelWitness, Options};

/// A test that needs network namespaces.
macro_rules! kernel_test {
    (fn $name:ident() $body:block) => {
        #[test]
        fn $name() {
            let path = concat!(module_path!(), "::", stringify!($name));
            crate::tests::world::as_root(path, || $body);
        }
    };
}
pub(crate) use kernel_test;

/// A witness that knows of no earlier process.
pub(crate) fn first_witness() -> KernelWitness {
    KernelWitness::start(&Options { earlier_home: None }).unwrap()
}

/// A witness as the next process of the same daemon starts it.
fn next_witness(earlier: &KernelWitness) -> KernelWitness {
    KernelWitness::start(&Options { earlier_home: Some(earlier.home().cookie) }).unwrap()
}

fn state(witness: &KernelWitness, netns: &Netns) -> NetnsLook {
    witness.look().unwrap().namespace(netns)
}

pub(crate) fn wait_until_gone(witness: &KernelWitness, netns: &Netns) {
    world::wait_for("the namespace to be gone", || state(witness, netns) == NetnsLook::Gone);
}
