//! The command line, and which module does what it asks for.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::act::{ActArgs, PauseArgs, RunArgs, Verb};
use crate::completion::{CompleteArgs, CompletionArgs};
use crate::drain::{DrainArgs, drain};
use crate::explain::{ExplainArgs, explain};
use crate::lint::{self, LintArgs};
use crate::outcome::{Outcome, Problem};
use crate::preview::{PreviewArgs, preview};
use crate::see::history::HistoryArgs;
use crate::see::list::ListArgs;
use crate::see::status::StatusArgs;
use crate::see::top::TopArgs;
use crate::{act, completion, see, terminal};

/// What scripts read.
const EXIT_CODES: &str = "Exit codes: 0 done; 1 an error; 2 a wrong command line; 3 the run that was waited for failed or was \
    cancelled; 4 nothing matched, with --fail-if-empty. Without a terminal, commands that act need --yes.";

/// See, try, run and drain dead letter queues of Upstash Workflow.
#[derive(Debug, Parser)]
#[command(name = "kubectl-dlq", bin_name = "kubectl dlq", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List policies, those that need attention first
    List(ListArgs),
    /// Show what a policy selects, did and does next, and what to do about what is wrong
    Status(StatusArgs),
    /// Show the runs of a policy that ended
    History(HistoryArgs),
    /// Show the Upstash accounts, and how busy they are
    Top(TopArgs),
    Preview(PreviewArgs),
    Explain(ExplainArgs),
    Lint(LintArgs),
    /// Ask for a run now
    Run(RunArgs),
    /// Approve the run that waits for it
    Approve(ActArgs),
    /// End the current run
    Cancel(ActArgs),
    /// Hold a policy by annotation, which a GitOps tool leaves alone
    Pause(PauseArgs),
    /// Let a paused policy run again
    Unpause(ActArgs),
    /// Hold a policy by spec.suspend
    Suspend(ActArgs),
    /// Let a suspended policy run again
    Unsuspend(ActArgs),
    /// Close the circuit of a policy whose runs failed
    Reset(ActArgs),
    Drain(DrainArgs),
    /// Print a script for completion
    Completion(CompletionArgs),
    /// Print what may come next in a command line
    #[command(name = "__complete", hide = true)]
    Complete(CompleteArgs),
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
        Command::List(args) => see::list::list(&args).await,
        Command::Status(args) => see::status::status(&args).await,
        Command::History(args) => see::history::history(&args).await,
        Command::Top(args) => see::top::top(&args).await,
        Command::Preview(args) => Box::pin(preview(&args)).await,
        Command::Explain(args) => explain(&args).await,
        Command::Lint(args) => lint::run(&args),
        Command::Run(args) => act::run(&args).await,
        Command::Approve(args) => act::approve(&args).await,
        Command::Cancel(args) => act::act(Verb::Cancel, &args).await,
        Command::Pause(args) => act::pause(&args).await,
        Command::Unpause(args) => act::act(Verb::Unpause, &args).await,
        Command::Suspend(args) => act::act(Verb::Suspend, &args).await,
        Command::Unsuspend(args) => act::act(Verb::Unsuspend, &args).await,
        Command::Reset(args) => act::act(Verb::Reset, &args).await,
        Command::Drain(args) => Box::pin(drain(&args)).await,
        Command::Completion(args) => completion::completion(&args),
        Command::Complete(args) => {
            let mut command = Cli::command();
            command.build();
            completion::complete(&command, &args).await
        }
        Command::Version => {
            terminal::print(concat!("kubectl-dlq ", env!("CARGO_PKG_VERSION"), "\n"))?;
            Ok(Outcome::Done)
        }
    }
}

fn print_problem(problem: &Problem) {
    let lines: Vec<_> = problem.to_string().lines().map(terminal::visible).collect();
    // With standard error closed, the exit code has to do.
    let _ = terminal::tell(&format!("error: {}\n", lines.join("\n")));
}
