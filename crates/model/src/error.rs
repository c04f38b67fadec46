//! The one error of the data plane. Its kind is an instruction to the engine; its text is for the person who mends it.
//!
//! Invariant: row values and secrets never stand in any part of it. Tables, columns, positions and counts do.

use std::fmt;
use std::time::Duration;

/// What the engine is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Connect again, with back-off; nothing is wrong with the data.
    Reconnect,
    /// Wait this long, then try the same again on the same connection.
    RetryAfter(Duration),
    /// These rows, by sequence, are refused for good; the rest of the batch may go on.
    RejectRows(Vec<u64>),
    /// Going on would lose or invent data. Stop, and wait for a person.
    Stop,
}

/// An error with an instruction, a message, and what to do next.
pub struct Error {
    kind: Kind,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A result of the data plane.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), detail: None, hint: None, source: None }
    }

    /// An error after which the connection is made anew.
    pub fn reconnect(message: impl Into<String>) -> Self {
        Self::new(Kind::Reconnect, message)
    }

    /// An error after which the same is tried again.
    pub fn retry_after(wait: Duration, message: impl Into<String>) -> Self {
        Self::new(Kind::RetryAfter(wait), message)
    }

    /// An error that concerns these rows alone.
    pub fn reject_rows(sequences: Vec<u64>, message: impl Into<String>) -> Self {
        Self::new(Kind::RejectRows(sequences), message)
    }

    /// An error that ends the work until a person has acted.
    pub fn stop(message: impl Into<String>) -> Self {
        Self::new(Kind::Stop, message)
    }

    /// Adds what was seen.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The instruction.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The primary message alone.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do next, if it is known.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.message.clone();
        if let Some(detail) = &self.detail {
            append_sentence(&mut text, detail);
        }
        let mut cause = self.source.as_deref().map(|cause| cause as &dyn std::error::Error);
        while let Some(error) = cause {
            let said = error.to_string();
            // Some errors end with their cause themselves.
            if !text.ends_with(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            cause = error.source();
        }
        if let Some(hint) = &self.hint {
            append_sentence(&mut text, hint);
        }
        f.write_str(&text)
    }
}

/// Ends a sentence, whether it has its full stop or not, and begins the next.
fn append_sentence(text: &mut String, next: &str) {
    if text.ends_with('.') {
        text.pop();
    }
    text.push_str(". ");
    text.push_str(next);
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Cause(&'static str, Option<Box<Cause>>);

    impl fmt::Display for Cause {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl std::error::Error for Cause {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    #[test]
    fn sentences_end_once_and_causes_are_said_once() {
        let io = || Some(Box::new(Cause("no such file", None)));
        let stop = || Error::stop("source shop ended");
        for (error, expected) in [
            (stop(), "source shop ended"),
            (stop().detail("It hangs.").hint("Wait."), "source shop ended. It hangs. Wait."),
            (stop().detail("It hangs").hint("Wait."), "source shop ended. It hangs. Wait."),
            (stop().detail("It hangs."), "source shop ended. It hangs."),
            (
                stop().source(Cause("cannot open a: no such file", io())),
                "source shop ended: cannot open a: no such file",
            ),
            (
                stop().source(Cause("cannot open a", io())).hint("Go."),
                "source shop ended: cannot open a: no such file. Go.",
            ),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }
}
