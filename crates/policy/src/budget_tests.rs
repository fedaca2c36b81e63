use proptest::prelude::*;

use super::*;

fn at(clock: &str) -> Timestamp {
    format!("2026-11-20T{clock}Z").parse().unwrap()
}

fn a_day(limit: u64) -> BudgetLimits {
    BudgetLimits { max_entries_per_day: Some(limit), ..BudgetLimits::default() }
}

fn spent(entries: u64) -> Spent {
    Spent { day: "2026-11-20".parse().unwrap(), entries }
}

/// What of an allowance was granted.
fn entries(allowance: Allowance) -> Option<u64> {
    if let Allowance::Granted(grant) = allowance { Some(grant.entries) } else { None }
}

fn unused(entries: i64) -> Unused {
    Unused { entries, day: Some(spent(0).day) }
}

/// What is to be written down, and is.
fn settled(
    budget: &mut Budget,
    limits: &BudgetLimits,
    status: u64,
    after: i64,
    clock: &str,
) -> Option<Spent> {
    let for_so_long = SignedDuration::from_secs(after);
    budget.settle(limits, Some(spent(status)), for_so_long, at(clock)).map(|settlement| settlement.next)
}

#[test]
fn a_block_is_written_down_before_anything_of_it_is_granted() {
    let (mut budget, limits) = (Budget::default(), a_day(1000));
    let reserved = budget.take(&limits, None, 10, at("12:00:00"));
    let Allowance::Reserve(written) = reserved else { panic!("{reserved:?}") };
    assert_eq!(written, spent(20), "a fiftieth of the day");
    budget.reserved(None, written);
    assert_eq!(entries(budget.take(&limits, Some(spent(20)), 10, at("12:00:00"))), Some(10));
    assert_eq!(entries(budget.take(&limits, Some(spent(20)), 50, at("12:00:00"))), Some(10));
    let next = budget.take(&limits, Some(spent(20)), 50, at("12:00:00"));
    assert_eq!(next, Allowance::Reserve(spent(70)), "never less than is asked for");
}

#[test]
fn the_last_block_is_what_is_left_of_the_day_and_then_the_budget_is_spent() {
    let (mut budget, limits) = (Budget::default(), a_day(100));
    let last = Allowance::Reserve(spent(100));
    assert_eq!(budget.take(&limits, Some(spent(95)), 50, at("12:00:00")), last);
    assert_eq!(budget.take(&limits, Some(spent(100)), 50, at("12:00:00")), Allowance::Spent);
    assert_eq!(
        budget.take(&a_day(10), Some(spent(95)), 1, at("12:00:00")),
        Allowance::Spent,
        "it was lowered"
    );
}

#[test]
fn a_day_is_that_of_the_connections_time_zone() {
    let berlin = BudgetLimits { zone: Some(TimeZone::get("Europe/Berlin").unwrap()), ..a_day(100) };
    let mut budget = Budget::default();
    assert_eq!(budget.take(&berlin, Some(spent(100)), 1, at("22:59:59")), Allowance::Spent);
    let tomorrow = Spent { day: "2026-11-21".parse().unwrap(), entries: 2 };
    assert_eq!(budget.take(&berlin, Some(spent(100)), 1, at("23:00:00")), Allowance::Reserve(tomorrow));
}

#[test]
fn what_is_left_of_a_block_is_lost_with_its_day() {
    let (mut budget, limits) = (Budget::default(), a_day(1000));
    budget.reserved(None, spent(20));
    let next_day: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
    let reserved = budget.take(&limits, Some(spent(20)), 5, next_day);
    assert_eq!(reserved, Allowance::Reserve(Spent { day: "2026-11-21".parse().unwrap(), entries: 20 }));
}

