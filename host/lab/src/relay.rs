//! What stands between one client and one server: it carries bytes, until the test says that nothing comes through.

use kube::Config;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A cable that can be cut.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    is_frozen: watch::Sender<bool>,
}

// === impl Relay ===

impl Relay {
    /// Carries bytes to a port of loopback.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn to(far: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (is_frozen, frozen) = watch::channel(false);
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                tokio::spawn(carry(near, far, frozen.clone()));
            }
        });
        Self { port, is_frozen }
    }

    /// Carries bytes to where this configuration goes.
    ///
    /// # Panics
    /// If it names no port.
    pub async fn before(config: &Config) -> Self {
        Self::to(config.cluster_url.port_u16().unwrap()).await
    }

    /// The same configuration, through here.
    ///
    /// # Panics
    /// Never: the address is well formed.
    #[must_use]
    pub fn through(&self, mut config: Config) -> Config {
        config.cluster_url = format!("https://127.0.0.1:{}", self.port).parse().unwrap();
        config
    }

    /// Where it listens on loopback.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Nothing comes through any more, and nobody is told: connections stay open, and new ones are taken.
    pub fn freeze(&self) {
        self.is_frozen.send_replace(true);
    }

    /// What was frozen breaks, and new connections are carried.
    pub fn thaw(&self) {
        self.is_frozen.send_replace(false);
    }
}

async fn carry(mut near: TcpStream, far: u16, mut frozen: watch::Receiver<bool>) {
    if !*frozen.borrow_and_update() {
        // Nobody listens there for the moment.
        let Ok(mut far) = TcpStream::connect(("127.0.0.1", far)).await else { return };
        tokio::select! {
            _ = copy_bidirectional(&mut near, &mut far) => return,
            _ = frozen.wait_for(|it| *it) => {}
        }
    }
    let _ = frozen.wait_for(|it| !*it).await;
}
