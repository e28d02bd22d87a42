//! A person lives, and the phone notes it down.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::law::Combination;
use super::mechanism::Mechanism;
use super::member::{LockScreenApp, Member, Preferences};
use super::past::Past;
use super::{Slot, gaussian};
use crate::data::simulate::incoming::{Arriving, Incoming};
use crate::data::simulate::truth::{PersonTruth, Rows};
use crate::data::simulate::{SimulationConfig, draw_position, poisson};
use crate::data::{AppId, Battery, Event, Network, PlaceGrid, Signal, Timestamp, UserId};

const DAY_SECS: i64 = 86_400;
/// How long the screen stays lit for a notification or a glance.
const LIT_SECS: i64 = 5;

/// From `since` until the next stay begins.
#[derive(Debug, Clone, Copy)]
struct Stay {
    since: Timestamp,
    /// `None` on the way.
    place: Option<usize>,
    wifi: bool,
    charging: bool,
}

/// What a person's days bring, in time order.
#[derive(Debug, Default)]
struct Plan {
    stays: Vec<Stay>,
    notices: Vec<(Timestamp, Slot)>,
    bouts: Vec<Timestamp>,
    glances: Vec<Timestamp>,
    gaps: Vec<(Timestamp, Timestamp)>,
    over_lock: Vec<(Timestamp, LockScreenApp)>,
}

impl Plan {
    fn draw(member: &Member, first_day: i64, days: i64, rng: &mut ChaCha8Rng) -> Self {
        let mut plan = Self::default();
        for day in 0..days {
            plan.day(member, day, first_day + day, rng);
        }
        plan.stays.sort_by_key(|stay| stay.since);
        plan.notices.sort_by_key(|notice| notice.0);
        plan.bouts.sort_unstable();
        plan.glances.sort_unstable();
        plan.over_lock.sort_by_key(|launch| launch.0);
        plan
    }

    /// Whether the log lacks what happens at `at`.
    fn is_gap(&self, at: Timestamp) -> bool {
        self.gaps.iter().any(|gap| (gap.0..gap.1).contains(&at))
    }

