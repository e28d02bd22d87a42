//! Every column of the ranker's features beside a plain reading of the log: lists instead of counters, f64, and each
//! meaning written down once more.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside of test functions too: a failed step is a failed test

use std::collections::BTreeMap;

use foretap::context::features::{self, SCHEMA};
use foretap::context::{History, Task};
use foretap::data::{AppId, Battery, Event, Network, PlaceGrid, PlaceId, Signal, Timestamp, UserId};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const HOUR: f64 = 3_600.0;
const DAY: f64 = 24.0 * HOUR;
const OFFSET_SECS: i32 = 2 * 3_600;

/// A launch.
#[derive(Clone, Copy)]
struct Launch {
    app: AppId,
    at: i64,
    place: Option<PlaceId>,
    /// Unlocks with a launch before it.
    session: usize,
    /// The apps used last before it, the later one first.
    before: [Option<AppId>; 2],
}

/// A launch that was the first after an unlock.
#[derive(Clone, Copy)]
struct Opening {
    launch: Launch,
    departure: &'static str,
}

/// What a log tells, in lists.
#[derive(Default)]
struct Past {
    launches: Vec<Launch>,
    openings: Vec<Opening>,
    stays: Vec<(AppId, f64)>,
    /// Each with how often use had ended before.
    notifications: Vec<(AppId, i64, usize)>,
    /// By app: unlocks with an app that found its notifications unseen, and whether it was opened.
    found: Vec<(AppId, bool)>,
    /// When the last event at an earlier second than the last one's was.
    earlier: Option<i64>,
    last: Option<Event>,
    screen_off: Option<i64>,
    lit: Option<i64>,
    use_ended: Option<i64>,
    /// How often use has ended.
    uses_ended: usize,
    idle_before_dark: Option<f64>,
    last_use: Option<i64>,
    glances: usize,
    sessions: usize,
    session_launches: usize,
    last_session_launches: usize,
    unlocks_without_app: usize,
    unlocked: Option<i64>,
    awaits: bool,
    front: Option<(AppId, i64)>,
    notified: Vec<AppId>,
}

impl Past {
    fn of(events: &[Event]) -> Self {
        let mut past = Self::default();
        for event in events {
            let at = event.at.0;
            if past.last.is_some_and(|last| last.at != event.at) {
                past.earlier = past.last.map(|last| last.at.0);
            }
            past.last = Some(*event);
            match event.signal {
                Signal::Launch(app) => past.launch(app, event),
                Signal::Close(app) => {
                    if let Some((_, opened)) = past.front.take_if(|(front, _)| *front == app) {
                        past.stays.push((app, (at - opened) as f64));
                        past.last_use = Some(at);
                    }
                }
                Signal::Notification(app) => {
                    past.notifications.push((app, at, past.uses_ended));
                    if past.unlocked.is_none() && !past.notified.contains(&app) {
                        past.notified.push(app);
                    }
                }
                Signal::Unlock => {
                    if past.unlocked.is_none() {
                        past.last_session_launches = past.session_launches;
                        past.sessions += usize::from(past.session_launches > 0);
                        past.session_launches = 0;
                    }
                    past.unlocks_without_app += usize::from(past.awaits);
                    (past.unlocked, past.awaits, past.front) = (Some(at), true, None);
                }
                Signal::ScreenOn => {
                    past.end_use(at);
                    past.glances += 1;
                    past.lit = Some(at);
                }
                Signal::ScreenOff => {
                    past.end_use(at);
                    (past.screen_off, past.lit) = (Some(at), None);
                }
            }
        }
        past
    }

    fn launch(&mut self, app: AppId, event: &Event) {
        let at = event.at.0;
        let launch =
            Launch { app, at, place: event.place, session: self.sessions, before: self.recent_apps::<2>() };
        if std::mem::take(&mut self.awaits) {
            for notified in std::mem::take(&mut self.notified) {
                self.found.push((notified, notified == app));
            }
            let departure = self.departure(self.unlocked.unwrap());
            self.openings.push(Opening { launch, departure });
        }
        self.launches.push(launch);
        self.session_launches += 1;
        (self.unlocks_without_app, self.idle_before_dark) = (0, None);
        (self.front, self.last_use) = (Some((app, at)), Some(at));
    }

