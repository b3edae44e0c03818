//! The rules about nodes, each by a short story. Time is in seconds.

use super::*;

const RULES: Rules = Rules { lost: Duration::from_secs(40), close: Duration::from_secs(15) };

struct Story {
    table: Table,
    now: u64,
    present: HashSet<Arc<str>>,
    /// Nodes whose leases are renewed, every time that they are read.
    renewing: HashSet<Arc<str>>,
    /// When each was last renewed.
    renewed: HashMap<Arc<str>, u64>,
}

fn node(name: &str) -> NodeRef {
    NodeRef { name: name.into(), uid: format!("uid-{name}").into(), ..NodeRef::default() }
}

impl Story {
    /// Of nodes that leases name, all of them there.
    fn of(names: &[&str]) -> Self {
        let present: HashSet<Arc<str>> = names.iter().map(|name| Arc::from(*name)).collect();
        let mut table = Table::new(RULES);
        table.watch_for(present.clone());
        Self { table, now: 0, present, renewing: HashSet::new(), renewed: HashMap::new() }
    }

    fn renewing(mut self, names: &[&str]) -> Self {
        self.renewing = names.iter().map(|name| Arc::from(*name)).collect();
        self
    }

    fn at(&self) -> Moment {
        Moment(self.now * 1000)
    }

    /// So many seconds pass, in which the leases of those who are due are read every five.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds / 5 {
            self.round();
            self.now += 5;
        }
        self.round();
    }

    fn round(&mut self) {
        let now = self.at();
        for name in self.table.due(now) {
            let renewed = self.renewed.entry(name.clone()).or_default();
            if self.renewing.contains(&name) {
                *renewed = self.now;
            }
            let (uid, version) = ("u".to_owned(), String::new());
            let seen = LeaseSeen::Is { uid, renewed: renewed.to_string(), version };
            self.table.read(&name, seen, Span { began: now, ended: now });
        }
        self.table.settle(self.present.clone(), now);
    }

    fn heard(&mut self, name: &str) {
        self.table.heard(&node(name), self.at());
    }

    fn fence(&mut self, by: FencedBy, names: &[&str]) {
        let uids: Vec<_> = names.iter().map(|name| node(name).uid).collect();
        self.table.fenced(by, uids, self.at());
    }

    fn says(&self, name: &str) -> NodeSays {
        self.table.says(&node(name), self.at())
    }

    fn all_say(&self, names: &[&str]) -> Vec<NodeSays> {
        names.iter().map(|name| self.says(name)).collect()
    }
}

#[test]
fn of_nodes_that_nobody_speaks_of_nothing_is_known() {
    let story = Story::of(&["a"]);
    assert_eq!((story.says("a"), story.says("b")), (NodeSays::Unknown, NodeSays::Unknown));
}

#[test]
fn a_heard_node_is_heard_whether_it_is_watched_or_not() {
    let mut story = Story::of(&["a"]);
    story.heard("a");
    story.heard("b");
    story.pass(35);
    assert_eq!(story.all_say(&["a", "b"]), [NodeSays::Heard, NodeSays::Heard]);
}

#[test]
fn an_agent_that_falls_silent_is_looked_after_before_its_time_is_over() {
    let mut story = Story::of(&["a"]);
    story.heard("a");
    assert!(story.table.due(Moment(9_999)).is_empty());
    assert_eq!(story.table.due(Moment(10_000)), ["a".into()]);
    story.pass(45);
    assert_eq!(story.says("a"), NodeSays::Unknown);
    story.pass(5);
    assert_eq!(story.says("a"), NodeSays::Lost);
}

#[test]
fn a_node_that_returns_is_lost_no_more_by_either_sign() {
    let mut story = Story::of(&["a"]);
    story.pass(40);
    assert_eq!(story.says("a"), NodeSays::Lost);
    story.heard("a");
    assert_eq!(story.says("a"), NodeSays::Heard);
    story.pass(60);
    assert_eq!(story.says("a"), NodeSays::Lost);
    story = story.renewing(&["a"]);
    story.pass(5);
    assert_eq!(story.says("a"), NodeSays::AgentSilent);
}

#[test]
fn a_fence_counts_once_its_node_was_silent_for_the_lost_time() {
    for by in [FencedBy::Taint, FencedBy::Operator] {
        let mut story = Story::of(&["a", "b"]);
        story.fence(by, &["a"]);
        story.pass(35);
        assert_eq!(story.says("a"), NodeSays::Unknown, "an agent that lives may not have come yet");
        story.pass(5);
        assert_eq!(story.all_say(&["a", "b"]), [NodeSays::Fenced, NodeSays::Lost]);
    }
}

