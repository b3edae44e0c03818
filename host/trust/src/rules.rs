//! The rules by which a daemon trusts a module, and their verdict in words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use tenure_core::name::Digest;
use tenure_core::objects::PolicySource;

use crate::envelope::Signatures;
use crate::error::TrustError;
use crate::key::PublicKey;

/// Each signature is checked with each of them.
const KEYS: usize = 32;

/// The table `[policy.trust]` of `tenured.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustSettings {
    /// Public keys by name: the path of a PEM file, or the PEM text itself.
    pub keys: BTreeMap<String, String>,
    /// Names of keys that must all have signed.
    #[serde(default)]
    pub all_of: Vec<String>,
    /// A number of names of which some must have signed.
    #[serde(default)]
    pub any_of: Option<AnyOf>,
    /// Whether `bundled` policies, which come with the daemon, serve without a signature.
    #[serde(default = "yes")]
    pub exempt_bundled: bool,
}

/// At least `minimum` of `keys`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnyOf {
    /// How many; 1 unless set.
    #[serde(default = "one")]
    pub minimum: usize,
    /// Names of keys.
    pub keys: Vec<String>,
}

/// Rules that have been checked, with their keys read.
#[derive(Debug, Clone)]
pub struct Trust {
    keys: Vec<(String, PublicKey)>,
    all_of: BTreeSet<usize>,
    any_of: Option<(usize, BTreeSet<usize>)>,
    exempt_bundled: bool,
}

/// Why a module is not trusted: which keys are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distrust {
    digest: Digest,
    /// `release (sha256:..)`
    all_missing: Vec<String>,
    any_missing: Option<(usize, Vec<String>)>,
    found: String,
}

// === impl Trust ===

impl Trust {
    /// Reads the keys and checks that the rules can be met and mean something.
    ///
    /// # Errors
    /// [`TrustError::Rules`] naming the setting; [`TrustError::File`] and [`TrustError::Key`] of a key.
    pub fn new(settings: &TrustSettings) -> Result<Self, TrustError> {
        let keys = read_keys(&settings.keys)?;
        let all_of = places(&keys, "allOf", &settings.all_of)?;
        let any_of = settings.any_of.as_ref().map(|any_of| any(&keys, any_of)).transpose()?;
        if all_of.is_empty() && any_of.is_none() {
            return Err(rules("it has neither allOf nor anyOf, so that no key would be asked for"));
        }
        Ok(Self { keys, all_of, any_of, exempt_bundled: settings.exempt_bundled })
    }

    /// Whether modules of that source serve without being asked for signatures.
    #[must_use]
    pub fn exempts(&self, source: &PolicySource) -> bool {
        self.exempt_bundled && matches!(source, PolicySource::Bundled(_))
    }

    /// Judges the component of that digest. Answers the names of the keys that vouch for it.
    ///
    /// # Errors
    /// [`Distrust`], naming the keys that are missing.
    pub fn judge(&self, digest: &Digest, signatures: &Signatures) -> Result<Vec<&str>, Distrust> {
        let keys: Vec<&PublicKey> = self.keys.iter().map(|(_, key)| key).collect();
        let signers = signatures.signers(digest, &keys);
        let missing = |wanted: &BTreeSet<usize>| -> Vec<String> {
            let lacking = |(place, (name, key)): (usize, &(String, PublicKey))| {
                let lacks = wanted.contains(&place) && !signers.contains(&place);
                lacks.then(|| format!("{name} ({})", key.id()))
            };
            self.keys.iter().enumerate().filter_map(lacking).collect()
        };
        let all_missing = missing(&self.all_of);
        let any_missing = self.any_of.as_ref().and_then(|(minimum, wanted)| {
            let short = minimum.saturating_sub(wanted.intersection(&signers).count());
            (short > 0).then(|| (short, missing(wanted)))
        });
        if all_missing.is_empty() && any_missing.is_none() {
            return Ok(self.names(&signers));
        }
        let found = self.found(&signers, digest, signatures);
        Err(Distrust { digest: digest.clone(), all_missing, any_missing, found })
    }

    fn names(&self, places: &BTreeSet<usize>) -> Vec<&str> {
        let named = self.keys.iter().enumerate().filter(|(place, _)| places.contains(place));
        named.map(|(_, (name, _))| name.as_str()).collect()
    }

