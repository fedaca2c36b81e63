//! Spans as OpenTelemetry knows them.
//!
//! The rest of the program names spans with `tracing`, under the target `trace`. Fields that begin with `otel.` say what a
//! span is; all others are attributes.
//!
//! | field | meaning |
//! | --- | --- |
//! | `otel.trace` | a text that the trace and its first span are named by: whoever knows it joins the trace |
//! | `otel.root` | this is that first span, told when it ends |
//! | `otel.start_ms` | when it began, in Unix milliseconds |
//! | `otel.client` | it is a call to another service |
//! | `otel.error` | what went wrong |

use std::fmt::Debug;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use sha2::{Digest, Sha256};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, Registry};

/// The target of all spans that are sent.
const TARGET: &str = "trace";

pub(super) fn is_sent(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == TARGET
}

/// Which span of which trace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Place {
    trace: TraceId,
    span: SpanId,
}

impl Place {
    /// The first span of the trace that is named by a text. Every process finds the same.
    fn named(text: &str) -> Self {
        let hash = Sha256::digest(text.as_bytes());
        let number =
            |bytes: &[u8]| bytes.iter().fold(0_u128, |number, byte| (number << 8) | u128::from(*byte));
        // Zero is no ID; that a hash is zero is not to be expected.
        let trace = TraceId::from(number(&hash[..16]).max(1));
        let span = u64::try_from(number(&hash[16..24])).unwrap_or(1).max(1);
        Self { trace, span: SpanId::from(span) }
    }

    fn random() -> Self {
        Self { trace: TraceId::from(fastrand::u128(1..)), span: random_span() }
    }
}

fn random_span() -> SpanId {
    SpanId::from(fastrand::u64(1..))
}

/// A span that has not ended.
struct Open {
    place: Place,
    parent: Option<SpanId>,
    began: SystemTime,
    fields: Fields,
}

/// Makes spans of OpenTelemetry out of those of `tracing`, and gives them to `ended`.
pub(super) struct Traces<F> {
    ended: F,
    now: fn() -> Timestamp,
    scope: InstrumentationScope,
}

impl<F: Fn(SpanData) + 'static> Traces<F> {
    pub(super) fn new(now: fn() -> Timestamp, ended: F) -> Self {
        let scope =
            InstrumentationScope::builder("dlq-operator").with_version(env!("CARGO_PKG_VERSION")).build();
        Self { ended, now, scope }
    }
}

impl<S, F> Layer<S> for Traces<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    F: Fn(SpanData) + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let above = span.parent().and_then(|parent| parent.extensions().get::<Open>().map(|open| open.place));
        let first = fields.trace.as_deref().map(Place::named);
        let (place, parent) = match (first, above) {
            (Some(first), _) if fields.is_root => (first, None),
            (Some(above), _) | (None, Some(above)) => {
                (Place { span: random_span(), ..above }, Some(above.span))
            }
            (None, None) => (Place::random(), None),
        };
        let began = fields.began.unwrap_or_else(|| (self.now)().into());
        span.extensions_mut().insert(Open { place, parent, began, fields });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            values.record(&mut open.fields);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(open) = span.extensions_mut().remove::<Open>() else { return };
        let Open { place, parent, began, fields } = open;
        let flags = TraceFlags::SAMPLED;
        (self.ended)(SpanData {
            span_context: SpanContext::new(place.trace, place.span, flags, false, TraceState::NONE),
            parent_span_id: parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: false,
            span_kind: if fields.is_client { SpanKind::Client } else { SpanKind::Internal },
            name: span.name().into(),
            start_time: began,
            // A clock can be set back meanwhile.
            end_time: SystemTime::from((self.now)()).max(began),
            attributes: fields.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: fields.error.map_or(Status::Unset, Status::error),
            instrumentation_scope: self.scope.clone(),
        });
    }
}

/// The header by which a call tells which span it belongs to; nothing where none is sent.
pub(super) fn traceparent() -> Option<String> {
    let place = tracing::Span::current().with_subscriber(|(id, dispatch)| {
        let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
        span.extensions().get::<Open>().map(|open| open.place)
    });
    place.flatten().map(|Place { trace, span }| format!("00-{trace}-{span}-01"))
}

#[derive(Default)]
struct Fields {
    trace: Option<String>,
    is_root: bool,
    is_client: bool,
    began: Option<SystemTime>,
    error: Option<String>,
    attributes: Vec<KeyValue>,
}

