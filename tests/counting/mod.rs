//! The system's allocator, counting what each thread asks of it. A suite that names this module runs on it.

#![allow(dead_code)] // each suite uses a part
#![allow(unsafe_code)] // an allocator cannot be written without

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    // Constant, without a destructor: reading it allocates nothing.
    pub static REQUESTS: Cell<u64> = const { Cell::new(0) };
    pub static LIVE_BYTES: Cell<i64> = const { Cell::new(0) };
    /// The most that lived at once since [`peak_bytes`] began to look.
    static PEAK_BYTES: Cell<i64> = const { Cell::new(0) };
}

fn count(requests: u64, bytes: i64) {
    REQUESTS.set(REQUESTS.get() + requests);
    LIVE_BYTES.set(LIVE_BYTES.get() + bytes);
    PEAK_BYTES.set(PEAK_BYTES.get().max(LIVE_BYTES.get()));
}

/// What `work` gives, and how many bytes lived at once for it, at most, on this thread.
pub fn peak_bytes<T>(work: impl FnOnce() -> T) -> (T, i64) {
    let before = LIVE_BYTES.get();
    PEAK_BYTES.set(before);
    let result = work();
    (result, PEAK_BYTES.get() - before)
}

// SAFETY: every call goes to the system's allocator as it came; the counters are thread-local integers.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(1, new_size as i64 - layout.size() as i64);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
