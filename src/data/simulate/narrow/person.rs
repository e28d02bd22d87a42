//! One simulated person: fixed tastes, habits and rhythm. Nothing here changes as the days go by.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::catalog::{self, Kind, Profile};
use crate::data::simulate::{SimulationConfig, stream, user_id};
use crate::data::{AppId, PlaceGrid, PlaceId, UserId};

/// A position among the apps installed on this person's phone, which are in [`AppId`] order.
pub(super) type Slot = usize;

/// A person. Shares are probabilities from 0 to 1; hours are local.
#[derive(Debug, Clone)]
pub(super) struct SimulatedPerson {
    pub user: UserId,
    pub utc_offset_secs: i32,
    pub apps: Vec<App>,
    pub homes: Homes,
    pub rhythm: Rhythm,
    pub habits: Habits,
}

/// An installed app and how this person likes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct App {
    pub id: AppId,
    /// Zipf weight of the person's own ranking.
    pub taste: f64,
    pub profile: Profile,
    /// Share of openings that answer an unseen notification of this app, fresh.
    pub answers: f64,
    /// Notifications a day.
    pub notices: f64,
    /// The app that often follows it within one session.
    pub follower: Slot,
}

/// Where this person's life takes place.
#[derive(Debug, Clone)]
pub(super) struct Homes {
    pub home: Option<PlaceId>,
    pub work: Option<PlaceId>,
    /// Cells between home and work, in that order.
    pub way: [Option<PlaceId>; 3],
    pub leisure: [Option<PlaceId>; 2],
}

/// When this person is awake, at work, and with the phone in hand.
#[derive(Debug, Clone)]
pub(super) struct Rhythm {
    pub wake_hour: f64,
    pub sleep_hour: f64,
    pub work_from: f64,
    pub work_hours: f64,
    pub commute_hours: f64,
    /// Monday first.
    pub workdays: [bool; 7],
    pub desk_charger: bool,
    /// Times a day that the phone is taken in hand.
    pub bouts: f64,
    /// Share of bouts with a single unlock and few apps.
    pub quick_bouts: f64,
    /// Probability of one more unlock within the other bouts.
    pub more_unlocks: f64,
    /// Probability of one more app within an unlock.
    pub more_apps: f64,
    /// Share of unlocks that lead to no app.
    pub empty_unlocks: f64,
    pub meetings: f64,
    pub glances: f64,
}

/// What this person does out of habit.
#[derive(Debug, Clone)]
pub(super) struct Habits {
    /// Probability of going back to the last app right after the screen went off ...
    pub resume: f64,
    /// ... and how much of it is lost with every tenfold time off.
    pub resume_loss: f64,
    /// Probability of a routine's next step.
    pub routine: f64,
    /// Probability, within a session, of starting one of the routines.
    pub routine_start: f64,
    pub routines: Vec<Vec<Slot>>,
    /// Opened in this order after a night's rest.
    pub morning: Vec<Slot>,
    /// Opened once a day, from that local hour on.
    pub daily: Vec<(Slot, f64)>,
    /// Opened on the way.
    pub on_the_way: Slot,
    pub clock: Slot,
    pub calendar: Slot,
    pub maps: Slot,
    /// Probability, within a session, of going back to the app before.
    pub back: f64,
    /// Probability, within a session, of the present app's usual follower.
    pub follow: f64,
    /// How many times more an app used a moment ago is liked, less 1.
    pub phase: f64,
}

impl SimulatedPerson {
    /// The `index`-th person of a simulation: a function of the seed and the index alone.
    pub(super) fn draw(config: &SimulationConfig, index: usize) -> Self {
        let mut rng = stream(config.seed, 2 * index as u64);
        let apps = draw_apps(config, &mut rng);
        let (homes, utc_offset_secs) = draw_homes(&mut rng);
        let rhythm = draw_rhythm(&mut rng);
        let habits = draw_habits(config, &apps, &mut rng);
        Self { user: user_id(config.seed, index), utc_offset_secs, apps, homes, rhythm, habits }
    }

    /// The position of `app` on this phone.
    pub(super) fn slot(&self, app: AppId) -> Option<Slot> {
        self.apps.binary_search_by_key(&app, |app| app.id).ok()
    }
}

/// A normal draw, kept within `low..=high`.
pub(super) fn normal(rng: &mut ChaCha8Rng, mean: f64, deviation: f64, low: f64, high: f64) -> f64 {
    let z: f64 = rng.sample(StandardNormal);
    (mean + deviation * z).clamp(low, high)
}

