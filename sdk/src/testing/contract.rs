//! What the host checks of an answer, natively: an answer that fails here is a fault there, and decided by the
//! built-in strategy. The host's own checks are the measure; a test of the host holds the two together.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::{
    Address, AffinityAnswer, AffinityRequest, Candidates, Choice, Family, MAX_RANKED,
    ReclaimRequest, SelectRequest, Selection, Verdicts,
};

const REASON_BYTES: usize = 1024;
const KEY_BYTES: usize = 253;
const MAX_ADDRESSES: usize = 4;

type Checked = Result<(), String>;

/// Whether the host takes that ranking or refusal.
///
/// # Errors
/// The rule that it breaks.
pub fn check_selection(
    request: &SelectRequest,
    candidates: &Candidates,
    selection: &Selection,
) -> Checked {
    match selection {
        Selection::Abstain => Ok(()),
        Selection::Deny(reason) if reason.trim().is_empty() => broken("denied without a reason"),
        Selection::Deny(reason) if reason.len() > REASON_BYTES => broken("the reason is too long"),
        Selection::Deny(_) => Ok(()),
        Selection::Ranked(rows) => ranked(request, candidates, rows),
    }
}

fn ranked(request: &SelectRequest, candidates: &Candidates, rows: &[u32]) -> Checked {
    if !(1..=MAX_RANKED).contains(&rows.len()) {
        return broken(format!("ranked {} rows; 1 to {MAX_RANKED} may be", rows.len()));
    }
    distinct(rows)?;
    let mut families = BTreeSet::new();
    for row in rows {
        let Some(candidate) = usize::try_from(*row).ok().and_then(|at| candidates.get(at)) else {
            return broken(format!("ranked row {row} of {}", candidates.len()));
        };
        if !request.wants(candidate.family) {
            return broken(format!("ranked row {row}: its family is not wanted"));
        }
        families.insert(candidate.family);
    }
    let offered: BTreeSet<Family> =
        candidates.iter().map(|row| row.family).filter(|family| request.wants(*family)).collect();
    match offered.difference(&families).next() {
        Some(family) => broken(format!("ranked no row of {family:?}, which is wanted and offered")),
        None => Ok(()),
    }
}

/// Whether the host takes that choice.
///
/// # Errors
/// The rule that it breaks.
pub fn check_affinity(request: &AffinityRequest, answer: &AffinityAnswer) -> Checked {
    match &answer.choice {
        Choice::Abstain | Choice::None => Ok(()),
        Choice::Sticky(sticky) => {
            let key = &sticky.key;
            if !(1..=KEY_BYTES).contains(&key.len()) || key.chars().any(char::is_control) {
                return broken(format!("a sticky key of {} bytes: 1 to {KEY_BYTES}", key.len()));
            }
            addresses(request, &sticky.preferred).map(drop)
        }
        Choice::Reuse(rows) => {
            if rows.is_empty() {
                return broken("reuses no row");
            }
            distinct(rows)?;
            let previous =
                |row: &u32| usize::try_from(*row).ok().and_then(|at| request.previous.get(at));
            match rows.iter().find(|row| !previous(row).is_some_and(|p| wanted(request, p.address)))
            {
                Some(row) => broken(format!("reuses row {row}, which is not there or not wanted")),
                None => Ok(()),
            }
        }
        Choice::Fixed(fixed) => {
            let addresses = addresses(request, &fixed.addresses)?;
            let v4 = addresses.iter().filter(|address| address.is_ipv4()).count();
            match (addresses.len(), v4) {
                (0, _) => broken("fixed no address"),
                (1, _) | (2, 1) => Ok(()),
                _ => broken("fixed more than one address of a family"),
            }
        }
    }
}

/// Whether there is one row per lease.
///
/// # Errors
/// The rule that it breaks.
pub fn check_verdicts(request: &ReclaimRequest, verdicts: &Verdicts) -> Checked {
    let (leases, rows) = (request.leases().count(), verdicts.iter().count());
    // A policy that has no opinion on any row abstains, and then the number does not matter.
    if leases == rows || verdicts.iter().all(|verdict| verdict.is_none()) {
        return Ok(());
    }
    broken(format!("{rows} verdict(s) for {leases} lease(s)"))
}

