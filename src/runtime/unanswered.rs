//! Writes of the lease that got no answer, or none yet.
//!
//! A read that finds one of them in the lease is its answer. Without that, a server that is slow to write would keep
//! everybody from leading: the lease is renewed, so no rival may take it, and its holder never learns that it is theirs.

use k8s_openapi::api::coordination::v1::Lease;

use super::leadership::Sent;

/// More would be older than any term.
const MOST: usize = 16;

/// The writes since the last one that was answered.
#[derive(Debug, Default)]
pub(super) struct Unanswered(Vec<(i64, Sent)>);

/// In microseconds, as it is stored.
fn renew_time(lease: &Lease) -> Option<i64> {
    Some(lease.spec.as_ref()?.renew_time.as_ref()?.0.as_microsecond())
}

impl Unanswered {
    /// A write is about to be sent. Nobody can see it before that.
    pub(super) fn sending(&mut self, lease: &Lease, sent: Sent) {
        let Some(time) = renew_time(lease) else { return };
        // A clock that was set back can bring the same time again: then it tells nothing.
        let count = self.0.len();
        self.0.retain(|(other, _)| *other != time);
        if self.0.len() == count {
            self.0.truncate(MOST - 1);
            self.0.insert(0, (time, sent));
        }
    }

    /// The last one was answered.
    pub(super) fn answered(&mut self) {
        self.0.clear();
    }

    /// When the write was sent that a read has found; none if it was answered, or is not ours.
    pub(super) fn found(&self, lease: &Lease) -> Option<Sent> {
        let time = renew_time(lease)?;
        self.0.iter().find(|(other, _)| *other == time).map(|(_, sent)| *sent)
    }
}
