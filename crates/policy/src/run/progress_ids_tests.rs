//! Runs over `dlqIds`.

use super::*;

#[test]
fn ids_go_in_chunks_of_at_most_fifty() {
    let mut progress = listed(120, &json!({"action": "delete", "limits": {"pageSize": 100}, "window": null}));
    for (expected, deleted) in [(50, 50), (50, 47), (20, 20)] {
        assert_eq!(sent(&answer(&mut progress, &page(deleted, ""))), expected);
    }
    assert_eq!(ended(&mut progress), SUCCEEDED);
    assert_eq!(end(&mut progress).message, "deleted 117 entries in 3 calls, 0 refused");
    let run = progress.run();
    assert_eq!((run.processed, run.not_found, run.position), (117, 3, 120));
}

#[test]
fn exactly_one_id_is_resumed_by_the_single_call() {
    let mut progress = listed(1, &json!({}));
    assert!(matches!(answer(&mut progress, &page(1, "")), Call::Single { action: Action::Resume, .. }));
    assert_eq!(ended(&mut progress), SUCCEEDED);
    let mut gone = listed(1, &json!({}));
    fail(&mut gone, &error(ErrorClass::NotFound));
    assert_eq!(ended(&mut gone), NOTHING);
    assert_eq!((gone.run().not_found, gone.run().pages), (1, 1));
    for (count, action) in [(1, "restart"), (1, "delete"), (2, "resume")] {
        let mut bulk = listed(count, &json!({ "action": action }));
        assert_eq!(sent(&answer(&mut bulk, &page(1, ""))), count, "{action}");
    }
}

/// Answers as a DLQ that holds every ID but those in `gone`; returns how many calls it took.
fn drain(progress: &mut Progress, gone: &[usize]) -> usize {
    let gone: Vec<_> = gone.iter().map(|index| DlqId(format!("id-{index}"))).collect();
    for calls in 0..1000 {
        let Step::Call(call) = progress.next(at(0)) else { return calls };
        let ids = match &call {
            Call::Bulk { selection: Selection::Ids(ids), .. } => ids.clone(),
            Call::Get { id } => vec![id.clone()],
            call => panic!("{call:?}"),
        };
        if ids.iter().any(|id| gone.contains(id)) {
            progress.fail(&call, &error(ErrorClass::NotFound), at(0), 0.0);
        } else {
            progress.answer(&call, &page(ids.len() as u64, ""), at(0));
        }
    }
    panic!("does not end");
}

#[test]
fn a_chunk_with_missing_ids_is_halved_until_they_stand_alone() {
    for gone in [&[0][..], &[49], &[50], &[0, 1, 2], &[10, 60, 119]] {
        let mut progress = listed(120, &json!({}));
        let calls = drain(&mut progress, gone);
        let (run, missing) = (progress.run(), i64::try_from(gone.len()).unwrap());
        assert_eq!((run.processed, run.not_found), (120 - missing, missing), "{gone:?}");
        assert!(calls < 3 + 13 * gone.len(), "{gone:?}: {calls} calls");
    }
}

#[test]
fn a_dry_run_gets_each_id() {
    let mut progress = listed(3, &json!({"dryRun": true}));
    assert!(matches!(call(&mut progress), Call::Get { id } if id.0 == "id-0"));
    assert_eq!(drain(&mut progress, &[1]), 3);
    assert_eq!((progress.run().processed, progress.run().not_found), (2, 1));
    assert_eq!(end(&mut progress).reason, Reason::DryRunSucceeded);
}

#[test]
fn ids_of_a_call_whose_answer_was_lost_are_not_called_missing() {
    let mut progress = listed(4, &json!({"limits": {"pageSize": 2}}));
    fail(&mut progress, &lost());
    drain(&mut progress, &[0, 1, 3]);
    let run = progress.run();
    assert_eq!((run.processed, run.not_found, run.uncertain_pages), (1, 1, 1));
    assert_eq!(end(&mut progress).message, "resumed at least 1 entry in 4 calls, 0 refused");
    let mut deleted = listed(4, &json!({"action": "delete"}));
    let first = call(&mut deleted);
    deleted.give_up(&first, at(0));
    answer(&mut deleted, &page(1, ""));
    assert_eq!((deleted.run().not_found, deleted.run().uncertain_pages), (0, 1));
}

#[test]
fn a_run_that_is_taken_up_remembers_what_it_does_not_know() {
    let gone: Vec<_> = (0..120).collect();
    let table = [
        ("a clean stop", json!({"position": 10}), 110),
        ("an answer was lost before a clean stop", json!({"position": 10, "uncertainPages": 1}), 60),
        ("an unclean stop", json!({"position": 10, "interruptions": 1}), 0),
        ("a dry run", json!({"position": 10, "interruptions": 1, "dryRun": true}), 110),
    ];
    for (row, fields, not_found) in table {
        let mut progress = listed(120, &fields);
        drain(&mut progress, &gone);
        assert_eq!((progress.run().not_found, progress.run().position), (not_found, 120), "{row}");
    }
}

#[test]
fn an_answer_that_ids_are_missing_is_an_answer() {
    let mut progress = listed(50, &json!({}));
    for _ in 0..9 {
        fail(&mut progress, &error(ErrorClass::Unavailable));
    }
    fail(&mut progress, &error(ErrorClass::NotFound));
    fail(&mut progress, &error(ErrorClass::Unavailable));
    assert_eq!(sent(&call(&mut progress)), 25);
}

#[test]
fn the_longest_ids_go_in_calls_that_a_url_can_carry_and_missing_ones_are_still_found() {
    let ids: Vec<_> = (0..1000).map(|index| DlqId(format!("{index:04}{}", ":".repeat(252)))).collect();
    let gone = [&ids[0], &ids[17], &ids[18], &ids[999]];
    let mut progress = progress(Selected::Ids(ids.clone()), run(&json!({})));
    let mut acted = Vec::new();
    while let Step::Call(call) = progress.next(at(0)) {
        let request = dlq_upstash::request::build(&call).unwrap();
        assert!(request.query.len() <= dlq_upstash::types::MAX_TARGET_BYTES);
        let Call::Bulk { selection: Selection::Ids(sent), .. } = &call else { panic!("{call:?}") };
        if sent.iter().any(|id| gone.contains(&id)) {
            progress.fail(&call, &error(ErrorClass::NotFound), at(0), 0.0);
        } else {
            acted.extend(sent.clone());
            progress.answer(&call, &page(sent.len() as u64, ""), at(0));
        }
    }
    let there: Vec<_> = ids.iter().filter(|id| !gone.contains(id)).cloned().collect();
    assert_eq!(acted, there);
    assert_eq!((progress.run().processed, progress.run().not_found), (996, 4));
}

/// Half of a refused chunk that is whole leaves the missing ID in the other half, which is not sent as a whole.
#[test]
fn what_one_half_says_of_the_other_saves_a_call() {
    let calls = |gone: usize| drain(&mut listed(4, &json!({})), &[gone]);
    assert_eq!((calls(0), calls(3)), (5, 4));
}

#[test]
fn what_calls_side_by_side_did_out_of_order_is_not_counted_as_missing_by_the_next_process() {
    let fields = json!({ "processed": 50, "pages": 1, "limits": { "pageSize": 50, "parallelism": 2 } });
    let mut taken_up = listed(100, &fields);
    drain(&mut taken_up, &(50..100).collect::<Vec<_>>());
    let run = taken_up.ended_run();
    assert_eq!((run.processed, run.not_found, run.position), (100, 0, 100));
}
