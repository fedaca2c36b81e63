//! Completion in shells: of commands, flags, and the names of policies.

mod candidates;

use std::time::Duration;

use clap::{Args, Command, ValueEnum};

use self::candidates::{Candidates, candidates};
use crate::cluster::{Cluster, Scope};
use crate::outcome::{Outcome, Problem};
use crate::terminal;

/// How long to wait for the names of policies: a completion that takes longer is a nuisance.
const PATIENCE: Duration = Duration::from_secs(3);

/// kubectl's directive for what it offers beside: files, as without a completion.
const FILES: u8 = 0;

/// No files.
const NO_FILES: u8 = 4;

/// `kubectl dlq completion`.
#[derive(Args, Debug)]
#[command(after_help = "kubectl completes `kubectl dlq` where it finds kubectl_complete-dlq in PATH:\n  \
    kubectl dlq completion kubectl > ~/.local/bin/kubectl_complete-dlq\n  \
    chmod +x ~/.local/bin/kubectl_complete-dlq\n\
    For kubectl-dlq itself, load the script of your shell:\n  \
    source <(kubectl dlq completion bash)")]
pub struct CompletionArgs {
    /// For what: kubectl, which completes `kubectl dlq`, or a shell, which completes `kubectl-dlq`
    #[arg(value_enum)]
    pub shell: Shell,
}

/// For what a script is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Shell {
    /// The program kubectl_complete-dlq, which kubectl asks
    Kubectl,
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

/// The words of a command line that is being typed, the last one perhaps in part: what kubectl gives.
#[derive(Args, Debug)]
pub struct CompleteArgs {
    /// The words after `dlq`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
}

/// Prints the script.
pub fn completion(args: &CompletionArgs) -> Result<Outcome, Problem> {
    terminal::print(match args.shell {
        Shell::Kubectl => include_str!("kubectl_complete-dlq"),
        Shell::Bash => include_str!("kubectl-dlq.bash"),
        Shell::Zsh => include_str!("kubectl-dlq.zsh"),
        Shell::Fish => include_str!("kubectl-dlq.fish"),
    })?;
    Ok(Outcome::Done)
}

/// Prints what the last word may be, a line each, and at the end a directive, as kubectl reads it. What goes wrong is no
/// candidate, and is not told: nothing may be written into the line that is being typed.
pub async fn complete(command: &Command, args: &CompleteArgs) -> Result<Outcome, Problem> {
    let (lines, directive) = match candidates(command, &args.words) {
        Candidates::Words(words) => (words, NO_FILES),
        Candidates::Policies { prefix, mut cluster } => {
            cluster.request_timeout.0 = Some(PATIENCE);
            (policies(&cluster, &prefix).await, NO_FILES)
        }
        Candidates::Files => (Vec::new(), FILES),
    };
    let cleaned =
        |line: &String| line.split('\t').map(terminal::visible).collect::<Vec<_>>().join("\t") + "\n";
    let mut text: String = lines.iter().map(cleaned).collect();
    text.extend([":", &directive.to_string(), "\n"]);
    terminal::print(&text)?;
    Ok(Outcome::Done)
}

async fn policies(args: &crate::cluster::ClusterArgs, prefix: &str) -> Vec<String> {
    let Ok(cluster) = Cluster::connect(args).await else { return Vec::new() };
    let scope = Scope::Namespace(cluster.namespace().to_owned());
    let policies = cluster.policies(&scope).await.unwrap_or_default();
    let matching = policies.iter().filter(|policy| policy.name().starts_with(prefix));
    let mut lines: Vec<_> = matching
        .map(|policy| {
            let (action, phase) = (
                policy.spec_text("action").unwrap_or("?"),
                policy.status_text("/phase").unwrap_or("Pending"),
            );
            format!("{}\t{action}, {phase}", policy.name())
        })
        .collect();
    lines.sort();
    lines
}
