//! Where the phone was, from a file of its own, joined to the events as city-level places.
//!
//! Comma-separated, or by semicolons with decimal commas, one row a change, in UTC; the header may be missing:
//!
//! ```text
//! unix_seconds,lat,lon
//! 1700000000,48.86,2.35
//! ```

use std::path::Path;

use super::lines::{Commas, DELIMITERS, Lines, excerpt};
use super::warnings::{WarningKind, Warnings};
use crate::data::place::PlaceId;
use crate::data::privacy::PlaceGrid;
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Silent;

/// How long a position stays believable. A file with one row a change is silent while the phone lies at home,
/// so a night and a day must pass; after longer, the recorder was more likely off.
pub(super) const MAX_AGE_SECS: i64 = 24 * 3600;

/// Positions in time order.
#[derive(Debug)]
pub(super) struct Positions {
    rows: Vec<(i64, PlaceId)>,
}

impl Positions {
    /// Reads `file`, coarsening every position to `grid` at once.
    pub fn read(file: &Path, grid: PlaceGrid, strict: bool, warnings: &mut Warnings) -> Result<Self> {
        let mut lines = Lines::open(file, &Silent)?;
        let mut parted = DELIMITERS.map(Commas::new);
        let mut rows = Vec::new();
        while let Some(line) = lines.next()? {
            let position = |fields: &csv::StringRecord| {
                let number = |index| fields.get(index)?.trim().replace(',', ".").parse::<f64>().ok();
                let at = number(0).filter(|at| at.abs() < 1e11)? as i64;
                Some((at, grid.place(number(1)?, number(2)?)?))
            };
            match parted.iter_mut().find_map(|commas| commas.split(line.text).and_then(position)) {
                Some(row) => rows.push(row),
                None if line.number == 1 && line.text.contains("lat") => {}
                None => {
                    let message =
                        format!("`{}` is not `unix_seconds,lat,lon`", excerpt(line.text.trim(), 60));
                    if strict {
                        return Err(Error::new(ErrorKind::Data, message).file(file).line(line.number));
                    }
                    warnings.add(WarningKind::BadRow, file, Some(line.number), message);
                }
            }
        }
        if rows.is_empty() {
            return Err(Error::new(ErrorKind::Data, "no usable position")
                .file(file)
                .next_step("give rows of `unix_seconds,lat,lon`, or leave out --places"));
        }
        rows.sort_by_key(|&(at, _)| at);
        Ok(Self { rows })
    }

    /// The last place at or before `at`, if it is not too old.
    pub fn place_at(&self, at: i64) -> Option<PlaceId> {
        let later = self.rows.partition_point(|&(then, _)| then <= at);
        let &(then, place) = self.rows.get(later.checked_sub(1)?)?;
        (at - then <= MAX_AGE_SECS).then_some(place)
    }
}
