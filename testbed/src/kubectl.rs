//! The real kubectl, with one kubeconfig.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Output, Stdio},
};

use anyhow::{Context as _, Result, bail};
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::environment;

/// Runs kubectl as one user. It knows nothing of the kubeconfigs of the person who runs the tests.
#[derive(Clone, Debug)]
pub struct Kubectl {
    binary: PathBuf,
    kubeconfig: PathBuf,
}

/// What kubectl said.
#[derive(Clone, Debug)]
pub struct KubectlOutput {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl KubectlOutput {
    /// What it printed, if it succeeded.
    pub fn ok(self) -> Result<String> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        bail!("kubectl failed ({}): {}{}", self.status, self.stderr.trim_end(), self.stdout)
    }
}

impl Kubectl {
    pub(crate) fn new(binary: PathBuf, kubeconfig: PathBuf) -> Self {
        Self { binary, kubeconfig }
    }

    pub fn binary(&self) -> &Path {
        &self.binary
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub async fn run(&self, args: &[&str]) -> Result<KubectlOutput> {
        self.run_with_input(args, "").await
    }

    /// For `-f -`.
    pub async fn run_with_input(&self, args: &[&str], input: &str) -> Result<KubectlOutput> {
        let mut command = Command::new(&self.binary);
        command
            .args(args)
            .env_clear()
            .envs(environment::inherited())
            .env("KUBECONFIG", &self.kubeconfig)
            // For its discovery cache, which belongs to this control plane.
            .env("HOME", self.kubeconfig.parent().unwrap_or(Path::new("/")));
        let output = output_of(command, input).await?;
        Ok(KubectlOutput {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// `kubectl apply` of one or more YAML documents. A refusal is in the output, for tests that expect one.
    pub async fn apply(&self, yaml: &str) -> Result<KubectlOutput> {
        self.run_with_input(&["apply", "-f", "-"], yaml).await
    }
}

/// Runs a program to its end, with `input` on its stdin.
pub(crate) async fn output_of(mut command: Command, input: &str) -> Result<Output> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {name}"))?;
    let mut stdin = child.stdin.take().with_context(|| format!("{name} has no stdin"))?;
    let write = async {
        // A program that does not read its input says itself what is wrong.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), write);
    output.with_context(|| format!("wait for {name}"))
}
