//! Training, validation and test: always by time, the later never before the earlier.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::event::Timestamp;

/// How each user's questions are parted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum SplitPlan {
    /// The last questions of each user are the test, those before them the validation: shares of all questions,
    /// rounded.
    Shares {
        /// Share that validates.
        validation: f64,
        /// Share that tests.
        test: f64,
    },
    /// The questions of each user's last days are the test, 15 of 85 parts of what comes before them the validation.
    LastDays(u32),
    /// Every question asked from this moment on is the test, whoever asks; of the questions answered before it, the last
    /// 15 of 85 parts of each user's validate. A question asked before and answered after is neither: its answer is no
    /// part of what was known.
    From(Timestamp),
    /// Rolling origin: the second half of each user's questions is cut into this many equal blocks, and each block
    /// in turn is the test of what came before it.
    RollingOrigin(usize),
}

impl Default for SplitPlan {
    /// 70 % training, 15 % validation, 15 % test.
    fn default() -> Self {
        Self::Shares { validation: 0.15, test: 0.15 }
    }
}

/// When a question was asked, and when it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuestionTime {
    /// Everything up to this moment is known.
    pub asked: Timestamp,
    /// When the app was opened.
    pub answered: Timestamp,
}

/// Numbers of one user's questions, in time order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Learned from.
    pub train: Range<usize>,
    /// Used to stop, to calibrate and to choose thresholds.
    pub validation: Range<usize>,
    /// Scored.
    pub test: Range<usize>,
}

/// The share of what comes before the test that validates: 15 of 85 parts.
const VALIDATION_SHARE: f64 = 0.15 / 0.85;

impl SplitPlan {
    /// How many times a user's questions are split.
    pub fn rounds(&self) -> usize {
        match *self {
            Self::Shares { .. } | Self::LastDays(_) | Self::From(_) => 1,
            Self::RollingOrigin(blocks) => blocks,
        }
    }

    /// The split of `round` (from 0) of a user whose questions had these times, in order.
    pub fn split(&self, times: &[QuestionTime], round: usize) -> Split {
        let questions = times.len();
        let asked_before = |moment: Timestamp| times.partition_point(|time| time.asked < moment);
        let (test_start, test_end) = match *self {
            Self::Shares { test, .. } => (questions - part(questions, test), questions),
            Self::LastDays(days) => {
                let start = times.last().map_or(0, |last| {
                    let start = last.asked.0.saturating_sub(i64::from(days) * 86_400);
                    asked_before(Timestamp(start.saturating_add(1)))
                });
                (start, questions)
            }
            Self::From(moment) => (asked_before(moment), questions),
            Self::RollingOrigin(blocks) => {
                let block = |n: usize| questions / 2 + (questions - questions / 2) * n / blocks.max(1);
                (block(round), block((round + 1).min(blocks)))
            }
        };
        let validation_end = match *self {
            Self::From(moment) => times[..test_start].partition_point(|time| time.answered < moment),
            _ => test_start,
        };
        let validating = match *self {
            Self::Shares { validation, .. } => part(questions, validation).min(validation_end),
            Self::LastDays(_) | Self::From(_) | Self::RollingOrigin(_) => {
                part(validation_end, VALIDATION_SHARE)
            }
        };
        let validation_start = validation_end - validating;
        Split {
            train: 0..validation_start,
            validation: validation_start..validation_end,
            test: test_start..test_end,
        }
    }
}

