//! A question and its answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use foretap::data::{Timestamp, UserId, Vocabulary};
use foretap::router::{Answer, Person, Route, SuggestionSettings};
use foretap::{Error, ErrorKind};
use moka::sync::Cache;
use recloser::{AsyncRecloser, Recloser};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Models;
use super::admission::{Admission, Overloaded, Priority};
use crate::config::AnswerConfig;
use crate::ingest::{IngestStatus, now_us};
use crate::lake::Impression;
use crate::store::People;
use crate::wire::{self, Border, PhoneEvent, SignalKind, proto};

/// `POST /v1/predict`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PredictRequest {
    /// The keyed hash of the user's id.
    #[schema(pattern = "^u[0-9a-f]{16}$", example = "u0123456789abcdef")]
    pub user: String,
    /// When it is asked, as RFC 3339; now without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub at: Option<String>,
    /// How many apps, 1 to 20; without it as the settings say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 20)]
    pub apps: Option<usize>,
    /// The `position` that `POST /v1/events` answered: the answer waits until those events are known to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// What the phone says of the moment; without it what its newest event said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<PredictContext>,
    /// The phone's last events, written as in batches, which the server may not have yet: for this answer alone. Those that it
    /// has count once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<wire::JsonEvent>, max_items = 256)]
    pub events: Vec<Box<RawValue>>,
    /// Milliseconds that whoever asks waits. What is not known by then is left out: the answer may be for anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 60000)]
    pub within_ms: Option<u64>,
}

/// What a phone says of a moment: an unlock, as events have it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PredictContext {
    /// Local time minus UTC.
    #[serde(default)]
    #[schema(minimum = -43200, maximum = 50400)]
    pub utc_offset_secs: i32,
    /// 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 100)]
    pub battery_percent: Option<u32>,
    /// Whether the battery is charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charging: Option<bool>,
    /// `offline`, `wifi` or `cellular`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// A cell, as events have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

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
/// Apps in one answer, at most, and events in one question.
const MAX_APPS: usize = 20;
const MAX_EVENTS: usize = 256;
/// Milliseconds that a caller may say to wait, at most; and where it says nothing.
const MAX_WITHIN_MS: u64 = 60_000;

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

fn wrong(field: &str, message: String, next_step: &str) -> Failure {
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
        let started = Instant::now();
        let user: UserId = request.user.parse().map_err(|()| {
            wrong("user", "no keyed hash".to_owned(), "send `u` and 16 hexadecimal digits, as in events")
        })?;
        let count = request.apps.unwrap_or(self.config.apps);
        if !(1..=MAX_APPS).contains(&count) {
            return Err(wrong(
                "apps",
                format!("{count}, where an answer has 1 to {MAX_APPS}"),
                "ask for a number in between",
            ));
        }
        let asked_at_us = match &request.at {
            None => now_us(),
            Some(text) => {
                let at: jiff::Timestamp = text.parse().map_err(|_| {
                    let message = "no RFC 3339 time with its offset".to_owned();
                    wrong("at", message, "write it as 2026-11-30T08:15:00+01:00, or leave it out for now")
                })?;
                at.as_microsecond()
            }
        };
        let within_ms = request.within_ms.unwrap_or(MAX_WITHIN_MS);
        if !(1..=MAX_WITHIN_MS).contains(&within_ms) {
            let message = format!("{within_ms}, where 1 to {MAX_WITHIN_MS} milliseconds can be waited");
            return Err(wrong("within_ms", message, "give a number in between, or leave it out"));
        }
        let within = Duration::from_millis(within_ms);
        let further = self.further(user, asked_at_us, request)?;
        let behind = match request.after {
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
            (apps.collect::<Vec<_>>(), answer.confidence(count), answer.route)
        };
        let visit = |person: &Person, vocabulary: &Vocabulary, newest_us: Option<i64>| {
            let newest = Timestamp(newest_us.map_or(i64::MIN, |newest| newest.div_euclid(1_000_000)));
            if request.at.is_some() && newest > now {
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
        let read = self.in_time(left, self.people.with_current(user, model, &further, visit)).await?;
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
                further.iter().for_each(|event| nobody.observe(&event.to_event(&mut vocabulary)));
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

    /// What a question says beyond what the state knows, in the order of time.
    fn further(
        &self,
        user: UserId,
        asked_at_us: i64,
        request: &PredictRequest,
    ) -> Result<Vec<PhoneEvent>, Failure> {
        if request.events.len() > MAX_EVENTS {
            let message =
                format!("{} events, where a question has at most {MAX_EVENTS}", request.events.len());
            return Err(wrong("events", message, "send them as a batch to /v1/events"));
        }
        let now_us = now_us();
        let mut further = Vec::with_capacity(request.events.len() + 1);
        for (index, event) in request.events.iter().enumerate() {
            let event = wire::decode_event(event.get(), &self.border, now_us).map_err(|refusal| {
                let field = format!("events[{index}].{}", refusal.field);
                wrong(&field, refusal.reason, "write it as in a batch")
            })?;
            if event.user != user {
                let message = "another user's".to_owned();
                return Err(wrong(&format!("events[{index}].user"), message, "send events of `user` alone"));
            }
            if event.at_us > asked_at_us {
                let message = "after the moment that is asked about".to_owned();
                return Err(wrong(&format!("events[{index}].at"), message, "leave out what comes later"));
            }
            further.push(event);
        }
        if let Some(context) = &request.context {
            further.push(self.moment(user, asked_at_us, context)?);
        }
        further.sort_by_key(PhoneEvent::key);
        further.dedup_by_key(|event| event.key());
        Ok(further)
    }

    /// The moment that is asked about, as the unlock that it is.
    fn moment(
        &self,
        user: UserId,
        asked_at_us: i64,
        context: &PredictContext,
    ) -> Result<PhoneEvent, Failure> {
        let network = wire::network_named(context.network.as_deref()).map_err(|refusal| {
            wrong("context.network", refusal.reason, "leave it out where it is not known")
        })?;
        let event = proto::Event {
            user: user.to_string(),
            at_us: asked_at_us,
            utc_offset_secs: context.utc_offset_secs,
            signal: SignalKind::Unlock as i32,
            app: String::new(),
            // Behind what happened in the same moment.
            number: wire::MAX_NUMBER,
            place: context.place.clone().unwrap_or_default(),
            battery_percent: context.battery_percent,
            charging: context.charging,
            network: network as i32,
        };
        self.border.check(&event, i64::MAX).map_err(|refusal| {
            wrong(&format!("context.{}", refusal.field), refusal.reason, "write it as in events")
        })
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
