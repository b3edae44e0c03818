//! `tenure policy replay`: decisions of a real daemon, made again. With the modules that made them each comes out the same, to
//! the unit of fuel; with another one the difference is what it would have changed.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tenure_core::decision::{DecidedBy, DecisionRecord, DecisionStep, Hook, StepOutcome};
use tenure_core::name::{Digest, ObjectName};
use tenure_core::objects::{PolicyMode, PolicySource, PolicySpec};
use tenure_core::ports::Policies as _;
use tenure_policy_host::{LogLevel, PolicyHost, PolicyHostOptions, Question, RingOptions};

use crate::clock::Still;
use crate::error::AuthorError;
use crate::json::at;

/// The format of a ring file.
const FORMAT: &str = "tenure-ring/1";

/// A ring file: what a daemon decided, and the policies that did.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ring {
    format: String,
    policies: Vec<Recorded>,
    /// Any order.
    decisions: Vec<DecisionRecord>,
}

/// A policy as it served.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recorded {
    name: ObjectName,
    spec: PolicySpec,
    digest: Digest,
}

/// What came of a replay.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replayed {
    /// Decisions that were made again.
    pub decisions: usize,
    /// Those that came out the same: answer, decider, and of each step outcome, fuel, look-ups and log.
    pub same: usize,
    /// Left out: a breaker had kept a policy from being asked, or a policy is gone since.
    pub left_out: usize,
    /// What another module would have changed: for how many pods.
    pub effects: BTreeMap<String, usize>,
    /// Those that came out otherwise, oldest first.
    pub changes: Vec<Change>,
}

/// One decision that came out otherwise.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Its number in the ring.
    pub id: u64,
    /// Its hook.
    pub hook: Hook,
    /// Whom it was about; for `reclaim` how many leases.
    pub whom: String,
    /// In words: `pool blue -> red`.
    pub effects: Vec<String>,
    /// What was recorded.
    pub before: Value,
    /// What came now.
    pub after: Value,
}

// === impl Ring ===

impl Ring {
    /// Of what the admin API shows: `/v1/policies` and `/v1/decisions`.
    ///
    /// # Errors
    /// Something of it is not understood.
    pub fn of(policies: &[Value], decisions: Vec<DecisionRecord>) -> Result<Self, AuthorError> {
        let read = |policy: &Value| -> serde_json::Result<Option<Recorded>> {
            let digest = at(policy, "/status/digest");
            if digest.is_null() {
                return Ok(None);
            }
            serde_json::from_value(json!({
                "name": at(policy, "/metadata/name"), "spec": at(policy, "/spec"), "digest": digest,
            }))
            .map(Some)
        };
        let recorded: serde_json::Result<Vec<_>> = policies.iter().map(read).collect();
        let recorded = recorded
            .map_err(|error| AuthorError::Wrong(format!("a policy of the daemon: {error}")))?;
        let policies = recorded.into_iter().flatten().collect();
        Ok(Self { format: FORMAT.to_owned(), policies, decisions })
    }

    /// From a file.
    ///
    /// # Errors
    /// It cannot be read, or is of another format.
    pub fn read(path: &Path) -> Result<Self, AuthorError> {
        let text = std::fs::read_to_string(path).map_err(AuthorError::file("reading", path))?;
        let wrong = |why: String| AuthorError::Document { path: path.to_owned(), why };
        let mut ring: Self =
            serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if ring.format != FORMAT {
            return Err(wrong(format!(
                "it is of format {:?}, and this version reads {FORMAT}",
                ring.format
            )));
        }
        ring.decisions.sort_by_key(|record| record.id);
        Ok(ring)
    }

