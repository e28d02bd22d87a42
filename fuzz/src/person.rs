//! What reading a person must keep to.

use std::sync::{Arc, OnceLock};

use foretap::bundle::Bundle;
use foretap::context::Task;
use foretap::data::{AppId, Event, Signal, Timestamp, UserId, Vocabulary};
use foretap::predict::Predictor as _;
use foretap::router::{Answer, Person, Router, Routing, SuggestionSettings};

use crate::memory::peak_bytes;

/// Bytes that may live at once for each byte of the file, and however small it is: tables of habits, an error.
const BYTES_EACH: i64 = 64;
const PERSON_BYTES: i64 = 1 << 20;

/// Reads `bytes` as a person, and goes on living with whoever comes out.
///
/// # Panics
/// An error has no next step, much memory is asked for, a person is not itself again when written, or an answer is none.
pub fn check(bytes: &[u8]) {
    let mut vocabulary = Vocabulary::new();
    let (outcome, peak) =
        peak_bytes(|| Person::read(bytes, &mut vocabulary, Arc::default(), SuggestionSettings::default()));
    assert!(peak <= BYTES_EACH * bytes.len() as i64 + PERSON_BYTES, "{peak} bytes for {}", bytes.len());
    match outcome {
        Err(error) => assert!(error.to_string().contains("; "), "no next step: {error}"),
        Ok(person) => {
            let Ok(written) = person.write(&vocabulary) else {
                panic!("a person who was read cannot be written")
            };
            let again =
                Person::read(&written, &mut vocabulary, Arc::default(), SuggestionSettings::default());
            let again = again.ok().and_then(|person| person.write(&vocabulary).ok());
            assert!(again == Some(written), "what was written is read as somebody else");
            live(person, vocabulary);
        }
    }
}

/// A morning more.
fn live(mut person: Person, mut vocabulary: Vocabulary) {
    static ROUTER: OnceLock<Router> = OnceLock::new();
    let router = ROUTER.get_or_init(|| {
        let bundle = Bundle::pretrained().expect("the crate's own bundle fits");
        bundle.router(&Vocabulary::new(), Routing::Share(0.5)).expect("a share")
    });
    let (mut scratch, mut answer) = (router.new_scratch(), Answer::default());
    let apps: Vec<AppId> = (0..3).map(|app| vocabulary.intern(&format!("app {app}"))).collect();
    for step in 0..12_i64 {
        let at = Timestamp(1_772_438_400 + 60 * step);
        let signal = match step % 4 {
            0 => Signal::Unlock,
            3 => Signal::ScreenOff,
            _ => Signal::Launch(apps[(step % 3) as usize]),
        };
        person.observe(&Event::new(UserId(1), at, signal));
        if signal == Signal::Unlock {
            person.ask(router, Task::FirstAfterUnlock, at, &mut scratch, &mut answer);
            let total = answer.confidence(usize::MAX) + answer.prediction.none_of_these;
            assert!((total - 1.0).abs() < 1e-6, "probabilities of {total}");
            person.suggest(&answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_sound() {
        let file = format!("{}/seeds/person/short", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(file).unwrap();
        assert!(
            Person::read(&bytes, &mut Vocabulary::new(), Arc::default(), SuggestionSettings::default())
                .is_ok()
        );
        check(&bytes);
        check(&bytes[..bytes.len() / 2]);
    }
}
