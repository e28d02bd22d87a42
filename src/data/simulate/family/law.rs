//! What the people of a family are drawn from: ranges, read from a TOML file.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::data::simulate::Law;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::TomlFile;

/// Longest file.
const MOST_BYTES: u64 = 1 << 20;

/// Most apps that a person may have.
const MOST_APPS: f64 = 4_000.0;
/// Longest time scale: a year.
const LONGEST_SECS: f64 = 31_536_000.0;

/// What may be drawn for each person of a family: not only parameters, but which mechanisms lead to an app and how they work
/// together. Every field stands in `data/laws/broad.toml`, with its unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FamilyLaw {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub about: String,
    /// Where its ranges come from.
    pub source: String,
    /// Relative frequencies of the ways in which mechanisms work together.
    pub(super) combination: BTreeMap<Combination, f64>,
    pub(super) apps: AppsLaw,
    pub(super) day: DayLaw,
    pub(super) places: PlacesLaw,
    pub(super) notifications: NotificationsLaw,
    pub(super) leaving: LeavingLaw,
    pub(super) change: ChangeLaw,
    pub(super) signals: SignalsLaw,
    pub(super) mechanisms: BTreeMap<MechanismKind, MechanismLaw>,
}

impl FamilyLaw {
    /// The law in `file`.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, has a key that means nothing, or a range that nobody can be drawn from.
    pub fn read(file: &Path) -> Result<Self> {
        let failed = |error| {
            Error::io(file, "read the law", error)
                .next_step("name a text file as data/laws/broad.toml is one")
        };
        let mut text = String::new();
        std::fs::File::open(file)
            .and_then(|input| input.take(MOST_BYTES + 1).read_to_string(&mut text))
            .map_err(failed)?;
        if text.len() as u64 > MOST_BYTES {
            let error = Error::new(ErrorKind::Config, "a law of more than a megabyte").file(file);
            return Err(error.next_step("name a file as data/laws/broad.toml is one"));
        }
        let law = Self::parse(file, &text)?;
        let refuse = |message: &str| {
            let error = Error::new(ErrorKind::Config, message).file(file).field("name");
            Err(error.next_step("give the law a name of its own"))
        };
        if law.name.trim().is_empty() {
            return refuse("the law has no name");
        }
        match Law::named(&law.name) {
            Ok(Law::Family(known)) if *known == law => Ok(law),
            Ok(_) => refuse("a law that comes with the crate has this name"),
            Err(_) => Ok(law),
        }
    }

    /// The law in `text`, which stands in `file`.
    pub(in crate::data::simulate) fn parse(file: &Path, text: &str) -> Result<Self> {
        let law: Self = TomlFile { file, text }.parse("data/laws/broad.toml has every key, with its unit")?;
        law.check().map_err(|error| error.file(file))?;
        Ok(law)
    }

    /// The most apps that one person may carry in all.
    pub(in crate::data::simulate) fn most_apps(&self) -> usize {
        // Those that take another's place come on top: at most half as many.
        (1.5 * self.apps.installed.ends()[1]).ceil() as usize
    }

