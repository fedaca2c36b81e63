//! The table of states: how each is brought about, and the conditions it shows.

use serde_json::{Value, json};

/// A state of a policy, which has a DLQ and a Secret of its own, both of its name.
pub(super) struct State {
    pub(super) name: &'static str,
    pub(super) spec: Value,
    pub(super) annotations: Value,
    /// How many entries are in its DLQ.
    pub(super) entries: usize,
    /// What befalls every call.
    pub(super) fault: Option<Value>,
    pub(super) secret: Secret,
    pub(super) ready: (bool, &'static str),
    pub(super) running: (bool, &'static str),
    /// `None`: nobody knows.
    pub(super) last_run: (Option<bool>, &'static str),
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Secret {
    Good,
    ReadOnly,
    /// Upstash does not know its token.
    Unknown,
    /// It holds no token.
    Invalid,
    /// Its key is another.
    Key,
    Missing,
    /// The policy names none.
    Unnamed,
}

/// How deploy tools must read a state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Health {
    Healthy,
    /// Ready to those that fail a deploy, and not to those that show it to people.
    NeedsAPerson,
    /// Ready to those that fail a deploy, and waiting to those that show it to people.
    WaitsForAPerson,
    InProgress,
    Failed,
}

impl State {
    pub(super) fn health(&self) -> Health {
        match self.ready {
            (true, "CircuitOpen") => Health::NeedsAPerson,
            (true, _) if self.running.1 == "AwaitingApproval" => Health::WaitsForAPerson,
            (true, _) => Health::Healthy,
            (false, "SecretNotFound" | "SecretKeyNotFound" | "ConnectionNotFound") => Health::InProgress,
            (false, _) => Health::Failed,
        }
    }

    /// The whole set, as type, status and reason.
    pub(super) fn conditions(&self) -> Vec<[&'static str; 3]> {
        let truth = |so| if so { "True" } else { "False" };
        let mut conditions = vec![
            ["Ready", truth(self.ready.0), self.ready.1],
            ["Running", truth(self.running.0), self.running.1],
            ["LastRunSucceeded", self.last_run.0.map_or("Unknown", truth), self.last_run.1],
        ];
        match (self.health(), self.ready.1) {
            (Health::Healthy | Health::NeedsAPerson | Health::WaitsForAPerson, _) => {}
            (Health::InProgress, reason) => conditions.push(["Reconciling", "True", reason]),
            (Health::Failed, reason) => conditions.push(["Stalled", "True", reason]),
        }
        conditions.sort_unstable();
        conditions
    }
}

const NEVER: (Option<bool>, &str) = (None, "NeverRun");
const WELL: (Option<bool>, &str) = (Some(true), "NothingMatched");

fn badly(reason: &'static str) -> (Option<bool>, &'static str) {
    (Some(false), reason)
}

/// A policy that runs once and finds nothing.
fn state(name: &'static str, spec: Value) -> State {
    let mut whole = json!({ "action": "resume", "filters": { "all": true } });
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    State {
        name,
        spec: whole,
        annotations: json!({}),
        entries: 0,
        fault: None,
        secret: Secret::Good,
        ready: (true, "Idle"),
        running: (false, "Idle"),
        last_run: WELL,
    }
}

/// One that never ran, and cannot.
fn unable(name: &'static str, spec: Value, reason: &'static str) -> State {
    State { ready: (false, reason), last_run: NEVER, ..state(name, spec) }
}

fn secretless(name: &'static str, secret: Secret, reason: &'static str) -> State {
    State { secret, ..unable(name, json!({}), reason) }
}

/// One whose run fails and says so.
fn failing(name: &'static str, fault: Value, reason: &'static str) -> State {
    State { entries: 3, fault: Some(fault), last_run: badly(reason), ..state(name, json!({})) }
}

/// One whose run continues for as long as anybody looks.
fn going_on(name: &'static str, fault: Value, reason: &'static str) -> State {
    State {
        entries: 500,
        fault: Some(fault),
        running: (true, reason),
        last_run: NEVER,
        ..state(name, json!({ "limits": { "pageSize": 1 } }))
    }
}

fn answer(code: u16) -> Value {
    json!({ "status": { "code": code, "body": "{\"error\":\"not now\"}" } })
}

fn later(code: u16) -> Value {
    json!({ "status": { "code": code, "headers": { "Retry-After": "600" }, "body": "{\"error\":\"not now\"}" } })
}

fn slow() -> Value {
    json!({ "latency": { "ms": 1500 } })
}

/// Holds the one slot of the connection that `queued` has, too. Not itself a state.
pub(super) const HOLDER: &str = "holder";
/// These come about in more than one step.
pub(super) const CANCELLED: &str = "cancelled";
pub(super) const UNREADABLE: &str = "unreadable";
pub(super) const QUEUED: &str = "queued";
/// Its wait for an approval has ended.
pub(super) const EXPIRED: &str = "expired";
/// A connection of this name lets two entries be acted on in a day.
pub(super) const SPENT: &str = "budget-spent";
/// A connection of this name lets policies restart, and nothing else.
pub(super) const GUARDED: &str = "restarts-only";
/// What it acts on comes back, without the label that counts.
pub(super) const UNCARRIED: &str = "labels-not-carried";

/// Those of runs that need an approval.
fn gated() -> Vec<State> {
    vec![
        State {
            entries: 3,
            running: (true, "AwaitingApproval"),
            last_run: NEVER,
            ..state("awaiting-approval", json!({ "limits": { "approvalAbove": 2 } }))
        },
        State {
            entries: 3,
            last_run: badly("Expired"),
            ..state(EXPIRED, json!({ "limits": { "approvalAbove": 0 } }))
        },
    ]
}

pub(super) fn states() -> Vec<State> {
    ungated().into_iter().chain(gated()).collect()
}

fn ungated() -> Vec<State> {
    let yearly = || json!({ "schedule": "0 0 1 1 *" });
    let evil = json!({ "url": "https://evil.example", "tokenSecretRef": { "name": "url-not-allowed", "key": "token" } });
    vec![
        State { last_run: NEVER, ready: (true, "Scheduled"), ..state("scheduled", yearly()) },
        state("idle", json!({})),
        State {
            last_run: NEVER,
            ready: (true, "Suspended"),
            ..state("suspended", json!({ "suspend": true }))
        },
        State {
            annotations: json!({ "dlq-operator.dev/paused": "incident 7" }),
            last_run: NEVER,
            ready: (true, "Paused"),
            ..state("paused", json!({}))
        },
        unable(UNREADABLE, yearly(), "InvalidSpec"),
        unable("invalid-schedule", json!({ "schedule": "61 * * * *" }), "InvalidSchedule"),
        unable(
            "invalid-time-zone",
            json!({ "schedule": "@hourly", "timeZone": "Mars/Olympus" }),
            "InvalidTimeZone",
        ),
        secretless("no-connection", Secret::Unnamed, "NoConnection"),
        secretless("secret-not-found", Secret::Missing, "SecretNotFound"),
        secretless("secret-key-not-found", Secret::Key, "SecretKeyNotFound"),
        secretless("secret-invalid", Secret::Invalid, "SecretInvalid"),
        State {
            secret: Secret::Unknown,
            last_run: badly("Unauthorized"),
            ..unable("unauthorized", json!({}), "Unauthorized")
        },
        State {
            entries: 3,
            secret: Secret::ReadOnly,
            last_run: badly("Forbidden"),
            ..unable("read-only-token", json!({}), "ReadOnlyToken")
        },
        unable("url-not-allowed", json!({ "connection": evil }), "UrlNotAllowed"),
        unable("action-not-allowed", json!({ "action": "delete" }), "ActionNotAllowed"),
        unable(
            "connection-not-found",
            json!({ "connection": { "kind": "ClusterDlqConnection", "name": "no-such-connection" } }),
            "ConnectionNotFound",
        ),
        unable("guardrail-violated", json!({ "connection": { "name": GUARDED } }), "GuardrailViolated"),
        State {
            entries: 3,
            last_run: (Some(true), "BudgetSpent"),
            ..state(SPENT, json!({ "connection": { "name": SPENT } }))
        },
        State {
            entries: 3,
            last_run: badly("LabelsNotCarried"),
            ..unable(
                UNCARRIED,
                json!({ "schedule": "@every 1s", "loopProtection": { "maxAttempts": 3 } }),
                "LabelsNotCarried",
            )
        },
        State {
            fault: Some(answer(422)),
            last_run: badly("BadRequest"),
            ready: (true, "CircuitOpen"),
            ..state("circuit-open", json!({ "failurePolicy": { "openCircuitAfter": 1 } }))
        },
        going_on("run-in-progress", slow(), "RunInProgress"),
        going_on("throttled", later(429), "Throttled"),
        going_on("retrying", later(503), "Retrying"),
        going_on(QUEUED, slow(), "Queued"),
        State { entries: 3, last_run: (Some(true), "RunSucceeded"), ..state("run-succeeded", json!({})) },
        State {
            entries: 3,
            last_run: (Some(true), "LimitReached"),
            ..state("limit-reached", json!({ "limits": { "maxEntriesPerRun": 2 } }))
        },
        State {
            entries: 3,
            last_run: (Some(true), "DryRunSucceeded"),
            ..state("dry-run-succeeded", json!({ "dryRun": true }))
        },
        failing("bad-request", answer(422), "BadRequest"),
        failing("forbidden", answer(403), "Forbidden"),
        failing("quota-exceeded", json!({ "quota": {} }), "QuotaExceeded"),
        failing("upstream-unavailable", answer(503), "UpstreamUnavailable"),
        failing("rate-limited", answer(429), "RateLimited"),
        failing("cursor-loop", json!({ "cursor": "emptyPage" }), "CursorLoop"),
        State {
            running: (false, "Idle"),
            last_run: badly("DeadlineExceeded"),
            spec: json!({
                "action": "resume", "filters": { "all": true },
                "limits": { "pageSize": 1, "activeDeadlineSeconds": 1 },
            }),
            ..going_on("deadline-exceeded", slow(), "RunInProgress")
        },
        cancelled(),
    ]
}

fn cancelled() -> State {
    State {
        running: (false, "Idle"),
        last_run: badly("Cancelled"),
        ..going_on(CANCELLED, slow(), "RunInProgress")
    }
}