fn addresses(request: &AffinityRequest, list: &[Address]) -> Result<Vec<IpAddr>, String> {
    if list.len() > MAX_ADDRESSES {
        return Err(format!("named {} addresses, at most {MAX_ADDRESSES}", list.len()));
    }
    if let Some(foreign) = list.iter().find(|address| !wanted(request, **address)) {
        return Err(format!("named {}, whose family is not wanted", IpAddr::from(*foreign)));
    }
    let read: BTreeSet<IpAddr> = list.iter().map(|address| (*address).into()).collect();
    if read.len() < list.len() {
        return Err("named an address twice".to_owned());
    }
    Ok(read.into_iter().collect())
}

fn wanted(request: &AffinityRequest, address: Address) -> bool {
    request.wants(if IpAddr::from(address).is_ipv4() { Family::V4 } else { Family::V6 })
}

fn distinct(rows: &[u32]) -> Checked {
    if rows.iter().collect::<BTreeSet<_>>().len() == rows.len() {
        return Ok(());
    }
    broken("named a row twice")
}

fn broken(rule: impl Into<String>) -> Checked {
    Err(rule.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::candidate;
    use crate::{Candidate, Fixed, IfHeld, Lease, Sticky, Verdict};

    #[test]
    fn a_ranking_is_held_to_range_number_families_and_difference() {
        let request = SelectRequest::builder().families(&Family::ALL).build();
        let v6 = Candidate { family: Family::V6, ..candidate(1, 1) };
        let candidates = Candidates::of(&[candidate(0, 1), v6]);
        let check = |rows: &[u32]| {
            check_selection(&request, &candidates, &Selection::Ranked(rows.to_vec()))
        };
        assert_eq!(check(&[1, 0]), Ok(()));
        for bad in [&[][..], &[0, 2], &[0, 0], &[0], &[0; 17]] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        let v4_only = SelectRequest::builder().build();
        let foreign = Selection::Ranked(vec![0, 1]);
        assert!(check_selection(&v4_only, &candidates, &foreign).is_err());
        assert!(check_selection(&request, &candidates, &Selection::Deny(" ".to_owned())).is_err());
    }

    #[test]
    fn a_choice_is_held_to_families_numbers_and_the_length_of_a_key() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let request = AffinityRequest::builder().previous(address("10.6.0.1"), 5).build();
        let check = |choice: Choice| check_affinity(&request, &choice.into());
        let fixed = |list: &[&str]| {
            let addresses = list.iter().map(|one| address(one).into()).collect();
            Choice::Fixed(Fixed { addresses, if_held: IfHeld::Fail })
        };
        let sticky = |key: String| {
            let preferred = Vec::new();
            Choice::Sticky(Sticky { key, if_held: IfHeld::Wait, retain_s: 1, preferred })
        };
        for good in [fixed(&["10.6.0.7"]), sticky("k".repeat(253)), Choice::Reuse(vec![0])] {
            assert_eq!(check(good), Ok(()));
        }
        let (two, other) = (fixed(&["10.6.0.7", "10.6.0.8"]), fixed(&["fd00::1"]));
        let keys = [sticky(String::new()), sticky("k".repeat(254)), sticky("a\nb".to_owned())];
        let rows = [Choice::Reuse(vec![1]), Choice::Reuse(vec![0, 0]), Choice::Reuse(vec![])];
        for bad in [fixed(&[]), two, other].into_iter().chain(keys).chain(rows) {
            assert!(check(bad.clone()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn verdicts_are_counted() {
        let lease = Lease::default();
        let request = ReclaimRequest::builder().lease(lease).lease(lease).build();
        let verdict = Verdict { grace_s: 1, retain_s: 1, cooldown_s: 1, permits_unfenced: false };
        let of = |rows: usize| std::iter::repeat_n(Some(verdict), rows).collect::<Verdicts>();
        assert_eq!(check_verdicts(&request, &of(2)), Ok(()));
        assert!(check_verdicts(&request, &of(1)).is_err());
    }
}
