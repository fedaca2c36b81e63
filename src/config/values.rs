//! What the values of flags may be.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::ValueEnum;

/// An action as a flag's value.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ActionFlag {
    Resume,
    Restart,
    Delete,
}

/// What the operator may do with Secrets.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum SecretAccess {
    Get,
    Watch,
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let problem = || "write a duration such as 500ms, 10s or 1m".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let parsed: jiff::SignedDuration = text.parse().map_err(|_| problem())?;
    Duration::try_from(parsed).map_err(|_| problem())
}

/// A list without its blanks, as an empty variable gives one, and with each name once.
pub(super) fn names(list: &[String]) -> Vec<String> {
    let names: BTreeSet<_> = list.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect();
    names.into_iter().map(str::to_owned).collect()
}

pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    duration(text).and_then(
        |span| {
            if span.is_zero() { Err("must be longer than 0".to_owned()) } else { Ok(span) }
        },
    )
}
