//! What the process tells of itself as it goes: log lines on standard error, and traces to whoever receives them.

mod delivery;
mod endpoint;
mod format;
mod traces;

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing::Metadata;
use tracing_subscriber::filter::{FilterExt, ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use self::delivery::Delivery;
pub use self::delivery::DeliveryError;
pub use self::endpoint::{OtlpEndpoint, OtlpEndpointError};
use self::format::JsonLines;
use self::traces::Traces;
use super::clock;

/// The target of audit lines: they are switched on and off by themselves, whatever the level of the others.
const AUDIT: &str = "audit";

/// How log lines look.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Reads `info`, or the longer form `info,dlq_operator=debug`.
pub fn log_filter(level: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(level)
}

/// What is told, and where.
#[derive(Debug)]
pub struct TelemetryOptions {
    /// How log lines look.
    pub format: LogFormat,
    /// Which log lines are written, beside those for audit.
    pub filter: EnvFilter,
    /// Where traces go; none: there are no traces.
    pub otlp_endpoint: Option<OtlpEndpoint>,
    /// This process among its replicas.
    pub instance: String,
}

/// What was set up.
#[derive(Debug)]
pub struct Telemetry {
    delivery: Option<Delivery>,
}

impl Telemetry {
    /// Makes the header by which a call tells which span it belongs to; none without traces.
    pub fn traceparent(&self) -> Option<fn() -> Option<String>> {
        self.delivery.as_ref().map(|_| traces::traceparent as fn() -> Option<String>)
    }

    /// Delivers the last traces. Takes no longer than two seconds.
    pub async fn finish(self) {
        if let Some(delivery) = self.delivery {
            delivery.finish().await;
        }
    }
}

/// Sets logs and traces up, once for the process.
///
/// # Errors
/// Traces are asked for and cannot be sent at all.
pub fn init(options: TelemetryOptions) -> Result<Telemetry, DeliveryError> {
    let TelemetryOptions { format, filter, otlp_endpoint, instance } = options;
    let delivery = otlp_endpoint.map(|endpoint| Delivery::start(&endpoint, &instance)).transpose()?;
    let traces = delivery.clone().map(|delivery| {
        let traces = Traces::new(clock::now, move |span| delivery.put(span));
        traces.with_filter(filter_fn(traces::is_sent))
    });
    // Each line says by itself what it is about: spans are for traces, and those of the libraries say nothing to readers.
    let lines = filter_fn(is_event).and(filter_fn(is_audit).or(filter));
    let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let layer = match format {
        LogFormat::Json => layer.event_format(JsonLines).boxed(),
        LogFormat::Text => layer.boxed(),
    };
    // A second set-up in one process keeps the first.
    let _ = tracing_subscriber::registry().with(layer.with_filter(lines)).with(traces).try_init();
    Ok(Telemetry { delivery })
}

fn is_event(metadata: &Metadata<'_>) -> bool {
    metadata.is_event()
}

fn is_audit(metadata: &Metadata<'_>) -> bool {
    metadata.target() == AUDIT
}
