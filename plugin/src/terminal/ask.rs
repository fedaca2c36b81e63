//! Whether the person at the terminal agrees.

use std::io::{self, BufRead as _};

use super::{can_ask, tell};
use crate::outcome::Problem;

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
    if !can_ask() {
        let message = "nothing was done: there is no terminal to ask at; give --yes to do it without asking";
        return Err(Problem::Failed(message.to_owned()));
    }
    tell("Continue? [y/N] ")?;
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map(|_| answer)
    });
    let answer = answer.await.ok().and_then(Result::ok).unwrap_or_default();
    if is_yes(&answer) {
        Ok(())
    } else {
        Err(Problem::Failed("nothing was done: the answer was not y".to_owned()))
    }
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
