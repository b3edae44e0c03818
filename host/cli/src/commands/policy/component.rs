//! The component that a command is about: a file, or what the crate here builds to.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tenure_author::{Checked, Face, Metadata, Project, Terms, check, with_metadata};
use tenure_core::objects::PolicyLimits;

use super::page;
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

/// With which settings and limits.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Settings {
    /// Settings as an IPAMPolicy has them under `spec.settings` (YAML or JSON)
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    #[command(flatten)]
    limits: Limits,
}

/// With which limits.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Limits {
    /// Limits as an IPAMPolicy has them under `spec.limits` (YAML or JSON) [default: those of the daemon]
    #[arg(long, value_name = "FILE")]
    limits: Option<PathBuf>,
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
                let path = project.output();
                finish(&path, project.build()?, &Limits::default())?;
                Ok(Ready { path, project: Some(project) })
            }
        }
    }
}

// === impl Settings ===

impl Settings {
    /// What stands there; no settings and the limits of the daemon without files.
    pub(super) fn read(&self) -> Result<Terms, CliError> {
        let settings = self.settings.as_deref().map(read::<Value>).transpose()?;
        let settings = settings.unwrap_or_else(|| json!({}));
        Ok(Terms { settings, limits: self.limits.read()? })
    }
}

// === impl Limits ===

impl Limits {
    /// What stands there; the limits of the daemon without a file.
    pub(super) fn read(&self) -> Result<PolicyLimits, CliError> {
        Ok(self.limits.as_deref().map(read).transpose()?.unwrap_or_default())
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, CliError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path);
    let text =
        text.map_err(|source| CliError::File { act: "reading", path: name.clone(), source })?;
    serde_saphyr::from_str(&text)
        .map_err(|error| CliError::Manifest { place: name, why: error.to_string() })
}

/// Writes a component with its metadata, and says what a host finds in it.
pub(super) fn finish(
    path: &Path,
    component: Vec<u8>,
    limits: &Limits,
) -> Result<Checked, CliError> {
    let terms = Terms { limits: limits.read()?, ..Terms::default() };
    // It must be asked to be described, and a file is what the host reads.
    write(path, &component)?;
    let mut checked = check(path, &terms)?;
    let Some(about) = checked.about.clone() else {
        page::tell_unwanted(&checked.face);
        return Err(page::refused(path, &checked));
    };
    let metadata = Metadata {
        name: about.name,
        version: about.version,
        hooks: checked.face.hooks.clone(),
        settings_schema: about.settings_schema,
        attribute_keys: about.attribute_keys,
        contract: CONTRACT.to_owned(),
    };
    let component = with_metadata(component, &metadata);
    write(path, &component)?;
    checked.face = Face::read(&component)?;
    Ok(checked)
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
