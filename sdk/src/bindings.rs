//! What `generate!` makes of `wit/`, one module per world. Nothing is exported from here: with
//! `pub_export_macro` the exports stay inside macros that `export!` calls for the hooks named by the
//! author.

#![allow(missing_docs, clippy::all)]

pub mod imports {
    wit_bindgen::generate!({
        path: "wit",
        world: "policy-imports",
        generate_all,
        generate_unused_types: true,
        pub_export_macro: true,
        additional_derives: [PartialEq],
    });
}

macro_rules! world {
    ($module:ident, $world:literal, $export:literal) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "wit",
                world: $world,
                with: {
                    "tenure:policy/types@0.1.0": crate::bindings::imports::tenure::policy::types,
                },
                generate_unused_types: true,
                pub_export_macro: true,
                export_macro_name: $export,
                default_bindings_module: "tenure_policy::bindings",
                additional_derives: [PartialEq],
            });
        }
    };
}

world!(lifecycle, "lifecycle-policy", "export_lifecycle");
world!(select, "select-policy", "export_select");
world!(affinity, "affinity-policy", "export_affinity");
world!(reclaim, "reclaim-policy", "export_reclaim");
