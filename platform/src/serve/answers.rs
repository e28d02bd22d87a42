//! A question and its answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use foretap::data::{Timestamp, Vocabulary};
use foretap::router::{Answer, Person, Route, SuggestionSettings};
use foretap::{Error, ErrorKind};
use moka::sync::Cache;
use recloser::{AsyncRecloser, Recloser};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Models;
use super::admission::{Admission, Overloaded, Priority};
use super::question::{PredictRequest, Question, Questions};
use crate::config::AnswerConfig;
use crate::ingest::{IngestStatus, now_us};
use crate::lake::Impression;
use crate::store::People;
use crate::wire::{self, Border};

/// How long the parts of an answer took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stages {
    /// Waiting for the events of `after`, and for its turn.
    pub queue: Duration,
    /// Reading the person's row, where it was not in memory, and folding in what is newer.
    pub state: Duration,
    /// Features and model.
    pub model: Duration,
    /// Everything.
    pub total: Duration,
}

/// What is opened next, most probable first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PredictResponse {
    /// Names this answer in its feedback.
    pub answer_id: String,
    /// The version that answered.
    pub model: String,
    /// Which expert answered: `trees`, `transformer` or `both`.
    pub route: String,
    /// Whether anything is known of this user; if not, the answer is for anybody.
    pub known: bool,
    /// Whether the events of `after` were not known yet when it was answered: a commit took longer than the answer waits.
    pub behind: bool,
    /// Whether the person could not be read, or not in time: the answer is for anybody.
    #[serde(default)]
    pub degraded: bool,
    /// The apps.
    pub apps: Vec<AppProbability>,
    /// The probability that one of them is opened.
    pub confidence: f64,
    /// Whether it is lower than the settings ask for: better show nothing.
    pub abstains: bool,
}

/// An app of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AppProbability {
    /// Its name.
    pub app: String,
    /// The probability that it is opened next.
    pub probability: f64,
}

/// `POST /v1/feedback`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedbackRequest {
    /// Of the answer.
    pub answer_id: String,
    /// What was opened; none where nothing was.
    pub opened: Option<String>,
}

/// Answers that wait for feedback, at most, and for how long.
const WAITING: u64 = 100_000;
const WAITING_FOR: Duration = Duration::from_secs(3_600);
/// How long an answer waits for events that were just sent.
const WAITING_FOR_EVENTS: Duration = Duration::from_secs(1);

/// While so many of so many reads fail, the store is left alone for a while, but for some that try it.
const FAILING_SHARE: f32 = 0.5;
const READS_JUDGED: usize = 20;
const READS_TRIED: usize = 5;
const LEFT_ALONE: Duration = Duration::from_secs(2);

/// Answers questions, and remembers the answers until their feedback comes.
pub struct Answers {
    models: Arc<Models>,
    people: Arc<People>,
    ingest: Arc<IngestStatus>,
    config: AnswerConfig,
    border: Border,
    waiting: Cache<String, Arc<Impression>>,
    admission: Admission,
    breaker: AsyncRecloser,
}

/// Why a person could not be read.
enum Unread {
    /// It took longer than the settings allow.
    Late,
    /// The store, or the row.
    Failed(Error),
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// The request is at fault: whoever sent it gets the reason.
    Request(Error),
    /// We are: operators find the reason in the log.
    Server(Error),
    /// There are more questions than can be answered.
    Overloaded,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Server(error)
    }
}

pub(super) fn wrong(field: &str, message: String, next_step: &str) -> Failure {
    Failure::Request(Error::new(ErrorKind::Data, message).field(field).next_step(next_step))
}

impl Answers {
    /// Answers by the live model, from people's states.
    pub fn new(
        models: Arc<Models>,
        people: Arc<People>,
        ingest: Arc<IngestStatus>,
        (config, border): (AnswerConfig, Border),
    ) -> Self {
        let waiting = Cache::builder().max_capacity(WAITING).time_to_live(WAITING_FOR).build();
        let admission = Admission::of(&config);
        let breaker = Recloser::custom()
            .error_rate(FAILING_SHARE)
            .closed_len(READS_JUDGED)
            .half_open_len(READS_TRIED)
            .open_wait(LEFT_ALONE)
            .build();
        let breaker = AsyncRecloser::from(breaker);
        Self { models, people, ingest, config, border, waiting, admission, breaker }
    }