    fn end_use(&mut self, at: i64) {
        if self.unlocked.take().is_some() {
            self.uses_ended += 1;
            self.notified.clear();
            self.use_ended = Some(at);
            if self.session_launches > 0 {
                let until = if self.front.is_some() { Some(at) } else { self.last_use };
                self.idle_before_dark = until.map(|until| (at - until) as f64);
            }
            self.glances = 0;
            self.unlocks_without_app += usize::from(self.awaits);
        }
        (self.awaits, self.front) = (false, None);
    }

    /// How the phone was left: in an app, at home, at home for more than five minutes, or not dark since.
    fn departure(&self, now: i64) -> &'static str {
        match self.idle_before_dark {
            None => "not dark",
            Some(idle) if idle <= 1.0 => "in an app",
            Some(_) if self.last_use.is_some_and(|last| now - last <= 300) => "at home",
            Some(_) => "at home, long ago",
        }
    }

    /// Different apps, the one used last first.
    fn recent_apps<const N: usize>(&self) -> [Option<AppId>; N] {
        let mut found: Vec<AppId> = Vec::new();
        for Launch { app, .. } in self.launches.iter().rev() {
            if found.len() < N && !found.contains(app) {
                found.push(*app);
            }
        }
        std::array::from_fn(|place| found.get(place).copied())
    }

    /// Openings of another app than the one used last.
    fn choices(&self) -> Vec<Launch> {
        let openings = self.openings.iter().map(|opening| opening.launch);
        openings.filter(|launch| launch.before[0] != Some(launch.app)).collect()
    }

    /// The column `name` of `app`, asked at `now` among so many candidates.
    fn column(&self, name: &str, app: AppId, now: i64, candidates: usize) -> f64 {
        let last = self.last.unwrap();
        let unlocked: Vec<Launch> = self.openings.iter().map(|opening| opening.launch).collect();
        let (launches, choices) = (&self.launches, &self.choices());
        let own = |list: &[Launch]| list.iter().filter(|launch| launch.app == app).count();
        let since = |then: Option<i64>| then.map_or(f64::NAN, |then| ((now - then).max(0) as f64).ln_1p());
        let latest = |list: &[Launch]| list.iter().rev().find(|launch| launch.app == app).map(|l| l.at);
        let count_where = |list: &[Launch], is: &dyn Fn(&Launch) -> bool| {
            let of = |all: bool| list.iter().filter(|l| is(l) && (all || l.app == app)).count() as f64;
            [of(false), of(true)]
        };
        let share = |[part, whole]: [f64; 2]| if whole > 0.0 { part / whole } else { 0.0 };
        let weighed = |list: &[Launch], weight: &dyn Fn(&Launch) -> f64| {
            let of = |all: bool| list.iter().filter(|l| all || l.app == app).map(weight).sum::<f64>();
            [of(false), of(true)]
        };
        let fading =
            |half_life: f64| move |launch: &Launch| 2f64.powf(-((now - launch.at) as f64) / half_life);
        let decayed = |list: &[Launch], half_life: f64| share(weighed(list, &fading(half_life)));
        let drawn =
            |[part, whole]: [f64; 2], prior: f64, weight: f64| (part + weight * prior) / (whole + weight);
        // Two hours wide to either side of now, from the middle of each hour of the day, around the clock.
        let around = |launch: &Launch| {
            let apart = (clock(launch.at).0.floor() + 0.5 - clock(now).0).rem_euclid(24.0);
            (1.0 - apart.min(24.0 - apart) / 2.0).max(0.0)
        };
        let lately_around = |launch: &Launch| around(launch) * fading(5.0 * DAY)(launch);
        let ever = share(count_where(launches, &|_| true));
        let [one, two] = self.recent_apps::<2>();
        // Of apps that came after something: NaN where nothing ever did, `prior` where something did, but not this.
        let after = |list: &[Launch], was: &dyn Fn(&Launch) -> bool, prior: f64, is_known: bool| {
            if is_known { drawn(count_where(list, was), prior, 3.0) } else { f64::NAN }
        };
        let others: Vec<Launch> = launches
            .iter()
            .filter(|l| l.before[0].is_some() && l.before[0] != Some(l.app))
            .copied()
            .collect();
        let pair = |launch: &Launch| two.is_some() && launch.before == [one, two];
        let unlock_week = decayed(&unlocked, 7.0 * DAY);
        let unlock_after_last = after(&unlocked, &|l| l.before[0] == one, unlock_week, one.is_some());
        let last_opened = unlocked.last().map(|launch| launch.app);
        let after_openings: Vec<Launch> =
            unlocked.windows(2).map(|pair| Launch { before: [Some(pair[0].app), None], ..pair[1] }).collect();
        let of_app = |(other, ..): &&(AppId, i64, usize)| *other == app;
        let notices: Vec<_> = self.notifications.iter().filter(of_app).collect();
        let pending = notices.iter().filter(|(_, at, _)| {
            // In these logs no notification comes in the second of a launch.
            latest(launches).is_none_or(|opened| *at > opened)
        });
        let (pending, unseen) =
            (pending.count(), notices.iter().filter(|(.., ended)| *ended == self.uses_ended).count());
        let rank_by = |list: &[Launch], key: &dyn Fn(AppId) -> (i64, i64)| -> f64 {
            let mut apps: Vec<AppId> = list.iter().map(|launch| launch.app).collect();
            apps.sort_unstable();
            apps.dedup();
            apps.sort_by_key(|app| key(*app));
            apps.iter().position(|other| *other == app).map_or(f64::NAN, |rank| rank as f64)
        };
        let recency = |list: &[Launch]| {
            let last_place = |app: AppId| list.iter().rposition(|l| l.app == app).unwrap() as i64;
            rank_by(list, &|app| (-last_place(app), 0))
        };
        let flag = |yes: bool| f64::from(u8::from(yes));
        let stays: Vec<f64> = self.stays.iter().filter(|(other, _)| *other == app).map(|s| s.1).collect();
        let last_of = |list: &[Launch]| list.iter().rev().take(10).filter(|l| l.app == app).count() as f64;
        match name {
            "since_launch" => since(latest(launches)),
            "since_unlock_open" => since(latest(&unlocked)),
            "since_choice" => since(latest(choices)),
            "recency_rank" => recency(launches),
            "unlock_recency_rank" => recency(&unlocked),
            "is_last" => flag(one == Some(app)),
            "is_second_last" => flag(two == Some(app)),
            "is_last_unlock" => flag(last_opened == Some(app)),
            "in_last_session" => {
                let session = launches.iter().rev().find(|l| l.app == app).map(|l| l.session);
                flag(session.is_some_and(|session| session + 1 == self.sessions))
            }
            "in_last_10" => last_of(launches),
            "in_last_10_unlocks" => last_of(&unlocked),
            "overdue" => {
                let own: Vec<i64> = launches.iter().filter(|l| l.app == app).map(|l| l.at).collect();
                match own[..] {
                    [first, .., last] => {
                        let between = (last - first) as f64 / (own.len() - 1) as f64;
                        since(Some(last)) - between.ln_1p()
                    }
                    _ => f64::NAN,
                }
            }
            "launch_share" => ever,
            "unlock_share" => share(count_where(&unlocked, &|_| true)),
            "hour_decayed_share" => decayed(launches, HOUR),
            "day_decayed_share" => decayed(launches, DAY),
            "week_decayed_share" => decayed(launches, 7.0 * DAY),
            "trend" => ((decayed(launches, DAY) + 0.01) / (decayed(launches, 7.0 * DAY) + 0.01)).ln(),
            "unlock_day_decayed_share" => decayed(&unlocked, DAY),
            "unlock_week_decayed_share" => unlock_week,
            "choice_day_decayed_share" => decayed(choices, DAY),
            "choice_week_decayed_share" => decayed(choices, 7.0 * DAY),
            "hour_affinity" => drawn(weighed(launches, &around), ever, 10.0),
            "recent_hour_affinity" => {
                drawn(weighed(launches, &lately_around), decayed(launches, 7.0 * DAY), 5.0)
            }
            "unlock_hour_affinity" => drawn(weighed(&unlocked, &around), unlock_week, 10.0),
            "choice_hour_affinity" => drawn(weighed(choices, &around), decayed(choices, 7.0 * DAY), 5.0),
            "day_kind_affinity" => {
                let is_weekend = |at: i64| clock(at).1 >= 5;
                drawn(count_where(launches, &|l| is_weekend(l.at) == is_weekend(now)), ever, 20.0)
            }
            "place_affinity" => match last.place {
                Some(place) => drawn(count_where(launches, &|l| l.place == Some(place)), ever, 20.0),
                None => f64::NAN,
            },
            "after_last" => after(&others, &|l| l.before[0] == one, ever, one.is_some()),
            "after_last_two" => after(&others, &pair, ever, others.iter().any(pair)),
            "unlock_after_last" => unlock_after_last,
            "unlock_after_departure" => {
                let like_now = |o: &&Opening| o.departure == self.departure(now);
                let left_so: Vec<Launch> = self.openings.iter().filter(like_now).map(|o| o.launch).collect();
                after(&left_so, &|l| l.before[0] == one, unlock_after_last, one.is_some())
            }
            "unlock_after_two" => after(&unlocked, &pair, unlock_after_last, unlocked.iter().any(pair)),
            "unlock_after_unlock" => {
                after(&after_openings, &|l| l.before[0] == last_opened, unlock_week, last_opened.is_some())
            }
            "mean_stay" => (stays.iter().sum::<f64>() / stays.len() as f64).ln_1p(),
            "last_stay" => stays.last().map_or(f64::NAN, |secs| secs.ln_1p()),
            "since_notification" => since(notices.last().map(|notice| notice.1)),
            "unseen_notifications" => unseen as f64,
            "pending_notifications" => pending as f64,
            "notified_since_open" => flag(pending > 0),
            "answer_rate" => {
                let found: Vec<bool> =
                    self.found.iter().filter(|(other, _)| *other == app).map(|f| f.1).collect();
                (found.iter().filter(|opened| **opened).count() as f64 + 0.3) / (found.len() as f64 + 1.0)
            }
            "frequency_rank" => {
                // Of equals, who came to be as frequent first.
                let reached = |app: AppId| {
                    let own: Vec<usize> =
                        (0..launches.len()).filter(|&index| launches[index].app == app).collect();
                    (-(own.len() as i64), own.last().map_or(0, |&index| index as i64))
                };
                if own(launches) == 0 { f64::NAN } else { rank_by(launches, &reached) }
            }
            "hour" => clock(now).0,
            "weekday" => f64::from(clock(now).1),
            "battery_percent" => last.battery.percent.map_or(f64::NAN, f64::from),
            "charging" => last.battery.charging.map_or(f64::NAN, flag),
            "network" => match last.network {
                Network::Unknown => f64::NAN,
                Network::Offline => 0.0,
                Network::Wifi => 1.0,
                Network::Cellular => 2.0,
            },
            "since_event" => since(self.earlier),
            "since_use" => since(self.last_use),
            "screen_off_for" => since(self.screen_off),
            "unused_for" => since(self.use_ended),
            "idle_before_dark" => self.idle_before_dark.map_or(f64::NAN, |secs| secs.ln_1p()),
            "lit_for" => since(self.lit),
            "lit_after_notification" => match (self.lit, self.notifications.last()) {
                (Some(lit), Some((_, at, _))) => ((lit - at).max(0) as f64).ln_1p(),
                _ => f64::NAN,
            },
            "glances" => self.glances as f64,
            "candidates" => candidates as f64,
            "launches_last_hour" => (launches.iter().filter(|l| now - l.at <= 3_600).count() as f64).ln_1p(),
            "last_session_launches" => self.last_session_launches as f64,
            "unlocks_without_app" => self.unlocks_without_app as f64,
            "resume_rate" => {
                let asked = self.openings.iter().rev().map(|o| o.launch).filter(|l| l.before[0].is_some());
                let resumed: Vec<bool> = asked.take(20).map(|l| l.before[0] == Some(l.app)).collect();
                let count = resumed.iter().filter(|resumed| **resumed).count();
                (count as f64 + 1.0) / (resumed.len() as f64 + 2.0)
            }
            "notified_apps" => self.notified.len() as f64,
            _ => panic!("what `{name}` means is not written here"),
        }
    }
}

