//! A registry: the CNCF's `distribution`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::certificates;
use crate::daemon::{Daemon, Folder};
use crate::tools::tool;

/// It starts in a fraction of a second on a quiet machine.
const READY_WITHIN: Duration = Duration::from_secs(60);
const LOG: &str = "registry.log";
/// The one user of a registry that asks who calls.
const USER: (&str, &str) = ("olga", "opensesame");
/// bcrypt of that password, as `htpasswd -B` writes it; of low cost, for each request checks it.
const HTPASSWD: &str = "olga:$2b$05$abcdefghijklmnopqrstuuQbLfdQZSxZ9gjhA5V9o8Tyc6aQRO0Qi\n";

/// A registry of its own on a free port of loopback, in plain HTTP, empty at first. Dropped, it is killed.
#[derive(Debug)]
pub struct Registry {
    // In this order they are dropped.
    server: Option<Daemon>,
    folder: Folder,
    address: String,
}

// === impl Registry ===

impl Registry {
    /// One that serves everybody.
    ///
    /// # Panics
    /// If the program has not been built, or does not get ready.
    #[must_use]
    pub fn start() -> Self {
        Self::with("")
    }

    /// One that serves only the user of [`Self::user`] (htpasswd, basic authentication).
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn with_password() -> Self {
        Self::with("auth: {htpasswd: {realm: lab, path: FOLDER/htpasswd}}\n")
    }

    /// One that speaks TLS, by a certificate of the CA in [`Self::ca`].
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn with_tls() -> Self {
        Self::with("  tls: {certificate: FOLDER/server.crt, key: FOLDER/server.key}\n")
    }

    /// The file of its CA.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// What it has logged: its own words, and each request.
    ///
    /// # Panics
    /// If the log cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join(LOG)).unwrap()
    }

    /// The file of a blob, for tests that damage it.
    #[must_use]
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let blobs = self.folder.path().join("storage/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Name and password of its user.
    #[must_use]
    pub fn user() -> (&'static str, &'static str) {
        USER
    }

    /// Kills it; what it has stored stays.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Starts it again, at its address.
    ///
    /// # Panics
    /// If it does not get ready.
    pub fn start_again(&mut self) {
        self.server = Some(launch(self.folder.path()).0);
    }

    fn with(more: &str) -> Self {
        let folder = Folder::new();
        let path = folder.path();
        fs::write(path.join("htpasswd"), HTPASSWD).unwrap();
        certificates::make(path);
        let config = |address: &str| {
            let more = more.replace("FOLDER", &path.display().to_string());
            let config = format!(
                "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp:\n  addr: '{address}'\n{more}",
                path.join("storage").display()
            );
            fs::write(path.join("config.yaml"), config).unwrap();
        };
        config("127.0.0.1:0");
        let (server, address) = launch(path);
        // From now on it keeps its port.
        config(&address);
        Self { server: Some(server), folder, address }
    }
}

/// It says where it listens once it does.
fn launch(folder: &Path) -> (Daemon, String) {
    let log = folder.join(LOG);
    fs::write(&log, "").unwrap();
    let config = folder.join("config.yaml");
    let arguments = [Path::new("serve"), config.as_path()];
    let server = Daemon::start(&tool("registry"), &arguments, &log);
    let since = Instant::now();
    loop {
        let text = fs::read_to_string(&log).unwrap();
        let said = text.split_once("listening on ").map(|(_, rest)| rest);
        let address = said.and_then(|rest| rest.split(['"', ' ', ',', '\n']).next());
        // The line may be half written.
        if let Some(address) = address.filter(|_| said.is_some_and(|rest| rest.contains('\n'))) {
            return (server, address.to_owned());
        }
        assert!(server.is_running(), "the registry ended: {}", server.last_words());
        assert!(since.elapsed() < READY_WITHIN, "the registry is silent: {}", server.last_words());
        std::thread::sleep(Duration::from_millis(10));
    }
}
