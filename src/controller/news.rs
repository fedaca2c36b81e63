//! What a write of a status tells once it is known to be written: at once, or later when its answer was lost.

use jiff::Timestamp;
use serde_json::Value;

use super::context::{Context, PolicyRef};
use super::observe::Observed;
use super::report;
use crate::crd::{DlqPolicyStatus, MilliTime, PolicyRun};
use crate::policy::tally::Tally;
use crate::policy::{Ending, Note};

/// What a write of a status is to tell, beyond what the two statuses say.
#[derive(Clone, Debug, Default)]
pub(crate) struct News {
    pub(crate) notes: Vec<Note>,
    /// The run that it ends.
    pub(crate) ended: Option<Ended>,
}

/// The end of a run.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) run: PolicyRun,
    pub(crate) ending: Ending,
    pub(crate) at: Timestamp,
}

impl From<Vec<Note>> for News {
    fn from(notes: Vec<Note>) -> Self {
        Self { notes, ended: None }
    }
}

/// A write that got no answer, or a bad one: it may have been done, or be done yet.
pub(crate) struct Unanswered {
    uid: String,
    wanted: Value,
    /// The run that it began.
    began: Option<(String, MilliTime)>,
    news: News,
    tally: Tally,
}

impl Unanswered {
    /// `wanted`: the status as it was sent.
    pub(crate) fn new(
        observed: &Observed,
        next: &DlqPolicyStatus,
        wanted: Value,
        tally: Tally,
        news: News,
    ) -> Self {
        let run = |status: &DlqPolicyStatus| {
            status.current_run.as_ref().map(|run| (run.id.clone(), run.start_time))
        };
        let began = run(next).filter(|began| run(&observed.status).as_ref() != Some(began));
        Self { uid: observed.uid().to_owned(), wanted, began, news, tally }
    }

    /// Whether it was done. Others may have written since; that a run began or ended stays to be seen, as its times are
    /// those that were sent.
    fn is_done(&self, observed: &Observed) -> bool {
        let DlqPolicyStatus { current_run, last_run, .. } = &observed.status;
        let began = self.began.as_ref().is_some_and(|(id, start)| {
            current_run.iter().chain(last_run).any(|run| (&run.id, run.start_time) == (id, *start))
        });
        let ended = self.news.ended.as_ref().zip(last_run.as_ref()).is_some_and(|(ended, run)| {
            (&run.id, run.start_time, run.completion_time)
                == (&ended.run.id, ended.run.start_time, Some(ended.at.into()))
        });
        began || ended || observed.raw_status == self.wanted
    }
}

impl Context {
    /// Tells what was written, in events, metrics and the log.
    pub(crate) fn tell(&self, policy: &PolicyRef, uid: &str, tally: &Tally, news: News) {
        self.events.publish(policy, uid, news.notes);
        self.metrics.tell(policy, tally);
        if let Some(ended) = &news.ended {
            report::run_ended(policy, uid, ended);
        }
    }

    /// Looks in a status that was read whether the last write, which got no answer, was done, and tells of it then.
    pub(crate) fn learn(&self, policy: &PolicyRef, observed: &Observed) {
        let Some(unanswered) = self.memory.take_unanswered(policy) else { return };
        if unanswered.uid != observed.uid() {
            return;
        }
        if unanswered.is_done(observed) {
            self.tell(policy, &unanswered.uid, &unanswered.tally, unanswered.news);
        } else {
            // It may be on its way still.
            self.memory.keep_unanswered(policy.clone(), unanswered);
        }
    }
}
