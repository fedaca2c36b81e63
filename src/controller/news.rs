//! What a write of a status tells once it is known to be written: at once, or later when its answer was lost.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use jiff::Timestamp;
use serde_json::Value;

use super::context::{Context, PolicyRef};
use super::observe::Observed;
use super::report;
use dlq_crd::{DlqPolicyStatus, MilliTime, PolicyRun};
use dlq_policy::tally::Tally;
use dlq_policy::{Ending, Note};

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

/// So many statuses that tell the same are known again, and so much news. A run's state is tried twenty times before others
/// get a turn.
const MOST_STATUSES: usize = 64;
const MOST_NEWS: usize = 8;

/// Writes without an answer, or with a bad one, that told the same: one of them may have been done, or be done yet.
pub(crate) struct Unanswered {
    uid: String,
    /// Hashes of the statuses that were sent.
    sent: VecDeque<u64>,
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
        wanted: &Value,
        tally: Tally,
        news: News,
    ) -> Self {
        let run = |status: &DlqPolicyStatus| {
            status.current_run.as_ref().map(|run| (run.id.clone(), run.start_time))
        };
        let began = run(next).filter(|began| run(&observed.status).as_ref() != Some(began));
        Self { uid: observed.uid().to_owned(), sent: VecDeque::from([hash(wanted)]), began, news, tally }
    }

    /// Adds it to those before it.
    pub(crate) fn follow(mut self, earlier: &mut Vec<Self>) {
        earlier.retain(|earlier| earlier.uid == self.uid);
        if let Some(same) = earlier.iter_mut().find(|earlier| earlier.tells_as(&self)) {
            same.sent.append(&mut self.sent);
            let too_many = same.sent.len().saturating_sub(MOST_STATUSES);
            same.sent.drain(..too_many);
        } else {
            earlier.push(self);
            let too_many = earlier.len().saturating_sub(MOST_NEWS);
            earlier.drain(..too_many);
        }
    }

    fn tells_as(&self, other: &Self) -> bool {
        let told = |unanswered: &Self| {
            let Self { began, news: News { notes, ended }, tally, .. } = unanswered;
            let ended = ended.as_ref().map(|Ended { run, at, .. }| (run.id.clone(), run.start_time, *at));
            (began.clone(), notes.clone(), ended, tally.clone())
        };
        told(self) == told(other)
    }

    /// Whether one was done. Others may have written since; that a run began or ended stays to be seen, as its times are
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
        began || ended || self.sent.contains(&hash(&observed.raw_status))
    }
}

/// The latest that was done, and those after it.
fn sorted(mut unanswered: Vec<Unanswered>, observed: &Observed) -> (Option<Unanswered>, Vec<Unanswered>) {
    unanswered.retain(|unanswered| unanswered.uid == observed.uid());
    let Some(done) = unanswered.iter().rposition(|unanswered| unanswered.is_done(observed)) else {
        return (None, unanswered);
    };
    let later = unanswered.split_off(done + 1);
    (unanswered.pop(), later)
}

/// Objects of `serde_json` hash the same in any order of their keys.
fn hash(status: &Value) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(status)
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

    /// Looks in a status that was read which of the last writes, which got no answer, was done, and tells of it then. The
    /// news of each is all since what is known to be written, so that of the latest is enough.
    pub(crate) fn learn(&self, policy: &PolicyRef, observed: &Observed) {
        let (done, unanswered) = sorted(self.memory.take_unanswered(policy), observed);
        if let Some(Unanswered { uid, tally, news, .. }) = done {
            self.tell(policy, &uid, &tally, news);
        }
        // They may be on their way still.
        for unanswered in unanswered {
            self.memory.note_unanswered(policy.clone(), unanswered);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::controller::observe::decode;
    use dlq_policy::NoteReason;

    fn observed(status: &Value) -> Observed {
        let object = json!({
            "apiVersion": "dlq-operator.dev/v1alpha1", "kind": "DlqPolicy",
            "metadata": { "name": "drain", "namespace": "payments", "uid": "u" },
            "spec": { "action": "resume", "filters": { "all": true } }, "status": status,
        });
        decode(serde_json::from_value(object).unwrap())
    }

    fn run(processed: i64) -> Value {
        json!({ "id": "1-spec", "trigger": "Spec", "generation": 1, "action": "resume", "dryRun": false,
            "startTime": "2026-11-21T12:00:00.123Z", "processed": processed })
    }

    /// A write from `before` to `next`, which tells these.
    fn unanswered(before: &Value, next: &Value, reasons: &[NoteReason], ended: Option<Ended>) -> Unanswered {
        let notes = reasons.iter().map(|reason| Note { reason: *reason, text: String::new() }).collect();
        let news = News { notes, ended };
        Unanswered::new(&observed(before), &observed(next).status, next, Tally::default(), news)
    }

    fn told(found: &(Option<Unanswered>, Vec<Unanswered>)) -> (Option<usize>, usize) {
        (found.0.as_ref().map(|done| done.news.notes.len()), found.1.len())
    }

    #[test]
    fn what_is_told_is_the_news_of_the_write_that_was_done_and_of_no_other() {
        let at: Timestamp = "2026-11-21T12:00:09.5Z".parse().unwrap();
        let before = json!({ "currentRun": run(0) });
        let page = |processed: i64| json!({ "currentRun": run(processed) });
        let mut last_run = run(100);
        last_run["completionTime"] = json!("2026-11-21T12:00:09.500Z");
        let end = json!({ "lastRun": last_run });
        let ended = || Ended {
            run: serde_json::from_value(run(100)).unwrap(),
            ending: Ending::nothing_matched(),
            at,
        };
        let all = || {
            let mut all = Vec::new();
            for processed in 1..40 {
                unanswered(&before, &page(processed), &[NoteReason::RunStarted], None).follow(&mut all);
            }
            let both = [NoteReason::RunStarted, NoteReason::RunSucceeded];
            for _ in 0..20 {
                unanswered(&before, &end, &both, Some(ended())).follow(&mut all);
            }
            all
        };
        assert_eq!(all().len(), 2, "retries of the same are one");
        for (row, status, expected) in [
            ("none", &before, (None, 2)),
            ("the first page", &page(1), (Some(1), 1)),
            ("the last page", &page(39), (Some(1), 1)),
            ("the end", &end, (Some(2), 0)),
            ("the end, and more since", &json!({ "lastRun": last_run, "phase": "Idle" }), (Some(2), 0)),
            ("another run", &json!({ "currentRun": { "id": "2-manual" } }), (None, 2)),
        ] {
            assert_eq!(told(&sorted(all(), &observed(status))), expected, "{row}");
        }
    }

    #[test]
    fn a_claim_is_known_by_its_run_whatever_was_written_since() {
        let began =
            unanswered(&json!({}), &json!({ "currentRun": run(0) }), &[NoteReason::MissedSchedule], None);
        let since = observed(&json!({ "currentRun": run(50), "phase": "Running" }));
        assert!(began.is_done(&since));
        let mut other = run(0);
        other["startTime"] = json!("2026-11-21T12:00:00.124Z");
        assert!(!began.is_done(&observed(&json!({ "currentRun": other }))));
    }
}
