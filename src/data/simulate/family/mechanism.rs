//! What draws a person to an app: each mechanism is a distribution over the apps, and how much it applies now.

use std::f64::consts::TAU;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::law::{MechanismKind, MechanismLaw};
use super::past::{HALF_LIVES_SECS, Past, RATES};
use super::{Slot, gaussian, zipf};
use crate::data::simulate::draw_position;

/// One mechanism of one person. Slots are positions among the person's apps.
#[derive(Debug, Clone)]
pub(super) enum Mechanism {
    Recency { rates: [f64; RATES] },
    Back,
    Transitions { after: Vec<Vec<(Slot, f64)>>, pairs: Option<u64>, after_unlock: bool },
    Routine { sequences: Vec<Vec<Slot>>, start: f64 },
    Clock { appointments: Vec<Appointment> },
    Renewal { between_secs: Vec<f64>, sharpness: f64 },
    Notification { answers: Vec<f64>, fades_secs: f64, power: bool, newest: bool },
    Trigger { pairs: Vec<Delayed> },
    Arrival { to: Vec<Option<Slot>>, within_secs: f64 },
    Novelty,
}

/// An app at certain hours of certain days.
#[derive(Debug, Clone)]
pub(super) struct Appointment {
    slot: Slot,
    from_hour: f64,
    hours: f64,
    /// Monday first.
    days: [bool; 7],
    /// Whether it is over once the app was opened on that day.
    once: bool,
}

/// An app some time after another one, or its notification.
#[derive(Debug, Clone)]
pub(super) struct Delayed {
    from: Slot,
    to: Slot,
    after_secs: f64,
    until_secs: f64,
    by_notification: bool,
}

impl Mechanism {
    /// Draws the mechanism of `kind` for a person with `apps` apps, liked with the weights `taste`.
    pub(super) fn draw(
        kind: MechanismKind,
        law: &MechanismLaw,
        taste: &[f64],
        places: usize,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let apps = taste.len();
        let count = law.count.map_or(1.0, |count| count.draw(rng)).round().max(1.0) as usize;
        let secs = |rng: &mut ChaCha8Rng| law.secs.map_or(3600.0, |secs| secs.draw(rng));
        // What habits are about: mostly what is liked anyway, more or less.
        let evenness = rng.random::<f64>();
        let tastes: Vec<f64> = taste.iter().map(|taste| taste.powf(evenness)).collect();
        let total: f64 = tastes.iter().sum();
        let pick = |rng: &mut ChaCha8Rng| draw_position(tastes.iter().copied(), total, rng);
        match kind {
            MechanismKind::Recency => {
                // A power of the time since is a sum of exponentials, each weighted by its rate to that power.
                let exponent = rng.random_range(0.1..1.5);
                let shortest_secs = secs(rng);
                let one = rng.random_bool(0.3).then(|| rng.random_range(0..RATES));
                let rates = std::array::from_fn(|k| {
                    let half_life = HALF_LIVES_SECS[k];
                    match one {
                        Some(only) => f64::from(u8::from(only == k)),
                        None if half_life < shortest_secs => 0.0,
                        None => (half_life / 60.0).powf(-exponent),
                    }
                });
                Self::Recency { rates }
            }
            MechanismKind::Back => Self::Back,
            MechanismKind::Transitions => {
                let communities = rng.random_range(1..=(apps / 3).clamp(1, 12));
                let of: Vec<usize> = (0..apps).map(|_| rng.random_range(0..communities)).collect();
                let inside = rng.random_range(0.3..1.0);
                let after = (0..apps)
                    .map(|from| {
                        let mut next = Vec::with_capacity(count);
                        for rank in 0..count {
                            let mut to = pick(rng);
                            for _ in 0..8 {
                                if to != from && (of[to] == of[from] || !rng.random_bool(inside)) {
                                    break;
                                }
                                to = pick(rng);
                            }
                            next.push((to, zipf(rank, 1.0) * rng.random::<f64>()));
                        }
                        next
                    })
                    .collect();
                let pairs = rng.random_bool(0.4).then(|| rng.random());
                Self::Transitions { after, pairs, after_unlock: rng.random_bool(0.6) }
            }
            MechanismKind::Routine => {
                let sequences = (0..count)
                    .map(|_| {
                        let length = rng.random_range(2..=6);
                        let mut sequence: Vec<Slot> = Vec::with_capacity(length);
                        for _ in 0..length {
                            let slot = pick(rng);
                            if sequence.last() != Some(&slot) {
                                sequence.push(slot);
                            }
                        }
                        sequence
                    })
                    .collect();
                Self::Routine { sequences, start: rng.random_range(0.0..0.3) }
            }
            MechanismKind::Clock => {
                let appointments = (0..count)
                    .map(|_| {
                        let daily = rng.random_bool(0.5);
                        let chosen: [bool; 7] = std::array::from_fn(|_| rng.random_bool(0.4));
                        Appointment {
                            slot: pick(rng),
                            from_hour: rng.random_range(0.0..24.0),
                            hours: secs(rng) / 3600.0,
                            days: if daily { [true; 7] } else { chosen },
                            once: rng.random_bool(0.6),
                        }
                    })
                    .collect();
                Self::Clock { appointments }
            }
            MechanismKind::Renewal => {
                let between_secs = (0..apps).map(|_| secs(rng)).collect();
                Self::Renewal { between_secs, sharpness: rng.random_range(0.5..4.0) }
            }
            MechanismKind::Notification => {
                let mean = 2.0 * gaussian(rng) - 1.0;
                let answers = (0..apps).map(|_| logistic(mean + 1.5 * gaussian(rng))).collect();
                let fades_secs = secs(rng);
                Self::Notification { answers, fades_secs, power: rng.random(), newest: rng.random() }
            }
            MechanismKind::Trigger => {
                let pairs = (0..count)
                    .map(|_| {
                        let after_secs = secs(rng);
                        let until_secs = after_secs * rng.random_range(1.2..4.0);
                        Delayed {
                            from: pick(rng),
                            to: pick(rng),
                            after_secs,
                            until_secs,
                            by_notification: rng.random_bool(0.4),
                        }
                    })
                    .collect();
                Self::Trigger { pairs }
            }
            MechanismKind::Arrival => {
                let to = (0..places).map(|_| rng.random_bool(0.6).then(|| pick(rng))).collect();
                Self::Arrival { to, within_secs: secs(rng) }
            }
            MechanismKind::Novelty => Self::Novelty,
        }
    }

