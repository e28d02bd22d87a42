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

use std::ffi::{CString, c_char};
use std::path::Path;
use std::ptr::{self, NonNull};
use std::slice;
#[cfg(feature = "learn")]
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
#[cfg(feature = "learn")]
use std::time::{Duration, Instant};

#[cfg(feature = "learn")]
use foretap::Progress;
use foretap::router::SuggestionSettings;
use foretap::storage::vault::{Key, MAX_FILE_BYTES};

use border::{Failure, guarded, last_error, required, text};
use event::CheckedEvent;
use session::{Session, check_size};
pub use types::{
    Candidate, Charging, Event, FORETAP_APP_BYTES, FORETAP_KEY_BYTES, FORETAP_MAX_CANDIDATES,
    FORETAP_MAX_SHOWN, LearnOutcome, Learning, Network, Signal, Status, Suggestion,
};

/// Bytes of a path at most, its terminating zero included: Linux takes no more.
const PATH_BYTES: usize = 4_096;

/// An open bundle with the past of one phone's user.
pub struct Handle {
    // A panic within a call poisons the mutex: nobody sees what it left half done.
    session: Mutex<Session>,
    /// Why answers are worse than they could be. Outside the mutex: C reads it as long as the handle is open.
    degraded: Option<CString>,
    /// Whether learning is to end. Outside the mutex: nobody waits to set it.
    #[cfg(feature = "learn")]
    is_stopped: AtomicBool,
}

/// Learning ends when it is stopped, or at this time.
#[cfg(feature = "learn")]
struct Until<'a> {
    end: Option<Instant>,
    is_stopped: &'a AtomicBool,
}

#[cfg(feature = "learn")]
impl Progress for Until<'_> {
    fn start(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
    fn is_cancelled(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed) || self.end.is_some_and(|end| Instant::now() >= end)
    }
}

// C may call on any thread, and no compiler will ask whether it may.
const _: () = {
    const fn for_all_threads<T: Send + Sync>() {}
    for_all_threads::<Handle>();
};

impl Handle {
    /// A handle for C to keep, until `foretap_close` takes it back.
    fn new(session: Session) -> *mut Self {
        let degraded = session.degraded().and_then(|reason| CString::new(reason).ok());
        Box::into_raw(Box::new(Self {
            session: Mutex::new(session),
            degraded,
            #[cfg(feature = "learn")]
            is_stopped: AtomicBool::new(false),
        }))
    }

    /// The session in `handle`, for one call: others wait for each other.
    ///
    /// # Safety
    /// `handle` is null, or comes from `foretap_open` and will not be closed during `'a`.
    unsafe fn session<'a>(handle: *mut Self) -> Result<MutexGuard<'a, Session>, Failure> {
        // SAFETY: it is not null, and otherwise as the caller promised.
        let handle: &'a Self = unsafe { required(handle, "handle")?.as_ref() };
        handle.locked()
    }

    fn locked(&self) -> Result<MutexGuard<'_, Session>, Failure> {
        self.session.lock().map_err(|_| {
            let message = "this handle met a bug in foretap before; close it, and open the bundle anew";
            Failure::new(Status::Broken, message)
        })
    }
}

#[cfg(feature = "learn")]
impl Handle {
    /// Learns, with the session locked at the beginning and at the end alone.
    fn learn(&self, most_secs: u32) -> Result<Learning, Failure> {
        self.is_stopped.store(false, Ordering::Relaxed);
        let end = (most_secs > 0).then(|| Instant::now() + Duration::from_secs(most_secs.into()));
        let job = self.locked()?.learn_job()?;
        let learned = job.run(&Until { end, is_stopped: &self.is_stopped })?;
        let outcome = match learned.outcome {
            foretap::router::LearnOutcome::TooFewQuestions => LearnOutcome::TooFewQuestions,
            foretap::router::LearnOutcome::NoBetter => LearnOutcome::NoBetter,
            foretap::router::LearnOutcome::Kept => LearnOutcome::Kept,
            foretap::router::LearnOutcome::Learned => LearnOutcome::Learned,
        };
        let found = Learning {
            outcome: outcome as i32,
            questions: learned.questions,
            log_loss_before: learned.shared_log_loss,
            log_loss_after: learned.log_loss,
        };
        self.locked()?.adopt(learned)?;
        Ok(found)
    }

    fn stop_learning(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }
}

