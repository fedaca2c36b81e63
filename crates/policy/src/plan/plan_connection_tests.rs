//! Policies that name a shared connection, which others edit, delete and bring back.

use super::*;
use crate::spec::{ConnectionName, SharedConnection};
use dlq_crd::{ConnectionKind, DlqConnectionSpec};

/// A shared connection with the token in this Secret.
fn shared(secret: &str) -> SharedConnection {
    let name = ConnectionName::new(ConnectionKind::DlqConnection, "payments", "production".to_owned());
    let spec: DlqConnectionSpec =
        serde_json::from_value(json!({ "tokenSecretRef": { "name": secret } })).unwrap();
    SharedConnection::of_namespace(name, &spec, &permissions()).unwrap()
}

fn not_found() -> Invalid {
    Invalid::new(Reason::ConnectionNotFound, "DlqConnection production is not in namespace payments")
}

/// A policy with these fields and the connection as it was found.
fn named(fields: &Value, found: &Result<SharedConnection, Invalid>) -> Known {
    let mut fields = fields.clone();
    fields["connection"] = json!({ "name": "production" });
    sample::policy_with(&fields, &[], &permissions(), Some(found.as_ref())).into()
}

fn holding(known: &Known) -> Known {
    Known { facts: Facts { holds_run: true, ..known.facts.clone() }, ..known.clone() }
}

#[test]
fn a_policy_waits_for_its_connection_and_runs_when_that_comes() {
    let (lost, found) = (named(&json!({}), &Err(not_found())), named(&json!({}), &Ok(shared("upstash"))));
    let status = seen(&lost, at("12:00:00"));
    assert_eq!(decided(&lost, &status, "12:01:00"), "waiting: ConnectionNotFound");
    assert_eq!(status.phase, Some(Phase::Pending));
    assert!(status::conditions::find(&status.conditions, dlq_crd::ConditionType::Reconciling).is_some());
    assert_eq!(decided(&found, &status, "12:02:00"), "start Spec");
}

#[test]
fn a_policy_that_is_idle_says_that_its_connection_went_and_starts_nothing_when_it_comes_back() {
    for fields in [json!({}), json!({"schedule": "*/15 * * * *"})] {
        let (lost, found) = (named(&fields, &Err(not_found())), named(&fields, &Ok(shared("upstash"))));
        let status = match &fields["schedule"] {
            Value::Null => ran(&found, &DlqPolicyStatus::default(), at("12:00:00"), at("12:00:05"), &well()),
            _ => seen(&found, at("12:00:01")),
        };
        assert_eq!(decided(&lost, &status, "12:01:00"), "waiting: ConnectionNotFound", "{fields}");
        let status = look(&lost, &status, at("12:01:00"));
        // What was due meanwhile is skipped.
        let back = decided(&found, &status, "12:16:00");
        assert!(back.starts_with("idle"), "{fields}: {back}");
    }
}

#[test]
fn a_run_under_way_keeps_its_token_when_the_connection_is_deleted() {
    let (lost, found) = (named(&json!({}), &Err(not_found())), named(&json!({}), &Ok(shared("upstash"))));
    let status = running(&found, &DlqPolicyStatus::default(), at("12:00:00"));
    assert!(decided(&holding(&lost), &status, "12:00:01").starts_with("continue"));
    assert_eq!(
        decided(&lost, &status, "12:00:01"),
        "waiting: ConnectionNotFound",
        "another process has no token"
    );
    assert!(decided(&found, &status, "12:00:02").starts_with("continue"), "until it is back");
}

#[test]
fn an_edit_of_url_or_token_reference_ends_the_run_and_starts_none() {
    for fields in [json!({}), json!({"schedule": "*/15 * * * *"})] {
        let (found, edited) = (named(&fields, &Ok(shared("upstash"))), named(&fields, &Ok(shared("other"))));
        let before = match &fields["schedule"] {
            Value::Null => DlqPolicyStatus::default(),
            _ => seen(&found, at("12:00:01")),
        };
        let status = running(&found, &before, at("12:15:00"));
        assert!(decided(&holding(&found), &status, "12:15:01").starts_with("continue"));
        let decided_now = decided(&holding(&edited), &status, "12:15:01");
        assert!(decided_now.starts_with("cancel: because url or tokenSecretRef"), "{decided_now}");
        let Plan::Cancel { run, why } = plan(&edited, &status, at("12:15:01")) else { panic!("no cancel") };
        let status = status::finished(&edited, &status, &run, &why.outcome(&run), at("12:15:02"));
        let then = decided(&edited, &status, "12:15:03");
        assert!(then.starts_with("idle"), "{fields}: {then}");
    }
}

#[test]
fn what_the_connection_forbids_ends_the_run_and_keeps_others_from_starting() {
    let guarded = {
        let name = ConnectionName::new(ConnectionKind::DlqConnection, "payments", "production".to_owned());
        let spec = json!({ "tokenSecretRef": { "name": "upstash" }, "allowedActions": ["delete"] });
        let spec: DlqConnectionSpec = serde_json::from_value(spec).unwrap();
        SharedConnection::of_namespace(name, &spec, &permissions()).unwrap()
    };
    let (found, guarded) = (named(&json!({}), &Ok(shared("upstash"))), named(&json!({}), &Ok(guarded)));
    let status = running(&found, &DlqPolicyStatus::default(), at("12:00:00"));
    let decided_now = decided(&holding(&guarded), &status, "12:00:01");
    assert!(decided_now.starts_with("cancel: because spec.action"), "{decided_now}");
    assert_eq!(decided(&guarded, &DlqPolicyStatus::default(), "12:00:01"), "invalid: GuardrailViolated");
}
