//! What this process remembers of single policies between two looks.

pub(crate) mod line;
pub(crate) mod session;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::controller::memory::line::Line;
use crate::controller::memory::session::Session;
use crate::controller::names::{PolicyRef, lock};
use dlq_policy::attempt::AccountId;

/// What this process remembers of single policies. An entry goes with the last thing that is in it.
#[derive(Default)]
pub(crate) struct Memory(Mutex<HashMap<PolicyRef, Remembered>>);

/// What is remembered of one policy.
#[derive(Default)]
struct Remembered {
    /// The run that this process works on, and its last writes, if they got no answer.
    session: Session,
    /// Its place in line for a permit.
    line: Option<Line>,
    /// How many looks failed in a row.
    errors: u32,
    /// Namespace and name of the Secret that it waits for, where Secrets are watched.
    awaited: Option<(String, String)>,
    /// Wakes the work on its run.
    working: Option<Arc<Notify>>,
}

impl Remembered {
    /// Whether anything is kept until the next look.
    fn is_kept(&self) -> bool {
        let Self { session, line, errors, awaited, working: _ } = self;
        !session.is_empty() || line.is_some() || *errors > 0 || awaited.is_some()
    }

    fn is_empty(&self) -> bool {
        !self.is_kept() && self.working.is_none()
    }
}

impl Memory {
    /// Puts something into a policy's entry.
    fn put<T>(&self, policy: PolicyRef, put: impl FnOnce(&mut Remembered) -> T) -> T {
        put(lock(&self.0).entry(policy).or_default())
    }

    /// Takes something out of a policy's entry, which goes if nothing else is in it. What is taken is dropped after the
    /// lock: it may wake others.
    fn take<T>(&self, policy: &PolicyRef, take: impl FnOnce(&mut Remembered) -> Option<T>) -> Option<T> {
        let mut all = lock(&self.0);
        let remembered = all.get_mut(policy)?;
        let taken = take(remembered);
        if remembered.is_empty() {
            all.remove(policy);
        }
        taken
    }

    /// Takes what is known of a policy from the turn before.
    pub(crate) fn take_session(&self, policy: &PolicyRef) -> Session {
        self.take(policy, |remembered| Some(std::mem::take(&mut remembered.session))).unwrap_or_default()
    }

    /// Keeps it for the next turn.
    pub(crate) fn keep_session(&self, policy: PolicyRef, session: Session) {
        if !session.is_empty() {
            drop(self.put(policy, |remembered| std::mem::replace(&mut remembered.session, session)));
        }
    }

    /// Takes all runs.
    pub(crate) fn take_runs(&self) -> Vec<(PolicyRef, Session)> {
        self.take_all(|_, remembered| {
            remembered.session.kept.holds_run().then(|| std::mem::take(&mut remembered.session))
        })
    }

    /// Takes something out of all entries.
    fn take_all<T>(
        &self,
        mut take: impl FnMut(&PolicyRef, &mut Remembered) -> Option<T>,
    ) -> Vec<(PolicyRef, T)> {
        let mut all = lock(&self.0);
        let take = |(policy, remembered): (&PolicyRef, &mut Remembered)| {
            take(policy, remembered).map(|taken| (policy.clone(), taken))
        };
        let taken = all.iter_mut().filter_map(take).collect();
        all.retain(|_, remembered| !remembered.is_empty());
        taken
    }

    /// Whether the policy's last writes got no answer.
    pub(crate) fn is_in_doubt(&self, policy: &PolicyRef) -> bool {
        lock(&self.0).get(policy).is_some_and(|remembered| remembered.session.kept.is_in_doubt())
    }

    /// Whether this process works on the policy's run.
    pub(crate) fn holds_run(&self, policy: &PolicyRef) -> bool {
        lock(&self.0).get(policy).is_some_and(|remembered| remembered.session.kept.holds_run())
    }

    /// Remembers which Secret a policy waits for, by namespace and name.
    pub(crate) fn await_secret(&self, policy: PolicyRef, secret: (String, String)) {
        self.put(policy, |remembered| remembered.awaited = Some(secret));
    }

