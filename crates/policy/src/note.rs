//! What is told to the world, as Kubernetes events.

use jiff::Timestamp;

use super::ending::Ending;
use super::instants::schedule_since;
use super::status::cut;
use super::validate::Policy;
use dlq_crd::{DlqPolicyStatus, PolicyRun, Reason, RunResult, Trigger};

/// One event. Its text holds neither counts nor times: the publisher joins events with the same text into one series.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Note {
    /// What happened.
    pub reason: NoteReason,
    /// One sentence.
    pub text: String,
}

impl Note {
    pub fn new(reason: NoteReason, text: impl Into<String>) -> Self {
        Self { reason, text: text.into() }
    }
}

/// What happened to a policy.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum NoteReason {
    /// A run started.
    RunStarted,
    /// A run did its work.
    RunSucceeded,
    /// A dry run counted what matches.
    DryRunSucceeded,
    /// A run stopped at its limit.
    LimitReached,
    /// Somebody ended a run.
    RunCancelled,
    /// The policy was suspended or paused.
    PolicySuspended,
    /// It is so no more.
    PolicyUnsuspended,
    /// The circuit closed.
    CircuitClosed,
    /// A request came while a run went on.
    RunAlreadyActive,
    /// A run could not go on.
    RunFailed,
    /// An instant was missed.
    MissedSchedule,
    /// The schedule cannot be read.
    InvalidSchedule,
    /// The zone is not known.
    InvalidTimeZone,
    /// The spec cannot be run.
    InvalidSpec,
    /// The token's Secret is missing or lacks the key.
    SecretNotFound,
    /// Upstash refused the token.
    Unauthorized,
    /// The URL is not allowed.
    UrlNotAllowed,
    /// The circuit opened.
    CircuitOpened,
    /// A request came while the policy was suspended or paused, or cannot be read.
    RunRequestIgnored,
    /// The outcome of a call is unknown.
    UncertainPage,
    /// A list showed entries that the policy does not select.
    FilterMismatch,
}

impl NoteReason {
    /// The event's reason.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RunStarted => "RunStarted",
            Self::RunSucceeded => "RunSucceeded",
            Self::DryRunSucceeded => "DryRunSucceeded",
            Self::LimitReached => "LimitReached",
            Self::RunCancelled => "RunCancelled",
            Self::PolicySuspended => "PolicySuspended",
            Self::PolicyUnsuspended => "PolicyUnsuspended",
            Self::CircuitClosed => "CircuitClosed",
            Self::RunAlreadyActive => "RunAlreadyActive",
            Self::RunFailed => "RunFailed",
            Self::MissedSchedule => "MissedSchedule",
            Self::InvalidSchedule => "InvalidSchedule",
            Self::InvalidTimeZone => "InvalidTimeZone",
            Self::InvalidSpec => "InvalidSpec",
            Self::SecretNotFound => "SecretNotFound",
            Self::Unauthorized => "Unauthorized",
            Self::UrlNotAllowed => "UrlNotAllowed",
            Self::CircuitOpened => "CircuitOpened",
            Self::RunRequestIgnored => "RunRequestIgnored",
            Self::UncertainPage => "UncertainPage",
            Self::FilterMismatch => "FilterMismatch",
        }
    }

    /// Whether it tells of a run's start or end.
    pub fn is_of_a_run(self) -> bool {
        matches!(
            self,
            Self::RunStarted
                | Self::RunSucceeded
                | Self::DryRunSucceeded
                | Self::LimitReached
                | Self::RunCancelled
                | Self::RunFailed
                | Self::Unauthorized
                | Self::UncertainPage
                | Self::FilterMismatch
        )
    }

    /// Whether somebody should look.
    pub fn is_warning(self) -> bool {
        match self {
            Self::RunStarted
            | Self::RunSucceeded
            | Self::DryRunSucceeded
            | Self::LimitReached
            | Self::RunCancelled
            | Self::PolicySuspended
            | Self::PolicyUnsuspended
            | Self::CircuitClosed
            | Self::RunAlreadyActive => false,
            Self::RunFailed
            | Self::MissedSchedule
            | Self::InvalidSchedule
            | Self::InvalidTimeZone
            | Self::InvalidSpec
            | Self::SecretNotFound
            | Self::Unauthorized
            | Self::UrlNotAllowed
            | Self::CircuitOpened
            | Self::RunRequestIgnored
            | Self::UncertainPage
            | Self::FilterMismatch => true,
        }
    }
}

