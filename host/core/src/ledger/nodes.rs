//! The nodes that the rows name, and which agents have spoken. A row keeps a number in place of the names.

use std::collections::HashMap;
use std::sync::Arc;

use super::Home;
use crate::lease::NodeRef;

/// Nodes by number. They are few, one for each boot of each machine, and stay as long as the process.
#[derive(Debug, Clone)]
pub(super) struct Nodes {
    /// The first one is no node: that of rows that an ADD has reserved.
    by_number: Vec<Arc<NodeRef>>,
    numbers: HashMap<Arc<NodeRef>, u32>,
    /// Agent -> its present boot, of agents that have spoken.
    present: HashMap<Arc<str>, Arc<str>>,
}

impl Default for Nodes {
    fn default() -> Self {
        let none = Arc::new(NodeRef::default());
        Self {
            by_number: vec![none.clone()],
            numbers: HashMap::from([(none, 0)]),
            present: HashMap::new(),
        }
    }
}

impl Nodes {
    /// The number of a node; a new one gets the next.
    pub(super) fn number(&mut self, node: &NodeRef) -> u32 {
        if let Some(number) = self.numbers.get(node) {
            return *number;
        }
        let Ok(number) = u32::try_from(self.by_number.len()) else { return 0 };
        let node = Arc::new(node.clone());
        self.by_number.push(node.clone());
        self.numbers.insert(node, number);
        number
    }

    pub(super) fn node(&self, number: u32) -> Option<&Arc<NodeRef>> {
        self.by_number.get(number as usize)
    }

    /// An agent has spoken; whether its boot is news.
    pub(super) fn hear(&mut self, node: &NodeRef) -> bool {
        self.present.insert(node.agent.clone(), node.boot.clone()) != Some(node.boot.clone())
    }

    /// Whether it is the present boot of this agent, which has spoken.
    pub(super) fn is_present(&self, agent: &str, boot: &str) -> bool {
        self.present.get(agent).is_some_and(|present| **present == *boot)
    }

    pub(super) fn home(&self, node: &NodeRef) -> Home {
        match self.present.get(&node.agent) {
            None => Home::Elsewhere,
            Some(boot) if *boot == node.boot => Home::Here,
            Some(_) => Home::EarlierBoot,
        }
    }
}