/// `share` of `whole`, rounded; a share that is no share counts as its nearest bound.
fn part(whole: usize, share: f64) -> usize {
    (whole as f64 * share.clamp(0.0, 1.0)).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Questions an hour apart, each answered after a minute.
    fn hourly(questions: usize) -> Vec<QuestionTime> {
        let at = |hour: i64| QuestionTime {
            asked: Timestamp(hour * 3_600),
            answered: Timestamp(hour * 3_600 + 60),
        };
        (0..questions as i64).map(at).collect()
    }

    #[test]
    fn a_moment_parts_what_was_known_from_what_came_later() {
        let hourly = hourly(100);
        let split = |secs: i64| SplitPlan::From(Timestamp(secs)).split(&hourly, 0);
        // 15 of 85 parts of 50 are 8.8.
        assert_eq!(split(50 * 3_600), Split { train: 0..41, validation: 41..50, test: 50..100 });
        // Asked before it, answered from it on: neither.
        for secs in [50 * 3_600 + 1, 50 * 3_600 + 60] {
            assert_eq!(split(secs), Split { train: 0..41, validation: 41..50, test: 51..100 }, "{secs}");
        }
        assert_eq!(split(50 * 3_600 + 61), Split { train: 0..42, validation: 42..51, test: 51..100 });
        assert_eq!(split(0), Split { train: 0..0, validation: 0..0, test: 0..100 });
        assert_eq!(split(i64::MAX).test, 100..100);
        // What comes later changes nothing of what is learned from.
        let short = SplitPlan::From(Timestamp(50 * 3_600)).split(&hourly[..60], 0);
        assert_eq!((short.train, short.validation), (0..41, 41..50));
    }

    #[test]
    fn splits_are_chronological_and_complete() {
        let hourly = hourly(100);
        let one_day = SplitPlan::LastDays(1).split(&hourly, 0);
        assert_eq!(one_day.test, 76..100);
        let default = SplitPlan::default().split(&hourly, 0);
        assert_eq!(default, Split { train: 0..70, validation: 70..85, test: 85..100 });
        let blocks: Vec<_> =
            (0..5).map(|round| SplitPlan::RollingOrigin(5).split(&hourly, round).test).collect();
        assert_eq!(blocks, [50..60, 60..70, 70..80, 80..90, 90..100]);
        let shares = |validation, test| SplitPlan::Shares { validation, test };
        for plan in [shares(0.1, 0.2), shares(f64::NAN, f64::NAN), shares(9.0, 0.9), SplitPlan::LastDays(30)]
        {
            for questions in [0, 1, 2, 100] {
                let split = plan.split(&hourly[..questions], 0);
                assert_eq!((split.train.start, split.train.end), (0, split.validation.start), "{plan:?}");
                assert_eq!((split.validation.end, questions), (split.test.start, split.test.end), "{plan:?}");
            }
        }
    }
    /// Shares are of all questions, rounded to the nearest number of them.
    #[test]
    fn shares_are_rounded_shares_of_all() {
        let split = |questions, validation, test| {
            let found = SplitPlan::Shares { validation, test }.split(&hourly(questions), 0);
            (found.train.len(), found.validation.len(), found.test.len())
        };
        // 10 x 0.15 is 1.5, which rounds to 2; 10 x 0.14 to 1.
        assert_eq!(split(10, 0.15, 0.15), (6, 2, 2));
        assert_eq!(split(10, 0.14, 0.14), (8, 1, 1));
        assert_eq!(split(100, 0.3, 0.5), (20, 30, 50));
        assert_eq!(split(100, 0.6, 0.5), (0, 50, 50), "no more than there are");
        assert_eq!(split(3, 0.0, 1.0), (0, 0, 3));
    }

    /// The test begins a day before the last question, not with it, and 15 of 85 parts before it validate.
    #[test]
    fn last_days_and_blocks_validate_on_fifteen_of_eighty_five_parts() {
        let last_days = |questions, days| SplitPlan::LastDays(days).split(&hourly(questions), 0);
        // 85 + 24 hours: 15 of the first 85 validate.
        assert_eq!(last_days(109, 1), Split { train: 0..70, validation: 70..85, test: 85..109 });
        assert_eq!(last_days(133, 2), Split { train: 0..70, validation: 70..85, test: 85..133 });
        assert_eq!(last_days(20, 1), Split { train: 0..0, validation: 0..0, test: 0..20 });
        // All at once: nothing is earlier than the last day.
        let at_once = SplitPlan::LastDays(1)
            .split(&[QuestionTime { asked: Timestamp(5), answered: Timestamp(6) }; 4], 0);
        assert_eq!((at_once.train, at_once.test), (0..0, 0..4));
        let blocks = |round| SplitPlan::RollingOrigin(4).split(&hourly(170), round);
        assert_eq!(blocks(0), Split { train: 0..70, validation: 70..85, test: 85..106 });
        assert_eq!(blocks(3), Split { train: 0..122, validation: 122..148, test: 148..170 });
    }

    #[test]
    fn a_plan_has_as_many_rounds_as_blocks() {
        let rounds = [SplitPlan::default(), SplitPlan::LastDays(9), SplitPlan::RollingOrigin(7)];
        assert_eq!(rounds.map(|plan| plan.rounds()), [1, 1, 7]);
        // Blocks follow each other without a gap, through an odd number of questions too.
        let tests: Vec<_> =
            (0..7).map(|round| SplitPlan::RollingOrigin(7).split(&hourly(101), round).test).collect();
        assert_eq!((tests[0].start, tests[6].end), (50, 101));
        assert!(tests.windows(2).all(|pair| pair[0].end == pair[1].start && !pair[0].is_empty()));
    }
}
