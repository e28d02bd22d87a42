//! What one user's history knows of one app.

use super::counts::{HOUR_SECS, Row, Tally};
use super::first_use_of_day::FirstUses;
use super::propensity::{AnswerRate, Preference, SpontaneousLaunches};
use super::saved::{Secs, Since, saved};
use crate::context::math;
use crate::data::{AppId, Battery, Timestamp};

/// Places that one history tells apart; beyond them the one visited least is forgotten.
// Source: memory. Each place takes four bytes of every app.
pub(in crate::context) const MAX_PLACES: usize = 16;

/// An app that was not in front for so long is taken up anew.
// Simulator's law: tastes there come in phases that fade within two hours; to be learned from people instead.
pub(in crate::context) const REST_SECS: i64 = 2 * 3600;

/// A notification is answered half as readily with every so much time.
// Simulator's law: a notification's pull fades with 900 s there, so halves in 624; to be learned from people instead.
const ANSWER_SECS: f32 = 600.0;

/// For so long a notification may explain a launch of its app.
// Simulator's law: by then its pull there is down to e^-2; to be learned from people instead.
const CALL_SECS: i64 = 1800;

/// A notification so old is no longer answered.
// Simulator's law: none is answered there after two hours; to be learned from people instead.
const LAPSE_SECS: i64 = 2 * 3600;

/// An app triggers another about half an hour later, as a reminder does before a meeting: so long after its last launch or
/// notification.
// Simulator's law: a meeting leads to the map after 20 to 45 minutes there; to be learned from people instead.
const TRIGGER_SECS: std::ops::Range<i64> = 20 * 60..45 * 60;

/// An app used a moment ago has so many times the choice weight.
// Simulator's law: the median of its people's phases is 60; to be learned from people instead.
const PHASE: f32 = 60.0;

/// And that fades with this time constant.
// Simulator's law: it fades with two hours there; to be learned from people instead.
const PHASE_SECS: f32 = 2.0 * HOUR_SECS;

/// How the phone was left before an unlock.
///
/// It tells resuming from choosing: an app that was in front when the screen went dark is in front again after the
/// unlock, whereas the home screen asks for a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::context) enum Departure {
    /// An app was in the foreground until the screen went dark.
    InApp,
    /// The home screen was; the last app was in use at most five minutes before the unlock.
    AtHome,
    /// The same, longer ago.
    AtHomeLongAgo,
    /// The screen has not been dark since the last app was in use.
    NotDark,
}

impl Departure {
    /// How many there are.
    // Source: units.
    pub const KINDS: usize = 4;
}

/// Counters that each app has, and that the history has for all apps together.
#[derive(Debug, Clone, Default)]
pub(in crate::context) struct Counters {
    /// Times in the foreground.
    pub launches: Tally,
    /// Of these: as the first app after an unlock.
    pub unlock_opens: Tally,
    /// Of these: where another app had been used before, so that it was chosen, not resumed.
    pub choices: Tally,
    /// Launches on weekdays, on weekends.
    pub by_day_kind: [f32; 2],
    /// Launches of an app that had not been in front for [`REST_SECS`]; each began a phase of its use.
    pub fresh_launches: f32,
    /// Local days with a launch.
    pub days: f32,
    /// Launches at each place.
    pub by_place: [f32; MAX_PLACES],
    /// Launches on each class of network, and by [`charging_class`].
    pub by_network: [f32; 4],
    pub by_charging: [f32; 3],
}

saved!(Counters {
    launches,
    unlock_opens,
    choices,
    by_day_kind,
    fresh_launches,
    days,
    by_place,
    by_network,
    by_charging,
});

/// Unknown, no, yes.
pub(in crate::context) fn charging_class(battery: Battery) -> usize {
    battery.charging.map_or(0, |charging| 1 + usize::from(charging))
}

/// What one user's history knows of one app.
#[derive(Debug, Clone, Default)]
pub struct AppUse {
    pub(in crate::context) app: AppId,
    pub(in crate::context) counters: Counters,
    pub(in crate::context) first_launch: Timestamp,
    pub(in crate::context) recency_rank: u32,
    pub(in crate::context) frequency_rank: u32,
    pub(in crate::context) unlock_recency_rank: u32,
    /// Number of the session (from unlock to dark) in which it was last used.
    pub(in crate::context) last_session: u32,

    /// Times in the foreground of which the end is known, and their total length.
    pub(in crate::context) stays: u32,
    pub(in crate::context) stay_secs: f64,
    pub(in crate::context) last_stay_secs: Option<f32>,

    pub(in crate::context) first_uses: FirstUses,

    pub(in crate::context) last_notification: Option<Timestamp>,
    /// Posted since the app was last opened.
    pub(in crate::context) pending_notifications: u32,
    /// Posted since the screen last went dark after use; valid in `unseen_epoch` only.
    pub(in crate::context) unseen_notifications: u32,
    pub(in crate::context) unseen_epoch: u32,
    /// Unlocks that found an unseen notification of this app, and those that then opened it first.
    pub(in crate::context) notified_unlocks: u32,
    pub(in crate::context) answered_notifications: u32,
    /// Its notifications, however they were found.
    pub(in crate::context) answers: AnswerRate,
    pub(in crate::context) spontaneous: SpontaneousLaunches,
    pub(in crate::context) preference: Preference,
    /// Unlocks at which it [was a trigger](Self::is_trigger).
    pub(in crate::context) trigger_unlocks: f32,
    /// The triggers at unlocks that opened this app first; of those, the ones since whose last sign it had not been opened.
    pub(in crate::context) triggers: Row,

