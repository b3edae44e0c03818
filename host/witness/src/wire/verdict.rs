//! What the answers mean. A pure function.
//!
//! A machine that answers for others (proxy ARP, proxy ND) makes every answer meaningless, its own silence
//! included. It shows itself by answering for three of the addresses asked for, for the gateway and the
//! address, or for the address and a control that somebody else answers for as well. Linux answers no probe by proxy
//! ARP (a sender without an address is answered only by who has the address), routers of other make do. What is not seen: a
//! proxy where neither the gateway nor two controls are asked, and one for IPv6 that takes its time, as it may
//! (RFC 4861, 7.2.8).

use std::net::IpAddr;

use tenure_core::name::IfName;
use tenure_core::ports::WireLook;

use super::Mac;
use super::asked::Asked;
use super::blind::Blind;
use super::listen::Answers;

/// No machine of a pool has so many of the few addresses asked for.
const PROXY_ADDRESSES: usize = 3;

/// The look, for a question that was put at `interface`.
pub(super) fn conclude(
    interface: &IfName,
    asked: &Asked,
    answers: &Answers,
) -> Result<WireLook, Blind> {
    if let Some((mac, addresses)) = proxy(asked, answers) {
        return Err(Blind::Proxy { interface: interface.clone(), mac, addresses });
    }
    if let Some(mac) = claimants(answers, asked.address).next() {
        return Ok(WireLook::Answered { mac });
    }
    if let Some(mac) = answers.rival {
        let (interface, address) = (interface.clone(), asked.address);
        return Err(Blind::Rival { interface, address, mac });
    }
    if answers.lost {
        return Err(Blind::Lost(interface.clone()));
    }
    if asked.controls().any(|control| answers.answered.contains(&control)) {
        return Ok(WireLook::Silent);
    }
    match asked.controls().collect::<Vec<_>>() {
        none if none.is_empty() => Err(Blind::NoControl(interface.clone())),
        controls => Err(Blind::NoAnswer { interface: interface.clone(), controls }),
    }
}

/// A machine that answers for others, and for whom.
fn proxy(asked: &Asked, answers: &Answers) -> Option<(Mac, Vec<IpAddr>)> {
    answers.claims.iter().find_map(|(_, mac)| {
        let addresses: Vec<IpAddr> = answers
            .claims
            .iter()
            .filter(|(_, by)| by == mac)
            .map(|(address, _)| *address)
            .collect();
        let also_elsewhere = |address: &IpAddr| {
            Some(*address) == asked.gateway || claimants(answers, *address).any(|by| by != *mac)
        };
        let for_others = addresses.contains(&asked.address)
            && addresses.iter().filter(|of| **of != asked.address).any(also_elsewhere);
        (for_others || addresses.len() >= PROXY_ADDRESSES).then_some((*mac, addresses))
    })
}

