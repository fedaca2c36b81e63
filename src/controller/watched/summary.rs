//! What metrics show of a policy, read off the watch's answers: the few fields for it, and nothing that could make an
//! object unreadable. What has another form than it should is as if it were not there.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;

use jiff::Timestamp;
use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use dlq_crd::{ConditionType, ConnectionKind, TokenRefusal};
use dlq_policy::Truth;

/// What metrics show of a policy. Both replicas that act and those that stand by have it.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is of its own: two of them are metrics")]
pub(crate) struct PolicySummary {
    pub(crate) action: Box<str>,
    pub(crate) schedule: Box<str>,
    pub(crate) conditions: Vec<(ConditionType, Truth)>,
    pub(crate) is_running: bool,
    pub(crate) awaits_approval: bool,
    pub(crate) last_run: Option<Timestamp>,
    pub(crate) last_success: Option<Timestamp>,
    pub(crate) next_run: Option<Timestamp>,
    pub(crate) consecutive_failures: i64,
    pub(crate) is_circuit_open: bool,
    pub(crate) backlog: BacklogSummary,
    /// A run starts when its spec is new: nothing schedules it, suspends it, or waits for a request.
    pub(crate) starts_when_new: bool,
    pub(crate) observed_generation: Option<i64>,
    /// What `match` and `loopProtection` left alone in the last run, by [`SKIP_REASONS`]; none without either.
    pub(crate) skipped: Option<Box<[i64; 7]>>,
    /// Tells the accounts of a namespace apart, before anybody reads their Secrets.
    pub(crate) account: u64,
    /// The kind and the name of the shared connection that it names.
    pub(crate) connection: Option<Box<(ConnectionKind, Box<str>)>>,
    /// Why Upstash refused the token, if it did, and when the last run ended.
    pub(crate) refusal: Option<Box<(TokenRefusal, Option<Timestamp>)>>,
}

/// The reasons of [`PolicySummary::skipped`], as metrics call them.
pub(crate) const SKIP_REASONS: [&str; 7] =
    ["status", "non_retryable", "attempts", "expression", "expression_error", "unjudged", "exhausted"];

/// What its last look counted, if it has one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct BacklogSummary {
    pub(crate) entries: Option<i64>,
    pub(crate) oldest: Option<Timestamp>,
    pub(crate) expiring: Option<i64>,
}

const CONDITIONS: [ConditionType; 5] = [
    ConditionType::Ready,
    ConditionType::Running,
    ConditionType::LastRunSucceeded,
    ConditionType::Reconciling,
    ConditionType::Stalled,
];

impl PolicySummary {
    /// Of the two parts of an object.
    pub(crate) fn new(spec: Loose<Spec>, status: Loose<Status>) -> Self {
        let spec = spec.part().unwrap_or_default();
        let status = status.part().unwrap_or_default();
        let limit = spec.failure_policy.part().and_then(|policy| policy.limit.number());
        let consecutive_failures = status.consecutive_failures.number().unwrap_or_default();
        let connection = spec.connection.part().unwrap_or_default();
        let secret = connection.token_secret_ref.part().unwrap_or_default();
        let last_run = status.last_run.part().unwrap_or_default();
        let schedule = spec.schedule.text().unwrap_or_default().into_boxed_str();
        let name = connection.name.text();
        let is_cluster_wide =
            connection.kind.text().as_deref() == Some(ConnectionKind::ClusterDlqConnection.as_str());
        let kind = if is_cluster_wide {
            ConnectionKind::ClusterDlqConnection
        } else {
            ConnectionKind::DlqConnection
        };
        let refusal = status.refused_reason.text().and_then(|text| serde_json::from_value(text.into()).ok());
        let last_end = last_run.completion_time.time();
        Self {
            account: account(&[
                connection.url.text(),
                secret.name.text(),
                secret.key.text(),
                name.as_ref().map(|name| format!("{kind} {name}")),
            ]),
            connection: name.map(|name| Box::new((kind, name.into_boxed_str()))),
            refusal: refusal.map(|refusal| Box::new((refusal, last_end))),
            action: spec.action.text().unwrap_or_default().into_boxed_str(),
            starts_when_new: schedule.is_empty()
                && !spec.suspend.flag()
                && spec.trigger.text().as_deref() != Some("Manual"),
            schedule,
            conditions: status.conditions.items().into_iter().filter_map(Condition::known).collect(),
            observed_generation: status.observed_generation.number(),
            is_running: matches!(status.current_run, Loose::Part(_)),
            awaits_approval: status.phase.text().as_deref() == Some("AwaitingApproval"),
            last_run: last_run.start_time.time(),
            skipped: status.skipped.number().map(|_| Box::new(last_run.skipped())),
            last_success: status.last_successful_time.time(),
            next_run: status.next_schedule_time.time(),
            consecutive_failures,
            is_circuit_open: limit.is_some_and(|limit| consecutive_failures >= limit),
            backlog: status.backlog.part().map_or(BacklogSummary::default(), |backlog| BacklogSummary {
                entries: backlog.entries.number(),
                oldest: backlog.oldest_time.time(),
                expiring: backlog.expiring_within_day.number(),
            }),
        }
    }
}

