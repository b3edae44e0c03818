//! How many leases a second, beside what the API server takes at all, with the disk waited for. Prints a table; run it with
//! `cargo test --release -p tenure-kube --test api -- rate --ignored --nocapture`.

use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::{self, StreamExt as _};
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tenure_kube::{KubeStore, LeaseSpec};
use tenure_lab::{ApiServer, Options};
use tenure_store::contract::samples::nth;
use tenure_store::{Store as _, Write};

use crate::lab::{as_allocator, install, options, resource};

/// Leases of one case, and commits at once.
const LEASES: u16 = 1_000;
const AT_ONCE: [usize; 3] = [1, 8, 32];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes half a minute and only prints"]
async fn creates_and_deletes_a_second() {
    let server = ApiServer::start(Options::default()).await;
    install(&server.client()).await;
    let store = KubeStore::open(as_allocator(server.config()), options()).await.unwrap();
    let store = Arc::new(store);
    let client = Client::try_from(as_allocator(server.config())).unwrap();
    let leases = Api::<DynamicObject>::all_with(client, &resource("IPLease"));
    println!("{:>8} {:>12} {:>12} {:>12}", "at once", "raw POST/s", "creates/s", "deletes/s");
    for at_once in AT_ONCE {
        let begun = Instant::now();
        let raw = async |n| {
            let lease = nth(n);
            let mut object = DynamicObject::new(&lease.address.to_string(), &resource("IPLease"));
            object.data = json!({"spec": LeaseSpec::from(&lease)});
            leases.create(&PostParams::default(), &object).await.map(|_| ())
        };
        let done: Vec<_> = stream::iter(0..LEASES).map(raw).buffered(at_once).collect().await;
        let posted = begun.elapsed();
        assert!(done.iter().all(Result::is_ok));
        let all = (DeleteParams::default(), ListParams::default());
        leases.delete_collection(&all.0, &all.1).await.unwrap();
        let begun = Instant::now();
        let create = |n| store.commit(vec![Write::Create(nth(n))]);
        let revisions: Vec<_> =
            stream::iter(0..LEASES).map(create).buffered(at_once).collect().await;
        let created = begun.elapsed();
        let begun = Instant::now();
        let delete = |(n, expect)| store.commit(vec![Write::Delete { key: nth(n).key(), expect }]);
        let rows = (0..).zip(revisions.into_iter().map(|revisions| revisions.unwrap()[0]));
        let deleted: Vec<_> = stream::iter(rows).map(delete).buffered(at_once).collect().await;
        assert!(deleted.iter().all(Result::is_ok));
        let rate = |time: std::time::Duration| f64::from(LEASES) / time.as_secs_f64();
        let [posted, created, deleted] = [posted, created, begun.elapsed()].map(rate);
        println!("{at_once:>8} {posted:>12.0} {created:>12.0} {deleted:>12.0}");
    }
}
