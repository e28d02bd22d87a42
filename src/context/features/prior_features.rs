//! Prior features of an app, beside its recency, notifications and sequences: the probability that it is due, what a trigger
//! says of it, and the user's preference.

use super::{share, smoothed};
use crate::context::history::History;
use crate::context::history::app_use::AppUse;
use crate::context::history::counts::Slot;
use crate::context::math;
use crate::data::Timestamp;

/// Unlocks by which an app's lift is drawn towards 1, and its conditional share towards its share of launches.
// Source: measured (docs/constants.md).
const LIFT_PRIOR: f32 = 3.0;

/// The prior features of one app.
#[derive(Debug, Clone, Copy)]
pub(in crate::context) struct AppPrior {
    /// Probability that it is opened once a day, has not been today, and is due now.
    pub due: f32,
    /// Of the trigger that raises the app's share most: the logarithm of its lift, and the share of the unlocks with that
    /// trigger that opened the app. 0 without a trigger.
    pub log_lift: f32,
    pub conditional_share: f32,
    /// How often it is chosen over others, 1 being as often as any, and the choices expected of it: the evidence.
    pub preference: f32,
    pub expected: f32,
    /// By how much its recent use raises its choice weight.
    pub phase: f32,
    /// Its share of the choice weights of all apps.
    pub choice_share: f32,
}

/// What the prior features of all apps have in common at one moment.
#[derive(Debug, Clone, Default)]
pub(in crate::context) struct PriorFeatures {
    now: Timestamp,
    hour: f32,
    triggers: Vec<Trigger>,
    total_weight: f32,
}

/// An app whose last launch or notification came about half an hour ago: others may be opened because of it.
#[derive(Debug, Clone, Copy)]
struct Trigger {
    slot: Slot,
    last_sign: Option<Timestamp>,
    /// Unlocks at which it was a trigger, and their share of all.
    unlocks: f32,
    share: f32,
}

impl PriorFeatures {
    pub fn set(&mut self, history: &History, now: Timestamp) {
        let unlocks = history.totals.unlock_opens.count as f32;
        let triggers_now = history.uses.iter().enumerate().filter(|(_, used)| used.is_trigger(now));
        self.triggers.clear();
        self.triggers.extend(triggers_now.map(|(index, used)| Trigger {
            slot: Slot::at(index),
            last_sign: used.last_sign(),
            unlocks: used.trigger_unlocks,
            // Source: paper. Laplace's rule of succession (1814).
            share: (used.trigger_unlocks + 1.0) / (unlocks + 2.0),
        }));
        self.now = now;
        (self.hour, _) = history.wall_clock(now);
        self.total_weight = history.uses.iter().map(|used| used.choice_weight(now)).sum();
    }

    /// Those of one app. `launch_share` is its share of all launches.
    pub fn of(&self, used: &AppUse, slot: Slot, launch_share: f32) -> AppPrior {
        let is_used_today = used.is_used_today(self.now, self.hour);
        let [log_lift, conditional_share] = self.by_trigger(used, slot, launch_share);
        AppPrior {
            due: if is_used_today { 0.0 } else { used.first_uses.due(self.hour) },
            log_lift,
            conditional_share,
            preference: used.preference.rate(),
            expected: used.preference.expected(),
            phase: used.phase(self.now),
            choice_share: share(used.choice_weight(self.now), self.total_weight),
        }
    }

    /// Log lift and conditional share, by triggers since whose last sign the app has not been opened.
    fn by_trigger(&self, used: &AppUse, slot: Slot, launch_share: f32) -> [f32; 2] {
        let opens = used.counters.unlock_opens.count as f32;
        let may_follow = |trigger: &&Trigger| trigger.slot != slot && used.last_launch() < trigger.last_sign;
        self.triggers.iter().filter(may_follow).fold([0.0; 2], |[log_lift, conditional_share], trigger| {
            let times = used.triggers.count(trigger.slot);
            let expected = (opens + LIFT_PRIOR) * trigger.share;
            let lifted = math::ln((times + LIFT_PRIOR * trigger.share) / expected);
            let shared = smoothed(times, trigger.unlocks, launch_share, LIFT_PRIOR);
            [log_lift.max(lifted), conditional_share.max(shared)]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{AppId, Event, Signal, UserId};

    /// Maps is opened half an hour after the calendar's reminder, Chat at other times: now Maps is triggered, until it is
    /// opened.
    #[test]
    fn a_reminder_speaks_for_what_followed_it() {
        let (calendar, maps, chat) = (AppId(1), AppId(2), AppId(3));
        let mut history = History::default();
        let mut observe = |at, signal| history.observe(&Event::new(UserId(1), Timestamp(at), signal));
        for day in 0..10 {
            for (secs, signal) in [
                (0, Signal::Unlock),
                (1, Signal::Launch(chat)),
                (60, Signal::ScreenOff),
                (4_000, Signal::Notification(calendar)),
                (5_900, Signal::Unlock),
                (5_901, Signal::Launch(maps)),
                (5_960, Signal::ScreenOff),
            ] {
                observe(86_400 * day + secs, signal);
            }
        }
        observe(864_000 + 4_000, Signal::Notification(calendar));
        let mut prior_features = PriorFeatures::default();
        let mut at = |history: &History, secs: i64, app| {
            prior_features.set(history, Timestamp(864_000 + secs));
            let (used, slot) = (history.app_use(app).unwrap(), history.slot(app).unwrap());
            prior_features.of(used, slot, 0.5)
        };
        let (of_maps, of_chat) = (at(&history, 5_900, maps), at(&history, 5_900, chat));
        assert!(
            of_maps.conditional_share > 0.8 && of_maps.log_lift > of_chat.log_lift,
            "{of_maps:?} {of_chat:?}"
        );
        assert!(of_chat.conditional_share < 0.2, "{of_chat:?}");
        assert_eq!(at(&history, 4_600, maps).conditional_share, 0.0, "too early");
        history.observe(&Event::new(UserId(1), Timestamp(864_000 + 5_901), Signal::Launch(maps)));
        assert_eq!(at(&history, 5_910, maps).conditional_share, 0.0, "opened");
    }
}
