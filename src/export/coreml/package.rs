//! The folder that a Core ML model is: a manifest, the program and its weights.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::storage::check_folder;

/// What a package holds, in the order that [`save`] takes contents in, behind the manifest.
const FILES: [&str; 3] =
    ["Manifest.json", "Data/com.apple.CoreML/model.mlmodel", "Data/com.apple.CoreML/weights/weight.bin"];

/// Identifiers are random elsewhere; they need to differ within a package alone, and the same model is the same bytes.
const MANIFEST: &str = r#"{
    "fileFormatVersion": "1.0.0",
    "itemInfoEntries": {
        "6f726574-6170-4000-8000-000000000001": {
            "author": "com.apple.CoreML",
            "description": "CoreML Model Specification",
            "name": "model.mlmodel",
            "path": "com.apple.CoreML/model.mlmodel"
        },
        "6f726574-6170-4000-8000-000000000002": {
            "author": "com.apple.CoreML",
            "description": "CoreML Model Weights",
            "name": "weights",
            "path": "com.apple.CoreML/weights"
        }
    },
    "rootModelIdentifier": "6f726574-6170-4000-8000-000000000001"
}
"#;

/// Writes a package beside `target`, then renames it: whoever reads `target` finds the old package or the new one.
/// Between two renames, for an instant, there is neither.
///
/// # Errors
/// `target` is not called `.mlpackage`, is there and is no such package, or cannot be written; it is then as it was.
pub fn save(target: &Path, model: &[u8], weights: &[u8]) -> Result<()> {
    check(target)?;
    let failed = |error| {
        Error::io(target, "write this package", error)
            .next_step("name a package in a folder that you may write to")
    };
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::Builder::new().prefix(".foretap-").tempdir_in(parent).map_err(failed)?;
    let [new, old] = ["new", "old"].map(|name| temporary.path().join(name));
    for (name, content) in FILES.iter().zip([MANIFEST.as_bytes(), model, weights]) {
        write(&new.join(name), content).map_err(failed)?;
    }
    let replaces = target.is_dir();
    if replaces {
        fs::rename(target, &old).map_err(failed)?;
    }
    let Err(error) = fs::rename(&new, target) else { return Ok(()) };
    if replaces && fs::rename(&old, target).is_err() {
        // Or it would be removed with the temporary folder.
        let kept = temporary.keep().join("old");
        return Err(failed(error).next_step(format!("take the old package back from {}", kept.display())));
    }
    Err(failed(error))
}

fn write(file: &Path, content: &[u8]) -> io::Result<()> {
    file.parent().map_or(Ok(()), fs::create_dir_all)?;
    let mut file = File::create(file)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Refuses a target that is not to be lost, or that nothing would read.
fn check(target: &Path) -> Result<()> {
    check_folder(target)?;
    let refused = |message: String, next_step: &str| {
        Err(Error::new(ErrorKind::Io, message).file(target).next_step(next_step))
    };
    if target.extension().is_none_or(|extension| extension != "mlpackage") {
        return refused("Core ML knows a package by its name".to_owned(), "let the name end in .mlpackage");
    }
    let found = match fs::symlink_metadata(target) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io(target, "look at what is there", error)),
    };
    let another = "name another package, or remove this one first";
    if !found.is_dir() {
        return refused("this is no folder, but a Core ML package is one".to_owned(), another);
    }
    match stranger(target, Path::new("")) {
        Ok(None) => Ok(()),
        Ok(Some(stranger)) => {
            let message = format!(
                "this folder holds {}, which is not of a package as written here",
                stranger.display()
            );
            refused(message, another)
        }
        Err(error) => Err(Error::io(target, "look into this folder", error)),
    }
}

/// The first thing under `within` that a package does not hold.
fn stranger(target: &Path, within: &Path) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(target.join(within))? {
        let entry = entry?;
        let path = within.join(entry.file_name());
        let is_folder = entry.file_type()?.is_dir();
        let is_known =
            FILES.iter().map(Path::new).any(|file| file.starts_with(&path) && is_folder == (file != path));
        if !is_known {
            return Ok(Some(path));
        }
        if is_folder && let Some(found) = stranger(target, &path)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(folder: &Path) -> Vec<Vec<u8>> {
        FILES.iter().map(|name| fs::read(folder.join(name)).unwrap()).collect()
    }

    #[test]
    fn a_package_is_replaced_as_a_whole_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("next.mlpackage");
        for (model, weights) in [(&b"a"[..], &b"b"[..]), (b"c", b"d")] {
            save(&target, model, weights).unwrap();
            assert_eq!(content(&target), [MANIFEST.as_bytes(), model, weights]);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
        let manifest: serde_json::Value = serde_json::from_str(MANIFEST).unwrap();
        let root = manifest["rootModelIdentifier"].as_str().unwrap();
        for (_, item) in manifest["itemInfoEntries"].as_object().unwrap() {
            assert!(target.join("Data").join(item["path"].as_str().unwrap()).exists());
        }
        assert_eq!(manifest["itemInfoEntries"][root]["name"], "model.mlmodel");
    }

    #[test]
    fn what_is_no_package_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file.mlpackage"), "mine").unwrap();
        fs::create_dir_all(at("photos.mlpackage/Data/album")).unwrap();
        save(&at("edited.mlpackage"), b"a", b"b").unwrap();
        fs::write(at("edited.mlpackage/Data/com.apple.CoreML/notes.txt"), "mine").unwrap();
        for (name, expected) in [
            ("model.onnx", "end in .mlpackage"),
            ("missing/next.mlpackage", "there is no folder"),
            ("file.mlpackage", "this is no folder"),
            ("photos.mlpackage", "album"),
            ("edited.mlpackage", "notes.txt"),
        ] {
            let message = save(&at(name), b"c", b"d").unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains(name), "{message}");
        }
        assert_eq!(fs::read_to_string(at("file.mlpackage")).unwrap(), "mine");
        assert!(at("photos.mlpackage/Data/album").is_dir());
        assert_eq!(content(&at("edited.mlpackage"))[1..], [b"a", b"b"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
        // A folder with nothing in it has nothing to lose.
        fs::create_dir(at("empty.mlpackage")).unwrap();
        save(&at("empty.mlpackage"), b"c", b"d").unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_no_package() {
        let folder = tempfile::tempdir().unwrap();
        let (link, real) = (folder.path().join("link.mlpackage"), folder.path().join("real.mlpackage"));
        save(&real, b"a", b"b").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(save(&link, b"c", b"d").unwrap_err().to_string().contains("this is no folder"));
        assert_eq!(content(&real)[1..], [b"a", b"b"]);
    }
}
