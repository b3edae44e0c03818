//! Policies come, change and go under a running daemon: bad modules at each stage, swaps under load, kills in the middle of
//! one, and what a start finds.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod bombs;
mod lab;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lab::{Lab, call, netns, policies, until};
use serde_json::{Value, json};

/// A lab whose shipped policies lie in a folder of its own, to be spoilt: none at first.
fn lab() -> (Lab, PathBuf) {
    let lab = Lab::enter().without_policies().configure("[log]\nlevel = \"warn\"\n");
    let folder = lab.policies.clone();
    (lab, folder)
}

fn guest(name: &str) -> Vec<u8> {
    std::fs::read(policies().join(name)).unwrap()
}

/// Two shipped components that do the same.
const TWINS: [&str; 2] = ["one", "twin"];

/// The same component with another digest: a custom section that nobody reads.
fn twin_of(component: &[u8]) -> Vec<u8> {
    let mut twin = component.to_vec();
    twin.extend(b"\0\x05\x04twin");
    twin
}

fn policy(name: &str, spec: &Value) -> Value {
    let mut whole = json!({"source": {"bundled": name}});
    lab::merge(&mut whole, spec.clone());
    json!({"apiVersion": "tenure.dev/v1alpha1", "kind": "IPAMPolicy", "metadata": {"name": name}, "spec": whole})
}

fn apply(lab: &Lab, object: &Value) -> (u16, String) {
    lab.http("POST", "/v1/apply", &object.to_string())
}

fn applied(lab: &Lab, object: &Value) {
    let (status, body) = apply(lab, object);
    assert_eq!(status, 200, "{body}");
}

fn status(lab: &Lab, name: &str) -> Value {
    let (code, body) = lab.http("GET", &format!("/v1/policies/{name}"), "");
    assert_eq!(code, 200, "{body}");
    serde_json::from_str::<Value>(&body).unwrap()["status"].clone()
}

