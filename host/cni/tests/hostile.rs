//! Inputs that nobody sane sends.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on shall panic"
)]

mod support;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;

use proptest::prelude::*;
use serde_json::json;
use support::{World, code, plugin, run, stdout};
use tenure_cni::frame::{
    EXIT_SPOOL, HEADER, Header, MAX_PAYLOAD, MAX_STDIN, PROTOCOL, Request, Response,
};

/// Sends raw bytes to the server, closes the writing end, and reads what comes. A reset after the answer is no news: the
/// server leaves what it did not ask for unread.
fn raw(world: &World, bytes: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(world.socket()).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

fn framed(protocol: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    [b"TNRE", &protocol.to_be_bytes()[..], &length.to_be_bytes(), payload].concat()
}

fn refusal(answer: &[u8]) -> String {
    let response = Response::read(&mut &*answer).unwrap();
    assert_eq!(response.exit, EXIT_SPOOL, "a DEL of another release is spooled, not lost");
    String::from_utf8(response.stdout).unwrap()
}

#[test]
fn a_configuration_beyond_the_bound_is_refused_before_it_is_read_whole() {
    let world = World::new();
    let mut config = world.config("1.1.0").to_string();
    config.push_str(&" ".repeat(MAX_STDIN - config.len()));
    assert!(run(plugin("ADD"), &config).status.success(), "exactly the bound is taken");
    config.push(' ');
    let output = run(plugin("ADD"), &config);
    assert_eq!(code(&output), 6);
    assert!(stdout(&output).contains("STDIN_TOO_LONG"), "{output:?}");
    // A runtime that pours for ever must not keep the plugin: it stops reading at the bound.
    assert_eq!(code(&run(plugin("ADD"), vec![b' '; 8 * 1024 * 1024])), 6);
}

#[test]
fn nonsense_on_stdin_is_code_6_and_never_reaches_the_engine() {
    let world = World::new();
    let config = world.config("1.1.0").to_string();
    let deep = config.replace("\"eth1\"", &format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)));
    let broken_utf8 =
        [config.as_bytes()[..config.len() - 1].to_vec(), b",\"x\":\"\xff\"}".to_vec()].concat();
    for (title, input) in [
        ("nothing", Vec::new()),
        ("NUL", b"\0".to_vec()),
        ("NUL in a text", config.replace("eth1", "et\0h1").into_bytes()),
        ("deep nesting", deep.into_bytes()),
        ("broken UTF-8", broken_utf8),
        ("cut", config.as_bytes()[..config.len() - 2].to_vec()),
        ("a list", b"[]".to_vec()),
        ("a number of no kind", config.replace("\"eth1\"", "1.2.3").into_bytes()),
    ] {
        let output = run(plugin("ADD"), &input);
        assert_eq!(output.status.code(), Some(1), "{title}: {output:?}");
        assert_eq!(code(&output), 6, "{title}: {output:?}");
    }
    assert_eq!(world.verbs.take_calls(), Vec::<String>::new());
}

#[test]
fn hostile_ids_are_code_4_and_the_answer_stays_valid_json() {
    let world = World::new();
    let config = world.config("1.1.0").to_string();
    for (variable, value) in [
        ("CNI_CONTAINERID", &b"../../etc"[..]),
        ("CNI_CONTAINERID", b"a\nb"),
        ("CNI_CONTAINERID", b"a\"b\\"),
        ("CNI_CONTAINERID", b"\xff\xfe"),
        ("CNI_CONTAINERID", &[b'a'; 300]),
        ("CNI_IFNAME", b".."),
        ("CNI_IFNAME", b"sixteen-bytes-xx"),
        ("CNI_IFNAME", b"\x1b[31m"),
        ("CNI_ARGS", b"\xff=1"),
    ] {
        let mut invocation = plugin("ADD");
        invocation.env(variable, OsStr::from_bytes(value));
        let output = run(invocation, &config);
        assert_eq!(code(&output), 4, "{variable} {value:?}: {output:?}");
        assert!(stdout(&output).contains(variable), "{output:?}");
    }
}

#[test]
fn an_environment_longer_than_a_frame_is_refused() {
    let world = World::new();
    let mut invocation = plugin("ADD");
    invocation.env("CNI_ARGS", "x".repeat(100_000));
    let config = world.config("1.1.0").to_string();
    let full = format!("{config}{}", " ".repeat(MAX_STDIN - config.len()));
    assert_eq!(code(&run(invocation, full)), 4);
}

