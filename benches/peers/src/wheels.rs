//! Where the Python environment keeps the peers' libraries.

use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::ffi::lightgbm::LightGbm;
use crate::ffi::xgboost::XgBoost;
use crate::{Result, here};

/// The peers that come as wheels, opened.
pub struct Wheels {
    /// LightGBM's library.
    pub lightgbm: LightGbm,
    /// XGBoost's library.
    pub xgboost: XgBoost,
    /// The interpreter that has treelite and tl2cgen.
    pub python: PathBuf,
}

impl Wheels {
    /// Opens the libraries in the environment at `venv`.
    ///
    /// # Errors
    /// There is no environment, or a wheel is missing in it.
    pub fn open(venv: &Path) -> Result<Self> {
        let packages = packages(venv).ok_or_else(|| {
            format!("no Python environment at {}; start with `bash benches/peers/run`", venv.display())
        })?;
        Ok(Self {
            lightgbm: LightGbm::open(&packages.join("lightgbm/lib/lib_lightgbm.so"))?,
            xgboost: XgBoost::open(&packages.join("xgboost/lib/libxgboost.so"))?,
            python: venv.join("bin/python"),
        })
    }
}

/// The environment that the script made: what `variable` says, or `folder` in this package.
pub fn environment(variable: &str, folder: &str) -> PathBuf {
    env::var_os(variable).map_or_else(|| here().join(folder), PathBuf::from)
}

/// `lib/python3.x/site-packages`.
pub fn packages(venv: &Path) -> Option<PathBuf> {
    let pythons = fs::read_dir(venv.join("lib")).ok()?.flatten();
    pythons.map(|python| python.path().join("site-packages")).find(|packages| packages.is_dir())
}

/// The newest file in `folder` of the environment's packages whose name begins with `name`; its version follows.
pub fn library(venv: &Path, folder: &str, name: &str) -> Option<PathBuf> {
    let files = fs::read_dir(packages(venv)?.join(folder)).ok()?.flatten().map(|entry| entry.path());
    let is_library =
        |file: &PathBuf| file.file_name().is_some_and(|found| found.to_string_lossy().starts_with(name));
    files.filter(is_library).max()
}
