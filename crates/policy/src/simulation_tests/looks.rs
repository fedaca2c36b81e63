//! Looks at what waits: they only list, are bounded, and no run waits for them.

use jiff::{SignedDuration, Timestamp};

use super::operations::Slice;
use super::upstash::{self, Fate};
use super::world::World;
use crate::attempt::{Attempt, Looked};
use crate::backlog::{Look, LookStep, due_after};
use crate::{Connectivity, Facts, Plan, plan};
use dlq_crd::Trigger;
use dlq_upstash::types::{Call, Criteria};

/// A look under way: what it finds, and when.
pub(super) struct Looking {
    pub(super) looked: Looked,
    pub(super) lands: Timestamp,
}

/// A look that a process made.
#[derive(Clone, Debug)]
pub(super) struct LastLook {
    counted: String,
    account: u64,
    looked: Looked,
}

impl World {
    /// A process looks, or knows what it found within the interval.
    pub(super) fn begin_look(
        &mut self,
        attempt: &Attempt,
        look: Look,
        account: u64,
        slice: &mut Slice,
    ) -> Looking {
        assert!(slice.looks, "looks in a turn that runs wait for");
        assert!(attempt.run().is_none(), "looks during a run");
        self.check_nothing_is_due();
        let known = self.process.looked.as_ref().filter(|last| {
            let began = match &last.looked {
                Looked::Counted(counted) => counted.observed_time.0,
                Looked::Failed { at } => *at,
            };
            (last.counted.as_str(), last.account) == (look.counted(), account)
                && due_after(began, look.interval(), look.at()) > look.at()
        });
        if let Some(known) = known {
            self.ledger.meet("a look that was shared");
            return Looking { looked: known.looked.clone(), lands: self.time };
        }
        let counted = look.counted().to_owned();
        let (looked, calls) = self.list(look, account, slice);
        self.process.looked = Some(LastLook { counted, account, looked: looked.clone() });
        self.ledger.meet(if matches!(looked, Looked::Counted(_)) { "a look" } else { "a look that failed" });
        Looking { looked, lands: self.time + SignedDuration::from_millis(slice.latency) * calls }
    }

    /// All calls of a look, at once.
    fn list(&mut self, mut look: Look, account: u64, slice: &mut Slice) -> (Looked, i32) {
        let policy = self.api.version(self.process.knows).policy(&self.process.permissions);
        let backlog = policy.backlog.expect("asked for");
        let most = backlog.count_up_to.div_ceil(100) + 101;
        let (at, right) = (look.at(), self.secret.right_of(u8::try_from(account).unwrap()));
        let (mut calls, mut is_plain) = (0, true);
        let mut of_what = None;
        loop {
            let call = match look.next() {
                LookStep::List(call) => call,
                LookStep::Done(found) => {
                    assert!(found.entries <= backlog.count_up_to.into(), "{found:?}");
                    if let Some(there) = of_what.filter(|_| is_plain).map(|of| self.upstash.count(&of)) {
                        let counted = (found.entries, found.at_least);
                        let most = i64::from(backlog.count_up_to);
                        assert_eq!(counted, (there.min(most), there > most), "{there} are there");
                    }
                    return (Looked::Counted(found), calls);
                }
            };
            calls += 1;
            assert!(u32::try_from(calls).unwrap() <= most, "{calls} calls of {most}");
            let Call::List { criteria, count, .. } = &call else { panic!("a look acts: {call:?}") };
            assert!((1..=100).contains(count));
            let now = self.now() + self.process.clock_offset;
            assert!(criteria.to_date.is_some_and(|to| to <= now.as_millisecond()), "looks into the future");
            let fate = slice.fates.pop().unwrap_or_else(|| slice.otherwise.clone());
            is_plain &= matches!(fate, Fate::Served | Fate::Refail);
            of_what = Some(Criteria::clone(criteria));
            let served = self.upstash.serve(&call, &fate, right, self.time);
            assert_eq!(served.acted, 0, "a look acts");
            match served.answer {
                upstash::Answer::Page(page) => look.answered(&page),
                upstash::Answer::Error(error) if look.failed(&call, &error) => is_plain = false,
                upstash::Answer::Error(_) | upstash::Answer::Abandoned => {
                    return (Looked::Failed { at }, calls);
                }
            }
        }
    }

    /// As far as the process knows, no scheduled time waits while it looks.
    pub(super) fn check_nothing_is_due(&self) {
        let known = self.api.version(self.process.knows);
        let facts = Facts { connection: Some(Connectivity::Usable), ..Facts::default() };
        let plan = plan(&known.policy(&self.process.permissions), &known.status(), &facts, self.now());
        let is_due = matches!(&plan, Ok(Plan::Start(start)) if start.run.trigger == Trigger::Schedule);
        assert!(!is_due, "a run waits for a look: {plan:?}");
    }
}