    fn found(&self, signers: &BTreeSet<usize>, digest: &Digest, signatures: &Signatures) -> String {
        if !signers.is_empty() {
            return format!("it is signed by {} only", self.names(signers).join(", "));
        }
        if signatures.is_empty() {
            return "it has no signature".to_owned();
        }
        if !signatures.speak_of(digest) {
            return "its signatures are those of another module".to_owned();
        }
        let claimed: Vec<&str> = signatures.claimed().into_iter().collect();
        format!(
            "none of its signatures verifies with a trusted key (they name {})",
            match claimed.is_empty() {
                true => "no key".to_owned(),
                false => claimed.join(", "),
            }
        )
    }
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not trusted: {}; missing:", self.digest, self.found)?;
        if !self.all_missing.is_empty() {
            write!(f, " {}", self.all_missing.join(" and "))?;
        }
        if let Some((short, keys)) = &self.any_missing {
            let and = if self.all_missing.is_empty() { "" } else { ", and" };
            write!(f, "{and} {short} of {}", keys.join(", "))?;
        }
        f.write_str(". Sign it with `tenure policy sign`, or change policy.trust of the daemon")
    }
}

impl std::error::Error for Distrust {}

fn read_keys(settings: &BTreeMap<String, String>) -> Result<Vec<(String, PublicKey)>, TrustError> {
    if settings.len() > KEYS {
        return Err(rules(&format!("it names {} keys, at most {KEYS}", settings.len())));
    }
    let mut keys: Vec<(String, PublicKey)> = Vec::new();
    for (name, text) in settings {
        let place = format!("policy.trust.keys.{name}");
        let key = match text.trim_start().starts_with("-----BEGIN") {
            true => PublicKey::from_pem(&place, text)?,
            false => PublicKey::read(Path::new(text))?,
        };
        // Else one signature would count as two.
        if let Some((other, _)) = keys.iter().find(|(_, known)| *known == key) {
            return Err(rules(&format!("keys.{other} and keys.{name} are one key")));
        }
        keys.push((name.clone(), key));
    }
    Ok(keys)
}

