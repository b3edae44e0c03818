//! Fixtures: a request and the answer that a policy shall give, as JSON. What a fixture leaves out is
//! filled in, so that it says only what it is about.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tenure_core::decision::{
    AffinityRequest, Candidate, DecisionStep, Hook, ReclaimRequest, SelectRequest, StepOutcome,
};
use tenure_core::ports::Policies;

/// One fixture of a policy.
///
/// ```json
/// {"about": "the emptier pool comes first", "hook": "select", "settings": {},
///  "request": {"candidates": [{"free": 1}, {"free": 9}]}, "answer": {"ranked": [1, 0]}}
/// ```
///
/// `request` is a request as the decision ring shows it; families default to IPv4. `answer` is what the ring shows,
/// `"abstained"`, or `{"fault": KIND}`; of an object only the named fields are compared.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// What it shows, for the reader of a failure.
    pub about: String,
    /// The hook to ask.
    pub hook: Hook,
    /// Settings of the policy.
    #[serde(default = "empty")]
    pub settings: Value,
    /// The request, as far as it matters.
    pub request: Value,
    /// The answer that is expected, as far as it matters.
    pub answer: Value,
}

// === impl Fixture ===

impl Fixture {
    /// Asks the policies of `host`, of which one should be installed, and returns the answer.
    ///
    /// # Errors
    /// The request does not read as one of its hook.
    pub fn ask(&self, host: &dyn Policies) -> serde_json::Result<Value> {
        let answer = match self.hook {
            Hook::Select => serde_json::to_value(host.select(&self.select()?).answer),
            Hook::Affinity => serde_json::to_value(host.affinity(&self.affinity()?).answer),
            Hook::Reclaim => serde_json::to_value(host.reclaim(&self.reclaim()?).answer),
        }?;
        let record = host.decisions(1).pop();
        let step = record.as_ref().and_then(|record| record.steps.last());
        Ok(match step.map(|step: &DecisionStep| &step.outcome) {
            Some(StepOutcome::Fault { kind, .. }) => json!({"fault": kind.as_str()}),
            Some(StepOutcome::Abstained) => json!("abstained"),
            _ => answer,
        })
    }

    /// Whether `answer` is the expected one.
    #[must_use]
    pub fn admits(&self, answer: &Value) -> bool {
        holds(&self.answer, answer)
    }

    fn select(&self) -> serde_json::Result<SelectRequest> {
        let candidate = candidate();
        let base = json!({"families": {"v4": true, "v6": false}, "candidates": []});
        self.read(base, &[("candidates", candidate)])
    }

    fn affinity(&self) -> serde_json::Result<AffinityRequest> {
        let previous = json!({
            "address": "10.6.0.1", "pool": 0, "heldS": 0, "sinceReleaseS": 0,
            "sameUid": false, "sameName": false, "retained": false, "resting": false,
        });
        let base = json!({"families": {"v4": true, "v6": false}, "previous": []});
        self.read(base, &[("previous", previous)])
    }

    fn reclaim(&self) -> serde_json::Result<ReclaimRequest> {
        let suspect = json!({
            "tag": 0, "pool": 0, "owner": "pod", "kernelGone": false, "apiGone": false,
            "apiAlive": false, "terminating": false, "finished": false, "nodeLost": false,
            "nodeFenced": false, "sticky": false, "heldS": 0, "suspectS": 0, "terminatingS": 0,
            "terminationGraceS": 30, "nodeLostS": 0, "holder": holder(),
        });
        let pressure = json!({"pool": 0, "free": 100, "size": 254, "waiting": 0});
        let base = json!({"leases": [], "pressure": []});
        self.read(base, &[("leases", suspect), ("pressure", pressure)])
    }

    /// Lays the request over the defaults, each row of a list over the default of its rows.
    fn read<T: serde::de::DeserializeOwned>(
        &self,
        base: Value,
        rows: &[(&str, Value)],
    ) -> serde_json::Result<T> {
        let mut request =
            json!({"holder": holder(), "now": 0, "seed": 0, "catalogue": {"pools": []}});
        lay_over(&mut request, &base);
        lay_over(&mut request, &self.request);
        for (list, row) in rows {
            each(request.get_mut(*list), row);
        }
        each(request.pointer_mut("/catalogue/pools"), &json!({"labels": {}}));
        serde_json::from_value(request)
    }
}

fn candidate() -> Value {
    let candidate = Candidate {
        pool: 0,
        family: tenure_core::address::Family::V4,
        free: 100,
        used: 0,
        resting: 0,
        retained: 0,
        waiting: 0,
        held_by_namespace: 0,
        held_by_controller: 0,
        priority: 0,
        named: false,
        in_zone: false,
        by_selector: false,
        order: None,
    };
    serde_json::to_value(candidate).unwrap_or_default()
}

fn holder() -> Value {
    serde_json::to_value(tenure_core::decision::Holder::default()).unwrap_or_default()
}

fn each(list: Option<&mut Value>, base: &Value) {
    for row in list.and_then(Value::as_array_mut).into_iter().flatten() {
        let own = std::mem::replace(row, base.clone());
        lay_over(row, &own);
    }
}

fn lay_over(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                lay_over(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

/// Whether `actual` holds all that `expected` names.
fn holds(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => expected
            .iter()
            .all(|(key, value)| actual.get(key).is_some_and(|actual| holds(value, actual))),
        (Value::Array(expected), Value::Array(actual)) => {
            expected.len() == actual.len()
                && expected.iter().zip(actual).all(|(expected, actual)| holds(expected, actual))
        }
        (expected, actual) => expected == actual,
    }
}

fn empty() -> Value {
    Value::Object(Map::new())
}
