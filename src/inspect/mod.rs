//! What is in a log, before it is trusted: people, days, gaps, apps, unlocks with and without an answer, and signs that it is
//! not what it seems.

mod statistics;

use std::collections::{BTreeMap, HashMap};
use std::error::Error as StdError;
use std::fmt;
use std::path::Path;

use plotters::prelude::*;
use serde::Serialize;

use crate::context::{Task, questions};
use crate::data::log::WarningKind;
use crate::data::{AppId, Event, Log, Signal, Vocabulary, Warnings};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::write_atomically;
pub use statistics::{Quantiles, UserStatistics, summarize};

const HOUR_SECS: i64 = 3600;
const DAY_SECS: i64 = 86_400;
/// A silence from which on a gap is named: a phone that is used is not left alone for a day and a half.
const GAP_SECS: i64 = 36 * HOUR_SECS;
/// Gaps that are named.
const MOST_GAPS: usize = 10;
/// Fewer launches, and fewer days, show nothing odd.
const FEWEST_LAUNCHES: u64 = 200;
const FEWEST_DAYS: usize = 5;
/// Hours that a night has.
const NIGHT_HOURS: usize = 5;

/// What a log holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// How many people.
    pub people: usize,
    /// How many events.
    pub events: usize,
    /// Days on the people's clocks on which something happened, summed over people.
    pub days: usize,
    /// The first and the last of them, such as `2019-11-09`.
    pub first_day: String,
    /// See there.
    pub last_day: String,
    /// The offsets from UTC that the events have, such as `+01:00`, the most frequent first.
    pub time_zone: Vec<String>,
    /// How many unlocks.
    pub unlocks: u64,
    /// Unlocks that an app was opened after, before the screen went dark: the questions of `first-after-unlock`.
    pub questions: u64,
    /// Silences of a day and a half or more, the longest first.
    pub gaps: Vec<Gap>,
    /// Apps, the most launched first.
    pub apps: Vec<InspectedApp>,
    /// Launches by local hour, 0 to 23.
    pub launches_by_hour: [u64; 24],
    /// Rows and events that were left out, by the reason.
    pub dropped: BTreeMap<String, u64>,
    /// Events that were in several files.
    pub repeats: u64,
    /// What reading found odd, and what it put right.
    pub warnings: Vec<String>,
    /// Signs that the log is not what it seems.
    pub suspicions: Vec<String>,
    /// How its people use their phones, by the name of a [`UserStatistics`]' field.
    pub statistics: BTreeMap<&'static str, Quantiles>,
}

/// A silence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gap {
    /// Whose.
    pub user: String,
    /// When it begins, on the clock of the person.
    pub from: String,
    /// How long.
    pub hours: f64,
}

/// An app in a log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InspectedApp {
    /// Its name.
    pub name: String,
    /// How often it was launched.
    pub launches: u64,
    /// After how many unlocks it was the first.
    pub first_opens: u64,
}