/// How a module is bad: its name, what stands in its place, the rest of its object, the stage, and words of the reason.
type Bad = (&'static str, Option<Vec<u8>>, Value, &'static str, &'static str);

fn one_for_each_stage() -> Vec<Bad> {
    let wat = |text: &str| Some(wat::parse_str(text).unwrap());
    let wasi = r#"(component (import "wasi:cli/stdout@0.2.6" (instance)))"#;
    let mine = r#"(component (instance $i) (export "my:own/thing" (instance $i)))"#;
    let none = json!({});
    let pinned = json!({"digest": digest(&guest("test/hostile.wasm"))});
    let attribute = json!({"settings": {"attribute": "cni.args/x"}});
    let little_fuel = json!({"limits": {"fuel": 150_000, "fuelPerRow": 0}});
    let bomb = bombs::of_memory(3000, 1000);
    vec![
        ("gone", None, none.clone(), "reading the component", "no shipped policy \"gone\""),
        ("other", Some(guest("balanced.wasm")), pinned, "checking the digest", "asks for sha256:"),
        ("text", Some(b"hello".to_vec()), none.clone(), "recognising the file", "it is text"),
        ("wasi", wat(wasi), none.clone(), "checking the imports", "wasi:cli/stdout@0.2.6"),
        ("mine", wat(mine), none.clone(), "checking the exports", "my:own/thing"),
        ("bomb", Some(bomb), none.clone(), "compiling", "MiB of memory and was stopped"),
        (
            "misshapen",
            Some(guest("test/misshapen.wasm")),
            none.clone(),
            "making a trial instance",
            "interface `select`",
        ),
        ("lying", Some(guest("test/lying.wasm")), none, "reading its description", "not JSON"),
        (
            "settings",
            Some(guest("pool-order.wasm")),
            attribute,
            "checking the settings",
            "attribute",
        ),
        ("smoke", Some(guest("balanced.wasm")), little_fuel, "trying its hooks", "512 row(s)"),
    ]
}

fn digest(bytes: &[u8]) -> String {
    tenure_core::name::Digest::of(bytes).to_string()
}

#[test]
fn a_bad_module_at_any_stage_leaves_the_old_one_serving_and_status_names_stage_and_reason() {
    let (lab, folder) = lab();
    let mut lab = lab.pool("p", json!({"cidr": "10.7.0.0/24"})).start();
    let good = guest("test/hostile.wasm");
    let stages = one_for_each_stage();
    let file = |name: &str| folder.join(format!("{name}.wasm"));
    for (name, _, spec, _, _) in &stages {
        std::fs::write(file(name), &good).unwrap();
        applied(&lab, &policy(name, spec));
    }
    for (name, bad, _, _, _) in &stages {
        match bad {
            Some(bytes) => std::fs::write(file(name), bytes).unwrap(),
            None => std::fs::remove_file(file(name)).unwrap(),
        }
    }
    // Applied anew with the bad one: refused in words, and nothing has changed.
    for (name, _, spec, stage, why) in &stages {
        let mut spec = spec.clone();
        spec["priority"] = json!(1);
        let (code, body) = apply(&lab, &policy(name, &spec));
        assert_eq!(code, 400, "{name}: {body}");
        assert!(body.contains(&format!("while {stage}: ")), "{name}: {body}");
        assert!(body.contains(&why.replace('"', "\\\"")), "{name}: {body}");
        let status = status(&lab, name);
        assert_eq!(
            (&status["digest"], &status["stage"]),
            (&json!(digest(&good)), &json!("serving"))
        );
    }
    // Found at a start: the last good one serves, and says why.
    assert!(lab.stop());
    lab.launch();
    for (name, _, _, stage, why) in &stages {
        let status = status(&lab, name);
        assert_eq!((&status["digest"], &status["stage"]), (&json!(digest(&good)), &json!(stage)));
        assert!(status["lastRefusal"].as_str().unwrap().contains(why), "{name}: {status}");
    }
    netns("c1");
    let config = lab.network("1.1.0", "bridge", json!({"args": {"cni": {"hostile": "deny"}}}));
    let denied = lab.plugin("ADD", "c1", &config);
    assert!(denied.body.to_string().contains("because"), "the last good one decides: {denied:?}");
}

#[test]
fn a_new_version_whose_breaker_opens_is_taken_back_and_limits_that_cannot_be_are_refused() {
    let (lab, folder) = lab();
    let (good, file) = (guest("balanced.wasm"), folder.join("p.wasm"));
    std::fs::write(&file, &good).unwrap();
    let lab = lab.pool("pool", json!({"cidr": "10.7.0.0/24"})).start();
    applied(&lab, &policy("p", &json!({})));
    std::fs::write(&file, guest("test/hostile.wasm")).unwrap();
    applied(&lab, &policy("p", &json!({"priority": 1})));
    assert_eq!(status(&lab, "p")["digest"], digest(&guest("test/hostile.wasm")));
    let config = lab.network("1.1.0", "bridge", json!({"args": {"cni": {"hostile": "panic"}}}));
    for number in 0..5 {
        let container = format!("c{number}");
        netns(&container);
        // Each fault costs nobody an address.
        assert_eq!(lab.frame("ADD", &container, &config).unwrap().addresses().len(), 1);
    }
    until("the version before it serves", || status(&lab, "p")["digest"] == digest(&good));
    let taken_back = status(&lab, "p");
    assert_eq!(taken_back["stage"], "serving on probation");
    let why = taken_back["lastRefusal"].as_str().unwrap();
    assert!(why.contains("taken back") && why.contains("the policy says no"), "{why}");
    let (code, body) = apply(&lab, &policy("p", &json!({"limits": {"fuel": 0}})));
    assert_eq!(code, 400, "{body}");
    assert!(body.contains("while checking the limits: spec.limits.fuel is 0"), "{body}");
}

#[test]
fn a_bad_policy_among_the_manifests_does_not_keep_the_daemon_from_starting() {
    let (mut lab, folder) = lab();
    std::fs::write(folder.join("bad.wasm"), b"no Wasm").unwrap();
    lab.object("IPAMPolicy", "bad", json!({"source": {"bundled": "bad"}}));
    let lab = lab.pool("p", json!({"cidr": "10.7.0.0/24"})).start();
    netns("c1");
    lab.plugin("ADD", "c1", &lab.network("1.1.0", "bridge", json!({}))).ok();
    assert!(lab.log().contains("while recognising the file"), "{}", lab.log());
}

#[test]
fn a_start_compiles_nothing_again_and_never_runs_code_that_was_not_written_here() {
    let (lab, folder) = lab();
    std::fs::write(folder.join("p.wasm"), guest("test/hostile.wasm")).unwrap();
    let mut lab = lab.pool("p", json!({"cidr": "10.7.0.0/24"})).start();
    applied(&lab, &policy("p", &json!({})));
    let cache = lab.folder.path().join("state/policy-cache");
    let code = || -> Vec<PathBuf> {
        std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let [file] = &code()[..] else { panic!("{:?}", code()) };
    let honest = std::fs::read(file).unwrap();
    lab.stop();
    let mut forged = honest.clone();
    let middle = forged.len() / 2;
    forged[middle..middle + 4096].fill(0xcc);
    std::fs::write(file, &forged).unwrap();
    lab.launch();
    assert_eq!(status(&lab, "p")["stage"], "serving");
    assert!(lab.log().contains("its MAC is not that of this node"), "{}", lab.log());
    assert_eq!(std::fs::read(file).unwrap(), honest, "it was compiled anew");
}

#[test]
fn a_bomb_for_the_compiler_costs_a_refusal_and_the_daemon_lives() {
    let (lab, folder) = lab();
    let lab = lab.pool("p", json!({"cidr": "10.7.0.0/16"})).start();
    std::fs::write(folder.join("bomb.wasm"), bombs::of_memory(3000, 1000)).unwrap();
    netns("c1");
    let config = lab.network("1.1.0", "bridge", json!({}));
    let (code, body) = std::thread::scope(|scope| {
        let applying = scope.spawn(|| apply(&lab, &policy("bomb", &json!({}))));
        let mut served = 0;
        while !applying.is_finished() {
            lab.frame("ADD", "c1", &config).unwrap().ok();
            lab.frame("DEL", "c1", &config).unwrap().ok();
            served += 1;
        }
        assert!(served > 0);
        applying.join().unwrap()
    });
    assert_eq!(code, 400, "{body}");
    assert!(body.contains("while compiling: the compiler wanted more than"), "{body}");
}

#[test]
fn a_shadow_is_asked_about_what_the_daemon_decides_and_takes_over_when_it_becomes_active() {
    let (lab, folder) = lab();
    for name in ["p", "next"] {
        std::fs::write(folder.join(format!("{name}.wasm")), guest("test/hostile.wasm")).unwrap();
    }
    let lab = lab
        .pool("low", json!({"cidr": "10.8.0.0/24", "priority": 1}))
        .pool("high", json!({"cidr": "10.9.0.0/24", "priority": 2}))
        .start();
    let settings = |attribute: &str| json!({"attribute": format!("cni.args/{attribute}")});
    applied(&lab, &policy("p", &json!({"settings": settings("now")})));
    let next = json!({"mode": "shadow", "shadow": {"of": "p"}, "settings": settings("next")});
    applied(&lab, &policy("next", &next));
    let modes = json!({"args": {"cni": {"now": "first", "next": "last"}}});
    let config = lab.network("1.1.0", "bridge", modes);
    netns("c1");
    let now = lab.frame("ADD", "c1", &config).unwrap().addresses();
    until("the shadow was compared", || status(&lab, "next")["shadow"]["differed"] == 1);
    let shadow = status(&lab, "next");
    assert_eq!((&shadow["mode"], &shadow["shadow"]["of"]), (&json!("shadow"), &json!("p")));
    assert!(shadow["fuel"]["mean"].as_u64().unwrap() > 0, "{shadow}");
    assert!(shadow["latency"]["maxUs"].as_u64().unwrap() > 0, "{shadow}");
    let promoted = tenure(&lab, &["policy", "shadow", "next", "--promote"]);
    assert!(promoted.contains("next"), "{promoted}");
    assert_eq!(lab.http("GET", "/v1/policies/next", "").0, 404, "it has taken the place of p");
    netns("c2");
    let then = lab.frame("ADD", "c2", &config).unwrap().addresses();
    let pool = |addresses: &[std::net::IpAddr]| addresses[0].to_string()[..5].to_owned();
    assert_ne!(pool(&now), pool(&then), "the last candidate in place of the first");
}

/// What an operator types.
fn tenure(lab: &Lab, arguments: &[&str]) -> String {
    let tenure = Path::new(env!("CARGO_BIN_EXE_tenured")).with_file_name("tenure");
    assert!(tenure.is_file(), "build it first: cargo build -p tenure-cli");
    let output = std::process::Command::new(tenure)
        .args(["--socket", &lab.path("admin.sock")])
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// ADDs at their times, whatever the ones before do, by so many connections.
const CLIENTS: usize = 32;
/// A second's worth of them.
const RATE: usize = 1000;
const ADDS: usize = 3000;

#[test]
fn under_a_thousand_adds_a_second_a_swap_fails_none_and_each_sees_one_whole_version() {
    let (lab, folder) = lab();
    let component = guest("test/hostile.wasm");
    let versions = [component.clone(), twin_of(&component)];
    let digests = versions.each_ref().map(|bytes| digest(bytes));
    for (name, bytes) in TWINS.iter().zip(&versions) {
        std::fs::write(folder.join(format!("{name}.wasm")), bytes).unwrap();
    }
    let lab = lab
        .pool("low", json!({"cidr": "10.8.0.0/18", "priority": 1}))
        .pool("high", json!({"cidr": "10.9.0.0/18", "priority": 2}))
        .start();
    let version = |n: usize| {
        let spec = json!({"source": {"bundled": TWINS[n % 2]}});
        let mut object = policy("p", &spec);
        object["spec"]["settings"] = json!({"attribute": "cni.args/mode"});
        object
    };
    applied(&lab, &version(1));
    applied(&lab, &version(0));
    netns("load");
    let config = lab.network("1.1.0", "bridge", json!({"args": {"cni": {"mode": "last"}}}));
    let socket = lab.folder.path().join("cni.sock");
    let (next, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let records = Mutex::new(BTreeMap::new());
    let begun = Instant::now();
    let swaps = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| open_loop(&socket, &config, &next, begun)))
            .collect();
        let watcher = scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                remember(&lab, &records);
            }
        });
        let mut swaps = 0;
        while next.load(Ordering::SeqCst) < ADDS {
            swaps += 1;
            applied(&lab, &version(swaps));
        }
        for client in clients {
            client.join().unwrap();
        }
        done.store(true, Ordering::SeqCst);
        watcher.join().unwrap();
        swaps
    });
    remember(&lab, &records);
    let took = begun.elapsed();
    let seen = whole_versions(&records.into_inner().unwrap());
    println!("{ADDS} ADDs in {took:?}, {swaps} swaps, {} ADDs looked into", seen.len());
    assert!(swaps >= 4, "{swaps}");
    assert!(seen.len() > ADDS / 10, "{}", seen.len());
    for digest in &digests {
        assert!(seen.values().any(|one| one == digest), "{digest} decided nothing");
    }
    let after = status(&lab, "p");
    assert_eq!((&after["faults"], &after["stage"]), (&json!([]), &json!("serving")));
}

