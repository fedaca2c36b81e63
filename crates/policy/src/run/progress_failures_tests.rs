//! Calls that fail.

use super::*;

#[test]
fn a_call_that_failed_is_repeated_after_the_longer_of_backoff_and_what_the_answer_asks() {
    let table = [
        (error(ErrorClass::Unavailable), 0, 500, Activity::Retrying),
        (error(ErrorClass::RateLimited), 0, 500, Activity::Throttled),
        (error(ErrorClass::RateLimited), 90, 90_000, Activity::Throttled),
        (error(ErrorClass::Unavailable), 7, 7_000, Activity::Retrying),
    ];
    for (error, retry_after, millis, activity) in table {
        let error = ApiError { retry_after: Some(Duration::from_secs(retry_after)), ..error };
        let mut progress = matching(&json!({}));
        let first = call(&mut progress);
        assert_eq!(progress.fail(&first, &error, at(0), 1.0), Failure::GoOn);
        let until = at(0) + SignedDuration::from_millis(millis);
        assert_eq!(progress.next(at(0)), Step::Wait(until), "{error}");
        assert_eq!(progress.activity(), activity);
        assert_eq!(progress.run().waiting_until, Some(until.into()));
        // Another process waits as long.
        let mut taken = matching(&json!({"waitingUntil": until.to_string()}));
        assert_eq!(taken.next(at(0)), Step::Wait(until));
        assert_eq!(progress.next(until), Step::Call(first));
        assert_eq!((progress.activity(), progress.run().waiting_until), (Activity::Working, None));
        assert_eq!(progress.run().retries, 1);
    }
}

#[test]
fn a_clock_that_is_set_back_makes_no_wait_longer() {
    let asked = ApiError { retry_after: Some(Duration::from_secs(90)), ..error(ErrorClass::RateLimited) };
    let mut progress = matching(&json!({}));
    let first = call(&mut progress);
    progress.fail(&first, &asked, at(6 * 3600), 0.0);
    assert_eq!(progress.next(at(0)), Step::Wait(at(90)));
    assert_eq!(progress.next(at(60)), Step::Wait(at(90)));
    let mut taken = matching(&json!({"waitingUntil": at(6 * 3600).to_string()}));
    assert_eq!(taken.next(at(0)), Step::Wait(at(3600)));
    assert!(matches!(taken.next(at(3600)), Step::Call(_)));
    let mut paced = matching(&json!({"limits": {"pageSize": 20, "entriesPerSecond": 20}}));
    let first = call(&mut paced);
    paced.answer(&first, &page(20, "a"), at(6 * 3600));
    assert_eq!(paced.next(at(0)), Step::Wait(at(2)));
}

#[test]
fn a_run_gives_up_after_the_retry_limit_and_not_before() {
    let table = [
        (ErrorClass::Unavailable, Reason::UpstreamUnavailable),
        (ErrorClass::RateLimited, Reason::RateLimited),
    ];
    for (class, reason) in table {
        let mut progress = matching(&json!({}));
        for _ in 0..9 {
            fail(&mut progress, &error(class));
        }
        answer(&mut progress, &page(1, "a"));
        for _ in 0..10 {
            fail(&mut progress, &error(class));
        }
        assert_eq!(ended(&mut progress), failed(reason));
        assert_eq!((progress.run().retries, progress.run().processed), (18, 1));
    }
}

#[test]
fn only_a_call_that_may_have_acted_is_uncertain() {
    let mut progress = matching(&json!({}));
    fail(&mut progress, &error(ErrorClass::Unavailable));
    fail(&mut progress, &error(ErrorClass::RateLimited));
    assert_eq!(progress.run().uncertain_pages, 0);
    fail(&mut progress, &lost());
    assert_eq!(progress.run().uncertain_pages, 1);
    let given_up = call(&mut progress);
    progress.give_up(&given_up, at(0));
    assert_eq!(progress.run().uncertain_pages, 2);
    let mut dry = matching(&json!({"dryRun": true}));
    let given_up = call(&mut dry);
    dry.give_up(&given_up, at(0));
    assert_eq!(dry.run().uncertain_pages, 0);
}

#[test]
fn what_a_lost_answer_may_hide_counts_against_the_entries_per_second() {
    let limits = json!({"limits": {"entriesPerSecond": 20}});
    let refused = || error(ErrorClass::Unavailable);
    for (selected, lost, wait) in [
        (matching(&limits), lost(), true),
        (listed(30, &limits), lost(), true),
        (matching(&limits), refused(), false),
        (matching(&json!({})), lost(), false),
    ] {
        let mut progress = selected;
        let call = call(&mut progress);
        progress.fail(&call, &lost, at(0), 0.0);
        assert_eq!(progress.next(at(0)) == Step::Wait(at(1)), wait, "{lost:?}");
    }
    let mut given_up = matching(&limits);
    let under_way = call(&mut given_up);
    given_up.give_up(&under_way, at(0));
    assert_eq!(given_up.next(at(0)), Step::Wait(at(1)));
}

