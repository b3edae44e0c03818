//! Calls of the plugin, as runtimes make them, and the containers that they are for.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Cluster;
use crate::lab::runtime::Runtime;
use crate::lab::{Answer, netns, plugin, run_plugin, start_plugin, tools};

/// One call of the plugin.
#[derive(Clone)]
pub struct Call {
    verb: String,
    pod: String,
    network: Value,
    env: BTreeMap<&'static str, String>,
}

// === impl Cluster ===

impl Cluster {
    /// The container runtime of a node.
    pub fn runtime(&self, node: &str) -> Runtime {
        let agent = &self.agents[node];
        Runtime {
            folder: agent.folder.clone(),
            socket: agent.path("cni.sock"),
            spool: agent.path("spool"),
        }
    }

    /// The network configuration of a node's runtime.
    pub fn network(&self, node: &str) -> Value {
        self.runtime(node).network("1.1.0", "macvlan", json!({}))
    }

    /// ADD for a pod, in a namespace that is made for it. The container is named as the pod is.
    pub fn add(&self, node: &str, pod: &str, uid: &str) -> Answer {
        if !Path::new(&format!("/run/netns/{pod}")).exists() {
            netns(pod);
        }
        self.call("ADD", node, pod, uid)
    }

    pub fn del(&self, node: &str, pod: &str) -> Answer {
        self.call("DEL", node, pod, "")
    }

    pub fn call(&self, verb: &str, node: &str, pod: &str, uid: &str) -> Answer {
        self.plugin_call(verb, node, pod, uid).run()
    }

    /// A call of the plugin, to be run on any thread.
    pub fn plugin_call(&self, verb: &str, node: &str, pod: &str, uid: &str) -> Call {
        let env = BTreeMap::from([
            ("CNI_IFNAME", "eth0".to_owned()),
            ("CNI_NETNS", format!("/run/netns/{pod}")),
            (
                "CNI_ARGS",
                format!(
                    "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod};K8S_POD_INFRA_CONTAINER_ID={pod};K8S_POD_UID={uid}"
                ),
            ),
        ]);
        let network = self.network(node);
        Call { verb: verb.to_owned(), pod: pod.to_owned(), network, env }
    }

    /// So many pods, in turn on these nodes, each with its namespace: node, name, uid.
    pub fn pods(&self, nodes: &[&str], count: usize) -> Vec<[String; 3]> {
        let nodes = nodes.iter().cycle().take(count).enumerate();
        let make = |(number, node): (usize, &&str)| {
            let name = format!("p{number}");
            netns(&name);
            let uid = self.pod(node, &name);
            [(*node).to_owned(), name, uid]
        };
        nodes.map(make).collect()
    }

    /// DELs of all these pods at once, each of which succeeds, whatever is the matter.
    pub fn del_all(&self, pods: &[[String; 3]]) {
        let calls: Vec<Call> =
            pods.iter().map(|[node, pod, _]| self.plugin_call("DEL", node, pod, "")).collect();
        std::thread::scope(|scope| {
            let running: Vec<_> =
                calls.into_iter().map(|call| scope.spawn(move || call.run())).collect();
            for del in running {
                del.join().unwrap().ok();
            }
        });
    }

    /// ADDs of all these pods at once, each repeated as a kubelet does until it succeeds, while something else happens.
    /// Answers how many tries it took; no address was given twice.
    pub fn add_all_while(
        &mut self,
        pods: &[[String; 3]],
        happens: impl FnOnce(&mut Self),
    ) -> usize {
        let calls: Vec<Call> = pods
            .iter()
            .map(|[node, pod, uid]| self.plugin_call("ADD", node, pod, uid).waiting(5))
            .collect();
        let deadline = Instant::now() + Duration::from_secs(120);
        let answers: Vec<(usize, Answer)> = std::thread::scope(|scope| {
            let until_served = |call: Call| {
                for tries in 1.. {
                    let answer = call.run();
                    if answer.exit == 0 {
                        return (tries, answer);
                    }
                    assert!(Instant::now() < deadline, "{}: {answer:?}", call.pod);
                    std::thread::sleep(Duration::from_millis(200));
                }
                unreachable!()
            };
            let running: Vec<_> =
                calls.into_iter().map(|call| scope.spawn(move || until_served(call))).collect();
            happens(self);
            running.into_iter().map(|add| add.join().unwrap()).collect()
        });
        let mut given: Vec<IpAddr> =
            answers.iter().flat_map(|(_, answer)| answer.addresses()).collect();
        let all = given.len();
        given.sort_unstable();
        given.dedup();
        assert_eq!(given.len(), all, "an address was given twice");
        answers.iter().map(|(tries, _)| tries).sum()
    }