#[test]
fn a_fence_of_a_machine_whose_lease_is_renewed_counts_for_nothing() {
    let mut story = Story::of(&["a"]).renewing(&["a"]);
    story.fence(FencedBy::Operator, &["a"]);
    story.pass(100);
    assert_eq!(story.says("a"), NodeSays::AgentSilent);
    story = story.renewing(&[]);
    story.pass(45);
    assert_eq!(story.says("a"), NodeSays::Fenced);
}

#[test]
fn a_heard_agent_ends_a_fence_until_it_is_removed_and_set_again() {
    let mut story = Story::of(&["a"]);
    story.pass(40);
    story.fence(FencedBy::Taint, &["a"]);
    assert_eq!(story.says("a"), NodeSays::Fenced);
    story.heard("a");
    assert_eq!(story.says("a"), NodeSays::Heard);
    story.pass(100);
    story.fence(FencedBy::Taint, &["a"]);
    assert_eq!(story.says("a"), NodeSays::Lost, "it is the old fence");
    story.fence(FencedBy::Operator, &["a"]);
    assert_eq!(story.says("a"), NodeSays::Fenced, "another one is another word");
    story.fence(FencedBy::Operator, &[]);
    assert_eq!(story.says("a"), NodeSays::Lost);
    story.fence(FencedBy::Taint, &[]);
    story.fence(FencedBy::Taint, &["a"]);
    assert_eq!(story.says("a"), NodeSays::Fenced);
    assert_eq!(story.table.fence(&node("a")), Some(story.at()));
}

#[test]
fn a_fence_is_of_one_machine_and_not_of_its_name() {
    let mut story = Story::of(&["a"]);
    story.fence(FencedBy::Operator, &["a"]);
    story.table.fenced(FencedBy::Taint, ["".into()], story.at());
    story.pass(40);
    let other = NodeRef { uid: "another".into(), ..node("a") };
    let unnamed = NodeRef { uid: "".into(), ..node("a") };
    for stranger in [other, unnamed] {
        assert_eq!(story.table.says(&stranger, story.at()), NodeSays::Lost);
    }
}

#[test]
fn the_end_of_a_fence_is_remembered_while_its_node_is_there() {
    let mut story = Story::of(&["a"]);
    story.fence(FencedBy::Taint, &["a"]);
    story.pass(5);
    story.heard("a");
    story.table.watch_for([]);
    story.pass(100);
    story.table.watch_for(["a".into()]);
    story.pass(100);
    assert_eq!(story.says("a"), NodeSays::Lost);
}

#[test]
fn three_of_six_that_are_lost_at_once_are_many_and_two_are_not() {
    let all = ["a", "b", "c", "d", "e", "f"];
    for (renewing, said) in [
        (&all[2..], NodeSays::Lost),
        (&all[3..], NodeSays::LostWithMany),
        (&all[6..], NodeSays::LostWithMany),
    ] {
        let mut story = Story::of(&all).renewing(renewing);
        story.pass(40);
        assert_eq!(story.says("a"), said, "{renewing:?} are renewed");
    }
}

#[test]
fn three_that_are_less_than_a_third_are_not_many() {
    let others = ["d", "e", "f", "g", "h", "i", "j"];
    let all = [&["a", "b", "c"][..], &others].concat();
    let mut story = Story::of(&all).renewing(&others);
    story.pass(40);
    assert_eq!(story.all_say(&["a", "b", "c"]), [NodeSays::Lost; 3]);
    let mut story = Story::of(&all[..9]).renewing(&others);
    story.pass(40);
    assert_eq!(story.all_say(&["a", "b", "c"]), [NodeSays::LostWithMany; 3]);
}

#[test]
fn nodes_that_were_lost_long_before_make_a_third_no_larger() {
    let all = ["a", "b", "c", "d", "e", "f", "g", "h", "x", "y"];
    let mut story = Story::of(&all).renewing(&all[..8]);
    story.pass(140);
    story = story.renewing(&all[3..8]);
    story.pass(40);
    assert_eq!(story.all_say(&["a", "x"]), [NodeSays::LostWithMany, NodeSays::Lost]);
}

#[test]
fn each_of_many_stays_so_until_it_returns_itself() {
    let mut story = Story::of(&["a", "b", "c"]);
    story.pass(40);
    assert_eq!(story.all_say(&["a", "b", "c"]), [NodeSays::LostWithMany; 3]);
    story.heard("a");
    story = story.renewing(&["b"]);
    story.pass(20);
    let said = [NodeSays::Heard, NodeSays::AgentSilent, NodeSays::LostWithMany];
    assert_eq!(story.all_say(&["a", "b", "c"]), said);
    story.heard("c");
    for _ in 0..12 {
        story.heard("a");
        story.pass(5);
    }
    assert_eq!(story.says("c"), NodeSays::Lost, "it returned, and was lost alone");
}

