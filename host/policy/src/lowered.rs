//! How many bytes a request is in the guest's memory, by the layout of the canonical ABI: what a call copies.

use tenure_core::decision::{AffinityRequest, Holder, ReclaimRequest, SelectRequest};

use crate::bindings::types;
use crate::convert;

/// A string or list: where it is, and how long.
const SLICE: usize = 8;
/// `holder` without its texts: ten strings and a list.
const HOLDER: usize = 11 * SLICE;
/// `families` with padding, `now-ms`, `seed`.
const REQUEST: usize = 24;
/// `previous`, with its padding: two halves of an address, and four numbers.
const PREVIOUS: usize = 32;

/// Of `select`.
pub(crate) fn select(request: &SelectRequest, keys: &[String]) -> usize {
    // The twelve columns in their order.
    const ROW: usize = 4 + 4 + 8 + 8 + 8 + 8 + 4 + 8 + 8 + 4 + 4 + 4;
    let rows = convert::shown(request).len();
    holder(&request.holder, keys) + REQUEST + 12 * SLICE + rows * ROW
}

/// Of `affinity`.
pub(crate) fn affinity(request: &AffinityRequest, keys: &[String]) -> usize {
    holder(&request.holder, keys) + REQUEST + SLICE + request.previous.len() * PREVIOUS
}

/// Of `reclaim`: holders are looked up, and not copied.
pub(crate) fn reclaim(request: &ReclaimRequest) -> usize {
    const LEASE: usize = 8 + 8 * 4;
    const PRESSURE: usize = 4 + 8 + 8 + 4;
    (9 + 4) * SLICE + 16 + request.leases.len() * LEASE + request.pressure.len() * PRESSURE
}

fn holder(holder: &Holder, keys: &[String]) -> usize {
    let holder = convert::holder(holder, keys);
    let texts = [
        &holder.owner_kind,
        &holder.namespace,
        &holder.name,
        &holder.uid,
        &holder.controller_kind,
        &holder.controller_name,
        &holder.node,
        &holder.zone,
        &holder.network,
        &holder.interface_name,
    ];
    let texts: usize = texts.iter().map(|text| text.len()).sum();
    let of = |one: &types::Attribute| 2 * SLICE + one.key.len() + one.value.len();
    HOLDER + texts + holder.attributes.iter().map(of).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_row_more_costs_its_columns_and_nothing_else() {
        let of = |rows| select(&sample::select(rows), &[]);
        assert_eq!(of(9) - of(8), 72);
        assert_eq!(of(512) - of(511), 72);
        assert_eq!(of(513), of(512), "no policy is shown more");
        let of = |rows| reclaim(&sample::reclaim(rows));
        assert_eq!(of(9) - of(8), 40);
    }

    #[test]
    fn only_attributes_that_are_asked_for_are_copied() {
        let mut request = sample::select(1);
        request.holder.attributes.insert("pod.label/team".into(), "blue".into());
        let keys = ["pod.label/team".to_owned()];
        assert_eq!(select(&request, &keys) - select(&request, &[]), 16 + 14 + 4);
    }
}
