//! `CNI_ARGS`: `K=V;K=V`.

use std::collections::BTreeMap;

use tenure_core::lease::{Owner, OwnerKind};
use tenure_core::name::ContainerId;

use crate::error::Error;

const VARIABLE: &str = "CNI_ARGS";
const IGNORE_UNKNOWN: &str = "IgnoreUnknown";
const NAMESPACE: &str = "K8S_POD_NAMESPACE";
const NAME: &str = "K8S_POD_NAME";
const UID: &str = "K8S_POD_UID";
/// Kubernetes has no longer names, and they stand in each lease.
const MAX_POD_BYTES: usize = 253;

/// What we know the meaning of. `GATEWAY` is the standard companion of `IP`; pools decide about gateways, so
/// it is shown to policies and does nothing else.
const KNOWN: [&str; 7] =
    [IGNORE_UNKNOWN, "IP", "GATEWAY", NAMESPACE, NAME, "K8S_POD_INFRA_CONTAINER_ID", UID];
/// Those of [`KNOWN`] that policies do not see as `cni.args/KEY`: they say nothing about the holder.
const SILENT: [&str; 3] = [IGNORE_UNKNOWN, "IP", "K8S_POD_INFRA_CONTAINER_ID"];

/// The pairs of `CNI_ARGS`, each key once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CniArgs(BTreeMap<String, String>);

impl CniArgs {
    /// Reads the variable; empty means no pairs.
    ///
    /// # Errors
    /// [`Error::Environment`]: not UTF-8, a pair without exactly one `=`, a key twice, an unknown key without
    /// `IgnoreUnknown`, or a pod whose namespace, name or uid is too long or has white space or control characters.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Error::environment(VARIABLE, "it is not UTF-8"))?;
        let mut pairs = BTreeMap::new();
        for pair in text.split(';').filter(|_| !text.is_empty()) {
            let (key, value) = split(pair)?;
            if pairs.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(Error::environment(VARIABLE, format!("{key} is there twice")));
            }
        }
        let args = Self(pairs);
        args.check_unknown()?;
        args.check_pod()?;
        Ok(args)
    }

    /// Not the rules of Kubernetes: others call with these keys as well, and name their pods otherwise.
    fn check_pod(&self) -> Result<(), Error> {
        for key in [NAMESPACE, NAME, UID] {
            let value = self.get(key).unwrap_or_default();
            if value.len() > MAX_POD_BYTES {
                let why = format!(
                    "{key} has {} bytes; at most {MAX_POD_BYTES} are possible",
                    value.len()
                );
                return Err(Error::environment(VARIABLE, why));
            }
            if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
                let why = format!("{key}={value:?} may have printable ASCII only, without spaces");
                return Err(Error::environment(VARIABLE, why));
            }
        }
        Ok(())
    }

    fn check_unknown(&self) -> Result<(), Error> {
        let ignore = match self.get(IGNORE_UNKNOWN) {
            None | Some("0" | "false") => false,
            Some(value) if value == "1" || value.eq_ignore_ascii_case("true") => true,
            Some(value) => {
                let why = format!("{IGNORE_UNKNOWN}={value} is neither 1, true, 0 nor false");
                return Err(Error::environment(VARIABLE, why));
            }
        };
        match self.0.keys().find(|key| !ignore && !KNOWN.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => {
                let why = format!("{key} is not known; set IgnoreUnknown=1 if it is for others");
                Err(Error::environment(VARIABLE, why))
            }
        }
    }

    /// A value.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// All pairs, by key.
    pub(crate) fn pairs(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// The pairs that policies may ask for as `cni.args/KEY`.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter().filter(|(key, _)| !SILENT.contains(&key.as_str()))
    }

    /// The pod that is named, or else the container itself.
    pub(crate) fn owner(&self, container: &ContainerId) -> Owner {
        let given = |key| self.get(key).filter(|value| !value.is_empty());
        match (given(NAMESPACE), given(NAME)) {
            (Some(namespace), Some(name)) => Owner {
                kind: OwnerKind::Pod,
                namespace: namespace.into(),
                name: name.into(),
                uid: given(UID).unwrap_or_default().into(),
            },
            _ => Owner {
                kind: OwnerKind::Container,
                namespace: "".into(),
                name: container.as_str().into(),
                uid: container.as_str().into(),
            },
        }
    }
}

