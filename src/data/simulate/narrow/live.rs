//! A person lives through the plan, and the phone notes it down.
//!
//! Every event goes through [`Past::observe`] as it is emitted, and every app is drawn from [`next_app`] on that
//! past. Whether an unlock leads to an app, whether a session goes on and how long an app stays are drawn apart
//! from which app it is.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::day::Plan;
use super::habits::{next_app, routine_step};
use super::past::Past;
use super::person::{SimulatedPerson, Slot};
use crate::data::simulate::incoming::{Arriving, Incoming};
use crate::data::simulate::truth::PersonTruth;
use crate::data::simulate::{SimulationConfig, draw_position};
use crate::data::{Battery, Event, Network, Signal, Timestamp};

/// How long the screen stays lit for a notification or a glance.
const LIT_SECS: i64 = 5;

/// All events of one person in time order, and what the launches were drawn from.
pub(super) fn live(
    person: &SimulatedPerson,
    config: &SimulationConfig,
    rng: &mut ChaCha8Rng,
) -> (Vec<Event>, PersonTruth) {
    let plan = Plan::draw(person, config, rng);
    let mut phone = Phone::new(person, config, &plan);
    for &bout in &plan.bouts {
        phone.bout(bout, rng);
    }
    let end = Timestamp(phone.now.0 + 3600);
    phone.lie_still_until(end, rng);
    (phone.events, phone.truth)
}

struct Phone<'a> {
    person: &'a SimulatedPerson,
    plan: &'a Plan,
    record_every_launch: bool,
    past: Past,
    events: Vec<Event>,
    truth: PersonTruth,
    /// Time of the last event.
    now: Timestamp,
    /// Percent, as of `charged_at`.
    charge: f64,
    charged_at: Timestamp,
    stays_begun: usize,
    incoming: Incoming<'a>,
    probabilities: Vec<f32>,
}

impl<'a> Phone<'a> {
    fn new(person: &'a SimulatedPerson, config: &SimulationConfig, plan: &'a Plan) -> Self {
        let apps = person.apps.iter().map(|app| app.id).collect();
        let begin = plan.stays.first().map_or(Timestamp(0), |stay| stay.since);
        Self {
            person,
            plan,
            record_every_launch: config.record_every_launch,
            past: Past::new(person),
            events: Vec::with_capacity(600 * config.days as usize),
            truth: PersonTruth { apps, ..PersonTruth::default() },
            now: begin,
            charge: 100.0,
            charged_at: begin,
            stays_begun: 1,
            incoming: Incoming::new(&plan.notices, &plan.glances, begin),
            probabilities: Vec::with_capacity(person.apps.len()),
        }
    }

    /// The phone is taken in hand at `at`, unless it still is, and unlocked once or several times.
    fn bout(&mut self, at: Timestamp, rng: &mut ChaCha8Rng) {
        if at.0 < self.now.0 + 20 {
            return;
        }
        self.lie_still_until(at, rng);
        let quick = rng.random_bool(self.person.rhythm.quick_bouts);
        let more_apps = self.person.rhythm.more_apps * if quick { 0.4 } else { 1.0 };
        loop {
            self.session(more_apps, rng);
            if quick || !rng.random_bool(self.person.rhythm.more_unlocks) {
                return;
            }
            // Half of the phones' screen-off times are under one or two minutes, a tenth under three seconds.
            let pause = log_normal_secs(rng, 25.0, 1.4, 1, 280);
            let again = Timestamp(self.now.0 + pause);
            self.lie_still_until(again, rng);
        }
    }

    /// From one unlock to the screen going off. `more_apps` is the probability of each further app.
    fn session(&mut self, more_apps: f64, rng: &mut ChaCha8Rng) {
        if rng.random_bool(0.5) {
            self.emit(self.now.0, Signal::ScreenOn);
            self.pass(1);
        }
        self.emit(self.now.0, Signal::Unlock);
        let unlocked = self.now;
        if rng.random_bool(self.person.rhythm.empty_unlocks) {
            self.pass(rng.random_range(2..12));
        } else {
            let (mut app, memory) = self.draw_app(rng);
            self.truth.after_unlock.push(unlocked, memory, &self.probabilities);
            self.pass(rng.random_range(0..3));
            loop {
                app = match self.use_app(app, more_apps, rng) {
                    Some(next) => next,
                    None => break,
                };
            }
        }
        self.emit(self.now.0, Signal::ScreenOff);
    }

    /// Opens `app`, lets it run its time and closes it. Returns the next one, drawn at the moment of opening.
    fn use_app(&mut self, app: Slot, more_apps: f64, rng: &mut ChaCha8Rng) -> Option<Slot> {
        let id = self.person.apps[app].id;
        self.emit(self.now.0, Signal::Launch(id));
        // Routines are walked through in one go, but their last step is mostly left for the next time.
        let goes_on = match routine_step(self.person, &self.past) {
            Some((_, _, true)) => 0.08,
            Some((_, _, false)) => 0.9,
            None => more_apps,
        };
        let next = rng.random_bool(goes_on).then(|| {
            let (next, memory) = self.draw_app(rng);
            if self.record_every_launch {
                self.truth.within_session.push(self.now, memory, &self.probabilities);
            }
            next
        });
        // The phones' median stay is 9 to 17 seconds, their upper quartile 38 to 72.
        let stay = log_normal_secs(rng, 14.0, 1.6, 1, 3000);
        self.pass(stay);
        self.emit(self.now.0, Signal::Close(id));
        next
    }

