//! Where the allocators are: the EndpointSlices of their Service.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::{Api, Client};

use crate::store::calls::{Calls, Failure};

/// The label that names a slice's Service (Kubernetes API conventions, discovery.k8s.io/v1).
const SERVICE: &str = "kubernetes.io/service-name";
/// The port of the Service on which agents are served.
const PORT: &str = "agents";
const CALL_DEADLINE: Duration = Duration::from_secs(5);
/// Two or three replicas make one slice of a family; so many are read at most, and so many addresses answered (I12).
const SLICES: u32 = 16;
const ADDRESSES: usize = 64;

/// The replicas of the allocator.
#[derive(Debug)]
pub struct Replicas;

/// Why it is not known where the replicas are.
#[derive(Debug, thiserror::Error)]
pub enum ReplicasError {
    /// The API server could not be asked, or refused.
    #[error("the EndpointSlices of {service} could not be listed: {why}")]
    List {
        /// The Service.
        service: String,
        /// What happened.
        why: String,
    },
}

// === impl Replicas ===

impl Replicas {
    /// Where the replicas serve agents: the ready ones first, then those that are not ready, which may serve all the same (the
    /// view of the one who says so is late when a node has died). Empty where there are none.
    ///
    /// # Errors
    /// The API server does not answer in time, or refuses.
    pub async fn list(
        client: Client,
        namespace: &str,
        service: &str,
    ) -> Result<Vec<SocketAddr>, ReplicasError> {
        let slices = Api::<EndpointSlice>::namespaced(client, namespace);
        let params = ListParams::default().labels(&format!("{SERVICE}={service}")).limit(SLICES);
        let listed = Calls::new(CALL_DEADLINE, 1).send(slices.list(&params)).await;
        let failed = |failure: Failure| ReplicasError::List {
            service: service.to_owned(),
            why: failure.to_string(),
        };
        Ok(addresses(&listed.map_err(failed)?.items))
    }
}

fn addresses(slices: &[EndpointSlice]) -> Vec<SocketAddr> {
    let mut found: Vec<(bool, SocketAddr)> = slices.iter().flat_map(of_slice).collect();
    found.sort_by_key(|(is_ready, address)| (!is_ready, *address));
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for (_, address) in found {
        if !addresses.contains(&address) && addresses.len() < ADDRESSES {
            addresses.push(address);
        }
    }
    addresses
}

/// A slice has ports for all its endpoints. Names that are no addresses (type FQDN) are passed over.
fn of_slice(slice: &EndpointSlice) -> Vec<(bool, SocketAddr)> {
    let mut ports = slice.ports.iter().flatten();
    let port = ports.find(|port| port.name.as_deref() == Some(PORT));
    let Some(port) = port.and_then(|port| u16::try_from(port.port?).ok()) else {
        return Vec::new();
    };
    let endpoints = slice.endpoints.iter().flat_map(|endpoint| {
        // The API says of a condition that is absent: read it as true.
        let is_ready = endpoint.conditions.as_ref().and_then(|it| it.ready).unwrap_or(true);
        endpoint.addresses.iter().map(move |address| (is_ready, address))
    });
    let parsed = endpoints.filter_map(|(is_ready, address)| {
        let address: IpAddr = address.parse().ok()?;
        Some((is_ready, SocketAddr::new(address, port)))
    });
    parsed.collect()
}
