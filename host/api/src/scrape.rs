//! `GET /metrics`: what the engine counts, under names that stay.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use tenure_core::decision::FaultKind;
use tenure_core::ledger::Counts;
use tenure_core::name::PoolName;
use tenure_core::ports::{PolicyStatus, ShadowStatus};
use tenure_engine::{Counters, EngineError, Overview};

use crate::api::Api;
use crate::error::ApiError;
use crate::extract::{NoQuery, Query};
use crate::metric::{MetricFamily, MetricKind, MetricValue};

/// The OpenMetrics text format, which Prometheus asks for.
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) async fn serve(State(api): State<Api>, _: Query<NoQuery>) -> Result<Response, ApiError> {
    let overview = api.engine.overview().await?;
    let mut families = of_engine(api.engine.counters());
    families.extend(of_daemon(&overview));
    families.extend(of_pools(&overview.pools));
    families.extend(of_policies(&overview.policies));
    families.extend(api.options.metrics.iter().flat_map(|source| source()));
    Ok(([(CONTENT_TYPE, TEXT)], written(families)?).into_response())
}

fn of_engine(counters: &Counters) -> Vec<MetricFamily> {
    // Without `..`: a new counter must get its name here.
    let Counters {
        adds,
        adds_repeated,
        adds_rebound,
        adds_waited,
        adds_failed,
        unanswered,
        dels,
        dels_empty,
        reclaimed,
        quarantined,
        returned,
        probes_silent,
        probes_answered,
        probes_blind,
        found,
        sweeps,
        sweeps_silent,
        proved,
        lingered,
        blind,
        conflicts,
        heard,
        lists,
        clamped,
        breaches_i1,
        breaches_i10,
    } = counters;
    let plain = [
        ("adds", "ADDs answered with addresses", adds),
        ("adds_repeated", "ADDs answered again without a write", adds_repeated),
        (
            "adds_rebound",
            "ADDs that moved a lease to another namespace, boot or container of the same pod",
            adds_rebound,
        ),
        ("adds_waited", "ADDs that waited for an address", adds_waited),
        ("adds_failed", "ADDs answered with an error", adds_failed),
        ("sets_unanswered", "Sets that were written and answered to nobody; given up", unanswered),
        ("dels", "DELs that released something", dels),
        ("dels_empty", "DELs that found nothing", dels_empty),
        ("leases_reclaimed", "Leases taken back on proof", reclaimed),
        ("leases_quarantined", "Leases of lost nodes put into quarantine", quarantined),
        ("leases_returned", "Quarantined leases whose holder proved alive", returned),
        ("probes_silent", "Probes on the wire that nobody answered", probes_silent),
        ("probes_answered", "Probes on the wire that a foreign machine answered", probes_answered),
        ("probes_blind", "Probes on the wire that said nothing", probes_blind),
        (
            "addresses_found",
            "Addresses found on links of which the store knew nothing; quarantined",
            found,
        ),
        ("sweeps", "Sweeps completed", sweeps),
        ("sweeps_silent", "Sweeps in which the kernel witness was silent", sweeps_silent),
        ("releases_proved", "Releases whose end was proved afterwards", proved),
        (
            "lingering_looks",
            "Looks that saw a released address still on a link of its old holder",
            lingered,
        ),
        ("leases_blind", "Leases whose namespace could not be read at ADD", blind),
        ("store_conflicts", "Writes that met a row changed by somebody else", conflicts),
        ("store_changes_heard", "Changes of rows by others, heard from the store", heard),
        ("store_lists", "Live lists of a pool before it was called full", lists),
        (
            "verdicts_clamped",
            "Figures of a reclaim policy clamped to the limits of the pool",
            clamped,
        ),
    ];
    let breaches = MetricFamily::counter(
        "tenure_invariant_breaches",
        "Breaches of an invariant; anything but 0 is a defect",
    )
    .with(&[("invariant", "I1")], breaches_i1.get())
    .with(&[("invariant", "I10")], breaches_i10.get());
    let named = |(name, help, count): (&str, &str, &tenure_engine::Count)| {
        MetricFamily::counter(&format!("tenure_{name}"), help).with(&[], count.get())
    };
    plain.into_iter().map(named).chain([breaches]).collect()
}

fn of_daemon(overview: &Overview) -> Vec<MetricFamily> {
    let gauge = |name, help, value: MetricValue| MetricFamily::gauge(name, help).with(&[], value);
    let rows = u64::try_from(overview.rows).unwrap_or(u64::MAX);
    let waiting = u64::try_from(overview.waiting).unwrap_or(u64::MAX);
    let healthy = overview.store_error.is_none();
    let speaks = overview.witness_error.is_none();
    vec![
        MetricFamily::gauge("tenure_build_info", "Version of the daemon and its node; always 1")
            .with(&[("version", &overview.version), ("node", &overview.node)], true),
        gauge("tenure_store_healthy", "1 if the store takes writes", healthy.into()),
        gauge("tenure_store_epoch", "Present life of the store", overview.epoch.into()),
        gauge("tenure_witness_healthy", "1 if the kernel witness speaks", speaks.into()),
        gauge("tenure_lease_rows", "Addresses that have a record", rows.into()),
        gauge("tenure_adds_waiting", "ADDs that wait for an address", waiting.into()),
    ]
}

