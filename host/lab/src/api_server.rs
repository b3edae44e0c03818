//! etcd and kube-apiserver.

use std::fs::write;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use kube::{Client, Config};

use crate::certificates;
use crate::daemon::{Daemon, Folder};
use crate::tools::tool;

/// Both start in 5 to 10 s on a quiet machine; two cores that compile beside it take several times that.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// The one token there is: its user may do everything and speak for everybody.
const TOKEN: &str = "lab";

/// How the two are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// etcd does not wait for the disk: faster, and no test about durability or speed may say so.
    pub unsafe_no_fsync: bool,
}

/// An etcd and a kube-apiserver of their own, on free ports of loopback, with everything that they keep below a temporary
/// folder. Dropped, both are killed.
#[derive(Debug)]
pub struct ApiServer {
    // In this order they are dropped: the API server first, the folder last.
    server: Option<Daemon>,
    etcd: Option<Daemon>,
    options: Options,
    ports: Ports,
    ca: Vec<u8>,
    folder: Folder,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    etcd: u16,
    peer: u16,
    api: u16,
}

// === impl ApiServer ===

impl ApiServer {
    /// Starts both and waits until the API server is ready.
    ///
    /// # Panics
    /// If the programs have not been built, or do not get ready.
    pub async fn start(options: Options) -> Self {
        let folder = Folder::new();
        let ca = certificates::make(folder.path());
        write(folder.path().join("tokens.csv"), format!("{TOKEN},lab,lab,system:masters\n"))
            .unwrap();
        let ports = Ports::free();
        let mut this = Self { server: None, etcd: None, options, ports, ca, folder };
        this.start_etcd();
        this.start_server().await;
        this
    }

