//! YAML, and JSON as a part of it, with bounds that are no tighter than that of a request.

use serde::de::DeserializeOwned;
use serde_saphyr::Error;

use crate::error::CliError;

/// Longest body that the daemon takes from `apply`, in bytes (the API's `max_body`).
pub(crate) const MAX_BODY: usize = 1024 * 1024;
/// Documents of a file: the smallest object takes some 100 bytes of the body, so that more could not be sent.
const MAX_DOCUMENTS: usize = 10_000;
/// Nodes of a file: a body full of objects has under 250 000, and the status that `get` adds to each, with a
/// line for each withheld address, a few times as many.
const MAX_NODES: usize = 1_000_000;
/// Events of a file: a node has at most two, its start and its end, and so has a document.
const MAX_EVENTS: usize = 2 * (MAX_NODES + MAX_DOCUMENTS);

/// Reads all documents of a text.
///
/// # Errors
/// The text is not YAML, or larger than the bounds; the message names line and column, or the bounds.
pub(crate) fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<Vec<T>, CliError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: MAX_DOCUMENTS,
            max_nodes: MAX_NODES,
            max_events: MAX_EVENTS,
        },
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let why = match error.without_snippet() {
            Error::Budget { .. } => format!(
                "it is larger than {MAX_DOCUMENTS} documents or {MAX_NODES} YAML nodes; divide it and apply its parts one after another ({error})"
            ),
            // The reader's message names line and column, and shows them.
            _ => error.to_string().trim_start_matches("error: ").to_owned(),
        };
        CliError::Manifest { place: file.to_owned(), why }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_file_beyond_the_bounds_is_refused_by_a_message_that_names_them() {
        let text = "---\na: 1\n".repeat(MAX_DOCUMENTS);
        assert_eq!(read::<Value>("many.yaml", &text).unwrap().len(), MAX_DOCUMENTS);
        let error = read::<Value>("many.yaml", &format!("{text}---\na: 1\n")).unwrap_err();
        let told = error.to_string();
        assert!(told.starts_with("many.yaml: it is larger than 10000 documents"), "{told}");
    }

    #[test]
    fn the_longest_body_is_that_of_the_api() {
        assert_eq!(MAX_BODY, tenure_api::ApiOptions::default().max_body);
    }
}
