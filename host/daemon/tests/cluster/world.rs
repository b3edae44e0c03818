//! The cluster of a test: an API server found empty, and the processes that the test starts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::{IpAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use serde_json::{Value, json};
use tenure_lab::cluster::{NAMESPACE, agent_token, create_node, install, node_lease, resource};
use tenure_lab::{ApiServer, Daemon, Options};
use tokio::runtime::Runtime;

use crate::lab::{Answer, Lab, netns, plugin, policies, run_plugin, until};

/// What all tests share. It is never dropped: what it started ends with the process.
struct World {
    runtime: Runtime,
    server: ApiServer,
    /// Kept for its folder and its turn among the laboratories.
    _lab: Lab,
    /// Its network and mount namespaces.
    home: [OwnedFd; 2],
}

static WORLD: Mutex<Option<World>> = Mutex::new(None);

/// A test's turn.
pub struct Cluster {
    world: MutexGuard<'static, Option<World>>,
    folder: tempfile::TempDir,
    pub allocators: Vec<Process>,
    pub agents: BTreeMap<String, Process>,
}

/// One call of the plugin.
#[derive(Clone)]
pub struct Call {
    verb: String,
    pod: String,
    network: Value,
    env: BTreeMap<&'static str, String>,
}

/// A process of ours.
pub struct Process {
    pub daemon: Option<Daemon>,
    role: &'static str,
    folder: PathBuf,
}

// === impl World ===

impl World {
    fn new() -> Self {
        let lab = Lab::enter();
        // Its threads are born in the new namespaces.
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(ApiServer::start(Options { unsafe_no_fsync: true }));
        let home = ["net", "mnt"]
            .map(|kind| OwnedFd::from(File::open(format!("/proc/thread-self/ns/{kind}")).unwrap()));
        let this = Self { runtime, server, _lab: lab, home };
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
        this.runtime.block_on(async { install(&this.server.client(), &deploy).await });
        this
    }

    /// Brings this test's thread to where the world is.
    #[expect(
        unsafe_code,
        reason = "rustix marks unshare unsafe because of CLONE_FILES, which is not used here"
    )]
    fn enter(&self) {
        // SAFETY: the flag changes nothing about descriptors; a thread with a working folder of its own may change its mounts.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }.unwrap();
        for (fd, kind) in
            self.home.iter().zip([LinkNameSpaceType::Network, LinkNameSpaceType::Mount])
        {
            use std::os::fd::AsFd as _;
            rustix::thread::move_into_link_name_space(fd.as_fd(), Some(kind)).unwrap();
        }
    }
}

// === impl Cluster ===

impl Cluster {
    /// So many allocators, and an agent on each of these nodes.
    pub fn start(allocators: usize, nodes: &[&str]) -> Self {
        let mut this = Self::empty();
        for number in 0..allocators {
            this.start_allocator(number);
        }
        for node in nodes {
            this.add_node(node);
            this.start_agent(node);
        }
        for node in nodes {
            this.reached(node, allocators);
        }
        this
    }

    /// No process yet.
    pub fn empty() -> Self {
        let mut world = WORLD.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &*world {
            Some(world) => world.enter(),
            None => *world = Some(World::new()),
        }
        let folder = tempfile::tempdir().unwrap();
        let this = Self { world, folder, allocators: Vec::new(), agents: BTreeMap::new() };
        this.wait(async {
            let allocator = Client::try_from(this.world().server.allocator_config()).unwrap();
            empty(&this.client(), allocator).await;
        });
        this
    }

    fn world(&self) -> &World {
        self.world.as_ref().unwrap()
    }

    pub fn server(&mut self) -> &mut ApiServer {
        &mut self.world.as_mut().unwrap().server
    }

    /// Keeps what etcd holds now.
    pub fn back_up(&mut self) {
        let World { runtime, server, .. } = self.world.as_mut().unwrap();
        runtime.block_on(server.back_up());
        self.served();
    }

    /// Puts it back.
    pub fn restore(&mut self) {
        let World { runtime, server, .. } = self.world.as_mut().unwrap();
        runtime.block_on(server.restore());
        self.served();
    }

    /// Starts the API server again after it was killed.
    pub fn start_server(&mut self) {
        let World { runtime, server, .. } = self.world.as_mut().unwrap();
        runtime.block_on(server.start_server());
        self.served();
    }

