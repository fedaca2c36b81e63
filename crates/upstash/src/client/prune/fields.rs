//! What is read of an answer: all that [`response::read`](crate::response::read) looks at, and nothing else.

use crate::response::MAX_CURSOR_BYTES;
use crate::response::listed::{MAX_BASE64_BYTES, MAX_TEXT_BYTES};
use crate::types::{Detail, MAX_RESPONSE_BODY_BYTES};

/// A cursor that is too long must be seen to be, and a character has up to four bytes.
const MAX_CURSOR_READ: usize = MAX_CURSOR_BYTES + 4;

/// No field that is read has a longer name, in bytes.
pub(super) const MAX_NAME_BYTES: usize = 32;

/// What is read of a value. One of another form is as good as any other one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    /// The answer to a list.
    Answer,
    /// A list of entries.
    Messages,
    /// An entry.
    Entry,
    /// Names, each with a text or a list of texts.
    Headers,
    /// A text or a list of texts.
    Texts,
    /// A text of up to so many bytes.
    Text(usize),
}

impl Form {
    /// What an object or a list of this form ends with.
    pub(super) fn end(self) -> u8 {
        match self {
            Self::Answer | Self::Entry | Self::Headers => b'}',
            Self::Messages | Self::Texts | Self::Text(_) => b']',
        }
    }
}

type Field = (&'static str, Form);

const TEXT: Form = Form::Text(MAX_TEXT_BYTES);

const OF_AN_ANSWER: [Field; 2] = [("messages", Form::Messages), ("cursor", Form::Text(MAX_CURSOR_READ))];

const OF_AN_ENTRY: [Field; 11] = [
    ("dlqId", TEXT),
    ("workflowUrl", TEXT),
    ("workflowRunId", TEXT),
    ("workflowCreatedAt", TEXT),
    ("label", TEXT),
    ("labels", Form::Texts),
    ("failureFunctionState", TEXT),
    ("callerIP", TEXT),
    ("callerIp", TEXT),
    ("flowControlKey", TEXT),
    ("responseStatus", TEXT),
];

const OF_ITS_HEADERS: [Field; 2] = [("responseHeader", Form::Headers), ("responseHeaders", Form::Headers)];

const OF_ITS_BODY: [Field; 2] = [
    ("responseBody", Form::Text(MAX_RESPONSE_BODY_BYTES)),
    ("responseBodyBase64", Form::Text(MAX_BASE64_BYTES)),
];

/// What is read of the field with this name, and a number of its own.
pub(super) fn find(of: Form, detail: Detail, name: &[u8]) -> Option<(u32, Form)> {
    let fields: [&[Field]; 3] = match (of, detail) {
        (Form::Answer, _) => [&OF_AN_ANSWER, &[], &[]],
        (_, Detail::Brief) => [&OF_AN_ENTRY, &[], &[]],
        (_, Detail::Headers) => [&OF_AN_ENTRY, &OF_ITS_HEADERS, &[]],
        (_, Detail::Response) => [&OF_AN_ENTRY, &OF_ITS_HEADERS, &OF_ITS_BODY],
    };
    (0..)
        .zip(fields.into_iter().flatten())
        .find(|(_, field)| field.0.as_bytes() == name)
        .map(|(number, field)| (number, field.1))
}