    fn day(&mut self, member: &Member, day: i64, date: i64, rng: &mut ChaCha8Rng) {
        let weekday = (date + 3).rem_euclid(7) as usize;
        let midnight = date * DAY_SECS - i64::from(member.utc_offset_secs);
        let at = |hour: f64| Timestamp(midnight + (hour * 3600.0) as i64);
        let rhythm = &member.rhythm;
        let off_work = member.chapter(day).off_work;
        let wake = rhythm.wake_hour + 0.6 * gaussian(rng);
        let sleep = wake + rhythm.waking_hours + 0.6 * gaussian(rng);

        // Where.
        let places = &member.places;
        let home = Some(if places.second_home[weekday] { 2 } else { 0 });
        let mut go = |hour: f64, place: Option<usize>, charging: bool| {
            let wifi = place.is_some_and(|place| places.wifi[place]);
            self.stays.push(Stay { since: at(hour), place, wifi, charging });
        };
        go(wake, home, false);
        let mut free = wake + 1.0;
        if let Some((from, hours, _)) = places.work.filter(|work| work.2[weekday] && !off_work) {
            let from = from + 0.3 * gaussian(rng);
            go(from - 0.5, None, false);
            go(from, Some(1), false);
            go(from + hours, None, false);
            go(from + hours + 0.5, home, false);
            free = from + hours + 0.5;
        }
        poisson(rng, places.outings / 10.0, free, sleep.max(free), |hour, rng| {
            let place = (places.count > 3).then(|| rng.random_range(3..places.count));
            go(hour, place, false);
            go(hour + rng.random_range(0.3..3.0), home, false);
        });
        go(sleep - rng.random_range(0.0..0.5), home, true);

        // The phone in hand.
        let busy: f64 = (rhythm.unevenness * gaussian(rng)).exp();
        let hours: Vec<f64> = (0..24)
            .map(|hour| {
                let awake = (f64::from(hour) + 0.5 - wake).rem_euclid(24.0) < sleep - wake;
                rhythm.by_hour[hour as usize] * if awake { 1.0 } else { 0.02 }
            })
            .collect();
        let total: f64 = hours.iter().sum();
        for (hour, weight) in hours.iter().enumerate() {
            poisson(rng, rhythm.bouts * busy * weight / total, hour as f64, hour as f64 + 1.0, |hour, _| {
                self.bouts.push(at(hour));
            });
        }
        poisson(rng, rhythm.glances / (sleep - wake), wake, sleep, |hour, _| self.glances.push(at(hour)));

        for &app in &rhythm.lock_screen {
            match app.hour {
                Some(hour) if rng.random_bool(app.a_day.min(1.0)) => {
                    self.over_lock.push((at(hour + 0.1 * gaussian(rng).abs()), app));
                }
                Some(_) => {}
                None => poisson(rng, app.a_day / (sleep - wake), wake, sleep, |hour, _| {
                    self.over_lock.push((at(hour), app));
                }),
            }
        }

        // From outside.
        let notifications = &member.notifications;
        let storm = rng.random_bool(notifications.storms_a_day.clamp(0.0, 1.0)).then(|| {
            (
                rng.random_range(0..notifications.a_day.len()),
                rng.random_range(wake..sleep),
                rng.random_range(0.3..4.0),
            )
        });
        if let Some((slot, from, hours)) = storm {
            let rate = rng.random_range(10.0..60.0);
            poisson(rng, rate, from, from + hours, |hour, _| {
                self.notices.push((at(hour), slot));
            });
        }
        for (slot, a_day) in notifications.a_day.iter().enumerate() {
            let life = member.lives[slot];
            if !(life.from_day..life.until_day).contains(&day) {
                continue;
            }
            poisson(rng, a_day * (1.0 - notifications.burst) / 24.0, wake - 2.0, wake + 22.0, |hour, rng| {
                let asleep = hour < wake || hour > sleep;
                if asleep && rng.random_bool(0.7) {
                    return;
                }
                let mut time = at(hour);
                self.notices.push((time, slot));
                while rng.random_bool(notifications.burst) {
                    time.0 += rng.random_range(2..200);
                    self.notices.push((time, slot));
                }
                if !asleep && rng.random_bool(notifications.calls) {
                    self.bouts.push(Timestamp(time.0 + rng.random_range(3..120)));
                }
            });
        }
        if rng.random_bool(member.visible.gaps_a_day.clamp(0.0, 1.0)) {
            let from = at(rng.random_range(0.0..24.0));
            let hours = (10.0 * (1.5 * gaussian(rng)).exp()).min(300.0);
            self.gaps.push((from, Timestamp(from.0 + (hours * 3600.0) as i64)));
        }
    }
}

/// All events of one person in time order, and what the launches were drawn from. `apps` are the ids of the person's apps, by
/// slot.
pub(super) fn live(
    member: &Member,
    (user, apps): (UserId, Vec<AppId>),
    config: &SimulationConfig,
    rng: &mut ChaCha8Rng,
) -> (Vec<Event>, PersonTruth) {
    let first_day = (config.start_unix_secs + i64::from(member.utc_offset_secs)).div_euclid(DAY_SECS);
    let plan = Plan::draw(member, first_day, i64::from(config.days), rng);
    let slots = member.lives.len();
    let begin = plan.stays.first().map_or(Timestamp(config.start_unix_secs), |stay| stay.since);
    let mut phone = Phone {
        user,
        truth: PersonTruth { apps, ..PersonTruth::default() },
        record_every_launch: config.record_every_launch,
        past: Past::new(slots, member.utc_offset_secs),
        member,
        plan: &plan,
        first_day,
        today: -1,
        drift: vec![0.0; slots],
        fads: vec![0.0; slots],
        events: Vec::new(),
        now: begin,
        charge: 100.0,
        charged_at: begin,
        stays_begun: 0,
        incoming: Incoming::new(&plan.notices, &plan.glances, Timestamp(i64::MIN)),
        probabilities: vec![0.0; slots],
        weights: vec![0.0; slots],
    };
    let mut over_lock = plan.over_lock.iter().peekable();
    for &bout in &plan.bouts {
        while let Some(&(at, app)) = over_lock.next_if(|launch| launch.0 < bout) {
            phone.over_lock(at, app, rng);
        }
        phone.bout(bout, rng);
    }
    let Phone { mut events, truth, .. } = phone;
    // Where a launch fell into a gap, its close is not in the log either.
    let mut in_front = None;
    events.retain(|event| {
        let is_shown = !plan.is_gap(event.at);
        match event.signal {
            Signal::Launch(app) if is_shown => in_front = Some(app),
            Signal::Close(app) => return is_shown && in_front.take() == Some(app),
            _ => {}
        }
        is_shown
    });
    (events, truth)
}

