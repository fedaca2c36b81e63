use serde_json::{Value, json};

use super::*;
use crate::sample::{self, permissions};
use crate::{ConnectionRef, Selected};
use dlq_upstash::types::Overrides;

#[path = "selection_tests.rs"]
mod selection;

fn policy(fields: &Value) -> Policy {
    sample::policy(fields, &[], &permissions())
}

fn invalid(fields: &Value, permissions: &Permissions) -> Invalid {
    let policy = sample::policy(fields, &[], permissions);
    match (policy.work, policy.schedule) {
        (Err(invalid), _) | (_, Err(invalid)) => invalid,
        (Ok(_), Ok(_)) => panic!("{fields} is taken"),
    }
}

fn annotated(annotations: &[(&str, &str)]) -> Policy {
    sample::policy(&json!({}), annotations, &permissions())
}

fn secret(url: Option<&str>) -> Value {
    let mut connection = json!({"tokenSecretRef": {"name": "upstash", "key": "token"}});
    if let Some(url) = url {
        connection["url"] = url.into();
    }
    json!({ "connection": connection })
}

#[test]
fn overrides_are_what_the_api_takes() {
    let overrides = json!({
        "retries": 0, "delay": "10s", "retryDelay": "(1 + retried) * 1000", "labels": ["retried"],
        "flowControl": {"key": "payments", "parallelism": 5, "rate": 10, "period": "1m"},
        "failureCallback": "https://app.example.com/failed",
    });
    let expected = Overrides {
        retries: Some(0),
        delay: Some("10s".into()),
        retry_delay: Some("(1 + retried) * 1000".into()),
        flow_control_key: Some("payments".into()),
        parallelism: Some(5),
        rate: Some(10),
        period: Some("1m".into()),
        labels: vec!["retried".into()],
        failure_callback: Some("https://app.example.com/failed".into()),
    };
    assert_eq!(policy(&json!({ "overrides": overrides })).work.unwrap().overrides, expected);
    assert_eq!(policy(&json!({})).work.unwrap().overrides, Overrides::default());
}

#[test]
fn more_labels_than_a_header_can_carry_are_refused() {
    let labels = |count: usize| (0..count).map(|index| format!("{index:0256}")).collect::<Vec<_>>();
    let overrides = |count| json!({"overrides": {"labels": labels(count)}});
    let invalid = invalid(&overrides(50), &permissions());
    assert_eq!(invalid.reason, Reason::InvalidSpec);
    assert!(invalid.message.starts_with("spec.overrides.labels: make a header of 12849 bytes"));
    assert!(invalid.message.ends_with("give fewer or shorter labels"), "{}", invalid.message);
    // As much as a header may carry, and a byte more.
    let full = |last: usize| {
        let mut labels = labels(31);
        labels.push("x".repeat(last));
        json!({"overrides": {"labels": labels}})
    };
    let room = dlq_upstash::types::MAX_HEADER_BYTES - 31 * 257;
    assert!(policy(&full(room)).work.is_ok());
    assert!(policy(&full(room + 1)).work.is_err());
    let taken = policy(&overrides(31)).work.unwrap().overrides.labels;
    assert_eq!(taken.join(",").len(), 31 * 257 - 1);
}

#[test]
fn a_delete_takes_no_overrides() {
    let invalid = invalid(&json!({"action": "delete", "overrides": {"retries": 1}}), &permissions());
    assert_eq!(invalid.reason, Reason::InvalidSpec);
    assert!(invalid.message.starts_with("spec.overrides: overrides must not be set with a delete; remove"));
    assert!(policy(&json!({"action": "delete"})).work.is_ok());
}

#[test]
fn an_action_that_the_operator_does_not_allow_is_refused() {
    let resume_only = Permissions { actions: vec![dlq_crd::Action::Resume], ..permissions() };
    assert!(sample::policy(&json!({}), &[], &resume_only).work.is_ok());
    let invalid = invalid(&json!({"action": "delete"}), &resume_only);
    assert_eq!(invalid.reason, Reason::ActionNotAllowed);
    assert!(
        invalid.message.starts_with("spec.action delete") && invalid.message.contains("--allowed-actions")
    );
}

