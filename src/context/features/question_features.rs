//! Features of the question, whatever the candidate: how long and how fresh the history is, how busy the moment, how
//! familiar the sequence before it.

use super::columns::label;
use crate::context::history::counts::HOUR_SECS;
use crate::context::math;
use crate::context::question::Context;
use crate::data::Timestamp;

/// Last launches that [`QuestionFeatures::recent_apps`] counts the different apps of.
// Source: by hand, not measured: one column of the gate.
const RECENT_APPS: usize = 10;

/// Declares the columns: the fields, their names, and what computes them come from the same lines.
macro_rules! columns {
    (($context:ident) $($name:ident $(@ $version:literal)? $meaning:literal = $value:expr;)*) => {
        /// Features of a question, whatever the candidate. Counts and times are on a log scale (`ln(1 + x)`); what is
        /// unknown is NaN.
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub struct QuestionFeatures {
            $(#[doc = $meaning] pub $name: f32,)*
        }

        impl QuestionFeatures {
            /// Names of the [`columns`](Self::columns), in order: as in a model file, see [`columns`](super::columns).
            pub const NAMES: &[&str] = &[$(label!($name $(@ $version)?)),*];

            /// All fields, in order.
            pub fn columns(&self) -> [f32; Self::NAMES.len()] {
                [$(self.$name),*]
            }

            fn of($context: &Context<'_>) -> Self {
                Self { $($name: $value),* }
            }
        }
    };
}

columns! { (q)
    launches "Launches in the history: its length." = math::ln_1p(q.launches() as f32);
    candidates "How many apps are to be ranked." = math::ln_1p(q.candidates().len() as f32);
    age "Seconds since the event before the question: the age of what is known." = ln_secs(q.now, q.history.event_before);
    unused_for "Seconds since the screen was last in use." = ln_secs(q.now, q.history.use_ended);
    idle_before_dark "Seconds without an app in front before the screen went dark."
        = q.history.idle_before_dark_secs.map_or(f32::NAN, math::ln_1p);
    notified_apps "Apps with unseen notifications." = math::ln_1p(q.history.notified.len() as f32);
    pair_seen "How often the last two apps came in a row before." = math::ln_1p(q.pair_seen());
    last_seen "How often an unlock followed the last app before." = math::ln_1p(q.last_seen());
    recent_apps "Different apps among the last ten launches." = q.recent_apps();
    launches_last_hour "Launches in the last hour." = math::ln_1p(q.launches_last_hour());
    resume_rate "Share of the last twenty unlocks that reopened the app used last." = q.resume_rate();
    hour "Hour of the day, 0 to 23.99." = q.history.wall_clock(q.now).0;
    unforeseen "Share of past questions that were answered by an app opened for the first time."
        = q.none_of_these() as f32;
}

impl Context<'_> {
    /// Its features, whatever the candidate.
    pub fn question_features(&self) -> QuestionFeatures {
        QuestionFeatures::of(self)
    }

    /// Seconds since the event before the question, which tells how old the history is; `None` before the second event.
    /// A clock that went backwards makes it no younger than zero.
    pub fn age_secs(&self) -> Option<i64> {
        self.history.event_before.map(|before| self.now.secs_since(before).max(0))
    }

    /// Seconds since the screen was last in use; `None` before it was. A clock that went backwards makes it no less than zero.
    pub fn unused_secs(&self) -> Option<i64> {
        self.history.use_ended.map(|ended| self.now.secs_since(ended).max(0))
    }

    fn pair_seen(&self) -> f32 {
        let pair = self.history.nth_last(1).zip(self.history.nth_last(0));
        pair.and_then(|pair| self.history.pairs.get(pair)).map_or(0.0, |row| row.total())
    }

    fn last_seen(&self) -> f32 {
        let last = self.history.nth_last(0);
        last.map_or(0.0, |slot| self.history.uses[slot.index()].next_unlock.total())
    }

    fn recent_apps(&self) -> f32 {
        let mut apps = [None; RECENT_APPS];
        let mut count = 0;
        for (slot, _) in self.history.recent_launches.iter().take(apps.len()) {
            if !apps[..count].contains(&Some(slot)) {
                apps[count] = Some(slot);
                count += 1;
            }
        }
        count as f32
    }

    pub(in crate::context) fn launches_last_hour(&self) -> f32 {
        let in_last_hour = |at: &Timestamp| self.now.secs_since(*at) <= HOUR_SECS as i64;
        self.history.recent_launches.iter().take_while(|(_, at)| in_last_hour(at)).count() as f32
    }

    /// (n + 1) / (N + 2): of none, half.
    // Source: paper. Laplace's rule of succession (1814).
    pub(in crate::context) fn resume_rate(&self) -> f32 {
        let recent = self.history.recent_resumes.iter();
        let (resumed, unlocks) =
            recent.fold((0.0, 0.0), |(r, n), resumed| (r + f32::from(u8::from(resumed)), n + 1.0));
        (resumed + 1.0) / (unlocks + 2.0)
    }
}

/// `ln(1 + seconds)` since `then`; a clock that went backwards makes it zero.
pub(in crate::context) fn ln_secs(now: Timestamp, then: Option<Timestamp>) -> f32 {
    then.map_or(f32::NAN, |then| math::ln_1p(now.secs_since(then).max(0) as f32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{History, Task};
    use crate::data::{AppId, Event, Signal, UserId};

    #[test]
    fn columns_by_hand() {
        let mut history = History::default();
        let nobody = history.context_at(Timestamp(0), Task::FirstAfterUnlock).question_features();
        assert!(nobody.age.is_nan() && nobody.launches == 0.0);
        for (at, signal) in [
            (0, Signal::Launch(AppId(1))),
            (10, Signal::Launch(AppId(2))),
            (20, Signal::Launch(AppId(1))),
            (30, Signal::Launch(AppId(2))),
            (40, Signal::ScreenOff),
            (40 + 3 * 86_400, Signal::Unlock),
        ] {
            history.observe(&Event::new(UserId(1), Timestamp(at), signal));
        }
        let context = history.context_at(Timestamp(40 + 3 * 86_400), Task::FirstAfterUnlock);
        let question_features = context.question_features();
        assert_eq!(context.age_secs(), Some(3 * 86_400));
        assert_eq!(
            (question_features.launches, question_features.candidates),
            (math::ln_1p(4.0), math::ln_1p(2.0))
        );
        assert_eq!((question_features.pair_seen, question_features.recent_apps), (math::ln_1p(1.0), 2.0));
        assert_eq!(question_features.launches_last_hour, 0.0);
        assert_eq!(QuestionFeatures::NAMES.len(), question_features.columns().len());
        let earlier = history.context_at(Timestamp(0), Task::FirstAfterUnlock);
        assert_eq!(earlier.age_secs(), Some(0), "the clock went backwards");
    }
}
