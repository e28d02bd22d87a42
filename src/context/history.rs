//! One user's past, folded in event by event in constant memory, and the only maker of a [`Context`].
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

use std::collections::HashMap;
use std::sync::Arc;

use super::counts::{Decayed, Pairs, Recent, Row, Slot};
use super::task::Task;
use crate::data::{AppId, Battery, Event, Network, PlaceId, Signal, Timestamp, UserId};

/// Apps that one history remembers; beyond them the one used longest ago is forgotten.
pub const MAX_APPS: usize = 4096;
/// Places that one history tells apart; beyond them the one visited least is forgotten.
pub(super) const MAX_PLACES: usize = 16;
/// Kinds of pauses between two uses: see [`History::pause`].
pub(super) const PAUSES: usize = 3;
/// Half-life of the habits of each hour of the day.
pub(super) const HABIT_SECS: f32 = 5.0 * DAY_SECS;
pub(super) const HOUR_SECS: f32 = 3_600.0;
pub(super) const DAY_SECS: f32 = 24.0 * HOUR_SECS;
pub(super) const WEEK_SECS: f32 = 7.0 * DAY_SECS;

/// What one user's history knows of one app.
#[derive(Debug, Clone, Default)]
pub struct AppUse {
    pub(super) app: AppId,
    pub(super) launches: u32,
    pub(super) first_launch: Timestamp,
    pub(super) last_launch: Timestamp,
    pub(super) recency_rank: u32,
    pub(super) frequency_rank: u32,
    pub(super) launches_hour: Decayed,
    pub(super) launches_day: Decayed,
    pub(super) launches_week: Decayed,
    pub(super) by_hour: [f32; 24],
    /// Weekdays, weekends.
    pub(super) by_day_kind: [f32; 2],
    pub(super) by_place: [f32; MAX_PLACES],

    /// Openings as the first app after an unlock.
    pub(super) unlock_opens: u32,
    pub(super) last_unlock_open: Option<Timestamp>,
    pub(super) unlock_recency_rank: u32,
    pub(super) unlock_opens_day: Decayed,
    pub(super) unlock_opens_week: Decayed,
    pub(super) unlock_by_hour: [f32; 24],
    pub(super) habit_by_hour: [Decayed; 24],
    pub(super) chosen_by_hour: [f32; 24],
    pub(super) chosen_week: Decayed,
    pub(super) chosen_day: Decayed,
    pub(super) last_chosen: Option<Timestamp>,
    pub(super) last_in_session: u32,

    /// Times in the foreground of which the end is known, and their total length.
    pub(super) stays: u32,
    pub(super) stay_secs: f64,
    pub(super) last_stay_secs: Option<f32>,

    pub(super) last_notification: Option<Timestamp>,
    /// Posted since the app was last opened.
    pub(super) pending_notifications: u32,
    /// Posted since the screen last went dark after use; valid in `unseen_epoch` only.
    pub(super) unseen_notifications: u32,
    pub(super) unseen_epoch: u32,
    /// Unlocks that found an unseen notification of this app, and those that then opened it first.
    pub(super) notified_unlocks: u32,
    pub(super) answered_notifications: u32,

    /// What followed this app: the next different app; the first app of the next unlock; the first app of the
    /// unlock after the one that this app was first in.
    pub(super) next: Row,
    pub(super) next_unlock: Row,
    /// The same, apart by how long the phone had lain unused: see [`pause_kind`].
    pub(super) next_unlock_after_pause: [Row; PAUSES],
    pub(super) after_unlock_open: Row,
}

impl AppUse {
    /// The app.
    pub fn app(&self) -> AppId {
        self.app
    }

    /// How often it came to the foreground.
    pub fn launches(&self) -> u32 {
        self.launches
    }

    /// 0 for the app used last, 1 for the one before it, and so on.
    pub fn recency_rank(&self) -> u32 {
        self.recency_rank
    }

