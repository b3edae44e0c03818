//! What stands between one client and the API server: it carries bytes, until the test says that nothing comes through.

use kube::Config;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A relay before an API server.
pub(crate) struct Relay {
    port: u16,
    is_frozen: watch::Sender<bool>,
}

// === impl Relay ===

impl Relay {
    /// Carries bytes to where this configuration goes.
    pub(crate) async fn before(config: &Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let far = config.cluster_url.port_u16().unwrap();
        let (is_frozen, frozen) = watch::channel(false);
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                tokio::spawn(carry(near, far, frozen.clone()));
            }
        });
        Self { port, is_frozen }
    }

    /// The same configuration, through here.
    pub(crate) fn through(&self, mut config: Config) -> Config {
        config.cluster_url = format!("https://127.0.0.1:{}", self.port).parse().unwrap();
        config
    }

    /// Nothing comes through any more, and nobody is told: connections stay open, and new ones are taken.
    pub(crate) fn freeze(&self) {
        self.is_frozen.send_replace(true);
    }

    /// What was frozen breaks, and new connections are carried.
    pub(crate) fn thaw(&self) {
        self.is_frozen.send_replace(false);
    }
}

async fn carry(mut near: TcpStream, far: u16, mut frozen: watch::Receiver<bool>) {
    if !*frozen.borrow_and_update() {
        let mut far = TcpStream::connect(("127.0.0.1", far)).await.unwrap();
        tokio::select! {
            _ = copy_bidirectional(&mut near, &mut far) => return,
            _ = frozen.wait_for(|it| *it) => {}
        }
    }
    let _ = frozen.wait_for(|it| !*it).await;
}