    /// Whether somebody can be drawn from every range.
    fn check(&self) -> Result<()> {
        let (apps, day, places, notifications) = (&self.apps, &self.day, &self.places, &self.notifications);
        let (leaving, change, signals) = (&self.leaving, &self.change, &self.signals);
        let spread = [0.0, 20.0];
        let share = [0.0, 1.0];
        // Something follows again and again, but ends.
        let more = [0.0, 0.99];
        let a_day = [0.0, 10_000.0];
        let secs = [0.1, LONGEST_SECS];
        let days = [0.01, 3_650.0];
        let one = Span::Constant;
        let fields = [
            ("apps.installed", apps.installed, [2.0, MOST_APPS]),
            ("apps.taste_exponent", apps.taste_exponent, spread),
            ("apps.taste_spread", apps.taste_spread, spread),
            ("apps.hour_sharpness", apps.hour_sharpness, spread),
            ("apps.weekend_sharpness", apps.weekend_sharpness, spread),
            ("apps.place_sharpness", apps.place_sharpness, spread),
            ("day.bouts", day.bouts, a_day),
            ("day.unevenness", day.unevenness, [0.0, 3.0]),
            ("day.wake_hour", day.wake_hour, [0.0, 24.0]),
            ("day.waking_hours", day.waking_hours, [4.0, 24.0]),
            ("day.busy_hours", day.busy_hours, spread),
            ("day.more_unlocks", day.more_unlocks, more),
            ("day.pause_secs", day.pause_secs, secs),
            ("day.empty_unlocks", day.empty_unlocks, share),
            ("day.more_apps", day.more_apps, more),
            ("day.stay_secs", day.stay_secs, secs),
            ("day.reach_secs", day.reach_secs, secs),
            ("day.glances", day.glances, a_day),
            ("day.lock_screen_apps", day.lock_screen_apps, [0.0, 100.0]),
            ("day.lock_screen_a_day", day.lock_screen_a_day, a_day),
            ("day.flashes", day.flashes, more),
            ("day.lit_after", day.lit_after, share),
            ("places.others", places.others, [0.0, 100.0]),
            ("places.works", one(places.works), share),
            ("places.shifts", one(places.shifts), share),
            ("places.second_home", one(places.second_home), share),
            ("places.outings_a_day", places.outings_a_day, a_day),
            ("notifications.a_day", notifications.a_day, a_day),
            ("notifications.spread", notifications.spread, spread),
            ("notifications.burst", notifications.burst, more),
            ("notifications.storms_a_week", notifications.storms_a_week, a_day),
            ("notifications.lights", notifications.lights, share),
            ("notifications.calls", notifications.calls, share),
            ("leaving.in_app", leaving.in_app, share),
            ("leaving.spread", leaving.spread, spread),
            ("leaving.goes_on", leaving.goes_on, share),
            ("leaving.loss", leaving.loss, share),
            ("leaving.until_secs", leaving.until_secs, secs),
            ("leaving.from_home", leaving.from_home, share),
            ("leaving.home_secs", leaving.home_secs, secs),
            ("change.drift", change.drift, spread),
            ("change.drift_days", change.drift_days, days),
            ("change.fads_a_week", change.fads_a_week, a_day),
            ("change.fad_days", change.fad_days, days),
            ("change.replaced_a_month", change.replaced_a_month, a_day),
            ("change.newcomers", change.newcomers, share),
            ("change.new_phone", one(change.new_phone), share),
            ("change.holiday", one(change.holiday), share),
            ("change.shared", one(change.shared), share),
            ("signals.bare", one(signals.bare), share),
            ("signals.notifications", one(signals.notifications), share),
            ("signals.places", one(signals.places), share),
            ("signals.closes", one(signals.closes), share),
            ("signals.screen", one(signals.screen), share),
            ("signals.battery", one(signals.battery), share),
            ("signals.network", one(signals.network), share),
            ("signals.gaps_a_month", signals.gaps_a_month, a_day),
        ];
        for (field, span, range) in fields {
            span.check(field, range)?;
        }
        for (kind, mechanism) in &self.mechanisms {
            let name = format!("mechanisms.{}", kind.name());
            Span::Constant(mechanism.present).check(&format!("{name}.present"), share)?;
            mechanism.strength.check(&format!("{name}.strength"), share)?;
            if let Some(span) = mechanism.secs {
                span.check(&format!("{name}.secs"), secs)?;
            }
            if let Some(span) = mechanism.count {
                span.check(&format!("{name}.count"), [1.0, 1_000.0])?;
            }
            let needs =
                [("secs", kind.has_secs(), mechanism.secs), ("count", kind.has_count(), mechanism.count)];
            for (field, is_needed, span) in needs {
                if is_needed != span.is_some() {
                    let message = if is_needed { "is missing" } else { "means nothing to this mechanism" };
                    return Err(Error::new(ErrorKind::Config, message)
                        .field(format!("{name}.{field}"))
                        .next_step("data/laws/broad.toml shows what each mechanism has"));
                }
            }
        }
        for (combination, &weight) in &self.combination {
            Span::Constant(weight).check(&format!("combination.{}", combination.name()), [0.0, 1e9])?;
        }
        if self.combination.values().sum::<f64>() <= 0.0 {
            return Err(Error::new(ErrorKind::Config, "no combination has a weight above 0")
                .field("combination")
                .next_step("give one a weight, such as in_turn = 1"));
        }
        Ok(())
    }
}