    /// When it last came to the foreground.
    pub fn last_launch(&self) -> Timestamp {
        self.last_launch
    }
}

/// One user's past. [`observe`](History::observe) events in time order; ask with
/// [`context_at`](History::context_at).
#[derive(Debug, Clone, Default)]
pub struct History {
    user: Option<UserId>,
    favourites: Arc<[AppId]>,
    slots: HashMap<AppId, Slot>,
    pub(super) uses: Vec<AppUse>,

    /// Opened apps, most recent first: the candidates. Slots of the same apps beside them.
    candidates: Vec<AppId>,
    recency: Vec<Slot>,
    frequency: Vec<Slot>,
    unlock_recency: Vec<Slot>,

    // Totals over all apps of the counters in `AppUse`.
    pub(super) launches: u32,
    pub(super) launches_hour: Decayed,
    pub(super) launches_day: Decayed,
    pub(super) launches_week: Decayed,
    pub(super) by_hour: [f32; 24],
    pub(super) by_day_kind: [f32; 2],
    pub(super) by_place: [f32; MAX_PLACES],
    pub(super) unlock_opens: u32,
    pub(super) unlock_opens_day: Decayed,
    pub(super) unlock_opens_week: Decayed,
    pub(super) unlock_by_hour: [f32; 24],
    pub(super) habit_by_hour: [Decayed; 24],
    pub(super) chosen_by_hour: [f32; 24],
    pub(super) chosen_week: Decayed,
    pub(super) chosen_day: Decayed,
    pub(super) session: u32,
    pub(super) first_of_session: [Slot; 2],
    pub(super) newest_notification: Slot,
    pub(super) pairs: Pairs,
    pub(super) unlock_pairs: Pairs,
    places: Vec<PlaceId>,

    pub(super) recent_launches: Recent<(Slot, Timestamp), 64>,
    pub(super) recent_unlock_opens: Recent<Slot, 20>,
    /// Whether each of the last unlocks reopened the app that was used last.
    pub(super) recent_resumes: Recent<bool, 20>,
    /// Questions of each task, and those whose answer had never been opened before.
    answered: [u32; 2],
    unforeseen: [u32; 2],

    // The present.
    pub(super) utc_offset_secs: i32,
    pub(super) place: Option<usize>,
    pub(super) battery: Battery,
    pub(super) network: Network,
    pub(super) last_event: Option<Timestamp>,
    /// The last event at an earlier second than `last_event`.
    pub(super) event_before: Option<Timestamp>,
    foreground: Option<(Slot, Timestamp)>,
    pub(super) last_use: Option<Timestamp>,
    pub(super) screen_off: Option<Timestamp>,
    /// When the screen went dark (or was locked) after it was last in use.
    pub(super) use_ended: Option<Timestamp>,
    pub(super) glances: u32,
    pub(super) lit: Option<Timestamp>,
    pub(super) idle_before_lock_secs: Option<f32>,
    pub(super) last_notification: Option<Timestamp>,
    unlocked: Option<Timestamp>,
    awaits_first_app: bool,
    pub(super) session_apps: u32,
    pub(super) last_session_apps: u32,
    pub(super) unlocks_without_app: u32,
    epoch: u32,
    pub(super) notified: Vec<Slot>,
}

impl History {
    /// An empty history. Before its user has opened anything, `favourites` are the candidates.
    pub fn new(favourites: Arc<[AppId]>) -> Self {
        Self { favourites, ..Self::default() }
    }

