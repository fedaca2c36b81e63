//! A process that owns other processes and a folder, tells which, and does nothing more: to be killed by the test of
//! what it leaves behind.

use std::{path::Path, time::Duration};

use anyhow::{Result, ensure};
use testbed::{Process, Program, ScratchDir};

fn shell(dir: &Path, script: &str) -> Result<Process> {
    Process::start(Program {
        name: "shell",
        binary: Path::new("/bin/sh"),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: Vec::new(),
        dir,
    })
}

#[tokio::main]
async fn main() -> Result<()> {
    let dir = ScratchDir::create("owner")?;
    let obedient = shell(dir.path(), "exec sleep 1000")?;
    let stubborn = shell(dir.path(), "trap '' TERM; while :; do sleep 0.1; done")?;
    let done = shell(dir.path(), "exit 0")?.wait(Duration::from_secs(10)).await?;
    ensure!(done.success(), "the shell failed");
    #[expect(clippy::print_stdout, reason = "this is how it tells")]
    {
        println!("{} {} {}", obedient.pid(), stubborn.pid(), dir.path().display());
    }
    std::future::pending().await
}
