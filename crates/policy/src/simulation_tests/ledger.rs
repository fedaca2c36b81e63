//! Keeps its own books of what happened, and holds every status that is written against them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::approvals::awaits_approval;
use super::side_by_side::check_windows;
use crate::spec::policy::{Mode, Request, Work};
use crate::{CancelCause, Plan, Policy, Schedule, Selected};
use dlq_crd::{
    ConcurrencyPolicy, DlqPolicyStatus, Limits, MilliTime, PolicyRun, Reason, RequestedMode, RunResult,
    RunSummary, SpecTrigger, Totals, Trigger,
};
use dlq_upstash::types::{Call, Selection};

/// A run: an ID comes again where the same work is asked for again.
pub(super) type RunKey = (String, MilliTime);

pub(super) fn key(run: &PolicyRun) -> RunKey {
    (run.id.clone(), run.start_time)
}

/// So many scheduled times are looked at one by one.
const MOST_COUNTED: i64 = 5000;

/// What one run really did.
#[derive(Debug, Default)]
struct Deeds {
    /// Entries acted on.
    acted: i64,
    /// Entries shown or acknowledged.
    shown: i64,
    /// Entries that pages brought beyond what was asked for.
    beyond: i64,
}

/// When a process sent a write, as it read its clock, and what it took for the way to Upstash's.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) now: Timestamp,
    pub(super) clock_offset: SignedDuration,
}

/// The books.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// What was met on the way, to know that the world is not a dull one.
    pub(super) met: BTreeSet<String>,
    runs: BTreeMap<RunKey, Deeds>,
    instants: BTreeSet<Timestamp>,
    /// The latest scheduled time that was run or told as missed.
    told: Option<Timestamp>,
    /// Of each run: the scheduled times, after the first and up to the second, that it is known to have kept from
    /// starting.
    kept: BTreeMap<RunKey, (Timestamp, Timestamp)>,
    /// The latest time that was read, and whether the clock was ever set back behind it: what was seen before is then not
    /// told apart any more.
    latest: Option<Timestamp>,
    was_set_back: bool,
    /// The token was refused for work without a schedule: another one starts it again.
    is_owed: bool,
    /// Somebody looked at the policy before.
    is_seen: bool,
    /// The schedule, and since when nothing holds it.
    open: Option<(String, Timestamp)>,
    /// The values last handled.
    request: Option<String>,
    cancel: Option<String>,
    reset: Option<String>,
    approval: Option<String>,
    /// The IDs of runs that somebody approved while they waited.
    pub(super) approved: BTreeSet<String>,
    work: Option<String>,
    failures: i64,
    totals: Totals,
    missed: i64,
    ended: Vec<RunSummary>,
}

impl Ledger {
    pub(super) fn meet(&mut self, what: impl Into<String>) {
        self.met.insert(what.into());
    }

    /// The scheduled times that a run was started for. That none is twice is held when it starts.
    pub(super) fn instants(&self) -> impl Iterator<Item = Timestamp> {
        self.instants.iter().copied()
    }

    /// Whether the work of the policy was begun, or seen by a schedule.
    pub(super) fn knows_work(&self, policy: &Policy) -> bool {
        self.work.as_ref() == Some(&policy.spec_hash)
    }

