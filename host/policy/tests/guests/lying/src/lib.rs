//! Describes itself with a settings schema that is none.

use tenure_policy::*;

pub struct Lying;

impl Policy for Lying {
    type Settings = NoSettings;

    fn describe() -> Description {
        Description::new("lying", "1", "{not json")
    }

    fn new(_: NoSettings) -> Result<Self, Vec<FieldError>> {
        Ok(Self)
    }
}

impl Select for Lying {
    fn select(&self, _: &SelectRequest, _: &Candidates) -> Result<Selection, PolicyError> {
        Ok(Selection::Abstain)
    }
}

export!(Lying: select);
