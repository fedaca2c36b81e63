//! What writes are for.

/// What a write is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// Says what was decided.
    Settle,
    /// Makes a new run this process'.
    Claim,
    /// Makes the run of another process this one's.
    TakeOver,
    /// Keeps what the run did.
    Checkpoint,
    /// Asks for an approval of the run, and gives it back meanwhile.
    Ask,
    /// Ends the run.
    Finish,
    /// Gives the run back.
    Release,
}

impl Purpose {
    /// Whether this process makes no call for the run after it.
    pub fn ends_work(self) -> bool {
        matches!(self, Self::Ask | Self::Finish | Self::Release)
    }
}
