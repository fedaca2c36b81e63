//! Whether calls act on the oldest failures first or on the newest, how many they handle, and whether unknown parameters
//! are refused, the service promises nothing of. The operator comes to the same end.

use std::collections::BTreeSet;

use dlq_operator::runtime::clock;
use serde_json::{Value, json};
use testbed::{Entry, Fate, Ledger, Order};

use crate::cases::{self, Case, Cases, Differences, Outcome};
use crate::filters;
use crate::scene::Scene;

const MINUTE: i64 = 60_000;

/// From the oldest failure to the newest, each a second after the one before.
fn entries(prefix: &str, count: i64, newest: i64) -> Vec<Entry> {
    (0..count)
        .map(|index| Entry {
            dlq_id: Some(format!("{prefix}-{index:03}")),
            labels: vec![if index % 3 == 0 { "emails" } else { "payments" }.to_owned()],
            failed_at: Some(newest - (count - 1 - index) * 1000),
            ..Entry::default()
        })
        .collect()
}

/// The IDs of `payments`, as a call meets them.
fn payments(entries: &[Entry], order: Order) -> Vec<String> {
    let labelled = entries.iter().filter(|entry| entry.labels == ["payments"]);
    let mut ids: Vec<_> = labelled.map(|entry| entry.dlq_id.clone().unwrap()).collect();
    if order == Order::NewestFirst {
        ids.reverse();
    }
    ids
}

/// What the calls acted on or listed, in their order.
fn met(ledger: &Ledger) -> Vec<String> {
    ledger.calls.iter().flat_map(|call| call.dlq_ids.iter().cloned()).collect()
}

fn acted_on(ledger: &Ledger) -> BTreeSet<String> {
    let gone = ledger.entries.iter().filter(|entry| entry.fate != Fate::InDlq);
    gone.map(|entry| entry.dlq_id.clone()).collect()
}

#[tokio::test]
async fn a_drain_comes_to_the_same_end_whichever_entries_come_first() {
    let spec = |action: &str, dry_run: bool| {
        json!({
            "action": action, "dryRun": dry_run, "limits": { "pageSize": 30 },
            "filters": { "labels": ["payments"], "olderThan": "15m" },
        })
    };
    let specs = [spec("resume", false), spec("restart", false), spec("delete", false), spec("delete", true)];
    let rows: Vec<(Order, Value)> =
        specs.iter().flat_map(|spec| Order::BOTH.map(|order| (order, spec.clone()))).collect();
    let scene = Scene::start("order").await;
    let mut old = entries("old", 150, clock::now().as_millisecond() - 20 * MINUTE);
    let selected = old.clone();
    old.extend(entries("new", 30, clock::now().as_millisecond() - MINUTE));
    for (index, (order, _)) in rows.iter().enumerate() {
        scene.simulator.set_order(&cases::name(index), *order).await.unwrap();
    }
    let cases = rows.iter().map(|(_, spec)| Case { entries: old.clone(), spec: spec.clone() });
    let outcomes = Cases::apply(&scene, cases.collect()).await.outcomes().await;

    let mut differences = Differences::default();
    for ((order, spec), Outcome { status, ledger }) in rows.iter().zip(&outcomes) {
        let name = format!("{order:?} {spec}");
        let expected = payments(&selected, *order);
        differences.expect_eq(
            &name,
            "each is met once, in the service's order",
            met(ledger),
            expected.clone(),
        );
        let is_dry = spec["dryRun"] == true;
        let gone = if is_dry { BTreeSet::new() } else { expected.iter().cloned().collect() };
        differences.expect_eq(&name, "what is gone", acted_on(ledger), gone);
        let acted_twice = ledger.entries.iter().filter(|entry| entry.actions > 1).count();
        differences.expect_eq(&name, "nothing is acted on twice", acted_twice, 0);
        let run = &status["lastRun"];
        differences.expect_eq(&name, "result", &run["result"], &json!("Succeeded"));
        differences.expect_eq(&name, "processed", &run["processed"], &json!(expected.len()));
        differences.expect_eq(&name, "pages", &run["pages"], &json!(4));
    }
    differences.report();
}

