//! One user's past, folded in event by event in constant memory, and the only maker of a [`Context`](crate::context::Context).
//!
//! ```
//! use foretap::context::{History, Task};
//! use foretap::data::{AppId, Event, Signal, Timestamp, UserId};
//!
//! let mut history = History::default();
//! for (secs, signal) in [(0, Signal::Launch(AppId(7))), (60, Signal::Launch(AppId(3))), (99, Signal::Unlock)] {
//!     history.observe(&Event::new(UserId(1), Timestamp(secs), signal));
//! }
//! let context = history.context_at(Timestamp(99), Task::FirstAfterUnlock);
//! assert_eq!(context.candidates(), [AppId(3), AppId(7)], "most recent first");
//! ```

pub(in crate::context) mod app_use;
pub(in crate::context) mod bytes;
pub(in crate::context) mod counts;
pub(in crate::context) mod ridge;
pub(in crate::context) mod saved;
pub(in crate::context) mod sequence_model;
pub(in crate::context) mod token;

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::context::task::Task;
use crate::data::{AppId, Battery, Event, Network, PlaceId, Signal, Timestamp, UserId};
pub use app_use::AppUse;
use app_use::{Counters, Departure, MAX_PLACES, charging_class};
use counts::{HOUR_SECS, Pairs, Recent, Slot};
use ridge::{Line, away};
use sequence_model::SequenceModel;
use token::{MAX_WINDOW, Token, octave};

/// Apps that one history remembers; beyond them the one used longest ago is forgotten.
// Source: memory.
pub const MAX_APPS: usize = 4096;

/// Most apps that are offered to a user without a history.
// Source: memory: of a bundle, which holds their names.
const MAX_FAVOURITES: usize = 50;

/// The first of `apps`, most launched first, as the candidates of a user without a history.
pub(crate) fn favourites(apps: impl Iterator<Item = AppId>) -> Arc<[AppId]> {
    apps.take(MAX_FAVOURITES).collect()
}

/// Apps seen to close so long before the screen went dark were in front until then: logs round to seconds.
// Source: units.
const ROUNDING_SECS: f32 = 1.0;

/// An app that was in use at most so long ago was so a moment ago.
// Source: paper. A session ends after five quiet minutes (Aliannejadi and others, LSApp, 2021); measured
// (docs/constants.md).
const MOMENT_SECS: i64 = 300;

/// Classes of the time that the phone was not in use: eightfold steps from 8 seconds to 3 days.
// Source: by hand, not measured: one column of the transformer's question.
pub(in crate::context) const ABSENCES: usize = 7;

/// One user's past. [`observe`](History::observe) events in time order; ask with
/// [`context_at`](History::context_at).
#[derive(Debug, Clone, Default)]
pub struct History {
    pub(in crate::context) user: Option<UserId>,
    /// The candidates as long as there are no others, without the app that was opened first.
    pub(in crate::context) favourites: Arc<[AppId]>,
    first_opened: Option<AppId>,
    slots: FxHashMap<AppId, Slot>,
    pub(in crate::context) uses: Vec<AppUse>,
    pub(in crate::context) totals: Counters,

    /// Opened apps, most recent first: the candidates. Slots of the same apps beside them.
    pub(in crate::context) candidates: Vec<AppId>,
    recency: Vec<Slot>,
    frequency: Vec<Slot>,
    unlock_recency: Vec<Slot>,
    /// What followed two apps in a row: the next different app; the first app of the next unlock.
    pub(in crate::context) pairs: Pairs,
    pub(in crate::context) unlock_pairs: Pairs,
    // Source of 64, 10 and, below, 20: measured (docs/constants.md).
    pub(in crate::context) recent_launches: Recent<(Slot, Timestamp), 64>,
    pub(in crate::context) recent_unlock_opens: Recent<Slot, 10>,
    /// Whole sequences of apps, and what followed them.
    pub(in crate::context) sequences: SequenceModel,
    /// The last events as the transformer reads them.
    pub(in crate::context) tokens: Recent<Token, MAX_WINDOW>,
    pub(in crate::context) tokens_read: u64,
    /// Whether each of the last unlocks reopened the app that was used last.
    pub(in crate::context) recent_resumes: Recent<bool, 20>,
    /// By how the phone was left and for how long: unlocks that reopened the app used last, and all.
    pub(in crate::context) resumes: [[[f32; 2]; ABSENCES]; Departure::KINDS],
    /// Notifications that an unlock found unseen and answered first, and all found.
    pub(in crate::context) answered_notifications: [f32; 2],
    /// Unlocks that found no unseen notification: whether they reopened the app used last, by the time [`away`].
    pub(in crate::context) resume_line: Line,
    places: Vec<PlaceId>,
    /// By task: questions whose answer had never been opened before, and all questions.
    answers: [[u32; 2]; 2],

