//! One person of a family: everything that is drawn once.

use rand::RngExt as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use super::law::{Combination, FamilyLaw, LeavingLaw, MechanismKind};
use super::mechanism::{Mechanism, Taste, logistic};
use super::{Slot, gaussian, zipf};
use crate::data::simulate::draw_position;

/// A person.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub utc_offset_secs: i32,
    /// By slot: the first day and the day after the last on which the app is there, and which app takes its place.
    pub lives: Vec<AppLife>,
    pub chapters: Vec<Chapter>,
    pub rhythm: Rhythm,
    pub places: Places,
    pub notifications: Notifications,
    pub drift: Drift,
    pub visible: Visible,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct AppLife {
    pub from_day: i64,
    pub until_day: i64,
    pub heir: Option<Slot>,
}

/// Preferences from a day on.
#[derive(Debug, Clone)]
pub(super) struct Chapter {
    pub from_day: i64,
    /// Whether these are holidays.
    pub off_work: bool,
    pub own: Preferences,
    /// Another person's, from an hour on for some hours a day.
    pub shared: Option<(f64, f64, Preferences)>,
}

#[derive(Debug, Clone)]
pub(super) struct Preferences {
    pub taste: Taste,
    pub combination: Combination,
    /// With the strength of each: its share of the probability where it applies.
    pub mechanisms: Vec<(Mechanism, f64)>,
    /// Notifications before all else, also before what was in front.
    pub notifications_first: bool,
    pub leaving: Leaving,
}

/// How sessions end, and whether the next one begins where they ended.
#[derive(Debug, Clone)]
pub(super) struct Leaving {
    /// By slot.
    pub in_app: Vec<f64>,
    pub goes_on: f64,
    pub loss: f64,
    pub until_secs: f64,
    pub from_home: f64,
    pub home_secs: f64,
}

#[derive(Debug, Clone)]
pub(super) struct Rhythm {
    pub bouts: f64,
    pub unevenness: f64,
    pub wake_hour: f64,
    pub waking_hours: f64,
    /// Relative frequencies by local hour.
    pub by_hour: [f64; 24],
    pub more_unlocks: f64,
    pub pause_secs: f64,
    pub empty_unlocks: f64,
    pub more_apps: f64,
    pub stay_secs: f64,
    pub reach_secs: f64,
    pub glances: f64,
    pub lit_first: f64,
    pub lock_screen: Vec<LockScreenApp>,
    pub flashes: f64,
    pub lit_after: f64,
}

/// An app that opens over the lock screen.
#[derive(Debug, Clone, Copy)]
pub(super) struct LockScreenApp {
    pub slot: Slot,
    pub a_day: f64,
    /// At an hour of each day, instead of at any time.
    pub hour: Option<f64>,
    pub stay_secs: f64,
    /// How often the phone is unlocked afterwards.
    pub unlocks: f64,
}

#[derive(Debug, Clone)]
pub(super) struct Places {
    /// Home first, then work, a second home, and others.
    pub count: usize,
    pub work: Option<(f64, f64, [bool; 7])>,
    pub second_home: [bool; 7],
    pub outings: f64,
    pub wifi: Vec<bool>,
}

#[derive(Debug, Clone)]
pub(super) struct Notifications {
    /// By slot, a day.
    pub a_day: Vec<f64>,
    pub burst: f64,
    pub storms_a_day: f64,
    pub lights: f64,
    pub calls: f64,
}