struct Phone<'a> {
    user: UserId,
    truth: PersonTruth,
    record_every_launch: bool,
    member: &'a Member,
    plan: &'a Plan,
    past: Past,
    first_day: i64,
    today: i64,
    drift: Vec<f64>,
    fads: Vec<f64>,
    events: Vec<Event>,
    now: Timestamp,
    charge: f64,
    charged_at: Timestamp,
    stays_begun: usize,
    incoming: Incoming<'a>,
    probabilities: Vec<f64>,
    weights: Vec<f64>,
}

impl Phone<'_> {
    fn bout(&mut self, at: Timestamp, rng: &mut ChaCha8Rng) {
        if at.0 < self.now.0 + 10 {
            return;
        }
        self.lie_still_until(at, rng);
        self.unlocks(rng);
    }

    /// An app opens over the lock screen: an alarm, a call, the camera.
    fn over_lock(&mut self, at: Timestamp, app: LockScreenApp, rng: &mut ChaCha8Rng) {
        let life = self.member.lives[app.slot];
        self.past.now = at;
        let day = self.past.day() - self.first_day;
        if at.0 < self.now.0 + 10 || !(life.from_day..life.until_day).contains(&day) {
            return;
        }
        self.lie_still_until(at, rng);
        self.emit(self.now.0, Signal::ScreenOn);
        self.pass(rng.random_range(0..2));
        self.emit(self.now.0, Signal::Launch(self.truth.apps[app.slot]));
        self.past.launch(app.slot);
        let stay = (app.stay_secs * gaussian(rng).exp()).clamp(1.0, 1800.0);
        self.pass(stay as i64);
        self.emit(self.now.0, Signal::Close(self.truth.apps[app.slot]));
        self.past.in_front = None;
        if rng.random_bool(app.unlocks) {
            self.pass(rng.random_range(0..3));
            self.unlocks(rng);
        } else {
            self.emit(self.now.0, Signal::ScreenOff);
        }
    }

    /// One unlock, and perhaps more of them.
    fn unlocks(&mut self, rng: &mut ChaCha8Rng) {
        let rhythm = &self.member.rhythm;
        loop {
            self.session(rng);
            if !rng.random_bool(rhythm.more_unlocks) {
                return;
            }
            let pause = (rhythm.pause_secs * (1.3 * gaussian(rng)).exp()).clamp(2.0, 1800.0);
            self.lie_still_until(Timestamp(self.now.0 + pause as i64), rng);
        }
    }

    fn session(&mut self, rng: &mut ChaCha8Rng) {
        let rhythm = &self.member.rhythm;
        self.new_day(rng);
        if rng.random_bool(rhythm.lit_first) {
            self.emit(self.now.0, Signal::ScreenOn);
            self.pass(1);
        }
        let first = if rng.random_bool(rhythm.empty_unlocks) { None } else { self.draw_app(rng) };
        if let Some((first, _)) = first {
            self.flash(first, rng);
        }
        self.emit(self.now.0, Signal::Unlock);
        let unlocked = self.now;
        let Some((first, memory)) = first else {
            self.pass(rng.random_range(2..12));
            if let Some(left) = &mut self.past.left {
                left.1 = self.now;
            }
            self.past.in_front = None;
            self.emit(self.now.0, Signal::ScreenOff);
            return;
        };
        self.record(unlocked, memory, |truth| &mut truth.after_unlock);
        let reach_secs = (rhythm.reach_secs * gaussian(rng).exp()).min(60.0);
        let resumed = self.past.left.is_some_and(|left| left.0 == first && left.2);
        self.pass(if resumed { rng.random_range(0..2) } else { reach_secs as i64 });
        let last = self.use_apps(first, rng);
        let leaving = &self.preferences().leaving;
        let (in_app, home_secs) = (leaving.in_app[last], leaving.home_secs);
        let stays = rng.random_bool(in_app);
        self.emit(self.now.0, Signal::Close(self.truth.apps[last]));
        if !stays {
            let home = (home_secs * gaussian(rng).exp()).clamp(2.0, 300.0);
            self.pass(home as i64);
        }
        self.past.left = Some((last, self.now, stays));
        self.past.in_front = None;
        let lit_after = rng.random_bool(rhythm.lit_after);
        self.emit(self.now.0, if lit_after { Signal::ScreenOn } else { Signal::ScreenOff });
    }

    /// Opens `app` and the ones after it. Returns the last, which is still in front.
    fn use_apps(&mut self, mut app: Slot, rng: &mut ChaCha8Rng) -> Slot {
        let rhythm = &self.member.rhythm;
        loop {
            self.emit(self.now.0, Signal::Launch(self.truth.apps[app]));
            self.past.launch(app);
            let next = if rng.random_bool(rhythm.more_apps) { self.draw_app(rng) } else { None };
            if let Some((_, memory)) = next.filter(|_| self.record_every_launch) {
                self.record(self.now, memory, |truth| &mut truth.within_session);
            }
            let stay = (rhythm.stay_secs * (1.4 * gaussian(rng)).exp()).clamp(1.0, 5400.0);
            self.pass(stay as i64);
            let Some((next, _)) = next else { return app };
            self.emit(self.now.0, Signal::Close(self.truth.apps[app]));
            if rng.random_bool(0.5) {
                self.pass(rng.random_range(0..4));
            }
            app = next;
        }
    }

    /// On some phones the app that was in front shows for a moment before the unlock, and goes when another one follows. That it
    /// was not seen says something, too.
    fn flash(&mut self, first: Slot, rng: &mut ChaCha8Rng) {
        let flashes = self.member.rhythm.flashes;
        let Some((left, _, true)) = self.past.left else { return };
        if flashes <= 0.0 || self.probabilities[left] <= 0.0 {
            return;
        }
        let seen = first != left && rng.random_bool(flashes);
        for (slot, probability) in self.probabilities.iter_mut().enumerate() {
            *probability *= match (seen, slot == left) {
                (true, true) => 0.0,
                (true, false) | (false, true) => 1.0,
                (false, false) => 1.0 - flashes,
            };
        }
        normalise(&mut self.probabilities);
        if seen {
            self.emit(self.now.0, Signal::Launch(self.truth.apps[left]));
            self.emit(self.now.0, Signal::Close(self.truth.apps[left]));
        }
    }

    /// Keeps what was drawn from, unless the log has a gap there.
    fn record(&mut self, at: Timestamp, memory: u8, rows: impl FnOnce(&mut PersonTruth) -> &mut Rows) {
        if !self.plan.is_gap(at) {
            let probabilities: Vec<f32> = self.probabilities.iter().map(|&p| p as f32).collect();
            rows(&mut self.truth).push(at, memory, &probabilities);
        }
    }

    /// Tastes drift from day to day.
    fn new_day(&mut self, rng: &mut ChaCha8Rng) {
        self.past.now = self.now;
        let today = self.past.day() - self.first_day;
        let drift = &self.member.drift;
        while self.today < today {
            self.today += 1;
            let back = 0.5_f64.powf(1.0 / drift.half_days);
            let fades = 0.5_f64.powf(1.0 / drift.fad_days);
            for (value, fad) in self.drift.iter_mut().zip(&mut self.fads) {
                *fad *= fades;
                *value = *value * back + drift.a_day * gaussian(rng);
            }
            if rng.random_bool(drift.fads_a_day.clamp(0.0, 1.0)) {
                let slot = rng.random_range(0..self.fads.len());
                self.fads[slot] += rng.random_range(1.0..4.0);
            }
        }
    }

    fn preferences(&self) -> &Preferences {
        let chapter = self.member.chapter(self.past.day() - self.first_day);
        match &chapter.shared {
            Some((from, hours, other)) if (self.past.hour() - from).rem_euclid(24.0) < *hours => other,
            _ => &chapter.own,
        }
    }

    /// Draws an app, whose distribution is left in `self.probabilities`; `None` where there is none but the one in front.
    fn draw_app(&mut self, rng: &mut ChaCha8Rng) -> Option<(Slot, u8)> {
        self.past.now = self.now;
        let day = self.past.day() - self.first_day;
        let mut probabilities = std::mem::take(&mut self.probabilities);
        let mut weights = std::mem::take(&mut self.weights);
        let drift: Vec<f64> = self.drift.iter().zip(&self.fads).map(|(drift, fad)| drift + fad).collect();
        let memory = next_app(
            self.member,
            self.preferences(),
            &self.past,
            &drift,
            day,
            &mut probabilities,
            &mut weights,
        );
        self.probabilities = probabilities;
        self.weights = weights;
        let memory = memory?;
        Some((draw_position(self.probabilities.iter().copied(), 1.0, rng), memory))
    }

    fn pass(&mut self, secs: i64) {
        let until = self.now.0 + secs;
        while let Some((at, slot)) = self.incoming.notification(Timestamp(until)) {
            self.notify(at, slot);
        }
        self.now = Timestamp(until);
    }

    fn notify(&mut self, at: Timestamp, slot: Slot) {
        self.emit(at.0, Signal::Notification(self.truth.apps[slot]));
        if self.member.visible.notifications {
            self.past.notify(slot);
        }
    }

    fn lie_still_until(&mut self, until: Timestamp, rng: &mut ChaCha8Rng) {
        while let Some(arriving) = self.incoming.next(until) {
            let lights = match arriving {
                Arriving::Notification(at, slot) => {
                    self.notify(at, slot);
                    rng.random_bool(self.member.notifications.lights)
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

    fn emit(&mut self, at: i64, signal: Signal) {
        self.now = self.now.max(Timestamp(at));
        while let Some(stay) = self.plan.stays.get(self.stays_begun).filter(|stay| stay.since <= self.now) {
            self.stays_begun += 1;
            if self.past.arrived.map(|(place, _)| place) != stay.place {
                self.past.arrived = stay.place.map(|place| (place, stay.since));
            }
        }
        let stay = self.plan.stays.get(self.stays_begun.saturating_sub(1));
        let (place, wifi, charging) =
            stay.map_or((None, false, false), |stay| (stay.place, stay.wifi, stay.charging));
        let hours = self.now.secs_since(self.charged_at) as f64 / 3600.0;
        self.charge = (self.charge + hours * if charging { 40.0 } else { -5.0 }).clamp(1.0, 100.0);
        self.charged_at = self.now;
        self.past.now = self.now;
        let visible = self.member.visible;
        let shown = match signal {
            Signal::Launch(_) | Signal::Unlock => true,
            Signal::Close(_) => visible.closes,
            Signal::Notification(_) => visible.notifications,
            Signal::ScreenOn | Signal::ScreenOff => visible.screen,
        };
        if !shown {
            return;
        }
        self.events.push(Event {
            user: self.user,
            at: self.now,
            utc_offset_secs: self.member.utc_offset_secs,
            signal,
            place: place
                .filter(|_| visible.places)
                .and_then(|place| PlaceGrid::default().place(10.0 + 0.2 * place as f64, 20.0)),
            battery: if visible.battery {
                Battery { percent: Some(self.charge as u8), charging: Some(charging) }
            } else {
                Battery::default()
            },
            network: match (visible.network, wifi) {
                (false, _) => Network::Unknown,
                (true, true) => Network::Wifi,
                (true, false) => Network::Cellular,
            },
        });
    }
}

/// Writes the probability of each app to be opened next; returns on how many past launches it depends.
fn next_app(
    member: &Member,
    preferences: &Preferences,
    past: &Past,
    drift: &[f64],
    day: i64,
    probabilities: &mut [f64],
    weights: &mut [f64],
) -> Option<u8> {
    let mut memory = 0;
    // What was in front goes on.
    let mut resumed = None;
    if let (None, Some((last, at, in_front))) = (past.in_front, past.left) {
        let leaving = &preferences.leaving;
        let off_secs = past.now.secs_since(at).max(0) as f64;
        let share = if !in_front {
            leaving.from_home
        } else if off_secs > leaving.until_secs {
            0.0
        } else {
            leaving.goes_on - leaving.loss * (1.0 + off_secs / 10.0).log10()
        };
        if share > 0.0 {
            resumed = Some((last, share.min(0.995)));
            memory = 1;
        }
    }
    preferences.taste.weigh(past, drift, probabilities);
    alive(member, day, past.in_front, probabilities);
    if normalise(probabilities) == 0.0 {
        return None;
    }
    let mut first = None;
    let mut parts: Vec<(Vec<f64>, f64)> = Vec::with_capacity(preferences.mechanisms.len());
    for (mechanism, strength) in &preferences.mechanisms {
        let (applies, reach) = mechanism.weigh(past, weights);
        if applies <= 0.0 {
            continue;
        }
        alive(member, day, past.in_front, weights);
        if normalise(weights) == 0.0 {
            continue;
        }
        let share = (strength * applies).min(0.99);
        if share > 0.05 {
            memory = memory.max(reach);
        }
        if preferences.notifications_first
            && resumed.is_some()
            && matches!(mechanism, Mechanism::Notification { .. })
        {
            first = Some((weights.to_vec(), share));
        } else {
            parts.push((weights.to_vec(), share));
        }
    }
    match preferences.combination {
        Combination::InTurn => {
            // The last of them is asked last: what it claims is over the taste alone.
            for (part, share) in parts.iter().rev() {
                claim(probabilities, part, *share);
            }
        }
        Combination::Mixture | Combination::Chain => {
            for (part, share) in &parts {
                let odds = share / (1.0 - share);
                for (probability, weight) in probabilities.iter_mut().zip(part) {
                    *probability += odds * weight;
                }
            }
        }
        Combination::Product | Combination::Processes => {
            let taste = probabilities.to_vec();
            for (part, share) in &parts {
                let odds = share / (1.0 - share);
                for ((probability, weight), taste) in probabilities.iter_mut().zip(part).zip(&taste) {
                    *probability *= 1.0 + odds * weight / (taste + 0.01);
                }
            }
        }
    }
    normalise(probabilities);
    if let Some((last, share)) = resumed {
        weights.fill(0.0);
        weights[last] = 1.0;
        alive(member, day, None, weights);
        if normalise(weights) > 0.0 {
            claim(probabilities, weights, share);
        }
    }
    if let Some((part, share)) = first {
        claim(probabilities, &part, share);
    }
    Some(memory)
}

/// Gives this share of the probability to `part`; the rest stays as it is divided.
fn claim(probabilities: &mut [f64], part: &[f64], share: f64) {
    for (probability, weight) in probabilities.iter_mut().zip(part) {
        *probability = *probability * (1.0 - share) + weight * share;
    }
}

/// Takes the weight of apps that are not there, or gives it to those in their place, and of the one in front.
fn alive(member: &Member, day: i64, in_front: Option<Slot>, weights: &mut [f64]) {
    for slot in 0..weights.len() {
        let life = member.lives[slot];
        if day >= life.until_day {
            if let Some(heir) = life.heir {
                weights[heir] += weights[slot];
            }
            weights[slot] = 0.0;
        } else if day < life.from_day {
            weights[slot] = 0.0;
        }
    }
    if let Some(front) = in_front {
        weights[front] = 0.0;
    }
}

fn normalise(weights: &mut [f64]) -> f64 {
    let total: f64 = weights.iter().sum();
    if total > 0.0 {
        weights.iter_mut().for_each(|weight| *weight /= total);
    }
    total
}
