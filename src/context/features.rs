//! The ranker's features: one row a candidate, one definition for training and for the phone.
//!
//! Each line of the table below is a column: its name, its unit, what it means, and how it is computed. Counts and
//! times that span decades are on a log scale; what is unknown is NaN, and the trees learn which way to send it.

use super::counts::{Row, Slot};
use super::history::{AppUse, Context, DAY_SECS, HABIT_SECS, HOUR_SECS, History, MAX_PLACES, WEEK_SECS};
use crate::data::{Network, Timestamp};

/// Version of the schema: it changes with any column's name, order or meaning, and a model of another version is
/// refused.
pub const SCHEMA_VERSION: u32 = 1;

/// A column of the feature matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Feature {
    /// Name, as in a model file.
    pub name: &'static str,
    /// Unit of the value.
    pub unit: &'static str,
    /// What it says.
    pub meaning: &'static str,
}

/// Declares the columns: the schema and the function that computes a row come from the same lines.
macro_rules! columns {
    (($q:ident, $c:ident) $($name:ident [$unit:literal] $meaning:literal = $value:expr;)*) => {
        /// The columns, in order.
        pub const SCHEMA: &[Feature] =
            &[$(Feature { name: stringify!($name), unit: $unit, meaning: $meaning }),*];

        fn row($q: &AtQuestion<'_>, $c: &AtCandidate<'_>) -> [f32; SCHEMA.len()] {
            [$($value),*]
        }
    };
}

