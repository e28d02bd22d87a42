//! The ranker's features: one row a candidate, one definition for training and for the phone.
//!
//! Each line of the table below is a column: its name, its unit, what it means, and how it is computed. Counts and
//! times that span decades are on a log scale; what is unknown is NaN, and the trees learn which way to send it.

pub mod columns;
pub mod pointer_features;
mod question_features;

use crate::context::history::History;
use crate::context::history::app_use::AppUse;
use crate::context::history::counts::{HourWeights, Row, Slot, hour_weights};
use crate::context::math;
use crate::context::question::Context;
use crate::data::{Network, Timestamp};
use columns::label;
pub use question_features::QuestionFeatures;
use question_features::ln_secs;

/// How files tell of columns: of version 1, trees by name and the transformer by number; from 2 on, all by their labels
/// ([`columns`]). It does not rise with a column: that has a version of its own.
// Source: units.
pub const SCHEMA_VERSION: u32 = 2;

/// The first column that is the same for every candidate of a question.
// Source: units.
pub(in crate::context) const QUESTION: usize = 42;

/// A column of the feature matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Feature {
    /// Name, as in a model file: with the version of its meaning, where that is not the first
    /// ([`columns`]).
    pub name: &'static str,
    /// Unit of the value.
    pub unit: &'static str,
    /// What it says.
    pub meaning: &'static str,
}

/// Declares the columns: the schema and the function that computes a row come from the same lines. A column whose meaning
/// changes keeps its name and gets a version: `overdue @2 ["ln ratio"] ..`. The order is free for
/// models; columns of the candidate stand before those of the question.
macro_rules! columns {
    (($q:ident, $c:ident) $($name:ident $(@ $version:literal)? [$unit:literal] $meaning:literal = $value:expr;)*) => {
        /// The columns, in order.
        pub const SCHEMA: &[Feature] =
            &[$(Feature { name: label!($name $(@ $version)?), unit: $unit, meaning: $meaning }),*];

        /// Their names.
        pub const NAMES: &[&str] = &[$(label!($name $(@ $version)?)),*];

        fn row($q: &AtQuestion<'_>, $c: &AtCandidate<'_>) -> [f32; SCHEMA.len()] {
            [$($value),*]
        }
    };
}

