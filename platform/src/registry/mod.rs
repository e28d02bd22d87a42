//! Models by version, who approved which, and which one is live: a folder.
//!
//! ```text
//! models/000001/bundle.foretap   the bundle
//! models/000001/card.json        what it learned from, how it compares, its parent
//! models/000001/manifest.json    sizes and hashes of the other two, written last: without it there is no version
//! models/live.json               the version that answers
//! models/record.jsonl            who made which version live, when, and why; only ever added to
//! ```
//!
//! A version owns its files and never changes. Only an approved one is live. `live.json` is replaced whole, under a lock and
//! under a condition: of many who approve at once, each names the version that it replaces, and one wins.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use foretap::bundle::Bundle;
use foretap::storage::write_atomically;
use foretap::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The folder.
#[derive(Debug, Clone)]
pub struct Registry {
    folder: PathBuf,
}

/// What is known of a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// When it was made, in seconds since 1970.
    pub made_at: i64,
    /// What it learned from, in words.
    pub learned_from: String,
    /// The lake's snapshot that it learned from, where there is one.
    pub data_version: Option<i64>,
    /// The version whose place it would take: what it was compared with.
    pub parent: Option<u32>,
    /// How it compares with its parent on the same later questions.
    pub comparison: Option<foretap::experiment::BundleComparison>,
    /// Whether it is better by the gate's rule; `None` where nothing was compared.
    pub passed_gate: Option<bool>,
    /// The version of foretap that made it.
    pub code: String,
}

/// The version that answers, and who said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Live {
    /// The version.
    pub version: u32,
    /// Who approved it.
    pub approved_by: String,
    /// When, in seconds since 1970.
    pub approved_at: i64,
    /// Why.
    pub note: String,
    /// What was live before.
    pub before: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    files: BTreeMap<String, ManifestFile>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestFile {
    bytes: u64,
    sha256: String,
}

const BUNDLE: &str = "bundle.foretap";
const CARD: &str = "card.json";
const MANIFEST: &str = "manifest.json";
const LIVE: &str = "live.json";

