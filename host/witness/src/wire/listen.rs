//! Three rounds of asking and listening.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Mac;
use super::asked::Asked;
use super::blind::Failed;
use super::packet_socket::PacketSocket;

/// Probes are lost now and then, so that each is put three times.
const ROUNDS: u32 = 3;
/// From one round to the next. A neighbour answers within a millisecond.
const ROUND: Duration = Duration::from_millis(100);
/// Machines that are remembered for one address: who claims it under a thousand names proves no more.
const MAX_CLAIMS_EACH: usize = 8;

/// What a family of addresses says and hears.
#[derive(Debug)]
pub(super) struct Speech {
    /// The protocol of its frames.
    pub(super) protocol: u16,
    /// What is sent in each round.
    pub(super) frames: Vec<Vec<u8>>,
    /// Which frames are heard.
    pub(super) filter: Vec<libc::sock_filter>,
    /// The groups that answers are sent to.
    pub(super) groups: Vec<Mac>,
    /// How a frame reads.
    pub(super) read: fn(&[u8]) -> Option<Heard>,
}

/// One frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Somebody says that it has the address.
    Claim {
        address: IpAddr,
        mac: Mac,
        /// To whom, if it is an answer.
        answers: Option<Mac>,
    },
    /// Somebody asks whether the address is free.
    Probe { address: IpAddr, mac: Mac },
}

/// All that was heard from others.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Who says that it has which address, in the order of hearing, each pair once.
    pub(super) claims: Vec<(IpAddr, Mac)>,
    /// Which addresses answered us.
    pub(super) answered: Vec<IpAddr>,
    /// Who asked, as we did, whether the address is free.
    pub(super) rival: Option<Mac>,
    /// Frames were lost on the way to us.
    pub(super) lost: bool,
}

/// Asks from `own` and listens: 300 ms.
pub(super) fn ask(
    socket: &mut PacketSocket,
    speech: &Speech,
    own: Mac,
    asked: &Asked,
) -> Result<Answers, Failed> {
    let mut answers = Answers::default();
    let mut until = Instant::now();
    for _ in 0..ROUNDS {
        for frame in &speech.frames {
            socket.send(frame)?;
        }
        until += ROUND;
        socket.hear_until(until, |frame| {
            if let Some(heard) = (speech.read)(frame) {
                answers.take(heard, own, asked);
            }
        })?;
    }
    answers.lost = socket.has_lost()?;
    Ok(answers)
}

// === impl Answers ===

impl Answers {
    pub(super) fn take(&mut self, heard: Heard, own: Mac, asked: &Asked) {
        match heard {
            Heard::Claim { mac, .. } | Heard::Probe { mac, .. } if mac == own => {}
            Heard::Claim { address, mac, answers } if asked.all().any(|other| other == address) => {
                self.claim(address, mac);
                // What was not said to us would also be heard by one whose questions nobody hears.
                if answers == Some(own) && !self.answered.contains(&address) {
                    self.answered.push(address);
                }
            }
            Heard::Probe { address, mac } if address == asked.address => self.rival = Some(mac),
            Heard::Claim { .. } | Heard::Probe { .. } => {}
        }
    }

    fn claim(&mut self, address: IpAddr, mac: Mac) {
        let room = self.claims.iter().filter(|(other, _)| *other == address).count();
        if room < MAX_CLAIMS_EACH && !self.claims.contains(&(address, mac)) {
            self.claims.push((address, mac));
        }
    }
}
