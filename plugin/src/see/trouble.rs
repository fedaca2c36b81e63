//! What is wrong with a policy, and the next command to type.

use dlq_crd::{ConditionType, PolicyRun, Reason, RunResult};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::foreseen::foreseen;
use super::words::{age, count, entries, number};
use crate::cluster::Stored;

/// How long a new policy may be unseen before that is worth a word.
const SOON: SignedDuration = SignedDuration::from_secs(15);

/// What needs a person's attention, the gravest first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Attention {
    /// It cannot run as it stands.
    NotReady,
    /// Too many runs failed in a row.
    CircuitOpen,
    /// A run waits for an approval.
    AwaitingApproval,
    /// The last run failed.
    RunFailed,
    /// No operator has seen it, or its latest edit.
    Unseen,
    /// A run is in progress.
    Running,
    /// Nothing.
    None,
}

/// Something that is wrong, or that keeps runs from starting.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trouble {
    /// What.
    pub what: String,
    /// What to do, mostly a command.
    pub next: Option<String>,
    /// How it is shown.
    pub kind: TroubleKind,
}

/// What kind of trouble it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TroubleKind {
    /// Something does not work, or a person has to decide.
    Problem,
    /// It works, and will cause trouble.
    Warning,
    /// Somebody holds the policy back on purpose.
    Held,
}

/// What the policy needs.
pub fn attention(policy: &Stored, now: Timestamp) -> Attention {
    let status = policy.status();
    let phase = policy.status_text("/phase").unwrap_or_default();
    let ready = condition(policy, ConditionType::Ready);
    if phase == "Invalid" || ready.is_some_and(|ready| ready.status == "False") {
        Attention::NotReady
    } else if phase == "CircuitOpen" || is_circuit_open(policy) {
        Attention::CircuitOpen
    } else if awaits_approval(policy).is_some() || phase == "AwaitingApproval" {
        Attention::AwaitingApproval
    } else if status.current_run.is_some() || policy.has_unread_run() || phase == "Running" {
        Attention::Running
    } else if last_failure(policy).is_some() {
        Attention::RunFailed
    } else if is_overlooked(policy, now) {
        Attention::Unseen
    } else {
        Attention::None
    }
}

/// A condition of the status.
pub fn condition(policy: &Stored, kind: ConditionType) -> Option<&Condition> {
    policy.status().conditions.iter().find(|condition| condition.type_ == kind.as_str())
}

/// The run that waits for an approval, and its ID.
pub fn awaits_approval(policy: &Stored) -> Option<(&PolicyRun, &str)> {
    let run = policy.status().current_run.as_ref()?;
    let id = run.approval_id.as_deref().filter(|_| run.approved_time.is_none())?;
    Some((run, id))
}

/// Whether the circuit is open.
pub fn is_circuit_open(policy: &Stored) -> bool {
    condition(policy, ConditionType::Ready).is_some_and(|ready| ready.reason == Reason::CircuitOpen.as_str())
}

/// The last run, if it failed.
pub fn last_failure(policy: &Stored) -> Option<&PolicyRun> {
    let is_failure =
        |run: &&PolicyRun| matches!(run.result, Some(RunResult::Failed | RunResult::DeadlineExceeded));
    policy.status().last_run.as_ref().filter(is_failure)
}

/// Whether the operator's own flag pauses the policy.
pub fn is_paused_by_flag(policy: &Stored) -> bool {
    let is_paused = policy.is_seen() && policy.status_text("/phase") == Some("Paused");
    let by_flag = |ready: &Condition| ready.message.contains("--pause-all");
    is_paused && condition(policy, ConditionType::Ready).is_some_and(by_flag)
}

fn is_overlooked(policy: &Stored, now: Timestamp) -> bool {
    !policy.is_seen() && policy.created().is_none_or(|created| now.duration_since(created) > SOON)
}

