//! Pools, reservations and policies beside kubectl.

use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::json;
use tenure_core::name::ObjectName;
use tenure_core::objects::{Object, ObjectKind};
use tenure_store::contract::samples::{pool, reservation};
use tenure_store::{Store as _, StoreError};

use crate::lab::{Lab, resource};

fn blue() -> ObjectName {
    ObjectName::new("blue").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_is_marked_as_deleted_stays_until_it_is_deleted_by_us() {
    let lab = Lab::default();
    let (store, api) = (lab.store(), lab.api("IPPool"));
    store.put_objects(vec![pool("blue", "10.6.0.0/16")]).await.unwrap();
    let Object::IPPool(mut marked) = pool("blue", "10.6.0.0/16") else { panic!() };
    marked.metadata.deletion_timestamp = Some("2026-11-28T21:00:00Z".to_owned());
    store.put_objects(vec![Object::IPPool(marked)]).await.unwrap();
    let found = api.get("blue").await.unwrap();
    assert!(found.metadata.deletion_timestamp.is_some(), "kubectl shows it as going");
    let objects = store.objects().unwrap();
    let [Object::IPPool(found)] = &objects[..] else { panic!("{objects:?}") };
    assert!(found.metadata.deletion_timestamp.is_some());
    assert!(store.delete_object(ObjectKind::IPPool, &blue()).await.unwrap());
    assert!(api.get_opt("blue").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_keeps_what_the_server_and_others_keep_in_an_object() {
    let lab = Lab::default();
    let (store, api) = (lab.store(), lab.api("IPPool"));
    store.put_objects(vec![pool("blue", "10.6.0.0/16")]).await.unwrap();
    let others =
        json!({"metadata": {"finalizers": ["example.com/mine", "tenure.dev/held-leases"]}});
    api.patch("blue", &PatchParams::default(), &Patch::Merge(others)).await.unwrap();
    let status = json!({"status": {"free": "7"}});
    api.patch_status("blue", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    let before = api.get("blue").await.unwrap();
    store.put_objects(vec![pool("blue", "10.6.0.0/16")]).await.unwrap();
    let after = api.get("blue").await.unwrap();
    assert_eq!(after.metadata.finalizers, before.metadata.finalizers);
    assert_eq!(after.data["status"]["free"], "7");
    assert_eq!(after.metadata.uid, before.metadata.uid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_objects_one_of_which_is_refused_none_is_written() {
    let lab = Lab::default();
    let store = lab.store();
    let Object::IPReservation(mut bad) = reservation("router", "10.6.0.1") else { panic!() };
    bad.spec.addresses = vec!["router".to_owned()];
    let objects = vec![pool("blue", "10.6.0.0/16"), Object::IPReservation(bad)];
    let refused = store.put_objects(objects).await;
    let Err(StoreError::Io { why, .. }) = refused else { panic!("{refused:?}") };
    assert!(why.contains("must be an address"), "{why}");
    assert_eq!(store.objects().unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kubernetes_let_in_and_cannot_be_read_is_left_out_and_told() {
    let lab = Lab::default();
    let store = lab.store();
    store.put_objects(vec![pool("good", "10.6.0.0/16")]).await.unwrap();
    let mut odd = DynamicObject::new("odd", &resource("IPPool"));
    // A length of time by its looks only.
    odd.data = json!({"spec": {"cidr": "10.7.0.0/16", "cooldown": "5 apples"}});
    lab.api("IPPool").create(&PostParams::default(), &odd).await.unwrap();
    let names: Vec<_> = store.objects().unwrap().iter().map(|o| o.name().to_string()).collect();
    assert_eq!(names, ["good"]);
    let refused = store.refused_objects();
    assert_eq!(refused.len(), 1);
    assert!(refused[0].to_string().starts_with("IPPool odd: spec.cooldown"), "{}", refused[0]);
}
