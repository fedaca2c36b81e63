//! `approve NAME`: lets a run that counted too many entries to act by itself do so.

use dlq_crd::annotations::APPROVED_RUN;
use jiff::{SignedDuration, Timestamp};

use super::{ActArgs, Announcement, agreed, change, full_name};
use crate::clock;
use crate::cluster::{Cluster, Stored};
use crate::outcome::{Outcome, Problem};
use crate::see::status::summarized;
use crate::see::trouble::{awaits_approval, command};
use crate::see::words::{age, ahead, at, entries};
use crate::terminal;

/// How long a run waits for an approval.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(24);

/// Shows what waits, asks, and approves it.
pub async fn approve(args: &ActArgs) -> Result<Outcome, Problem> {
    let cluster = Cluster::connect(&args.cluster).await?;
    let policy = cluster.policy(&args.name).await?;
    if agreed(announcement(&policy, clock::now()), args.consent).await?
        && let Some((_, id)) = awaits_approval(&policy)
    {
        let changed = cluster.patch(&policy, &change::approval(id)).await?;
        terminal::print(&format!("{} run approved\n", full_name(&changed)))?;
    }
    Ok(Outcome::Done)
}

/// The run that waits: how many entries it counted, and what they are.
pub fn announcement(policy: &Stored, now: Timestamp) -> Announcement {
    let name = format!("{}/{}", policy.namespace(), policy.name());
    let Some((run, id)) = awaits_approval(policy) else {
        return Announcement::Refused(format!(
            "no run of {name} waits for an approval; {} tells what it does",
            command("status", policy)
        ));
    };
    if policy.annotation(APPROVED_RUN) == Some(id) {
        return Announcement::Already(format!(
            "The run of {name} is approved already; the operator has yet to see it.\n"
        ));
    }
    let matched = run.matched.map_or_else(|| "the entries that it counted".to_owned(), entries);
    let since = run.approval_requested_time.unwrap_or(run.start_time).timestamp();
    let ends = since.saturating_add(LONGEST_WAIT).unwrap_or(Timestamp::MAX);
    let mut lines = vec![format!(
        "About to let a run of {name} {} {matched}. It has waited for {}, and expires {}.",
        run.action,
        age(since, now),
        ahead(ends, now)
    )];
    if let Some(window) = &run.window {
        let from = window.from_date.map_or_else(|| "the beginning".to_owned(), |from| at(from.timestamp()));
        lines.push(format!("  window: failed from {from} to {}", at(window.to_date.timestamp())));
    }
    lines.extend(run.summary.iter().flat_map(|summary| summarized(summary)).map(|line| format!("  {line}")));
    lines.push(String::new());
    Announcement::About(lines.join("\n"))
}
