//! The status of pools and policies in Kubernetes: what the engine derives, in a shape that a schema can state.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tenure_core::decision::Hook;
use tenure_core::ledger::Counts;
use tenure_core::ports::PolicyRefusal;
use tenure_store::{Refusal, Shown};

/// Status of an IPPool: derived, and written at most once in ten seconds by the allocator that leads. Numbers are texts,
/// because those of an IPv6 pool need 128 bits.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PoolStatus {
    /// Usable addresses.
    size: Option<String>,
    /// Could be given now.
    free: Option<String>,
    /// Held by attachments, or reserved by an ADD in flight.
    held: Option<String>,
    /// Released and not yet rested, lingering ones included.
    resting: Option<String>,
    /// Of the resting ones: the kernel still sees the old holder.
    lingering: Option<String>,
    /// Kept for a sticky key.
    retained: Option<String>,
    /// May still be in use.
    quarantined: Option<String>,
    /// Held, or quarantined, although no longer usable.
    out_of_range: Option<String>,
    /// `Accepted`: the pool is served; else why not.
    conditions: Vec<Condition>,
}

/// Status of an IPAMPolicy, as it fares at the allocator that leads.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PolicyStatus {
    /// Digest of the component that serves.
    digest: Option<String>,
    /// What the component calls itself.
    component: Option<String>,
    /// Its version.
    version: Option<String>,
    /// Hooks that it serves.
    hooks: Vec<String>,
    /// The stage at which the newest version was refused or taken back, if it was.
    stage: Option<String>,
    /// Faults by kind since the allocator that leads has started, only kinds that happened.
    faults: BTreeMap<String, i64>,
    /// The breaker is open: the policy is not asked for the time being.
    breaker_open: Option<bool>,
    /// Fuel of the version that serves: of a call on average.
    fuel_mean: Option<i64>,
    /// The largest share of its fuel that a call used, in percent.
    fuel_max_percent: Option<i64>,
    /// Half of its calls took no longer, in microseconds.
    latency_p50_us: Option<i64>,
    /// Of a hundred calls one took longer, in microseconds.
    latency_p99_us: Option<i64>,
    /// In shadow mode: answers like the one that was given.
    shadow_agreed: Option<i64>,
    /// In shadow mode: other answers.
    shadow_differed: Option<i64>,
    /// `Accepted`: the newest version serves; else why not.
    conditions: Vec<Condition>,
}

/// A condition as all of Kubernetes has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition {
    /// What it is about.
    r#type: String,
    /// `True`, `False` or `Unknown`.
    status: ConditionStatus,
    /// One word for programs.
    reason: String,
    /// A sentence for humans.
    #[serde(default)]
    message: String,
    /// When the status changed.
    last_transition_time: String,
    /// The `metadata.generation` that it speaks of.
    #[serde(default)]
    observed_generation: Option<i64>,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
enum ConditionStatus {
    True,
    False,
    Unknown,
}

/// Whether Tenure serves an object.
const ACCEPTED: &str = "Accepted";

/// The status of an object as it shall stand there, after what stands there now. Fields without a value are absent.
pub(crate) fn status_of(shown: &Shown, before: &Value, generation: Option<i64>) -> Value {
    let accepted = |refusal: Option<&Refusal>| {
        let next = Condition::accepted(refusal, generation);
        vec![match accepted_in(before) {
            Some(before) => next.after(&before),
            None => next,
        }]
    };
    let status = match shown {
        Shown::Pool { state, .. } => {
            let conditions = accepted(state.as_ref().err());
            let counts = state.as_ref().ok();
            let status = counts.map(PoolStatus::of).unwrap_or_default();
            serde_json::to_value(PoolStatus { conditions, ..status })
        }
        Shown::Policy { serving, refusal, .. } => {
            let serving = serving.as_deref();
            let conditions = accepted(refusal_of(serving, refusal.as_ref()).as_ref());
            let status = serving.map(PolicyStatus::of).unwrap_or_default();
            let taken_back = || serving.filter(|serving| serving.last_refusal.is_some());
            let stage = match refusal {
                Some(refusal) => Some(refusal.stage.to_owned()),
                None => taken_back().map(|serving| serving.stage.clone()),
            };
            serde_json::to_value(PolicyStatus { stage, conditions, ..status })
        }
    };
    // Texts, numbers and lists: nothing that JSON does not know.
    let mut status = status.unwrap_or_default();
    drop_nulls(&mut status);
    status
}

