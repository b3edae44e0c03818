//! What an answer of the API server says of a token.

use k8s_openapi::api::authentication::v1::TokenReviewStatus;

use super::review::{ReviewOptions, Reviewed};

const NODE: &str = "authentication.kubernetes.io/node-name";
const POD: &str = "authentication.kubernetes.io/pod-name";
/// What is wrong with a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is empty, or too long for a token.
    #[error("it has the length of no token")]
    Length,
    /// The API server does not know it (any more), or it was made for another audience.
    #[error("the API server says: {why}")]
    NotAuthenticated {
        /// The API server's reason.
        why: String,
    },
    /// The API server did not look at its audience.
    #[error("it was not made for {audience}")]
    Audience {
        /// Whom it should have been made for.
        audience: String,
    },
    /// It is a token of somebody else.
    #[error("{user} is not the account of the agents")]
    Account {
        /// Whose it is.
        user: String,
    },
    /// It speaks for no pod on a node.
    #[error(
        "it is bound to no node: an agent uses the token that is mounted into its pod, and Kubernetes is 1.30 or newer"
    )]
    NoNode,
}

// === impl ReviewOptions ===

impl ReviewOptions {
    pub(super) fn judge(&self, status: TokenReviewStatus) -> Result<Reviewed, Refusal> {
        if status.authenticated != Some(true) {
            let why = status.error.unwrap_or_else(|| "not authenticated".to_owned());
            return Err(Refusal::NotAuthenticated { why });
        }
        // An authenticator that knows of no audiences answers none: then the token may be meant for anybody.
        if !status.audiences.unwrap_or_default().contains(&self.audience) {
            return Err(Refusal::Audience { audience: self.audience.clone() });
        }
        let user = status.user.unwrap_or_default();
        let name = user.username.unwrap_or_default();
        if name != self.service_account {
            return Err(Refusal::Account { user: name });
        }
        let extra = user.extra.unwrap_or_default();
        let one = |key: &str| match extra.get(key).map(Vec::as_slice) {
            Some([value]) if !value.is_empty() => Ok(value.clone()),
            _ => Err(Refusal::NoNode),
        };
        Ok(Reviewed { node: one(NODE)?, pod: one(POD)? })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::api::authentication::v1::UserInfo;

    use super::*;

    fn good() -> TokenReviewStatus {
        let extra = [(NODE, "n1"), (POD, "agent-1")];
        let extra = extra.map(|(key, value)| (key.to_owned(), vec![value.to_owned()]));
        TokenReviewStatus {
            authenticated: Some(true),
            audiences: Some(vec!["tenure-allocator".to_owned()]),
            user: Some(UserInfo {
                username: Some("system:serviceaccount:tenure-system:tenure-agent".to_owned()),
                extra: Some(BTreeMap::from(extra)),
                ..UserInfo::default()
            }),
            error: None,
        }
    }

    fn judged(change: impl FnOnce(&mut TokenReviewStatus)) -> Result<Reviewed, Refusal> {
        let mut status = good();
        change(&mut status);
        ReviewOptions::default().judge(status)
    }

    #[test]
    fn a_review_counts_only_whole() {
        let reviewed = Reviewed { node: "n1".to_owned(), pod: "agent-1".to_owned() };
        assert_eq!(judged(|_| {}), Ok(reviewed));
        assert!(matches!(
            judged(|it| it.authenticated = None),
            Err(Refusal::NotAuthenticated { .. })
        ));
        assert!(matches!(judged(|it| it.audiences = None), Err(Refusal::Audience { .. })));
        assert!(matches!(judged(|it| it.user = None), Err(Refusal::Account { .. })));
        for key in [NODE, POD] {
            let without = judged(|it| {
                it.user.as_mut().unwrap().extra.as_mut().unwrap().remove(key);
            });
            assert_eq!(without, Err(Refusal::NoNode), "{key}");
            let ambiguous = judged(|it| {
                let extra = it.user.as_mut().unwrap().extra.as_mut().unwrap();
                extra.get_mut(key).unwrap().push("n2".to_owned());
            });
            assert_eq!(ambiguous, Err(Refusal::NoNode), "{key}");
        }
    }
}
