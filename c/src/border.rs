//! The border itself: panics stop here, failures become a code and a message, pointers become references.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{UnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::slice;

use foretap::ErrorKind;

use crate::types::Status;

#[cfg(not(panic = "unwind"))]
compile_error!("a panic must be caught at the border: build with `panic = \"unwind\"`");

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// Why a call was refused.
#[derive(Debug)]
pub struct Failure {
    pub status: Status,
    pub message: String,
}

impl Failure {
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Status::Invalid, message)
    }

    fn panicked(panic: &(dyn Any + Send)) -> Self {
        let said = panic.downcast_ref::<&str>().copied();
        let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic");
        let message = format!("a bug in foretap: {said}; close the handle, if there is one, and report this");
        Self::new(Status::Broken, message)
    }
}

impl From<foretap::Error> for Failure {
    fn from(error: foretap::Error) -> Self {
        let status = match error.kind() {
            ErrorKind::Io => Status::Io,
            ErrorKind::Cancelled => Status::Cancelled,
            ErrorKind::Device => Status::Device,
            _ => Status::Bundle,
        };
        Self::new(status, error.to_string())
    }
}

/// Runs what a call is to do. What it says when it fails is kept for [`last_error`].
pub fn guarded(body: impl FnOnce() -> Result<(), Failure> + UnwindSafe) -> Status {
    let failure = match catch_unwind(body) {
        Ok(Ok(())) => return Status::Ok,
        Ok(Err(failure)) => failure,
        Err(panic) => Failure::panicked(&*panic),
    };
    let message = CString::new(failure.message.replace('\0', " ")).unwrap_or_default();
    // A thread that is ending has no room for messages any more.
    let _ = LAST_ERROR.try_with(|last| last.replace(message));
    failure.status
}

/// What was said last on this thread: valid until the next failure on it.
pub fn last_error() -> *const c_char {
    LAST_ERROR.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// `pointer`, which must not be null; `what` it is, for the message.
pub fn required<T>(pointer: *mut T, what: &str) -> Result<NonNull<T>, Failure> {
    NonNull::new(pointer).ok_or_else(|| Failure::new(Status::Null, format!("`{what}` is NULL")))
}

/// The text at `pointer`, of at most `room` bytes with its terminating zero: no byte beyond is read.
///
/// # Safety
/// `pointer` is null, or can be read up to and including a zero byte, or `room` bytes; they do not change during `'a`.
pub unsafe fn text<'a>(pointer: *const c_char, room: usize, what: &str) -> Result<&'a str, Failure> {
    let first = required(pointer.cast_mut(), what)?.as_ptr().cast::<u8>();
    // SAFETY: the bytes before are no zeros, so this one is still part of what the caller lets us read.
    let length = (0..room).find(|&at| unsafe { first.add(at).read() } == 0);
    let length = length.ok_or_else(|| {
        Failure::invalid(format!("`{what}` is longer than {} bytes, or has no end", room - 1))
    })?;
    // SAFETY: all of them have just been read.
    let bytes = unsafe { slice::from_raw_parts(first, length) };
    std::str::from_utf8(bytes)
        .map_err(|error| Failure::new(Status::NotUtf8, format!("`{what}` is not UTF-8: {error}")))
}
