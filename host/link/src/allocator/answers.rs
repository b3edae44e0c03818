//! The verbs of an agent: from the message to the engine's request and back.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tenure_core::error::{Coded, Kind};
use tenure_core::lease::NodeRef;
use tenure_engine::{
    AddRequest, AgentCall, Caller, CheckRequest, DelRequest, GcRequest, StatusRequest, Verbs,
};

use super::Reception;
use super::service::Desk;
use crate::messages::{AddCall, CheckCall, DelCall, Failure, GcCall, NOT_LEADER, StatusCall};

/// The answer to a message, as JSON.
pub(super) async fn answer<V: Verbs, R: Reception>(
    desk: &Desk<V, R>,
    node: &Arc<NodeRef>,
    path: &str,
    text: &[u8],
) -> Result<Vec<u8>, Failure> {
    let verbs = &*desk.verbs;
    match path {
        "/v1/add" => {
            let request = add(desk, node, read(text)?).await?;
            done(verbs.add(request).await)
        }
        "/v1/del" => {
            let DelCall { attachment, past, bound_before } = read(text)?;
            let request = DelRequest {
                attachment,
                node: Some(node.clone()),
                past,
                bound_before: Some(bound_before),
            };
            done(verbs.del(request).await)
        }
        "/v1/check" => {
            let CheckCall { attachment, addresses } = read(text)?;
            done(
                verbs.check(CheckRequest { attachment, node: Some(node.clone()), addresses }).await,
            )
        }
        "/v1/gc" => {
            let GcCall { network, valid, allow_empty } = read(text)?;
            let node = Some(NodeRef::clone(node));
            done(verbs.gc(GcRequest { node, network, valid, allow_empty }).await)
        }
        "/v1/status" => {
            let StatusCall { network, pools } = read(text)?;
            done(verbs.status(StatusRequest { network, pools, on_exhaustion: true }).await)
        }
        other => {
            let why = format!("this allocator has no {other}: it is older than the agent");
            Err(Failure::new("UNKNOWN_VERB", Kind::Invalid, why))
        }
    }
}

async fn add<V: Verbs, R: Reception>(
    desk: &Desk<V, R>,
    node: &Arc<NodeRef>,
    mut call: AddCall,
) -> Result<AddRequest, Failure> {
    if !call.from_anybody {
        let leader = desk.leader.borrow().clone();
        if leader.as_deref() != Some(&*desk.options.replica) {
            let leader = leader.unwrap_or_else(|| "nobody".to_owned());
            let why = format!("{leader} leads, not {}", desk.options.replica);
            return Err(Failure::new(NOT_LEADER, Kind::Retry, why));
        }
    }
    let facts = desk.reception.introduce(node, &mut call).await?;
    let agent = AgentCall {
        node: node.clone(),
        netns: call.netns,
        boottime_ms: call.boottime_ms,
        past: call.past,
    };
    Ok(AddRequest {
        attachment: call.attachment,
        caller: Caller::Agent(agent),
        owner: call.owner,
        facts,
        attributes: call.attributes,
        pools: call.pools,
        fixed: call.fixed,
        config: call.config,
        wait: Duration::from_millis(call.wait_ms),
        link: call.link,
    })
}

fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(text).map_err(|error| {
        Failure::new(
            "BAD_REQUEST",
            Kind::Invalid,
            format!("the message is not understood: {error}"),
        )
    })
}

fn done<T: Serialize, E: Coded>(outcome: Result<T, E>) -> Result<Vec<u8>, Failure> {
    let answer = outcome.map_err(|error| Failure::of(&error))?;
    serde_json::to_vec(&answer)
        .map_err(|error| Failure::new("INTERNAL", Kind::Bug, error.to_string()))
}
