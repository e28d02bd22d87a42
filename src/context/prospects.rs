//! What may be opened next beside returns, answers and routines: what is due, what is heralded, what is liked.

use super::app_use::AppUse;
use super::counts::Slot;
use super::features::{share, smoothed};
use super::history::History;
use super::math;
use crate::data::Timestamp;

/// Unlocks by which an app's lift is drawn towards none, and its share after a herald towards its share of launches.
// Source: measured (docs/constants.md).
const LIFT_PRIOR: f32 = 3.0;

/// What speaks for one app.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prospect {
    /// How probable it is that it is opened once a day, has not been today, and is due.
    pub due: f32,
    /// How strongly the most telling herald speaks for it: by how much it raises the app's share, in logarithms, and the
    /// share of the unlocks with that herald that opened the app. 0 where there is none.
    pub lift: f32,
    pub heralded: f32,
    /// How well it is liked, 1 being as well as any, and in how many choices that showed.
    pub liking: f32,
    pub expected: f32,
    /// How much more it tempts than after a long rest.
    pub phase: f32,
    /// Its share of all that tempts now.
    pub tempts: f32,
}

/// What the prospects of all apps have in common at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Prospects {
    now: Timestamp,
    hour: f32,
    heralds: Vec<Herald>,
    tempting: f32,
}

/// An app whose last sign of life came half an hour ago, when others have been opened on its account.
#[derive(Debug, Clone, Copy)]
struct Herald {
    slot: Slot,
    last_sign: Option<Timestamp>,
    /// Unlocks at which it heralded, and their share of all.
    unlocks: f32,
    share: f32,
}

impl Prospects {
    pub fn set(&mut self, history: &History, now: Timestamp) {
        let unlocks = history.totals.unlock_opens.count as f32;
        let heralding = history.uses.iter().enumerate().filter(|(_, used)| used.is_heralding(now));
        self.heralds.clear();
        self.heralds.extend(heralding.map(|(index, used)| Herald {
            slot: Slot::at(index),
            last_sign: used.last_sign(),
            unlocks: used.heralding_unlocks,
            // Source: paper. Laplace's rule of succession (1814).
            share: (used.heralding_unlocks + 1.0) / (unlocks + 2.0),
        }));
        self.now = now;
        (self.hour, _) = history.wall_clock(now);
        self.tempting = history.uses.iter().map(|used| used.tempts(now)).sum();
    }

    /// `launch_share`: the app's share of all launches.
    pub fn of(&self, used: &AppUse, slot: Slot, launch_share: f32) -> Prospect {
        let is_used_today = used.is_used_today(self.now, self.hour);
        let [lift, heralded] = self.heralded(used, slot, launch_share);
        Prospect {
            due: if is_used_today { 0.0 } else { used.first_uses.due(self.hour) },
            lift,
            heralded,
            liking: used.liking.rate(),
            expected: used.liking.expected(),
            phase: used.phase(self.now),
            tempts: share(used.tempts(self.now), self.tempting),
        }
    }

    /// Of an app that has not been opened since its herald's last sign.
    fn heralded(&self, used: &AppUse, slot: Slot, launch_share: f32) -> [f32; 2] {
        let opens = used.counters.unlock_opens.count as f32;
        let is_heralded = |herald: &&Herald| herald.slot != slot && used.last_launch() < herald.last_sign;
        self.heralds.iter().filter(is_heralded).fold([0.0; 2], |[lift, heralded], herald| {
            let times = used.heralds.count(herald.slot);
            let expected = (opens + LIFT_PRIOR) * herald.share;
            let lifted = math::ln((times + LIFT_PRIOR * herald.share) / expected);
            let shared = smoothed(times, herald.unlocks, launch_share, LIFT_PRIOR);
            [lift.max(lifted), heralded.max(shared)]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{AppId, Event, Signal, UserId};

    /// Maps is opened half an hour after the calendar's reminder, Chat at other times: now Maps is heralded, until it is
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
        let mut prospects = Prospects::default();
        let mut at = |history: &History, secs: i64, app| {
            prospects.set(history, Timestamp(864_000 + secs));
            let (used, slot) = (history.app_use(app).unwrap(), history.slot(app).unwrap());
            prospects.of(used, slot, 0.5)
        };
        let (of_maps, of_chat) = (at(&history, 5_900, maps), at(&history, 5_900, chat));
        assert!(of_maps.heralded > 0.8 && of_maps.lift > of_chat.lift, "{of_maps:?} {of_chat:?}");
        assert!(of_chat.heralded < 0.2, "{of_chat:?}");
        assert_eq!(at(&history, 4_600, maps).heralded, 0.0, "too early");
        history.observe(&Event::new(UserId(1), Timestamp(864_000 + 5_901), Signal::Launch(maps)));
        assert_eq!(at(&history, 5_910, maps).heralded, 0.0, "opened");
    }
}
