//! `Key:   value` lines and indented lists.

use tenure_core::lease::Owner;
use tenure_core::objects::Metadata;

use crate::shown::{CELL, LINE, shown};

/// Where values begin.
const COLUMN: usize = 18;

/// A text that grows line by line.
#[derive(Debug, Default)]
pub(in crate::commands) struct Text(String);

impl Text {
    /// One key and its value; nothing for an empty value.
    pub(in crate::commands) fn line(
        &mut self,
        key: &str,
        value: impl std::fmt::Display,
    ) -> &mut Self {
        let value = shown(&value.to_string(), LINE);
        if !value.is_empty() {
            self.0.push_str(&format!("{:<COLUMN$}{value}\n", format!("{key}:")));
        }
        self
    }

    /// A key and one indented line per item; `none` where there is none.
    pub(in crate::commands) fn list(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = String>,
    ) -> &mut Self {
        let mut items = items.into_iter().peekable();
        if items.peek().is_none() {
            return self.line(key, "none");
        }
        self.0.push_str(&format!("{key}:\n"));
        items.for_each(|item| self.0.push_str(&format!("  {}\n", shown(&item, LINE))));
        self
    }

    pub(super) fn metadata(&mut self, metadata: &Metadata) -> &mut Self {
        self.line("Name", &metadata.name);
        let pairs = |of: &std::collections::BTreeMap<String, String>| {
            of.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
        };
        self.line("Labels", pairs(&metadata.labels));
        self.line("Annotations", pairs(&metadata.annotations))
    }

    pub(in crate::commands) fn finish(&mut self) -> String {
        std::mem::take(&mut self.0)
    }
}

/// An owner among other things on a line: it shall not push them out of sight.
pub(super) fn owner(owner: &Owner) -> String {
    shown(&owner.to_string(), CELL)
}

/// One after another, on one line.
pub(super) fn joined<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
