//! Answers of a policy, checked and turned into the domain. Any answer that breaks a rule is a
//! fault: there is no best effort, because a half-understood answer hides the defect.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tenure_core::address::{Families, Family};
use tenure_core::decision::{
    Affinity, AffinityAnswer, AffinityRequest, Hook, IfHeld, MAX_FIXED, MAX_RANKED,
    RETAIN_AS_AT_ADD, SelectRequest, Selection, Verdict,
};

use crate::bindings::affinity_types::{self, Choice};
use crate::bindings::reclaim_types;
use crate::bindings::select_types::Decision;
use crate::bindings::types;
use crate::convert;
use crate::fault::Fault;

/// Longest sticky key: the one of a label value or name of Kubernetes.
const KEY_BYTES: usize = 253;
/// Longest reason of a refusal that a pod's owner is shown.
const REASON_BYTES: usize = 1024;

type Checked<T> = Result<T, Fault>;

/// What is checked of such an answer of a hook, in words. An answer that breaks one of these is a fault.
#[must_use]
pub fn checks(hook: Hook, answer: &serde_json::Value) -> &'static [&'static str] {
    match hook {
        Hook::Select if answer.get("deny").is_some() => {
            &["a refusal has a reason of 1 to 1024 bytes"]
        }
        Hook::Select => &[
            "ranked rows are among the candidates, each once, 1 to 16 of them",
            "ranked rows are of families that are wanted, and each wanted family that is offered has one",
        ],
        Hook::Affinity => &[
            "a sticky key has 1 to 253 bytes and no control characters",
            "addresses are of families that are wanted, at most 4, each once; fixed ones at most one a family",
            "reused rows are among the earlier addresses, each once",
        ],
        Hook::Reclaim => &[
            "one verdict a lease, in the order of the request",
            "figures are clamped to the limits of the pool, and counted where they were",
        ],
    }
}

/// `None` is "no opinion".
pub(crate) fn selection(request: &SelectRequest, decision: Decision) -> Checked<Option<Selection>> {
    match decision {
        Decision::Abstain => Ok(None),
        Decision::Ranked(rows) => {
            ranked(request, &rows)?;
            Ok(Some(Selection::Ranked(rows)))
        }
        Decision::Deny(reason) if reason.trim().is_empty() => bad("denied without a reason"),
        Decision::Deny(reason) if reason.len() > REASON_BYTES => {
            bad(format!("denied with a reason of {} bytes, at most {REASON_BYTES}", reason.len()))
        }
        Decision::Deny(reason) => Ok(Some(Selection::Deny(reason))),
    }
}

/// Every wanted family that has a candidate needs one: the host waits on ranked pools only, so a
/// forgotten family would never be answered.
fn ranked(request: &SelectRequest, rows: &[u32]) -> Checked<()> {
    let shown = convert::shown(request);
    if rows.is_empty() {
        return bad("ranked no row; `abstain` and `deny` are there for that");
    }
    if rows.len() > MAX_RANKED {
        return bad(format!("ranked {} rows, at most {MAX_RANKED}", rows.len()));
    }
    distinct(rows)?;
    let mut families = Families::default();
    for row in rows {
        let Some(candidate) = usize::try_from(*row).ok().and_then(|at| shown.get(at)) else {
            return bad(format!("ranked row {row} of {}", shown.len()));
        };
        if !request.families.has(candidate.family) {
            return bad(format!("ranked row {row}, which is {}: not wanted", candidate.family));
        }
        families.insert(candidate.family);
    }
    let offered: Families = shown.iter().map(|c| c.family).collect();
    match request.families.iter().find(|f| offered.has(*f) && !families.has(*f)) {
        Some(family) => {
            bad(format!("ranked no {family} row, though {family} is wanted and offered"))
        }
        None => Ok(()),
    }
}

pub(crate) fn affinity(
    request: &AffinityRequest,
    answer: affinity_types::Answer,
) -> Checked<Option<AffinityAnswer>> {
    let choice = match answer.choice {
        Choice::Abstain => return Ok(None),
        Choice::None => Affinity::None,
        Choice::Sticky(sticky) => sticky_choice(request, sticky)?,
        Choice::Reuse(rows) => reuse(request, rows)?,
        Choice::Fixed(fixed) => {
            if fixed.addresses.is_empty() {
                return bad("fixed no address; `none` is there for that");
            }
            let addresses = addresses(request, &fixed.addresses)?;
            one_per_family(&addresses)?;
            Affinity::Fixed { addresses, if_held: if_held(fixed.if_held) }
        }
    };
    Ok(Some(AffinityAnswer { choice, tag: answer.tag }))
}

fn sticky_choice(request: &AffinityRequest, sticky: affinity_types::Sticky) -> Checked<Affinity> {
    if !(1..=KEY_BYTES).contains(&sticky.key.len()) || sticky.key.chars().any(char::is_control) {
        return bad(format!(
            "a sticky key of {} bytes; it must have 1 to {KEY_BYTES} and no control characters",
            sticky.key.len()
        ));
    }
    Ok(Affinity::Sticky {
        preferred: addresses(request, &sticky.preferred)?,
        key: sticky.key,
        if_held: if_held(sticky.if_held),
        retain_s: sticky.retain_s,
    })
}

