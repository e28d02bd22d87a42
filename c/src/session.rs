//! What a handle holds: one user's history, and who answers from it. Safe Rust: pointers end at the border.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "learn")]
use foretap::Progress;
use foretap::bundle::Bundle;
use foretap::context::{ReplayBuffer, Task};
use foretap::data::{AppId, Event, Timestamp, UserId, Vocabulary};
use foretap::predict::{Prediction, Predictor as _, Scratch};
use foretap::router::{Answer, Feedback, Person, Router, Routing, SuggestionSettings};
#[cfg(feature = "learn")]
use foretap::router::{LearnSettings, Learned, PersonTraining};
use foretap::storage::vault::{self, Key};
use foretap::{Error, ErrorKind};

use crate::border::Failure;
use crate::event::{CheckedEvent, What, moment};
use crate::types::{Candidate, FORETAP_APP_BYTES, FORETAP_MAX_SHOWN, Status, Suggestion};

/// Bytes of a bundle at most: a hundred times what is meant for a phone.
const MAX_BUNDLE_BYTES: usize = 64 << 20;

/// Apps that a session takes besides those of its bundle. A history remembers 4,096; a phone has hundreds. The longest
/// names would take 9 MB.
pub(crate) const MAX_NEW_APPS: usize = 16_384;

/// A phone's only user.
const USER: UserId = UserId(0);

/// One user's past, and who answers from it.
pub struct Session {
    task: Task,
    pub(crate) router: Arc<Router>,
    /// The bundle's apps, and its candidates for a person without a history.
    of_bundle: Vocabulary,
    favourites: Arc<[AppId]>,
    settings: SuggestionSettings,
    /// Begins with the bundle's apps. The experts were made for these: what comes later is unknown to them, and distinguished
    /// by how it was used alone.
    vocabulary: Vocabulary,
    person: Person,
    scratch: Scratch,
    answer: Answer,
    /// Whether `answer` is to what was observed last.
    is_answered: bool,
}

/// A person's past and the router that answers, to be learned from without the session.
#[cfg(feature = "learn")]
pub struct LearnJob {
    training: PersonTraining,
    router: Arc<Router>,
}

#[cfg(feature = "learn")]
impl LearnJob {
    /// Learns, until it is done or `progress` calls it off.
    pub fn run(&self, progress: &dyn Progress) -> Result<Learned, Failure> {
        Ok(self.training.run(&self.router, &LearnSettings::default(), progress)?)
    }
}

impl Session {
    /// A session with the bundle in `file`.
    pub fn load(file: &Path) -> Result<Self, Failure> {
        if let Some(bytes) = check_is_file(file, "a bundle").map_err(no_bundle)? {
            check_size(bytes)?;
        }
        Self::new(&Bundle::load(file)?)
    }

