//! What makes no sense is refused with a code and a next step, and changes nothing.

use std::ffi::{CStr, CString};
use std::fs;
use std::path::Path;
use std::ptr::{self, null, null_mut};

use super::*;

#[test]
fn events_that_make_no_sense_are_refused_and_leave_no_trace() {
    let good = event(MORNING, Signal::Launch, Some(c"mail"));
    let long = CString::new("x".repeat(FORETAP_APP_BYTES)).unwrap();
    let cases: [(&str, Event, Status, &str); 20] = [
        (
            "no signal",
            Event { signal: 0, ..good },
            Status::Invalid,
            "0 is no signal; give one of foretap_signal",
        ),
        ("a signal too many", Event { signal: 7, ..good }, Status::Invalid, "7 is no signal"),
        ("no app", Event { app: null(), ..good }, Status::Null, "`app` is NULL"),
        ("an empty app", Event { app: c"".as_ptr(), ..good }, Status::Invalid, "`app` is empty"),
        ("a long app", Event { app: long.as_ptr(), ..good }, Status::Invalid, "longer than 255 bytes"),
        ("Latin-1", Event { app: c"\xe9".as_ptr(), ..good }, Status::NotUtf8, "`app` is not UTF-8"),
        ("half a letter", Event { app: c"\xd0".as_ptr(), ..good }, Status::NotUtf8, "`app` is not UTF-8"),
        ("a street", Event { place: c"u33dbc".as_ptr(), ..good }, Status::Invalid, "cut `place` to 5"),
        ("no alphabet", Event { place: c"ula".as_ptr(), ..good }, Status::Invalid, "`ula` is no place"),
        ("no place", Event { place: c"".as_ptr(), ..good }, Status::Invalid, "`` is no place"),
        (
            "an address",
            Event { place: c"1 Main Street".as_ptr(), ..good },
            Status::Invalid,
            "longer than 8 bytes",
        ),
        (
            "a place of bytes",
            Event { place: c"\xff".as_ptr(), ..good },
            Status::NotUtf8,
            "`place` is not UTF-8",
        ),
        ("before 1970", Event { at_utc_secs: -1, ..good }, Status::Invalid, "-1 is no second"),
        (
            "milliseconds",
            Event { at_utc_secs: 1_772_434_800_000, ..good },
            Status::Invalid,
            "divide milliseconds by 1,000",
        ),
        (
            "an offset in milliseconds",
            Event { utc_offset_secs: 3_600_000, ..good },
            Status::Invalid,
            "divide milliseconds by 1,000",
        ),
        (
            "an offset of none",
            Event { utc_offset_secs: i32::MIN, ..good },
            Status::Invalid,
            "beyond 18 hours",
        ),
        ("too full", Event { battery_percent: 101, ..good }, Status::Invalid, "a battery of 101 %"),
        ("too empty", Event { battery_percent: -1, ..good }, Status::Invalid, "a battery of -1 %"),
        ("half a charger", Event { charging: 3, ..good }, Status::Invalid, "3 is no charging"),
        ("a network of none", Event { network: -1, ..good }, Status::Invalid, "-1 is no network"),
    ];
    let (open, other) = (Open::new(&with_student(&APPS)), Open::new(&with_student(&APPS)));
    for (at, signal, app) in days() {
        assert_eq!(other.observe(&event(at, signal, app)), Status::Ok);
        assert_eq!(open.observe(&event(at, signal, app)), Status::Ok);
        for (what, bad, status, says) in &cases {
            // In order, as far as it has a time.
            let at = if bad.at_utc_secs == MORNING { at } else { bad.at_utc_secs };
            assert_eq!(open.observe(&Event { at_utc_secs: at, ..*bad }), *status, "{what}");
            assert!(said().contains(says), "{what}: {}", said());
        }
        assert_eq!(open.observe(&event(at - 1, signal, app)), Status::OutOfOrder);
        assert!(said().contains("1 s earlier than the last event; sort them by time"), "{}", said());
        assert_eq!(open.ask(at - 1, 3), Err(Status::OutOfOrder));
        assert_eq!(open.ask(at, 100), other.ask(at, 100), "as if nothing had been");
    }
    let unread = Event { app: c"\xff".as_ptr(), ..event(2 * MORNING, Signal::Unlock, None) };
    assert_eq!(open.observe(&unread), Status::Ok, "an unlock's app is not read");
}

