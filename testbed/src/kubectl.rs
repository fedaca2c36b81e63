//! The real kubectl, with one kubeconfig.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::command::{CommandOutput, client, output_of};

/// Runs kubectl as one user. It knows nothing of the kubeconfigs of the person who runs the tests.
#[derive(Clone, Debug)]
pub struct Kubectl {
    binary: PathBuf,
    kubeconfig: PathBuf,
    /// The user that it acts as.
    user: Option<String>,
}

impl Kubectl {
    pub(crate) fn new(binary: PathBuf, kubeconfig: PathBuf) -> Self {
        Self { binary, kubeconfig, user: None }
    }

    /// The same kubectl, acting as another user: the kubeconfig's own may act as anybody.
    pub(crate) fn acting_as(&self, user: &str) -> Self {
        Self { user: Some(user.to_owned()), ..self.clone() }
    }

    pub fn binary(&self) -> &Path {
        &self.binary
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub async fn run(&self, args: &[&str]) -> Result<CommandOutput> {
        self.run_with_input(args, "").await
    }

    /// For `-f -`.
    pub async fn run_with_input(&self, args: &[&str], input: &str) -> Result<CommandOutput> {
        let home = self.kubeconfig.parent().unwrap_or(Path::new("/"));
        let user = self.user.iter().map(|user| format!("--as={user}")).collect::<Vec<_>>();
        let args: Vec<_> = args.iter().copied().chain(user.iter().map(String::as_str)).collect();
        output_of(client(&self.binary, &args, &self.kubeconfig, home), input).await
    }

    /// `kubectl apply` of one or more YAML documents. A refusal is in the output, for tests that expect one.
    pub async fn apply(&self, yaml: &str) -> Result<CommandOutput> {
        self.run_with_input(&["apply", "-f", "-"], yaml).await
    }
}
