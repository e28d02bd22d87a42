//! foretap for C: a bundle is opened, events are observed, and an answer is asked for.
//!
//! ```text
//! src/
//!   types     what crosses the border: structs, signals, and the codes that calls return
//!   border    panics become codes, failures messages, pointers references
//!   event     an event of C's, checked
//!   session   what a handle holds, in safe Rust
//!   lib       the functions
//! ```
//!
//! `include/foretap.h` is made of this package, comments included: they speak C. All `unsafe` is in the functions below,
//! in `border` and in `event`.

#![allow(unsafe_code)]

mod border;
mod event;
mod session;
#[cfg(test)]
mod tests;
mod types;

#[cfg(test)]
#[path = "../tests/made/mod.rs"]
mod made;

use std::ffi::c_char;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::{Mutex, MutexGuard};

use border::{Failure, guarded, last_error, required, text};
use event::CheckedEvent;
use session::{Session, check_size};
pub use types::{
    Charging, Event, FORETAP_APP_BYTES, FORETAP_MAX_SUGGESTIONS, Network, Signal, Status, Suggestion,
};

/// Bytes of a path at most, its terminating zero included: Linux takes no more.
const PATH_BYTES: usize = 4_096;

/// An open bundle with the past of one phone's user.
// A panic within a call poisons the mutex: nobody sees what it left half done.
pub struct Handle(Mutex<Session>);

// C may call on any thread, and no compiler will ask whether it may.
const _: () = {
    const fn for_all_threads<T: Send + Sync>() {}
    for_all_threads::<Handle>();
};

impl Handle {
    /// A handle for C to keep, until `foretap_close` takes it back.
    fn new(session: Session) -> *mut Self {
        Box::into_raw(Box::new(Self(Mutex::new(session))))
    }

    /// The session in `handle`, for one call: others wait for each other.
    ///
    /// # Safety
    /// `handle` is null, or comes from `foretap_open` and will not be closed during `'a`.
    unsafe fn session<'a>(handle: *mut Self) -> Result<MutexGuard<'a, Session>, Failure> {
        // SAFETY: it is not null, and otherwise as the caller promised.
        let handle: &'a Self = unsafe { required(handle, "handle")?.as_ref() };
        handle.0.lock().map_err(|_| {
            let message = "this handle met a bug in foretap before; close it, and open the bundle anew";
            Failure::new(Status::Broken, message)
        })
    }
}

/// Opens the bundle in a file. `*handle` is then one to observe and ask with, and to close in the end; if this fails, NULL.
///
/// Opening checks every byte and asks the bundle's own test questions: some milliseconds, so not where frames are drawn.
/// A handle remembers events only while it is open: keep them, and observe those of the last weeks again after opening.
///
/// # Safety
/// `path` is text that ends with a zero byte, `*handle` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn foretap_open(path: *const c_char, handle: *mut *mut Handle) -> Status {
    guarded(|| {
        // SAFETY: the caller lets us write `*handle`.
        let handle = unsafe { to_open(handle) }?;
        // SAFETY: `path` is text, and the caller leaves it alone until we return.
        let path = unsafe { text(path, PATH_BYTES, "path") }?;
        let opened = Handle::new(Session::load(Path::new(path))?);
        // SAFETY: as above.
        unsafe { handle.write(opened) };
        Ok(())
    })
}

/// Opens the bundle in `length` bytes at `bytes`, which are not needed afterwards: an asset of an app, say. Otherwise as
/// foretap_open().
///
/// # Safety
/// `length` bytes can be read at `bytes`, `*handle` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn foretap_open_bytes(
    bytes: *const u8,
    length: usize,
    handle: *mut *mut Handle,
) -> Status {
    guarded(|| {
        // SAFETY: the caller lets us write `*handle`.
        let handle = unsafe { to_open(handle) }?;
        let bytes = required(bytes.cast_mut(), "bytes")?;
        check_size(length as u64)?;
        // SAFETY: the caller lets us read so many bytes, which are fewer than `isize::MAX`.
        let bytes = unsafe { slice::from_raw_parts(bytes.as_ptr(), length) };
        let opened = Handle::new(Session::from_bytes(bytes)?);
        // SAFETY: as above.
        unsafe { handle.write(opened) };
        Ok(())
    })
}