/// What is wrong, the gravest first, each with what to do.
pub fn troubles(policy: &Stored, now: Timestamp) -> Vec<Trouble> {
    let wrong = |what: String, next: Option<String>| Trouble { what, next, kind: TroubleKind::Problem };
    let warning = |what: String, next: String| Trouble { what, next: Some(next), kind: TroubleKind::Warning };
    let status = policy.status();
    let mut found = Vec::new();
    if let Some(ready) = condition(policy, ConditionType::Ready).filter(|ready| ready.status == "False") {
        let what = format!("{}: {}", ready.reason, ready.message);
        found.push(wrong(what, Reason::parse(&ready.reason).and_then(|reason| next_step(reason, policy))));
    }
    if is_circuit_open(policy) {
        let message = condition(policy, ConditionType::Ready).map_or("", |ready| ready.message.as_str());
        found.push(wrong(format!("CircuitOpen: {message}"), next_step(Reason::CircuitOpen, policy)));
    }
    if let Some((run, _)) = awaits_approval(policy) {
        let matched = run.matched.map_or_else(|| "entries".to_owned(), entries);
        let above = run.limits.as_ref().and_then(|limits| limits.approval_above);
        let above = above.map_or_else(String::new, |above| format!(", more than {}", number(above)));
        let what = format!("a run would {} {matched}{above}, and waits for an approval", run.action);
        found.push(wrong(what, next_step(Reason::AwaitingApproval, policy)));
    }
    if let Some(run) = last_failure(policy).filter(|_| !is_circuit_open(policy)) {
        let reason = run.reason.map_or("", Reason::as_str);
        let next = run.reason.and_then(|reason| next_step(reason, policy));
        found.push(wrong(format!("the last run failed: {reason}"), next));
    }
    if is_overlooked(policy, now) {
        found.push(overlooked(policy));
    }
    found.extend(policy.unread().iter().map(|field| {
        let next =
            "install the plugin of the operator's version, or look at all of it with -o yaml".to_owned();
        wrong(format!("a newer version wrote what this plugin cannot read: {field}"), Some(next))
    }));
    if policy.is_suspended() {
        let what = "spec.suspend is true: no run starts".to_owned();
        found.push(Trouble { what, next: next_step(Reason::Suspended, policy), kind: TroubleKind::Held });
    }
    if let Some(value) = policy.paused() {
        let what = format!("paused by annotation ({value}): no run starts");
        found.push(Trouble { what, next: next_step(Reason::Paused, policy), kind: TroubleKind::Held });
    }
    if is_paused_by_flag(policy) {
        let what = "the operator's flag --pause-all holds every policy: no run starts".to_owned();
        let next = Some("set pauseAll: false in the values of the operator's chart".to_owned());
        found.push(Trouble { what, next, kind: TroubleKind::Held });
    }
    if status.loop_possible {
        let what = "a workflow run that keeps failing is acted on at every scheduled time".to_owned();
        found.push(warning(what, "set spec.loopProtection.maxAttempts".to_owned()));
    }
    if let Some(expiring) =
        status.backlog.as_ref().and_then(|backlog| backlog.expiring_within_day).filter(|count| *count > 0)
    {
        let what = format!("{} of the backlog expire within a day", entries(expiring));
        found.push(warning(what, command("run", policy)));
    }
    found
}

fn overlooked(policy: &Stored) -> Trouble {
    let what = if policy.status().observed_generation.is_none_or(|seen| seen < 1) {
        "no operator has seen this policy"
    } else {
        "the operator has not seen the latest edit"
    };
    // What it will say once it does.
    if let Some(invalid) = foreseen(policy).and_then(|foreseen| foreseen.invalid) {
        let what = format!("{what}, and it will refuse it: {}: {}", invalid.reason, invalid.message);
        return Trouble { what, next: next_step(invalid.reason, policy), kind: TroubleKind::Problem };
    }
    let next = "see whether the operator runs and watches this namespace: \
                kubectl get deployments -A -l app.kubernetes.io/name=dlq-operator";
    Trouble { what: what.to_owned(), next: Some(next.to_owned()), kind: TroubleKind::Problem }
}

