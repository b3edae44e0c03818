//! Where the wire witness can ask for an address: learnt from the main plugin's part of the configuration.

use serde_json::Value;
use tenure_core::name::IfName;
use tenure_core::ports::WireLink;

use crate::config::NetworkConfig;

/// The bridge that the bridge plugin uses unless it is told otherwise.
const DEFAULT_BRIDGE: &str = "cni0";

/// The link of an ADD; none where the witness has no method: another main plugin, a parent inside a container, a mode
/// in which neighbours do not hear one another, tagged traffic. What is ill-formed is the main plugin's to refuse.
pub(crate) fn of(config: &NetworkConfig) -> Option<WireLink> {
    let top = config.top().ok()?;
    let text = |key| top.get(key).and_then(Value::as_str);
    let is_set = |key| top.get(key).is_some_and(|value| *value != Value::Bool(false));
    match text("type")? {
        "macvlan" => {
            let bridged = matches!(text("mode"), None | Some("bridge" | ""));
            let usable = bridged && !is_set("linkInContainer");
            let parent = text("master").and_then(|name| IfName::new(name).ok())?;
            usable.then_some(WireLink::Macvlan { parent })
        }
        "bridge" => {
            let tagged = top.get("vlan").is_some_and(|tag| *tag != 0) || is_set("vlanTrunk");
            let name = text("bridge").filter(|name| !name.is_empty()).unwrap_or(DEFAULT_BRIDGE);
            let name = IfName::new(name).ok()?;
            (!tagged).then_some(WireLink::Bridge { name })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn link(mut extra: Value) -> Option<WireLink> {
        extra["cniVersion"] = json!("1.0.0");
        extra["name"] = json!("n");
        of(&NetworkConfig::parse(extra.to_string().as_bytes()).unwrap())
    }

    fn name(name: &str) -> IfName {
        IfName::new(name).unwrap()
    }

    #[test]
    fn macvlan_in_bridge_mode_and_plain_bridges_can_be_asked_on() {
        let parent = Some(WireLink::Macvlan { parent: name("eth1.100") });
        assert_eq!(link(json!({"type": "macvlan", "master": "eth1.100"})), parent);
        assert_eq!(
            link(json!({"type": "macvlan", "master": "eth1.100", "mode": "bridge"})),
            parent
        );
        let bridge = |bridge| Some(WireLink::Bridge { name: name(bridge) });
        assert_eq!(link(json!({"type": "bridge"})), bridge("cni0"));
        assert_eq!(link(json!({"type": "bridge", "bridge": "br0", "vlan": 0})), bridge("br0"));
    }

    #[test]
    fn where_silence_would_mean_nothing_nobody_is_asked() {
        for config in [
            json!({"type": "macvlan", "master": "eth1", "mode": "private"}),
            json!({"type": "macvlan", "master": "eth1", "linkInContainer": true}),
            json!({"type": "macvlan"}),
            json!({"type": "macvlan", "master": "not/a name"}),
            json!({"type": "bridge", "vlan": 100}),
            json!({"type": "bridge", "vlanTrunk": [{"id": 100}]}),
            json!({"type": "ptp"}),
            json!({"type": 5}),
            json!({}),
        ] {
            assert_eq!(link(config.clone()), None, "{config}");
        }
    }
}