/// Each ADD is answered; the one that is late begins at once.
fn open_loop(socket: &Path, config: &Value, next: &AtomicUsize, begun: Instant) {
    loop {
        let number = next.fetch_add(1, Ordering::SeqCst);
        if number >= ADDS {
            return;
        }
        let at = begun
            + Duration::from_secs(1) * u32::try_from(number).unwrap()
                / u32::try_from(RATE).unwrap();
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        let answer = call(socket, "ADD", &format!("c{number}"), "load", config).unwrap();
        assert_eq!(answer.exit, 0, "{answer:?}");
        // The version ranks the last candidate only, the built-in strategy would take the one of the higher priority.
        let address = answer.addresses()[0].to_string();
        assert!(address.starts_with("10.8.") || address.starts_with("10.9."), "{address}");
    }
}

/// Decisions by their number: the ring holds some hundred ADDs only.
fn remember(lab: &Lab, records: &Mutex<BTreeMap<u64, Value>>) {
    let (_, body) = lab.http("GET", "/v1/decisions?limit=1024", "");
    let items = serde_json::from_str::<Value>(&body).unwrap()["items"].take();
    let mut records = records.lock().unwrap();
    for item in items.as_array().unwrap() {
        records.insert(item["id"].as_u64().unwrap(), item.clone());
    }
}

