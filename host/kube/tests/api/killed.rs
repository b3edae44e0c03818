//! An API server and an etcd that are killed in the middle of writes, with the disk waited for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tenure_core::lease::{Lease, LeaseKey};
use tenure_kube::{KubeOptions, KubeStore};
use tenure_lab::{ApiServer, Options};
use tenure_store::contract::samples::nth;
use tenure_store::{Revision, Store as _, StoreError, Write};
use tokio::task::JoinSet;

use crate::lab::{as_allocator, install, options};

/// So many are written at once, each address by two writers.
const ADDRESSES: u16 = 60;

type Answer = (LeaseKey, u64, Result<Vec<Revision>, StoreError>);

fn writers(store: &Arc<KubeStore>) -> JoinSet<Answer> {
    let both = (0..ADDRESSES).flat_map(|n| [(n, 1), (n, 2)]);
    both.map(|(n, writer)| {
        let (lease, store) = (Lease { tag: writer, ..nth(n) }, store.clone());
        let key = lease.key();
        async move { (key, writer, store.commit(vec![Write::Create(lease)]).await) }
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_is_known_once_a_killed_server_is_back_and_each_address_has_one_owner() {
    let mut server = ApiServer::start(Options::default()).await;
    install(&server.client()).await;
    let patient = KubeOptions { settle_within: Duration::from_secs(90), ..options() };
    let store = Arc::new(KubeStore::open(as_allocator(server.config()), patient).await.unwrap());
    let mut writers = writers(&store);
    let mut answers = Vec::new();
    while answers.len() < 10 {
        answers.push(writers.join_next().await.unwrap().unwrap());
    }
    server.kill_server();
    server.kill_etcd();
    assert!(answers.len() < usize::from(ADDRESSES) * 2, "it was in the middle");
    server.start_etcd();
    server.start_server().await;
    answers.extend(writers.join_all().await);
    let mut owners: HashMap<LeaseKey, u64> = HashMap::new();
    for (key, writer, answer) in answers {
        match answer {
            Ok(_) => assert_eq!(owners.insert(key, writer), None, "I1: given twice"),
            Err(StoreError::Conflict { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(owners.len(), usize::from(ADDRESSES), "each was given");
    let mut stored = HashMap::new();
    let mut note = |row: tenure_store::Row| {
        stored.insert(row.lease.key(), row.lease.tag);
    };
    store.scan(&mut note).unwrap();
    assert_eq!(stored, owners, "I2: what was answered stands");
}
