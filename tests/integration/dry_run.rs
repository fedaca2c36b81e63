//! What a dry run tells of the entries that match, whatever their size.

use serde_json::{Value, json};
use testbed::Entry;

use crate::scene::{DLQ, Scene};

/// 2026-10-01T00:00:00Z.
const FIRST: i64 = 1_790_812_800_000;

fn entry(number: i64, url: &str, status: u16, labels: &[&str]) -> Entry {
    let failed_at = FIRST + number * 1000;
    Entry {
        dlq_id: Some(format!("{failed_at}-{number}")),
        workflow_url: Some(format!("https://app.example.com/{url}")),
        failed_at: Some(failed_at),
        response_status: Some(status),
        labels: labels.iter().map(ToString::to_string).collect(),
        ..Entry::default()
    }
}

fn dry(filters: &Value) -> Value {
    json!({ "action": "delete", "dryRun": true, "filters": filters, "limits": { "pageSize": 4 } })
}

#[tokio::test]
async fn a_dry_run_tells_the_span_and_the_most_frequent_values_of_what_matches() {
    let scene = Scene::start("summary").await;
    let mut entries: Vec<_> = (0..7).map(|number| entry(number, "pay", 503, &["payments", "eu"])).collect();
    entries.extend((7..10).map(|number| entry(number, "mail", 404, &["emails"])));
    entries.extend((10..16).map(|number| entry(number, &format!("other-{number}"), 500, &[])));
    scene.simulator.add(DLQ, &entries).await.unwrap();
    scene.apply("everything", dry(&json!({ "all": true }))).await;
    let summary = scene.ran("everything", 1).await["lastRun"]["summary"].take();
    assert_eq!(
        (&summary["oldestTime"], &summary["newestTime"]),
        (&json!("2026-10-01T00:00:00.000Z"), &json!("2026-10-01T00:00:15.000Z"))
    );
    let counts = |value: &str, count: i64| json!({ "value": value, "count": count });
    assert_eq!(summary["responseStatuses"], json!([counts("503", 7), counts("500", 6), counts("404", 3)]));
    assert_eq!(summary["labels"], json!([counts("eu", 7), counts("payments", 7), counts("emails", 3)]));
    let urls = summary["workflowUrls"].as_array().unwrap();
    assert_eq!(
        (urls.len(), &urls[0], &urls[1]),
        (5, &counts("https://app.example.com/pay", 7), &counts("https://app.example.com/mail", 3))
    );

    let ids: Vec<_> = entries[..3].iter().map(|entry| entry.dlq_id.clone().unwrap()).collect();
    scene.apply("by-ids", dry(&json!({ "dlqIds": ids }))).await;
    let summary = scene.ran("by-ids", 1).await["lastRun"]["summary"].take();
    assert_eq!(summary["labels"], json!([counts("eu", 3), counts("payments", 3)]), "{summary:#}");

    scene.apply("nothing", dry(&json!({ "labels": ["none"] }))).await;
    assert_eq!(scene.ran("nothing", 1).await["lastRun"]["summary"], Value::Null);
    scene.patch("everything", json!({ "dryRun": false })).await;
    assert_eq!(scene.ran("everything", 2).await["lastRun"]["summary"], Value::Null, "only a dry run tells");
}

#[tokio::test]
async fn a_hundred_entries_with_bodies_of_a_mebibyte_take_no_more_memory_than_small_ones() {
    let scene = Scene::start_with("large-bodies", &["--request-timeout=2m"]).await;
    scene.simulator.generate(DLQ, 100, &Entry::default()).await.unwrap();
    let dry = json!({ "action": "resume", "dryRun": true, "filters": { "all": true }, "limits": { "pageSize": 100 } });
    scene.apply("small", dry.clone()).await;
    assert_eq!(scene.ran("small", 1).await["lastRun"]["processed"], 100);
    let before = scene.operator.process().peak_kib().unwrap();
    let large = json!({ "body": { "kind": "largeBodies", "bytes": 1 << 20 } });
    scene.simulator.set_faults(&json!([{ "fault": large }])).await.unwrap();
    scene.apply("large", dry).await;
    let run = scene.ran("large", 1).await["lastRun"].take();
    assert_eq!((&run["processed"], &run["pages"]), (&json!(100), &json!(1)), "{run:#}");
    let after = scene.operator.process().peak_kib().unwrap();
    // Nothing is kept of a body, and reqwest's buffers are as large as for small answers.
    assert!(after < before + 4 * 1024, "{before} KiB for small bodies, {after} KiB for large ones");
}
