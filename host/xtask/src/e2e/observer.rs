//! The observer in the network of the pods: it asks for every address once a second, by broadcast, and notes who answers.
//!
//! It knows nothing of Tenure. Two machines that answer for one address within half a second have answered the same
//! question: the next one comes a second later.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::cluster::{Cluster, until};
use crate::workspace::run;

/// Answers to one question are not farther apart.
const SAME_QUESTION: Duration = Duration::from_millis(500);
/// Outside of the pool.
const TRIAL: Ipv4Addr = Ipv4Addr::new(10, 201, 9, 9);
/// The namespaces of the two who answer in the trial.
const TRIAL_NAMES: [&str; 2] = ["tenure-e2e-t1", "tenure-e2e-t2"];

/// All that ask. They end with it.
pub(crate) struct Observer {
    askers: Vec<Child>,
    seen: Arc<Mutex<Seen>>,
}

/// Two who answered for one address.
#[derive(Debug, Clone)]
pub(crate) struct Double {
    pub(crate) address: Ipv4Addr,
    pub(crate) at: Instant,
    pub(crate) by: [String; 2],
}

#[derive(Debug, Default)]
struct Seen {
    last: BTreeMap<Ipv4Addr, (String, Instant)>,
    answers: u64,
    doubles: Vec<Double>,
}

// === impl Observer ===

impl Observer {
    /// Asks for these addresses from now on, having shown that it sees two who answer for one.
    pub(crate) fn start(
        cluster: &Cluster,
        addresses: impl Iterator<Item = Ipv4Addr>,
    ) -> anyhow::Result<Self> {
        prove(cluster)?;
        let mut this = Self { askers: Vec::new(), seen: Arc::default() };
        for address in addresses {
            this.ask(cluster, address)?;
        }
        Ok(this)
    }

    /// How many answers there were so far, and who answered where another did.
    pub(crate) fn report(&self) -> (u64, Vec<Double>) {
        let seen = lock(&self.seen);
        (seen.answers, seen.doubles.clone())
    }

    /// Whether this address answered after that moment.
    pub(crate) fn heard(&self, address: &str, after: Instant) -> bool {
        let seen = lock(&self.seen);
        let last = address.parse().ok().and_then(|address: Ipv4Addr| seen.last.get(&address));
        last.is_some_and(|(_, at)| *at > after)
    }

    fn ask(&mut self, cluster: &Cluster, address: Ipv4Addr) -> anyhow::Result<()> {
        let mut command = cluster.in_fabric("arping");
        // An hour at most, should this process end without a chance to say so.
        command.args(["-b", "-w", "3600", "-I", "br-pod", &address.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut asker = command.spawn().context("starting arping")?;
        let output = asker.stdout.take().context("the output of arping")?;
        self.askers.push(asker);
        let seen = self.seen.clone();
        let read = move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(who) = answerer(&line) {
                    lock(&seen).note(address, who, Instant::now());
                }
            }
        };
        std::thread::Builder::new().spawn(read).context("starting a thread")?;
        Ok(())
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        for asker in &mut self.askers {
            let _ = asker.kill();
            let _ = asker.wait();
        }
    }
}

// === impl Seen ===

impl Seen {
    fn note(&mut self, address: Ipv4Addr, who: &str, at: Instant) {
        self.answers += 1;
        let before = self.last.insert(address, (who.to_owned(), at));
        if let Some((other, then)) = before
            && other != who
            && at.duration_since(then) < SAME_QUESTION
        {
            self.doubles.push(Double { address, at, by: [other, who.to_owned()] });
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The MAC address of a line such as `Unicast reply from 10.201.1.7 [8A:1D:24:60:F1:0C]  0.6ms`.
fn answerer(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(" reply from ")?;
    rest.split_once('[')?.1.split_once(']').map(|(who, _)| who)
}

/// Two namespaces with one address: an observer that does not see them would see nothing at all.
fn prove(cluster: &Cluster) -> anyhow::Result<()> {
    let outcome = see_trial(cluster);
    for name in TRIAL_NAMES {
        let _ = run(Command::new("ip").args(["netns", "del", name]));
    }
    outcome
}

fn see_trial(cluster: &Cluster) -> anyhow::Result<()> {
    for (number, name) in TRIAL_NAMES.iter().enumerate() {
        let port = format!("trial{number}");
        run(Command::new("ip").args(["netns", "add", name]))?;
        let peer = format!("/run/netns/{name}");
        let link = ["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &peer];
        run(cluster.in_fabric("ip").args(link))?;
        run(cluster.in_fabric("ip").args(["link", "set", &port, "master", "br-pod", "up"]))?;
        for arguments in [
            &["addr", "add", &format!("{TRIAL}/16"), "dev", "eth0"][..],
            &["link", "set", "eth0", "up"],
        ] {
            run(Command::new("ip").args(["-n", name]).args(arguments))?;
        }
    }
    let mut observer = Observer { askers: Vec::new(), seen: Arc::default() };
    observer.ask(cluster, TRIAL)?;
    until("the observer sees two who answer for one address", Duration::from_secs(10), || {
        Ok(!observer.report().1.is_empty())
    })?;
    let (answers, doubles) = observer.report();
    ensure!(
        doubles.iter().all(|double| double.address == TRIAL),
        "{doubles:?} of {answers} answers"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_answers_to_one_question_are_a_double_and_a_new_holder_is_none() {
        let (mut seen, start) = (Seen::default(), Instant::now());
        let after = |millis| start + Duration::from_millis(millis);
        seen.note(TRIAL, "a", after(0));
        seen.note(TRIAL, "b", after(1000));
        seen.note(TRIAL, "b", after(2000));
        assert!(seen.doubles.is_empty());
        seen.note(TRIAL, "a", after(2001));
        assert_eq!(seen.doubles.len(), 1);
    }

    #[test]
    fn the_answerer_is_read_from_the_lines_of_arping() {
        let line = "Unicast reply from 10.201.1.7 [8A:1D:24:60:F1:0C]  0.6ms";
        assert_eq!(answerer(line), Some("8A:1D:24:60:F1:0C"));
        assert_eq!(answerer("Sent 3 probes (3 broadcast(s))"), None);
    }
}
