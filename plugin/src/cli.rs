//! The command line, and which module does what it asks for.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::drain::{DrainArgs, drain};
use crate::explain::{ExplainArgs, explain};
use crate::lint::{self, LintArgs};
use crate::outcome::{Outcome, Problem};
use crate::preview::{PreviewArgs, preview};

/// See, try, run and drain dead letter queues of Upstash Workflow.
#[derive(Debug, Parser)]
#[command(name = "kubectl-dlq", bin_name = "kubectl dlq", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Lint(LintArgs),
    Preview(PreviewArgs),
    Explain(ExplainArgs),
    Drain(DrainArgs),
    /// Print the version
    Version,
}

/// Does what the command line asks for; what fails is said on standard error.
pub async fn main(cli: Cli) -> ExitCode {
    match run(cli.command).await {
        Ok(outcome) => outcome.code(),
        Err(problem) => {
            print_problem(&problem);
            problem.code()
        }
    }
}

async fn run(command: Command) -> Result<Outcome, Problem> {
    match command {
        Command::Lint(args) => lint::run(&args),
        Command::Preview(args) => Box::pin(preview(&args)).await,
        Command::Explain(args) => explain(&args).await,
        Command::Drain(args) => Box::pin(drain(&args)).await,
        Command::Version => {
            print_version();
            Ok(Outcome::Done)
        }
    }
}

#[expect(clippy::print_stdout, reason = "what the command is asked for")]
fn print_version() {
    println!("kubectl-dlq {}", env!("CARGO_PKG_VERSION"));
}

#[expect(clippy::print_stderr, reason = "the person at the terminal reads it")]
fn print_problem(problem: &Problem) {
    eprintln!("error: {problem}");
}
