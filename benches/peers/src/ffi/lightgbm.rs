//! LightGBM through its C interface (`include/LightGBM/c_api.h`, 4.7).

use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::path::Path;
use std::ptr;

use super::{c_library, c_text, checked};
use crate::Result;
use crate::task::Rows;

const FLOAT32: c_int = 0;
const FLOAT64: c_int = 1;
const INT32: c_int = 2;
const ROW_MAJOR: c_int = 1;
const RAW_SCORE: c_int = 1;
const ALL_TREES: c_int = -1;

type Handle = *mut c_void;

c_library! {
    /// What is used of LightGBM.
    Functions {
        last_error = b"LGBM_GetLastError\0": fn() -> *const c_char;
        dataset_from_mat = b"LGBM_DatasetCreateFromMat\0":
            fn(*const c_void, c_int, i32, i32, c_int, *const c_char, Handle, *mut Handle) -> c_int;
        dataset_set_field = b"LGBM_DatasetSetField\0": fn(Handle, *const c_char, *const c_void, c_int, c_int) -> c_int;
        dataset_free = b"LGBM_DatasetFree\0": fn(Handle) -> c_int;
        booster_create = b"LGBM_BoosterCreate\0": fn(Handle, *const c_char, *mut Handle) -> c_int;
        booster_add_valid = b"LGBM_BoosterAddValidData\0": fn(Handle, Handle) -> c_int;
        booster_update = b"LGBM_BoosterUpdateOneIter\0": fn(Handle, *mut c_int) -> c_int;
        booster_outputs = b"LGBM_BoosterGetNumClasses\0": fn(Handle, *mut c_int) -> c_int;
        booster_eval = b"LGBM_BoosterGetEval\0": fn(Handle, c_int, *mut c_int, *mut f64) -> c_int;
        booster_load = b"LGBM_BoosterLoadModelFromString\0": fn(*const c_char, *mut c_int, *mut Handle) -> c_int;
        booster_save = b"LGBM_BoosterSaveModelToString\0":
            fn(Handle, c_int, c_int, c_int, i64, *mut i64, *mut c_char) -> c_int;
        booster_free = b"LGBM_BoosterFree\0": fn(Handle) -> c_int;
        predict = b"LGBM_BoosterPredictForMat\0": fn(
            Handle, *const c_void, c_int, i32, i32, c_int, c_int, c_int, c_int, *const c_char, *mut i64, *mut f64,
        ) -> c_int;
        fast_init = b"LGBM_BoosterPredictForMatSingleRowFastInit\0":
            fn(Handle, c_int, c_int, c_int, c_int, i32, *const c_char, *mut Handle) -> c_int;
        fast_predict = b"LGBM_BoosterPredictForMatSingleRowFast\0":
            fn(Handle, *const c_void, *mut i64, *mut f64) -> c_int;
        fast_free = b"LGBM_FastConfigFree\0": fn(Handle) -> c_int;
    }
}

impl Functions {
    fn check(&self, status: c_int) -> Result<()> {
        checked(status, self.last_error).map_err(|error| format!("LightGBM: {error}").into())
    }
}

/// LightGBM's library.
#[derive(Clone, Copy)]
pub struct LightGbm(&'static Functions);

impl LightGbm {
    /// Opens `lib_lightgbm.so`.
    ///
    /// # Errors
    /// It is not there, or lacks a function.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self(Box::leak(Box::new(Functions::open(path)?))))
    }

    /// Bins `rows`; as `reference` did, where there is one.
    ///
    /// # Errors
    /// What LightGBM says.
    pub fn dataset(self, rows: &Rows, parameters: &str, reference: Option<&Dataset>) -> Result<Dataset> {
        let functions = self.0;
        let parameters = c_text(parameters)?;
        let mut handle = ptr::null_mut();
        // SAFETY: `values` holds `rows() * columns` floats, which LightGBM copies; the other pointers live through
        // the call.
        functions.check(unsafe {
            (functions.dataset_from_mat)(
                rows.values.as_ptr().cast(),
                FLOAT32,
                i32::try_from(rows.rows())?,
                i32::try_from(rows.columns)?,
                ROW_MAJOR,
                parameters.as_ptr(),
                reference.map_or(ptr::null_mut(), |reference| reference.handle),
                &mut handle,
            )
        })?;
        let dataset = Dataset { functions, handle };
        dataset.set_field("label", &rows.labels, FLOAT32)?;
        if !rows.weights.is_empty() {
            dataset.set_field("weight", &rows.weights, FLOAT32)?;
        }
        if !rows.groups.is_empty() {
            let sizes: std::result::Result<Vec<i32>, _> =
                rows.groups.iter().map(|&size| size.try_into()).collect();
            dataset.set_field("group", &sizes?, INT32)?;
        }
        Ok(dataset)
    }

    /// Reads a model in LightGBM's text format.
    ///
    /// # Errors
    /// What LightGBM says.
    pub fn load(self, text: &str) -> Result<Booster<'static>> {
        let functions = self.0;
        let (text, mut iterations, mut handle) = (c_text(text)?, 0, ptr::null_mut());
        // SAFETY: a zero-terminated text and two places to write to.
        functions.check(unsafe { (functions.booster_load)(text.as_ptr(), &mut iterations, &mut handle) })?;
        Ok(Booster { functions, handle, data: PhantomData })
    }
}

