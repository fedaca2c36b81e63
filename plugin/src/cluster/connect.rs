//! Which API server, as whom and in which namespace: as kubectl decides it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use super::{Cluster, Error};
use crate::outcome::Problem;

/// Which cluster, as with kubectl.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArgs {
    /// The kubeconfig to use, instead of those that KUBECONFIG names or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,

    /// The namespace; that of the context when absent
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,

    /// How long to wait for an answer of the API server, such as 1s or 2m; 0 waits without an end
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = timeout)]
    pub request_timeout: Timeout,

    /// Act as this user
    #[arg(long = "as", value_name = "USER")]
    pub as_user: Option<String>,

    /// Act as a member of this group; may be repeated
    #[arg(long = "as-group", value_name = "GROUP", requires = "as_user")]
    pub as_groups: Vec<String>,
}

impl ClusterArgs {
    /// With a file there is no cluster to ask.
    ///
    /// # Errors
    /// A flag names one.
    pub fn refuse_beside_a_file(&self) -> Result<(), Problem> {
        let named = [
            ("--kubeconfig", self.kubeconfig.is_some()),
            ("--context", self.context.is_some()),
            ("--namespace", self.namespace.is_some()),
            ("--as", self.as_user.is_some()),
        ];
        match named.into_iter().find(|(_, is_there)| *is_there) {
            Some((flag, _)) => Err(Problem::Usage(format!(
                "{flag} has no meaning with -f: the policy of a file is read from the file alone, with its own namespace"
            ))),
            None => Ok(()),
        }
    }
}

/// How long to wait; without an end when none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Timeout(pub Option<Duration>);

/// Reads a span of time as kubectl does: a number of seconds, or numbers with units.
fn timeout(text: &str) -> Result<Timeout, String> {
    let span = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => text
            .parse::<jiff::SignedDuration>()
            .ok()
            .and_then(|span| Duration::try_from(span).ok())
            .ok_or("give a span of time such as 10s, 1m30s or 500ms, or 0 for no limit")?,
    };
    Ok(Timeout((!span.is_zero()).then_some(span)))
}

impl Cluster {
    /// Reads the kubeconfig. Nothing is sent yet.
    pub async fn connect(args: &ClusterArgs) -> Result<Self, Error> {
        let mut config = config(args).await?;
        let timeout = args.request_timeout.0;
        if let Some(timeout) = timeout {
            config.connect_timeout = Some(timeout);
        }
        if let Some(user) = &args.as_user {
            config.auth_info.impersonate = Some(user.clone());
            config.auth_info.impersonate_groups =
                (!args.as_groups.is_empty()).then(|| args.as_groups.clone());
        }
        let url = config.cluster_url.to_string();
        let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| Error::Kubeconfig(error::chain(&error)))?;
        Ok(Self { client, url: url.trim_end_matches('/').to_owned(), namespace, timeout })
    }
}

use super::error;

async fn config(args: &ClusterArgs) -> Result<Config, Error> {
    let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
    let config = match &args.kubeconfig {
        Some(path) => match Kubeconfig::read_from(path) {
            Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await,
            Err(problem) => Err(problem),
        },
        None => Config::from_kubeconfig(&options).await,
    };
    config.or_else(|problem| {
        // In a pod there is a service account instead.
        let is_elsewhere = args.kubeconfig.is_none() && args.context.is_none() && is_absent(&problem);
        let in_cluster = is_elsewhere.then(|| Config::incluster().ok()).flatten();
        in_cluster.ok_or_else(|| Error::Kubeconfig(said(&problem, args)))
    })
}

fn is_absent(problem: &KubeconfigError) -> bool {
    match problem {
        KubeconfigError::FindPath | KubeconfigError::CurrentContextNotSet => true,
        KubeconfigError::ReadConfig(problem, _) => problem.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

fn said(problem: &KubeconfigError, args: &ClusterArgs) -> String {
    match problem {
        KubeconfigError::LoadContext(name) => {
            format!("the kubeconfig has no context {name:?}; kubectl config get-contexts lists them")
        }
        problem if is_absent(problem) && args.kubeconfig.is_none() => {
            "there is no kubeconfig with a current context; set KUBECONFIG, or name a file with --kubeconfig"
                .to_owned()
        }
        problem => error::chain(problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_read_as_kubectl_reads_it() {
        let read = |text| timeout(text).map(|timeout| timeout.0);
        assert_eq!(read("0"), Ok(None));
        assert_eq!(read("0s"), Ok(None));
        assert_eq!(read("7"), Ok(Some(Duration::from_secs(7))));
        assert_eq!(read("1m30s"), Ok(Some(Duration::from_secs(90))));
        assert_eq!(read("500ms"), Ok(Some(Duration::from_millis(500))));
        for text in ["", "soon", "-1s", "1 parsec"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
