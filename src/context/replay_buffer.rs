//! The last events of one phone and the history before them: what is needed to ask its past questions again.
//!
//! Features are not kept. They are computed again by [`History`] from the same events, so they are the same to the last bit, and a
//! new feature finds its past. Memory is bounded: an event that no longer fits is folded into the history before it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::history::History;
use super::history::bytes::{read_names, with_names};
use super::history::saved::{Restorer, Saved, Saver, saved};
use crate::data::{AppId, Battery, Event, Network, PlaceId, Signal, Timestamp, UserId, Vocabulary};
use crate::error::Result;
use crate::storage::codec::{Put as _, Reader};

/// The last events of one phone, at most so many, and the [`History`] of all events before them.
#[derive(Debug, Clone)]
pub struct ReplayBuffer {
    start: History,
    kept: KeptEvents,
}

impl ReplayBuffer {
    /// Keeps the last `most` events that come after `start`; at least one.
    pub fn new(start: History, most: usize) -> Self {
        let most = most.clamp(1, Self::MOST);
        Self { start, kept: KeptEvents { most, events: VecDeque::with_capacity(most) } }
    }

    /// No buffer keeps more events.
    // Source: memory: 48 bytes an event.
    pub const MOST: usize = 1 << 20;

    /// Keeps `event`. Where there is no room, the oldest one becomes a part of the history before.
    pub fn push(&mut self, event: &Event) {
        let KeptEvents { most, events } = &mut self.kept;
        if events.len() == *most
            && let Some(oldest) = events.pop_front()
        {
            self.start.observe(&oldest);
        }
        events.push_back(*event);
    }

    /// What happened before the [`events`](Self::events).
    pub fn start(&self) -> &History {
        &self.start
    }

    /// The events kept, in order.
    pub fn events(&self) -> impl ExactSizeIterator<Item = &Event> {
        self.kept.events.iter()
    }

    /// The buffer as bytes, apps by their names in `vocabulary`.
    ///
    /// # Errors
    /// An app that `vocabulary` does not name, or one with a name longer than 65,535 bytes.
    pub fn write(&self, vocabulary: &Vocabulary) -> Result<Vec<u8>> {
        let mut events = Saver::default();
        self.kept.save(&mut events)?;
        let mut bytes = Vec::new();
        for part in [self.start.write(vocabulary)?, with_names(events, VERSION, vocabulary)?] {
            bytes.put_count(part.len())?;
            bytes.extend(part);
        }
        Ok(bytes)
    }

    /// Reads what [`write`](Self::write) wrote. Names that `vocabulary` lacks are added to it; `favourites` are the bundle's.
    ///
    /// # Errors
    /// [`ErrorKind::Model`](crate::ErrorKind::Model): cut off, too long, of another version, or no buffer.
    pub fn read(bytes: &[u8], vocabulary: &mut Vocabulary, favourites: Arc<[AppId]>) -> Result<Self> {
        let mut reader = Reader::new("replay buffer", bytes, NEXT_STEP);
        let count = reader.count(1)?;
        let start = History::read(reader.bytes(count)?, vocabulary, favourites)?;
        let count = reader.count(1)?;
        let mut of_events = Reader::new("replay buffer", reader.bytes(count)?, NEXT_STEP);
        reader.finish()?;
        let version = of_events.u32()?;
        if version != VERSION {
            return Err(of_events.wrong(format!("version {version}, but this build reads {VERSION}")));
        }
        let names = read_names(&mut of_events)?;
        let mut kept: KeptEvents = Restorer::new(of_events, version, names.len()).all()?;
        let ids: Vec<AppId> = names.into_iter().map(|name| vocabulary.intern(name)).collect();
        for event in &mut kept.events {
            event.signal = with_app(event.signal, |app| ids[app.0 as usize]);
        }
        kept.events.reserve_exact(kept.most - kept.events.len());
        Ok(Self { start, kept })
    }
}

const _: () =
    assert!(size_of::<Event>() <= 48, "what `ReplayBuffer::MOST` and `Person::keep_events` say of memory");

/// Of the format.
// Source: units.
const VERSION: u32 = 1;
const NEXT_STEP: &str = "restore an older copy, or begin with an empty buffer";