    /// The policy waits for none any more.
    pub(crate) fn await_no_secret(&self, policy: &PolicyRef) {
        self.take(policy, |remembered| remembered.awaited.take());
    }

    /// Takes the policies that wait for this Secret.
    pub(crate) fn secret_changed(&self, namespace: &str, name: &str) -> Vec<PolicyRef> {
        let awaited = self.take_all(|_, remembered| {
            remembered.awaited.take_if(|(of, awaited)| of == namespace && awaited == name)
        });
        awaited.into_iter().map(|(policy, _)| policy).collect()
    }

    /// Takes a policy's place in line for a permit of this account.
    pub(crate) fn take_line(&self, policy: &PolicyRef, account: AccountId) -> Option<Line> {
        self.take(policy, |remembered| remembered.line.take()).filter(|line| line.is_for(account))
    }

    /// Keeps a policy's place in line: neither an edit that changes nothing of its run nor a run that takes the run's
    /// place costs it.
    pub(crate) fn keep_line(&self, policy: PolicyRef, line: Line) {
        drop(self.put(policy, |remembered| remembered.line.replace(line)));
    }

    /// Whether its permit was granted since its last turn.
    pub(crate) fn has_permit(&self, policy: &PolicyRef) -> bool {
        lock(&self.0)
            .get(policy)
            .and_then(|remembered| remembered.line.as_ref())
            .is_some_and(Line::is_granted)
    }

    /// Leaves the line.
    pub(crate) fn leave_line(&self, policy: &PolicyRef) {
        drop(self.take(policy, |remembered| remembered.line.take()));
    }

    /// The policies of which anything is kept between two looks.
    pub(crate) fn remembered(&self) -> Vec<PolicyRef> {
        let all = lock(&self.0);
        all.iter().filter(|(_, remembered)| remembered.is_kept()).map(|(policy, _)| policy.clone()).collect()
    }

    /// Forgets a policy that is gone. Gives its run.
    pub(crate) fn forget(&self, policy: &PolicyRef) -> Option<Session> {
        let kept = self.take(policy, |remembered| {
            // The work on its run ends by itself, and takes this with it.
            let working = remembered.working.clone();
            Some(std::mem::replace(remembered, Remembered { working, ..Remembered::default() }))
        });
        kept.map(|kept| kept.session).filter(|session| session.kept.holds_run())
    }

    /// Counts an error, and returns how many there were in a row. A policy that waits after an error leaves the line.
    pub(crate) fn failed(&self, policy: PolicyRef) -> u32 {
        self.leave_line(&policy);
        self.put(policy, |remembered| {
            remembered.errors = remembered.errors.saturating_add(1);
            remembered.errors
        })
    }

    /// Ends a row of errors.
    pub(crate) fn recovered(&self, policy: &PolicyRef) {
        self.take(policy, |remembered| Some(std::mem::take(&mut remembered.errors)));
    }

    /// Begins a turn: what the watch sees is told to it.
    pub(crate) fn begin_work(&self, policy: &PolicyRef) -> Arc<Notify> {
        let begin = |remembered: &mut Remembered| Arc::clone(remembered.working.get_or_insert_default());
        self.put(policy.clone(), begin)
    }

    /// Ends the turn that is told of by this.
    pub(crate) fn end_work(&self, policy: &PolicyRef, notify: &Arc<Notify>) {
        self.take(policy, |remembered| remembered.working.take_if(|working| Arc::ptr_eq(working, notify)));
    }

    /// Whether a turn with the policy is under way.
    pub(crate) fn is_working(&self, policy: &PolicyRef) -> bool {
        lock(&self.0).get(policy).is_some_and(|remembered| remembered.working.is_some())
    }

    /// Wakes the turn with a policy, if there is one.
    pub(crate) fn wake(&self, policy: &PolicyRef) {
        if let Some(work) = lock(&self.0).get(policy).and_then(|remembered| remembered.working.as_ref()) {
            work.notify_one();
        }
    }
}
