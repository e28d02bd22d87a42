//! How bytes are kept: what binary files are made of, how a file says what it is, how files are written and read.
//!
//! Every binary file begins with its format's bytes (`format`) and goes on in fields of one encoding (`codec`). Every file,
//! text or binary, is written whole or not at all ([`replace`]). A phone's history is checked or encrypted besides
//! ([`vault`]).

#[cfg(feature = "vault")]
mod atomic;
pub(crate) mod codec;
pub(crate) mod format;
#[cfg(feature = "train")]
mod text;
#[cfg(feature = "train")]
mod toml_file;
#[cfg(feature = "vault")]
pub mod vault;

#[cfg(feature = "vault")]
pub use atomic::{Access, check_folder, check_writable, replace, write_atomically};
#[cfg(feature = "train")]
pub(crate) use text::{broken_off, edits, excerpt, open_text};
#[cfg(feature = "train")]
pub(crate) use toml_file::TomlFile;
