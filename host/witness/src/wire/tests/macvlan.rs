//! From a macvlan network.

use tenure_core::ports::{Wire as _, WireLook};

use super::world::{Machine, Switch};
use super::{assert_blind, ip, look, on_macvlan, question, wire_test};
use crate::tests::world::wait_for;
use crate::wire::WireWitness;

wire_test! {
    fn a_machine_behind_the_switch_that_has_the_address_answers() {
        let switch = Switch::new();
        let holder = switch.machine(&[ip(4, 7), ip(6, 7)]);
        for family in [4, 6] {
            let answered = WireLook::Answered { mac: holder.mac() };
            assert_eq!(look(&question(on_macvlan(), family, &[])), answered, "IPv{family}");
        }
    }
}

wire_test! {
    fn a_container_on_the_same_parent_that_has_the_address_answers() {
        let _switch = Switch::new();
        let holder = Machine::sibling(&[ip(4, 7), ip(6, 7)]);
        for family in [4, 6] {
            let answered = WireLook::Answered { mac: holder.mac() };
            assert_eq!(look(&question(on_macvlan(), family, &[])), answered, "IPv{family}");
        }
    }
}

wire_test! {
    fn silence_counts_when_the_gateway_answers() {
        let switch = Switch::new();
        let _gateway = switch.machine(&[ip(4, 1), ip(6, 1)]);
        for family in [4, 6] {
            assert_eq!(look(&question(on_macvlan(), family, &[])), WireLook::Silent, "IPv{family}");
        }
    }
}

wire_test! {
    fn silence_counts_when_another_held_address_answers_behind_the_switch_or_beside_us() {
        let switch = Switch::new();
        let (_far, _beside) = (switch.machine(&[ip(4, 2), ip(6, 2)]), Machine::sibling(&[ip(4, 3), ip(6, 3)]));
        for (family, control) in [(4, 2), (4, 3), (6, 2), (6, 3)] {
            let seen = look(&question(on_macvlan(), family, &[control]));
            assert_eq!(seen, WireLook::Silent, "IPv{family}, control {control}");
        }
    }
}

wire_test! {
    fn silence_without_an_answering_control_is_blind() {
        let switch = Switch::new();
        let _bystander = switch.machine(&[ip(4, 9), ip(6, 9)]);
        for family in [4, 6] {
            let seen = look(&question(on_macvlan(), family, &[2]));
            assert_blind(&seen, &["v0", "no control answered", &ip(family, 1).to_string(), &ip(family, 2).to_string()]);
        }
    }
}

wire_test! {
    fn without_a_control_to_ask_silence_is_blind_and_an_answer_is_one() {
        let switch = Switch::new();
        let alone = |family| {
            let mut question = question(on_macvlan(), family, &[]);
            question.gateway = None;
            // Neither the address itself nor one of the other family is a control.
            question.controls = vec![ip(family, 7), ip(10 - family, 1)];
            look(&question)
        };
        for family in [4, 6] {
            assert_blind(&alone(family), &["v0", "could be a control"]);
        }
        let holder = switch.machine(&[ip(4, 7), ip(6, 7)]);
        for family in [4, 6] {
            assert_eq!(alone(family), WireLook::Answered { mac: holder.mac() }, "IPv{family}");
        }
    }
}

wire_test! {
    fn the_own_address_of_the_parent_is_in_use_and_an_own_address_is_no_control() {
        let switch = Switch::new();
        super::world::run("ip addr add 10.6.1.7/24 dev v0");
        super::world::run("ip addr add fd00:6::7/64 dev v0 nodad");
        super::world::run("ip addr add 10.6.1.1/32 dev lo");
        let _far = switch.machine(&[ip(4, 2), ip(6, 2)]);
        for family in [4, 6] {
            let seen = look(&question(on_macvlan(), family, &[2]));
            assert!(matches!(seen, WireLook::Answered { .. }), "IPv{family}: {seen:?}");
        }
        let mut other = question(on_macvlan(), 4, &[]);
        other.address = ip(4, 8);
        assert_blind(&look(&other), &["could be a control"]);
    }
}

wire_test! {
    fn a_control_that_is_just_detecting_duplicates_keeps_its_address() {
        let switch = Switch::new();
        let control = switch.machine(&[]);
        control.run("sysctl -qw net.ipv6.conf.eth0.dad_transmits=9 net.ipv6.neigh.eth0.retrans_time_ms=300");
        control.add(ip(6, 2), "");
        let shown = || control.run("ip -o -6 addr show dev eth0 to fd00:6::2");
        let seen = look(&question(on_macvlan(), 6, &[2]));
        assert!(shown().contains("tentative"), "it was not detecting all the time: {}", shown());
        assert_blind(&seen, &["no control answered"]);
        wait_for("the detection to end", || !shown().contains(" tentative") || shown().contains("dadfailed"));
        assert!(!shown().contains("dadfailed"), "{}", shown());
        assert_eq!(look(&question(on_macvlan(), 6, &[2])), WireLook::Silent);
    }
}

wire_test! {
    fn many_questions_at_once_are_all_answered_right() {
        let switch = Switch::new();
        let _gateway = switch.machine(&[ip(4, 1), ip(6, 1)]);
        let holder = switch.machine(&[ip(4, 7), ip(6, 7)]);
        let witness = WireWitness::start().unwrap();
        // More than may ask at once.
        std::thread::scope(|scope| {
            let ask = |number: u16| {
                let family = [4, 6][usize::from(number) % 2];
                let mut question = question(on_macvlan(), family, &[]);
                let held = number.is_multiple_of(3);
                question.address = ip(family, if held { 7 } else { 100 + number });
                let answered = WireLook::Answered { mac: holder.mac() };
                (witness.probe(&question), if held { answered } else { WireLook::Silent }, question.address)
            };
            let all: Vec<_> = (0..100).map(|number| scope.spawn(move || ask(number))).collect();
            for asked in all {
                let (seen, expected, address) = asked.join().unwrap();
                assert_eq!(seen, expected, "{address}");
            }
        });
    }
}
