//! The allocators' CA: who makes it, who trusts it, and how one follows another.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ServerConfig};
use serde_json::json;
use tenure_core::time::{Clock as _, WallMs};
use tenure_kube::{
    Authority, AuthorityError, AuthorityOptions, SERVER_NAME, ServingFiles, TrustBundle, TrustError,
};
use tenure_lab::{Fate, Front, Relay};
use tenure_sim::HandClock;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::lab::Lab;

const NAME: &str = "tenure-allocator-ca";
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A namespace with no CA in it, and the time there.
struct Place {
    client: Client,
    namespace: &'static str,
    clock: Arc<HandClock>,
}

#[derive(Debug)]
struct Time(Arc<HandClock>);

// === impl Place ===

impl Place {
    async fn new(lab: &Lab, namespace: &'static str) -> Self {
        let object = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
        let namespaces = Api::<Namespace>::all(lab.client());
        // It is there already where the tests are run twice in one process.
        let _ = namespaces.create(&PostParams::default(), &object).await;
        Self { client: lab.client(), namespace, clock: Arc::default() }
    }

    fn options(&self) -> AuthorityOptions {
        AuthorityOptions {
            ca_life: DAY * 90,
            leaf_life: DAY * 9,
            ..AuthorityOptions::new(self.namespace, self.clock.clone())
        }
    }

    async fn authority(&self) -> Arc<Authority> {
        Authority::open(self.client.clone(), self.options()).await.unwrap()
    }

    async fn trust(&self) -> TrustBundle {
        TrustBundle::open(self.client.clone(), self.namespace).await.unwrap()
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    async fn bundle(&self) -> String {
        self.maps().get(NAME).await.unwrap().data.unwrap().remove("ca.crt").unwrap()
    }

    /// The bundle's configuration at the time of this place.
    fn client_of(&self, trust: &TrustBundle) -> Arc<ClientConfig> {
        let mut config = (*trust.client_config()).clone();
        config.time_provider = Arc::new(Time(self.clock.clone()));
        Arc::new(config)
    }
}

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let WallMs(ms) = self.0.wall();
        Some(UnixTime::since_unix_epoch(Duration::from_millis(ms)))
    }
}

/// Meets, and answers the protocol that both then speak.
async fn meet(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<Vec<u8>, std::io::Error> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (acceptor, connector) = (TlsAcceptor::from(server), TlsConnector::from(client));
    let (accepted, connected) = tokio::join!(acceptor.accept(far), connector.connect(name, near));
    let connected = connected?;
    accepted?;
    Ok(connected.get_ref().1.alpn_protocol().unwrap_or_default().to_vec())
}

fn name() -> ServerName<'static> {
    SERVER_NAME.try_into().unwrap()
}

fn number(bundle: &str) -> usize {
    bundle.matches("BEGIN CERTIFICATE").count()
}