impl Registry {
    /// Whether `folder` has models already.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(LIVE).exists()
    }

    /// Opens the folder, or makes it with the bundle that ships as version 1, approved and live.
    ///
    /// # Errors
    /// The folder cannot be read or written.
    pub fn open(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)
            .map_err(|error| Error::io(folder, "make the folder of models", error))?;
        let registry = Self { folder: folder.to_owned() };
        if registry.live()?.is_none() {
            if registry.versions()?.is_empty() {
                registry.add(
                    &Bundle::pretrained()?,
                    &Card {
                        made_at: now_secs(),
                        learned_from: "simulated people: the bundle that ships with foretap".to_owned(),
                        data_version: None,
                        parent: None,
                        comparison: None,
                        passed_gate: None,
                        code: env!("CARGO_PKG_VERSION").to_owned(),
                    },
                )?;
            }
            registry.approve(1, None, "foretap", "the bundle that ships")?;
        }
        Ok(registry)
    }

    /// All versions that are whole, in order.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn versions(&self) -> Result<Vec<u32>> {
        let entries = std::fs::read_dir(&self.folder)
            .map_err(|error| Error::io(&self.folder, "list the folder of models", error))?;
        let mut versions: Vec<u32> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|version| self.file(*version, MANIFEST).exists())
            .collect();
        versions.sort_unstable();
        Ok(versions)
    }

    /// Adds a version, which nobody serves before it is approved.
    ///
    /// # Errors
    /// It cannot be written: then there is no such version.
    pub fn add(&self, bundle: &Bundle, card: &Card) -> Result<u32> {
        let _lock = self.lock()?;
        let last = self.versions()?.last().copied().unwrap_or(0);
        // A folder without a manifest is of a writer that was killed: nobody reads it, and its number is not used again.
        let version = (last + 1..).find(|version| !self.folder_of(*version).exists()).unwrap_or(u32::MAX);
        let folder = self.folder_of(version);
        std::fs::create_dir(&folder)
            .map_err(|error| Error::io(&folder, "make the version's folder", error))?;
        let mut files = BTreeMap::new();
        for (name, bytes) in [(BUNDLE, bundle.to_bytes()?), (CARD, json(card)?)] {
            write_atomically(&folder.join(name), |out| out.write_all(&bytes))?;
            files.insert(name.to_owned(), ManifestFile { bytes: bytes.len() as u64, sha256: sha256(&bytes) });
        }
        let manifest = json(&Manifest { files })?;
        write_atomically(&folder.join(MANIFEST), |out| out.write_all(&manifest))?;
        Ok(version)
    }

    /// The bundle of a version: its hash is the manifest's, and its golden questions get the same answers here.
    ///
    /// # Errors
    /// There is no such version, or a file of it is damaged.
    pub fn bundle(&self, version: u32) -> Result<Bundle> {
        let bytes = self.checked(version, BUNDLE)?;
        Bundle::from_bytes(&bytes).map_err(|error| error.file(self.file(version, BUNDLE)))
    }

    /// The card of a version.
    ///
    /// # Errors
    /// There is no such version, or a file of it is damaged.
    pub fn card(&self, version: u32) -> Result<Card> {
        let bytes = self.checked(version, CARD)?;
        read_json(&bytes, &self.file(version, CARD))
    }

    /// What is live; `None` in a folder that was just made.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn live(&self) -> Result<Option<Live>> {
        let file = self.folder.join(LIVE);
        match std::fs::read(&file) {
            Ok(bytes) => read_json(&bytes, &file).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(&file, "read what is live", error)),
        }
    }

    /// Makes a version live, if `before` still is.
    ///
    /// # Errors
    /// There is no such version, it is damaged, or something else is live by now.
    pub fn approve(&self, version: u32, before: Option<u32>, by: &str, note: &str) -> Result<Live> {
        // Whole, and answers its golden questions: before anybody is answered by it.
        self.bundle(version)?;
        let _lock = self.lock()?;
        let found = self.live()?.map(|live| live.version);
        if found != before {
            let name = |version: Option<u32>| {
                version.map_or_else(|| "nothing".to_owned(), |v| format!("version {v}"))
            };
            let message = format!("{} is live by now, not {}", name(found), name(before));
            return Err(Error::new(ErrorKind::Config, message)
                .next_step("look at `foretap models`, compare with what is live now, and approve again"));
        }
        let live = Live {
            version,
            approved_by: by.to_owned(),
            approved_at: now_secs(),
            note: note.to_owned(),
            before: found,
        };
        // The record first: whoever is live is in it.
        let file = self.folder.join("record.jsonl");
        let mut line = serde_json::to_vec(&live).map_err(|error| cannot_write(&error))?;
        line.push(b'\n');
        let mut options = std::fs::OpenOptions::new();
        let added = options.create(true).append(true).open(&file).and_then(|mut record| {
            record.write_all(&line)?;
            record.sync_all()
        });
        added.map_err(|error| Error::io(&file, "add to the record", error))?;
        let pointer = json(&live)?;
        write_atomically(&self.folder.join(LIVE), |out| out.write_all(&pointer))?;
        Ok(live)
    }

    /// One writer at a time, of all processes.
    fn lock(&self) -> Result<std::fs::File> {
        let file = self.folder.join("lock");
        let opened = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&file);
        let locked = opened.and_then(|opened| opened.lock().map(|()| opened));
        locked.map_err(|error| Error::io(&file, "lock the folder of models", error))
    }

    fn folder_of(&self, version: u32) -> PathBuf {
        self.folder.join(format!("{version:06}"))
    }

    fn file(&self, version: u32, name: &str) -> PathBuf {
        self.folder_of(version).join(name)
    }

    /// A file of a version whose size and hash are the manifest's.
    fn checked(&self, version: u32, name: &str) -> Result<Vec<u8>> {
        let manifest = self.file(version, MANIFEST);
        let bytes = std::fs::read(&manifest).map_err(|error| {
            Error::io(&manifest, &format!("read version {version}"), error)
                .next_step("see `foretap models` for the versions that there are")
        })?;
        let manifest: Manifest = read_json(&bytes, &manifest)?;
        let file = self.file(version, name);
        let bytes = std::fs::read(&file).map_err(|error| Error::io(&file, "read the version", error))?;
        let found = ManifestFile { bytes: bytes.len() as u64, sha256: sha256(&bytes) };
        if manifest.files.get(name) == Some(&found) {
            Ok(bytes)
        } else {
            Err(Error::new(ErrorKind::Model, "not the bytes that were registered")
                .file(file)
                .next_step("make another version live; this one was changed or damaged"))
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn cannot_write(error: &serde_json::Error) -> Error {
    Error::new(ErrorKind::Data, format!("cannot be written as JSON: {error}"))
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(value).map_err(|error| cannot_write(&error))
}

fn read_json<T: for<'a> Deserialize<'a>>(bytes: &[u8], file: &Path) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        Error::new(ErrorKind::Data, format!("not what foretap writes: {error}"))
            .file(file)
            .line(error.line() as u64)
            .next_step("bring the file back from a copy")
    })
}

fn now_secs() -> i64 {
    jiff::Timestamp::now().as_second()
}
