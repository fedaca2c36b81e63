//! How a command ends: its exit code, and what is said of a failure.

use std::process::ExitCode;

use thiserror::Error;

/// How a command that could do its work ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// What was asked for is done. Exit code 0.
    Done,
    /// A run that was waited for failed or was cancelled. Exit code 3.
    RunFailed,
    /// Nothing matched, and `--fail-if-empty` was given. Exit code 4.
    Empty,
}

/// Why a command could not do its work.
#[derive(Debug, Error)]
pub enum Problem {
    /// Exit code 1.
    #[error("{0}")]
    Failed(String),
    /// The command line asks for what cannot be. Exit code 2, as clap's own.
    #[error("{0}")]
    Usage(String),
}

impl Outcome {
    /// The exit code of the process.
    pub fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Done => 0,
            Self::RunFailed => 3,
            Self::Empty => 4,
        })
    }
}

impl Problem {
    /// The exit code of the process.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
        })
    }
}