impl Inspection {
    /// Looks at a log, its app names, and what reading it said.
    pub fn new(log: &Log, vocabulary: &Vocabulary, warnings: &Warnings) -> Self {
        let mut found = Self {
            people: log.users().count(),
            events: log.events().len(),
            days: 0,
            first_day: String::new(),
            last_day: String::new(),
            time_zone: offsets(log.events()),
            unlocks: 0,
            questions: 0,
            gaps: Vec::new(),
            apps: Vec::new(),
            launches_by_hour: [0; 24],
            dropped: dropped(warnings),
            repeats: warnings.count(WarningKind::Repeat),
            warnings: warnings.iter().map(ToString::to_string).collect(),
            suspicions: Vec::new(),
            statistics: summarize(log),
        };
        let (mut launches, mut first_opens) = (HashMap::<AppId, u64>::new(), HashMap::<AppId, u64>::new());
        let (mut first_day, mut last_day) = (i64::MAX, i64::MIN);
        for events in log.users() {
            let mut previous: Option<&Event> = None;
            for event in events {
                let day = local_secs(event).div_euclid(DAY_SECS);
                found.days +=
                    usize::from(previous.is_none_or(|last| local_secs(last).div_euclid(DAY_SECS) < day));
                (first_day, last_day) = (first_day.min(day), last_day.max(day));
                if let Some(last) = previous.filter(|last| event.at.secs_since(last.at) >= GAP_SECS) {
                    let hours = event.at.secs_since(last.at) as f64 / HOUR_SECS as f64;
                    found.gaps.push(Gap { user: event.user.to_string(), from: local_words(last), hours });
                }
                match event.signal {
                    Signal::Launch(app) => {
                        *launches.entry(app).or_default() += 1;
                        let hour = local_secs(event).rem_euclid(DAY_SECS) / HOUR_SECS;
                        found.launches_by_hour[hour as usize] += 1;
                    }
                    Signal::Unlock => found.unlocks += 1,
                    _ => {}
                }
                previous = Some(event);
            }
            for question in questions(Task::FirstAfterUnlock, events) {
                found.questions += 1;
                *first_opens.entry(question.answer).or_default() += 1;
            }
        }
        if first_day <= last_day {
            (found.first_day, found.last_day) = (day_words(first_day), day_words(last_day));
        }
        found.gaps.sort_by(|a, b| b.hours.total_cmp(&a.hours));
        found.gaps.truncate(MOST_GAPS);
        found.apps = launches
            .into_iter()
            .map(|(app, launches)| InspectedApp {
                name: vocabulary.name(app).to_owned(),
                launches,
                first_opens: first_opens.get(&app).copied().unwrap_or_default(),
            })
            .collect();
        found.apps.sort_by(|a, b| b.launches.cmp(&a.launches).then_with(|| a.name.cmp(&b.name)));
        found.suspicions = found.suspicions(log.events());
        found
    }

    fn suspicions(&self, events: &[Event]) -> Vec<String> {
        let mut signs = Vec::new();
        let launches: u64 = self.launches_by_hour.iter().sum();
        let percent = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
        if let Some(first) =
            self.apps.iter().max_by_key(|app| app.first_opens).filter(|_| self.questions >= 30)
        {
            let share = percent(first.first_opens, self.questions);
            if share >= 95.0 {
                signs.push(format!(
                    "`{}` is the first app after {share:.0} % of the unlocks: is it the home screen? Then leave it out with --home",
                    first.name
                ));
            }
        }
        if self.unlocks >= 30 && percent(self.questions, self.unlocks) < 30.0 {
            signs.push(format!(
                "only {:.0} % of the unlocks have an answer: are launches missing, or does this phone write them before the unlock?",
                percent(self.questions, self.unlocks)
            ));
        }
        if self.unlocks == 0 && launches > 0 {
            signs.push(
                "there is no unlock: nothing can be asked after one; try --task next-launch".to_owned(),
            );
        }
        let times = events.len() as u64;
        let round = |unit: i64| events.iter().filter(|event| event.at.0 % unit == 0).count() as u64;
        if times >= FEWEST_LAUNCHES && percent(round(HOUR_SECS), times) >= 90.0 {
            signs
                .push("times stand on the hour: this is a count by the hour and no log of events".to_owned());
        } else if times >= FEWEST_LAUNCHES && percent(round(60), times) >= 90.0 {
            signs.push("times have no seconds: what happened within a minute has no order".to_owned());
        }
        if launches >= FEWEST_LAUNCHES && self.days >= FEWEST_DAYS {
            let of_night = |start: usize| -> u64 {
                (0..NIGHT_HOURS).map(|hour| self.launches_by_hour[(start + hour) % 24]).sum()
            };
            let (start, quiet) =
                (0..24).map(|start| (start, of_night(start))).min_by_key(|&(_, sum)| sum).unwrap_or((0, 0));
            // A twelfth: less than half of what five of 24 hours would have of a phone that nobody sleeps beside.
            if percent(quiet, launches) > 100.0 / 12.0 {
                signs.push(format!(
                    "there is no night: even the quietest {NIGHT_HOURS} hours have {:.0} % of the launches; are these several people, or a machine?",
                    percent(quiet, launches)
                ));
            } else if !(21..24).contains(&start) && !(0..6).contains(&start) {
                signs.push(format!(
                    "the quietest {NIGHT_HOURS} hours begin at {start}:00: is that the time zone of the person? Name it with --time-zone"
                ));
            }
        }
        signs
    }

