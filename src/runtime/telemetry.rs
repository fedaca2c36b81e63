//! What the process tells of itself as it goes: log lines on standard error.

mod format;

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing::Metadata;
use tracing_subscriber::filter::{FilterExt, ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use self::format::JsonLines;

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

/// Sets logging up, once for the process.
pub fn init(format: LogFormat, filter: EnvFilter) {
    // Each line says by itself what it is about: the spans of the libraries say nothing to readers.
    let lines = filter_fn(is_event).and(filter_fn(is_audit).or(filter));
    let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let layer = match format {
        LogFormat::Json => layer.event_format(JsonLines).boxed(),
        LogFormat::Text => layer.boxed(),
    };
    // A second set-up in one process keeps the first.
    let _ = tracing_subscriber::registry().with(layer.with_filter(lines)).try_init();
}

fn is_event(metadata: &Metadata<'_>) -> bool {
    metadata.is_event()
}

fn is_audit(metadata: &Metadata<'_>) -> bool {
    metadata.target() == AUDIT
}
