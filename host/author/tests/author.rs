//! The tools on the shipped policies, in the engine of the daemon.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tenure_author::{
    CaseOptions, Difference, Level, Ring, Suite, Terms, Verdict, check, compare, explain, measure,
    replay,
};
use tenure_core::decision::{Hook, StepOutcome};
use tenure_core::name::ObjectName;
use tenure_core::objects::PolicyLimits;
use tenure_core::ports::Policies as _;
use tenure_core::time::{Clock, Moment, WallMs};
use tenure_policy_host::{PolicyHost, PolicyHostOptions, Question, RingOptions, sample};

const SHIPPED: [&str; 4] = ["balanced", "grace", "pool-order", "sticky-identity"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn folder() -> PathBuf {
    let folder = std::env::var_os("TENURE_TEST_POLICIES");
    let folder = folder.map_or_else(|| root().join("target/policies"), PathBuf::from);
    assert!(folder.is_dir(), "{} is missing: run `cargo xtask policies` first", folder.display());
    folder
}

fn component(name: &str) -> PathBuf {
    folder().join(format!("{name}.wasm"))
}

fn fixtures(name: &str) -> PathBuf {
    root().join("policies").join(name).join("fixtures")
}

/// A fixture of `balanced` in a folder of its own.
fn fixture(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("case.yaml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

const EMPTIER: &str = "\
about: the emptier pool comes first  # a comment
hook: select
pools: [{name: blue}, {name: red}]
request:
  candidates: [{pool: 0, free: 1, used: 9}, {pool: 1, free: 9, used: 1}]
answer: {ranked: [1, 0]}
";

#[test]
fn the_fixtures_of_all_shipped_policies_pass_in_any_order() {
    for name in SHIPPED {
        for seed in [0, 1, 77] {
            let options = CaseOptions { seed, ..CaseOptions::default() };
            let suite = Suite::play(&component(name), &fixtures(name), &options).unwrap();
            assert_eq!(suite.outcome().failed, 0, "{name}: {:#?}", suite.cases);
            assert!(suite.cases.iter().all(|case| case.fuel > 0 && case.memory > 0), "{name}");
        }
    }
}

#[test]
fn a_wrong_answer_fails_with_a_diff_and_is_blessed_on_request_only() {
    let (_folder, path) = fixture(&EMPTIER.replace("[1, 0]", "[0, 1]"));
    let play = |bless| {
        let options = CaseOptions { bless, ..CaseOptions::default() };
        Suite::play(&component("balanced"), &path, &options).unwrap()
    };
    let failed = play(false);
    let Verdict::Failed(why) = &failed.cases[0].verdict else { panic!("it passed") };
    assert!(why.contains("another answer") && why.contains('+') && why.contains('-'), "{why}");
    assert!(failed.junit().unwrap().contains("<failure"), "{}", failed.junit().unwrap());
    assert_eq!(play(true).cases[0].verdict, Verdict::Blessed);
    assert_eq!(play(false).cases[0].verdict, Verdict::Passed);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("# a comment") && text.contains("{\"ranked\":[1,0]}"), "{text}");
}

#[test]
fn a_case_that_takes_more_than_its_ceilings_fails_although_the_answer_is_right() {
    let (_folder, path) = fixture(&format!("{EMPTIER}ceilings: {{fuel: 10, memory: 1KiB}}\n"));
    let suite = Suite::play(&component("balanced"), &path, &CaseOptions::default()).unwrap();
    let Verdict::Failed(why) = &suite.cases[0].verdict else { panic!("it passed") };
    assert!(why.contains("at most 10 allowed") && why.contains("memory"), "{why}");
}

#[test]
fn settings_of_a_case_that_the_policy_refuses_fail_it_and_the_field_is_named() {
    let (_folder, path) = fixture(&format!("{EMPTIER}settings: {{spraed: true}}\n"));
    let suite = Suite::play(&component("balanced"), &path, &CaseOptions::default()).unwrap();
    let Verdict::Failed(said) = &suite.cases[0].verdict else { panic!("it passed") };
    assert!(said.contains("checking the settings") && said.contains("spraed"), "{said}");
    assert!(suite.junit().unwrap().contains("spraed"));
}

#[test]
fn check_says_what_the_host_would_and_inspect_sees_more_than_policies() {
    let good = check(&component("grace"), &Terms::default()).unwrap();
    assert!(good.accepted && good.face.unwanted().next().is_none());
    assert_eq!(good.face.hooks, [Hook::Reclaim]);
    assert_eq!(good.face.needs, ["0.1.0"]);
    let sizes: Vec<usize> = good.face.sections.iter().map(|section| section.size).collect();
    assert!(sizes.is_sorted_by(|a, b| a >= b) && sizes.iter().sum::<usize>() <= good.face.size);
    assert_eq!(good.about.as_ref().unwrap().name, "grace");
    let bad =
        check(&component("grace"), &Terms { settings: json!({"nonsense": 1}), ..Terms::default() })
            .unwrap();
    assert_eq!(bad.stage.as_deref(), Some("checking the settings"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wasi.wasm");
    let text = r#"(component (import "wasi:random/random@0.2.6" (instance)))"#;
    std::fs::write(&path, wat::parse_str(text).unwrap()).unwrap();
    let other = check(&path, &Terms::default()).unwrap();
    assert_eq!(other.stage.as_deref(), Some("checking the imports"));
    assert!(other.face.unwanted().next().unwrap().advice.contains("request.seed"));
}

#[test]
fn a_bench_counts_what_is_deterministic_and_measures_each_hook_from_few_rows_to_many() {
    let mut told = Vec::new();
    let mut tell = |what: &str| told.push(what.to_owned());
    let figures = measure(&component("balanced"), &Terms::default(), &mut tell).unwrap();
    let rows: Vec<usize> = figures.decisions.iter().map(|figure| figure.rows).collect();
    assert_eq!(rows, [1, 8, 64, 512]);
    assert!(figures.compile_ns > 0 && figures.instance.count >= 200);
    assert!(figures.instance.p50_ns > 100, "{:?}", figures.instance);
    for pair in figures.decisions.windows(2) {
        assert!(pair[0].fuel < pair[1].fuel && pair[0].lowered < pair[1].lowered, "{pair:?}");
    }
    for figure in &figures.decisions {
        assert!(figure.spread.count >= 200 && figure.fault.is_none(), "{figure:?}");
        // An instance is made, memory copied, a function called: no machine does that in a tenth of a microsecond.
        assert!(figure.spread.p50_ns > 100, "{figure:?}");
        assert!(figure.spread.p50_ns <= figure.spread.p99_ns, "{figure:?}");
        assert!(figure.spread.p99_ns <= figure.spread.p999_ns, "{figure:?}");
        assert!(figure.of_budget > 0.0 && figure.of_budget < 1.0, "{figure:?}");
    }
    assert!(told.iter().any(|line| line == "select, 512 rows"), "{told:?}");
    let same =
        compare(&component("balanced"), &component("balanced"), &Terms::default(), &mut |_| ())
            .unwrap();
    for one in same {
        assert_eq!(one.fuel_a, one.fuel_b);
        assert!(one.ratio.low <= one.ratio.median && one.ratio.median <= one.ratio.high, "{one:?}");
    }
    compare(&component("balanced"), &component("grace"), &Terms::default(), &mut |_| ())
        .unwrap_err();
}

#[test]
fn an_explained_decision_accounts_for_its_fuel_by_function() {
    let path = fixtures("pool-order").join("pod-annotation.json");
    let explained = explain(&component("pool-order"), &path, &PolicyLimits::default()).unwrap();
    assert!(explained.expected && explained.outcome == StepOutcome::Decided);
    let (held, later): (Vec<_>, Vec<_>) =
        explained.checks.iter().partition(|check| check.starts_with("held: "));
    assert_eq!((held.len(), later.len()), (2, 1), "{:?}", explained.checks);
    assert!(!explained.lookups.is_empty());
    let own: u64 = explained.functions.iter().map(|one| one.own).sum();
    // Fuel of the last stretch, after which nothing looks any more, belongs to nobody.
    assert!(own <= explained.fuel && own * 10 >= explained.fuel * 8, "{own} of {}", explained.fuel);
    for one in &explained.functions {
        assert!(one.own <= one.within, "{one:?}");
    }
    // Too little fuel leaves nothing to check.
    let limits = PolicyLimits { fuel: Some(100_000), fuel_per_row: Some(0), ..Default::default() };
    let starved = explain(&component("pool-order"), &path, &limits).unwrap_err();
    assert!(starved.to_string().contains("fuel"), "{starved}");
    let again = explain(&component("pool-order"), &path, &PolicyLimits::default()).unwrap();
    assert_eq!(explained, again);
}

#[test]
fn two_versions_are_compared_by_interface_and_by_what_they_answer() {
    let (grace, balanced) = (component("grace"), component("balanced"));
    let same =
        Difference::of(&grace, &grace, Some(&fixtures("grace")), &PolicyLimits::default()).unwrap();
    assert_eq!((same.level, same.interface.len(), same.behaviour.len()), (Level::Patch, 0, 0));
    assert!(same.is_declared() && same.cases >= 5);
    let other = Difference::of(
        &balanced,
        &component("pool-order"),
        Some(&fixtures("balanced")),
        &PolicyLimits::default(),
    )
    .unwrap();
    assert_eq!(other.level, Level::Major);
    assert!(!other.is_declared(), "both say {}", other.version_a);
    assert!(!other.behaviour.is_empty());
    let hooks = Difference::of(&balanced, &grace, None, &PolicyLimits::default()).unwrap();
    assert!(hooks.interface.iter().any(|(_, what)| what == "hook select is gone"), "{hooks:?}");
}

// === Replay ===

struct Counting(std::sync::atomic::AtomicU64);

impl Clock for Counting {
    fn now(&self) -> Moment {
        Moment(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }
    fn boottime_ms(&self) -> u64 {
        0
    }
    fn wall(&self) -> WallMs {
        WallMs(1_800_000_000_000)
    }
}

/// A daemon's policy host that has decided so often, as the admin API shows it.
fn recorded(count: usize) -> Ring {
    let options = PolicyHostOptions {
        folder: folder(),
        ring: RingOptions { records: count, bytes: 1 << 30 },
        ..PolicyHostOptions::default()
    };
    let host = PolicyHost::new(options, Arc::new(Counting(Default::default()))).unwrap();
    let settings = json!({"pool-order": {"defaultPools": ["smoke-1", "smoke-0"]}});
    let mut policies = Vec::new();
    for name in ["pool-order", "sticky-identity", "grace"] {
        let own = settings.get(name).cloned().unwrap_or_else(|| json!({}));
        let spec = json!({"source": {"bundled": name}, "settings": own});
        let object = ObjectName::new(name).unwrap();
        let status = host.install(&object, &serde_json::from_value(spec.clone()).unwrap()).unwrap();
        policies.push(json!({"metadata": {"name": name}, "spec": spec, "status": status}));
    }
    for at in 0..count {
        ask(at).decide(&host);
    }
    Ring::of(&policies, host.decisions(count)).unwrap()
}

/// Requests of all hooks, of many sizes and holders.
fn ask(at: usize) -> Question {
    let rows = 1 + at % 7;
    match at % 3 {
        0 => {
            let mut request = sample::select(rows);
            request.seed = at as u64;
            request.holder.owner.name = format!("web-{}", at % 11).into();
            if at.is_multiple_of(5) {
                let pools = json!(["smoke-0"]).to_string();
                request.holder.attributes.insert("pod.annotation/tenure.dev/pools".into(), pools);
            }
            Question::Select(request.into())
        }
        1 => {
            let mut request = sample::affinity(at % 4);
            request.holder.owner.name = format!("web-{}", at % 11).into();
            Question::Affinity(request.into())
        }
        _ => Question::Reclaim(sample::reclaim(rows).into()),
    }
}

/// There and back, as a file.
fn through_a_file(ring: &Ring) -> Ring {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ring.json");
    ring.write(&path).unwrap();
    Ring::read(&path).unwrap()
}

#[test]
fn ten_thousand_recorded_decisions_come_out_the_same_to_the_unit_of_fuel() {
    let ring = through_a_file(&recorded(10_000));
    assert_eq!(ring.len(), 10_000);
    let replayed = replay(&ring, &BTreeMap::new(), &folder()).unwrap();
    assert_eq!((replayed.decisions, replayed.same, replayed.left_out), (10_000, 10_000, 0));
    assert_eq!(replayed.changes, []);
}

#[test]
fn a_policy_that_is_younger_than_a_decision_has_no_part_in_its_replay() {
    let options = PolicyHostOptions { folder: folder(), ..PolicyHostOptions::default() };
    let host = PolicyHost::new(options, Arc::new(Counting(Default::default()))).unwrap();
    let mut policies = Vec::new();
    for (name, priority) in [("grace", 0), ("balanced", 7)] {
        let spec = json!({"source": {"bundled": name}, "priority": priority});
        let object = ObjectName::new(name).unwrap();
        let status = host.install(&object, &serde_json::from_value(spec.clone()).unwrap()).unwrap();
        policies.push(json!({"metadata": {"name": name}, "spec": spec, "status": status}));
        for at in 0..30 {
            ask(at).decide(&host);
        }
    }
    let ring = through_a_file(&Ring::of(&policies, host.decisions(100)).unwrap());
    let replayed = replay(&ring, &BTreeMap::new(), &folder()).unwrap();
    assert_eq!((replayed.decisions, replayed.same), (60, 60), "{:?}", replayed.changes);
}

/// Its answers were those of other settings.
#[test]
fn a_decision_under_settings_that_were_changed_since_is_left_out() {
    let options = PolicyHostOptions { folder: folder(), ..PolicyHostOptions::default() };
    let host = PolicyHost::new(options, Arc::new(Counting(Default::default()))).unwrap();
    let name = ObjectName::new("pool-order").unwrap();
    let mut policies = Vec::new();
    for pools in [["smoke-0"], ["smoke-1"]] {
        let settings = json!({"defaultPools": pools});
        let spec = json!({"source": {"bundled": "pool-order"}, "settings": settings});
        let status = host.install(&name, &serde_json::from_value(spec.clone()).unwrap()).unwrap();
        policies = vec![json!({"metadata": {"name": name}, "spec": spec, "status": status})];
        for at in (0..30).step_by(3) {
            ask(at).decide(&host);
        }
    }
    let ring = through_a_file(&Ring::of(&policies, host.decisions(100)).unwrap());
    let replayed = replay(&ring, &BTreeMap::new(), &folder()).unwrap();
    assert_eq!((replayed.decisions, replayed.same, replayed.left_out), (10, 10, 10));
}

#[test]
fn another_module_shows_whom_it_would_have_changed() {
    let ring = through_a_file(&recorded(300));
    let modules = BTreeMap::from([(ObjectName::new("pool-order").unwrap(), component("balanced"))]);
    let error = replay(&ring, &modules, &folder()).unwrap_err().to_string();
    assert!(error.contains("defaultPools"), "its settings are those of the other: {error}");
    // One that takes no settings, and decides the other way round.
    let modules = BTreeMap::from([(ObjectName::new("grace").unwrap(), component("balanced"))]);
    let replayed = replay(&ring, &modules, &folder()).unwrap();
    assert!(replayed.same < replayed.decisions);
    assert!(
        replayed.effects.keys().any(|effect| effect.starts_with("other ")),
        "{:?}",
        replayed.effects
    );
    let reclaims = replayed.changes.iter().filter(|change| change.hook == Hook::Reclaim).count();
    assert!(reclaims > 0, "{:?}", replayed.effects);
    let unknown = BTreeMap::from([(ObjectName::new("nobody").unwrap(), component("grace"))]);
    assert!(replay(&ring, &unknown, &folder()).unwrap_err().to_string().contains("pool-order"));
}

#[test]
fn a_module_that_is_another_than_recorded_is_refused_and_not_replayed() {
    let ring = through_a_file(&recorded(3));
    let empty = tempfile::tempdir().unwrap();
    for name in ["pool-order", "sticky-identity", "grace"] {
        let to = empty.path().join(format!("{name}.wasm"));
        std::fs::copy(component("balanced"), to).unwrap();
    }
    let error = replay(&ring, &BTreeMap::new(), empty.path()).unwrap_err().to_string();
    assert!(error.contains("spec.digest") && error.contains("--module"), "{error}");
}

#[test]
fn a_recorded_decision_becomes_a_fixture_that_passes() {
    let ring = through_a_file(&recorded(30));
    let mut passed = 0;
    for id in 1..=30 {
        let text = ring.fixture(id, "as it was").unwrap();
        let (_folder, path) = fixture(&text);
        let hook = serde_saphyr::from_str::<Value>(&text).unwrap()["hook"].clone();
        let policy = match hook.as_str().unwrap() {
            "select" => "pool-order",
            "affinity" => "sticky-identity",
            _ => "grace",
        };
        let suite = Suite::play(&component(policy), &path, &CaseOptions::default()).unwrap();
        assert_eq!(suite.outcome().failed, 0, "{text}\n{:#?}", suite.cases);
        passed += suite.outcome().passed;
    }
    assert_eq!(passed, 30);
    ring.fixture(99, "x").unwrap_err();
}
