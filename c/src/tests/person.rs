//! A person outlives the handle: what was saved goes on to the last bit, what is damaged changes nothing.

#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "one for all: handles are open, and texts and bytes are there"
)]

use std::fs;
use std::path::Path;
use std::ptr::null;

use super::*;

/// C's key.
type KeyBytes = [u8; FORETAP_KEY_BYTES];

const KEY: KeyBytes = [7; FORETAP_KEY_BYTES];
const OTHER_KEY: KeyBytes = [8; FORETAP_KEY_BYTES];

fn pointer(key: Option<&KeyBytes>) -> *const u8 {
    key.map_or(null(), |key| key.as_ptr())
}

impl Open {
    fn save(&self, file: &Path, key: Option<&KeyBytes>) -> Status {
        let file = CString::new(file.to_str().unwrap()).unwrap();
        unsafe { foretap_save(self.0, file.as_ptr(), pointer(key)) }
    }

    fn restore(&self, file: &Path, key: Option<&KeyBytes>) -> Status {
        let file = CString::new(file.to_str().unwrap()).unwrap();
        unsafe { foretap_restore(self.0, file.as_ptr(), pointer(key)) }
    }

    /// By the two calls that C makes: how many bytes, and the bytes.
    fn to_bytes(&self, key: Option<&KeyBytes>) -> Vec<u8> {
        let mut length = usize::MAX;
        let status = unsafe { foretap_save_bytes(self.0, pointer(key), 0, null_mut(), &mut length) };
        assert_eq!(status, Status::Invalid);
        assert!(
            said().contains(&format!("the person takes {length} bytes, where there is room for 0")),
            "{}",
            said()
        );
        let mut bytes = vec![0; length];
        let place = bytes.as_mut_ptr();
        let status = unsafe { foretap_save_bytes(self.0, pointer(key), length, place, &mut length) };
        assert_eq!((status, length), (Status::Ok, bytes.len()), "{}", said());
        bytes
    }

    fn restore_bytes(&self, bytes: &[u8], key: Option<&KeyBytes>) -> Status {
        unsafe { foretap_restore_bytes(self.0, pointer(key), bytes.len(), bytes.as_ptr()) }
    }

    fn suggest(&self) -> Result<Suggestion, Status> {
        let mut made = std::mem::MaybeUninit::uninit();
        match unsafe { foretap_suggest(self.0, made.as_mut_ptr()) } {
            Status::Ok => Ok(unsafe { made.assume_init() }),
            status => Err(status),
        }
    }

    fn feedback(&self, id: u64, taken: Option<&CStr>) -> Status {
        unsafe { foretap_feedback(self.0, id, taken.map_or(null(), CStr::as_ptr)) }
    }

    fn last_event(&self) -> i64 {
        let mut at = 0;
        assert_eq!(unsafe { foretap_last_event(self.0, &mut at) }, Status::Ok);
        at
    }
}

fn name(candidate: &Candidate) -> String {
    let bytes = candidate.app.map(|byte| byte as u8);
    CStr::from_bytes_until_nul(&bytes).unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_person_goes_on_in_another_handle_to_the_last_bit() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("person");
    for (what, bundle) in
        [("student", with_student(&APPS)), ("trees", with_trees(&APPS)), ("both", with_both(&APPS))]
    {
        // The one that is never closed, and what it shows.
        let whole = Open::new(&bundle);
        let mut open = Open::new(&bundle);
        for (number, (at, signal, app)) in days().into_iter().enumerate() {
            let happened = event(at, signal, app);
            assert_eq!(
                [whole.observe(&happened), open.observe(&happened)],
                [Status::Ok; 2],
                "{what}: {}",
                said()
            );
            if signal == Signal::Unlock {
                assert_eq!(open.ask(at, 100), whole.ask(at, 100), "{what}: event {number}");
                let [mine, its] = [open.suggest().unwrap(), whole.suggest().unwrap()];
                assert_eq!((mine.id, mine.count), (its.id, its.count), "{what}: event {number}");
            }
            // Questions and suggestions that wait are not kept: so when the screen is dark.
            if signal != Signal::ScreenOff || number % 3 == 0 {
                continue;
            }
            let key = (number % 2 == 0).then_some(&KEY);
            let closed = open;
            open = Open::new(&bundle);
            assert_eq!(
                open.observe(&event(at, Signal::Launch, Some(c"nobody's"))),
                Status::Ok,
                "is forgotten"
            );
            if number % 5 == 0 {
                assert_eq!(open.restore_bytes(&closed.to_bytes(key), key), Status::Ok, "{what}: {}", said());
            } else {
                assert_eq!(closed.save(&file, key), Status::Ok, "{what}: {}", said());
                assert_eq!(open.restore(&file, key), Status::Ok, "{what}: {}", said());
            }
            assert_eq!(open.last_event(), at);
            assert_eq!(open.to_bytes(None), closed.to_bytes(None), "{what}: saved again, event {number}");
        }
    }
}