    /// Writes a weight of each app and returns how much the mechanism applies, 0 to 1, and on how many past launches it
    /// depends.
    pub(super) fn weigh(&self, past: &Past, weights: &mut [f64]) -> (f64, u8) {
        weights.fill(0.0);
        let now = past.now.0;
        match self {
            Self::Recency { rates } => {
                for (slot, weight) in weights.iter_mut().enumerate() {
                    *weight = past.trace(slot, rates);
                }
                (1.0, 0)
            }
            Self::Back => {
                let [.., before, _] = past.recent[..] else { return (0.0, 0) };
                weights[before] = 1.0;
                (1.0, 2)
            }
            Self::Transitions { after, pairs, after_unlock } => {
                if past.in_front.is_none() && !after_unlock {
                    return (0.0, 0);
                }
                let Some(&last) = past.recent.last() else { return (0.0, 0) };
                let (Some(seed), [.., before, _]) = (pairs, &past.recent[..]) else {
                    after[last].iter().for_each(|&(to, weight)| weights[to] += weight);
                    return (1.0, 1);
                };
                // What follows a pair is what follows one of the two, in a mixture of the pair's own.
                let mut rng =
                    ChaCha8Rng::seed_from_u64(seed ^ ((*before as u64) << 20) ^ ((last as u64) << 40));
                for &(to, weight) in after[last].iter().chain(&after[*before]) {
                    weights[to] += weight * (2.0 * gaussian(&mut rng)).exp();
                }
                (1.0, 2)
            }
            Self::Routine { sequences, start } => {
                let step = sequences
                    .iter()
                    .filter_map(|sequence| {
                        let done =
                            (1..sequence.len()).rev().find(|&n| past.recent.ends_with(&sequence[..n]))?;
                        Some((done, sequence[done]))
                    })
                    .max_by_key(|&(done, _)| done);
                match step {
                    Some((done, next)) if done > 1 || past.in_front.is_some() => {
                        weights[next] = 1.0;
                        (1.0, done as u8)
                    }
                    _ => {
                        sequences.iter().filter_map(|s| s.first()).for_each(|&slot| weights[slot] += 1.0);
                        (*start, 0)
                    }
                }
            }
            Self::Clock { appointments } => {
                let (hour, weekday) = (past.hour(), past.weekday());
                for due in appointments {
                    let late = (hour - due.from_hour).rem_euclid(24.0);
                    let done =
                        due.once && past.launched[due.slot].is_some_and(|at| past.day_of(at) == past.day());
                    if late < due.hours && due.days[weekday] && !done {
                        weights[due.slot] += 1.0;
                    }
                }
                (f64::from(u8::from(weights.iter().any(|&weight| weight > 0.0))), 0)
            }
            Self::Renewal { between_secs, sharpness } => {
                let mut most: f64 = 0.0;
                for (slot, weight) in weights.iter_mut().enumerate() {
                    let Some(at) = past.launched[slot] else { continue };
                    let ratio = (past.now.secs_since(at).max(1) as f64 / between_secs[slot]).ln();
                    // Rises around its time and stays: log-logistic (Lawless 2003, hazards of return).
                    *weight = logistic(sharpness * ratio) / between_secs[slot].sqrt();
                    most = most.max(logistic(sharpness * ratio));
                }
                (most, 0)
            }
            Self::Notification { answers, fades_secs, power, newest } => {
                let mut nothing = 1.0;
                let latest = past.unseen.iter().flatten().max().copied();
                for (slot, at) in past.unseen.iter().enumerate() {
                    let Some(at) = at.filter(|&at| !newest || Some(at) == latest) else { continue };
                    let age = past.now.secs_since(at).max(0) as f64 / fades_secs;
                    let fresh = if *power { 1.0 / (1.0 + age) } else { (-age).exp() };
                    weights[slot] = answers[slot] * fresh;
                    nothing *= 1.0 - weights[slot];
                }
                (1.0 - nothing, 0)
            }
            Self::Trigger { pairs } => {
                for pair in pairs {
                    let at = if pair.by_notification {
                        past.notified[pair.from]
                    } else {
                        past.launched[pair.from]
                    };
                    let Some(at) = at else { continue };
                    let since = (now - at.0) as f64;
                    let done = past.launched[pair.to].is_some_and(|launched| launched > at);
                    if (pair.after_secs..pair.until_secs).contains(&since) && !done {
                        weights[pair.to] += 1.0;
                    }
                }
                (f64::from(u8::from(weights.iter().any(|&weight| weight > 0.0))), 0)
            }
            Self::Arrival { to, within_secs } => {
                let Some((place, since)) = past.arrived else { return (0.0, 0) };
                let due = to.get(place).copied().flatten();
                let Some(slot) = due.filter(|_| past.now.secs_since(since) as f64 <= *within_secs) else {
                    return (0.0, 0);
                };
                if past.launched[slot].is_some_and(|at| at >= since) {
                    return (0.0, 0);
                }
                weights[slot] = 1.0;
                (1.0, 0)
            }
            Self::Novelty => {
                for (weight, launched) in weights.iter_mut().zip(&past.launched) {
                    *weight = f64::from(u8::from(launched.is_none()));
                }
                (1.0, 0)
            }
        }
    }
}

