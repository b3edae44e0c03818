//! The load pipeline: each stage refuses with its name, the cause and what to do, and the version
//! that serves goes on serving.

use serde_json::{Value, json};
use tenure_core::decision::{DecidedBy, Selection};
use tenure_core::name::Digest;
use tenure_core::ports::{Policies, PolicyRefusal};
use tenure_policy_host::{EngineOptions, Layout};

use crate::world::*;

fn refused(world: &World, spec: Value) -> PolicyRefusal {
    world.install("new", spec).expect_err("it was taken")
}

/// Installs bytes from a file of their own.
fn refused_bytes(bytes: &[u8]) -> PolicyRefusal {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.wasm");
    std::fs::write(&path, bytes).unwrap();
    refused(&World::new(), json!({"source": {"file": path}}))
}

fn hostile(settings: Value) -> Value {
    json!({"source": {"file": guest("hostile")}, "settings": settings})
}

#[test]
fn a_core_module_is_refused_as_what_it_is() {
    let refusal = refused_bytes(&wat::parse_str("(module)").unwrap());
    assert_eq!(refusal.stage, "recognising the file");
    assert!(refusal.why.contains("core Wasm module"), "{refusal}");
}

#[test]
fn a_component_that_imports_wasi_is_refused_with_all_of_its_imports() {
    let component = r#"(component
        (import "wasi:cli/stdout@0.2.6" (instance))
        (import "wasi:clocks/wall-clock@0.2.6" (instance)))"#;
    let refusal = refused_bytes(&wat::parse_str(component).unwrap());
    assert_eq!(refusal.stage, "checking the imports");
    assert!(
        refusal.why.contains("wasi:cli/stdout@0.2.6, wasi:clocks/wall-clock@0.2.6"),
        "{refusal}"
    );
}

#[test]
fn a_component_without_hooks_is_refused_with_what_it_has() {
    let component = r#"(component (instance $i) (export "my:own/thing" (instance $i)))"#;
    let refusal = refused_bytes(&wat::parse_str(component).unwrap());
    assert_eq!(refusal.stage, "checking the exports");
    assert!(refusal.why.contains("my:own/thing"), "{refusal}");
}

#[test]
fn a_component_that_is_not_valid_is_refused_by_the_compiler() {
    let bytes = std::fs::read(guest("hostile")).unwrap();
    // The name sections at the end aside, most of it is code: break some.
    let mut broken = bytes.clone();
    let middle = broken.len() / 2;
    broken[middle..middle + 64].fill(0xff);
    let refusal = refused_bytes(&broken);
    assert!(["compiling", "recognising the file"].contains(&refusal.stage), "{refusal}");
}

#[test]
fn a_hook_of_another_shape_is_refused_by_its_name() {
    let refusal = refused(&World::new(), json!({"source": {"file": guest("misshapen")}}));
    assert_eq!(refusal.stage, "making a trial instance");
    assert!(refusal.why.contains("interface `select`"), "{refusal}");
}

#[test]
fn a_schema_that_is_none_is_refused() {
    let refusal = refused(&World::new(), json!({"source": {"file": guest("lying")}}));
    assert_eq!(refusal.stage, "reading its description");
    assert!(refusal.why.contains("not JSON"), "{refusal}");
}

#[test]
fn settings_are_checked_by_the_schema_then_by_the_policy_with_the_path_of_the_field() {
    let world = World::new();
    for (settings, path) in [
        (json!({"attribute": 7}), "/attribute: "),
        (json!({"init": "refuse"}), "/init: refused by the policy itself"),
    ] {
        let refusal = refused(&world, hostile(settings));
        assert_eq!(refusal.stage, "checking the settings");
        assert!(refusal.why.contains(path), "{refusal}");
    }
}

#[test]
fn an_init_that_refuses_what_was_accepted_is_called_a_lie() {
    let refusal = refused(&World::new(), hostile(json!({"init": "lie"})));
    assert_eq!(refusal.stage, "checking the settings");
    assert!(
        refusal.why.contains("changed its mind") && refusal.why.contains("defect"),
        "{refusal}"
    );
}

#[test]
fn an_init_that_never_ends_or_panics_is_refused_at_the_trial() {
    let world = World::new();
    for (mode, kind) in [("loop", "fuel"), ("panic", "trap")] {
        let refusal = refused(&world, hostile(json!({"init": mode})));
        assert_eq!(refusal.stage, "making a trial instance");
        assert!(refusal.why.contains(kind), "{refusal}");
    }
}

#[test]
fn a_misspelt_attribute_source_is_refused() {
    let refusal = refused(&World::new(), hostile(json!({"attribute": "pod.anotation/x"})));
    assert_eq!(refusal.stage, "reading its description");
    assert!(
        refusal.why.contains("pod.anotation/x") && refusal.why.contains("pod.annotation/"),
        "{refusal}"
    );
}

