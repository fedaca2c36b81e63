use kube::runtime::reflector::{self, store::Writer};
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use super::super::definitions::{SERIES_PER_POLICY, definitions};
use super::*;
use crate::runtime::metrics::exposition::{Exposition, Format};

fn object(name: &str) -> Value {
    json!({
        "metadata": { "name": name, "namespace": "payments", "uid": name, "labels": { "secret-label": "x" } },
        "spec": {
            "action": "resume", "schedule": "*/15 * * * *",
            "filters": { "labels": ["a-label"], "workflowUrls": ["https://app.example.com"] },
            "failurePolicy": { "openCircuitAfter": 2 },
        },
        "status": {
            "phase": "AwaitingApproval",
            "conditions": [
                { "type": "Ready", "status": "False" },
                { "type": "Running", "status": "True" },
                { "type": "LastRunSucceeded", "status": "Unknown" },
            ],
            "currentRun": { "id": "r", "cursor": "a-cursor" },
            "lastRun": { "startTime": "1970-01-01T00:00:10.250Z", "sampleWorkflowRunIds": ["wfr_1"] },
            "lastSuccessfulTime": "1970-01-01T00:00:20Z",
            "nextScheduleTime": "1970-01-01T00:00:30Z",
            "consecutiveFailures": 2,
        },
    })
}

struct Scrape {
    policies: Arc<Policies>,
    writer: Writer<WatchedPolicy>,
}

impl Scrape {
    fn new(is_each: bool, objects: impl IntoIterator<Item = Value>) -> Self {
        let (store, mut writer) = reflector::store();
        writer.apply_watcher_event(&Event::Init);
        for object in objects {
            writer.apply_watcher_event(&Event::InitApply(serde_json::from_value(object).unwrap()));
        }
        writer.apply_watcher_event(&Event::InitDone);
        let policies = Arc::new(Policies::new(is_each));
        policies.watch(store);
        Self { policies, writer }
    }

    fn text(&self) -> String {
        let collector = PolicyCollector(Arc::clone(&self.policies));
        Exposition::of(vec![Box::new(collector)]).render(Format::Text).unwrap()
    }

