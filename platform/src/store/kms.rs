//! The master key sealed by Amazon's KMS: the file holds a data key that only KMS opens, and it is opened once, at the start.
//!
//! Where KMS does not open it, because its key is disabled, deleted or not permitted, nothing starts: no key is ever kept in
//! the clear instead.

use std::path::Path;

use aws_config::SdkConfig;
use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use foretap::storage::vault::Key;
use foretap::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::MasterKey;
use super::key::{add_line, hex, of_hex, read, write_new};
use crate::aws::failed;

/// KMS opens the data key for this purpose alone, and its audit log shows it.
const CONTEXT: (&str, &str) = ("foretap", "master-key");

/// What the file holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedKey {
    /// The KMS key's own name: an alias may be given to another key.
    kms_key: String,
    /// The data key as KMS has sealed it, in hexadecimal digits.
    sealed: String,
}

/// The key in `file`, sealed by KMS. It is made under `kms_key` where `may_make` and there is no file.
///
/// # Errors
/// The file cannot be read or written or holds something else, or KMS does not make or open the key.
pub async fn master_key(sdk: &SdkConfig, file: &Path, kms_key: &str, may_make: bool) -> Result<MasterKey> {
    let client = Client::new(sdk);
    match read(file) {
        Ok(text) => open_all(&client, &text).await.map_err(|error| error.file(file)),
        Err(_) if may_make && !file.exists() => {
            let (key, line) = generate(&client, kms_key).await?;
            write_new(file, &line)?;
            MasterKey::of(vec![key])
        }
        Err(error) => Err(error),
    }
}

/// Adds a new key, sealed under `kms_key`, which may be another than before, to `file`: as [`MasterKey::rotate`].
///
/// # Errors
/// As [`master_key`].
pub async fn rotate(sdk: &SdkConfig, file: &Path, kms_key: &str) -> Result<MasterKey> {
    let client = Client::new(sdk);
    // Nothing is added to a file whose keys cannot be opened.
    open_all(&client, &read(file)?).await.map_err(|error| error.file(file))?;
    let (_, line) = generate(&client, kms_key).await?;
    add_line(file, &line)?;
    open_all(&client, &read(file)?).await.map_err(|error| error.file(file))
}

/// The keys of all lines.
async fn open_all(client: &Client, text: &str) -> Result<MasterKey> {
    let mut keys = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        keys.push(open(client, line).await?);
    }
    MasterKey::of(keys)
}

/// Whether KMS makes a key under `kms_key`, which nobody keeps: what the first start will ask for.
///
/// # Errors
/// KMS does not make it.
pub async fn check_kms(sdk: &SdkConfig, kms_key: &str) -> Result<()> {
    generate(&Client::new(sdk), kms_key).await.map(drop)
}

async fn open(client: &Client, text: &str) -> Result<Key> {
    let sealed: SealedKey = serde_json::from_str(text).map_err(|_| {
        Error::new(ErrorKind::Config, "no key that KMS has sealed").field("store.kms_key").next_step(
            "leave `kms_key` out where the file holds the key itself; a store made with it goes on with it",
        )
    })?;
    let damaged =
        || Error::new(ErrorKind::Config, "the sealed key is damaged").next_step("bring the key's file back");
    let bytes = of_hex(&sealed.sealed).ok_or_else(damaged)?;
    let request = client
        .decrypt()
        .key_id(&sealed.kms_key)
        .ciphertext_blob(Blob::new(bytes))
        .encryption_context(CONTEXT.0, CONTEXT.1);
    let answer = request
        .send()
        .await
        .map_err(|error| failed("open the master key by KMS", error).field("store.kms_key"))?;
    key_of(answer.plaintext)
}

/// A new key, and the line of a file that holds it sealed.
async fn generate(client: &Client, kms_key: &str) -> Result<(Key, String)> {
    let request = client
        .generate_data_key()
        .key_id(kms_key)
        .key_spec(DataKeySpec::Aes256)
        .encryption_context(CONTEXT.0, CONTEXT.1);
    let answer = request
        .send()
        .await
        .map_err(|error| failed("make the master key by KMS", error).field("store.kms_key"))?;
    let (Some(sealed), Some(name)) = (answer.ciphertext_blob, answer.key_id) else {
        return Err(incomplete());
    };
    let sealed = SealedKey { kms_key: name, sealed: hex(sealed.as_ref()) };
    let line =
        serde_json::to_string(&sealed).map_err(|error| Error::new(ErrorKind::Data, error.to_string()))?;
    Ok((key_of(answer.plaintext)?, line))
}

fn key_of(plaintext: Option<Blob>) -> Result<Key> {
    let bytes = plaintext.and_then(|blob| <[u8; 32]>::try_from(blob.as_ref()).ok());
    bytes.map(Key::new).ok_or_else(incomplete)
}

fn incomplete() -> Error {
    Error::new(ErrorKind::Data, "KMS answered without a key of 32 bytes")
        .field("store.kms_key")
        .next_step("name a symmetric key of KMS by `kms_key` of [store]")
}