#[test]
fn what_is_no_saved_person_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let open = Open::new(&with_both(&APPS));
    let all = days();
    for &(at, signal, app) in &all[..all.len() / 2] {
        assert_eq!(open.observe(&event(at, signal, app)), Status::Ok);
    }
    let (plain, sealed) = (open.to_bytes(None), open.to_bytes(Some(&KEY)));
    let before = open.ask(2 * MORNING, 100).unwrap();
    let cases: [(&str, &[u8], Option<&KeyBytes>, &str); 8] = [
        ("nothing", b"", None, "this is not a foretap history"),
        ("nonsense", b"no person, but a text that is longer than a header", None, "this is not a foretap"),
        ("another key", &sealed, Some(&OTHER_KEY), "this key does not open the file"),
        ("no key", &sealed, None, "give the key that it was saved with"),
        ("a key for a plain one", &plain, Some(&KEY), "not sealed: somebody may have put it there"),
        ("half of a plain one", &plain[..plain.len() / 2], None, "the file is cut off"),
        ("half of a sealed one", &sealed[..sealed.len() / 2], Some(&KEY), "the file is cut off"),
        ("a bundle", &with_trees(&APPS).to_bytes().unwrap(), None, "this is a bundle; name a history"),
    ];
    for (what, bytes, key, says) in cases {
        assert_eq!(open.restore_bytes(bytes, key), Status::Person, "{what}: {}", said());
        assert!(said().contains(says), "{what}: {}", said());
        fs::write(at(what), bytes).unwrap();
        assert_eq!(open.restore(&at(what), key), Status::Person, "{what}");
        assert!(said().contains(says) && said().contains(what), "{what}: {}", said());
    }
    for byte in (0..plain.len()).step_by(97) {
        let mut damaged = plain.clone();
        damaged[byte] ^= 0x10;
        assert_eq!(open.restore_bytes(&damaged, None), Status::Person, "byte {byte}");
    }
    assert_eq!(open.restore(&at("none"), None), Status::Io, "{}", said());
    assert_eq!(open.restore(folder.path(), None), Status::Person, "{}", said());
    assert_eq!(open.save(&at("no such folder").join("person"), None), Status::Io, "{}", said());
    let huge = unsafe { foretap_restore_bytes(open.0, null(), usize::MAX, plain.as_ptr()) };
    assert_eq!(huge, Status::Person, "{}", said());
    assert_eq!(open.ask(2 * MORNING, 100).unwrap(), before, "as if nothing had been");
    // A file that cannot be written leaves the one that was there.
    assert_eq!(open.save(&at("kept"), Some(&KEY)), Status::Ok);
    assert_eq!(open.restore(&at("kept"), Some(&KEY)), Status::Ok);
    assert_eq!(open.ask(2 * MORNING, 100).unwrap(), before);
}