    /// A look's decision was written.
    pub(super) fn looked(&mut self, policy: &Policy, before: &DlqPolicyStatus, plan: &Plan, now: Timestamp) {
        self.was_set_back |= self.latest.is_some_and(|latest| now < latest);
        self.latest = Some(now);
        let requests = &policy.requests;
        let value = |request: &Option<Request>| request.as_ref().map(|request| request.value.clone());
        let is_long = requests.reset.as_ref().is_some_and(|reset| reset.too_long);
        let reset = value(&requests.reset);
        if (!is_long && reset.is_some() && reset != self.reset) || !self.knows_work(policy) {
            self.failures = 0;
        }
        self.reset = reset.or(self.reset.take());
        self.approval = value(&requests.approved).or(self.approval.take());
        if let Plan::Cancel { why, .. } = plan {
            self.meet(format!("cancelled: {why:?}"));
            if before.current_run.as_ref().is_some_and(awaits_approval) {
                self.meet(format!("cancelled while it waits for an approval: {why:?}"));
            }
            if *why == CancelCause::Replaced {
                let waits = before.current_run.as_ref().is_some_and(awaits_approval);
                assert!(!waits, "replaces a run that waits for an approval");
                assert!(!self.is_circuit_open(policy), "ends a run, and none can start in its place");
            }
            if *why == CancelCause::Requested {
                assert_ne!(value(&requests.cancel), self.cancel, "cancelAt was handled already");
            }
        }
        if before.current_run.is_none() || requests.cancel.as_ref().is_some_and(|cancel| cancel.too_long) {
            self.cancel = value(&requests.cancel).or(self.cancel.take());
        }
        let by_itself = matches!(policy.schedule, Ok(None)) && policy.trigger == SpecTrigger::OnChange;
        self.is_owed &= by_itself;
        let is_new = requests.run.is_some() && value(&requests.run) != self.request;
        let is_spoilt = is_new
            && matches!(plan, Plan::Idle { .. })
            && match requests.mode {
                Mode::AsSpecified => false,
                Mode::DryRun => requests.run.as_ref().is_some_and(|run| run.too_long),
                Mode::Unknown(_) => true,
            };
        if before.current_run.is_none() && policy.schedule.is_ok() && (!by_itself || is_spoilt) {
            self.work = Some(policy.spec_hash.clone());
        }
        let passes = matches!(
            plan,
            Plan::Suspended
                | Plan::Paused
                | Plan::CircuitOpen
                | Plan::Continue { .. }
                | Plan::AwaitsApproval { .. }
                | Plan::Cancel { .. }
        );
        // Values are no times here.
        let is_first_sight = !std::mem::replace(&mut self.is_seen, true);
        let is_odd = matches!(requests.mode, Mode::Unknown(_));
        let is_unasked = is_odd || (policy.trigger == SpecTrigger::Manual && is_first_sight);
        if passes || is_unasked || requests.run.as_ref().is_some_and(|run| run.too_long) {
            self.request = value(&requests.run).or(self.request.take());
        }
        self.note_schedule(policy, plan, now);
    }

    fn note_schedule(&mut self, policy: &Policy, plan: &Plan, now: Timestamp) {
        // Set back by about a day or more: what lies ahead counts as not seen.
        let far = now + SignedDuration::from_hours(23);
        let seen = [
            self.told,
            self.open.as_ref().map(|(_, since)| *since),
            self.kept.values().map(|kept| kept.1).max(),
        ];
        if seen.into_iter().flatten().any(|time| time > far) {
            self.instants.retain(|at| *at <= now);
            self.told = self.told.filter(|told| *told <= now);
            self.kept.clear();
            self.open = None;
        }
        let is_held = match plan {
            Plan::Invalid(_) | Plan::Suspended | Plan::Paused | Plan::CircuitOpen | Plan::Waiting { .. } => {
                true
            }
            Plan::Continue { .. }
            | Plan::AwaitsApproval { .. }
            | Plan::Cancel { .. }
            | Plan::Idle { .. }
            | Plan::Missed { .. }
            | Plan::Start(_) => false,
        };
        if is_held {
            self.meet("held");
            self.open = None;
            return;
        }
        match &policy.schedule {
            Err(_) => {}
            Ok(None) => self.open = None,
            Ok(Some(schedule)) => {
                let text = schedule.text();
                if self.open.as_ref().is_none_or(|(seen, _)| seen != text) {
                    let second = Timestamp::from_second(now.as_millisecond().div_euclid(1000)).unwrap();
                    self.open = Some((text.to_owned(), second));
                    self.kept.clear();
                }
            }
        }
    }

    /// A status was written.
    pub(super) fn written(
        &mut self,
        policy: &Policy,
        before: &DlqPolicyStatus,
        after: &DlqPolicyStatus,
        at: At,
    ) {
        let run = |status: &DlqPolicyStatus| status.current_run.as_ref().map(key);
        match (run(before), run(after)) {
            (None, Some(_)) => self.started(policy, after, at),
            (Some(run), None) => self.ended(policy, &run, after),
            (Some(was), Some(is)) if was == is => {
                check_steps(before, after);
                self.check_wait(before, after);
            }
            (None, None) => {}
            (was, is) => panic!("a run takes another's place: {was:?}, {is:?}"),
        }
        self.count_missed(policy, before, after);
        assert_eq!(after.totals, self.totals, "totals are what the runs did");
        assert_eq!(after.missed_schedules, self.missed);
        assert_eq!(after.consecutive_failures, self.failures, "failures in a row");
        let handled = [
            &after.last_handled_requested_at,
            &after.last_handled_cancel_at,
            &after.last_handled_reset_at,
            &after.last_handled_approved_run,
        ];
        let known = [&self.request, &self.cancel, &self.reset, &self.approval];
        assert_eq!(handled, known, "what was handled");
        assert!(after.history.len() <= policy.history_limit, "{} runs are kept", after.history.len());
        assert_eq!(after.history, self.ended[..after.history.len()], "the newest, newest first");
        for condition in &after.conditions {
            assert!(condition.message.chars().count() <= 256, "a long message");
            assert_eq!(condition.observed_generation, Some(policy.generation));
        }
        if let Some(run) = &after.current_run {
            assert!(run.completion_time.is_none() && run.result.is_none());
            self.check_counts(run, "current");
            check_windows(run);
            if !run.windows.is_empty() {
                self.meet("windows in a status");
            }
        }
    }