#[cfg(not(feature = "learn"))]
impl Handle {
    fn learn(&self, _: u32) -> Result<Learning, Failure> {
        let message = "this library was built without foretap_learn(); build it with `--features learn`";
        Err(Failure::new(Status::NotBuilt, message))
    }

    fn stop_learning(&self) {}
}

/// Opens the bundle in a file. `*handle` is then one to observe and ask with, and to close in the end; if this fails, NULL.
///
/// Opening checks every byte and asks the bundle's own test questions: some milliseconds, so not where frames are drawn.
/// The handle knows nobody yet: foretap_restore() brings back the person of an earlier one.
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
/// The first `*count` of the `k` `candidates` are then filled, the most probable app first: fewer than `k` where fewer
/// apps are known. `*none_of_these`, which may be NULL, is the probability of an app that this user has not opened yet;
/// what is missing to 1 is that of the user's other apps. What to show of it, foretap_suggest() decides.
///
/// # Safety
/// `handle` is open; `k` candidates and `*count` can be written, and `*none_of_these` if it is not NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn foretap_ask(
    handle: *mut Handle,
    now_utc_secs: i64,
    k: usize,
    candidates: *mut Candidate,
    count: *mut usize,
    none_of_these: *mut f64,
) -> Status {
    guarded(|| {
        let count = required(count, "count")?;
        // SAFETY: the caller lets us write it.
        unsafe { count.write(0) };
        // SAFETY: the caller keeps the handle open until we return.
        let mut session = unsafe { Handle::session(handle) }?;
        let candidates = required(candidates, "candidates")?;
        if !(1..=FORETAP_MAX_CANDIDATES).contains(&k) {
            return Err(Failure::invalid(format!("{k} candidates; ask for 1 to {FORETAP_MAX_CANDIDATES}")));
        }
        session.ask(now_utc_secs)?;
        let prediction = session.prediction();
        let best = &prediction.candidates[..k.min(prediction.candidates.len())];
        for (index, candidate) in best.iter().enumerate() {
            let candidate = Candidate::new(session.name(candidate.app), candidate.probability);
            // SAFETY: `index` is below `k`, and the caller lets us write so many.
            unsafe { candidates.add(index).write(candidate) };
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

/// What to show of the answer to the question just asked, and nothing where it is not sure enough: `count` is 0 then.
/// No event may come between the question and this.
///
/// # Safety
/// `handle` is open, `suggestion` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn foretap_suggest(handle: *mut Handle, suggestion: *mut Suggestion) -> Status {
    guarded(|| {
        // SAFETY: the caller keeps the handle open until we return.
        let mut session = unsafe { Handle::session(handle) }?;
        let suggestion = required(suggestion, "suggestion")?;
        let made = session.suggest()?;
        // SAFETY: the caller lets us write it.
        unsafe { suggestion.write(made) };
        Ok(())
    })
}

/// Sets what foretap_suggest() shows: 1 to FORETAP_MAX_SHOWN apps at once, where one of them is opened with at least
/// `least_probability`, 0 to 1; and in a share `exploration` of the suggestions, 0 to 0.2, an alternative in the last
/// place, so that later learning can tell what is opened because it was shown. Without this call: 3, 0.5 and 0. It is a
/// setting of the handle, and not saved.
///
/// # Safety
/// `handle` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn foretap_show_by(
    handle: *mut Handle,
    shown: usize,
    least_probability: f64,
    exploration: f64,
) -> Status {
    guarded(|| {
        // SAFETY: the caller keeps the handle open until we return.
        let mut session = unsafe { Handle::session(handle) }?;
        session.show_by(SuggestionSettings { shown, least_probability, exploration })
    })
}

/// Tells what became of the suggestion `id`: `taken` is the app of it that was opened, or NULL if it was seen and none of
/// it was. Apps that were shown and not taken are suggested less. What was opened is learned from its launch, which is to
/// be observed in any case. Each of the last 16 suggestions takes feedback once.
///
/// # Safety
/// `handle` is open, `taken` is NULL or text that ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn foretap_feedback(handle: *mut Handle, id: u64, taken: *const c_char) -> Status {
    guarded(|| {
        // SAFETY: the caller keeps the handle open until we return.
        let mut session = unsafe { Handle::session(handle) }?;
        // SAFETY: where it is not null, it is text, and the caller leaves it alone until we return.
        let taken =
            (!taken.is_null()).then(|| unsafe { text(taken, FORETAP_APP_BYTES, "taken") }).transpose()?;
        session.feedback(id, taken)
    })
}

/// Writes the person, that is all that was observed and learned, to the file at `path`: whole or not at all, so that a
/// kill or a full disk leaves the old file as it was. A new file is private to its owner. Save when the screen has gone
/// dark: a question that waits for its answer, and suggestions that wait for feedback, are not kept.
///
/// With a `key` of FORETAP_KEY_BYTES bytes, from the phone's own key store, it is sealed by AES-256-GCM; with NULL it is
/// plain.
///
/// # Safety
/// `handle` is open, `path` is text that ends with a zero byte, `key` is NULL or so many bytes can be read there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn foretap_save(handle: *mut Handle, path: *const c_char, key: *const u8) -> Status {
    guarded(|| {
        // SAFETY: the caller keeps the handle open until we return.
        let session = unsafe { Handle::session(handle) }?;
        // SAFETY: `path` is text, and the caller leaves it alone until we return.
        let path = unsafe { text(path, PATH_BYTES, "path") }?;
        // SAFETY: the caller's promise.
        session.save(Path::new(path), unsafe { to_key(key) }.as_ref())
    })
}