columns! { (q, c)
    // How recently and how often.
    since_launch ["ln s"] "time since the app last came to the foreground" = c.since_launch();
    since_unlock_open ["ln s"] "time since it was last the first app after an unlock"
        = ln_secs(q.now, c.used.last_unlock_open);
    age ["ln s"] "time since the app was first opened" = ln_secs(q.now, c.opened(c.used.first_launch));
    recency_rank ["rank"] "0 for the app used last" = c.used.recency_rank as f32;
    unlock_recency_rank ["rank"] "0 for the last first-after-unlock app"
        = if c.used.unlock_opens > 0 { c.used.unlock_recency_rank as f32 } else { f32::NAN };
    frequency_rank ["rank"] "0 for the app launched most" = c.used.frequency_rank as f32;
    launch_share ["share"] "share of all launches" = c.launch_share;
    unlock_share ["share"] "share of first-after-unlock openings" = c.unlock_share;
    hour_decayed_share ["share"] "share of launches, halved every hour"
        = share(c.used.launches_hour.value(q.now, HOUR_SECS), q.launches_hour);
    day_decayed_share ["share"] "share of launches, halved every day" = c.day_share;
    week_decayed_share ["share"] "share of launches, halved every week" = c.week_share;
    trend ["ln ratio"] "the last day's share over the last week's"
        = ((c.day_share + 0.01) / (c.week_share + 0.01)).ln();
    unlock_day_decayed_share ["share"] "share of first-after-unlock openings, halved every day"
        = share(c.used.unlock_opens_day.value(q.now, DAY_SECS), q.unlock_opens_day);
    unlock_week_decayed_share ["share"] "share of first-after-unlock openings, halved every week"
        = c.unlock_week_share;
    in_last_10 ["count"] "how many of the last ten launches" = q.among_last_launches(c.slot);
    in_last_10_unlocks ["count"] "how many of the last ten first-after-unlock openings"
        = q.among_last_unlock_opens(c.slot);

    chosen_day_share ["share"] "x" = share(c.used.chosen_day.value(q.now, DAY_SECS), q.history.chosen_day.value(q.now, DAY_SECS));
    chosen_week_share ["share"] "x" = share(c.used.chosen_week.value(q.now, WEEK_SECS), q.history.chosen_week.value(q.now, WEEK_SECS));
    chosen_hour_affinity ["share"] "x" = {
        let here: f32 = q.hour_weights.iter().map(|&(h, w)| w * c.used.chosen_by_hour[h]).sum();
        let all: f32 = q.hour_weights.iter().map(|&(h, w)| w * q.history.chosen_by_hour[h]).sum();
        smoothed(here, all, share(c.used.chosen_week.value(q.now, WEEK_SECS), q.history.chosen_week.value(q.now, WEEK_SECS)), 5.0) };
    since_chosen ["ln s"] "x" = ln_secs(q.now, c.used.last_chosen);
    // Affinities: shares here over shares anywhere, smoothed.
    hour_affinity ["share"] "share of launches around this hour of the day" = c.hour_share(q);
    unlock_hour_affinity ["share"] "share of first-after-unlock openings around this hour" = c.unlock_hour_share(q);
    day_kind_affinity ["share"] "share of launches on weekdays, or on weekends"
        = smoothed(c.used.by_day_kind[q.day_kind], q.history.by_day_kind[q.day_kind], c.launch_share, 20.0);
    place_affinity ["share"] "share of launches at this place"
        = q.place.map_or(f32::NAN, |p| smoothed(c.used.by_place[p], q.history.by_place[p], c.launch_share, 20.0));

    // What usually follows.
    after_last ["share"] "share among the apps that followed the app used last"
        = q.last_next.map_or(f32::NAN, |row| row.share(c.slot, c.launch_share, 3.0));
    after_last_two ["share"] "share among the apps that followed the last two"
        = q.pair_next.map_or(f32::NAN, |row| row.share(c.slot, c.launch_share, 2.0));
    unlock_after_last ["share"] "share among first-after-unlock apps when this app was used last"
        = q.last_next_unlock.map_or(f32::NAN, |row| row.share(c.slot, c.unlock_week_share, 3.0));
    unlock_after_unlock ["share"] "share among first-after-unlock apps after the previous one"
        = q.open_next.map_or(f32::NAN, |row| row.share(c.slot, c.unlock_week_share, 3.0));
    unlock_after_pause ["share"] "share among first-after-unlock apps when this app was used last and the pause was as long"
        = q.last_next_pause.map_or(f32::NAN, |row| row.share(c.slot, q.last_next_unlock.map_or(0.0, |row| row.share(c.slot, c.unlock_week_share, 3.0)), 3.0));
    habit ["share"] "x" = {
        let here: f32 = q.hour_weights.iter().map(|&(h, w)| w * c.used.habit_by_hour[h].value(q.now, HABIT_SECS)).sum();
        smoothed(here, q.habit, c.week_share, 5.0) };
    overdue ["ln"] "x" = if c.used.launches > 1 { c.since_launch() - (c.used.last_launch.secs_since(c.used.first_launch).max(0) as f32 / (c.used.launches - 1) as f32).ln_1p() } else { f32::NAN };
    in_last_session ["0/1"] "x" = flag(c.used.launches > 0 && c.used.last_in_session + 1 == q.history.session);
    first_of_last_session ["0/1"] "x" = flag(c.slot == q.history.first_of_session[1]);
    is_newest_notification ["0/1"] "x" = flag(c.slot == q.history.newest_notification && c.used.pending_notifications > 0);
    unlock_after_two ["share"] "x" = q.unlock_pair_next.map_or(f32::NAN, |row| row.share(c.slot, q.last_next_unlock.map_or(0.0, |row| row.share(c.slot, c.unlock_week_share, 3.0)), 3.0));
    is_last ["0/1"] "it is the app used last" = flag(c.used.launches > 0 && c.used.recency_rank == 0);
    is_second_last ["0/1"] "it is the app before that" = flag(c.used.launches > 0 && c.used.recency_rank == 1);
    is_last_unlock ["0/1"] "it was the first app of the last unlock"
        = flag(c.used.unlock_opens > 0 && c.used.unlock_recency_rank == 0);

    // Time in the foreground.
    mean_stay ["ln s"] "mean time in the foreground"
        = if c.used.stays == 0 { f32::NAN } else { (c.used.stay_secs as f32 / c.used.stays as f32).ln_1p() };
    last_stay ["ln s"] "its last time in the foreground" = c.used.last_stay_secs.map_or(f32::NAN, f32::ln_1p);

    // Notifications.
    since_notification ["ln s"] "time since its last notification" = ln_secs(q.now, c.used.last_notification);
    unseen_notifications ["count"] "posted since the screen was last in use" = q.history.unseen(c.used) as f32;
    pending_notifications ["count"] "posted since the app was last opened" = c.used.pending_notifications as f32;
    notified_since_open ["0/1"] "whether any was" = flag(c.used.pending_notifications > 0);
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
    screen_off_for ["ln s"] "how long the screen had been dark" = ln_secs(q.now, q.history.screen_off);
    unused_for ["ln s"] "how long ago the screen was last unlocked" = ln_secs(q.now, q.history.use_ended);
    lit_for ["ln s"] "how long the screen had been lit before the unlock" = ln_secs(q.now, q.history.lit);
    lit_after_notification ["ln s"] "x" = match (q.history.lit.or(Some(q.now)), q.history.last_notification) { (Some(l), Some(n)) => (l.secs_since(n) as f32).max(-1.0).ln_1p().max(-1.0), _ => f32::NAN };
    idle_before_lock ["ln s"] "x" = q.history.idle_before_lock_secs.map_or(f32::NAN, f32::ln_1p);
    glances ["count"] "times the screen lit up without an unlock since" = q.history.glances as f32;
    candidates ["count"] "how many candidates" = q.candidates;
    events_last_hour ["ln count"] "launches in the last hour" = q.launches_last_hour;
    last_session_apps ["count"] "launches in the last session" = q.history.last_session_apps as f32;
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
        let used = context.app_use(app).unwrap_or(&never_used);
        let slot = context.history.slot(app).unwrap_or(Slot::MAX);
        matrix.extend_from_slice(&row(&question, &AtCandidate::new(&question, used, slot)));
    }
}