columns! { (q, c)
    // How recently.
    since_launch ["ln s"] "time since the app last came to the foreground" = c.since_launch;
    since_unlock_open ["ln s"] "time since it was last the first app after an unlock"
        = ln_secs(q.now, c.used.counters.unlock_opens.last);
    since_choice ["ln s"] "time since it was last chosen after an unlock, not resumed"
        = ln_secs(q.now, c.used.counters.choices.last);
    recency_rank ["rank"] "0 for the app used last" = rank(c.used.launches(), c.used.recency_rank);
    unlock_recency_rank ["rank"] "0 for the last first-after-unlock app"
        = rank(c.used.counters.unlock_opens.count, c.used.unlock_recency_rank);
    is_last ["0/1"] "it is the app used last" = c.has_recency_rank(0);
    is_second_last ["0/1"] "it is the app before that" = c.has_recency_rank(1);
    is_last_unlock ["0/1"] "it was the first app of the last unlock that had one"
        = flag(c.used.counters.unlock_opens.count > 0 && c.used.unlock_recency_rank == 0);
    in_last_session ["0/1"] "it was used between the last unlock and dark"
        = flag(c.used.launches() > 0 && c.used.last_session + 1 == q.history.session);
    in_last_10 ["count"] "how many of the last ten launches" = count(&q.last_launches, c.slot);
    in_last_10_unlocks ["count"] "how many of the last ten first-after-unlock openings"
        = count(&q.last_unlock_opens, c.slot);
    overdue ["ln ratio"] "time since the last launch over the mean time between launches" = c.overdue();

    // How often.
    frequency_rank ["rank"] "0 for the app launched most" = rank(c.used.launches(), c.used.frequency_rank);
    launch_share ["share"] "share of all launches" = c.launch_share;
    unlock_share ["share"] "share of first-after-unlock openings"
        = share(c.used.counters.unlock_opens.count as f32, q.history.totals.unlock_opens.count as f32);
    hour_decayed_share ["share"] "share of launches, halved every hour" = c.launches_decayed[0];
    day_decayed_share ["share"] "share of launches, halved every day" = c.launches_decayed[1];
    week_decayed_share ["share"] "share of launches, halved every week" = c.launches_decayed[2];
    // Source of 0.01: measured (docs/constants.md).
    trend ["ln ratio"] "the last day's share over the last week's"
        = math::ln((c.launches_decayed[1] + 0.01) / (c.launches_decayed[2] + 0.01));
    unlock_day_decayed_share ["share"] "share of first-after-unlock openings, halved every day"
        = c.unlock_opens_decayed[1];
    unlock_week_decayed_share ["share"] "share of first-after-unlock openings, halved every week"
        = c.unlock_opens_decayed[2];
    choice_day_decayed_share ["share"] "share of what was chosen after an unlock, halved every day"
        = c.choices_decayed[1];
    choice_week_decayed_share ["share"] "share of what was chosen after an unlock, halved every week"
        = c.choices_decayed[2];

    // Affinities to this time and place, smoothed towards the share anywhere.
    // Source of 10, 5 and 20: measured (docs/constants.md).
    hour_affinity ["share"] "share of launches around this hour of the day"
        = smoothed(c.used.counters.launches.around(&q.hours), q.launches_around, c.launch_share, 10.0);
    recent_hour_affinity ["share"] "the same, halved every five days" = smoothed(
        c.used.counters.launches.lately_around(q.now, &q.hours), q.launches_lately_around, c.launches_decayed[2], 5.0);
    unlock_hour_affinity ["share"] "share of first-after-unlock openings around this hour" = smoothed(
        c.used.counters.unlock_opens.around(&q.hours), q.unlock_opens_around, c.unlock_opens_decayed[2], 10.0);
    choice_hour_affinity ["share"] "share of what was chosen after an unlock around this hour" = smoothed(
        c.used.counters.choices.around(&q.hours), q.choices_around, c.choices_decayed[2], 5.0);
    day_kind_affinity ["share"] "share of launches on weekdays, or on weekends" = smoothed(
        c.used.counters.by_day_kind[q.day_kind], q.history.totals.by_day_kind[q.day_kind], c.launch_share, 20.0);
    place_affinity ["share"] "share of launches at this place" = q.history.place.map_or(f32::NAN, |p| smoothed(
        c.used.counters.by_place[p], q.history.totals.by_place[p], c.launch_share, 20.0));

    // What usually follows.
    after_last ["share"] "share among the apps that followed the app used last"
        = following(q.last_next, c.slot, c.launch_share);
    after_last_two ["share"] "share among the apps that followed the last two"
        = following(q.pair_next, c.slot, c.launch_share);
    unlock_after_last ["share"] "share among first-after-unlock apps when this app was used last"
        = c.unlock_after_last;
    unlock_after_departure ["share"] "the same, where the phone was also left as it was now: in an app or at home"
        = following(q.departure_next, c.slot, c.unlock_after_last);
    unlock_after_two ["share"] "share among first-after-unlock apps when these two apps were used last"
        = following(q.pair_next_unlock, c.slot, c.unlock_after_last);
    unlock_after_unlock ["share"] "share among first-after-unlock apps after the previous one"
        = following(q.open_next, c.slot, c.unlock_opens_decayed[2]);

    // Time in the foreground.
    mean_stay ["ln s"] "mean time in the foreground"
        = if c.used.stays == 0 { f32::NAN } else { math::ln_1p(c.used.stay_secs as f32 / c.used.stays as f32) };
    last_stay ["ln s"] "its last time in the foreground" = c.used.last_stay_secs.map_or(f32::NAN, math::ln_1p);

    // Notifications.
    since_notification ["ln s"] "time since its last notification" = ln_secs(q.now, c.used.last_notification);
    unseen_notifications ["count"] "posted since the screen was last in use" = q.history.unseen(c.used) as f32;
    pending_notifications ["count"] "posted since the app was last opened" = c.used.pending_notifications as f32;
    notified_since_open ["0/1"] "whether any was" = flag(c.used.pending_notifications > 0);
    // Source of 0.3 and 1: measured (docs/constants.md).
    answer_rate ["share"] "share of unlocks with an unseen notification of the app that opened it first"
        = (c.used.answered_notifications as f32 + 0.3) / (c.used.notified_unlocks as f32 + 1.0);

    // The question: the same for every candidate.
    hour ["h"] "hour of the day" = q.hour;
    weekday ["day"] "day of the week, 0 is Monday" = q.weekday;
    battery_percent ["%"] "charge" = q.history.battery.percent.map_or(f32::NAN, f32::from);
    charging ["0/1"] "whether a charger is connected" = q.history.battery.charging.map_or(f32::NAN, flag);
    network ["class"] "0 offline, 1 wifi, 2 cellular" = match q.history.network {
        Network::Unknown => f32::NAN,
        Network::Offline => 0.0,
        Network::Wifi => 1.0,
        Network::Cellular => 2.0,
    };
    since_event ["ln s"] "time since the event before the question" = ln_secs(q.now, q.history.event_before);
    since_use ["ln s"] "time since any app was in use" = ln_secs(q.now, q.history.last_use);
    screen_off_for ["ln s"] "time since the screen went dark" = ln_secs(q.now, q.history.screen_off);
    unused_for ["ln s"] "time since the screen was last in use" = ln_secs(q.now, q.history.use_ended);
    idle_before_dark ["ln s"] "time without an app in the foreground before the screen went dark"
        = q.history.idle_before_dark_secs.map_or(f32::NAN, math::ln_1p);
    lit_for ["ln s"] "time since the screen lit up" = ln_secs(q.now, q.history.lit);
    lit_after_notification ["ln s"] "time from the last notification to the screen lighting up"
        = q.history.lit.map_or(f32::NAN, |lit| ln_secs(lit, q.history.last_notification));
    glances ["count"] "times the screen lit up without an unlock since it was in use" = q.history.glances as f32;
    candidates ["count"] "how many candidates" = q.candidates;
    launches_last_hour ["ln count"] "launches in the last hour" = q.launches_last_hour;
    last_session_launches ["count"] "launches in the last session" = q.history.last_session_launches as f32;
    unlocks_without_app ["count"] "unlocks since the last launch that opened nothing"
        = q.history.unlocks_without_app as f32;
    resume_rate ["share"] "share of the last twenty unlocks that reopened the app used last" = q.resume_rate;
    notified_apps ["count"] "apps with unseen notifications" = q.history.notified.len() as f32;
}

