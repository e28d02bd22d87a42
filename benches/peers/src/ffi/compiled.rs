//! A model as C code that tl2cgen has made of it, compiled into a shared library.

use std::ffi::{CStr, c_char, c_int};
use std::path::Path;

use super::c_library;
use crate::Result;

c_library! {
    /// What every model's code has.
    Functions {
        columns = b"get_num_feature\0": fn() -> i32;
        targets = b"get_num_target\0": fn() -> i32;
        classes = b"get_num_class\0": fn(*mut i32);
        threshold_type = b"get_threshold_type\0": fn() -> *const c_char;
        leaf_type = b"get_leaf_output_type\0": fn() -> *const c_char;
        predict = b"predict\0": fn(*mut Entry, c_int, *mut f64);
    }
}

/// A value of a row: tl2cgen's `union Entry` of a model with double thresholds. A missing value has -1 in its first
/// four bytes; the first four bytes of a present double are that only by a chance that tl2cgen neglects.
#[derive(Clone, Copy)]
#[repr(C)]
pub union Entry {
    missing: c_int,
    value: f64,
}

impl Entry {
    /// `value`, or a missing one for NaN.
    pub fn new(value: f32) -> Self {
        if value.is_nan() { Self { missing: -1 } } else { Self { value: f64::from(value) } }
    }
}

/// A compiled model of one output with double thresholds and leaves, as LightGBM's are.
pub struct Compiled {
    functions: Functions,
    columns: usize,
}

impl Compiled {
    /// Opens the library at `path`.
    ///
    /// # Errors
    /// It is not there, lacks a function, or holds a model of another kind.
    pub fn open(path: &Path) -> Result<Self> {
        let functions = Functions::open(path)?;
        let mut classes = 0;
        // SAFETY: functions without preconditions; the texts are constants of the library. `classes` has room for the
        // one number a target, of which there is one.
        let (columns, kinds) = unsafe {
            if (functions.targets)() != 1 {
                return Err("the compiled model has several targets".into());
            }
            (functions.classes)(&mut classes);
            let kinds = [(functions.threshold_type)(), (functions.leaf_type)()];
            ((functions.columns)(), kinds.map(|kind| CStr::from_ptr(kind)))
        };
        if classes != 1 || kinds != [c"float64"; 2] {
            return Err(format!(
                "the compiled model has {classes} classes, thresholds and leaves of {kinds:?}"
            )
            .into());
        }
        Ok(Self { functions, columns: columns as usize })
    }

    /// The raw score of `row`.
    ///
    /// # Errors
    /// A row of fewer values than the model reads.
    pub fn score(&self, row: &mut [Entry]) -> Result<f64> {
        if row.len() < self.columns {
            return Err(format!("a row of {} values for {} columns", row.len(), self.columns).into());
        }
        let mut score = 0.0;
        // SAFETY: the row has as many entries as the model reads, and the model writes one double.
        unsafe { (self.functions.predict)(row.as_mut_ptr(), 1, &mut score) };
        Ok(score)
    }
}
