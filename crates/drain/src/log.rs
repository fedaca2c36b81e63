//! What traces and the log say of one call to Upstash.

use std::time::Duration;

use tokio::time::Instant;
use tracing::field::{Empty, display};
use tracing::{Span, debug, info, info_span, warn};

use super::Ports;
use dlq_crd::PolicyRun;
use dlq_policy::attempt::Answer;
use dlq_upstash::types::{Call, Operation};

/// Below the operator's own log target, so that one filter (`info,dlq_operator=debug`) shows all that belongs to a run.
pub(super) const LOG: &str = "dlq_operator::drain";

/// A call that was sent.
pub(super) struct Sent {
    span: Span,
    operation: Operation,
    since: Instant,
}

impl Sent {
    pub(super) fn new<P: Ports>(run: &PolicyRun, call: &Call, ports: &P) -> Self {
        let span = info_span!(
            target: "trace",
            "page",
            otel.client = true,
            policy = ports.policy(),
            run_id = run.id,
            action = %run.action,
            operation = %call.operation(),
            page = run.pages + 1,
            entries = Empty,
            processed = Empty,
            otel.error = Empty
        );
        Self { span, operation: call.operation(), since: Instant::now() }
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// Nobody waits for its answer any more.
    pub(super) fn given_up(&self) {
        self.span.record("otel.error", "abandoned");
    }

    pub(super) fn answered(self, answer: &Answer) -> Answered {
        let took = self.since.elapsed();
        let said = match answer {
            Answer::Page(page) => {
                self.span.record("entries", page.entries);
                Said::Page { entries: page.entries, workflow_run_ids: page.workflow_run_ids.clone() }
            }
            Answer::Error { error, .. } => {
                self.span.record("otel.error", display(error));
                Said::Error(error.to_string())
            }
            Answer::Unsendable(problem) => {
                self.span.record("otel.error", display(problem));
                Said::Nothing
            }
            Answer::TimedOut | Answer::NotSent => {
                self.given_up();
                Said::Nothing
            }
        };
        Answered { sent: self, took, said }
    }
}

/// A call that was answered, and what is to be said of it once the answer is taken in.
pub(super) struct Answered {
    sent: Sent,
    took: Duration,
    said: Said,
}

enum Said {
    Page { entries: u64, workflow_run_ids: Vec<String> },
    Error(String),
    Nothing,
}

impl Answered {
    pub(super) fn log<P: Ports>(self, run: &PolicyRun, ports: &P) {
        let Self { sent: Sent { span, operation, .. }, took, said } = self;
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let policy = ports.policy();
        match said {
            Said::Page { entries, workflow_run_ids } => {
                span.record("processed", run.processed);
                debug!(target: LOG, policy, run_id = run.id, action = %run.action, operation = %operation,
                    page = run.pages, entries, processed = run.processed, duration_ms, "page");
                if ports.audits() && operation.acts() {
                    let ids = serde_json::Value::from(workflow_run_ids);
                    info!(target: "audit", policy, run_id = run.id, action = %run.action,
                        generation = run.generation, trigger = run.trigger.as_str(), requested_by = run.requested_by,
                        request_reason = run.request_reason, page = run.pages, entries,
                        processed = run.processed, duration_ms, workflow_run_ids = %ids, "page acknowledged");
                }
            }
            Said::Error(error) => {
                warn!(target: LOG, policy, run_id = run.id, action = %run.action, operation = %operation,
                    duration_ms, %error, "call failed");
            }
            Said::Nothing => {}
        }
    }
}
