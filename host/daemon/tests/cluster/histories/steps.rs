//! What happens, from a seed.

use std::time::Duration;

pub const NODE: &str = "n1";
pub const ALLOCATORS: usize = 2;
/// Places for containers: more than there are addresses.
pub const SLOTS: usize = 8;

/// Some verbs at once, and something that happens in their midst.
#[derive(Debug, Clone)]
pub struct Step {
    pub verbs: Vec<(usize, Verb)>,
    pub upset: Upset,
    /// So long after the verbs have begun.
    pub after: Duration,
}

/// What a runtime does about one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Of a new container where there is none; else once more for the one that is there.
    Add,
    /// Its namespace stays for some steps.
    Del,
    /// Of a container that has left long ago.
    LateDel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upset {
    Nothing,
    /// SIGKILL, and started again at once.
    KillAgent,
    /// SIGKILL, and started again at once.
    KillAllocator(usize),
    KillLeader,
    /// Nobody is answered for so long.
    StopApi(Duration),
    /// The pod of a place is gone from the API; its container lives.
    ForceDelete(usize),
    /// The namespace of a place ends, and no DEL comes.
    End(usize),
    /// Neither agent nor kubelet of the node are heard until it is lost, all pods are force-deleted, and it comes back.
    Silence,
}

/// SplitMix64: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn millis(&mut self, bound: usize) -> Duration {
        Duration::from_millis(self.below(bound) as u64)
    }
}

/// The steps of a seed.
pub fn steps(seed: u64, count: usize) -> Vec<Step> {
    let mut dice = Dice(seed);
    // One of them in each history: it takes longer than all others together.
    let silent = count / 2 + dice.below((count / 4).max(1));
    let step = |number| {
        let upset = if number == silent { Upset::Silence } else { upset(&mut dice) };
        step_with(upset, &mut dice)
    };
    (0..count).map(step).collect()
}

fn upset(dice: &mut Dice) -> Upset {
    match dice.below(16) {
        0..3 => Upset::KillAgent,
        3..5 => Upset::KillAllocator(dice.below(ALLOCATORS)),
        5 => Upset::KillLeader,
        6..8 => Upset::StopApi(Duration::from_millis(200) + dice.millis(3000)),
        8..10 => Upset::ForceDelete(dice.below(SLOTS)),
        10..13 => Upset::End(dice.below(SLOTS)),
        _ => Upset::Nothing,
    }
}

fn step_with(upset: Upset, dice: &mut Dice) -> Step {
    let mut verbs: Vec<(usize, Verb)> = Vec::new();
    for _ in 0..2 + dice.below(4) {
        let slot = dice.below(SLOTS);
        let is_free = match upset {
            // Its runtime has nobody to call.
            Upset::Silence => false,
            Upset::End(ends) => slot != ends,
            _ => true,
        };
        if is_free && verbs.iter().all(|(other, _)| *other != slot) {
            let verb = match dice.below(8) {
                0..5 => Verb::Add,
                5..7 => Verb::Del,
                _ => Verb::LateDel,
            };
            verbs.push((slot, verb));
        }
    }
    Step { verbs, upset, after: dice.millis(80) }
}
