//! Learning from C: what Rust's person learns, on a thread of its own, and never of another person.

#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "one for all: handles are open, and results are there"
)]

use std::time::Duration;

use foretap::Silent;
use foretap::router::{LearnSettings, Learned};

use super::*;
use crate::event::What;

impl Open {
    fn keep_events(&self, most: usize) -> Status {
        unsafe { foretap_keep_events(self.0, most) }
    }

    fn learn(&self, most_secs: u32) -> Result<Learning, Status> {
        let mut found = std::mem::MaybeUninit::uninit();
        match unsafe { foretap_learn(self.0, most_secs, found.as_mut_ptr()) } {
            Status::Ok => Ok(unsafe { found.assume_init() }),
            status => Err(status),
        }
    }

    /// Events, and a question at each unlock.
    fn live(&self, events: &[(i64, Signal, Option<&CStr>)]) {
        for &(at, signal, app) in events {
            assert_eq!(self.observe(&event(at, signal, app)), Status::Ok, "{}", said());
            if matches!(signal, Signal::Unlock) {
                self.ask(at, 3).unwrap();
            }
        }
    }
}

#[test]
fn what_is_learned_is_what_rust_learns() {
    let bundle = with_both(&APPS);
    let (open, days) = (Open::new(&bundle), days());
    assert_eq!(open.learn(0).unwrap_err(), Status::Invalid);
    assert!(said().contains("call foretap_keep_events() first"), "{}", said());
    assert_eq!(open.keep_events(usize::MAX), Status::Invalid);
    assert!(said().contains("keep at most 1048576"), "{}", said());
    assert_eq!(open.keep_events(20_000), Status::Ok);
    open.live(&days[..100]);
    let few = open.learn(0).unwrap();
    assert_eq!(few.outcome, LearnOutcome::TooFewQuestions as i32);
    assert!(few.questions > 10 && few.log_loss_before.is_nan());
    open.live(&days[100..]);
    let found = open.learn(0).unwrap();
    assert!(
        unsafe { foretap_learn(open.0, 0, null_mut()) } == Status::Ok,
        "whoever wants no figures passes NULL"
    );

    // The same by hand.
    let mut vocabulary = bundle.vocabulary();
    let router = bundle.router(&vocabulary, Routing::default()).unwrap();
    let mut person = Person::new(bundle.favourites(), SuggestionSettings::default(), 1).unwrap();
    person.keep_events(20_000);
    let (mut scratch, mut answer) = (router.new_scratch(), Answer::default());
    for &(at, signal, app) in &days {
        let said = event(at, signal, app);
        let checked = unsafe { CheckedEvent::read(&said) }.unwrap();
        let signal = match checked.what {
            What::App(signal, name) => signal(vocabulary.intern(name)),
            What::Phone(signal) => signal,
        };
        let CheckedEvent { at, utc_offset_secs, place, battery, network, .. } = checked;
        let user = UserId(0);
        person.observe(&foretap::data::Event { user, at, utc_offset_secs, signal, place, battery, network });
        if signal == foretap::data::Signal::Unlock {
            person.ask(&router, bundle.parts().task, at, &mut scratch, &mut answer);
        }
    }
    let settings = LearnSettings::default();
    let learned: Learned = person.learn(&router, bundle.parts().task, &settings, &Silent).unwrap();
    assert_eq!(found.questions, learned.questions);
    assert_eq!(found.log_loss_before.to_bits(), learned.shared_log_loss.to_bits());
    assert_eq!(found.log_loss_after.to_bits(), learned.log_loss.to_bits());
    let now = days.last().unwrap().0 + 600;
    person.ask(&router, bundle.parts().task, Timestamp(now), &mut scratch, &mut answer);
    let (apps, _) = open.ask(now, 3).unwrap();
    for (candidate, expected) in apps.iter().zip(&answer.prediction.candidates) {
        assert_eq!(candidate.1.to_bits(), expected.probability.to_bits());
    }
}

#[test]
fn a_phone_goes_on_while_it_learns_and_nothing_is_learned_of_somebody_else() {
    let open = Open::new(&with_both(&APPS));
    assert_eq!(open.keep_events(20_000), Status::Ok);
    let days = days();
    open.live(&days);
    let now = days.last().unwrap().0;
    thread::scope(|scope| {
        let learning = scope.spawn(|| open.learn(0).map(|_| ()));
        for secs in 1..200 {
            assert_eq!(open.observe(&event(now + 60 * secs, Signal::Unlock, None)), Status::Ok);
            assert!(open.ask(now + 60 * secs, 3).is_ok());
        }
        assert_eq!(learning.join().unwrap(), Ok(()));
    });
    // Stopped from another thread, or done before: one or the other, and never half.
    thread::scope(|scope| {
        let learning = scope.spawn(|| open.learn(0).map(|_| ()));
        while !learning.is_finished() {
            assert_eq!(unsafe { foretap_stop_learning(open.0) }, Status::Ok);
            thread::sleep(Duration::from_millis(1));
        }
        assert!([Ok(()), Err(Status::Cancelled)].contains(&learning.join().unwrap()));
    });
    // Whoever is forgotten meanwhile is not learned.
    thread::scope(|scope| {
        let learning = scope.spawn(|| open.learn(0).map(|_| ()));
        thread::sleep(Duration::from_millis(5));
        assert_eq!(unsafe { foretap_forget(open.0) }, Status::Ok);
        let found = learning.join().unwrap();
        assert!([Ok(()), Err(Status::Cancelled), Err(Status::Invalid)].contains(&found), "{found:?}");
    });
    assert_eq!(open.learn(0).unwrap_err(), Status::Invalid, "nobody's events are kept");
    // Step by step: what was learned of the one who was here before the other came is refused.
    assert_eq!(open.keep_events(20_000), Status::Ok);
    open.live(&days);
    let session = || unsafe { &*open.0 }.session.lock().unwrap();
    let job = session().learn_job().unwrap();
    let learned = job.run(&Silent).unwrap();
    session().forget().unwrap();
    assert_eq!(session().adopt(learned).unwrap_err().status, Status::Cancelled);
}
