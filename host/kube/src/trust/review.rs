//! Which node and pod the token of an agent speaks for: the API server's review of it.
//!
//! Kubernetes binds the token that it mounts into a pod to that pod, and since 1.30 tells the pod's node with a review
//! (KEP-4193). So a token that was stolen from one node is worth nothing for the leases of another.
//!
//! # Guarantees
//! - A token counts for [`ReviewOptions::keep`] after a review, whatever becomes of its pod meanwhile, and for
//!   [`ReviewOptions::keep_away`] while the API server gives no answer. After that, without an answer, nobody is let in.
//! - Only good reviews are kept, under a hash of the token: no token is. A refusal is asked for anew each time.
//! - The time of a review, requests at once, the length of a token and the number of reviews kept are bounded (I12).

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout};

use super::verdict::Refusal;
use crate::store::calls::Calls;

/// Reviews at once: each agent has one token, and asks when it connects.
const REQUESTS: usize = 16;
/// Those that wait for a place among them wait so many deadlines in all.
const PATIENCE: u32 = 2;
/// Tokens of Kubernetes have about 1 KiB.
const LONGEST_TOKEN: usize = 16 * 1024;
/// One per agent, and as many for tokens that were renewed since: Kubernetes has 5000 nodes at most.
const KEPT: usize = 10_000;

/// Settings of the reviews.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewOptions {
    /// The audience for which agents' tokens are made.
    pub audience: String,
    /// The account of the agents.
    pub service_account: String,
    /// A good review counts for so long.
    pub keep: Duration,
    /// It counts for so long if the API server gives no answer.
    pub keep_away: Duration,
    /// How long one request may take.
    pub call_deadline: Duration,
}

/// For whom a token speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reviewed {
    /// The name of the node on which the pod was started.
    pub node: String,
    /// The name of the pod, in the namespace of the account.
    pub pod: String,
}

/// Why a token is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// It is no token of an agent.
    #[error("the token is refused: {0}")]
    Refused(Refusal),
    /// It cannot be known whether it is one: try again later.
    #[error("the token could not be reviewed: {why}")]
    Unavailable {
        /// What happened.
        why: String,
    },
}

/// Asks the API server, and remembers good answers.
#[derive(Debug)]
pub struct Reviewer {
    options: ReviewOptions,
    api: Api<TokenReview>,
    calls: Calls,
    kept: Mutex<HashMap<Hash, Kept>>,
}

type Hash = [u8; 32];

#[derive(Debug, Clone)]
struct Kept {
    reviewed: Reviewed,
    /// From before the request on.
    at: Instant,
}

// === impl ReviewOptions ===

impl Default for ReviewOptions {
    fn default() -> Self {
        Self {
            audience: "tenure-allocator".to_owned(),
            service_account: "system:serviceaccount:tenure-system:tenure-agent".to_owned(),
            keep: Duration::from_secs(5 * 60),
            keep_away: Duration::from_secs(3600),
            call_deadline: Duration::from_secs(5),
        }
    }
}

// === impl Reviewer ===

impl Reviewer {
    /// Nothing is asked before the first review.
    #[must_use]
    pub fn new(client: Client, options: ReviewOptions) -> Self {
        Self {
            api: Api::all(client),
            calls: Calls::new(options.call_deadline, REQUESTS),
            options,
            kept: Mutex::default(),
        }
    }

    /// For which node and pod this token speaks.
    ///
    /// # Errors
    /// It is refused, or the API server gives no answer and none is remembered.
    pub async fn review(&self, token: &str) -> Result<Reviewed, ReviewError> {
        if token.is_empty() || token.len() > LONGEST_TOKEN {
            return Err(ReviewError::Refused(Refusal::Length));
        }
        let hash: Hash = Sha256::digest(token.as_bytes()).into();
        let asked = Instant::now();
        if let Some(reviewed) = self.recall(&hash, asked, self.options.keep) {
            return Ok(reviewed);
        }
        match self.ask(token).await {
            Ok(reviewed) => {
                let kept = Kept { reviewed: reviewed.clone(), at: asked };
                keep(&mut self.kept.lock(), hash, kept, self.options.keep_away);
                Ok(reviewed)
            }
            Err(ReviewError::Refused(refusal)) => {
                self.kept.lock().remove(&hash);
                Err(ReviewError::Refused(refusal))
            }
            Err(unavailable) => {
                let keep_away = self.options.keep_away;
                self.recall(&hash, Instant::now(), keep_away).ok_or(unavailable)
            }
        }
    }

    fn recall(&self, hash: &Hash, now: Instant, counts_for: Duration) -> Option<Reviewed> {
        let kept = self.kept.lock();
        let kept = kept.get(hash).filter(|kept| now.duration_since(kept.at) < counts_for);
        kept.map(|kept| kept.reviewed.clone())
    }

    async fn ask(&self, token: &str) -> Result<Reviewed, ReviewError> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: Some(vec![self.options.audience.clone()]),
            },
            ..TokenReview::default()
        };
        let params = PostParams::default();
        let answer = self.calls.send(self.api.create(&params, &review));
        let unavailable = |why: String| ReviewError::Unavailable { why };
        let answer = timeout(self.options.call_deadline * PATIENCE, answer).await;
        let answer = answer.map_err(|_| unavailable("too many reviews at once".to_owned()))?;
        // A refusal to review (no right to) says nothing of the token.
        let answer = answer.map_err(|failure| unavailable(failure.to_string()))?;
        let status = answer.status.unwrap_or_default();
        self.options.judge(status).map_err(ReviewError::Refused)
    }
}

/// Remembers it; where there are too many, those that count no more go, then the oldest.
fn keep(all: &mut HashMap<Hash, Kept>, hash: Hash, kept: Kept, keep_away: Duration) {
    if all.len() >= KEPT && !all.contains_key(&hash) {
        let now = kept.at;
        all.retain(|_, kept| now.duration_since(kept.at) < keep_away);
        let oldest = all.iter().min_by_key(|(_, kept)| kept.at).map(|(hash, _)| *hash);
        if let Some(oldest) = oldest.filter(|_| all.len() >= KEPT) {
            all.remove(&oldest);
        }
    }
    all.insert(hash, kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_reviews_the_oldest_goes() {
        let (mut all, now) = (HashMap::new(), Instant::now());
        let hash = |n: usize| {
            let mut hash = Hash::default();
            hash[..8].copy_from_slice(&n.to_be_bytes());
            hash
        };
        let reviewed = Reviewed { node: "n".to_owned(), pod: "p".to_owned() };
        let hour = Duration::from_secs(3600);
        for n in 0..=KEPT {
            let at = now + Duration::from_millis(n as u64);
            keep(&mut all, hash(n), Kept { reviewed: reviewed.clone(), at }, hour);
        }
        assert_eq!(all.len(), KEPT);
        assert!(!all.contains_key(&hash(0)) && all.contains_key(&hash(KEPT)));
    }
}
