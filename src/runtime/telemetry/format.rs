//! Log lines as JSON: one flat object, whose values a log tool can use as they are.

use std::borrow::Cow;
use std::fmt::{self, Debug, Write as _};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// What the names of fields end in that hold a list, written as JSON: an event's fields know no lists.
const LIST_SUFFIX: &str = "_ids";

/// `{"timestamp":…,"level":…,"message":…,…,"target":…}`
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let Fields(mut fields) = fields;
        let metadata = event.metadata();
        // These three are ours, whatever a library calls its fields.
        fields.remove("timestamp");
        fields.remove("level");
        fields.remove("target");
        let (time, level) = (Value::from(time), Value::from(metadata.level().as_str()));
        write!(writer, "{{\"timestamp\":{time},\"level\":{level}")?;
        for (name, value) in fields.remove_entry("message").into_iter().chain(fields) {
            write!(writer, ",{}:{}", Value::from(name), visible(&value.to_string()))?;
        }
        writeln!(writer, ",\"target\":{}}}", Value::from(metadata.target()))
    }
}

/// JSON with escapes for what is not seen and changes how the rest of a line is. All of it can only be in texts.
fn visible(json: &str) -> Cow<'_, str> {
    let is_hidden = |c: char| {
        let is_format = matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}');
        c.is_control() || is_format
    };
    if !json.contains(is_hidden) {
        return json.into();
    }
    let escape = |c: char| if is_hidden(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    json.chars().map(escape).collect::<String>().into()
}

struct Fields(Map<String, Value>);

impl Fields {
    fn insert(&mut self, field: &Field, value: impl Into<Value>) {
        // `r#type` is called `type`.
        let name = field.name();
        self.0.insert(name.strip_prefix("r#").unwrap_or(name).to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        if write!(text, "{value:?}").is_err() {
            return;
        }
        let list = field.name().ends_with(LIST_SUFFIX).then(|| serde_json::from_str(&text));
        match list {
            Some(Ok(Value::Array(list))) => self.insert(field, list),
            _ => self.insert(field, text),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing::{info, warn};
    use tracing_subscriber::fmt;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line(log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = fmt::layer().event_format(JsonLines).with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn object(line: &str) -> Value {
        assert!(line.ends_with('\n') && line.lines().count() == 1, "{line:?}");
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn values_keep_their_kinds() {
        let line = line(|| {
            info!(
                run_id = "1-spec",
                page = 3_i64,
                entries = 7_u64,
                dry_run = false,
                none = None::<i64>,
                "a page"
            );
        });
        let object = object(&line);
        assert_eq!(object["message"], "a page");
        assert_eq!((&object["run_id"], &object["page"]), (&Value::from("1-spec"), &Value::from(3)));
        assert_eq!((&object["entries"], &object["dry_run"]), (&Value::from(7), &Value::from(false)));
        assert_eq!(object.get("none"), None);
        assert_eq!(
            (&object["level"], &object["target"]),
            (&Value::from("INFO"), &Value::from(module_path!()))
        );
        let time: jiff::Timestamp = object["timestamp"].as_str().unwrap().parse().unwrap();
        assert!(time > jiff::Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn time_level_and_message_come_first() {
        let line = line(|| warn!(action = "resume", "a message"));
        let order = ["{\"timestamp\":", ",\"level\":\"WARN\"", ",\"message\":\"a message\"", ",\"action\":"];
        let places: Vec<_> = order.iter().map(|part| line.find(part).unwrap()).collect();
        assert!(places.is_sorted(), "{line}");
    }

    #[test]
    fn a_list_is_a_list() {
        let ids = ["wfr_1", "wfr_\"2\""];
        let list = Value::from(ids.to_vec());
        let line = line(|| info!(workflow_run_ids = %list, "listed"));
        assert_eq!(object(&line)["workflow_run_ids"], Value::from(ids.to_vec()));
    }

    #[test]
    fn what_only_looks_like_a_list_stays_text() {
        let line = line(|| info!(requested_by = "[1]", other_ids = %"{\"a\":1}", "asked"));
        let object = object(&line);
        assert_eq!((&object["requested_by"], &object["other_ids"]), (&"[1]".into(), &"{\"a\":1}".into()));
    }

    #[test]
    fn no_value_breaks_a_line_or_forges_a_key() {
        let hostile = "x\"}\n{\"level\":\"ERROR\",\u{1b}[31m\u{2028}";
        let line = line(|| info!(requested_by = hostile, level = "forged", target = "forged", "{hostile}"));
        let object = object(&line);
        assert_eq!((&object["requested_by"], &object["message"]), (&hostile.into(), &hostile.into()));
        assert_eq!((&object["level"], &object["target"]), (&"INFO".into(), &module_path!().into()));
        assert_eq!(line.matches("\"level\":\"").count(), 1, "{line}");
        assert!(!line.trim_end().contains(|c: char| c.is_control() || c == '\u{2028}'), "{line:?}");
    }
}