    /// Where it listens: `127.0.0.1` and a port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.ports.api
    }

    /// The folder of certificates and logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration of a client that may do everything. kube's own retry is off, as in Tenure.
    ///
    /// # Panics
    /// Never: the address is well formed.
    #[must_use]
    pub fn config(&self) -> Config {
        self.config_at(self.ports.api)
    }

    /// The same through something that listens on another port of loopback.
    ///
    /// # Panics
    /// Never: the address is well formed.
    #[must_use]
    pub fn config_at(&self, port: u16) -> Config {
        let mut config = Config::new(format!("https://127.0.0.1:{port}").parse().unwrap());
        config.root_cert = Some(vec![self.ca.clone()]);
        config.auth_info.token = Some(TOKEN.into());
        config.default_retry = false;
        config
    }

    /// A client that may do everything, for the runtime of the caller.
    ///
    /// # Panics
    /// If TLS cannot be set up.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::try_from(self.config()).unwrap()
    }

    /// Kills the API server; etcd lives on.
    pub fn kill_server(&mut self) {
        self.server = None;
    }

    /// The API server's process, to stop it and let it go on.
    #[must_use]
    pub fn server(&self) -> Option<&Daemon> {
        self.server.as_ref()
    }

    /// The process of etcd.
    #[must_use]
    pub fn etcd(&self) -> Option<&Daemon> {
        self.etcd.as_ref()
    }

    /// Kills etcd; what it answered stays on disk.
    pub fn kill_etcd(&mut self) {
        self.etcd = None;
    }

    /// Starts etcd on what it has kept.
    pub fn start_etcd(&mut self) {
        let (Ports { etcd, peer, .. }, data) = (self.ports, self.folder.path().join("etcd"));
        let url = |port| format!("http://127.0.0.1:{port}");
        let mut arguments = vec![
            "--name=lab".to_owned(),
            format!("--data-dir={}", data.display()),
            "--log-level=warn".to_owned(),
            format!("--listen-client-urls={}", url(etcd)),
            format!("--advertise-client-urls={}", url(etcd)),
            format!("--listen-peer-urls={}", url(peer)),
            format!("--initial-advertise-peer-urls={}", url(peer)),
            format!("--initial-cluster=lab={}", url(peer)),
        ];
        if self.options.unsafe_no_fsync {
            arguments.push("--unsafe-no-fsync".to_owned());
        }
        let log = self.folder.path().join("etcd.log");
        self.etcd = Some(Daemon::start(&tool("etcd"), &arguments, &log));
    }

    /// Keeps what etcd holds now, for [`ApiServer::restore`]; both are stopped for it and started again.
    ///
    /// # Panics
    /// If that cannot be copied, or the API server does not get ready.
    pub async fn back_up(&mut self) {
        self.stop_both();
        // What an earlier back-up has left, if there was one.
        let _ = std::fs::remove_dir_all(self.folder.path().join("etcd.kept"));
        self.copy("etcd", "etcd.kept");
        self.start_etcd();
        self.start_server().await;
    }

    /// Puts back what was kept, as an operator does after a loss: what came later is gone, and revisions are given again.
    ///
    /// # Panics
    /// As of [`ApiServer::back_up`].
    pub async fn restore(&mut self) {
        self.stop_both();
        std::fs::remove_dir_all(self.folder.path().join("etcd")).unwrap();
        self.copy("etcd.kept", "etcd");
        self.start_etcd();
        self.start_server().await;
    }

    fn stop_both(&mut self) {
        self.kill_server();
        self.kill_etcd();
    }

    fn copy(&self, from: &str, to: &str) {
        let mut copy = std::process::Command::new("cp");
        copy.arg("-a").args([from, to].map(|name| self.folder.path().join(name)));
        assert!(copy.status().unwrap().success());
    }

    /// Starts the API server and waits until it is ready.
    ///
    /// # Panics
    /// If it does not get ready.
    pub async fn start_server(&mut self) {
        let log = self.folder.path().join("kube-apiserver.log");
        let server = Daemon::start(&tool("kube-apiserver"), &self.arguments(), &log);
        self.server = Some(server);
        let deadline = Instant::now() + READY_WITHIN;
        let client = self.client();
        while !is_ready(&client).await {
            for daemon in self.server.iter().chain(&self.etcd) {
                assert!(daemon.is_running(), "it ended at once: {}", daemon.last_words());
            }
            let words = || self.server.as_ref().map(Daemon::last_words).unwrap_or_default();
            assert!(Instant::now() < deadline, "not ready in {READY_WITHIN:?}: {}", words());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn arguments(&self) -> Vec<String> {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let Ports { etcd, api, .. } = self.ports;
        vec![
            format!("--etcd-servers=http://127.0.0.1:{etcd}"),
            "--bind-address=127.0.0.1".to_owned(),
            // Else it looks for a default route, which a namespace of its own has not.
            "--advertise-address=127.0.0.1".to_owned(),
            "--external-hostname=127.0.0.1".to_owned(),
            format!("--secure-port={api}"),
            // A loopback address may stand in no endpoint, and nothing here looks for one.
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--cert-dir={}", path("certs")),
            format!("--tls-cert-file={}", path("server.crt")),
            format!("--tls-private-key-file={}", path("server.key")),
            format!("--client-ca-file={}", path("ca.crt")),
            format!("--token-auth-file={}", path("tokens.csv")),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", path("accounts.pub")),
            format!("--service-account-signing-key-file={}", path("accounts.key")),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        ]
    }
}

impl Ports {
    /// Below the ports that the kernel gives to outgoing connections (`ip_local_port_range`): one of those would take a
    /// port between its choice and its use. All are held at once while they are chosen, so that they differ.
    fn free() -> Self {
        let held = [(); 3].map(|()| held_low_port());
        let [etcd, peer, api] = held.each_ref().map(|held| held.local_addr().unwrap().port());
        Self { etcd, peer, api }
    }
}

/// A port for a server to be started, below those that the kernel gives to others (see [`Ports::free`]).
#[must_use]
pub fn free_port() -> u16 {
    held_low_port().local_addr().unwrap().port()
}

/// Nobody else gets it while this is kept.
fn held_low_port() -> TcpListener {
    let any = || {
        let port = 16_000 + u16::try_from(getrandom::u32().unwrap() % 16_000).unwrap();
        TcpListener::bind(("127.0.0.1", port)).ok()
    };
    std::iter::repeat_with(any).flatten().next().unwrap()
}

async fn is_ready(client: &Client) -> bool {
    let request = http::Request::get("/readyz").body(Vec::new()).unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(5), client.request_text(request)).await;
    matches!(answer, Ok(Ok(text)) if text == "ok")
}
