//! Fixtures: a request and the answer that a policy shall give, as YAML or JSON. What a fixture leaves out is
//! filled in, so that it says only what it is about.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use tenure_core::decision::{Candidate, DecisionStep, Hook, StepOutcome};
use tenure_core::ports::Policies;

use crate::question::Question;

/// One fixture of a policy.
///
/// ```json
/// {"about": "the emptier pool comes first", "hook": "select", "settings": {},
///  "request": {"candidates": [{"free": 1}, {"free": 9}]}, "answer": {"ranked": [1, 0]}}
/// ```
///
/// `request` is a request as the decision ring shows it; families default to IPv4. `pools` is short for its
/// `catalogue.pools`. `answer` is what the ring shows, `"abstained"`, or `{"fault": KIND}`; of an object only the named fields
/// are compared.
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
    /// The pools that requests speak of by their position.
    #[serde(default)]
    pub pools: Option<Vec<Value>>,
    /// The request, as far as it matters.
    #[serde(default = "empty")]
    pub request: Value,
    /// The answer that is expected, as far as it matters.
    pub answer: Value,
    /// What the policy may take for it at most.
    #[serde(default)]
    pub ceilings: Ceilings,
}

/// Bounds of a fixture below those of the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ceilings {
    /// Fuel, `init` included.
    pub fuel: Option<u64>,
    /// Linear memory: bytes, or a text such as `512KiB`.
    #[serde(default, deserialize_with = "bytes")]
    pub memory: Option<u64>,
}

/// What one policy did with the request of a fixture.
#[derive(Debug, Clone, PartialEq)]
pub struct Played {
    /// Its answer, in the form of [`Fixture::answer`].
    pub answer: Value,
    /// What the host recorded: fuel, memory, look-ups, log. None where the policy was not asked.
    pub step: Option<DecisionStep>,
}

// === impl Fixture ===

impl Fixture {
    /// Asks the policies of `host`, of which one should be installed, and returns the answer.
    ///
    /// # Errors
    /// The request does not read as one of its hook.
    pub fn ask(&self, host: &dyn Policies) -> serde_json::Result<Value> {
        Ok(self.play(host)?.answer)
    }

    /// The same, with what it took.
    ///
    /// # Errors
    /// The request does not read as one of its hook.
    pub fn play(&self, host: &dyn Policies) -> serde_json::Result<Played> {
        let answer = self.question()?.put_to(host);
        let step = host.decisions(1).pop().and_then(|mut record| record.steps.pop());
        let answer = match step.as_ref().map(|step| &step.outcome) {
            Some(StepOutcome::Fault { kind, .. }) => json!({"fault": kind.as_str()}),
            Some(StepOutcome::Abstained) => json!("abstained"),
            _ => answer,
        };
        Ok(Played { answer, step })
    }

    /// The whole request, with all that is left out filled in.
    ///
    /// # Errors
    /// It does not read as one of its hook.
    pub fn question(&self) -> serde_json::Result<Question> {
        let request = match self.hook {
            Hook::Select => self.select(),
            Hook::Affinity => self.affinity(),
            Hook::Reclaim => self.reclaim(),
        };
        Question::read(self.hook, request)
    }

    /// Whether `answer` is the expected one.
    #[must_use]
    pub fn admits(&self, answer: &Value) -> bool {
        holds(&self.answer, answer)
    }

    fn select(&self) -> Value {
        let candidate = candidate();
        let base = json!({"families": {"v4": true, "v6": false}, "candidates": []});
        self.filled(&base, &[("candidates", candidate)])
    }

    fn affinity(&self) -> Value {
        let previous = json!({
            "address": "10.6.0.1", "pool": 0, "heldS": 0, "sinceReleaseS": 0,
            "sameUid": false, "sameName": false, "retained": false, "resting": false,
        });
        let base = json!({"families": {"v4": true, "v6": false}, "previous": []});
        self.filled(&base, &[("previous", previous)])
    }

    fn reclaim(&self) -> Value {
        let suspect = json!({
            "tag": 0, "pool": 0, "owner": "pod", "kernelGone": false, "apiGone": false,
            "apiAlive": false, "terminating": false, "finished": false, "nodeLost": false,
            "nodeFenced": false, "sticky": false, "heldS": 0, "suspectS": 0, "terminatingS": 0,
            "terminationGraceS": 30, "nodeLostS": 0, "holder": holder(),
        });
        let pressure = json!({"pool": 0, "free": 100, "size": 254, "waiting": 0});
        let base = json!({"leases": [], "pressure": []});
        self.filled(&base, &[("leases", suspect), ("pressure", pressure)])
    }

    /// Lays the request over the defaults, each row of a list over the default of its rows.
    fn filled(&self, base: &Value, rows: &[(&str, Value)]) -> Value {
        let mut request =
            json!({"holder": holder(), "now": 0, "seed": 0, "catalogue": {"pools": []}});
        lay_over(&mut request, base);
        if let Some(pools) = &self.pools {
            lay_over(&mut request, &json!({"catalogue": {"pools": pools}}));
        }
        lay_over(&mut request, &self.request);
        for (list, row) in rows {
            each(request.get_mut(*list), row);
        }
        each(request.pointer_mut("/catalogue/pools"), &json!({"labels": {}}));
        request
    }
}

impl Ceilings {
    /// Each bound that this breaks, in words.
    #[must_use]
    pub fn broken_by(&self, step: &DecisionStep) -> Vec<String> {
        let all = [("fuel", step.fuel, self.fuel), ("memory", step.memory, self.memory)];
        let broken = all.into_iter().filter_map(|(what, took, bound)| {
            let bound = bound.filter(|bound| took > *bound)?;
            Some(format!("{what} {took}, at most {bound} allowed"))
        });
        broken.collect()
    }
}

/// `4096`, `512KiB` or `2MiB`.
fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Bytes(u64),
        Text(String),
    }
    let text = match Option::<Size>::deserialize(deserializer)? {
        None => return Ok(None),
        Some(Size::Bytes(bytes)) => return Ok(Some(bytes)),
        Some(Size::Text(text)) => text,
    };
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("B", 1), ("", 1)];
    let mut found = units.into_iter().filter_map(|(unit, factor)| {
        let number: u64 = text.strip_suffix(unit)?.trim().parse().ok()?;
        number.checked_mul(factor)
    });
    let wrong =
        || serde::de::Error::custom(format!("{text:?} is no size; write 4096, 512KiB or 2MiB"));
    found.next().ok_or_else(wrong).map(Some)
}

fn candidate() -> Value {
    let candidate = Candidate { free: 100, ..Candidate::of(0, tenure_core::address::Family::V4) };
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
