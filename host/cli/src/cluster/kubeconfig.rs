//! The way to the API server, as kubectl finds it.

use std::path::Path;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

use super::error::{ClusterError, causes};
use crate::reach::Access;

/// What kubectl reads where nobody names a file.
const FOUND: &str = "the kubeconfig";

/// Reads it. Nothing is asked of the API server yet.
pub(super) async fn read(access: &Access) -> Result<Config, ClusterError> {
    let file = access.kubeconfig.as_deref().map(|file| file.display().to_string());
    let shown = file.unwrap_or_else(|| FOUND.to_owned());
    let read = match access.kubeconfig.as_deref() {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::read(),
    };
    let kubeconfig = match read {
        Ok(kubeconfig) => kubeconfig,
        // In a pod there is none, and no need of one.
        Err(error) if access.kubeconfig.is_none() && access.context.is_none() => {
            return Config::incluster().map_err(|_| not_read(&error, &shown));
        }
        Err(error) => return Err(not_read(&error, &shown)),
    };
    if let Some(context) = &access.context {
        must_know(&kubeconfig, context, &shown)?;
    }
    let context = access.context.clone();
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    config.map_err(|error| ClusterError::BadKubeconfig { file: shown, why: causes(&error) })
}

fn must_know(kubeconfig: &Kubeconfig, context: &str, file: &str) -> Result<(), ClusterError> {
    let names: Vec<&str> = kubeconfig.contexts.iter().map(|known| known.name.as_str()).collect();
    if names.contains(&context) {
        return Ok(());
    }
    let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Err(ClusterError::NoContext { file: file.to_owned(), context: context.to_owned(), known })
}

fn not_read(error: &KubeconfigError, file: &str) -> ClusterError {
    match error {
        KubeconfigError::ReadConfig(error, path) => {
            ClusterError::NoKubeconfig { why: format!("reading {}: {error}", shown(path)) }
        }
        KubeconfigError::FindPath => {
            ClusterError::NoKubeconfig { why: "no kubeconfig is found".to_owned() }
        }
        error => ClusterError::BadKubeconfig { file: file.to_owned(), why: causes(error) },
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
