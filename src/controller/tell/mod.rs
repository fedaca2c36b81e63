//! Tells what a turn did: in events, metrics and the log.

pub(crate) mod events;
mod held;
pub(crate) mod report;
mod series;

use jiff::SignedDuration;
use tracing::{debug, info, warn};

use crate::controller::context::Context;
use crate::controller::names::Named;
use crate::controller::names::PolicyRef;
use dlq_policy::Changes;
use dlq_policy::attempt::{Notice, Purpose, Told};

/// An offset between our clock and Upstash's that somebody should look into.
const NOTABLE_OFFSET: SignedDuration = SignedDuration::from_secs(5);

impl Context {
    /// Tells it, once.
    pub(crate) fn tell(&self, policy: &PolicyRef, told: Told) {
        match told {
            Told::Changes { uid, changes } => self.changed(policy, &uid, *changes),
            Told::Notice(notice) => log(policy, notice),
        }
    }

    /// Tells what a status that was written says.
    fn changed(&self, policy: &PolicyRef, uid: &str, changes: Changes) {
        self.metrics.tell(policy, &changes);
        if let Some(run) = &changes.ended {
            report::run_ended(policy, uid, run);
        }
        self.events.publish(policy, uid, changes.events);
    }
}

fn log(policy: &PolicyRef, notice: Notice) {
    let policy = Named(policy);
    match notice {
        Notice::Planned(plan) => debug!(%policy, ?plan, "planned"),
        Notice::Starts { run, clock_offset } => {
            debug!(%policy, run_id = run.id, action = %run.action, dry_run = run.dry_run, "run starts");
            if clock_offset.abs() > NOTABLE_OFFSET {
                let offset_ms = clock_offset.as_millis();
                warn!(%policy, offset_ms, "Upstash's clock is not ours; windows follow Upstash's");
            }
        }
        Notice::TakesOver(run) => {
            info!(%policy, run_id = run.id, interruptions = run.interruptions, "run taken over");
        }
        Notice::Approved(run) => {
            info!(%policy, run_id = run.id, action = %run.action, matched = run.matched,
                approval_id = run.approval_id, "run approved");
        }
        Notice::TokenChanged => {
            info!(%policy, "the token was refused; the run continues with the Secret's newer one");
        }
        Notice::Abandoned { run_id, operation } => info!(%policy, run_id, %operation, "call abandoned"),
        Notice::NotWritten { run_id, purpose, problem } => {
            let what = match purpose {
                Purpose::Ask => "cannot ask for an approval of the run yet",
                Purpose::Finish => "cannot write the end of the run yet",
                Purpose::Release => "cannot give the run back",
                _ => "checkpoint failed",
            };
            warn!(%policy, run_id, problem, "{what}");
        }
        Notice::Lost { run_id, purpose } => {
            let what = match purpose {
                Purpose::Finish => "the run ended, and is no longer this process'",
                _ => "the run is no longer this process'",
            };
            warn!(%policy, run_id, "{what}");
        }
        Notice::Overtaken => {
            debug!(%policy, "a write that got no answer was not done, or another process wrote after it");
        }
        Notice::LookGivenUp => {
            debug!(%policy, "stopped counting what waits, as something else is to be done");
        }
        Notice::Left(run) => {
            info!(%policy, run_id = run.id, action = %run.action, pages = run.pages, processed = run.processed,
                "the policy is gone, or is another's to manage: the run is left");
        }
    }
}
