//! Whatever happens in the world, in whatever order: no scheduled time runs twice, no run exceeds its limits, every run ends,
//! and the API server would take every status.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::operations::{Scenario, scenario};
use super::world::World;

/// What the simulation must meet in so many cases.
const MOST_CASES: usize = 1000;
const HAPPENS: [&str; 77] = [
    "a block of a budget",
    "a block of a budget that is given back",
    "a block of a budget without an answer",
    "a call that was given up",
    "a decision on an object that was out of date",
    "a late write counts",
    "a late write undoes nothing",
    "a late approval",
    "a look",
    "a look that failed",
    "a look that was given up",
    "a look that was shared",
    "a newer token in the middle of a run",
    "a run left as its policy was gone",
    "a run acts after its approval",
    "a run acts on all that it counted",
    "a run counts, and needs no approval",
    "a run is approved",
    "a run taken over",
    "a run waits for an approval",
    "a run was approved and waits for its token",
    "a scheduled time came during a run",
    "a write of the run that failed: Checkpoint",
    "a write of the run that failed: Finish",
    "a write that was overtaken",
    "an edit during a turn",
    "an idle policy has begun its work",
    "an idle policy runs at its scheduled time",
    "because: BadRequest",
    "because: Cancelled",
    "because: BudgetSpent",
    "because: CursorLoop",
    "because: DeadlineExceeded",
    "because: DryRunSucceeded",
    "because: Expired",
    "because: Forbidden",
    "because: LimitReached",
    "because: NothingMatched",
    "because: QuotaExceeded",
    "because: RateLimited",
    "because: RunSucceeded",
    "because: Unauthorized",
    "because: UpstreamUnavailable",
    "calls side by side",
    "cancelled: ForceDryRun",
    "cancelled: NotApproved",
    "cancelled: Paused",
    "cancelled: Replaced",
    "cancelled: Requested",
    "cancelled: SpecChanged",
    "cancelled: Suspended",
    "cancelled while it waits for an approval: Requested",
    "cancelled while it waits for an approval: SpecChanged",
    "dry",
    "dry run by request, held: false",
    "dry run by request, held: true",
    "entries that a list showed were left alone",
    "ended: Cancelled",
    "ended: DeadlineExceeded",
    "ended: Failed",
    "ended: LimitReached",
    "ended: Succeeded",
    "everything was told, and once",
    "exhausted entries",
    "held",
    "in doubt at the end of a turn, and then: again",
    "interrupted",
    "missed",
    "refused entries",
    "refused entries, all known",
    "skipped entries",
    "started again with another token",
    "started: Manual",
    "started: Schedule",
    "started: Spec",
    "trial",
    "windows in a status",
];

/// Enough to meet what is listed below; the variable `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    let is_asked = asked.cases != 256;
    ProptestConfig { failure_persistence: None, cases: if is_asked { asked.cases } else { 128 }, ..asked }
}

/// Lets everything of a scenario happen, and its world come to rest.
fn live(scenario: Scenario) -> BTreeSet<String> {
    let mut world = World::new(scenario.spec);
    for operation in scenario.operations {
        world.happen(operation);
    }
    world.calm(&scenario.calm, scenario.calm_secret, scenario.calm_approves);
    world.met()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_policy_keeps_its_promises_whatever_happens(scenario in scenario()) {
        live(scenario);
    }
}

/// A world in which nothing happens would keep every promise.
#[test]
fn the_world_is_not_a_dull_one() {
    let mut wanted = BTreeSet::from(HAPPENS);
    let mut runner = TestRunner::deterministic();
    for _ in 0..MOST_CASES {
        for met in live(scenario().new_tree(&mut runner).unwrap().current()) {
            wanted.remove(met.as_str());
        }
        if wanted.is_empty() {
            return;
        }
    }
    panic!("never met: {wanted:#?}");
}