/// Binned rows.
pub struct Dataset {
    functions: &'static Functions,
    handle: Handle,
}

impl Dataset {
    /// `kind` must be the number of `T` in LightGBM's header.
    fn set_field<T>(&self, name: &str, values: &[T], kind: c_int) -> Result<()> {
        let name = c_text(name)?;
        // SAFETY: `values` holds that many elements of that kind; LightGBM copies them.
        self.functions.check(unsafe {
            (self.functions.dataset_set_field)(
                self.handle,
                name.as_ptr(),
                values.as_ptr().cast(),
                values.len() as c_int,
                kind,
            )
        })
    }

    /// A booster without trees over these rows.
    ///
    /// # Errors
    /// What LightGBM says.
    pub fn booster(&self, parameters: &str) -> Result<Booster<'_>> {
        let (parameters, mut handle) = (c_text(parameters)?, ptr::null_mut());
        // SAFETY: the dataset lives as long as the booster, by its lifetime.
        self.functions.check(unsafe {
            (self.functions.booster_create)(self.handle, parameters.as_ptr(), &mut handle)
        })?;
        Ok(Booster { functions: self.functions, handle, data: PhantomData })
    }
}

impl Drop for Dataset {
    fn drop(&mut self) {
        // SAFETY: made by LightGBM, freed once; boosters over it are gone, by their lifetime.
        unsafe { (self.functions.dataset_free)(self.handle) };
    }
}

/// A model, over the rows that it learns from or from a file.
pub struct Booster<'data> {
    functions: &'static Functions,
    handle: Handle,
    data: PhantomData<&'data Dataset>,
}

impl<'data> Booster<'data> {
    /// Adds a round of trees; `false` where no split helps any more.
    ///
    /// # Errors
    /// What LightGBM says.
    pub fn update(&mut self) -> Result<bool> {
        let mut finished = 0;
        // SAFETY: a booster with rows, and a place to write to.
        self.functions.check(unsafe { (self.functions.booster_update)(self.handle, &mut finished) })?;
        Ok(finished == 0)
    }

    /// Has its metrics computed on `data` too.
    ///
    /// # Errors
    /// What LightGBM says.
    pub fn add_validation(&mut self, data: &'data Dataset) -> Result<()> {
        // SAFETY: the data outlives the booster, by its lifetime.
        self.functions.check(unsafe { (self.functions.booster_add_valid)(self.handle, data.handle) })
    }

    /// The first `count` of LightGBM's own metrics on the first validation data, in the order of its parameters.
    ///
    /// # Errors
    /// What LightGBM says, or another number of metrics.
    pub fn metrics(&self, count: usize) -> Result<Vec<f64>> {
        // More than any parameters used here ask for.
        let (mut found, mut values) = (0, vec![0.0; 64]);
        // SAFETY: LightGBM writes one number a metric, of which there are fewer than 64.
        self.functions.check(unsafe {
            (self.functions.booster_eval)(self.handle, 1, &mut found, values.as_mut_ptr())
        })?;
        if found as usize != count {
            return Err(format!("LightGBM has {found} metrics, not {count}").into());
        }
        values.truncate(count);
        Ok(values)
    }