    // The present.
    utc_offset_secs: i32,
    pub(in crate::context) place: Option<usize>,
    pub(in crate::context) battery: Battery,
    pub(in crate::context) network: Network,
    last_event: Option<Timestamp>,
    /// The last event at an earlier second than `last_event`.
    pub(in crate::context) event_before: Option<Timestamp>,
    foreground: Option<(Slot, Timestamp)>,
    pub(in crate::context) last_use: Option<Timestamp>,
    pub(in crate::context) last_notification: Option<Timestamp>,
    /// Apps with a notification that came while the phone lay unused.
    pub(in crate::context) notified: Vec<Slot>,
    epoch: u32,

    // The screen, and the sessions between unlock and dark.
    unlocked: Option<Timestamp>,
    pub(in crate::context) awaits_first_app: bool,
    pub(in crate::context) screen_off: Option<Timestamp>,
    /// When the screen lit up, while it is lit.
    pub(in crate::context) lit: Option<Timestamp>,
    /// When the screen went dark (or was locked) after it was last in use.
    pub(in crate::context) use_ended: Option<Timestamp>,
    /// For how long no app had been in the foreground when the screen went dark after the last launch.
    pub(in crate::context) idle_before_dark_secs: Option<f32>,
    pub(in crate::context) glances: u32,
    pub(in crate::context) session: u32,
    session_launches: u32,
    pub(in crate::context) last_session_launches: u32,
    pub(in crate::context) unlocks_without_app: u32,
}

impl History {
    /// An empty history. Before its user has opened anything, `favourites` are the candidates.
    pub fn new(favourites: Arc<[AppId]>) -> Self {
        Self { favourites, ..Self::default() }
    }

    /// Folds one event in. Events come in time order.
    ///
    /// A clock may be set back. What is observed next still happens next, whatever its time: since what lies ahead of the
    /// clock 0 seconds have passed, never fewer; counts that fade stand still; and an app opened ahead of it was opened
    /// today. A clock that is set ahead is a pause of that length, in which counts fade. So is the step with which a clock
    /// that was wrongly in the past is set right, for the counts that were added to meanwhile: all shares of them are odd
    /// for a while, though none is infinite. Times may reach from `i64::MIN` to `i64::MAX`.
    pub fn observe(&mut self, event: &Event) {
        let now = event.at;
        if self.last_event != Some(now) {
            self.event_before = self.last_event;
        }
        self.last_event = Some(now);
        self.user = Some(event.user);
        self.utc_offset_secs = event.utc_offset_secs;
        self.battery = event.battery;
        self.network = event.network;
        self.place = event.place.map(|place| self.place_slot(place));
        self.read_token(event.signal, now);
        match event.signal {
            Signal::Launch(app) => self.launch(app, now),
            Signal::Close(app) => self.close(app, now),
            Signal::Notification(app) => self.notification(app, now),
            Signal::Unlock => self.unlock(now),
            Signal::ScreenOn => {
                self.end_use(now);
                self.glances += 1;
                self.lit = Some(now);
            }
            Signal::ScreenOff => {
                self.end_use(now);
                self.screen_off = Some(now);
                self.lit = None;
            }
        }
    }

    /// When the last event was observed.
    pub fn last_event(&self) -> Option<Timestamp> {
        self.last_event
    }

