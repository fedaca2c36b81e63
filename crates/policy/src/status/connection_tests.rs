use super::*;

fn at(clock: &str) -> Timestamp {
    format!("2026-11-20T{clock}Z").parse().unwrap()
}

fn error(class: ErrorClass, status: u16) -> Checked {
    Checked::Asked(Err(ApiError { class, status: Some(status), ..ApiError::transport("refused", true) }))
}

fn ready(status: &ConnectionStatus) -> (&str, &str) {
    let ready = find(&status.conditions, ConditionType::Ready).unwrap();
    (ready.status.as_str(), ready.reason.as_str())
}

fn kstatus(status: &ConnectionStatus) -> Option<&str> {
    let types = status.conditions.iter().map(|condition| condition.type_.as_str());
    types.filter(|kind| *kind != "Ready").reduce(|_, _| "both")
}

fn looked(before: &ConnectionStatus, checked: &Checked, clock: &str) -> ConnectionStatus {
    connection(before, 1, Some(checked), Users { policies: Some(2), is_read_only: Some(false) }, at(clock))
}

#[test]
fn a_look_says_whether_the_token_works() {
    let missing = Checked::Invalid(Invalid::new(Reason::SecretNotFound, "create it"));
    let broken = Checked::Invalid(Invalid::new(Reason::SecretInvalid, "put a token there"));
    for (checked, expected, kind) in [
        (Checked::Asked(Ok(())), ("True", "Connected"), None),
        (missing, ("False", "SecretNotFound"), Some("Reconciling")),
        (broken, ("False", "SecretInvalid"), Some("Stalled")),
        (error(ErrorClass::Unauthorized, 401), ("False", "Unauthorized"), Some("Stalled")),
        (error(ErrorClass::Forbidden, 403), ("False", "Forbidden"), Some("Stalled")),
        (error(ErrorClass::RateLimited, 429), ("True", "Connected"), None),
        (error(ErrorClass::Unavailable, 503), ("Unknown", "UpstreamUnavailable"), Some("Reconciling")),
    ] {
        let status = looked(&ConnectionStatus::default(), &checked, "12:00:00");
        assert_eq!((ready(&status), kstatus(&status)), (expected, kind), "{checked:?}");
        assert_eq!((status.observed_generation, status.policies), (Some(1), Some(2)));
    }
}

#[test]
fn the_token_is_tried_every_ten_minutes_and_at_once_after_an_edit() {
    let new = ConnectionStatus::default();
    assert!(next_check(&new, 1) <= at("12:00:00"));
    let status = looked(&new, &Checked::Asked(Ok(())), "12:00:00");
    assert_eq!(next_check(&status, 1), at("12:10:00"));
    assert!(next_check(&status, 2) <= at("12:00:00"), "an edit");
    let unknown = looked(&new, &error(ErrorClass::Unavailable, 503), "12:00:00");
    assert_eq!(next_check(&unknown, 1), at("12:01:00"));
    let missing = Checked::Invalid(Invalid::new(Reason::SecretNotFound, "create it"));
    assert!(next_check(&looked(&new, &missing, "12:00:00"), 1) <= at("12:00:00"), "it was never tried");
}

#[test]
fn an_answer_that_does_not_come_says_nothing_of_a_token_that_worked() {
    let works = looked(&ConnectionStatus::default(), &Checked::Asked(Ok(())), "12:00:00");
    let still = looked(&works, &error(ErrorClass::Unavailable, 503), "12:10:00");
    assert_eq!(ready(&still), ("True", "Connected"));
    assert_eq!(next_check(&still, 1), at("12:20:00"));
    let edited =
        connection(&works, 2, Some(&error(ErrorClass::Unavailable, 503)), Users::default(), at("12:11:00"));
    assert_eq!(ready(&edited), ("Unknown", "UpstreamUnavailable"));
}

#[test]
fn that_a_token_is_read_only_is_told_by_the_policies_that_were_refused() {
    let works = looked(&ConnectionStatus::default(), &Checked::Asked(Ok(())), "12:00:00");
    let users = |is_read_only| Users { policies: Some(2), is_read_only: Some(is_read_only) };
    let told = connection(&works, 1, None, users(true), at("12:00:05"));
    assert_eq!((ready(&told), kstatus(&told)), (("False", "ReadOnlyToken"), Some("Stalled")));
    assert_eq!(told.last_check_time, works.last_check_time);
    assert_eq!(ready(&looked_by(&told, users(true))), ("False", "ReadOnlyToken"), "listing works as before");
    let back = connection(&told, 1, None, users(false), at("12:00:10"));
    assert_eq!((ready(&back), kstatus(&back)), (("True", "Connected"), None));
}

fn looked_by(before: &ConnectionStatus, users: Users) -> ConnectionStatus {
    connection(before, 1, Some(&Checked::Asked(Ok(()))), users, at("12:10:00"))
}

#[test]
fn a_process_that_does_not_see_all_policies_leaves_what_they_tell_alone() {
    let works = looked(&ConnectionStatus::default(), &Checked::Asked(Ok(())), "12:00:00");
    let other = connection(&works, 1, None, Users::default(), at("12:00:05"));
    assert_eq!(other, works);
    let users = Users { policies: Some(2), is_read_only: Some(true) };
    let read_only = connection(&works, 1, None, users, at("12:00:05"));
    assert_eq!(connection(&read_only, 1, None, Users::default(), at("12:00:06")), read_only);
}

#[test]
fn what_becomes_of_the_token_is_told_once() {
    let told = |before: &ConnectionStatus, after: &ConnectionStatus| {
        events(before, after).into_iter().map(|event| event.reason.as_str()).collect::<Vec<_>>()
    };
    let new = ConnectionStatus::default();
    let works = looked(&new, &Checked::Asked(Ok(())), "12:00:00");
    let still = looked(&works, &Checked::Asked(Ok(())), "12:10:00");
    let unknown = looked(&new, &error(ErrorClass::Unavailable, 503), "12:00:00");
    let refused = looked(&still, &error(ErrorClass::Unauthorized, 401), "12:20:00");
    assert_eq!(told(&new, &works), ["Connected"]);
    assert!(told(&works, &still).is_empty(), "nothing new");
    assert!(told(&new, &unknown).is_empty(), "an answer that does not come tells nothing");
    assert_eq!(told(&still, &refused), ["Unauthorized"]);
    assert!(events(&still, &refused)[0].reason.is_warning());
    assert_eq!(told(&refused, &works), ["Connected"]);
}

#[test]
fn a_spent_budget_is_told_with_the_day_and_the_way_out() {
    let event = budget_spent("2026-11-20".parse().unwrap(), 200);
    assert_eq!((event.reason.as_str(), event.reason.is_warning()), ("BudgetSpent", true));
    assert_eq!(
        event.text,
        "the 200 entries of limits.maxEntriesPerDay are spent on 2026-11-20; runs end as LimitReached until that day \
         is past or the limit is raised"
    );
}
