//! Why apps were opened, as far as the past tells: taken up again, called by a notification, heralded by another app,
//! foretold by a sequence, or of the user's own accord.
//!
//! Plain shares of launches mix these. How often someone goes back to the last app where nothing else calls, how readily
//! notifications are answered, and what is opened unprompted are habits of their own, and better known apart.

use super::app_use::{AppUse, REST_SECS};
use super::counts::Slot;
use super::inclination::{Answers, Line, OwnAccord};
use super::math;
use super::recall::Recalled;
use super::saved::saved;
use crate::data::Timestamp;

/// After so long the use of an app no longer shows in what is opened next.
// Simulator's law: a phase of 60 that fades with two hours is over after eight; to be learned from people instead.
const FORGOTTEN_SECS: i64 = 8 * 3600;

/// The phone was put away for the night, or as for one.
// Simulator's law: a rest of four hours ends a day there; to be learned from people instead.
const NIGHT_SECS: i64 = 4 * 3600;

/// An app that followed the same sequence in so large a share was foretold by it.
// Simulator's law: half of its routines' strength is .43, and this was chosen on its people; to be learned from people
// instead.
const FORETOLD: f32 = 0.3;

/// What a history knows of its user's motives.
#[derive(Debug, Clone, Default)]
pub(super) struct Motives {
    /// Unlocks where nothing called: whether they resumed the last app, by [`away`].
    pub resumed: Line,
    pub own_accord: OwnAccord,
    /// Launches that were no return, no answer and not foretold, whether or not the app had been in front lately.
    pub unprompted: f32,
    pub answers: Answers,
    /// Room for a look at what is foretold.
    pub recalled: Recalled,
    /// Room for what tempts at a launch, by slot, and for what heralds.
    phases: Vec<f32>,
    heralding: Vec<Slot>,
}

saved!(Motives { resumed, own_accord, unprompted, answers } but { recalled, phases, heralding });

/// A launch that is about to be folded in, where an app had been used before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Motive {
    pub slot: Slot,
    pub last: Slot,
    /// The app used before the last.
    pub before: Option<Slot>,
    pub now: Timestamp,
    pub hour_of_day: usize,
    /// Where it is the first after an unlock: for how long the phone had not been in use.
    pub unused_secs: Option<i64>,
}

impl Motive {
    fn is_first(&self) -> bool {
        self.unused_secs.is_some()
    }

    /// Whether an app would be opened of the user's own accord: it is no return, no answer and not foretold.
    fn leaves_free(&self, recalled: &Recalled, slot: Slot, used: &AppUse) -> bool {
        let is_return = slot == self.last || (!self.is_first() && self.before == Some(slot));
        !(is_return || used.is_calling(self.now) || is_foretold(recalled, slot, self.is_first()))
    }
}

impl Motives {
    /// Notes why `launch` may have been made. [`recalled`](Self::recalled) tells what the sequence before it foretold.
    pub fn note(&mut self, launch: Motive, uses: &mut [AppUse], recency: &[Slot]) {
        let Motive { slot, last, now, hour_of_day, unused_secs, .. } = launch;
        if let Some(unused_secs) = unused_secs {
            let mut others = recency.iter().filter(|&&other| other != last);
            let is_quiet = !uses.iter().any(|used| used.is_calling(now))
                && !others.any(|&other| is_foretold(&self.recalled, other, true));
            if is_quiet && unused_secs < NIGHT_SECS {
                self.resumed.add(away(unused_secs), slot == last);
            }
            for (index, used) in uses.iter_mut().enumerate() {
                let freshness = used.freshness(now);
                if freshness > 0.0 {
                    let is_answered = slot.index() == index;
                    used.answers.add(freshness, is_answered);
                    self.answers.add(freshness, is_answered);
                }
            }
        }
        if launch.is_first() {
            self.note_heralds(&launch, uses);
        }
        if !launch.leaves_free(&self.recalled, slot, &uses[slot.index()]) {
            return;
        }
        self.note_liking(&launch, uses);
        let used = &mut uses[slot.index()];
        self.unprompted += 1.0;
        if used.is_rested(now, REST_SECS) {
            let is_anew = used.is_rested(now, FORGOTTEN_SECS);
            used.own_accord.add_one(hour_of_day, is_anew);
            self.own_accord.add_one(hour_of_day, is_anew);
        }
    }

