//! How a person uses a phone, in a few numbers: to compare logs, and simulated people with real ones.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::context::{Task, questions};
use crate::data::{AppId, Event, Log, Signal};

const DAY_SECS: f64 = 86_400.0;

/// One person's use of a phone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct UserStatistics {
    /// Days between the first event and the last.
    pub days: f64,
    /// Different apps that were launched.
    pub apps: f64,
    /// Launches a day.
    pub launches_a_day: f64,
    /// Unlocks a day.
    pub unlocks_a_day: f64,
    /// Share of unlocks that an app was opened after.
    pub answered_unlocks: f64,
    /// Share of first apps after an unlock that are the app used last.
    pub resumed: f64,
    /// Entropy of the first apps after an unlock, in nats.
    pub entropy: f64,
    /// Entropy of the next app given the app before it, in nats, over launches of another app.
    pub next_entropy: f64,
    /// Median hours from one launch of an app to its next.
    pub return_hours: f64,
    /// Burstiness of the times between unlocks: (deviation - mean) / (deviation + mean), -1 regular, 0 Poisson, 1 bursts
    /// (Goh and Barabasi 2008).
    pub burstiness: f64,
    /// Notifications a day.
    pub notifications_a_day: f64,
    /// Share of the launches of the most launched app.
    pub favourite_share: f64,
}

impl UserStatistics {
    /// Of one person's events, in time order. A share or mean of nothing is 0.
    pub fn of(events: &[Event]) -> Self {
        let span_secs = match events {
            [first, .., last] => last.at.secs_since(first.at),
            _ => 0,
        };
        let days = (span_secs as f64 / DAY_SECS).max(1.0 / 24.0);
        let (mut launches, mut last_at) = (HashMap::<AppId, u64>::new(), HashMap::new());
        let mut following: HashMap<AppId, HashMap<AppId, u64>> = HashMap::new();
        let (mut returns, mut gaps) = (Vec::new(), Vec::new());
        let (mut last_app, mut last_unlock) = (None, None);
        let mut notifications = 0_u64;
        // By event: the app used last before it.
        let mut before = Vec::with_capacity(events.len());
        for event in events {
            before.push(last_app);
            match event.signal {
                Signal::Launch(app) => {
                    *launches.entry(app).or_default() += 1;
                    if let Some(at) = last_at.insert(app, event.at) {
                        returns.push(event.at.secs_since(at) as f64 / 3600.0);
                    }
                    if let Some(last) = last_app.filter(|&last| last != app) {
                        *following.entry(last).or_default().entry(app).or_default() += 1;
                    }
                    last_app = Some(app);
                }
                Signal::Unlock => {
                    gaps.extend(last_unlock.map(|at| event.at.secs_since(at) as f64));
                    last_unlock = Some(event.at);
                }
                Signal::Notification(_) => notifications += 1,
                Signal::Close(_) | Signal::ScreenOn | Signal::ScreenOff => {}
            }
        }
        let (mut first_opens, mut resumed) = (HashMap::<AppId, u64>::new(), 0_u64);
        let asked = questions(Task::FirstAfterUnlock, events);
        for question in &asked {
            *first_opens.entry(question.answer).or_default() += 1;
            resumed += u64::from(before[question.asked_at] == Some(question.answer));
        }
        let unlocks = gaps.len() as f64 + f64::from(u8::from(last_unlock.is_some()));
        let all: u64 = launches.values().sum();
        let changes: u64 = following.values().flat_map(HashMap::values).sum();
        let next_entropy =
            following.values().map(|next| share(next.values().sum(), changes) * entropy(next)).sum();
        Self {
            days,
            apps: launches.len() as f64,
            launches_a_day: all as f64 / days,
            unlocks_a_day: unlocks / days,
            answered_unlocks: if unlocks > 0.0 { asked.len() as f64 / unlocks } else { 0.0 },
            resumed: share(resumed, asked.len() as u64),
            entropy: entropy(&first_opens),
            next_entropy,
            return_hours: quantile(&mut returns, 0.5),
            burstiness: burstiness(&gaps),
            notifications_a_day: notifications as f64 / days,
            favourite_share: share(launches.values().copied().max().unwrap_or_default(), all),
        }
    }