fn first(bundle: &str) -> &str {
    bundle.split_inclusive("-----END CERTIFICATE-----").next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_at_once_agree_on_one_ca() {
    let lab = Lab::default();
    let place = Place::new(&lab, "trust-at-once").await;
    let (one, two) = tokio::join!(place.authority(), place.authority());
    let bundle = place.bundle().await;
    assert_eq!(number(&bundle), 1);
    let trust = place.trust().await;
    for authority in [one, two] {
        let met = meet(authority.server_config(), place.client_of(&trust), trust.server_name());
        assert_eq!(met.await.unwrap(), b"h2");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_starts_later_takes_the_ca_that_is_there() {
    let lab = Lab::default();
    let place = Place::new(&lab, "trust-later").await;
    place.authority().await;
    let (secret, bundle) = (place.secrets().get(NAME).await.unwrap(), place.bundle().await);
    let later = place.authority().await;
    assert_eq!(place.secrets().get(NAME).await.unwrap(), secret);
    assert_eq!(place.bundle().await, bundle);
    let trust = place.trust().await;
    meet(later.server_config(), place.client_of(&trust), name()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_another_ca_is_refused() {
    let lab = Lab::default();
    let (ours, theirs) =
        (Place::new(&lab, "trust-ours").await, Place::new(&lab, "trust-theirs").await);
    let (ours_served, _theirs_served) = (ours.authority().await, theirs.authority().await);
    let trust = theirs.trust().await;
    let met = meet(ours_served.server_config(), theirs.client_of(&trust), name()).await;
    assert!(met.unwrap_err().to_string().contains("UnknownIssuer"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_before_the_first_allocator_is_told_that_there_is_no_bundle() {
    let lab = Lab::default();
    let place = Place::new(&lab, "trust-nobody").await;
    let opened = TrustBundle::open(place.client.clone(), place.namespace).await;
    assert!(matches!(opened, Err(TrustError::Absent { .. })), "{opened:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_is_refused_while_one_ca_follows_another() {
    const TICK: Duration = Duration::from_secs(12 * 3600);
    let lab = Lab::default();
    let place = Place::new(&lab, "trust-rotation").await;
    let replicas = [place.authority().await, place.authority().await];
    let trust = place.trust().await;
    // Those that were read less than an overlap ago, oldest first.
    let mut read = VecDeque::from([place.client_of(&trust)]);
    let mut cas = vec![first(&place.bundle().await).to_owned()];
    for tick in 0..500 {
        place.clock.pass(TICK);
        for (n, replica) in replicas.iter().enumerate() {
            // The second one looks late.
            if n == 0 || tick % 5 == 0 {
                replica.look().await.unwrap();
            }
            for client in &read {
                for replica in &replicas {
                    let met = meet(replica.server_config(), client.clone(), name()).await;
                    assert!(met.is_ok(), "tick {tick}, after a look of {n}: {met:?}");
                }
            }
        }
        if trust.refresh().await.unwrap() {
            let bundle = place.bundle().await;
            assert!(number(&bundle) <= 2, "{bundle}");
            cas.extend((cas.last().unwrap() != first(&bundle)).then(|| first(&bundle).to_owned()));
        }
        read.push_back(place.client_of(&trust));
        for replica in &replicas {
            meet(replica.server_config(), read.back().unwrap().clone(), name()).await.unwrap();
        }
        if read.len() > (DAY.as_secs() / TICK.as_secs()) as usize {
            read.pop_front();
        }
    }
    assert!(cas.len() >= 4, "{} CAs in 250 days", cas.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_slow_does_not_take_the_next_ca_out_of_the_bundle() {
    let lab = Lab::default();
    let place = Place::new(&lab, "trust-slow").await;
    let front = Front::before_those(lab.config(), NAME).await;
    let through = Client::try_from(front.config()).unwrap();
    let options = AuthorityOptions { call_deadline: DAY, ..place.options() };
    let slow = Authority::open(through, options).await.unwrap();
    let quick = place.authority().await;
    let former = place.bundle().await;
    // Between its two readings the other one goes on.
    let (pass, passes) = oneshot::channel();
    pass.send(()).unwrap();
    let (go, held) = oneshot::channel();
    front.next(Method::GET, [passes, held].map(Fate::Held));
    let before = front.seen(&Method::GET);
    let looking = tokio::spawn({
        let slow = slow.clone();
        async move { slow.look().await }
    });
    while front.seen(&Method::GET) < before + 2 {
        tokio::task::yield_now().await;
    }
    place.clock.pass(DAY * 60);
    quick.look().await.unwrap();
    let next = place.bundle().await;
    assert_eq!(number(&next), 2);
    let version = place.maps().get(NAME).await.unwrap().metadata.resource_version;
    place.clock.pass(HOUR);
    go.send(()).unwrap();
    looking.await.unwrap().unwrap();
    assert_eq!(place.bundle().await, next);
    assert!(next.ends_with(&former));
    assert_eq!(place.maps().get(NAME).await.unwrap().metadata.resource_version, version);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeping_renews_the_leaf_by_itself() {
    let lab = Lab::default();
    let place = Place::new(&lab, "trust-keep").await;
    let options = AuthorityOptions { look_every: Duration::from_millis(50), ..place.options() };
    let authority = Authority::open(place.client.clone(), options).await.unwrap();
    let (before, keeper) = (authority.serves_until(), authority.clone());
    let kept = tokio::spawn(async move { keeper.keep().await });
    place.clock.pass(DAY * 6);
    let renewed = async {
        while authority.serves_until() == before {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), renewed).await.unwrap();
    assert_eq!(authority.serves_until().0 - before.0, (DAY * 6).as_millis() as u64);
    kept.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaf_is_renewed_while_the_api_server_is_away() {
    let lab = Lab::default();
    let place = Place::new(&lab, "trust-away").await;
    let relay = Relay::before(&lab.config()).await;
    let through = Client::try_from(relay.through(lab.config())).unwrap();
    let options = AuthorityOptions { call_deadline: Duration::from_millis(500), ..place.options() };
    let authority = Authority::open(through, options).await.unwrap();
    let before = authority.serves_until();
    relay.freeze();
    place.clock.pass(DAY * 6);
    let looked = authority.look().await;
    assert!(matches!(looked, Err(AuthorityError::Call { .. })), "{looked:?}");
    assert!(authority.serves_until() > before);
    let trust = place.trust().await;
    meet(authority.server_config(), place.client_of(&trust), name()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_was_changed_or_deleted_is_shown_again() {
    let lab = Lab::default();
    let place = Place::new(&lab, "trust-shown").await;
    let authority = place.authority().await;
    let bundle = place.bundle().await;
    let foreign = Patch::Merge(json!({"data": {"ca.crt": "of somebody else"}}));
    place.maps().patch(NAME, &PatchParams::default(), &foreign).await.unwrap();
    authority.look().await.unwrap();
    assert_eq!(place.bundle().await, bundle);
    place.maps().delete(NAME, &DeleteParams::default()).await.unwrap();
    authority.look().await.unwrap();
    assert_eq!(place.bundle().await, bundle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_was_deleted_is_followed_by_another_ca() {
    let lab = Lab::default();
    let place = Place::new(&lab, "trust-thrown-away").await;
    let authority = place.authority().await;
    let trust = place.trust().await;
    let former = place.client_of(&trust);
    place.secrets().delete(NAME, &DeleteParams::default()).await.unwrap();
    authority.look().await.unwrap();
    assert!(meet(authority.server_config(), former, name()).await.is_err(), "it is thrown away");
    assert!(trust.refresh().await.unwrap());
    meet(authority.server_config(), place.client_of(&trust), name()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_not_written_over() {
    let lab = Lab::default();
    let place = Place::new(&lab, "trust-unreadable").await;
    let authority = place.authority().await;
    let garbage = Patch::Merge(json!({"stringData": {"tls.key": "nothing"}}));
    place.secrets().patch(NAME, &PatchParams::default(), &garbage).await.unwrap();
    let before = place.secrets().get(NAME).await.unwrap();
    let looked = authority.look().await;
    assert!(matches!(looked, Err(AuthorityError::Unreadable { .. })), "{looked:?}");
    assert_eq!(place.secrets().get(NAME).await.unwrap(), before);
    let trust = place.trust().await;
    meet(authority.server_config(), place.client_of(&trust), name()).await.unwrap();
}

/// What cert-manager would write: a certificate for these names, with its key and its CA.
fn issued(names: &[&str]) -> [String; 3] {
    let mut ca = rcgen::CertificateParams::default();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let root = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    [leaf.pem(), key.serialize_pem(), root]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_served_and_followed_and_no_ca_is_made() {
    let lab = Lab::default();
    let place = Place::new(&lab, "trust-files").await;
    let folder = tempfile::tempdir().unwrap();
    let [cert, key, ca] = ["tls.crt", "tls.key", "ca.crt"].map(|file| folder.path().join(file));
    let write = |[c, k, a]: &[String; 3]| {
        for (path, text) in [(&cert, c), (&key, k), (&ca, a)] {
            std::fs::write(path, text).unwrap();
        }
    };
    let issue = issued(&[SERVER_NAME]);
    write(&issue);
    let files = ServingFiles { cert: cert.clone(), key: key.clone() };
    let options = AuthorityOptions { serving_files: Some(files), ..place.options() };
    let authority = Authority::open(place.client.clone(), options.clone()).await.unwrap();
    let trust = TrustBundle::from_file(&ca).await.unwrap();
    let met = meet(authority.server_config(), place.client_of(&trust), name());
    assert_eq!(met.await.unwrap(), b"h2");

    let [other_cert, ..] = issued(&[SERVER_NAME]);
    std::fs::write(&cert, other_cert).unwrap();
    let half = authority.look().await;
    assert!(matches!(half, Err(AuthorityError::Unreadable { .. })), "{half:?}");
    meet(authority.server_config(), place.client_of(&trust), name()).await.unwrap();

    write(&issued(&[SERVER_NAME]));
    authority.look().await.unwrap();
    assert!(trust.refresh().await.unwrap());
    meet(authority.server_config(), place.client_of(&trust), name()).await.unwrap();

    write(&issued(&["another-name"]));
    let named = Authority::open(place.client.clone(), options).await.unwrap_err();
    assert!(named.to_string().contains(SERVER_NAME), "{named}");
    assert!(place.secrets().get_opt(NAME).await.unwrap().is_none());
    assert!(place.maps().get_opt(NAME).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overlap_that_does_not_fit_is_refused() {
    let lab = Lab::default();
    let place = Place::new(&lab, "trust-options").await;
    let options = AuthorityOptions { overlap: DAY * 30, ..place.options() };
    let opened = Authority::open(place.client.clone(), options).await;
    assert!(matches!(opened, Err(AuthorityError::Options(_))), "{opened:?}");
    let options = AuthorityOptions { overlap: DAY * 30 - HOUR, ..place.options() };
    Authority::open(place.client.clone(), options).await.unwrap();
}
