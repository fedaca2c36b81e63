//! Cuts an answer that shows entries down to what is read of it, while it arrives: bodies and headers of customers may be
//! large, and most of them nobody reads here.
//!
//! What is kept is JSON if the answer is, and reads the same. It has a bounded number of bytes for each entry, whatever the
//! answer holds: texts are cut, lists of them and headers end, and what is not read is left out.

mod fields;
mod text;

use self::fields::{Form, MAX_NAME_BYTES};
use self::text::Text;
use crate::response::listed::{MAX_TEXT_BYTES, Room};
use crate::types::{Call, Detail};

/// A longer number is none that is read.
const MAX_SCALAR_BYTES: usize = 32;

/// Where in an answer the last byte was.
#[derive(Clone, Copy, Debug)]
enum At {
    /// Before an object's next name, or its first one.
    BeforeName {
        is_first: bool,
    },
    /// In a name, of which what is kept begins here.
    Name(Text, usize),
    /// Between a name and its colon. Of the value this is kept.
    AfterName(Option<Form>),
    /// Before a value, of which this is kept.
    BeforeValue(Option<Form>),
    /// Before a list's next item, or its first one.
    BeforeItem {
        is_first: bool,
    },
    /// In a text, and whether it is kept.
    Text(Text, bool),
    /// In a number, `true`, `false` or `null`, of which what is kept begins here.
    Scalar(Option<usize>),
    /// In so many objects and lists that are left out, and the text in them.
    LeftOut(usize, Option<Text>),
    AfterValue,
    /// In what is no JSON.
    Broken,
}

/// An object or a list that is kept.
#[derive(Clone, Copy, Debug)]
struct Level {
    form: Form,
    /// A bit for each field that was there.
    seen: u32,
}

/// Keeps what is read of an answer.
#[derive(Debug)]
pub(crate) struct Pruner {
    detail: Detail,
    at: At,
    levels: Vec<Level>,
    /// What still fits into the labels or headers that the last byte was in.
    room: Room,
}

impl Pruner {
    /// For the answer to this call, if it shows entries.
    pub(crate) fn of(call: &Call) -> Option<Self> {
        match call {
            Call::List { detail, .. } => Some(Self::new(Form::Answer, *detail)),
            Call::Get { .. } => Some(Self::new(Form::Entry, Detail::Brief)),
            Call::Bulk { .. } | Call::Single { .. } => None,
        }
    }

    fn new(form: Form, detail: Detail) -> Self {
        Self { detail, at: At::BeforeValue(Some(form)), levels: Vec::new(), room: Room::default() }
    }

