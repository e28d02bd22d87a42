//! Launch attribution: each launch is put down to what explains it. That is a resumed app, a notification, another app that
//! triggers it, the sequence before it, or nothing of these: a spontaneous launch.
//!
//! Plain shares of launches mix these causes. Each is estimated better by itself: how often the last app is resumed where
//! nothing else calls, how readily notifications are answered, what is opened spontaneously.

use super::app_use::{AppUse, REST_SECS};
use super::counts::Slot;
use super::propensity::{AnswerRate, Line, SpontaneousLaunches};
use super::saved::saved;
use super::sequence_model::SequenceCounts;
use crate::context::math;
use crate::data::Timestamp;

/// After so long the use of an app no longer shows in what is opened next.
// Simulator's law: a phase of 60 that fades with two hours is over after eight; to be learned from people instead.
const FORGOTTEN_SECS: i64 = 8 * 3600;

/// The phone was put away for the night, or as for one.
// Simulator's law: a rest of four hours ends a day there; to be learned from people instead.
const NIGHT_SECS: i64 = 4 * 3600;

/// An app that followed the same sequence in so large a share is explained by it.
// Simulator's law: half of its routines' strength is .43, and this was chosen on its people; to be learned from people
// instead.
const EXPLAINED_SHARE: f32 = 0.3;

/// What a history knows of the causes of its user's launches.
#[derive(Debug, Clone, Default)]
pub(in crate::context) struct LaunchAttribution {
    /// Unlocks where nothing called: whether they resumed the last app, by [`away`].
    pub resumed: Line,
    /// Spontaneous launches of apps that had not been in front for a while.
    pub spontaneous: SpontaneousLaunches,
    /// Spontaneous launches, whether or not the app had been in front lately.
    pub all_spontaneous: f32,
    pub answers: AnswerRate,
    /// Scratch: what followed the sequence before a launch.
    pub sequence_counts: SequenceCounts,
    /// Scratch, of one launch: each app's phase, by slot, and the apps that may have triggered it.
    phases: Vec<f32>,
    triggers_now: Vec<Slot>,
}

saved!(LaunchAttribution { resumed, spontaneous, all_spontaneous, answers } but { sequence_counts, phases, triggers_now });

/// A launch that is about to be folded in, where an app had been used before.
#[derive(Debug, Clone, Copy)]
pub(in crate::context) struct AttributedLaunch {
    pub slot: Slot,
    pub last: Slot,
    /// The app used before the last.
    pub before: Option<Slot>,
    pub now: Timestamp,
    pub hour_of_day: usize,
    /// Where it is the first after an unlock: for how long the phone had not been in use.
    pub unused_secs: Option<i64>,
}

impl AttributedLaunch {
    fn is_first(&self) -> bool {
        self.unused_secs.is_some()
    }

    /// Whether a launch of this app would be spontaneous: no return, no answer, and not explained by the sequence.
    fn is_spontaneous(&self, sequence_counts: &SequenceCounts, slot: Slot, used: &AppUse) -> bool {
        let is_return = slot == self.last || (!self.is_first() && self.before == Some(slot));
        !(is_return || used.is_calling(self.now) || is_explained(sequence_counts, slot, self.is_first()))
    }
}

impl LaunchAttribution {
    /// Counts what may have caused `launch`. [`sequence_counts`](Self::sequence_counts) are those before it.
    pub fn note(&mut self, launch: AttributedLaunch, uses: &mut [AppUse], recency: &[Slot]) {
        let AttributedLaunch { slot, last, now, hour_of_day, unused_secs, .. } = launch;
        if let Some(unused_secs) = unused_secs {
            let mut others = recency.iter().filter(|&&other| other != last);
            let is_quiet = !uses.iter().any(|used| used.is_calling(now))
                && !others.any(|&other| is_explained(&self.sequence_counts, other, true));
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
            self.count_triggers(&launch, uses);
        }
        if !launch.is_spontaneous(&self.sequence_counts, slot, &uses[slot.index()]) {
            return;
        }
        self.count_choice(&launch, uses);
        let used = &mut uses[slot.index()];
        self.all_spontaneous += 1.0;
        if used.is_rested(now, REST_SECS) {
            let is_anew = used.is_rested(now, FORGOTTEN_SECS);
            used.spontaneous.add_one(hour_of_day, is_anew);
            self.spontaneous.add_one(hour_of_day, is_anew);
        }
    }