    /// The app used last.
    pub fn last_app(&self) -> Option<AppId> {
        Some(self.uses[self.nth_last(0)?.index()].app)
    }

    /// The user's use of `app`, if it ever launched or notified.
    pub fn app_use(&self, app: AppId) -> Option<&AppUse> {
        self.uses.get(self.slot(app)?.index())
    }

    pub(in crate::context) fn slot(&self, app: AppId) -> Option<Slot> {
        self.slots.get(&app).copied()
    }

    /// The app used last, the one before it, and so on.
    pub(in crate::context) fn nth_last(&self, n: usize) -> Option<Slot> {
        self.recency.get(n).copied()
    }

    /// The app that was first after the last unlock, the one before it, and so on.
    pub(in crate::context) fn nth_last_unlock_open(&self, n: usize) -> Option<Slot> {
        self.unlock_recency.get(n).copied()
    }

    /// Notifications of `app` that came while the phone lay unused.
    pub(in crate::context) fn unseen(&self, app: &AppUse) -> u32 {
        if app.unseen_epoch == self.epoch { app.unseen_notifications } else { 0 }
    }

    /// How the phone was left before an unlock at `now`.
    pub(in crate::context) fn departure(&self, now: Timestamp) -> Departure {
        let unused_secs = self.last_use.map_or(i64::MAX, |last| now.secs_since(last));
        match self.idle_before_dark_secs {
            None => Departure::NotDark,
            Some(..=ROUNDING_SECS) => Departure::InApp,
            Some(_) if unused_secs <= MOMENT_SECS => Departure::AtHome,
            Some(_) => Departure::AtHomeLongAgo,
        }
    }

    /// How long the phone had not been in use before an unlock at `now`.
    pub(in crate::context) fn unused_secs(&self, now: Timestamp) -> i64 {
        self.use_ended.map_or(i64::MAX, |ended| now.secs_since(ended))
    }

    /// The class of the time for which the phone had not been in use before an unlock at `now`.
    pub(in crate::context) fn absence(&self, now: Timestamp) -> usize {
        (octave(self.unused_secs(now)) as usize / 3).min(ABSENCES - 1)
    }

    /// Questions of `task` whose answer had never been opened before, and all of them.
    pub(in crate::context) fn answers(&self, task: Task) -> [u32; 2] {
        self.answers[task as usize]
    }

    /// Hour of the day (0 to 23.99) and day of the week (0 is Monday) on the user's clock.
    pub(in crate::context) fn wall_clock(&self, now: Timestamp) -> (f32, u32) {
        let local_secs = now.0.saturating_add(i64::from(self.utc_offset_secs));
        let hour = local_secs.rem_euclid(86_400) as f32 / HOUR_SECS;
        // 1970-01-01 was a Thursday.
        let weekday = (local_secs.div_euclid(86_400) + 3).rem_euclid(7) as u32;
        (hour, weekday)
    }

