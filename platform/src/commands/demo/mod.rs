//! The circle on simulated people, in a folder that is removed afterwards.
//!
//! People live by a law that the bundle which ships has not seen. Their first weeks are sent; a model is trained on the lake
//! and compared with the live one on the same later questions; it is approved and live without a restart; then their last
//! day is lived through the door: each unlock is a question, and what was opened is fed back. What happened is a page in the end.

mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use foretap::context::{Task, questions};
use foretap::data::simulate::{Law, SimulationConfig, simulate};
use foretap::data::{Event, Log, UserId};
use foretap::experiment::BundleComparison;
use foretap::{Error, ErrorKind, Progress as _, Result};
use foretap_platform::client::{Client, phone_events};
use foretap_platform::config::Config;
use foretap_platform::lake::{Lake, TableName, row_count};
use foretap_platform::registry::Registry;
use foretap_platform::serve::{AppProbability, FeedbackRequest, PredictRequest};
use foretap_platform::up::{Folders, open_lake, up};
use foretap_platform::wire::{PhoneEvent, SignalKind};
use foretap_platform::{pipeline, say};
use serde::Serialize;

use super::runtime;
use crate::bar::Bar;

/// People of the last day whose questions are asked through the door, at most.
const ASKING: usize = 20;

/// What `--json` writes.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Figures {
    /// Events that were sent and kept.
    events: u64,
    /// Questions that both models were compared on.
    questions: usize,
    /// HR@3 of the bundle that ships on them, and of the one that was trained.
    hr3_before: f64,
    hr3_after: f64,
    /// Questions asked through the door on the last day, and HR@3 by the model that was live then.
    live_questions: u64,
    live_hr3: f64,
    /// Rows of impressions in the lake.
    impressions: u64,
    /// The version that is live in the end.
    live: u32,
    seconds: f64,
}

/// What happened, for the page.
struct Story {
    people: usize,
    days: u32,
    /// Seconds since the start, and what was done then.
    steps: Vec<(f64, String)>,
    comparison: BundleComparison,
    lived: Vec<Lived>,
    figures: Figures,
}

/// One question of the last day, its answer, and what was opened.
struct Lived {
    user: UserId,
    /// By the person's own clock.
    at: String,
    apps: Vec<AppProbability>,
    confidence: f64,
    route: String,
    model: String,
    opened: Option<String>,
}

impl Lived {
    fn is_hit(&self) -> bool {
        self.opened.as_ref().is_some_and(|opened| self.apps.iter().any(|app| app.app == *opened))
    }
}

/// Runs the demonstration, and writes its page and, where wanted, its figures.
///
/// # Errors
/// A part fails, or a file cannot be written.
pub fn demo(people: usize, days: u32, page: &Path, json: Option<&Path>) -> Result<()> {
    let folder =
        tempfile::tempdir().map_err(|error| Error::new(ErrorKind::Io, format!("no folder: {error}")))?;
    let mut config = Config::default();
    config.data.folder = folder.path().join("foretap-data");
    config.http.listen = "127.0.0.1:0".to_owned();
    let runtime = runtime()?;
    let (started, is_started) = std::sync::mpsc::channel::<String>();
    let (stop, is_stopped) = tokio::sync::oneshot::channel::<()>();
    let running = runtime.spawn(up(
        config.clone(),
        move |url| {
            let _ = started.send(url.to_owned());
        },
        async move {
            let _ = is_stopped.await;
        },
    ));
    let url = is_started
        .recv_timeout(Duration::from_secs(60))
        .map_err(|_| Error::new(ErrorKind::Io, "the system did not start: see the messages above"))?;
    let client = Client::new(&url);
    let mut circle = Circle {
        client,
        config,
        runtime: &runtime,
        bar: Bar::new(),
        started: Instant::now(),
        steps: Vec::new(),
    };
    let story = circle.turn(people, days);
    let _ = stop.send(());
    let stopped = runtime.block_on(running);
    let story = story?;
    stopped.map_err(|error| Error::new(ErrorKind::Io, error.to_string()))??;
    let written = page::page(&story);
    foretap::storage::write_atomically(page, |out| out.write_all(written.as_bytes()))?;
    say(&format!("what happened, question by question: {}", page.display()));
    if let Some(file) = json {
        let bytes = serde_json::to_vec_pretty(&story.figures)
            .map_err(|error| Error::new(ErrorKind::Data, error.to_string()))?;
        foretap::storage::write_atomically(file, |out| out.write_all(&bytes))?;
    }
    Ok(())
}