#[test]
#[expect(clippy::undocumented_unsafe_blocks, reason = "one for all: pointers are null, open, or can be used")]
fn calls_that_make_no_sense_are_refused() {
    type Call = fn(*mut Handle) -> Status;
    let cases: [(&str, Call, Status, &str); 29] = [
        (
            "open no path",
            |_| unsafe { foretap_open(null(), &mut null_mut()) },
            Status::Null,
            "`path` is NULL",
        ),
        (
            "open to nowhere",
            |_| unsafe { foretap_open(c"x".as_ptr(), null_mut()) },
            Status::Null,
            "`handle` is NULL",
        ),
        (
            "open no bytes",
            |_| unsafe { foretap_open_bytes(null(), 4, &mut null_mut()) },
            Status::Null,
            "`bytes` is NULL",
        ),
        (
            "open bytes to nowhere",
            |_| unsafe { foretap_open_bytes(b"x".as_ptr(), 1, null_mut()) },
            Status::Null,
            "`handle` is NULL",
        ),
        (
            "open -1 bytes",
            |_| unsafe { foretap_open_bytes(b"x".as_ptr(), usize::MAX, &mut null_mut()) },
            Status::Bundle,
            "where a bundle has at most",
        ),
        (
            "observe without handle",
            |_| unsafe { foretap_observe(null_mut(), &event(0, Signal::Unlock, None)) },
            Status::Null,
            "`handle` is NULL",
        ),
        (
            "observe no event",
            |open| unsafe { foretap_observe(open, null()) },
            Status::Null,
            "`event` is NULL",
        ),
        (
            "prefill without handle",
            |_| unsafe { foretap_prefill(null_mut()) },
            Status::Null,
            "`handle` is NULL",
        ),
        (
            "ask without handle",
            |_| unsafe { ask_for_one(null_mut(), 0, 1) },
            Status::Null,
            "`handle` is NULL",
        ),
        (
            "ask into nothing",
            |open| unsafe { foretap_ask(open, 0, 1, null_mut(), &mut 0, null_mut()) },
            Status::Null,
            "`candidates` is NULL",
        ),
        (
            "ask without count",
            |open| unsafe { foretap_ask(open, 0, 1, &mut Candidate::new("?", 0.0), null_mut(), null_mut()) },
            Status::Null,
            "`count` is NULL",
        ),
        (
            "ask for none",
            |open| unsafe { ask_for_one(open, MORNING, 0) },
            Status::Invalid,
            "0 candidates; ask for 1 to 4096",
        ),
        (
            "ask for -1",
            |open| unsafe { ask_for_one(open, MORNING, usize::MAX) },
            Status::Invalid,
            "candidates; ask for 1 to 4096",
        ),
        (
            "save without handle",
            |_| unsafe { foretap_save(null_mut(), c"x".as_ptr(), null()) },
            Status::Null,
            "`handle` is NULL",
        ),
        (
            "save to no path",
            |open| unsafe { foretap_save(open, null(), null()) },
            Status::Null,
            "`path` is NULL",
        ),
        (
            "save to no bytes",
            |open| unsafe { foretap_save_bytes(open, null(), 9, null_mut(), &mut 0) },
            Status::Null,
            "`bytes` is NULL",
        ),
        (
            "save without length",
            |open| unsafe { foretap_save_bytes(open, null(), 0, null_mut(), null_mut()) },
            Status::Null,
            "`length` is NULL",
        ),
        (
            "restore without handle",
            |_| unsafe { foretap_restore(null_mut(), c"x".as_ptr(), null()) },
            Status::Null,
            "`handle` is NULL",
        ),
        (
            "restore no path",
            |open| unsafe { foretap_restore(open, null(), null()) },
            Status::Null,
            "`path` is NULL",
        ),
        (
            "restore no bytes",
            |open| unsafe { foretap_restore_bytes(open, null(), 9, null()) },
            Status::Null,
            "`bytes` is NULL",
        ),
        (
            "suggest without handle",
            |_| unsafe { foretap_suggest(null_mut(), null_mut()) },
            Status::Null,
            "`handle` is NULL",
        ),
        (
            "suggest into nothing",
            |open| unsafe { foretap_suggest(open, null_mut()) },
            Status::Null,
            "`suggestion` is NULL",
        ),
        (
            "show by nothing",
            |_| unsafe { foretap_show_by(null_mut(), 3, 0.5, 0.0) },
            Status::Null,
            "`handle` is NULL",
        ),
        (
            "feedback without handle",
            |_| unsafe { foretap_feedback(null_mut(), 0, null()) },
            Status::Null,
            "`handle` is NULL",
        ),
        ("forget nobody", |_| unsafe { foretap_forget(null_mut()) }, Status::Null, "`handle` is NULL"),
        (
            "no last event",
            |open| unsafe { foretap_last_event(open, null_mut()) },
            Status::Null,
            "`at_utc_secs` is NULL",
        ),
        ("no reason", |open| unsafe { foretap_degraded(open, null_mut()) }, Status::Null, "`reason` is NULL"),
        (
            "the reason of nobody",
            |_| unsafe { foretap_degraded(null_mut(), &mut null()) },
            Status::Null,
            "`handle` is NULL",
        ),
        ("ask at no time", |open| unsafe { ask_for_one(open, i64::MIN, 1) }, Status::Invalid, "is no second"),
    ];
    let open = Open::new(&with_student(&APPS));
    for (what, call, status, says) in cases {
        assert_eq!(call(open.0), status, "{what}");
        assert!(said().contains(says), "{what}: {}", said());
        // The handle takes no harm.
        assert_eq!(open.observe(&event(MORNING, Signal::Launch, Some(c"mail"))), Status::Ok, "after: {what}");
        assert_eq!(open.ask(MORNING, 1).map(|(best, _)| best.len()), Ok(1), "after: {what}");
    }
    unsafe { foretap_close(null_mut()) };
}