#[derive(Debug, Clone)]
pub(super) struct Drift {
    pub a_day: f64,
    pub half_days: f64,
    pub fads_a_day: f64,
    pub fad_days: f64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Visible {
    pub notifications: bool,
    pub places: bool,
    pub closes: bool,
    pub screen: bool,
    pub battery: bool,
    pub network: bool,
    pub gaps_a_day: f64,
}

impl Member {
    pub(super) fn draw(law: &FamilyLaw, days: i64, rng: &mut ChaCha8Rng) -> Self {
        let installed = law.apps.installed.draw(rng).round().max(2.0) as usize;
        let replaced = law.change.replaced_a_month.draw(rng) * days as f64 / 30.0;
        let extra = (replaced as usize).min(installed / 2);
        let apps = installed + extra;
        let newcomers = law.change.newcomers.draw(rng);
        let whole = AppLife { from_day: 0, until_day: i64::MAX, heir: None };
        let mut lives: Vec<AppLife> = (0..installed)
            .map(|_| {
                let late = rng.random_bool(newcomers.clamp(0.0, 1.0));
                AppLife { from_day: if late { rng.random_range(0..days.max(1)) } else { 0 }, ..whole }
            })
            .collect();
        // Two apps are there from the first day on.
        lives[0].from_day = 0;
        lives[1].from_day = 0;
        for heir in installed..apps {
            let (old, day) = (rng.random_range(0..installed), rng.random_range(0..days.max(1)));
            if lives[old].heir.is_none() {
                lives[old].until_day = day.max(lives[old].from_day + 1);
                lives[old].heir = Some(heir);
            }
            lives.push(AppLife { from_day: day, ..whole });
        }
        shuffle(&mut lives, rng);
        let places = Self::draw_places(law, rng);
        let first = Preferences::draw(law, apps, places.count, rng);
        let shared = rng.random_bool(law.change.shared).then(|| {
            (
                rng.random_range(0.0..24.0),
                rng.random_range(1.0..8.0),
                Preferences::draw(law, apps, places.count, rng),
            )
        });
        let mut chapters = vec![Chapter { from_day: 0, off_work: false, own: first, shared }];
        if rng.random_bool(law.change.holiday) && days > 10 {
            let from_day = rng.random_range(3..days - 4);
            let mut off = chapters[0].clone();
            (off.from_day, off.off_work) = (from_day, true);
            for weight in &mut off.own.taste.weight {
                *weight *= gaussian(rng).exp();
            }
            let mut back = chapters[0].clone();
            back.from_day = from_day + rng.random_range(4..16);
            chapters.extend([off, back]);
        }
        if rng.random_bool(law.change.new_phone) && days > 6 {
            let from_day = rng.random_range(2..days - 2);
            let mut next = chapters[0].clone();
            let other = Preferences::draw(law, apps, places.count, rng);
            let weight = std::mem::take(&mut next.own.taste.weight);
            next.own = other;
            // Tastes move to the new phone, mostly.
            next.own.taste.weight =
                weight.into_iter().map(|weight| weight * (0.7 * gaussian(rng)).exp()).collect();
            next.from_day = from_day;
            chapters.retain(|chapter| chapter.from_day < from_day);
            chapters.push(next);
        }
        Self {
            utc_offset_secs: 3600 * rng.random_range(-8..=10),
            lives,
            chapters,
            rhythm: Self::draw_rhythm(law, apps, rng),
            places,
            notifications: Self::draw_notifications(law, apps, rng),
            drift: Drift {
                a_day: law.change.drift.draw(rng),
                half_days: law.change.drift_days.draw(rng),
                fads_a_day: law.change.fads_a_week.draw(rng) / 7.0,
                fad_days: law.change.fad_days.draw(rng),
            },
            visible: Self::draw_visible(law, rng),
        }
    }

    /// The preferences of a day, counted from the first.
    pub(super) fn chapter(&self, day: i64) -> &Chapter {
        self.chapters.iter().rfind(|chapter| chapter.from_day <= day).unwrap_or(&self.chapters[0])
    }