/// Why the newest version of a policy does not serve, and what does instead.
fn refusal_of(
    serving: Option<&tenure_core::ports::PolicyStatus>,
    refusal: Option<&PolicyRefusal>,
) -> Option<Refusal> {
    let Some(refusal) = refusal else {
        // It was taken once, and then not kept.
        let why = serving?.last_refusal.as_ref()?;
        return Some(Refusal { reason: "TakenBack", message: why.clone() });
    };
    let instead = match serving {
        Some(serving) => format!("the version before it, {}, goes on serving", serving.digest),
        None => "the built-in strategy answers for it".to_owned(),
    };
    Some(Refusal { reason: "Refused", message: format!("{refusal}; {instead}") })
}

/// The condition `Accepted` of a status.
fn accepted_in(status: &Value) -> Option<Condition> {
    let conditions = status.get("conditions")?;
    let conditions = Vec::<Condition>::deserialize(conditions).ok()?;
    conditions.into_iter().find(|condition| condition.r#type == ACCEPTED)
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

// === impl PoolStatus ===

impl PoolStatus {
    fn of(counts: &Counts) -> Self {
        let text = |number: u128| Some(number.to_string());
        Self {
            size: text(counts.size),
            free: text(counts.free),
            held: text(counts.held),
            resting: text(counts.resting),
            lingering: text(counts.lingering),
            retained: text(counts.retained),
            quarantined: text(counts.quarantined),
            out_of_range: text(counts.out_of_range),
            conditions: Vec::new(),
        }
    }
}

// === impl PolicyStatus ===

impl PolicyStatus {
    fn of(serving: &tenure_core::ports::PolicyStatus) -> Self {
        let hook = |hook: &Hook| match hook {
            Hook::Select => "select".to_owned(),
            Hook::Affinity => "affinity".to_owned(),
            Hook::Reclaim => "reclaim".to_owned(),
        };
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let faults = serving.faults.iter();
        Self {
            digest: Some(serving.digest.to_string()),
            component: Some(serving.component.clone()),
            version: Some(serving.version.clone()),
            hooks: serving.hooks.iter().map(hook).collect(),
            stage: None,
            faults: faults
                .map(|(kind, count)| (kind.as_str().to_owned(), number(*count)))
                .collect(),
            breaker_open: Some(serving.breaker_open),
            fuel_mean: serving.fuel.map(|fuel| number(fuel.mean)),
            fuel_max_percent: serving.fuel.map(|fuel| number(fuel.max_percent)),
            latency_p50_us: serving.latency.map(|latency| number(latency.p50_us)),
            latency_p99_us: serving.latency.map(|latency| number(latency.p99_us)),
            shadow_agreed: serving.shadow.as_ref().map(|shadow| number(shadow.agreed)),
            shadow_differed: serving.shadow.as_ref().map(|shadow| number(shadow.differed)),
            conditions: Vec::new(),
        }
    }
}

// === impl Condition ===

impl Condition {
    /// Whether an object of this generation is served, from now on.
    fn accepted(refusal: Option<&Refusal>, generation: Option<i64>) -> Self {
        let (status, reason, message) = match refusal {
            None => (ConditionStatus::True, ACCEPTED, "it is served"),
            Some(refusal) => (ConditionStatus::False, refusal.reason, &*refusal.message),
        };
        Self {
            r#type: ACCEPTED.to_owned(),
            status,
            reason: reason.to_owned(),
            message: message.to_owned(),
            last_transition_time: k8s_openapi::jiff::Timestamp::now()
                .strftime("%FT%TZ")
                .to_string(),
            observed_generation: generation,
        }
    }

    /// The same after another one: its time is that of the last change of the status.
    fn after(self, before: &Self) -> Self {
        if self.status != before.status {
            return self;
        }
        Self { last_transition_time: before.last_transition_time.clone(), ..self }
    }
}
