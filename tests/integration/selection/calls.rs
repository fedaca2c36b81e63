//! How many calls it takes to decide on each entry.

use serde_json::{Value, json};
use testbed::{Entry, Fate, Ledger};

use super::{acting, all, protected, strings};
use crate::cases::{Case, Cases};
use crate::scene::Scene;

const ENTRIES: usize = 1000;

fn entries(count: usize, labels: impl Fn(usize) -> Vec<String>) -> Vec<Entry> {
    (0..count).map(|index| Entry { labels: labels(index), ..Entry::default() }).collect()
}

fn lists(ledger: &Ledger) -> usize {
    ledger.calls_of("list").count()
}

#[tokio::test]
async fn entries_with_equal_labels_share_calls_and_others_have_their_own() {
    let scene = Scene::start_with("calls", &[]).await;
    let uniform = || entries(ENTRIES, |_| strings(&["payments", "eu"]));
    let kinds = || entries(ENTRIES, |index| vec![format!("kind-{}", index % 10)]);
    let different = || entries(60, |index| vec![format!("order-{index}")]);
    let matching = json!({ "match": { "responseStatuses": ["5xx"] } });
    let case = |entries: Vec<Entry>, spec: Value| Case { entries, spec };
    let cases = vec![
        case(uniform(), all("resume", json!({}))),
        case(uniform(), protected("resume", 3, json!({}))),
        case(uniform(), protected("restart", 3, matching.clone())),
        case(kinds(), protected("resume", 3, json!({}))),
        case(different(), protected("resume", 3, json!({}))),
        // Without loopProtection no labels are sent, so that all share calls.
        case(different(), all("delete", matching.clone())),
        // Labels that are replaced are equal.
        case(different(), protected("restart", 3, json!({ "overrides": { "labels": ["retried"] } }))),
    ];
    let outcomes = Cases::apply(&scene, cases).await.outcomes().await;
    for outcome in &outcomes {
        assert_eq!(outcome.status["lastRun"]["result"], "Succeeded", "{:#}", outcome.status);
        assert_eq!(outcome.ledger.with_fate(Fate::InDlq).count(), 0);
        assert!(acting(&outcome.ledger).iter().all(|call| call.status == 200));
    }
    let [bulk, uniform, matching, kinds, different, deleted, replaced] = &outcomes[..] else { panic!() };
    let calls = |outcome: &crate::cases::Outcome| acting(&outcome.ledger).len();
    assert_eq!((calls(bulk), lists(&bulk.ledger)), (ENTRIES / 50, 0));
    for outcome in [uniform, matching, kinds] {
        let most = calls(bulk) * 11 / 10;
        assert!(calls(outcome) <= most, "{} acting calls of {most}", calls(outcome));
        // A page of a hundred each, and one that may be asked for in vain.
        assert!(lists(&outcome.ledger) <= ENTRIES / 100 + 1, "{} lists", lists(&outcome.ledger));
    }
    assert_eq!(calls(different), 60, "a call for each");
    assert_eq!((calls(deleted), calls(replaced)), (2, 2));
    for outcome in [different, deleted, replaced] {
        assert_eq!(lists(&outcome.ledger), 1);
    }
}