/// What is told when the first write of a run's entries lands: most runs of a healthy queue find none, and are not told of.
pub fn of_first_entries(before: &DlqPolicyStatus, after: &DlqPolicyStatus) -> Option<Note> {
    let known = before.current_run.as_ref()?;
    let run = after.current_run.as_ref().or(after.last_run.as_ref()).filter(|run| run.id == known.id)?;
    if has_entries(known) || !has_entries(run) {
        return None;
    }
    let what = if run.dry_run { "dry run" } else { "run" };
    let why = match run.trigger {
        Trigger::Schedule => "on schedule",
        Trigger::Manual => "by request",
        Trigger::Spec => "for a new spec",
    };
    Some(Note::new(NoteReason::RunStarted, format!("a {} {what} started {why}", run.action)))
}

fn has_entries(run: &PolicyRun) -> bool {
    run.processed > 0 || run.rejected > 0
}

/// What is told when a run ends.
pub fn of_ending(run: &PolicyRun, ending: &Ending) -> Vec<Note> {
    let mut notes = Vec::new();
    if run.uncertain_pages > 0 {
        notes.push(Note::new(
            NoteReason::UncertainPage,
            "the outcome of a call is unknown; the run's count is a lower bound",
        ));
    }
    if ending.left_alone > 0 {
        notes.push(Note::new(
            NoteReason::FilterMismatch,
            "Upstash's list showed entries that spec.filters does not select; they were not acted on",
        ));
    }
    let reason = match (ending.result, ending.reason) {
        // Most runs of a healthy queue: not worth an event.
        (_, Reason::NothingMatched) => None,
        (RunResult::Succeeded, _) if run.dry_run && run.processed == 0 => None,
        (RunResult::Succeeded, _) if run.dry_run => Some(NoteReason::DryRunSucceeded),
        (RunResult::Succeeded, _) => Some(NoteReason::RunSucceeded),
        (RunResult::LimitReached, _) => Some(NoteReason::LimitReached),
        (RunResult::Cancelled, _) => Some(NoteReason::RunCancelled),
        (RunResult::Failed, Reason::Unauthorized) => Some(NoteReason::Unauthorized),
        (RunResult::Failed | RunResult::DeadlineExceeded, _) => Some(NoteReason::RunFailed),
    };
    let text = match ending.result {
        // Counts stay out of the text, see `Note`.
        RunResult::Succeeded if run.dry_run => {
            format!("the {} dry run counted what matches; see status.lastRun", run.action)
        }
        RunResult::Succeeded => format!("the {} run did its work; see status.lastRun", run.action),
        _ => cut(&ending.message),
    };
    notes.extend(reason.map(|reason| Note::new(reason, text)));
    notes
}

/// What is told when scheduled times were skipped during a run: once, at its end. `status` knows them already.
pub fn of_skipped_times(
    policy: &Policy,
    status: &DlqPolicyStatus,
    run: &PolicyRun,
    now: Timestamp,
) -> Option<Note> {
    let Ok(Some(schedule)) = &policy.schedule else { return None };
    let since = schedule_since(schedule, status, now)?;
    let latest = status.last_skipped_time.as_ref()?.0;
    let text = "instants passed while a run went on; they are not caught up";
    (schedule.jittered(latest, since) > run.start_time.timestamp())
        .then(|| Note::new(NoteReason::RunAlreadyActive, text))
}