/// The command for this policy.
pub fn command(verb: &str, policy: &Stored) -> String {
    format!("kubectl dlq {verb} {} -n {}", policy.name(), policy.namespace())
}

/// What to do about a reason. One place for all, so that a new reason does not compile until it has its step.
fn next_step(reason: Reason, policy: &Stored) -> Option<String> {
    let edit = || format!("kubectl edit dlqp {} -n {}", policy.name(), policy.namespace());
    let try_again = || format!("{} --wait", command("run", policy));
    Some(match reason {
        Reason::InvalidSpec
        | Reason::InvalidSchedule
        | Reason::InvalidTimeZone
        | Reason::NoConnection
        | Reason::ActionNotAllowed
        | Reason::GuardrailViolated
        | Reason::UrlNotAllowed => edit(),
        Reason::SecretNotFound
        | Reason::SecretKeyNotFound
        | Reason::SecretInvalid
        | Reason::Unauthorized
        | Reason::ReadOnlyToken => {
            return secret(policy);
        }
        Reason::ConnectionNotFound => {
            format!("kubectl get dlqconnections,clusterdlqconnections -n {}", policy.namespace())
        }
        Reason::LabelsNotCarried => format!(
            "remove spec.loopProtection, or, if Upstash carries labels by now, {}",
            command("reset", policy)
        ),
        Reason::CircuitOpen => {
            format!("fix the cause, then {}, or try one run with {}", command("reset", policy), try_again())
        }
        Reason::Suspended => command("unsuspend", policy),
        Reason::Paused => command("unpause", policy),
        Reason::AwaitingApproval => {
            format!("{}, or {}", command("approve", policy), command("cancel", policy))
        }
        Reason::BadRequest => command("explain", policy),
        Reason::Forbidden => secret(policy).unwrap_or_else(try_again),
        Reason::QuotaExceeded => format!("raise the quota of the Upstash plan, then {}", try_again()),
        Reason::UpstreamUnavailable | Reason::RateLimited | Reason::CursorLoop | Reason::DeadlineExceeded => {
            try_again()
        }
        Reason::Expired => format!("{}, and approve it within a day", command("run", policy)),
        Reason::Scheduled
        | Reason::Idle
        | Reason::Connected
        | Reason::RunInProgress
        | Reason::Throttled
        | Reason::Retrying
        | Reason::Queued
        | Reason::RunSucceeded
        | Reason::NothingMatched
        | Reason::LimitReached
        | Reason::BudgetSpent
        | Reason::DryRunSucceeded
        | Reason::Cancelled
        | Reason::NeverRun => return None,
    })
}

/// How to give the Secret another token. Never on a command line, where others would see it.
fn secret(policy: &Stored) -> Option<String> {
    let secret = policy.spec()?.connection.as_ref()?.token_secret_ref.as_ref()?;
    Some(format!(
        "write a valid token to a file, then kubectl create secret generic {} -n {} --from-file={}=FILE --dry-run=client -o yaml | \
         kubectl apply -f -",
        secret.name,
        policy.namespace(),
        secret.key
    ))
}

/// What of a run's counts is not certain.
pub fn doubts(uncertain_pages: i64, interruptions: i64) -> Option<String> {
    let mut doubts = Vec::new();
    if uncertain_pages > 0 {
        doubts.push(format!("the outcome of {} is unknown", count(uncertain_pages, "call", "calls")));
    }
    if interruptions > 0 {
        doubts.push(format!("the operator stopped uncleanly {}", count(interruptions, "time", "times")));
    }
    (!doubts.is_empty()).then(|| format!("these counts are lower bounds: {}", doubts.join(", and ")))
}

/// What the list says of the last run.
pub fn last_run(policy: &Stored, now: Timestamp) -> String {
    let Some(run) = &policy.status().last_run else { return "never".to_owned() };
    // A word that is not known here is shown as it stands.
    let result = policy.status_text("/lastRun/result").unwrap_or("ended");
    let ended = run.completion_time.unwrap_or(run.start_time).timestamp();
    format!("{result} {}", age(ended, now))
}
