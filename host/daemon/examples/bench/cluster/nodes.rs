//! The nodes: their agents, what their kubelets say, and their power.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use serde_json::json;
use tenure_lab::cluster::{self, NAMESPACE};

use super::process::Process;
use super::world::{ALLOCATORS, World};
use super::{Built, rooms};

/// As often as a kubelet does it.
const RENEWALS_APART: Duration = Duration::from_secs(10);
/// Between each node and the allocators, one /30.
const FABRIC: &str = "10.254";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

impl World {
    /// Each with its own network namespace, so that it sees the ends of its own containers only.
    pub(super) fn make_nodes(&mut self, built: &Built) {
        let (client, bundle) = (self.client(), self.bundle());
        let ports: Vec<_> = self.allocators.iter().map(Process::port).collect();
        for (number, node) in self.nodes.clone().into_iter().enumerate() {
            link(number, &node);
            let folder = self.folder.join(&node);
            let allocators: Vec<_> =
                ports.iter().map(|port| format!("\"{FABRIC}.{number}.1:{port}\"")).collect();
            let path = |name: &str| folder.join(name).display().to_string();
            let more = format!(
                "[agent]\nallocators = [{}]\ntoken = \"{}\"\nca = \"{}\"\n[cni]\nsocket = \"{}\"\nspool = \"{}\"\n",
                allocators.join(", "),
                path("token"),
                path("ca.crt"),
                path("cni.sock"),
                path("spool"),
            );
            let more = format!("node = \"{node}\"\n{more}");
            self.write_config(built, &folder, "tenure-agent", &more);
            let token = self.runtime.block_on(async {
                cluster::create_node(&client, &node).await;
                cluster::agent_token(&client, &node).await
            });
            fs::write(folder.join("token"), token).unwrap();
            fs::write(folder.join("ca.crt"), &bundle).unwrap();
            let mut arguments = vec![format!("--net={}", rooms::path(&node).display())];
            arguments.push(built.bin.join("tenured").display().to_string());
            arguments.extend(["agent".to_owned(), "--config".to_owned(), path("tenured.toml")]);
            let program = PathBuf::from("/usr/bin/nsenter");
            self.agents.push(Process { daemon: None, program, arguments, folder });
        }
    }

    /// Whom agents trust.
    pub(crate) fn bundle(&self) -> String {
        let maps = Api::<ConfigMap>::namespaced(self.client(), NAMESPACE);
        let map = self.runtime.block_on(maps.get("tenure-allocator-ca")).unwrap();
        map.data.unwrap_or_default().into_values().collect()
    }

    /// What the kubelets do beside their pods.
    pub(crate) fn keep_node_leases(&self) {
        let (client, nodes, beats) = (self.client(), self.nodes.clone(), self.beats.clone());
        let resource =
            ApiResource::from_gvk(&GroupVersionKind::gvk("coordination.k8s.io", "v1", "Lease"));
        let api = Api::<DynamicObject>::namespaced_with(client, "kube-node-lease", &resource);
        self.runtime.spawn(async move {
            for count in 1.. {
                tokio::time::sleep(RENEWALS_APART).await;
                for node in nodes.iter().filter(|_| beats.load(Ordering::Relaxed)) {
                    let spec = cluster::node_lease(node, count)["spec"].clone();
                    let patch = Patch::Merge(json!({"spec": spec}));
                    let _ = api.patch(node, &PatchParams::default(), &patch).await;
                }
            }
        });
    }

    /// Every node loses its power: no agent, and its kubelet says nothing.
    pub(crate) fn power_off(&mut self) {
        self.beats.store(false, Ordering::Relaxed);
        self.agents.iter_mut().for_each(|agent| agent.daemon = None);
    }

    /// The nodes boot: with a boot id of their own and what their disks have kept.
    pub(crate) fn power_on(&mut self) {
        self.boots += 1;
        let file = self.folder.join(format!("boot-{}", self.boots));
        fs::write(
            &file,
            format!("{:08x}-b007-4000-8000-{:012x}\n", self.boots, std::process::id()),
        )
        .unwrap();
        if self.boots > 1 {
            show_own_boot_id();
        }
        rustix::mount::mount_bind(&file, BOOT_ID).unwrap();
        for agent in &mut self.agents {
            let _ = fs::remove_file(agent.folder.join("cni.sock"));
            agent.launch();
        }
        self.beats.store(true, Ordering::Relaxed);
    }

    /// Waits until each agent knows both allocators and which one leads.
    pub(super) fn wait_for_nodes(&self) {
        for agent in &self.agents {
            agent.until("the agent reaches the allocators", || {
                let log = agent.log();
                let last = log.lines().rev().find(|line| line.contains("allocators in reach"));
                let replicas = format!("replicas={ALLOCATORS}");
                last.is_some_and(|line| line.contains(&replicas) && line.contains("leader="))
            });
        }
    }
}

/// The namespace of a node, and the cable to where the allocators are.
fn link(number: usize, node: &str) {
    let (here, there) = (format!("to-{node}"), "eth0");
    rooms::ip_batch(&format!(
        "netns add {node}\n\
         link add {here} type veth peer name {there} netns {node}\n\
         address add {FABRIC}.{number}.1/30 dev {here}\n\
         link set {here} up\n\
         netns exec {node} ip link set lo up\n\
         netns exec {node} ip address add {FABRIC}.{number}.2/30 dev {there}\n\
         netns exec {node} ip link set {there} up\n"
    ));
}

/// Ends what [`World::power_on`] shows in place of the boot id of this machine.
pub(super) fn show_own_boot_id() {
    let _ = rustix::mount::unmount(BOOT_ID, rustix::mount::UnmountFlags::DETACH);
}
