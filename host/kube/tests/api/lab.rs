//! A test's turn with an API server, found empty.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::OnceLock;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
};
use kube::core::GroupVersionKind;
use kube::{Api, Client, Config};
use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};
use tenure_kube::{GROUP, KubeOptions, KubeStore, VERSION};
use tenure_lab::{ApiServer, Options};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

pub(crate) const NAMESPACE: &str = "tenure-system";
/// The one user whom the guard lets write leases.
const ALLOCATOR: &str = "system:serviceaccount:tenure-system:tenure-allocator";

/// As many tests run at once, each with servers of its own: most of what they do is wait.
const PLACES: usize = 2;

static SERVERS: [[OnceLock<ApiServer>; 2]; PLACES] =
    [const { [const { OnceLock::new() }; 2] }; PLACES];
static TAKEN: Mutex<[bool; PLACES]> = Mutex::new([false; PLACES]);
static LEFT: Condvar = Condvar::new();

thread_local! {
    /// The turn of the test on this thread.
    static PRESENT: RefCell<Weak<Turn>> = const { RefCell::new(Weak::new()) };
}

/// A test's turn at one of the places; it may take both servers of it.
struct Turn {
    place: usize,
    used: Cell<usize>,
}

/// An API server with Tenure's custom resources and nothing in them.
pub(crate) struct Lab {
    server: &'static ApiServer,
    _turn: Rc<Turn>,
}

/// Waits on the spot for what is asynchronous, from a test of several threads.
pub(crate) fn wait<T>(work: impl Future<Output = T>) -> T {
    block_in_place(|| Handle::current().block_on(work))
}

// === impl Lab ===

impl Default for Lab {
    fn default() -> Self {
        let turn = Turn::present();
        let number = turn.used.replace(turn.used.get() + 1);
        let server = SERVERS[turn.place][number].get_or_init(|| {
            let server = wait(ApiServer::start(Options { unsafe_no_fsync: true }));
            wait(install(&server.client()));
            server
        });
        let this = Self { server, _turn: turn };
        wait(this.empty());
        this
    }
}

impl Lab {
    /// A client that may do everything, except for writing leases.
    pub(crate) fn client(&self) -> Client {
        self.server.client()
    }

    /// The allocator's configuration.
    pub(crate) fn config(&self) -> Config {
        as_allocator(self.server.config())
    }

    pub(crate) fn api(&self, kind: &str) -> Api<DynamicObject> {
        Api::all_with(self.client(), &resource(kind))
    }

    pub(crate) fn leases(&self) -> Api<DynamicObject> {
        let client = Client::try_from(self.config()).unwrap();
        Api::all_with(client, &resource("IPLease"))
    }

    /// The store of this server.
    pub(crate) fn store(&self) -> KubeStore {
        self.store_with(self.config(), options())
    }

    pub(crate) fn store_with(&self, config: Config, options: KubeOptions) -> KubeStore {
        wait(KubeStore::open(config, options)).unwrap()
    }

    /// Requests that the server has counted: by verb, of leases.
    pub(crate) async fn counted(&self, verb: &str) -> u64 {
        self.counted_of("ipleases", verb).await
    }

    /// The same of another resource.
    pub(crate) async fn counted_of(&self, resource: &str, verb: &str) -> u64 {
        let request = http::Request::get("/metrics").body(Vec::new()).unwrap();
        let text = self.client().request_text(request).await.unwrap();
        let is_it = |line: &&str| {
            line.starts_with("apiserver_request_total{")
                && line.contains(&format!("resource=\"{resource}\""))
                && line.contains(&format!("verb=\"{verb}\""))
        };
        let number = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64;
        text.lines().filter(is_it).map(number).sum()
    }

    /// Throws away what the test before has left.
    async fn empty(&self) {
        let all = (DeleteParams::default(), ListParams::default());
        self.leases().delete_collection(&all.0, &all.1).await.unwrap();
        for kind in ["IPPool", "IPReservation", "IPAMPolicy"] {
            let api = self.api(kind);
            for object in api.list(&ListParams::default()).await.unwrap() {
                let name = object.metadata.name.unwrap();
                let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
                let _ = api.patch(&name, &PatchParams::default(), &free).await;
            }
            api.delete_collection(&all.0, &all.1).await.unwrap();
        }
        let maps = Api::<ConfigMap>::namespaced(self.client(), NAMESPACE);
        let _ = maps.delete("tenure-store", &DeleteParams::default()).await;
    }
}

impl Turn {
    fn present() -> Rc<Self> {
        PRESENT.with_borrow_mut(|present| {
            present.upgrade().unwrap_or_else(|| {
                let turn = Rc::new(Self { place: Self::free_place(), used: Cell::new(0) });
                *present = Rc::downgrade(&turn);
                turn
            })
        })
    }

    /// Waits until one is free, and takes it.
    fn free_place() -> usize {
        let mut taken = TAKEN.lock();
        loop {
            if let Some(place) = taken.iter().position(|taken| !taken) {
                taken[place] = true;
                return place;
            }
            LEFT.wait(&mut taken);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TAKEN.lock()[self.place] = false;
        LEFT.notify_one();
    }
}

pub(crate) fn as_allocator(mut config: Config) -> Config {
    config.auth_info.impersonate = Some(ALLOCATOR.to_owned());
    config.auth_info.impersonate_groups = Some(vec!["system:masters".to_owned()]);
    config
}

pub(crate) fn options() -> KubeOptions {
    KubeOptions { namespace: NAMESPACE.to_owned(), ..KubeOptions::default() }
}

pub(crate) fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, VERSION, kind))
}

/// Applies the manifests, and waits until they are in force.
pub(crate) async fn install(client: &Client) {
    let namespaces = Api::<Namespace>::all(client.clone());
    let namespace: Namespace =
        serde_json::from_value(json!({"metadata": {"name": NAMESPACE}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    for (name, manifest) in tenure_kube::manifests().unwrap() {
        let api = Api::<DynamicObject>::all_with(client.clone(), &resource_of(&manifest));
        let object: DynamicObject = serde_json::from_value(manifest).unwrap();
        api.create(&PostParams::default(), &object)
            .await
            .unwrap_or_else(|error| panic!("{name} was refused: {error}"));
    }
    for kind in ["IPPool", "IPReservation", "IPAMPolicy", "IPLease"] {
        let api = Api::<DynamicObject>::all_with(client.clone(), &resource(kind));
        until(async || api.list(&ListParams::default()).await.is_ok()).await;
    }
    // The guard is in force once it refuses a lease of anybody else: before its schema is looked at, so any text will do.
    let leases = Api::<DynamicObject>::all_with(client.clone(), &resource("IPLease"));
    let mut probe = DynamicObject::new("10.255.255.255", &resource("IPLease"));
    let sample = tenure_store::contract::samples::lease("10.255.255.255");
    probe.data = json!({"spec": tenure_kube::LeaseSpec::from(&sample)});
    let dry = PostParams { dry_run: true, field_manager: None };
    until(async || {
        let answer = leases.create(&dry, &probe).await;
        matches!(answer, Err(kube::Error::Api(status)) if status.code == 403)
    })
    .await;
}

fn resource_of(manifest: &Value) -> ApiResource {
    let text = |key: &str| manifest[key].as_str().unwrap();
    let (group, version) = text("apiVersion").split_once('/').unwrap();
    let kind = text("kind");
    let mut resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    if kind == "ValidatingAdmissionPolicy" {
        resource.plural = "validatingadmissionpolicies".to_owned();
    }
    resource
}

async fn until(condition: impl AsyncFn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "it never came true");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