    /// A session with the bundle in `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Failure> {
        Self::new(&Bundle::from_bytes(bytes)?)
    }

    fn new(bundle: &Bundle) -> Result<Self, Failure> {
        let vocabulary = bundle.vocabulary();
        if let Some(name) = vocabulary.names().iter().find(|name| !fits(name)) {
            return Err(no_bundle(format!(
                "C has no room for the app name `{name}`; make the bundle without it"
            )));
        }
        let router = bundle.router(&vocabulary, Routing::default())?;
        let (favourites, settings) = (bundle.favourites(), SuggestionSettings::default());
        Ok(Self {
            task: bundle.parts().task,
            scratch: router.new_scratch(),
            router: Arc::new(router),
            person: Person::new(favourites.clone(), settings, seed())?,
            of_bundle: vocabulary.clone(),
            favourites,
            settings,
            vocabulary,
            answer: Answer::default(),
            is_answered: false,
        })
    }

    /// Keeps the last `most` events from now on, to learn from.
    pub fn keep_events(&mut self, most: usize) -> Result<(), Failure> {
        if most > ReplayBuffer::MOST {
            let message = format!("{most} events are too many to keep; keep at most {}", ReplayBuffer::MOST);
            return Err(Failure::invalid(message));
        }
        self.person.keep_events(most);
        Ok(())
    }

    /// What there is to learn from.
    #[cfg(feature = "learn")]
    pub fn learn_job(&self) -> Result<LearnJob, Failure> {
        let training = self.person.training(self.task).ok_or_else(|| {
            Failure::invalid("no events are kept to learn from; call foretap_keep_events() first")
        })?;
        Ok(LearnJob { training, router: Arc::clone(&self.router) })
    }

    /// Takes over what was learned, if it is of the person who is here.
    #[cfg(feature = "learn")]
    pub fn adopt(&mut self, learned: Learned) -> Result<(), Failure> {
        self.person.adopt(learned)?;
        self.is_answered = false;
        Ok(())
    }

    /// Why answers are worse than they could be, if they are.
    pub fn degraded(&self) -> Option<&'static str> {
        self.router.degraded()
    }

    /// When the last event was observed.
    pub fn last_event(&self) -> Option<Timestamp> {
        self.person.history().last_event()
    }

    /// Folds in what happened.
    pub fn observe(&mut self, event: &CheckedEvent<'_>) -> Result<(), Failure> {
        self.check_order(event.at, "an event")?;
        let signal = match event.what {
            What::App(signal, name) => signal(self.app(name)?),
            What::Phone(signal) => signal,
        };
        let CheckedEvent { at, utc_offset_secs, place, battery, network, .. } = *event;
        self.person.observe(&Event { user: USER, at, utc_offset_secs, signal, place, battery, network });
        self.is_answered = false;
        Ok(())
    }

    /// Computes what the next question will ask of the events so far.
    pub fn prefill(&mut self) {
        if let Some(now) = self.last_event() {
            self.router.prefill(&self.person.history().context_at(now, self.task), &mut self.scratch);
        }
    }

    /// Ranks the apps that may be opened after `now_utc_secs`.
    pub fn ask(&mut self, now_utc_secs: i64) -> Result<(), Failure> {
        let now = moment(now_utc_secs)?;
        self.check_order(now, "a question")?;
        self.person.ask(&self.router, self.task, now, &mut self.scratch, &mut self.answer);
        self.is_answered = true;
        Ok(())
    }

    /// What to show of the answer to the last question.
    pub fn suggest(&mut self) -> Result<Suggestion, Failure> {
        if !self.is_answered {
            return Err(Failure::invalid("no question was asked since the last event; ask first"));
        }
        let mut suggestion = Suggestion {
            id: u64::MAX,
            count: 0,
            apps: [Candidate::NONE; FORETAP_MAX_SHOWN],
            propensities: [0.0; FORETAP_MAX_SHOWN],
            explores: 0,
            confidence: self.answer.confidence(self.settings.shown),
        };
        let Some(made) = self.person.suggest(&self.answer) else { return Ok(suggestion) };
        let probability = |app| {
            let candidates = &self.answer.prediction.candidates;
            candidates.iter().find(|candidate| candidate.app == app).map_or(0.0, |found| found.probability)
        };
        (suggestion.id, suggestion.count) = (made.id, made.apps().len());
        for (shown, &app) in suggestion.apps.iter_mut().zip(made.apps()) {
            *shown = Candidate::new(self.vocabulary.name(app), probability(app));
        }
        suggestion.propensities[..made.apps().len()].copy_from_slice(made.propensities());
        suggestion.explores = made.explores.into();
        Ok(suggestion)
    }

    /// Takes what became of a suggestion: an app of it was opened, or none.
    pub fn feedback(&mut self, id: u64, taken: Option<&str>) -> Result<(), Failure> {
        let feedback = match taken {
            None => Feedback::Ignored,
            Some(name) => Feedback::Taken(self.vocabulary.id(name).ok_or_else(|| {
                Failure::invalid(format!(
                    "suggestion {id} did not show `{name}`; name an app that it showed, or NULL if it was ignored"
                ))
            })?),
        };
        self.person.feedback(id, feedback).map_err(invalid)
    }

    /// Shows by these settings from now on.
    pub fn show_by(&mut self, settings: SuggestionSettings) -> Result<(), Failure> {
        self.person.show_by(settings).map_err(invalid)?;
        self.settings = settings;
        Ok(())
    }

    /// Writes the person to `file`, whole or not at all.
    pub fn save(&self, file: &Path, key: Option<&Key>) -> Result<(), Failure> {
        let person = self.person.write(&self.vocabulary).map_err(no_person)?;
        vault::save(file, &person, key).map_err(no_person)
    }

    /// What [`save`](Self::save) writes.
    pub fn to_bytes(&self, key: Option<&Key>) -> Result<Vec<u8>, Failure> {
        let person = self.person.write(&self.vocabulary).map_err(no_person)?;
        vault::seal(&person, key).map_err(no_person)
    }

    /// Goes on with the person in `file`; if that fails, with the one that was there.
    pub fn restore(&mut self, file: &Path, key: Option<&Key>) -> Result<(), Failure> {
        check_is_file(file, "a saved person").map_err(|message| Failure::new(Status::Person, message))?;
        let person = vault::load(file, key).map_err(no_person)?;
        self.restore_opened(&person).map_err(|error| no_person(error.file(file)))
    }

    /// The same with the person in `bytes`.
    pub fn restore_bytes(&mut self, bytes: &[u8], key: Option<&Key>) -> Result<(), Failure> {
        self.restore_opened(&vault::open(bytes, key).map_err(no_person)?).map_err(no_person)
    }

    fn restore_opened(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut vocabulary = self.of_bundle.clone();
        let person = Person::read(bytes, &mut vocabulary, self.favourites.clone(), self.settings)?;
        if let Some(name) = vocabulary.names().iter().find(|name| !fits(name)) {
            let message = format!("C has no room for the app name `{name}`");
            return Err(Error::new(ErrorKind::Model, message).next_step("restore it in Rust"));
        }
        self.begin_with(person, vocabulary);
        Ok(())
    }

    /// Forgets the person: nothing of what was observed is left in memory that this session holds.
    pub fn forget(&mut self) -> Result<(), Failure> {
        let person = Person::new(self.favourites.clone(), self.settings, seed())?;
        self.begin_with(person, self.of_bundle.clone());
        Ok(())
    }

    fn begin_with(&mut self, person: Person, vocabulary: Vocabulary) {
        (self.person, self.vocabulary) = (person, vocabulary);
        // Keys and values of another person's events.
        self.scratch = self.router.new_scratch();
        (self.answer, self.is_answered) = (Answer::default(), false);
    }

    /// The answer to the last question.
    pub fn prediction(&self) -> &Prediction {
        &self.answer.prediction
    }

    /// The name of an app that was suggested.
    pub fn name(&self, app: AppId) -> &str {
        self.vocabulary.name(app)
    }

    /// A history counts on the order of time: a gap between two events is no negative number.
    fn check_order(&self, at: Timestamp, what: &str) -> Result<(), Failure> {
        match self.last_event() {
            Some(last) if at < last => {
                let (at, early) = (at.0, last.secs_since(at));
                let message = format!(
                    "{what} at {at} is {early} s earlier than the last event; sort them by time; if the clock was set \
                     back, wait until it has caught up, or begin anew with foretap_forget()"
                );
                Err(Failure::new(Status::OutOfOrder, message))
            }
            _ => Ok(()),
        }
    }

    fn app(&mut self, name: &str) -> Result<AppId, Failure> {
        if let Some(app) = self.vocabulary.id(name) {
            return Ok(app);
        }
        let most_apps = self.of_bundle.len() + MAX_NEW_APPS;
        if self.vocabulary.len() >= most_apps {
            let message = format!(
                "`{name}` would be app {}, one too many; are these the names of apps, always the same?",
                most_apps + 1
            );
            return Err(Failure::new(Status::TooManyApps, message));
        }
        Ok(self.vocabulary.intern(name))
    }
}