fn draw_apps(config: &SimulationConfig, rng: &mut ChaCha8Rng) -> Vec<App> {
    // The three phones used 45 to 68 apps in a month; some of the installed ones stay unopened.
    let installed = rng.random_range(32..=62).min(config.apps);
    // The largest of log-weights plus Gumbel noise are a weighted sample without replacement.
    let mut keys: Vec<(f64, usize)> = (catalog::ESSENTIALS..config.apps)
        .map(|app| (gumbel(rng) - 0.8 * ((app + 1) as f64).ln(), app))
        .collect();
    keys.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut chosen: Vec<usize> = (0..catalog::ESSENTIALS).collect();
    chosen.extend(keys.iter().take(installed.saturating_sub(catalog::ESSENTIALS)).map(|&(_, app)| app));
    chosen.sort_unstable();

    // The person's own ranking: popularity with a good deal of personal taste.
    let preference: Vec<f64> =
        chosen.iter().map(|&app| normal(rng, 0.0, 1.3, -4.0, 4.0) - 0.7 * ((app + 1) as f64).ln()).collect();
    let mut ranking: Vec<Slot> = (0..chosen.len()).collect();
    ranking.sort_by(|&a, &b| preference[b].total_cmp(&preference[a]).then(a.cmp(&b)));
    let exponent = normal(rng, 1.05, 0.15, 0.7, 1.4);
    let mut taste = vec![0.0; chosen.len()];
    for (rank, &slot) in ranking.iter().enumerate() {
        taste[slot] = ((rank + 1) as f64).powf(-exponent);
    }

    // On the phones 16 to 20 % of first apps had just posted a notification, where any had.
    let response = normal(rng, 0.16, 0.08, 0.02, 0.5);
    let mut apps: Vec<App> = Vec::with_capacity(chosen.len());
    for (slot, &index) in chosen.iter().enumerate() {
        let kind = catalog::kind(index);
        let mut profile = kind.profile();
        profile.peak_hour = (profile.peak_hour + normal(rng, 0.0, 2.0, -6.0, 6.0)).rem_euclid(24.0);
        let urgency = match kind {
            Kind::Talk => 1.0,
            Kind::Mail | Kind::Work | Kind::Social => 0.5,
            _ => 0.25,
        };
        let notices = profile.notices * taste[slot].sqrt() * normal(rng, 0.0, 0.7, -2.0, 2.0).exp();
        let follower = (slot + rng.random_range(1..chosen.len())) % chosen.len();
        let id = AppId(u32::try_from(index).unwrap_or(u32::MAX));
        apps.push(App { id, taste: taste[slot], profile, answers: response * urgency, notices, follower });
    }
    let a_day = config.notifications_a_day * normal(rng, -0.1, 0.45, -1.5, 1.0).exp();
    let scale = a_day / apps.iter().map(|app| app.notices).sum::<f64>();
    apps.iter_mut().for_each(|app| app.notices *= scale);
    apps
}

fn gumbel(rng: &mut ChaCha8Rng) -> f64 {
    let uniform: f64 = rng.random_range(f64::EPSILON..1.0);
    -(-uniform.ln()).ln()
}

/// Three synthetic cities: latitude, longitude, UTC offset in seconds.
const CITIES: [(f64, f64, i32); 3] = [(45.60, 5.10, 3_600), (40.20, -75.30, -18_000), (28.30, 77.60, 19_800)];

fn draw_homes(rng: &mut ChaCha8Rng) -> (Homes, i32) {
    let (latitude, longitude, offset) = CITIES[rng.random_range(0..CITIES.len())];
    let grid = PlaceGrid::default();
    // One degree of latitude is 111 km: homes lie some 11 km around the centre, workplaces 6 km.
    let mut point = |spread: f64| {
        let north = normal(rng, latitude, spread, latitude - 1.0, latitude + 1.0);
        (north, normal(rng, longitude, 1.3 * spread, longitude - 1.0, longitude + 1.0))
    };
    let (home, work) = (point(0.10), point(0.05));
    let leisure = [point(0.08), point(0.08)];
    let cell = |(north, east): (f64, f64)| grid.place(north, east);
    let between = |t: f64| (home.0 + t * (work.0 - home.0), home.1 + t * (work.1 - home.1));
    let homes = Homes {
        home: cell(home),
        work: cell(work),
        way: [0.25, 0.5, 0.75].map(|t| cell(between(t))),
        leisure: leisure.map(cell),
    };
    (homes, offset)
}

