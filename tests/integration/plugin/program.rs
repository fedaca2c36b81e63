//! Runs `kubectl-dlq` in a folder of its own.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use testbed::{Ledger, ScratchDir, Simulator, binary};
use tokio::process::{Child, Command};

/// Longer than any output is, and nothing but a token.
pub(super) const TOKEN: &str = "plugin-token-51c0ffee";
pub(super) const DLQ: &str = "main";

/// A person at a machine: a folder, and what the environment says.
pub(super) struct Plugin {
    dir: ScratchDir,
    binary: PathBuf,
    env: Vec<(String, String)>,
}

/// How it ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Plugin {
    /// With nothing in the environment.
    pub(super) async fn bare() -> Self {
        Self {
            dir: ScratchDir::create("plugin").unwrap(),
            binary: binary("kubectl-dlq").await.unwrap(),
            env: Vec::new(),
        }
    }

    /// With `QSTASH_URL` and `QSTASH_TOKEN` of a simulator, which knows the token.
    pub(super) async fn of(simulator: &Simulator) -> Self {
        simulator.allow(TOKEN, DLQ).await.unwrap();
        Self::bare().await.with("QSTASH_URL", simulator.api_url()).with("QSTASH_TOKEN", TOKEN)
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    /// Writes a policy to `policy.yaml`.
    pub(super) fn policy(&self, spec: &Value) {
        let policy = json!({
            "apiVersion": "dlq-operator.dev/v1alpha1",
            "kind": "DlqPolicy",
            "metadata": { "name": "one", "namespace": "payments" },
            "spec": spec,
        });
        std::fs::write(self.path("policy.yaml"), policy.to_string()).unwrap();
    }

    /// What the drain of `one` wrote.
    pub(super) fn state(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.path("one.drain.json")).unwrap()).unwrap()
    }

    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(args).env_clear().envs(self.env.iter().cloned()).current_dir(self.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs it, and waits for its end. It never shows the token.
    pub(super) async fn run(&self, args: &[&str]) -> Ended {
        ended(self.start(args)).await
    }

    pub(super) fn start(&self, args: &[&str]) -> Child {
        self.command(args).spawn().unwrap()
    }
}

/// Waits for its end.
pub(super) async fn ended(child: Child) -> Ended {
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(!stdout.contains(TOKEN) && !stderr.contains(TOKEN), "the token is shown: {stdout}\n{stderr}");
    Ended { code: output.status.code().unwrap_or(-1), stdout, stderr }
}

/// The calls of a ledger that acted.
pub(super) fn acting(ledger: &Ledger) -> Vec<&testbed::LedgerCall> {
    ledger.calls.iter().filter(|call| !["list", "get"].contains(&call.operation.as_str())).collect()
}
