//! Whole requests for [`proptest`]: whatever the host may ask, a policy must answer within the contract.
//!
//! ```
//! use proptest::prelude::*;
//! use tenure_policy::testing::{check_selection, strategies};
//! use tenure_policy::rank;
//!
//! proptest!(|((request, candidates) in strategies::select(&[]))| {
//!     let wanted = candidates.iter().filter(|row| request.wants(row.family));
//!     prop_assert_eq!(check_selection(&request, &candidates, &rank(wanted)), Ok(()));
//! });
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::prelude::*;

use crate::{
    AffinityRequest, Candidate, Candidates, Family, Holder, Lease, Owner, Pressure, Previous,
    ReclaimRequest, SelectRequest,
};

/// Pools that a request knows.
const POOLS: u32 = 8;
/// More rows show nothing that these do not.
const ROWS: usize = 40;

/// Counts as they are, and at their limits.
fn count() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 0..300_u64, 1 => Just(0), 1 => Just(u64::MAX)]
}

fn seconds() -> impl Strategy<Value = u32> {
    prop_oneof![3 => 0..4000_u32, 1 => Just(u32::MAX)]
}

fn families() -> impl Strategy<Value = u32> {
    1..=3_u32
}

/// Of any kind, with some of the attributes under `keys`: sensible ones, and any text at all.
pub fn holder(keys: &[&str]) -> impl Strategy<Value = Holder> + use<> {
    let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    let value = prop_oneof![
        "[a-z]{1,8}",
        "[a-z]{1,4}(, ?[a-z]{1,4}){0,3}",
        any::<Ipv4Addr>().prop_map(|address| address.to_string()),
        "[0-9]{1,12}",
        // Any characters, those that control a terminal included: annotations may hold them.
        "(?s).{0,12}",
    ];
    let values = vec(proptest::option::of(value), keys.len());
    let kind = prop_oneof![Just("pod"), Just("vm"), Just("claim"), Just("container")];
    let controller = prop_oneof![Just(""), Just("StatefulSet"), Just("ReplicaSet"), Just("Job")];
    let name = prop_oneof!["web-[0-9]{1,3}", "web-[a-z0-9]{5}", "[a-z]{0,9}"];
    (kind, prop_oneof!["[a-z]{1,9}", Just(String::new())], name, controller, values).prop_map(
        move |(kind, namespace, name, controller, values)| {
            let mut builder = Holder::builder().pod(&namespace, &name);
            if !controller.is_empty() {
                builder = builder.controller(controller, "web");
            }
            for (key, value) in keys.iter().zip(values) {
                if let Some(value) = value {
                    builder = builder.attribute(key, &value);
                }
            }
            Holder { owner_kind: kind.to_owned(), ..builder.build() }
        },
    )
}

/// A candidate of one of eight pools; IPv6 are those with an odd index.
pub fn candidate() -> impl Strategy<Value = Candidate> {
    let counts = [count(), count(), count(), count()];
    let held = (count(), count());
    let order = proptest::option::of(0..4_u32);
    (0..POOLS, counts, held, 0..3_u32, -3..3_i32, any::<[bool; 3]>(), order).prop_map(
        |(pool, counts, held, waiting, priority, flags, order)| {
            let [free, used, resting, retained] = counts;
            let [named, in_zone, by_selector] = flags;
            Candidate {
                row: 0,
                pool,
                family: if pool % 2 == 0 { Family::V4 } else { Family::V6 },
                free,
                used,
                resting,
                retained,
                waiting,
                held_by_namespace: held.0,
                held_by_controller: held.1,
                priority,
                named,
                in_zone,
                by_selector,
                order: order.filter(|_| named),
            }
        },
    )
}

/// A request to `select`, and up to forty candidates.
pub fn select(keys: &[&str]) -> impl Strategy<Value = (SelectRequest, Candidates)> + use<> {
    let request = (holder(keys), families(), any::<u64>(), any::<u64>()).prop_map(
        |(holder, families, now_ms, seed)| SelectRequest { holder, families, now_ms, seed },
    );
    (request, vec(candidate(), 0..ROWS).prop_map(|rows| Candidates::of(&rows)))
}

/// A request to `affinity`, with addresses held before.
pub fn affinity(keys: &[&str]) -> impl Strategy<Value = AffinityRequest> + use<> {
    let address = prop_oneof![
        any::<Ipv4Addr>().prop_map(IpAddr::from),
        any::<Ipv6Addr>().prop_map(|address| address.to_canonical()),
    ];
    let previous = (address, 0..POOLS, seconds(), seconds(), 0..16_u32).prop_map(
        |(address, pool, held_s, since_release_s, bits)| Previous {
            address: address.into(),
            pool,
            held_s,
            since_release_s,
            bits,
        },
    );
    (holder(keys), families(), vec(previous, 0..5), any::<u64>(), any::<u64>()).prop_map(
        |(holder, families, previous, now_ms, seed)| AffinityRequest {
            holder,
            families,
            previous,
            now_ms,
            seed,
        },
    )
}

/// A suspect lease.
pub fn lease() -> impl Strategy<Value = Lease> {
    let owner =
        prop_oneof![Just(Owner::Pod), Just(Owner::Vm), Just(Owner::Claim), Just(Owner::Container)];
    let times = [seconds(), seconds(), seconds(), seconds(), seconds()];
    (any::<u64>(), 0..POOLS, owner, any::<[bool; 8]>(), times).prop_map(
        |(tag, pool, owner, flags, times)| {
            let [kernel_gone, api_gone, api_alive, terminating, rest @ ..] = flags;
            let [finished, node_lost, node_fenced, sticky] = rest;
            let [held_s, suspect_s, terminating_s, termination_grace_s, node_lost_s] = times;
            Lease {
                row: 0,
                tag,
                pool,
                owner,
                kernel_gone,
                api_gone,
                api_alive: api_alive && !api_gone,
                terminating,
                finished,
                node_lost,
                node_fenced: node_fenced && !node_lost,
                sticky,
                held_s,
                suspect_s,
                terminating_s,
                termination_grace_s,
                node_lost_s,
            }
        },
    )
}

/// A request to `reclaim`, with the pressure on some of its pools.
pub fn reclaim() -> impl Strategy<Value = ReclaimRequest> {
    let pressure = (count(), count(), 0..3_u32);
    (vec(lease(), 1..ROWS), vec(pressure, 0..POOLS as usize), any::<[u64; 2]>()).prop_map(
        |(leases, pressure, [now_ms, seed])| {
            let row = |(pool, (free, size, waiting))| Pressure { pool, free, size, waiting };
            let pressure: Vec<Pressure> = (0..).zip(pressure).map(row).collect();
            ReclaimRequest::of(&leases, &pressure).at(now_ms, seed)
        },
    )
}
