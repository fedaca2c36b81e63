//! The entries of a list, as far as they can be read.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::token::Token;
use crate::types::{DlqId, ListedEntry, MAX_RESPONSE_BODY_BYTES};

/// What of each text of an entry is read, in bytes, but for a response's body. No filter is as long.
pub(crate) const MAX_TEXT_BYTES: usize = 4096;

/// What all labels of an entry, or all its headers, may take of memory.
pub(crate) const MAX_TEXTS_BYTES: usize = 64 * 1024;

/// What a text takes beside its own bytes.
const TEXT_OVERHEAD: usize = 32;

/// What of a body in base64 is read: whole groups, of which each is three bytes.
pub(crate) const MAX_BASE64_BYTES: usize = MAX_RESPONSE_BODY_BYTES.div_ceil(3) * 4;

/// What labels or headers may still take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(MAX_TEXTS_BYTES)
    }
}

impl Room {
    #[cfg(feature = "client")]
    pub(crate) fn is_left(self) -> bool {
        self.0 > 0
    }

    /// For a text of so many bytes.
    pub(crate) fn take(&mut self, bytes: usize) {
        self.0 = self.0.saturating_sub(bytes + TEXT_OVERHEAD);
    }

    /// Whether a text fits. After the first that does not, none does.
    fn admits(&mut self, text: &str) -> bool {
        let fits = text.len() + TEXT_OVERHEAD <= self.0;
        if fits {
            self.take(text.len());
        } else {
            self.0 = 0;
        }
        fits
    }
}