/// One run takes forty; what is left is for the runs after it. Meanwhile more comes in.
#[tokio::test]
async fn runs_that_are_limited_take_what_comes_first_and_in_the_end_everything() {
    let spec = json!({
        "action": "resume", "filters": { "labels": ["payments"] },
        "limits": { "pageSize": 25, "maxEntriesPerRun": 40 },
    });
    let scene = Scene::start("order-limited").await;
    let first = entries("first", 90, clock::now().as_millisecond() - 20 * MINUTE);
    let later = entries("later", 60, clock::now().as_millisecond() - 10 * MINUTE);
    for (index, order) in Order::BOTH.into_iter().enumerate() {
        scene.simulator.set_order(&cases::name(index), order).await.unwrap();
    }
    let cases = Order::BOTH.map(|_| Case { entries: first.clone(), spec: spec.clone() });
    let applied = Cases::apply(&scene, cases.into()).await;
    let after_runs = async |runs: i64| {
        let ended = |status: &Value| status["totals"]["runs"] == runs && status["currentRun"].is_null();
        let statuses = applied.statuses(&format!("{runs} runs have ended"), ended).await;
        let results: Vec<_> = statuses.iter().map(|status| status["lastRun"]["result"].clone()).collect();
        let mut ledgers = Vec::new();
        for index in 0..Order::BOTH.len() {
            ledgers.push(scene.simulator.ledger(&cases::name(index)).await.unwrap());
        }
        (results, ledgers)
    };

    let (results, ledgers) = after_runs(1).await;
    assert_eq!(results, ["LimitReached", "LimitReached"]);
    for (ledger, order) in ledgers.iter().zip(Order::BOTH) {
        assert_eq!(met(ledger), payments(&first, order)[..40], "{order:?}");
    }

    // Of the sixty that match, twenty are left. Now forty more come in, as many as a run takes.
    for index in 0..Order::BOTH.len() {
        scene.simulator.add(&cases::name(index), &later).await.unwrap();
        scene.annotate(&cases::name(index), &[("requestedAt", "second")]).await;
    }
    let (results, ledgers) = after_runs(2).await;
    assert_eq!(results, ["LimitReached", "LimitReached"]);
    let [oldest_first, newest_first] = ledgers.as_slice() else { panic!("two DLQs") };
    let everything = [payments(&first, Order::OldestFirst), payments(&later, Order::OldestFirst)].concat();
    assert_eq!(met(oldest_first), everything[..80]);
    let newest =
        [&payments(&first, Order::NewestFirst)[..40], &payments(&later, Order::NewestFirst)].concat();
    assert_eq!(met(newest_first), newest, "what is old waits");

    for index in 0..Order::BOTH.len() {
        scene.annotate(&cases::name(index), &[("requestedAt", "third")]).await;
    }
    let (results, ledgers) = after_runs(3).await;
    assert_eq!(results, ["Succeeded", "Succeeded"]);
    for (ledger, order) in ledgers.iter().zip(Order::BOTH) {
        assert_eq!(acted_on(ledger), everything.iter().cloned().collect(), "{order:?}");
        assert_eq!(ledger.with_fate(Fate::Resumed).count(), 100, "{order:?}");
        assert!(ledger.entries.iter().all(|entry| entry.actions <= 1), "{order:?}: once each");
    }
}

#[tokio::test]
async fn a_run_counts_what_the_service_handled_whatever_its_most_per_call_is() {
    const ENTRIES: usize = 230;
    let scene = Scene::start("most-per-call").await;
    let rows: Vec<_> = ["resume", "restart", "delete"]
        .into_iter()
        .flat_map(|action| [(action, 100, 3), (action, 50, 5), (action, 30, 8)])
        .collect();
    for (index, (action, most, _)) in rows.iter().enumerate() {
        let switches = json!({ "mostPerCall": { *action: most } });
        scene.simulator.set_service(&cases::name(index), &switches).await.unwrap();
    }
    let cases = rows.iter().map(|(action, ..)| Case {
        entries: vec![Entry::default(); ENTRIES],
        spec: json!({ "action": action, "filters": { "all": true }, "limits": { "pageSize": 100 } }),
    });
    let outcomes = Cases::apply(&scene, cases.collect()).await.outcomes().await;
    let mut differences = Differences::default();
    for ((action, most, pages), Outcome { status, ledger }) in rows.iter().zip(&outcomes) {
        let name = format!("{action} of at most {most}");
        let run = &status["lastRun"];
        differences.expect_eq(&name, "result", &run["result"], &json!("Succeeded"));
        differences.expect_eq(&name, "processed", &run["processed"], &json!(ENTRIES));
        differences.expect_eq(&name, "pages", &run["pages"], &json!(pages));
        differences.expect_eq(&name, "gone", acted_on(ledger).len(), ENTRIES);
    }
    differences.report();
}

#[tokio::test]
async fn every_filter_selects_the_same_where_the_newest_come_first_and_unknown_parameters_are_refused() {
    let rows = filters::rows();
    let scene = Scene::start("order-filters").await;
    let switches = json!({ "order": "newestFirst", "deleteRefusesUnknown": true });
    for index in 0..rows.len() {
        scene.simulator.set_service(&cases::name(index), &switches).await.unwrap();
    }
    let outcomes = filters::run(&scene, &rows).await;
    let deletes = outcomes.iter().filter(|outcome| outcome.ledger.calls_of("delete").next().is_some());
    assert!(deletes.count() > 0, "a delete is among them, which refuses what it does not know");
}