#[test]
fn a_callback_that_the_operator_does_not_allow_is_refused() {
    let ours_only =
        Permissions { callback_urls: vec!["https://*.example.com".parse().unwrap()], ..permissions() };
    let callback = |url: &str| json!({"overrides": {"failureCallback": url}});
    let ours = &callback("https://app.example.com/failed?x=1");
    assert!(sample::policy(ours, &[], &ours_only).work.is_ok());
    for url in
        ["https://evil.example", "http://app.example.com/failed", "https://app.example.com@evil.example/"]
    {
        let invalid = invalid(&callback(url), &ours_only);
        assert_eq!(invalid.reason, Reason::UrlNotAllowed, "{url}");
        assert!(invalid.message.starts_with("spec.overrides.failureCallback:"), "{url}");
        assert!(invalid.message.contains("--allowed-callback-url"), "{url}");
    }
    let anywhere = &callback("https://evil.example");
    assert!(sample::policy(anywhere, &[], &permissions()).work.is_ok());
    assert_eq!(invalid(&callback("nowhere"), &permissions()).reason, Reason::InvalidSpec);
}

#[test]
fn without_a_connection_only_the_allowed_namespaces_use_the_operators_own() {
    assert_eq!(policy(&json!({})).work.unwrap().connection, ConnectionRef::Default);
    for namespaces in [vec![], vec!["dlq-operator".to_owned()], vec!["payment".to_owned()]] {
        let elsewhere = Permissions { default_connection_namespaces: namespaces, ..permissions() };
        let invalid = invalid(&json!({}), &elsewhere);
        assert_eq!(invalid.reason, Reason::NoConnection);
        assert!(invalid.message.contains("namespace payments"));
        assert!(invalid.message.contains("spec.connection.tokenSecretRef"));
    }
}

#[test]
fn a_connection_without_a_url_goes_to_the_operators_default_url() {
    let connection = |url| policy(&secret(url)).work.unwrap().connection;
    let ConnectionRef::Secret { url, secret, .. } = connection(None) else {
        panic!("the operator's own token")
    };
    assert_eq!(url.as_str(), "https://qstash.upstash.io/");
    assert_eq!((secret.name.as_str(), secret.key.as_str()), ("upstash", "token"));
    let ConnectionRef::Secret { url, .. } = connection(Some("http://127.0.0.1:8081/")) else {
        panic!("no Secret")
    };
    assert_eq!(url.as_str(), "http://127.0.0.1:8081/");
}

#[test]
fn the_operators_own_token_never_goes_to_a_url_that_a_policy_chose() {
    for connection in [json!({"url": "https://qstash.upstash.io"}), json!({})] {
        let invalid = invalid(&json!({ "connection": connection }), &permissions());
        assert_eq!(invalid.reason, Reason::InvalidSpec);
        assert!(invalid.message.starts_with("spec.connection.tokenSecretRef: is required"));
    }
}

#[test]
fn what_is_no_name_or_key_of_a_secret_is_refused_whatever_the_definition_takes() {
    let reference =
        |name: &str, key: &str| json!({ "connection": { "tokenSecretRef": { "name": name, "key": key } } });
    let long = "a".repeat(254);
    let names = [
        "victim/theirs",
        "../victim/theirs",
        "../../victim/secrets/theirs",
        "../../other/secrets/x",
        "..%2fvictim%2ftheirs",
        "victim%2Ftheirs",
        "..",
        ".",
        "theirs?namespace=x",
        "theirs#",
        "theirs\n",
        " theirs",
        "*",
        "",
        "a..b",
        "-a",
        "a-",
        ".a",
        "a.",
        "Theirs",
        "thëirs",
        &long,
    ];
    for name in names {
        let invalid = invalid(&reference(name, "token"), &permissions());
        assert_eq!(invalid.reason, Reason::InvalidSpec, "{name:?}");
        assert!(invalid.message.starts_with("spec.connection.tokenSecretRef.name: is no name"), "{name:?}");
    }
    for key in ["../token", "a/b", "", "token\n", " token", "tökén", &long] {
        let invalid = invalid(&reference("upstash", key), &permissions());
        assert_eq!(invalid.reason, Reason::InvalidSpec, "{key:?}");
        assert!(invalid.message.starts_with("spec.connection.tokenSecretRef.key: is no key"), "{key:?}");
    }
    for (name, key) in [("a", "T"), ("up-stash.v1", "_to.k-en"), (&long[1..], &long[1..])] {
        assert!(policy(&reference(name, key)).work.is_ok(), "{name} {key}");
    }
}

#[test]
fn a_token_goes_only_to_an_allowed_url() {
    let table = [
        ("https://evil.example", "--allowed-url"),
        ("http://qstash.upstash.io", "--allowed-url"),
        ("https://qstash.upstash.io:8443", "--allowed-url"),
        ("https://qstash.upstash.io@evil.example", "user or password"),
        ("https://qstash.upstash.io/v2", "path"),
        ("https://qstash.upstash.io?qstash_token=x", "query"),
        ("https://qstash.upstash.io#x", "fragment"),
        ("ftp://qstash.upstash.io", "https://"),
        ("qstash.upstash.io", "not a URL"),
    ];
    for (url, problem) in table {
        let invalid = invalid(&secret(Some(url)), &permissions());
        assert_eq!(invalid.reason, Reason::UrlNotAllowed, "{url}");
        assert!(invalid.message.starts_with("spec.connection.url"), "{url}: {}", invalid.message);
        assert!(invalid.message.contains(problem), "{url}: {}", invalid.message);
    }
}