    fn started(&mut self, policy: &Policy, after: &DlqPolicyStatus, at: At) {
        let run = after.current_run.as_ref().unwrap();
        self.meet(format!("started: {:?}", run.trigger));
        let is_asked_dry = run.trigger == Trigger::Manual && policy.requests.mode == Mode::DryRun;
        let is_held = policy.suspend || policy.paused.is_some();
        assert_eq!(run.requested_mode.is_some(), is_asked_dry, "how it was asked for");
        if is_asked_dry {
            assert!(run.dry_run, "acts, and was asked to list only");
            self.meet(format!("dry run by request, held: {is_held}"));
        }
        assert!(is_asked_dry || !is_held, "starts while held");
        assert!(run.dry_run || !policy.force_dry_run);
        assert!(run.holder.as_ref().is_some_and(|holder| !holder.is_empty()), "nobody holds it");
        assert_eq!(run.limits.as_ref(), Some(&policy.limits), "its limits are frozen");
        if let Some(window) = &run.window {
            let start = MilliTime::new(at.now + at.clock_offset);
            assert!(window.to_date <= start, "looks into the future");
        }
        if self.is_circuit_open(policy) {
            assert_eq!(run.trigger, Trigger::Manual, "starts with an open circuit");
            self.meet("trial");
        }
        match run.trigger {
            Trigger::Manual => {
                let request = policy.requests.run.as_ref().unwrap();
                assert!(!request.too_long && !matches!(policy.requests.mode, Mode::Unknown(_)));
                assert_ne!(Some(&request.value), self.request.as_ref(), "requestedAt was handled already");
                self.request = Some(request.value.clone());
            }
            Trigger::Spec => {
                assert_eq!(policy.trigger, SpecTrigger::OnChange, "nobody asked for it");
                assert!(self.is_owed || !self.knows_work(policy), "the same work is begun again");
                if self.knows_work(policy) {
                    self.meet("started again with another token");
                }
            }
            Trigger::Schedule => self.started_on_schedule(policy, after, run, at.now),
        }
        if !(is_asked_dry && is_held) {
            self.work = Some(policy.spec_hash.clone());
        }
        assert!(self.runs.insert(key(run), Deeds::default()).is_none(), "a run starts twice");
    }

    fn started_on_schedule(
        &mut self,
        policy: &Policy,
        after: &DlqPolicyStatus,
        run: &PolicyRun,
        now: Timestamp,
    ) {
        let Ok(Some(schedule)) = &policy.schedule else { panic!("a run on no schedule") };
        let at = run.scheduled_time.expect("a scheduled time").timestamp();
        let since = after.schedule_since.as_ref().expect("when it was first seen").0;
        let start = schedule.jittered(at, since);
        assert_eq!(
            schedule.next_after(at - SignedDuration::from_nanos(1), since),
            Some(at),
            "no scheduled time"
        );
        assert!(self.instants.insert(at), "{at} runs twice");
        assert!(start <= now, "{at} runs early");
        assert!(self.open.as_ref().is_some_and(|(_, open)| at > *open), "{at} passed while held");
        assert!(at > since, "{at} was before the schedule");
        assert!(self.told.is_none_or(|told| at > told), "{at} is dealt with");
        if let Some(deadline) = policy.starting_deadline {
            assert!(now.duration_since(start) <= deadline, "{at} runs too late");
        }
        assert!(!self.is_kept(at), "{at} passed while a run was in progress");
        let mut next = schedule.next_after(at, since);
        while let Some(kept) = next.filter(|next| self.is_kept(*next)) {
            next = schedule.next_after(kept, since);
        }
        let next = next.map(|next| schedule.jittered(next, since));
        assert!(next.is_none_or(|next| next > now), "{at} is not the latest that is due");
        assert_eq!(after.last_schedule_time.as_ref().map(|time| time.0), Some(at));
    }

