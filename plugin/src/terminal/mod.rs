//! The terminal: whether there is one, how wide it is, what is written to it, and what the person at it answers.

mod ask;
mod bar;
mod look;
mod screen;
mod table;
mod text;

use std::io::{self, IsTerminal as _};

pub use self::ask::{Consent, ask, consent, no_terminal};
pub use self::bar::bar;
pub use self::look::{Look, Paint};
pub use self::screen::{LiveLine, Screen};
pub use self::table::{Cell, Table};
pub use self::text::{fit, width_of, wrapped};
use crate::outcome::Problem;
/// What a terminal would take for a command, and what hides or turns text, is a space: an object may hold any character.
pub use dlq_upstash::error::visible;

/// Whether anybody still reads what is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reader {
    /// As far as is known.
    There,
    /// The pipe is closed, as `head` closes it.
    Gone,
}

/// Whether standard output is a terminal.
pub fn is_output_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether the terminal can draw over what it shows: one that calls itself dumb, as in some editors, cannot.
pub fn can_redraw() -> bool {
    std::env::var_os("TERM").is_some_and(|name| name != "dumb")
}

/// Whether a person can be asked: the question goes to standard error, and the answer comes from standard input.
pub fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Writes to standard output. A pipe that was closed at its other end ends a command quietly.
pub fn print(text: &str) -> Result<Reader, Problem> {
    write(io::stdout().lock(), text)
}

/// Writes to standard error.
pub fn tell(text: &str) -> Result<Reader, Problem> {
    write(io::stderr().lock(), text)
}

fn write(mut to: impl io::Write, text: &str) -> Result<Reader, Problem> {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Problem::Failed(format!("cannot write the output: {error}"))),
    }
}