    /// How many questions are worked on.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// The models.
    pub fn models(&self) -> &Arc<Models> {
        &self.models
    }

    /// What is opened next.
    ///
    /// # Errors
    /// A field is impossible, there are too many questions, the person's row is damaged, or the model gives what is no
    /// probability.
    pub async fn predict(
        &self,
        request: &PredictRequest,
        priority: Priority,
    ) -> Result<(PredictResponse, Stages), Failure> {
        self.answer(&self.questions().json(request)?, priority).await
    }

    /// How questions are checked.
    pub(super) fn questions(&self) -> Questions<'_> {
        Questions { border: &self.border, apps: self.config.apps, now_us: now_us() }
    }

    /// The same of a question that was read already.
    pub(super) async fn answer(
        &self,
        question: &Question,
        priority: Priority,
    ) -> Result<(PredictResponse, Stages), Failure> {
        let started = Instant::now();
        let Question { user, asked_at_us, count, within, .. } = *question;
        let behind = match question.after {
            None => false,
            Some(position) => !self.ingest.has_taken(position, WAITING_FOR_EVENTS.min(within)).await,
        };
        let left = within.saturating_sub(started.elapsed());
        let _place = self.admission.enter(priority, left).await.map_err(|Overloaded| Failure::Overloaded)?;
        let entered = Instant::now();
        let live = self.models.live();
        let now = Timestamp(asked_at_us.div_euclid(1_000_000));
        let answer = |person: &Person, vocabulary: &Vocabulary, at: Timestamp| {
            let mut answer = Answer::default();
            let context = person.history().context_at(at, live.task());
            let personalization = Some(person.personalization());
            live.with_scratch(|router, scratch| {
                router.answer(&context, personalization, scratch, &mut answer)
            });
            let apps = answer.first(count).iter().map(|candidate| AppProbability {
                app: vocabulary.name(candidate.app).to_owned(),
                probability: candidate.probability,
            });
            // An empty sum is -0, which becomes 0 here.
            (apps.collect::<Vec<_>>(), answer.confidence(count) + 0.0, answer.route)
        };
        let visit = |person: &Person, vocabulary: &Vocabulary, newest_us: Option<i64>| {
            let newest = Timestamp(newest_us.map_or(i64::MIN, |newest| newest.div_euclid(1_000_000)));
            if question.is_dated && newest > now {
                let message = "before the newest event of this user".to_owned();
                return Err(wrong("at", message, "ask about a later time, or leave it out for now"));
            }
            // A phone's clock may be ahead of ours: its now is then at least when its newest event happened.
            Ok(answer(person, vocabulary, now.max(newest)))
        };
        let mut asked = None;
        let visit = |person: &Person, vocabulary: &Vocabulary, newest_us: Option<i64>| {
            asked = Some(Instant::now());
            visit(person, vocabulary, newest_us)
        };
        let model = (&*live.bundle, &live.name);
        let left = within.saturating_sub(started.elapsed());
        let read = self.in_time(left, self.people.with_current(user, model, &question.events, visit)).await?;
        let degraded = read.is_none();
        let found = read.flatten().transpose()?;
        let asked = asked.unwrap_or_else(Instant::now);
        let known = found.is_some();
        let (apps, confidence, route) = match found {
            Some(found) => found,
            None => {
                let mut nobody =
                    Person::new(live.bundle.favourites(), SuggestionSettings::default(), user.0)?;
                let mut vocabulary = live.bundle.vocabulary();
                question.events.iter().for_each(|event| nobody.observe(&event.to_event(&mut vocabulary)));
                answer(&nobody, &vocabulary, now)
            }
        };
        let modelled = asked.elapsed();
        // JSON has no other numbers, and whoever shows an answer must be able to compare.
        if !(confidence.is_finite() && apps.iter().all(|app| app.probability.is_finite())) {
            metrics::counter!("foretap_answers_not_finite_total").increment(1);
            let error = Error::new(ErrorKind::Model, "the model gave a probability that is no number");
            return Err(error.next_step("make another version live").into());
        }
        let answer_id = uuid::Uuid::now_v7().to_string();
        let impression = Impression {
            answer_id: answer_id.clone(),
            user: user.to_string(),
            asked_at_us,
            model: live.name.to_string(),
            apps: apps.iter().map(|app| app.app.clone()).collect(),
            probabilities: apps.iter().map(|app| app.probability).collect(),
            confidence,
            opened: None,
            opened_at_us: None,
        };
        self.waiting.insert(answer_id.clone(), Arc::new(impression));
        let route = match route {
            Route::Trees => "trees",
            Route::Deep => "transformer",
            Route::Both => "both",
        };
        let response = PredictResponse {
            answer_id,
            model: live.name.to_string(),
            route: route.to_owned(),
            known,
            behind,
            degraded,
            abstains: apps.is_empty() || confidence < self.config.least_probability,
            apps,
            confidence,
        };
        let stages = Stages {
            queue: entered - started,
            state: asked - entered,
            model: modelled,
            total: started.elapsed(),
        };
        Ok((response, stages))
    }

    /// What a read of the store gives, if it gives it in time; `None` where it does not, or the store fails or has just failed
    /// often. A person whose row is damaged is an error: another answer would hide it.
    async fn in_time<T>(
        &self,
        left: Duration,
        read: impl Future<Output = foretap::Result<T>>,
    ) -> foretap::Result<Option<T>> {
        let own = Duration::from_millis(self.config.state_ms);
        let limited = async {
            match tokio::time::timeout(left.min(own), read).await {
                Ok(done) => done.map(Some).map_err(Unread::Failed),
                // A caller who waits for less than we do says nothing of the store.
                Err(_) if left < own => Ok(None),
                Err(_) => Err(Unread::Late),
            }
        };
        let is_store_s = |unread: &Unread| match unread {
            Unread::Late => true,
            Unread::Failed(error) => error.kind() == ErrorKind::Io,
        };
        let reason = match self.breaker.call_with(is_store_s, limited).await {
            Ok(Some(done)) => return Ok(Some(done)),
            Ok(None) => "deadline",
            Err(recloser::Error::Inner(Unread::Late)) => "late",
            Err(recloser::Error::Inner(Unread::Failed(error))) if error.kind() != ErrorKind::Io => {
                return Err(error);
            }
            Err(recloser::Error::Inner(Unread::Failed(error))) => {
                tracing::warn!(%error, "a person cannot be read: the answer is for anybody");
                "failed"
            }
            Err(recloser::Error::Rejected) => "left alone",
        };
        metrics::counter!("foretap_answers_degraded_total", "reason" => reason).increment(1);
        Ok(None)
    }

    /// The impression that an answer became by its feedback.
    ///
    /// # Errors
    /// No answer of this id waits for feedback, or the app's name is none.
    pub fn feedback(&self, request: &FeedbackRequest) -> Result<Impression, Failure> {
        if request.opened.as_ref().is_some_and(|app| app.is_empty() || app.len() > wire::MAX_APP_BYTES) {
            return Err(wrong(
                "opened",
                "no app's name".to_owned(),
                "name the app as in events, or send null",
            ));
        }
        let Some(answer) = self.waiting.remove(&request.answer_id) else {
            let message = "no answer of this id waits for feedback".to_owned();
            return Err(wrong("answer_id", message, "send feedback once, within an hour of the answer"));
        };
        Ok(Impression {
            opened: request.opened.clone(),
            opened_at_us: Some(now_us()),
            ..Impression::clone(&answer)
        })
    }

    /// Takes a feedback back whose impression could not be kept: it may be sent again.
    pub fn keep(&self, impression: Impression) {
        let waits = Impression { opened: None, opened_at_us: None, ..impression };
        self.waiting.insert(waits.answer_id.clone(), Arc::new(waits));
    }
}
