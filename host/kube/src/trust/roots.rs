//! What the Secret holds.
//!
//! ```text
//! tls.crt tls.key    the CA that signs
//! next.crt next.key  the one that will follow
//! next.published     since when it stands in the bundle (RFC 3339)
//! old.crt            former ones that have not ended, without their keys
//! ```
//!
//! The bundle in the ConfigMap follows from it and is written anew where it differs: a certificate that somebody puts there by
//! hand does not stay.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use tenure_core::time::WallMs;

use super::certificates::{Ca, Root, Unusable, pieces};
use super::rotation::{Held, Next, Step};

const PRESENT: (&str, &str) = ("tls.crt", "tls.key");
const FOLLOWING: (&str, &str) = ("next.crt", "next.key");
const PUBLISHED: &str = "next.published";
const OLD: &str = "old.crt";
/// So many former ones are kept, newest first, however short they live (I12).
const OLD_ONES: usize = 4;

type Content = BTreeMap<String, ByteString>;

/// The CAs of the Secret.
#[derive(Clone)]
pub(super) struct Roots {
    pub(super) present: Ca,
    next: Option<(Ca, Option<WallMs>)>,
    old: Vec<Root>,
}

// === impl Roots ===

impl Roots {
    pub(super) fn first(now: WallMs, life: Duration) -> Result<Self, Unusable> {
        Ok(Self { present: Ca::make(now, life)?, next: None, old: Vec::new() })
    }

    pub(super) fn read(content: &Content) -> Result<Self, Unusable> {
        let present =
            pair(content, PRESENT)?.ok_or_else(|| Unusable(format!("{} is missing", PRESENT.0)))?;
        let published = text(content, PUBLISHED)?.and_then(WallMs::from_rfc3339);
        let next = pair(content, FOLLOWING)?.map(|ca| (ca, published));
        let old = text(content, OLD)?.unwrap_or_default();
        let old: Result<Vec<Root>, Unusable> = pieces(old).map(Root::read).collect();
        Ok(Self { present, next, old: old? })
    }

    pub(super) fn content(&self) -> Content {
        let mut content = Content::new();
        let mut put = |key: &str, text: String| {
            content.insert(key.to_owned(), ByteString(text.into_bytes()));
        };
        put(PRESENT.0, self.present.root.pem.clone());
        put(PRESENT.1, self.present.key_pem.clone());
        if let Some((next, published)) = &self.next {
            put(FOLLOWING.0, next.root.pem.clone());
            put(FOLLOWING.1, next.key_pem.clone());
            if let Some(at) = published {
                put(PUBLISHED, at.to_rfc3339_ms());
            }
        }
        if !self.old.is_empty() {
            put(OLD, joined(self.old.iter()));
        }
        content
    }

    /// What agents are to trust, newest first.
    pub(super) fn bundle(&self) -> String {
        let next = self.next.iter().map(|(next, _)| &next.root);
        joined(next.chain([&self.present.root]).chain(&self.old))
    }

    pub(super) fn held(&self) -> Held {
        Held {
            present: self.present.root.life,
            next: self
                .next
                .as_ref()
                .map(|(next, published)| Next { life: next.root.life, published: *published }),
            old: self.old.iter().map(|root| root.life).collect(),
        }
    }

    /// After a step.
    pub(super) fn after(
        mut self,
        step: Step,
        now: WallMs,
        life: Duration,
    ) -> Result<Self, Unusable> {
        match step {
            Step::Rest => {}
            Step::Replace => {
                let present = Ca::make(now, life)?;
                self.retire(present);
                self.next = None;
            }
            Step::MakeNext => self.next = Some((Ca::make(now, life)?, None)),
            Step::NotePublished => {
                if let Some((_, published)) = &mut self.next {
                    *published = Some(now);
                }
            }
            Step::Promote => {
                if let Some((next, _)) = self.next.take() {
                    self.retire(next);
                }
            }
            Step::ForgetOld => {}
        }
        self.old.retain(|root| root.life.is_valid(now));
        self.old.truncate(OLD_ONES);
        Ok(self)
    }

    fn retire(&mut self, successor: Ca) {
        let former = std::mem::replace(&mut self.present, successor);
        self.old.insert(0, former.root);
    }
}

fn text<'a>(content: &'a Content, key: &str) -> Result<Option<&'a str>, Unusable> {
    let Some(bytes) = content.get(key) else { return Ok(None) };
    let text = std::str::from_utf8(&bytes.0).map_err(|_| Unusable(format!("{key} is no text")))?;
    Ok(Some(text))
}

fn pair(content: &Content, (crt, key): (&str, &str)) -> Result<Option<Ca>, Unusable> {
    match (text(content, crt)?, text(content, key)?) {
        (Some(pem), Some(key_pem)) => {
            let read = Ca::read(pem, key_pem);
            read.map(Some).map_err(|why| Unusable(format!("{crt}, {key}: {why}")))
        }
        (None, None) => Ok(None),
        _ => Err(Unusable(format!("one of {crt} and {key} is missing"))),
    }
}

fn joined<'a>(roots: impl Iterator<Item = &'a Root>) -> String {
    roots.map(|root| root.pem.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallMs = WallMs(1_780_000_000_000);
    const LIFE: Duration = Duration::from_secs(90 * 24 * 3600);

    fn same(a: &Roots, b: &Roots) -> bool {
        a.content() == b.content() && a.held() == b.held() && a.bundle() == b.bundle()
    }

    #[test]
    fn what_is_written_reads_back_in_each_state() {
        let mut roots = Roots::first(NOW, LIFE).unwrap();
        for step in [
            Step::Rest,
            Step::MakeNext,
            Step::NotePublished,
            Step::Promote,
            Step::MakeNext,
            Step::Promote,
            Step::Replace,
        ] {
            roots = roots.after(step, NOW, LIFE).unwrap();
            assert!(same(&Roots::read(&roots.content()).unwrap(), &roots), "after {step:?}");
        }
        assert_eq!(roots.old.len(), 3);
    }

    #[test]
    fn the_bundle_begins_with_the_newest_and_keeps_the_old() {
        let first = Roots::first(NOW, LIFE).unwrap();
        let made = first.clone().after(Step::MakeNext, NOW, LIFE).unwrap();
        assert!(made.bundle().ends_with(&first.bundle()));
        assert_ne!(made.bundle(), first.bundle());
        let promoted = made.clone().after(Step::Promote, NOW, LIFE).unwrap();
        assert_eq!(promoted.bundle(), made.bundle(), "agents need not read it again");
        assert!(promoted.bundle().starts_with(&promoted.present.root.pem));
    }

    #[test]
    fn a_key_of_another_ca_is_refused() {
        let (one, other) = (Roots::first(NOW, LIFE).unwrap(), Roots::first(NOW, LIFE).unwrap());
        let mut content = one.content();
        content.insert(PRESENT.1.to_owned(), other.content().remove(PRESENT.1).unwrap());
        assert!(Roots::read(&content).is_err_and(|why| why.to_string().contains("not that of")));
    }

    #[test]
    fn half_a_pair_is_refused() {
        let mut content = Roots::first(NOW, LIFE).unwrap().content();
        content.remove(PRESENT.1);
        assert!(Roots::read(&content).is_err());
    }
}
