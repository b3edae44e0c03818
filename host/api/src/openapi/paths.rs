//! The routes as the description shows them. A test asks each of them.

#![expect(dead_code, reason = "only their description is used; the handlers are in routes/")]

use utoipa::IntoParams;

use super::schemas;
use crate::error::ErrorBody;
use crate::nodes::{DeathWord, NodeView, Unconfirmed};

/// The name in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
struct Name {
    /// Name of the object.
    name: String,
}

/// The address in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
struct Address {
    /// The address.
    address: String,
}

/// The uid in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
struct Uid {
    /// The uid of a Node; never its name.
    uid: String,
}

/// The space in a query.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct Space {
    /// The routing domain, `default` by default.
    space: Option<String>,
}

/// Which leases.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct LeaseFilter {
    /// Of this pool.
    pool: Option<String>,
    /// Of this owner's namespace.
    namespace: Option<String>,
    /// Of the container with this id, or one that begins so.
    container: Option<String>,
    /// With this view.
    view: Option<schemas::View>,
    /// At most so many: 1000 by default, 100000 at most.
    limit: Option<u32>,
}

/// What of a history.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct HistoryQuery {
    /// Who held it at this moment: milliseconds since the Unix epoch.
    at: Option<u64>,
    /// At most so many events: 1000 by default, 100000 at most.
    limit: Option<u32>,
}

/// All pools.
#[utoipa::path(get, path = "/v1/pools", tag = "objects", responses(
    (status = 200, body = schemas::Items<schemas::Pool>),
    (status = "default", description = "refused", body = ErrorBody)
))]
pub(super) fn list_pools() {}

/// One pool.
#[utoipa::path(get, path = "/v1/pools/{name}", tag = "objects", params(Name), responses(
    (status = 200, body = schemas::Pool),
    (status = 404, description = "there is none of this name", body = ErrorBody),
    (status = "default", description = "refused", body = ErrorBody)
))]
pub(super) fn get_pool() {}

/// Deletes a pool.
#[utoipa::path(delete, path = "/v1/pools/{name}", tag = "objects", params(Name), responses(
    (status = 200, description = "it is gone", body = schemas::Deleted),
    (status = 202, description = "it waits for its holders to leave", body = schemas::Deleted),
    (status = 404, description = "there is none of this name", body = ErrorBody),
    (status = "default", description = "refused", body = ErrorBody)
))]
pub(super) fn delete_pool() {}

/// All reservations.
#[utoipa::path(get, path = "/v1/reservations", tag = "objects", responses(
    (status = 200, body = schemas::Items<schemas::Reservation>),
    (status = "default", description = "refused", body = ErrorBody)
))]
pub(super) fn list_reservations() {}

/// One reservation.
#[utoipa::path(get, path = "/v1/reservations/{name}", tag = "objects", params(Name), responses(
    (status = 200, body = schemas::Reservation),
    (status = 404, description = "there is none of this name", body = ErrorBody),
    (status = "default", description = "refused", body = ErrorBody)
))]
pub(super) fn get_reservation() {}

/// Deletes a reservation.
#[utoipa::path(delete, path = "/v1/reservations/{name}", tag = "objects", params(Name), responses(
    (status = 200, description = "it is gone", body = schemas::Deleted),
    (status = 404, description = "there is none of this name", body = ErrorBody),
    (status = "default", description = "refused", body = ErrorBody)
))]
pub(super) fn delete_reservation() {}

/// All policies.
#[utoipa::path(get, path = "/v1/policies", tag = "objects", responses(
    (status = 200, body = schemas::Items<schemas::Policy>),
    (status = "default", description = "refused", body = ErrorBody)
))]
pub(super) fn list_policies() {}

/// One policy.
#[utoipa::path(get, path = "/v1/policies/{name}", tag = "objects", params(Name), responses(
    (status = 200, body = schemas::Policy),
    (status = 404, description = "there is none of this name", body = ErrorBody),
    (status = "default", description = "refused", body = ErrorBody)
))]
pub(super) fn get_policy() {}

/// Deletes a policy.
#[utoipa::path(delete, path = "/v1/policies/{name}", tag = "objects", params(Name), responses(
    (status = 200, description = "it is gone", body = schemas::Deleted),
    (status = 404, description = "there is none of this name", body = ErrorBody),
    (status = "default", description = "refused", body = ErrorBody)
))]
pub(super) fn delete_policy() {}

/// Creates or changes objects: all of them or none.
#[utoipa::path(post, path = "/v1/apply", tag = "objects",
    params(("dryRun" = Option<bool>, Query, description = "check everything and change nothing")),
    request_body(content = schemas::ApplyBody, description = "one object or a list"),
    responses(
        (status = 200, body = schemas::ApplyAnswer),
        (status = 409, description = "a rule refuses it", body = ErrorBody),
        (status = "default", description = "refused; `field` names what is wrong", body = ErrorBody)
    ))]
pub(super) fn apply() {}

/// Leases, by space and address.
#[utoipa::path(get, path = "/v1/leases", tag = "leases", params(LeaseFilter), responses(
    (status = 200, body = schemas::CutItems<schemas::LeaseView>),
    (status = 404, description = "there is no such pool", body = ErrorBody),
    (status = "default", description = "refused", body = ErrorBody)
))]
pub(super) fn list_leases() {}

/// One lease.
#[utoipa::path(get, path = "/v1/leases/{address}", tag = "leases", params(Address, Space), responses(
    (status = 200, body = schemas::LeaseView),
    (status = 404, description = "the address has no record", body = ErrorBody),
    (status = "default", description = "refused", body = ErrorBody)
))]
pub(super) fn get_lease() {}