/// Best first; several of one family are alternatives.
fn reuse(request: &AffinityRequest, rows: Vec<u32>) -> Checked<Affinity> {
    if rows.is_empty() {
        return bad("reuses no row; `none` is there for that");
    }
    distinct(&rows)?;
    for row in &rows {
        let Some(previous) = usize::try_from(*row).ok().and_then(|at| request.previous.get(at))
        else {
            return bad(format!("reuses row {row} of {}", request.previous.len()));
        };
        wanted(request, previous.address)?;
    }
    Ok(Affinity::Reuse(rows))
}

fn addresses(request: &AffinityRequest, list: &[types::Address]) -> Checked<Vec<IpAddr>> {
    if list.len() > MAX_FIXED {
        return bad(format!("named {} addresses, at most {MAX_FIXED}", list.len()));
    }
    let read = |one: &types::Address| {
        let bits = u128::from(one.hi) << 64 | u128::from(one.lo);
        wanted(request, Ipv6Addr::from_bits(bits).to_canonical())
    };
    let addresses = list.iter().map(read).collect::<Checked<Vec<IpAddr>>>()?;
    match addresses.iter().enumerate().find(|(at, a)| addresses.iter().take(*at).any(|b| b == *a)) {
        Some((_, twice)) => bad(format!("named {twice} twice")),
        None => Ok(addresses),
    }
}

fn wanted(request: &AffinityRequest, address: IpAddr) -> Checked<IpAddr> {
    let family = Family::of(address);
    if request.families.has(family) {
        return Ok(address);
    }
    bad(format!("named {address}, but {family} is not wanted"))
}

/// An attachment has one address of a family, so a second fixed one could not be given.
fn one_per_family(addresses: &[IpAddr]) -> Checked<()> {
    let mut seen = Families::default();
    for address in addresses {
        let family = Family::of(*address);
        if seen.has(family) {
            return bad(format!("fixed more than one {family} address"));
        }
        seen.insert(family);
    }
    Ok(())
}

/// One entry per row shown; `None` is "no opinion on this row".
pub(crate) fn verdicts(
    rows: usize,
    decision: reclaim_types::Decision,
) -> Checked<Option<Vec<Option<Verdict>>>> {
    let columns = match decision {
        reclaim_types::Decision::Abstain => return Ok(None),
        reclaim_types::Decision::Verdicts(columns) => columns,
    };
    let reclaim_types::Verdicts { grace_s, retain_s, cooldown_s, bits } = columns;
    let lengths = [
        ("grace-s", grace_s.len()),
        ("retain-s", retain_s.len()),
        ("cooldown-s", cooldown_s.len()),
        ("bits", bits.len()),
    ];
    if let Some((column, len)) = lengths.iter().find(|(_, len)| *len != rows) {
        return bad(format!("column {column} has {len} rows for {rows} lease(s)"));
    }
    if let Some(unknown) = bits.iter().find(|bits| **bits > 0b11) {
        return bad(format!("verdict bits {unknown:#b}: only bits 0 and 1 have a meaning"));
    }
    let figures = grace_s.into_iter().zip(retain_s).zip(cooldown_s).zip(bits);
    Ok(Some(
        figures
            .map(|(((grace, retain), cooldown), bits)| verdict(grace, retain, cooldown, bits))
            .collect(),
    ))
}

fn verdict(grace_s: u32, retain_s: u32, cooldown_s: u32, bits: u32) -> Option<Verdict> {
    let seconds = |s: u32| Duration::from_secs(u64::from(s));
    (bits & 0b10 == 0).then(|| Verdict {
        grace: seconds(grace_s),
        // The contract has no other word for it; 136 years are no retention.
        retain: if retain_s == u32::MAX { RETAIN_AS_AT_ADD } else { seconds(retain_s) },
        cooldown: seconds(cooldown_s),
        permits_unfenced: bits & 0b01 != 0,
    })
}

fn if_held(value: affinity_types::IfHeld) -> IfHeld {
    match value {
        affinity_types::IfHeld::Wait => IfHeld::Wait,
        affinity_types::IfHeld::Other => IfHeld::Other,
        affinity_types::IfHeld::Fail => IfHeld::Fail,
    }
}

fn distinct(rows: &[u32]) -> Checked<()> {
    let mut sorted = rows.to_vec();
    sorted.sort_unstable();
    match sorted.windows(2).find_map(|pair| (pair.first() == pair.last()).then(|| pair.first())) {
        Some(row) => bad(format!("named row {} twice", row.copied().unwrap_or_default())),
        None => Ok(()),
    }
}

fn bad<T>(message: impl Into<String>) -> Checked<T> {
    Err(Fault::bad_output(message))
}
