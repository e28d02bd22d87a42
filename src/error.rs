//! One error for the whole crate: what went wrong, where, and what to do next.
//!
//! ```
//! use foretap::{Error, ErrorKind};
//! let error = Error::new(ErrorKind::Data, "`31/31/2019` is not a date")
//!     .file("phone.csv")
//!     .line(17)
//!     .field("Date")
//!     .next_step("check that the export was not edited");
//! assert_eq!(
//!     error.to_string(),
//!     "phone.csv, line 17, field `Date`: `31/31/2019` is not a date; check that the export was not edited"
//! );
//! ```

use std::fmt;
use std::path::{Path, PathBuf};

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What kind of thing went wrong: the part of an error that a program acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file could not be read or written.
    Io,
    /// A file's content is not what its format promises.
    Data,
    /// A setting is impossible or contradicts another.
    Config,
    /// A file of foretap's own (a model, a bundle, a history) is damaged, or of a version that this build does not read.
    Model,
    /// Training went astray: the loss grew instead of falling, or is no number.
    Diverged,
    /// What should compute is not there, or failed.
    Device,
    /// Whoever asked for a long job called it off ([`Progress::is_cancelled`](crate::Progress::is_cancelled)).
    Cancelled,
}

/// An error with its place and the reader's next step.
#[derive(Debug)]
pub struct Error {
    // Boxed: a `Result` travels through hot loops, and an error is rare.
    detail: Box<Detail>,
}

#[derive(Debug)]
struct Detail {
    kind: ErrorKind,
    message: String,
    file: Option<PathBuf>,
    line: Option<u64>,
    field: Option<String>,
    next_step: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind` that says what is wrong in `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            detail: Box::new(Detail {
                kind,
                message: message.into(),
                file: None,
                line: None,
                field: None,
                next_step: None,
                source: None,
            }),
        }
    }

    /// A failed read or write of `file`.
    pub fn io(file: impl AsRef<Path>, doing: &str, source: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, format!("cannot {doing}: {source}")).file(file).source(source)
    }

    /// Names the file.
    #[must_use]
    pub fn file(mut self, file: impl AsRef<Path>) -> Self {
        self.detail.file = Some(file.as_ref().to_path_buf());
        self
    }

    /// Names the line, counted from 1.
    #[must_use]
    pub fn line(mut self, line: u64) -> Self {
        self.detail.line = Some(line);
        self
    }

    /// Names the field or column.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.detail.field = Some(field.into());
        self
    }

    /// Says of whom it speaks, such as one of several models.
    #[must_use]
    pub fn of(mut self, whom: impl fmt::Display) -> Self {
        self.detail.message = format!("{whom}: {}", self.detail.message);
        self
    }

    /// Says what the reader can do about it.
    #[must_use]
    pub fn next_step(mut self, next_step: impl Into<String>) -> Self {
        self.detail.next_step = Some(next_step.into());
        self
    }

    /// Keeps the underlying error.
    #[must_use]
    pub fn source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.detail.source = Some(Box::new(source));
        self
    }

    /// What is wrong, without the place and the next step.
    #[cfg(feature = "train")]
    pub(crate) fn bare(&self) -> &str {
        &self.detail.message
    }

    /// The kind, to act on.
    pub fn kind(&self) -> ErrorKind {
        self.detail.kind
    }

    /// The field that the error is about, where there is one.
    pub fn field_name(&self) -> Option<&str> {
        self.detail.field.as_deref()
    }

    /// The line that the error is about, where there is one.
    pub fn line_number(&self) -> Option<u64> {
        self.detail.line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Detail { message, file, line, field, next_step, .. } = &*self.detail;
        let mut place = Vec::new();
        place.extend(file.as_ref().map(|file| file.display().to_string()));
        place.extend(line.map(|line| format!("line {line}")));
        place.extend(field.as_ref().map(|field| format!("field `{field}`")));
        if !place.is_empty() {
            write!(f, "{}: ", place.join(", "))?;
        }
        write!(f, "{message}")?;
        match next_step {
            Some(next_step) => write!(f, "; {next_step}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let source = self.detail.source.as_deref()?;
        Some(source)
    }
}