    fn draw_places(law: &FamilyLaw, rng: &mut ChaCha8Rng) -> Places {
        let law = &law.places;
        let mut count = 1 + law.others.draw(rng).round() as usize;
        let work = rng.random_bool(law.works).then(|| {
            let shift = rng.random_bool(law.shifts);
            let (from, hours) = if shift {
                (rng.random_range(0.0..24.0), rng.random_range(4.0..12.0))
            } else {
                (rng.random_range(7.0..10.0), rng.random_range(4.0..10.0))
            };
            let days = std::array::from_fn(|day| if shift { rng.random_bool(0.6) } else { day < 5 });
            (from, hours, days)
        });
        let second_home = if rng.random_bool(law.second_home) {
            std::array::from_fn(|_| rng.random_bool(0.35))
        } else {
            [false; 7]
        };
        count = count.max(3);
        let wifi = (0..count).map(|place| place == 0 || rng.random_bool(0.5)).collect();
        Places { count, work, second_home, outings: law.outings_a_day.draw(rng), wifi }
    }

    fn draw_rhythm(law: &FamilyLaw, apps: usize, rng: &mut ChaCha8Rng) -> Rhythm {
        let day = &law.day;
        let busy = day.busy_hours.draw(rng);
        let (first, second, share) =
            (rng.random_range(7.0..15.0), rng.random_range(15.0..24.0), rng.random::<f64>());
        let bump = |hour: f64, at: f64| (-0.5 * ((hour - at) / 2.5_f64).powi(2)).exp();
        let by_hour = std::array::from_fn(|hour| {
            let hour = hour as f64 + 0.5;
            (busy * (share * bump(hour, first) + (1.0 - share) * bump(hour, second)) + 0.3 * gaussian(rng))
                .exp()
        });
        Rhythm {
            bouts: day.bouts.draw(rng),
            unevenness: day.unevenness.draw(rng),
            wake_hour: day.wake_hour.draw(rng),
            waking_hours: day.waking_hours.draw(rng),
            by_hour,
            more_unlocks: day.more_unlocks.draw(rng),
            pause_secs: day.pause_secs.draw(rng),
            empty_unlocks: day.empty_unlocks.draw(rng),
            more_apps: day.more_apps.draw(rng),
            stay_secs: day.stay_secs.draw(rng),
            reach_secs: day.reach_secs.draw(rng),
            glances: day.glances.draw(rng),
            lit_first: rng.random(),
            lock_screen: (0..day.lock_screen_apps.draw(rng).round() as usize)
                .map(|_| LockScreenApp {
                    slot: rng.random_range(0..apps),
                    a_day: day.lock_screen_a_day.draw(rng),
                    hour: rng.random_bool(0.4).then(|| rng.random_range(0.0..24.0)),
                    stay_secs: day.stay_secs.draw(rng),
                    unlocks: rng.random(),
                })
                .collect(),
            flashes: day.flashes.draw(rng),
            lit_after: day.lit_after.draw(rng),
        }
    }

    fn draw_notifications(law: &FamilyLaw, apps: usize, rng: &mut ChaCha8Rng) -> Notifications {
        let law = &law.notifications;
        let spread = law.spread.draw(rng);
        let mut a_day: Vec<f64> = (0..apps).map(|_| (spread * gaussian(rng)).exp()).collect();
        let scale = law.a_day.draw(rng) / a_day.iter().sum::<f64>();
        a_day.iter_mut().for_each(|rate| *rate *= scale);
        Notifications {
            a_day,
            burst: law.burst.draw(rng),
            storms_a_day: law.storms_a_week.draw(rng) / 7.0,
            lights: law.lights.draw(rng),
            calls: law.calls.draw(rng),
        }
    }