fn of_pools(pools: &[(PoolName, Counts)]) -> Vec<MetricFamily> {
    type Of = fn(&Counts) -> u128;
    let figures: [(&str, &str, Of); 8] = [
        ("size", "Usable addresses", |c| c.size),
        ("free", "Addresses that could be given now", |c| c.free),
        ("held", "Addresses held by attachments or reserved by an ADD in flight", |c| c.held),
        ("resting", "Addresses released and not yet rested, lingering ones included", |c| {
            c.resting
        }),
        ("lingering", "Resting addresses that the kernel still sees at their old holder", |c| {
            c.lingering
        }),
        ("retained", "Addresses kept for a sticky key", |c| c.retained),
        ("quarantined", "Addresses that may still be in use", |c| c.quarantined),
        ("out_of_range", "Held addresses that are no longer usable, counted apart", |c| {
            c.out_of_range
        }),
    ];
    let family = |(name, help, of): (&str, &str, Of)| {
        let empty = MetricFamily::gauge(&format!("tenure_pool_{name}"), help);
        pools.iter().fold(empty, |family, (pool, counts)| {
            family.with(&[("pool", pool.as_str())], of(counts))
        })
    };
    figures.into_iter().map(family).collect()
}

fn of_policies(policies: &[PolicyStatus]) -> Vec<MetricFamily> {
    let mut decisions =
        MetricFamily::counter("tenure_policy_decisions", "Decisions made, abstentions included");
    let mut faults = MetricFamily::counter("tenure_policy_faults", "Faults of a policy by kind");
    let mut breakers = MetricFamily::gauge(
        "tenure_policy_breaker_open",
        "1 if the policy is not asked for the time being",
    );
    let mut info = MetricFamily::gauge("tenure_policy_info", "What serves; always 1");
    let mut fuel = MetricFamily::gauge(
        "tenure_policy_fuel_max_percent",
        "Largest share of its fuel that a call of the version that serves used",
    );
    let mut latency = MetricFamily::gauge(
        "tenure_policy_latency_microseconds",
        "Time of the calls of the version that serves, by quantile",
    );
    let mut shadows = MetricFamily::counter(
        "tenure_policy_shadow_requests",
        "Requests of a policy in shadow mode by how it compared",
    );
    for policy in policies {
        let name = ("policy", policy.name.as_str());
        decisions = decisions.with(&[name], policy.decisions);
        breakers = breakers.with(&[name], policy.breaker_open);
        info = info.with(
            &[
                name,
                ("digest", policy.digest.as_str()),
                ("version", &policy.version),
                ("mode", &policy.mode),
            ],
            true,
        );
        if let Some(used) = policy.fuel {
            fuel = fuel.with(&[name], used.max_percent);
        }
        if let Some(took) = policy.latency {
            for (quantile, us) in [("0.5", took.p50_us), ("0.99", took.p99_us)] {
                latency = latency.with(&[name, ("quantile", quantile)], us);
            }
        }
        if let Some(ShadowStatus { agreed, differed, abstained, dropped, .. }) = &policy.shadow {
            for (outcome, count) in [
                ("agreed", agreed),
                ("differed", differed),
                ("abstained", abstained),
                ("dropped", dropped),
            ] {
                shadows = shadows.with(&[name, ("outcome", outcome)], *count);
            }
        }
        for kind in FaultKind::ALL {
            let of_kind = policy.faults.iter().find(|(found, _)| *found == kind);
            let count = of_kind.map_or(0, |(_, count)| *count);
            faults = faults.with(&[name, ("kind", kind.as_str())], count);
        }
    }
    vec![decisions, faults, breakers, info, fuel, latency, shadows]
}

fn written(families: Vec<MetricFamily>) -> Result<String, ApiError> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(families)));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)
        .map_err(|_| EngineError::Bug { what: "the metrics could not be written".to_owned() })?;
    Ok(text)
}

#[derive(Debug)]
struct Scrape(Vec<MetricFamily>);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for family in &self.0 {
            let kind = match family.kind {
                MetricKind::Counter => MetricType::Counter,
                MetricKind::Gauge => MetricType::Gauge,
            };
            let mut metric = encoder.encode_descriptor(&family.name, &family.help, None, kind)?;
            for sample in &family.samples {
                let labels = sample.labels.as_slice();
                if labels.is_empty() {
                    write_value(&mut metric, family.kind, sample.value)?;
                } else {
                    let mut labelled = metric.encode_family(&labels)?;
                    write_value(&mut labelled, family.kind, sample.value)?;
                }
            }
        }
        Ok(())
    }
}

fn write_value(
    metric: &mut MetricEncoder<'_>,
    kind: MetricKind,
    value: MetricValue,
) -> Result<(), std::fmt::Error> {
    type NoExemplar = [(String, String); 0];
    match (kind, value) {
        (MetricKind::Counter, MetricValue::Whole(n)) => {
            metric.encode_counter::<NoExemplar, _, u64>(&n, None)
        }
        (MetricKind::Counter, MetricValue::Real(x)) => {
            metric.encode_counter::<NoExemplar, _, u64>(&x, None)
        }
        (MetricKind::Gauge, MetricValue::Whole(n)) => metric.encode_gauge(&n),
        (MetricKind::Gauge, MetricValue::Real(x)) => metric.encode_gauge(&x),
    }
}