    fn launch(&mut self, app: AppId, now: Timestamp) {
        let is_known = self.app_use(app).is_some_and(|used| used.launches() > 0);
        let slot = self.slot_for(app);
        let (hour, weekday) = self.wall_clock(now);
        let hour_of_day = hour as usize % 24;
        let last = self.nth_last(0);
        let before = self.nth_last(1);

        self.sequences.launch(slot, self.awaits_first_app);
        if std::mem::take(&mut self.awaits_first_app) {
            self.answer(Task::FirstAfterUnlock, is_known);
            self.unlock_open(slot, last, before, now, hour);
        }
        if let Some(last) = last.filter(|&last| last != slot) {
            self.answer(Task::NextLaunch, is_known);
            self.uses[last.index()].next.add_one(slot);
            if let Some(before) = before {
                self.pairs.add_one((before, last), slot);
            }
        }
        self.session_launches += 1;
        self.unlocks_without_app = 0;
        self.recent_launches.push((slot, now));

        if self.recency.is_empty() {
            // Favourites answer what the next app is until there is a second one: it is not this one.
            self.first_opened = Some(app);
            self.leave_out_first_opened();
        }
        if !is_known {
            let used = &mut self.uses[slot.index()];
            used.first_launch = now;
            used.recency_rank = self.recency.len() as u32;
            used.frequency_rank = self.frequency.len() as u32;
            self.recency.push(slot);
            self.candidates.push(app);
            self.frequency.push(slot);
        }
        let offset = i64::from(self.utc_offset_secs);
        let day_of = |at: Timestamp| at.0.saturating_add(offset).div_euclid(86_400);
        let day = day_of(now);
        let used = &mut self.uses[slot.index()];
        let is_fresh = used.last_launch().is_none_or(|at| now.secs_since(at) > HOUR_SECS as i64);
        for counters in [&mut self.totals, &mut used.counters] {
            counters.fresh_launches += f32::from(u8::from(is_fresh));
            counters.days += f32::from(u8::from(counters.launches.last.is_none_or(|at| day_of(at) < day)));
            counters.launches.add_one(now, hour_of_day);
            counters.by_day_kind[usize::from(weekday >= 5)] += 1.0;
            if let Some(place) = self.place {
                counters.by_place[place] += 1.0;
            }
            counters.by_network[self.network as usize] += 1.0;
            counters.by_charging[charging_class(self.battery)] += 1.0;
        }
        used.last_session = self.session;
        used.pending_notifications = 0;
        self.move_to_front(slot);
        self.move_up_in_frequency(slot);
        self.foreground = Some((slot, now));
        self.last_use = Some(now);
        self.idle_before_dark_secs = None;
    }

    fn leave_out_first_opened(&mut self) {
        let is_other = |favourite: &AppId| Some(*favourite) != self.first_opened;
        self.favourites = self.favourites.iter().copied().filter(is_other).collect();
    }

    /// The first app after an unlock was `slot`; `last` and `before` it were used last.
    fn unlock_open(
        &mut self,
        slot: Slot,
        last: Option<Slot>,
        before: Option<Slot>,
        now: Timestamp,
        hour: f32,
    ) {
        let is_quiet = self.notified.is_empty();
        for notified in std::mem::take(&mut self.notified) {
            let used = &mut self.uses[notified.index()];
            used.notified_unlocks += 1;
            used.answered_notifications += u32::from(notified == slot);
            self.answered_notifications[0] += f32::from(u8::from(notified == slot));
            self.answered_notifications[1] += 1.0;
        }
        if let Some(last) = last {
            self.recent_resumes.push(last == slot);
            let unlocked = self.unlocked.unwrap_or(now);
            if is_quiet {
                self.resume_line.add(away(self.unused_secs(unlocked)), last == slot);
            }
            let departure = self.departure(unlocked);
            let [resumed, all] = &mut self.resumes[departure as usize][self.absence(unlocked)];
            *resumed += f32::from(u8::from(last == slot));
            *all += 1.0;
            let used = &mut self.uses[last.index()];
            used.next_unlock.add_one(slot);
            used.next_unlock_by_departure[departure as usize].add_one(slot);
            if let Some(before) = before {
                self.unlock_pairs.add_one((before, last), slot);
            }
        }
        if let Some(previous) = self.nth_last_unlock_open(0) {
            self.uses[previous.index()].after_unlock_open.add_one(slot);
        }
        self.recent_unlock_opens.push(slot);
        let hour_of_day = hour as usize % 24;
        for counters in [&mut self.totals, &mut self.uses[slot.index()].counters] {
            counters.unlock_opens.add_one(now, hour_of_day);
            if last != Some(slot) {
                counters.choices.add_one(now, hour_of_day);
            }
        }
        let position = self.unlock_recency.iter().position(|&s| s == slot).unwrap_or_else(|| {
            self.unlock_recency.push(slot);
            self.unlock_recency.len() - 1
        });
        self.unlock_recency[..=position].rotate_right(1);
        for (rank, &moved) in self.unlock_recency[..=position].iter().enumerate() {
            self.uses[moved.index()].unlock_recency_rank = rank as u32;
        }
    }