/// Hour of the day and day of the week (0 is Monday) on the user's clock.
fn clock(at: i64) -> (f64, u32) {
    let local = at + i64::from(OFFSET_SECS);
    // 1970-01-01 was a Thursday.
    (local.rem_euclid(86_400) as f64 / HOUR, (local.div_euclid(86_400) + 3).rem_euclid(7) as u32)
}

/// Three weeks of somebody with eight apps and all kinds of habits, signals and gaps.
fn log(seed: u64) -> Vec<Event> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let places: Vec<Option<PlaceId>> =
        (0..3).map(|n| PlaceGrid::default().place(48.0 + f64::from(n), 11.0)).chain([None]).collect();
    let networks = [Network::Unknown, Network::Offline, Network::Wifi, Network::Cellular];
    // A Monday.
    let mut now = 1_767_571_200;
    let mut events = Vec::new();
    let one_of = |random: &mut ChaCha8Rng, end: u32| random.random_range(0..end) as usize;
    while now < 1_767_571_200 + 21 * 86_400 {
        let longest = if random.random_bool(0.2) { 30_000 } else { 4_000 };
        now += random.random_range(20..longest);
        let like = Event {
            utc_offset_secs: OFFSET_SECS,
            place: places[one_of(&mut random, 4)],
            battery: Battery {
                percent: random.random_bool(0.8).then(|| random.random_range(0..=100)),
                charging: [None, Some(false), Some(true)][one_of(&mut random, 3)],
            },
            network: networks[one_of(&mut random, 4)],
            ..Event::new(UserId(1), Timestamp(now), Signal::Unlock)
        };
        let mut add = |now: &mut i64, after: i64, signal: Signal| {
            *now += after;
            events.push(Event { at: Timestamp(*now), signal, ..like });
        };
        // A few apps often, two that only notify.
        let app = |random: &mut ChaCha8Rng| AppId((8.0 * random.random::<f64>().powi(2)) as u32);
        for _ in 0..one_of(&mut random, 3) {
            let notifies = AppId(random.random_range(0..10));
            add(&mut now, random.random_range(1..200), Signal::Notification(notifies));
        }
        for _ in 0..one_of(&mut random, 2) {
            add(&mut now, 3, Signal::ScreenOn);
            add(&mut now, 9, Signal::ScreenOff);
        }
        if random.random_bool(0.8) {
            add(&mut now, 2, Signal::ScreenOn);
        }
        for _ in 0..1 + one_of(&mut random, 2) {
            add(&mut now, random.random_range(0..2), Signal::Unlock);
        }
        for _ in 0..one_of(&mut random, 4) {
            let opened = app(&mut random);
            add(&mut now, random.random_range(1..4), Signal::Launch(opened));
            if random.random_bool(0.3) {
                add(&mut now, 2, Signal::Notification(AppId(random.random_range(0..10))));
            }
            if random.random_bool(0.6) {
                add(&mut now, random.random_range(1..400), Signal::Close(opened));
            }
        }
        add(&mut now, [0, 1, 30, 500][one_of(&mut random, 4)], Signal::ScreenOff);
    }
    events
}