#[test]
fn what_is_no_bundle_is_refused() {
    let good = with_student(&APPS).to_bytes().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bundle");
    let open = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        open_path(&c_path(&file))
    };
    for length in (0..good.len()).step_by(good.len() / 50) {
        assert_eq!(open(&good[..length]), Status::Bundle, "{length} bytes");
        assert!(said().contains("bundle"), "{length} bytes: {}", said());
    }
    let mut damaged = good.clone();
    damaged[good.len() / 2] ^= 1;
    let named = |app: &str| with_trees(&[app]).to_bytes().unwrap();
    let cases = [
        ("a flipped bit", damaged, "copy the file again"),
        ("more at the end", [&good[..], b"\n"].concat(), "field `bundle`"),
        ("a long name", named(&"x".repeat(FORETAP_APP_BYTES)), "C has no room for the app name `xxx"),
        ("a name with a zero", named("a\0b"), "C has no room for the app name `a"),
    ];
    for (what, bytes, says) in cases {
        assert_eq!(open(&bytes), Status::Bundle, "{what}");
        assert!(said().contains(says), "{what}: {}", said());
    }
    assert_eq!(open(&good), Status::Ok, "{}", said());
}

#[test]
fn paths_that_lead_to_no_bundle_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = c_path(&folder.path().join("nothing"));
    let long = CString::new("x".repeat(PATH_BYTES)).unwrap();
    let endless = if cfg!(unix) { c"/dev/zero" } else { c"." };
    let cases: [(&CStr, Status, &str); 6] = [
        (&nothing, Status::Io, "cannot read the bundle"),
        (c"", Status::Io, "cannot read the bundle"),
        (&c_path(folder.path()), Status::Bundle, "this is no file; name a bundle"),
        (endless, Status::Bundle, "this is no file; name a bundle"),
        (c"\xff", Status::NotUtf8, "`path` is not UTF-8"),
        (&long, Status::Invalid, "`path` is longer than 4095 bytes"),
    ];
    for (path, status, says) in cases {
        assert_eq!(open_path(path), status, "{path:?}");
        assert!(said().contains(says), "{path:?}: {}", said());
    }
}

fn c_path(path: &Path) -> CString {
    CString::new(path.to_str().unwrap()).unwrap()
}

/// Opens, and closes if that went well.
fn open_path(path: &CStr) -> Status {
    let mut handle = ptr::dangling_mut();
    // SAFETY: a path and a place for the handle are there.
    let status = unsafe { foretap_open(path.as_ptr(), &mut handle) };
    assert_eq!(handle.is_null(), status != Status::Ok, "a handle, or NULL");
    // SAFETY: it is open, or null.
    unsafe { foretap_close(handle) };
    status
}
