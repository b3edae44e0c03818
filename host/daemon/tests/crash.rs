//! SIGKILL at any moment under load: what was answered stands, and nothing is held twice.
//!
//! The checker knows only what the clients know. A *certain hold* lasts from the answer of an ADD to the call of the
//! DEL; two certain holds of one address that overlap break I1, an ADD whose repetition answers otherwise breaks I2
//! or I4, a DEL that is not answered within the patience breaks I5, half an answer breaks I3.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod lab;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lab::history::{History, Hold, check};
use lab::{Answer, Lab, call, netns, until};
use serde_json::{Value, json};

const KILLS: usize = 200;
const CLIENTS: usize = 32;

#[test]
fn two_hundred_kills_under_load_break_no_promise() {
    let mut lab = Lab::enter()
        .without_policies()
        .configure("[reclaim]\nsweep = \"1s\"\n[log]\nlevel = \"warn\"\n")
        .pool(
            "v4",
            json!({"cidr": "10.8.0.0/24", "ranges": ["10.8.0.1-10.8.0.40"], "cooldown": "0s"}),
        )
        .pool("v6", json!({"cidr": "fd08::/64", "ranges": ["fd08::1-fd08::28"], "cooldown": "0s"}))
        .start();
    for client in 0..CLIENTS {
        netns(&format!("client{client}"));
    }
    let config = lab.network("1.1.0", "bridge", json!({}));
    let history = Arc::new(History::default());
    let socket = lab.folder.path().join("cni.sock");
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (history, socket, config) = (history.clone(), socket.clone(), config.clone());
            std::thread::spawn(move || run_client(client, &history, &socket, &config))
        })
        .collect();
    let mut seed: u64 =
        std::env::var("TENURE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_261_124);
    println!("seed {seed}");
    for _ in 0..KILLS {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // A random moment is the point here, not synchronisation.
        std::thread::sleep(Duration::from_millis(5 + (seed >> 33) % 60));
        lab.kill();
        lab.launch();
    }
    history.stop.store(true, Ordering::SeqCst);
    let rounds: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
    let holds = history.holds.lock().unwrap().clone();
    println!("{KILLS} kills, {rounds} rounds, {} certain holds", holds.len());
    assert!(holds.len() > CLIENTS * 10, "the clients hardly got anything done");
    check(&holds);
}

/// ADD until answered, ADD again, DEL until answered; counts the rounds.
fn run_client(client: usize, history: &History, socket: &Path, config: &Value) -> usize {
    let mut rounds = 0;
    while !history.stop.load(Ordering::SeqCst) {
        let container = format!("client{client}-{rounds}");
        let verb = |verb: &str| call(socket, verb, &container, &format!("client{client}"), config);
        let Some(addresses) = add(history, &verb) else { break };
        assert_eq!(addresses.len(), 2, "I3: {addresses:?}");
        let from = history.tick();
        if let Some(again) = add(history, &verb) {
            assert_eq!(again, addresses, "I2, I4: the same ADD got another answer");
        }
        let to = history.tick();
        let certain = |address| Hold { address, from, to };
        history.holds.lock().unwrap().extend(addresses.into_iter().map(certain));
        until("a DEL is answered (I5)", || verb("DEL").is_some_and(|answer| answer.exit == 0));
        rounds += 1;
    }
    rounds
}

/// None if the test ends first.
fn add(history: &History, verb: &dyn Fn(&str) -> Option<Answer>) -> Option<Vec<IpAddr>> {
    loop {
        match verb("ADD") {
            Some(answer) if answer.exit == 0 => return Some(answer.addresses()),
            Some(answer) => assert_eq!(answer.code(), 11, "{answer:?}"),
            None => {}
        }
        if history.stop.load(Ordering::SeqCst) {
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
#[should_panic(expected = "I1: held twice")]
fn the_checker_sees_an_address_held_twice() {
    let hold = |from, to| Hold { address: "10.0.0.1".parse().unwrap(), from, to };
    check(&[hold(1, 5), hold(4, 9)]);
}
