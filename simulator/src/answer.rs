//! The answers of the API, in its own shapes.

use std::sync::Arc;

use http::StatusCode;
use serde::Serialize;

use crate::{
    clock::Millis,
    dlq::{Acted, NewRun},
    entry::{Entry, FailureFunctionState, Headers},
    flow_control::FlowControl,
    refusal::Refusal,
};

/// An answer before it is sent.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub content: Content,
    /// The entries acted on, listed or read.
    pub dlq_ids: Vec<Arc<str>>,
}

/// The body of an answer.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Content {
    #[serde(rename_all = "camelCase")]
    Runs {
        workflow_runs: Vec<NewRun>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<String>,
    },
    Deleted {
        deleted: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<String>,
    },
    Messages {
        messages: Vec<Message>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<String>,
    },
    Run(NewRun),
    Message(Box<Message>),
    Error {
        error: String,
    },
    Nothing,
}

/// An entry as listing and getting show it: the fields of the SDKs, and those of the reference.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the API's own names")]
pub struct Message {
    dlq_id: Arc<str>,
    message_id: String,
    workflow_run_id: Arc<str>,
    workflow_url: Arc<str>,
    url: Arc<str>,
    method: &'static str,
    header: NoHeaders,
    body: &'static str,
    workflow_created_at: Millis,
    /// When the message was created. The time of failure has no field.
    created_at: Millis,
    /// No message here is delayed, so it is the same.
    not_before: Millis,
    max_retries: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_delay_expression: Option<Arc<str>>,
    /// The first label alone, as the SDK has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<Arc<str>>,
    labels: Arc<[Arc<str>]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_callback: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_callback_info: Option<FailureCallbackInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_function_state: Option<FailureFunctionState>,
    #[serde(rename = "callerIP")]
    caller_ip: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow_control_key: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallelism: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<u64>,
    /// In seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    period: Option<u64>,
    response_status: u16,
    response_header: Arc<Headers>,
    response_body: Arc<str>,
}

/// The headers of the request are not simulated.
#[derive(Debug, Clone, Copy, Serialize)]
struct NoHeaders {}

#[derive(Debug, Clone, Copy, Serialize)]
struct FailureCallbackInfo {
    state: FailureFunctionState,
}

impl Answer {
    pub fn ok(content: Content, dlq_ids: Vec<Arc<str>>) -> Self {
        Self { status: StatusCode::OK, content, dlq_ids }
    }

    /// The answer to a bulk resume or restart.
    pub fn runs(acted: Acted) -> Self {
        Self::ok(Content::Runs { workflow_runs: acted.runs, cursor: acted.cursor }, acted.dlq_ids)
    }

    /// The answer to a bulk delete.
    pub fn deleted(acted: Acted) -> Self {
        Self::ok(Content::Deleted { deleted: acted.dlq_ids.len(), cursor: acted.cursor }, acted.dlq_ids)
    }

    /// The answer to an action on one entry. Deleting promises no body.
    pub fn one(acted: Acted) -> Self {
        let content = acted.runs.into_iter().next().map_or(Content::Nothing, Content::Run);
        Self::ok(content, acted.dlq_ids)
    }

    /// A page of a list.
    pub fn messages(entries: &[&Entry], cursor: Option<String>) -> Self {
        let messages = entries.iter().map(|entry| Message::from(*entry)).collect();
        let dlq_ids = entries.iter().map(|entry| Arc::clone(&entry.dlq_id)).collect();
        Self::ok(Content::Messages { messages, cursor }, dlq_ids)
    }

    /// One entry.
    pub fn message(entry: &Entry) -> Self {
        Self::ok(Content::Message(Box::new(entry.into())), vec![Arc::clone(&entry.dlq_id)])
    }

    /// The answer to a rerun of a failure function: the workflow run that failed.
    pub fn failed_run(entry: &Entry) -> Self {
        let run = NewRun {
            workflow_run_id: Arc::clone(&entry.workflow_run_id),
            workflow_created_at: entry.workflow_created_at,
        };
        Self::ok(Content::Run(run), vec![Arc::clone(&entry.dlq_id)])
    }

    /// The answer to a cancelled failure function, of which only the status is documented.
    pub fn cancelled(entry: &Entry) -> Self {
        Self {
            status: StatusCode::FOUND,
            content: Content::Nothing,
            dlq_ids: vec![Arc::clone(&entry.dlq_id)],
        }
    }

    /// The same answer with another cursor, where it can have one.
    #[must_use]
    pub fn with_cursor(mut self, new: String) -> Self {
        match &mut self.content {
            Content::Runs { cursor, .. }
            | Content::Deleted { cursor, .. }
            | Content::Messages { cursor, .. } => {
                *cursor = Some(new);
            }
            Content::Run(_) | Content::Message(_) | Content::Error { .. } | Content::Nothing => {}
        }
        self
    }
}

impl Content {
    /// The body as JSON text; empty for [`Content::Nothing`].
    pub fn to_json(&self) -> Vec<u8> {
        if matches!(self, Self::Nothing) {
            return Vec::new();
        }
        // The keys of these shapes are texts and they have no floats, so writing them cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self {
            status: refusal.status,
            content: Content::Error { error: refusal.message },
            dlq_ids: Vec::new(),
        }
    }
}

impl From<&Entry> for Message {
    fn from(entry: &Entry) -> Self {
        let Entry { settings, response, .. } = entry;
        let flow_control = settings.flow_control_value.as_deref().and_then(FlowControl::parse);
        let FlowControl { parallelism, rate, period } = flow_control.unwrap_or_default();
        Self {
            dlq_id: Arc::clone(&entry.dlq_id),
            message_id: entry.message_id(),
            workflow_run_id: Arc::clone(&entry.workflow_run_id),
            workflow_url: Arc::clone(&entry.workflow_url),
            url: Arc::clone(&entry.workflow_url),
            method: "POST",
            header: NoHeaders {},
            body: "",
            workflow_created_at: entry.workflow_created_at,
            created_at: entry.created_at,
            not_before: entry.created_at,
            max_retries: settings.retries,
            retry_delay_expression: settings.retry_delay.clone(),
            label: settings.labels.first().cloned(),
            labels: Arc::clone(&settings.labels),
            failure_callback: settings.failure_callback.clone(),
            failure_callback_info: entry.failure_function_state.map(|state| FailureCallbackInfo { state }),
            failure_function_state: entry.failure_function_state,
            caller_ip: Arc::clone(&entry.caller_ip),
            flow_control_key: settings.flow_control_key.clone(),
            parallelism,
            rate,
            period,
            response_status: response.status,
            response_header: Arc::clone(&response.headers),
            response_body: Arc::clone(&response.body),
        }
    }
}
