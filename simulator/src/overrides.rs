//! Override headers: what a resumed or restarted workflow run does differently from the one that failed.

use std::sync::Arc;

use http::HeaderMap;

use crate::{
    entry::Settings,
    flow_control::{FlowControl, LONGEST_PERIOD},
    refusal::Refusal,
};

/// The overrides of one call. What is `None` keeps each workflow run's original.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    retries: Option<u32>,
    delay: Option<Arc<str>>,
    retry_delay: Option<Arc<str>>,
    flow_control_key: Option<Arc<str>>,
    flow_control_value: Option<Arc<str>>,
    labels: Option<Arc<[Arc<str>]>>,
    failure_callback: Option<Arc<str>>,
}

impl Overrides {
    /// Reads the headers, and refuses what cannot be meant.
    pub fn read(headers: &HeaderMap) -> Result<Self, Refusal> {
        Ok(Self {
            retries: checked(headers, "Upstash-Retries", |text| digits(text)?.parse().ok())?,
            delay: checked(headers, "Upstash-Delay", |text| is_delay(text).then(|| text.into()))?,
            retry_delay: checked(headers, "Upstash-Retry-Delay", |text| {
                is_expression(text).then(|| text.into())
            })?,
            flow_control_key: checked(headers, "Upstash-Flow-Control-Key", |text| {
                is_name(text).then(|| text.into())
            })?,
            flow_control_value: checked(headers, "Upstash-Flow-Control-Value", |text| {
                is_flow_control(text).then(|| text.into())
            })?,
            labels: checked(headers, "Upstash-Label", labels)?,
            failure_callback: checked(headers, "Upstash-Failure-Callback", |text| {
                is_url(text).then(|| text.into())
            })?,
        })
    }

    /// The settings of a new workflow run, made from those of the one that failed.
    pub fn apply(&self, original: &Arc<Settings>) -> Arc<Settings> {
        if *self == Self::default() {
            return Arc::clone(original);
        }
        Arc::new(Settings {
            retries: self.retries.unwrap_or(original.retries),
            delay: self.delay.clone().or_else(|| original.delay.clone()),
            retry_delay: self.retry_delay.clone().or_else(|| original.retry_delay.clone()),
            flow_control_key: self.flow_control_key.clone().or_else(|| original.flow_control_key.clone()),
            flow_control_value: self
                .flow_control_value
                .clone()
                .or_else(|| original.flow_control_value.clone()),
            labels: self.labels.clone().unwrap_or_else(|| original.labels.clone()),
            failure_callback: self.failure_callback.clone().or_else(|| original.failure_callback.clone()),
        })
    }
}

fn checked<T>(
    headers: &HeaderMap,
    name: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::bad_request(format!("{name} can be given only once")));
    }
    // `to_str` takes visible ASCII and nothing else.
    let text = value.to_str().ok().map(str::trim).filter(|text| !text.is_empty());
    match text.and_then(read) {
        Some(value) => Ok(Some(value)),
        None => Err(Refusal::bad_request(format!("invalid {name} header"))),
    }
}

fn labels(text: &str) -> Option<Arc<[Arc<str>]>> {
    text.split(',').map(str::trim).map(|label| is_name(label).then(|| label.into())).collect()
}

/// The alphabet of labels and flow-control keys.
fn is_name(text: &str) -> bool {
    let in_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && text.bytes().all(in_alphabet)
}

fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

/// A number and one unit, such as `10s`.
fn is_delay(text: &str) -> bool {
    text.strip_suffix(['s', 'm', 'h', 'd']).and_then(digits).is_some()
}

/// A plausible expression over `retried`: known words, known signs, balanced parentheses.
fn is_expression(text: &str) -> bool {
    const WORDS: [&str; 10] =
        ["retried", "pow", "sqrt", "abs", "exp", "floor", "ceil", "round", "min", "max"];
    let mut depth = 0_u32;
    for sign in text.chars().filter(|sign| !sign.is_ascii_alphanumeric()) {
        match sign {
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            ' ' | '+' | '-' | '*' | '/' | '%' | '^' | '.' | ',' => {}
            _ => return false,
        }
    }
    depth == 0
        && text
            .split(|sign: char| !sign.is_ascii_alphanumeric())
            .all(|word| word.is_empty() || WORDS.contains(&word) || digits(word).is_some())
}

/// Flow control whose period the service takes.
fn is_flow_control(text: &str) -> bool {
    FlowControl::parse(text).is_some_and(|read| read.period.is_none_or(|period| period <= LONGEST_PERIOD))
}

fn is_url(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|url| {
        matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some_and(|host| !host.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn read(name: &'static str, value: &str) -> Result<Overrides, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_bytes(value.as_bytes()).expect("a legal header value"),
        );
        Overrides::read(&headers)
    }

    #[test]
    fn plausible_headers_are_taken() {
        for (name, value) in [
            ("upstash-retries", "0"),
            ("upstash-delay", "10s"),
            ("upstash-delay", "7d"),
            ("upstash-retry-delay", "(1 + retried) * 1000"),
            ("upstash-retry-delay", "min(86400000, pow(2, retried) * 1000)"),
            ("upstash-flow-control-key", "payments"),
            ("upstash-flow-control-key", "Team-1_eu.west"),
            ("upstash-flow-control-value", "parallelism=5, rate=10, period=1m"),
            ("upstash-flow-control-value", "rate=1"),
            ("upstash-flow-control-value", "period=7d"),
            ("upstash-flow-control-value", "period=604800"),
            ("upstash-label", "retried"),
            ("upstash-label", "a, b"),
            ("upstash-label", "Retried-1_by.hand"),
            ("upstash-failure-callback", "https://app.example.com/failed"),
        ] {
            assert!(read(name, value).is_ok(), "{name}: {value}");
        }
    }

    #[test]
    fn headers_that_cannot_be_meant_are_refused() {
        for (name, value) in [
            ("upstash-retries", "three"),
            ("upstash-retries", "-1"),
            ("upstash-retries", "1.5"),
            ("upstash-delay", "10"),
            ("upstash-delay", "1h30m"),
            ("upstash-delay", "s"),
            ("upstash-retry-delay", "(1 + retried"),
            ("upstash-retry-delay", "1 + tries"),
            ("upstash-retry-delay", "retried; drop"),
            ("upstash-flow-control-key", ""),
            ("upstash-flow-control-key", "fast lane"),
            ("upstash-flow-control-key", "a,b"),
            ("upstash-flow-control-key", "a/b"),
            ("upstash-flow-control-key", "caf\u{e9}"),
            ("upstash-flow-control-value", "parallelism=0"),
            ("upstash-flow-control-value", "speed=1"),
            ("upstash-flow-control-value", "rate=1, rate=2"),
            ("upstash-flow-control-value", ""),
            ("upstash-flow-control-value", "rate=1, period=8d"),
            ("upstash-flow-control-value", "period=604801"),
            ("upstash-flow-control-value", "period=10081m"),
            ("upstash-flow-control-value", "period=169h"),
            ("upstash-label", "a,,b"),
            ("upstash-label", "by hand"),
            ("upstash-label", "a, b:c"),
            ("upstash-label", "caf\u{e9}"),
            ("upstash-failure-callback", "/failed"),
            ("upstash-failure-callback", "ftp://app.example.com"),
        ] {
            let refusal = read(name, value).expect_err(value);
            assert_eq!(refusal.status, http::StatusCode::BAD_REQUEST, "{name}: {value}");
        }
    }
}
