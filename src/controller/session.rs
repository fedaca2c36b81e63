//! A run that this process works on, between two slices, and how it is given back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{StreamExt, stream};
use serde_json::Value;
use tokio::time::timeout;
use tracing::{Instrument, warn};

use super::connections::Connected;
use super::context::{Context, PolicyRef};
use super::metrics::RunWaits;
use super::persist::PersistError;
use super::report::{self, Named};
use crate::crd::PolicyRun;
use crate::policy::Progress;

/// A run that this process works on, between two slices.
pub(crate) struct Session {
    pub(crate) run_id: String,
    pub(crate) uid: String,
    /// The run in the status, as it was when this process took it.
    pub(crate) stored_run: Value,
    /// The run as this process wrote it last, as far as it knows.
    pub(crate) written_run: PolicyRun,
    pub(crate) progress: Progress,
    pub(crate) connected: Connected,
    /// After how many pages the Secret was read again, as the token was refused. Once for each token that worked.
    pub(crate) looked_again_at: Option<i64>,
    /// How long it waits because Upstash asked for it.
    pub(crate) waits: RunWaits,
}

/// How long giving runs back may take in all: a successor waits for the lease.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(1500);
/// How many are given back at once: more would be slower, each on a connection of its own.
const RELEASES: usize = 16;

/// Gives back all runs that wait for their next slice, for a clean stop. What is not given back in time counts as an
/// interruption for who takes it over.
pub(crate) async fn release_all(context: &Context) {
    let sessions = context.memory.drain_sessions();
    let left = AtomicUsize::new(sessions.len());
    let releases = stream::iter(sessions).for_each_concurrent(RELEASES, |(policy, session)| {
        let left = &left;
        async move {
            release(context, &policy, session).await;
            left.fetch_sub(1, Ordering::Relaxed);
        }
    });
    if timeout(RELEASE_TIMEOUT, releases).await.is_err() {
        let runs = left.load(Ordering::Relaxed);
        warn!(
            runs,
            "not every run could be given back in time; they go on, and say that they were interrupted"
        );
    }
}

/// Gives a run back, so that whoever takes it over knows that its counts are whole.
pub(crate) async fn release(context: &Context, policy: &PolicyRef, session: Session) {
    let run = PolicyRun {
        revision: session.written_run.revision.map(|revision| revision + 1),
        ..session.progress.handed_back()
    };
    let object =
        (policy.namespace.as_deref().unwrap_or_default(), policy.name.as_str(), session.uid.as_str());
    let span = report::slice(policy, &session.uid, &run, &context.holder);
    let Session { stored_run, written_run, .. } = &session;
    match context.status.release(object, stored_run, written_run, &run).instrument(span).await {
        // A conflict: there is nothing left to give back.
        Ok(()) | Err(PersistError::Conflict) => {}
        Err(problem) => {
            warn!(policy = %Named(policy), run_id = session.run_id, %problem, "cannot give the run back");
        }
    }
}