#[test]
fn what_is_wrong_with_a_schedule_has_a_reason_of_its_own() {
    let table = [
        (json!({"schedule": "60 * * * *"}), Reason::InvalidSchedule, "spec.schedule"),
        (json!({"schedule": "0 0 30 2 *"}), Reason::InvalidSchedule, "spec.schedule"),
        (
            json!({"schedule": "@hourly", "timeZone": "Mars/Olympus"}),
            Reason::InvalidTimeZone,
            "spec.timeZone",
        ),
        (json!({"schedule": "@hourly", "jitter": "much"}), Reason::InvalidSpec, "spec.jitter"),
    ];
    for (fields, reason, field) in table {
        let invalid = invalid(&fields, &permissions());
        assert_eq!(invalid.reason, reason, "{fields}");
        assert!(invalid.message.starts_with(field), "{fields}: {}", invalid.message);
    }
}

#[test]
fn a_spec_that_cannot_be_read_is_invalid_and_still_obeys_its_annotations() {
    let annotations = BTreeMap::from([
        ("dlq-operator.dev/cancelAt".to_owned(), "now".to_owned()),
        ("dlq-operator.dev/paused".to_owned(), "yes".to_owned()),
    ]);
    let spec = Err("cannot be read: missing field `action`");
    let source = Source {
        namespace: "n",
        name: "a",
        generation: 1,
        created: None,
        annotations: &annotations,
        spec,
        shared: None,
    };
    let policy = validate(&source, &permissions());
    let invalid = policy.work.unwrap_err();
    assert_eq!(invalid.reason, Reason::InvalidSpec);
    assert!(invalid.message.contains("missing field `action`"));
    assert_eq!(policy.spec_hash, "");
    assert!(policy.paused.is_some() && policy.requests.cancel.is_some());
}

#[test]
fn the_rest_of_the_spec_is_carried_along_with_its_defaults() {
    let plain = policy(&json!({}));
    assert_eq!((plain.generation, plain.history_limit, plain.suspend), (3, 10, false));
    assert_eq!((plain.limits.page_size, plain.concurrency), (50, ConcurrencyPolicy::Forbid));
    assert!(plain.starting_deadline.is_none() && plain.open_circuit_after.is_none());
    let full = policy(&json!({
        "schedule": "@hourly", "startingDeadlineSeconds": 300, "concurrencyPolicy": "Replace", "suspend": true,
        "limits": {"pageSize": 7}, "failurePolicy": {"openCircuitAfter": 3}, "historyLimit": 2,
    }));
    assert_eq!(full.starting_deadline, Some(jiff::SignedDuration::from_secs(300)));
    assert_eq!((full.concurrency, full.suspend), (ConcurrencyPolicy::Replace, true));
    assert_eq!((full.limits.page_size, full.open_circuit_after, full.history_limit), (7, Some(3), 2));
    assert_eq!(policy(&json!({"historyLimit": -1})).history_limit, 0);
    assert_eq!(policy(&json!({"historyLimit": 1000})).history_limit, 50);
}

#[test]
fn edits_of_when_and_how_carefully_leave_the_hash() {
    let hash = policy(&json!({})).spec_hash;
    assert_eq!(hash.len(), 16);
    let edits = [
        json!({"limits": {"pageSize": 7, "maxEntriesPerRun": 1}}),
        json!({"schedule": "@hourly", "timeZone": "Europe/Berlin", "jitter": "30s"}),
        json!({"suspend": true}),
        json!({"historyLimit": 3}),
        json!({"failurePolicy": {"openCircuitAfter": 3}}),
        json!({"dryRun": false}),
    ];
    for edit in edits {
        assert_eq!(policy(&edit).spec_hash, hash, "{edit}");
    }
}

#[test]
fn edits_of_what_is_done_with_what_change_the_hash() {
    let edits = [
        json!({}),
        json!({"action": "restart"}),
        json!({"action": "delete"}),
        json!({"filters": {"labels": ["checkout"]}}),
        json!({"filters": {"flowControlKeys": ["payments"]}}),
        json!({"filters": {"all": true}}),
        json!({"overrides": {"retries": 3}}),
        json!({"overrides": {"retries": 4}}),
        secret(None),
        secret(Some("https://qstash.upstash.io")),
        json!({"dryRun": true}),
    ];
    let hashes: std::collections::HashSet<_> = edits.iter().map(|edit| policy(edit).spec_hash).collect();
    assert_eq!(hashes.len(), edits.len());
}