    fn close(&mut self, app: AppId, now: Timestamp) {
        let Some((slot, opened)) = self.foreground else { return };
        if self.slot(app) != Some(slot) {
            return;
        }
        self.foreground = None;
        self.last_use = Some(now);
        let secs = now.secs_since(opened).max(0) as f32;
        let used = &mut self.uses[slot.index()];
        used.stays += 1;
        used.stay_secs += f64::from(secs);
        used.last_stay_secs = Some(secs);
    }

    fn notification(&mut self, app: AppId, now: Timestamp) {
        let slot = self.slot_for(app);
        let epoch = self.epoch;
        self.last_notification = Some(now);
        let used = &mut self.uses[slot.index()];
        used.last_notification = Some(now);
        used.pending_notifications += 1;
        if used.unseen_epoch != epoch {
            used.unseen_epoch = epoch;
            used.unseen_notifications = 0;
        }
        used.unseen_notifications += 1;
        if self.unlocked.is_none() && !self.notified.contains(&slot) {
            self.notified.push(slot);
        }
    }

    fn unlock(&mut self, now: Timestamp) {
        if self.unlocked.is_none() {
            self.last_session_launches = self.session_launches;
            self.session += u32::from(self.session_launches > 0);
            self.session_launches = 0;
        }
        // The rule of `context::questions`: an unlock that opens nothing was no question.
        self.unlocks_without_app += u32::from(self.awaits_first_app);
        self.unlocked = Some(now);
        self.awaits_first_app = true;
        self.foreground = None;
    }

    /// The screen went dark or was locked.
    fn end_use(&mut self, now: Timestamp) {
        if self.unlocked.take().is_some() {
            // What was posted until now has been seen.
            self.epoch += 1;
            self.notified.clear();
            self.use_ended = Some(now);
            // An unlock that opened nothing leaves the phone as it was.
            if self.session_launches > 0 {
                let in_use_until = if self.foreground.is_some() { Some(now) } else { self.last_use };
                self.idle_before_dark_secs = in_use_until.map(|until| now.secs_since(until).max(0) as f32);
            }
            self.glances = 0;
            self.unlocks_without_app += u32::from(self.awaits_first_app);
        }
        self.awaits_first_app = false;
        self.foreground = None;
    }

    fn answer(&mut self, task: Task, is_known: bool) {
        let [unforeseen, answered] = &mut self.answers[task as usize];
        *unforeseen += u32::from(!is_known);
        *answered += 1;
    }

    fn move_to_front(&mut self, slot: Slot) {
        let position = self.uses[slot.index()].recency_rank as usize;
        self.recency[..=position].rotate_right(1);
        self.candidates[..=position].rotate_right(1);
        for (rank, &moved) in self.recency[..=position].iter().enumerate() {
            self.uses[moved.index()].recency_rank = rank as u32;
        }
    }

    fn move_up_in_frequency(&mut self, slot: Slot) {
        let launches = self.uses[slot.index()].launches();
        let mut rank = self.uses[slot.index()].frequency_rank as usize;
        while rank > 0 && self.uses[self.frequency[rank - 1].index()].launches() < launches {
            self.frequency.swap(rank - 1, rank);
            self.uses[self.frequency[rank].index()].frequency_rank = rank as u32;
            rank -= 1;
        }
        self.uses[slot.index()].frequency_rank = rank as u32;
    }

    fn slot_for(&mut self, app: AppId) -> Slot {
        if let Some(slot) = self.slot(app) {
            return slot;
        }
        let fresh = AppUse { app, unseen_epoch: self.epoch, ..AppUse::default() };
        let slot = if self.uses.len() < MAX_APPS {
            self.uses.push(fresh);
            Slot::at(self.uses.len() - 1)
        } else {
            let stalest = self.forget_stalest();
            self.uses[stalest.index()] = fresh;
            stalest
        };
        self.slots.insert(app, slot);
        slot
    }