impl Fields {
    fn attribute(&mut self, field: &Field, value: impl Into<Value>) {
        let value = value.into();
        match self.attributes.iter_mut().find(|known| known.key.as_str() == field.name()) {
            Some(known) => known.value = value,
            None => self.attributes.push(KeyValue::new(field.name(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        match field.name() {
            "otel.root" => self.is_root = value,
            "otel.client" => self.is_client = value,
            _ => self.attribute(field, value),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        match field.name() {
            "otel.start_ms" => {
                self.began = u64::try_from(value)
                    .ok()
                    .map(|millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
            }
            _ => self.attribute(field, value),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.attribute(field, i64::try_from(value).unwrap_or(i64::MAX));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.attribute(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "otel.trace" => self.trace = Some(value.to_owned()),
            "otel.error" => self.error = Some(value.to_owned()),
            _ => self.attribute(field, value.to_owned()),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::field::Empty;
    use tracing::{info_span, warn_span};
    use tracing_subscriber::filter::filter_fn;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-20T12:00:00Z".parse().unwrap()
    }

    /// The spans that ended, in that order.
    fn ended(work: impl FnOnce()) -> Vec<SpanData> {
        let spans = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&spans);
        let layer =
            Traces::new(now, move |span| taken.lock().unwrap().push(span)).with_filter(filter_fn(is_sent));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        spans.lock().unwrap().clone()
    }

    fn attribute(span: &SpanData, key: &str) -> Option<String> {
        let found = span.attributes.iter().find(|known| known.key.as_str() == key);
        found.map(|known| known.value.to_string())
    }

    #[test]
    fn every_process_and_every_version_names_a_trace_alike() {
        let place = Place::named("0b1c/1763647200-schedule");
        assert_eq!(place, Place::named("0b1c/1763647200-schedule"));
        assert_eq!(place.trace.to_string(), "5e85445610dbe53bcce4473c3556e1c3");
        assert_eq!(place.span.to_string(), "6c06a5ba96ceb24c");
        assert_ne!(place.trace, Place::named("0b1c/1763647201-schedule").trace);
    }

    #[test]
    fn a_named_trace_has_one_first_span_which_is_told_last() {
        let spans = ended(|| {
            for _ in 0..2 {
                let slice = info_span!(target: "trace", "slice", otel.trace = "a run");
                let _in_slice = slice.enter();
                drop(info_span!(target: "trace", "page"));
            }
            drop(
                info_span!(target: "trace", "run", otel.trace = "a run", otel.root = true, otel.start_ms = 7_i64),
            );
        });
        let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
        assert_eq!(names, ["page", "slice", "page", "slice", "run"]);
        let id = |index: usize| spans[index].span_context.span_id();
        let parents: Vec<_> = spans.iter().map(|span| span.parent_span_id).collect();
        assert_eq!(parents, [id(1), id(4), id(3), id(4), SpanId::INVALID]);
        assert!(spans.iter().all(|span| span.span_context.trace_id() == spans[0].span_context.trace_id()));
        assert_eq!(spans[4].start_time, SystemTime::UNIX_EPOCH + Duration::from_millis(7));
        assert_eq!(spans[4].end_time, SystemTime::from(now()));
    }

    #[test]
    fn the_header_names_the_span_that_is_under_way() {
        let mut told = Vec::new();
        let spans = ended(|| {
            told.push(traceparent());
            let page = info_span!(target: "trace", "page");
            let _in_page = page.enter();
            told.push(traceparent());
        });
        let context = &spans[0].span_context;
        let expected = format!("00-{}-{}-01", context.trace_id(), context.span_id());
        assert_eq!(told, [None, Some(expected)]);
    }

    #[test]
    fn what_is_recorded_later_replaces_what_was_there() {
        let spans = ended(|| {
            let span =
                info_span!(target: "trace", "page", entries = 1_u64, otel.client = true, otel.error = Empty);
            span.record("entries", 50_u64).record("otel.error", "no answer");
        });
        assert_eq!(attribute(&spans[0], "entries").as_deref(), Some("50"));
        assert_eq!((&spans[0].span_kind, &spans[0].status), (&SpanKind::Client, &Status::error("no answer")));
        assert!(spans[0].attributes.iter().all(|known| !known.key.as_str().starts_with("otel.")));
    }

    #[test]
    fn spans_of_others_are_not_sent() {
        let spans = ended(|| {
            let outer = warn_span!("reconciling object");
            let _in_outer = outer.enter();
            drop(info_span!(target: "trace", "status write"));
        });
        let [write] = &spans[..] else { panic!("{spans:#?}") };
        assert_eq!((&*write.name, write.parent_span_id), ("status write", SpanId::INVALID));
    }
}