/// The same into memory: `*length` bytes at `bytes`, where there is room for `room`. If that is too little,
/// FORETAP_STATUS_INVALID, nothing is written, and `*length` is what it takes.
///
/// # Safety
/// `handle` is open; `room` bytes can be written at `bytes`, which may be NULL if `room` is 0, and `*length`; `key` is as
/// foretap_save() wants it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn foretap_save_bytes(
    handle: *mut Handle,
    key: *const u8,
    room: usize,
    bytes: *mut u8,
    length: *mut usize,
) -> Status {
    guarded(|| {
        let length = required(length, "length")?;
        // SAFETY: the caller lets us write it.
        unsafe { length.write(0) };
        // SAFETY: the caller keeps the handle open until we return.
        let session = unsafe { Handle::session(handle) }?;
        if room > 0 {
            required(bytes, "bytes")?;
        }
        // SAFETY: the caller's promise.
        let saved = session.to_bytes(unsafe { to_key(key) }.as_ref())?;
        // SAFETY: the caller lets us write it.
        unsafe { length.write(saved.len()) };
        if saved.len() > room {
            let message =
                format!("the person takes {} bytes, where there is room for {room}; make it", saved.len());
            return Err(Failure::invalid(message));
        }
        // SAFETY: there is room, and what we made is not the caller's.
        unsafe { ptr::copy_nonoverlapping(saved.as_ptr(), bytes, saved.len()) };
        Ok(())
    })
}

/// Goes on with the person that foretap_save() wrote to the file at `path`, under the same `key`: answers are those that
/// the handle which saved it would have given. What this handle has observed is forgotten. If it fails, nothing has
/// changed.
///
/// Any bundle takes any person. Then observe what happened since foretap_last_event().
///
/// # Safety
/// As for foretap_save().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn foretap_restore(handle: *mut Handle, path: *const c_char, key: *const u8) -> Status {
    guarded(|| {
        // SAFETY: the caller keeps the handle open until we return.
        let mut session = unsafe { Handle::session(handle) }?;
        // SAFETY: `path` is text, and the caller leaves it alone until we return.
        let path = unsafe { text(path, PATH_BYTES, "path") }?;
        // SAFETY: the caller's promise.
        session.restore(Path::new(path), unsafe { to_key(key) }.as_ref())
    })
}

/// The same from `length` bytes at `bytes`.
///
/// # Safety
/// `handle` is open, `length` bytes can be read at `bytes`, `key` is as foretap_save() wants it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn foretap_restore_bytes(
    handle: *mut Handle,
    key: *const u8,
    length: usize,
    bytes: *const u8,
) -> Status {
    guarded(|| {
        // SAFETY: the caller keeps the handle open until we return.
        let mut session = unsafe { Handle::session(handle) }?;
        let bytes = required(bytes.cast_mut(), "bytes")?;
        if length > MAX_FILE_BYTES {
            let message = format!("{length} bytes, where a saved person has at most {MAX_FILE_BYTES}");
            return Err(Failure::new(Status::Person, message));
        }
        // SAFETY: the caller lets us read so many bytes, which are fewer than `isize::MAX`.
        let bytes = unsafe { slice::from_raw_parts(bytes.as_ptr(), length) };
        // SAFETY: the caller's promise.
        session.restore_bytes(bytes, unsafe { to_key(key) }.as_ref())
    })
}

