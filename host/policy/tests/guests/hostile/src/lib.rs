//! Misbehaves as its request says (`cni.args/hostile`), so that it passes the load pipeline and fails
//! where a real policy would: at work. `init` misbehaves as the settings say.

use std::sync::atomic::{AtomicU32, Ordering};

use serde::Deserialize;
use tenure_policy::*;

const MODE: &str = "cni.args/hostile";

static MADE: AtomicU32 = AtomicU32::new(0);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    init: String,
    attribute: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { init: "ok".to_owned(), attribute: MODE.to_owned() }
    }
}

pub struct Hostile(String);

impl Policy for Hostile {
    type Settings = Settings;

    fn describe() -> Description {
        let schema = r#"{"type": "object", "additionalProperties": false, "properties":
            {"init": {"type": "string"}, "attribute": {"type": "string", "minLength": 3}}}"#;
        Description::new("hostile", "1", schema)
    }

    fn new(settings: Settings) -> Result<Self, Vec<FieldError>> {
        match settings.init.as_str() {
            "loop" => spin(),
            "panic" => panic!("init does not want to"),
            "refuse" => return Err(vec![FieldError::new("/init", "refused by the policy itself")]),
            // `validate-settings` makes one first and says that all is well.
            "lie" if MADE.fetch_add(1, Ordering::Relaxed) > 0 => {
                return Err(vec![FieldError::new("/init", "changed its mind")]);
            }
            _ => {}
        }
        Ok(Self(settings.attribute))
    }

    fn attribute_keys(&self) -> Vec<String> {
        vec![self.0.clone()]
    }
}

impl Select for Hostile {
    fn select(
        &self,
        request: &SelectRequest,
        candidates: &Candidates,
    ) -> Result<Selection, PolicyError> {
        let count = u32::try_from(candidates.len()).unwrap_or(u32::MAX);
        match mode(&request.holder) {
            "first" => Ok(Selection::Ranked(vec![0])),
            "last" => Ok(Selection::Ranked(vec![count - 1])),
            "deny" => Ok(Selection::Deny("because".to_owned())),
            "attributes" => Ok(Selection::Deny(format!("{:?}", request.holder.attributes))),
            "huge-list" => Ok(Selection::Ranked(vec![0; 1 << 20])),
            "huge-string" => Ok(Selection::Deny("x".repeat(4 << 20))),
            // Not sound, and that is the point: the host must notice.
            "bad-utf8" => {
                Ok(Selection::Deny(unsafe { String::from_utf8_unchecked(vec![0xff, 0xfe]) }))
            }
            "out-of-range" => Ok(Selection::Ranked(vec![0, count])),
            "duplicate" => Ok(Selection::Ranked(vec![0, 1, 0])),
            "too-many" => Ok(Selection::Ranked((0..17).collect())),
            "nothing" => Ok(Selection::Ranked(Vec::new())),
            "no-reason" => Ok(Selection::Deny(" ".to_owned())),
            other => misbehave(other).map(|()| Selection::Abstain),
        }
    }
}

impl Affinity for Hostile {
    fn affinity(&self, request: &AffinityRequest) -> Result<AffinityAnswer, PolicyError> {
        let address = |text: &str| Address::from(text.parse::<std::net::IpAddr>().unwrap());
        let sticky = |key: String| {
            Choice::Sticky(Sticky {
                key,
                if_held: IfHeld::Wait,
                retain_s: 9,
                preferred: Vec::new(),
            })
        };
        let fixed = |addresses| Choice::Fixed(Fixed { addresses, if_held: IfHeld::Fail });
        let choice = match mode(&request.holder) {
            "sticky" => sticky("key".to_owned()),
            "empty-key" => sticky(String::new()),
            "long-key" => sticky("k".repeat(254)),
            "five" => fixed((1..=5).map(|n| address(&format!("10.6.0.{n}"))).collect()),
            "two" => fixed(vec![address("10.6.0.1"), address("10.6.0.2")]),
            "wrong-family" => fixed(vec![address("fd00::1")]),
            "no-address" => fixed(Vec::new()),
            "reuse-nobody" => Choice::Reuse(vec![99]),
            other => {
                misbehave(other)?;
                Choice::Abstain
            }
        };
        Ok(choice.into())
    }
}

impl Reclaim for Hostile {
    fn reclaim(&self, request: &ReclaimRequest) -> Result<Verdicts, PolicyError> {
        let verdict = Verdict { grace_s: 7, retain_s: 8, cooldown_s: 9, permits_unfenced: true };
        let holder = lease_holder(0);
        match holder.as_ref().map_or("", mode) {
            "all" => Ok(request.leases().map(|_| Some(verdict)).collect()),
            "even" => {
                Ok(request.leases().map(|lease| (lease.row % 2 == 0).then_some(verdict)).collect())
            }
            "short" => Ok([Some(verdict)].into_iter().collect()),
            other => {
                misbehave(other)?;
                Ok(request.leases().map(|_| None).collect())
            }
        }
    }
}

fn mode(holder: &Holder) -> &str {
    holder.attributes.first().map_or("", |attribute| attribute.value.as_str())
}

fn misbehave(mode: &str) -> Result<(), PolicyError> {
    match mode {
        "loop" => spin(),
        "memory" => loop {
            // Not filled: that would cost all the fuel first.
            core::mem::forget(core::hint::black_box(Vec::<u8>::with_capacity(1 << 20)));
        },
        "recurse" => {
            recurse(0, &mut [0; 256]);
        }
        "panic" => panic!("the policy says no"),
        "trap" => {
            #[cfg(target_arch = "wasm32")]
            core::arch::wasm32::unreachable();
        }
        "log-lines" => (0..100_000).for_each(|_| log(Level::Trace, "x")),
        "log-bytes" => (0..10).for_each(|_| log(Level::Info, &"z".repeat(20 << 10))),
        "lookups" => (0..100_000).for_each(|_| drop(pool_name(0))),
        "policy-error" => return Err(PolicyError::new("NO_IDEA", "ask somebody else")),
        "talk" => log(Level::Info, &format!("pool 0 is {:?}", pool_name(0))),
        _ => {}
    }
    Ok(())
}

fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = core::hint::black_box(turns.wrapping_add(1));
    }
}

#[inline(never)]
#[allow(unconditional_recursion)]
fn recurse(depth: u64, pad: &mut [u8; 256]) -> u64 {
    let mut next = [depth as u8; 256];
    next[(depth % 256) as usize] = pad[0];
    core::hint::black_box(&mut next);
    recurse(depth + 1, &mut next) + u64::from(next[3])
}

export!(Hostile: select, affinity, reclaim);
