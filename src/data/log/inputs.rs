//! The files that were named, those of a folder among them, and whose each is.

use std::path::PathBuf;

use crate::error::{Error, ErrorKind, Result};

/// A file to read.
pub(super) struct Input {
    pub file: PathBuf,
    /// Which of the paths that were given it comes from.
    pub argument: usize,
    pub is_in_folder: bool,
}

/// The files of `paths`: of a folder all files in it by name, without hidden ones and those that belong to a database.
pub(super) fn inputs(paths: &[PathBuf]) -> Result<Vec<Input>> {
    const OF_DATABASE: [&str; 3] = ["-wal", "-shm", "-journal"];
    let mut inputs = Vec::new();
    for (argument, path) in paths.iter().enumerate() {
        if !path.is_dir() {
            inputs.push(Input { file: path.clone(), argument, is_in_folder: false });
            continue;
        }
        let failed = |error| Error::io(path, "read the folder", error);
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path).map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if file.is_file() && !name.starts_with('.') && !OF_DATABASE.iter().any(|end| name.ends_with(end))
            {
                files.push(file);
            }
        }
        files.sort_unstable();
        if files.is_empty() {
            return Err(Error::new(ErrorKind::Data, "no file in this folder")
                .file(path)
                .next_step("name the folder that has the logs in it"));
        }
        inputs.extend(files.into_iter().map(|file| Input { file, argument, is_in_folder: true }));
    }
    Ok(inputs)
}

/// What a file's name may end in beside the name of its person.
const EXTENSIONS: [&str; 11] =
    ["csv", "tsv", "txt", "json", "jsonl", "log", "dat", "out", "db", "sqlite", "sqlite3"];

/// The raw id of each file's person, for formats that name none.
pub(super) fn owners(files: &[PathBuf]) -> Vec<String> {
    // The name without extensions, then the folders outwards.
    let inwards_out = |file: &PathBuf| -> Vec<String> {
        // One file by two paths is one file.
        let whole = std::fs::canonicalize(file).unwrap_or_else(|_| file.clone());
        let mut parts: Vec<String> =
            whole.components().rev().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        if let Some(name) = parts.first_mut() {
            let unpacked = name.strip_suffix(".gz").unwrap_or(name);
            // Only what is an extension: `phone.1` and `phone.2` are two phones.
            let stem = unpacked
                .rsplit_once('.')
                .filter(|(_, end)| EXTENSIONS.contains(&end.to_lowercase().as_str()));
            *name = stem.map_or(unpacked, |(stem, _)| stem).to_owned();
        }
        parts
    };
    let paths: Vec<Vec<String>> = files.iter().map(inwards_out).collect();
    let mut sorted: Vec<&Vec<String>> = paths.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    let in_common = |a: &[String], b: &[String]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let owner = |path: &Vec<String>| {
        // Sorted, the path that has most in common with this one stands next to it.
        let at = sorted.partition_point(|&other| other < path);
        let neighbours = [at.checked_sub(1), Some(at + 1)].into_iter().flatten();
        let shared = neighbours.filter_map(|at| Some(in_common(path, sorted.get(at)?))).max().unwrap_or(0);
        let parts: Vec<&str> = path.iter().take(shared + 1).rev().map(String::as_str).collect();
        parts.join("/")
    };
    paths.iter().map(owner).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_name_have_several_owners() {
        let cases: [(&[&str], &[&str]); 7] = [
            (&["a/phone.csv"], &["phone"]),
            (&["/data/phone.2.csv.gz", "a/b.txt"], &["phone.2", "b"]),
            (&["a/phone.1", "a/phone.2"], &["phone.1", "phone.2"]),
            (&["a/phone.csv", "b/phone.txt", "b/other.txt"], &["a/phone", "b/phone", "other"]),
            (&["x/a/phone.csv", "y/a/phone.csv", "z/phone"], &["x/a/phone", "y/a/phone", "z/phone"]),
            (&["phone.csv", "a/phone.csv"], &["phone", "a/phone"]),
            // The same file twice, or packed too, is one person's.
            (&["a/phone.csv", "a/phone.csv", "a/phone.csv.gz"], &["phone", "phone", "phone"]),
        ];
        for (files, expected) in cases {
            let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
            assert_eq!(owners(&files), expected, "{files:?}");
        }
    }
}
