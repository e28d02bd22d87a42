//! Golden questions: a made-up person's log, questions asked in it, and what this bundle answered when it was made. Who
//! cannot give the same answers, to the last bit, does not compute what the maker computed.
//!
//! Section `GOLD`:
//!
//! ```text
//! events      count, then of each:  at i64 | utc_offset_secs i32 | signal u8 | app u32 | place text, empty for none
//!                                   | percent u8, 255 for none | charging u8: unknown, no, yes | network u8
//! questions   count, then of each:  events before it u32 | now i64
//!                                   | for each expert of the bundle: scores, count and f32 of each
//! ```

use std::sync::Arc;

use super::expert::Expert;
use crate::context::{Context, History, Task};
use crate::data::{AppId, Battery, Event, Network, PlaceId, Signal, Timestamp, UserId};
use crate::error::Result;
use crate::predict::Predictor;
use crate::storage::codec::{Put as _, Reader};

/// The made-up person.
const NOBODY: UserId = UserId(0);

/// What was asked, and what was answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Golden {
    events: Vec<Event>,
    questions: Vec<GoldenQuestion>,
}

#[derive(Debug, Clone, PartialEq)]
struct GoldenQuestion {
    /// How many of the events come before it.
    after: usize,
    now: Timestamp,
    /// Of each expert, in order: the bits of its scores.
    scores: Vec<Vec<u32>>,
}

/// Whom golden questions are asked.
pub struct GoldenInputs<'a> {
    pub task: Task,
    pub favourites: &'a Arc<[AppId]>,
    pub experts: &'a [(Expert, Arc<dyn Predictor>)],
}

impl Golden {
    /// Asks a made-up person's questions, who uses `apps` apps and one that no vocabulary has.
    pub fn new(asked: &GoldenInputs<'_>, apps: usize) -> Self {
        let events = made_up_log(apps as u32 + 1);
        let unlocks = (0..events.len()).filter(|&index| events[index].signal == Signal::Unlock);
        // The very first, when nothing is known, and then one now and again.
        let questions = unlocks.step_by(9).map(|index| GoldenQuestion {
            after: index + 1,
            now: events[index].at,
            scores: Vec::new(),
        });
        let mut golden = Self { questions: questions.collect(), events };
        golden.questions.insert(0, GoldenQuestion { after: 0, now: Timestamp(0), scores: Vec::new() });
        for (question, scores) in golden.answers(asked).into_iter().enumerate() {
            golden.questions[question].scores = scores;
        }
        golden
    }

    /// How many questions there are.
    pub fn questions(&self) -> usize {
        self.questions.len()
    }

    /// What is wrong with the answers of `asked`; nothing where they are those of old.
    pub fn validation_error(&self, asked: &GoldenInputs<'_>) -> Option<String> {
        for (number, (question, answers)) in self.questions.iter().zip(self.answers(asked)).enumerate() {
            for ((expert, _), (found, old)) in asked.experts.iter().zip(answers.iter().zip(&question.scores))
            {
                let differs = found.iter().zip(old).position(|(found, old)| found != old);
                let differs = differs.or((found.len() != old.len()).then_some(found.len().min(old.len())));
                if let Some(candidate) = differs {
                    let score = |list: &[u32]| list.get(candidate).map(|&bits| f32::from_bits(bits));
                    return Some(format!(
                        "golden question {number}: candidate {candidate} scores {:?} by the {expert}, but {:?} when the \
                         bundle was made",
                        score(found),
                        score(old)
                    ));
                }
            }
        }
        None
    }

    /// By question, then by expert: the bits of its scores.
    fn answers(&self, asked: &GoldenInputs<'_>) -> Vec<Vec<Vec<u32>>> {
        let mut scratches: Vec<_> = asked.experts.iter().map(|(_, expert)| expert.new_scratch()).collect();
        let mut answers = Vec::new();
        self.ask(asked.task, asked.favourites, |context| {
            let of_expert = |((_, expert), scratch): (&(Expert, Arc<dyn Predictor>), _)| {
                let mut scores = vec![0.0; context.candidates().len()];
                expert.score(context, scratch, &mut scores);
                scores.into_iter().map(f32::to_bits).collect()
            };
            answers.push(asked.experts.iter().zip(&mut scratches).map(of_expert).collect());
        });
        answers
    }

