//! `testbed demo`: the operator at work, on one machine and offline. `testbed helm`: where the pinned Helms are.

mod demo;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use testbed::Helm;
use tokio::signal::unix::{SignalKind, signal};

/// Runs dlq-operator against a real Kubernetes API server and a simulated Upstash.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Apply the examples to a filled DLQ, and show what becomes of them.
    Demo {
        /// End once every policy has run, and fail if one did not or if its run failed.
        #[arg(long)]
        once: bool,
    },
    /// Print where the pinned Helm and the oldest supported one are; build what is missing.
    Helm,
}

#[expect(clippy::print_stderr, reason = "this is where a command's errors go")]
fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testbed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("start the async runtime")?;
    let outcome = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        // Whatever the demo has started is dropped, and with that stopped, when a signal comes first.
        tokio::select! {
            outcome = command(&cli.command) => outcome,
            interrupted = tokio::signal::ctrl_c() => interrupted.context("listen for Ctrl-C"),
            _ = terminate.recv() => Ok(()),
        }
    });
    // A build that continues in a thread is not waited for: the reaper stops it.
    runtime.shutdown_background();
    outcome
}

async fn command(command: &Command) -> Result<()> {
    match command {
        Command::Demo { once } => demo::run(*once).await,
        Command::Helm => {
            let no_cluster = Path::new("/dev/null");
            for helm in [Helm::new(no_cluster).await?, Helm::oldest(no_cluster).await?] {
                writeln!(std::io::stdout(), "{}", helm.binary().display()).context("print where Helm is")?;
            }
            Ok(())
        }
    }
}