/// What mostly stays from one event to the next.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Surroundings {
    user: UserId,
    utc_offset_secs: i32,
    place: Option<PlaceId>,
    battery: Battery,
    network: Network,
}

saved!(Surroundings { user, utc_offset_secs, place, battery, network });

impl Surroundings {
    fn of(event: &Event) -> Self {
        let &Event { user, utc_offset_secs, place, battery, network, .. } = event;
        Self { user, utc_offset_secs, place, battery, network }
    }
}

// An event is one byte of the signal's kind and these marks; then the surroundings, where they changed; then the seconds
// since the event before, or the time; then the app.
/// The surroundings changed.
// Source: units.
const CHANGED: u8 = 8;
/// The time is given, not the seconds since the event before.
// Source: units.
const FAR: u8 = 16;

fn save_event(event: &Event, before: &mut Option<(Timestamp, Surroundings)>, to: &mut Saver) -> Result<()> {
    let surroundings = Surroundings::of(event);
    let secs = before.and_then(|(at, _)| u16::try_from(event.at.secs_since(at)).ok());
    let is_changed = before.is_none_or(|(_, before)| before != surroundings);
    let kind = match event.signal {
        Signal::Launch(_) => 0,
        Signal::Close(_) => 1,
        Signal::Notification(_) => 2,
        Signal::Unlock => 3,
        Signal::ScreenOn => 4,
        Signal::ScreenOff => 5,
    };
    to.bytes.put_u8(kind | if is_changed { CHANGED } else { 0 } | if secs.is_none() { FAR } else { 0 });
    if is_changed {
        surroundings.save(to)?;
    }
    match secs {
        Some(secs) => to.bytes.put_u16(secs),
        None => event.at.save(to)?,
    }
    *before = Some((event.at, surroundings));
    event.signal.app().map_or(Ok(()), |app| app.save(to))
}

/// The events of a buffer, and the most that it keeps. As restored, apps are the positions of their names.
#[derive(Debug, Clone)]
struct KeptEvents {
    most: usize,
    events: VecDeque<Event>,
}

impl Saved for KeptEvents {
    fn save(&self, to: &mut Saver) -> Result<()> {
        to.count(self.most)?;
        to.count(self.events.len())?;
        let mut before = None;
        self.events.iter().try_for_each(|event| save_event(event, &mut before, to))
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self> {
        let most = from.field("most", usize::restore)?;
        if !(1..=ReplayBuffer::MOST).contains(&most) {
            return Err(from.wrong("a buffer of no such size"));
        }
        let mut before: Option<(Timestamp, Surroundings)> = None;
        let mut event = |from: &mut Restorer<'_>| {
            let header = u8::restore(from)?;
            let surroundings = match before {
                Some((_, before)) if header & CHANGED == 0 => before,
                None if header & CHANGED == 0 => return Err(from.wrong("nothing says whose event it is")),
                _ => from.field("surroundings", Surroundings::restore)?,
            };
            let at = match before {
                Some((before, _)) if header & FAR == 0 => {
                    Timestamp(before.0.saturating_add(i64::from(u16::restore(from)?)))
                }
                None if header & FAR == 0 => return Err(from.wrong("nothing says when it was")),
                _ => from.field("at", Timestamp::restore)?,
            };
            let signal = match header & !(CHANGED | FAR) {
                0 => Signal::Launch(AppId::restore(from)?),
                1 => Signal::Close(AppId::restore(from)?),
                2 => Signal::Notification(AppId::restore(from)?),
                3 => Signal::Unlock,
                4 => Signal::ScreenOn,
                5 => Signal::ScreenOff,
                _ => return Err(from.wrong("a signal of no kind")),
            };
            before = Some((at, surroundings));
            let Surroundings { user, utc_offset_secs, place, battery, network } = surroundings;
            Ok(Event { user, at, utc_offset_secs, signal, place, battery, network })
        };
        let events = from.field("events", |from| {
            let count = from.count(most)?;
            (0..count).map(|_| event(from)).collect()
        })?;
        Ok(Self { most, events })
    }
}

fn with_app(signal: Signal, id: impl Fn(AppId) -> AppId) -> Signal {
    match signal {
        Signal::Launch(app) => Signal::Launch(id(app)),
        Signal::Close(app) => Signal::Close(id(app)),
        Signal::Notification(app) => Signal::Notification(id(app)),
        other => other,
    }
}