    /// The statistics by name.
    pub fn values(&self) -> [(&'static str, f64); 12] {
        [
            ("days", self.days),
            ("apps", self.apps),
            ("launches_a_day", self.launches_a_day),
            ("unlocks_a_day", self.unlocks_a_day),
            ("answered_unlocks", self.answered_unlocks),
            ("resumed", self.resumed),
            ("entropy", self.entropy),
            ("next_entropy", self.next_entropy),
            ("return_hours", self.return_hours),
            ("burstiness", self.burstiness),
            ("notifications_a_day", self.notifications_a_day),
            ("favourite_share", self.favourite_share),
        ]
    }
}

/// Where the people of a log lie in one statistic.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    /// The least.
    pub least: f64,
    /// A twentieth of the people lie below.
    pub p5: f64,
    /// Half of them.
    pub median: f64,
    /// All but a twentieth.
    pub p95: f64,
    /// The most.
    pub most: f64,
}

/// The statistics of all people in a log, by name.
pub fn summarize(log: &Log) -> BTreeMap<&'static str, Quantiles> {
    let mut columns: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for events in log.users() {
        for (name, value) in UserStatistics::of(events).values() {
            columns.entry(name).or_default().push(value);
        }
    }
    let quantiles = |mut values: Vec<f64>| Quantiles {
        least: quantile(&mut values, 0.0),
        p5: quantile(&mut values, 0.05),
        median: quantile(&mut values, 0.5),
        p95: quantile(&mut values, 0.95),
        most: quantile(&mut values, 1.0),
    };
    columns.into_iter().map(|(name, values)| (name, quantiles(values))).collect()
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn entropy(counts: &HashMap<AppId, u64>) -> f64 {
    let all: u64 = counts.values().sum();
    // In a fixed order: sums of the same numbers are the same.
    let mut shares: Vec<f64> = counts.values().map(|&count| share(count, all)).collect();
    shares.sort_by(f64::total_cmp);
    -shares.into_iter().map(|p| p * p.ln()).sum::<f64>() + 0.0
}

fn burstiness(gaps: &[f64]) -> f64 {
    let count = gaps.len() as f64;
    let mean = gaps.iter().sum::<f64>() / count;
    let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count).sqrt();
    if deviation + mean > 0.0 { (deviation - mean) / (deviation + mean) } else { 0.0 }
}

/// 0 of nothing.
fn quantile(values: &mut [f64], at: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let position = (at * values.len().saturating_sub(1) as f64).round() as usize;
    values.get(position).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Timestamp, UserId};

    #[test]
    fn statistics_of_a_short_log() {
        let (mail, maps) = (AppId(1), AppId(2));
        let events: Vec<Event> = [
            (0, Signal::Unlock),
            (1, Signal::Launch(mail)),
            (100, Signal::Unlock),
            (101, Signal::Launch(mail)),
            (110, Signal::Launch(maps)),
            (120, Signal::Launch(mail)),
            (150, Signal::Notification(maps)),
            (200, Signal::Unlock),
            (201, Signal::Launch(maps)),
            (86_400, Signal::ScreenOff),
        ]
        .into_iter()
        .map(|(at, signal)| Event::new(UserId(1), Timestamp(at), signal))
        .collect();
        let found = UserStatistics::of(&events);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b}");
        close(found.days, 1.0);
        close(found.apps, 2.0);
        close(found.launches_a_day, 5.0);
        close(found.unlocks_a_day, 3.0);
        close(found.answered_unlocks, 1.0);
        close(found.resumed, 1.0 / 3.0);
        // -(1/3 ln 1/3 + 2/3 ln 2/3), by python3.
        close(found.entropy, 0.6365141682948128);
        // Each app is always followed by the other one.
        close(found.next_entropy, 0.0);
        // 100, 19 and 91 seconds.
        close(found.return_hours, 91.0 / 3600.0);
        // The gaps are equal.
        close(found.burstiness, -1.0);
        close(found.notifications_a_day, 1.0);
        close(found.favourite_share, 0.6);
    }

    #[test]
    fn nothing_is_no_division_by_zero() {
        for (name, value) in UserStatistics::of(&[]).values() {
            assert!(value.is_finite(), "{name} is {value}");
        }
        assert!(summarize(&Log::from_events(Vec::new())).is_empty());
    }
}
