//! One self-verifying file for phones: named sections, each with its checksum, and patches from one such file to the
//! next.
//!
//! A [`Bundle`] is what a phone loads: vocabulary, student, trees, and golden questions that it must answer as it did when
//! it was made. Below it nothing depends on what sections hold: bytes go in, and the same bytes come out, or an error that
//! says what to do. The order to read in: [`Reader`] and [`Put`], the fields that sections are made of; [`Sections`], the
//! file; [`diff`] and [`apply`], the patches; then [`Bundle`].
//!
//! ```
//! use foretap::bundle::{Section, Sections, Tag, apply, diff};
//!
//! const TREES: Tag = Tag(*b"TREE");
//! const NOTE: Tag = Tag(*b"NOTE");
//! let file = |trees: &[u8]| {
//!     let sections = vec![
//!         Section { tag: TREES, required: true, bytes: trees },
//!         Section { tag: NOTE, required: false, bytes: b"trained in May" },
//!     ];
//!     Ok::<_, foretap::Error>(Sections::new(sections)?.to_bytes())
//! };
//! let (may, june) = (file(&[7; 10_000])?, file(&[8; 10_000])?);
//!
//! let sections = Sections::parse(&may)?;
//! sections.check_known(&[TREES])?; // a reader may skip what is not required
//! assert_eq!(sections.require(TREES)?, [7; 10_000]);
//!
//! let patch = diff(&may, &june)?;
//! assert!(patch.len() < 300);
//! assert_eq!(apply(&may, &patch)?, june);
//! assert!(apply(&june, &patch).is_err());
//! # Ok::<(), foretap::Error>(())
//! ```

mod container;
mod contents;
mod delta;
mod expert;
mod golden;

pub use crate::storage::codec::{Put, Reader};
pub use container::{ALIGNMENT, MAX_SECTIONS, Section, Sections, Tag};
pub use contents::{Bundle, BundleContents};
pub use delta::{apply, diff};
pub use expert::Expert;
