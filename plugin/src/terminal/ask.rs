//! Whether the person at the terminal agrees.

use std::io;
use std::thread;

use tokio::sync::oneshot;

use super::{can_ask, tell};
use crate::outcome::Problem;
use dlq_upstash::error::visible;

/// How a person agrees to what a command is about to do.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct Consent {
    /// Do it without asking, as scripts need it
    #[arg(short, long)]
    pub yes: bool,
}

/// Says what is about to be done, and asks. An error if the answer is no, or if there is no terminal to ask at.
pub async fn consent(about: &str, consent: Consent) -> Result<(), Problem> {
    tell(about)?;
    if consent.yes {
        return Ok(());
    }
    if ask("Continue?").await? {
        Ok(())
    } else {
        Err(Problem::Failed("nothing was done: the answer was not y".to_owned()))
    }
}

/// Asks, and waits for a line. Anything but yes is no.
///
/// # Errors
/// There is no terminal to ask at.
pub async fn ask(question: &str) -> Result<bool, Problem> {
    if !can_ask() {
        return Err(no_terminal());
    }
    tell(&format!("{} [y/N] ", visible(question)))?;
    let (answer, answered) = oneshot::channel();
    // A thread of its own: nothing waits for it when the answer is not needed any more.
    thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line);
        // The receiver may be gone.
        let _ = answer.send(read.is_ok() && is_yes(&line));
    });
    Ok(answered.await.unwrap_or(false))
}

/// Why nothing is done where nobody can be asked.
pub fn no_terminal() -> Problem {
    let what = "nothing was done: there is no terminal to ask at; give --yes to do it without asking";
    Problem::Usage(what.to_owned())
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::is_yes;

    #[test]
    fn only_yes_is_yes() {
        assert!(["y", "Y", "yes", "YES\r\n", " y \n"].into_iter().all(is_yes));
        assert!(!["", "\n", "n", "no", "yep", "sure"].into_iter().any(is_yes));
    }
}
