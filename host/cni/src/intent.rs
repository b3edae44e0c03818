//! A spooled DEL: what the plugin writes when the daemon is down and what the daemon reads later.
//! Lines of `key value`, on std alone; none of the values can hold a line end.
//!
//! It carries an instant, and releases only what was bound before it (invariant I5): an ADD of the same
//! attachment that comes later is safe from it.

use std::fmt::Write as _;

/// At most so many files lie in a spool folder; a DEL beyond is answered with code 11.
pub const MAX_SPOOLED: usize = 10_000;
/// A longer file was not written by us.
pub const MAX_INTENT_BYTES: usize = 4096;
/// What the name of a spooled DEL ends in.
pub const SUFFIX: &str = ".del";

const FIRST_LINE: &str = "tenure-del 1";

/// A DEL that waits for the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The network name.
    pub network: String,
    /// The container id.
    pub container: String,
    /// The interface name.
    pub ifname: String,
    /// The boot in which the DEL came.
    pub boot: String,
    /// `CLOCK_BOOTTIME` when it came, in milliseconds.
    pub boottime_ms: u64,
}

impl Intent {
    /// The text of the file; none where a value could not be read back, or has no meaning to CNI at all.
    #[must_use]
    pub fn to_text(&self) -> Option<String> {
        let values = [&self.network, &self.container, &self.ifname, &self.boot];
        if !values.iter().all(|value| is_plain(value)) {
            return None;
        }
        let mut text = format!("{FIRST_LINE}\n");
        for (key, value) in ["network", "container", "ifname", "boot"].iter().zip(values) {
            let _ = writeln!(text, "{key} {value}");
        }
        let _ = writeln!(text, "boottime_ms {}", self.boottime_ms);
        (text.len() <= MAX_INTENT_BYTES).then_some(text)
    }

    /// Reads the text of a file; none unless it is exactly what [`Intent::to_text`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next() != Some(FIRST_LINE) {
            return None;
        }
        let mut value =
            |key: &str| Some(lines.next()?.strip_prefix(key)?.strip_prefix(' ')?.to_owned());
        let intent = Self {
            network: value("network")?,
            container: value("container")?,
            ifname: value("ifname")?,
            boot: value("boot")?,
            boottime_ms: value("boottime_ms")?.parse().ok()?,
        };
        (intent.to_text().as_deref() == Some(text)).then_some(intent)
    }

    /// The file's name. It depends on the attachment alone, so that a repeated DEL replaces its file.
    #[must_use]
    pub fn file_name(&self) -> String {
        let key =
            [&self.network, &self.container, &self.ifname].map(|part| part.as_str()).join("/");
        format!("{:032x}{SUFFIX}", fnv1a(key.as_bytes()))
    }

    /// Whether `other` frees no more than this one: the same boot, and no later instant.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.boot == other.boot && self.boottime_ms >= other.boottime_ms
    }
}

/// CNI names have neither white space nor control characters, so this refuses no valid one.
fn is_plain(value: &str) -> bool {
    !value.is_empty() && !value.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// FNV-1a, 128 bits: ids are chosen by the runtime, nobody gains from a collision.
fn fnv1a(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent() -> Intent {
        Intent {
            network: "underlay".into(),
            container: "9f".into(),
            ifname: "eth0".into(),
            boot: "b5c6".into(),
            boottime_ms: 1234,
        }
    }

    #[test]
    fn an_intent_survives_writing_and_reading() {
        let text = intent().to_text().unwrap();
        assert_eq!(Intent::parse(&text), Some(intent()));
    }

    #[test]
    fn a_cut_or_foreign_file_is_no_intent() {
        let text = intent().to_text().unwrap();
        for end in 0..text.len() {
            assert_eq!(Intent::parse(&text[..end]), None, "{:?}", &text[..end]);
        }
        assert_eq!(Intent::parse(&format!("{text}more 1\n")), None);
        assert_eq!(Intent::parse(&text.replace("tenure-del 1", "tenure-del 2")), None);
    }

    #[test]
    fn a_value_that_would_forge_a_line_is_refused() {
        for bad in ["", "a b", "a\nboot other", "a\0"] {
            assert_eq!(Intent { container: bad.into(), ..intent() }.to_text(), None, "{bad:?}");
        }
    }

    #[test]
    fn the_name_depends_on_the_attachment_alone() {
        let later = Intent { boottime_ms: 9, boot: "other".into(), ..intent() };
        assert_eq!(later.file_name(), intent().file_name());
        let other = Intent { ifname: "eth1".into(), ..intent() };
        assert_ne!(other.file_name(), intent().file_name());
        assert_eq!(intent().file_name().len(), 36);
    }

    #[test]
    fn the_hash_is_fnv1a() {
        assert_eq!(fnv1a(b""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(fnv1a(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }
}
