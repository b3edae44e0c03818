//! What the API server does by itself with objects like leases, as many at once as the plugin processes are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams};
use kube::{Api, Client};
use tenure_lab::cluster::resource;

/// Seconds for as many objects as there were addresses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floor {
    pub(crate) create: Duration,
    pub(crate) replace: Duration,
    /// The size of one object as JSON.
    pub(crate) bytes: usize,
}

/// A lease that stands for all: what is written here has its size.
pub(crate) async fn template(client: &Client) -> DynamicObject {
    let leases = Api::<DynamicObject>::all_with(client.clone(), &resource("IPLease"));
    let mut lease = leases.list(&ListParams::default().limit(1)).await.unwrap().items.remove(0);
    lease.metadata = kube::api::ObjectMeta { labels: lease.metadata.labels, ..Default::default() };
    lease
}

pub(crate) async fn measure(
    client: &Client,
    template: &DynamicObject,
    addresses: Vec<IpAddr>,
    width: usize,
) -> Floor {
    let leases = Api::<DynamicObject>::all_with(client.clone(), &resource("IPLease"));
    let bytes = serde_json::to_vec(template).unwrap().len();
    let objects: Vec<_> = addresses.into_iter().map(|address| at(template, address)).collect();
    let began = Instant::now();
    let made: Vec<_> = stream::iter(&objects)
        .map(|object| async { leases.create(&PostParams::default(), object).await })
        .buffer_unordered(width)
        .try_collect()
        .await
        .unwrap();
    let create = began.elapsed();
    let released: Vec<_> = made.into_iter().map(released).collect();
    let began = Instant::now();
    let name = |object: &DynamicObject| object.metadata.name.clone().unwrap_or_default();
    stream::iter(&released)
        .map(|object| async {
            leases.replace(&name(object), &PostParams::default(), object).await.map(drop)
        })
        .buffer_unordered(width)
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
    let replace = began.elapsed();
    stream::iter(&released)
        .map(|object| async {
            leases.delete(&name(object), &DeleteParams::default()).await.map(drop)
        })
        .buffer_unordered(width)
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
    Floor { create, replace, bytes }
}

/// Addresses of no pool.
pub(crate) fn addresses(count: usize, dual: bool) -> Vec<IpAddr> {
    let v4 = |number: usize| IpAddr::from(Ipv4Addr::from(0x0ac8_0000 + number as u32));
    let v6 = |number: usize| IpAddr::from(Ipv6Addr::from((0xfd99 << 112) + number as u128));
    (0..count).flat_map(|number| [Some(v4(number)), dual.then(|| v6(number))]).flatten().collect()
}

pub(crate) fn at(template: &DynamicObject, address: IpAddr) -> DynamicObject {
    let mut object = template.clone();
    let name = match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => v6.segments().map(|part| format!("{part:x}")).join("-"),
    };
    object.metadata.name = Some(name);
    object.data["spec"]["address"] = serde_json::json!(address);
    object
}

/// As a DEL leaves it.
pub(crate) fn released(mut lease: DynamicObject) -> DynamicObject {
    // As the allocator does: the server keeps none of them any more.
    lease.metadata.managed_fields = Some(vec![Default::default()]);
    lease.data["spec"]["state"] = "Released".into();
    lease.data["spec"]["released"] =
        serde_json::json!({"at": "2026-01-01T00:00:00.000Z", "proof": "none", "restSeconds": 120});
    lease
}
