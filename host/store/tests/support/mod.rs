//! What the tests of the engine share.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

pub mod disk;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use redb::{Database, TableDefinition};
use tenure_core::history::Entry;
use tenure_core::lease::Lease;
use tenure_store::{RedbStore, Row, Store as _, StoreError, Write};

/// A lease told from others by `tag`, which also varies its length.
pub fn lease(address: IpAddr, tag: u64) -> Lease {
    let id = "4f9a".repeat(16);
    let name = "x".repeat(usize::try_from(tag % 40).unwrap());
    let value = serde_json::json!({
        "address": address, "pool": "blue", "space": "default",
        "attachment": {"network": "underlay", "container": id, "ifname": "eth0"},
        "owner": {"kind": "pod", "namespace": "payments", "name": name, "uid": ""},
        "node": {"name": "worker", "uid": "", "agent": "", "boot": ""},
        "netns": null, "attempt": 7, "families": {"v4": true, "v6": true},
        "generation": 1, "epoch": 1, "state": {"state": "bound"}, "sticky": null, "tag": tag,
        "config": format!("sha256:{id}"), "decidedBy": [], "boundAt": 0, "boundBoottimeMs": 0,
        "previous": [],
    });
    serde_json::from_str(&value.to_string()).unwrap()
}

/// Creates that many leases in one commit.
pub fn fill(store: &RedbStore, leases: u8) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let create = |n| Write::Create(lease(format!("10.6.0.{n}").parse().unwrap(), u64::from(n)));
    runtime.block_on(store.commit((0..leases).map(create).collect())).unwrap();
}

/// All rows, in the order of their keys.
pub fn rows(store: &RedbStore) -> Result<Vec<Row>, StoreError> {
    let mut rows = Vec::new();
    store.scan(&mut |row| rows.push(row))?;
    Ok(rows)
}

/// The whole history, oldest first.
pub fn told(store: &RedbStore) -> Result<Vec<Entry>, StoreError> {
    let mut told = Vec::new();
    store.history(None, &mut |entry| told.push(entry))?;
    Ok(told)
}

/// Every file of the folder with its bytes and the time of its last change.
pub fn snapshot(folder: &Path) -> HashMap<PathBuf, (Vec<u8>, SystemTime)> {
    let entry = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        let changed = entry.metadata().unwrap().modified().unwrap();
        (entry.path(), (std::fs::read(entry.path()).unwrap(), changed))
    };
    std::fs::read_dir(folder).unwrap().map(entry).collect()
}

/// The database of a store in `folder`.
pub fn file(folder: &Path) -> PathBuf {
    folder.join("tenure.redb")
}

/// Changes the database in `folder` behind the store's back.
pub fn edit(folder: &Path, table: &str, key: &[u8], value: &[u8]) -> Database {
    let database = Database::open(file(folder)).unwrap();
    let writing = database.begin_write().unwrap();
    let table = TableDefinition::<&[u8], &[u8]>::new(table);
    writing.open_table(table).unwrap().insert(key, value).unwrap();
    writing.commit().unwrap();
    database
}

/// The key of 10.6.0.1 in the default space, as format 1 spells it.
pub fn stored_key() -> Vec<u8> {
    let mut key = b"default\0\x04".to_vec();
    key.extend(0x0a06_0001_u128.to_be_bytes());
    key
}