    fn series(&self) -> Vec<String> {
        self.text().lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    /// The value of the one series that begins like this.
    #[track_caller]
    fn value(&self, start: &str) -> String {
        let series = self.series();
        let mut found = series.iter().filter_map(|line| line.strip_prefix(start));
        let value = found.next().unwrap_or_else(|| panic!("no {start} in\n{}", self.text()));
        assert_eq!(found.next(), None, "{start}");
        value.trim().to_owned()
    }
}

fn policy(name: &str) -> PolicyRef {
    PolicyRef::new(name).within("payments")
}

#[test]
fn a_process_that_has_just_started_shows_how_the_policies_stand() {
    let scrape = Scrape::new(true, [object("a")]);
    let of_a = r#"{namespace="payments",name="a""#;
    let value = |metric: &str, more: &str| scrape.value(&format!("dlq_operator_{metric}{of_a}{more}}}"));
    assert_eq!(value("policy_info", r#",action="resume",schedule="*/15 * * * *""#), "1.0");
    assert_eq!(value("policy_condition", r#",type="Ready",status="False""#), "1.0");
    assert_eq!(value("policy_condition", r#",type="Ready",status="True""#), "0.0");
    assert_eq!(value("policy_condition", r#",type="LastRunSucceeded",status="Unknown""#), "1.0");
    assert_eq!(value("run_active", ""), "1.0");
    assert_eq!(value("run_awaiting_approval", ""), "1.0");
    assert_eq!(value("last_run_timestamp_seconds", ""), "10.25");
    assert_eq!(value("last_success_timestamp_seconds", ""), "20.0");
    assert_eq!(value("next_run_timestamp_seconds", ""), "30.0");
    assert_eq!(value("circuit_open", ""), "1.0");
    assert_eq!(value("consecutive_failures", ""), "2.0");
    assert_eq!(value("entries_processed_total", r#",action="resume""#), "0");
    assert_eq!(value("runs_total", r#",action="resume",trigger="Schedule",result="Failed""#), "0");
    assert_eq!(value("uncertain_pages_total", ""), "0");
    assert_eq!(value("missed_schedules_total", ""), "0");
}

#[test]
fn a_policy_that_never_ran_has_no_times() {
    let mut object = object("a");
    object["status"] = Value::Null;
    let text = Scrape::new(true, [object]).text();
    assert!(!text.contains("timestamp_seconds{") && !text.contains("policy_condition{"), "{text}");
    assert!(text.contains("dlq_operator_run_active{"), "{text}");
}

#[test]
fn the_series_of_a_policy_go_with_it_and_what_is_counted_late_brings_none_back() {
    let mut scrape = Scrape::new(true, [object("a"), object("b")]);
    scrape.policies.count(&policy("a"), |counts| counts.missed = 7);
    scrape.policies.count(&policy("b"), |counts| counts.missed = 3);
    assert_eq!(scrape.value(r#"dlq_operator_missed_schedules_total{namespace="payments",name="a"}"#), "7");
    let a = serde_json::from_value(object("a")).unwrap();
    scrape.writer.apply_watcher_event(&Event::Delete(a));
    scrape.policies.count(&policy("a"), |counts| counts.missed += 1);
    assert!(!scrape.text().contains(r#"name="a""#), "{}", scrape.text());
    assert_eq!(scrape.value(r#"dlq_operator_missed_schedules_total{namespace="payments",name="b"}"#), "3");
    // Its namesake begins anew.
    let a = serde_json::from_value(object("a")).unwrap();
    scrape.writer.apply_watcher_event(&Event::Apply(a));
    assert_eq!(scrape.value(r#"dlq_operator_missed_schedules_total{namespace="payments",name="a"}"#), "0");
}

#[test]
fn without_single_policies_there_are_sums_and_their_number_does_not_grow() {
    let scrape = Scrape::new(false, [object("a"), object("b")]);
    scrape.policies.count(&policy("a"), |counts| counts.missed += 2);
    scrape.policies.count(&policy("b"), |counts| counts.missed += 3);
    let run = ["resume", "Schedule", "Failed"];
    scrape.policies.count(&policy("b"), |counts| *counts.runs.entry(run).or_default() += 1);
    scrape.policies.count(&policy("a"), |counts| *counts.entries.entry("resume").or_default() += 50);
    assert_eq!(scrape.value("dlq_operator_missed_schedules_total"), "5");
    assert_eq!(
        scrape.value(r#"dlq_operator_runs_total{action="resume",trigger="Schedule",result="Failed"}"#),
        "1"
    );
    assert_eq!(scrape.value(r#"dlq_operator_entries_processed_total{action="resume"}"#), "50");
    assert_eq!(scrape.value(r#"dlq_operator_policy_condition{type="Ready",status="False"}"#), "2.0");
    assert_eq!(scrape.value("dlq_operator_run_active"), "2.0");
    assert_eq!(scrape.value("dlq_operator_run_awaiting_approval"), "2.0");
    assert_eq!(scrape.value("dlq_operator_circuit_open"), "2.0");
    let text = scrape.text();
    assert!(!text.contains("name=") && !text.contains("namespace="), "{text}");
    let many = Scrape::new(false, (0..100).map(|number| object(&number.to_string())));
    assert_eq!(many.series().len(), scrape.series().len());
}

#[test]
fn ten_thousand_policies_have_as_many_series_as_is_documented() {
    let scrape = Scrape::new(true, (0..10_000).map(|number| object(&format!("policy-{number}"))));
    assert_eq!(scrape.series().len(), 10_000 * SERIES_PER_POLICY);
}

#[test]
fn nothing_without_bounds_is_a_label() {
    let text = Scrape::new(true, [object("a")]).text();
    for secret in ["a-label", "secret-label", "app.example.com", "a-cursor", "wfr_1"] {
        assert!(!text.contains(secret), "{secret} in\n{text}");
    }
    let labels: std::collections::BTreeSet<_> =
        definitions().iter().flat_map(|definition| definition.labels.iter().copied()).collect();
    let allowed = [
        "action",
        "code",
        "kind",
        "name",
        "namespace",
        "operation",
        "reason",
        "result",
        "revision",
        "schedule",
        "status",
        "trigger",
        "type",
        "version",
    ];
    assert_eq!(labels.into_iter().collect::<Vec<_>>(), allowed);
}
