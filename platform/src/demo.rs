//! The circle on simulated people, in a folder that is removed afterwards.
//!
//! People live by a law that the bundle which ships has not seen. Their first weeks are sent; a model is trained on the lake
//! and compared with the live one on the same later questions; it is approved and live without a restart; then their last
//! day is lived through the door: each unlock is a question, and what was opened is fed back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use foretap::context::{Task, questions};
use foretap::data::simulate::{Law, SimulationConfig, simulate};
use foretap::data::{Event, Log, UserId};
use foretap::{Error, ErrorKind, Result, Silent};
use serde::Serialize;

use crate::client::{Client, phone_events};
use crate::config::Config;
use crate::lake::{TableName, row_count};
use crate::pipeline;
use crate::registry::Registry;
use crate::say;
use crate::serve::{AskRequest, FeedbackRequest};
use crate::up::{Folders, open_lake, up};
use crate::wire::{PhoneEvent, SignalKind};

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

/// Runs the demonstration.
///
/// # Errors
/// A part fails, or the figures cannot be written.
pub fn run(people: usize, days: u32, json: Option<&Path>) -> Result<()> {
    let folder =
        tempfile::tempdir().map_err(|error| Error::new(ErrorKind::Io, format!("no folder: {error}")))?;
    let mut config = Config::default();
    config.data.folder = folder.path().join("foretap-data");
    config.http.listen = "127.0.0.1:0".to_owned();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(ErrorKind::Io, format!("no runtime can be started: {error}")))?;
    let (started, is_started) = std::sync::mpsc::channel::<SocketAddr>();
    let (stop, is_stopped) = tokio::sync::oneshot::channel::<()>();
    let running = runtime.spawn(up(
        config.clone(),
        move |address| {
            let _ = started.send(address);
        },
        async move {
            let _ = is_stopped.await;
        },
    ));
    let address = is_started
        .recv_timeout(Duration::from_secs(60))
        .map_err(|_| Error::new(ErrorKind::Io, "the system did not start: see the messages above"))?;
    let circle = Circle { client: Client::new(&format!("http://{address}")), config, runtime: &runtime };
    let figures = circle.turn(people, days);
    let _ = stop.send(());
    let stopped = runtime.block_on(running);
    let figures = figures?;
    stopped.map_err(|error| Error::new(ErrorKind::Io, error.to_string()))??;
    if let Some(file) = json {
        let bytes = serde_json::to_vec_pretty(&figures)
            .map_err(|error| Error::new(ErrorKind::Data, error.to_string()))?;
        foretap::storage::write_atomically(file, |out| out.write_all(&bytes))?;
    }
    Ok(())
}

struct Circle<'a> {
    client: Client,
    config: Config,
    runtime: &'a tokio::runtime::Runtime,
}