/// Bouts, unlocks and apps are set so that a person opens some 2,000 apps in 260 sessions in 15 days, as in
/// LSApp, and unlocks the phone 54 to 88 times a day, as on the three phones (table in `tests/simulator.rs`).
fn draw_rhythm(rng: &mut ChaCha8Rng) -> Rhythm {
    let mut workdays = [true, true, true, true, true, false, false];
    if rng.random_bool(0.15) {
        // A shift worker: two other days off.
        workdays.rotate_left(rng.random_range(1..7));
    }
    let wake_hour = normal(rng, 7.0, 0.8, 5.0, 9.5);
    Rhythm {
        wake_hour,
        sleep_hour: normal(rng, 23.3, 0.8, 21.5, 25.5),
        work_from: wake_hour + normal(rng, 1.8, 0.4, 1.0, 3.0),
        work_hours: normal(rng, 8.0, 0.7, 5.0, 10.0),
        commute_hours: normal(rng, 0.6, 0.25, 0.15, 1.4),
        workdays,
        desk_charger: rng.random_bool(0.3),
        bouts: 13.6 * normal(rng, 0.0, 0.3, -0.9, 0.9).exp(),
        quick_bouts: normal(rng, 0.48, 0.1, 0.2, 0.7),
        more_unlocks: normal(rng, 0.86, 0.04, 0.7, 0.92),
        more_apps: normal(rng, 0.56, 0.1, 0.25, 0.8),
        // 10, 15 and 22 % on the three phones.
        empty_unlocks: normal(rng, 0.15, 0.05, 0.03, 0.35),
        meetings: normal(rng, 0.6, 0.35, 0.0, 1.5),
        glances: normal(rng, 9.0, 4.0, 1.0, 20.0),
    }
}

fn draw_habits(config: &SimulationConfig, apps: &[App], rng: &mut ChaCha8Rng) -> Habits {
    // Steps come from the middle of the person's ranking: the very favourites are opened for their own sake.
    let mut by_taste: Vec<Slot> = (0..apps.len()).collect();
    by_taste.sort_by(|&a, &b| apps[b].taste.total_cmp(&apps[a].taste).then(a.cmp(&b)));
    let mut middle: Vec<Slot> = by_taste.iter().copied().skip(2).take(26).collect();
    for last in (1..middle.len()).rev() {
        middle.swap(last, rng.random_range(0..=last));
    }
    let mut steps = middle.into_iter().cycle();
    let mut take = |count: usize| -> Vec<Slot> { steps.by_ref().take(count).collect() };

    let mut routines = Vec::new();
    let forks = rng.random_range(1..=3);
    for fork in 0..=forks {
        // Both branches share their middle, so only the app before it tells which step comes last: this is
        // what first- and second-order statistics cannot know. One branch goes on, to another app, to a
        // favourite or back to where it began; the other ends by staying.
        let (starts, shared) = (take(2), take(if fork == 1 { 3 } else { 2 }));
        let goes_to = match fork {
            0 => take(1)[0],
            1 => by_taste[1],
            _ => starts[0],
        };
        let stays_at = shared[shared.len() - 1];
        for (start, end) in [(starts[0], goes_to), (starts[1], stays_at)] {
            routines.push([&[start], &shared[..], &[end]].concat());
        }
    }
    let daily = take(2).into_iter().map(|slot| (slot, rng.random_range(9.0..21.0))).collect();
    let on_the_way = (0..apps.len())
        .filter(|&slot| {
            matches!(catalog::kind(apps[slot].id.0 as usize), Kind::Music | Kind::Travel | Kind::Read)
        })
        .max_by(|&a, &b| apps[a].taste.total_cmp(&apps[b].taste).then(b.cmp(&a)))
        .unwrap_or(catalog::MAPS);
    let second = if rng.random_bool(0.5) { catalog::WEATHER } else { catalog::NEWS };
    Habits {
        resume: config.resume_strength * normal(rng, 1.0, 0.07, 0.7, 1.1),
        // From half a minute to some hours off, the phones' share of resuming falls from .88, .70, .76 to .80,
        // .62, .50.
        resume_loss: normal(rng, 0.055, 0.025, 0.01, 0.12),
        routine: config.routine_strength * normal(rng, 1.0, 0.07, 0.7, 1.1),
        routine_start: normal(rng, 0.08, 0.04, 0.05, 0.25),
        routines,
        morning: vec![catalog::CLOCK, second, by_taste[0]],
        daily,
        on_the_way,
        clock: catalog::CLOCK,
        calendar: catalog::CALENDAR,
        maps: catalog::MAPS,
        // On the phones 19 to 44 % of launches within a session return to the app before the last.
        back: normal(rng, 0.42, 0.08, 0.05, 0.5),
        follow: normal(rng, 0.2, 0.08, 0.0, 0.4),
        phase: 60.0 * normal(rng, 0.0, 0.5, -1.2, 1.2).exp(),
    }
}