#[test]
fn del_of_a_configuration_that_no_longer_parses_succeeds() {
    let world = World::new();
    let whole = world.config("1.1.0");
    let mut strange = whole.clone();
    strange["cniVersion"] = json!("9.9.9");
    strange["ipam"]["newKey"] = json!({"from": "another release"});
    strange["ipam"]["pools"] = json!(7);
    strange["ipam"]["spool"] = json!({});
    let broken = whole.to_string().replacen("\"type\":\"macvlan\"", "\"type\":\"macvlan", 1);
    let deep = whole.to_string().replace("\"macvlan\"", &"[".repeat(10_000));
    for input in [strange.to_string(), broken, deep] {
        let mut invocation = plugin("DEL");
        invocation.env("CNI_ARGS", "nonsense").env_remove("CNI_NETNS");
        let output = run(invocation, &input);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stdout, b"");
        assert!(world.verbs.take_calls()[0].contains("network: \"underlay\""));
    }
}

#[test]
fn bytes_that_are_no_frame_are_answered_or_dropped_and_the_server_lives() {
    let world = World::new();
    assert!(refusal(&raw(&world, b"GET / HTTP/1.1\r\n\r\n")).contains("BAD_FRAME"));
    let huge = [b"TNRE", &PROTOCOL.to_be_bytes()[..], &u32::MAX.to_be_bytes()].concat();
    assert!(refusal(&raw(&world, &huge)).contains("longer than the 1048576"));
    assert!(refusal(&raw(&world, &framed(PROTOCOL, b"\0\0\0\xff"))).contains("do not fit"));
    assert!(refusal(&raw(&world, &framed(PROTOCOL + 1, b""))).contains("from one release"));
    assert_eq!(raw(&world, b"TNRE"), b"", "a cut header has nobody to answer");
    assert_eq!(raw(&world, &framed(PROTOCOL, b"\0\0\0\x03ADD")[..9]), b"");
    assert!(run(plugin("STATUS"), world.config("1.1.0").to_string()).status.success());
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..64)
}

prop_compose! {
    fn requests()(
        command in bytes(), container in bytes(), netns in proptest::option::of(bytes()), ifname in bytes(),
        args in bytes(), netns_file in any::<Option<(u64, u64)>>(), flags in any::<(bool, bool)>(),
        deadline_ms in any::<u64>(), stdin in bytes(),
    ) -> Request {
        let (own_netns, netns_override) = flags;
        Request { command, container, netns, ifname, args, netns_file, own_netns, netns_override, deadline_ms, stdin }
    }
}

fn split(frame: &[u8]) -> (Header, &[u8]) {
    (Header::decode(frame[..HEADER].try_into().unwrap()).unwrap(), &frame[HEADER..])
}

proptest! {
    #[test]
    fn a_request_survives_its_frame(request in requests()) {
        let frame = request.encode().unwrap();
        let (header, payload) = split(&frame);
        prop_assert_eq!(header.length, payload.len());
        prop_assert_eq!(Request::decode(header, payload).unwrap(), request);
    }

    #[test]
    fn a_response_survives_its_frame(exit in any::<u8>(), stdout in bytes()) {
        let response = Response { exit, stdout };
        prop_assert_eq!(Response::read(&mut &*response.encode().unwrap()).unwrap(), response);
    }

    #[test]
    fn a_cut_or_lengthened_payload_is_refused(request in requests(), cut in any::<prop::sample::Index>()) {
        let frame = request.encode().unwrap();
        let (header, payload) = split(&frame);
        prop_assert!(Request::decode(header, &payload[..cut.index(payload.len())]).is_err());
        prop_assert!(Request::decode(header, &[payload, b"x"].concat()).is_err());
    }

    #[test]
    fn no_payload_panics_or_allocates_what_it_announces(payload in proptest::collection::vec(any::<u8>(), 0..256)) {
        let header = Header { protocol: PROTOCOL, length: payload.len() };
        let _ = Request::decode(header, &payload);
        let _ = Response::decode(&payload);
    }

    #[test]
    fn a_header_never_announces_more_than_the_bound(bytes in any::<[u8; HEADER]>()) {
        let mut head = bytes;
        head[..4].copy_from_slice(b"TNRE");
        if let Ok(header) = Header::decode(head) {
            prop_assert!(header.length <= MAX_PAYLOAD);
        }
    }
}