    /// Counts the apps that may have triggered a first launch after an unlock.
    fn count_triggers(&mut self, launch: &AttributedLaunch, uses: &mut [AppUse]) {
        let AttributedLaunch { slot, now, .. } = *launch;
        let last_launch = uses[slot.index()].last_launch();
        self.triggers_now.clear();
        for (index, used) in uses.iter_mut().enumerate() {
            if index != slot.index() && used.is_trigger(now) {
                used.trigger_unlocks += 1.0;
                if last_launch < used.last_sign() {
                    self.triggers_now.push(Slot::at(index));
                }
            }
        }
        self.triggers_now.iter().for_each(|&trigger| uses[slot.index()].triggers.add_one(trigger));
    }

    /// Counts a spontaneous launch as a choice among all apps that could have been chosen.
    fn count_choice(&mut self, launch: &AttributedLaunch, uses: &mut [AppUse]) {
        let Self { sequence_counts, phases, .. } = self;
        phases.clear();
        phases.extend(uses.iter().enumerate().map(|(index, used)| {
            let takes_part =
                used.launches() > 0 && launch.is_spontaneous(sequence_counts, Slot::at(index), used);
            if takes_part { used.phase(launch.now) } else { 0.0 }
        }));
        let total: f32 = uses.iter().zip(&*phases).map(|(used, phase)| used.preference.rate() * phase).sum();
        if total > 0.0 {
            uses.iter_mut().zip(phases).for_each(|(used, phase)| used.preference.expect(*phase / total));
            uses[launch.slot.index()].preference.choose();
        }
    }

    /// Writes the times of the notifications that wait for an answer into `waiting`: one of each app, oldest first.
    pub fn waiting(uses: &[AppUse], waiting: &mut Vec<Timestamp>) {
        waiting.clear();
        let waits = |used: &&AppUse| used.pending_notifications > 0;
        waiting.extend(uses.iter().filter(waits).filter_map(|used| used.last_notification));
        waiting.sort_unstable();
    }
}

/// Whether the sequence before a launch explains this app.
fn is_explained(sequence_counts: &SequenceCounts, slot: Slot, is_first: bool) -> bool {
    sequence_counts.expects(slot, is_first) >= EXPLAINED_SHARE
}

/// Seconds out of use on the scale of [`LaunchAttribution::resumed`].
pub(in crate::context) fn away(unused_secs: i64) -> f32 {
    math::ln_1p(unused_secs.max(0) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::History;
    use crate::data::{AppId, Event, Signal, UserId};

    /// Each launch has one cause: a return, a notification, a sequence, or none of them.
    #[test]
    fn spontaneous_is_what_nothing_else_explains() {
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
        let attribution =
            |history: &History| (history.attribution.resumed.points(), history.attribution.spontaneous.count);
        assert_eq!(attribution(&history), (1.0, 1.0));
        // Called by a notification: no quiet unlock, and not spontaneous.
        let called = [
            (9000, Signal::Notification(AppId(2))),
            (60, Signal::Unlock),
            (1, launch(2)),
            (9, Signal::ScreenOff),
        ];
        day(&mut history, &called);
        assert_eq!(attribution(&history), (1.0, 1.0));
        assert!(history.attribution.answers.rate() > AnswerRate::default().rate());
    }

    /// What is at hand is opened more often than what is liked as well: the one is chosen among few, the other against odds.
    #[test]
    fn preference_is_not_being_at_hand() {
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
        let rate = |app| history.app_use(AppId(app)).unwrap().preference.rate();
        let share = |app| history.app_use(AppId(app)).unwrap().launches();
        assert!(share(1) > 4 * share(3));
        assert!(rate(3) > 0.3 * rate(1), "{} {}", rate(3), rate(1));
    }
}