/// The logarithm of a taste stays within so much: what drifts for years stays a finite number.
const LARGEST_LOG_TASTE: f64 = 30.0;

/// How much an app is liked now: by hour, kind of day and place.
#[derive(Debug, Clone)]
pub(super) struct Taste {
    pub weight: Vec<f64>,
    pub peak_hour: Vec<f64>,
    pub sharpness: Vec<f64>,
    pub weekend: Vec<f64>,
    /// By place, and then by slot.
    pub place: Vec<Vec<f64>>,
}

impl Taste {
    pub(super) fn weigh(&self, past: &Past, drift: &[f64], weights: &mut [f64]) {
        let hour = past.hour();
        let weekend = past.weekday() >= 5;
        let place = past.arrived.and_then(|(place, _)| self.place.get(place));
        for (slot, weight) in weights.iter_mut().enumerate() {
            let clock = self.sharpness[slot] * (TAU * (hour - self.peak_hour[slot]) / 24.0).cos();
            let day = if weekend { self.weekend[slot] } else { 0.0 };
            let there = place.map_or(0.0, |place| place[slot]);
            *weight = self.weight[slot]
                * (clock + day + there + drift[slot]).clamp(-LARGEST_LOG_TASTE, LARGEST_LOG_TASTE).exp();
        }
    }
}

pub(super) fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
