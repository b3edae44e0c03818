//! What a history did, step by step: the operation, the answers, and a digest of what stands afterwards.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use tenure_core::error::Coded;
use tenure_engine::PoolView;

use crate::model::Model;
use crate::ops::Op;
use crate::world::{Answer, Call};

/// Lines of a trace; none where nobody reads it.
#[derive(Debug, Default)]
pub struct Trace {
    pub lines: Option<Vec<String>>,
    answers: String,
    counts: u64,
}

impl Trace {
    pub fn kept() -> Self {
        Self { lines: Some(Vec::new()), ..Self::default() }
    }

    pub fn answer(&mut self, call: &Call, answer: &Answer) {
        if self.lines.is_none() {
            return;
        }
        let who = call.attachment().map_or_else(String::new, |who| format!(" {who}"));
        let _ = write!(self.answers, "{who}: {};", text(answer));
    }

    pub fn counts(&mut self, views: &[PoolView]) {
        if self.lines.is_none() {
            return;
        }
        let mut hasher = DefaultHasher::new();
        for view in views {
            let c = view.status.counts;
            (c.size, c.free, c.held, c.resting, c.lingering).hash(&mut hasher);
            (c.retained, c.quarantined, c.out_of_range).hash(&mut hasher);
        }
        self.counts = hasher.finish();
    }

    pub fn note(&mut self, op: &Op, model: &Model) {
        let Some(lines) = &mut self.lines else { return };
        let digest = digest(model) ^ self.counts;
        lines.push(format!("{op:?} ->{} #{digest:016x}", self.answers));
        self.answers.clear();
    }
}

fn text(answer: &Answer) -> String {
    fn failed(error: &impl Coded) -> String {
        format!("{}: {error}", error.code())
    }
    match answer {
        Answer::Add(Ok(answer)) => {
            let addresses = answer.addresses.iter().map(|granted| granted.address.to_string());
            addresses.collect::<Vec<_>>().join(" ")
        }
        Answer::Gc(Ok(answer)) => format!("{answer:?}"),
        Answer::Sweep(Ok(swept)) => format!("{swept:?}"),
        Answer::Release(outcome) => match &**outcome {
            Ok(view) => view.view.clone(),
            Err(error) => failed(error),
        },
        Answer::Done(Ok(())) | Answer::Watch => "done".to_owned(),
        Answer::Add(Err(error))
        | Answer::Done(Err(error))
        | Answer::Gc(Err(error))
        | Answer::Sweep(Err(error)) => failed(error),
    }
}

/// All but what is random: the ids of attempts.
fn digest(model: &Model) -> u64 {
    let mut hasher = DefaultHasher::new();
    model.env.times.hash(&mut hasher);
    for (at, known) in &model.rows {
        let lease = &known.lease;
        (at, &lease.attachment, &lease.owner, &lease.node, lease.netns).hash(&mut hasher);
        (lease.generation, lease.epoch, &lease.state, &lease.sticky).hash(&mut hasher);
        (lease.bound_at, lease.bound_boottime_ms, lease.tag).hash(&mut hasher);
        (&lease.config, lease.previous.len()).hash(&mut hasher);
    }
    hasher.finish()
}