/// The beginning of a text: at most so many bytes, and whole characters.
fn beginning(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A value of any form, of which no more is kept than can be told: an entry's field may be of another type, and large.
/// Of each text this many bytes.
#[derive(Default)]
enum Loose<const MOST: usize = MAX_TEXT_BYTES> {
    #[default]
    Other,
    Text(String),
    Number(i64),
    Texts(Vec<String>),
    /// Names, each with its texts.
    Named(Vec<(String, Vec<String>)>),
}

impl<const MOST: usize> Loose<MOST> {
    fn text(self) -> Option<String> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    fn number(self) -> Option<i64> {
        if let Self::Number(number) = self { Some(number) } else { None }
    }

    fn texts(self) -> Option<Vec<String>> {
        if let Self::Texts(texts) = self { Some(texts) } else { None }
    }

    fn named(self) -> Vec<(String, Vec<String>)> {
        if let Self::Named(named) = self { named } else { Vec::new() }
    }
}

impl<'de, const MOST: usize> Deserialize<'de> for Loose<MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any<const MOST: usize>;

        impl<'de, const MOST: usize> Visitor<'de> for Any<MOST> {
            type Value = Loose<MOST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_str<E>(self, text: &str) -> Result<Loose<MOST>, E> {
                Ok(Loose::Text(beginning(text, MOST).to_owned()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Loose<MOST>, E> {
                Ok(Loose::Number(number))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Loose<MOST>, E> {
                Ok(i64::try_from(number).map_or(Loose::Other, Loose::Number))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Loose<MOST>, E> {
                Ok(Loose::Other)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Loose<MOST>, E> {
                Ok(Loose::Other)
            }

            fn visit_unit<E>(self) -> Result<Loose<MOST>, E> {
                Ok(Loose::Other)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Loose<MOST>, A::Error> {
                let (mut texts, mut room) = (Vec::new(), Room::default());
                while let Some(item) = items.next_element::<Loose>()? {
                    texts.extend(item.text().filter(|text| room.admits(text)));
                }
                Ok(Loose::Texts(texts))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Loose<MOST>, A::Error> {
                let (mut named, mut room) = (Vec::new(), Room::default());
                while let Some((name, value)) = map.next_entry::<String, Loose>()? {
                    if name.len() > MAX_TEXT_BYTES || !room.admits(&name) {
                        continue;
                    }
                    let texts = match value {
                        Loose::Text(text) => vec![text],
                        value => value.texts().unwrap_or_default(),
                    };
                    named.push((name, texts.into_iter().filter(|text| room.admits(text)).collect()));
                }
                Ok(Loose::Named(named))
            }
        }

        deserializer.deserialize_any(Any::<MOST>)
    }
}

/// One entry that cannot be read must not hide the others: each field is read by itself.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ListedBody {
    dlq_id: Loose,
    workflow_url: Loose,
    workflow_run_id: Loose,
    workflow_created_at: Loose,
    label: Loose,
    labels: Loose,
    failure_function_state: Loose,
    #[serde(rename = "callerIP")]
    caller_ip: Loose,
    /// As the reference spells it.
    #[serde(rename = "callerIp")]
    caller_ip_in_the_reference: Loose,
    flow_control_key: Loose,
    response_status: Loose,
    response_header: Loose,
    /// In case of a correction.
    response_headers: Loose,
    response_body: Loose<MAX_RESPONSE_BODY_BYTES>,
    response_body_base64: Loose<MAX_BASE64_BYTES>,
}

impl ListedBody {
    /// Whether the answer is an entry at all.
    pub(super) fn is_an_entry(&self) -> bool {
        matches!(self.dlq_id, Loose::Text(_))
    }
}

/// The entry, unless its ID cannot be sent back.
pub(super) fn entry(message: ListedBody, token: &Token) -> Option<ListedEntry> {
    let id = message.dlq_id.text().filter(|id| !token.is_in(id)).and_then(DlqId::parse)?;
    let (headers, others) = (message.response_header.named(), message.response_headers.named());
    let response_headers = by_name(if headers.is_empty() { others } else { headers }, token);
    let response_body = match message.response_body.text() {
        None => message.response_body_base64.text().and_then(|text| decoded(&text)),
        body => body,
    };
    let (label, labels) = (message.label.text(), message.labels.texts());
    // Some may have been left out, and one that counts may be among them: such an entry must not be acted on.
    let takes = |label: &String| label.len() + TEXT_OVERHEAD;
    let most = MAX_TEXTS_BYTES - MAX_TEXT_BYTES - TEXT_OVERHEAD;
    if labels.iter().flatten().map(takes).sum::<usize>() > most {
        return None;
    }
    Some(ListedEntry {
        id,
        workflow_url: message.workflow_url.text(),
        workflow_run_id: message.workflow_run_id.text(),
        workflow_created_at: message.workflow_created_at.number(),
        labels: match labels {
            Some(labels) if !labels.is_empty() || label.is_none() => Some(labels),
            _ => label.map(|label| vec![label]),
        },
        failure_function_state: message.failure_function_state.text(),
        caller_ip: message.caller_ip.text().or(message.caller_ip_in_the_reference.text()),
        flow_control_key: message.flow_control_key.text(),
        response_status: message.response_status.number().and_then(|status| u16::try_from(status).ok()),
        response_headers,
        response_body: response_body.filter(|body| !token.is_in(body)),
    })
}

/// Headers whose names differ in nothing but case are one.
fn by_name(headers: Vec<(String, Vec<String>)>, token: &Token) -> BTreeMap<String, Vec<String>> {
    let mut by_name = BTreeMap::<_, Vec<_>>::new();
    for (name, values) in headers {
        let values: Vec<_> = values.into_iter().filter(|value| !token.is_in(value)).collect();
        if !values.is_empty() && !token.is_in(&name) {
            by_name.entry(name.to_ascii_lowercase()).or_default().extend(values);
        }
    }
    by_name
}

/// The beginning of a body in base64, where it is text.
fn decoded(base64: &str) -> Option<String> {
    // Encoders differ in whether they fill up the last group.
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let mut bytes = LENIENT.decode(base64).ok()?;
    let is_cut = bytes.len() > MAX_RESPONSE_BODY_BYTES;
    bytes.truncate(MAX_RESPONSE_BODY_BYTES);
    if let Err(error) = str::from_utf8(&bytes)
        && is_cut
        && error.error_len().is_none()
    {
        bytes.truncate(error.valid_up_to());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
#[path = "listed_tests.rs"]
mod tests;
