//! A pod wishes for an address by annotation, and gets another one if it cannot have it: held by somebody else, in no pool, or
//! no address at all. Where a wish must be fulfilled or refused, use the shipped policy `sticky-identity`.
//!
//! | setting | default | meaning |
//! | --- | --- | --- |
//! | `attribute` | `pod.annotation/tenure.dev/wish` | where the wish stands: an address, or one of each family with a comma between |

use std::net::IpAddr;

use serde::Deserialize;
use tenure_policy::{
    Address, Affinity, AffinityAnswer, AffinityRequest, Choice, Description, Family, FieldError,
    Fixed, IfHeld, Level, Policy, PolicyError, export, log,
};

/// Settings as an operator writes them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    attribute: String,
}

/// The policy.
pub struct WishedAddress(Settings);

impl Default for Settings {
    fn default() -> Self {
        Self { attribute: "pod.annotation/tenure.dev/wish".to_owned() }
    }
}

impl Policy for WishedAddress {
    type Settings = Settings;

    fn describe() -> Description {
        let schema = include_str!("settings.json");
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), schema)
    }

    fn new(settings: Settings) -> Result<Self, Vec<FieldError>> {
        Ok(Self(settings))
    }

    fn attribute_keys(&self) -> Vec<String> {
        vec![self.0.attribute.clone()]
    }
}

impl Affinity for WishedAddress {
    fn affinity(&self, request: &AffinityRequest) -> Result<AffinityAnswer, PolicyError> {
        let Some(text) = request.holder.attribute(&self.0.attribute) else {
            return Ok(Choice::Abstain.into());
        };
        let mut wishes: Vec<(Family, Address)> = Vec::new();
        for word in text.split(',').map(str::trim) {
            let Ok(address) = word.parse::<IpAddr>() else {
                let shown: String = word.chars().take(64).collect();
                log(Level::Warn, &format!("the wish {shown:?} is no address"));
                continue;
            };
            let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
            // The first of a family counts.
            if request.wants(family) && wishes.iter().all(|(of, _)| *of != family) {
                wishes.push((family, address.to_canonical().into()));
            }
        }
        if wishes.is_empty() {
            return Ok(Choice::Abstain.into());
        }
        let addresses = wishes.into_iter().map(|(_, address)| address).collect();
        Ok(Choice::Fixed(Fixed { addresses, if_held: IfHeld::Other }).into())
    }
}

export!(WishedAddress: affinity);

#[cfg(test)]
mod tests {
    use tenure_policy::Holder;
    use tenure_policy::testing::{check_affinity, policy, take_log};

    use super::*;

    fn ask(wish: &str) -> Choice {
        let holder = Holder::builder().annotation("tenure.dev/wish", wish);
        let request = AffinityRequest::builder().holder(holder).build();
        let answer = policy::<WishedAddress>("{}").unwrap().affinity(&request).unwrap();
        assert_eq!(check_affinity(&request, &answer), Ok(()));
        answer.choice
    }

    #[test]
    fn what_cannot_be_read_is_said_and_left_alone() {
        assert_eq!(ask("ten, fd00::1"), Choice::Abstain);
        assert!(take_log().iter().any(|(_, line)| line.contains("\"ten\" is no address")));
        let Choice::Fixed(fixed) = ask("ten, 10.6.0.7, 10.6.0.8") else { panic!("not fixed") };
        assert_eq!(fixed.addresses.len(), 1);
    }
}
