//! A history as bytes, and back to the last bit: what it will answer from then on is the same.
//!
//! ```text
//! field                          bytes
//! version                        4
//! names of apps                  4, then 2 and the text of each   as the history meets them, each once
//! the fields of a history        as told                          `saved!` lists them; apps are positions among the names
//! ```
//!
//! An app's id belongs to a vocabulary, and the next bundle may bring another. Its name does not.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::app_use::{AppUse, MAX_PLACES};
use super::counts::Slot;
use super::saved::{Gone, Restorer, Saved as _, Saver, Secs, Since, Slots, UpTo, saved};
use super::token::MAX_WINDOW;
use super::{History, MAX_APPS};
use crate::data::{AppId, Vocabulary};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::codec::{Put as _, Reader};

/// The version that this build writes: it changes with any field. The second brought launch attribution, the third
/// preferences and triggers. Of these the fourth keeps the line of resumed apps, and its tokens have other classes of gaps.
// Source: units.
const VERSION: u32 = 4;

/// The oldest version that it reads.
// Source: units.
const OLDEST: u32 = 1;

/// Apps that have slots, that are only remembered as events, and the one opened first.
const MAX_NAMES: usize = MAX_APPS + MAX_WINDOW + 1;

/// What to do about bytes that are no history.
const NEXT_STEP: &str = "read an older copy of it, or begin an empty history";

saved!(History {
    // First, because the rest speaks of its slots.
    uses as Slots<MAX_APPS>,
    user,
    first_opened,
    totals,
    recency as UpTo<MAX_APPS>,
    frequency as UpTo<MAX_APPS>,
    unlock_recency as UpTo<MAX_APPS>,
    pairs,
    unlock_pairs,
    recent_launches,
    recent_unlock_opens,
    sequences,
    tokens,
    tokens_read,
    recent_resumes,
    resumes,
    answered_notifications,
    resume_line as Since<2>,
    // Spontaneous launches, and how notifications were answered.
    #[after(Gone<2, 3, [f32; 29]>)]
    places as UpTo<MAX_PLACES>,
    answers,
    utc_offset_secs,
    place,
    battery,
    network,
    last_event,
    event_before,
    foreground,
    last_use,
    last_notification,
    notified as UpTo<MAX_APPS>,
    epoch,
    unlocked,
    awaits_first_app,
    screen_off,
    lit,
    use_ended,
    idle_before_dark_secs as Secs,
    glances,
    session,
    session_launches,
    last_session_launches,
    unlocks_without_app,
} but {
    // The bundle's, and what is told from the rest.
    favourites,
    slots,
    candidates,
});

impl History {
    /// The history as bytes, for [`read`](Self::read): equal histories give equal bytes. `vocabulary` is the one whose ids
    /// the events had. The favourites stay out: they are the bundle's.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use foretap::context::{History, Task};
    /// use foretap::data::{Event, Signal, Timestamp, UserId, Vocabulary};
    ///
    /// let mut apps = Vocabulary::from_names(["Mail", "Maps"]);
    /// let mut history = History::default();
    /// for (secs, signal) in [(0, Signal::Unlock), (1, Signal::Launch(apps.intern("Maps"))), (9, Signal::Unlock)] {
    ///     history.observe(&Event::new(UserId(1), Timestamp(secs), signal));
    /// }
    /// let bytes = history.write(&apps)?;
    ///
    /// // Later, with a bundle that numbers apps otherwise.
    /// let mut apps = Vocabulary::from_names(["Chat"]);
    /// let restored = History::read(&bytes, &mut apps, Arc::default())?;
    /// let context = restored.context_at(Timestamp(9), Task::FirstAfterUnlock);
    /// assert_eq!(context.candidates(), [apps.intern("Maps")]);
    /// # Ok::<(), foretap::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Data`]: the vocabulary lacks an app of this history. [`ErrorKind::Model`]: a name is longer than 65,535
    /// bytes.
    pub fn write(&self, vocabulary: &Vocabulary) -> Result<Vec<u8>> {
        let mut fields = Saver::default();
        self.save(&mut fields)?;
        with_names(fields, VERSION, vocabulary)
    }

    /// Reads what [`write`](Self::write) wrote, in this version or an earlier one, and checks all of it: whatever the bytes
    /// are, what is allocated is in proportion to them, and what is accepted does no harm later.
    ///
    /// Ids are those of `vocabulary`, which gets the names that it lacks; after an error it is as it was. Until the user
    /// has opened two apps, candidates are the `favourites` of the bundle in use now, without the app opened first.
    ///
    /// # Errors
    /// [`ErrorKind::Model`]: the bytes are cut off, too many, of another version, or no history.
    pub fn read(bytes: &[u8], vocabulary: &mut Vocabulary, favourites: Arc<[AppId]>) -> Result<Self> {
        let mut reader = Reader::new("history", bytes, NEXT_STEP);
        let version = reader.u32()?;
        if version > VERSION {
            reader.advise("update foretap");
        }
        if !(OLDEST..=VERSION).contains(&version) {
            let message = format!("version {version}, but this build reads {OLDEST} to {VERSION}");
            return Err(reader.wrong(message));
        }
        let names = read_names(&mut reader)?;
        let mut history: History = Restorer::new(reader, version, names.len()).all()?;
        if let Some((field, validation_error)) = history.validation_error() {
            return Err(Error::new(ErrorKind::Model, validation_error)
                .field(format!("history.{field}"))
                .next_step(NEXT_STEP));
        }
        let ids: Vec<AppId> = names.into_iter().map(|name| vocabulary.intern(name)).collect();
        history.rename(|position| ids[position.0 as usize]);
        history.favourites = favourites;
        history.leave_out_first_opened();
        Ok(history)
    }

