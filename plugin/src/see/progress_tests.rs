#![expect(clippy::needless_pass_by_value, reason = "what `json!` makes is given away")]

use serde_json::{Value, json};

use super::*;
use crate::sample::{self, now};

fn run(further: Value) -> PolicyRun {
    let mut run = json!({ "id": "1", "trigger": "Manual", "action": "resume", "startTime": "2026-11-20T11:59:00.000Z" });
    run.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    serde_json::from_value(run).unwrap()
}

fn after(seconds: i64) -> Timestamp {
    now() + jiff::SignedDuration::from_secs(seconds)
}

#[test]
fn the_rate_is_that_of_the_last_half_minute() {
    let mut pace = Pace::default();
    assert_eq!(pace.rate(), None);
    for second in 0..60 {
        let processed = if second < 20 { 0 } else { (second - 20) * 10 };
        pace.note(&run(json!({ "processed": processed })), after(second));
    }
    let rate = pace.rate().unwrap();
    assert!((9.5..10.5).contains(&rate), "{rate}");
    pace.note(&run(json!({ "id": "2", "processed": 5 })), after(61));
    assert_eq!(pace.rate(), None, "another run has a pace of its own");
}

#[test]
fn a_run_that_stands_still_has_no_rate_and_no_estimate() {
    let mut pace = Pace::default();
    let still = run(json!({ "processed": 7, "matched": 100 }));
    pace.note(&still, after(0));
    pace.note(&still, after(10));
    assert_eq!(pace.rate(), None);
    let progress = Progress { run: &still, total: Some(100), rate: None };
    assert_eq!((progress.words().as_str(), progress.speed(now())), ("resuming: 7 of 100 entries", None));
}

#[test]
fn the_total_is_what_was_counted_and_no_more_than_the_run_may() {
    let spec = |filters| json!({ "action": "resume", "filters": filters });
    let all = sample::policy("a", spec(json!({ "all": true })), json!({}));
    let ids = sample::policy("a", spec(json!({ "dlqIds": ["a", "b", "c"] })), json!({}));
    let limits = |most: i64| json!({ "limits": { "pageSize": 50, "maxEntriesPerRun": most } });
    assert_eq!(total(&all, &run(json!({}))), None);
    assert_eq!(total(&all, &run(limits(5))), None, "it may act on fewer");
    assert_eq!(total(&all, &run(json!({ "matched": 600 }))), Some(600));
    assert_eq!(total(&ids, &run(json!({}))), Some(3));
    assert_eq!(total(&ids, &run(limits(2))), Some(2));
}

#[test]
fn every_way_to_wait_has_its_words() {
    let until = "2026-11-20T12:00:20.000Z";
    for (further, words) in [
        (
            json!({ "waitingReason": "Throttled", "waitingUntil": until }),
            "throttled by Upstash, continues in 20s",
        ),
        (
            json!({ "waitingReason": "Retrying", "waitingUntil": until }),
            "repeats a call that failed, continues in 20s",
        ),
        (json!({ "waitingReason": "Queued" }), "waits for a free slot"),
        (json!({ "approvalId": "a", "matched": 9 }), "for 60s"),
    ] {
        let run = run(further);
        let progress = Progress { run: &run, total: None, rate: Some(5.0) };
        assert_eq!(progress.speed(now()).as_deref(), Some(words));
    }
    let counting = run(json!({ "summary": {} }));
    let progress = Progress { run: &counting, total: None, rate: None };
    assert_eq!(progress.words(), "counting what matches before it acts");
}

#[test]
fn a_line_of_progress_is_never_wider_than_the_terminal() {
    let run = run(json!({ "processed": 250, "matched": 600 }));
    let progress = Progress { run: &run, total: Some(600), rate: Some(12.3) };
    for width in 1..200 {
        let (plain, painted) = progress.line(now(), Look { width: Some(width), colour: true });
        assert!(width_of(&plain) < width.max(2), "{width}: {plain}");
        assert_eq!(anstream::adapter::strip_str(&painted).to_string(), plain);
    }
    let (plain, _) = progress.line(now(), Look { width: Some(80), colour: false });
    assert_eq!(plain, "████████▊░░░░░░░░░░░░  41%  resuming: 250 of 600 entries, 12/s, about 29s left");
}