/// What the columns need of the question.
struct AtQuestion<'a> {
    history: &'a History,
    now: Timestamp,
    hour: f32,
    weekday: f32,
    day_kind: usize,
    place: Option<usize>,
    candidates: f32,
    /// Weights of the hours around this one, and the totals over all apps under these weights.
    hour_weights: [(usize, f32); 5],
    launches_around_hour: f32,
    unlock_opens_around_hour: f32,
    launches_hour: f32,
    launches_day: f32,
    launches_week: f32,
    unlock_opens_day: f32,
    unlock_opens_week: f32,
    launches_last_hour: f32,
    resume_rate: f32,
    last_launches: [Slot; 10],
    last_unlock_opens: [Slot; 10],
    last_next: Option<&'a Row>,
    last_next_unlock: Option<&'a Row>,
    pair_next: Option<&'a Row>,
    open_next: Option<&'a Row>,
    last_next_pause: Option<&'a Row>,
    habit: f32,
    unlock_pair_next: Option<&'a Row>,
}

impl<'a> AtQuestion<'a> {
    fn new(context: &Context<'a>) -> Self {
        let (history, now) = (context.history, context.now());
        let (hour, weekday) = history.wall_clock(now);
        let hour_weights = hour_weights(hour);
        let around_hour = |by_hour: &[f32; 24]| hour_weights.iter().map(|&(h, w)| w * by_hour[h]).sum();
        let last = history.nth_last(0);
        let used = |slot: Slot| &history.uses[slot as usize];
        let resumes = history.recent_resumes.iter();
        let (resumed, unlocks) = resumes.fold((0.0, 0.0), |(r, n), resumed| (r + flag(resumed), n + 1.0));
        let mut last_launches = [Slot::MAX; 10];
        let recent = history.recent_launches.iter().map(|(slot, _)| slot);
        last_launches.iter_mut().zip(recent).for_each(|(to, slot)| *to = slot);
        let mut last_unlock_opens = [Slot::MAX; 10];
        last_unlock_opens
            .iter_mut()
            .zip(history.recent_unlock_opens.iter())
            .for_each(|(to, slot)| *to = slot);
        let last_hour =
            history.recent_launches.iter().take_while(|(_, at)| now.secs_since(*at) <= HOUR_SECS as i64);
        Self {
            history,
            now,
            hour,
            weekday: weekday as f32,
            day_kind: usize::from(weekday >= 5),
            place: history.place.filter(|&place| place < MAX_PLACES),
            candidates: context.candidates().len() as f32,
            hour_weights,
            launches_around_hour: around_hour(&history.by_hour),
            unlock_opens_around_hour: around_hour(&history.unlock_by_hour),
            launches_hour: history.launches_hour.value(now, HOUR_SECS),
            launches_day: history.launches_day.value(now, DAY_SECS),
            launches_week: history.launches_week.value(now, WEEK_SECS),
            unlock_opens_day: history.unlock_opens_day.value(now, DAY_SECS),
            unlock_opens_week: history.unlock_opens_week.value(now, WEEK_SECS),
            launches_last_hour: (last_hour.count() as f32).ln_1p(),
            resume_rate: (resumed + 1.0) / (unlocks + 2.0),
            last_launches,
            last_unlock_opens,
            last_next: last.map(|slot| &used(slot).next),
            last_next_unlock: last.map(|slot| &used(slot).next_unlock),
            unlock_pair_next: last.zip(history.nth_last(1)).and_then(|(last, before)| history.unlock_pairs.get((before, last))),
            pair_next: last
                .zip(history.nth_last(1))
                .and_then(|(last, before)| history.pairs.get((before, last))),
            last_next_pause: last.map(|slot| &used(slot).next_unlock_after_pause[history.pause(now)]),
            habit: hour_weights
                .iter()
                .map(|&(h, w)| w * history.habit_by_hour[h].value(now, HABIT_SECS))
                .sum(),
            open_next: history.nth_last_unlock_open(0).map(|slot| &used(slot).after_unlock_open),
        }
    }

