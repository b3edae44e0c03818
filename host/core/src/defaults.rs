//! The figures of lease life and reclaim, in one table. What can be set says where; the others are the design's.
//!
//! `host/engine/RECLAIM.md` shows the same table to operators; a test holds both to each other.

use std::time::Duration;

/// How long at most between two sweeps; each is jittered by a quarter downwards.
pub const SWEEP: Duration = Duration::from_secs(30);
/// Looks of one series are at least so far apart.
pub const LOOKS_APART: Duration = Duration::from_secs(1);
/// How many looks a proof takes.
pub const LOOKS: u32 = 2;
/// Grace where nothing speaks for the holder: proof decides *whether*, this only *when*.
pub const GRACE: Duration = Duration::from_secs(2);
/// Grace where the workload will come back, and the longest that the host gives by itself.
pub const GRACE_COMING_BACK: Duration = Duration::from_secs(5 * 60);
/// How long a released address rests.
pub const COOLDOWN: Duration = Duration::from_secs(120);
/// How long it rests at least where the end of its holder is proved, under pressure.
pub const FLOOR_PROVED: Duration = Duration::ZERO;
/// The same where nothing is proved and the kernel is silent: main plugins remove the link within milliseconds after
/// the IPAM DEL, slow ones within seconds.
pub const FLOOR_UNPROVED: Duration = Duration::from_secs(5);
/// How long links may outlive their namespace: the last of 400 that ended at once was seen 31 ms after the last id; a
/// second covers thousands.
pub const SETTLING: Duration = Duration::from_secs(1);
/// How long after a DEL its holder is looked for closely.
pub const CLOSE_WATCH: Duration = Duration::from_secs(5);
/// A lease must be so old before a GC list that lacks it says anything about it.
pub const GC_MIN_AGE: Duration = Duration::from_secs(60);
/// How long an ADD waits in line on a full pool.
pub const ADD_WAIT: Duration = Duration::from_secs(30);
/// How many ADDs wait for one pool.
pub const WAITERS: usize = 1024;
/// An address for which a foreign machine answered is asked for again after so long.
pub const PROBES_APART: Duration = Duration::from_secs(60);

/// An agent says so often that it lives.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// A node of which neither agent nor node lease was heard for so long is lost.
pub const LOST: Duration = Duration::from_secs(40);

/// After a store went back in time, all links are looked at once more after so long: whoever was answered just before has
/// its links up by then, or its runtime has given up.
pub const CENSUS_AGAIN: Duration = Duration::from_secs(120);

/// A figure as documentation shows it: what it is, its default, where it is set.
pub const TABLE: [(&str, &str, &str); 17] = [
    ("sweep interval, jittered", "30 s", "`[reclaim] sweep`"),
    ("looks for a proof, and how far apart", "2, 1 s", "fixed"),
    ("grace", "2 s", "policy hook `reclaim`, `spec.limits`"),
    ("grace where the workload will come back", "300 s", "policy hook `reclaim`, `spec.limits`"),
    ("cool-down", "120 s", "`spec.cooldown`, policy hook `reclaim`"),
    ("floor with proof", "0 s", "`spec.cooldownFloor`"),
    ("floor without proof", "5 s", "at least that; `spec.cooldownFloor`"),
    ("how long links may outlive their namespace", "1 s", "fixed"),
    ("close watch after a DEL", "5 s", "fixed"),
    ("least age of a lease for CNI GC", "60 s", "fixed"),
    ("wait inside an ADD", "30 s", "`ipam.waitSeconds`"),
    ("ADDs that wait for one pool", "1024", "fixed"),
    ("before an address that answered is probed again", "60 s", "fixed"),
    ("how often an agent says that it lives", "5 s", "fixed"),
    ("silence of agent and node lease that makes a node lost", "40 s", "`[nodes] lostAfter`"),
    ("second census after the store went back", "120 s", "fixed"),
    ("events of the history", "100000", "`[store] historyEvents`"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts of the table say what the constants are.
    #[test]
    fn the_table_shows_the_constants() {
        let seconds = |time: Duration| format!("{} s", time.as_secs());
        let values = [
            seconds(SWEEP),
            format!("{LOOKS}, {}", seconds(LOOKS_APART)),
            seconds(GRACE),
            seconds(GRACE_COMING_BACK),
            seconds(COOLDOWN),
            seconds(FLOOR_PROVED),
            seconds(FLOOR_UNPROVED),
            seconds(SETTLING),
            seconds(CLOSE_WATCH),
            seconds(GC_MIN_AGE),
            seconds(ADD_WAIT),
            WAITERS.to_string(),
            seconds(PROBES_APART),
            seconds(HEARTBEAT),
            seconds(LOST),
            seconds(CENSUS_AGAIN),
            crate::history::EVENTS_KEPT.to_string(),
        ];
        let shown: Vec<_> = TABLE.iter().map(|(_, value, _)| *value).collect();
        assert_eq!(shown, values.each_ref().map(String::as_str));
    }
}