fn claimants(answers: &Answers, address: IpAddr) -> impl Iterator<Item = Mac> {
    answers.claims.iter().filter(move |(of, _)| *of == address).map(|(_, mac)| *mac)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::listen::Heard;

    const OWN: Mac = [2, 0, 0, 0, 0, 0];

    fn ip(last: u8) -> IpAddr {
        [10, 6, 1, last].into()
    }

    fn mac(last: u8) -> Mac {
        [2, 0, 0, 0, 0, last]
    }

    /// Asks for 7 with gateway 1 and controls 2 and 3. Each answer is (address, machine).
    fn look(answers: &[(u8, u8)]) -> Result<WireLook, Blind> {
        concluded(answers.iter().map(|(address, by)| Heard::Claim {
            address: ip(*address),
            mac: mac(*by),
            answers: Some(OWN),
        }))
    }

    fn concluded(heard: impl IntoIterator<Item = Heard>) -> Result<WireLook, Blind> {
        let asked = Asked { address: ip(7), gateway: Some(ip(1)), others: vec![ip(2), ip(3)] };
        let mut answers = Answers::default();
        heard.into_iter().for_each(|heard| answers.take(heard, OWN, &asked));
        conclude(&IfName::new("eth1").unwrap(), &asked, &answers)
    }

    #[test]
    fn silence_counts_once_one_control_answered_us() {
        for control in [1, 2, 3] {
            assert_eq!(look(&[(control, 20)]).unwrap(), WireLook::Silent);
        }
        assert!(matches!(look(&[]), Err(Blind::NoAnswer { .. })));
        assert!(matches!(look(&[(9, 20)]), Err(Blind::NoAnswer { .. })), "nobody asked for it");
    }

    #[test]
    fn a_control_that_speaks_to_somebody_else_is_none() {
        for answers in [None, Some(mac(5))] {
            let heard = [Heard::Claim { address: ip(2), mac: mac(20), answers }];
            assert!(matches!(concluded(heard), Err(Blind::NoAnswer { .. })));
        }
    }

    #[test]
    fn whoever_claims_the_address_has_it_with_or_without_a_control() {
        let answered = WireLook::Answered { mac: mac(9) };
        assert_eq!(look(&[(7, 9)]).unwrap(), answered);
        assert_eq!(look(&[(1, 20), (2, 21), (7, 9), (7, 10)]).unwrap(), answered);
        let announced = Heard::Claim { address: ip(7), mac: mac(9), answers: None };
        assert_eq!(concluded([announced]).unwrap(), answered);
    }

    #[test]
    fn we_ourselves_answer_nothing() {
        let own = |address| Heard::Claim { address: ip(address), mac: OWN, answers: Some(OWN) };
        assert!(matches!(concluded([own(7), own(1)]), Err(Blind::NoAnswer { .. })));
    }

    #[test]
    fn a_machine_that_answers_for_others_makes_blind() {
        let proxies: [&[(u8, u8)]; 6] = [
            &[(1, 20), (7, 20)],                   // the gateway
            &[(7, 20), (1, 20)],                   // in any order
            &[(2, 30), (3, 30), (7, 30)],          // three addresses
            &[(1, 30), (2, 30), (3, 30)],          // even where the address is silent
            &[(2, 21), (7, 30), (2, 30)],          // a control that is somewhere else
            &[(1, 20), (2, 21), (7, 30), (1, 30)], // a second gateway
        ];
        for proxy in proxies {
            assert!(matches!(look(proxy), Err(Blind::Proxy { .. })), "{proxy:?}");
        }
    }

    #[test]
    fn a_machine_with_two_addresses_is_no_proxy() {
        assert_eq!(look(&[(1, 20), (2, 9), (7, 9)]).unwrap(), WireLook::Answered { mac: mac(9) });
        assert_eq!(look(&[(1, 20), (2, 20)]).unwrap(), WireLook::Silent);
    }

    #[test]
    fn a_rival_makes_blind_unless_somebody_has_the_address() {
        let rival = || Heard::Probe { address: ip(7), mac: mac(8) };
        let control = Heard::Claim { address: ip(1), mac: mac(20), answers: Some(OWN) };
        assert!(matches!(concluded([rival(), control]), Err(Blind::Rival { .. })));
        let holder = Heard::Claim { address: ip(7), mac: mac(9), answers: Some(OWN) };
        assert_eq!(concluded([rival(), holder]).unwrap(), WireLook::Answered { mac: mac(9) });
        let about_another = Heard::Probe { address: ip(2), mac: mac(8) };
        assert!(matches!(concluded([about_another]), Err(Blind::NoAnswer { .. })));
    }

    #[test]
    fn lost_frames_take_the_meaning_from_silence_but_not_from_an_answer() {
        let asked = Asked { address: ip(7), gateway: Some(ip(1)), others: vec![] };
        let name = IfName::new("eth1").unwrap();
        let mut answers = Answers { lost: true, ..Answers::default() };
        answers.take(
            Heard::Claim { address: ip(1), mac: mac(20), answers: Some(OWN) },
            OWN,
            &asked,
        );
        assert!(matches!(conclude(&name, &asked, &answers), Err(Blind::Lost(_))));
        answers.take(Heard::Claim { address: ip(7), mac: mac(9), answers: None }, OWN, &asked);
        let look = conclude(&name, &asked, &answers).unwrap();
        assert_eq!(look, WireLook::Answered { mac: mac(9) });
    }

    #[test]
    fn a_flood_of_names_does_not_crowd_out_the_holder() {
        let flood = (0..=255_u8).map(|n| Heard::Claim {
            address: ip(2),
            mac: [2, 1, 0, 0, 0, n],
            answers: None,
        });
        let holder = Heard::Claim { address: ip(7), mac: mac(9), answers: Some(OWN) };
        let look = concluded(flood.chain([holder])).unwrap();
        assert_eq!(look, WireLook::Answered { mac: mac(9) });
    }
}
