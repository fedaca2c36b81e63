//! A thousand entries by ID, some of which are unknown.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use testbed::{Entry, Fate, Ledger};

use crate::cases::{Case, Cases, Outcome};
use crate::scene::{DLQ, Scene};

const IDS: usize = 1000;

/// Spread over all chunks, alone, side by side, at both ends, and a whole chunk of them.
fn is_unknown(index: usize) -> bool {
    matches!(index, 0 | 3 | 77 | 149 | 150 | 333 | 334 | 335 | 600..650 | 999)
}

fn ids() -> Vec<String> {
    (0..IDS).map(|index| format!("1763600000000-{index}")).collect()
}

fn known() -> Vec<Entry> {
    let known = ids().into_iter().enumerate().filter(|(index, _)| !is_unknown(*index));
    known.map(|(_, id)| Entry { dlq_id: Some(id), ..Entry::default() }).collect()
}

fn unknown() -> usize {
    (0..IDS).filter(|index| is_unknown(*index)).count()
}

fn spec(action: &str) -> Value {
    json!({ "action": action, "filters": { "dlqIds": ids() } })
}

/// How many calls it takes to find the unknown IDs by halving the chunks that hold one. A half that must hold one, as the
/// other has none, is halved without asking.
fn calls_by_halving(ids: std::ops::Range<usize>, must_hold_one: bool) -> usize {
    if ids.len() == 1 || !ids.clone().any(is_unknown) {
        return 1;
    }
    let middle = ids.start + ids.len() / 2;
    let (first, second) = (ids.start..middle, middle..ids.end);
    let follows = !first.clone().any(is_unknown);
    usize::from(!must_hold_one) + calls_by_halving(first, false) + calls_by_halving(second, follows)
}

#[tokio::test]
async fn a_thousand_ids_are_acted_on_and_the_unknown_ones_counted_exactly() {
    let scene = Scene::start_with("thousand", &[]).await;
    let actions = ["resume", "restart", "delete"];
    let cases = actions.map(|action| Case { entries: known(), spec: spec(action) }).into();
    let outcomes = Cases::apply(&scene, cases).await.outcomes().await;
    let halving: usize = (0..IDS).step_by(50).map(|start| calls_by_halving(start..start + 50, false)).sum();
    for (action, Outcome { status, ledger }) in actions.iter().zip(&outcomes) {
        let run = &status["lastRun"];
        assert_eq!(run["result"], "Succeeded", "{action}");
        assert_eq!(
            (&run["processed"], &run["notFound"], &run["position"]),
            (&json!(IDS - unknown()), &json!(unknown()), &json!(IDS)),
            "{action}"
        );
        assert_eq!(ledger.with_fate(Fate::InDlq).count(), 0, "{action}");
        // A delete says how many it found and is never refused.
        let most = if *action == "delete" { IDS / 50 } else { halving };
        assert!(ledger.calls.len() <= most, "{action}: {} calls of {most}", ledger.calls.len());
    }
}

/// How often each known ID stood in a call that acted.
fn acted_on(ledger: &Ledger) -> BTreeMap<&str, usize> {
    let mut acted = BTreeMap::new();
    for id in ledger.calls.iter().flat_map(|call| &call.dlq_ids) {
        *acted.entry(id.as_str()).or_default() += 1;
    }
    acted
}

#[tokio::test]
async fn the_position_survives_a_crash_between_chunks() {
    let mut scene = Scene::start("crashed").await;
    scene.simulator.add(DLQ, &known()).await.unwrap();
    scene.slow_down(300).await;
    scene.apply("ids", spec("restart")).await;
    scene
        .status("ids", "some chunks are done", |status| status["currentRun"]["position"].as_i64() > Some(200))
        .await;
    scene.operator.kill().unwrap();
    let before = scene.policy("ids").await["status"]["currentRun"].take();
    let position = usize::try_from(before["position"].as_i64().unwrap()).unwrap();
    let calls_before = scene.simulator.ledger(DLQ).await.unwrap().calls.len();
    scene.simulator.clear_faults().await.unwrap();
    scene.operator.restart(None).await.unwrap();

    let run = scene.ran("ids", 1).await["lastRun"].take();
    assert_eq!((&run["id"], &run["interruptions"]), (&before["id"], &json!(1)));
    assert_eq!((&run["result"], &run["position"]), (&json!("Succeeded"), &json!(IDS)), "{run:#}");
    let ledger = scene.simulator.ledger(DLQ).await.unwrap();
    assert_eq!(ledger.with_fate(Fate::InDlq).count(), 0);
    assert!(acted_on(&ledger).values().all(|times| *times == 1));

    // What was done before the checkpoint is not asked for again; it is asked for once more by the pass at the end.
    let done: BTreeSet<_> = ids().into_iter().take(position).collect();
    let again = &ledger.calls[calls_before..];
    let first_after = again.iter().find(|call| !call.dlq_ids.is_empty()).unwrap();
    assert!(first_after.dlq_ids.iter().all(|id| !done.contains(id)), "{:?}", first_after.dlq_ids);
    // Lower bounds, openly, as one of its calls went unseen.
    let counted = run["processed"].as_u64().unwrap() + run["notFound"].as_u64().unwrap();
    assert!(counted <= IDS as u64, "{run:#}");
    assert!(run["notFound"].as_u64().unwrap() <= unknown() as u64, "{run:#}");
}