    fn draw_visible(law: &FamilyLaw, rng: &mut ChaCha8Rng) -> Visible {
        let law = &law.signals;
        let bare = rng.random_bool(law.bare);
        let mut seen = |share: f64| rng.random_bool(share) && !bare;
        Visible {
            notifications: seen(law.notifications),
            places: seen(law.places),
            closes: seen(law.closes),
            screen: seen(law.screen),
            battery: seen(law.battery),
            network: seen(law.network),
            gaps_a_day: law.gaps_a_month.draw(rng) / 30.0,
        }
    }
}

impl Preferences {
    fn draw(law: &FamilyLaw, apps: usize, places: usize, rng: &mut ChaCha8Rng) -> Self {
        let mut order: Vec<Slot> = (0..apps).collect();
        order.shuffle(rng);
        let (exponent, spread) = (law.apps.taste_exponent.draw(rng), law.apps.taste_spread.draw(rng));
        let mut weight = vec![0.0; apps];
        for (rank, &slot) in order.iter().enumerate() {
            weight[slot] = zipf(rank, exponent) * (spread * gaussian(rng)).exp();
        }
        let each =
            |scale: f64, rng: &mut ChaCha8Rng| (0..apps).map(|_| scale * gaussian(rng)).collect::<Vec<f64>>();
        let (hour, weekend, place) = (
            law.apps.hour_sharpness.draw(rng),
            law.apps.weekend_sharpness.draw(rng),
            law.apps.place_sharpness.draw(rng),
        );
        let taste = Taste {
            sharpness: each(hour, rng),
            weekend: each(weekend, rng),
            place: (0..places).map(|_| each(place, rng)).collect(),
            peak_hour: (0..apps).map(|_| rng.random_range(0.0..24.0)).collect(),
            weight,
        };
        let combination = draw_combination(law, rng);
        let mut mechanisms = Vec::new();
        for (&kind, mechanism) in &law.mechanisms {
            let is_part = match combination {
                Combination::Chain => kind == MechanismKind::Transitions,
                Combination::Processes => {
                    matches!(kind, MechanismKind::Renewal | MechanismKind::Recency)
                        || rng.random_bool(mechanism.present)
                }
                _ => rng.random_bool(mechanism.present),
            };
            if is_part {
                let mut strength = mechanism.strength.draw(rng).clamp(0.0, 0.99);
                if combination == Combination::Chain {
                    // In the middle of its range and above: a chain is nothing without its transitions.
                    strength = strength.max(mechanism.strength.draw(rng));
                }
                let drawn = Mechanism::draw(kind, mechanism, &taste.weight, places, rng);
                mechanisms.push((drawn, strength));
            }
        }
        mechanisms.shuffle(rng);
        Self {
            taste,
            combination,
            mechanisms,
            notifications_first: rng.random(),
            leaving: Leaving::draw(&law.leaving, apps, rng),
        }
    }
}

impl Leaving {
    fn draw(law: &LeavingLaw, apps: usize, rng: &mut ChaCha8Rng) -> Self {
        let mean = law.in_app.draw(rng).clamp(0.001, 0.999);
        let mean = (mean / (1.0 - mean)).ln();
        let spread = law.spread.draw(rng);
        Self {
            in_app: (0..apps).map(|_| logistic(mean + spread * gaussian(rng))).collect(),
            goes_on: law.goes_on.draw(rng),
            loss: law.loss.draw(rng),
            until_secs: law.until_secs.draw(rng),
            from_home: law.from_home.draw(rng),
            home_secs: law.home_secs.draw(rng),
        }
    }
}

/// Puts the apps into another order, so that a slot says nothing of its app.
fn shuffle(lives: &mut [AppLife], rng: &mut ChaCha8Rng) {
    let mut to: Vec<Slot> = (0..lives.len()).collect();
    to.shuffle(rng);
    let before = lives.to_vec();
    for (life, &slot) in before.iter().zip(&to) {
        lives[slot] = AppLife { heir: life.heir.map(|heir| to[heir]), ..*life };
    }
}

fn draw_combination(law: &FamilyLaw, rng: &mut ChaCha8Rng) -> Combination {
    let total: f64 = law.combination.values().sum();
    let drawn = draw_position(law.combination.values().copied(), total, rng);
    law.combination.keys().nth(drawn).copied().unwrap_or(Combination::InTurn)
}
