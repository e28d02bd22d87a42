//! Iceberg's files on S3. Not `iceberg-storage-opendal`: its time limits and retries are fixed, it makes a client anew for each
//! file, and it neither lists files nor knows their older versions.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use foretap::{Error, ErrorKind};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::Result;
use iceberg::io::{
    FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig, StorageFactory,
};
use opendal::Operator;
use serde::{Deserialize, Serialize};

use super::files::FoundFile;
use crate::config::AwsConfig;
use crate::s3;

/// Bytes of one part of an upload, each of which has a time limit and retries of its own. S3 wants 5 MiB at least.
const PART_BYTES: usize = 8 << 20;

/// One bucket.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct S3Files {
    bucket: String,
    aws: AwsConfig,
    /// Made from the two when it is first used.
    #[serde(skip)]
    operator: OnceLock<Operator>,
}

impl S3Files {
    pub fn new(bucket: &str, aws: &AwsConfig) -> foretap::Result<Self> {
        let files = Self { bucket: bucket.to_owned(), aws: aws.clone(), operator: OnceLock::new() };
        files.operator()?;
        Ok(files)
    }

    pub fn operator(&self) -> foretap::Result<&Operator> {
        if let Some(operator) = self.operator.get() {
            return Ok(operator);
        }
        let made = s3::operator(&self.bucket, &self.aws)?;
        Ok(self.operator.get_or_init(|| made))
    }

    /// What all keys below a table's location begin with.
    pub fn prefix(&self, location: &str) -> foretap::Result<String> {
        let key = self.key(location).map_err(|error| Error::new(ErrorKind::Data, error.to_string()))?;
        Ok(format!("{}/", key.trim_end_matches('/')))
    }

    pub async fn list(&self, location: &str) -> foretap::Result<Vec<FoundFile>> {
        let list = |error: opendal::Error| s3::failed("list the lake's files", &error);
        let prefix = self.prefix(location)?;
        let mut entries = self.operator()?.lister_with(&prefix).recursive(true).await.map_err(list)?;
        let mut found = Vec::new();
        while let Some(entry) = entries.try_next().await.map_err(list)? {
            if entry.metadata().is_file() {
                let changed = entry.metadata().last_modified();
                found.push(FoundFile {
                    location: format!("s3://{}/{}", self.bucket, entry.path()),
                    bytes: entry.metadata().content_length(),
                    changed_ms: changed.map(|at| at.into_inner().as_millisecond()),
                });
            }
        }
        Ok(found)
    }

    fn key<'a>(&self, path: &'a str) -> Result<&'a str> {
        let rest = path.strip_prefix("s3://").or_else(|| path.strip_prefix("s3a://"));
        let key = rest.and_then(|rest| rest.strip_prefix(self.bucket.as_str())?.strip_prefix('/'));
        key.ok_or_else(|| {
            let message = format!("{path} is not in the lake's bucket {}", self.bucket);
            iceberg::Error::new(iceberg::ErrorKind::DataInvalid, message)
        })
    }

    /// The client, and the key of a path.
    fn at<'a>(&self, path: &'a str) -> Result<(&Operator, &'a str)> {
        let operator = self
            .operator()
            .map_err(|error| iceberg::Error::new(iceberg::ErrorKind::Unexpected, error.to_string()))?;
        Ok((operator, self.key(path)?))
    }
}

fn wrong(error: opendal::Error) -> iceberg::Error {
    let message = format!("{}: {}", error.kind(), error.message());
    iceberg::Error::new(iceberg::ErrorKind::Unexpected, message).with_source(error)
}

#[typetag::serde(name = "foretap-s3")]
impl StorageFactory for S3Files {
    fn build(&self, _: &StorageConfig) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(self.clone()))
    }
}

#[typetag::serde(name = "foretap-s3")]
#[async_trait]
impl Storage for S3Files {
    async fn exists(&self, path: &str) -> Result<bool> {
        let (operator, key) = self.at(path)?;
        operator.exists(key).await.map_err(wrong)
    }

    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        let (operator, key) = self.at(path)?;
        let size = operator.stat(key).await.map_err(wrong)?.content_length();
        Ok(FileMetadata { size })
    }

    async fn read(&self, path: &str) -> Result<Bytes> {
        let (operator, key) = self.at(path)?;
        Ok(operator.read(key).await.map_err(wrong)?.to_bytes())
    }

    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        let (operator, key) = self.at(path)?;
        Ok(Box::new(S3Read(operator.reader(key).await.map_err(wrong)?)))
    }

    async fn write(&self, path: &str, bytes: Bytes) -> Result<()> {
        let (operator, key) = self.at(path)?;
        operator.write(key, bytes).await.map(drop).map_err(wrong)
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        let (operator, key) = self.at(path)?;
        let writer = operator.writer_with(key).chunk(PART_BYTES).await.map_err(wrong)?;
        Ok(Box::new(S3Write(writer)))
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let (operator, key) = self.at(path)?;
        operator.delete(key).await.map_err(wrong)
    }

    async fn delete_prefix(&self, path: &str) -> Result<()> {
        let (operator, key) = self.at(path)?;
        let folder = format!("{}/", key.trim_end_matches('/'));
        operator.delete_with(&folder).recursive(true).await.map_err(wrong)
    }

    async fn delete_stream(&self, mut paths: BoxStream<'static, String>) -> Result<()> {
        let (operator, _) = self.at(&format!("s3://{}/", self.bucket))?;
        let mut deleter = operator.deleter().await.map_err(wrong)?;
        while let Some(path) = paths.next().await {
            deleter.delete(self.key(&path)?).await.map_err(wrong)?;
        }
        deleter.close().await.map_err(wrong)
    }

    fn new_input(&self, path: &str) -> Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

struct S3Read(opendal::Reader);

#[async_trait]
impl FileRead for S3Read {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        Ok(self.0.read(range).await.map_err(wrong)?.to_bytes())
    }
}

struct S3Write(opendal::Writer);

#[async_trait]
impl FileWrite for S3Write {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.0.write(bytes).await.map_err(wrong)
    }

    async fn close(&mut self) -> Result<()> {
        self.0.close().await.map(drop).map_err(wrong)
    }
}
