//! Opening redb files, and redb's errors as ours.

use std::path::Path;

use foretap::{Error, ErrorKind, Result};
use redb::{Database, DatabaseError};

/// Opens `file`, or makes it; `cache_bytes` of it are kept in memory. The system's own cache of files comes on top, where
/// there is memory to spare.
///
/// # Errors
/// It cannot be opened, is damaged, or another process has it open.
pub(crate) fn open(file: &Path, cache_bytes: usize) -> Result<Database> {
    Database::builder().set_cache_size(cache_bytes).create(file).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => {
            Error::new(ErrorKind::Io, "another process has this file open").file(file).next_step(
                "stop the other `foretap up` of this folder, or give this one another `folder` in [data]",
            )
        }
        DatabaseError::UpgradeRequired(version) => Error::new(
            ErrorKind::Data,
            format!("of redb's file format {version}, which this build does not read"),
        )
        .file(file)
        .next_step("open it once with the version of foretap that wrote it"),
        error => failed("open the file", &error.into()).file(file),
    })
}

/// An error of redb.
pub(crate) fn failed(doing: &str, error: &redb::Error) -> Error {
    let kind = match error {
        redb::Error::Corrupted(_) => ErrorKind::Data,
        _ => ErrorKind::Io,
    };
    let next_step = match error {
        redb::Error::PreviousIo => {
            "an earlier write failed: look for a full or broken disk, then start again"
        }
        redb::Error::Corrupted(_) => {
            "keep the file and stop here. A journal holds what was accepted and not committed; a store is made anew from the lake: \
             move store.redb away and run `foretap rebuild`"
        }
        _ => "look for a full disk or a folder that cannot be written",
    };
    Error::new(kind, format!("cannot {doing}: {error}")).next_step(next_step)
}
