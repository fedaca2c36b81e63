//! A receiver of traces, as OTLP over HTTP has them. It reads them with the types that OpenTelemetry publishes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A receiver at a port of its own. It ends when it is dropped.
pub struct OtlpReceiver {
    url: String,
    state: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    spans: Mutex<Vec<TraceSpan>>,
    /// Everything that came, as it came.
    bytes: Mutex<Vec<u8>>,
    problems: Mutex<Vec<String>>,
    refuses: AtomicBool,
}

/// A span that has ended. IDs are in hex, in lower case; a span without a parent has an empty one.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceSpan {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    /// Unix nanoseconds.
    pub start: u64,
    pub end: u64,
    pub attributes: BTreeMap<String, String>,
    /// What went wrong, where something did.
    pub error: Option<String>,
    /// Of the process that sent it.
    pub resource: BTreeMap<String, String>,
}

impl TraceSpan {
    /// An attribute; empty where there is none.
    pub fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }
}

impl OtlpReceiver {
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for traces")?;
        let url = format!("http://{}", listener.local_addr().context("listen for traces")?);
        let state = Arc::<Shared>::default();
        let router = Router::new().route("/v1/traces", post(receive)).with_state(Arc::clone(&state));
        let server = tokio::spawn(async move {
            // It ends with the test.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, state, server })
    }

    /// For `--otlp-endpoint`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Answers 503 from now on, or no more.
    pub fn refuse(&self, refuses: bool) {
        self.state.refuses.store(refuses, Ordering::Relaxed);
    }

    /// The spans so far.
    pub fn spans(&self) -> Vec<TraceSpan> {
        self.state.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The spans so far that have this name.
    pub fn named(&self, name: &str) -> Vec<TraceSpan> {
        let mut spans = self.spans();
        spans.retain(|span| span.name == name);
        spans
    }

    /// Whether a text is in anything that came.
    pub fn has_seen(&self, text: &str) -> bool {
        let bytes = self.state.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// What was wrong with what came.
    pub fn problems(&self) -> Vec<String> {
        self.state.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for OtlpReceiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(
    State(state): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, [(header::HeaderName, &'static str); 1], Vec<u8>) {
    let kind = [(header::CONTENT_TYPE, "application/x-protobuf")];
    let problem = |text: String| {
        state.problems.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        (StatusCode::BAD_REQUEST, kind.clone(), Vec::new())
    };
    if state.refuses.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, kind, Vec::new());
    }
    if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != "application/x-protobuf") {
        return problem(format!("headers {headers:?}"));
    }
    for (name, value) in &headers {
        let seen = &mut *state.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        seen.extend_from_slice(format!("{name}: {value:?}\n").as_bytes());
    }
    state.bytes.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&body);
    match ExportTraceServiceRequest::decode(body) {
        Ok(request) => {
            let spans = spans(request);
            state.spans.lock().unwrap_or_else(PoisonError::into_inner).extend(spans);
            (StatusCode::OK, kind, ExportTraceServiceResponse::default().encode_to_vec())
        }
        Err(error) => problem(error.to_string()),
    }
}

fn spans(request: ExportTraceServiceRequest) -> Vec<TraceSpan> {
    let mut spans = Vec::new();
    for of_resource in request.resource_spans {
        let resource =
            attributes(of_resource.resource.map(|resource| resource.attributes).unwrap_or_default());
        for span in of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans) {
            let status = span.status.unwrap_or_default();
            let failed = status.code == SpanStatus::Error as i32;
            spans.push(TraceSpan {
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name,
                start: span.start_time_unix_nano,
                end: span.end_time_unix_nano,
                attributes: attributes(span.attributes),
                error: failed.then_some(status.message),
                resource: resource.clone(),
            });
        }
    }
    spans
}

fn attributes(list: Vec<KeyValue>) -> BTreeMap<String, String> {
    list.into_iter().map(|KeyValue { key, value, .. }| (key, text(value))).collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Any::StringValue(text)) => text,
        Some(Any::BoolValue(value)) => value.to_string(),
        Some(Any::IntValue(value)) => value.to_string(),
        Some(Any::DoubleValue(value)) => value.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
