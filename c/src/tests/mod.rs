//! The functions as C calls them: answers are the crate's own, panics are caught, threads leave each other alone.

#[cfg(feature = "learn")]
mod learn;
mod person;
mod refused;

use std::ffi::{CStr, CString};
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::thread;

use foretap::bundle::Bundle;
use foretap::context::{Context, MAX_APPS};
use foretap::data::{AppId, Timestamp, UserId};
use foretap::predict::{Prediction, Predictor, Scratch};
use foretap::router::{Answer, Experts, Person, Router, RouterModel, Routing, SuggestionSettings};

use super::*;
use crate::made::{with_both, with_student, with_trees};
use crate::session::MAX_NEW_APPS;

const APPS: [&str; 5] = ["mail", "maps", "chat", "clock", "камера"];

/// 2 March 2026, seven in the morning.
const MORNING: i64 = 1_772_434_800;

/// Some days of somebody who also uses an app that no bundle knows.
fn days() -> Vec<(i64, Signal, Option<&'static CStr>)> {
    let opened = [c"chat", c"mail", c"chat", c"камера", c"chat", c"notes", c"mail", c"maps"];
    let mut events = Vec::new();
    for number in 0..200 {
        let (at, app) = (MORNING + 1_700 * number, opened[(number % 7 + number % 5) as usize % opened.len()]);
        if number % 3 == 0 {
            events.push((at - 60, Signal::Notification, Some(c"chat")));
        }
        events.push((at, Signal::ScreenOn, None));
        events.push((at, Signal::Unlock, None));
        events.push((at + 2, Signal::Launch, Some(app)));
        events.push((at + 70, Signal::Close, Some(app)));
        events.push((at + 70, Signal::ScreenOff, None));
    }
    events
}

fn event(at_utc_secs: i64, signal: Signal, app: Option<&CStr>) -> Event {
    Event {
        at_utc_secs,
        utc_offset_secs: 3_600,
        signal: signal as i32,
        app: app.map_or(null(), CStr::as_ptr),
        place: c"u33db".as_ptr(),
        battery_percent: 71,
        charging: Charging::No as i32,
        network: Network::Wifi as i32,
    }
}

/// A handle, with calls that only make sense.
struct Open(*mut Handle);

// SAFETY: a handle may be used on any thread.
unsafe impl Send for Open {}
// SAFETY: calls on it wait for each other.
unsafe impl Sync for Open {}

impl Open {
    fn new(bundle: &Bundle) -> Self {
        let (bytes, mut handle) = (bundle.to_bytes().unwrap(), null_mut());
        // SAFETY: the bytes are there, and so is the handle's place.
        let status = unsafe { foretap_open_bytes(bytes.as_ptr(), bytes.len(), &mut handle) };
        assert_eq!((status, handle.is_null()), (Status::Ok, false), "{}", said());
        Self(handle)
    }

    fn observe(&self, event: &Event) -> Status {
        // SAFETY: the handle is open, and events' texts are literals.
        unsafe { foretap_observe(self.0, event) }
    }

    fn prefill(&self) -> Status {
        // SAFETY: the handle is open.
        unsafe { foretap_prefill(self.0) }
    }

    /// Apps with their probabilities, and the probability of none of these.
    fn ask(&self, now: i64, k: usize) -> Result<(Vec<(String, f64)>, f64), Status> {
        let mut candidates = vec![Candidate::new("?", f64::NAN); k.min(FORETAP_MAX_CANDIDATES)];
        let (mut count, mut none) = (usize::MAX, f64::NAN);
        let place = candidates.as_mut_ptr();
        // SAFETY: the handle is open; there are `k` candidates, or `k` is refused.
        let status = unsafe { foretap_ask(self.0, now, k, place, &mut count, &mut none) };
        if status != Status::Ok {
            assert_eq!(count, 0, "a refused question has no answer");
            return Err(status);
        }
        let name = |s: &Candidate| {
            let bytes = s.app.map(|byte| byte as u8);
            CStr::from_bytes_until_nul(&bytes).unwrap().to_str().unwrap().to_owned()
        };
        Ok((candidates[..count].iter().map(|s| (name(s), s.probability)).collect(), none))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // SAFETY: it is open until here.
        unsafe { foretap_close(self.0) };
    }
}

fn said() -> String {
    // SAFETY: what is returned is text until the next failure on this thread.
    unsafe { CStr::from_ptr(foretap_last_error()) }.to_str().unwrap().to_owned()
}

