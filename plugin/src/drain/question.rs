//! Asks before something is done.

use std::io::{self, IsTerminal, Write};
use std::thread;

use tokio::sync::oneshot;

use crate::outcome::Problem;

/// Whether somebody can be asked.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks, and waits for a line. Anything but yes is no.
///
/// # Errors
/// There is no terminal to ask at.
pub(super) async fn ask(question: &str) -> Result<bool, Problem> {
    if !can_ask() {
        return Err(refusal());
    }
    let mut terminal = io::stderr();
    let shown = write!(terminal, "{question} [y/N] ").and_then(|()| terminal.flush());
    shown.map_err(|error| Problem::Failed(format!("cannot ask: {error}")))?;
    let (tell, told) = oneshot::channel();
    // A thread of its own: nothing waits for it when the answer is not needed any more.
    thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line);
        // The receiver may be gone.
        let _ = tell.send(read.is_ok() && is_yes(&line));
    });
    Ok(told.await.unwrap_or(false))
}

/// Why nothing is done where nobody can be asked.
pub(super) fn refusal() -> Problem {
    Problem::Usage(
        "there is no terminal to ask at, so nothing was done; add --yes to act without a question".to_owned(),
    )
}

fn is_yes(line: &str) -> bool {
    matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        for line in ["y\n", "Y", "yes\n", " Yes \r\n"] {
            assert!(is_yes(line), "{line:?}");
        }
        for line in ["", "\n", "n", "no", "ye", "yess", "ja"] {
            assert!(!is_yes(line), "{line:?}");
        }
    }
}