    /// Hundreds of writes that concern nobody.
    pub fn write_much(&self) {
        let maps = Api::<ConfigMap>::namespaced(self.client(), "default");
        self.wait(async {
            for count in 0..500 {
                let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "noise"}, "data": {"count": count.to_string()}});
                let params = PatchParams::apply("noise");
                maps.patch("noise", &params, &Patch::Apply(map)).await.unwrap();
            }
        });
    }

    /// How far etcd is.
    pub fn highest_revision(&self) -> u64 {
        let maps = Api::<ConfigMap>::namespaced(self.client(), "default");
        let list = self.wait(maps.list(&ListParams::default().limit(1))).unwrap();
        list.metadata.resource_version.unwrap().parse().unwrap()
    }

    /// How often the allocators have counted on.
    pub fn ticks(&self) -> u64 {
        let maps = Api::<ConfigMap>::namespaced(self.client(), NAMESPACE);
        let map = self.wait(maps.get("tenure-store")).unwrap();
        map.data.unwrap()["ticks"].parse().unwrap()
    }

    fn served(&self) {
        // Custom resources are served some moments later.
        until("leases are served", || {
            self.wait(self.api("IPLease").list(&ListParams::default())).is_ok()
        });
    }

    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.world().runtime.block_on(work)
    }

    /// A client that may do everything.
    pub fn client(&self) -> Client {
        let _inside = self.world().runtime.enter();
        self.world().server.client()
    }

    pub fn api(&self, kind: &str) -> Api<DynamicObject> {
        Api::all_with(self.client(), &resource(kind))
    }

    pub fn pool(&self, name: &str, spec: Value) {
        let pool = json!({"apiVersion": "tenure.dev/v1alpha1", "kind": "IPPool", "metadata": {"name": name}, "spec": spec});
        self.wait(async {
            self.api("IPPool")
                .create(&PostParams::default(), &serde_json::from_value(pool).unwrap())
                .await
                .unwrap()
        });
        for allocator in self.allocators.iter().filter(|one| one.daemon.is_some()) {
            until("every allocator serves the pool", || {
                let answer: Value = serde_json::from_str(&allocator.admin("/v1/pools")).unwrap();

                let pools = answer["items"].as_array().unwrap();
                let pool = pools.iter().find(|pool| pool["metadata"]["name"] == name);
                pool.is_some_and(|pool| pool["status"]["size"] != 0)
            });
        }
    }

    /// A shipped policy with these settings, served by every allocator.
    pub fn policy(&self, name: &str, settings: Value) {
        let policy = json!({"apiVersion": "tenure.dev/v1alpha1", "kind": "IPAMPolicy", "metadata": {"name": name},
            "spec": {"source": {"bundled": name}, "settings": settings}});
        self.wait(async {
            let policy = serde_json::from_value(policy).unwrap();
            self.api("IPAMPolicy").create(&PostParams::default(), &policy).await.unwrap();
        });
        for allocator in self.allocators.iter().filter(|one| one.daemon.is_some()) {
            until("every allocator serves the policy", || {
                let answer: Value = serde_json::from_str(&allocator.admin("/v1/policies")).unwrap();
                let policies = answer["items"].as_array().unwrap();
                let policy = policies.iter().find(|policy| policy["metadata"]["name"] == name);
                policy.is_some_and(|policy| policy["status"]["digest"].is_string())
            });
        }
    }

    /// All leases, as they stand in the API: address and spec.
    pub fn leases(&self) -> BTreeMap<String, Value> {
        let listed = self.wait(self.api("IPLease").list(&ListParams::default())).unwrap();
        listed
            .items
            .into_iter()
            .map(|lease| (lease.metadata.name.unwrap(), lease.data["spec"].clone()))
            .collect()
    }

    /// The revision of a lease's last write.
    pub fn revision(&self, name: &str) -> u64 {
        let read = self.wait(self.api("IPLease").get(name)).unwrap();
        read.metadata.resource_version.unwrap().parse().unwrap()
    }

    /// How many addresses are held.
    pub fn held(&self) -> usize {
        self.leases().values().filter(|spec| spec["state"] == "Bound").count()
    }

    /// Starts allocator number so and so, or starts it again.
    pub fn start_allocator(&mut self, number: usize) {
        let folder = self.folder.path().join(format!("a{number}"));
        fs::create_dir_all(&folder).unwrap();
        self.write_kubeconfig(&folder, "tenure-allocator");
        if number == self.allocators.len() {
            let port = free_port();
            let mut text = self.common(&folder);
            let _ = write!(
                text,
                "[allocator]\nlisten = \"127.0.0.1:{port}\"\nname = \"a{number}\"\n[reclaim]\nsweep = \"1s\"\n[nodes]\nlostAfter = \"10s\"\n"
            );
            fs::write(folder.join("tenured.toml"), text).unwrap();
            fs::write(folder.join("port"), port.to_string()).unwrap();
            self.allocators.push(Process { daemon: None, role: "allocator", folder });
        }
        self.allocators[number].launch();
    }

    /// The Node and its lease, and the Pod of its agent with its token.
    pub fn add_node(&mut self, node: &str) {
        let folder = self.folder.path().join(node);
        fs::create_dir_all(&folder).unwrap();
        self.write_kubeconfig(&folder, "tenure-agent");
        let token = self.wait(async {
            let client = self.client();
            create_node(&client, node).await;
            agent_token(&client, node).await
        });
        fs::write(folder.join("token"), token).unwrap();
        let addresses: Vec<_> =
            self.allocators.iter().map(|a| format!("\"127.0.0.1:{}\"", a.port())).collect();
        let mut text = self.common(&folder);
        let _ = write!(
            text,
            "[agent]\nallocators = [{}]\ntoken = \"{}\"\n[cni]\nsocket = \"{}\"\nspool = \"{}\"\n[reclaim]\nsweep = \"1s\"\n",
            addresses.join(", "),
            folder.join("token").display(),
            folder.join("cni.sock").display(),
            folder.join("spool").display(),
        );
        fs::write(folder.join("tenured.toml"), format!("node = \"{node}\"\n{text}")).unwrap();
        self.agents.insert(node.to_owned(), Process { daemon: None, role: "agent", folder });
    }

    /// The kubelet of a node renews its lease.
    pub fn renew(&self, node: &str, count: u64) {
        let api = Api::<DynamicObject>::namespaced_with(
            self.client(),
            "kube-node-lease",
            &ApiResource::from_gvk(&GroupVersionKind::gvk("coordination.k8s.io", "v1", "Lease")),
        );
        let patch = Patch::Merge(json!({"spec": node_lease(node, count)["spec"]}));
        self.wait(api.patch(node, &PatchParams::default(), &patch)).unwrap();
    }

    pub fn start_agent(&mut self, node: &str) {
        let agent = self.agents.get_mut(node).unwrap();
        agent.launch();
        let socket = agent.folder.join("cni.sock");
        until("the agent serves", || {
            agent.check();
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
    }

    /// Waits until the agent is connected to so many allocators.
    pub fn reached(&self, node: &str, allocators: usize) {
        let agent = &self.agents[node];
        until("the agent reaches the allocators", || {
            agent.check();
            let last = agent.log();
            let last = last.lines().rev().find(|line| line.contains("allocators in reach"));
            last.is_some_and(|line| {
                line.contains(&format!("replicas={allocators}")) && line.contains("leader=")
            })
        });
    }

    /// A running pod of a node; answers its uid.
    pub fn pod(&self, node: &str, name: &str) -> String {
        self.pod_with(node, name, json!({}))
    }

    pub fn pod_with(&self, node: &str, name: &str, metadata: Value) -> String {
        let mut pod = json!({
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": node, "automountServiceAccountToken": false,
                     "terminationGracePeriodSeconds": 1,
                     "containers": [{"name": "c", "image": "i"}]},
        });
        crate::lab::merge(&mut pod["metadata"], metadata);
        self.wait(async {
            let pods = Api::<Pod>::namespaced(self.client(), "default");
            let pod = serde_json::from_value(pod).unwrap();
            pods.create(&PostParams::default(), &pod).await.unwrap().metadata.uid.unwrap()
        })
    }

    /// Removes the object at once, as `kubectl delete --force` does.
    pub fn force_delete(&self, name: &str) {
        let pods = Api::<Pod>::namespaced(self.client(), "default");
        self.wait(pods.delete(name, &DeleteParams::default().grace_period(0))).unwrap();
    }

    /// The network configuration of a node's runtime.
    pub fn network(&self, node: &str) -> Value {
        let folder = &self.agents[node].folder;
        json!({
            "cniVersion": "1.1.0", "name": "net", "type": "macvlan",
            "ipam": {"type": "tenure-ipam", "socket": folder.join("cni.sock"), "spool": folder.join("spool"), "waitSeconds": 0},
        })
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

    /// The operator says that the machine is off.
    pub fn fence(&self, node: &str) {
        let taint = json!({"spec": {"taints": [{"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}]}});
        let nodes = Api::<k8s_openapi::api::core::v1::Node>::all(self.client());
        self.wait(nodes.patch(node, &PatchParams::default(), &Patch::Merge(taint))).unwrap();
    }

    /// The Node object is deleted and made again, with another uid.
    pub fn remake_node(&self, node: &str) {
        let nodes = Api::<k8s_openapi::api::core::v1::Node>::all(self.client());
        self.wait(nodes.delete(node, &DeleteParams::default().grace_period(0))).unwrap();
        self.wait(async { create_node(&self.client(), node).await });
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

    /// The container of a pod ends, and nobody tells.
    pub fn end(&self, pod: &str) {
        crate::lab::ip(&["netns", "del", pod]);
    }

    /// How many requests about leases the API server has counted, by verb.
    pub fn counted(&self, verb: &str) -> u64 {
        let request = http::Request::get("/metrics").body(Vec::new()).unwrap();
        let text = self.wait(self.client().request_text(request)).unwrap();
        let is_it = |line: &&str| {
            line.starts_with("apiserver_request_total{")
                && line.contains("resource=\"ipleases\"")
                && line.contains(&format!("verb=\"{verb}\""))
        };
        let number = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64;
        text.lines().filter(is_it).map(number).sum()
    }

    /// The allocator that leads, by the word of the API.
    pub fn leader(&self) -> usize {
        let mut found = None;
        until("somebody leads", || {
            let leases = Api::<k8s_openapi::api::coordination::v1::Lease>::namespaced(
                self.client(),
                NAMESPACE,
            );
            let holder = self
                .wait(leases.get_opt("tenure-allocator"))
                .unwrap()
                .and_then(|lease| lease.spec?.holder_identity);
            let number =
                holder.and_then(|name| name.strip_prefix('a')?.split('-').next()?.parse().ok());
            found = number.filter(|number: &usize| {
                self.allocators.get(*number).is_some_and(|a| a.daemon.is_some())
            });
            found.is_some()
        });
        found.unwrap()
    }

    /// With just the rights of a service account.
    fn write_kubeconfig(&self, folder: &Path, account: &str) {
        let config = self.world().server.kubeconfig(account);
        fs::write(folder.join("kubeconfig"), config.to_string()).unwrap();
    }

    fn common(&self, folder: &Path) -> String {
        format!(
            "stateDir = \"{0}/state\"\npolicyDir = \"{1}\"\n[admin]\nsocket = \"{0}/admin.sock\"\n[cluster]\nkubeconfig = \"{0}/kubeconfig\"\n",
            folder.display(),
            policies().display(),
        )
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for process in self.allocators.iter().chain(self.agents.values()) {
                eprintln!("--- {}\n{}", process.folder.display(), process.last());
            }
        }
        self.allocators.clear();
        self.agents.clear();
        for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
            let _ = rustix::mount::unmount(entry.path(), rustix::mount::UnmountFlags::DETACH);
            let _ = fs::remove_file(entry.path());
        }
    }
}

// === impl Process ===

impl Process {
    pub fn launch(&mut self) {
        let arguments = [self.role.to_owned(), "--config".to_owned(), self.path("tenured.toml")];
        let program = Path::new(env!("CARGO_BIN_EXE_tenured"));
        self.daemon = Some(Daemon::start(program, &arguments, &self.folder.join("log")));
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.daemon = None;
    }

    pub fn check(&self) {
        let runs = self.daemon.as_ref().is_some_and(Daemon::is_running);
        assert!(runs, "{} ended:\n{}", self.folder.display(), self.last());
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn last(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// What the admin API answers.
    pub fn admin(&self, path: &str) -> String {
        crate::lab::http(&self.folder.join("admin.sock"), "GET", path, "").1
    }

    fn port(&self) -> String {
        fs::read_to_string(self.folder.join("port")).unwrap()
    }
}

impl Call {
    /// Lets an ADD wait for an address, or for an allocator.
    pub fn waiting(mut self, seconds: u64) -> Self {
        self.network["ipam"]["waitSeconds"] = json!(seconds);
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
}

/// Waits as long as `until` does, and says how long it took.
pub fn time_until(what: &str, done: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    until(what, done);
    began.elapsed()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Throws away what the test before has left.
async fn empty(client: &Client, allocator: Client) {
    let all = (DeleteParams::default().grace_period(0), ListParams::default());
    for kind in ["IPPool", "IPReservation", "IPAMPolicy", "IPLease"] {
        let api = Api::<DynamicObject>::all_with(allocator.clone(), &resource(kind));
        for object in api.list(&ListParams::default()).await.unwrap() {
            let name = object.metadata.name.unwrap();
            if kind != "IPLease" {
                let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
                let _ = api.patch(&name, &PatchParams::default(), &free).await;
            }
            api.delete(&name, &DeleteParams::default()).await.unwrap();
        }
    }
    for namespace in ["default", NAMESPACE] {
        let pods = Api::<Pod>::namespaced(client.clone(), namespace);
        pods.delete_collection(&all.0, &all.1).await.unwrap();
    }
    let nodes = Api::<k8s_openapi::api::core::v1::Node>::all(client.clone());
    nodes.delete_collection(&all.0, &all.1).await.unwrap();
    for namespace in ["kube-node-lease", NAMESPACE] {
        let leases =
            Api::<k8s_openapi::api::coordination::v1::Lease>::namespaced(client.clone(), namespace);
        leases.delete_collection(&all.0, &all.1).await.unwrap();
    }
    let maps = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    for map in ["tenure-store", "tenure-fences"] {
        let _ = maps.delete(map, &DeleteParams::default()).await;
    }
}