    /// Appends what is kept of the next bytes to what was kept of those before.
    pub(crate) fn push(&mut self, mut bytes: &[u8], into: &mut Vec<u8>) {
        while let Some((&byte, rest)) = bytes.split_first() {
            bytes = match &mut self.at {
                At::Broken => return,
                At::Name(text, _) | At::Text(text, _) | At::LeftOut(_, Some(text)) => {
                    let left = text.push(bytes, into);
                    let Some((_, rest)) = left.split_first() else { return };
                    self.end_text(into);
                    rest
                }
                At::LeftOut(depth, text) => {
                    match byte {
                        b'"' => *text = Some(Text::up_to(0)),
                        b'{' | b'[' => *depth += 1,
                        b'}' | b']' => *depth -= 1,
                        _ => {}
                    }
                    if *depth == 0 {
                        self.at = At::AfterValue;
                    }
                    rest
                }
                At::Scalar(from) => {
                    if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.') {
                        keep_scalar(byte, from, into);
                        rest
                    } else {
                        self.at = At::AfterValue;
                        bytes
                    }
                }
                _ => {
                    if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                        self.mark(byte, into);
                    }
                    rest
                }
            };
        }
    }

    /// Takes a byte between texts and numbers.
    fn mark(&mut self, byte: u8, into: &mut Vec<u8>) {
        let end = self.form().map(Form::end);
        match (self.at, byte) {
            (At::BeforeName { .. }, b'"') => self.begin_name(into),
            (At::AfterName(form), b':') => self.at = At::BeforeValue(form),
            (At::BeforeValue(form), _) => self.begin_value(form, byte, into),
            (At::AfterValue, b',') if end == Some(b'}') => self.at = At::BeforeName { is_first: false },
            (At::AfterValue, b',') if end == Some(b']') => self.at = At::BeforeItem { is_first: false },
            (At::AfterValue | At::BeforeName { is_first: true } | At::BeforeItem { is_first: true }, _)
                if end == Some(byte) =>
            {
                into.push(byte);
                self.levels.pop();
                self.at = At::AfterValue;
            }
            (At::BeforeItem { .. }, _) => self.begin_item(byte, into),
            _ => self.give_up(into),
        }
    }

    fn begin_name(&mut self, into: &mut Vec<u8>) {
        let limit = if self.form() == Some(Form::Headers) { MAX_TEXT_BYTES } else { MAX_NAME_BYTES };
        let start = into.len();
        separate(into);
        into.push(b'"');
        self.at = At::Name(Text::up_to(limit), start);
    }

    fn end_text(&mut self, into: &mut Vec<u8>) {
        match self.at {
            At::Name(name, start) => self.end_name(name, start, into),
            At::LeftOut(depth, _) => self.at = At::LeftOut(depth, None),
            At::Text(text, is_kept) => {
                if is_kept {
                    into.push(b'"');
                    self.room.take(text.kept());
                }
                self.at = At::AfterValue;
            }
            _ => {}
        }
    }

    /// Takes the name away again where its value is not read.
    fn end_name(&mut self, name: Text, start: usize, into: &mut Vec<u8>) {
        let Some(level) = self.levels.last_mut() else { return self.give_up(into) };
        let form = if level.form == Form::Headers {
            let is_kept = !name.is_cut() && self.room.is_left();
            if is_kept {
                self.room.take(name.kept());
            }
            is_kept.then_some(Form::Texts)
        } else {
            self.room = Room::default();
            let written = into.get(start..).unwrap_or_default();
            let written = written.strip_prefix(b",").unwrap_or(written);
            let field = fields::find(level.form, self.detail, written.get(1..).unwrap_or_default());
            let bit = field.map_or(0, |(number, _)| 1 << number);
            if level.seen & bit != 0 {
                // The reader could not tell which of the two is meant.
                return self.give_up(into);
            }
            level.seen |= bit;
            field.map(|(_, form)| form)
        };
        match form {
            Some(_) => into.extend_from_slice(b"\":"),
            None => into.truncate(start),
        }
        self.at = At::AfterName(form);
    }

    fn begin_item(&mut self, byte: u8, into: &mut Vec<u8>) {
        let form = match self.form() {
            Some(Form::Messages) => Some(Form::Entry),
            _ => (byte == b'"' && self.room.is_left()).then_some(Form::Text(MAX_TEXT_BYTES)),
        };
        if form.is_some() {
            separate(into);
        }
        self.begin_value(form, byte, into);
    }

    fn begin_value(&mut self, form: Option<Form>, byte: u8, into: &mut Vec<u8>) {
        match (form, byte) {
            (Some(form @ (Form::Answer | Form::Entry | Form::Headers)), b'{') => {
                self.enter(form, At::BeforeName { is_first: true }, byte, into);
            }
            (Some(form @ (Form::Messages | Form::Texts)), b'[') => {
                self.enter(form, At::BeforeItem { is_first: true }, byte, into);
            }
            (Some(Form::Text(limit)), b'"') => self.begin_text(limit, into),
            (Some(Form::Texts), b'"') => self.begin_text(MAX_TEXT_BYTES, into),
            (_, b'"' | b'{' | b'[') => {
                if form.is_some() {
                    // Another form than is read, as what it stands for.
                    into.extend_from_slice(b"false");
                }
                let is_text = byte == b'"';
                self.at = if is_text { At::Text(Text::up_to(0), false) } else { At::LeftOut(1, None) };
            }
            (_, b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
                let mut from = form.map(|_| into.len());
                keep_scalar(byte, &mut from, into);
                self.at = At::Scalar(from);
            }
            _ => self.give_up(into),
        }
    }

    fn begin_text(&mut self, limit: usize, into: &mut Vec<u8>) {
        into.push(b'"');
        self.at = At::Text(Text::up_to(limit), true);
    }

    fn enter(&mut self, form: Form, at: At, byte: u8, into: &mut Vec<u8>) {
        into.push(byte);
        self.levels.push(Level { form, seen: 0 });
        self.at = at;
    }

    /// What the last byte is in, as far as it is kept.
    fn form(&self) -> Option<Form> {
        self.levels.last().map(|level| level.form)
    }

    /// What is no JSON stays none: no part of an answer may pass for the whole.
    fn give_up(&mut self, into: &mut Vec<u8>) {
        into.push(b'\0');
        self.at = At::Broken;
    }
}

/// Ends what was kept before in the same object or list.
fn separate(into: &mut Vec<u8>) {
    if !matches!(into.last(), Some(b'{' | b'[')) {
        into.push(b',');
    }
}

fn keep_scalar(byte: u8, from: &mut Option<usize>, into: &mut Vec<u8>) {
    let Some(start) = *from else { return };
    if into.len().saturating_sub(start) < MAX_SCALAR_BYTES {
        into.push(byte);
    } else {
        into.truncate(start);
        into.extend_from_slice(b"false");
        *from = None;
    }
}

#[cfg(test)]
#[path = "prune_tests.rs"]
mod tests;