    /// Into a file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), AuthorError> {
        let text =
            serde_json::to_string(self).map_err(|error| AuthorError::Wrong(error.to_string()))?;
        std::fs::write(path, text + "\n").map_err(AuthorError::file("writing", path))
    }

    /// The policies that decided.
    #[must_use]
    pub fn policies(&self) -> Vec<ObjectName> {
        self.policies.iter().map(|policy| policy.name.clone()).collect()
    }

    /// How many decisions it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.decisions.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.decisions.is_empty()
    }

    /// Whether all who were asked are there, and were asked indeed.
    fn can_play(&self, record: &DecisionRecord) -> bool {
        record.steps.iter().all(|step| {
            let known = self.policies.iter().find(|policy| policy.name == step.policy);
            let is_known = known.is_some_and(|policy| {
                let is_same = policy.digest == step.digest
                    && step.terms.as_ref().is_none_or(|terms| *terms == policy.spec.terms());
                is_same || policy.spec.mode == PolicyMode::Shadow
            });
            is_known && step.outcome != StepOutcome::Skipped
        })
    }

    fn is_shadow(&self, name: &ObjectName) -> bool {
        let known = self.policies.iter().find(|policy| policy.name == *name);
        known.is_some_and(|policy| policy.spec.mode == PolicyMode::Shadow)
    }

    /// A recorded decision as a fixture of the policy that decided, in YAML; `answer` is what it shall say.
    ///
    /// # Errors
    /// There is no such decision, or several policies share it.
    pub fn fixture(&self, id: u64, about: &str) -> Result<String, AuthorError> {
        let record = self.decisions.iter().find(|record| record.id == id);
        let record =
            record.ok_or_else(|| AuthorError::Wrong(format!("no decision {id} in this ring")))?;
        let settings = |name: &ObjectName| {
            let policy = self.policies.iter().find(|policy| policy.name == *name);
            policy.map(|policy| policy.spec.settings.clone())
        };
        // A shadow is asked last, and has no part in the answer.
        let active = || record.steps.iter().filter(|step| !self.is_shadow(&step.policy));
        let (settings, answer) = match (&record.by, active().next_back()) {
            (DecidedBy::Policy { name, .. }, _) => (settings(name), record.answer.clone()),
            (DecidedBy::BuiltIn, Some(step)) => (settings(&step.policy), said(step)),
            (DecidedBy::BuiltIn, None) => (None, json!("abstained")),
        };
        if record.hook == Hook::Reclaim {
            let decided = |step: &&DecisionStep| step.outcome == StepOutcome::Decided;
            let deciders: BTreeSet<_> = active().filter(decided).map(|step| &step.policy).collect();
            if deciders.len() > 1 {
                let names: Vec<&str> = deciders.iter().map(|name| name.as_str()).collect();
                return Err(AuthorError::Wrong(format!(
                    "decision {id} is of several policies ({}), each for some of its leases; a fixture plays one policy",
                    names.join(", ")
                )));
            }
        }
        let mut request = record.request.clone();
        let pools = request.as_object_mut().and_then(|request| request.remove("catalogue"));
        let pools = pools.and_then(|mut catalogue| catalogue.as_object_mut()?.remove("pools"));
        let fixture = json!({
            "about": about, "hook": record.hook, "settings": settings.unwrap_or_else(|| json!({})),
            "pools": pools.unwrap_or_else(|| json!([])), "request": request, "answer": answer,
        });
        serde_saphyr::to_string(&fixture).map_err(|error| AuthorError::Wrong(error.to_string()))
    }
}

fn said(step: &DecisionStep) -> Value {
    match &step.outcome {
        StepOutcome::Fault { kind, .. } => json!({"fault": kind.as_str()}),
        _ => json!("abstained"),
    }
}

/// A host with some of the recorded policies, some of them with other modules.
struct Stage<'r> {
    host: PolicyHost,
    ring: &'r Ring,
    modules: &'r BTreeMap<ObjectName, PathBuf>,
    policies: BTreeSet<ObjectName>,
}

