//! Programs that are run to their end.

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
};

use anyhow::{Context as _, Result, bail};
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::environment;

/// What a program said.
#[derive(Clone, Debug)]
pub struct CommandOutput {
    pub program: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl CommandOutput {
    /// What it printed, if it succeeded.
    pub fn ok(self) -> Result<String> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        bail!("{} failed ({}): {}{}", self.program, self.status, self.stderr.trim_end(), self.stdout)
    }
}

/// A client of one cluster. It knows nothing of the person who runs the tests; its discovery cache is in `home`.
pub(crate) fn client(binary: &Path, args: &[&str], kubeconfig: &Path, home: &Path) -> Command {
    let mut command = Command::new(binary);
    command
        .args(args)
        .env_clear()
        .envs(environment::inherited())
        .env("KUBECONFIG", kubeconfig)
        .env("HOME", home);
    command
}

/// Runs a program to its end, with `input` on its stdin.
pub(crate) async fn output_of(mut command: Command, input: &str) -> Result<CommandOutput> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {program}"))?;
    let mut stdin = child.stdin.take().with_context(|| format!("{program} has no stdin"))?;
    let write = async {
        // A program that does not read its input says itself what is wrong.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), write);
    let output = output.with_context(|| format!("wait for {program}"))?;
    Ok(CommandOutput {
        program,
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
