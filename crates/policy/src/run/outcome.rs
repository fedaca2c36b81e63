//! How a run ends, and what is said of it.

use std::fmt::Display;

use super::approval::threshold;
use dlq_crd::{Action, PolicyRun, Reason, RunResult, TokenRefusal};
use dlq_upstash::error::{ApiError, ErrorClass};

/// The longest message of a status, in characters.
pub(crate) const MAX_MESSAGE_CHARS: usize = 256;

/// What to do about a token that is not known, and about one that may only list.
pub(crate) const VALID_TOKEN: &str = "put a valid token into the connection's Secret";
pub(crate) const ACTING_TOKEN: &str = "the token can list but not act, use one that is not read-only";
/// What to do where Upstash does not carry labels.
pub(crate) const LABELS_NOT_CARRIED: &str = "a workflow run is back in the DLQ without its dlq-attempt label, so loopProtection \
     cannot count; use filters that do not select what comes back in its place, or set dlq-operator.dev/resetAt to try again";
const ANY_TOKEN: &str = "the token can neither list nor act, use one that may do both";

/// What happened, and what to do about it. The latter is always told in full, however long the former is.
pub fn with_advice(happened: &str, advice: &str) -> String {
    let room = MAX_MESSAGE_CHARS.saturating_sub(advice.chars().count() + 2);
    let happened: String = happened.chars().take(room).collect();
    format!("{happened}; {advice}")
}

/// How a run ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// For people and history.
    pub result: RunResult,
    /// For conditions.
    pub reason: Reason,
    /// One sentence.
    pub message: String,
    /// What `Ready` says from now on, when the policy cannot run as it stands.
    pub not_ready: Option<Reason>,
    /// The Secret, in its version, whose token was refused.
    pub refused_secret: Option<String>,
}

impl Outcome {
    pub(crate) fn new(result: RunResult, reason: Reason, message: impl Into<String>) -> Self {
        Self { result, reason, message: message.into(), not_ready: None, refused_secret: None }
    }

    /// The run could not continue.
    pub(crate) fn failed(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(RunResult::Failed, reason, message)
    }

    /// Says how many entries a list showed that the run does not select.
    pub(crate) fn leaving_alone(self, left_alone: i64) -> Self {
        if left_alone == 0 {
            return self;
        }
        // First, as long messages are cut.
        let message = format!(
            "left {left_alone} listed entries alone, because their own fields do not match spec.filters or are missing; {}",
            self.message
        );
        Self { message, ..self }
    }

    /// Somebody ended the run.
    pub fn cancelled(message: String) -> Self {
        Self::new(RunResult::Cancelled, Reason::Cancelled, message)
    }

    /// The token was refused, and the Secret holds no other.
    pub fn unauthorized(message: &str) -> Self {
        let message = with_advice(message, VALID_TOKEN);
        Self { not_ready: Some(Reason::Unauthorized), ..Self::failed(Reason::Unauthorized, message) }
    }

    /// Why the token was refused, if it was, for the action at least.
    pub fn refusal(&self) -> Option<TokenRefusal> {
        match (self.reason, self.not_ready) {
            (Reason::Unauthorized, _) => Some(TokenRefusal::Unauthorized),
            (Reason::Forbidden, Some(Reason::ReadOnlyToken)) => Some(TokenRefusal::ReadOnlyToken),
            (Reason::Forbidden, _) => Some(TokenRefusal::Forbidden),
            _ => None,
        }
    }

    /// The token may list, but not act.
    pub(crate) fn read_only(message: &str) -> Self {
        let message = with_advice(message, ACTING_TOKEN);
        Self { not_ready: Some(Reason::ReadOnlyToken), ..Self::failed(Reason::Forbidden, message) }
    }

    /// The token may not even list.
    pub(crate) fn forbidden(message: &str) -> Self {
        Self::failed(Reason::Forbidden, with_advice(message, ANY_TOKEN))
    }

    /// A quota of the plan is used up (412): nothing is tried again within the run.
    pub(crate) fn quota_exceeded(error: &ApiError) -> Self {
        let advice = "raise the quota in Upstash's console, or ask for less in spec.overrides; a daily quota passes by itself";
        Self::failed(Reason::QuotaExceeded, with_advice(&error.to_string(), advice))
    }

    /// So many calls in a row failed that none is repeated any more.
    pub(crate) fn gave_up(failures: u32, error: &ApiError) -> Self {
        let message = format!("gave up after {failures} calls in a row failed; the last: {error}");
        let (reason, advice) = if error.class == ErrorClass::RateLimited {
            let advice =
                "a further run continues; set limits.entriesPerSecond lower, or let it run less often";
            (Reason::RateLimited, advice)
        } else {
            let advice =
                "a further run continues; check spec.connection.url and Upstash's status if this lasts";
            (Reason::UpstreamUnavailable, advice)
        };
        Self::failed(reason, with_advice(&message, advice))
    }

