//! Times that may be compared: everyone in turn, several times, on the same rows in the same process.

use std::time::{Duration, Instant};
use std::{fs, thread};

use crate::Result;
use crate::engines::Loaded;

/// Long enough for the threads of an OpenMP engine, which spin for a while after their work, to fall asleep.
pub const SETTLE: Duration = Duration::from_millis(200);

/// How often training is repeated.
#[derive(Debug, Clone, Copy)]
pub struct Rounds {
    /// Fewest for the first two participants, whose ratio is asked for.
    pub rivals: usize,
    /// For the others; once is enough for those that take long.
    pub others: usize,
    /// Short trainings are repeated until each rival has run for about so long.
    pub fill: Duration,
}

impl Rounds {
    /// For figures to be kept.
    pub const FULL: Self = Self { rivals: 5, others: 2, fill: Duration::from_secs(3) };
    /// To see whether everything works.
    pub const QUICK: Self = Self { rivals: 3, others: 1, fill: Duration::from_millis(500) };
    /// Many more than this make a median no steadier.
    const MOST: usize = 15;
    /// Others that take longer run once.
    const LONG_SECS: f64 = 20.0;

    /// How many for participant number `index`, whose first took `first` seconds.
    fn of(self, index: usize, first: f64) -> usize {
        let filling = (self.fill.as_secs_f64() / first) as usize;
        match index {
            0 | 1 => filling.clamp(self.rivals, Self::MOST),
            _ if first > Self::LONG_SECS => 1,
            _ => self.others,
        }
    }
}

/// What a participant's trainings were.
#[derive(Debug, Clone, Default)]
pub struct Trainings {
    /// Seconds, round by round.
    pub seconds: Vec<f64>,
    /// How many trees the last one grew.
    pub trees: usize,
}

/// Trains every participant in turn, round by round. The first two run in every round.
///
/// # Errors
/// What an engine says.
pub fn train_in_turn(participants: &[&dyn Loaded], threads: usize, rounds: Rounds) -> Result<Vec<Trainings>> {
    let mut trainings = vec![Trainings::default(); participants.len()];
    let mut wanted = vec![1; participants.len()];
    for round in 0..Rounds::MOST {
        for ((participant, trainings), &wanted) in participants.iter().zip(&mut trainings).zip(&wanted) {
            if round >= wanted {
                continue;
            }
            thread::sleep(SETTLE);
            let start = Instant::now();
            let model = participant.train(threads, round as u64)?;
            trainings.seconds.push(start.elapsed().as_secs_f64());
            trainings.trees = model.trees();
        }
        if round == 0 {
            let first = trainings.iter().map(|trainings| trainings.seconds[0]);
            wanted = first.enumerate().map(|(index, seconds)| rounds.of(index, seconds)).collect();
            // The rivals run equally often, for a ratio a round.
            let rivals = wanted.iter().take(2).copied().max().unwrap_or(0);
            wanted.iter_mut().take(2).for_each(|wanted| *wanted = rivals);
        }
    }
    Ok(trainings)
}

/// The middle value; the mean of the middle two; nothing of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[n / 2]),
        n => Some((values[n / 2 - 1] + values[n / 2]) / 2.0),
    }
}

/// The smallest value that at least the share `q` of all do not exceed; nothing of nothing.
#[cfg(feature = "parity")]
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let rank = (q * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied()
}

/// `ours / theirs`, round by round.
pub fn ratios(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect()
}

/// The machine's load over the last minute, where Linux tells it: timings are worth little on a busy machine, and
/// least those of OpenMP engines on all cores, whose threads wait for each other.
pub fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = text.split_whitespace().next().unwrap_or("unknown").to_owned();
    if load.parse::<f64>().is_ok_and(|load| load > 0.5) {
        eprintln!("the machine is busy (load {load}): these timings are worth little");
    }
    load
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        for (values, expected) in [
            (&[3.0, 1.0, 2.0][..], Some(2.0)),
            (&[4.0, 1.0, 2.0, 3.0], Some(2.5)),
            (&[7.0], Some(7.0)),
            (&[], None),
        ] {
            assert_eq!(median(values), expected);
        }
        assert_eq!(ratios(&[2.0, 9.0], &[4.0, 3.0, 1.0]), [0.5, 3.0]);
    }

    #[cfg(feature = "parity")]
    #[test]
    fn quantiles() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        for (values, q, expected) in [
            (&hundred[..], 0.99, Some(99.0)),
            (&hundred, 1.0, Some(100.0)),
            (&hundred, 0.0, Some(1.0)),
            (&[7.0, 3.0], 0.99, Some(7.0)),
            (&[], 0.99, None),
        ] {
            assert_eq!(quantile(values, q), expected, "{q}");
        }
    }

    #[test]
    fn short_trainings_repeat_more() {
        let rounds = Rounds { rivals: 5, others: 2, fill: Duration::from_secs(3) };
        for (index, first, expected) in
            [(0, 10.0, 5), (1, 0.3, 10), (0, 0.001, 15), (2, 30.0, 1), (2, 10.0, 2), (3, 0.1, 2)]
        {
            assert_eq!(rounds.of(index, first), expected, "{index} {first}");
        }
    }
}
