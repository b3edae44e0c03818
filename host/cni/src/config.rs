//! The network configuration as the daemon reads it: strict, and each error names its field.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tenure_core::name::{ContainerId, Digest, IfName, NetworkName, PoolName};

use crate::args::CniArgs;
use crate::error::Error;
use crate::fields::Fields;
use crate::json::Outline;
use crate::version::CniVersion;

/// What may stand in `ipam`.
const IPAM_KEYS: [&str; 7] =
    ["type", "pools", "socket", "spool", "waitSeconds", "allowEmptyGC", "statusOnExhaustion"];
/// Keys of `ipam` that `host-local` has and that mean nothing here, with what to do instead.
const HOST_LOCAL_KEYS: [(&str, &str); 8] = [
    ("ranges", "it belongs into spec.ranges of an IPPool"),
    ("subnet", "it belongs into spec.cidr of an IPPool"),
    ("rangeStart", "it belongs into spec.ranges of an IPPool"),
    ("rangeEnd", "it belongs into spec.ranges of an IPPool"),
    ("gateway", "it belongs into spec.gateway of an IPPool"),
    ("routes", "it belongs into spec.routes of an IPPool"),
    ("dataDir", "it is not used: the daemon keeps the leases; drop it"),
    ("resolvConf", "it is not used: DNS belongs into spec.dns of an IPPool; drop it"),
];
/// The longest `waitSeconds`: the plugin itself waits 110 s, because the kubelet gives up after 120.
const MAX_WAIT_S: u64 = 100;
/// The list of valid attachments of a GC, and the key under which libcni sends it as well.
const VALID_ATTACHMENTS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

/// A network configuration of a version that we speak, with a valid name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NetworkConfig {
    /// Its `cniVersion`.
    pub(crate) version: CniVersion,
    /// Its `name`.
    pub(crate) name: NetworkName,
    document: Value,
}

/// The `ipam` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IpamConfig {
    /// Order of preference per family; empty admits every pool.
    pub(crate) pools: Vec<PoolName>,
    /// How long an ADD may wait, if it says so.
    pub(crate) wait: Option<Duration>,
    /// An explicit empty list of valid attachments means that none is valid.
    pub(crate) allow_empty_gc: bool,
    /// STATUS fails when the pools are exhausted.
    pub(crate) status_on_exhaustion: bool,
}

impl NetworkConfig {
    /// Reads stdin.
    ///
    /// # Errors
    /// Code 6 for what is no JSON object or nested too deep, 1 for an unknown `cniVersion`, 7 for a missing or
    /// ill-formed `name`.
    pub(crate) fn parse(stdin: &[u8]) -> Result<Self, Error> {
        let outline = Outline::of(stdin);
        if let Some(fault) = &outline.fault {
            return Err(Error::decode("network configuration", fault));
        }
        let document: Value = serde_json::from_slice(stdin)
            .map_err(|error| Error::decode("network configuration", error))?;
        let version = CniVersion::of_config(outline.cni_version.as_deref()).ok_or_else(|| {
            Error::Version { version: outline.cni_version.clone().unwrap_or_default() }
        })?;
        Ok(Self { version, name: network_name(&outline)?, document })
    }

    /// The `ipam` section.
    ///
    /// # Errors
    /// Code 2 for an unknown key, naming a near known one or the place where it belongs; 6 for a wrong type; 7 for a value that breaks a rule.
    pub(crate) fn ipam(&self) -> Result<IpamConfig, Error> {
        let section = self
            .top()?
            .get("ipam")
            .ok_or_else(|| Error::config("ipam", "the section is missing"))?;
        let ipam = Fields::of("ipam", section)?;
        for (key, value) in ipam.iter() {
            if !IPAM_KEYS.contains(&key.as_str()) {
                return Err(Error::unsupported(ipam.path(key), value, advice(key)));
            }
        }
        if ipam.text("type")?.is_none() {
            return Err(Error::config("ipam.type", "it is missing"));
        }
        ipam.text("socket")?;
        ipam.text("spool")?;
        Ok(IpamConfig {
            pools: pools(ipam)?,
            wait: wait(ipam)?,
            allow_empty_gc: ipam.flag("allowEmptyGC")?.unwrap_or(false),
            status_on_exhaustion: ipam.flag("statusOnExhaustion")?.unwrap_or(false),
        })
    }

