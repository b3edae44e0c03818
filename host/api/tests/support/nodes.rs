//! A cluster that is made up: four machines, one of each kind, two of one name.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tenure_api::{
    DeathWord, FenceView, FencedBy, NodeLease, NodeState, NodeView, Nodes, NodesError, NodesFuture,
    Unconfirmed,
};

/// The words of operators by uid.
#[derive(Default)]
pub struct MadeUp(Mutex<BTreeMap<String, String>>);

impl MadeUp {
    fn views(&self) -> Vec<NodeView> {
        let up = node("n1", "uid-1", NodeState::Up);
        let silent = NodeView {
            agent_heard_s: Some(300),
            node_lease: NodeLease::Present,
            node_lease_silent_s: 7,
            connected: false,
            ..node("n2", "uid-2", NodeState::Silent)
        };
        let word = self.0.lock().get("uid-3").cloned();
        let lost = NodeView {
            state: if word.is_some() { NodeState::Fenced } else { NodeState::Lost },
            exists: false,
            node_lease_silent_s: 86,
            fence: word.map(|reason| fence(FencedBy::Operator, reason, true)),
            ..silent.clone()
        };
        let lost = NodeView { name: "n4".into(), uid: "uid-3".into(), ..lost };
        let anew = NodeView {
            agent_heard_s: None,
            node_lease: NodeLease::Absent,
            node_lease_silent_s: 10,
            connected: false,
            held: 0,
            fence: Some(fence(FencedBy::Taint, "taint x".to_owned(), false)),
            ..node("n4", "uid-4", NodeState::Unknown)
        };
        vec![up, silent, lost, anew]
    }

    fn confirm(&self, uid: String, word: DeathWord) -> Result<NodeView, NodesError> {
        let found = |this: &Self| this.views().into_iter().find(|node| node.uid == uid);
        let node = found(self).ok_or_else(|| NodesError::Unknown { uid: uid.clone() })?;
        if node.state == NodeState::Up {
            let why = "its agent was heard 1 s ago".to_owned();
            return Err(NodesError::IsHeard { node: node.name, why });
        }
        self.0.lock().insert(uid.clone(), format!("{} (somebody, some day)", word.reason));
        Ok(found(self).unwrap())
    }
}

impl Nodes for MadeUp {
    fn list(&self) -> NodesFuture<'_, Vec<NodeView>> {
        Box::pin(async { Ok(self.views()) })
    }

    fn confirm_dead(&self, uid: String, word: DeathWord) -> NodesFuture<'_, NodeView> {
        Box::pin(async { self.confirm(uid, word) })
    }

    fn unconfirm_dead(&self, uid: String) -> NodesFuture<'_, Unconfirmed> {
        Box::pin(
            async move { Ok(Unconfirmed { was_confirmed: self.0.lock().remove(&uid).is_some() }) },
        )
    }
}

fn node(name: &str, uid: &str, state: NodeState) -> NodeView {
    NodeView {
        name: name.into(),
        uid: uid.into(),
        exists: true,
        state,
        connected: true,
        agent_heard_s: Some(1),
        node_lease: NodeLease::NotRead,
        node_lease_silent_s: 0,
        fence: None,
        held: 20,
    }
}

fn fence(by: FencedBy, reason: String, counts: bool) -> FenceView {
    FenceView { by, reason, seen_s: Some(3), counts }
}
