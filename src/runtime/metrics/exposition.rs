//! How metrics are written: in OpenMetrics to who asks for it, in Prometheus' text format to everybody else.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

/// A format.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Prometheus' text format, 0.0.4.
    Text,
}

impl Format {
    /// The format that an `Accept` header wants. OpenMetrics has to be asked for by its name.
    pub fn wanted(accept: &str) -> Self {
        let ranges = accept.split(',').map(MediaRange::parse);
        let (mut open, mut text) = (0, 0);
        for range in ranges {
            match range.kind.as_str() {
                // Of a version that we do not write nothing is known.
                "application/openmetrics-text" if matches!(range.version, "" | "0.0.1" | "1.0.0") => {
                    open = open.max(range.quality);
                }
                "text/plain" if matches!(range.version, "" | "0.0.4") => text = text.max(range.quality),
                _ => {}
            }
        }
        if open > 0 && open >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// The answer's `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// One of the types that an `Accept` header names.
struct MediaRange<'a> {
    kind: String,
    version: &'a str,
    /// In thousandths.
    quality: u32,
}

impl<'a> MediaRange<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let mut range = Self { kind, version: "", quality: 1000 };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim().to_ascii_lowercase().as_str() {
                "version" => range.version = value.trim().trim_matches('"'),
                "q" => range.quality = quality(value.trim()),
                _ => {}
            }
        }
        range
    }
}

/// In thousandths; what cannot be read counts as not wanted.
fn quality(text: &str) -> u32 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let part = format!("{:0<3}", part.get(..part.len().min(3)).unwrap_or_default());
    match (whole.parse::<u32>(), part.parse::<u32>()) {
        (Ok(whole), Ok(part)) => (whole * 1000 + part).min(1000),
        _ => 0,
    }
}

/// All metrics of a process.
#[derive(Clone, Debug, Default)]
pub struct Exposition(Arc<Registry>);

impl Exposition {
    /// What these collect, in this order.
    pub fn of(collectors: Vec<Box<dyn Collector>>) -> Self {
        let mut registry = Registry::default();
        for collector in collectors {
            registry.register_collector(collector);
        }
        Self(Arc::new(registry))
    }

    /// What they say now.
    ///
    /// # Errors
    /// A metric cannot be written, which a test rules out.
    pub fn render(&self, format: Format) -> Result<String, std::fmt::Error> {
        let mut open = String::new();
        text::encode(&mut open, &self.0)?;
        Ok(match format {
            Format::OpenMetrics => open,
            Format::Text => to_text_format(&open),
        })
    }
}

/// Writes OpenMetrics, as far as it is used here, in Prometheus' text format. Samples are the same in both; there a counter
/// carries its suffix in its description too, and there are neither units nor an end.
fn to_text_format(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let mut help: Option<(&str, &str)> = None;
    for line in open.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ');
        } else if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap_or((typed, "untyped"));
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, words)) = help.take().filter(|(described, _)| *described == name) {
                for part in ["# HELP ", name, suffix, " ", words, "\n"] {
                    text.push_str(part);
                }
            }
            for part in ["# TYPE ", name, suffix, " ", kind, "\n"] {
                text.push_str(part);
            }
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::{Counters, Definition, Histograms, Info, Kind, Reading};
    use super::*;

    const fn define(name: &'static str, kind: Kind, labels: &'static [&'static str]) -> Definition {
        Definition { name, kind, labels, help: "What it says." }
    }

    fn exposition() -> Exposition {
        let calls = Counters::new(define("calls_total", Kind::Counter, &["code", "who"]));
        calls.add(&["200", "a\\b\"c\nd"], 2);
        let spans = Histograms::new(define("span_seconds", Kind::Histogram, &[]), &[0.5, 1.0]);
        spans.observe(&[], 0.7);
        Exposition::of(vec![
            Box::new(calls),
            Box::new(Counters::new(define("waited_seconds_total", Kind::Counter, &[]))),
            Box::new(Counters::new(define("none_total", Kind::Counter, &["x"]))),
            Box::new(spans),
            Box::new(Reading::new(define("read_seconds_total", Kind::Counter, &[]), || 2.5)),
            Box::new(Reading::new(define("level", Kind::Gauge, &[]), || 1.5)),
            Box::new(Info::new(define("build_info", Kind::Gauge, &["version"]), &["7"])),
        ])
    }

    #[test]
    fn openmetrics_has_units_and_an_end() {
        let expected = concat!(
            "# HELP calls What it says.\n# TYPE calls counter\n",
            "calls_total{code=\"200\",who=\"a\\\\b\\\"c\\nd\"} 2\n",
            "# HELP waited_seconds What it says.\n# TYPE waited_seconds counter\n# UNIT waited_seconds seconds\n",
            "waited_seconds_total 0\n",
            "# HELP none What it says.\n# TYPE none counter\n",
            "# HELP span_seconds What it says.\n# TYPE span_seconds histogram\n# UNIT span_seconds seconds\n",
            "span_seconds_sum 0.7\nspan_seconds_count 1\nspan_seconds_bucket{le=\"0.5\"} 0\n",
            "span_seconds_bucket{le=\"1.0\"} 1\nspan_seconds_bucket{le=\"+Inf\"} 1\n",
            "# HELP read_seconds What it says.\n# TYPE read_seconds counter\n# UNIT read_seconds seconds\n",
            "read_seconds_total 2.5\n",
            "# HELP level What it says.\n# TYPE level gauge\nlevel 1.5\n",
            "# HELP build_info What it says.\n# TYPE build_info gauge\nbuild_info{version=\"7\"} 1.0\n# EOF\n",
        );
        assert_eq!(exposition().render(Format::OpenMetrics).unwrap(), expected);
    }

    #[test]
    fn the_text_format_names_counters_as_they_are_queried() {
        let expected = concat!(
            "# HELP calls_total What it says.\n# TYPE calls_total counter\n",
            "calls_total{code=\"200\",who=\"a\\\\b\\\"c\\nd\"} 2\n",
            "# HELP waited_seconds_total What it says.\n# TYPE waited_seconds_total counter\n",
            "waited_seconds_total 0\n",
            "# HELP none_total What it says.\n# TYPE none_total counter\n",
            "# HELP span_seconds What it says.\n# TYPE span_seconds histogram\n",
            "span_seconds_sum 0.7\nspan_seconds_count 1\nspan_seconds_bucket{le=\"0.5\"} 0\n",
            "span_seconds_bucket{le=\"1.0\"} 1\nspan_seconds_bucket{le=\"+Inf\"} 1\n",
            "# HELP read_seconds_total What it says.\n# TYPE read_seconds_total counter\nread_seconds_total 2.5\n",
            "# HELP level What it says.\n# TYPE level gauge\nlevel 1.5\n",
            "# HELP build_info What it says.\n# TYPE build_info gauge\nbuild_info{version=\"7\"} 1.0\n",
        );
        assert_eq!(exposition().render(Format::Text).unwrap(), expected);
    }

    #[test]
    fn openmetrics_is_for_who_asks_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for accept in [
            prometheus,
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; Version=\"1.0.0\"",
            "text/plain;q=0.5, application/openmetrics-text;q=0.6",
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.4",
        ] {
            assert_eq!(Format::wanted(accept), Format::OpenMetrics, "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/plain",
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "application/openmetrics-text;version=2.0.0,text/plain;q=0.1",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=nonsense",
            "application/openmetrics-text;q=0.2,text/plain;version=0.0.4",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
        ] {
            assert_eq!(Format::wanted(accept), Format::Text, "{accept}");
        }
    }
}
