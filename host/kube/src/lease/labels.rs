//! Labels of a lease: what a live LIST can ask for. They are made from the record at each write and never read back.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use tenure_core::address::Family;
use tenure_core::lease::{Attachment, Lease};
use tenure_core::name::{IfName, NetworkName};
use tenure_store::Selection;

const POOL: &str = "tenure.dev/pool";
const SPACE: &str = "tenure.dev/space";
const NODE: &str = "tenure.dev/node";
const FAMILY: &str = "tenure.dev/family";
const OWNER: &str = "tenure.dev/owner-uid";
const ATTACHMENT: &str = "tenure.dev/attachment";
const KEY: &str = "tenure.dev/key";

/// The longest label value that Kubernetes takes.
const LONGEST: usize = 63;

/// The label selector of a live LIST. Labels are hints, as hashes may meet: the caller compares the records.
pub(crate) fn selector(selection: &Selection) -> String {
    match selection {
        Selection::Attachment(attachment) => format!("{ATTACHMENT}={}", of_attachment(attachment)),
        Selection::Pool(pool) => format!("{POOL}={}", value(pool.as_str())),
        Selection::Node(node) => format!("{NODE}={}", value(node)),
        Selection::Key { network, ifname, family, key } => {
            format!("{KEY}={}", of_key(network, ifname, *family, key))
        }
    }
}

/// The labels of a lease.
pub(crate) fn labels(lease: &Lease) -> BTreeMap<String, String> {
    let family = lease.key().family();
    let mut labels = BTreeMap::new();
    let mut put = |key: &str, value: String| labels.insert(key.to_owned(), value);
    put(POOL, value(lease.pool.as_str()));
    put(SPACE, value(lease.space.as_str()));
    put(FAMILY, family.to_string().to_lowercase());
    put(ATTACHMENT, of_attachment(&lease.attachment));
    if !lease.node.name.is_empty() {
        put(NODE, value(&lease.node.name));
    }
    if !lease.owner.uid.is_empty() {
        put(OWNER, value(&lease.owner.uid));
    }
    if let Some(sticky) = &lease.sticky {
        let Attachment { network, ifname, .. } = &lease.attachment;
        put(KEY, of_key(network, ifname, family, &sticky.key));
    }
    labels
}

fn of_attachment(attachment: &Attachment) -> String {
    let Attachment { network, container, ifname } = attachment;
    hash(&[network.as_str(), container.as_str(), ifname.as_str()])
}

fn of_key(network: &NetworkName, ifname: &IfName, family: Family, key: &str) -> String {
    hash(&[network.as_str(), ifname.as_str(), &family.to_string(), key])
}

/// The text where it can stand in a label, else its hash. A hash begins with a letter that no address and no uid has.
fn value(text: &str) -> String {
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let fits = bytes.len() <= LONGEST
        && is_end(bytes.first())
        && is_end(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if fits { text.to_owned() } else { format!("x-{}", hash(&[text])) }
}

/// 128 bits over parts of any content: no two lists of parts are written alike.
fn hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use tenure_store::contract::samples::lease;

    use super::*;

    #[test]
    fn labels_say_what_the_record_says() {
        let labels = labels(&lease("fd00::1"));
        assert_eq!(labels[POOL], "blue-v4");
        assert_eq!(labels[FAMILY], "ipv6");
        assert_eq!(labels[NODE], "worker-17");
        assert_eq!(labels[OWNER], "0b5e3c1a-9f42-4c77-8d11-5a6b7c8d9e0f");
        assert!(!labels.contains_key(KEY));
    }

    #[test]
    fn what_no_label_can_hold_is_hashed_and_parts_do_not_run_together() {
        assert_eq!(value("worker-17"), "worker-17");
        for odd in ["", "-a", "a/b", &"a".repeat(64)] {
            let value = value(odd);
            assert!(value.starts_with("x-") && value.len() == 34, "{value}");
        }
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
    }
}
