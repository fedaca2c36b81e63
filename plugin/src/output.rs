//! What a command prints.

use std::io::{self, ErrorKind, Write};

use crate::outcome::Problem;

/// Prints what the command was asked for on standard output. Nobody may read it to its end: `… | head` is no failure.
///
/// # Errors
/// It cannot be written, as to a full disk.
pub fn print(text: &str) -> Result<(), Problem> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Problem::Failed(format!("cannot print: {error}")))
        }
        _ => Ok(()),
    }
}

/// Says something beside that, on standard error.
pub fn say(text: &str) {
    // Nobody is left to tell when it is closed.
    let _ = writeln!(io::stderr(), "{text}");
}
