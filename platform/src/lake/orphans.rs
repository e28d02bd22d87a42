//! Files below a table's location that nothing refers to: what a process that was killed had written and not committed, and what
//! it had not deleted yet. They take room, and may hold rows of a person who was forgotten.

use std::collections::BTreeSet;

use foretap::Result;
use iceberg::table::Table;

use super::files::FoundFile;
use super::rewrite::files_of;
use super::{Lake, TableName, failed};

/// What was found, and deleted if that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Orphans {
    /// Files that nothing refers to.
    pub files: Vec<String>,
    /// Their bytes together.
    pub bytes: u64,
    /// Files that nothing refers to and that are too young: a commit may be about to.
    pub young: u64,
    /// Older versions that S3 had kept, and that were deleted for good.
    pub versions: u64,
}

impl Lake {
    /// Finds a table's files that no snapshot, tag or log of it refers to and that were last changed before `before_ms`
    /// (milliseconds since 1970), and deletes them, unless it `is_trial`. A commit that is under way has written files that nothing
    /// refers to yet: `before_ms` must be longer ago than any commit takes.
    ///
    /// # Errors
    /// A file cannot be read or deleted. Nothing is deleted where anything of the table cannot be read.
    pub async fn orphans(&self, name: TableName, before_ms: i64, is_trial: bool) -> Result<Orphans> {
        let location = self.table(name).await?.metadata().location().to_owned();
        let found = self.files.list(&location).await?;
        // Read after the files were listed: what was committed meanwhile is referred to.
        let table = self.table(name).await?;
        let needed: BTreeSet<String> =
            references(&table).await?.iter().map(|path| normalised(path)).collect();
        let unneeded = found.into_iter().filter(|file| !needed.contains(&normalised(&file.location)));
        let is_old = |file: &FoundFile| file.changed_ms.is_some_and(|at_ms| at_ms < before_ms);
        let (old, young): (Vec<FoundFile>, Vec<FoundFile>) = unneeded.partition(is_old);
        let mut orphans = Orphans {
            bytes: old.iter().map(|file| file.bytes).sum(),
            young: young.len() as u64,
            files: old.into_iter().map(|file| file.location).collect(),
            versions: 0,
        };
        orphans.files.sort();
        if !is_trial {
            let files = futures::stream::iter(orphans.files.clone());
            let deleted = table.file_io().delete_stream(files).await;
            deleted.map_err(|error| failed("delete files", &error))?;
            orphans.versions = self.purge(name).await?;
        }
        Ok(orphans)
    }
}

/// Every file that a table's metadata refers to: of all snapshots that it has, tagged ones among them, and its own.
async fn references(table: &Table) -> Result<BTreeSet<String>> {
    let metadata = table.metadata();
    let current =
        table.metadata_location_result().map_err(|error| failed("find the table's metadata", &error))?;
    let mut files = BTreeSet::from([current.to_owned()]);
    files.extend(metadata.metadata_log().iter().map(|entry| entry.metadata_file.clone()));
    files.extend(metadata.statistics_iter().map(|statistics| statistics.statistics_path.clone()));
    files.extend(metadata.partition_statistics_iter().map(|statistics| statistics.statistics_path.clone()));
    for snapshot in metadata.snapshots() {
        files.extend(files_of(table, snapshot).await?);
    }
    Ok(files)
}

/// One spelling for the several that engines have of the same file: `file:/a//b`, `file:///a/b` and `/a/b`; `s3a://` and `s3://`.
fn normalised(path: &str) -> String {
    let rest = match path.split_once(":/") {
        Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => rest,
        _ => path,
    };
    let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_has_one_spelling() {
        for (path, expected) in [
            ("/data/lake/a=1/f.parquet", "data/lake/a=1/f.parquet"),
            ("file:///data/lake/a=1/f.parquet", "data/lake/a=1/f.parquet"),
            ("file:/data//lake/./a=1/f.parquet", "data/lake/a=1/f.parquet"),
            ("s3://bucket/lake/f", "bucket/lake/f"),
            ("s3a://bucket/lake//f", "bucket/lake/f"),
            ("/data/at=12:/f", "data/at=12:/f"),
        ] {
            assert_eq!(normalised(path), expected, "{path}");
        }
    }
}