    fn is_circuit_open(&self, policy: &Policy) -> bool {
        policy.open_circuit_after.is_some_and(|most| self.failures >= most)
    }

    /// A status is written while a run is under way: what came since its start and does not replace it is skipped. That
    /// a process gives its run back says nothing of the schedule.
    pub(super) fn keep(
        &mut self,
        policy: &Policy,
        before: &DlqPolicyStatus,
        after: &DlqPolicyStatus,
        now: Timestamp,
    ) {
        let is_held = policy.suspend || policy.paused.is_some();
        let is_replaced =
            policy.concurrency == ConcurrencyPolicy::Replace && !is_held && !self.is_circuit_open(policy);
        let waits = |status: &DlqPolicyStatus| status.current_run.as_ref().is_some_and(awaits_approval);
        if waits(before) && waits(after) {
            // What is skipped is noted when the wait ends.
            return;
        }
        let is_replaced = is_replaced && !waits(before) && !waits(after);
        if let (Some(run), false) = (&before.current_run, is_replaced)
            && let (Ok(Some(schedule)), Some(since)) = (&policy.schedule, &after.schedule_since)
        {
            let came = |time| latest_that_came(schedule, since.0, time);
            let (start, latest) = (came(run.start_time.timestamp()), came(now));
            let (_, until) = self.kept.entry(key(run)).or_insert((start, latest));
            *until = latest.max(*until);
            if start < latest {
                self.meet("a scheduled time came during a run");
            }
        }
    }

    /// Whether a run was in the way of this scheduled time.
    fn is_kept(&self, at: Timestamp) -> bool {
        self.kept.values().any(|(from, until)| *from < at && at <= *until)
    }

    /// Of the scheduled times since the last one that was told, no more are missed than there are.
    fn count_missed(&mut self, policy: &Policy, before: &DlqPolicyStatus, after: &DlqPolicyStatus) {
        let missed = after.missed_schedules - before.missed_schedules;
        assert!(missed >= 0);
        if missed > 0 {
            self.meet("missed");
            let Ok(Some(schedule)) = &policy.schedule else { panic!("misses without a schedule") };
            let latest = after.last_missed_time.as_ref().expect("when it was").0;
            let since = after.schedule_since.as_ref().unwrap().0;
            let told = self.told.map_or(since, |told| told.max(since));
            assert!(latest > told, "{latest} is missed again");
            let there = schedule.count_between(told, latest, since) + 1;
            assert!(missed <= there, "{missed} missed of {there}");
            if there < MOST_COUNTED && !self.was_set_back {
                let times = std::iter::successors(schedule.next_after(told, since), |at| {
                    schedule.next_after(*at, since)
                });
                let times = times.take_while(|at| *at <= latest);
                let left = times.filter(|at| !self.is_kept(*at)).count();
                assert_eq!(
                    missed,
                    i64::try_from(left).unwrap(),
                    "what a run kept from starting is not missed"
                );
            }
            self.missed += missed;
            self.told = self.told.max(Some(latest));
        }
        if before.last_schedule_time != after.last_schedule_time {
            self.told = self.told.max(after.last_schedule_time.as_ref().map(|time| time.0));
        }
    }