/// Takes an address back by hand.
#[utoipa::path(post, path = "/v1/leases/{address}/release", tag = "leases", params(Address, Space),
    request_body = schemas::ReleaseBody,
    responses(
        (status = 200, body = schemas::LeaseView),
        (status = 404, description = "the address has no record", body = ErrorBody),
        (status = 409, description = "another generation, or the holder lives", body = ErrorBody),
        (status = "default", description = "refused", body = ErrorBody)
    ))]
pub(super) fn release_lease() {}

/// Who held an address, and who at a moment.
#[utoipa::path(get, path = "/v1/leases/{address}/history", tag = "leases",
    params(Address, Space, HistoryQuery),
    responses(
        (status = 200, body = schemas::HistoryView),
        (status = 404, description = "it is in no pool, and nothing is kept of it", body = ErrorBody),
        (status = "default", description = "refused", body = ErrorBody)
    ))]
pub(super) fn lease_history() {}

/// Everything about one address: who holds it and why, what the witnesses say, what happens next.
#[utoipa::path(get, path = "/v1/leases/{address}/explain", tag = "leases", params(Address, Space), responses(
    (status = 200, body = schemas::Explanation),
    (status = 404, description = "no pool and no record has the address", body = ErrorBody),
    (status = "default", description = "refused", body = ErrorBody)
))]
pub(super) fn explain_lease() {}

/// Takes back now what is proved dead, waits some seconds for suspects that become due, and lists what is left and why.
#[utoipa::path(post, path = "/v1/reclaim", tag = "leases",
    params(("dryRun" = Option<bool>, Query, description = "only list the suspects, and change nothing")),
    responses(
        (status = 200, body = schemas::ReclaimAnswer),
        (status = 503, description = "another reclaim is under way", body = ErrorBody),
        (status = "default", description = "refused", body = ErrorBody)
    ))]
pub(super) fn reclaim() {}

/// The nodes of the cluster that the API, an agent or a lease names, by name and uid.
#[utoipa::path(get, path = "/v1/nodes", tag = "nodes", responses(
    (status = 200, body = schemas::Items<NodeView>),
    (status = 409, description = "the daemon is standalone", body = ErrorBody),
    (status = "default", description = "refused", body = ErrorBody)
))]
pub(super) fn list_nodes() {}

/// Takes the operator's word that the machine of this Node is dead: what is bound there is given to others.
#[utoipa::path(post, path = "/v1/nodes/{uid}/confirm-dead", tag = "nodes", params(Uid),
    request_body = DeathWord,
    responses(
        (status = 200, body = NodeView),
        (status = 404, description = "no Node and no lease has this uid", body = ErrorBody),
        (status = 409, description = "its agent or its kubelet is heard, or the daemon is standalone", body = ErrorBody),
        (status = "default", description = "refused", body = ErrorBody)
    ))]
pub(super) fn confirm_dead() {}

/// Takes that word back. What was given to others meanwhile stays theirs.
#[utoipa::path(post, path = "/v1/nodes/{uid}/unconfirm-dead", tag = "nodes", params(Uid), responses(
    (status = 200, body = Unconfirmed),
    (status = "default", description = "refused", body = ErrorBody)
))]
pub(super) fn unconfirm_dead() {}

/// The newest decisions, newest first.
#[utoipa::path(get, path = "/v1/decisions", tag = "daemon",
    params(("limit" = Option<u32>, Query, description = "50 by default")),
    responses(
        (status = 200, body = schemas::Items<schemas::DecisionRecord>),
        (status = "default", description = "refused", body = ErrorBody)
    ))]
pub(super) fn list_decisions() {}

/// The daemon as a whole.
#[utoipa::path(get, path = "/v1/status", tag = "daemon", responses(
    (status = 200, body = schemas::Overview),
    (status = "default", description = "refused", body = ErrorBody)
))]
pub(super) fn status() {}

/// The whole store as JSON lines. An export without its last line (`TenureExportEnd`) broke off.
#[utoipa::path(get, path = "/v1/export", tag = "daemon",
    params(("history" = Option<bool>, Query, description = "false: format 1, without history, for older versions")),
    responses(
        (status = 200, content_type = "application/jsonl", body = String),
        (status = 503, description = "another export is under way", body = ErrorBody),
        (status = "default", description = "refused", body = ErrorBody)
    ))]
pub(super) fn export() {}

/// Loads an export, all or nothing, and serves it.
#[utoipa::path(post, path = "/v1/import", tag = "daemon",
    params(("replace" = Option<bool>, Query, description = "throw away what the store holds")),
    request_body(content = String, content_type = "application/jsonl"),
    responses(
        (status = 200, body = schemas::ImportAnswer),
        (status = 409, description = "the store is not empty", body = ErrorBody),
        (status = "default", description = "refused", body = ErrorBody)
    ))]
pub(super) fn import() {}

/// This description.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "daemon", responses(
    (status = 200, body = schemas::Anything)
))]
pub(super) fn openapi() {}

/// Whether the daemon can serve.
#[utoipa::path(get, path = "/healthz", tag = "daemon", responses(
    (status = 200, body = schemas::Health),
    (status = 503, description = "why not", body = ErrorBody)
))]
pub(super) fn healthz() {}

/// Metrics as OpenMetrics text.
#[utoipa::path(get, path = "/metrics", tag = "daemon", responses(
    (status = 200, content_type = "application/openmetrics-text", body = String),
    (status = "default", description = "refused", body = ErrorBody)
))]
pub(super) fn metrics() {}