    fn among_last_launches(&self, slot: Slot) -> f32 {
        self.last_launches.iter().filter(|&&s| s == slot).count() as f32
    }

    fn among_last_unlock_opens(&self, slot: Slot) -> f32 {
        self.last_unlock_opens.iter().filter(|&&s| s == slot).count() as f32
    }
}

/// What several columns need of a candidate.
struct AtCandidate<'a> {
    used: &'a AppUse,
    slot: Slot,
    now: Timestamp,
    launch_share: f32,
    unlock_share: f32,
    day_share: f32,
    week_share: f32,
    unlock_week_share: f32,
}

impl<'a> AtCandidate<'a> {
    fn new(q: &AtQuestion<'_>, used: &'a AppUse, slot: Slot) -> Self {
        Self {
            used,
            // An app that was never seen must not match the filler of a short history.
            slot: if slot == Slot::MAX { Slot::MAX - 1 } else { slot },
            now: q.now,
            launch_share: share(used.launches as f32, q.history.launches as f32),
            unlock_share: share(used.unlock_opens as f32, q.history.unlock_opens as f32),
            day_share: share(used.launches_day.value(q.now, DAY_SECS), q.launches_day),
            week_share: share(used.launches_week.value(q.now, WEEK_SECS), q.launches_week),
            unlock_week_share: share(used.unlock_opens_week.value(q.now, WEEK_SECS), q.unlock_opens_week),
        }
    }

    /// `at`, if the app was ever opened.
    fn opened(&self, at: Timestamp) -> Option<Timestamp> {
        (self.used.launches > 0).then_some(at)
    }

    fn since_launch(&self) -> f32 {
        ln_secs(self.now, self.opened(self.used.last_launch))
    }

    fn hour_share(&self, q: &AtQuestion<'_>) -> f32 {
        let here: f32 = q.hour_weights.iter().map(|&(h, w)| w * self.used.by_hour[h]).sum();
        smoothed(here, q.launches_around_hour, self.launch_share, 10.0)
    }

    fn unlock_hour_share(&self, q: &AtQuestion<'_>) -> f32 {
        let here: f32 = q.hour_weights.iter().map(|&(h, w)| w * self.used.unlock_by_hour[h]).sum();
        smoothed(here, q.unlock_opens_around_hour, self.unlock_share, 10.0)
    }
}

/// A triangular kernel, two hours wide to either side, over the 24 hourly counters: midnight is near 23 h.
fn hour_weights(hour: f32) -> [(usize, f32); 5] {
    let centre = hour as i32;
    // Counter `h` holds what happened from `h` to `h + 1`: its middle is half an hour later.
    let offset = hour - (centre as f32 + 0.5);
    std::array::from_fn(|i| {
        let step = i as i32 - 2;
        let distance = (step as f32 - offset).abs();
        ((centre + step).rem_euclid(24) as usize, (1.0 - distance / 2.0).max(0.0))
    })
}

fn ln_secs(now: Timestamp, then: Option<Timestamp>) -> f32 {
    then.map_or(f32::NAN, |then| (now.secs_since(then).max(0) as f32).ln_1p())
}

fn share(part: f32, whole: f32) -> f32 {
    // Decayed totals fade towards zero after a long pause; parts fade with them.
    if whole > 1e-20 { part / whole } else { 0.0 }
}

/// `part / whole`, drawn towards `prior` as by `weight` further observations.
fn smoothed(part: f32, whole: f32, prior: f32, weight: f32) -> f32 {
    (part + weight * prior) / (whole + weight)
}

fn flag(yes: bool) -> f32 {
    f32::from(u8::from(yes))
}
