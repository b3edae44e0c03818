//! The columns of each kind.

use tenure_core::decision::{DecisionRecord, FaultKind, StepOutcome};
use tenure_core::objects::PolicySource;
use tenure_core::ports::{PolicyStatus, SERVING};
use tenure_engine::LeaseView;

use crate::age::age;
use crate::kinds::{agreement, micros, policy_word, short_digest, short_id};
use crate::table::dash;
use crate::wire::{Policy, Pool, Reservation};

/// Something that is a line of a table.
pub(super) trait Row {
    const HEADER: &'static [&'static str];
    const WIDE_HEADER: &'static [&'static str];
    fn name(&self) -> String;
    fn cells(&self) -> Vec<String>;
    fn wide_cells(&self) -> Vec<String>;
}

impl Row for Pool {
    const HEADER: &'static [&'static str] = &[
        "NAME",
        "CIDR",
        "SIZE",
        "FREE",
        "HELD",
        "RESTING",
        "RETAINED",
        "QUARANTINED",
        "OUT-OF-RANGE",
        "STATUS",
    ];
    const WIDE_HEADER: &'static [&'static str] =
        &["LINGERING", "SPACE", "GATEWAY", "PRIORITY", "COOLDOWN", "NETWORKS", "WHY"];

    fn name(&self) -> String {
        self.metadata.name.to_string()
    }

    fn cells(&self) -> Vec<String> {
        let status = self.status.clone().unwrap_or_default();
        let counts = status.counts();
        let word = match (&status.not_served, status.terminating, self.spec.disabled, counts.free) {
            (Some(why), _, _, _) => format!("NotServed: {}", why.reason),
            (_, true, _, _) => "Terminating".to_owned(),
            (_, _, true, _) => "Disabled".to_owned(),
            (_, _, _, 0) => "Exhausted".to_owned(),
            _ => "Ready".to_owned(),
        };
        let numbers = [
            counts.size,
            counts.free,
            counts.held,
            counts.resting,
            counts.retained,
            counts.quarantined,
            counts.out_of_range,
        ];
        let mut cells = vec![self.name(), self.spec.cidr.to_string()];
        cells.extend(numbers.map(|number| number.to_string()));
        cells.push(word);
        cells
    }

    fn wide_cells(&self) -> Vec<String> {
        let status = self.status.clone().unwrap_or_default();
        let counts = status.counts();
        let networks: Vec<_> = self.spec.networks.iter().map(ToString::to_string).collect();
        vec![
            counts.lingering.to_string(),
            self.spec.space.to_string(),
            dash(self.spec.gateway.map(|gateway| gateway.to_string()).unwrap_or_default()),
            self.spec.priority.to_string(),
            self.spec.cooldown.to_string(),
            if networks.is_empty() { "all".to_owned() } else { networks.join(",") },
            dash(status.not_served.map(|why| why.message).unwrap_or_default()),
        ]
    }
}