    /// The fields of the whole configuration.
    pub(crate) fn top(&self) -> Result<Fields<'_>, Error> {
        Fields::of("", &self.document)
    }

    /// `prevResult`, if there is one.
    pub(crate) fn prev_result(&self) -> Option<&Value> {
        self.document.get("prevResult").filter(|value| !value.is_null())
    }

    /// The attachments that a GC must keep.
    ///
    /// # Errors
    /// Code 7 when the list is absent or null, which says nothing about what is valid; or when it is
    /// empty without `ipam.allowEmptyGC`; or when an entry is ill-formed, for then the list is not what was meant.
    pub(crate) fn valid_attachments(
        &self,
        allow_empty: bool,
    ) -> Result<Vec<(ContainerId, IfName)>, Error> {
        let top = self.top()?;
        let [key, older] = VALID_ATTACHMENTS;
        let named = if top.get(key).is_some() { key } else { older };
        let list = top.list(named)?.ok_or_else(|| {
            let why = "an absent or null list does not say that no attachment is valid; nothing was collected";
            Error::config(key, why)
        })?;
        if list.is_empty() && !allow_empty {
            let why = "the list is empty; if that shall mean that no attachment is valid, set ipam.allowEmptyGC";
            return Err(Error::config(named, why));
        }
        list.iter().enumerate().map(|(index, entry)| attachment(named, index, entry)).collect()
    }

    /// What makes two ADDs "the same" (invariant I4): all that has a say in the addresses. Left out is what changes
    /// without the operator's will (`prevResult`, `cniVersion`, the list of a GC, the main plugin's own settings,
    /// the id of the infra container, which a restarted pod changes) and how the daemon is reached.
    pub(crate) fn digest(&self, args: &CniArgs) -> Digest {
        let part = |key: &str| self.document.get(key).unwrap_or(&Value::Null);
        let ips = part("runtimeConfig").get("ips").unwrap_or(&Value::Null);
        let pools = part("ipam").get("pools").unwrap_or(&Value::Null);
        let mut env = args.pairs().clone();
        env.remove(INFRA_CONTAINER);
        let whole = json!({"args": part("args"), "env": env, "pools": pools, "ips": ips});
        Digest::of(sorted(&whole).to_string().as_bytes())
    }
}

/// The name in `outline`, which may belong to a configuration that is otherwise broken.
pub(crate) fn network_name(outline: &Outline) -> Result<NetworkName, Error> {
    let name = outline.name.as_deref().ok_or_else(|| Error::config("name", "it is missing"))?;
    NetworkName::new(name).map_err(|error| Error::config("name", error))
}

/// Names the container; a new one of the same pod is the same in all that matters.
const INFRA_CONTAINER: &str = "K8S_POD_INFRA_CONTAINER_ID";

fn pools(ipam: Fields<'_>) -> Result<Vec<PoolName>, Error> {
    let mut pools: Vec<PoolName> = Vec::new();
    for (path, text) in ipam.texts("pools")? {
        let pool = PoolName::new(text).map_err(|error| Error::config(path.as_str(), error))?;
        if pools.contains(&pool) {
            return Err(Error::config(path, format!("pool {pool} is there twice")));
        }
        pools.push(pool);
    }
    Ok(pools)
}

fn wait(ipam: Fields<'_>) -> Result<Option<Duration>, Error> {
    match ipam.whole("waitSeconds")? {
        Some(seconds) if seconds > MAX_WAIT_S => {
            let why = format!(
                "{seconds} is more than {MAX_WAIT_S}, the longest that a runtime waits for"
            );
            Err(Error::config("ipam.waitSeconds", why))
        }
        seconds => Ok(seconds.map(Duration::from_secs)),
    }
}

fn attachment(key: &str, index: usize, entry: &Value) -> Result<(ContainerId, IfName), Error> {
    let path = format!("{key}[{index}]");
    let fields = Fields::of(&path, entry)?;
    let text =
        |key| fields.text(key)?.ok_or_else(|| Error::config(fields.path(key), "it is missing"));
    let container = ContainerId::new(text("containerID")?)
        .map_err(|error| Error::config(fields.path("containerID"), error))?;
    let ifname = IfName::new(text("ifname")?)
        .map_err(|error| Error::config(fields.path("ifname"), error))?;
    Ok((container, ifname))
}

/// What to do about an unknown key of `ipam`. A guess is made only where a slip of the finger is likely.
fn advice(key: &str) -> String {
    if let Some((_, advice)) = HOST_LOCAL_KEYS.iter().find(|(other, _)| *other == key) {
        return (*advice).to_owned();
    }
    let distance =
        |known: &str| strsim::damerau_levenshtein(&key.to_lowercase(), &known.to_lowercase());
    let near = 2.max(key.chars().count() / 3);
    let nearest = IPAM_KEYS.map(|known| (distance(known), known)).into_iter().min();
    let guess = nearest.filter(|(distance, _)| *distance <= near);
    let guess = guess.map(|(_, known)| format!("did you mean `{known}`? ")).unwrap_or_default();
    format!("{guess}known are {}", IPAM_KEYS.join(", "))
}

/// The same value with the keys of each object in order, whatever order `serde_json` keeps them in.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            let sorted = entries.into_iter().map(|(key, value)| (key.clone(), sorted(value)));
            Value::Object(sorted.collect::<Map<_, _>>())
        }
        Value::Array(list) => Value::Array(list.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests;