#[test]
fn what_nobody_takes_for_a_while_is_given_back() {
    let (mut budget, limits) = (Budget::default(), a_day(1000));
    budget.reserved(Some(spent(40)), spent(60));
    assert_eq!(entries(budget.take(&limits, Some(spent(60)), 15, at("12:00:00"))), Some(15));
    budget.give_back(unused(5), &limits, at("12:00:01"));
    assert_eq!(settled(&mut budget, &limits, 60, 5, "12:00:04"), None, "somebody may take it yet");
    assert_eq!(settled(&mut budget, &limits, 60, 5, "12:00:05"), Some(spent(50)));
    assert_eq!(settled(&mut budget, &limits, 50, 5, "12:00:10"), None);
}

#[test]
fn a_settlement_that_may_have_been_written_is_not_granted_again() {
    let (limits, now) = (a_day(1000), at("12:00:00"));
    for (in_doubt, expected) in
        [(true, Allowance::Reserve(spent(30))), (false, Allowance::Granted(a_grant(10)))]
    {
        let mut budget = Budget::default();
        budget.reserved(None, spent(20));
        let settlement = budget.settle(&limits, Some(spent(20)), SignedDuration::ZERO, now).unwrap();
        if !in_doubt {
            budget.not_settled(settlement);
        }
        let status = Some(spent(if in_doubt { 10 } else { 20 }));
        assert_eq!(budget.take(&limits, status, 10, now), expected, "in doubt: {in_doubt}");
    }
}

/// Of the sample day, which ends at midnight.
fn a_grant(entries: u64) -> Grant {
    Grant { entries, day: Some(spent(0).day), until: "2026-11-21T00:00:00Z".parse().unwrap() }
}

#[test]
fn what_was_granted_yesterday_is_no_part_of_todays_block() {
    let (mut budget, limits) = (Budget::default(), a_day(20));
    budget.reserved(None, spent(20));
    assert_eq!(budget.take(&limits, Some(spent(20)), 20, at("23:59:59")), Allowance::Granted(a_grant(20)));
    let (today, now): (Date, Timestamp) =
        ("2026-11-21".parse().unwrap(), "2026-11-21T00:00:01Z".parse().unwrap());
    let status = Some(Spent { day: today, entries: 20 });
    budget.reserved(None, Spent { day: today, entries: 20 });
    assert_eq!(entries(budget.take(&limits, status, 20, now)), Some(20));
    budget.give_back(unused(20), &limits, now);
    assert_eq!(budget.take(&limits, status, 1, now), Allowance::Spent);
}

#[test]
fn a_clock_that_is_behind_opens_no_second_budget() {
    let (mut budget, limits) = (Budget::default(), a_day(100));
    let tomorrow = Some(Spent { day: "2026-11-21".parse().unwrap(), entries: 100 });
    assert_eq!(budget.take(&limits, tomorrow, 1, at("23:59:58")), Allowance::Spent);
    let astray = Some(Spent { day: "2026-12-24".parse().unwrap(), entries: 100 });
    assert_eq!(budget.take(&limits, astray, 1, at("12:00:00")), Allowance::Reserve(spent(2)));
}

#[test]
fn an_answer_that_is_larger_than_asked_for_is_counted() {
    let (mut budget, limits) = (Budget::default(), a_day(100));
    budget.reserved(None, spent(10));
    assert_eq!(entries(budget.take(&limits, Some(spent(10)), 10, at("12:00:00"))), Some(10));
    budget.give_back(unused(-7), &limits, at("12:00:01"));
    let next = budget.take(&limits, Some(spent(10)), 5, at("12:00:02"));
    assert_eq!(next, Allowance::Reserve(spent(22)));
    budget.reserved(Some(spent(10)), spent(22));
    assert_eq!(entries(budget.take(&limits, Some(spent(22)), 50, at("12:00:03"))), Some(5));
}

#[test]
fn what_was_overdrawn_is_counted_until_that_is_known_to_be_written() {
    let (limits, now) = (a_day(100), at("12:00:02"));
    for (is_written, expected) in [(false, spent(21)), (true, spent(18))] {
        let mut budget = Budget::default();
        budget.reserved(None, spent(10));
        assert_eq!(entries(budget.take(&limits, Some(spent(10)), 10, at("12:00:00"))), Some(10));
        budget.give_back(unused(-3), &limits, at("12:00:01"));
        let settlement = budget.settle(&limits, Some(spent(10)), SignedDuration::ZERO, now).unwrap();
        assert_eq!(settlement.next, spent(13));
        if is_written {
            budget.settled(&settlement);
        }
        let status = Some(spent(13));
        let next = budget.take(&limits, status, 5, now);
        assert_eq!(next, Allowance::Reserve(expected), "written: {is_written}");
    }
}

