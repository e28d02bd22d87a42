//! What a handle holds: one user's history, and who answers from it. Safe Rust: pointers end at the border.

use std::path::Path;

use foretap::bundle::Bundle;
use foretap::context::Task;
use foretap::data::{AppId, Event, Timestamp, UserId, Vocabulary};
use foretap::predict::{Prediction, Predictor as _, Scratch};
use foretap::router::{Answer, Person, Router, Routing, SuggestionSettings};

use crate::border::Failure;
use crate::event::{CheckedEvent, What, moment};
use crate::types::{FORETAP_APP_BYTES, Status};

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
    pub(crate) router: Router,
    /// Begins with the bundle's apps. The experts were made for these: what comes later is unknown to them, and distinguished
    /// by how it was used alone.
    vocabulary: Vocabulary,
    most_apps: usize,
    person: Person,
    last_event: Option<Timestamp>,
    scratch: Scratch,
    answer: Answer,
}

impl Session {
    /// A session with the bundle in `file`.
    pub fn load(file: &Path) -> Result<Self, Failure> {
        // What is no file, such as a device, may have no end. That there is nothing, `Bundle` says.
        if let Ok(found) = std::fs::metadata(file) {
            if !found.is_file() {
                return Err(no_bundle(format!("{}: this is no file; name a bundle", file.display())));
            }
            check_size(found.len())?;
        }
        Self::new(&Bundle::load(file)?)
    }

    /// A session with the bundle in `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Failure> {
        Self::new(&Bundle::from_bytes(bytes)?)
    }

    fn new(bundle: &Bundle) -> Result<Self, Failure> {
        let vocabulary = bundle.vocabulary();
        let fits = |name: &str| name.len() < FORETAP_APP_BYTES && !name.contains('\0');
        if let Some(name) = vocabulary.names().iter().find(|name| !fits(name)) {
            return Err(no_bundle(format!(
                "C has no room for the app name `{name}`; make the bundle without it"
            )));
        }
        let router = bundle.router(&vocabulary, Routing::default())?;
        Ok(Self {
            task: bundle.parts().task,
            scratch: router.new_scratch(),
            router,
            most_apps: vocabulary.len() + MAX_NEW_APPS,
            vocabulary,
            person: Person::new(bundle.favourites(), SuggestionSettings::default(), 0)?,
            last_event: None,
            answer: Answer::default(),
        })
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
        self.last_event = Some(at);
        Ok(())
    }

    /// Computes what the next question will ask of the events so far.
    pub fn prefill(&mut self) {
        if let Some(now) = self.last_event {
            self.router.prefill(&self.person.history().context_at(now, self.task), &mut self.scratch);
        }
    }

    /// Ranks the apps that may be opened after `now_utc_secs`.
    pub fn ask(&mut self, now_utc_secs: i64) -> Result<(), Failure> {
        let now = moment(now_utc_secs)?;
        self.check_order(now, "a question")?;
        self.person.ask(&self.router, self.task, now, &mut self.scratch, &mut self.answer);
        Ok(())
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
        match self.last_event {
            Some(last) if at < last => {
                let (at, early) = (at.0, last.secs_since(at));
                let message = format!(
                    "{what} at {at} is {early} s earlier than the last event; sort them by time, and if the clock was set \
                     back, open the bundle anew"
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
        if self.vocabulary.len() == self.most_apps {
            let message = format!(
                "`{name}` would be app {}, one too many; are these the names of apps, always the same?",
                self.most_apps + 1
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

fn no_bundle(message: String) -> Failure {
    Failure::new(Status::Bundle, message)
}
