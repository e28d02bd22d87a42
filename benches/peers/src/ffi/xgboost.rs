//! XGBoost through its C interface (`include/xgboost/c_api.h`, 3.2).

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;

use super::{c_library, c_text, checked};
use crate::Result;
use crate::task::Rows;

type Handle = *mut c_void;

c_library! {
    /// What is used of XGBoost.
    Functions {
        last_error = b"XGBGetLastError\0": fn() -> *const c_char;
        set_global = b"XGBSetGlobalConfig\0": fn(*const c_char) -> c_int;
        proxy_create = b"XGProxyDMatrixCreate\0": fn(*mut Handle) -> c_int;
        proxy_set_dense = b"XGProxyDMatrixSetDataDense\0": fn(Handle, *const c_char) -> c_int;
        quantile_create = b"XGQuantileDMatrixCreateFromCallback\0": fn(
            *mut c_void, Handle, Handle, extern "C" fn(*mut c_void), extern "C" fn(*mut c_void) -> c_int,
            *const c_char, *mut Handle,
        ) -> c_int;
        matrix_set_info = b"XGDMatrixSetInfoFromInterface\0": fn(Handle, *const c_char, *const c_char) -> c_int;
        matrix_set_texts = b"XGDMatrixSetStrFeatureInfo\0":
            fn(Handle, *const c_char, *const *const c_char, u64) -> c_int;
        matrix_free = b"XGDMatrixFree\0": fn(Handle) -> c_int;
        booster_create = b"XGBoosterCreate\0": fn(*const Handle, u64, *mut Handle) -> c_int;
        booster_set = b"XGBoosterSetParam\0": fn(Handle, *const c_char, *const c_char) -> c_int;
        booster_update = b"XGBoosterUpdateOneIter\0": fn(Handle, c_int, Handle) -> c_int;
        booster_predict = b"XGBoosterPredictFromDense\0": fn(
            Handle, *const c_char, *const c_char, Handle, *mut *const u64, *mut u64, *mut *const f32,
        ) -> c_int;
        booster_load = b"XGBoosterLoadModelFromBuffer\0": fn(Handle, *const c_void, u64) -> c_int;
        booster_save = b"XGBoosterSaveModelToBuffer\0":
            fn(Handle, *const c_char, *mut u64, *mut *const c_char) -> c_int;
        booster_free = b"XGBoosterFree\0": fn(Handle) -> c_int;
    }
}

impl Functions {
    fn check(&self, status: c_int) -> Result<()> {
        checked(status, self.last_error).map_err(|error| format!("XGBoost: {error}").into())
    }
}

/// XGBoost's library.
#[derive(Clone, Copy)]
pub struct XgBoost(&'static Functions);

impl XgBoost {
    /// Opens `libxgboost.so`, and asks it not to print.
    ///
    /// # Errors
    /// It is not there, or lacks a function.
    pub fn open(path: &Path) -> Result<Self> {
        let functions: &'static Functions = Box::leak(Box::new(Functions::open(path)?));
        // SAFETY: a zero-terminated text.
        functions.check(unsafe { (functions.set_global)(c"{\"verbosity\": 0}".as_ptr()) })?;
        Ok(Self(functions))
    }

    /// Bins `rows` as the `hist` method wants them: a quantile matrix, without a copy of the floats.
    ///
    /// # Errors
    /// What XGBoost says.
    pub fn matrix(self, rows: &Rows, max_bins: usize, threads: usize) -> Result<Matrix> {
        let functions = self.0;
        let mut proxy = ptr::null_mut();
        // SAFETY: a place to write to.
        functions.check(unsafe { (functions.proxy_create)(&mut proxy) })?;
        let proxy = Matrix { functions, handle: proxy };
        let mut source = Source { functions, proxy: proxy.handle, rows, given: false, error: None };
        let source_pointer: *mut Source<'_> = &mut source;
        let config =
            c_text(&format!("{{\"missing\": NaN, \"max_bin\": {max_bins}, \"nthread\": {threads}}}"))?;
        let mut handle = ptr::null_mut();
        // SAFETY: the callbacks are called with `source_pointer` during this call alone, which `source` and `proxy`
        // outlive.
        let status = unsafe {
            (functions.quantile_create)(
                source_pointer.cast(),
                proxy.handle,
                ptr::null_mut(),
                rewind,
                next_batch,
                config.as_ptr(),
                &mut handle,
            )
        };
        if let Some(error) = source.error {
            return Err(error);
        }
        functions.check(status)?;
        Ok(Matrix { functions, handle })
    }

    /// Reads a model in XGBoost's JSON format.
    ///
    /// # Errors
    /// What XGBoost says.
    pub fn load(self, json: &str) -> Result<Booster> {
        let booster = self.booster(&[])?;
        // SAFETY: a buffer of that many bytes.
        self.0.check(unsafe {
            (self.0.booster_load)(booster.handle, json.as_ptr().cast(), json.len() as u64)
        })?;
        Ok(booster)
    }

    fn booster(self, matrices: &[Handle]) -> Result<Booster> {
        let mut handle = ptr::null_mut();
        // SAFETY: `matrices` holds that many matrices, which XGBoost shares in.
        self.0.check(unsafe {
            (self.0.booster_create)(matrices.as_ptr(), matrices.len() as u64, &mut handle)
        })?;
        Ok(Booster { functions: self.0, handle })
    }
}

/// All rows in one batch, for XGBoost to ask for as often as it likes.
struct Source<'a> {
    functions: &'static Functions,
    proxy: Handle,
    rows: &'a Rows,
    given: bool,
    error: Option<crate::Error>,
}

