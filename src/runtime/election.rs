//! What a candidate does with the lease: create it, take it, renew it, wait, give it back. Pure: what was read of the
//! lease, what became of a write, and both clocks' readings come in.
//!
//! The protocol is that of Kubernetes' own components: the holder writes a new `renewTime` every now and then, and who
//! has seen the lease unchanged for its duration may take it. Only one's own monotonic clock is asked, as the
//! times in a lease are by somebody else's clock.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

use super::clock::Moment;

/// No lease is waited for longer than this, whatever is written in it.
pub const LONGEST_LEASE: Duration = Duration::from_secs(3600);

const LONGEST_LOOK_PERIOD: Duration = Duration::from_secs(1);

/// How long a lease is held, and what follows from that.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timing {
    lease: Duration,
}

impl Timing {
    /// For a lease of whole seconds, as the API counts them.
    pub fn new(lease: Duration) -> Self {
        Self { lease: Duration::from_secs(lease.as_secs().max(1)) }
    }

    /// After how much time without a change others may take the lease.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// After how much time without a renewal no new work begins.
    pub fn renew_deadline(&self) -> Duration {
        self.lease * 2 / 3
    }

    /// By when a call must have ended, counted from the last renewal. What is left of the lease makes up for clocks
    /// that run at different speeds.
    pub fn call_deadline(&self) -> Duration {
        self.lease * 9 / 10
    }

    /// How often the holder renews the lease.
    pub fn retry_period(&self) -> Duration {
        self.lease * 2 / 15
    }

    /// How often the others look whether it is free: a long lease is given back as quickly as a short one.
    pub fn look_period(&self) -> Duration {
        self.retry_period().min(LONGEST_LOOK_PERIOD)
    }

    /// How long one request may take. Who leads waits for half of what is left of its term, so that a request that is
    /// lost leaves time for more; who does not has nothing to lose.
    pub fn request_timeout(&self, left_of_term: Option<Duration>) -> Duration {
        let deadline = self.renew_deadline();
        left_of_term.map_or(deadline, |left| (left / 2).max(deadline / 10))
    }

    fn lease_seconds(&self) -> i32 {
        i32::try_from(self.lease.as_secs()).unwrap_or(i32::MAX)
    }
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Read the lease: what is known of it may be old.
    Read,
    /// Create it.
    Create(Box<Lease>),
    /// Replace it, if it is still in the version that is named in it.
    Replace(Box<Lease>),
    /// Nothing, until the next try.
    Wait,
}

/// One candidate's knowledge of the lease.
#[derive(Debug)]
pub struct Election {
    name: String,
    identity: String,
    timing: Timing,
    /// The lease as it was last seen; none if there was none.
    lease: Option<Lease>,
    /// Whether nothing was begun since that may have changed it, and a write may build on it.
    is_fresh: bool,
    /// Who else may be holding the lease.
    rival: Option<Rival>,
    /// Whether we have asked for the lease and have seen it in nobody else's hands since. A lease that names us without
    /// that was edited by hand, and its true holder may not know yet.
    has_claimed: bool,
}

/// What another has written, and since when it is unchanged.
#[derive(Debug)]
struct Rival {
    uid: Option<String>,
    spec: LeaseSpec,
    since: Moment,
}

impl Election {
    /// A candidate who knows nothing yet. `identity` is nobody else's, not even that of an earlier process of this pod.
    pub fn new(name: String, identity: String, timing: Timing) -> Self {
        Self { name, identity, timing, lease: None, is_fresh: false, rival: None, has_claimed: false }
    }

    /// What to do now to get the lease or to keep it. After a read or a failed write it is asked again.
    pub fn next(&mut self, now: Moment) -> Step {
        if !self.is_fresh {
            return Step::Read;
        }
        // What is begun now is only known to be so once it is answered.
        self.is_fresh = false;
        if self.rival.as_ref().is_some_and(|rival| self.holds(rival, now)) {
            return Step::Wait;
        }
        let step = self.claim(now);
        self.has_claimed = true;
        step
    }

