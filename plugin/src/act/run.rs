//! `run NAME`: asks for a run now, and may wait for its end.

use clap::Args;

use super::change::{RunRequest, annotation_value, moment};
use super::follow::{follow, interrupts};
use super::{ActArgs, Announcement, agreed, announce, full_name, shown};
use crate::clock;
use crate::cluster::Cluster;
use crate::outcome::{Outcome, Problem};
use crate::see::trouble::command;
use crate::terminal;

/// `kubectl dlq run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Follow the run, and end as it ends: exit code 3 unless it succeeds. Ctrl-C asks for its cancellation and waits for
    /// that; a second Ctrl-C leaves it
    #[arg(long)]
    pub wait: bool,

    /// List and count what matches, and act on nothing; possible also while the policy is held
    #[arg(long)]
    pub dry_run: bool,

    /// Why, as the run's requestReason says it
    #[arg(long, value_name = "TEXT", value_parser = annotation_value)]
    pub reason: Option<String>,

    /// Who asks, as the run's requestedBy says it
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true, value_parser = annotation_value)]
    pub requested_by: Option<String>,

    /// Exit code 4 when nothing matched
    #[arg(long, requires = "wait")]
    pub fail_if_empty: bool,

    #[command(flatten)]
    pub act: ActArgs,
}

/// Asks for a run.
pub async fn run(args: &RunArgs) -> Result<Outcome, Problem> {
    let cluster = Cluster::connect(&args.act.cluster).await?;
    let policy = cluster.policy(&args.act.name).await?;
    match announce::run(&policy, args.dry_run, clock::now()) {
        // A dry run changes no entry, so there is nothing to agree to.
        Announcement::About(about) if args.dry_run => {
            terminal::tell(&shown(&about))?;
        }
        announcement => {
            if !agreed(announcement, args.act.consent).await? {
                return Ok(Outcome::Done);
            }
        }
    }
    let request = RunRequest {
        at: moment(clock::now()),
        is_dry: args.dry_run,
        by: args.requested_by.clone().filter(|by| !by.is_empty()),
        reason: args.reason.clone(),
    };
    if args.wait {
        let interrupts = interrupts()?;
        let policy = cluster.patch(&policy, &request.patch()).await?;
        return follow(&cluster, policy, &request, args.fail_if_empty, interrupts).await;
    }
    let policy = cluster.patch(&policy, &request.patch()).await?;
    terminal::print(&format!("{} run requested\n", full_name(&policy)))?;
    terminal::tell(&format!("{} --watch follows it.\n", command("status", &policy)))?;
    Ok(Outcome::Done)
}