    /// An entry is back without the label that counts.
    pub(crate) fn labels_not_carried() -> Self {
        Self::failed(Reason::LabelsNotCarried, LABELS_NOT_CARRIED)
    }

    /// The API's pages lead nowhere.
    pub(crate) fn cursor_loop(message: &str) -> Self {
        let advice =
            "set limits.pageSize to another value and run again; if this lasts, tell Upstash's support";
        Self::failed(Reason::CursorLoop, with_advice(message, advice))
    }

    /// The API refused the request itself.
    pub(crate) fn bad_request(error: &ApiError) -> Self {
        let advice = "check spec.filters, spec.overrides and spec.connection.url";
        Self::failed(Reason::BadRequest, with_advice(&error.to_string(), advice))
    }

    /// The API refused all entries that were named. What it said of them another process heard.
    pub(crate) fn ids_refused() -> Self {
        let message =
            "the API refused every entry of spec.filters.dlqIds that it found; check spec.overrides";
        Self::failed(Reason::BadRequest, message)
    }

    /// The run has acted on as many entries as it may.
    pub(crate) fn limit_reached(most: i64) -> Self {
        let message = format!(
            "stopped at limits.maxEntriesPerRun ({most}); the next run on schedule or by hand continues"
        );
        Self::new(RunResult::LimitReached, Reason::LimitReached, message)
    }

    /// The policies of the connection have acted on as many entries as they may in a day.
    pub(crate) fn budget_spent() -> Self {
        let message = "stopped as limits.maxEntriesPerDay of the shared connection is spent; a run after midnight in the \
                       connection's time zone continues";
        Self::new(RunResult::LimitReached, Reason::BudgetSpent, message)
    }

    /// The run may have acted on as many entries as it counted before it began.
    pub(crate) fn matched_reached(matched: i64) -> Self {
        let message = format!(
            "stopped at the {} that matched when the run was counted for limits.approvalAbove; the outcome of some calls is \
             unknown; a further run continues",
            entries(matched)
        );
        Self::new(RunResult::LimitReached, Reason::LimitReached, message)
    }

    /// Nobody approved the run in time.
    pub(crate) fn expired(run: &PolicyRun) -> Self {
        let happened = format!("not approved within a day; {}", above_threshold(run));
        let message = with_advice(&happened, "a further run counts anew and asks again");
        Self::new(RunResult::Cancelled, Reason::Expired, message)
    }

    /// The run has taken as long as it may.
    pub(crate) fn deadline_exceeded(run: &PolicyRun) -> Self {
        let seconds =
            run.limits.as_ref().and_then(|limits| limits.active_deadline_seconds).unwrap_or_default();
        let message = format!(
            "the run took longer than limits.activeDeadlineSeconds ({seconds}); a further run continues; raise the limit or \
             narrow spec.filters"
        );
        Self::new(RunResult::DeadlineExceeded, Reason::DeadlineExceeded, message)
    }

    /// There was nothing to do.
    pub fn nothing_matched() -> Self {
        Self::new(RunResult::Succeeded, Reason::NothingMatched, "nothing matched")
    }

    /// The run has done what there was to do. `refusal`: what was said of the last entry that was refused.
    pub(crate) fn succeeded(run: &PolicyRun, refusal: Option<&dyn Display>) -> Self {
        if run.dry_run {
            let matching = if run.processed == 1 {
                "1 entry matches".to_owned()
            } else {
                format!("{} entries match", run.processed)
            };
            let message = format!("dry run: {matching}, nothing was done{}", left_by_choice(run));
            return Self::new(RunResult::Succeeded, Reason::DryRunSucceeded, message);
        }
        let is_known = run.uncertain_pages == 0 && run.interruptions == 0;
        if run.processed == 0 && run.rejected == 0 && is_known {
            let message = format!("nothing matched{}", left_by_choice(run));
            return Self { message, ..Self::nothing_matched() };
        }
        let mut message = figures(run);
        if let Some(refusal) = refusal.filter(|_| run.rejected > 0) {
            message = format!("{message}, the last: {refusal}");
        }
        Self::new(RunResult::Succeeded, Reason::RunSucceeded, message)
    }
}