    /// What is known at `now` for a question of `task`: everything observed so far.
    pub fn context_at(&self, now: Timestamp, task: Task) -> Context<'_> {
        let skipped = match task {
            Task::FirstAfterUnlock => 0,
            // The answer is a different app than the one in the foreground.
            Task::NextLaunch => 1,
        };
        let opened = self.candidates.get(skipped..).unwrap_or_default();
        let candidates = if opened.is_empty() { &self.favourites[..] } else { opened };
        Context { history: self, task, now, candidates }
    }

    /// Folds one event in. Events come in time order.
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
        match event.signal {
            Signal::Launch(app) => self.launch(app, now),
            Signal::Close(app) => self.close(app, now),
            Signal::Notification(app) => self.notification(app, now),
            Signal::Unlock => self.unlock(now),
            Signal::ScreenOn => {
                self.screen_unused(now);
                self.glances += 1;
                self.lit = Some(now);
            }
            Signal::ScreenOff => {
                self.screen_unused(now);
                self.screen_off = Some(now);
                self.lit = None;
            }
        }
    }

    /// The user's use of `app`, if it ever launched or notified.
    pub fn app_use(&self, app: AppId) -> Option<&AppUse> {
        self.uses.get(*self.slots.get(&app)? as usize)
    }

    pub(super) fn slot(&self, app: AppId) -> Option<Slot> {
        self.slots.get(&app).copied()
    }

    /// The app used last, the one before it, and so on.
    pub(super) fn nth_last(&self, n: usize) -> Option<Slot> {
        self.recency.get(n).copied()
    }

    pub(super) fn nth_last_unlock_open(&self, n: usize) -> Option<Slot> {
        self.unlock_recency.get(n).copied()
    }

    /// Unseen notifications of one app.
    pub(super) fn unseen(&self, app: &AppUse) -> u32 {
        if app.unseen_epoch == self.epoch { app.unseen_notifications } else { 0 }
    }

    /// The kind of pause that an unlock at `now` ends.
    pub(super) fn pause(&self, now: Timestamp) -> usize {
        if self.idle_before_lock_secs.is_none_or(|secs| secs <= 1.0) { return 0; }
        let secs = self.last_use.map_or(i64::MAX, |last| now.secs_since(last));
        1 + usize::from(secs > 300)
    }

    /// Hour of the day (0 to 23.99) and day of the week (0 is Monday) on the user's clock.
    pub(super) fn wall_clock(&self, now: Timestamp) -> (f32, u32) {
        let local_secs = now.0.saturating_add(i64::from(self.utc_offset_secs));
        let hour = local_secs.rem_euclid(86_400) as f32 / HOUR_SECS;
        // 1970-01-01 was a Thursday.
        let weekday = (local_secs.div_euclid(86_400) + 3).rem_euclid(7) as u32;
        (hour, weekday)
    }

    fn launch(&mut self, app: AppId, now: Timestamp) {
        let known = self.app_use(app).is_some_and(|known| known.launches > 0);
        let slot = self.slot_for(app);
        let (hour, weekday) = self.wall_clock(now);
        let (hour, day_kind) = (hour as usize % 24, usize::from(weekday >= 5));

        let previous = self.nth_last(0);
        if self.awaits_first_app {
            self.awaits_first_app = false;
            self.answer(Task::FirstAfterUnlock, known);
            self.unlock_open(slot, previous, now, hour);
        }
        if let Some(previous) = previous.filter(|&previous| previous != slot) {
            self.answer(Task::NextLaunch, known);
            self.uses[previous as usize].next.add_one(slot);
            if let Some(before) = self.nth_last(1) {
                self.pairs.add_one((before, previous), slot);
            }
        }

        self.launches += 1;
        self.launches_hour.add_one(now, HOUR_SECS);
        self.launches_day.add_one(now, DAY_SECS);
        self.launches_week.add_one(now, WEEK_SECS);
        self.by_hour[hour] += 1.0;
        self.by_day_kind[day_kind] += 1.0;
        self.habit_by_hour[hour].add_one(now, HABIT_SECS);
        let place = self.place;
        if let Some(place) = place {
            self.by_place[place] += 1.0;
        }
        self.recent_launches.push((slot, now));
        self.session_apps += 1;
        self.unlocks_without_app = 0;

        let session = self.session;
        if self.session_apps == 1 {
            self.first_of_session[0] = slot;
        }
        let used = &mut self.uses[slot as usize];
        if used.launches == 0 {
            used.first_launch = now;
            used.recency_rank = self.recency.len() as u32;
            used.frequency_rank = self.frequency.len() as u32;
            self.recency.push(slot);
            self.candidates.push(app);
            self.frequency.push(slot);
        }
        used.launches += 1;
        used.last_launch = now;
        used.launches_hour.add_one(now, HOUR_SECS);
        used.launches_day.add_one(now, DAY_SECS);
        used.launches_week.add_one(now, WEEK_SECS);
        used.by_hour[hour] += 1.0;
        used.by_day_kind[day_kind] += 1.0;
        used.habit_by_hour[hour].add_one(now, HABIT_SECS);
        used.last_in_session = session;
        if let Some(place) = place {
            used.by_place[place] += 1.0;
        }
        used.pending_notifications = 0;

        self.move_to_front(slot);
        self.move_up_in_frequency(slot);
        self.foreground = Some((slot, now));
        self.last_use = Some(now);
    }

    /// The first app after an unlock was `slot`; the app used before it was `previous`.
    fn unlock_open(&mut self, slot: Slot, previous: Option<Slot>, now: Timestamp, hour: usize) {
        for notified in std::mem::take(&mut self.notified) {
            let used = &mut self.uses[notified as usize];
            used.notified_unlocks += 1;
            used.answered_notifications += u32::from(notified == slot);
        }
        if let Some(previous) = previous {
            self.recent_resumes.push(previous == slot);
            let pause = self.pause(self.unlocked.unwrap_or(now));
            let previous = &mut self.uses[previous as usize];
            previous.next_unlock.add_one(slot);
            previous.next_unlock_after_pause[pause].add_one(slot);
            if let (Some(a), Some(b)) = (self.nth_last(1), self.nth_last(0)) { self.unlock_pairs.add_one((a, b), slot); }
        }
        if let Some(previous_open) = self.nth_last_unlock_open(0) {
            self.uses[previous_open as usize].after_unlock_open.add_one(slot);
        }
        self.unlock_opens += 1;
        self.unlock_opens_day.add_one(now, DAY_SECS);
        self.unlock_opens_week.add_one(now, WEEK_SECS);
        self.unlock_by_hour[hour] += 1.0;
        self.recent_unlock_opens.push(slot);

        if previous != Some(slot) {
            self.chosen_by_hour[hour] += 1.0;
            self.chosen_day.add_one(now, DAY_SECS);
            self.chosen_week.add_one(now, WEEK_SECS);
            let used = &mut self.uses[slot as usize];
            used.chosen_by_hour[hour] += 1.0;
            used.chosen_day.add_one(now, DAY_SECS);
            used.chosen_week.add_one(now, WEEK_SECS);
            used.last_chosen = Some(now);
        }
        let used = &mut self.uses[slot as usize];
        used.unlock_opens += 1;
        used.last_unlock_open = Some(now);
        used.unlock_opens_day.add_one(now, DAY_SECS);
        used.unlock_opens_week.add_one(now, WEEK_SECS);
        used.unlock_by_hour[hour] += 1.0;

        let position = self.unlock_recency.iter().position(|&s| s == slot);
        if position.is_none() {
            self.unlock_recency.push(slot);
        }
        let position = position.unwrap_or(self.unlock_recency.len() - 1);
        self.unlock_recency[..=position].rotate_right(1);
        for (rank, &moved) in self.unlock_recency[..=position].iter().enumerate() {
            self.uses[moved as usize].unlock_recency_rank = rank as u32;
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
        let used = &mut self.uses[slot as usize];
        used.stays += 1;
        used.stay_secs += f64::from(secs);
        used.last_stay_secs = Some(secs);
    }

    fn notification(&mut self, app: AppId, now: Timestamp) {
        let slot = self.slot_for(app);
        let epoch = self.epoch;
        self.newest_notification = slot;
        self.last_notification = Some(now);
        let used = &mut self.uses[slot as usize];
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
            self.last_session_apps = self.session_apps;
            if self.session_apps > 0 {
                self.session += 1;
                self.first_of_session = [Slot::MAX, self.first_of_session[0]];
            }
            self.session_apps = 0;
        }
        if self.awaits_first_app {
            self.unlocks_without_app += 1;
        }
        self.unlocked = Some(now);
        self.awaits_first_app = true;
        self.foreground = None;
    }

    /// The screen went dark or was locked.
    fn screen_unused(&mut self, now: Timestamp) {
        if self.unlocked.take().is_some() {
            // What was posted until now has been seen.
            self.epoch += 1;
            self.notified.clear();
            self.use_ended = Some(now);
            let until = if self.foreground.is_some() { Some(now) } else { self.last_use };
            self.idle_before_lock_secs = until.map(|u| now.secs_since(u).max(0) as f32);
            self.glances = 0;
            if self.awaits_first_app {
                self.unlocks_without_app += 1;
            }
        }
        self.awaits_first_app = false;
        self.foreground = None;
    }

    fn answer(&mut self, task: Task, known: bool) {
        self.answered[task as usize] += 1;
        self.unforeseen[task as usize] += u32::from(!known);
    }

    fn move_to_front(&mut self, slot: Slot) {
        let position = self.uses[slot as usize].recency_rank as usize;
        self.recency[..=position].rotate_right(1);
        self.candidates[..=position].rotate_right(1);
        for (rank, &moved) in self.recency[..=position].iter().enumerate() {
            self.uses[moved as usize].recency_rank = rank as u32;
        }
    }

    fn move_up_in_frequency(&mut self, slot: Slot) {
        let launches = self.uses[slot as usize].launches;
        let mut rank = self.uses[slot as usize].frequency_rank as usize;
        while rank > 0 && self.uses[self.frequency[rank - 1] as usize].launches < launches {
            self.frequency.swap(rank - 1, rank);
            self.uses[self.frequency[rank] as usize].frequency_rank = rank as u32;
            rank -= 1;
        }
        self.uses[slot as usize].frequency_rank = rank as u32;
    }

    fn slot_for(&mut self, app: AppId) -> Slot {
        if let Some(slot) = self.slot(app) {
            return slot;
        }
        let fresh = AppUse { app, unseen_epoch: self.epoch, ..AppUse::default() };
        let slot = if self.uses.len() < MAX_APPS {
            self.uses.push(fresh);
            (self.uses.len() - 1) as Slot
        } else {
            let stalest = self.forget_stalest();
            self.uses[stalest as usize] = fresh;
            stalest
        };
        self.slots.insert(app, slot);
        slot
    }

    /// Forgets the app whose last sign of life is the oldest, and frees its slot.
    fn forget_stalest(&mut self) -> Slot {
        let seen =
            |used: &AppUse| used.last_notification.map_or(used.last_launch, |at| at.max(used.last_launch));
        let current = self.nth_last(0);
        let slots = 0..self.uses.len() as Slot;
        let stalest =
            slots.filter(|&slot| Some(slot) != current).min_by_key(|&slot| seen(&self.uses[slot as usize]));
        let slot = stalest.unwrap_or(0);

        self.slots.remove(&self.uses[slot as usize].app);
        let keep: Vec<bool> = self.recency.iter().map(|&s| s != slot).collect();
        let mut kept = keep.iter();
        self.candidates.retain(|_| *kept.next().unwrap_or(&true));
        self.recency.retain(|&s| s != slot);
        self.frequency.retain(|&s| s != slot);
        self.unlock_recency.retain(|&s| s != slot);
        for (rank, &s) in self.recency.iter().enumerate() {
            self.uses[s as usize].recency_rank = rank as u32;
        }
        for (rank, &s) in self.frequency.iter().enumerate() {
            self.uses[s as usize].frequency_rank = rank as u32;
        }
        for (rank, &s) in self.unlock_recency.iter().enumerate() {
            self.uses[s as usize].unlock_recency_rank = rank as u32;
        }
        for used in &mut self.uses {
            used.next.forget(slot);
            used.next_unlock.forget(slot);
            used.next_unlock_after_pause.iter_mut().for_each(|row| row.forget(slot));
            used.after_unlock_open.forget(slot);
        }
        self.pairs.forget(slot);
        self.unlock_pairs.forget(slot);
        self.recent_launches.retain(|&(s, _)| s != slot);
        self.recent_unlock_opens.retain(|&s| s != slot);
        self.notified.retain(|&s| s != slot);
        slot
    }

    fn place_slot(&mut self, place: PlaceId) -> usize {
        if let Some(slot) = self.places.iter().position(|&known| known == place) {
            return slot;
        }
        if self.places.len() < MAX_PLACES {
            self.places.push(place);
            return self.places.len() - 1;
        }
        let least =
            (0..MAX_PLACES).min_by(|&a, &b| self.by_place[a].total_cmp(&self.by_place[b])).unwrap_or(0);
        self.places[least] = place;
        self.by_place[least] = 0.0;
        self.uses.iter_mut().for_each(|used| used.by_place[least] = 0.0);
        least
    }
}