#[test]
fn another_digest_than_the_one_asked_for_is_refused() {
    let mut spec = hostile(json!({}));
    spec["digest"] = json!(Digest::of(b"something else"));
    let refusal = refused(&World::new(), spec);
    assert_eq!(refusal.stage, "checking the digest");
}

#[test]
fn limits_out_of_bounds_a_missing_file_and_an_unknown_shipped_policy_are_refused() {
    let world = World::new();
    let mut spec = hostile(json!({}));
    spec["limits"] = json!({"memoryKib": 1 << 30});
    assert_eq!(refused(&world, spec).stage, "checking the limits");
    let refusal = refused(&world, json!({"source": {"bundled": "../test/hostile"}}));
    assert!(refusal.why.contains("pool-order"), "it lists what there is: {refusal}");
    let refusal = refused(&world, json!({"source": {"file": "/nowhere/x.wasm"}}));
    assert!(refusal.why.contains("/nowhere/x.wasm"), "{refusal}");
}

#[test]
fn a_hook_that_the_component_lacks_is_refused() {
    let spec = json!({"source": {"bundled": "grace"}, "hooks": ["select"]});
    let refusal = refused(&World::new(), spec);
    assert!(refusal.why.contains("select") && refusal.why.contains("only reclaim"), "{refusal}");
}

#[test]
fn a_refused_version_leaves_the_old_one_serving_and_says_so_in_the_status() {
    let world = World::new();
    world.hostile("new", json!({}));
    let before = world.status("new");
    let refusal = refused(&world, hostile(json!({"init": "refuse"})));
    let after = world.status("new");
    assert_eq!(after.digest, before.digest);
    assert_eq!(after.last_refusal, Some(refusal.to_string()));
    assert_eq!(world.host.select(&select("first")).answer, Selection::Ranked(vec![0]));
    world.hostile("new", json!({}));
    assert_eq!(world.status("new").last_refusal, None);
}

#[test]
fn a_new_version_that_fails_at_once_gives_way_to_the_last_good_one() {
    let world = World::new();
    let spec = json!({"source": {"bundled": "balanced"}});
    let good = world.install("policy", spec).unwrap();
    world.hostile("policy", json!({}));
    for _ in 0..5 {
        assert_ne!(world.status("policy").digest, good.digest);
        world.host.select(&select("panic"));
    }
    let status = world.status("policy");
    assert_eq!(status.digest, good.digest);
    assert!(status.last_refusal.unwrap().contains("taken back"));
    assert_eq!(status.faults.len(), 1, "the counters live on");
    assert_ne!(world.host.select(&select("panic")).by, DecidedBy::BuiltIn);
}

#[test]
fn a_version_that_has_served_for_long_stays_when_it_begins_to_fail() {
    let world = World::new();
    world.install("policy", json!({"source": {"bundled": "balanced"}})).unwrap();
    world.hostile("policy", json!({}));
    let hostile = world.status("policy").digest;
    world.clock.pass(601);
    (0..5).for_each(|_| drop(world.host.select(&select("panic"))));
    assert_eq!(world.status("policy").digest, hostile);
    assert!(world.status("policy").breaker_open);
}

#[test]
fn a_check_says_what_an_install_would_and_lets_nothing_serve() {
    let world = World::new();
    let read = |spec: Value| serde_json::from_value(spec).unwrap();
    let good = world.host.check(&name("new"), &read(hostile(json!({})))).unwrap();
    assert_eq!(good.component, "hostile");
    let bad = world.host.check(&name("new"), &read(hostile(json!({"init": "refuse"}))));
    assert_eq!(bad.unwrap_err().stage, "checking the settings");
    assert!(world.host.status().is_empty());
}

#[test]
fn a_removed_policy_is_asked_no_more() {
    let world = World::new();
    world.hostile("hostile", json!({}));
    world.host.remove(&name("hostile"));
    world.host.remove(&name("never-there"));
    assert_eq!(world.host.select(&select("first")).answer, built_in());
    assert!(world.host.status().is_empty());
}

#[test]
fn every_memory_layout_serves() {
    for layout in [Layout::Pool, Layout::SmallPool, Layout::OnDemand] {
        let engine = EngineOptions { layout: Some(layout), ..Default::default() };
        let world = World::with(engine, Default::default());
        assert_eq!(world.host.layout(), layout);
        world.hostile("hostile", json!({}));
        assert_eq!(
            world.host.select(&select("first")).answer,
            Selection::Ranked(vec![0]),
            "{layout:?}"
        );
    }
}

#[test]
fn a_hook_that_fails_on_a_request_of_any_size_is_refused_with_that_size() {
    let world = World::new();
    // Ranking the most rows that there can be takes more.
    let limits = json!({"fuel": 150_000, "fuelPerRow": 0});
    let spec = json!({"source": {"bundled": "balanced"}, "limits": limits});
    let refusal = refused(&world, spec);
    assert_eq!(refusal.stage, "trying its hooks");
    assert!(refusal.why.contains("select request with 512 row(s)"), "{refusal}");
}
