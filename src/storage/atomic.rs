//! Files that are written whole or not at all.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// Who may read a file that did not exist before. One that is replaced keeps the permissions that it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Whom the user's umask lets: for reports and models.
    Ordinary,
    /// The owner alone (0600 where there are such modes): for logs of people.
    Private,
}

/// Writes a file of [`Access::Ordinary`] as [`replace`] does.
///
/// # Errors
/// The folder is missing or not writable, the disk is full, or `write` failed; `file` is then as it was.
pub fn write_atomically(
    file: &Path,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    replace(file, Access::Ordinary, |out| write(out).map_err(|error| failed(file, error)))
}

/// What a file that is being written is called, before letters by chance.
const TEMPORARY: &str = ".foretap-";

/// Such a file was left behind by a process that was killed if nobody has it locked for so long.
// Source: units. Longer than from its creation to its lock; a write that takes longer keeps its lock.
const LEFT_BEHIND_AFTER: Duration = Duration::from_secs(60);

/// Writes beside `file`, then renames over it: whoever reads `file` sees the old content or the new, never a part. A process
/// that is killed in between leaves its half beside `file`; the next write to this folder takes it away.
///
/// # Errors
/// The folder is missing or not writable, the disk is full, or `write` failed; `file` is then as it was, and
/// nothing is left beside it.
pub fn replace(file: &Path, access: Access, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let failed = |error| failed(file, error);
    check_target(file)?;
    // A link stays one; what it leads to is replaced.
    let target = fs::canonicalize(file);
    let file = target.as_deref().unwrap_or(file);
    remove_left_behind(folder_of(file));
    let mut temporary = tempfile::Builder::new();
    temporary.prefix(TEMPORARY);
    // A temporary file is private unless set otherwise.
    #[cfg(unix)]
    if access == Access::Ordinary {
        temporary.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    }
    let mut temporary = temporary.tempfile_in(folder_of(file)).map_err(failed)?;
    // Where a file system has no locks, nothing is ever taken away.
    let _ = temporary.as_file().try_lock();
    if let Ok(old) = fs::metadata(file) {
        fs::set_permissions(temporary.path(), old.permissions()).map_err(failed)?;
    }
    let mut out = BufWriter::with_capacity(1 << 16, temporary.as_file_mut());
    write(&mut out).map_err(|error| error.file(file))?;
    out.flush().map_err(failed)?;
    drop(out);
    temporary.as_file().sync_all().map_err(failed)?;
    temporary.persist(file).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Takes away what killed processes left behind in `folder`. Whatever cannot be taken away stays.
fn remove_left_behind(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(TEMPORARY));
        let age = |file: &File| file.metadata().ok()?.modified().ok()?.elapsed().ok();
        if is_ours
            && let Ok(file) = File::open(entry.path())
            && age(&file).is_some_and(|age| age > LEFT_BEHIND_AFTER)
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Finds out whether the folder that `file` is to be written to is there, before the work for it begins.
///
/// # Errors
/// It is not.
pub fn check_folder(file: &Path) -> Result<()> {
    let folder = folder_of(file);
    if folder.is_dir() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Io, format!("cannot write this file: there is no folder {}", folder.display()))
        .file(file)
        .next_step("make it first, or name a file in a folder that you may write to"))
}

/// Finds out whether `file` can be written, before the work for it begins. What is there stays as it is, and nothing is left
/// beside it.
///
/// # Errors
/// Its folder is missing or not writable, or it is a folder or a device.
pub fn check_writable(file: &Path) -> Result<()> {
    check_target(file)?;
    let target = fs::canonicalize(file);
    let file = target.as_deref().unwrap_or(file);
    // As a write begins: permissions alone do not tell, as on a file system that is read-only.
    let temporary = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(folder_of(file));
    temporary.map(drop).map_err(|error| failed(file, error))
}

