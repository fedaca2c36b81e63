//! `history NAME`: the runs that ended, newest first.

use clap::Args;
use dlq_crd::{RunResult, RunSummary, Trigger};
use jiff::Timestamp;

use super::output::{self, Output};
use super::words::{age, ago, number};
use crate::clock;
use crate::cluster::{Cluster, ClusterArgs, Stored};
use crate::outcome::{Outcome, Problem};
use crate::terminal::{self, Cell, Look, Paint, Table, bar};

/// The longest bar: shorter where there is little room.
fn longest_bar(look: Look) -> usize {
    if look.width.is_some_and(|width| width < 100) { 10 } else { 20 }
}

/// `kubectl dlq history`.
#[derive(Args, Debug)]
pub struct HistoryArgs {
    /// The policy's name
    pub name: String,

    /// In which form; the runs alone as JSON or YAML
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Prints the runs that ended.
pub async fn history(args: &HistoryArgs) -> Result<Outcome, Problem> {
    let cluster = Cluster::connect(&args.cluster).await?;
    let policy = cluster.policy(&args.name).await?;
    let runs = &policy.status().history;
    if args.output == Output::Name {
        terminal::print(&runs.iter().map(|run| run.id.clone() + "\n").collect::<String>())?;
        return Ok(Outcome::Done);
    }
    // As it stands: also what cannot be read here.
    let stored =
        policy.object().data["status"].get("history").cloned().unwrap_or_else(|| serde_json::json!([]));
    if let Some(text) = output::document(&stored, args.output)? {
        terminal::print(&text)?;
    } else if runs.is_empty() {
        terminal::tell(&empty(&policy))?;
    } else {
        terminal::print(&render(&policy, args.output == Output::Wide, clock::now(), Look::of_output()))?;
    }
    Ok(Outcome::Done)
}

fn empty(policy: &Stored) -> String {
    let (namespace, name) = (policy.namespace(), policy.name());
    if policy.spec().is_some_and(|spec| spec.history_limit == 0) {
        return format!("{namespace}/{name} keeps no history: spec.historyLimit is 0.\n");
    }
    format!(
        "No run of {namespace}/{name} has ended yet. {} tells more.\n",
        super::trouble::command("status", policy)
    )
}

/// The runs as a table, with a bar for what each processed.
pub fn render(policy: &Stored, is_wide: bool, now: Timestamp, look: Look) -> String {
    let runs = &policy.status().history;
    let most = runs.iter().map(|run| run.processed).max().unwrap_or(0);
    let mut table =
        Table::new().whole("STARTED").whole("TRIGGER").prose("RESULT").whole("TOOK").number("PROCESSED");
    if is_wide {
        table = table
            .number("PAGES")
            .number("REJECTED")
            .number("NOT FOUND")
            .number("RETURNED")
            .number("UNCERTAIN")
            .prose("BY")
            .whole("ID");
    }
    table = table.whole("");
    for run in runs {
        table.row(row(run, is_wide, bar(run.processed, most, longest_bar(look)), now));
    }
    table.render(look)
}

fn row(run: &RunSummary, is_wide: bool, bar: String, now: Timestamp) -> Vec<Cell> {
    let took = run.completion_time.map(|end| age(run.start_time.timestamp(), end.timestamp()));
    let (paint, colour) = match run.result {
        Some(RunResult::Succeeded) => (Paint::Plain, Paint::Good),
        Some(RunResult::Failed | RunResult::DeadlineExceeded) => (Paint::Bad, Paint::Bad),
        Some(RunResult::Cancelled | RunResult::LimitReached) | None => (Paint::Warning, Paint::Warning),
    };
    let result = run.result.map_or("ended", RunResult::as_str);
    // Where both say the same, one is enough.
    let reason = run
        .reason
        .map(dlq_crd::Reason::as_str)
        .filter(|reason| !["RunSucceeded", "DryRunSucceeded", result].contains(reason));
    let dry = run.dry_run.then_some("dry run");
    let notes: Vec<_> = reason.into_iter().chain(dry).collect();
    let result =
        if notes.is_empty() { result.to_owned() } else { format!("{result} ({})", notes.join(", ")) };
    let least = if run.uncertain_pages > 0 || run.interruptions > 0 { "≥" } else { "" };
    let mut cells = vec![
        ago(run.start_time.timestamp(), now).into(),
        trigger(run.trigger).into(),
        Cell::new(paint, result),
        took.unwrap_or_else(|| "-".to_owned()).into(),
        format!("{least}{}", number(run.processed)).into(),
    ];
    if is_wide {
        let counts = [run.pages, run.rejected, run.not_found, run.returned, run.uncertain_pages];
        cells.extend(counts.map(|count| Cell::from(number(count))));
        cells.extend([run.requested_by.clone().unwrap_or_default().into(), run.id.clone().into()]);
    }
    cells.push(Cell::new(colour, bar));
    cells
}

fn trigger(trigger: Trigger) -> &'static str {
    trigger.as_str()
}