    /// Shows `visit` each question as it is asked.
    pub fn ask(&self, task: Task, favourites: &Arc<[AppId]>, mut visit: impl FnMut(&Context<'_>)) {
        let mut history = History::new(Arc::clone(favourites));
        let (mut events, mut folded) = (self.events.iter(), 0);
        for question in &self.questions {
            events.by_ref().take(question.after - folded).for_each(|event| history.observe(event));
            folded = question.after;
            visit(&history.context_at(question.now, task));
        }
    }

    pub fn write(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        bytes.put_count(self.events.len())?;
        for event in &self.events {
            write_event(&mut bytes, event)?;
        }
        bytes.put_count(self.questions.len())?;
        for question in &self.questions {
            bytes.put_count(question.after)?;
            bytes.put_i64(question.now.0);
            for scores in &question.scores {
                bytes.put_count(scores.len())?;
                scores.iter().for_each(|&bits| bytes.put_u32(bits));
            }
        }
        Ok(bytes)
    }

    /// Reads questions to so many `experts`.
    pub fn read(reader: &mut Reader<'_>, experts: usize) -> Result<Self> {
        let count = reader.count(EVENT_BYTES)?;
        let events = (0..count).map(|_| read_event(reader)).collect::<Result<Vec<Event>>>()?;
        if !events.is_sorted_by_key(|event| event.at) {
            return Err(reader.wrong("events that are not in the order of time"));
        }
        let count = reader.count(12 + 4 * experts)?;
        let mut questions: Vec<GoldenQuestion> = Vec::new();
        for _ in 0..count {
            let (after, now) = (reader.u32()? as usize, Timestamp(reader.i64()?));
            if after > events.len() || questions.last().is_some_and(|last| last.after > after) {
                return Err(reader.wrong(format!("a question after event {after}, out of order")));
            }
            let mut scores = Vec::new();
            for _ in 0..experts {
                let candidates = reader.count(4)?;
                scores.push((0..candidates).map(|_| reader.u32()).collect::<Result<Vec<u32>>>()?);
            }
            questions.push(GoldenQuestion { after, now, scores });
        }
        if questions.is_empty() {
            return Err(reader.wrong("no question"));
        }
        Ok(Self { events, questions })
    }
}

/// What an event takes at least.
const EVENT_BYTES: usize = 8 + 4 + 1 + 4 + 2 + 1 + 1 + 1;

fn write_event(bytes: &mut Vec<u8>, event: &Event) -> Result<()> {
    bytes.put_i64(event.at.0);
    bytes.put_i32(event.utc_offset_secs);
    let (signal, app) = match event.signal {
        Signal::Launch(app) => (0, app),
        Signal::Close(app) => (1, app),
        Signal::Notification(app) => (2, app),
        Signal::Unlock => (3, AppId(0)),
        Signal::ScreenOn => (4, AppId(0)),
        Signal::ScreenOff => (5, AppId(0)),
    };
    bytes.put_u8(signal);
    bytes.put_u32(app.0);
    bytes.put_text(&event.place.map(|place| place.to_string()).unwrap_or_default())?;
    bytes.put_u8(event.battery.percent.unwrap_or(u8::MAX));
    bytes.put_u8(event.battery.charging.map_or(0, |charging| 1 + u8::from(charging)));
    bytes.put_u8(event.network as u8);
    Ok(())
}

fn read_event(reader: &mut Reader<'_>) -> Result<Event> {
    let (at, utc_offset_secs) = (Timestamp(reader.i64()?), reader.i32()?);
    let (signal, app) = (reader.u8()?, AppId(reader.u32()?));
    let signal = match signal {
        0 => Signal::Launch(app),
        1 => Signal::Close(app),
        2 => Signal::Notification(app),
        3 => Signal::Unlock,
        4 => Signal::ScreenOn,
        5 => Signal::ScreenOff,
        other => return Err(reader.wrong(format!("{other} is no signal"))),
    };
    let place: Option<PlaceId> = match reader.text()? {
        "" => None,
        text => Some(text.parse().map_err(|()| reader.wrong(format!("`{text}` is no place")))?),
    };
    let percent = Some(reader.u8()?).filter(|&percent| percent <= 100);
    let charging = [None, Some(false), Some(true)];
    let battery = match charging.get(usize::from(reader.u8()?)) {
        Some(&charging) => Battery { percent, charging },
        None => return Err(reader.wrong("a charger that is neither there nor not")),
    };
    let networks = [Network::Unknown, Network::Offline, Network::Wifi, Network::Cellular];
    let network = match networks.get(usize::from(reader.u8()?)) {
        Some(&network) => network,
        None => return Err(reader.wrong("a network of no kind")),
    };
    Ok(Event { user: NOBODY, at, utc_offset_secs, signal, place, battery, network })
}

/// Two weeks of somebody who does not exist: everything that a log can say, drawn by Knuth's linear congruential generator.
fn made_up_log(apps: u32) -> Vec<Event> {
    let mut state = 1_u64;
    let mut below = |limit: u32| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % u64::from(limit.max(1))) as u32
    };
    let places = ["u33db", "u33dc", "u33e1"].map(|place| place.parse().ok());
    // 2 March 2026, a Monday, seven in the morning.
    let mut now = 1_772_434_800;
    let mut events: Vec<Event> = Vec::new();
    for session in 0..70 {
        now += i64::from(below(5 * 3_600)) + 30;
        let battery = Battery {
            percent: Some(below(101) as u8).filter(|_| session % 5 > 0),
            charging: [None, Some(false), Some(true)][below(3) as usize],
        };
        let network =
            [Network::Unknown, Network::Offline, Network::Wifi, Network::Cellular][below(4) as usize];
        let place = if session % 7 == 0 { None } else { places[below(3) as usize] };
        // Few apps make most launches.
        let app = |draw: u32, spread: u32| AppId((draw % spread.max(1)) * (draw % 3).min(1) % apps);
        let mut add = |at: i64, signal: Signal| {
            let event = Event::new(NOBODY, Timestamp(at), signal);
            events.push(Event { utc_offset_secs: 3_600, place, battery, network, ..event });
        };
        if session % 3 == 0 {
            add(now - 20, Signal::Notification(app(below(1_000), apps)));
        }
        add(now, Signal::ScreenOn);
        add(now + 2, Signal::Unlock);
        now += 3;
        for _ in 0..below(4) {
            let opened = app(below(1_000), if session % 4 == 0 { apps } else { 6 });
            add(now, Signal::Launch(opened));
            now += i64::from(below(300)) + 1;
            if session % 2 == 0 {
                add(now, Signal::Close(opened));
            }
        }
        now += i64::from(below(40));
        add(now, Signal::ScreenOff);
    }
    events
}