/// How the mechanisms of one person decide together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Combination {
    /// One after the other claims a share of the probability that is left; taste takes the rest.
    InTurn,
    /// A mixture of their distributions.
    Mixture,
    /// Taste times a factor of each.
    Product,
    /// Taste and the transitions alone.
    Chain,
    /// Each app is a process by itself, with a hazard that depends on its own past; they compete.
    Processes,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AppsLaw {
    pub installed: Span,
    /// Exponent of the rank in the person's own order of apps.
    pub taste_exponent: Span,
    /// Standard deviation of the logarithm of taste beside it.
    pub taste_spread: Span,
    /// How much more an app is liked at its hour than opposite to it, as a logarithm.
    pub hour_sharpness: Span,
    pub weekend_sharpness: Span,
    pub place_sharpness: Span,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DayLaw {
    /// Times a day that the phone is taken in hand.
    pub bouts: Span,
    /// Standard deviation of the logarithm of how many there are from day to day.
    pub unevenness: Span,
    pub wake_hour: Span,
    pub waking_hours: Span,
    /// How much more the phone is used at the busiest hour than at the quietest, as a logarithm.
    pub busy_hours: Span,
    /// Probability of one more unlock after each.
    pub more_unlocks: Span,
    pub pause_secs: Span,
    /// Share of unlocks that lead to no app.
    pub empty_unlocks: Span,
    /// Probability of one more app within an unlock.
    pub more_apps: Span,
    pub stay_secs: Span,
    /// Seconds from the unlock to the first app.
    pub reach_secs: Span,
    pub glances: Span,
    /// Apps that open over the lock screen (alarms, calls, the camera), and how often a day.
    pub lock_screen_apps: Span,
    pub lock_screen_a_day: Span,
    /// Share of first apps, other than the one that was in front, before which that one shows for a moment.
    pub flashes: Span,
    /// Share of sessions that end with a locked screen that is still lit.
    pub lit_after: Span,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlacesLaw {
    /// Places beside the home.
    pub others: Span,
    /// Probability of regular hours of work elsewhere.
    pub works: f64,
    /// Probability that these begin at any hour, and on any days.
    pub shifts: f64,
    /// Probability of a second home on some days.
    pub second_home: f64,
    pub outings_a_day: Span,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NotificationsLaw {
    pub a_day: Span,
    /// How unevenly apps notify: standard deviation of a logarithm.
    pub spread: Span,
    pub burst: Span,
    pub storms_a_week: Span,
    /// Share that light the screen.
    pub lights: Span,
    /// Share that make the person take the phone.
    pub calls: Span,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LeavingLaw {
    /// Share of sessions that end with an app in front, not at the home screen.
    pub in_app: Span,
    /// How much that differs from app to app: standard deviation of a logit.
    pub spread: Span,
    /// Probability that an app which was in front goes on after the unlock.
    pub goes_on: Span,
    /// How much of it is lost with every tenfold time.
    pub loss: Span,
    /// After so long nothing goes on any more.
    pub until_secs: Span,
    /// Probability of going back to the last app from the home screen.
    pub from_home: Span,
    /// Seconds from the home screen to dark.
    pub home_secs: Span,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeLaw {
    /// Standard deviation of the logarithm of taste that a day adds.
    pub drift: Span,
    /// Days in which what drifted goes half back.
    pub drift_days: Span,
    pub fads_a_week: Span,
    pub fad_days: Span,
    /// Apps a month that take another's place.
    pub replaced_a_month: Span,
    /// Share of the apps that are not there from the first day on.
    pub newcomers: Span,
    /// Probability of a new phone, after which other habits are formed.
    pub new_phone: f64,
    /// Probability of holidays: no work, other tastes, for a week or two.
    pub holiday: f64,
    /// Probability that another person has the phone for some hours each day.
    pub shared: f64,
}

/// Shares of people whose log has each kind of signal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignalsLaw {
    /// Launches and unlocks, and nothing else.
    pub bare: f64,
    pub notifications: f64,
    pub places: f64,
    pub closes: f64,
    pub screen: f64,
    pub battery: f64,
    pub network: f64,
    pub gaps_a_month: Span,
}

/// What may draw a person to an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum MechanismKind {
    /// What was used lately, by a sum of powers or exponentials of the time since.
    Recency,
    /// The app before the last.
    Back,
    /// What follows the last app or the last two, in communities of apps.
    Transitions,
    /// Fixed sequences.
    Routine,
    /// At certain hours of certain days.
    Clock,
    /// After about its own time since it was last used.
    Renewal,
    /// An unseen notification.
    Notification,
    /// Some time after another app, or its notification.
    Trigger,
    /// On coming to a place.
    Arrival,
    /// What was never used.
    Novelty,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MechanismLaw {
    /// Share of people who have it.
    pub present: f64,
    /// Its share of the probability where it applies, 0 to 1.
    pub strength: Span,
    /// Its own time scale in seconds, drawn once for each pair of apps, app, or person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secs: Option<Span>,
    /// How many apps or sequences it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Span>,
}

/// A range to draw from: a number, `[low, high]` for equal shares, `{ log = [low, high] }` for equal shares of the logarithm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a range is a number, [low, high], or { log = [low, high] }")]
pub(super) enum Span {
    Constant(f64),
    Linear([f64; 2]),
    Log { log: [f64; 2] },
}

impl Span {
    pub(super) fn draw(self, rng: &mut ChaCha8Rng) -> f64 {
        let at = rng.random::<f64>();
        match self {
            Self::Constant(value) => value,
            Self::Linear([low, high]) => low + (high - low) * at,
            Self::Log { log: [low, high] } => (low.ln() + (high.ln() - low.ln()) * at).exp(),
        }
    }

    fn ends(self) -> [f64; 2] {
        match self {
            Self::Constant(value) => [value, value],
            Self::Linear(ends) | Self::Log { log: ends } => ends,
        }
    }

    fn check(self, field: &str, [least, most]: [f64; 2]) -> Result<()> {
        let [low, high] = self.ends();
        let refuse = |message: String| {
            let next_step = format!("choose a range within {least} to {most}");
            Err(Error::new(ErrorKind::Config, message).field(field).next_step(next_step))
        };
        // Also what is not a number.
        if !(least <= low && high <= most) {
            let what =
                if matches!(self, Self::Constant(_)) { low.to_string() } else { format!("{low} to {high}") };
            return refuse(format!("{what} is out of range"));
        }
        if low > high {
            return refuse(format!("the range ends at {high}, before it begins at {low}"));
        }
        if matches!(self, Self::Log { .. }) && low <= 0.0 {
            return refuse(format!("a range by the logarithm cannot begin at {low}"));
        }
        Ok(())
    }
}

impl Combination {
    fn name(self) -> &'static str {
        match self {
            Self::InTurn => "in_turn",
            Self::Mixture => "mixture",
            Self::Product => "product",
            Self::Chain => "chain",
            Self::Processes => "processes",
        }
    }
}

impl MechanismKind {
    fn name(self) -> &'static str {
        match self {
            Self::Recency => "recency",
            Self::Back => "back",
            Self::Transitions => "transitions",
            Self::Routine => "routine",
            Self::Clock => "clock",
            Self::Renewal => "renewal",
            Self::Notification => "notification",
            Self::Trigger => "trigger",
            Self::Arrival => "arrival",
            Self::Novelty => "novelty",
        }
    }

    fn has_secs(self) -> bool {
        !matches!(self, Self::Back | Self::Transitions | Self::Routine | Self::Novelty)
    }

    fn has_count(self) -> bool {
        matches!(self, Self::Transitions | Self::Routine | Self::Clock | Self::Trigger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::simulate::Law;

    /// What is learned from must not be what is tested on: in no mechanism do their times, numbers or strengths meet.
    #[test]
    fn laws_for_testing_share_no_setting_with_the_one_that_is_learned_from() {
        let family = |name: &str| match Law::named(name).unwrap() {
            Law::Family(family) => *family,
            Law::Narrow => panic!("{name} is no family"),
        };
        let broad = family("broad");
        let apart = |a: Option<Span>, b: Option<Span>| {
            a.zip(b).is_some_and(|(a, b)| {
                let ([a_low, a_high], [b_low, b_high]) = (a.ends(), b.ends());
                a_high < b_low || b_high < a_low
            })
        };
        let mut tested = 0;
        for name in Law::names().filter(|name| !["narrow", "broad"].contains(name)) {
            for (kind, law) in &family(name).mechanisms {
                let learned = &broad.mechanisms[kind];
                assert!(
                    apart(Some(law.strength), Some(learned.strength)),
                    "{name}: the strengths of {kind:?} meet"
                );
                let (secs, count) = (law.secs.or(learned.secs), law.count.or(learned.count));
                assert!(
                    secs.or(count).is_none()
                        || apart(law.secs, learned.secs)
                        || apart(law.count, learned.count),
                    "{name}: the times and numbers of {kind:?} meet"
                );
            }
            tested += 1;
        }
        assert!(tested >= 6);
    }
}