    /// Draws an app from the law of habits, which is left in `self.probabilities`.
    fn draw_app(&mut self, rng: &mut ChaCha8Rng) -> (Slot, u8) {
        let memory = next_app(self.person, &self.past, &mut self.probabilities);
        let probabilities = self.probabilities.iter().map(|&p| f64::from(p));
        (draw_position(probabilities.clone(), probabilities.sum(), rng), memory)
    }

    /// The screen is on for `secs` more seconds; what arrives meanwhile is noted.
    fn pass(&mut self, secs: i64) {
        let until = self.now.0 + secs;
        while let Some((at, slot)) = self.incoming.notification(Timestamp(until)) {
            self.emit(at.0, Signal::Notification(self.person.apps[slot].id));
        }
        self.now = Timestamp(until);
    }

    /// The screen is off until `until`, but for notifications and glances that light it.
    fn lie_still_until(&mut self, until: Timestamp, rng: &mut ChaCha8Rng) {
        while let Some(arriving) = self.incoming.next(until) {
            let lights = match arriving {
                Arriving::Notification(at, slot) => {
                    self.emit(at.0, Signal::Notification(self.person.apps[slot].id));
                    rng.random_bool(0.12)
                }
                Arriving::Glance(at) => {
                    // A glance while the phone was in use is none.
                    let is_idle = at > self.now;
                    self.now = self.now.max(at);
                    is_idle
                }
            };
            if lights && self.now.0 + LIT_SECS < until.0 {
                self.emit(self.now.0, Signal::ScreenOn);
                self.pass(LIT_SECS);
                self.emit(self.now.0, Signal::ScreenOff);
            }
        }
        self.now = self.now.max(until);
    }

    /// Notes an event at `at` seconds, or now if that is already over.
    fn emit(&mut self, at: i64, signal: Signal) {
        self.now = self.now.max(Timestamp(at));
        while self.plan.stays.get(self.stays_begun).is_some_and(|stay| stay.since <= self.now) {
            self.stays_begun += 1;
        }
        let stay = self.plan.stays.get(self.stays_begun.saturating_sub(1));
        let charging = stay.is_some_and(|stay| stay.charging);
        self.drain(charging);
        let event = Event {
            user: self.person.user,
            at: self.now,
            utc_offset_secs: self.person.utc_offset_secs,
            signal,
            place: stay.and_then(|stay| stay.place),
            battery: Battery { percent: Some(self.charge as u8), charging: Some(charging) },
            network: stay.map_or(Network::Unknown, |stay| stay.network),
        };
        self.past.observe(self.person, &event);
        self.events.push(event);
    }

    /// Charges or drains the battery over the time since the last event.
    fn drain(&mut self, charging: bool) {
        let hours = self.now.secs_since(self.charged_at) as f64 / 3600.0;
        let percent_an_hour = if charging {
            40.0
        } else if self.past.in_front.is_some() {
            -14.0
        } else {
            -2.0
        };
        self.charge = (self.charge + hours * percent_an_hour).clamp(1.0, 100.0);
        self.charged_at = self.now;
    }
}

/// A log-normal number of seconds, within `low..=high`.
fn log_normal_secs(rng: &mut ChaCha8Rng, median: f64, deviation: f64, low: i64, high: i64) -> i64 {
    let z: f64 = rng.sample(StandardNormal);
    ((median * (deviation * z).exp()) as i64).clamp(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::simulate::stream;
    use crate::data::simulate::truth::Truth;

    /// Folds the emitted log alone and calls `check` with the past at every launch that is recorded, with the
    /// probabilities that were recorded for it.
    fn refold(mut check: impl FnMut(&SimulatedPerson, &Past, &[f32], u8)) {
        let config = SimulationConfig { days: 14, record_every_launch: true, ..Default::default() };
        for index in 0..6 {
            let person = SimulatedPerson::draw(&config, index);
            let (events, truth) = live(&person, &config, &mut stream(config.seed, 2 * index as u64 + 1));
            let truth = Truth::new([(person.user, truth)]);
            let mut past = Past::new(&person);
            for event in &events {
                past.observe(&person, event);
                let recorded = match event.signal {
                    Signal::Unlock => truth.first_after_unlock(person.user, event.at),
                    Signal::Launch(_) => truth.next_within_session(person.user, event.at),
                    _ => None,
                };
                if let Some(recorded) = recorded {
                    check(&person, &past, recorded.probabilities, recorded.memory);
                }
            }
        }
    }

    #[test]
    fn the_emitted_log_alone_gives_the_recorded_probabilities() {
        let (mut probabilities, mut checked) = (Vec::new(), 0);
        refold(|person, past, recorded, memory| {
            let found = next_app(person, past, &mut probabilities);
            assert_eq!((found, &probabilities[..]), (memory, recorded));
            checked += 1;
        });
        assert!(checked > 5_000, "{checked}");
    }

    /// After an unlock, launches further back than `memory` change nothing, and the last of those within it do.
    #[test]
    fn memory_is_how_far_back_the_launches_matter() {
        let mut probabilities = Vec::new();
        let (mut deep, mut felt) = (0, 0);
        refold(|person, past, recorded, memory| {
            let reach = usize::from(memory);
            if past.in_front.is_some() || past.meeting.is_some() {
                return;
            }
            let forget = |keep: usize| {
                let mut past = past.clone();
                past.recent.drain(..past.recent.len().saturating_sub(keep));
                past
            };
            next_app(person, &forget(reach), &mut probabilities);
            assert_eq!(probabilities, recorded);
            if reach > 0 && past.recent.len() >= reach {
                deep += 1;
                next_app(person, &forget(reach - 1), &mut probabilities);
                felt += usize::from(probabilities != recorded);
            }
        });
        // Resuming can have lost all its probability, after a long night.
        assert!(felt * 100 > deep * 99, "{felt} of {deep}");
    }
}