/// A stage for each set of policies that decided together: some of them may be younger than a decision.
struct Stages<'r> {
    ring: &'r Ring,
    modules: &'r BTreeMap<ObjectName, PathBuf>,
    folder: &'r Path,
    by_policies: BTreeMap<BTreeSet<ObjectName>, Stage<'r>>,
}

/// Makes the decisions again. `modules` replaces the modules of these policies; `folder` holds the shipped ones.
///
/// # Errors
/// A recorded module is not found with its digest, a given one is refused, or a record is not understood.
pub fn replay(
    ring: &Ring,
    modules: &BTreeMap<ObjectName, PathBuf>,
    folder: &Path,
) -> Result<Replayed, AuthorError> {
    if let Some(name) =
        modules.keys().find(|name| !ring.policies.iter().any(|policy| policy.name == **name))
    {
        let known: Vec<&str> = ring.policies.iter().map(|policy| policy.name.as_str()).collect();
        return Err(AuthorError::Wrong(format!(
            "no policy {name} in this ring; it has {}",
            known.join(", ")
        )));
    }
    let mut stages = Stages { ring, modules, folder, by_policies: BTreeMap::new() };
    let mut replayed = Replayed {
        decisions: 0,
        same: 0,
        left_out: 0,
        effects: BTreeMap::new(),
        changes: Vec::new(),
    };
    let mut changed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for record in &ring.decisions {
        if !ring.can_play(record) {
            replayed.left_out += 1;
            continue;
        }
        let stage = stages.of(record)?;
        let now = stage.play(record)?;
        replayed.decisions += 1;
        match change(ring, record, &now, modules) {
            None => replayed.same += 1,
            Some(change) => {
                for effect in &change.effects {
                    let kind = effect.split(':').next().unwrap_or_default().to_owned();
                    changed.entry(kind).or_default().insert(who(record, effect));
                }
                replayed.changes.push(change);
            }
        }
        if now.steps.iter().any(|step| matches!(step.outcome, StepOutcome::Fault { .. })) {
            // What a breaker would make of it depends on the clock, and is no part of a decision.
            stage.install()?;
        }
    }
    replayed.effects = changed.into_iter().map(|(kind, whom)| (kind, whom.len())).collect();
    Ok(replayed)
}

/// Who is counted for an effect: a pod once, however many families and ADDs of it there are.
fn who(record: &DecisionRecord, effect: &str) -> String {
    if record.hook == Hook::Reclaim {
        // `other grace: NAMESPACE/NAME 30 -> 60`
        let whom = effect.split_once(": ").and_then(|(_, rest)| rest.split(' ').next());
        return whom.unwrap_or(effect).to_owned();
    }
    let uid = at(&record.request, "/holder/owner/uid").as_str().unwrap_or_default();
    format!("{}/{uid}", whom(record))
}

// === impl Stages ===

impl<'r> Stages<'r> {
    /// Where a decision is made again. As it was, those whom it asked are enough: who was not asked had no part in it. With
    /// another module others may be asked, and then all are there that are there now.
    fn of(&mut self, record: &DecisionRecord) -> Result<&Stage<'r>, AuthorError> {
        let asked = || record.steps.iter().map(|step| step.policy.clone()).collect();
        let policies: BTreeSet<ObjectName> = match self.modules.is_empty() {
            true => asked(),
            false => self.ring.policies().into_iter().collect(),
        };
        match self.by_policies.entry(policies) {
            Entry::Occupied(found) => Ok(found.into_mut()),
            Entry::Vacant(free) => {
                let policies = free.key().clone();
                let stage = Stage::new(self.ring, self.modules, self.folder, policies)?;
                stage.install()?;
                Ok(free.insert(stage))
            }
        }
    }
}

// === impl Stage ===

