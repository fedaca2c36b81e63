//! Schedules over hours of a calm world: which scheduled times run, and which do not.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::operations::{Operation, Slice};
use super::upstash::Fate;
use super::world::World;
use dlq_upstash::error::ErrorClass;

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;

fn at(clock: &str) -> Timestamp {
    format!("2026-11-20T{clock}Z").parse().unwrap()
}

/// A policy that resumes on this schedule, seen for the first time at 12:00:00.3.
fn world(fields: &Value) -> World {
    let mut spec = json!({ "action": "resume", "filters": { "labels": ["a"] } });
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    World::new(spec)
}

/// Looks every so many milliseconds, as a controller would, and at times for no reason. Each run waits as long as Upstash asks
/// its first call to.
fn live(world: &mut World, until: &str, step: i64, run_waits: i64) {
    while world.now() <= at(until) {
        let throttled = Fate::Refused {
            class: ErrorClass::RateLimited,
            retry_after: Some(run_waits.unsigned_abs() / 1000),
        };
        let is_new = world.api.status().current_run.is_none() && run_waits > 0;
        let fates = if is_new { vec![throttled] } else { Vec::new() };
        world.happen(Operation::Turn(Slice { fates, ..Slice::default() }));
        world.pass(step);
    }
}

/// The minutes after twelve of the scheduled times that ran.
fn minutes(world: &World) -> Vec<i64> {
    world.ledger.instants().map(|instant| instant.duration_since(at("12:00:00")).as_mins()).collect()
}

#[test]
fn every_scheduled_time_of_an_idle_policy_runs_once() {
    for fields in [
        json!({}),
        json!({"jitter": "4m"}),
        json!({"concurrencyPolicy": "Replace"}),
        json!({"startingDeadlineSeconds": 10}),
    ] {
        for (waits, step) in [(0, 4 * SECOND), (20 * SECOND, 2700)] {
            let mut fields = fields.clone();
            fields["schedule"] = "*/5 * * * *".into();
            let mut world = world(&fields);
            live(&mut world, "12:19:55", step, waits);
            assert_eq!(minutes(&world), [5, 10, 15], "{fields} {waits}");
            assert_eq!(world.api.status().missed_schedules, 0, "{fields}");
        }
    }
}

#[test]
fn a_run_longer_than_the_interval_lets_scheduled_times_pass_or_is_replaced() {
    let mut forbid = world(&json!({"schedule": "*/5 * * * *"}));
    live(&mut forbid, "12:26:00", 5 * SECOND, 7 * MINUTE);
    assert_eq!(minutes(&forbid), [5, 15, 25]);
    let mut replace = world(&json!({"schedule": "*/5 * * * *", "concurrencyPolicy": "Replace"}));
    live(&mut replace, "12:21:00", 5 * SECOND, 7 * MINUTE);
    assert_eq!((minutes(&replace), replace.api.status().totals.runs), (vec![5, 10, 15, 20], 3));
    assert_eq!(forbid.api.status().missed_schedules + replace.api.status().missed_schedules, 0);
}

#[test]
fn what_passes_while_the_operator_is_down_is_caught_up_once_and_while_suspended_never() {
    let mut down = world(&json!({"schedule": "*/5 * * * *"}));
    live(&mut down, "12:11:00", 5 * SECOND, 0);
    down.pass(20 * MINUTE);
    live(&mut down, "12:36:00", 5 * SECOND, 0);
    assert_eq!((minutes(&down), down.api.status().missed_schedules), (vec![5, 10, 30, 35], 3));
    let mut held = world(&json!({"schedule": "*/5 * * * *"}));
    for (suspend, until) in [(false, "12:06:00"), (true, "12:26:00"), (false, "12:31:00")] {
        held.happen(Operation::Edit(json!({"suspend": suspend})));
        live(&mut held, until, 5 * SECOND, 0);
    }
    assert_eq!((minutes(&held), held.api.status().missed_schedules), (vec![5, 30], 0));
}

#[test]
fn a_policy_that_fires_every_second_under_a_clock_that_jumps_runs_no_time_twice() {
    let mut world = world(&json!({"schedule": "@every 1s", "jitter": "1h"}));
    for (from, until) in [
        ("12:00:00.5", "12:00:20"),
        ("12:00:10", "12:00:30"),
        ("11:59:00", "11:59:20"),
        ("12:00:25", "12:01:00"),
    ] {
        let jump = at(from).duration_since(world.now());
        world.happen(Operation::Jump(i64::try_from(jump.as_millis()).unwrap()));
        live(&mut world, until, 170, 0);
    }
    assert!(world.ledger.instants().count() > 50, "{}", world.ledger.instants().count());
}