fn split(pair: &str) -> Result<(&str, &str), Error> {
    match pair.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.contains('=') => Ok((key, value)),
        _ => {
            let shown: String = pair.chars().take(64).collect();
            Err(Error::environment(VARIABLE, format!("{shown:?} is not of the form KEY=VALUE")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(text: &str) -> String {
        CniArgs::parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn pairs_have_exactly_one_equals_sign_and_each_key_once() {
        assert!(why("IP").contains("\"IP\" is not of the form"));
        assert!(why("IP=1=2").contains("KEY=VALUE"));
        assert!(why("IP=1;").contains("\"\""));
        assert!(why("=1").contains("KEY=VALUE"));
        assert!(why("IP=1;IP=2").contains("IP is there twice"));
        assert!(CniArgs::parse(b"\xff=1").is_err());
        assert_eq!(CniArgs::parse(b"").unwrap(), CniArgs::default());
    }

    #[test]
    fn unknown_keys_are_named_unless_they_are_to_be_ignored() {
        assert!(why("NOMAD_JOB=x").contains("NOMAD_JOB is not known"));
        assert!(why("IgnoreUnknown=0;NOMAD_JOB=x").contains("NOMAD_JOB"));
        assert!(why("IgnoreUnknown=maybe").contains("IgnoreUnknown=maybe"));
        for yes in ["1", "true", "TRUE"] {
            let args =
                CniArgs::parse(format!("NOMAD_JOB=x;IgnoreUnknown={yes}").as_bytes()).unwrap();
            let others: Vec<_> = args.attributes().map(|(key, _)| key.as_str()).collect();
            assert_eq!(others, ["NOMAD_JOB"]);
        }
    }

    #[test]
    fn a_pod_needs_namespace_and_name_and_its_uid_may_be_unknown() {
        let container = ContainerId::new("c1").unwrap();
        let owner = |text: &str| CniArgs::parse(text.as_bytes()).unwrap().owner(&container);
        let pod = owner("K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0");
        assert_eq!(
            (pod.kind, &*pod.namespace, &*pod.name, &*pod.uid),
            (OwnerKind::Pod, "ns", "web-0", "")
        );
        assert_eq!(&*owner("K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0;K8S_POD_UID=u1").uid, "u1");
        let own = owner("K8S_POD_NAMESPACE=Job_7;K8S_POD_NAME=task[3]@node");
        assert_eq!((own.kind, &*own.name), (OwnerKind::Pod, "task[3]@node"));
        let alone = owner("K8S_POD_NAME=web-0");
        assert_eq!((alone.kind, &*alone.uid), (OwnerKind::Container, "c1"));
    }

    #[test]
    fn a_pod_is_named_by_short_printable_texts() {
        for key in [NAMESPACE, NAME, UID] {
            let long = |bytes: usize| format!("{key}={}", "x".repeat(bytes));
            assert!(CniArgs::parse(long(253).as_bytes()).is_ok());
            let text = why(&long(254));
            assert!(text.contains(&format!("{key} has 254 bytes; at most 253")), "{text}");
            for bad in ["a b", "a\nb", "a\0", "a\u{7f}", "\u{202e}a"] {
                let text = why(&format!("{key}={bad}"));
                assert!(text.contains(&format!("{key}={bad:?} may have printable")), "{text}");
            }
        }
        assert_eq!(CniArgs::parse(b"K8S_POD_NAME=a b").unwrap_err().cni_code(), 4);
    }
}
