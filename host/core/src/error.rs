//! What every error of Tenure can say about itself, and the one table that turns it into the
//! codes of the outside: CNI error codes and HTTP statuses.

use serde::{Deserialize, Serialize};

/// Who must act on an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// The request is wrong as written; sending it again changes nothing.
    Invalid,
    /// The named object does not exist.
    NotFound,
    /// A rule refuses the request in the present state (taken address, held pool, live holder).
    Refused,
    /// Nothing is wrong, but it cannot be done now: try later.
    Retry,
    /// The configuration or the machine needs an operator.
    Operator,
    /// The store or the disk failed.
    Io,
    /// A defect of Tenure.
    Bug,
}

/// An error with a stable code for programs, a kind that says who must act, and a message for its
/// reader. `Display` is the public message: what happened, to which object, what to do next.
pub trait Coded: std::error::Error {
    /// A stable upper-case code such as `POOL_EXHAUSTED`.
    fn code(&self) -> &str;
    /// Who must act.
    fn kind(&self) -> Kind;
    /// What only the log should carry.
    fn detail(&self) -> Option<String> {
        None
    }
}

impl Kind {
    /// The CNI error code (CNI specification, section "Error"; `reference` codes of 100 and above are ours).
    ///
    /// Code 3 is never used: it tells the runtime that no DEL is needed.
    #[must_use]
    pub fn cni_code(self) -> u32 {
        match self {
            Kind::Invalid => 7,
            Kind::NotFound => 101,
            Kind::Refused => 102,
            Kind::Retry => 11,
            Kind::Operator => 103,
            Kind::Io => 5,
            Kind::Bug => 104,
        }
    }

    /// The HTTP status of the admin API.
    #[must_use]
    pub fn http_status(self) -> u16 {
        match self {
            Kind::Invalid => 400,
            Kind::NotFound => 404,
            Kind::Refused => 409,
            Kind::Retry => 503,
            Kind::Operator | Kind::Io | Kind::Bug => 500,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_3_is_never_answered() {
        for kind in [
            Kind::Invalid,
            Kind::NotFound,
            Kind::Refused,
            Kind::Retry,
            Kind::Operator,
            Kind::Io,
            Kind::Bug,
        ] {
            assert_ne!(kind.cni_code(), 3, "{kind:?}: code 3 lets a runtime skip DEL");
        }
    }
}
