//! `kubectl dlq preview`: what a run would act on now. It lists and acts on nothing: a read-only token is enough.
//!
//! The entries are those that a dry run of the operator's own machine counts.

mod report;
mod seen;
mod shown;

use clap::{Args, ValueEnum};
use dlq_crd::RunResult;
use dlq_policy::spec::duration;
use jiff::SignedDuration;

use self::report::Report;
use self::seen::Collector;
use crate::account::{AccountArgs, Environment};
use crate::drain::about_token;
use crate::drain::ports::LocalPorts;
use crate::drain::store::Store;
use crate::drain::turns::{Always, turns};
use crate::outcome::{Outcome, Problem};
use crate::subject::Which;
use crate::terminal::print;

/// List what a run would act on now, without acting on it
#[derive(Args, Debug)]
pub struct PreviewArgs {
    /// Show each entry
    #[arg(long)]
    entries: bool,

    /// How to show it
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Format,

    /// How long the Upstash plan keeps an entry, such as 3d, to show when entries expire
    #[arg(long, value_name = "DURATION", value_parser = retention)]
    retention: Option<(String, SignedDuration)>,

    /// Exit with code 4 if nothing matches
    #[arg(long)]
    fail_if_empty: bool,

    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    account: AccountArgs,
}

/// How a preview is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    /// For a terminal
    Table,
    /// For programs
    Json,
    /// For the comment of a pull request
    Markdown,
}

fn retention(text: &str) -> Result<(String, SignedDuration), String> {
    let kept = duration::parse(text).filter(SignedDuration::is_positive);
    kept.map(|kept| (text.to_owned(), kept))
        .ok_or_else(|| "no duration longer than 0, such as 3d or 12h".to_owned())
}

/// Lists, and prints what was found.
///
/// # Errors
/// The policy cannot be read or run, its URL may get no token, or listing failed.
pub async fn preview(args: &PreviewArgs) -> Result<Outcome, Problem> {
    let subject = args.which.find().await?;
    let environment = Environment::read();
    let permissions = args.account.destinations().permissions(&environment, &subject.namespace)?;
    let mut dry = subject.clone();
    dry.spec.dry_run = true;
    // These limits spare those who are acted on, and a preview acts on nothing.
    if let Some(limits) = &mut dry.spec.limits {
        limits.active_deadline_seconds = None;
        limits.entries_per_second = None;
    }
    let (work, url) = dry.work(&permissions)?;
    let token = args.account.token(environment)?;
    let collector = Collector::new(&work, args.entries);
    let ports = LocalPorts::new(&dry, &permissions, url.clone(), token, Store::in_memory(), &collector)?;
    let mut run = turns(&ports, &Always).await?;
    drop(ports);
    if !matches!(run.result, Some(RunResult::Succeeded | RunResult::LimitReached)) {
        let message = about_token(&run).or(run.message).unwrap_or_default();
        return Err(Problem::Failed(format!("{}: {message}", subject.name)));
    }
    run.limits = Some(subject.spec.limits.clone().unwrap_or_default());
    let url = url.as_str().trim_end_matches('/').to_owned();
    let found = (&run, collector.into_seen());
    let report = Report::new(&subject, &work, url, found, args.retention.as_ref(), args.entries);
    print(&match args.output {
        Format::Table => shown::table(&report),
        Format::Markdown => shown::markdown(&report),
        Format::Json => {
            let text =
                serde_json::to_string_pretty(&report).map_err(|error| Problem::Failed(error.to_string()))?;
            text + "\n"
        }
    })?;
    Ok(if args.fail_if_empty && report.entries == 0 { Outcome::Empty } else { Outcome::Done })
}
