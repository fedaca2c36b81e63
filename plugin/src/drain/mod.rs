//! `kubectl dlq drain`: runs a policy once, without a cluster, through the same code as the operator.
//!
//! ```text
//! subject ─▶ store ─▶ ports ─▶ turns ─▶ [drain] ─▶ [policy]
//!          state_file            └─▶ shown
//! ```

pub mod ports;
mod shown;
mod state_file;
pub mod store;
mod summary;
pub mod turns;

use std::path::PathBuf;

use clap::Args;
use dlq_crd::{Limits, PolicyRun, RunResult, annotations};
use dlq_policy::{Permissions, Work};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use url::Url;

use self::ports::LocalPorts;
use self::shown::Shown;
use self::state_file::{Of, StateFile};
use self::store::Store;
pub(crate) use self::summary::about_token;
use self::summary::summary;
use self::turns::{Approver, turns};
use crate::account::{AccountArgs, Environment};
use crate::clock;
use crate::manifest;
use crate::outcome::{Outcome, Problem};
use crate::see::selected;
use crate::see::words::entries;
use crate::subject::Subject;
use crate::terminal::{ask, can_ask, no_terminal, print, tell};

/// Run a policy of a file once, without a cluster
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct DrainArgs {
    /// Which policy of the file; needed where it holds several
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// The file with the policy; `-` for standard input
    #[arg(short, long = "filename", value_name = "FILE")]
    file: PathBuf,

    /// List and count only
    #[arg(long)]
    dry_run: bool,

    /// Continue the run in the state file, after a kill or a second Ctrl-C
    #[arg(long, conflicts_with = "dry_run")]
    resume: bool,

    /// Where the run is kept, to continue it; without it, NAME.drain.json in the current folder
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    state_file: Option<PathBuf>,

    /// Act without a question; it stands for the approval that limits.approvalAbove asks for
    #[arg(short, long)]
    yes: bool,

    /// Exit with code 4 if nothing matched
    #[arg(long)]
    fail_if_empty: bool,

    #[command(flatten)]
    account: AccountArgs,
}

/// Asks, runs, and prints what was done.
///
/// # Errors
/// The policy cannot be read or run, its URL may get no token, nobody could be asked or somebody said no, or the run was
/// cancelled.
pub async fn drain(args: &DrainArgs) -> Result<Outcome, Problem> {
    let file = args.file.display().to_string();
    let mut subject = Subject::of_file(manifest::read(&args.file)?, args.name.as_deref(), &file)?;
    let environment = Environment::read();
    let permissions = args.account.destinations().permissions(&environment, &subject.namespace)?;
    if args.dry_run {
        subject.spec.dry_run = true;
    }
    let (work, url) = subject.work(&permissions)?;
    let token = args.account.token(environment)?;
    let acts = !work.dry_run;
    if acts && !args.yes && !can_ask() {
        return Err(no_terminal());
    }
    let store = store(args, &subject, &permissions, &url, acts)?;
    let shown = Shown::new();
    subject.notes.iter().for_each(|note| shown.line(&format!("note: {note}")));
    if acts && !args.yes {
        // Every run counts first, and asks.
        let limits = subject.spec.limits.take().unwrap_or_default();
        subject.spec.limits = Some(Limits { approval_above: Some(0), ..limits });
    }
    let selected = selected(&subject.spec);
    let asker = Asker { work: &work, url: &url, selected: &selected, shown: &shown, asks: !args.yes };
    if args.resume {
        asker.may_continue(store.run()).await?;
    } else if acts && args.yes {
        shown.line(&format!("{} at {}: {}", work.action, plain(&url), selected));
    }
    let ports = LocalPorts::new(&subject, &permissions, url.clone(), token, store, &shown)?;
    // Once for both presses: one that comes between two listeners would be lost.
    let presses = signal(SignalKind::interrupt())
        .map_err(|error| Problem::Failed(format!("cannot listen for Ctrl-C: {error}")))?;
    let run = tokio::select! {
        biased;
        run = turns(&ports, &asker) => run,
        problem = leave_at_second_ctrl_c(&ports, &shown, presses) => Err(problem),
    };
    shown.clear();
    let run = run?;
    print(&summary(&subject.name, &run))?;
    outcome(&run, args.fail_if_empty)
}

