//! What `bindgen!` makes of `sdk/wit/`: one module per world, the types shared, nothing async.
//!
//! One world per exported interface, because WIT knows no optional exports: a component is seen
//! through each world that it happens to export.

#![allow(missing_docs, unreachable_pub, unused_qualifications)]

pub(crate) mod imports {
    // Trappable: a look-up or a log line over the limit must end the call.
    wasmtime::component::bindgen!({
        path: "../../sdk/wit",
        world: "policy-imports",
        imports: { default: trappable },
    });
}

macro_rules! world {
    ($module:ident, $world:literal) => {
        pub(crate) mod $module {
            wasmtime::component::bindgen!({
                path: "../../sdk/wit",
                world: $world,
                with: { "tenure:policy/types": crate::bindings::imports::tenure::policy::types },
            });
        }
    };
}

world!(lifecycle, "lifecycle-policy");
world!(select, "select-policy");
world!(affinity, "affinity-policy");
world!(reclaim, "reclaim-policy");

pub(crate) use affinity::exports::tenure::policy::affinity as affinity_types;
pub(crate) use imports::tenure::policy::{host, types};
pub(crate) use lifecycle::exports::tenure::policy::lifecycle as lifecycle_types;
pub(crate) use reclaim::exports::tenure::policy::reclaim as reclaim_types;
pub(crate) use select::exports::tenure::policy::select as select_types;