    /// Gives every app its id, and tells the rest from it.
    fn rename(&mut self, id: impl Fn(AppId) -> AppId) {
        self.uses.iter_mut().for_each(|used| used.app = id(used.app));
        self.tokens.iter_mut().for_each(|token| token.app = token.app.map(&id));
        self.first_opened = self.first_opened.map(&id);
        self.slots = self.uses.iter().enumerate().map(|(slot, used)| (used.app, Slot::at(slot))).collect();
        self.candidates = self.recency.iter().map(|slot| self.uses[slot.index()].app).collect();
        self.note_ranks();
    }

    /// The first field, if any, that contradicts others, and how: each by itself has been checked.
    pub(super) fn validation_error(&self) -> Option<(&'static str, &'static str)> {
        let opened = self.slots_with(|used| used.launches());
        let opened_first = self.slots_with(|used| used.counters.unlock_opens.count);
        let launches = |slot: &Slot| self.uses[slot.index()].launches();
        let all_launches: u64 = self.uses.iter().map(|used| u64::from(used.launches())).sum();
        let foreground = self.foreground.map(|(slot, _)| slot);
        let is_right = [
            ("uses", are_distinct(self.uses.iter().map(|used| used.app)), "an app with two slots"),
            (
                "totals",
                all_launches <= self.totals.launches.count.into(),
                "fewer launches than the apps have",
            ),
            ("recency", are_all(&self.recency, &opened), "other apps than were opened"),
            ("frequency", are_all(&self.frequency, &opened), "other apps than were opened"),
            ("frequency", self.frequency.is_sorted_by_key(|slot| Reverse(launches(slot))), "not by launches"),
            (
                "unlock_recency",
                are_all(&self.unlock_recency, &opened_first),
                "other apps than were opened first",
            ),
            (
                "tokens",
                self.tokens.len() as u64 == self.tokens_read.min(MAX_WINDOW as u64),
                "too few or too many",
            ),
            ("places", are_distinct(self.places.iter()), "a place twice"),
            ("place", self.place.is_none_or(|place| place < self.places.len()), "none of the places"),
            (
                "answers",
                self.answers.iter().all(|[unforeseen, all]| unforeseen <= all),
                "more than questions",
            ),
            ("foreground", foreground.is_none() || foreground == self.nth_last(0), "not the app used last"),
            ("notified", are_distinct(self.notified.iter()), "an app twice"),
        ];
        is_right
            .into_iter()
            .find(|(_, is_right, _)| !is_right)
            .map(|(field, _, validation_error)| (field, validation_error))
    }

    fn slots_with(&self, count: impl Fn(&AppUse) -> u32) -> BTreeSet<Slot> {
        (0..self.uses.len()).filter(|&slot| count(&self.uses[slot]) > 0).map(Slot::at).collect()
    }
}

/// The version, the names of the apps in `fields`, and `fields`.
pub(in crate::context) fn with_names(
    fields: Saver,
    version: u32,
    vocabulary: &Vocabulary,
) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(fields.bytes.len() + 32 * fields.apps.len());
    bytes.put_u32(version);
    bytes.put_count(fields.apps.len())?;
    for app in &fields.apps {
        let name = vocabulary.names().get(app.0 as usize).ok_or_else(|| {
            Error::new(ErrorKind::Data, format!("app {} is not in this vocabulary", app.0))
                .field("history")
                .next_step("give the vocabulary that the events were read with")
        })?;
        bytes.put_text(name)?;
    }
    bytes.put(&fields.bytes);
    Ok(bytes)
}

pub(in crate::context) fn read_names<'a>(reader: &mut Reader<'a>) -> Result<Vec<&'a str>> {
    let count = reader.count(2)?;
    if count > MAX_NAMES {
        return Err(reader.wrong(format!("{count} names of apps, but {MAX_NAMES} are the most")));
    }
    let names = (0..count).map(|_| reader.text()).collect::<Result<Vec<&str>>>()?;
    if !are_distinct(names.iter()) {
        return Err(reader.wrong("two apps of one name"));
    }
    Ok(names)
}

fn are_distinct<T: Ord>(values: impl ExactSizeIterator<Item = T>) -> bool {
    let count = values.len();
    values.collect::<BTreeSet<T>>().len() == count
}

/// Whether `list` has each of `all` once, in whatever order.
fn are_all(list: &[Slot], all: &BTreeSet<Slot>) -> bool {
    list.len() == all.len() && list.iter().copied().collect::<BTreeSet<Slot>>() == *all
}