/// Writes the features of every candidate, row by row, into `matrix`, which is resized.
///
/// # Shapes
/// `matrix`: `[context.candidates().len(), SCHEMA.len()]`.
pub fn fill(context: &Context<'_>, matrix: &mut Vec<f32>) {
    matrix.clear();
    let question = AtQuestion::new(context);
    let never_used = AppUse::default();
    for &app in context.candidates() {
        let (used, slot) = match context.history.slot(app) {
            Some(slot) => (&context.history.uses[slot.index()], slot),
            // An app that was never seen follows nothing and is among no recent ones.
            None => (&never_used, Slot::NONE),
        };
        matrix.extend_from_slice(&row(&question, &AtCandidate::new(&question, used, slot)));
    }
}

/// The features of one question, computed when they are first asked for: predictors that answer the same question compute
/// them once.
#[derive(Debug, Clone, Default)]
pub struct SharedFeatures {
    matrix: Vec<f32>,
    is_filled: bool,
}

impl SharedFeatures {
    /// Forgets the last question: another one follows.
    pub fn clear(&mut self) {
        self.is_filled = false;
    }

    /// The features of `context`, which is the same until the next [`clear`](Self::clear).
    ///
    /// # Shapes
    /// `[context.candidates().len(), SCHEMA.len()]`.
    pub fn of(&mut self, context: &Context<'_>) -> &[f32] {
        if !self.is_filled {
            fill(context, &mut self.matrix);
            self.is_filled = true;
        }
        &self.matrix
    }
}

/// What the columns need of the question.
struct AtQuestion<'a> {
    history: &'a History,
    now: Timestamp,
    hour: f32,
    weekday: f32,
    day_kind: usize,
    candidates: f32,
    // Totals over all apps, of what the columns take shares of.
    hours: HourWeights,
    launches_around: f32,
    launches_lately_around: f32,
    unlock_opens_around: f32,
    choices_around: f32,
    launches_decayed: [f32; 3],
    unlock_opens_decayed: [f32; 3],
    choices_decayed: [f32; 3],
    launches_last_hour: f32,
    resume_rate: f32,
    last_launches: [Option<Slot>; 10],
    last_unlock_opens: [Option<Slot>; 10],
    // What followed in the same situation before.
    last_next: Option<&'a Row>,
    pair_next: Option<&'a Row>,
    last_next_unlock: Option<&'a Row>,
    departure_next: Option<&'a Row>,
    pair_next_unlock: Option<&'a Row>,
    open_next: Option<&'a Row>,
}