    fn ended(&mut self, policy: &Policy, was: &RunKey, after: &DlqPolicyStatus) {
        let run = after.last_run.as_ref().expect("the run that ended");
        assert_eq!(key(run), *was, "another run ended");
        assert!(run.holder.is_none() && run.waiting_until.is_none() && run.completion_time.is_some());
        assert!(run.windows.is_empty(), "an ended run has parts that nobody continues");
        let result = run.result.expect("how it ended");
        self.meet(format!("ended: {result:?}"));
        self.meet(format!("because: {:?}", run.reason.expect("why it ended")));
        if run.rejected > 0 {
            self.meet("refused entries");
        }
        self.check_counts(run, "ended");
        if let Some(cancel) = policy.requests.cancel.as_ref().filter(|cancel| !cancel.too_long) {
            self.cancel = Some(cancel.value.clone());
        }
        if let Ok(Work { selected: Selected::Ids(ids), .. }) = &policy.work
            && (run.generation, result) == (policy.generation, RunResult::Succeeded)
        {
            let ids = i64::try_from(ids.len()).unwrap();
            assert_eq!(run.position, ids, "IDs are left out");
            let is_known = run.uncertain_pages == 0 && run.interruptions == 0;
            let known = run.processed + run.not_found + run.rejected;
            assert!(!is_known || known == ids, "an ID is neither done nor missing nor refused");
        }
        let failed = matches!(result, RunResult::Failed | RunResult::DeadlineExceeded);
        let is_refused = matches!(run.reason, Some(Reason::Unauthorized | Reason::Forbidden));
        // Another token is tried once.
        let is_unscheduled = matches!(policy.schedule, Ok(None))
            && policy.trigger == SpecTrigger::OnChange
            && run.trigger != Trigger::Schedule
            && run.requested_mode.is_none();
        self.is_owed = is_refused && is_unscheduled;
        self.totals.runs += 1;
        self.totals.failed_runs += i64::from(failed);
        self.totals.processed += if run.dry_run { 0 } else { run.processed };
        match result {
            _ if run.dry_run || run.reason == Some(Reason::QuotaExceeded) => {}
            RunResult::Succeeded | RunResult::LimitReached => self.failures = 0,
            RunResult::Failed | RunResult::DeadlineExceeded => self.failures += 1,
            RunResult::Cancelled => {}
        }
        // No run starts from now on, even if no look sees this state before it ends.
        let is_invalid = policy.work.is_err() || policy.schedule.is_err();
        if is_invalid || policy.suspend || policy.paused.is_some() || self.is_circuit_open(policy) {
            self.open = None;
        }
        self.ended.insert(0, run.into());
        let kept = policy.history_limit.min(self.ended.len());
        assert!(
            after.history.len() == kept || after.history.len() < policy.history_limit,
            "too few are kept"
        );
        assert!(policy.history_limit == 0 || !after.history.is_empty());
    }

    /// A run counts what it knows to have done: all of it, if nothing stands in the way of knowing.
    fn check_counts(&mut self, run: &PolicyRun, which: &str) {
        let deeds = &self.runs[&key(run)];
        // What is written of a run in progress may be older than its last call.
        let is_lower_bound =
            run.dry_run || run.uncertain_pages > 0 || run.interruptions > 0 || which == "current";
        let done = if run.dry_run { deeds.shown } else { deeds.acted };
        assert!(run.processed <= done, "{which}: {} counted, {done} done", run.processed);
        assert!(is_lower_bound || run.processed == done, "{which}: {} counted, {done} done", run.processed);
        deeds.check_limit(run);
        assert!(!run.dry_run || (deeds.acted == 0 && run.uncertain_pages == 0), "a dry run acts");
        let met = [("interrupted", run.interruptions), ("uncertain", run.uncertain_pages)];
        for (what, _) in met.iter().filter(|(_, count)| *count > 0) {
            self.meet(*what);
        }
        if run.dry_run {
            self.meet("dry");
        }
        for (what, count) in [("skipped entries", run.skipped.total()), ("exhausted entries", run.exhausted)]
        {
            if count > 0 {
                self.meet(what);
            }
        }
    }

    /// The call did this.
    pub(super) fn done(&mut self, run: &PolicyRun, acted: u32, shown: u64, beyond: u32) {
        let deeds = self.runs.get_mut(&key(run)).expect("a run that was claimed");
        deeds.acted += i64::from(acted);
        deeds.shown += i64::try_from(shown).unwrap();
        deeds.beyond += i64::from(beyond);
    }

    /// The process knows of its own calls at once, but for those under way.
    pub(super) fn knows(&self, run: &PolicyRun, not_heard_of: i64) {
        let deeds = &self.runs[&key(run)];
        let is_exact = !run.dry_run && run.uncertain_pages == 0 && run.interruptions == 0;
        let heard_of = deeds.acted - not_heard_of;
        assert!(!is_exact || run.processed == heard_of, "{} counted of {heard_of}", run.processed);
        deeds.check_limit(run);
    }
}

impl Deeds {
    /// Nobody knows what a process did between its last checkpoint and its death; all else is within the limit.
    fn check_limit(&self, run: &PolicyRun) {
        let most = run.limits.as_ref().and_then(|limits| limits.max_entries_per_run);
        let most = [most, run.matched].into_iter().flatten().min();
        let done = if run.interruptions == 0 { self.acted.max(run.processed) } else { run.processed };
        assert!(most.is_none_or(|most| done <= most + self.beyond), "{done} of at most {most:?}");
    }
}