impl Source<'_> {
    fn give(&self) -> Result<()> {
        let (functions, rows) = (self.functions, self.rows);
        let values = interface(&rows.values, &[rows.rows(), rows.columns], "<f4")?;
        // SAFETY: the interface describes memory that outlives the construction of the matrix.
        functions.check(unsafe { (functions.proxy_set_dense)(self.proxy, values.as_ptr()) })?;
        let set = |field: &str, interface: CString| {
            let field = c_text(field)?;
            // SAFETY: the interface describes memory that outlives the call; XGBoost copies it.
            functions
                .check(unsafe { (functions.matrix_set_info)(self.proxy, field.as_ptr(), interface.as_ptr()) })
        };
        set("label", interface(&rows.labels, &[rows.rows()], "<f4")?)?;
        if !rows.weights.is_empty() {
            set("weight", interface(&rows.weights, &[rows.rows()], "<f4")?)?;
        }
        if !rows.groups.is_empty() {
            let sizes: std::result::Result<Vec<u32>, _> =
                rows.groups.iter().map(|&size| size.try_into()).collect();
            let sizes = sizes?;
            set("group", interface(&sizes, &[sizes.len()], "<u4")?)?;
        }
        if !rows.categories.is_empty() {
            let kind = |column| if rows.categories.contains(&column) { c"c" } else { c"q" };
            let kinds: Vec<*const c_char> = (0..rows.columns).map(|column| kind(column).as_ptr()).collect();
            // SAFETY: that many zero-terminated texts, which XGBoost copies.
            functions.check(unsafe {
                (functions.matrix_set_texts)(
                    self.proxy,
                    c"feature_type".as_ptr(),
                    kinds.as_ptr(),
                    kinds.len() as u64,
                )
            })?;
        }
        Ok(())
    }
}

