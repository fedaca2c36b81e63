//! The calls of a turn that are under way.

use std::future::poll_fn;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;

use super::log::Sent;
use dlq_policy::attempt::{Answer, CallId};

/// At most as many as `limits.parallelism` allows.
#[derive(Default)]
pub(super) struct Calls<'a>(Vec<UnderWay<'a>>);

struct UnderWay<'a> {
    id: CallId,
    answer: BoxFuture<'a, Answer>,
    sent: Sent,
}

impl<'a> Calls<'a> {
    pub(super) fn send(&mut self, id: CallId, answer: BoxFuture<'a, Answer>, sent: Sent) {
        self.0.push(UnderWay { id, answer, sent });
    }

    /// Drops a call, whose answer is not waited for any more.
    pub(super) fn give_up(&mut self, id: CallId) {
        if let Some(index) = self.0.iter().position(|call| call.id == id) {
            self.0.swap_remove(index).sent.given_up();
        }
    }

    /// The next answer. Without a call there is none.
    pub(super) async fn landed(&mut self) -> (CallId, Answer, Sent) {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<(CallId, Answer, Sent)> {
        let mut calls = self.0.iter_mut().enumerate();
        let landed = calls.find_map(|(index, call)| match call.answer.poll_unpin(context) {
            Poll::Ready(answer) => Some((index, answer)),
            Poll::Pending => None,
        });
        let Some((index, answer)) = landed else { return Poll::Pending };
        let UnderWay { id, sent, .. } = self.0.swap_remove(index);
        Poll::Ready((id, answer, sent))
    }
}
