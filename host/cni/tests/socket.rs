//! The socket: who may call, how many, how slowly, and what may lie in its place.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on shall panic"
)]

mod support;

use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use support::{Script, World, code, plugin, run, stdout};
use tenure_cni::frame::{Request, Response};
use tenure_cni::{Error, Options, Service};
use tenure_socket::SocketError;

/// A user that is neither root nor the daemon's.
const STRANGER: u32 = 65_534;

fn bind(world: &World) -> Result<(), Error> {
    let _context = world.runtime.enter();
    Service::bind(Options::new(world.socket()), world.verbs.clone()).map(drop)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The plugin where any user can reach it: the target folder may be private.
///
/// Another process makes the copy. A file that this one had open for writing is still open in what another test of it
/// forks at that moment, and cannot be executed until then (ETXTBSY).
fn copied_plugin(world: &World) -> Command {
    let copy = world.folder.path().join("tenure-ipam");
    let mut install = Command::new("install");
    install.args(["-m", "755", env!("CARGO_BIN_EXE_tenure-ipam")]).arg(&copy);
    assert!(install.status().unwrap().success());
    std::fs::set_permissions(world.folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let template = plugin("STATUS");
    let mut copied = Command::new(copy);
    copied.env_clear().envs(template.get_envs().filter_map(|(key, value)| Some((key, value?))));
    copied.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    copied
}

#[test]
fn the_socket_is_private_and_goes_with_the_server() {
    let mut world = World::new();
    let mode = std::fs::metadata(world.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    world.runtime.block_on(world.server.take().unwrap().shutdown());
    assert!(!world.socket().exists());
    assert_eq!(
        std::fs::read_dir(world.folder.path()).unwrap().count(),
        0,
        "nothing is left behind"
    );
}

#[test]
fn another_user_is_kept_out_by_the_mode_of_the_socket() {
    if !is_root() {
        return;
    }
    let world = World::new();
    let mut stranger = copied_plugin(&world);
    stranger.uid(STRANGER).gid(STRANGER);
    let output = run(stranger, world.config("1.1.0").to_string());
    assert_eq!(code(&output), 50);
    assert!(stdout(&output).contains("Permission denied"), "{output:?}");
}

#[test]
fn another_user_is_kept_out_by_its_credentials_where_the_mode_was_opened() {
    if !is_root() {
        return;
    }
    let world = World::new();
    std::fs::set_permissions(world.socket(), PermissionsExt::from_mode(0o666)).unwrap();
    let mut stranger = copied_plugin(&world);
    stranger.uid(STRANGER).gid(STRANGER);
    let output = run(stranger, world.config("1.1.0").to_string());
    assert!(stdout(&output).contains("user 65534 may not use the CNI socket"), "{output:?}");
    assert_eq!(world.server.as_ref().unwrap().metrics().read().callers_refused, 1);
    assert_eq!(world.verbs.take_calls(), Vec::<String>::new());
}

#[test]
fn an_allowed_user_is_served() {
    if !is_root() {
        return;
    }
    let world = World::with(|options| options.allowed_uids.push(STRANGER));
    std::fs::set_permissions(world.socket(), PermissionsExt::from_mode(0o666)).unwrap();
    let mut friend = copied_plugin(&world);
    friend.uid(STRANGER).gid(STRANGER);
    assert!(run(friend, world.config("1.1.0").to_string()).status.success());
}

#[test]
fn a_stale_socket_is_replaced_and_a_served_one_is_not() {
    let world = World::without_server();
    drop(UnixListener::bind(world.socket()).unwrap());
    assert!(world.socket().exists());
    bind(&world).unwrap();
    let _serving = UnixListener::bind(world.socket()).unwrap();
    assert!(matches!(bind(&world), Err(Error::Socket(SocketError::InUse { .. }))));
    assert!(UnixStream::connect(world.socket()).is_ok(), "the other server keeps its socket");
}

#[test]
fn what_is_no_socket_is_never_replaced() {
    let world = World::without_server();
    let elsewhere = world.folder.path().join("elsewhere");
    let taken = |make: &dyn Fn(&Path)| {
        make(&world.socket());
        let error = bind(&world).unwrap_err();
        assert!(matches!(error, Error::Socket(SocketError::Taken { .. })), "{error}");
        error.to_string()
    };
    drop(UnixListener::bind(&elsewhere).unwrap());
    assert!(taken(&|path| symlink(&elsewhere, path).unwrap()).contains("a symbolic link"));
    std::fs::remove_file(world.socket()).unwrap();
    assert!(taken(&|path| std::fs::write(path, "precious").unwrap()).contains("a file"));
    assert_eq!(std::fs::read(world.socket()).unwrap(), b"precious");
    std::fs::remove_file(world.socket()).unwrap();
    assert!(taken(&|path| std::fs::create_dir(path).unwrap()).contains("a folder"));
}

#[test]
fn beyond_the_limit_the_answer_is_code_11_at_once_and_a_del_is_spooled() {
    let world = World::with(|options| options.max_connections = 2);
    world.verbs.follow(Script::Hang);
    let config = world.config("1.1.0");
    let mut held: Vec<_> = (0..2).map(|_| plugin("ADD").spawn().unwrap()).collect();
    for child in &mut held {
        child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
    }
    world.wait_for(2, 0);
    let output = run(plugin("ADD"), config.to_string());
    assert_eq!(code(&output), 11);
    assert!(stdout(&output).contains("OVERLOADED"), "{output:?}");
    assert!(run(plugin("DEL"), config.to_string()).status.success());
    assert_eq!(std::fs::read_dir(world.spool()).unwrap().count(), 1);
    assert_eq!(world.server.as_ref().unwrap().metrics().read().over_limit, 2);
    for child in &mut held {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    world.wait_for(2, 2);
    world.verbs.follow(Script::Succeed);
    assert!(run(plugin("ADD"), config.to_string()).status.success(), "the places are free again");
}

#[test]
fn a_caller_that_sends_its_frame_too_slowly_is_left() {
    let world = World::with(|options| options.read_deadline = Duration::from_millis(100));
    let mut stream = UnixStream::connect(world.socket()).unwrap();
    stream.write_all(b"TNRE").unwrap();
    let began = Instant::now();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(began.elapsed() >= Duration::from_millis(50), "it had its time");
    assert_eq!(answer, b"");
    assert_eq!(world.server.as_ref().unwrap().metrics().read().bad_frames, 1);
}

/// The text of the answer to `command` of a caller that waits for `deadline_ms`.
fn ask(world: &World, command: &str, deadline_ms: u64) -> String {
    let request = Request {
        command: command.into(),
        container: b"c1".to_vec(),
        ifname: b"eth0".to_vec(),
        deadline_ms,
        stdin: {
            let mut config = world.config("1.1.0");
            config["prevResult"] = serde_json::json!({});
            config.to_string().into_bytes()
        },
        ..Request::default()
    };
    let mut stream = UnixStream::connect(world.socket()).unwrap();
    stream.write_all(&request.encode().unwrap()).unwrap();
    String::from_utf8(Response::read(&mut stream).unwrap().stdout).unwrap()
}

#[test]
fn a_verb_ends_before_its_caller_gives_up() {
    let world = World::new();
    world.verbs.follow(Script::Hang);
    let text = ask(&world, "CHECK", 200);
    assert!(text.contains("\"code\":11") && text.contains("OUT_OF_TIME"), "{text}");
    world.wait_for(1, 1);
}

#[test]
fn an_add_is_told_to_wait_no_longer_than_its_caller() {
    let world = World::new();
    ask(&world, "ADD", 120_000);
    assert!(world.verbs.take_calls()[0].contains("wait: 30s"), "the default of the server");
    ask(&world, "ADD", 10_000);
    assert!(
        world.verbs.take_calls()[0].contains("wait: 9s"),
        "the caller's, less travel and last words"
    );
}

#[test]
fn shutdown_lets_running_requests_finish_within_its_bound() {
    let mut world = World::with(|options| options.drain = Duration::from_millis(200));
    world.verbs.follow(Script::Hang);
    let mut child = plugin("ADD").spawn().unwrap();
    let config = world.config("1.1.0").to_string();
    child.stdin.take().unwrap().write_all(config.as_bytes()).unwrap();
    world.wait_for(1, 0);
    let began = Instant::now();
    world.runtime.block_on(world.server.take().unwrap().shutdown());
    assert!(began.elapsed() >= Duration::from_millis(200), "it had its time");
    world.wait_for(1, 1);
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 11, "{output:?}");
}

#[test]
fn verbs_are_counted() {
    let world = World::new();
    let config = world.config("1.1.0").to_string();
    run(plugin("ADD"), &config);
    world.verbs.follow(Script::Fail(tenure_core::error::Kind::Retry));
    run(plugin("ADD"), &config);
    let add = world.server.as_ref().unwrap().metrics().read().verbs[0];
    assert_eq!((add.verb, add.requests, add.failures, add.try_later), ("ADD", 2, 1, 1));
}
