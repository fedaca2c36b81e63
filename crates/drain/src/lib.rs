//! Drives a turn with a policy: asks [`Attempt`] what to do, has it done, and tells the machine what came of it.
//!
//! It knows no Kubernetes: what does the IO is behind [`Ports`]. A call to Upstash is made here, with its span and its lines in
//! the log.

mod calls;
mod log;
mod look;
mod ports;

use std::future::pending;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::time::{sleep, timeout};
use tracing::{Instrument, Span};

use self::calls::Calls;
use self::log::Sent;
pub use self::look::look;
pub use self::ports::Ports;
use dlq_policy::Attempt;
use dlq_policy::attempt::{AccountId, Action, Answer, Effect, Event, Next};
use dlq_upstash::Client;
use dlq_upstash::types::Call;

/// Takes a whole turn. Dropped before it is done, it leaves undone what it has not begun.
pub async fn drive<P: Ports>(attempt: &mut Attempt, ports: &P) -> Next {
    let mut effect: Option<BoxFuture<'_, Event>> = None;
    let mut calls = Calls::default();
    let mut span = Span::none();
    loop {
        let action = attempt.next(ports.now());
        if span.is_none()
            && let Some((uid, run)) = attempt.uid().zip(attempt.run())
        {
            span = ports.span(uid, run);
        }
        match action {
            Action::Do(Effect::Call { id, call, account }) => {
                if let Some(run) = attempt.run() {
                    ports.works(run);
                    let about = span.in_scope(|| Sent::new(run, &call, ports));
                    let answer = send(*call, account, ports).instrument(about.span().clone()).boxed();
                    calls.send(id, answer, about);
                }
            }
            Action::Do(what) => effect = Some(perform(what, ports).instrument(span.clone()).boxed()),
            Action::GiveUp(id) => calls.give_up(id),
            Action::Tell(told) => span.in_scope(|| ports.tell(*told)),
            Action::Wait(until) => {
                let mut answered = None;
                let event = tokio::select! {
                    biased;
                    // Each is told of once; what it forbids is then not begun.
                    why = ports.interrupted() => Event::Interrupted(why),
                    event = landed(&mut effect) => event,
                    (id, answer, sent) = calls.landed() => {
                        answered = Some(sent.answered(&answer));
                        Event::Answered(id, answer)
                    }
                    () = sleep_until(until, ports) => Event::Woken,
                };
                attempt.on(event, ports.now());
                if let (Some(answered), Some(run)) = (answered, attempt.run()) {
                    ports.works(run);
                    span.in_scope(|| answered.log(run, ports));
                }
            }
            Action::Done(next) => {
                if let Some((account, unused)) = attempt.take_unused() {
                    ports.give_back(account, unused).await;
                }
                return next;
            }
        }
    }
}

/// Everything but a call.
async fn perform<P: Ports>(effect: Effect, ports: &P) -> Event {
    match effect {
        Effect::Read => Event::Read(ports.read().await),
        Effect::Resolve { connection, freshness } => {
            Event::Resolved(ports.resolve(*connection, freshness).await)
        }
        Effect::Write(write) => Event::Written(ports.write(*write).await),
        Effect::Reserve { account, entries } => Event::Reserved(ports.reserve(account, entries).await),
        Effect::ApprovalId => Event::ApprovalId(format!("{:016x}", fastrand::u64(..))),
        Effect::Permit(account) => Event::Permitted(ports.permit(account)),
        Effect::FurtherPermit(account) => Event::Permitted(ports.further_permit(account)),
        Effect::Look { look, account } => Event::Looked(ports.look(*look, account).await),
        Effect::Call { id, call, account } => Event::Answered(id, send(*call, account, ports).await),
    }
}

async fn send<P: Ports>(call: Call, account: AccountId, ports: &P) -> Answer {
    let answer = match ports.client(account) {
        Some(client) => exchange(&call, &client, ports.now(), || ports.time_for_a_call()).await,
        None => Answer::NotSent,
    };
    ports.answered(&call, &answer);
    answer
}

/// Sends a call. An answer that comes when another process may act is as good as none.
async fn exchange(
    call: &Call,
    client: &Client,
    now: Timestamp,
    time_for_a_call: impl Fn() -> Duration,
) -> Answer {
    let time = time_for_a_call();
    if time.is_zero() {
        return Answer::NotSent;
    }
    match timeout(time, client.send(call, now)).await {
        _ if time_for_a_call().is_zero() => Answer::TimedOut,
        Err(_) => Answer::TimedOut,
        Ok(Err(problem)) => Answer::Unsendable(problem.to_string()),
        Ok(Ok(Ok(page))) => Answer::Page(page),
        Ok(Ok(Err(error))) => Answer::Error { error, jitter: fastrand::f64() },
    }
}

/// What comes of what is under way, if anything is.
async fn landed<T>(under_way: &mut Option<BoxFuture<'_, T>>) -> T {
    let Some(future) = under_way else { return pending().await };
    let outcome = future.await;
    *under_way = None;
    outcome
}

async fn sleep_until<P: Ports>(until: Timestamp, ports: &P) {
    if until == Timestamp::MAX {
        return pending().await;
    }
    let left = Duration::try_from(until.duration_since(ports.now())).unwrap_or_default();
    sleep(left).await;
}
