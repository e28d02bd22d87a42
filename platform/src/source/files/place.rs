//! Where files are delivered: a folder, or a prefix of a bucket.

use std::io::Read;
use std::path::{Path, PathBuf};

use foretap::{Error, ErrorKind, Result};

use crate::config::{Config, FilesAfter};
use crate::s3::S3Location;
use crate::up::Folders;

/// The subfolder of what was read, with `after = "move"`.
const DONE: &str = "done";

/// A folder or a prefix.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Folder(PathBuf),
    #[cfg(feature = "aws")]
    S3 {
        operator: opendal::Operator,
        location: S3Location,
    },
}

/// A file that is there, and what tells it from another one of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// Below the place, with `/` between folders.
    pub path: String,
    pub bytes: u64,
    /// The time of its last change, or its ETag.
    pub version: String,
}

/// What a place has.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The files that are ready, in the order of their paths.
    pub files: Vec<Listed>,
    /// Names that are not UTF-8, as far as they can be shown: what has one cannot be a key of the ledger, and is left alone.
    pub unnamed: Vec<String>,
}

impl Place {
    pub fn of(config: &Config) -> Result<Self> {
        refuse_own(config)?;
        match S3Location::parse("files.path", &config.files.path)? {
            None => Ok(Self::Folder(PathBuf::from(&config.files.path))),
            #[cfg(feature = "aws")]
            Some(location) => {
                Ok(Self::S3 { operator: crate::s3::operator(&location.bucket, &config.aws)?, location })
            }
            #[cfg(not(feature = "aws"))]
            Some(_) => Err(crate::s3::no_s3("files.path")),
        }
    }

    /// What is there now.
    pub async fn list(&self) -> Result<Listing> {
        let mut found = match self {
            Self::Folder(folder) => {
                let folder = folder.clone();
                let walked = tokio::task::spawn_blocking(move || {
                    let mut found = Listing::default();
                    walk(&folder, "", &mut found).map(|()| found)
                });
                walked
                    .await
                    .map_err(|_| Error::new(ErrorKind::Io, "the walk over the files ended early"))??
            }
            #[cfg(feature = "aws")]
            Self::S3 { operator, location } => list_bucket(operator, location).await?,
        };
        found.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// A reader of a file's bytes, which blocks.
    pub fn open(&self, listed: &Listed) -> std::io::Result<Box<dyn Read + Send>> {
        match self {
            Self::Folder(folder) => Ok(Box::new(std::fs::File::open(folder.join(&listed.path))?)),
            #[cfg(feature = "aws")]
            Self::S3 { operator, location } => Ok(Box::new(S3Read {
                operator: operator.clone(),
                key: location.key(&listed.path),
                listed: listed.clone(),
                read: 0,
                part: opendal::Buffer::new(),
                runtime: tokio::runtime::Handle::current(),
            })),
        }
    }

    /// Whether a file is still what was listed. An object on S3 is read as that or not at all.
    pub fn is_same(&self, listed: &Listed) -> bool {
        match self {
            Self::Folder(folder) => is_same(&folder.join(&listed.path), listed),
            #[cfg(feature = "aws")]
            Self::S3 { .. } => true,
        }
    }

    /// Removes a file that is in lake and store, or moves it into `done`. One that has its name meanwhile stays.
    pub async fn put_away(&self, listed: &Listed, after: FilesAfter) -> Result<()> {
        if after == FilesAfter::Keep {
            return Ok(());
        }
        let to = format!("{DONE}/{}", listed.path);
        match self {
            Self::Folder(folder) => {
                let from = folder.join(&listed.path);
                let done = put_away(&from, folder.join(to), listed, after);
                done.map_err(|error| Error::io(&from, "put a file away that was read", error))
            }
            #[cfg(feature = "aws")]
            Self::S3 { operator, location } => {
                let (from, to) = (location.key(&listed.path), location.key(&to));
                let done = async {
                    if operator.stat(&from).await?.etag() != Some(&listed.version) {
                        return Ok(());
                    }
                    if after == FilesAfter::Move {
                        let (mut free, mut number) = (to.clone(), 0);
                        while operator.exists(&free).await? {
                            number += 1;
                            free = format!("{to}.{number}");
                        }
                        operator.copy(&from, &free).await?;
                    }
                    operator.delete(&from).await
                };
                done.await.map_err(|error| crate::s3::failed("put a file away that was read", &error))
            }
        }
    }

    /// Its name for messages.
    pub fn name(&self) -> String {
        match self {
            Self::Folder(folder) => folder.display().to_string(),
            #[cfg(feature = "aws")]
            Self::S3 { location, .. } => location.to_string(),
        }
    }
}

/// Refuses a place that has the program's own files in it, or is among them: they would be read, and perhaps deleted.
fn refuse_own(config: &Config) -> Result<()> {
    let own = match S3Location::parse("files.path", &config.files.path)? {
        Some(files) => {
            let below = |inner: &S3Location, outer: &S3Location| {
                inner.bucket == outer.bucket && inner.key("").starts_with(&outer.key(""))
            };
            let lake = config.lake.s3()?;
            lake.filter(|lake| below(lake, &files) || below(&files, lake)).map(|lake| lake.to_string())
        }
        None => {
            let files = whole(Path::new(&config.files.path));
            // A folder of their own within the data's is fine.
            let own = [whole(&config.data.folder), whole(&config.key_file())];
            let tables = [whole(&Folders::of(config).lake()), whole(&Folders::of(config).models())];
            let found = own.iter().find(|own| own.starts_with(&files));
            let found = found.or_else(|| tables.iter().find(|own| files.starts_with(own)));
            found.map(|own| own.display().to_string())
        }
    };
    match own {
        None => Ok(()),
        Some(own) => {
            let message = format!("{} and {own}, the program's own, are not apart", config.files.path);
            Err(Error::new(ErrorKind::Config, message)
                .field("files.path")
                .next_step("give files a place of their own"))
        }
    }
}

/// The path without links and dots, as far as it is there.
fn whole(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut missing = Vec::new();
    for ancestor in absolute.ancestors() {
        if let Ok(found) = ancestor.canonicalize() {
            return missing.iter().rev().fold(found, |path: PathBuf, name| path.join(name));
        }
        missing.extend(ancestor.file_name());
    }
    absolute
}

/// Whether a file or a folder of that name is passed over: it is hidden, still written, or put away.
fn is_passed_over(name: &str, is_top: bool) -> bool {
    name.starts_with(['.', '_'])
        || [".tmp", ".part", "~"].iter().any(|end| name.ends_with(end))
        || (is_top && name == DONE)
}

fn version(metadata: &std::fs::Metadata) -> String {
    let changed = metadata.modified().ok().and_then(|at| jiff::Timestamp::try_from(at).ok());
    changed.map_or_else(String::new, |at| at.as_nanosecond().to_string())
}

fn walk(folder: &Path, below: &str, found: &mut Listing) -> Result<()> {
    let read = |error: std::io::Error| {
        Error::io(folder, "list the files", error).next_step("look at `path` in [files]")
    };
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        let name = match entry.file_name().into_string() {
            Ok(name) => name,
            Err(name) => {
                found.unnamed.push(format!("{below}{}", name.to_string_lossy()));
                continue;
            }
        };
        if is_passed_over(&name, below.is_empty()) {
            continue;
        }
        let path = format!("{below}{name}");
        // Of a link its target; what was moved meanwhile is passed over.
        let Ok(metadata) = std::fs::metadata(entry.path()) else { continue };
        if metadata.is_dir() && !entry.path().is_symlink() {
            walk(&entry.path(), &format!("{path}/"), found)?;
        } else if metadata.is_file() {
            found.files.push(Listed { path, bytes: metadata.len(), version: version(&metadata) });
        }
    }
    Ok(())
}

