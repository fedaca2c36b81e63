//! One text of an answer on its way, cut after so many bytes.

/// Where in the text the last byte was.
#[derive(Clone, Copy, Debug)]
enum At {
    Plain,
    /// After a backslash.
    Escape,
    /// So many hex digits of an escape are still to come, and those so far make this number.
    Digits(u8, u32),
}

/// A text that is kept up to a limit, in bytes of what it says, and never with a part of a character.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    at: At,
    kept: usize,
    limit: usize,
    is_cut: bool,
    /// So many bytes of a character that is kept are still to come.
    owed: usize,
    /// The first half of a character that takes two escapes.
    half: Option<u32>,
}

impl Text {
    pub(super) fn up_to(limit: usize) -> Self {
        Self { at: At::Plain, kept: 0, limit, is_cut: false, owed: 0, half: None }
    }

    /// How many bytes are kept of what the text says.
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    /// Whether the text is longer than its limit.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Appends what is kept of the next bytes, and gives what is left of them: begins with the quote at the text's end, or
    /// is empty.
    pub(super) fn push<'a>(&mut self, mut bytes: &'a [u8], into: &mut Vec<u8>) -> &'a [u8] {
        while let Some((&byte, rest)) = bytes.split_first() {
            bytes = match (self.at, byte) {
                (At::Plain, b'"') => {
                    self.repair(into);
                    return bytes;
                }
                (At::Plain, b'\\') => {
                    self.at = At::Escape;
                    rest
                }
                (At::Plain, _) => {
                    self.repair(into);
                    self.plain(bytes, into)
                }
                (At::Escape, b'u') => {
                    self.at = At::Digits(4, 0);
                    rest
                }
                (At::Escape, _) => {
                    self.repair(into);
                    self.at = At::Plain;
                    self.keep(&[b'\\', byte], 1, into);
                    rest
                }
                (At::Digits(left, code), _) => {
                    if let Some(digit) = char::from(byte).to_digit(16) {
                        self.digit(left - 1, (code << 4) | digit, into);
                        rest
                    } else {
                        // No JSON, and so is what is kept.
                        self.at = At::Plain;
                        self.keep(b"\\u!", 1, into);
                        bytes
                    }
                }
            };
        }
        bytes
    }

    /// Takes plain bytes, at least one.
    fn plain<'a>(&mut self, bytes: &'a [u8], into: &mut Vec<u8>) -> &'a [u8] {
        if self.is_cut {
            let skipped = bytes.iter().take_while(|byte| !matches!(byte, b'"' | b'\\')).count();
            return &bytes[skipped..];
        }
        let ascii = bytes.iter().take_while(|byte| byte.is_ascii() && !matches!(byte, b'"' | b'\\')).count();
        if ascii > 0 {
            let kept = ascii.min(self.limit - self.kept);
            self.keep(&bytes[..kept], kept, into);
            self.is_cut = kept < ascii;
            return &bytes[ascii..];
        }
        let byte = bytes[0];
        if self.owed > 0 && byte & 0b1100_0000 == 0b1000_0000 {
            self.owed -= 1;
            into.push(byte);
        } else {
            // The ones before the first zero say how many bytes the character has.
            let width = (byte.leading_ones() as usize).clamp(1, 4);
            self.owed = width - 1;
            self.keep(&[byte], width, into);
        }
        &bytes[1..]
    }

    fn digit(&mut self, left: u8, code: u32, into: &mut Vec<u8>) {
        if left > 0 {
            self.at = At::Digits(left, code);
            return;
        }
        self.at = At::Plain;
        match (self.half.take(), code) {
            (Some(half), 0xdc00..=0xdfff) => {
                let whole = 0x10000 + ((half - 0xd800) << 10) + (code - 0xdc00);
                self.character(whole, into);
            }
            (half, _) => {
                self.half = half;
                self.repair(into);
                if (0xd800..0xdc00).contains(&code) {
                    self.half = Some(code);
                } else {
                    self.character(code, into);
                }
            }
        }
    }

    /// A half without the other one makes a text that no parser takes, and with it the whole answer. Some encoders write
    /// it where a body was cut.
    fn repair(&mut self, into: &mut Vec<u8>) {
        if let Some(half) = self.half.take() {
            self.character(half, into);
        }
    }

    /// Keeps a character that was an escape, in fewer bytes where it needs none.
    fn character(&mut self, code: u32, into: &mut Vec<u8>) {
        let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        if matches!(character, '\0'..='\u{1f}' | '"' | '\\') {
            self.keep(format!("\\u{code:04x}").as_bytes(), 1, into);
        } else {
            self.keep(character.encode_utf8(&mut [0; 4]).as_bytes(), character.len_utf8(), into);
        }
    }

    /// Keeps what says so many bytes, if there is room for them.
    fn keep(&mut self, written: &[u8], says: usize, into: &mut Vec<u8>) {
        self.is_cut |= says > self.limit - self.kept;
        if !self.is_cut {
            self.kept += says;
            into.extend_from_slice(written);
        }
    }
}
