//! Agents and allocators over loopback: real connections, the real engine over one memory store, and a kernel of the test.

#![allow(dead_code)]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tenure_core::error::Kind;
use tenure_core::lease::{Attachment, NodeRef};
use tenure_core::ports::Kernel;
use tenure_engine::{AddRequest, DelRequest, Engine, EngineVerbs, Facts, Verbs as _};
use tenure_link::agent::{Agent, AgentError, BoxFuture, Dial, Options, Ports, Stream};
use tenure_link::allocator::{self, Accept, Handle, Reception, Service, Sessions};
use tenure_link::messages::{AddCall, Claim, Failure, Hello, StoreMark};
use tenure_sim::{SimStore, Site, attachment};
use tenure_store::Change;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

/// The token of whom the allocators let in.
pub(crate) const TOKEN: &str = "good";

/// A site, its agent, and replicas that share its store.
pub(crate) struct Cluster {
    pub(crate) site: Site,
    pub(crate) way: Arc<Way>,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) agent: Agent,
}

/// One allocator.
pub(crate) struct Replica {
    pub(crate) engine: Arc<Engine>,
    pub(crate) store: Arc<SimStore>,
    /// Tells the engine what others wrote.
    pub(crate) feed: mpsc::Sender<Change>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) doors: Arc<Doors>,
    pub(crate) leader: watch::Sender<Option<String>>,
    pub(crate) address: SocketAddr,
    handle: Option<Handle>,
}

/// Lets in who has the token.
#[derive(Default)]
pub(crate) struct Doors {
    pub(crate) claims: Mutex<Vec<Claim>>,
    pub(crate) overtaken: Mutex<Vec<Attachment>>,
    pub(crate) heard: AtomicU64,
    pub(crate) ended: AtomicU64,
}

/// The way to the replicas.
#[derive(Default)]
pub(crate) struct Way {
    pub(crate) replicas: Mutex<Vec<SocketAddr>>,
    pub(crate) token: Mutex<Option<String>>,
    pub(crate) dialled: AtomicU64,
}

impl Reception for Doors {
    async fn admit(&self, token: Option<&str>, hello: &Hello) -> Result<NodeRef, Failure> {
        match token {
            Some(TOKEN) => Ok(NodeRef { uid: "uid-of-node".into(), ..hello.node.clone() }),
            _ => Err(Failure::new("NOT_ADMITTED", Kind::Refused, "the token is not accepted")),
        }
    }

    async fn overtaken(
        &self,
        _: &Arc<NodeRef>,
        claims: Vec<Claim>,
    ) -> Result<Vec<Attachment>, Failure> {
        self.claims.lock().extend(claims);
        Ok(self.overtaken.lock().clone())
    }

    fn mark(&self) -> Option<StoreMark> {
        None
    }

    fn heard(&self, _: &Arc<NodeRef>) {
        self.heard.fetch_add(1, Ordering::SeqCst);
    }

    fn ended(&self, _: &Arc<NodeRef>) {
        self.ended.fetch_add(1, Ordering::SeqCst);
    }

    async fn introduce(
        &self,
        _: &Arc<NodeRef>,
        _: &mut AddCall,
    ) -> Result<Option<Arc<Facts>>, Failure> {
        Ok(None)
    }
}

impl Dial for Way {
    fn replicas(&self) -> BoxFuture<'_, io::Result<Vec<SocketAddr>>> {
        let replicas = self.replicas.lock().clone();
        Box::pin(async { Ok(replicas) })
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        self.dialled.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let stream = TcpStream::connect(to).await?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }

    fn token(&self) -> io::Result<Option<String>> {
        Ok(self.token.lock().clone())
    }
}