#[test]
fn annotations_ask_for_runs_cancels_resets_and_approvals() {
    let asked = annotated(&[
        ("requestedAt", "now"),
        ("requestedMode", "DryRun"),
        ("requestedBy", "ann"),
        ("requestReason", "deploy"),
        ("cancelAt", "then"),
        ("resetAt", "later"),
        ("approvedRun", "5f3c"),
    ]);
    let request = |value: &str| Some(Request { value: value.into(), too_long: false });
    let expected = Requests {
        run: request("now"),
        mode: Mode::DryRun,
        requested_by: Some("ann".into()),
        request_reason: Some("deploy".into()),
        cancel: request("then"),
        reset: request("later"),
        approved: request("5f3c"),
    };
    assert_eq!(asked.requests, expected);
    let empty = annotated(&[("requestedAt", ""), ("requestedMode", ""), ("cancelAt", "")]);
    assert_eq!(empty.requests, Requests::default());
    let mode = |value: &str| annotated(&[("requestedMode", value)]).requests.mode;
    for other in ["dryrun", "DryRun ", "true", "Apply"] {
        assert!(matches!(mode(other), Mode::Unknown(_)), "{other:?}");
    }
}

#[test]
fn a_value_over_256_bytes_is_not_taken_but_known_again() {
    let at_most = "é".repeat(128);
    let long = format!("{at_most}x");
    let taken = annotated(&[("requestedAt", &at_most), ("requestedBy", &at_most)]).requests;
    assert!(!taken.run.unwrap().too_long && taken.requested_by.is_some());
    let refused = annotated(&[("requestedAt", &long), ("requestedBy", &long), ("cancelAt", &long)]).requests;
    let run = refused.run.clone().unwrap();
    assert!(run.too_long && run.value.len() <= 64 && refused.requested_by.is_none());
    assert!(refused.cancel.unwrap().too_long);
    assert_eq!(annotated(&[("requestedAt", &long)]).requests.run, refused.run);
    assert_ne!(annotated(&[("requestedAt", &format!("{long}y"))]).requests.run, refused.run);
}

#[test]
fn any_value_of_paused_but_empty_and_false_holds_the_policy() {
    for (value, paused) in
        [("", false), ("false", false), ("true", true), ("incident 7", true), ("False", true)]
    {
        let expected = paused.then(|| Pause::Annotation(value.to_owned()));
        assert_eq!(annotated(&[("paused", value)]).paused, expected, "{value:?}");
    }
    let pause_all = Permissions { pause_all: true, ..permissions() };
    assert!(sample::policy(&json!({}), &[("paused", "false")], &pause_all).paused.is_some());
    let force = Permissions { force_dry_run: true, ..permissions() };
    let forced = sample::policy(&json!({}), &[], &force);
    assert!(forced.force_dry_run && !forced.work.unwrap().dry_run);
}

#[test]
fn a_callback_whose_host_parsers_disagree_on_is_not_allowed() {
    let permissions =
        Permissions { callback_urls: vec!["https://app.example.com".parse().unwrap()], ..permissions() };
    let with = |url: &str| json!({"overrides": {"failureCallback": url}});
    let hostile = [
        "https://app.example.com\\@evil.example/",
        "https://evil.example\\@app.example.com/",
        "https://app.example.com@evil.example/",
        "https://evil.example@app.example.com/",
        "https://:secret@app.example.com/",
        "https://app.example.com.evil.example/",
        "https://evil.example/https://app.example.com",
        "https://app.example.com:8443/",
        "http://app.example.com/",
    ];
    for url in hostile {
        assert_eq!(invalid(&with(url), &permissions).reason, Reason::UrlNotAllowed, "{url}");
    }
    for url in ["https://app.example.com/failed?to=a@b.example", "HTTPS://APP.example.com:443/failed"] {
        assert!(sample::policy(&with(url), &[], &permissions).work.is_ok(), "{url}");
    }
}

#[test]
fn upstashs_own_url_can_be_excluded_like_any_other() {
    let elsewhere = Permissions { urls: vec!["https://us.example".parse().unwrap()], ..permissions() };
    let secret = json!({ "tokenSecretRef": { "name": "upstash", "key": "token" } });
    for fields in [json!({ "connection": secret }), json!({})] {
        assert!(sample::policy(&fields, &[], &permissions()).work.is_ok());
        let invalid = invalid(&fields, &elsewhere);
        assert_eq!(invalid.reason, Reason::UrlNotAllowed, "{fields}");
        assert!(
            invalid.message.contains("https://qstash.upstash.io")
                && invalid.message.contains("--allowed-url")
        );
    }
}
