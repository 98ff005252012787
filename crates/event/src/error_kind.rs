//! What the person or program that meets an error should do.

/// Coarse kinds of failure. Inside the crates each operation has its own error type;
/// at an edge (exit code, HTTP status, retry loop) only this decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Passing: the same call may succeed later. Retry with a growing pause.
    Unavailable,
    /// The settings, rights or names are wrong: a person must change them. Do not retry.
    Settings,
    /// Somebody else moved the table on: read its state again and go on from there.
    Fenced,
    /// What was found contradicts what must hold (checksum, identity, gap): stop and show a person.
    Data,
}

impl ErrorKind {
    /// Whether waiting may help.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Unavailable | Self::Fenced)
    }
}
