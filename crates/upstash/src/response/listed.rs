//! The entries of a list, as far as they can be read.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::token::Token;
use crate::types::{DlqId, ListedEntry};

/// A value of any form, of which no more is kept than can be told: an entry's field may be of another type, and large.
#[derive(Default)]
enum Loose {
    #[default]
    Other,
    Text(String),
    Number(i64),
    Texts(Vec<String>),
}

impl Loose {
    fn text(self) -> Option<String> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    fn number(self) -> Option<i64> {
        if let Self::Number(number) = self { Some(number) } else { None }
    }

    fn texts(self) -> Option<Vec<String>> {
        if let Self::Texts(texts) = self { Some(texts) } else { None }
    }
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Loose;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_str<E>(self, text: &str) -> Result<Loose, E> {
                Ok(Loose::Text(text.to_owned()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Loose, E> {
                Ok(Loose::Number(number))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Loose, E> {
                Ok(i64::try_from(number).map_or(Loose::Other, Loose::Number))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Loose, E> {
                Ok(Loose::Other)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Loose, E> {
                Ok(Loose::Other)
            }

            fn visit_unit<E>(self) -> Result<Loose, E> {
                Ok(Loose::Other)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Loose, A::Error> {
                let mut texts = Vec::new();
                while let Some(item) = items.next_element::<Loose>()? {
                    texts.extend(item.text());
                }
                Ok(Loose::Texts(texts))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Loose, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Loose::Other)
            }
        }

        deserializer.deserialize_any(Any)
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
    let (label, labels) = (message.label.text(), message.labels.texts());
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
        response_headers: BTreeMap::new(),
        response_body: None,
    })
}