/// Stands for a URL and the name and key of a Secret, or for a shared connection; 0 where none is named.
fn account(reference: &[Option<String>; 4]) -> u64 {
    if reference.iter().all(Option::is_none) {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    reference.hash(&mut hasher);
    hasher.finish()
}

/// A value of any form.
#[derive(Debug, Default)]
pub(crate) enum Loose<T> {
    #[default]
    Nothing,
    Text(String),
    Number(i64),
    Flag(bool),
    Items(Vec<Loose<T>>),
    Part(Box<T>),
}

/// For values that are no objects.
type Leaf = Loose<IgnoredAny>;

impl<T> Loose<T> {
    fn text(self) -> Option<String> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    fn number(&self) -> Option<i64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    fn flag(&self) -> bool {
        matches!(self, Self::Flag(true))
    }

    fn time(&self) -> Option<Timestamp> {
        if let Self::Text(text) = self { text.parse().ok() } else { None }
    }

    fn part(self) -> Option<T> {
        if let Self::Part(part) = self { Some(*part) } else { None }
    }

    fn items(self) -> Vec<Self> {
        if let Self::Items(items) = self { items } else { Vec::new() }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Loose<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Any<T> {
            type Value = Loose<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Loose::Text(text.to_owned()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Loose::Number(number))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(i64::try_from(number).map_or(Loose::Nothing, Loose::Number))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Loose::Nothing)
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
                Ok(Loose::Flag(flag))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Loose::Nothing)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut found = Vec::new();
                while let Some(item) = items.next_element()? {
                    found.push(item);
                }
                Ok(Loose::Items(found))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|part| Loose::Part(Box::new(part)))
            }
        }

        deserializer.deserialize_any(Any(PhantomData))
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Connection {
    name: Leaf,
    kind: Leaf,
    url: Leaf,
    token_secret_ref: Loose<SecretRef>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SecretRef {
    name: Leaf,
    key: Leaf,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Spec {
    action: Leaf,
    schedule: Leaf,
    suspend: Leaf,
    trigger: Leaf,
    connection: Loose<Connection>,
    failure_policy: Loose<FailurePolicy>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FailurePolicy {
    #[serde(rename = "openCircuitAfter")]
    limit: Leaf,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Status {
    phase: Leaf,
    conditions: Loose<Condition>,
    current_run: Leaf,
    last_run: Loose<Run>,
    last_successful_time: Leaf,
    next_schedule_time: Leaf,
    consecutive_failures: Leaf,
    observed_generation: Leaf,
    skipped: Leaf,
    last_handled_requested_at: Leaf,
    refused_reason: Leaf,
    backlog: Loose<Backlog>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Backlog {
    entries: Leaf,
    oldest_time: Leaf,
    expiring_within_day: Leaf,
}

impl Status {
    /// The request for a run that was handled last.
    pub(crate) fn handled_request(status: &Loose<Self>) -> Option<&str> {
        let Loose::Part(status) = status else { return None };
        let Loose::Text(value) = &status.last_handled_requested_at else { return None };
        Some(value)
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Run {
    start_time: Leaf,
    completion_time: Leaf,
    skipped: Loose<Skipped>,
    exhausted: Leaf,
}

impl Run {
    fn skipped(self) -> [i64; 7] {
        let Skipped { status, non_retryable, attempts, expression, expression_error, unjudged } =
            self.skipped.part().unwrap_or_default();
        [status, non_retryable, attempts, expression, expression_error, unjudged, self.exhausted]
            .map(|count| count.number().unwrap_or_default())
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Skipped {
    status: Leaf,
    non_retryable: Leaf,
    attempts: Leaf,
    expression: Leaf,
    expression_error: Leaf,
    unjudged: Leaf,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: Leaf,
    status: Leaf,
}

impl Condition {
    /// One of ours: what others write there is theirs to count.
    fn known(condition: Loose<Self>) -> Option<(ConditionType, Truth)> {
        let condition = condition.part()?;
        let (kind, status) = (condition.kind.text()?, condition.status.text()?);
        let kind = CONDITIONS.into_iter().find(|known| known.as_str() == kind)?;
        Some((kind, Truth::ALL.into_iter().find(|known| known.as_str() == status)?))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn summary(spec: &Value, status: &Value) -> PolicySummary {
        let text = |value: &Value| serde_json::to_vec(value).unwrap();
        PolicySummary::new(
            serde_json::from_slice(&text(spec)).unwrap(),
            serde_json::from_slice(&text(status)).unwrap(),
        )
    }

    #[test]
    fn what_metrics_show_is_read_from_a_whole_policy() {
        let spec = json!({ "action": "resume", "schedule": "@hourly", "suspend": true, "filters": { "all": true },
            "failurePolicy": { "openCircuitAfter": 3 } });
        let status = json!({
            "phase": "AwaitingApproval",
            "conditions": [
                { "type": "Ready", "status": "False", "reason": "CircuitOpen", "message": "m" },
                { "type": "Running", "status": "False" },
                { "type": "LastRunSucceeded", "status": "Unknown" },
                { "type": "Another", "status": "True" },
            ],
            "currentRun": { "id": "r", "cursor": "c" },
            "lastRun": {
                "startTime": "2026-11-20T12:00:00.250Z", "completionTime": "2026-11-20T12:00:09Z", "processed": 7, "exhausted": 5,
                "skipped": { "status": 3, "nonRetryable": 1, "expressionError": "no number" },
            },
            "skipped": 9,
            "lastSuccessfulTime": "2026-11-20T11:00:00Z",
            "nextScheduleTime": "2026-11-20T13:00:00Z",
            "observedGeneration": 7,
            "consecutiveFailures": 3,
            "refusedReason": "ReadOnlyToken",
            "history": [{}, {}],
            "backlog": { "observedTime": "2026-11-20T12:30:00Z", "entries": 9, "atLeast": true,
                "oldestTime": "2026-11-17T12:00:00.500Z", "expiringWithinDay": 2 },
        });
        let time = |text: &str| Some(text.parse().unwrap());
        let expected = PolicySummary {
            starts_when_new: false,
            observed_generation: Some(7),
            action: "resume".into(),
            schedule: "@hourly".into(),
            conditions: vec![
                (ConditionType::Ready, Truth::False),
                (ConditionType::Running, Truth::False),
                (ConditionType::LastRunSucceeded, Truth::Unknown),
            ],
            is_running: true,
            awaits_approval: true,
            last_run: time("2026-11-20T12:00:00.250Z"),
            last_success: time("2026-11-20T11:00:00Z"),
            next_run: time("2026-11-20T13:00:00Z"),
            consecutive_failures: 3,
            is_circuit_open: true,
            skipped: Some(Box::new([3, 1, 0, 0, 0, 0, 5])),
            backlog: BacklogSummary {
                entries: Some(9),
                oldest: time("2026-11-17T12:00:00.500Z"),
                expiring: Some(2),
            },
            account: 0,
            connection: None,
            refusal: Some(Box::new((TokenRefusal::ReadOnlyToken, time("2026-11-20T12:00:09Z")))),
        };
        assert_eq!(summary(&spec, &status), expected);
    }

    #[test]
    fn what_a_new_spec_starts_is_known_before_anybody_looks() {
        let starts = |spec: Value| summary(&spec, &json!(null)).starts_when_new;
        assert!(starts(json!({})) && starts(json!({ "trigger": "OnChange" })));
        for spec in
            [json!({ "schedule": "@daily" }), json!({ "suspend": true }), json!({ "trigger": "Manual" })]
        {
            assert!(!starts(spec.clone()), "{spec}");
        }
    }

    #[test]
    fn accounts_are_told_apart_by_url_secret_and_key() {
        let account = |connection: Value| summary(&json!({ "connection": connection }), &json!(null)).account;
        let secret = |name: &str, key: &str| json!({ "tokenSecretRef": { "name": name, "key": key } });
        let of_another_region =
            json!({ "url": "https://a.example", "tokenSecretRef": { "name": "a", "key": "k" } });
        let shared = |kind: &str| json!({ "kind": kind, "name": "a" });
        let accounts = [
            json!(null),
            secret("a", "k"),
            secret("a", "l"),
            secret("b", "k"),
            of_another_region,
            shared("DlqConnection"),
            shared("ClusterDlqConnection"),
        ];
        let distinct: std::collections::BTreeSet<_> = accounts.iter().cloned().map(account).collect();
        assert_eq!(distinct.len(), accounts.len());
        assert_eq!(account(secret("a", "k")), account(secret("a", "k")));
    }

    #[test]
    fn the_shared_connection_is_known_before_anybody_looks_it_up() {
        let connection =
            |connection: Value| summary(&json!({ "connection": connection }), &json!(null)).connection;
        let named = |kind: ConnectionKind| Some(Box::new((kind, "a".into())));
        assert_eq!(connection(json!({ "name": "a" })), named(ConnectionKind::DlqConnection));
        let cluster_wide = json!({ "kind": "ClusterDlqConnection", "name": "a" });
        assert_eq!(connection(cluster_wide), named(ConnectionKind::ClusterDlqConnection));
        assert_eq!(connection(json!({ "tokenSecretRef": { "name": "a" } })), None);
        assert_eq!(connection(json!({ "name": 7, "kind": [] })), None);
    }

    #[test]
    fn the_circuit_is_open_from_the_limit_on_where_there_is_one() {
        let open = |limit: Value, failures: i64| {
            let spec = json!({ "failurePolicy": { "openCircuitAfter": limit } });
            summary(&spec, &json!({ "consecutiveFailures": failures })).is_circuit_open
        };
        assert!(open(json!(2), 2) && open(json!(2), 3));
        assert!(!open(json!(2), 1) && !open(Value::Null, 100));
    }

    #[test]
    fn nothing_that_is_written_there_makes_a_policy_unreadable() {
        let odd = [
            json!(null),
            json!(true),
            json!(-7),
            json!(1e300),
            json!(u64::MAX),
            json!("text"),
            json!([]),
            json!([[1], {}, null]),
            json!({}),
            json!({ "startTime": {} }),
        ];
        let unknown = PolicySummary { starts_when_new: true, ..PolicySummary::default() };
        for value in &odd {
            assert_eq!(summary(value, &json!(null)), unknown);
            let status = json!({ "conditions": value, "lastRun": value, "lastSuccessfulTime": value,
                "nextScheduleTime": value, "backlog": value });
            assert_eq!(summary(&json!({ "failurePolicy": value }), &status), unknown, "{value}");
            for part in ["type", "status"] {
                let mut condition = json!({ "type": "Ready", "status": "True" });
                condition[part] = value.clone();
                assert_eq!(summary(&json!({}), &json!({ "conditions": [condition] })), unknown, "{value}");
            }
        }
    }
}