/// The digest that decided for each owner of whom both decisions are known. Two digests for one would be half a swap.
fn whole_versions(records: &BTreeMap<u64, Value>) -> BTreeMap<String, String> {
    let mut digests: BTreeMap<String, (usize, BTreeSet<String>)> = BTreeMap::new();
    for record in records.values().filter(|record| record["hook"] != "reclaim") {
        let owner = record["request"]["holder"]["owner"].to_string();
        let (count, set) = digests.entry(owner).or_default();
        *count += 1;
        assert_eq!(record["steps"].as_array().unwrap().len(), 1, "{record}");
        set.insert(record["steps"][0]["digest"].as_str().unwrap().to_owned());
    }
    let whole = digests.into_iter().filter(|(_, (count, _))| *count == 2);
    whole
        .map(|(owner, (_, set))| {
            assert_eq!(set.len(), 1, "{owner} was decided by two versions: {set:?}");
            (owner, set.into_iter().next().unwrap())
        })
        .collect()
}

#[test]
fn a_kill_in_the_middle_of_a_swap_leaves_one_version_or_the_other() {
    let (lab, folder) = lab();
    let component = guest("test/hostile.wasm");
    let versions = [component.clone(), twin_of(&component)];
    let digests = versions.each_ref().map(|bytes| json!(digest(bytes)));
    for (name, bytes) in TWINS.iter().zip(&versions) {
        std::fs::write(folder.join(format!("{name}.wasm")), bytes).unwrap();
    }
    let mut lab = lab.pool("p", json!({"cidr": "10.7.0.0/24"})).start();
    let version = |n: usize| policy("p", &json!({"source": {"bundled": TWINS[n % 2]}}));
    applied(&lab, &version(0));
    netns("c1");
    let config = lab.network("1.1.0", "bridge", json!({}));
    let admin = lab.folder.path().join("admin.sock");
    let mut seed: u64 = 20_261_129;
    for round in 0..12 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut n = round;
                while !stop.load(Ordering::SeqCst) {
                    n += 1;
                    lab::try_http(&admin, "POST", "/v1/apply", &version(n).to_string());
                }
            });
            // A random moment is the point here, not synchronisation.
            std::thread::sleep(Duration::from_millis((seed >> 33) % 150));
            lab.kill();
            stop.store(true, Ordering::SeqCst);
        });
        lab.launch();
        let status = status(&lab, "p");
        assert!(digests.contains(&status["digest"]), "round {round}: {status}");
        assert_eq!((&status["stage"], &status["faults"]), (&json!("serving"), &json!([])));
        until("an ADD is answered", || lab.plugin("ADD", "c1", &config).exit == 0);
        lab.plugin("DEL", "c1", &config).ok();
    }
}