/// What a run did: entries, calls that were answered with a page, and what was refused.
pub fn figures(run: &PolicyRun) -> String {
    let done = match run.action {
        _ if run.dry_run => "dry run: listed",
        Action::Resume => "resumed",
        Action::Restart => "restarted",
        Action::Delete => "deleted",
    };
    let lower_bound = if run.uncertain_pages > 0 || run.interruptions > 0 { "at least " } else { "" };
    let calls = match run.pages {
        0 => String::new(),
        pages => format!(" in {}", counted(pages, "call", "calls")),
    };
    let left = left_by_choice(run);
    format!("{done} {lower_bound}{}{calls}, {} refused{left}", entries(run.processed), run.rejected)
}

/// Why a run needs an approval.
pub(crate) fn above_threshold(run: &PolicyRun) -> String {
    let matched = run.matched.unwrap_or_default();
    let threshold = run.limits.as_ref().and_then(threshold).unwrap_or_default();
    let verb = if matched == 1 { "matches" } else { "match" };
    format!("{} {verb}, more than limits.approvalAbove ({threshold})", entries(matched))
}

/// What `match` and `loopProtection` left alone.
fn left_by_choice(run: &PolicyRun) -> String {
    let reasons: Vec<_> = (run.skipped.by_reason().into_iter())
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    let mut left = String::new();
    if !reasons.is_empty() {
        left = format!(", {} skipped ({})", run.skipped.total(), reasons.join(", "));
    }
    if run.exhausted > 0 {
        left = format!("{left}, {} exhausted", run.exhausted);
    }
    left
}

fn entries(count: i64) -> String {
    counted(count, "entry", "entries")
}

/// A number of things, with the word for one or for many.
pub(crate) fn counted(count: i64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Whether a run that ended so counts towards the circuit. A dry run proves nothing of what acts, a quota passes by itself, and
/// where labels are not carried the policy is stopped already.
pub(crate) fn counts_as_failed(is_dry: bool, result: RunResult, reason: Reason) -> bool {
    let has_failed = matches!(result, RunResult::Failed | RunResult::DeadlineExceeded);
    has_failed && !is_dry && !matches!(reason, Reason::QuotaExceeded | Reason::LabelsNotCarried)
}

/// Whether the API refused every entry that it was asked to act on.
pub(super) fn are_all_refused(run: &PolicyRun) -> bool {
    run.rejected > 0 && run.processed == 0 && run.uncertain_pages == 0 && run.interruptions == 0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_outcome_says_why_the_token_was_refused_if_it_was() {
        let refusal = |outcome: Outcome| outcome.refusal();
        assert_eq!(refusal(Outcome::unauthorized("no")), Some(TokenRefusal::Unauthorized));
        assert_eq!(refusal(Outcome::read_only("no")), Some(TokenRefusal::ReadOnlyToken));
        assert_eq!(refusal(Outcome::failed(Reason::Forbidden, "no")), Some(TokenRefusal::Forbidden));
        assert_eq!(refusal(Outcome::failed(Reason::BadRequest, "no")), None);
    }

    #[test]
    fn what_was_said_of_a_refused_entry_is_told_where_one_was_refused() {
        let run = |rejected: i64| -> PolicyRun {
            let run = json!({
                "id": "1-spec", "trigger": "Spec", "action": "resume", "startTime": "2026-11-20T12:00:00.000Z",
                "processed": 1, "rejected": rejected,
            });
            serde_json::from_value(run).unwrap()
        };
        let said = ApiError::transport("gone for good", true);
        let message = |rejected| Outcome::succeeded(&run(rejected), Some(&said)).message;
        assert_eq!(message(0), "resumed 1 entry, 0 refused");
        assert!(message(2).contains("2 refused, the last: "), "{}", message(2));
    }

    #[test]
    fn every_failure_says_what_to_do_in_full_however_long_the_answer_is() {
        let long = ApiError { message: "x".repeat(160), ..ApiError::transport("", true) };
        let limited = ApiError { class: ErrorClass::RateLimited, status: Some(429), ..long.clone() };
        for (outcome, advice) in [
            (Outcome::gave_up(10, &long), "if this lasts"),
            (Outcome::gave_up(10, &limited), "less often"),
            (Outcome::quota_exceeded(&long), "passes by itself"),
            (Outcome::bad_request(&long), "spec.connection.url"),
            (Outcome::forbidden(&"x".repeat(300)), "may do both"),
            (Outcome::read_only(&"x".repeat(300)), "not read-only"),
            (Outcome::unauthorized(&"x".repeat(300)), "Secret"),
            (Outcome::cursor_loop("the API gave 100 pages without an entry in a row"), "Upstash's support"),
        ] {
            assert!(outcome.message.ends_with(advice), "{}", outcome.message);
            assert!(outcome.message.chars().count() <= MAX_MESSAGE_CHARS, "{}", outcome.message);
        }
    }
}