#[test]
fn a_suggestion_is_made_of_the_answer_and_takes_feedback_once() {
    let open = Open::new(&with_both(&APPS));
    assert_eq!(open.suggest().err(), Some(Status::Invalid));
    assert!(said().contains("no question was asked since the last event; ask first"), "{}", said());
    for (at, signal, app) in days() {
        assert_eq!(open.observe(&event(at, signal, app)), Status::Ok);
    }
    let now = 2 * MORNING;
    assert_eq!(open.observe(&event(now, Signal::Unlock, None)), Status::Ok);
    let show_by = |shown, least, exploration| unsafe { foretap_show_by(open.0, shown, least, exploration) };
    let (ranked, _) = open.ask(now, 100).unwrap();
    for shown in [1, 2, 3, FORETAP_MAX_SHOWN] {
        let first = &ranked[..shown.min(ranked.len())];
        let confidence: f64 = first.iter().map(|(_, probability)| probability).sum();
        assert_eq!(show_by(shown, 0.0, 0.0), Status::Ok, "{}", said());
        let made = open.suggest().unwrap();
        let apps: Vec<_> = made.apps[..made.count].iter().map(|app| (name(app), app.probability)).collect();
        assert_eq!((&apps[..], made.confidence), (first, confidence), "{shown}");
        assert_eq!(
            (made.propensities[..made.count].iter().sum::<f32>(), made.explores),
            (made.count as f32, 0)
        );
        // Rather nothing than noise.
        assert_eq!(show_by(shown, 1.0, 0.0), Status::Ok, "{}", said());
        let none = open.suggest().unwrap();
        assert_eq!((none.count, none.confidence), (0, confidence), "{shown}");
    }
    for (shown, least, exploration, says) in [
        (0, 0.5, 0.0, "`shown`"),
        (9, 0.5, 0.0, "`shown`"),
        (3, f64::NAN, 0.0, "`least_probability`"),
        (3, 0.5, 0.3, "`exploration`"),
    ] {
        assert_eq!(show_by(shown, least, exploration), Status::Invalid);
        assert!(said().contains(says), "{}", said());
    }

    // With exploration, an alternative takes the last place now and then, and its propensity says how probable that was.
    assert_eq!(show_by(2, 0.0, 0.2), Status::Ok, "{}", said());
    let made: Vec<_> = (0..400).map(|_| open.suggest().unwrap()).collect();
    let explored = made.iter().filter(|made| made.explores == 1).count();
    assert!((40..=130).contains(&explored), "{explored} of 400 at .2");
    assert!(made.iter().all(|made| made.propensities[0] == 1.0 && made.propensities[1] < 1.0));

    assert_eq!(show_by(2, 0.0, 0.0), Status::Ok);
    let [taken, ignored] = [open.suggest().unwrap(), open.suggest().unwrap()];
    let first = CString::new(name(&taken.apps[0])).unwrap();
    for (id, app, status, says) in [
        (taken.id, Some(c"never heard of"), Status::Invalid, "did not show `never heard of`"),
        (taken.id, Some(first.as_c_str()), Status::Ok, ""),
        (taken.id, Some(first.as_c_str()), Status::Invalid, "had its feedback"),
        (ignored.id + 1, None, Status::Invalid, "was never made"),
        (0, None, Status::Invalid, "not remembered any more"),
    ] {
        assert_eq!(open.feedback(id, app), status, "{id}: {}", said());
        assert!(status == Status::Ok || said().contains(says), "{}", said());
    }
    let probability = |open: &Open| {
        let (apps, _) = open.ask(now, 100).unwrap();
        apps.iter().find(|(app, _)| *app == name(&taken.apps[0])).map(|found| found.1)
    };
    let before = probability(&open);
    assert_eq!(open.feedback(ignored.id, None), Status::Ok, "{}", said());
    assert!(probability(&open) < before, "shown and not taken: suggested less");
    assert_eq!(open.observe(&event(now, Signal::Launch, Some(&first))), Status::Ok);
    assert_eq!(open.suggest().err(), Some(Status::Invalid), "an event came between");
}

#[test]
fn a_forgotten_person_leaves_a_handle_as_just_opened() {
    let (open, new) = (Open::new(&with_both(&APPS)), Open::new(&with_both(&APPS)));
    assert_eq!([open.last_event(), new.last_event()], [i64::MIN; 2]);
    for (at, signal, app) in days() {
        assert_eq!(open.observe(&event(at, signal, app)), Status::Ok);
    }
    assert!(open.to_bytes(None).windows(5).any(|bytes| bytes == b"notes"), "an app of one's own");
    assert_eq!(unsafe { foretap_forget(open.0) }, Status::Ok);
    assert_eq!(open.last_event(), i64::MIN);
    assert!(!open.to_bytes(None).windows(5).any(|bytes| bytes == b"notes"), "its name, too");
    // Earlier than what was forgotten.
    for (at, signal, app) in days() {
        assert_eq!([&open, &new].map(|open| open.observe(&event(at, signal, app))), [Status::Ok; 2]);
        assert_eq!(open.ask(at, 100), new.ask(at, 100));
    }
}

#[test]
fn a_bundle_that_lacks_something_says_what() {
    for (bundle, says) in [
        (with_both(&APPS), None),
        (with_trees(&APPS), Some("there is no transformer: the trees answer alone")),
        (with_student(&APPS), Some("there are no trees: the transformer answers alone, and every question")),
    ] {
        let open = Open::new(&bundle);
        let mut reason = c"?".as_ptr();
        assert_eq!(unsafe { foretap_degraded(open.0, &mut reason) }, Status::Ok);
        let found = (!reason.is_null()).then(|| unsafe { CStr::from_ptr(reason) }.to_str().unwrap());
        assert_eq!(found, says);
    }
}
