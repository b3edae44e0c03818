//! A container runtime of one machine, as far as CNI sees it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::{Answer, cni_path, merge, plugin, run_plugin, tools};

/// Whom its plugins call, be it the daemon of the machine or the agent of a node, and where its configurations are kept.
pub struct Runtime {
    pub folder: PathBuf,
    pub socket: String,
    pub spool: String,
}

// === impl Runtime ===

impl Runtime {
    /// A network configuration with tenure-ipam for this main plugin. An ADD on a full pool is told so at once.
    pub fn network(&self, version: &str, main: &str, extra: Value) -> Value {
        let mut config = json!({
            "cniVersion": version, "name": "net", "type": main,
            "ipam": {"type": "tenure-ipam", "socket": self.socket, "spool": self.spool, "waitSeconds": 0},
        });
        merge(&mut config, extra);
        config
    }

    /// Runs the shipped plugin for `eth0` of a container that is named as its namespace is.
    pub fn plugin(&self, verb: &str, container: &str, config: &Value) -> Answer {
        self.plugin_for(verb, container, "eth0", config)
    }

    /// The same for another interface.
    pub fn plugin_for(&self, verb: &str, container: &str, ifname: &str, config: &Value) -> Answer {
        let env = BTreeMap::from([
            ("CNI_IFNAME", ifname.to_owned()),
            ("CNI_NETNS", format!("/run/netns/{container}")),
        ]);
        run_plugin(&plugin(), verb, container, config, &env)
    }

    /// Runs cnitool on a configuration that is kept as `net.d/NAME`.
    pub fn cnitool(&self, verb: &str, config: &Value, netns: &str) -> Answer {
        let folder = self.folder.join("net.d");
        std::fs::create_dir_all(&folder).unwrap();
        let list = json!({"cniVersion": config["cniVersion"], "name": config["name"], "plugins": [config]});
        let name = config["name"].as_str().unwrap();
        std::fs::write(folder.join(format!("{name}.conflist")), list.to_string()).unwrap();
        let output = Command::new(tools().join("cnitool"))
            .args([verb, name, &format!("/run/netns/{netns}")])
            .env("NETCONFPATH", &folder)
            .env("CNI_PATH", cni_path())
            .output()
            .unwrap();
        Answer::from(&output)
    }
}