#[test]
fn a_count_that_cannot_be_read_is_not_taken_for_none() {
    let status = |day: Option<&str>, entries_today| ConnectionStatus {
        day: day.map(str::to_owned),
        entries_today,
        ..ConnectionStatus::default()
    };
    assert_eq!(Spent::of(&status(None, None)), Ok(None));
    assert_eq!(Spent::of(&status(Some("2026-11-20"), Some(7))), Ok(Some(spent(7))));
    for unreadable in [
        status(Some("yesterday"), Some(7)),
        status(Some("2026-11-20"), Some(-1)),
        status(Some("2026-11-20"), None),
        status(None, Some(7)),
    ] {
        assert_eq!(Spent::of(&unreadable), Err(UnreadableCount), "{unreadable:?}");
    }
}

#[test]
fn all_policies_share_the_rate() {
    let limits = BudgetLimits { entries_per_second: Some(10), ..BudgetLimits::default() };
    let mut budget = Budget::default();
    assert_eq!(entries(budget.take(&limits, None, 50, at("12:00:00"))), Some(10));
    assert_eq!(budget.take(&limits, None, 1, at("12:00:00.5")), Allowance::Later(at("12:00:01")));
    assert_eq!(entries(budget.take(&limits, None, 5, at("12:00:01"))), Some(5));
    assert_eq!(budget.take(&limits, None, 5, at("12:00:01.2")), Allowance::Later(at("12:00:01.5")));
    assert_eq!(budget.take(&limits, None, 5, at("11:00:00")), Allowance::Later(at("11:00:01")), "set back");
    budget.give_back(Unused { entries: 5, day: None }, &limits, at("12:00:01.2"));
    assert_eq!(
        entries(budget.take(&limits, None, 5, at("12:00:01.2"))),
        Some(5),
        "what was not used takes no time"
    );
}

proptest! {
    /// A world with a few processes, which die with what they hold, on one status.
    #[test]
    fn the_count_of_a_day_is_never_too_low_and_nobody_acts_beyond_the_limit(
        limit in 1_u64..400,
        steps in proptest::collection::vec((0_usize..3, 1_u64..60, 0_u8..10, 0_u64..60), 1..200),
    ) {
        let limits = a_day(limit);
        let mut processes: Vec<Budget> = (0..3).map(|_| Budget::default()).collect();
        let (mut status, mut acted, mut now) = (None, 0_u64, at("01:00:00"));
        for (who, wanted, what, used) in steps {
            now = after(now, SignedDuration::from_secs(1));
            let budget = &mut processes[who];
            match what {
                0 => *budget = Budget::default(),
                // With an answer, and without one.
                1 | 2 => if let Some(settlement) = budget.settle(&limits, status, SignedDuration::ZERO, now) {
                    status = Some(settlement.next);
                    if what == 1 {
                        budget.settled(&settlement);
                    }
                },
                _ => {
                    let allowance = match budget.take(&limits, status, wanted, now) {
                        Allowance::Reserve(written) => {
                            budget.reserved(status, written);
                            status = Some(written);
                            budget.take(&limits, status, wanted, now)
                        }
                        other => other,
                    };
                    if let Allowance::Granted(Grant { entries, day, .. }) = allowance {
                        prop_assert!(entries <= wanted);
                        let used = used.min(entries);
                        acted += used;
                        let entries = i64::try_from(entries - used).unwrap();
                        budget.give_back(Unused { entries, day }, &limits, now);
                    }
                }
            }
            prop_assert!(acted <= status.map_or(0, |spent| spent.entries), "{acted} of {status:?}");
            prop_assert!(acted <= limit);
            prop_assert!(status.is_none_or(|spent| spent.entries <= limit));
        }
    }
}
