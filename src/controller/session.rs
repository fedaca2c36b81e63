//! A run that this process works on, between two slices, and how it is given back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{StreamExt, stream};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, warn};

use super::connections::Connected;
use super::context::{Context, PolicyRef};
use super::metrics::RunWaits;
use super::observe::observe;
use super::persist::PersistError;
use super::report::{self, Named};
use dlq_crd::PolicyRun;
use dlq_policy::{Progress, status};

/// A run that this process works on, between two slices.
pub(crate) struct Session {
    pub(crate) uid: String,
    /// The run in the status, as it was when this process took it.
    pub(crate) stored_run: Value,
    /// The run as this process wrote it last, as far as it knows.
    pub(crate) written_run: Value,
    pub(crate) progress: Progress,
    pub(crate) connected: Connected,
    /// After how many pages the Secret was read again, as the token was refused. Once for each token that worked.
    pub(crate) looked_again_at: Option<i64>,
    /// How long it waits because Upstash asked for it.
    pub(crate) waits: RunWaits,
}

/// How long after the signal runs may still be given back. The lease is held meanwhile, and a pod has 30 s.
pub(crate) const RELEASE_TIMEOUT: Duration = Duration::from_secs(20);
/// How many are given back at once: more would be slower, each on a connection of its own.
const RELEASES: usize = 16;

/// Gives back all runs that wait for their next slice, for a clean stop. A run that is not given back until then counts
/// an interruption when it is taken over.
pub(crate) async fn release_all(context: &Context, until: Instant) {
    let sessions = context.memory.drain_sessions();
    let left = AtomicUsize::new(sessions.len());
    let releases = stream::iter(sessions).for_each_concurrent(RELEASES, |(policy, session)| {
        let left = &left;
        async move {
            release(context, &policy, session).await;
            left.fetch_sub(1, Ordering::Relaxed);
        }
    });
    if timeout_at(until, releases).await.is_err() {
        let runs = left.load(Ordering::Relaxed);
        warn!(
            runs,
            "not every run could be given back in time; those that were not will say that they were interrupted"
        );
    }
}

/// Gives a run back, so that the process that takes it over knows that its counts are whole.
pub(crate) async fn release(context: &Context, policy: &PolicyRef, session: Session) {
    let span = report::slice(policy, &session.uid, session.progress.run(), &context.holder);
    let released = async {
        match try_release(context, policy, &session, &session.written_run).await {
            // It may be with an earlier write of this process, which got no answer.
            Err(PersistError::Conflict) => match written_since(context, policy, &session).await {
                Some(written) => try_release(context, policy, &session, &written).await,
                // There is nothing left to give back.
                None => Ok(()),
            },
            outcome => outcome,
        }
    };
    match released.instrument(span).await {
        Ok(()) | Err(PersistError::Conflict) => {}
        Err(problem) => {
            warn!(policy = %Named(policy), run_id = session.progress.run().id, %problem, "cannot give the run back");
        }
    }
}

/// Gives the run back, if it stands there as this process wrote it last.
async fn try_release(
    context: &Context,
    policy: &PolicyRef,
    session: &Session,
    written: &Value,
) -> Result<(), PersistError> {
    let revision = written["revision"].as_i64().map(|revision| revision + 1);
    let run = PolicyRun { revision, ..session.progress.handed_back() };
    let object =
        (policy.namespace.as_deref().unwrap_or_default(), policy.name.as_str(), session.uid.as_str());
    context.status.release(object, &session.stored_run, written, &run).await
}

/// The run as it stands, if an unanswered write of this process made it so.
async fn written_since(context: &Context, policy: &PolicyRef, session: &Session) -> Option<Value> {
    let namespace = policy.namespace.as_deref().unwrap_or_default();
    let read = observe(&context.client, namespace, &policy.name).await.ok().flatten()?;
    let known: PolicyRun = serde_json::from_value(session.written_run.clone()).ok()?;
    let is_ours =
        read.uid() == session.uid && status::is_next_revision(Some(&known), read.status.current_run.as_ref());
    read.raw_status.get("currentRun").filter(|_| is_ours).cloned()
}