    /// Forgets the app whose last sign of life is the oldest, and frees its slot.
    fn forget_stalest(&mut self) -> Slot {
        let seen = |slot: &Slot| self.uses[slot.index()].last_sign();
        let current = self.nth_last(0);
        let others = (0..self.uses.len()).map(Slot::at).filter(|slot| Some(*slot) != current);
        let stalest = others.min_by_key(seen).unwrap_or(Slot::at(0));

        let app = self.uses[stalest.index()].app;
        self.slots.remove(&app);
        self.candidates.retain(|candidate| *candidate != app);
        for list in [&mut self.recency, &mut self.frequency, &mut self.unlock_recency, &mut self.notified] {
            list.retain(|slot| *slot != stalest);
        }
        self.recent_launches.retain(|(slot, _)| *slot != stalest);
        self.recent_unlock_opens.retain(|slot| *slot != stalest);
        self.sequences.forget(stalest);
        self.pairs.forget(stalest);
        self.unlock_pairs.forget(stalest);
        self.uses.iter_mut().flat_map(AppUse::rows_mut).for_each(|row| row.forget(stalest));
        self.note_ranks();
        stalest
    }

    /// Tells every app its places in the lists.
    fn note_ranks(&mut self) {
        for (rank, &slot) in self.recency.iter().enumerate() {
            self.uses[slot.index()].recency_rank = rank as u32;
        }
        for (rank, &slot) in self.frequency.iter().enumerate() {
            self.uses[slot.index()].frequency_rank = rank as u32;
        }
        for (rank, &slot) in self.unlock_recency.iter().enumerate() {
            self.uses[slot.index()].unlock_recency_rank = rank as u32;
        }
    }

    fn place_slot(&mut self, place: PlaceId) -> usize {
        if let Some(slot) = self.places.iter().position(|&known| known == place) {
            return slot;
        }
        if self.places.len() < MAX_PLACES {
            self.places.push(place);
            return self.places.len() - 1;
        }
        let visits = &self.totals.by_place;
        let least = (0..MAX_PLACES).min_by(|&a, &b| visits[a].total_cmp(&visits[b])).unwrap_or(0);
        self.places[least] = place;
        self.totals.by_place[least] = 0.0;
        self.uses.iter_mut().for_each(|used| used.counters.by_place[least] = 0.0);
        least
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    /// The lists and what the apps say of their places in them agree, and all slots are apps.
    fn assert_tables_agree(history: &History) {
        let used = |slot: &Slot| &history.uses[slot.index()];
        assert_eq!(history.validation_error(), None);
        assert!(history.uses.len() <= MAX_APPS);
        assert_eq!(history.slots.len(), history.uses.len());
        for (app, slot) in &history.slots {
            assert_eq!(used(slot).app, *app);
        }
        for (number, list) in
            [&history.recency, &history.frequency, &history.unlock_recency].into_iter().enumerate()
        {
            let rank =
                |used: &AppUse| [used.recency_rank, used.frequency_rank, used.unlock_recency_rank][number];
            assert!(list.iter().enumerate().all(|(position, slot)| rank(used(slot)) as usize == position));
        }
        assert!(history.recency.iter().map(|slot| used(slot).app).eq(history.candidates.iter().copied()));
        assert!(history.notified.iter().all(|slot| history.uses.len() > slot.index()));
    }

    #[test]
    fn lists_and_ranks_agree_before_and_after_apps_are_forgotten() {
        for (apps, events) in [(3, 300), (40, 3_000), (2 * MAX_APPS as u32, 9_000)] {
            let mut random = ChaCha8Rng::seed_from_u64(u64::from(apps));
            let mut history = History::default();
            for number in 0..events {
                let app = AppId(random.random_range(0..apps));
                let signal = match random.random_range(0..10) {
                    0..=5 => Signal::Launch(app),
                    6 => Signal::Close(history.candidates.first().copied().unwrap_or(app)),
                    7 => Signal::Notification(app),
                    8 => Signal::Unlock,
                    _ => Signal::ScreenOff,
                };
                let at = Timestamp(i64::from(number) * 30 - random.random_range(0..100));
                history.observe(&Event::new(UserId(1), at, signal));
                if number % 97 == 0 || number + 1 == events {
                    assert_tables_agree(&history);
                }
            }
        }
    }
}
