//! The agents of all nodes, in this process.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tenure_core::lease::{Attachment, NodeRef, Owner, OwnerKind};
use tenure_core::name::{ContainerId, Digest, IfName, NetworkName};
use tenure_engine::{AddRequest, Caller, DelRequest, NetnsRef, Verbs as _};
use tenure_kube::TrustBundle;
use tenure_lab::cluster;
use tenure_link::agent::{Agent, BoxFuture, Dial, Options, Ports, Stream};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::kernel::PlayedKernel;
use crate::cluster::pods::Pod;
use crate::cluster::world::{ALLOCATORS, World};
use crate::site::SystemClock;

/// As an agent waits where its configuration does not say.
const ADD_WAIT: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(120);
/// In memory in the sandbox of `cargo xtask`: each node has a disk of its own, and the one here is etcd's.
const FOLDER: &str = "/run/tenure-scale";

/// The agents, by the number of their node.
pub(crate) struct Fleet {
    nodes: Vec<Node>,
}

struct Node {
    agent: Agent,
    kernel: Arc<PlayedKernel>,
}

/// The way of one agent to the allocators.
struct Way {
    replicas: Vec<SocketAddr>,
    bundle: Arc<TrustBundle>,
    token: String,
}

impl Dial for Way {
    fn replicas(&self) -> BoxFuture<'_, io::Result<Vec<SocketAddr>>> {
        Box::pin(async { Ok(self.replicas.clone()) })
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let stream = TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            let connector = TlsConnector::from(self.bundle.client_config());
            let secured = connector.connect(self.bundle.server_name(), stream).await?;
            Ok(Box::new(secured) as Box<dyn Stream>)
        })
    }

    fn token(&self) -> io::Result<Option<String>> {
        Ok(Some(self.token.clone()))
    }
}

// === impl Fleet ===

impl Fleet {
    /// Starts them all, and waits until each knows all allocators and which one leads.
    pub(crate) fn start(world: &World) -> Self {
        let (client, file) = (world.client(), world.folder.join("ca.crt"));
        std::fs::write(&file, world.bundle()).unwrap();
        let ports = world.allocators.iter().map(|allocator| allocator.port().parse().unwrap());
        let replicas: Vec<_> =
            ports.map(|port: u16| SocketAddr::from(([127, 0, 0, 1], port))).collect();
        let nodes = world.runtime.block_on(async {
            let bundle = Arc::new(TrustBundle::from_file(file).await.unwrap());
            let mut nodes = Vec::new();
            for name in &world.nodes {
                cluster::create_node(&client, name).await;
                let token = cluster::agent_token(&client, name).await;
                let way = Way { replicas: replicas.clone(), bundle: bundle.clone(), token };
                nodes.push(Node::start(name, way));
            }
            nodes
        });
        let this = Self { nodes };
        this.until_connected(true);
        this
    }

    /// Waits until each agent has a connection to each allocator, and knows which one leads where that is wanted.
    pub(crate) fn until_connected(&self, leads: bool) {
        let deadline = Instant::now() + PATIENCE;
        for node in &self.nodes {
            loop {
                let views = node.agent.links().views();
                if views.len() == ALLOCATORS && (!leads || views.iter().any(|view| view.leads)) {
                    break;
                }
                assert!(Instant::now() < deadline, "no agent came to know its leader: {views:?}");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// The port of the allocator that leads.
    pub(crate) fn leader(&self) -> Option<u16> {
        let views = self.nodes[0].agent.links().views();
        views.into_iter().find(|view| view.leads).map(|view| view.address.port())
    }

    /// The ADD of a pod; what was wrong if it failed.
    pub(crate) async fn add(&self, pod: &Pod) -> Result<(), String> {
        let request = AddRequest {
            attachment: attachment(pod),
            caller: Caller::Here { netns: Some(NetnsRef { path: room(pod), file: None }) },
            owner: Owner {
                kind: OwnerKind::Pod,
                namespace: "default".into(),
                name: pod.name.as_str().into(),
                uid: pod.uid.as_str().into(),
            },
            facts: None,
            attributes: Default::default(),
            pools: Vec::new(),
            fixed: Vec::new(),
            config: Digest::of(b"scale"),
            wait: ADD_WAIT,
            link: None,
        };
        let answer = self.nodes[pod.node].agent.add(request).await;
        answer.map(drop).map_err(|error| format!("ADD of {}: {error}", pod.name))
    }

    /// The DEL of a pod, and the end of its namespace, of which its node tells.
    pub(crate) async fn del(&self, pod: &Pod) -> Result<(), String> {
        let node = &self.nodes[pod.node];
        let answer = node.agent.del(DelRequest::of(attachment(pod))).await;
        node.kernel.end(&room(pod));
        node.agent.note_end();
        answer.map_err(|error| format!("DEL of {}: {error}", pod.name))
    }
}

// === impl Node ===

impl Node {
    fn start(name: &str, way: Way) -> Self {
        let kernel = Arc::new(PlayedKernel::default());
        let ports = Ports {
            dial: Arc::new(way),
            kernel: kernel.clone(),
            wire: None,
            clock: Arc::new(SystemClock::default()),
        };
        let node = NodeRef {
            name: name.into(),
            uid: "".into(),
            agent: format!("agent-of-{name}/machine").into(),
            boot: format!("boot-of-{name}").into(),
        };
        let folder = Path::new(FOLDER).join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let agent = Agent::start(ports, Options::new(node), &folder).unwrap();
        Self { agent, kernel }
    }
}

fn attachment(pod: &Pod) -> Attachment {
    Attachment {
        network: NetworkName::new("net").unwrap(),
        container: ContainerId::new(&pod.container).unwrap(),
        ifname: IfName::new("eth0").unwrap(),
    }
}

fn room(pod: &Pod) -> PathBuf {
    Path::new("/run/netns").join(&pod.container)
}