struct Circle<'a> {
    client: Client,
    config: Config,
    runtime: &'a tokio::runtime::Runtime,
    bar: Bar,
    started: Instant,
    steps: Vec<(f64, String)>,
}

impl Circle<'_> {
    /// A step is done.
    fn step(&mut self, text: String) {
        let seconds = self.started.elapsed().as_secs_f64();
        say(&format!("{seconds:6.1} s  {text}"));
        self.steps.push((seconds, text));
    }

    fn send(&self, what: &str, events: &[PhoneEvent]) -> Result<u64> {
        self.bar.start(what, events.len() as u64);
        let sent = self.client.send(events, "demo", (2_000, None), |events| self.bar.advance(events));
        self.bar.finish();
        Ok(sent?.accepted)
    }

    fn turn(&mut self, people: usize, days: u32) -> Result<Story> {
        let law = Law::named("responsive")?;
        let config = SimulationConfig { people, days, law, ..SimulationConfig::default() };
        let simulation = simulate(&config, &self.bar)?;
        let events = phone_events(&simulation.log, &simulation.vocabulary);
        let last_us = events.last().map_or(0, |event| event.at_us);
        let (before, last_day): (Vec<PhoneEvent>, Vec<PhoneEvent>) =
            events.into_iter().partition(|event| event.at_us < last_us - 24 * 3_600_000_000);
        self.step(format!("{people} people, {days} days: {} events, the last day apart", before.len()));

        let accepted = self.send("sending", &before)?;
        self.client.flush()?;
        let status = self.client.status()?;
        self.step(format!(
            "{accepted} sent, {} in the states of {} people ({} kB in the store)",
            status.applied,
            status.people.unwrap_or_default(),
            status.store_bytes / 1_000
        ));

        let lake = self.runtime.block_on(open_lake(&self.config))?;
        let snapshot = self.runtime.block_on(lake.tag("demo", ""))?;
        self.step(format!(
            "the lake's snapshot {snapshot} is data version `demo`; a model is trained on it .."
        ));
        let comparison = self.train(&lake)?;

        let lived = self.live(&last_day, &simulation.log)?;
        self.client.flush()?;
        let status = self.client.status()?;
        let (events, impressions) = self.runtime.block_on(async {
            Ok::<_, Error>((
                row_count(&lake, TableName::Events).await?,
                row_count(&lake, TableName::Impressions).await?,
            ))
        })?;
        let live_questions = lived.len() as u64;
        let hits = lived.iter().filter(|lived| lived.is_hit()).count();
        let live_hr3 = hits as f64 / live_questions.max(1) as f64;
        self.step(format!(
            "the last day through the door: {live_questions} questions, the app was among the first three at {:.1} % of them",
            100.0 * live_hr3
        ));
        self.step(format!("{events} events and {impressions} impressions in the lake"));
        let figures = Figures {
            events,
            questions: comparison.questions,
            hr3_before: comparison.before.hr3,
            hr3_after: comparison.after.hr3,
            live_questions,
            live_hr3,
            impressions,
            live: status.model.parse().unwrap_or(0),
            seconds: self.started.elapsed().as_secs_f64(),
        };
        Ok(Story { people, days, steps: std::mem::take(&mut self.steps), comparison, lived, figures })
    }

    /// Trains on the data version, and makes what passes the gate live.
    fn train(&mut self, lake: &Lake) -> Result<BundleComparison> {
        let registry = Registry::open(&Folders::of(&self.config).models())?;
        let routing = self.config.answer.routing()?;
        let trained =
            self.runtime.block_on(pipeline::train(lake, &registry, Some("demo"), routing, &self.bar))?;
        let comparison =
            trained.card.comparison.ok_or_else(|| Error::new(ErrorKind::Data, "nothing was compared"))?;
        self.step(format!("trained, and compared with version 1\n{}", pipeline::in_words(&comparison)));
        let version = trained.version;
        if trained.card.passed_gate == Some(true) {
            registry.approve(version, Some(1), "foretap demo", "passed the gate")?;
            self.wait_for(version)?;
            self.step(format!(
                "version {version} passed the gate, was approved, and is live: nothing was restarted"
            ));
        } else {
            self.step(format!("version {version} did not pass the gate: version 1 stays live"));
        }
        Ok(comparison)
    }

    /// Until the door answers by this version.
    fn wait_for(&self, version: u32) -> Result<()> {
        for _ in 0..100 {
            if self.client.status()?.model == version.to_string() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(Error::new(ErrorKind::Io, format!("version {version} was approved and did not become live")))
    }

    /// Lives the last day of some people: events are sent, each unlock is asked about, what was opened is fed back.
    fn live(&self, last_day: &[PhoneEvent], log: &Log) -> Result<Vec<Lived>> {
        // Which unlocks are questions: as the crate's evaluation has them.
        let people: Vec<&[Event]> = log.users().take(ASKING).collect();
        let mut asked_at: BTreeSet<(UserId, i64)> = BTreeSet::new();
        for person in &people {
            let questions = questions(Task::FirstAfterUnlock, person);
            asked_at
                .extend(questions.iter().map(|question| (person[0].user, person[question.asked_at].at.0)));
        }
        self.bar.start("living the last day", last_day.len() as u64);
        let (mut lived, mut hits, mut from) = (Vec::new(), 0, 0);
        let mut waiting: BTreeMap<UserId, (String, Lived)> = BTreeMap::new();
        for (index, event) in last_day.iter().enumerate() {
            self.bar.advance(1);
            if event.signal == SignalKind::Launch
                && let Some((answer_id, mut answered)) = waiting.remove(&event.user)
            {
                answered.opened = event.app.as_deref().map(str::to_owned);
                hits += usize::from(answered.is_hit());
                self.client.feedback(&FeedbackRequest { answer_id, opened: answered.opened.clone() })?;
                lived.push(answered);
                self.bar.note(&format!("living the last day: {hits} of {} answers were right", lived.len()));
            }
            let at = event.at_us.div_euclid(1_000_000);
            if event.signal == SignalKind::Unlock && asked_at.contains(&(event.user, at)) {
                let sent = self.client.send(&last_day[from..=index], "demo", (10_000, None), |_| {})?;
                from = index + 1;
                let (answer_id, answered) = self.ask(event, sent.position)?;
                waiting.insert(event.user, (answer_id, answered));
            }
        }
        self.bar.finish();
        self.client.send(&last_day[from..], "demo", (2_000, None), |_| {})?;
        Ok(lived)
    }

    /// Asks at an unlock, once the events up to it are known.
    fn ask(&self, unlock: &PhoneEvent, after: u64) -> Result<(String, Lived)> {
        let at = jiff::Timestamp::from_microsecond(unlock.at_us)
            .map_err(|error| Error::new(ErrorKind::Data, error.to_string()))?;
        let answer = self.client.predict(&PredictRequest {
            user: unlock.user.to_string(),
            at: Some(at.to_string()),
            apps: Some(3),
            after: Some(after),
            ..PredictRequest::default()
        })?;
        let zone = jiff::tz::Offset::from_seconds(unlock.utc_offset_secs).unwrap_or(jiff::tz::Offset::UTC);
        let answered = Lived {
            user: unlock.user,
            at: zone.to_datetime(at).strftime("%a %H:%M").to_string(),
            apps: answer.apps,
            confidence: answer.confidence,
            route: answer.route,
            model: answer.model,
            opened: None,
        };
        Ok((answer.answer_id, answered))
    }
}