    /// Draws launches by day and hour as one SVG file: a column a day, the hours from top to bottom, darker where more
    /// apps were opened. Several people are drawn together.
    ///
    /// # Errors
    /// There is no event, or the file cannot be written.
    pub fn write_raster(log: &Log, file: &Path) -> Result<()> {
        let svg = raster(log).map_err(|error| {
            Error::new(ErrorKind::Data, format!("the picture could not be drawn: {error}")).file(file)
        })?;
        write_atomically(file, |out| out.write_all(svg.as_bytes()))
    }
}

/// Most columns of a picture: of a longer log, the last days.
const MOST_DAYS: i64 = 400;

fn raster(log: &Log) -> std::result::Result<String, Box<dyn StdError>> {
    const CELL: u32 = 12;
    let mut cells: HashMap<(i64, i64), u32> = HashMap::new();
    for event in log.events().iter().filter(|event| matches!(event.signal, Signal::Launch(_))) {
        let secs = local_secs(event);
        *cells.entry((secs.div_euclid(DAY_SECS), secs.rem_euclid(DAY_SECS) / HOUR_SECS)).or_default() += 1;
    }
    let days = || cells.keys().map(|&(day, _)| day);
    let (Some(first), Some(last)) = (days().min(), days().max()) else {
        return Err("no app was opened".into());
    };
    let first = first.max(last - MOST_DAYS + 1);
    let most = f64::from(cells.values().copied().max().unwrap_or(1));
    let width = (last - first + 1) as u32;
    let size = (width.max(20) * CELL + 110, 24 * CELL + 90);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE)?;
        let area = area.titled("Apps opened, by day and hour", ("sans-serif", 20))?;
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .margin_right(30)
            .x_label_area_size(40)
            .y_label_area_size(60)
            // Days from the first on, and quarters of a day from the top: marks stand at whole ones.
            .build_cartesian_2d(0.0..f64::from(width.max(20)), 4.0..0.0)?;
        let day = |value: &f64| day_words(first + value.floor() as i64);
        let hour = |value: &f64| format!("{:.0}:00", 6.0 * value);
        let mut mesh = chart.configure_mesh();
        mesh.disable_mesh().x_labels((width as usize / 8).clamp(3, 10)).y_labels(5);
        mesh.x_label_formatter(&day).y_label_formatter(&hour).label_style(("sans-serif", 14)).draw()?;
        chart.draw_series(cells.iter().filter(|((day, _), _)| *day >= first).map(
            |(&(day, hour), &count)| {
                // By the root: two launches are to be seen beside a hundred.
                let share = (f64::from(count) / most).sqrt();
                let shade = |light: f64, dark: f64| (light + share * (dark - light)) as u8;
                let colour = RGBColor(shade(222.0, 8.0), shade(235.0, 48.0), shade(247.0, 107.0));
                let (x, y) = ((day - first) as f64, hour as f64);
                Rectangle::new([(x + 0.04, (y + 0.04) / 6.0), (x + 0.96, (y + 0.96) / 6.0)], colour.filled())
            },
        ))?;
        area.present()?;
    }
    Ok(svg)
}

