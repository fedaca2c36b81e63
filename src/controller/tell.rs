//! Tells what a written status says: in events, metrics and the log.

use super::context::{Context, PolicyRef};
use super::observe::Observed;
use super::report;
use dlq_crd::DlqPolicyStatus;
use dlq_policy::{Changes, InDoubt, Policy, Settled};

/// Writes of a policy's status without an answer.
pub(crate) struct PolicyInDoubt {
    /// A policy of the same name may have another one by now.
    uid: String,
    doubt: InDoubt,
}

impl Context {
    /// Tells what is new, once it is known to be written.
    pub(crate) fn tell(&self, policy: &PolicyRef, uid: &str, changes: Changes) {
        self.metrics.tell(policy, &changes);
        if let Some(run) = &changes.ended {
            report::run_ended(policy, uid, run);
        }
        self.events.publish(policy, uid, changes.events);
    }

    /// Remembers a write without an answer: `sent`, in place of the status that was read.
    pub(crate) fn doubt(&self, policy: &PolicyRef, observed: &Observed, sent: DlqPolicyStatus) {
        let uid = observed.uid();
        // Of a status that cannot be read this is all that is read again.
        let sent = if observed.is_status_readable {
            sent
        } else {
            DlqPolicyStatus { conditions: sent.conditions, ..DlqPolicyStatus::default() }
        };
        let known = self.memory.take_in_doubt(policy).filter(|known| known.uid == uid);
        let doubt = match known {
            Some(PolicyInDoubt { doubt, .. }) => doubt.and(sent),
            None => InDoubt::new(&observed.status, sent),
        };
        self.memory.keep_in_doubt(policy.clone(), PolicyInDoubt { uid: uid.to_owned(), doubt });
    }

    /// Finds out from a status that was read what became of writes without an answer, and tells of the one that was done.
    pub(crate) fn settle(&self, reference: &PolicyRef, policy: &Policy, observed: &Observed) {
        let Some(known) = self.memory.take_in_doubt(reference).filter(|known| known.uid == observed.uid())
        else {
            return;
        };
        match known.doubt.settle(policy, &observed.status) {
            Settled::Done(changes) => self.tell(reference, &known.uid, *changes),
            // It may be on its way still.
            Settled::Open(doubt) => {
                self.memory.keep_in_doubt(reference.clone(), PolicyInDoubt { doubt: *doubt, ..known });
            }
            Settled::Overtaken => {}
        }
    }
}
