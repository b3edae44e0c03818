//! What must be so in the end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::rules::name;
use super::run::{ADDRESSES, Container, Run};
use super::steps::{ALLOCATORS, NODE};

/// Graces, the patience of agents and allocators for what an earlier process of theirs may have begun, and looks.
const SETTLED_WITHIN: Duration = Duration::from_secs(180);

impl Run {
    /// I6: what nobody has comes back, all of it, and can be given again.
    pub fn finish(mut self) {
        self.cluster.reached(NODE, ALLOCATORS);
        self.check();
        // Runtimes clear away what did not come up.
        for slot in &mut self.slots {
            if slot.as_ref().is_some_and(|container| container.told.is_none()) {
                let container = slot.take().unwrap();
                container.call("DEL", &self.cluster).run().ok();
                self.gone.push(container);
            }
        }
        for container in &mut self.gone {
            // Else it is believed for minutes that the pod comes back.
            container.force_delete(&self.cluster);
            container.end(&self.cluster);
        }
        self.nothing_is_held_but_what_lives();
        self.check();
        for slot in &mut self.slots {
            let Some(mut container) = slot.take() else { continue };
            container.call("DEL", &self.cluster).run().ok();
            container.end(&self.cluster);
            self.gone.push(container);
        }
        self.nothing_is_held_but_what_lives();
        self.all_of_it_can_be_given();
    }

    fn nothing_is_held_but_what_lives(&self) {
        let mut wanted: BTreeMap<String, String> = BTreeMap::new();
        for Container { name: holder, told, .. } in self.slots.iter().flatten() {
            wanted.extend(told.iter().flatten().map(|a| (name(*a), holder.clone())));
        }
        let began = Instant::now();
        loop {
            let held = self.not_released();
            if held == wanted {
                break;
            }
            let in_time = began.elapsed() < SETTLED_WITHIN;
            assert!(in_time, "I6: only what lives is held: {held:#?}, and should be {wanted:#?}");
            std::thread::sleep(Duration::from_millis(100));
        }
        println!("settled within {:.1?}", began.elapsed());
    }

    /// Held or in quarantine, and whose.
    fn not_released(&self) -> BTreeMap<String, String> {
        let leases = self.cluster.leases().into_iter();
        let of =
            |spec: &Value| spec["attachment"]["container"].as_str().unwrap_or("nobody").to_owned();
        let leases = leases.filter(|(_, spec)| spec["state"] != "Released");
        leases.map(|(name, spec)| (name, of(&spec))).collect()
    }

    fn all_of_it_can_be_given(&mut self) {
        let fresh: Vec<Container> = (0..ADDRESSES).map(|_| self.create()).collect();
        for container in &fresh {
            container.call("ADD", &self.cluster).waiting(30).run().ok();
        }
        assert_eq!(self.cluster.held(), 2 * ADDRESSES, "I6: all addresses were given again");
    }
}
