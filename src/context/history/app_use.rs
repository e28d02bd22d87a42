//! What one user's history knows of one app.

use super::counts::{HOUR_SECS, Row, Tally};
use super::saved::{Gone, Secs, saved};
use crate::data::{AppId, Battery, Timestamp};

/// Places that one history tells apart; beyond them the one visited least is forgotten.
// Source: memory. Each place takes four bytes of every app.
pub(in crate::context) const MAX_PLACES: usize = 16;

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
    /// Launches of an app that had not come to the foreground for an hour.
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

    pub(in crate::context) last_notification: Option<Timestamp>,
    /// Posted since the app was last opened.
    pub(in crate::context) pending_notifications: u32,
    /// Posted since the screen last went dark after use; valid in `unseen_epoch` only.
    pub(in crate::context) unseen_notifications: u32,
    pub(in crate::context) unseen_epoch: u32,
    /// Unlocks that found an unseen notification of this app, and those that then opened it first.
    pub(in crate::context) notified_unlocks: u32,
    pub(in crate::context) answered_notifications: u32,

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
    // First uses in a day, by quarter of an hour.
    #[after(Gone<1, 3, ([[u16; 2]; 96], [f32; 2])>)]
    last_notification,
    pending_notifications,
    unseen_notifications,
    unseen_epoch,
    notified_unlocks,
    answered_notifications,
    // How notifications were answered, and spontaneous launches; preferences and triggers.
    #[after(Gone<2, 3, [f32; 28]>, Gone<3, 3, ([f32; 3], Row)>)]
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

    /// Its newest sign of life: the last time in the foreground, or notification.
    pub(in crate::context) fn last_sign(&self) -> Option<Timestamp> {
        self.last_launch().max(self.last_notification)
    }

    pub(in crate::context) fn rows_mut(&mut self) -> impl Iterator<Item = &mut Row> {
        [&mut self.next, &mut self.next_unlock, &mut self.after_unlock_open]
            .into_iter()
            .chain(&mut self.next_unlock_by_departure)
    }
}
