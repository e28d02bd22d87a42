//! A trained ranker in a file: checked whole before it is believed, written whole or not at all.
//!
//! The first line says what the file is, the rest is JSON:
//!
//! ```text
//! {"foretap":"model","version":3,"bytes":512345,"sha256":"9f86d081..."}
//! {"task":"first-after-unlock","apps":[...],"ensemble":{"features":[...],"trees":[...],...},...}
//! ```
//!
//! Features are known by their labels ([`columns`](crate::context::columns)), in any order. Version 2 had a number for all
//! of them together besides, `"schema_version":1`.

#[cfg(feature = "train")]
mod save;

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::context::{Task, favourites};
use crate::data::{AppId, Vocabulary};
use crate::error::{Error, ErrorKind, Result};
use crate::gbdt::{Ensemble, Forest};
use crate::ranker::{Ranker, RankerConfig};
use crate::storage::format::sha256_hex;

/// Version of the file format.
pub const FORMAT_VERSION: u32 = 3;

/// The version before, which is read, and its only schema.
const BEFORE: u32 = 2;
const SCHEMA_BEFORE: u32 = 1;

/// A ranker with all that is needed to ask it.
#[derive(Debug, Clone)]
pub struct RankerModel {
    /// What it answers.
    pub task: Task,
    /// The trees.
    pub ranker: Ranker,
    /// What its logits are divided by to become probabilities.
    pub temperature: f64,
    /// App names of the training log, most launched first: candidates for a user without a history.
    pub apps: Vec<String>,
    /// How it was trained.
    pub config: RankerConfig,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    foretap: String,
    version: u32,
    bytes: usize,
    sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    task: Task,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema_version: Option<u32>,
    temperature: f64,
    apps: Vec<String>,
    config: RankerConfig,
    ensemble: Ensemble,
}

impl RankerModel {
    /// A vocabulary that begins with the model's apps, to read a log into.
    pub fn vocabulary(&self) -> Vocabulary {
        Vocabulary::from_names(&self.apps)
    }

    /// Candidates for a user without a history, in ids of [`vocabulary`](RankerModel::vocabulary).
    pub fn favourites(&self) -> Arc<[AppId]> {
        favourites((0..self.apps.len() as u32).map(AppId))
    }

    /// Reads a model and checks all of it.
    ///
    /// # Errors
    /// The file cannot be read, is no model, is damaged or cut off, is of another version, or reads a feature that this
    /// build does not compute.
    pub fn load(file: &Path) -> Result<Self> {
        let bytes = std::fs::read(file).map_err(|error| {
            Error::io(file, "read the model", error).next_step("make one with the `train` example")
        })?;
        Self::from_bytes(&bytes).map_err(|error| error.file(file))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let wrong =
            |message: String, next_step: &str| Error::new(ErrorKind::Model, message).next_step(next_step);
        let again = "train the model again with the `train` example";
        let line_end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
        // The version is read by itself first: a later version's header may have other fields.
        let preamble: serde_json::Value = serde_json::from_slice(&bytes[..line_end]).unwrap_or_default();
        if preamble["foretap"] != "model" {
            return Err(wrong(
                "this is not a foretap model".into(),
                "name a file that the `train` example wrote",
            ));
        }
        if preamble["version"] != FORMAT_VERSION && preamble["version"] != BEFORE {
            let version = &preamble["version"];
            let message =
                format!("model version {version}, but this build reads {BEFORE} and {FORMAT_VERSION}");
            return Err(wrong(message, again));
        }
        let header: Header = serde_json::from_value(preamble)
            .map_err(|error| wrong(format!("the first line is damaged: {error}"), "copy the file again"))?;
        let payload = bytes.get(line_end + 1..).unwrap_or_default();
        if payload.len() != header.bytes {
            let message =
                format!("{} bytes of {}: the file is cut off or damaged", payload.len(), header.bytes);
            return Err(wrong(message, "copy the file again"));
        }
        if sha256_hex(payload) != header.sha256 {
            return Err(wrong(
                "the checksum does not match: the file is damaged".into(),
                "copy the file again",
            ));
        }
        let payload: Payload = serde_json::from_slice(payload)
            .map_err(|error| wrong(format!("the content does not fit this version: {error}"), again))?;
        let schema = (header.version == BEFORE).then_some(SCHEMA_BEFORE);
        if payload.schema_version != schema {
            let named = |schema: Option<u32>| schema.map_or_else(|| "none".to_owned(), |s| s.to_string());
            let (found, belongs) = (named(payload.schema_version), named(schema));
            let message = format!("feature schema {found}, where version {} has {belongs}", header.version);
            return Err(wrong(message, again));
        }
        if !(payload.temperature.is_finite() && payload.temperature > 0.0) {
            return Err(
                wrong(format!("a temperature of {}", payload.temperature), again).field("temperature")
            );
        }
        let forest = Forest::new(payload.ensemble).map_err(|error| error.next_step(again))?;
        Ok(Self {
            task: payload.task,
            ranker: Ranker::new(forest).map_err(|error| error.field("ensemble.features"))?,
            temperature: payload.temperature,
            apps: payload.apps,
            config: payload.config,
        })
    }
}