#[test]
fn of_nodes_that_are_cut_off_together_the_first_is_not_lost_alone() {
    let mut story = Story::of(&["a", "b", "c"]).renewing(&["b", "c"]);
    story.pass(15);
    story = story.renewing(&[]);
    story.pass(25);
    assert_eq!(
        story.all_say(&["a", "b", "c"]),
        [NodeSays::LostWithMany, NodeSays::AgentSilent, NodeSays::AgentSilent]
    );
    story = story.renewing(&["b", "c"]);
    story.pass(5);
    assert_eq!(story.says("a"), NodeSays::Lost, "the others were only slow");
}

#[test]
fn nodes_that_are_lost_one_by_one_are_not_many() {
    let mut story = Story::of(&["a", "b", "c"]).renewing(&["b", "c"]);
    story.pass(90);
    story = story.renewing(&["c"]);
    story.pass(90);
    story = story.renewing(&[]);
    story.pass(90);
    assert_eq!(story.all_say(&["a", "b", "c"]), [NodeSays::Lost; 3]);
}

#[test]
fn nodes_that_nobody_asks_for_and_that_are_no_more_are_forgotten() {
    let mut story = Story::of(&["a"]);
    story.heard("b");
    story.pass(50);
    assert_eq!(story.table.nodes.len(), 1);
}

/// The machine that wore the name `a` first, and the one after it, of a Node made anew or of the same.
fn machine(agent: &str, uid: &str) -> NodeRef {
    NodeRef { uid: uid.into(), agent: agent.into(), ..node("a") }
}

impl Story {
    /// So many seconds pass, in which this machine speaks every five.
    fn speak(&mut self, machine: &NodeRef, seconds: u64) {
        for _ in 0..seconds / 5 {
            self.table.heard(machine, self.at());
            self.pass(5);
        }
        self.table.heard(machine, self.at());
    }

    fn of_machine(&self, machine: &NodeRef) -> NodeSays {
        self.table.says(machine, self.at())
    }
}

#[test]
fn a_machine_in_whose_place_another_speaks_is_lost_once_that_was_so_for_the_lost_time() {
    let (old, new) = (machine("x", "uid-a"), machine("y", "uid-a"));
    let mut story = Story::of(&["a"]).renewing(&["a"]);
    story.speak(&old, 20);
    assert_eq!(story.of_machine(&new), NodeSays::Unknown);
    story.speak(&new, 35);
    assert_eq!(story.of_machine(&old), NodeSays::Unknown);
    story.speak(&new, 5);
    assert_eq!(story.of_machine(&old), NodeSays::Lost);
    assert_eq!(story.of_machine(&new), NodeSays::Heard);
    assert_eq!(story.says("a"), NodeSays::Heard, "of the name");
}

#[test]
fn two_live_machines_of_one_name_are_never_lost() {
    let (one, other) = (machine("x", "uid-a"), machine("y", "uid-a"));
    let mut story = Story::of(&["a"]).renewing(&["a"]);
    for _ in 0..20 {
        story.speak(&one, 20);
        story.speak(&other, 20);
        for machine in [&one, &other] {
            assert_ne!(story.of_machine(machine), NodeSays::Lost);
        }
    }
}

#[test]
fn time_in_which_nobody_was_heard_counts_for_no_successor() {
    let (old, new) = (machine("x", "uid-a"), machine("y", "uid-a"));
    let mut story = Story::of(&["a"]).renewing(&["a"]);
    story.speak(&old, 5);
    story.speak(&new, 30);
    story.pass(100);
    assert_eq!(story.of_machine(&old), NodeSays::AgentSilent, "the successor is silent, too");
    story.speak(&new, 5);
    assert_eq!(story.of_machine(&old), NodeSays::Unknown);
    story.speak(&new, 5);
    assert_eq!(story.of_machine(&old), NodeSays::Lost);
}

#[test]
fn a_fence_of_a_replaced_machine_stands_although_its_successor_speaks_for_another_node() {
    for (uid, says) in [("uid-new", NodeSays::Fenced), ("uid-a", NodeSays::Lost)] {
        let (old, new) = (machine("x", "uid-a"), machine("y", uid));
        let mut story = Story::of(&["a"]).renewing(&["a"]);
        story.speak(&old, 5);
        story.speak(&new, 20);
        story.fence(FencedBy::Operator, &["a"]);
        story.speak(&new, 20);
        assert_eq!(story.of_machine(&old), says, "{uid}");
        assert_eq!(story.of_machine(&new), NodeSays::Heard);
        story.table.heard(&old, story.at());
        assert_eq!(story.of_machine(&old), NodeSays::Heard, "it is back");
        assert!(story.table.fence(&old).is_none(), "and has ended the fence");
    }
}
