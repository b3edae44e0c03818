//! What stands between a client and the API server where the network fails: bytes pass, or none do.

use std::sync::Arc;

use kube::{Client, Config};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A gate in front of an API server.
pub(crate) struct Gate {
    config: Config,
    passage: Arc<watch::Sender<Passage>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Passage {
    /// Connections of a lower number are meant.
    number: u64,
    /// Nothing passes on these any more, while they stay open; else they are closed.
    is_frozen: bool,
    /// No others are let in.
    is_shut: bool,
}

// === impl Gate ===

impl Gate {
    pub(crate) async fn before(mut config: Config) -> Self {
        let server = config.cluster_url.port_u16().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        config.cluster_url = format!("https://127.0.0.1:{port}").parse().unwrap();
        let passage = Arc::new(watch::Sender::default());
        tokio::spawn(accept(listener, server, passage.clone()));
        Self { config, passage }
    }

    /// A client that comes through here.
    pub(crate) fn client(&self) -> Client {
        Client::try_from(self.config.clone()).unwrap()
    }

    /// The server is away: connections break, and no others are let in.
    pub(crate) fn shut(&self) {
        self.change(false, true);
    }

    pub(crate) fn open(&self) {
        self.change(false, false);
    }

    /// Nothing passes any more on connections that are open. Others are let in.
    pub(crate) fn freeze(&self) {
        self.change(true, false);
    }

    fn change(&self, is_frozen: bool, is_shut: bool) {
        self.passage.send_modify(|passage| {
            *passage = Passage { number: passage.number + 1, is_frozen, is_shut };
        });
    }
}

async fn accept(listener: TcpListener, server: u16, passage: Arc<watch::Sender<Passage>>) {
    loop {
        let (near, _) = listener.accept().await.unwrap();
        tokio::spawn(pass(near, server, passage.subscribe()));
    }
}

async fn pass(mut near: TcpStream, server: u16, mut passage: watch::Receiver<Passage>) {
    let Passage { number, is_shut, .. } = *passage.borrow();
    if is_shut {
        return;
    }
    let mut far = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
    let is_cut = async {
        let meant = passage.wait_for(|passage| passage.number > number).await;
        meant.is_ok_and(|passage| passage.is_frozen)
    };
    let is_frozen = tokio::select! {
        is_frozen = is_cut => is_frozen,
        _ = copy_bidirectional(&mut near, &mut far) => false,
    };
    if is_frozen {
        // Both ends stay open until the test is over.
        std::future::pending::<()>().await;
    }
}
