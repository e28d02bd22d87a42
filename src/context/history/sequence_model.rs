//! A sequence model of variable order: what followed when the user's last apps were the same as now.
//!
//! A [`Row`](super::counts::Row) knows what follows one app, [`Pairs`](super::counts::Pairs) what follows two. Routines
//! are longer, and their ends often share a middle, so this keeps the launches themselves and looks for earlier stretches
//! that end like the present one, as prediction by partial matching does (Cleary, Witten 1984). A run of one app counts
//! as one step.

use std::collections::VecDeque;

use super::counts::Slot;
use super::saved::{Restorer, Saved, Saver, UpTo, saved};
use crate::error::Result;

/// Orders counted apart: a match of this many apps or more is of the highest.
// Source: paper. Such models of text are best at about five (Cleary, Teahan, "Unbounded length contexts for PPM", 1997).
pub(in crate::context) const ORDERS: usize = 5;

/// Steps remembered: a month of a phone that opens 130 apps a day.
// Source: memory. Four bytes each.
const STEPS: usize = 4096;

/// First apps after an unlock remembered.
// Source: memory. Twelve bytes each.
const OPENS: usize = 2048;

/// The app of a step, or [`Slot::NONE`] where it has been forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step(Slot);

/// Whether it is known, and which it is.
impl Saved for Step {
    fn save(&self, to: &mut Saver) -> Result<()> {
        Some(self.0).filter(|slot| *slot != Slot::NONE).save(to)
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self> {
        Ok(Self(Option::restore(from)?.unwrap_or(Slot::NONE)))
    }
}

/// The last apps used, and what the last unlocks opened among them.
#[derive(Debug, Clone, Default)]
pub(in crate::context) struct SequenceModel {
    /// Apps used, a run of one app once, oldest first.
    steps: VecDeque<Step>,
    /// Steps that are no longer remembered.
    dropped: u32,
    /// Whether the newest step is a run.
    is_run: bool,
    opens: VecDeque<Open>,
}

/// An unlock that opened an app.
#[derive(Debug, Clone, Copy)]
struct Open {
    /// How many steps there were before, since ever.
    step: u32,
    was_run: bool,
    app: Step,
}

saved!(Open { step, was_run, app });
saved!(SequenceModel { steps as UpTo<STEPS>, dropped, is_run, opens as UpTo<OPENS> } checked by SequenceModel::validation_error);

/// How often each app followed, by the order of the match.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(in crate::context) struct Counts(pub [f32; ORDERS]);

/// How often each app followed, indexed by slot, and their sum.
#[derive(Debug, Clone, Default)]
struct Followed {
    counts: Vec<Counts>,
    total: Counts,
}

/// What followed earlier stretches that ended like the present one.
#[derive(Debug, Clone, Default)]
pub(in crate::context) struct SequenceCounts {
    /// For each earlier step, by how many apps the stretch up to it matches the present one.
    matches: Vec<u8>,
    /// The next different app.
    next: Followed,
    /// The first app after an unlock.
    opened: Followed,
    /// The same, where the newest app was a run then as it is now.
    opened_alike: Followed,
}

impl SequenceModel {
    fn validation_error(&self) -> Option<&'static str> {
        let steps = u64::from(self.dropped) + self.steps.len() as u64;
        let is_ahead = |open: &Open| u64::from(open.step) > steps;
        self.opens.iter().any(is_ahead).then_some("an unlock after more steps than there were")
    }

    pub fn launch(&mut self, slot: Slot, is_first_after_unlock: bool) {
        let app = Step(slot);
        if is_first_after_unlock {
            if self.opens.len() == OPENS {
                self.opens.pop_front();
            }
            let step = self.dropped + self.steps.len() as u32;
            self.opens.push_back(Open { step, was_run: self.is_run, app });
        }
        self.is_run = self.steps.back() == Some(&app);
        if self.is_run {
            return;
        }
        if self.steps.len() == STEPS {
            self.steps.pop_front();
            self.dropped += 1;
        }
        self.steps.push_back(app);
    }

    pub fn forget(&mut self, slot: Slot) {
        let forget = |kept: &mut Step| {
            if kept.0 == slot {
                kept.0 = Slot::NONE;
            }
        };
        self.steps.iter_mut().for_each(forget);
        self.opens.iter_mut().for_each(|open| forget(&mut open.app));
    }

    /// Counts what followed the present context before, among `slots` apps.
    pub fn count(&self, slots: usize, sequence_counts: &mut SequenceCounts) {
        let SequenceCounts { matches, next, opened, opened_alike } = sequence_counts;
        [&mut *next, opened, opened_alike].into_iter().for_each(|followed| followed.reset(slots));
        let steps = self.steps.len();
        // `matches[n]` speaks of the first n steps.
        matches.clear();
        matches.resize(steps + 1, 0);
        self.each_match(|step, order| {
            matches[step + 1] = order as u8;
            next.add(self.steps[step + 1], order);
        });
        // Unlocks at the very same step: everything up to it is the present stretch itself.
        matches[steps] = ORDERS.min(steps) as u8;
        for open in &self.opens {
            let order = open.step.checked_sub(self.dropped).map_or(0, |step| matches[step as usize]);
            if order > 0 {
                opened.add(open.app, order.into());
                if open.was_run == self.is_run {
                    opened_alike.add(open.app, order.into());
                }
            }
        }
        [next, opened, opened_alike].into_iter().for_each(Followed::add_up);
    }

