//! Takes a run to its end: one turn after another, as the operator does.

use std::sync::Arc;
use std::time::Duration;

use dlq_crd::{PolicyRun, annotations};
use dlq_drain::drive;
use dlq_policy::Attempt;
use dlq_policy::attempt::{Kept, Next, Settings};
use dlq_policy::run::figures;
use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;

use super::ports::LocalPorts;
use super::store::random;
use crate::clock;
use crate::outcome::Problem;

/// So many calls in a row may fail before a run does, as by the operator's own default.
const RETRY_LIMIT: u32 = 10;

/// Answers the question that a run asks before it acts.
pub trait Approver: Sync {
    /// Whether the run, which has counted what it would act on, may act.
    fn approves(&self, run: &PolicyRun) -> impl Future<Output = Result<bool, Problem>> + Send;
}

/// Nobody is to be asked.
pub struct Always;

impl Approver for Always {
    async fn approves(&self, _: &PolicyRun) -> Result<bool, Problem> {
        Ok(true)
    }
}

/// Takes the run to its end, and gives it as it ended.
///
/// # Errors
/// It can neither continue nor end: the state file cannot be written, or somebody could not be asked.
pub async fn turns(ports: &LocalPorts<'_>, approver: &impl Approver) -> Result<PolicyRun, Problem> {
    let settings = Arc::new(Settings {
        holder: format!("kubectl-dlq/{}", random()),
        retry_limit: RETRY_LIMIT,
        // After each page: a kill loses no more than the page under way.
        checkpoint_interval: SignedDuration::ZERO,
    });
    let mut kept = Kept::default();
    loop {
        let mut attempt = Attempt::begin(Arc::clone(&settings), kept, true, clock::now());
        let next = drive(&mut attempt, ports).await;
        kept = attempt.keep();
        let status = ports.status();
        let Some(run) = status.current_run else {
            return status.last_run.ok_or_else(|| {
                Problem::Failed(status.message.unwrap_or_else(|| "no run could start".to_owned()))
            });
        };
        if let Some(id) = run.approval_id.clone().filter(|_| run.approved_time.is_none() && kept.is_empty()) {
            let is_approved = tokio::select! {
                biased;
                () = ports.change() => continue,
                answer = approver.approves(&run) => answer?,
            };
            if is_approved {
                ports.annotate(annotations::APPROVED_RUN, id);
            } else {
                ports.annotate(annotations::CANCEL_AT, clock::now().to_string());
            }
            continue;
        }
        match next {
            Next::Now | Next::Look { .. } => {}
            Next::At(until) | Next::OnPermit(until) => {
                tokio::select! {
                    () = sleep(until_then(until)) => {}
                    () = ports.change() => {}
                }
            }
            Next::Retry(trouble) => {
                let done = kept.run().map(|run| format!("; so far {}", figures(run))).unwrap_or_default();
                let way_out = "continue from the last page that was written down with --resume";
                return Err(Problem::Failed(format!("{trouble}{done}; {way_out}")));
            }
            Next::OnChange | Next::Forget => ports.change().await,
        }
    }
}

fn until_then(until: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(clock::now())).unwrap_or_default()
}