#[test]
fn a_run_that_does_not_know_all_it_did_ends_with_one_more_pass() {
    let mut progress = matching(&json!({}));
    answer(&mut progress, &page(5, "a"));
    fail(&mut progress, &lost());
    assert_eq!(asked(&answer(&mut progress, &page(0, ""))).0, Some("a"));
    assert_eq!(asked(&answer(&mut progress, &page(0, "b"))).0, None);
    // Once is enough, whatever happens in that pass.
    fail(&mut progress, &lost());
    assert_eq!(asked(&answer(&mut progress, &page(0, ""))).0, Some("b"));
    assert_eq!(ended(&mut progress), SUCCEEDED);
    assert_eq!(end(&mut progress).message, "resumed at least 5 entries in 4 calls, 0 refused");
    let mut interrupted = matching(&json!({"interruptions": 1, "cursor": "c"}));
    assert_eq!(asked(&answer(&mut interrupted, &page(0, ""))).0, Some("c"));
    assert_eq!(asked(&answer(&mut interrupted, &page(0, ""))).0, None);
    assert_eq!(ended(&mut interrupted), SUCCEEDED, "what the process before did is not known");
    let mut dry = matching(&json!({"interruptions": 1, "cursor": "c", "dryRun": true}));
    answer(&mut dry, &page(1, ""));
    assert_eq!(end(&mut dry).reason, Reason::DryRunSucceeded);
}

#[test]
fn the_last_pass_counts_its_empty_pages_afresh() {
    let mut progress = matching(&json!({"interruptions": 1}));
    for cursor in 0..60 {
        answer(&mut progress, &page(0, &cursor.to_string()));
    }
    answer(&mut progress, &page(0, ""));
    for cursor in 0..60 {
        answer(&mut progress, &page(0, &cursor.to_string()));
    }
    answer(&mut progress, &page(0, ""));
    assert_eq!(ended(&mut progress), SUCCEEDED);
}

#[test]
fn a_cursor_that_was_refused_is_dropped_once() {
    let mut progress = matching(&json!({}));
    answer(&mut progress, &page(5, "a"));
    fail(&mut progress, &error(ErrorClass::Refused));
    assert_eq!(asked(&answer(&mut progress, &page(5, "a"))).0, None);
    assert_eq!((progress.run().processed, progress.run().retries), (10, 1));
    fail(&mut progress, &error(ErrorClass::Refused));
    assert!(matches!(call(&mut progress), Call::List { .. }), "it is not the cursor");
    fail(&mut progress, &error(ErrorClass::Refused));
    assert_eq!(ended(&mut progress), failed(Reason::BadRequest));
    let mut dry = matching(&json!({"dryRun": true}));
    answer(&mut dry, &page(5, "a"));
    fail(&mut dry, &error(ErrorClass::Refused));
    answer(&mut dry, &page(7, ""));
    assert_eq!(end(&mut dry).message, "dry run: 7 entries match, nothing was done");
}

#[test]
fn what_the_api_refuses_ends_the_run_with_the_way_out() {
    let table = [ErrorClass::Unexpected, ErrorClass::NotFound];
    for class in table {
        let mut progress = matching(&json!({}));
        assert_eq!(fail(&mut progress, &error(class)), Failure::GoOn);
        assert_eq!(ended(&mut progress), failed(Reason::BadRequest), "{class:?}");
        assert!(end(&mut progress).message.contains("check spec.filters"), "{class:?}");
    }
    let mut unsendable = listed(1, &json!({}));
    let call = call(&mut unsendable);
    unsendable.unsendable(&call, "the ID \"..\" cannot stand in a URL's path");
    assert_eq!(ended(&mut unsendable), failed(Reason::BadRequest));
}

#[test]
fn a_refused_token_is_somebody_elses_to_mend_and_the_same_call_goes_on() {
    let mut progress = matching(&json!({}));
    answer(&mut progress, &page(5, "a"));
    assert_eq!(fail(&mut progress, &error(ErrorClass::Unauthorized)), Failure::TokenRefused);
    assert_eq!(asked(&answer(&mut progress, &page(5, ""))).0, Some("a"));
    assert_eq!(ended(&mut progress), SUCCEEDED);
    assert_eq!(Outcome::unauthorized("no").not_ready, Some(Reason::Unauthorized));
}

#[test]
fn a_token_that_may_list_but_not_act_is_told_from_one_that_may_do_nothing() {
    let started = [
        ("matching", matching(&json!({})), matching(&json!({}))),
        ("with a cursor", matching(&json!({"cursor": "c"})), matching(&json!({"cursor": "c"}))),
        ("one ID", listed(1, &json!({})), listed(1, &json!({}))),
        ("IDs", listed(60, &json!({})), listed(60, &json!({}))),
    ];
    for (row, mut listing, mut nothing) in started {
        fail(&mut listing, &error(ErrorClass::Forbidden));
        assert!(matches!(call(&mut listing), Call::List { cursor: None, count: 1, .. }), "{row}");
        fail(&mut listing, &error(ErrorClass::Unavailable));
        answer(&mut listing, &page(1, "x"));
        assert_eq!(ended(&mut listing), failed(Reason::Forbidden), "{row}");
        assert_eq!(end(&mut listing).not_ready, Some(Reason::ReadOnlyToken), "{row}");
        assert_eq!((listing.run().processed, listing.run().pages), (0, 0), "{row}");

        fail(&mut nothing, &error(ErrorClass::Forbidden));
        fail(&mut nothing, &error(ErrorClass::Refused));
        assert_eq!(ended(&mut nothing), failed(Reason::Forbidden), "{row}");
        assert_eq!(end(&mut nothing).not_ready, None, "{row}");
    }
    let mut dry = matching(&json!({"dryRun": true}));
    fail(&mut dry, &error(ErrorClass::Forbidden));
    assert_eq!(ended(&mut dry), failed(Reason::Forbidden));
}