    /// What to do now to give the lease back: [`Step::Wait`] when it is not ours.
    pub fn next_to_release(&mut self, now: Moment) -> Step {
        if !self.has_claimed {
            return Step::Wait;
        }
        if !self.is_fresh {
            return Step::Read;
        }
        self.is_fresh = false;
        match &self.lease {
            Some(lease) if self.may_lead() => {
                let mut lease = lease.clone();
                let spec = lease.spec.get_or_insert_default();
                spec.holder_identity = Some(String::new());
                // The API server takes no 0.
                spec.lease_duration_seconds = Some(1);
                spec.renew_time = Some(MicroTime(now.wall));
                Step::Replace(Box::new(lease))
            }
            _ => Step::Wait,
        }
    }

    /// Takes in what a read has found. `now` is after the answer came: a rival is never given too little time.
    pub fn observed(&mut self, found: Option<Lease>, now: Moment) {
        self.is_fresh = true;
        self.lease = found;
        // Somebody may have deleted the lease of a rival who does not know yet.
        let Some(lease) = &self.lease else { return };
        let holder = holder_of(lease);
        if holder.is_none() || (self.has_claimed && holder == Some(&self.identity)) {
            self.has_claimed &= holder.is_some();
            self.rival = None;
            return;
        }
        self.has_claimed = false;
        let uid = lease.metadata.uid.clone();
        let spec = lease.spec.clone().unwrap_or_default();
        // The resource version also moves when somebody annotates the lease of a holder who is long gone.
        if self.rival.as_ref().is_none_or(|rival| rival.uid != uid || rival.spec != spec) {
            self.rival = Some(Rival { uid, spec, since: now });
        }
    }

    /// Takes in what the API server has stored of our write. `false` when that is not what we wanted.
    pub fn written(&mut self, stored: Lease, now: Moment) -> bool {
        self.observed(Some(stored), now);
        self.may_lead()
    }

    /// The lease as it was last seen, if nothing speaks against our holding it.
    pub fn ours(&self) -> Option<&Lease> {
        self.lease.as_ref().filter(|_| self.may_lead())
    }

    /// Whether nothing that was seen speaks against our holding the lease.
    pub fn may_lead(&self) -> bool {
        self.has_claimed
            && self.lease.as_ref().is_none_or(|lease| holder_of(lease) == Some(self.identity.as_str()))
    }

    /// Who holds the lease, as it was last seen.
    pub fn holder(&self) -> Option<&str> {
        self.lease.as_ref().and_then(holder_of)
    }

    fn holds(&self, rival: &Rival, now: Moment) -> bool {
        // Who writes no duration, or a shorter one than ours, is given ours: a hand may have written it while the
        // holder counts on more.
        let written =
            u64::try_from(rival.spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
        let duration = Duration::from_secs(written).min(LONGEST_LEASE).max(self.timing.lease());
        now.at_least_since(&rival.since) < duration
    }

    /// The lease as it is when we hold it. What is not about that stays as it is.
    fn claim(&self, now: Moment) -> Step {
        let now = MicroTime(now.wall);
        let is_renewal = self.lease.is_some() && self.may_lead();
        let mut lease = self.lease.clone().unwrap_or_default();
        let spec = lease.spec.get_or_insert_default();
        if !is_renewal {
            spec.holder_identity = Some(self.identity.clone());
            spec.acquire_time = Some(now.clone());
            let before = spec.lease_transitions.unwrap_or_default().max(0);
            spec.lease_transitions = Some(if self.lease.is_some() { before.saturating_add(1) } else { 0 });
        }
        spec.lease_duration_seconds = Some(self.timing.lease_seconds());
        spec.renew_time = Some(now);
        if self.lease.is_some() {
            return Step::Replace(Box::new(lease));
        }
        lease.metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
        Step::Create(Box::new(lease))
    }
}

/// The holder; a lease with an empty one is free.
fn holder_of(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

#[cfg(test)]
#[path = "election_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "election_simulation_tests.rs"]
mod simulation_tests;