/// Keeps the last `most` events from now on, at most 1,048,576, for foretap_learn() to learn from; 20,000 are a month or
/// two. 0 keeps none any more. What was kept before is forgotten: call it once for a new person, since what is saved and
/// restored goes on keeping as many. An event takes 48 bytes in memory, at once, and about 10 in a file.
///
/// # Safety
/// `handle` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn foretap_keep_events(handle: *mut Handle, most: usize) -> Status {
    guarded(|| {
        // SAFETY: the caller keeps the handle open until we return.
        let mut session = unsafe { Handle::session(handle) }?;
        session.keep_events(most)
    })
}

/// Learns from the events that are kept: trees of this person's own past, which answer with the bundle from then on, if they
/// are better on later questions than the bundle alone. Call it on a thread of its own, when the phone is charged and not
/// in use, such as once a night: it takes some seconds of one core and up to 60 MB. Other threads may observe and ask
/// meanwhile. It ends early, and changes nothing, after `most_secs` seconds, unless that is 0, or when another thread calls
/// foretap_stop_learning(): FORETAP_STATUS_CANCELLED. What was learned is saved with the person.
///
/// # Safety
/// `handle` is open until this returns, `*learning` can be written or is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn foretap_learn(
    handle: *mut Handle,
    most_secs: u32,
    learning: *mut Learning,
) -> Status {
    guarded(|| {
        // SAFETY: the caller keeps the handle open until we return.
        let handle: &Handle = unsafe { required(handle, "handle")?.as_ref() };
        let found = handle.learn(most_secs)?;
        if !learning.is_null() {
            // SAFETY: it is not null, so the caller lets us write it.
            unsafe { learning.write(found) };
        }
        Ok(())
    })
}

/// Ends foretap_learn() on another thread within a second. Where nobody learns, nothing happens.
///
/// # Safety
/// `handle` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn foretap_stop_learning(handle: *mut Handle) -> Status {
    guarded(|| {
        // SAFETY: the caller keeps the handle open until we return.
        let handle: &Handle = unsafe { required(handle, "handle")?.as_ref() };
        handle.stop_learning();
        Ok(())
    })
}

/// Forgets the person: the handle is as just opened, and knows nobody. Files that were saved are the caller's to delete.
///
/// # Safety
/// `handle` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn foretap_forget(handle: *mut Handle) -> Status {
    guarded(|| {
        // SAFETY: the caller keeps the handle open until we return.
        let mut session = unsafe { Handle::session(handle) }?;
        session.forget()
    })
}

/// When the last event was observed, before a restart too: observe what happened after it. INT64_MIN if there is none.
///
/// # Safety
/// `handle` is open, `at_utc_secs` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn foretap_last_event(handle: *mut Handle, at_utc_secs: *mut i64) -> Status {
    guarded(|| {
        // SAFETY: the caller keeps the handle open until we return.
        let session = unsafe { Handle::session(handle) }?;
        let at_utc_secs = required(at_utc_secs, "at_utc_secs")?;
        let last = session.last_event().map_or(i64::MIN, |at| at.0);
        // SAFETY: the caller lets us write it.
        unsafe { at_utc_secs.write(last) };
        Ok(())
    })
}

/// Why answers are worse than they could be, such as "there is no transformer: the trees answer alone"; `*reason` is NULL
/// where the bundle has everything. The text is valid until the handle is closed.
///
/// # Safety
/// `handle` is open, `*reason` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn foretap_degraded(handle: *mut Handle, reason: *mut *const c_char) -> Status {
    guarded(|| {
        let reason = required(reason, "reason")?;
        // SAFETY: the caller lets us write it, and keeps the handle open until we return.
        let handle: &Handle = unsafe {
            reason.write(ptr::null());
            required(handle, "handle")?.as_ref()
        };
        // SAFETY: as above.
        unsafe { reason.write(handle.degraded.as_ref().map_or(ptr::null(), |text| text.as_ptr())) };
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

/// The key at `key`; none at NULL.
///
/// # Safety
/// `key` is null, or [`FORETAP_KEY_BYTES`] bytes can be read there.
unsafe fn to_key(key: *const u8) -> Option<Key> {
    let key = NonNull::new(key.cast_mut().cast::<[u8; FORETAP_KEY_BYTES]>())?;
    // SAFETY: it is not null, so they can be read.
    Some(Key::new(unsafe { key.read() }))
}