    /// Notes on whose account an app may have been opened first.
    fn note_heralds(&mut self, launch: &Motive, uses: &mut [AppUse]) {
        let Motive { slot, now, .. } = *launch;
        let last_launch = uses[slot.index()].last_launch();
        self.heralding.clear();
        for (index, used) in uses.iter_mut().enumerate() {
            if index != slot.index() && used.is_heralding(now) {
                used.heralding_unlocks += 1.0;
                if last_launch < used.last_sign() {
                    self.heralding.push(Slot::at(index));
                }
            }
        }
        self.heralding.iter().for_each(|&herald| uses[slot.index()].heralds.add_one(herald));
    }

    /// Notes what a free choice tells of all apps that could have been chosen.
    fn note_liking(&mut self, launch: &Motive, uses: &mut [AppUse]) {
        let Self { recalled, phases, .. } = self;
        phases.clear();
        phases.extend(uses.iter().enumerate().map(|(index, used)| {
            let takes_part = used.launches() > 0 && launch.leaves_free(recalled, Slot::at(index), used);
            if takes_part { used.phase(launch.now) } else { 0.0 }
        }));
        let total: f32 = uses.iter().zip(&*phases).map(|(used, phase)| used.liking.rate() * phase).sum();
        if total > 0.0 {
            uses.iter_mut().zip(phases).for_each(|(used, phase)| used.liking.expect(*phase / total));
            uses[launch.slot.index()].liking.choose();
        }
    }

    /// Writes into `waiting` when the notifications came that wait for an answer, one an app, oldest first.
    pub fn waiting(uses: &[AppUse], waiting: &mut Vec<Timestamp>) {
        waiting.clear();
        let waits = |used: &&AppUse| used.pending_notifications > 0;
        waiting.extend(uses.iter().filter(waits).filter_map(|used| used.last_notification));
        waiting.sort_unstable();
    }
}

/// Whether the sequence before a launch foretold this app.
fn is_foretold(recalled: &Recalled, slot: Slot, is_first: bool) -> bool {
    recalled.expects(slot, is_first) >= FORETOLD
}

/// A time away, as the line of [`Motives::resumed`] has it.
pub(super) fn away(unused_secs: i64) -> f32 {
    math::ln_1p(unused_secs.max(0) as f32)
}

#[cfg(test)]
mod tests {
    use super::super::History;
    use super::*;
    use crate::data::{AppId, Event, Signal, UserId};

    /// Each launch has one motive: a return, a call, a sequence, or none of them.
    #[test]
    fn own_accord_is_what_nothing_else_explains() {
        let mut history = History::default();
        let mut now = 0;
        let mut day = |history: &mut History, signals: &[(i64, Signal)]| {
            for &(secs, signal) in signals {
                now += secs;
                history.observe(&Event::new(UserId(1), Timestamp(now), signal));
            }
        };
        let launch = |app| Signal::Launch(AppId(app));
        day(&mut history, &[(0, Signal::Unlock), (1, launch(1)), (9, Signal::ScreenOff)]);
        // Resumed; then another app, for the first time; then back.
        let resumed =
            [(60, Signal::Unlock), (1, launch(1)), (9, launch(2)), (9, launch(1)), (9, Signal::ScreenOff)];
        day(&mut history, &resumed);
        let motives =
            |history: &History| (history.motives.resumed.points(), history.motives.own_accord.count);
        assert_eq!(motives(&history), (1.0, 1.0));
        // Called by a notification: no quiet unlock, and nothing of its own accord.
        let called = [
            (9000, Signal::Notification(AppId(2))),
            (60, Signal::Unlock),
            (1, launch(2)),
            (9, Signal::ScreenOff),
        ];
        day(&mut history, &called);
        assert_eq!(motives(&history), (1.0, 1.0));
        assert!(history.motives.answers.rate() > Answers::default().rate());
    }

    /// What is at hand is opened more often than what is liked as well: the one is chosen among few, the other against odds.
    #[test]
    fn liking_is_not_being_at_hand() {
        let mut history = History::default();
        let mut now = 0;
        let mut open = |secs: i64, app| {
            now += secs;
            history.observe(&Event::new(UserId(1), Timestamp(now), Signal::Launch(AppId(app))));
        };
        for round in 0..200 {
            // 1 is taken up anew, and again a moment later; 3 and 4 every other time as often as 1, always after a rest.
            open(9 * 3600, 1);
            open(60, 2 + round % 3);
            open(60, 5);
            open(60, 1);
        }
        let rate = |app| history.app_use(AppId(app)).unwrap().liking.rate();
        let share = |app| history.app_use(AppId(app)).unwrap().launches();
        assert!(share(1) > 4 * share(3));
        assert!(rate(3) > 0.3 * rate(1), "{} {}", rate(3), rate(1));
    }
}
