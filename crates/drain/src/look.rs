//! Drives a look at what waits: its pages one after another.

use std::time::Duration;

use jiff::Timestamp;
use tracing::field::{Empty, display};
use tracing::{Instrument, debug, info_span, warn};

use super::exchange;
use super::log::LOG;
use dlq_policy::attempt::{Answer, Looked};
use dlq_policy::backlog::{Look, LookStep};
use dlq_upstash::Client;

/// Makes a look. `policy`: the one that asks for it, `namespace/name`, for logs. A call takes at most as long as `time_for_a_call` says,
/// and none is sent once that is nothing. What fails is logged here, once for all policies that share the look.
pub async fn look(
    mut look: Look,
    policy: &str,
    client: &Client,
    now: fn() -> Timestamp,
    time_for_a_call: impl Fn() -> Duration,
) -> Looked {
    let failed = Looked::Failed { at: look.at() };
    let mut page = 0_u32;
    loop {
        let call = match look.next() {
            LookStep::List(call) => call,
            LookStep::Done(counted) => {
                debug!(target: LOG, policy, pages = page, entries = counted.entries, at_least = counted.at_least,
                    "counted what waits");
                return Looked::Counted(counted);
            }
        };
        page += 1;
        let span = info_span!(
            target: "trace",
            "look",
            otel.client = true,
            policy,
            operation = %call.operation(),
            page,
            entries = Empty,
            otel.error = Empty
        );
        let answer = exchange(&call, client, now(), &time_for_a_call).instrument(span.clone()).await;
        let problem = match answer {
            Answer::Page(answered) => {
                span.record("entries", answered.entries);
                look.answered(&answered);
                continue;
            }
            Answer::Error { error, .. } => {
                span.record("otel.error", display(&error));
                if look.failed(&call, &error) {
                    continue;
                }
                error.to_string()
            }
            Answer::Unsendable(problem) => problem,
            // It is another process' from now on.
            Answer::TimedOut | Answer::NotSent => {
                span.record("otel.error", "abandoned");
                return failed;
            }
        };
        warn!(target: LOG, policy, page, error = problem, "what waits was not counted; the next look tries again");
        return failed;
    }
}
