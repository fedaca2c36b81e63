//! Plans and statuses in turn, over simulated time.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::*;
use dlq_crd::MilliTime;

/// What happens to a policy over simulated time.
struct Simulation {
    policy: Known,
    status: DlqPolicyStatus,
    /// How long each run takes.
    takes: SignedDuration,
    /// The scheduled times that a run was started for.
    started: Vec<Timestamp>,
}

impl Simulation {
    fn new(fields: &Value, takes: SignedDuration) -> Self {
        Self { policy: policy(fields), status: DlqPolicyStatus::default(), takes, started: Vec::new() }
    }

    /// Looks every so often, as a controller would, and at times for no reason.
    fn run(&mut self, from: Timestamp, until: Timestamp, step: SignedDuration) {
        let mut now = from;
        while now <= until {
            let plan = plan(&self.policy, &self.status, now);
            let status = observed(&self.policy, &self.status, &plan, now);
            self.status = match plan {
                Plan::Start(start) => {
                    self.started.extend(start.run.scheduled_time.map(MilliTime::timestamp));
                    claimed(&self.policy, &status, start, "pod", now)
                }
                Plan::Continue { run } if run.start_time.timestamp() + self.takes <= now => {
                    finished(&self.policy, &status, &run, &well(), now)
                }
                Plan::Cancel { run, why } => finished(&self.policy, &status, &run, &why.outcome(&run), now),
                _ => status,
            };
            // What is written is what is read back.
            let written = serde_json::to_value(&self.status).unwrap();
            self.status = serde_json::from_value(written).unwrap();
            now += step;
        }
    }

    fn minutes(&self) -> Vec<i64> {
        self.started.iter().map(|start| start.duration_since(at("12:00:00")).as_mins()).collect()
    }

    fn assert_no_instant_runs_twice(&self) {
        let once: BTreeSet<_> = self.started.iter().collect();
        assert_eq!(once.len(), self.started.len(), "{:?}", self.started);
    }
}

#[test]
fn every_instant_of_an_idle_policy_runs_once() {
    let schedules = [
        json!({}),
        json!({"jitter": "4m"}),
        json!({"concurrencyPolicy": "Replace"}),
        json!({"startingDeadlineSeconds": 10}),
    ];
    for mut fields in schedules {
        fields["schedule"] = "*/5 * * * *".into();
        for (takes, step) in [(0, 4000), (20_000, 2700)] {
            let mut simulation = Simulation::new(&fields, SignedDuration::from_millis(takes));
            simulation.run(at("12:00:00.3"), at("12:19:59"), SignedDuration::from_millis(step));
            simulation.assert_no_instant_runs_twice();
            assert_eq!(simulation.minutes(), [5, 10, 15], "{fields} {takes}");
            assert_eq!(simulation.status.missed_schedules, 0, "{fields}");
        }
    }
}

#[test]
fn a_run_longer_than_the_interval_lets_instants_pass_or_is_replaced() {
    let step = SignedDuration::from_secs(5);
    let mut forbid = Simulation::new(&json!({"schedule": "*/5 * * * *"}), SignedDuration::from_mins(7));
    forbid.run(at("12:00:01"), at("12:26:00"), step);
    assert_eq!(forbid.minutes(), [5, 15, 25]);
    let fields = json!({"schedule": "*/5 * * * *", "concurrencyPolicy": "Replace"});
    let mut replace = Simulation::new(&fields, SignedDuration::from_mins(7));
    replace.run(at("12:00:01"), at("12:21:00"), step);
    assert_eq!(replace.minutes(), [5, 10, 15, 20]);
    assert_eq!(replace.status.totals.runs, 3);
    assert_eq!((forbid.status.missed_schedules, replace.status.missed_schedules), (0, 0));
}

#[test]
fn what_passes_while_the_operator_is_down_is_caught_up_once_and_while_held_never() {
    let (second, step) = (SignedDuration::from_secs(1), SignedDuration::from_secs(5));
    let mut down = Simulation::new(&json!({"schedule": "*/5 * * * *"}), second);
    down.run(at("12:00:01"), at("12:11:00"), step);
    down.run(at("12:31:00"), at("12:36:00"), step);
    assert_eq!(down.minutes(), [5, 10, 30, 35]);
    assert_eq!(down.status.missed_schedules, 3);
    down.assert_no_instant_runs_twice();
    let mut held = Simulation::new(&json!({"schedule": "*/5 * * * *"}), second);
    held.run(at("12:00:01"), at("12:06:00"), step);
    held.policy.suspend = true;
    held.run(at("12:06:01"), at("12:26:00"), step);
    held.policy.suspend = false;
    held.run(at("12:26:01"), at("12:31:00"), step);
    assert_eq!(held.minutes(), [5, 30]);
    assert_eq!(held.status.missed_schedules, 0);
}

#[test]
fn a_policy_that_fires_every_second_under_a_clock_that_jumps_runs_no_instant_twice() {
    let mut simulation =
        Simulation::new(&json!({"schedule": "@every 1s", "jitter": "1h"}), SignedDuration::ZERO);
    let step = SignedDuration::from_millis(170);
    for (from, until) in [
        ("12:00:00.5", "12:00:20"),
        ("12:00:10", "12:00:30"),
        ("11:59:00", "11:59:20"),
        ("12:00:25", "12:01:00"),
    ] {
        simulation.run(at(from), at(until), step);
    }
    simulation.assert_no_instant_runs_twice();
    assert!(simulation.started.len() > 50, "{}", simulation.started.len());
}