fn store(
    args: &DrainArgs,
    subject: &Subject,
    permissions: &Permissions,
    url: &Url,
    acts: bool,
) -> Result<Store, Problem> {
    if !acts {
        if args.resume {
            return Err(Problem::Usage(
                "spec.dryRun is true, and a dry run keeps nothing to continue; leave --resume out".to_owned(),
            ));
        }
        return Ok(Store::in_memory());
    }
    let path =
        args.state_file.clone().unwrap_or_else(|| PathBuf::from(format!("{}.drain.json", subject.name)));
    let policy = subject.policy(&std::collections::BTreeMap::new(), permissions);
    let of = Of {
        policy: format!("{}/{}", subject.namespace, subject.name),
        url: url.to_string(),
        spec_hash: policy.spec_hash,
    };
    let (file, status) =
        if args.resume { StateFile::resume(&path, of) } else { StateFile::create(&path, of) }?;
    Ok(Store::in_file(file, status))
}

/// Asks the person at the terminal.
struct Asker<'a> {
    work: &'a Work,
    url: &'a Url,
    selected: &'a str,
    shown: &'a Shown,
    asks: bool,
}

impl Asker<'_> {
    /// Whether a run that was interrupted continues.
    async fn may_continue(&self, run: Option<&PolicyRun>) -> Result<(), Problem> {
        let Some(run) = run else { return Ok(()) };
        let is_asked_later = run.approval_id.is_some() && run.approved_time.is_none();
        let what = format!(
            "{} at {}: {}; {} so far",
            self.work.action,
            plain(self.url),
            self.selected,
            entries(run.processed)
        );
        if !self.asks || is_asked_later {
            self.shown.line(&format!("continuing: {what}"));
            return Ok(());
        }
        self.shown.clear();
        let is_yes = ask(&format!("{what}. Continue?")).await?;
        self.shown.again();
        if is_yes { Ok(()) } else { Err(Problem::Failed("not continued; nothing was done".to_owned())) }
    }
}

impl Approver for Asker<'_> {
    async fn approves(&self, run: &PolicyRun) -> Result<bool, Problem> {
        if !self.asks {
            return Ok(true);
        }
        self.shown.clear();
        let question = format!(
            "{} {} at {}: {}?",
            self.work.action,
            entries(run.matched.unwrap_or_default()),
            plain(self.url),
            self.selected
        );
        let is_yes = ask(&question).await?;
        self.shown.again();
        Ok(is_yes)
    }
}

/// The first Ctrl-C asks for the run's end, which comes once the calls under way are answered; the second one leaves.
async fn leave_at_second_ctrl_c(ports: &LocalPorts<'_>, shown: &Shown, mut presses: Signals) -> Problem {
    presses.recv().await;
    ports.annotate(annotations::CANCEL_AT, clock::now().to_string());
    shown.line("cancelling, once the calls under way are answered; press Ctrl-C again to leave at once");
    presses.recv().await;
    Problem::Failed(
        "left while calls were under way; continue the run with --resume, which counts what is not known"
            .to_owned(),
    )
}

fn outcome(run: &PolicyRun, fail_if_empty: bool) -> Result<Outcome, Problem> {
    match run.result {
        Some(RunResult::Failed | RunResult::DeadlineExceeded) => Ok(Outcome::RunFailed),
        Some(RunResult::Cancelled)
            if run.processed == 0 && run.uncertain_pages == 0 && run.interruptions == 0 =>
        {
            Err(Problem::Failed("cancelled; nothing was done".to_owned()))
        }
        Some(RunResult::Cancelled) => {
            let done = entries(run.processed);
            tell(&format!(
                "cancelled after {done}; what is left is still in the DLQ, and another run finds it\n"
            ))?;
            Ok(Outcome::RunFailed)
        }
        _ if fail_if_empty && run.processed == 0 => Ok(Outcome::Empty),
        _ => Ok(Outcome::Done),
    }
}

fn plain(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}
