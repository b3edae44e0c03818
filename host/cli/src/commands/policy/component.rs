//! The component that a command is about: a file, or what the crate here builds to.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tenure_author::{Metadata, Project, Trial, with_metadata};

use crate::error::CliError;

/// Version of the contract that this program builds for.
const CONTRACT: &str = "0.1.0";

/// Which component.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Component {
    /// A component, or the folder of a policy's crate, which is built first [default: the crate here]
    #[arg(value_name = "FILE|DIR")]
    pub(super) file: Option<PathBuf>,
}

/// With which settings.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Settings {
    /// Settings as an IPAMPolicy has them under `spec.settings` (YAML or JSON)
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
}

/// A component that is there.
pub(super) struct Ready {
    /// The file.
    pub(super) path: PathBuf,
    /// The crate that it was built from.
    pub(super) project: Option<Project>,
}

// === impl Component ===

impl Component {
    /// The file; of a crate, what is built of it now.
    pub(super) fn ready(&self) -> Result<Ready, CliError> {
        match &self.file {
            Some(file) if !file.is_dir() => Ok(Ready { path: file.clone(), project: None }),
            folder => {
                let here = Path::new(".");
                let project = Project::find(folder.as_deref().unwrap_or(here))?;
                let path = build(&project, None)?;
                Ok(Ready { path, project: Some(project) })
            }
        }
    }
}

// === impl Settings ===

impl Settings {
    /// What stands there; an empty object without a file.
    pub(super) fn read(&self) -> Result<Value, CliError> {
        let Some(path) = &self.settings else { return Ok(json!({})) };
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path);
        let text =
            text.map_err(|source| CliError::File { act: "reading", path: name.clone(), source })?;
        serde_saphyr::from_str(&text)
            .map_err(|error| CliError::Manifest { place: name, why: error.to_string() })
    }
}

/// Builds a crate to a component with its metadata, and writes that where it belongs.
pub(super) fn build(project: &Project, out: Option<&Path>) -> Result<PathBuf, CliError> {
    let path = out.map_or_else(|| project.output(), Path::to_owned);
    let component = project.build()?;
    // It must be asked to be described, and a file is what the host reads.
    write(&path, &component)?;
    let about = Trial::of(&path)?.about()?;
    let metadata = Metadata {
        name: about.name,
        version: about.version,
        hooks: about.hooks,
        settings_schema: about.settings_schema,
        attribute_keys: about.attribute_keys,
        contract: CONTRACT.to_owned(),
    };
    write(&path, &with_metadata(component, &metadata))?;
    Ok(path)
}

/// As a whole: a daemon may read it at any moment.
fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let failed = |act, at: &Path| {
        let path = at.display().to_string();
        move |source| CliError::File { act, path, source }
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed("making", folder))?;
    }
    let new = path.with_extension("wasm.new");
    std::fs::write(&new, bytes).map_err(failed("writing", &new))?;
    std::fs::rename(&new, path).map_err(failed("writing", path))
}