/// What `bundle` answers to the same events in Rust, to the question after each unlock.
fn answers(bundle: &Bundle) -> Vec<(Vec<(String, f64)>, f64)> {
    use foretap::data;
    let mut vocabulary = bundle.vocabulary();
    let router = bundle.router(&vocabulary, Routing::default()).unwrap();
    let mut person = Person::new(bundle.favourites(), SuggestionSettings::default(), 0).unwrap();
    let mut answers = Vec::new();
    for (at, signal, app) in days() {
        let app = app.map_or(AppId(u32::MAX), |app| vocabulary.intern(app.to_str().unwrap()));
        let signal = match signal {
            Signal::Launch => data::Signal::Launch(app),
            Signal::Close => data::Signal::Close(app),
            Signal::Notification => data::Signal::Notification(app),
            Signal::Unlock => data::Signal::Unlock,
            Signal::ScreenOn => data::Signal::ScreenOn,
            Signal::ScreenOff => data::Signal::ScreenOff,
        };
        person.observe(&data::Event {
            utc_offset_secs: 3_600,
            place: "u33db".parse().ok(),
            battery: data::Battery { percent: Some(71), charging: Some(false) },
            network: data::Network::Wifi,
            ..data::Event::new(UserId(7), Timestamp(at), signal)
        });
        if signal == data::Signal::Unlock {
            let (mut answer, task) = (Answer::default(), bundle.parts().task);
            person.ask(&router, task, Timestamp(at), &mut router.new_scratch(), &mut answer);
            let Prediction { candidates, none_of_these } = answer.prediction;
            let named = candidates.iter().map(|c| (vocabulary.name(c.app).to_owned(), c.probability));
            answers.push((named.collect(), none_of_these));
        }
    }
    answers
}

#[test]
fn answers_are_those_of_the_crate() {
    for (name, bundle) in
        [("student", with_student(&APPS)), ("trees", with_trees(&APPS)), ("both", with_both(&APPS))]
    {
        let expected = answers(&bundle);
        assert!(expected.len() == 200 && expected[199].0.len() == 5, "{name}: {:?}", expected[199]);
        assert!(expected[199].0.iter().any(|(app, _)| app == "notes"), "{name}: an app of one's own");
        for reads_ahead in [false, true] {
            let open = Open::new(&bundle);
            let mut expected = expected.iter();
            for (at, signal, app) in days() {
                assert_eq!(open.observe(&event(at, signal, app)), Status::Ok, "{name}: {}", said());
                if reads_ahead {
                    assert_eq!(open.prefill(), Status::Ok);
                }
                if signal == Signal::Unlock {
                    assert_eq!(open.ask(at, 100).as_ref(), Ok(expected.next().unwrap()), "{name}");
                }
            }
            let (best, all) = (open.ask(2 * MORNING, 2).unwrap(), open.ask(2 * MORNING, 100).unwrap());
            assert_eq!((&best.0[..], best.1), (&all.0[..2], all.1), "{name}: the best of all");
            let sum = all.1 + all.0.iter().map(|(_, probability)| probability).sum::<f64>();
            assert!((sum - 1.0).abs() < 1e-9, "{name}: {sum}");
        }
    }
}

#[test]
fn what_is_not_known_may_be_left_zero() {
    let open = Open::new(&with_student(&APPS));
    assert_eq!(open.prefill(), Status::Ok, "before the first event");
    let favourites = open.ask(0, 100).unwrap().0;
    assert_eq!(favourites.len(), APPS.len(), "before the first event: {favourites:?}");
    let bare = Event {
        at_utc_secs: 0,
        utc_offset_secs: 0,
        signal: Signal::Launch as i32,
        app: c"mail".as_ptr(),
        place: null(),
        battery_percent: 0,
        charging: 0,
        network: 0,
    };
    assert_eq!(open.observe(&bare), Status::Ok);
    assert_eq!(open.ask(0, 100).unwrap().0, [("mail".to_owned(), 1.0 - open.ask(0, 1).unwrap().1)]);
    // SAFETY: the handle is open.
    assert_eq!(unsafe { ask_for_one(open.0, 0, 1) }, Status::Ok, "without `none_of_these`");
}

/// [`foretap_ask`] with room for one suggestion.
///
/// # Safety
/// `handle` is null or open, `k` is 1 or refused.
unsafe fn ask_for_one(handle: *mut Handle, now: i64, k: usize) -> Status {
    let (mut suggestion, mut count) = (Candidate::new("?", f64::NAN), usize::MAX);
    // SAFETY: as the caller promised; `none_of_these` may be null.
    let status = unsafe { foretap_ask(handle, now, k, &mut suggestion, &mut count, null_mut()) };
    assert_eq!(count, usize::from(status == Status::Ok));
    status
}