impl<'r> Stage<'r> {
    fn new(
        ring: &'r Ring,
        modules: &'r BTreeMap<ObjectName, PathBuf>,
        folder: &Path,
        policies: BTreeSet<ObjectName>,
    ) -> Result<Self, AuthorError> {
        let options = PolicyHostOptions {
            folder: folder.to_owned(),
            ring: RingOptions { records: 4, ..RingOptions::default() },
            log_level: recorded_level(ring),
            ..PolicyHostOptions::default()
        };
        let host = PolicyHost::new(options, Arc::new(Still));
        let host = host.map_err(|error| AuthorError::Engine(error.to_string()))?;
        Ok(Self { host, ring, modules, policies })
    }

    fn install(&self) -> Result<(), AuthorError> {
        let active = |policy: &&Recorded| {
            policy.spec.mode == PolicyMode::Active && self.policies.contains(&policy.name)
        };
        for Recorded { name, spec, digest } in self.ring.policies.iter().filter(active) {
            let mut spec = spec.clone();
            spec.digest = Some(digest.clone());
            if let Some(path) = self.modules.get(name) {
                let path = path.canonicalize().map_err(AuthorError::file("reading", path))?;
                (spec.source, spec.digest) = (PolicySource::File(path), None);
            }
            self.host.install(name, &spec).map_err(|refusal| AuthorError::Refused {
                what: format!("policy {name}"),
                stage: refusal.stage,
                why: format!("{}; or name its module: --module {name}=FILE", refusal.why),
            })?;
        }
        Ok(())
    }

    fn play(&self, record: &DecisionRecord) -> Result<DecisionRecord, AuthorError> {
        let question = Question::read(record.hook, record.request.clone());
        let question = question
            .map_err(|error| AuthorError::Wrong(format!("decision {}: {error}", record.id)))?;
        question.decide(&self.host);
        let played = self.host.decisions(1).pop();
        played.ok_or_else(|| AuthorError::Engine("the host kept no record".to_owned()))
    }
}

/// The level at which the daemon kept log lines, as policies were told; else that of the daemon's default.
fn recorded_level(ring: &Ring) -> LogLevel {
    let steps = ring.decisions.iter().flat_map(|record| &record.steps);
    let asked =
        steps.flat_map(|step| &step.lookups).find(|lookup| lookup.call.starts_with("log-level"));
    asked.and_then(|lookup| lookup.answer.parse().ok()).unwrap_or(LogLevel::INFO)
}

/// What differs; none if nothing does. Of a policy with another module only its part in the answer counts.
fn change(
    ring: &Ring,
    record: &DecisionRecord,
    now: &DecisionRecord,
    modules: &BTreeMap<ObjectName, PathBuf>,
) -> Option<Change> {
    let step = |step: &DecisionStep| json!({"policy": step.policy, "outcome": step.outcome, "fuel": step.fuel, "lookups": step.lookups, "log": step.log});
    let is_active = |step: &&DecisionStep| !ring.is_shadow(&step.policy);
    let is_kept = |step: &&DecisionStep| !modules.contains_key(&step.policy);
    let shown = |record: &DecisionRecord| {
        let decider = match &record.by {
            DecidedBy::Policy { name, .. } => name.to_string(),
            DecidedBy::BuiltIn => "the built-in strategy".to_owned(),
        };
        let steps: Vec<Value> = match modules.is_empty() {
            true => record.steps.iter().filter(is_active).map(step).collect(),
            // Who is asked after it may be others.
            false => record.steps.iter().filter(is_kept).map(|step| json!(step.policy)).collect(),
        };
        match modules.is_empty() {
            true => json!({"answer": record.answer, "by": decider, "steps": steps}),
            false => json!({"answer": record.answer}),
        }
    };
    let (before, after) = (shown(record), shown(now));
    if before == after {
        return None;
    }
    let mut effects = effects(record, now);
    let faults = now.steps.iter().filter_map(|step| match &step.outcome {
        StepOutcome::Fault { kind, message } => {
            Some(format!("fault: {} {}: {message}", step.policy, kind.as_str()))
        }
        _ => None,
    });
    effects.extend(faults);
    if effects.is_empty() {
        effects.push("same answer: other steps, fuel, look-ups or log".to_owned());
    }
    Some(Change { id: record.id, hook: record.hook, whom: whom(record), effects, before, after })
}

