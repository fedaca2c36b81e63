//! Publishes notes as Kubernetes events. A failure to do so is logged and harms nothing else.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::context::PolicyRef;
use super::observe::API_TIMEOUT;
use super::report::Named;
use crate::policy::Note;
use crate::upstash::error::printable;

/// The API server takes 1,024 bytes, and a character has at most four.
const MAX_NOTE_CHARS: usize = 256;

/// Publishes notes.
pub(crate) struct Events(Recorder);

impl Events {
    pub(crate) fn new(client: kube::Client, pod: &str) -> Self {
        let reporter = Reporter { controller: "dlq-operator".to_owned(), instance: Some(pod.to_owned()) };
        Self(Recorder::new(client, reporter))
    }

    /// Publishes each note, after what it tells of is written.
    pub(crate) async fn publish(&self, policy: &PolicyRef, uid: Option<&str>, notes: Vec<Note>) {
        let regarding = ObjectReference {
            api_version: Some(crate::crd::DlqPolicy::api_version(&()).into_owned()),
            kind: Some(crate::crd::DlqPolicy::kind(&()).into_owned()),
            name: Some(policy.name.clone()),
            namespace: policy.namespace.clone(),
            uid: uid.map(str::to_owned),
            ..ObjectReference::default()
        };
        for note in notes {
            if note.reason.is_of_a_run() {
                // The run's own line says it, with its counts.
                debug!(policy = %Named(policy), reason = note.reason.as_str(), "{}", printable(&note.text));
            } else {
                info!(policy = %Named(policy), reason = note.reason.as_str(), "{}", printable(&note.text));
            }
            let text = note.text.chars().take(MAX_NOTE_CHARS).collect();
            let event = Event {
                type_: if note.reason.is_warning() { EventType::Warning } else { EventType::Normal },
                reason: note.reason.as_str().to_owned(),
                note: Some(text),
                action: "Reconcile".to_owned(),
                secondary: None,
            };
            match timeout(API_TIMEOUT, self.0.publish(&event, &regarding)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    warn!(policy = %Named(policy), reason = event.reason, %error, "cannot publish an event");
                }
                Err(_) => {
                    warn!(policy = %Named(policy), reason = event.reason, "cannot publish an event: no answer in time");
                }
            }
        }
    }
}