extern "C" fn rewind(source: *mut c_void) {
    // SAFETY: `Matrix` creation passes its own `Source`, which nothing else uses meanwhile.
    let source = unsafe { &mut *source.cast::<Source<'_>>() };
    source.given = false;
}

/// 1 where there is a batch, 0 after the last.
extern "C" fn next_batch(source: *mut c_void) -> c_int {
    // SAFETY: as in `rewind`.
    let source = unsafe { &mut *source.cast::<Source<'_>>() };
    if source.given || source.error.is_some() {
        return 0;
    }
    source.given = true;
    match source.give() {
        Ok(()) => 1,
        Err(error) => {
            source.error = Some(error);
            0
        }
    }
}

/// NumPy's array interface, as XGBoost reads it: where `values` lie and how. `kind` must describe `T`.
fn interface<T>(values: &[T], shape: &[usize], kind: &str) -> Result<CString> {
    let json = serde_json::json!({
        "data": [values.as_ptr() as usize, true], "shape": shape, "typestr": kind, "version": 3,
    });
    c_text(&json.to_string())
}

/// Binned rows.
pub struct Matrix {
    functions: &'static Functions,
    handle: Handle,
}

impl Matrix {
    /// A booster without trees over these rows.
    ///
    /// # Errors
    /// What XGBoost says of the parameters.
    pub fn booster(&self, parameters: &[(&str, String)]) -> Result<Booster> {
        let booster = XgBoost(self.functions).booster(&[self.handle])?;
        for (name, value) in parameters {
            booster.set(name, value)?;
        }
        Ok(booster)
    }
}

impl Drop for Matrix {
    fn drop(&mut self) {
        // SAFETY: made by XGBoost, freed once; boosters share in what they need of it.
        unsafe { (self.functions.matrix_free)(self.handle) };
    }
}

/// A model.
pub struct Booster {
    functions: &'static Functions,
    handle: Handle,
}

impl Booster {
    /// Sets a parameter.
    ///
    /// # Errors
    /// What XGBoost says.
    pub fn set(&self, name: &str, value: &str) -> Result<()> {
        let (name, value) = (c_text(name)?, c_text(value)?);
        // SAFETY: two zero-terminated texts.
        self.functions
            .check(unsafe { (self.functions.booster_set)(self.handle, name.as_ptr(), value.as_ptr()) })
    }

    /// Adds the trees of `round`, counted from 0, learned from `matrix`.
    ///
    /// # Errors
    /// What XGBoost says.
    pub fn update(&mut self, round: usize, matrix: &Matrix) -> Result<()> {
        // SAFETY: a booster and a matrix, both alive.
        self.functions
            .check(unsafe { (self.functions.booster_update)(self.handle, round as c_int, matrix.handle) })
    }

    /// The model in XGBoost's JSON format.
    ///
    /// # Errors
    /// What XGBoost says.
    pub fn save(&self) -> Result<String> {
        let (mut length, mut start) = (0, ptr::null());
        // SAFETY: two places to write to.
        self.functions.check(unsafe {
            (self.functions.booster_save)(
                self.handle,
                c"{\"format\": \"json\"}".as_ptr(),
                &mut length,
                &mut start,
            )
        })?;
        // SAFETY: XGBoost gives that many bytes, valid until the booster's next call.
        let bytes = unsafe { std::slice::from_raw_parts(start.cast::<u8>(), length as usize) };
        Ok(String::from_utf8(bytes.to_vec())?)
    }

    /// Raw scores (margins), into `scores`, which is resized.
    ///
    /// # Shapes
    /// `values`: row-major `[n, columns]`; `scores`: row-major `[n, outputs]`.
    ///
    /// # Errors
    /// What XGBoost says.
    pub fn score(&self, values: &[f32], columns: usize, scores: &mut Vec<f32>) -> Result<()> {
        const CONFIG: &CStr =
            c"{\"type\": 1, \"training\": false, \"iteration_begin\": 0, \"iteration_end\": 0, \
            \"strict_shape\": false, \"cache_id\": 0, \"missing\": NaN}";
        let values = interface(values, &[values.len() / columns, columns], "<f4")?;
        let (mut shape, mut dimensions, mut found) = (ptr::null(), 0, ptr::null());
        // SAFETY: the interface describes `values`, which outlive the call; the rest are places to write to.
        self.functions.check(unsafe {
            (self.functions.booster_predict)(
                self.handle,
                values.as_ptr(),
                CONFIG.as_ptr(),
                ptr::null_mut(),
                &mut shape,
                &mut dimensions,
                &mut found,
            )
        })?;
        // SAFETY: XGBoost gives so many sizes, and their product of scores, valid until the booster's next call.
        let found = unsafe {
            let shape = std::slice::from_raw_parts(shape, dimensions as usize);
            std::slice::from_raw_parts(found, shape.iter().product::<u64>() as usize)
        };
        scores.clear();
        scores.extend_from_slice(found);
        Ok(())
    }
}

impl Drop for Booster {
    fn drop(&mut self) {
        // SAFETY: made by XGBoost, freed once.
        unsafe { (self.functions.booster_free)(self.handle) };
    }
}
