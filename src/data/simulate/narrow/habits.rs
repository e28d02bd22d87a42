//! The law by which a simulated person opens the next app: a pure function of the person and the observed past.
//!
//! Habits are asked in a fixed order. Each claims a share of the probability that is left and passes the rest
//! on; what no habit claims goes to taste, which spreads it over all installed apps by hour, place, connection
//! and battery. So every installed app has a positive probability, and the sum is one by construction.

use std::f64::consts::TAU;

use super::past::{Past, REACH};
use super::person::{App, SimulatedPerson, Slot};
use crate::data::{Network, Timestamp};

/// Writes the probability of each installed app to be opened next, and returns on how many past launches it
/// depends (a run of one app counts once).
///
/// Right after an unlock (no app in front) this is the first app of the session. With an app in front it is the
/// next different one, given that the session goes on.
pub(super) fn next_app(person: &SimulatedPerson, past: &Past, probabilities: &mut Vec<f32>) -> u8 {
    let mut claims =
        Claims { shares: vec![0.0; person.apps.len()], left: 1.0, memory: 0, barred: past.in_front };
    if past.in_front.is_none() {
        first_after_unlock(person, past, &mut claims);
    } else {
        within_session(person, past, &mut claims);
    }
    taste(person, past, &mut claims);
    probabilities.clear();
    probabilities.extend(claims.shares.iter().map(|&share| share as f32));
    claims.memory
}

/// The routine that the last launches are in the middle of: its next step, how many launches matched, and whether
/// that step is its last. The longest match wins.
pub(super) fn routine_step(person: &SimulatedPerson, past: &Past) -> Option<(Slot, usize, bool)> {
    let mut best: Option<(Slot, usize, bool)> = None;
    for routine in &person.habits.routines {
        if past.recent.ends_with(routine) {
            continue; // It has just been completed.
        }
        for done in (1..routine.len()).rev() {
            // A routine that ends by staying is over once its app has been opened again.
            let over = past.run > 1 && past.last() == Some(routine[done]);
            if past.recent.ends_with(&routine[..done]) && !over {
                if best.is_none_or(|(_, longest, _)| done > longest) {
                    best = Some((routine[done], done, done + 1 == routine.len()));
                }
                break;
            }
        }
    }
    best
}

/// Probability that is still to be given away.
struct Claims {
    shares: Vec<f64>,
    left: f64,
    memory: u8,
    /// The app in front, which cannot be opened next.
    barred: Option<Slot>,
}

impl Claims {
    /// Gives `slot` this share of what is left, on the strength of `launches` past launches.
    fn claim(&mut self, slot: Slot, share: f64, launches: usize) {
        if share <= 0.0 || self.barred == Some(slot) {
            return;
        }
        let share = share.min(0.97);
        self.shares[slot] += self.left * share;
        self.left *= 1.0 - share;
        self.memory = self.memory.max(launches.min(REACH) as u8);
    }
}

fn first_after_unlock(person: &SimulatedPerson, past: &Past, claims: &mut Claims) {
    let habits = &person.habits;
    morning(person, past, claims);
    // A routine that was left in its middle is less binding than one with only its last step to go; a single
    // launch starts none.
    match routine_step(person, past) {
        Some((next, launches, true)) => claims.claim(next, habits.routine, launches),
        Some((next, launches, false)) if launches > 1 => claims.claim(next, 0.5 * habits.routine, launches),
        _ => {}
    }
    meeting(person, past, claims);
    daily(person, past, claims);
    notifications(person, past, claims, 1.0);
    let hour = past.hour();
    let moving = past.network != Network::Wifi && past.place != person.homes.home;
    if moving && ((6.0..10.0).contains(&hour) || (16.0..20.0).contains(&hour)) {
        claims.claim(habits.on_the_way, 0.25, 0);
    }
    if past.battery.charging == Some(true) && !(2.0..21.5).contains(&hour) {
        claims.claim(habits.clock, 0.08, 0);
    }
    if let (Some(last), Some(off_secs)) = (past.last(), past.off_secs) {
        let lost = habits.resume_loss * (1.0 + off_secs as f64 / 10.0).log10();
        claims.claim(last, habits.resume - lost, 1);
    }
}

