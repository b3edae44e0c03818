//! Policies that answer as the test says.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tenure_core::decision::{
    Affinity, AffinityAnswer, AffinityRequest, Decided, DecidedBy, DecisionRecord, DecisionStep,
    Holder, Hook, RETAIN_AS_AT_ADD, ReclaimRequest, SelectRequest, Selection, StepOutcome, Verdict,
};
use tenure_core::name::{Digest, ObjectName};
use tenure_core::objects::{PolicyMode, PolicySpec};
use tenure_core::ports::{
    Pinned, Policies, PolicyRefusal, PolicyStatus, SERVING, ShadowStatus, Unpinned,
};
use tenure_core::time::WallMs;

/// Attribute of a request that holds the `affinity` answer to it, as JSON.
pub const AFFINITY: &str = "sim/affinity";
/// Attribute of a request that holds the `select` answer to it, as JSON.
pub const SELECTION: &str = "sim/selection";

/// Loads nothing, and tells which policies it was given. Answers what stands in the attributes of the request. Where nothing does: affinity and grace as the fields say,
/// named pools in their order, then all others by index.
#[derive(Debug)]
pub struct FakePolicies {
    /// The answer of `affinity`.
    pub affinity: Mutex<Affinity>,
    /// Why `select` refuses, if it does.
    pub deny: Mutex<Option<String>>,
    /// The answer of `reclaim` for each lease.
    pub verdict: Mutex<Verdict>,
    /// No policy can be loaded.
    pub refuse: AtomicBool,
    /// Decisions about an ADD are remembered from here on.
    pub remembers: AtomicBool,
    remembered: Mutex<Vec<DecisionRecord>>,
    installed: Mutex<BTreeMap<ObjectName, PolicyStatus>>,
}

impl FakePolicies {
    /// As the ring of the policy host does, with one policy that says a word.
    fn remember(&self, hook: Hook, at: WallMs, request: Value, answer: Value) {
        if !self.remembers.load(Ordering::Relaxed) {
            return;
        }
        let (policy, digest) = (ObjectName::new("site").unwrap(), Digest::of(b"site"));
        let step = DecisionStep {
            policy: policy.clone(),
            digest: digest.clone(),
            terms: None,
            outcome: StepOutcome::Decided,
            fuel: 4_211,
            memory: 192 << 10,
            micros: 18,
            lookups: Vec::new(),
            log: vec!["zone of the holder: none".into()],
        };
        let mut remembered = self.remembered.lock();
        let id = remembered.len() as u64 + 1;
        let by = DecidedBy::Policy { name: policy, digest };
        remembered.push(DecisionRecord { id, at, hook, by, steps: vec![step], request, answer });
    }
}

impl Default for FakePolicies {
    fn default() -> Self {
        Self {
            affinity: Mutex::new(Affinity::None),
            deny: Mutex::new(None),
            verdict: Mutex::new(Verdict {
                grace: Duration::from_secs(2),
                retain: RETAIN_AS_AT_ADD,
                cooldown: Duration::from_secs(120),
                permits_unfenced: true,
            }),
            refuse: AtomicBool::new(false),
            remembers: AtomicBool::new(false),
            remembered: Mutex::default(),
            installed: Mutex::default(),
        }
    }
}

impl Policies for FakePolicies {
    fn pinned(&self) -> Box<dyn Pinned + '_> {
        Box::new(Unpinned(self))
    }

    fn affinity(&self, request: &AffinityRequest) -> Decided<AffinityAnswer> {
        let choice =
            said(&request.holder, AFFINITY).unwrap_or_else(|| self.affinity.lock().clone());
        let answer = AffinityAnswer { choice, tag: 7 };
        self.remember(Hook::Affinity, request.now, json!(request), json!(answer));
        decided(answer)
    }

    fn select(&self, request: &SelectRequest) -> Decided<Selection> {
        if let Some(reason) = self.deny.lock().clone() {
            return decided(Selection::Deny(reason));
        }
        if let Some(selection) = said(&request.holder, SELECTION) {
            return decided(selection);
        }
        let mut rows: Vec<u32> = (0..request.candidates.len() as u32).collect();
        rows.sort_by_key(|row| request.candidates[*row as usize].order.unwrap_or(u32::MAX));
        let answer = Selection::Ranked(rows);
        self.remember(Hook::Select, request.now, json!(request), json!(answer));
        decided(answer)
    }

    fn reclaim(&self, request: &ReclaimRequest) -> Decided<Vec<Verdict>> {
        decided(vec![*self.verdict.lock(); request.leases.len()])
    }

    fn check(&self, name: &ObjectName, spec: &PolicySpec) -> Result<PolicyStatus, PolicyRefusal> {
        if self.refuse.load(Ordering::Relaxed) {
            return Err(PolicyRefusal {
                policy: name.clone(),
                stage: "reading it",
                why: "told so".into(),
            });
        }
        Ok(status(name, spec))
    }

    fn install(&self, name: &ObjectName, spec: &PolicySpec) -> Result<PolicyStatus, PolicyRefusal> {
        let installed = self.check(name, spec)?;
        self.installed.lock().insert(name.clone(), installed.clone());
        Ok(installed)
    }

    fn remove(&self, name: &ObjectName) {
        self.installed.lock().remove(name);
    }

    fn status(&self) -> Vec<PolicyStatus> {
        self.installed.lock().values().cloned().collect()
    }

    fn decisions(&self, limit: usize) -> Vec<DecisionRecord> {
        self.remembered.lock().iter().rev().take(limit).cloned().collect()
    }
}

/// What the request itself says.
fn said<T: serde::de::DeserializeOwned>(holder: &Holder, attribute: &str) -> Option<T> {
    let text = holder.attributes.get(attribute)?;
    Some(serde_json::from_str(text).unwrap())
}

fn decided<T>(answer: T) -> Decided<T> {
    Decided { answer, by: DecidedBy::BuiltIn, record: 0 }
}

fn status(name: &ObjectName, spec: &PolicySpec) -> PolicyStatus {
    let is_shadow = spec.mode == PolicyMode::Shadow;
    PolicyStatus {
        name: name.clone(),
        digest: spec.digest.clone().unwrap_or_else(|| Digest::of(b"")),
        component: "fake".into(),
        version: "0".into(),
        hooks: Vec::new(),
        mode: if is_shadow { "shadow" } else { "active" }.into(),
        decisions: 0,
        faults: Vec::new(),
        breaker_open: false,
        stage: SERVING.into(),
        last_refusal: None,
        fuel: None,
        latency: None,
        shadow: is_shadow.then(|| ShadowStatus {
            of: spec.shadow.as_ref().and_then(|shadow| shadow.of.clone()),
            percent: spec.shadow.as_ref().map_or(100, |shadow| shadow.percent),
            agreed: 39,
            differed: 1,
            abstained: 2,
            dropped: 0,
        }),
    }
}
