//! What the witness costs on this machine: `sudo cargo run --release -p tenure-witness --example measure -- 2000`.
//!
//! Makes that many namespaces with an address each, kept by an open descriptor of this process, and prints medians.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a measuring tool: what goes wrong ends it"
)]

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tenure_core::lease::Netns;
use tenure_core::ports::{Kernel as _, NetnsLook, Place};
use tenure_witness::{KernelWitness, Options};

fn main() {
    let count = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(2000);
    allow_descriptors();
    let first = KernelWitness::start(&Options { earlier_home: None }).expect("a witness");
    println!("self-test: {:?}", first.self_test());
    let files: Vec<File> = (0..count).map(|_| new_namespace()).collect();
    let paths: Vec<PathBuf> = files.iter().map(path_of).collect();

    let all = identify("identify, id given", &first, &paths);
    identify("identify, id known", &first, &paths);
    median("look", 50, |_| drop(first.look().expect("a look")));
    sweep("sweep of 10,000 leases, all alive", &first, &all, NetnsLook::Alive);
    let look = first.look().expect("a look");
    let address = "10.0.0.1".parse().expect("an address");
    median("address", all.len().min(500), |i| _ = look.address(&all[i], address));
    median("holders_of", 5, |i| drop(first.holders_of(&all[i])));
    census("census", &first, &all);

    wake("from the last reference to the wake", &first);
    let next = KernelWitness::start(&Options { earlier_home: Some(first.home().cookie) })
        .expect("a witness");
    sweep("first sweep after a restart, nothing visible", &next, &all, NetnsLook::Unknown);
    census("census after a restart", &next, &all);
    drop(files);
    let begun = Instant::now();
    while all_but(&first, &all, NetnsLook::Gone) > 0 {}
    println!("all {count} namespaces are gone {:?} after they were let go", begun.elapsed());
    sweep("sweep of 10,000 leases, all gone", &first, &all, NetnsLook::Gone);
}

fn all_but(witness: &KernelWitness, all: &[Netns], state: NetnsLook) -> usize {
    let look = witness.look().expect("a look");
    all.iter().filter(|netns| look.namespace(netns) != state).count()
}

fn identify(what: &str, witness: &KernelWitness, paths: &[PathBuf]) -> Vec<Netns> {
    let mut all = Vec::new();
    median(what, paths.len(), |i| all.push(witness.identify(&paths[i]).expect("an identity")));
    all
}

fn sweep(what: &str, witness: &KernelWitness, all: &[Netns], expected: NetnsLook) {
    let begun = Instant::now();
    let look = witness.look().expect("a look");
    let leases = all.iter().cycle().take(10_000);
    let as_expected = leases.filter(|netns| look.namespace(netns) == expected).count();
    println!("{what}: {:?}, {as_expected} {expected:?}", begun.elapsed());
}

fn census(what: &str, witness: &KernelWitness, all: &[Netns]) {
    let known: HashSet<_> = all.iter().map(|netns| Place::Netns(*netns)).collect();
    let begun = Instant::now();
    let census = witness.census().expect("a census");
    let took = begun.elapsed();
    let ours = census.sightings.iter().filter(|seen| known.contains(&seen.place)).count();
    println!("{what}: {took:?}, {ours} of ours, gap: {:?}", census.incomplete);
}

fn wake(what: &str, witness: &KernelWitness) {
    let (woken, wakes) = std::sync::mpsc::channel();
    witness.on_end(move || _ = woken.send(())).expect("a thread");
    let mut times = Vec::new();
    for _ in 0..50 {
        let file = new_namespace();
        witness.identify(&path_of(&file)).expect("an identity");
        while wakes.try_recv().is_ok() {}
        let begun = Instant::now();
        drop(file);
        wakes.recv().expect("a wake");
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    println!("{what}: median {:?}, max {:?}", times[25], times[49]);
}

fn median(what: &str, runs: usize, mut act: impl FnMut(usize)) {
    let mut times: Vec<Duration> = (0..runs)
        .map(|i| {
            let begun = Instant::now();
            act(i);
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("{what}: median {:?}, max {:?}, {runs} runs", times[runs / 2], times[runs - 1]);
}

fn new_namespace() -> File {
    let made = std::thread::spawn(|| {
        #[expect(unsafe_code, reason = "rustix marks every unshare as unsafe")]
        // SAFETY: a network namespace touches neither memory nor descriptors.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }
            .expect("a namespace");
        let address = ["addr", "add", "10.0.0.1/32", "dev", "lo"];
        Command::new("ip").args(address).status().expect("an address");
        File::open("/proc/thread-self/ns/net").expect("its file")
    });
    made.join().expect("the thread that makes a namespace")
}

fn path_of(file: &File) -> PathBuf {
    use std::os::fd::AsRawFd as _;
    Path::new("/proc/self/fd").join(file.as_raw_fd().to_string())
}

fn allow_descriptors() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).expect("descriptors");
}