/// A bug.
struct Panics;

impl Predictor for Panics {
    fn new_scratch(&self) -> Scratch {
        Scratch::none()
    }

    fn score(&self, _: &Context<'_>, _: &mut Scratch, _: &mut [f32]) {
        panic!("seventeen is not even");
    }
}

#[test]
fn a_panic_breaks_one_handle_and_nothing_else() {
    let (broken, whole) = (Open::new(&with_student(&APPS)), Open::new(&with_student(&APPS)));
    let experts = Experts { trees: Some(Arc::new(Panics)), deep: None };
    let router = Router::new(RouterModel::unfitted([1.0; 2]).unwrap(), experts, Routing::default()).unwrap();
    // SAFETY: it is open, and nobody else uses it.
    unsafe { &*broken.0 }.session.lock().unwrap().router = Arc::new(router);
    assert_eq!(broken.ask(MORNING, 3), Err(Status::Broken));
    assert!(said().contains("a bug in foretap: seventeen is not even; close the handle"), "{}", said());

    let good = event(MORNING, Signal::Unlock, None);
    let refused = [broken.ask(MORNING, 3).unwrap_err(), broken.observe(&good), broken.prefill()];
    assert_eq!(refused, [Status::Broken; 3]);
    assert!(said().contains("close it, and open the bundle anew"), "{}", said());
    assert_eq!(whole.observe(&good), Status::Ok);
    assert!(whole.ask(MORNING, 3).is_ok());
}

#[test]
fn names_are_bounded() {
    let open = Open::new(&with_trees(&APPS));
    let launch = |name: &str| {
        let name = CString::new(name).unwrap();
        open.observe(&event(MORNING, Signal::Notification, Some(&name)))
    };
    for number in 0..MAX_NEW_APPS {
        assert_eq!(launch(&format!("app {number}")), Status::Ok);
    }
    assert_eq!(launch("one more"), Status::TooManyApps);
    assert!(said().contains("`one more` would be app 16390"), "{}", said());
    assert_eq!([launch("app 0"), launch("mail")], [Status::Ok; 2], "known before");
    const { assert!(MAX_NEW_APPS > 2 * MAX_APPS, "a history forgets apps before names run out") };
}

#[test]
fn threads_do_not_disturb_each_other() {
    let bundle = with_student(&APPS);
    let expected = answers(&bundle);
    let shared = Open::new(&bundle);
    thread::scope(|scope| {
        for number in 0..2 {
            let (bundle, expected, shared) = (&bundle, &expected, &shared);
            scope.spawn(move || {
                assert_eq!(said(), "", "a thread's own errors alone");
                let open = Open::new(bundle);
                let mut expected = expected.iter();
                for (at, signal, app) in days() {
                    assert_eq!(open.observe(&event(at, signal, app)), Status::Ok);
                    if signal == Signal::Unlock {
                        assert_eq!(open.ask(at, 100).as_ref(), Ok(expected.next().unwrap()));
                    }
                    // Always the same moment: the other thread may be ahead.
                    assert_eq!(shared.observe(&event(MORNING, signal, app)), Status::Ok);
                    assert!(shared.ask(MORNING, 5).is_ok());
                    // Errors of one's own, said to nobody else.
                    assert_eq!(open.ask(at, FORETAP_MAX_CANDIDATES + 1 + number), Err(Status::Invalid));
                    assert!(said().starts_with(&(FORETAP_MAX_CANDIDATES + 1 + number).to_string()));
                }
            });
        }
    });
}

#[test]
fn the_version_is_the_crate_s() {
    // SAFETY: it is text forever.
    let version = unsafe { CStr::from_ptr(foretap_version()) };
    assert_eq!(version.to_str(), Ok(env!("CARGO_PKG_VERSION")));
    let of_the_crate = include_str!("../../Cargo.toml").lines().find(|line| line.starts_with("version"));
    assert_eq!(of_the_crate, Some(concat!("version = \"", env!("CARGO_PKG_VERSION"), "\"")));
}

#[test]
fn candidates_are_cut_where_c_s_room_ends() {
    for length in [0, 1, FORETAP_APP_BYTES - 1, FORETAP_APP_BYTES, 1_000] {
        let kept = Candidate::new(&"x".repeat(length), 0.0).app;
        let end = kept.iter().position(|&byte| byte == 0);
        assert_eq!(end, Some(length.min(FORETAP_APP_BYTES - 1)));
        assert!(kept[..end.unwrap()].iter().all(|&byte| byte == b'x' as c_char));
    }
}