fn within_session(person: &SimulatedPerson, past: &Past, claims: &mut Claims) {
    let habits = &person.habits;
    morning(person, past, claims);
    if let Some((next, launches, _)) = routine_step(person, past) {
        claims.claim(next, habits.routine, launches);
    } else {
        let each = habits.routine_start / habits.routines.len() as f64;
        let mut left = 1.0;
        for routine in &habits.routines {
            claims.claim(routine[0], each / left, 0);
            left -= each;
        }
    }
    meeting(person, past, claims);
    notifications(person, past, claims, 0.4);
    if let [.., before, _] = past.recent[..] {
        claims.claim(before, habits.back, 2);
    }
    if let Some(last) = past.last() {
        claims.claim(person.apps[last].follower, habits.follow, 1);
    }
}

/// After a night's rest, the same apps in the same order, for as long as nothing else comes between.
fn morning(person: &SimulatedPerson, past: &Past, claims: &mut Claims) {
    let Some((since, launches)) = past.rested else { return };
    let steps = &person.habits.morning;
    let early = (4.5..12.0).contains(&past.hour()) && past.now.secs_since(since) < 3600;
    let on_track = launches == 0 || past.recent.ends_with(&steps[..launches.min(steps.len())]);
    if early && on_track && launches < steps.len() {
        claims.claim(steps[launches], 0.6, launches);
    }
}

/// A meeting (its notification, or a look at the calendar) leads to the map about half an hour later.
fn meeting(person: &SimulatedPerson, past: &Past, claims: &mut Claims) {
    let Some((since, launches)) = past.meeting else { return };
    if (20 * 60..45 * 60).contains(&past.now.secs_since(since)) {
        claims.claim(person.habits.maps, 0.65, launches.unwrap_or(0));
    }
}

/// Some apps are opened once a day, from a certain hour on.
fn daily(person: &SimulatedPerson, past: &Past, claims: &mut Claims) {
    let today = past.day_of(past.now);
    for &(slot, from_hour) in &person.habits.daily {
        let due = (from_hour..from_hour + 3.0).contains(&past.hour());
        let done = past.launched[slot].is_some_and(|at| past.day_of(at) == today);
        if due && !done {
            claims.claim(slot, 0.25, 0);
        }
    }
}

/// Unseen notifications draw the person in, the newest first, less and less as they age.
fn notifications(person: &SimulatedPerson, past: &Past, claims: &mut Claims, weight: f64) {
    const FADES_SECS: f64 = 900.0;
    const HORIZON_SECS: i64 = 7200;
    let mut newest: Vec<(i64, Slot)> = past
        .unseen
        .iter()
        .enumerate()
        .filter_map(|(slot, at)| Some((past.now.secs_since((*at)?), slot)))
        .filter(|&(age_secs, _)| age_secs < HORIZON_SECS)
        .collect();
    newest.sort_unstable();
    for &(age_secs, slot) in newest.iter().take(3) {
        let freshness = (-(age_secs as f64) / FADES_SECS).exp();
        claims.claim(slot, weight * person.apps[slot].answers * freshness, 0);
    }
}

/// Tastes come in phases: an app used lately is liked more, and that fades within hours.
const PHASE_SECS: f64 = 7200.0;

fn taste(person: &SimulatedPerson, past: &Past, claims: &mut Claims) {
    let hour = past.hour();
    let low_battery =
        past.battery.percent.is_some_and(|percent| percent <= 20) && past.battery.charging == Some(false);
    let weight = |app: &App| {
        let profile = &app.profile;
        let place = match past.place {
            place if place == person.homes.home => profile.at_home,
            place if place == person.homes.work => profile.at_work,
            _ => profile.elsewhere,
        };
        let network = if past.network == Network::Cellular { profile.cellular } else { 1.0 };
        let battery = if low_battery { profile.low_battery } else { 1.0 };
        let clock = (profile.sharpness * (TAU * (hour - profile.peak_hour) / 24.0).cos()).exp();
        app.taste * place * network * battery * clock
    };
    let lately = |at: &Option<Timestamp>| {
        let age_secs = at.map_or(f64::INFINITY, |at| past.now.secs_since(at) as f64);
        1.0 + person.habits.phase * (-age_secs / PHASE_SECS).exp()
    };
    let apps = person.apps.iter().zip(&past.launched);
    let mut weights: Vec<f64> = apps.map(|(app, launched)| weight(app) * lately(launched)).collect();
    if let Some(barred) = claims.barred {
        weights[barred] = 0.0;
    }
    let total: f64 = weights.iter().sum();
    for (share, weight) in claims.shares.iter_mut().zip(weights) {
        *share += claims.left * weight / total;
    }
}
