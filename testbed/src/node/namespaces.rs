//! Namespaces of its own for a node: its addresses, mounts and processes exist nowhere else, and go with them.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{Process, Program, eventually::Patience};

const SCRIPT: &str = include_str!("namespaces.sh");
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// The node's own address, and the network of its pods.
pub(crate) const ADDRESS: &str = "10.88.0.1";
pub(crate) const POD_NETWORK: &str = "10.88.0.0/16";

/// A network, mount and process namespace. Dropping it, or killing it, ends everything that runs in it.
pub(crate) struct Namespaces {
    process: Process,
    /// For what takes space: a file system in memory, seen inside alone.
    state: PathBuf,
}

impl Namespaces {
    pub(crate) async fn start(dir: &Path) -> Result<Self> {
        let state = dir.join("state");
        fs::create_dir(&state).context("create a folder for the state of a node")?;
        let unshare =
            ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "/bin/sh", "-c", SCRIPT];
        let address = format!("{ADDRESS}/16");
        let mut process = Process::start(Program {
            name: "namespaces",
            binary: Path::new("unshare"),
            args: unshare
                .into_iter()
                .map(str::to_owned)
                .chain(["namespaces.sh".to_owned(), state.display().to_string(), address])
                .collect(),
            env: Vec::new(),
            dir,
        })?;
        let mut patience = Patience::new(START_TIMEOUT, "there are namespaces for a node");
        while !process.log().contains("the namespaces are there") {
            process.check_running()?;
            patience.not_yet("the script has not said so").await?;
        }
        Ok(Self { process, state })
    }

    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    /// The program that runs another one inside, and what comes before that one's own arguments. The working folder becomes
    /// the root.
    pub(crate) fn enter(&self, binary: &Path) -> (PathBuf, Vec<String>) {
        let of = |namespace: &str| format!("/proc/{}/ns/{namespace}", self.process.pid());
        let args = vec![
            format!("--net={}", of("net")),
            format!("--mount={}", of("mnt")),
            format!("--pid={}", of("pid_for_children")),
            "--".to_owned(),
            binary.display().to_string(),
        ];
        ("nsenter".into(), args)
    }

    /// Starts a program inside.
    pub(crate) fn run(&self, program: Program<'_>) -> Result<Process> {
        let (binary, mut args) = self.enter(program.binary);
        args.extend(program.args);
        Process::start(Program { binary: &binary, args, ..program })
    }
}