    /// The model in LightGBM's text format.
    ///
    /// # Errors
    /// What LightGBM says.
    pub fn save(&self) -> Result<String> {
        let mut length = 0_i64;
        let mut text = Vec::<u8>::new();
        // Once to learn the length, once to be given the text.
        for _ in 0..2 {
            text.resize(length as usize, 0);
            // SAFETY: LightGBM writes nothing where the text would not fit `text.len()` bytes.
            self.functions.check(unsafe {
                (self.functions.booster_save)(
                    self.handle,
                    0,
                    ALL_TREES,
                    0,
                    text.len() as i64,
                    &mut length,
                    text.as_mut_ptr().cast(),
                )
            })?;
        }
        text.pop(); // the terminating zero
        Ok(String::from_utf8(text)?)
    }

    /// Scores a row: one, or one a class.
    ///
    /// # Errors
    /// What LightGBM says.
    pub fn outputs(&self) -> Result<usize> {
        let mut classes = 0;
        // SAFETY: a booster and a place to write to.
        self.functions.check(unsafe { (self.functions.booster_outputs)(self.handle, &mut classes) })?;
        Ok(classes as usize)
    }

    /// Raw scores, by the call for batches, on as many threads as `parameters` say.
    ///
    /// # Shapes
    /// `values`: row-major `[n, columns]`; returns row-major `[n, outputs]`.
    ///
    /// # Errors
    /// What LightGBM says, such as another number of columns than the model has.
    pub fn score(&self, values: &[f32], columns: usize, parameters: &CStr) -> Result<Vec<f64>> {
        let rows = values.len() / columns;
        let (mut scores, mut written) = (vec![0.0; rows * self.outputs()?], 0);
        // SAFETY: `values` holds that many rows, and `scores` has room for the raw scores of each.
        self.functions.check(unsafe {
            (self.functions.predict)(
                self.handle,
                values.as_ptr().cast(),
                FLOAT32,
                rows as i32,
                columns as i32,
                ROW_MAJOR,
                RAW_SCORE,
                0,
                ALL_TREES,
                parameters.as_ptr(),
                &mut written,
                scores.as_mut_ptr(),
            )
        })?;
        Ok(scores)
    }

    /// Prepares for rows of `columns` values, one at a time, on one thread.
    ///
    /// # Errors
    /// What LightGBM says, or a model of several outputs.
    pub fn single_row(&self, columns: usize) -> Result<SingleRow<'_>> {
        if self.outputs()? != 1 {
            return Err("single rows are scored here by models of one output".into());
        }
        let mut handle = ptr::null_mut();
        // SAFETY: the booster outlives the configuration, by its lifetime.
        self.functions.check(unsafe {
            (self.functions.fast_init)(
                self.handle,
                RAW_SCORE,
                0,
                ALL_TREES,
                FLOAT64,
                i32::try_from(columns)?,
                c"num_threads=1".as_ptr(),
                &mut handle,
            )
        })?;
        Ok(SingleRow { functions: self.functions, handle, columns, booster: PhantomData })
    }
}

impl Drop for Booster<'_> {
    fn drop(&mut self) {
        // SAFETY: made by LightGBM, freed once; what was prepared from it is gone, by its lifetime.
        unsafe { (self.functions.booster_free)(self.handle) };
    }
}

/// LightGBM's fastest way to score single rows, of a model with one output.
pub struct SingleRow<'booster> {
    functions: &'static Functions,
    handle: Handle,
    columns: usize,
    booster: PhantomData<&'booster ()>,
}

impl SingleRow<'_> {
    /// The raw score of `row`. LightGBM computes in doubles, so it is given doubles.
    ///
    /// # Errors
    /// What LightGBM says, or a row of another width.
    pub fn score(&self, row: &[f64]) -> Result<f64> {
        if row.len() != self.columns {
            return Err(format!("a row of {} values for {} columns", row.len(), self.columns).into());
        }
        let (mut written, mut score) = (0, 0.0);
        // SAFETY: `row` has the width that this was prepared for, and the model one output.
        self.functions.check(unsafe {
            (self.functions.fast_predict)(self.handle, row.as_ptr().cast(), &mut written, &mut score)
        })?;
        Ok(score)
    }
}

impl Drop for SingleRow<'_> {
    fn drop(&mut self) {
        // SAFETY: made by LightGBM, freed once.
        unsafe { (self.functions.fast_free)(self.handle) };
    }
}