impl Cluster {
    /// So many replicas, of which the first leads, and a pool of four addresses from 10.0.0.1 on.
    pub(crate) async fn new(replicas: usize) -> Self {
        let spec =
            json!({"cidr": "10.0.0.0/24", "ranges": ["10.0.0.1-10.0.0.4"], "cooldown": "0s"});
        let site = Site::new(&[("p", spec)]).await;
        let way = Arc::new(Way::default());
        *way.token.lock() = Some(TOKEN.to_owned());
        let mut all = Vec::new();
        for number in 0..replicas {
            all.push(Replica::start(&site, &format!("r{number}")).await);
        }
        *way.replicas.lock() = all.iter().map(|replica| replica.address).collect();
        let folder = tempfile::tempdir().unwrap();
        let agent = agent(&site, &way, &folder);
        let this = Self { site, way, replicas: all, folder, agent };
        this.lead(Some("r0"));
        this.until(|this| this.agent.links().views().len() == replicas).await;
        this
    }

    /// Every replica hears who leads.
    pub(crate) fn lead(&self, leader: Option<&str>) {
        for replica in &self.replicas {
            replica.leader.send_replace(leader.map(str::to_owned));
        }
    }

    /// Another process of the agent, on the same folder.
    pub(crate) async fn restart_agent(&mut self) {
        self.agent = agent(&self.site, &self.way, &self.folder);
        let wanted = self.replicas.iter().filter(|replica| replica.handle.is_some()).count();
        self.until(|this| this.agent.links().views().len() == wanted).await;
    }

    pub(crate) async fn add(&self, container: &str) -> Result<Vec<IpAddr>, AgentError> {
        let request = AddRequest { wait: Duration::from_secs(5), ..self.site.request(container) };
        let answer = self.agent.add(request).await?;
        Ok(answer.addresses.iter().map(|granted| granted.address.addr()).collect())
    }

    pub(crate) async fn del(&self, container: &str) -> Result<(), AgentError> {
        self.agent.del(DelRequest::of(attachment(container))).await
    }

    /// How many addresses are held, as the first replica reads them from the store.
    pub(crate) fn held(&self) -> usize {
        use tenure_store::Store as _;
        let mut held = 0;
        self.site.store.scan(&mut |row| held += usize::from(row.lease.is_bound())).unwrap();
        held
    }

    /// Waits for what the tasks bring about.
    pub(crate) async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while !condition(self) {
            assert!(tokio::time::Instant::now() < deadline, "it never came true");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The kernel of the agent's node.
    pub(crate) fn kernel(&self) -> &dyn Kernel {
        &*self.site.kernel
    }
}

impl Replica {
    async fn start(site: &Site, name: &str) -> Self {
        let store = site.held_store();
        let feed = store.share();
        let engine = site.engine_over(store.clone(), "boot-1");
        let (sessions, doors) = (Arc::new(Sessions::default()), Arc::new(Doors::default()));
        let (leader, leads) = watch::channel(None);
        let options = allocator::Options::new(([127, 0, 0, 1], 0).into(), name);
        let accept: Accept =
            Arc::new(|stream| Box::pin(async { Ok(Box::new(stream) as Box<dyn Stream>) }));
        let verbs = Arc::new(EngineVerbs::new(engine.clone()));
        let ports = (verbs, doors.clone());
        let service =
            Service::bind(options, ports, sessions.clone(), (accept, leads)).await.unwrap();
        let address = service.address().unwrap();
        let handle = Some(service.start());
        Self { engine, store, feed, sessions, doors, leader, address, handle }
    }

    /// It goes away, with everything that its agents have asked for.
    pub(crate) async fn stop(&mut self) {
        self.handle.take().unwrap().shutdown().await;
    }
}

pub(crate) fn agent(site: &Site, way: &Arc<Way>, folder: &tempfile::TempDir) -> Agent {
    let node = NodeRef {
        name: "n1".into(),
        uid: "".into(),
        agent: "agent-of-n1".into(),
        boot: "boot-1".into(),
    };
    let ports = Ports {
        dial: way.clone(),
        kernel: site.kernel.clone(),
        wire: Some(site.wire.clone()),
        clock: site.clock.clone(),
    };
    let options = Options {
        beat: Duration::from_millis(50),
        look_up: Duration::from_millis(50),
        leader_patience: Duration::from_millis(300),
        ..Options::new(node)
    };
    Agent::start(ports, options, folder.path()).unwrap()
}
