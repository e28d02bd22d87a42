//! Sums of gradients by bin: all that a split needs to know of the rows of a leaf.

use rayon::prelude::*;

use super::dataset::Dataset;
use super::objective::Gradient;

/// What fell in one bin, or in several.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Sums {
    // f64: f32 sums drift over 10^6 rows, and a parent minus its child would be noise.
    pub g: f64,
    pub h: f64,
    pub rows: u32,
}

impl Sums {
    pub fn plus(self, other: Sums) -> Sums {
        Sums { g: self.g + other.g, h: self.h + other.h, rows: self.rows + other.rows }
    }

    pub fn minus(self, other: Sums) -> Sums {
        Sums { g: self.g - other.g, h: self.h - other.h, rows: self.rows - other.rows }
    }
}

/// A leaf's sums, for each column in use and each of its bins.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    pub columns: Vec<Vec<Sums>>,
}

/// Below this many rows, handing columns to threads costs more than it saves.
const PARALLEL_ROWS: usize = 2_048;

impl Histogram {
    /// Sums over `rows` for each of `columns`. A column is summed by one thread in row order, so the result is the
    /// same at any number of threads.
    pub fn build(data: &Dataset, columns: &[usize], rows: &[u32], gradients: &[Gradient]) -> Self {
        // Gathered once: the columns then read them in order.
        let ordered: Vec<Gradient> = rows.iter().map(|&row| gradients[row as usize]).collect();
        let sum_column = |&column: &usize| {
            let bins = &data.columns[column];
            let mut sums = vec![Sums::default(); data.binner.bins(column)];
            for (&row, gradient) in rows.iter().zip(&ordered) {
                let bin = &mut sums[usize::from(bins[row as usize])];
                bin.g += f64::from(gradient.g);
                bin.h += f64::from(gradient.h);
                bin.rows += 1;
            }
            sums
        };
        let columns = if rows.len() < PARALLEL_ROWS {
            columns.iter().map(sum_column).collect()
        } else {
            columns.par_iter().map(sum_column).collect()
        };
        Self { columns }
    }

    /// What is left of this leaf when the rows of `child` are taken away: its sibling, without a look at the rows.
    pub fn minus(mut self, child: &Histogram) -> Self {
        for (column, child) in self.columns.iter_mut().zip(&child.columns) {
            for (sums, &taken) in column.iter_mut().zip(child) {
                *sums = sums.minus(taken);
            }
        }
        self
    }
}
