//! From a frame to the requests of the engine: which verb, allowed in which version, with which fields.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use tenure_core::lease::Attachment;
use tenure_core::name::{ContainerId, IfName, NetworkName};
use tenure_engine::{
    AddRequest, Caller, CheckRequest, DelRequest, GcRequest, NetnsRef, StatusRequest,
};

use crate::args::CniArgs;
use crate::config::{self, NetworkConfig};
use crate::error::Error;
use crate::fixed;
use crate::frame::Request;
use crate::json::Outline;
use crate::link;
use crate::prev_result;
use crate::version::CniVersion;

/// A verb that the daemon serves; VERSION never leaves the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Add,
    Del,
    Check,
    Gc,
    Status,
}

impl Verb {
    pub(crate) const ALL: [Self; 5] = [Self::Add, Self::Del, Self::Check, Self::Gc, Self::Status];

    /// The verb of `CNI_COMMAND`.
    ///
    /// # Errors
    /// Code 4.
    pub(crate) fn of(command: &[u8]) -> Result<Self, Error> {
        let verb = Self::ALL.into_iter().find(|verb| verb.as_str().as_bytes() == command);
        verb.ok_or_else(|| Error::UnknownCommand { command: shown(command) })
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
        }
    }

    /// The first version that has it.
    fn since(self) -> CniVersion {
        match self {
            Self::Add | Self::Del => CniVersion::V0_1_0,
            Self::Check => CniVersion::V0_4_0,
            Self::Gc | Self::Status => CniVersion::V1_1_0,
        }
    }
}

/// The configuration of a request, once its version is known to have the verb.
///
/// # Errors
/// Those of [`NetworkConfig::parse`], and code 1 when the verb came later.
pub(crate) fn configuration(verb: Verb, request: &Request) -> Result<NetworkConfig, Error> {
    let config = NetworkConfig::parse(&request.stdin)?;
    if config.version < verb.since() {
        let (since, version) = (verb.since(), config.version);
        return Err(Error::VerbTooNew { verb: verb.as_str(), since, version });
    }
    Ok(config)
}

/// An ADD that may wait for `default_wait` unless the configuration says otherwise, and never past `budget`.
///
/// # Errors
/// Codes 2, 4, 6, 7 and 8, each naming its field.
pub(crate) fn add(
    request: &Request,
    config: &NetworkConfig,
    default_wait: Duration,
    budget: Duration,
) -> Result<AddRequest, Error> {
    let attachment = attachment(request, config.name.clone())?;
    let netns = namespace(request)?;
    let ipam = config.ipam()?;
    let args = CniArgs::parse(&request.args)?;
    Ok(AddRequest {
        caller: Caller::Here { netns },
        owner: args.owner(&attachment.container),
        facts: None,
        attributes: fixed::attributes(config, &args)?,
        pools: ipam.pools,
        fixed: fixed::addresses(config, &args)?,
        config: config.digest(&args),
        wait: ipam.wait.unwrap_or(default_wait).min(budget),
        link: link::of(config),
        attachment,
    })
}

/// A DEL. It reads the identity and nothing else, so that a configuration that is broken elsewhere, of an unknown
/// version, or written for another release does not keep an address (invariant I5).
///
/// # Errors
/// Code 4 or 7 where the identity itself cannot be read.
pub(crate) fn del(request: &Request) -> Result<DelRequest, Error> {
    let network = config::network_name(&Outline::of(&request.stdin))?;
    Ok(DelRequest::of(attachment(request, network)?))
}

/// A CHECK.
///
/// # Errors
/// Code 7 without `prevResult`; codes 2, 4, 6, 7 and 8 as for an ADD.
pub(crate) fn check(request: &Request, config: &NetworkConfig) -> Result<CheckRequest, Error> {
    namespace(request)?;
    config.ipam()?;
    let result = config
        .prev_result()
        .ok_or_else(|| Error::config("prevResult", "it is missing, and CHECK compares with it"))?;
    Ok(CheckRequest {
        attachment: attachment(request, config.name.clone())?,
        node: None,
        addresses: prev_result::addresses(result)?,
    })
}

/// A GC.
///
/// # Errors
/// Codes 2, 6 and 7.
pub(crate) fn gc(config: &NetworkConfig) -> Result<GcRequest, Error> {
    let allow_empty = config.ipam()?.allow_empty_gc;
    let valid = config.valid_attachments(allow_empty)?;
    Ok(GcRequest { node: None, network: config.name.clone(), valid, allow_empty })
}

/// A STATUS.
///
/// # Errors
/// Codes 2, 6 and 7: with such a configuration no ADD could be served either.
pub(crate) fn status(config: &NetworkConfig) -> Result<StatusRequest, Error> {
    let ipam = config.ipam()?;
    Ok(StatusRequest {
        network: config.name.clone(),
        pools: ipam.pools,
        on_exhaustion: ipam.status_on_exhaustion,
    })
}

fn attachment(request: &Request, network: NetworkName) -> Result<Attachment, Error> {
    let container = ContainerId::new(text("CNI_CONTAINERID", &request.container)?)
        .map_err(|error| Error::environment("CNI_CONTAINERID", error))?;
    let ifname = IfName::new(text("CNI_IFNAME", &request.ifname)?)
        .map_err(|error| Error::environment("CNI_IFNAME", error))?;
    Ok(Attachment { network, container, ifname })
}

/// The namespace, unless it is the plugin's own and nobody said that this is meant (as the reference `skel` does).
fn namespace(request: &Request) -> Result<Option<NetnsRef>, Error> {
    let Some(path) = &request.netns else { return Ok(None) };
    if request.own_netns && !request.netns_override {
        return Err(Error::OwnNetns { path: shown(path) });
    }
    let path = OsString::from_vec(path.clone()).into();
    Ok(Some(NetnsRef { path, file: request.netns_file }))
}

fn text<'a>(variable: &'static str, bytes: &'a [u8]) -> Result<&'a str, Error> {
    std::str::from_utf8(bytes).map_err(|_| Error::environment(variable, "it is not UTF-8"))
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(64).collect()
}