/// What it means for those whom it is about. The part before the colon is what is counted.
fn effects(record: &DecisionRecord, now: &DecisionRecord) -> Vec<String> {
    if record.answer == now.answer {
        return Vec::new();
    }
    match record.hook {
        Hook::Select => selected(record, now),
        Hook::Affinity => vec![format!("other affinity: {} -> {}", record.answer, now.answer)],
        Hook::Reclaim => reclaimed(record, now),
    }
}

fn selected(record: &DecisionRecord, now: &DecisionRecord) -> Vec<String> {
    let refused = |answer: &Value| answer.get("deny").and_then(Value::as_str).map(str::to_owned);
    match (refused(&record.answer), refused(&now.answer)) {
        (None, Some(why)) => return vec![format!("refused now: {why}")],
        (Some(why), None) => return vec![format!("no longer refused: {why}")],
        (Some(before), Some(after)) => return vec![format!("other reason: {before} -> {after}")],
        (None, None) => {}
    }
    let (before, after) = (first_pools(record), first_pools(now));
    let moved: Vec<String> = before
        .iter()
        .filter_map(|(family, pool)| {
            let now = after.get(family)?;
            (now != pool).then(|| format!("other pool: {family} {pool} -> {now}"))
        })
        .collect();
    if moved.is_empty() {
        vec!["other order behind the first pool: the answer".to_owned()]
    } else {
        moved
    }
}

/// The first ranked pool of each family, by name.
fn first_pools(record: &DecisionRecord) -> BTreeMap<String, String> {
    let mut first = BTreeMap::new();
    let ranked = at(&record.answer, "/ranked").as_array().map(Vec::as_slice).unwrap_or_default();
    for row in ranked.iter().filter_map(Value::as_u64).filter_map(|row| usize::try_from(row).ok()) {
        let candidate = at(&record.request, &format!("/candidates/{row}"));
        let pool = at(candidate, "/pool").as_u64();
        let name = pool.and_then(|pool| {
            at(&record.request, &format!("/catalogue/pools/{pool}/name")).as_str()
        });
        let family = at(candidate, "/family").as_str().unwrap_or("IPv4").to_owned();
        let unnamed = || format!("row {row}");
        first.entry(family).or_insert_with(|| name.map_or_else(unnamed, str::to_owned));
    }
    first
}

fn reclaimed(record: &DecisionRecord, now: &DecisionRecord) -> Vec<String> {
    let rows = |answer: &Value| answer.as_array().cloned().unwrap_or_default();
    let (before, after) = (rows(&record.answer), rows(&now.answer));
    let mut effects = Vec::new();
    for (row, (before, after)) in before.iter().zip(&after).enumerate() {
        let owner = at(&record.request, &format!("/leases/{row}/holder/owner"));
        let text =
            |key: &str| at(owner, &format!("/{key}")).as_str().unwrap_or_default().to_owned();
        let fields = before.as_object().into_iter().flat_map(|fields| fields.keys());
        for field in fields.filter(|field| before.get(*field) != after.get(*field)) {
            let of = |verdict: &Value| verdict.get(field).cloned().unwrap_or_default();
            let (old, new) = (of(before), of(after));
            effects.push(format!(
                "other {field}: {}/{} {old} -> {new}",
                text("namespace"),
                text("name")
            ));
        }
    }
    effects
}

fn whom(record: &DecisionRecord) -> String {
    if record.hook == Hook::Reclaim {
        let count = at(&record.request, "/leases").as_array().map_or(0, Vec::len);
        return format!("{count} leases");
    }
    let owner = at(&record.request, "/holder/owner");
    let text = |key: &str| at(owner, &format!("/{key}")).as_str().unwrap_or_default();
    format!("{}/{}", text("namespace"), text("name"))
}
