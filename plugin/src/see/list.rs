//! `list`: the policies, sorted by what needs attention.

use clap::Args;
use jiff::Timestamp;

use super::output::{self, Output};
use super::trouble::{Attention, attention, command, last_run};
use super::words::{ahead, count, number};
use crate::clock;
use crate::cluster::{Cluster, ClusterArgs, Scope, Stored};
use crate::outcome::{Outcome, Problem};
use crate::terminal::{self, Cell, Look, Paint, Table};

/// `kubectl dlq list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Those of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,

    /// In which form
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Prints the policies.
pub async fn list(args: &ListArgs) -> Result<Outcome, Problem> {
    let cluster = Cluster::connect(&args.cluster).await?;
    let namespace = cluster.namespace().to_owned();
    let scope = if args.all_namespaces { Scope::All } else { Scope::Namespace(namespace.clone()) };
    let now = clock::now();
    let policies = sorted(cluster.policies(&scope).await?, now);
    if let Some(text) = output::objects(&policies, args.output)? {
        terminal::print(&text)?;
        return Ok(Outcome::Done);
    }
    if policies.is_empty() {
        terminal::tell(&match scope {
            Scope::All => "No policies. The examples of dlq-operator are a place to begin.\n".to_owned(),
            Scope::Namespace(_) => {
                format!(
                    "No policies in namespace {namespace}. kubectl dlq list -A shows those of all namespaces.\n"
                )
            }
        })?;
        return Ok(Outcome::Done);
    }
    let columns = Columns { namespace: args.all_namespaces, wide: args.output == Output::Wide };
    terminal::print(&render(&policies, columns, now, Look::of_output()))?;
    if let Some(note) = note(&policies, now).filter(|_| terminal::is_output_terminal()) {
        terminal::print(&note)?;
    }
    Ok(Outcome::Done)
}

/// Which columns the table has beside the usual ones.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// The namespace.
    pub namespace: bool,
    /// All there are.
    pub wide: bool,
}

/// What needs attention first, then what runs, then the rest.
pub fn sorted(mut policies: Vec<Stored>, now: Timestamp) -> Vec<Stored> {
    policies.sort_by_cached_key(|policy| {
        (attention(policy, now), policy.namespace().to_owned(), policy.name().to_owned())
    });
    policies
}

/// The policies as a table.
pub fn render(policies: &[Stored], columns: Columns, now: Timestamp, look: Look) -> String {
    let mut table = Table::new();
    if columns.namespace {
        table = table.whole("NAMESPACE");
    }
    table = table
        .whole("NAME")
        .whole("ACTION")
        .whole("PHASE")
        .prose("LAST RUN")
        .number("PROCESSED")
        .whole("NEXT");
    if columns.wide {
        table = table.prose("SCHEDULE").number("TOTAL").number("SKIPPED").number("BACKLOG").prose("MESSAGE");
    }
    for policy in policies {
        table.row(row(policy, columns, now));
    }
    table.render(look)
}

fn row(policy: &Stored, columns: Columns, now: Timestamp) -> Vec<Cell> {
    let status = policy.status();
    let attention = attention(policy, now);
    let absent = || "-".to_owned();
    let mut cells = Vec::new();
    if columns.namespace {
        cells.push(policy.namespace().into());
    }
    let dry = policy.spec().is_some_and(|spec| spec.dry_run);
    let action = policy.spec_text("action").unwrap_or("?");
    let last = Cell::new(
        if attention == Attention::RunFailed { Paint::Bad } else { Paint::Plain },
        last_run(policy, now),
    );
    cells.extend([
        Cell::new(Paint::Strong, policy.name()),
        if dry { format!("{action} (dry)").into() } else { action.into() },
        Cell::new(paint(attention, policy), phase(policy, attention)),
        last,
        status.processed.map_or_else(absent, number).into(),
        next(policy, now).into(),
    ]);
    if columns.wide {
        let backlog = status.backlog.as_ref();
        let backlog =
            backlog.map(|seen| format!("{}{}", number(seen.entries), if seen.at_least { "+" } else { "" }));
        cells.extend([
            policy.spec_text("schedule").unwrap_or("-").into(),
            number(status.totals.processed).into(),
            status.skipped.map_or_else(absent, number).into(),
            backlog.unwrap_or_else(absent).into(),
            status.message.clone().unwrap_or_default().into(),
        ]);
    }
    cells
}

/// Where the policy stands, in the word of its status.
pub fn phase(policy: &Stored, attention: Attention) -> &str {
    match policy.status_text("/phase") {
        _ if policy.is_going() => "Deleting",
        Some(phase) => phase,
        None if attention == Attention::Unseen => "Unseen",
        None => "Pending",
    }
}

/// The colour of a phase.
pub fn paint(attention: Attention, policy: &Stored) -> Paint {
    match attention {
        Attention::NotReady | Attention::CircuitOpen | Attention::RunFailed => Paint::Bad,
        Attention::AwaitingApproval | Attention::Unseen => Paint::Warning,
        Attention::Running => Paint::Busy,
        Attention::None if policy.is_suspended() || policy.paused().is_some() => Paint::Faint,
        Attention::None => Paint::Good,
    }
}

fn next(policy: &Stored, now: Timestamp) -> String {
    policy.status().next_schedule_time.as_ref().map_or_else(|| "-".to_owned(), |next| ahead(next.0, now))
}

/// How many need attention, and the command that tells more of the first.
pub fn note(policies: &[Stored], now: Timestamp) -> Option<String> {
    let needy = |policy: &&Stored| attention(policy, now) < Attention::Running;
    let first = policies.iter().find(needy)?;
    let many = i64::try_from(policies.iter().filter(needy).count()).unwrap_or(i64::MAX);
    let verb = if many == 1 { "needs" } else { "need" };
    Some(format!("\n{} {verb} attention: {}\n", count(many, "policy", "policies"), command("status", first)))
}