/// Folds in what happened on the phone: every event once, in the order of time. Nothing of `event` is needed afterwards.
///
/// Takes microseconds. An event that is refused is left out, and others can follow.
///
/// # Safety
/// `handle` is open, `event` can be read, and its `app` and `place` are NULL or text that ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn foretap_observe(handle: *mut Handle, event: *const Event) -> Status {
    guarded(|| {
        // SAFETY: the caller keeps the handle open until we return.
        let mut session = unsafe { Handle::session(handle) }?;
        let event = required(event.cast_mut(), "event")?;
        // SAFETY: the caller lets us read it, and leaves it alone until we return. Any number is a valid field.
        let event = unsafe { event.as_ref() };
        // SAFETY: its texts are texts.
        let event = unsafe { CheckedEvent::read(event) }?;
        session.observe(&event)
    })
}

/// Computes what the next question will need of the events so far, so that its answer takes less time: worth a call when
/// the screen has gone dark. Answers are the same without it.
///
/// # Safety
/// `handle` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn foretap_prefill(handle: *mut Handle) -> Status {
    guarded(|| {
        // SAFETY: the caller keeps the handle open until we return.
        let mut session = unsafe { Handle::session(handle) }?;
        session.prefill();
        Ok(())
    })
}

/// Ranks the apps that may be opened next, after what was observed until `now_utc_secs`: at an unlock, observe it and ask
/// at its time.
///
/// The first `*count` of the `k` `suggestions` are then filled, the most probable app first: fewer than `k` where fewer
/// apps are known. `*none_of_these`, which may be NULL, is the probability of an app that this user has not opened yet;
/// what is missing to 1 is that of the user's other apps.
///
/// # Safety
/// `handle` is open; `k` suggestions and `*count` can be written, and `*none_of_these` if it is not NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn foretap_ask(
    handle: *mut Handle,
    now_utc_secs: i64,
    k: usize,
    suggestions: *mut Suggestion,
    count: *mut usize,
    none_of_these: *mut f64,
) -> Status {
    guarded(|| {
        let count = required(count, "count")?;
        // SAFETY: the caller lets us write it.
        unsafe { count.write(0) };
        // SAFETY: the caller keeps the handle open until we return.
        let mut session = unsafe { Handle::session(handle) }?;
        let suggestions = required(suggestions, "suggestions")?;
        if !(1..=FORETAP_MAX_SUGGESTIONS).contains(&k) {
            return Err(Failure::invalid(format!("{k} suggestions; ask for 1 to {FORETAP_MAX_SUGGESTIONS}")));
        }
        session.ask(now_utc_secs)?;
        let prediction = session.prediction();
        let best = &prediction.candidates[..k.min(prediction.candidates.len())];
        for (index, candidate) in best.iter().enumerate() {
            let suggestion = Suggestion::new(session.name(candidate.app), candidate.probability);
            // SAFETY: `index` is below `k`, and the caller lets us write so many.
            unsafe { suggestions.add(index).write(suggestion) };
        }
        // SAFETY: the caller lets us write it.
        unsafe { count.write(best.len()) };
        if let Some(none_of_these) = NonNull::new(none_of_these) {
            // SAFETY: the caller lets us write it where it is not null.
            unsafe { none_of_these.write(prediction.none_of_these) };
        }
        Ok(())
    })
}

/// Ends `handle` and frees all that it holds. NULL is no mistake.
///
/// # Safety
/// `handle` is NULL, or open and in no other call; and not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn foretap_close(handle: *mut Handle) {
    guarded(|| {
        if !handle.is_null() {
            // SAFETY: it was made by `Handle::new`, and nobody has freed it or uses it again.
            drop(unsafe { Box::from_raw(handle) });
        }
        Ok(())
    });
}

/// Why the last call that failed on this thread did, and what to do about it: a text in English, for logs. It is valid
/// until the next call on this thread fails, and empty if none has failed yet.
#[unsafe(no_mangle)]
pub extern "C" fn foretap_last_error() -> *const c_char {
    last_error()
}

/// The version of this library, such as "0.1.0". It is valid forever.
#[unsafe(no_mangle)]
pub extern "C" fn foretap_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// Where a handle is to be written: NULL is there until one is.
///
/// # Safety
/// `handle` is null, or can be written to.
unsafe fn to_open(handle: *mut *mut Handle) -> Result<NonNull<*mut Handle>, Failure> {
    let handle = required(handle, "handle")?;
    // SAFETY: it is not null, so it can be written to.
    unsafe { handle.write(ptr::null_mut()) };
    Ok(handle)
}