impl Row for Reservation {
    const HEADER: &'static [&'static str] = &["NAME", "ADDRESSES", "SPACE", "REASON"];
    const WIDE_HEADER: &'static [&'static str] = &[];

    fn name(&self) -> String {
        self.metadata.name.to_string()
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.name(),
            self.spec.addresses.join(","),
            self.spec.space.to_string(),
            dash(self.spec.reason.clone().unwrap_or_default()),
        ]
    }

    fn wide_cells(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Row for Policy {
    const HEADER: &'static [&'static str] = &[
        "NAME",
        "VERSION",
        "HOOKS",
        "MODE",
        "DECISIONS",
        "FAULTS",
        "FUEL",
        "P99",
        "DIGEST",
        "BREAKER",
        "STAGE",
        "STATUS",
    ];
    const WIDE_HEADER: &'static [&'static str] = &[
        "FULL-DIGEST",
        "SOURCE",
        "PRIORITY",
        "COMPONENT",
        "FAULT-KINDS",
        "FUEL-MEAN",
        "FUEL-MAX",
        "P50",
        "AGREED",
        "WHY",
    ];

    fn name(&self) -> String {
        self.metadata.name.to_string()
    }

    fn cells(&self) -> Vec<String> {
        let stage = self.refused().map(|(stage, _)| stage.to_owned());
        let Some(status) = self.serving() else {
            let mut cells = vec![self.name()];
            cells.extend(["-"; 9].map(str::to_owned));
            cells.extend([dash(stage.unwrap_or_default()), policy_word(None).to_owned()]);
            return cells;
        };
        let faults: u64 = status.faults.iter().map(|(_, count)| count).sum();
        let hooks: Vec<&str> = status.hooks.iter().map(|hook| hook.name()).collect();
        vec![
            self.name(),
            status.version.clone(),
            hooks.join(","),
            status.mode.clone(),
            status.decisions.to_string(),
            faults.to_string(),
            dash(status.fuel.map(|fuel| format!("{}%", fuel.max_percent)).unwrap_or_default()),
            dash(status.latency.map(|time| micros(time.p99_us)).unwrap_or_default()),
            short_digest(&status.digest),
            if status.breaker_open { "open" } else { "closed" }.to_owned(),
            stage.unwrap_or_else(|| SERVING.to_owned()),
            policy_word(Some(status)).to_owned(),
        ]
    }

    fn wide_cells(&self) -> Vec<String> {
        let source = match &self.spec.source {
            PolicySource::Bundled(name) => format!("bundled:{name}"),
            PolicySource::File(path) => format!("file:{}", path.display()),
            PolicySource::Oci(reference) => format!("oci:{reference}"),
        };
        let status = self.serving();
        let of = |cell: fn(&PolicyStatus) -> Option<String>| {
            dash(status.and_then(cell).unwrap_or_default())
        };
        let why = self.refused().map(|(_, why)| why.replace('\n', " "));
        vec![
            of(|s| Some(s.digest.to_string())),
            source,
            self.spec.priority.to_string(),
            of(|s| Some(s.component.clone())),
            of(|s| {
                let kind = |(kind, count): &(FaultKind, u64)| format!("{}={count}", kind.as_str());
                Some(s.faults.iter().map(kind).collect::<Vec<_>>().join(","))
            }),
            of(|s| Some(s.fuel?.mean.to_string())),
            of(|s| Some(s.fuel?.max.to_string())),
            of(|s| Some(micros(s.latency?.p50_us))),
            of(|s| Some(agreement(s.shadow.as_ref()?))),
            dash(why.unwrap_or_default()),
        ]
    }
}

impl Row for LeaseView {
    const HEADER: &'static [&'static str] =
        &["ADDRESS", "POOL", "VIEW", "OWNER", "CONTAINER", "NETWORK", "IFNAME", "AGE"];
    const WIDE_HEADER: &'static [&'static str] = &["GEN", "NODE", "KEY", "PROVED", "CONTAINER-ID"];

    fn name(&self) -> String {
        self.lease.key().to_string()
    }

    fn cells(&self) -> Vec<String> {
        let attachment = &self.lease.attachment;
        vec![
            self.name(),
            self.lease.pool.to_string(),
            self.view.clone(),
            self.lease.owner.to_string(),
            short_id(&attachment.container),
            attachment.network.to_string(),
            attachment.ifname.to_string(),
            age(self.lease.bound_at),
        ]
    }

    fn wide_cells(&self) -> Vec<String> {
        let key = self.lease.sticky.as_ref().map(|sticky| sticky.key.to_string());
        vec![
            self.lease.generation.0.to_string(),
            self.lease.node.name.to_string(),
            dash(key.unwrap_or_default()),
            if self.proved { "yes" } else { "-" }.to_owned(),
            self.lease.attachment.container.to_string(),
        ]
    }
}

impl Row for DecisionRecord {
    const HEADER: &'static [&'static str] = &["ID", "HOOK", "BY", "ASKED", "AGE"];
    const WIDE_HEADER: &'static [&'static str] = &["FUEL", "MICROS", "ANSWER"];

    fn name(&self) -> String {
        self.id.to_string()
    }

    fn cells(&self) -> Vec<String> {
        let by = self.by.name().to_owned();
        let asked: Vec<String> = self
            .steps
            .iter()
            .map(|step| match &step.outcome {
                StepOutcome::Decided => format!("{}=decided", step.policy),
                StepOutcome::Abstained => format!("{}=abstained", step.policy),
                StepOutcome::Fault { kind, .. } => format!("{}={}", step.policy, kind.as_str()),
                StepOutcome::Skipped => format!("{}=skipped", step.policy),
            })
            .collect();
        vec![self.name(), self.hook.name().to_owned(), by, dash(asked.join(",")), age(self.at)]
    }

    fn wide_cells(&self) -> Vec<String> {
        let fuel: u64 = self.steps.iter().map(|step| step.fuel).sum();
        let micros: u64 = self.steps.iter().map(|step| step.micros).sum();
        vec![fuel.to_string(), micros.to_string(), self.answer.to_string()]
    }
}