impl<'a> AtQuestion<'a> {
    fn new(context: &Context<'a>) -> Self {
        let (history, now) = (context.history, context.now());
        let totals = &history.totals;
        let (hour, weekday) = history.wall_clock(now);
        let hours = hour_weights(hour);
        let last = history.nth_last(0);
        let pair = history.nth_last(1).zip(last);
        let used = |slot: Slot| &history.uses[slot.index()];
        Self {
            history,
            now,
            hour,
            weekday: weekday as f32,
            day_kind: usize::from(weekday >= 5),
            candidates: context.candidates().len() as f32,
            hours,
            launches_around: totals.launches.around(&hours),
            launches_lately_around: totals.launches.lately_around(now, &hours),
            unlock_opens_around: totals.unlock_opens.around(&hours),
            choices_around: totals.choices.around(&hours),
            launches_decayed: totals.launches.decayed(now),
            unlock_opens_decayed: totals.unlock_opens.decayed(now),
            choices_decayed: totals.choices.decayed(now),
            launches_last_hour: math::ln_1p(context.launches_last_hour()),
            resume_rate: context.resume_rate(),
            last_launches: first_ten(history.recent_launches.iter().map(|(slot, _)| slot)),
            last_unlock_opens: first_ten(history.recent_unlock_opens.iter()),
            last_next: last.map(|slot| &used(slot).next),
            pair_next: pair.and_then(|pair| history.pairs.get(pair)),
            last_next_unlock: last.map(|slot| &used(slot).next_unlock),
            departure_next: last
                .map(|slot| &used(slot).next_unlock_by_departure[history.departure(now) as usize]),
            pair_next_unlock: pair.and_then(|pair| history.unlock_pairs.get(pair)),
            open_next: history.nth_last_unlock_open(0).map(|slot| &used(slot).after_unlock_open),
        }
    }
}

/// What several columns need of a candidate.
struct AtCandidate<'a> {
    used: &'a AppUse,
    slot: Slot,
    since_launch: f32,
    launch_share: f32,
    /// Shares of counts halved every hour, day, week.
    launches_decayed: [f32; 3],
    unlock_opens_decayed: [f32; 3],
    choices_decayed: [f32; 3],
    unlock_after_last: f32,
}

impl<'a> AtCandidate<'a> {
    fn new(q: &AtQuestion<'_>, used: &'a AppUse, slot: Slot) -> Self {
        let counters = &used.counters;
        let unlock_opens_decayed = shares(counters.unlock_opens.decayed(q.now), q.unlock_opens_decayed);
        Self {
            used,
            slot,
            since_launch: ln_secs(q.now, counters.launches.last),
            launch_share: share(counters.launches.count as f32, q.history.totals.launches.count as f32),
            launches_decayed: shares(counters.launches.decayed(q.now), q.launches_decayed),
            unlock_opens_decayed,
            choices_decayed: shares(counters.choices.decayed(q.now), q.choices_decayed),
            unlock_after_last: following(q.last_next_unlock, slot, unlock_opens_decayed[2]),
        }
    }

    fn has_recency_rank(&self, rank: u32) -> f32 {
        flag(self.used.launches() > 0 && self.used.recency_rank == rank)
    }

    fn overdue(&self) -> f32 {
        let Some(last) = self.used.last_launch().filter(|_| self.used.launches() > 1) else {
            return f32::NAN;
        };
        let between_secs =
            last.secs_since(self.used.first_launch).max(0) as f32 / (self.used.launches() - 1) as f32;
        self.since_launch - math::ln_1p(between_secs)
    }
}

// Source of ten: measured (docs/constants.md).
fn first_ten(slots: impl Iterator<Item = Slot>) -> [Option<Slot>; 10] {
    let mut first = [None; 10];
    first.iter_mut().zip(slots).for_each(|(to, slot)| *to = Some(slot));
    first
}

fn count(slots: &[Option<Slot>; 10], slot: Slot) -> f32 {
    slots.iter().filter(|&&s| s == Some(slot)).count() as f32
}

fn rank(times: u32, rank: u32) -> f32 {
    if times > 0 { rank as f32 } else { f32::NAN }
}

pub(in crate::context) fn share(part: f32, whole: f32) -> f32 {
    // Decayed totals fade towards zero after a long pause; parts fade with them.
    // Source of 1e-20: units. An f32 holds smaller numbers with fewer digits below 1e-38.
    if whole > 1e-20 { part / whole } else { 0.0 }
}

fn shares(parts: [f32; 3], wholes: [f32; 3]) -> [f32; 3] {
    std::array::from_fn(|i| share(parts[i], wholes[i]))
}

/// `part / whole`, drawn towards `prior` as by `weight` further observations.
pub(in crate::context) fn smoothed(part: f32, whole: f32, prior: f32, weight: f32) -> f32 {
    (part + weight * prior) / (whole + weight)
}

/// Share of `slot` in `row`, drawn towards `prior` as by three observations.
// Source of three: measured (docs/constants.md).
fn following(row: Option<&Row>, slot: Slot, prior: f32) -> f32 {
    row.map_or(f32::NAN, |row| smoothed(row.count(slot), row.total(), prior, 3.0))
}

fn flag(yes: bool) -> f32 {
    f32::from(u8::from(yes))
}
