//! The one error of this crate: a sentence for whoever reads the failed test. Never shows as an escaped string, so that
//! `unwrap` in a test prints it as it was written.

use std::fmt;

/// What went wrong, with the end of the server's log where there is one.
pub struct Error(String);

/// `Ok` or a sentence that says what to do.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error that reads as `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// Names the attempt that an underlying error ended.
pub(crate) trait Attempt<T> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: fmt::Display> Attempt<T> for std::result::Result<T, E> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error(format!("{}: {error}", what())))
    }
}