/// Refuses more bytes than a bundle has.
pub fn check_size(bytes: u64) -> Result<(), Failure> {
    if bytes <= MAX_BUNDLE_BYTES as u64 {
        return Ok(());
    }
    Err(no_bundle(format!("{bytes} bytes, where a bundle has at most {MAX_BUNDLE_BYTES}; name a bundle")))
}

/// Refuses what is no file: a device, say, may have no end. That there is nothing, its reader says;
/// otherwise the file has so many bytes.
fn check_is_file(file: &Path, what: &str) -> Result<Option<u64>, String> {
    match std::fs::metadata(file) {
        Ok(found) if !found.is_file() => Err(format!("{}: this is no file; name {what}", file.display())),
        found => Ok(found.ok().map(|found| found.len())),
    }
}

/// Whether C has room for an app's name.
fn fits(name: &str) -> bool {
    name.len() < FORETAP_APP_BYTES && !name.contains('\0')
}

/// Of the draws of exploration: another one on each phone.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn no_person(error: Error) -> Failure {
    let status = if error.kind() == ErrorKind::Io { Status::Io } else { Status::Person };
    Failure::new(status, error.to_string())
}

fn invalid(error: Error) -> Failure {
    Failure::invalid(error.to_string())
}

fn no_bundle(message: String) -> Failure {
    Failure::new(Status::Bundle, message)
}