    /// A pod with its address.
    pub fn run(&self, node: &str, name: &str) -> IpAddr {
        let uid = self.pod(node, name);
        self.add(node, name, &uid).ok().addresses()[0]
    }

    /// The pod's main plugin puts its address on a link.
    pub fn bring_up(&self, pod: &str, address: IpAddr) {
        let ip = |arguments: &str| {
            let arguments: Vec<&str> =
                ["-n", pod].into_iter().chain(arguments.split(' ')).collect();
            crate::lab::ip(&arguments);
        };
        ip("link add eth0 type veth peer name other");
        ip(&format!("addr add {address}/24 dev eth0"));
        ip("link set eth0 up");
    }

    /// The container of a pod ends, and nobody tells. The kernel takes some ten milliseconds for it.
    pub fn end(&self, pod: &str) {
        let id = namespace_ids().into_iter().find(|line| line.ends_with(&format!(" {pod})")));
        crate::lab::ip(&["netns", "del", pod]);
        let id = id.as_deref().and_then(|line| line.split(" (").next());
        let is_there = |id| namespace_ids().iter().any(|line| line.split(" (").next() == Some(id));
        crate::lab::until("the kernel lets go of it", || id.is_none_or(|id| !is_there(id)));
    }
}

// === impl Call ===

impl Call {
    /// Lets an ADD wait for an address, or for an allocator.
    pub fn waiting(mut self, seconds: u64) -> Self {
        self.network["ipam"]["waitSeconds"] = json!(seconds);
        self
    }

    /// On this uplink of the machine.
    pub fn on(mut self, master: &str) -> Self {
        self.network["master"] = json!(master);
        self
    }

    /// Another sandbox of the pod, in a namespace of its name.
    pub fn sandbox(self, container: &str) -> Self {
        if !Path::new(&format!("/run/netns/{container}")).exists() {
            netns(container);
        }
        self.of(container)
    }

    /// The same of a sandbox whose namespace may be gone.
    pub fn of(mut self, container: &str) -> Self {
        self.env.insert("CNI_NETNS", format!("/run/netns/{container}"));
        container.clone_into(&mut self.pod);
        self
    }

    /// An interface besides `eth0`, in a network of this name.
    pub fn attached(mut self, network: &str, ifname: &str) -> Self {
        self.network["name"] = json!(network);
        self.env.insert("CNI_IFNAME", ifname.to_owned());
        self
    }

    pub fn run(&self) -> Answer {
        run_plugin(&plugin(), &self.verb, &self.pod, &self.network, &self.env)
    }

    /// By way of the real main plugin, which makes the link, too.
    pub fn run_main(&self) -> Answer {
        let main = tools().join(self.network["type"].as_str().unwrap());
        run_plugin(&main, &self.verb, &self.pod, &self.network, &self.env)
    }

    /// Begins it: a runtime may lose patience.
    pub fn start(&self) -> Child {
        start_plugin(&plugin(), &self.verb, &self.pod, &self.network, &self.env)
    }
}

/// Those that the kernel knows here, and the names of some: `nsid 7 (iproute2 netns name: a)`.
fn namespace_ids() -> Vec<String> {
    let shown = std::process::Command::new("ip").args(["netns", "list-id"]).output().unwrap();
    String::from_utf8(shown.stdout).unwrap().lines().map(|line| line.trim().to_owned()).collect()
}