/// Refuses a file whose folder is missing, and what is there and no file.
fn check_target(file: &Path) -> Result<()> {
    check_folder(file)?;
    if fs::metadata(file).is_ok_and(|found| !found.is_file()) {
        return Err(Error::new(ErrorKind::Io, "cannot write this file: it is a folder or a device")
            .file(file)
            .next_step("name a file in a folder that you may write to"));
    }
    Ok(())
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn failed(file: &Path, error: std::io::Error) -> Error {
    Error::io(file, "write this file", error).next_step("name a file in a folder that you may write to")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(folder: &Path) -> Vec<(String, String)> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        entries
            .map(|entry| {
                (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
            })
            .collect()
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log.csv");
        write_atomically(&file, |out| out.write_all(b"old")).unwrap();
        // More than the buffer, so that half of it has reached the disk when the write fails.
        let half = vec![b'x'; 1 << 20];
        let by_disk = write_atomically(&file, |out| {
            out.write_all(&half)?;
            Err(std::io::Error::other("disk full"))
        });
        let by_content = replace(&file, Access::Private, |out| {
            out.write_all(&half).unwrap();
            Err(Error::new(ErrorKind::Data, "no such row"))
        });
        for (result, expected) in [(by_disk, "disk full"), (by_content, "no such row")] {
            let message = result.unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains("log.csv"), "{message}");
            assert_eq!(content(folder.path()), [("log.csv".to_owned(), "old".to_owned())]);
        }
        replace(&file, Access::Private, |out| out.write_all(b"new").map_err(|e| failed(&file, e))).unwrap();
        assert_eq!(content(folder.path()), [("log.csv".to_owned(), "new".to_owned())]);
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_and_what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("target"), "old").unwrap();
        std::os::unix::fs::symlink("target", at("link")).unwrap();
        write_atomically(&at("link"), |out| out.write_all(b"new")).unwrap();
        assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(at("target")).unwrap(), "new");
        fs::create_dir(at("folder")).unwrap();
        for no_file in [at("folder"), "/dev/null".into()] {
            let written = write_atomically(&no_file, |out| out.write_all(b"new"));
            for error in [written.unwrap_err(), check_writable(&no_file).unwrap_err()] {
                let error = error.to_string();
                assert!(error.contains("it is a folder or a device; name a file"), "{error}");
            }
        }
        let kind =
            std::os::unix::fs::FileTypeExt::is_char_device(&fs::metadata("/dev/null").unwrap().file_type());
        assert!(kind, "still a device");
    }

    #[test]
    fn whether_a_file_can_be_written_is_found_out_without_a_trace() {
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join("old");
        fs::write(&old, "old").unwrap();
        check_writable(&old).unwrap();
        check_writable(&folder.path().join("new")).unwrap();
        assert_eq!(content(folder.path()), [("old".to_owned(), "old".to_owned())]);
        let missing = check_writable(&folder.path().join("no/new")).unwrap_err().to_string();
        assert!(missing.contains("there is no folder"), "{missing}");
    }

    /// Root may write anywhere but to what no process may.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_folder_that_cannot_be_written_to_is_refused() {
        let error = check_writable(Path::new("/proc/report.json")).unwrap_err().to_string();
        assert!(
            error.contains("/proc/report.json: cannot write this file") && error.contains("; name a file"),
            "{error}"
        );
    }

    #[test]
    fn what_a_killed_process_left_behind_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3_600);
        let made = |name: &str, modified| {
            let made = File::create(folder.path().join(name)).unwrap();
            made.set_modified(modified).unwrap();
            made
        };
        drop(made(".foretap-killed", hour_ago));
        drop(made(".foretap-begun-just-now", std::time::SystemTime::now()));
        drop(made("foretap-of-somebody", hour_ago));
        let written = made(".foretap-still-written", hour_ago);
        written.try_lock().unwrap();
        write_atomically(&folder.path().join("file"), |out| out.write_all(b"new")).unwrap();
        let mut names: Vec<String> = content(folder.path()).into_iter().map(|(name, _)| name).collect();
        names.sort();
        assert_eq!(
            names,
            [".foretap-begun-just-now", ".foretap-still-written", "file", "foretap-of-somebody"]
        );
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_private_or_the_umask_s_and_outlast_a_replacement() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let mode = |file: &Path| fs::metadata(file).unwrap().permissions().mode() & 0o777;
        let plain = folder.path().join("plain");
        fs::write(&plain, "").unwrap();
        for (access, expected) in [(Access::Ordinary, mode(&plain)), (Access::Private, 0o600)] {
            let file = folder.path().join(format!("{access:?}"));
            replace(&file, access, |_| Ok(())).unwrap();
            assert_eq!(mode(&file), expected, "{access:?}");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
            replace(&file, access, |_| Ok(())).unwrap();
            assert_eq!(mode(&file), 0o640, "{access:?}");
        }
    }
}