/// What is known at a question.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    pub(super) history: &'a History,
    task: Task,
    now: Timestamp,
    candidates: &'a [AppId],
}

impl<'a> Context<'a> {
    /// The apps to rank. A history offers those that its user has opened, most recent first.
    pub fn candidates(&self) -> &'a [AppId] {
        self.candidates
    }

    /// The same question about other candidates.
    pub fn with_candidates<'b>(&self, candidates: &'b [AppId]) -> Context<'b>
    where
        'a: 'b,
    {
        Context { candidates, ..*self }
    }

    /// What is asked.
    pub fn task(&self) -> Task {
        self.task
    }

    /// When it is asked.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Whose phone is asked; `None` before the first event.
    pub fn user(&self) -> Option<UserId> {
        self.history.user
    }

    /// Hour of the day on the user's clock, 0 to 23.
    pub fn hour(&self) -> usize {
        self.history.wall_clock(self.now).0 as usize % 24
    }

    /// The user's use of `app`, if it ever launched or notified.
    pub fn app_use(&self, app: AppId) -> Option<&'a AppUse> {
        self.history.app_use(app)
    }

    /// How often any app came to the foreground so far: the length of the history.
    pub fn launches(&self) -> u32 {
        self.history.launches
    }

    /// The app used last.
    pub fn last_app(&self) -> Option<AppId> {
        self.history.candidates.first().copied()
    }

    /// Share of `app` among what followed the app used last (for this task), with the total that the share is
    /// of: `(count, total)`. Both are 0 before the first such question.
    pub fn transitions_to(&self, app: AppId) -> (f32, f32) {
        let Some(last) = self.history.nth_last(0) else { return (0.0, 0.0) };
        let last = &self.history.uses[last as usize];
        let row = match self.task {
            Task::FirstAfterUnlock => &last.next_unlock,
            Task::NextLaunch => &last.next,
        };
        (self.history.slot(app).map_or(0.0, |slot| row.count(slot)), row.total())
    }

    /// How probable it is that the answer is none of the candidates: the share of this user's past questions
    /// that were answered by an app opened for the first time, (n + 1/2) / (N + 1).
    pub fn none_of_these(&self) -> f64 {
        let (new, all) =
            (self.history.unforeseen[self.task as usize], self.history.answered[self.task as usize]);
        (f64::from(new) + 0.5) / (f64::from(all) + 1.0)
    }
}
