//! A run that this process works on, between two slices, and how it is given back.

use futures::future::join_all;
use tracing::warn;

use super::connections::Connected;
use super::context::{Context, PolicyRef};
use super::persist::PersistError;
use crate::policy::Progress;

/// A run that this process works on, between two slices.
pub(crate) struct Session {
    pub(crate) run_id: String,
    pub(crate) uid: String,
    pub(crate) progress: Progress,
    pub(crate) connected: Connected,
    /// After how many pages the Secret was read again, as the token was refused. Once for each token that worked.
    pub(crate) looked_again_at: Option<i64>,
}

/// Gives back all runs that wait for their next slice. For a clean stop, when nothing is worked on any more.
pub(crate) async fn release_all(context: &Context) {
    let sessions = context.memory.drain_sessions();
    join_all(
        sessions.into_iter().map(|(policy, session)| async move { release(context, &policy, session).await }),
    )
    .await;
}

/// Gives a run back, so that whoever takes it over knows that its counts are whole.
pub(crate) async fn release(context: &Context, policy: &PolicyRef, session: Session) {
    context.metrics.let_go(policy);
    let run = session.progress.handed_back();
    let object =
        (policy.namespace.as_deref().unwrap_or_default(), policy.name.as_str(), session.uid.as_str());
    match context.status.release(object, &run, &context.holder).await {
        // A conflict: there is nothing left to give back.
        Ok(()) | Err(PersistError::Conflict) => {}
        Err(problem) => warn!(%policy, run_id = session.run_id, %problem, "cannot give the run back"),
    }
}