impl fmt::Display for Inspection {
    /// What a person wants to know, one line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { people, events, days, first_day, last_day, unlocks, questions, .. } = self;
        writeln!(f, "{people} people, {events} events on {days} days from {first_day} to {last_day}")?;
        writeln!(f, "clock: {}", self.time_zone.join(", "))?;
        let answered = 100.0 * *questions as f64 / (*unlocks).max(1) as f64;
        writeln!(f, "{unlocks} unlocks, {questions} of them with an answer ({answered:.0} %)")?;
        for Gap { user, from, hours } in &self.gaps {
            writeln!(f, "gap: {hours:.0} hours from {from} ({user})")?;
        }
        writeln!(f, "\n{:<30} {:>8} {:>7} {:>11}", "app", "launches", "share", "first opens")?;
        let launches: u64 = self.apps.iter().map(|app| app.launches).sum();
        for app in self.apps.iter().take(15) {
            let share = 100.0 * app.launches as f64 / launches.max(1) as f64;
            // A name may hold characters that steer a terminal.
            let name: String = app.name.chars().filter(|c| !c.is_control()).collect();
            writeln!(f, "{name:<30} {:>8} {share:>5.1} % {:>11}", app.launches, app.first_opens)?;
        }
        if self.apps.len() > 15 {
            writeln!(f, "and {} more", self.apps.len() - 15)?;
        }
        writeln!(
            f,
            "\nlaunches by hour, 0 to 23: {}",
            self.launches_by_hour.map(|count| count.to_string()).join(" ")
        )?;
        for (reason, count) in &self.dropped {
            writeln!(f, "left out: {count} ({reason})")?;
        }
        if self.repeats > 0 {
            writeln!(f, "in several files: {} events, taken once", self.repeats)?;
        }
        for sign in &self.suspicions {
            writeln!(f, "LOOK: {sign}")?;
        }
        Ok(())
    }
}

/// What was left out, by the reason.
fn dropped(warnings: &Warnings) -> BTreeMap<String, u64> {
    let mut dropped = BTreeMap::new();
    for warning in warnings.iter() {
        let reason = match warning.kind {
            WarningKind::BadRow | WarningKind::CutOff | WarningKind::ClockJump => match warning.field {
                Some(field) => format!("rows with an unusable {field}"),
                // A jump of the clock that lost nothing.
                None => continue,
            },
            WarningKind::Duplicate => "rows that repeat the row before them".to_owned(),
            WarningKind::HomeScreen => "launches of home screens and dialogs".to_owned(),
            _ => continue,
        };
        *dropped.entry(reason).or_default() += warning.count;
    }
    dropped
}

/// The offsets from UTC of the events, the most frequent first.
fn offsets(events: &[Event]) -> Vec<String> {
    let mut counts: BTreeMap<i32, u64> = BTreeMap::new();
    for event in events {
        *counts.entry(event.utc_offset_secs).or_default() += 1;
    }
    let mut counts: Vec<(i32, u64)> = counts.into_iter().collect();
    counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let words = |secs: i32| {
        let sign = if secs < 0 { '-' } else { '+' };
        format!("{sign}{:02}:{:02}", secs.abs() / 3600, secs.abs() / 60 % 60)
    };
    counts.into_iter().take(6).map(|(secs, _)| words(secs)).collect()
}

fn local_secs(event: &Event) -> i64 {
    event.at.0 + i64::from(event.utc_offset_secs)
}

fn local_words(event: &Event) -> String {
    let local = jiff::Timestamp::from_second(local_secs(event));
    local.map_or_else(|_| event.at.0.to_string(), |local| local.strftime("%Y-%m-%d %H:%M").to_string())
}