    /// Shows `visit` each earlier step of the newest app, and by how many apps the stretch up to it matches the present one.
    fn each_match(&self, mut visit: impl FnMut(usize, usize)) {
        let Some((&last, newest)) = self.steps.back().zip(self.steps.len().checked_sub(1)) else { return };
        for (step, _) in self.steps.range(..newest).enumerate().filter(|&(_, &app)| app == last) {
            let back = (1..ORDERS.min(step + 1))
                .take_while(|&back| self.steps[step - back] == self.steps[newest - back])
                .count();
            visit(step, 1 + back);
        }
    }
}

impl Followed {
    fn reset(&mut self, slots: usize) {
        self.counts.clear();
        self.counts.resize(slots, Counts::default());
        self.total = Counts::default();
    }

    /// Counts `app` once, after a match of this order and no higher one.
    fn add(&mut self, app: Step, order: usize) {
        if let Some(counts) = self.counts.get_mut(app.0.index()) {
            counts.0[order - 1] += 1.0;
        }
    }

    /// Adds the counts of higher orders to those of lower ones: a match of one order is a match of all below it, too.
    fn add_up(&mut self) {
        for Counts(counts) in &mut self.counts {
            for order in (1..ORDERS).rev() {
                counts[order - 1] += counts[order];
            }
            self.total.0.iter_mut().zip(counts).for_each(|(total, count)| *total += *count);
        }
    }

    /// The share of `slot`, order by order, each drawn towards the one below it and the lowest towards `prior`, which is
    /// worth one observation.
    // Source: paper. The escape of Cleary and Witten's method A (1984).
    fn shares(&self, slot: Slot, prior: f32) -> [f32; ORDERS] {
        let counts = self.counts.get(slot.index()).copied().unwrap_or_default();
        let mut share = prior;
        std::array::from_fn(|order| {
            share = (counts.0[order] + share) / (self.total.0[order] + 1.0);
            share
        })
    }
}

impl SequenceCounts {
    /// Shares of `slot` among what followed, of each order: the next different app, the first app after an unlock, the same
    /// where the newest app was a run alike. The lowest is drawn towards `prior`.
    pub fn shares(&self, slot: Slot, prior: f32) -> [[f32; ORDERS]; 3] {
        [&self.next, &self.opened, &self.opened_alike].map(|followed| followed.shares(slot, prior))
    }

    /// How often anything followed, in the same order.
    pub fn totals(&self) -> [&Counts; 3] {
        [&self.next.total, &self.opened.total, &self.opened_alike.total]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 2 3 leads to 4, 5 2 3 to 6: only the third app back tells.
    #[test]
    fn the_longest_match_decides() {
        let mut model = SequenceModel::default();
        for _ in 0..5 {
            for slot in [1, 2, 3, 4, 5, 2, 3, 6] {
                model.launch(Slot::at(slot), false);
            }
        }
        let mut sequence_counts = SequenceCounts::default();
        for (start, expected) in [(1, 4), (5, 6)] {
            let mut present = model.clone();
            [start, 2, 3].into_iter().for_each(|slot| present.launch(Slot::at(slot), false));
            present.count(8, &mut sequence_counts);
            assert_eq!(sequence_counts.next.total.0[..3], [10.0, 10.0, 5.0]);
            assert_eq!(sequence_counts.next.counts[expected].0[..3], [5.0, 5.0, 5.0]);
            let [next, ..] = sequence_counts.shares(Slot::at(expected), 0.0);
            assert!(next[2] > 0.9 && next[1] < 0.6, "{next:?}");
        }
    }

    #[test]
    fn runs_are_one_step_and_tell_unlocks_apart() {
        let mut model = SequenceModel::default();
        for _ in 0..4 {
            model.launch(Slot::at(1), false);
            model.launch(Slot::at(1), true); // resumed ...
            model.launch(Slot::at(2), true); // ... and then left for another
        }
        model.launch(Slot::at(1), false);
        let mut sequence_counts = SequenceCounts::default();
        model.count(3, &mut sequence_counts);
        assert_eq!(
            (sequence_counts.opened.counts[1].0[0], sequence_counts.opened.counts[2].0[0]),
            (4.0, 4.0)
        );
        assert_eq!(
            (sequence_counts.opened_alike.counts[1].0[0], sequence_counts.opened_alike.counts[2].0[0]),
            (4.0, 0.0)
        );
        assert_eq!(model.steps.len(), 9);
    }

    #[test]
    fn stays_bounded_and_forgets() {
        let (mut model, mut sequence_counts) = (SequenceModel::default(), SequenceCounts::default());
        for step in 0..20_000 {
            model.launch(Slot::at(step % 7), step % 3 == 0);
        }
        assert_eq!((model.steps.len(), model.opens.len()), (STEPS, OPENS));
        model.count(7, &mut sequence_counts);
        assert!(sequence_counts.opened.total.0[0] > 0.0);
        model.forget(Slot::at(3));
        model.count(7, &mut sequence_counts);
        assert_eq!(sequence_counts.next.counts[3], Counts::default());
        SequenceModel::default().count(7, &mut sequence_counts);
        assert_eq!(sequence_counts.shares(Slot::at(2), 0.5), [[0.5; ORDERS]; 3]);
    }
}
