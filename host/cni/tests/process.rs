//! The plugin as a process: without a daemon, with a dead parent, by hand.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on shall panic"
)]

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{Script, World, code, plugin, run, stdout};

#[test]
fn without_a_command_it_tells_what_it_is_and_succeeds() {
    let mut bare = plugin("ADD");
    bare.env_clear();
    let output = run(bare, "");
    assert!(output.status.success());
    assert_eq!(output.stdout, b"");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("CNI IPAM plugin") && text.contains("0.1.0 0.2.0"), "{text}");
}

#[test]
fn version_needs_neither_stdin_nor_daemon_nor_any_other_variable() {
    let mut bare = plugin("VERSION");
    bare.env_clear().env("CNI_COMMAND", "VERSION");
    let output = run(bare, "");
    assert!(output.status.success());
    assert!(stdout(&output).starts_with("{\"cniVersion\":\"1.1.0\",\"supportedVersions\":["));
    assert!(run(plugin("VERSION"), "garbage").status.success());
}

#[test]
fn without_a_daemon_verbs_but_del_ask_to_come_again() {
    let world = World::without_server();
    let config = world.config("1.1.0").to_string();
    let codes = [("ADD", 11), ("CHECK", 11), ("GC", 11), ("STATUS", 50)];
    let waiting: Vec<_> = codes
        .map(|(command, expected)| {
            let config = config.clone();
            (std::thread::spawn(move || run(plugin(command), config)), expected)
        })
        .into_iter()
        .collect();
    for (thread, expected) in waiting {
        let output = thread.join().unwrap();
        assert_eq!(code(&output), expected, "{output:?}");
        assert!(stdout(&output).contains("DAEMON_UNREACHABLE"));
    }
}

/// The only sleep of the plugin is the one after a failed try.
fn until_it_waits_between_two_tries(pid: u32) {
    let began = Instant::now();
    let waits = || std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap();
    while !waits().contains("nanosleep") {
        assert!(began.elapsed() < Duration::from_secs(4), "the plugin never tried to connect");
        std::thread::yield_now();
    }
}

#[test]
fn a_daemon_that_comes_within_the_patience_is_found() {
    let world = World::without_server();
    let config = world.config("1.1.0").to_string();
    // A restart must not take the node out of service, either.
    let waiting = ["ADD", "STATUS"].map(|command| {
        let mut waiting = plugin(command).spawn().unwrap();
        waiting.stdin.take().unwrap().write_all(config.as_bytes()).unwrap();
        until_it_waits_between_two_tries(waiting.id());
        waiting
    });
    let _context = world.runtime.enter();
    let options = tenure_cni::Options::new(world.socket());
    let server = tenure_cni::Service::bind(options, world.verbs.clone()).unwrap().start();
    for one in waiting {
        let output = one.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    world.runtime.block_on(server.shutdown());
}

/// A shell that starts the plugin and is killed; the plugin must notice. The end of its stdout, which only the plugin
/// holds any more, tells when it is gone.
fn outlive_its_shell(world: &World, verb: &str, before_kill: impl FnOnce()) -> Vec<u8> {
    let input = world.folder.path().join("config.json");
    std::fs::write(&input, world.config("1.1.0").to_string()).unwrap();
    let script = format!("\"$0\" < {} & wait", input.display());
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &script, env!("CARGO_BIN_EXE_tenure-ipam")]);
    shell.env("CNI_COMMAND", verb).env("CNI_CONTAINERID", "c1").env("CNI_IFNAME", "eth0");
    shell.env("CNI_NETNS", "/run/netns/absent").env("CNI_PATH", "/opt/cni/bin");
    let mut shell = shell.stdout(Stdio::piped()).spawn().unwrap();
    before_kill();
    shell.kill().unwrap();
    shell.wait().unwrap();
    let mut said = Vec::new();
    shell.stdout.take().unwrap().read_to_end(&mut said).unwrap();
    said
}

#[test]
fn it_gives_up_when_its_parent_dies_and_the_daemon_drops_the_add() {
    let world = World::new();
    world.verbs.follow(Script::Hang);
    let began = Instant::now();
    outlive_its_shell(&world, "ADD", || world.wait_for(1, 0));
    world.wait_for(1, 1);
    assert!(began.elapsed() < Duration::from_secs(20), "far less than the 110 s of an ADD");
    let metrics = || world.server.as_ref().unwrap().metrics().read();
    // The verb is dropped first and counted then.
    while metrics().hung_up == 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "the hang-up is not counted");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!((metrics().hung_up, metrics().verbs[0].requests), (1, 0));
}

#[test]
fn it_gives_up_when_its_parent_dies_before_the_daemon_even_accepts() {
    let world = World::without_server();
    let listener = UnixListener::bind(world.socket()).unwrap();
    let mut accepted = None;
    let said = outlive_its_shell(&world, "ADD", || accepted = listener.accept().ok());
    assert!(String::from_utf8(said).unwrap().contains("CALLER_GONE"));
    assert!(accepted.is_some());
}

#[test]
fn a_del_whose_parent_dies_is_kept_all_the_same() {
    let world = World::new();
    world.verbs.follow(Script::Hang);
    let said = outlive_its_shell(&world, "DEL", || world.wait_for(1, 0));
    assert_eq!(said, b"");
    assert_eq!(std::fs::read_dir(world.spool()).unwrap().count(), 1);
}
