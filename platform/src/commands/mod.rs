//! What the commands do, beyond what fits into a line of `main.rs`.

pub mod check;
pub mod dead;
pub mod demo;
pub mod keys;
pub mod lake;
pub mod models;
pub mod send;

use foretap::{Error, ErrorKind, Result};
use foretap_platform::say;

pub fn say_json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value);
    say(&text.map_err(|error| Error::new(ErrorKind::Data, error.to_string()))?);
    Ok(())
}

pub fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(ErrorKind::Io, format!("no runtime can be started: {error}")))
}