fn places(
    keys: &[(String, PublicKey)],
    setting: &str,
    names: &[String],
) -> Result<BTreeSet<usize>, TrustError> {
    let place = |name: &String| {
        keys.iter().position(|(known, _)| known == name).ok_or_else(|| {
            let known: Vec<&str> = keys.iter().map(|(name, _)| name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            rules(&format!("{setting} names the key {name:?}; under keys there is {known}"))
        })
    };
    names.iter().map(place).collect()
}

fn any(
    keys: &[(String, PublicKey)],
    any_of: &AnyOf,
) -> Result<(usize, BTreeSet<usize>), TrustError> {
    let wanted = places(keys, "anyOf.keys", &any_of.keys)?;
    let AnyOf { minimum, .. } = *any_of;
    if !(1..=wanted.len()).contains(&minimum) {
        let count = wanted.len();
        return Err(rules(&format!(
            "anyOf.minimum is {minimum}; it must be from 1 to {count}, the number of its keys"
        )));
    }
    Ok((minimum, wanted))
}

fn rules(why: &str) -> TrustError {
    TrustError::Rules(why.to_owned())
}

fn yes() -> bool {
    true
}

fn one() -> usize {
    1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SecretKey;

    struct World {
        keys: Vec<SecretKey>,
        digest: Digest,
    }

    impl World {
        fn new() -> Self {
            let keys = (0..4).map(|_| SecretKey::generate().unwrap()).collect();
            Self { keys, digest: Digest::of(b"module") }
        }

        /// Keys a, b and c are named; the fourth is a stranger's.
        fn settings(&self, rules: &str) -> TrustSettings {
            let mut text = format!("{rules}\n[keys]\n");
            for (name, key) in ["a", "b", "c"].iter().zip(&self.keys) {
                text += &format!("{name} = '''{}'''\n", key.public().to_pem().unwrap());
            }
            toml::from_str(&text).unwrap()
        }

        fn judge(&self, rules: &str, signers: &[usize]) -> Result<String, String> {
            let trust = Trust::new(&self.settings(rules)).unwrap();
            let mut signatures = Signatures::default();
            for signer in signers {
                signatures.sign(&self.digest, &self.keys[*signer]).unwrap();
            }
            let judged = trust.judge(&self.digest, &signatures);
            judged.map(|names| names.join(" ")).map_err(|error| error.to_string())
        }

        fn id(&self, key: usize) -> &str {
            self.keys[key].public().id().as_str()
        }
    }

    #[test]
    fn all_of_and_any_of_are_both_asked() {
        let world = World::new();
        let rules = "allOf = ['a']\nanyOf = {minimum = 1, keys = ['b', 'c']}";
        assert_eq!(world.judge(rules, &[0, 2]).unwrap(), "a c");
        assert_eq!(world.judge(rules, &[0, 1, 2]).unwrap(), "a b c");
        for short in [&[][..], &[0], &[1, 2], &[3]] {
            world.judge(rules, short).unwrap_err();
        }
        let two = "anyOf = {minimum = 2, keys = ['a', 'b', 'c']}";
        assert_eq!(world.judge(two, &[0, 2]).unwrap(), "a c");
        world.judge(two, &[0, 0, 3]).unwrap_err();
    }

    #[test]
    fn a_refusal_names_the_keys_that_are_missing_and_what_was_found() {
        let world = World::new();
        let rules = "allOf = ['a']\nanyOf = {minimum = 1, keys = ['b', 'c']}";
        let said = world.judge(rules, &[1]).unwrap_err();
        assert!(said.contains("signed by b only"), "{said}");
        assert!(said.contains(&format!("missing: a ({}).", world.id(0))), "{said}");
        let said = world.judge(rules, &[0]).unwrap_err();
        assert!(said.contains(&format!("missing: 1 of b ({}), c (", world.id(1))), "{said}");
        let said = world.judge(rules, &[]).unwrap_err();
        assert!(said.contains("it has no signature; missing: a ("), "{said}");
        assert!(said.contains("), and 1 of b ("), "{said}");
        let said = world.judge(rules, &[3]).unwrap_err();
        assert!(said.contains(&format!("trusted key (they name {})", world.id(3))), "{said}");
    }

    #[test]
    fn signatures_of_another_module_are_told_as_such() {
        let world = World::new();
        let trust = Trust::new(&world.settings("allOf = ['a']")).unwrap();
        let mut signatures = Signatures::default();
        signatures.sign(&Digest::of(b"other"), &world.keys[0]).unwrap();
        let said = trust.judge(&world.digest, &signatures).unwrap_err().to_string();
        assert!(said.contains("those of another module"), "{said}");
    }

    #[test]
    fn bundled_policies_are_exempt_unless_it_is_said_otherwise() {
        let world = World::new();
        let bundled = PolicySource::Bundled("grace".to_owned());
        let file = PolicySource::File("/a.wasm".into());
        let trust = |rules: &str| Trust::new(&world.settings(rules)).unwrap();
        assert!(trust("allOf = ['a']").exempts(&bundled));
        assert!(!trust("allOf = ['a']").exempts(&file));
        assert!(!trust("exemptBundled = false\nallOf = ['a']").exempts(&bundled));
    }

    #[test]
    fn rules_that_mean_nothing_or_cannot_be_met_are_refused() {
        let world = World::new();
        for (rules, said) in [
            ("", "neither allOf nor anyOf"),
            ("allOf = ['d']", "allOf names the key \"d\"; under keys there is a, b, c"),
            ("anyOf = {minimum = 0, keys = ['a']}", "anyOf.minimum is 0; it must be from 1 to 1"),
            ("anyOf = {minimum = 2, keys = ['a', 'a']}", "anyOf.minimum is 2; it must be from 1"),
            ("anyOf = {keys = []}", "anyOf.minimum is 1; it must be from 1 to 0"),
        ] {
            let error = Trust::new(&world.settings(rules)).unwrap_err().to_string();
            assert!(error.contains(said), "{rules}: {error}");
        }
        let mut twice = world.settings("anyOf = {minimum = 2, keys = ['a', 'again']}");
        let same = twice.keys["a"].clone();
        twice.keys.insert("again".to_owned(), same);
        let error = Trust::new(&twice).unwrap_err().to_string();
        assert!(error.contains("keys.a and keys.again are one key"), "{error}");
        let mut absent = world.settings("allOf = ['a']");
        absent.keys.insert("a".to_owned(), "/no/such/key.pub".to_owned());
        let error = Trust::new(&absent).unwrap_err().to_string();
        assert!(error.contains("/no/such/key.pub"), "{error}");
    }
}
