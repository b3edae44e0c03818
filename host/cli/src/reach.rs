//! Whom the commands speak to: the daemon behind a socket, or the allocators of a Kubernetes cluster.
//!
//! ```text
//! --cluster, --kubeconfig, --context        -> the cluster; together with --socket: refused
//! --socket                                  -> the socket, whatever the environment says
//! TENURE_CONTEXT                            -> the cluster; together with TENURE_SOCKET: refused
//! TENURE_SOCKET, or nothing                 -> the socket
//! ```
//!
//! `KUBECONFIG` only says which file is read once a cluster is asked for: half of all shells have it, and a command that
//! was meant for this machine must not go to a cluster because of it.

use std::path::PathBuf;

use clap::ArgMatches;
use clap::parser::ValueSource;

use crate::args::GLOBAL;
use crate::error::CliError;

/// Where the daemon listens when nobody says otherwise.
const DEFAULT_SOCKET: &str = "/run/tenure/admin.sock";
/// The namespace of the manifests.
const DEFAULT_NAMESPACE: &str = "tenure-system";

/// The options.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = GLOBAL)]
pub(crate) struct Reach {
    /// Admin socket of the daemon
    #[arg(
        long,
        global = true,
        env = "TENURE_SOCKET",
        hide_env_values = true,
        default_value = DEFAULT_SOCKET,
        value_name = "PATH"
    )]
    socket: PathBuf,
    /// Speak to the allocators of a Kubernetes cluster; --kubeconfig and --context imply it
    #[arg(long, global = true)]
    cluster: bool,
    /// How to reach the cluster; else the files of KUBECONFIG, else ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Which cluster of the kubeconfig; else its current context
    #[arg(
        long,
        global = true,
        env = "TENURE_CONTEXT",
        hide_env_values = true,
        value_name = "NAME"
    )]
    context: Option<String>,
    /// Namespace of Tenure in the cluster
    #[arg(
        long,
        global = true,
        env = "TENURE_NAMESPACE",
        hide_env_values = true,
        default_value = DEFAULT_NAMESPACE,
        value_name = "NAMESPACE"
    )]
    tenure_namespace: String,
}

/// Whom to speak to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The daemon behind this socket.
    Socket(PathBuf),
    /// The allocators of a cluster.
    Cluster(Access),
}

/// How to reach a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Access {
    /// The file that was named.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Its context, else the current one.
    pub(crate) context: Option<String>,
    /// The namespace of Tenure.
    pub(crate) namespace: String,
}

// === impl Reach ===

impl Reach {
    /// By what was typed, then by the environment.
    ///
    /// # Errors
    /// Both a socket and a cluster are asked for, at the same rank.
    pub(crate) fn place(self, matches: &ArgMatches) -> Result<Place, CliError> {
        let is = |name: &str, source| matches.value_source(name) == Some(source);
        let typed = |name: &str| is(name, ValueSource::CommandLine);
        let in_env = |name: &str| is(name, ValueSource::EnvVariable);
        let context = self.context.filter(|context| !context.is_empty());
        let of_cluster = ["cluster", "kubeconfig", "context"].into_iter().find(|name| typed(name));
        let usage = |why: String| Err(CliError::Usage { why });
        let to_cluster = match of_cluster {
            Some(name) if typed("socket") => {
                return usage(format!(
                    "--{name} leads to a cluster and --socket to a daemon of this machine; leave out one of them"
                ));
            }
            Some(_) => true,
            None if typed("socket") => false,
            None if context.is_some() && in_env("socket") => {
                let why = "TENURE_CONTEXT leads to a cluster and TENURE_SOCKET to a daemon of this machine; unset one of them, or say --context or --socket";
                return usage(why.to_owned());
            }
            None => context.is_some(),
        };
        if !to_cluster && typed("tenure_namespace") {
            let why = "--tenure-namespace is of a cluster; say --cluster, --kubeconfig or --context as well";
            return usage(why.to_owned());
        }
        if !to_cluster {
            return Ok(Place::Socket(self.socket));
        }
        let (kubeconfig, namespace) = (self.kubeconfig, self.tenure_namespace);
        Ok(Place::Cluster(Access { kubeconfig, context, namespace }))
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, FromArgMatches as _};

    use super::*;
    use crate::args::Cli;

    /// `[TENURE_SOCKET, TENURE_CONTEXT]`: whether they are set.
    type Env = [bool; 2];

    fn place(line: &str, [socket, context]: Env) -> Result<Place, String> {
        let with = |is_set: bool, arg: clap::Arg| match is_set {
            // Any value will do, and this variable is always there.
            true => arg.env("PATH"),
            false => arg.env(clap::builder::Resettable::Reset),
        };
        let command = Cli::command()
            .mut_arg("socket", |arg| with(socket, arg))
            .mut_arg("context", |arg| with(context, arg));
        let matches = command.try_get_matches_from(line.split(' ')).map_err(|e| e.to_string())?;
        let cli = Cli::from_arg_matches(&matches).unwrap();
        cli.reach.place(&matches).map_err(|error| error.to_string())
    }

    fn kind(line: &str, env: Env) -> &'static str {
        match place(line, env) {
            Ok(Place::Socket(_)) => "socket",
            Ok(Place::Cluster(_)) => "cluster",
            Err(_) => "refused",
        }
    }

    #[test]
    fn what_is_typed_goes_before_the_environment_and_nothing_is_guessed() {
        let (no, socket, context) = ([false, false], [true, false], [false, true]);
        let both = [true, true];
        for (line, env, wanted) in [
            ("tenure status", no, "socket"),
            ("tenure status", socket, "socket"),
            ("tenure status", context, "cluster"),
            ("tenure status", both, "refused"),
            ("tenure status --socket /s", both, "socket"),
            ("tenure --socket /s status", context, "socket"),
            ("tenure status --cluster", no, "cluster"),
            ("tenure --cluster status", socket, "cluster"),
            ("tenure status --kubeconfig f", both, "cluster"),
            ("tenure --context x status", both, "cluster"),
            ("tenure status --context x --socket /s", no, "refused"),
            ("tenure --cluster status --socket /s", no, "refused"),
            ("tenure status --tenure-namespace n", no, "refused"),
            ("tenure status --tenure-namespace n --cluster", no, "cluster"),
        ] {
            assert_eq!(kind(line, env), wanted, "{line} with {env:?}");
        }
    }

    #[test]
    fn an_empty_context_is_none() {
        let line = ["tenure", "status", "--context", ""];
        let matches = Cli::command().try_get_matches_from(line).unwrap();
        let place = Cli::from_arg_matches(&matches).unwrap().reach.place(&matches).unwrap();
        let namespace = "tenure-system".to_owned();
        assert_eq!(place, Place::Cluster(Access { kubeconfig: None, context: None, namespace }));
    }
}