#[test]
fn every_column_is_what_a_plain_reading_of_the_log_says() {
    // By column: how many numbers, how many missing, and whether two of them differ.
    let mut seen: BTreeMap<&str, (usize, usize, Vec<u64>)> = BTreeMap::new();
    for seed in 0..3 {
        let events = log(seed);
        let mut history = History::default();
        let mut matrix = Vec::new();
        for (index, event) in events.iter().enumerate() {
            history.observe(event);
            // At every eleventh event, and now and again a while later.
            if index % 11 > 0 && index > 12 {
                continue;
            }
            let past = Past::of(&events[..=index]);
            let now = event.at.0 + [0, 0, 17, 5_000][index % 4];
            // All that were opened, two that may have notified, one that nobody knows.
            let apps: Vec<AppId> = (0..11).map(AppId).collect();
            let context = history.context_at(Timestamp(now), Task::FirstAfterUnlock);
            features::fill(&context.with_candidates(&apps), &mut matrix);
            for (app, row) in apps.iter().zip(matrix.chunks_exact(SCHEMA.len())) {
                for (feature, &found) in SCHEMA.iter().zip(row) {
                    let expected = past.column(feature.name, *app, now, apps.len());
                    let found = f64::from(found);
                    let is_alike = (found.is_nan() && expected.is_nan())
                        || (found - expected).abs() <= 2e-4 * (1.0 + expected.abs());
                    assert!(
                        is_alike,
                        "log {seed}, event {index}, {app:?}, `{}`: {found}, not {expected}",
                        feature.name
                    );
                    let (numbers, missing, values) = seen.entry(feature.name).or_default();
                    *(if found.is_nan() { missing } else { numbers }) += 1;
                    if values.len() < 3 && !found.is_nan() && !values.contains(&found.to_bits()) {
                        values.push(found.to_bits());
                    }
                }
            }
        }
    }
    assert_eq!(seen.len(), SCHEMA.len(), "a name twice");
    for (name, (numbers, _, values)) in &seen {
        let enough = if *name == "candidates" { 1 } else { 2 };
        assert!(*numbers > 1_000 && values.len() >= enough, "`{name}`: {numbers} numbers of {values:?}");
    }
    for name in
        ["since_launch", "place_affinity", "after_last_two", "unlock_after_two", "mean_stay", "overdue"]
    {
        assert!(seen[name].1 > 100, "`{name}` is missing {} times", seen[name].1);
    }
}
