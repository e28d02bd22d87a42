//! The master key sealed by Amazon's KMS: the file holds a data key that only KMS opens, and it is opened once, at the start.
//!
//! Where KMS does not open it, because its key is disabled, deleted or not permitted, nothing starts: no key is ever kept in
//! the clear instead.

use std::path::Path;

use aws_config::SdkConfig;
use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use foretap::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::MasterKey;
use super::key::{hex, of_hex, write_new};
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
    match std::fs::read_to_string(file) {
        Ok(text) => open(&client, &text).await.map_err(|error| error.file(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && may_make => {
            make(&client, file, kms_key).await
        }
        Err(error) => Err(Error::io(file, "read the master key", error)
            .next_step("bring the key's file back: without it nothing in the store can be read")),
    }
}

/// Whether KMS makes a key under `kms_key`, which nobody keeps: what the first start will ask for.
///
/// # Errors
/// KMS does not make it.
pub async fn check_kms(sdk: &SdkConfig, kms_key: &str) -> Result<()> {
    generate(&Client::new(sdk), kms_key).await.map(drop)
}

async fn open(client: &Client, text: &str) -> Result<MasterKey> {
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

async fn make(client: &Client, file: &Path, kms_key: &str) -> Result<MasterKey> {
    let (key, sealed) = generate(client, kms_key).await?;
    let text =
        serde_json::to_string(&sealed).map_err(|error| Error::new(ErrorKind::Data, error.to_string()))?;
    write_new(file, &text)?;
    Ok(key)
}

/// A new key, in the clear and sealed.
async fn generate(client: &Client, kms_key: &str) -> Result<(MasterKey, SealedKey)> {
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
    let key = key_of(answer.plaintext)?;
    Ok((key, SealedKey { kms_key: name, sealed: hex(sealed.as_ref()) }))
}

fn key_of(plaintext: Option<Blob>) -> Result<MasterKey> {
    let bytes = plaintext.and_then(|blob| <[u8; 32]>::try_from(blob.as_ref()).ok());
    bytes.map(MasterKey::of).ok_or_else(incomplete)
}

fn incomplete() -> Error {
    Error::new(ErrorKind::Data, "KMS answered without a key of 32 bytes")
        .field("store.kms_key")
        .next_step("name a symmetric key of KMS by `kms_key` of [store]")
}