/// The latest scheduled time whose start had come by then.
fn latest_that_came(schedule: &Schedule, since: Timestamp, time: Timestamp) -> Timestamp {
    let before = |time| schedule.most_recent(since, time, since).unwrap_or(since);
    let latest = before(time);
    if latest == since || schedule.jittered(latest, since) <= time {
        latest
    } else {
        before(latest - SignedDuration::from_nanos(1))
    }
}

/// A run is in progress: what it began with stays, what it counts grows, and who takes it over says so.
fn check_steps(before: &DlqPolicyStatus, after: &DlqPolicyStatus) {
    let is_same = before == after;
    let (Some(before), Some(after)) = (&before.current_run, &after.current_run) else { return };
    let frozen = |run: &PolicyRun| {
        let of_work = (run.trigger, run.generation, run.action, run.dry_run);
        (of_work, run.scheduled_time, run.window.clone(), run.limits.clone(), run.requested_by.clone())
    };
    assert_eq!(frozen(before), frozen(after), "a run is another than it began as");
    let counts = |run: &PolicyRun| [run.pages, run.position, run.not_found, run.retries, run.uncertain_pages];
    assert!(counts(before).iter().zip(counts(after)).all(|(before, after)| after >= *before), "{after:#?}");
    let is_unclean = before.holder != after.holder
        && ![&before.holder, &after.holder].iter().any(|holder| holder.as_deref() == Some(""));
    // A process that lost sight of its own run takes it over as if it were another's.
    let may_be_retaken = before.holder == after.holder;
    let interruptions = after.interruptions - before.interruptions;
    let is_told = interruptions == i64::from(is_unclean) || (may_be_retaken && interruptions == 1);
    assert!(is_told, "{before:#?} {after:#?}");
    assert!(
        is_same || after.revision > before.revision,
        "a write that leaves no trace: {before:#?} {after:#?}"
    );
}

/// A process is about to call.
pub(super) fn check_call(policy: &Policy, run: &PolicyRun, call: &Call, now: Timestamp, being_asked: i64) {
    // No limit without an oracle: a new one does not compile until it is held here. Calls side by side, and an approval,
    // have one of their own.
    let Limits {
        page_size,
        max_entries_per_run,
        entries_per_second,
        active_deadline_seconds,
        parallelism: _,
        approval_above: _,
    } = run.limits.clone().unwrap_or_default();
    let start = run.start_time.timestamp();
    if let Some(most) = active_deadline_seconds {
        let wait = run.approval_requested_time.zip(run.approved_time);
        let wait = wait.map(|(since, until)| until.timestamp().duration_since(since.timestamp()));
        let wait = wait.unwrap_or_default().max(SignedDuration::ZERO);
        assert!(now < start + SignedDuration::from_secs(most) + wait, "calls after its deadline");
    }
    let is_asked_dry = run.requested_mode == Some(RequestedMode::DryRun);
    assert!(is_asked_dry || !policy.suspend && policy.paused.is_none(), "calls while held");
    if call.operation().acts() {
        assert!(!run.dry_run && !policy.force_dry_run, "a dry run acts");
    }
    let is_by_listing = policy.work.as_ref().is_ok_and(|work| work.by_listing.is_some());
    if let (true, Call::List { count, .. }) = (is_by_listing, call) {
        assert!(*count <= 100);
    } else if let Some(asked) = asked(call, run.dry_run) {
        let left = max_entries_per_run.map_or(i64::MAX, |most| most - run.processed - being_asked);
        let second = entries_per_second.map_or(i64::MAX, i64::from);
        let page = i64::from(page_size);
        assert!(asked >= 1 && asked <= left.min(second).min(page), "asks for {asked}, {left} are left");
    }
}

/// How many entries a call asks for; `None` for the look that only tells what the token may do.
pub(super) fn asked(call: &Call, dry_run: bool) -> Option<i64> {
    match call {
        Call::List { .. } if !dry_run => None,
        Call::Bulk { selection: Selection::Matching { count, .. }, .. } | Call::List { count, .. } => {
            Some(i64::from(*count))
        }
        Call::Bulk { selection: Selection::Ids(ids), .. } => i64::try_from(ids.len()).ok(),
        Call::Single { .. } | Call::Get { .. } => Some(1),
    }
}
