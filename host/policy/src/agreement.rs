//! The SDK tells authors natively what the host will take (`tenure_policy::testing::check_…`). Both must be of one mind.

use std::net::IpAddr;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use tenure_core::address::{Families, Family};
use tenure_core::decision::{self, Catalogue};
use tenure_core::time::WallMs;
use tenure_policy as sdk;

use crate::bindings::affinity_types::{self, Choice};
use crate::bindings::select_types::Decision;
use crate::bindings::types::Address;
use crate::check;

fn families() -> impl Strategy<Value = Families> {
    prop_oneof![Just((true, false)), Just((false, true)), Just((true, true))]
        .prop_map(|(v4, v6)| Families { v4, v6 })
}

fn wanted(families: Families) -> Vec<sdk::Family> {
    let both = [(families.v4, sdk::Family::V4), (families.v6, sdk::Family::V6)];
    both.into_iter().filter(|(wanted, _)| *wanted).map(|(_, family)| family).collect()
}

fn candidate(v6: bool) -> decision::Candidate {
    let family = if v6 { Family::V6 } else { Family::V4 };
    decision::Candidate { free: 1, ..decision::Candidate::of(0, family) }
}

fn address(address: IpAddr) -> Address {
    let sdk::Address { hi, lo } = address.into();
    Address { hi, lo }
}

fn addresses() -> impl Strategy<Value = Vec<IpAddr>> {
    let all = ["10.6.0.1", "10.6.0.2", "fd00::1", "fd00::2"].map(|text| text.parse().unwrap());
    vec(proptest::sample::select(all.to_vec()), 0..6)
}

fn asked(
    families: Families,
    previous: &[IpAddr],
) -> (decision::AffinityRequest, sdk::AffinityRequest) {
    let row = |address: &IpAddr| decision::Previous {
        address: *address,
        pool: 0,
        held_s: 0,
        since_release_s: 0,
        same_uid: false,
        same_name: true,
        retained: false,
        resting: false,
    };
    let host = decision::AffinityRequest {
        holder: decision::Holder::default(),
        families,
        previous: previous.iter().map(row).collect(),
        catalogue: Arc::new(Catalogue::default()),
        now: WallMs(0),
        seed: 0,
    };
    let builder = sdk::AffinityRequest::builder().families(&wanted(families));
    let native = previous.iter().fold(builder, |builder, address| builder.previous(*address, 0));
    (host, native.build())
}

proptest! {
    #[test]
    fn on_rankings(
        families in families(),
        offered in vec(any::<bool>(), 0..20),
        rows in vec(0..21_u32, 0..18),
    ) {
        let host = decision::SelectRequest {
            holder: decision::Holder::default(),
            families,
            candidates: offered.iter().map(|v6| candidate(*v6)).collect(),
            catalogue: Arc::new(Catalogue::default()),
            now: WallMs(0),
            seed: 0,
        };
        let native = sdk::SelectRequest::builder().families(&wanted(families)).build();
        let family = |v6: &bool| if *v6 { sdk::Family::V6 } else { sdk::Family::V4 };
        let candidates: Vec<sdk::Candidate> = offered
            .iter()
            .map(|v6| sdk::Candidate { family: family(v6), ..sdk::Candidate::default() })
            .collect();
        let taken = check::selection(&host, Decision::Ranked(rows.clone()));
        let told = sdk::testing::check_selection(
            &native,
            &sdk::Candidates::of(&candidates),
            &sdk::Selection::Ranked(rows),
        );
        prop_assert_eq!(taken.is_ok(), told.is_ok(), "{:?}", told);
    }

    #[test]
    fn on_refusals(reason in prop_oneof!["[ \n]{0,3}", "[a-z]{1000,1040}", any::<String>()]) {
        let host = decision::SelectRequest {
            holder: decision::Holder::default(),
            families: Families { v4: true, v6: false },
            candidates: Vec::new(),
            catalogue: Arc::new(Catalogue::default()),
            now: WallMs(0),
            seed: 0,
        };
        let native = sdk::SelectRequest::builder().build();
        let taken = check::selection(&host, Decision::Deny(reason.clone()));
        let none = sdk::Candidates::of(&[]);
        let told = sdk::testing::check_selection(&native, &none, &sdk::Selection::Deny(reason));
        prop_assert_eq!(taken.is_ok(), told.is_ok(), "{:?}", told);
    }

    #[test]
    fn on_fixed_and_sticky_addresses(
        families in families(),
        list in addresses(),
        key in proptest::option::of(prop_oneof!["[a-z]{0,2}", "[a-z]{250,256}", any::<String>()]),
    ) {
        let (host, native) = asked(families, &[]);
        let theirs: Vec<Address> = list.iter().map(|one| address(*one)).collect();
        let ours: Vec<sdk::Address> = list.iter().map(|one| (*one).into()).collect();
        let (choice, native_choice) = match key {
            None => (
                Choice::Fixed(affinity_types::Fixed {
                    addresses: theirs,
                    if_held: affinity_types::IfHeld::Wait,
                }),
                sdk::Choice::Fixed(sdk::Fixed { addresses: ours, if_held: sdk::IfHeld::Wait }),
            ),
            Some(key) => (
                Choice::Sticky(affinity_types::Sticky {
                    key: key.clone(),
                    if_held: affinity_types::IfHeld::Wait,
                    retain_s: 1,
                    preferred: theirs,
                }),
                sdk::Choice::Sticky(sdk::Sticky {
                    key,
                    if_held: sdk::IfHeld::Wait,
                    retain_s: 1,
                    preferred: ours,
                }),
            ),
        };
        let taken = check::affinity(&host, affinity_types::Answer { choice, tag: 0 });
        let told = sdk::testing::check_affinity(&native, &native_choice.into());
        prop_assert_eq!(taken.is_ok(), told.is_ok(), "{:?}", told);
    }

    #[test]
    fn on_reuse(families in families(), previous in addresses(), rows in vec(0..6_u32, 0..4)) {
        let (host, native) = asked(families, &previous);
        let answer = affinity_types::Answer { choice: Choice::Reuse(rows.clone()), tag: 0 };
        let taken = check::affinity(&host, answer);
        let told = sdk::testing::check_affinity(&native, &sdk::Choice::Reuse(rows).into());
        prop_assert_eq!(taken.is_ok(), told.is_ok(), "{:?}", told);
    }
}