    /// The next different app.
    pub(in crate::context) next: Row,
    /// The first app of the next unlock; the same by [`Departure`].
    pub(in crate::context) next_unlock: Row,
    pub(in crate::context) next_unlock_by_departure: [Row; Departure::KINDS],
    /// The first app of the unlock after the one that this app was first in.
    pub(in crate::context) after_unlock_open: Row,
}

saved!(AppUse {
    app,
    counters,
    first_launch,
    last_session,
    stays,
    stay_secs,
    last_stay_secs as Secs,
    first_uses,
    last_notification,
    pending_notifications,
    unseen_notifications,
    unseen_epoch,
    notified_unlocks,
    answered_notifications,
    answers as Since<2>,
    spontaneous as Since<2>,
    preference as Since<3>,
    trigger_unlocks as Since<3>,
    triggers as Since<3>,
    next,
    next_unlock,
    next_unlock_by_departure,
    after_unlock_open,
} but {
    // The places in the history's lists.
    recency_rank,
    frequency_rank,
    unlock_recency_rank,
} checked by AppUse::validation_error);

impl AppUse {
    fn validation_error(&self) -> Option<&'static str> {
        let longest_secs = f64::from(self.stays) * i64::MAX as f64;
        (self.stay_secs > longest_secs).then_some("an app in front for longer than time lasts")
    }

    /// The app.
    pub fn app(&self) -> AppId {
        self.app
    }

    /// How often it came to the foreground.
    pub fn launches(&self) -> u32 {
        self.counters.launches.count
    }

    /// Whether it came to the foreground since local midnight. `hour`: the local hour at `now`, 0 to 23.99.
    pub(in crate::context) fn is_used_today(&self, now: Timestamp, hour: f32) -> bool {
        self.last_launch().is_some_and(|at| (now.secs_since(at) as f32) < HOUR_SECS * hour)
    }

    /// 0 for the app used last, 1 for the one before it, and so on; of no meaning before its first launch.
    pub fn recency_rank(&self) -> u32 {
        self.recency_rank
    }

    /// When it last came to the foreground.
    pub fn last_launch(&self) -> Option<Timestamp> {
        self.counters.launches.last
    }

    /// Whether it has not come to the foreground for more than so long.
    pub(in crate::context) fn is_rested(&self, now: Timestamp, secs: i64) -> bool {
        self.last_launch().is_none_or(|at| now.secs_since(at) > secs)
    }

    /// Whether a notification calls that came a moment ago.
    pub(in crate::context) fn is_calling(&self, now: Timestamp) -> bool {
        self.pending_secs(now).is_some_and(|secs| secs < CALL_SECS)
    }

    /// Age of the newest notification since the app was last opened.
    fn pending_secs(&self, now: Timestamp) -> Option<i64> {
        let at = self.last_notification.filter(|_| self.pending_notifications > 0)?;
        Some(now.secs_since(at).max(0))
    }

    /// Its newest sign of life: the last time in the foreground, or notification.
    pub(in crate::context) fn last_sign(&self) -> Option<Timestamp> {
        self.last_launch().max(self.last_notification)
    }

    /// Whether its last sign came half an hour ago, about.
    pub(in crate::context) fn is_trigger(&self, now: Timestamp) -> bool {
        self.last_sign().is_some_and(|at| TRIGGER_SECS.contains(&now.secs_since(at)))
    }

    /// By how much its recent use raises its choice weight: people use one app often for some hours.
    pub(in crate::context) fn phase(&self, now: Timestamp) -> f32 {
        let fade = |at| math::exp(-(now.secs_since(at).max(0) as f32) / PHASE_SECS);
        1.0 + PHASE * self.last_launch().map_or(0.0, fade)
    }

    /// Its weight in a spontaneous choice.
    pub(in crate::context) fn choice_weight(&self, now: Timestamp) -> f32 {
        if self.launches() > 0 { self.preference.rate() * self.phase(now) } else { 0.0 }
    }

    /// How fresh its notification is that waits for an answer: 1 at once, halved every ten minutes, 0 after two hours or
    /// where none waits.
    pub(in crate::context) fn freshness(&self, now: Timestamp) -> f32 {
        let secs = self.pending_secs(now).filter(|&secs| secs < LAPSE_SECS);
        secs.map_or(0.0, |secs| math::exp2(-(secs as f32) / ANSWER_SECS))
    }

    pub(in crate::context) fn rows_mut(&mut self) -> impl Iterator<Item = &mut Row> {
        [&mut self.next, &mut self.next_unlock, &mut self.after_unlock_open, &mut self.triggers]
            .into_iter()
            .chain(&mut self.next_unlock_by_departure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_waits_until_its_app_is_opened() {
        let mut used = AppUse { last_notification: Some(Timestamp(100)), ..AppUse::default() };
        assert_eq!(used.freshness(Timestamp(700)), 0.0);
        used.pending_notifications = 1;
        assert_eq!([100, 700, 50].map(|now| used.freshness(Timestamp(now))), [1.0, 0.5, 1.0]);
        assert_eq!(used.freshness(Timestamp(100 + LAPSE_SECS)), 0.0);
    }
}
