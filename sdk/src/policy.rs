//! The traits that an author implements. No hook has a default body, so that nothing is offered by
//! accident.

use serde::de::DeserializeOwned;

use crate::{
    AffinityAnswer, AffinityRequest, Candidates, FieldError, PolicyError, ReclaimRequest,
    SelectRequest, Selection, Verdicts,
};

/// What a policy says of itself before it has settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its name, 1 to 128 bytes.
    pub name: String,
    /// Its version, 1 to 128 bytes.
    pub version: String,
    /// JSON Schema of its settings, draft 2020-12, without `$ref`.
    pub settings_schema: String,
}

/// Mandatory: settings in, policy out.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a policy: write `impl Policy for {Self}`"
)]
pub trait Policy: Sized + 'static {
    /// What an operator writes under `spec.settings`. Derive `Deserialize` with
    /// `deny_unknown_fields`, so that a misspelt field is an error.
    type Settings: DeserializeOwned;

    /// Name, version and schema.
    fn describe() -> Description;

    /// Makes the policy. Called for each decision, so it should be quick.
    ///
    /// # Errors
    /// What the schema cannot say, each at a JSON pointer such as `/retain/seconds`.
    fn new(settings: Self::Settings) -> Result<Self, Vec<FieldError>>;

    /// Keys of the attributes that requests shall carry, e.g. `pod.annotation/tenure.dev/pools`. They may
    /// depend on the settings; anything not named here does not reach the policy.
    fn attribute_keys(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The hook `select`: which pools, in which order.
#[diagnostic::on_unimplemented(
    message = "`export!` names the hook `select`, but `{Self}` does not implement `Select`"
)]
pub trait Select: Policy {
    /// Ranks pools for one holder.
    ///
    /// # Errors
    /// "I cannot decide": recorded, and answered by the host's built-in strategy.
    fn select(
        &self,
        request: &SelectRequest,
        candidates: &Candidates,
    ) -> Result<Selection, PolicyError>;
}

/// The hook `affinity`: which address, and what to keep for whom.
#[diagnostic::on_unimplemented(
    message = "`export!` names the hook `affinity`, but `{Self}` does not implement `Affinity`"
)]
pub trait Affinity: Policy {
    /// Chooses for one holder.
    ///
    /// # Errors
    /// "I cannot decide": recorded, and answered by the host's built-in strategy.
    fn affinity(&self, request: &AffinityRequest) -> Result<AffinityAnswer, PolicyError>;
}

/// The hook `reclaim`: how long to wait before a lease is taken back.
#[diagnostic::on_unimplemented(
    message = "`export!` names the hook `reclaim`, but `{Self}` does not implement `Reclaim`"
)]
pub trait Reclaim: Policy {
    /// One verdict, or no opinion, per lease of the request, in its order.
    ///
    /// # Errors
    /// "I cannot decide": recorded, and all leases of the request get the longest grace.
    fn reclaim(&self, request: &ReclaimRequest) -> Result<Verdicts, PolicyError>;
}

// === impl Description ===

impl Description {
    /// Takes the three texts.
    #[must_use]
    pub fn new(name: &str, version: &str, settings_schema: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            settings_schema: settings_schema.to_owned(),
        }
    }
}

impl PolicyError {
    /// A short code for programs, a message for people.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}

impl FieldError {
    /// `path` is a JSON pointer, empty for the whole.
    #[must_use]
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl crate::Holder {
    /// The value of an attribute that the policy asked for in [`Policy::attribute_keys`].
    #[must_use]
    pub fn attribute(&self, key: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|attribute| attribute.key == key)?;
        Some(found.value.as_str())
    }
}
