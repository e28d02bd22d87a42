//! The file is written.

use std::path::Path;

use super::{FORMAT_VERSION, Header, Payload, RankerModel};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::format::sha256_hex;
use crate::storage::write_atomically;

impl RankerModel {
    /// Writes the model to `file`.
    ///
    /// # Errors
    /// The file cannot be written; it is then as it was.
    pub fn save(&self, file: &Path) -> Result<()> {
        let payload = Payload {
            task: self.task,
            schema_version: None,
            temperature: self.temperature,
            apps: self.apps.clone(),
            config: self.config.clone(),
            ensemble: self.ranker.forest().ensemble().clone(),
        };
        let broken = |error: serde_json::Error| {
            Error::new(ErrorKind::Model, format!("the model cannot be written as JSON: {error}")).file(file)
        };
        let payload = serde_json::to_vec(&payload).map_err(broken)?;
        let header = Header {
            foretap: "model".to_owned(),
            version: FORMAT_VERSION,
            bytes: payload.len(),
            sha256: sha256_hex(&payload),
        };
        let header = serde_json::to_string(&header).map_err(broken)?;
        write_atomically(file, |out| {
            writeln!(out, "{header}")?;
            out.write_all(&payload)
        })
    }
}