fn day_words(day: i64) -> String {
    let start = jiff::Timestamp::from_second(day * DAY_SECS);
    start.map_or_else(|_| format!("day {day}"), |start| start.strftime("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::simulate::{SimulationConfig, simulate};
    use crate::data::{Timestamp, UserId};
    use crate::progress::Silent;

    fn inspected(events: Vec<Event>) -> Inspection {
        let vocabulary = Vocabulary::from_names(["Home", "Mail"]);
        Inspection::new(&Log::from_events(events), &vocabulary, &Warnings::default())
    }

    /// Three hundred visits over ten days, in `hours`, of the app that `app` names by the number of the visit.
    fn visits(hours: std::ops::Range<i64>, round: i64, app: impl Fn(i64) -> u32) -> Vec<Event> {
        let visit = |number: i64| {
            let hour = hours.start + number % (hours.end - hours.start);
            let at = (1_699_920_000 + number / 30 * DAY_SECS + hour * HOUR_SECS + number * 37 % 3000) / round
                * round;
            let event = |later: i64, signal| Event::new(UserId(1), Timestamp(at + later), signal);
            [event(0, Signal::Unlock), event(0, Signal::Launch(AppId(app(number))))]
        };
        (0..300).flat_map(visit).collect()
    }

    #[test]
    fn simulated_people_look_like_people() {
        let config = SimulationConfig { people: 3, days: 12, ..SimulationConfig::default() };
        let simulation = simulate(&config, &Silent).unwrap();
        let found = Inspection::new(&simulation.log, &simulation.vocabulary, &Warnings::default());
        assert_eq!((found.people, found.events), (3, simulation.log.events().len()));
        assert_eq!(found.suspicions, Vec::<String>::new());
        assert!(found.questions > 100 && found.questions <= found.unlocks && (30..=39).contains(&found.days));
        let launches: u64 = found.apps.iter().map(|app| app.launches).sum();
        assert_eq!(launches, found.launches_by_hour.iter().sum::<u64>());
        assert_eq!(found.apps.iter().map(|app| app.first_opens).sum::<u64>(), found.questions);
        let json = serde_json::to_value(&found).unwrap();
        for key in [
            "people",
            "events",
            "days",
            "time_zone",
            "unlocks",
            "questions",
            "apps",
            "dropped",
            "repeats",
            "warnings",
        ] {
            assert!(json.get(key).is_some(), "{key}");
        }
    }

    #[test]
    fn signs_that_a_log_is_not_what_it_seems() {
        let day = 8..22;
        let by_turns = |number: i64| u32::from(number % 2 == 0);
        let without_answer = || {
            let unlocks = visits(day.clone(), 1, by_turns).into_iter();
            unlocks.filter(|event| event.signal == Signal::Unlock || event.at.0 % 7 == 0).collect::<Vec<_>>()
        };
        let cases: [(&str, Vec<Event>, Option<&str>); 8] = [
            ("people", visits(day.clone(), 1, by_turns), None),
            (
                "the home screen",
                visits(day.clone(), 1, |number| u32::from(number % 40 == 0)),
                Some("`Home` is the first app"),
            ),
            ("by the hour", visits(day.clone(), HOUR_SECS, by_turns), Some("on the hour")),
            ("by the minute", visits(day.clone(), 60, by_turns), Some("no seconds")),
            ("no night", visits(0..24, 1, by_turns), Some("no night")),
            ("another zone", visits(-8..6, 1, by_turns), Some("begin at")),
            ("no answers", without_answer(), Some("of the unlocks have an answer")),
            (
                "no unlock",
                visits(day.clone(), 1, by_turns)
                    .into_iter()
                    .filter(|event| event.signal != Signal::Unlock)
                    .collect(),
                Some("there is no unlock"),
            ),
        ];
        for (what, events, sign) in cases {
            let found = inspected(events);
            match sign {
                None => assert_eq!(found.suspicions, Vec::<String>::new(), "{what}"),
                Some(sign) => assert!(
                    found.suspicions.iter().any(|line| line.contains(sign)),
                    "{what}: {:?}",
                    found.suspicions
                ),
            }
            assert!(found.to_string().contains("unlocks"));
        }
    }

    #[test]
    fn gaps_are_named_and_a_picture_is_drawn() {
        let mut events = visits(8..22, 1, |_| 1);
        events.retain(|event| !(1_700_179_200..1_700_352_000).contains(&event.at.0));
        let found = inspected(events.clone());
        assert_eq!(found.gaps.len(), 1);
        assert!(
            found.gaps[0].hours > 48.0 && found.gaps[0].from.starts_with("2023-11-16"),
            "{:?}",
            found.gaps
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("days.svg");
        Inspection::write_raster(&Log::from_events(events), &file).unwrap();
        let svg = std::fs::read_to_string(&file).unwrap();
        assert!(svg.starts_with("<svg") && svg.matches("<rect").count() > 50);
        let nothing = Inspection::write_raster(&Log::default(), &file).unwrap_err().to_string();
        assert!(nothing.contains("no app was opened"), "{nothing}");
        assert!(inspected(Vec::new()).to_string().contains("0 people"));
    }
}
