//! The peers' C interfaces, behind safe types: the only files with `unsafe`.
//!
//! Each library is opened once and stays open for the life of the process, so that its functions may be called from
//! anywhere at any time. Function types follow the headers of the pinned versions (`requirements.txt`).

#![allow(unsafe_code)] // foreign functions; every block says why it is sound

pub mod compiled;
pub mod lightgbm;
pub mod xgboost;

use std::ffi::{CStr, CString, c_char};

use crate::Result;

/// Declares the functions of a C library that are used here, and how to find them in a shared object.
///
/// `open` checks that every function is there; that it has the type given here is what the pinned version promises.
macro_rules! c_library {
    ($(#[$doc:meta])* $name:ident { $($function:ident = $symbol:literal: fn($($argument:ty),* $(,)?) $(-> $result:ty)?;)* }) => {
        $(#[$doc])*
        pub(super) struct $name {
            $(pub(super) $function: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl $name {
            /// Opens the library at `path`, for the life of the process.
            pub(super) fn open(path: &std::path::Path) -> $crate::Result<Self> {
                let says = |error: libloading::Error| format!("{}: {error}", path.display());
                // SAFETY: the initialisers of the pinned wheels' libraries, and of code that tl2cgen makes, have no
                // preconditions.
                let library = unsafe { libloading::Library::new(path) }.map_err(says)?;
                // Never closed: the functions below outlive every value made with them.
                let library: &'static libloading::Library = Box::leak(Box::new(library));
                Ok(Self {
                    $(
                        // SAFETY: the type is the one that the header of the pinned version declares.
                        $function: *unsafe { library.get($symbol) }.map_err(says)?,
                    )*
                })
            }
        }
    };
}
use c_library;

/// `text` for C.
fn c_text(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| "a text for a C library holds a zero byte".into())
}

/// The result of a call that returns 0 on success and otherwise leaves a message.
fn checked(status: i32, last_error: unsafe extern "C" fn() -> *const c_char) -> Result<()> {
    if status == 0 {
        return Ok(());
    }
    // SAFETY: both libraries return a zero-terminated message of this thread, valid until its next call.
    let message = unsafe { CStr::from_ptr(last_error()) };
    Err(message.to_string_lossy().trim().to_owned().into())
}
