//! What does the IO of a turn, and decides nothing.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tracing::Span;

use dlq_crd::PolicyRun;
use dlq_policy::attempt::{
    AccountId, Answer, Found, Interrupt, Looked, Seen, StatusWrite, Told, Trouble, WriteOutcome,
};
use dlq_policy::backlog::Look;
use dlq_policy::budget::{Reserved, Unused};
use dlq_policy::plan::Freshness;
use dlq_policy::{ConnectionRef, Invalid};
use dlq_upstash::Client;
use dlq_upstash::types::Call;

/// All IO for one policy, for one turn. What it holds for that, such as a permit, it gives back when it is dropped.
pub trait Ports: Sync {
    /// The time.
    fn now(&self) -> Timestamp;

    /// Reads the policy; none if it is gone.
    fn read(&self) -> impl Future<Output = Result<Option<Arc<Seen>>, Trouble>> + Send;

    /// Finds the token of a connection.
    fn resolve(
        &self,
        connection: ConnectionRef,
        freshness: Freshness,
    ) -> impl Future<Output = Result<Result<Found, Invalid>, Trouble>> + Send;

    /// Writes the status, if the fence holds.
    fn write(&self, write: StatusWrite) -> impl Future<Output = WriteOutcome> + Send;

    /// Asks for so many entries of the budget that the connection's policies share.
    fn reserve(
        &self,
        account: AccountId,
        entries: u64,
    ) -> impl Future<Output = Result<Reserved, Trouble>> + Send;

    /// Gives back what was granted and not used, or counts what was acted on beyond it.
    fn give_back(&self, account: AccountId, unused: Unused) -> impl Future<Output = ()> + Send;

    /// Asks for a permit, which lasts until this is dropped. If there is none, the place in line is kept.
    fn permit(&self, account: AccountId) -> bool;

    /// Asks for one more permit beside those that there are, until this is dropped. There is none while anybody waits for one.
    fn further_permit(&self, account: AccountId) -> bool;

    /// The client with the token of an account that was found in this turn or before.
    fn client(&self, account: AccountId) -> Option<Client>;

    /// What a look finds, or what an equal one with this account found within its interval. [`look`](crate::look()) makes one.
    fn look(&self, look: Look, account: AccountId) -> impl Future<Output = Looked> + Send;

    /// How long a call that is made now may take at most; nothing once another process may act.
    fn time_for_a_call(&self) -> Duration;

    /// Waits for something that the turn may have to heed. Each is told of once.
    fn interrupted(&self) -> impl Future<Output = Interrupt> + Send;

    /// Tells it in events, metrics and the log.
    fn tell(&self, told: Told);

    /// A call was answered, or will not be. Told before the run takes it in, for those that show what was listed.
    fn answered(&self, _call: &Call, _answer: &Answer) {}

    /// The run makes a call, or has its answer.
    fn works(&self, run: &PolicyRun);

    /// The span of what the turn does for a run of the object with this `uid`.
    fn span(&self, uid: &str, run: &PolicyRun) -> Span;

    /// Whose run it is, for logs: `namespace/name`.
    fn policy(&self) -> &str;

    /// Whether to log the new workflow runs of each page.
    fn audits(&self) -> bool;
}
