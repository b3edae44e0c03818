//! DELs while the daemon is away: kept by the plugin, done by the daemon.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on shall panic"
)]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Output;
use std::thread;

use serde_json::json;
use support::{Script, World, code, plugin, run, stdout};
use tenure_cni::intent::{Intent, MAX_SPOOLED};
use tenure_cni::{Drained, Spool};
use tenure_core::error::Kind;

/// A world whose daemon answers but cannot make a DEL durable: the plugin spools at once instead of after its patience.
fn refusing() -> World {
    let world = World::new();
    world.verbs.follow(Script::Fail(Kind::Io));
    world
}

fn del(world: &World) -> Output {
    run(plugin("DEL"), world.config("1.1.0").to_string())
}

fn intent(container: &str, boottime_ms: u64) -> Intent {
    Intent {
        network: "underlay".into(),
        container: container.into(),
        ifname: "eth0".into(),
        boot: fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().into(),
        boottime_ms,
    }
}

fn put(world: &World, intent: &Intent) -> PathBuf {
    fs::create_dir_all(world.spool()).unwrap();
    let path = world.spool().join(intent.file_name());
    fs::write(&path, intent.to_text().unwrap()).unwrap();
    path
}

fn files(world: &World) -> Vec<String> {
    let entries = fs::read_dir(world.spool()).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn spooled(world: &World) -> Intent {
    let path = world.spool().join(&files(world)[0]);
    Intent::parse(&fs::read_to_string(path).unwrap()).unwrap()
}

fn drain(world: &World) -> Drained {
    let spool = Spool::new(world.spool());
    world.runtime.block_on(spool.drain(world.verbs.as_ref())).unwrap()
}

/// `/proc/uptime` in milliseconds.
fn boottime_ms() -> u64 {
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = uptime.split_whitespace().next().unwrap().parse().unwrap();
    (seconds * 1000.0).round() as u64
}

#[test]
fn del_without_a_daemon_succeeds_and_leaves_one_private_file_with_the_instant_of_its_call() {
    let world = World::without_server();
    let before = boottime_ms();
    let output = del(&world);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"");
    let found = spooled(&world);
    assert_eq!(found, Intent { boottime_ms: found.boottime_ms, ..intent("c1", 0) });
    assert!(
        (before..before + 4000).contains(&found.boottime_ms),
        "the call, not the end of its wait"
    );
    assert_eq!(fs::metadata(world.spool()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn repeats_do_not_grow_the_folder_and_the_newest_instant_stays() {
    let world = refusing();
    put(&world, &intent("c1", 1));
    let config = world.config("1.1.0").to_string();
    let repeats = [(); 3].map(|()| {
        let config = config.clone();
        thread::spawn(move || run(plugin("DEL"), config))
    });
    assert!(repeats.into_iter().all(|repeat| repeat.join().unwrap().status.success()));
    assert_eq!(files(&world), [intent("c1", 0).file_name()]);
    assert!(spooled(&world).boottime_ms > 1);
}

#[test]
fn a_later_del_of_the_same_boot_is_not_replaced_by_an_earlier_one() {
    let world = refusing();
    let later = intent("c1", u64::MAX);
    put(&world, &later);
    assert!(del(&world).status.success());
    assert_eq!(spooled(&world), later);
}

#[test]
fn a_full_folder_takes_no_new_attachment_but_takes_a_repeat() {
    let world = World::without_server();
    put(&world, &intent("c1", 1));
    for index in 1..MAX_SPOOLED {
        fs::write(world.spool().join(format!("{index}.del")), "").unwrap();
    }
    let config = world.config("1.1.0").to_string();
    let other = thread::spawn({
        let config = config.clone();
        move || {
            let mut invocation = plugin("DEL");
            invocation.env("CNI_CONTAINERID", "c2");
            run(invocation, config)
        }
    });
    assert!(run(plugin("DEL"), config).status.success());
    let refused = other.join().unwrap();
    assert_eq!(code(&refused), 11);
    assert!(stdout(&refused).contains("SPOOL_FULL"), "{refused:?}");
    assert_eq!(files(&world).len(), MAX_SPOOLED);
}

#[test]
fn a_disk_that_refuses_makes_the_del_fail() {
    let world = World::without_server();
    fs::write(world.spool(), "a file where the folder should be").unwrap();
    let output = del(&world);
    assert_eq!(code(&output), 5);
    assert!(stdout(&output).contains("SPOOL_FAILED"), "{output:?}");
}

#[test]
fn without_a_readable_identity_nothing_is_kept() {
    let world = World::without_server();
    let mut nameless = world.config("1.1.0");
    nameless.as_object_mut().unwrap().remove("name");
    let forged = thread::spawn({
        let config = world.config("1.1.0").to_string();
        move || {
            let mut invocation = plugin("DEL");
            invocation.env("CNI_CONTAINERID", "c1\nboot other");
            run(invocation, config)
        }
    });
    assert_eq!(code(&run(plugin("DEL"), nameless.to_string())), 7);
    assert_eq!(code(&forged.join().unwrap()), 4);
    assert!(!world.spool().exists());
}

#[test]
fn a_del_that_the_daemon_cannot_make_durable_is_spooled() {
    for kind in [Kind::Bug, Kind::Io, Kind::Retry, Kind::Operator] {
        let world = World::new();
        world.verbs.follow(Script::Fail(kind));
        let output = del(&world);
        assert!(output.status.success() && output.stdout.is_empty(), "{kind:?}: {output:?}");
        assert_eq!(files(&world), [intent("c1", 0).file_name()], "{kind:?}");
    }
}

#[test]
fn a_del_that_is_wrong_as_written_is_refused_and_not_spooled() {
    let world = World::new();
    let mut invocation = plugin("DEL");
    invocation.env("CNI_IFNAME", "a/b");
    let output = run(invocation, world.config("1.1.0").to_string());
    assert_eq!(code(&output), 4);
    assert!(!world.spool().exists());
}

#[test]
fn the_daemons_own_words_are_told_when_the_disk_refuses_too() {
    let world = refusing();
    fs::write(world.spool(), "").unwrap();
    let output = del(&world);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("scripted failure of kind Io"), "{output:?}");
}

#[test]
fn draining_does_each_del_with_its_instant_and_removes_its_file() {
    let world = World::without_server();
    put(&world, &intent("c1", 11));
    put(&world, &intent("c2", 22));
    assert_eq!(drain(&world), Drained { done: 2, failed: 0, broken: 0 });
    let calls = world.verbs.take_calls().join("\n");
    assert!(calls.contains("container: \"c1\"") && calls.contains("boottime_ms: 11"), "{calls}");
    assert!(calls.contains("container: \"c2\"") && calls.contains("boottime_ms: 22"), "{calls}");
    assert_eq!(files(&world), Vec::<String>::new());
}

#[test]
fn a_del_that_fails_keeps_its_file_for_the_next_drain() {
    let world = World::without_server();
    put(&world, &intent("c1", 11));
    world.verbs.follow(Script::Fail(Kind::Retry));
    assert_eq!(drain(&world), Drained { done: 0, failed: 1, broken: 0 });
    assert_eq!(files(&world).len(), 1);
    world.verbs.follow(Script::Succeed);
    assert_eq!(drain(&world), Drained { done: 1, failed: 0, broken: 0 });
    assert_eq!(files(&world), Vec::<String>::new());
}

#[test]
fn a_newer_del_that_comes_while_an_older_one_waits_is_done_in_its_place() {
    let world = World::without_server();
    put(&world, &intent("c1", 11));
    world.verbs.follow(Script::Fail(Kind::Retry));
    drain(&world);
    put(&world, &intent("c1", 22));
    world.verbs.follow(Script::Succeed);
    world.verbs.take_calls();
    assert_eq!(drain(&world), Drained { done: 1, failed: 0, broken: 0 });
    assert!(world.verbs.take_calls()[0].contains("boottime_ms: 22"));
}

#[test]
fn what_is_no_del_is_set_aside_and_does_not_keep_the_others() {
    let world = World::without_server();
    put(&world, &intent("c1", 11));
    fs::write(world.spool().join("a.del"), "tenure-del 9\n").unwrap();
    fs::write(world.spool().join("b.del"), vec![0xff; 10_000]).unwrap();
    symlink("/etc/passwd", world.spool().join("c.del")).unwrap();
    let slash = intent("c1", 1).to_text().unwrap().replace("ifname eth0", "ifname a/b");
    fs::write(world.spool().join("d.del"), slash).unwrap();
    fs::create_dir(world.spool().join("e.del")).unwrap();
    assert_eq!(drain(&world), Drained { done: 1, failed: 0, broken: 5 });
    assert_eq!(files(&world), ["a.bad", "b.bad", "c.bad", "d.bad", "e.bad"]);
    assert_eq!(drain(&world), Drained::default());
}

#[test]
fn a_folder_that_does_not_exist_is_empty() {
    assert_eq!(drain(&World::without_server()), Drained::default());
}

#[test]
fn what_the_plugin_keeps_is_what_the_daemon_does() {
    let world = refusing();
    let mut config = world.config("0.3.1");
    config["ipam"]["unknown"] = json!(1);
    assert!(run(plugin("DEL"), config.to_string()).status.success());
    world.verbs.take_calls();
    world.verbs.follow(Script::Succeed);
    assert_eq!(drain(&world), Drained { done: 1, failed: 0, broken: 0 });
    let call = world.verbs.take_calls().remove(0);
    assert!(
        call.contains("network: \"underlay\"") && call.contains("bound_before: Some"),
        "{call}"
    );
}
