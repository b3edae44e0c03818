//! The admin API of this daemon, with the counters of the CNI socket among its metrics.

use std::sync::Arc;

use tenure_api::{Api, ApiOptions, MetricFamily, MetricKind, MetricValue, Nodes, Sample, Service};
use tenure_cni::{Metrics, Reading, VerbReading};
use tenure_engine::Engine;
use tenure_link::allocator::Sessions;

use crate::config::Config;

pub(crate) fn admin(
    config: &Config,
    engine: &Arc<Engine>,
    cni: Arc<Metrics>,
) -> Result<Service, tenure_api::ApiError> {
    let options = ApiOptions {
        metrics: vec![Arc::new(move || families(&cni.read()))],
        ..ApiOptions::default()
    };
    let api = Api::new(engine.clone(), options);
    Service::bind(tenure_api::Options::new(&config.admin.socket), api)
}

/// The admin API of an allocator.
pub(crate) fn allocator(
    config: &Config,
    engine: &Arc<Engine>,
    sessions: Arc<Sessions>,
    nodes: Arc<dyn Nodes>,
) -> Result<Service, tenure_api::ApiError> {
    let connected = move || {
        let whole = |value| vec![Sample { labels: Vec::new(), value: MetricValue::Whole(value) }];
        let count = u64::try_from(sessions.len()).unwrap_or(u64::MAX);
        vec![
            MetricFamily {
                name: "tenure_agents_connected".to_owned(),
                help: "Agents that are connected to this allocator".to_owned(),
                kind: MetricKind::Gauge,
                samples: whole(count),
            },
            family(
                "tenure_looks_unseen",
                "Looks for the namespace of a holder that its own agent could not see",
                whole(sessions.unseen()),
            ),
        ]
    };
    let options = ApiOptions {
        metrics: vec![Arc::new(connected)],
        nodes: Some(nodes),
        ..ApiOptions::default()
    };
    let api = Api::new(engine.clone(), options);
    Service::bind(tenure_api::Options::new(&config.admin.socket), api)
}

fn families(reading: &Reading) -> Vec<MetricFamily> {
    let by_verb = |name: &str, help: &str, value: fn(&VerbReading) -> MetricValue| {
        let sample = |verb: &VerbReading| Sample {
            labels: vec![("verb".to_owned(), verb.verb.to_owned())],
            value: value(verb),
        };
        family(name, help, reading.verbs.iter().map(sample).collect())
    };
    let plain = |name: &str, help: &str, value: u64| {
        family(name, help, vec![Sample { labels: Vec::new(), value: MetricValue::Whole(value) }])
    };
    vec![
        by_verb("tenure_cni_requests", "CNI requests answered", |v| MetricValue::Whole(v.requests)),
        by_verb("tenure_cni_failures", "CNI requests answered with an error", |v| {
            MetricValue::Whole(v.failures)
        }),
        by_verb("tenure_cni_try_later", "CNI requests answered with code 11", |v| {
            MetricValue::Whole(v.try_later)
        }),
        by_verb("tenure_cni_seconds", "Time from frame to answer, summed", |v| {
            MetricValue::Real(std::time::Duration::from_micros(v.micros).as_secs_f64())
        }),
        plain("tenure_cni_over_limit", "Connections turned away at the limit", reading.over_limit),
        plain(
            "tenure_cni_callers_refused",
            "Connections of users who may not call",
            reading.callers_refused,
        ),
        plain(
            "tenure_cni_bad_frames",
            "Connections without a whole frame of ours",
            reading.bad_frames,
        ),
        plain("tenure_cni_hung_up", "ADDs whose caller hung up", reading.hung_up),
    ]
}

fn family(name: &str, help: &str, samples: Vec<Sample>) -> MetricFamily {
    MetricFamily {
        name: name.to_owned(),
        help: help.to_owned(),
        kind: MetricKind::Counter,
        samples,
    }
}
