//! Keeps books on approvals: nothing is acted on before one that is needed, and a run that waits does nothing else.

use super::ledger::{Ledger, asked};
use crate::{Policy, Selected};
use dlq_crd::{DlqPolicyStatus, PolicyRun};
use dlq_upstash::types::Call;

/// Whether the run waits for an approval, as its status says.
pub(super) fn awaits_approval(run: &PolicyRun) -> bool {
    run.approval_id.is_some() && run.approved_time.is_none()
}

impl Ledger {
    /// Somebody approves the run that waits under this ID, or one that waited and has ended.
    pub(super) fn approve(&mut self, waits: Option<&str>, waited: Option<&str>) {
        match (waits, waited) {
            (Some(id), _) => self.approved.extend([id.to_owned()]),
            (None, Some(_)) => self.meet("a late approval"),
            (None, None) => {}
        }
    }

    /// A status was written during a run.
    pub(super) fn check_wait(&mut self, before: &DlqPolicyStatus, after: &DlqPolicyStatus) {
        let (Some(was), Some(is)) = (&before.current_run, &after.current_run) else { return };
        assert!(was.matched.is_none() || was.matched == is.matched, "what was counted changes");
        assert!(was.approval_id.is_none() || was.approval_id == is.approval_id, "asks twice");
        assert!(was.approved_time.is_none() || was.approved_time == is.approved_time, "is approved twice");
        if awaits_approval(is) {
            self.meet("a run waits for an approval");
            assert_eq!(is.holder.as_deref(), Some(""), "a process holds a run that waits");
            assert_eq!(
                (is.processed, is.position, is.uncertain_pages),
                (0, 0, 0),
                "acted before its approval"
            );
        }
        if let (true, Some(id)) = (is.approved_time.is_some(), &is.approval_id) {
            assert!(self.approved.contains(id), "nobody approved {id}");
            if is.holder.as_deref() == Some("") && was.approved_time.is_none() {
                self.meet("a run was approved and waits for its token");
            }
        }
    }

    /// A process is about to call: nothing but lists before the approval, and for no more than was counted.
    pub(super) fn check_approval(&mut self, policy: &Policy, run: &PolicyRun, call: &Call, being_asked: i64) {
        assert!(!awaits_approval(run), "calls while it waits for an approval");
        let Some(threshold) = run.limits.as_ref().and_then(|limits| limits.approval_above) else { return };
        if run.dry_run || !call.operation().acts() {
            return;
        }
        let limit = run.limits.as_ref().and_then(|limits| limits.max_entries_per_run);
        let named = match policy.work.as_ref().map(|work| &work.selected) {
            Ok(Selected::Ids(ids)) => i64::try_from(ids.len()).ok(),
            _ => None,
        };
        if [limit, named].into_iter().flatten().min().is_some_and(|most| most <= threshold) {
            return;
        }
        let matched = run.matched.expect("acts before it has counted");
        let left = matched - run.processed - being_asked;
        // The question whether an entry that nobody has is refused acts on none.
        let asked = asked(call, false).unwrap_or_default();
        assert!(asked <= left || (asked == 1 && left == 0), "asks for {asked}, {left} of {matched} are left");
        if matched > threshold {
            let id = run.approval_id.as_ref().expect("acts, and never asked");
            assert!(self.approved.contains(id), "acts before its approval");
            self.meet("a run acts after its approval");
        } else {
            self.meet("a run counts, and needs no approval");
        }
        if asked == left {
            self.meet("a run acts on all that it counted");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::simulation_tests::operations::{Operation, Slice};
    use crate::simulation_tests::world::World;
    use dlq_crd::RunResult;

    /// Turns are taken until the status is as wished.
    fn until(world: &mut World, wished: fn(&DlqPolicyStatus) -> bool) -> DlqPolicyStatus {
        for _ in 0..20 {
            let status = world.api.status();
            if wished(&status) {
                return status;
            }
            world.pass(1000);
            world.happen(Operation::Turn(Slice::default()));
        }
        panic!("it never comes to that: {:#?}", world.api.status());
    }

    fn dying_after(steps: u8) -> Operation {
        Operation::Turn(Slice { crash_after: Some(steps), latency: 5, every_page: true, ..Slice::default() })
    }

    #[test]
    fn wherever_a_process_dies_a_run_waits_for_its_approval_and_then_does_what_was_approved() {
        let spec = json!({
            "action": "restart", "filters": { "labels": ["a"] },
            "limits": { "pageSize": 20, "approvalAbove": 40 },
        });
        let (mut asked_at_once, mut acted_at_once) = (0, 0);
        for steps in 0..60 {
            let mut world = World::new(spec.clone());
            world.happen(dying_after(steps));
            asked_at_once += u32::from(world.api.status().current_run.as_ref().is_some_and(awaits_approval));
            let waiting =
                until(&mut world, |status| status.current_run.as_ref().is_some_and(awaits_approval));
            let run = waiting.current_run.unwrap();
            assert_eq!((run.matched, run.processed), (Some(48), 0), "{steps}");
            world.happen(Operation::Approve);
            world.happen(dying_after(steps));
            acted_at_once += u32::from(world.api.status().current_run.is_none());
            let ended = until(&mut world, |status| status.current_run.is_none()).last_run.unwrap();
            assert_eq!((&ended.approval_id, ended.result), (&run.approval_id, Some(RunResult::Succeeded)));
            let criteria =
                dlq_upstash::types::Criteria { labels: vec!["a".to_owned()], ..Default::default() };
            assert_eq!(world.upstash.count(&criteria), 0, "{steps}: something is left");
        }
        assert!(asked_at_once > 10 && acted_at_once > 10, "dies too early: {asked_at_once}, {acted_at_once}");
        assert!(asked_at_once < 50 && acted_at_once < 50, "dies too late: {asked_at_once}, {acted_at_once}");
    }
}
