//! Takes spans that have ended to their receiver, in batches, from a thread of its own. Nobody waits for it: what a full
//! queue cannot take is dropped.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanProcessor};
use thiserror::Error;
use tokio::runtime::Handle;
use tracing::{info, warn};

use super::endpoint::OtlpEndpoint;

/// How long the receiver may take for one batch.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long the last spans may take at the end of the process.
const LAST_BATCHES: Duration = Duration::from_secs(2);
/// The longest answer that is read, in bytes: it says nothing but how many spans were refused.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Traces cannot be sent.
#[derive(Debug, Error)]
pub enum DeliveryError {
    /// The HTTP library could not be set up.
    #[error("cannot set up the HTTP client for traces")]
    Client(#[from] reqwest::Error),
    /// A variable of the environment that the OpenTelemetry library reads.
    #[error("cannot set up the export of traces")]
    Exporter(#[from] ExporterBuildError),
}

/// The queue of spans that have ended, and the thread that sends them.
#[derive(Clone, Debug)]
pub(super) struct Delivery(Arc<BatchSpanProcessor>);

impl Delivery {
    /// Begins to deliver. `instance` is this process among its replicas.
    pub(super) fn start(endpoint: &OtlpEndpoint, instance: &str) -> Result<Self, DeliveryError> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("dlq-operator/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()?;
        let courier = Courier { http, runtime: Handle::current(), is_failing: Arc::default() };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(courier)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint.to_string())
            .with_timeout(TIMEOUT)
            .build()?;
        let mut processor = BatchSpanProcessor::builder(exporter).build();
        let resource = Resource::builder()
            .with_service_name("dlq-operator")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(KeyValue::new("service.instance.id", instance.to_owned()))
            .build();
        processor.set_resource(&resource);
        Ok(Self(Arc::new(processor)))
    }

    /// Takes a span, or drops it when too many wait.
    pub(super) fn put(&self, span: SpanData) {
        self.0.on_end(span);
    }

    /// Sends what still waits, for as long as that may take.
    pub(super) async fn finish(self) {
        let last = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(LAST_BATCHES));
        if !matches!(last.await, Ok(Ok(()))) {
            warn!("the last traces could not be delivered in time");
        }
    }
}

/// Sends batches with the HTTP client that the rest of the program uses. The thread that asks for it is none of the
/// runtime's, so the runtime does the work.
#[derive(Clone, Debug)]
struct Courier {
    http: reqwest::Client,
    runtime: Handle,
    is_failing: Arc<AtomicBool>,
}

impl Courier {
    async fn send(self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let outcome = exchange(&self.http, request).await;
        let problem = match &outcome {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("the receiver answered {}", response.status())),
            Err(error) => Some(with_causes(&**error)),
        };
        // Told when it begins and when it ends, and not for each batch.
        match problem {
            Some(problem) if !self.is_failing.swap(true, Ordering::Relaxed) => {
                warn!(problem, "traces cannot be delivered to --otlp-endpoint");
            }
            None if self.is_failing.swap(false, Ordering::Relaxed) => info!("traces are delivered again"),
            _ => {}
        }
        outcome
    }
}

impl HttpClient for Courier {
    fn send_bytes<'a, 'answer>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'answer>>
    where
        'a: 'answer,
        Self: 'answer,
    {
        let sent = self.runtime.spawn(self.clone().send(request));
        Box::pin(async move { sent.await? })
    }
}

async fn exchange(http: &reqwest::Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let request = reqwest::Request::try_from(request)?;
    let mut answer = http.execute(request).await.map_err(reqwest::Error::without_url)?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err("the answer of the receiver is too long".into());
        }
        body.extend_from_slice(&chunk);
    }
    let mut response = Response::new(body.into());
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    Ok(response)
}

fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    message
}