impl Circle<'_> {
    fn turn(&self, people: usize, days: u32) -> Result<Figures> {
        let started = Instant::now();
        let say_at = |text: &str| say(&format!("{:6.1} s  {text}", started.elapsed().as_secs_f64()));
        let simulation = simulate(
            &SimulationConfig { people, days, law: Law::named("responsive")?, ..SimulationConfig::default() },
            &Silent,
        )?;
        let events = phone_events(&simulation.log, &simulation.vocabulary);
        let last_us = events.last().map_or(0, |event| event.at_us);
        let (before, last_day): (Vec<PhoneEvent>, Vec<PhoneEvent>) =
            events.into_iter().partition(|event| event.at_us < last_us - 24 * 3_600_000_000);
        say_at(&format!("{people} people, {days} days: {} events, the last day apart", before.len()));

        let sent = self.client.send(&before, "demo", (2_000, None), |_| {})?;
        self.client.flush()?;
        let status = self.client.status()?;
        say_at(&format!(
            "{} sent, {} in the states of {} people ({} kB in the store)",
            sent.accepted,
            status.applied,
            status.people.unwrap_or_default(),
            status.store_bytes / 1_000
        ));

        let folders = Folders::of(&self.config);
        let registry = Registry::open(&folders.models())?;
        let routing = self.config.answer.routing()?;
        let lake = self.runtime.block_on(open_lake(&self.config))?;
        let snapshot = self.runtime.block_on(lake.tag("demo"))?;
        say_at(&format!(
            "the lake's snapshot {snapshot} is data version `demo`; a model is trained on it .."
        ));
        let trained =
            self.runtime.block_on(pipeline::train(&lake, &registry, Some("demo"), routing, &Silent))?;
        let comparison =
            trained.card.comparison.ok_or_else(|| Error::new(ErrorKind::Data, "nothing was compared"))?;
        say_at(&pipeline::in_words(&comparison));
        if trained.card.passed_gate == Some(true) {
            registry.approve(trained.version, Some(1), "foretap demo", "passed the gate")?;
            self.wait_for(trained.version)?;
            say_at(&format!(
                "version {} passed the gate, was approved, and is live: nothing was restarted",
                trained.version
            ));
        } else {
            say_at(&format!("version {} did not pass the gate: version 1 stays live", trained.version));
        }

        let (asked, hits) = self.live(&last_day, &simulation.log)?;
        self.client.flush()?;
        let status = self.client.status()?;
        let (events, impressions) = self.runtime.block_on(async {
            Ok::<_, Error>((
                row_count(&lake, TableName::Events).await?,
                row_count(&lake, TableName::Impressions).await?,
            ))
        })?;
        let live_hr3 = hits as f64 / asked.max(1) as f64;
        say_at(&format!(
            "the last day through the door: {asked} questions, the app was among the first three at {:.1} % of them",
            100.0 * live_hr3
        ));
        say_at(&format!("{events} events and {impressions} impressions in the lake"));
        Ok(Figures {
            events,
            questions: comparison.questions,
            hr3_before: comparison.before.hr3,
            hr3_after: comparison.after.hr3,
            live_questions: asked,
            live_hr3,
            impressions,
            live: status.model.parse().unwrap_or(0),
            seconds: started.elapsed().as_secs_f64(),
        })
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
    fn live(&self, last_day: &[PhoneEvent], log: &Log) -> Result<(u64, u64)> {
        // Which unlocks are questions, and their answers: as the crate's evaluation has them.
        let mut answers: BTreeMap<(UserId, i64), u32> = BTreeMap::new();
        let people: Vec<&[Event]> = log.users().take(ASKING).collect();
        for person in &people {
            for question in questions(Task::FirstAfterUnlock, person) {
                answers.insert((person[0].user, person[question.asked_at].at.0), question.answer.0);
            }
        }
        let (mut asked, mut hits, mut from) = (0, 0, 0);
        let mut waiting: BTreeMap<UserId, (String, Vec<String>)> = BTreeMap::new();
        for (index, event) in last_day.iter().enumerate() {
            let is_of_asking = people.iter().any(|person| person[0].user == event.user);
            if event.signal == SignalKind::Launch
                && let Some((answer_id, apps)) = waiting.remove(&event.user)
            {
                let opened = event.app.as_deref().map(str::to_owned);
                hits += u64::from(opened.as_ref().is_some_and(|app| apps.contains(app)));
                self.client.feedback(&FeedbackRequest { answer_id, opened })?;
            }
            let at = event.at_us.div_euclid(1_000_000);
            if is_of_asking && event.signal == SignalKind::Unlock && answers.contains_key(&(event.user, at)) {
                let sent = self.client.send(&last_day[from..=index], "demo", (10_000, None), |_| {})?;
                from = index + 1;
                let at = jiff::Timestamp::from_microsecond(event.at_us)
                    .map_err(|error| Error::new(ErrorKind::Data, error.to_string()))?;
                let request = AskRequest {
                    user: event.user.to_string(),
                    at: Some(at.to_string()),
                    apps: Some(3),
                    after: Some(sent.position),
                };
                let answer = self.client.ask(&request)?;
                asked += 1;
                waiting.insert(
                    event.user,
                    (answer.answer_id, answer.apps.into_iter().map(|app| app.app).collect()),
                );
            }
        }
        self.client.send(&last_day[from..], "demo", (2_000, None), |_| {})?;
        Ok((asked, hits))
    }
}