fn is_same(file: &Path, listed: &Listed) -> bool {
    std::fs::metadata(file)
        .is_ok_and(|found| (found.len(), version(&found)) == (listed.bytes, listed.version.clone()))
}

/// Moved first and looked at then: what was renamed to its name in between goes back, and nothing is lost. Of a link, only the
/// link goes: the file that it points to is not delivered here.
fn put_away(from: &Path, to: PathBuf, listed: &Listed, after: FilesAfter) -> std::io::Result<()> {
    if from.is_symlink() {
        return if is_same(from, listed) { std::fs::remove_file(from) } else { Ok(()) };
    }
    let to = free(to)?;
    std::fs::rename(from, &to)?;
    if !is_same(&to, listed) {
        return std::fs::rename(&to, from);
    }
    match after {
        FilesAfter::Delete => std::fs::remove_file(to),
        FilesAfter::Move | FilesAfter::Keep => Ok(()),
    }
}

/// `to`, or the same with a number behind where it is taken; its folder is made.
fn free(to: PathBuf) -> std::io::Result<PathBuf> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut free = to.clone();
    let mut number = 0;
    while free.exists() {
        number += 1;
        free = to.with_file_name(format!(
            "{}.{number}",
            to.file_name().map(|name| name.to_string_lossy()).unwrap_or_default()
        ));
    }
    Ok(free)
}

#[cfg(feature = "aws")]
async fn list_bucket(operator: &opendal::Operator, location: &S3Location) -> Result<Listing> {
    use futures::TryStreamExt as _;
    let list = |error: opendal::Error| crate::s3::failed("list the files", &error);
    let prefix = location.key("");
    let mut entries = operator.lister_with(&prefix).recursive(true).await.map_err(list)?;
    let mut found = Listing::default();
    while let Some(entry) = entries.try_next().await.map_err(list)? {
        let Some(path) = entry.path().strip_prefix(&prefix) else { continue };
        let mut parts = path.split('/').enumerate();
        if !entry.metadata().is_file() || parts.any(|(depth, name)| is_passed_over(name, depth == 0)) {
            continue;
        }
        let version = entry.metadata().etag().unwrap_or_default().to_owned();
        found.files.push(Listed { path: path.to_owned(), bytes: entry.metadata().content_length(), version });
    }
    Ok(found)
}

/// Bytes of an object that are fetched at once.
#[cfg(feature = "aws")]
const PART_BYTES: u64 = 4 << 20;

/// An object, read part by part as the one that was listed.
#[cfg(feature = "aws")]
struct S3Read {
    operator: opendal::Operator,
    key: String,
    listed: Listed,
    read: u64,
    part: opendal::Buffer,
    runtime: tokio::runtime::Handle,
}

#[cfg(feature = "aws")]
impl Read for S3Read {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        use bytes::Buf as _;
        if !self.part.has_remaining() && self.read < self.listed.bytes {
            let end = self.listed.bytes.min(self.read + PART_BYTES);
            let part =
                self.operator.read_with(&self.key).range(self.read..end).if_match(&self.listed.version);
            self.part = self.runtime.block_on(async { part.await }).map_err(std::io::Error::other)?;
            if self.part.remaining() as u64 != end - self.read {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            self.read = end;
        }
        let count = buffer.len().min(self.part.remaining());
        self.part.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
