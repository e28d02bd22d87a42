//! For whom a router is better than trees alone, when, and how soon.

use std::collections::HashMap;

use super::FEW_QUESTIONS;
use super::axis::Axis;
use super::drawing::Drawing;
use super::ink::Ink;
use super::markup::{count, decimals, escape, grouped, section, table};
use super::plot::{Plot, Point, Series};
use super::routing::TREES;
use crate::evaluate::report::{ModelReport, Report, Slice, UserReport};
use crate::evaluate::{Learned, ROUTER, ROUTER_SHARED};

/// Where fewer questions were asked, a gain says nothing, and its size would dwarf the others.
const FEWEST_QUESTIONS: usize = 10;
/// Dots of more users would run into each other.
const MOST_DOTS: usize = 60;

/// What the router does better than trees alone, on a part of the questions.
#[derive(Debug, Clone, Copy)]
struct Gain {
    questions: usize,
    /// HR@1 more.
    hr1: f64,
    /// Log loss less.
    log_loss: f64,
}

impl Gain {
    fn is_telling(&self) -> bool {
        self.questions >= FEWEST_QUESTIONS
    }
}

/// What is drawn of a gain.
#[derive(Clone, Copy)]
struct Figure {
    caption: &'static str,
    label: &'static str,
    value: fn(&Gain) -> f64,
    axis: fn(&str, &[Point]) -> Axis,
}

const FIGURES: [Figure; 2] = [
    Figure {
        caption: "HR@1 gained",
        label: "points of HR@1",
        value: |gain| gain.hr1,
        axis: |label, points| Axis::share_differences(label, with_zero(points)),
    },
    Figure {
        caption: "log loss saved",
        label: "log loss saved",
        value: |gain| gain.log_loss,
        axis: |label, points| Axis::differences(label, with_zero(points)),
    },
];

fn with_zero(points: &[Point]) -> impl Iterator<Item = f64> {
    points.iter().map(|point| point.y).chain([0.0])
}

impl Report {
    pub(super) fn gains_section(&self) -> String {
        let (Some((router, trees)), Some(drawing)) = (self.router_and_trees(), self.gains_drawing()) else {
            return String::new();
        };
        let gains = user_gains(router, trees);
        let how_many = |is: fn(f64) -> bool| gains.iter().filter(|gain| is(gain.hr1)).count();
        let words = format!(
            "<p>What <strong>{}</strong> does better than {TREES} alone: how much more often it ranks the answer first \
             (left, in percentage points), and how much log loss it saves (right). Above the dashed line it is better. \
             Open markers stand on fewer than {FEW_QUESTIONS} questions and may be chance; what stands on fewer than \
             {FEWEST_QUESTIONS} is left out. Of {}, {} gain HR@1 and {} lose.</p>\n",
            escape(&router.name),
            count(gains.len(), "user"),
            grouped(how_many(|hr1| hr1 > 0.0)),
            grouped(how_many(|hr1| hr1 < 0.0)),
        );
        section("Who gains?", &format!("{words}{}", drawing.html()))
    }

    fn router_and_trees(&self) -> Option<(&ModelReport, &ModelReport)> {
        Some((self.router()?, self.model(TREES)?))
    }

    /// The router's gains by user, by hour and by length of history; `None` without a router or trees to compare.
    pub(super) fn gains_drawing(&self) -> Option<Drawing> {
        let (router, trees) = self.router_and_trees()?;
        let ink = self.ink(router);
        let users = user_gains(router, trees);
        let hours: Vec<u32> = (0..24).collect();
        let by_hour = slice_gains(&router.by_hour, &trees.by_hour, &hours);
        let bounds = self.history_bounds();
        let by_history = slice_gains(&router.by_history, &trees.by_history, &bounds);
        let mut panels = Vec::new();
        for figure in FIGURES {
            let points = dots(&users, figure.value);
            let shown = if points.len() < users.len() {
                format!("{} of {}, least gain first", points.len(), count(users.len(), "user"))
            } else {
                "users, least gain first".to_owned()
            };
            let x = Axis::numbers(&shown, [0.0, points.len() as f64].into_iter());
            panels.push(panel("by user", figure, ink.dots(), x, points));
        }
        for figure in FIGURES {
            let points = line(&by_hour, figure.value);
            panels.push(panel("by hour of day", figure, ink, Axis::hours("hour of day"), points));
        }
        for figure in FIGURES {
            let points = line(&by_history, figure.value);
            let x = self.history_axis();
            panels.push(panel("by length of history", figure, ink, x, points));
        }
        let legend = vec![(ink, format!("{} better than {TREES}", router.name))];
        Some(Drawing { title: "Who gains?".to_owned(), legend, panels })
    }

    pub(super) fn learning_section(&self) -> String {
        let (learning, is_cold) = self.learning();
        let Some(drawing) = self.learning_drawing() else { return String::new() };
        let who = if is_cold {
            "Users that training never saw, from their first hour on"
        } else {
            "The users of the test, whose earlier questions training may have seen, by the time since their first event"
        };
        let row = |stretch: &Learned| {
            let rates = stretch.hr1.iter().chain(&stretch.log_loss).map(|&rate| decimals(rate, 3));
            format!(
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>\n",
                escape(stretch.until),
                grouped(stretch.questions),
                rates.collect::<Vec<_>>().join("</td><td>")
            )
        };
        let heads = [
            "until",
            "questions",
            "HR@1: trees",
            "no habits",
            "router",
            "log loss: trees",
            "no habits",
            "router",
        ];
        let words = format!(
            "<p>{who}. The trees know a person by the history alone; a router with habits also learns which expert, which \
             apps and how much doubt suit this person. Open markers stand on fewer than {FEW_QUESTIONS} questions.</p>\n"
        );
        let table = table(heads, learning.iter().map(row));
        section("As a person becomes known", &format!("{words}{}{table}", drawing.html()))
    }

    /// HR@1 and log loss from the first hour to the fourth week; `None` where no question was asked in them.
    pub(super) fn learning_drawing(&self) -> Option<Drawing> {
        let (learning, _) = self.learning();
        if learning.is_empty() {
            return None;
        }
        let inks =
            [(TREES, 0), (ROUTER_SHARED, 1), (ROUTER, 2)].map(|(name, spare)| self.ink_named(name, spare));
        let names = ["trees alone", "router without habits", "router"].map(str::to_owned);
        let series = |figure: fn(&Learned) -> [f64; 3]| {
            let of_way = |way: usize| {
                let point = |(place, stretch): (usize, &Learned)| Point {
                    x: place as f64,
                    y: figure(stretch)[way],
                    radius: 8,
                    filled: stretch.questions >= FEW_QUESTIONS,
                };
                Series::new(inks[way], learning.iter().enumerate().map(point).collect())
            };
            vec![of_way(0), of_way(1), of_way(2)]
        };
        let x = Axis::categories(
            "time since the first event: hours, days, weeks",
            learning.iter().map(|stretch| abbreviated(stretch.until)),
        );
        let all = |figure: fn(&Learned) -> [f64; 3]| learning.iter().flat_map(figure);
        let plot = |y: Axis, figure| Plot { x: x.clone(), y, guides: vec![], series: series(figure) };
        let hits = Axis::shares("HR@1", all(|stretch| stretch.hr1));
        let losses = Axis::numbers("log loss", all(|stretch| stretch.log_loss));
        Some(Drawing {
            title: "As a person becomes known".to_owned(),
            legend: inks.into_iter().zip(names).collect(),
            panels: vec![
                ("answer ranked first".to_owned(), plot(hits, |stretch| stretch.hr1)),
                ("log loss, where less is better".to_owned(), plot(losses, |stretch| stretch.log_loss)),
            ],
        })
    }

    /// The learning curve, and whether it is of users that training never saw.
    fn learning(&self) -> (&[Learned], bool) {
        match &self.routing {
            Some(routing) if self.cold_learning.is_empty() => (&routing.learning, false),
            _ => (&self.cold_learning, true),
        }
    }
}

fn panel(by: &str, figure: Figure, ink: Ink, x: Axis, points: Vec<Point>) -> (String, Plot) {
    let y = (figure.axis)(figure.label, &points);
    let guides = vec![[(x.range.start, 0.0), (x.range.end, 0.0)]];
    (format!("{} {by}", figure.caption), Plot { x, y, guides, series: vec![Series::new(ink, points)] })
}

/// One for each user that both answered often enough.
fn user_gains(router: &ModelReport, trees: &ModelReport) -> Vec<Gain> {
    let by_trees: HashMap<&str, &UserReport> =
        trees.per_user.iter().map(|user| (user.user.as_str(), user)).collect();
    let gain = |user: &UserReport| {
        let before = by_trees.get(user.user.as_str())?;
        Some(Gain {
            questions: user.questions,
            hr1: user.hr1 - before.hr1,
            log_loss: before.log_loss - user.log_loss,
        })
    };
    router.per_user.iter().filter_map(gain).filter(Gain::is_telling).collect()
}

/// One for each of `bounds`, where both have a slice that begins there and is long enough.
fn slice_gains(router: &[Slice], trees: &[Slice], bounds: &[u32]) -> Vec<Option<Gain>> {
    let gain = |bound: &u32| {
        let of = |slices: &[Slice]| slices.iter().find(|slice| slice.from == *bound).cloned();
        let (after, before) = (of(router)?, of(trees)?);
        Some(Gain {
            questions: after.questions,
            hr1: after.hr1 - before.hr1,
            log_loss: before.log_loss - after.log_loss,
        })
        .filter(Gain::is_telling)
    };
    bounds.iter().map(gain).collect()
}

fn line(gains: &[Option<Gain>], value: fn(&Gain) -> f64) -> Vec<Point> {
    let point = |(place, gain): (usize, &Option<Gain>)| Point {
        x: place as f64,
        y: gain.as_ref().map_or(f64::NAN, value),
        radius: 7,
        filled: gain.is_some_and(|gain| gain.questions >= FEW_QUESTIONS),
    };
    gains.iter().enumerate().map(point).collect()
}

/// A dot for each user, the least gain first; where users are many, for some who stand evenly among them.
fn dots(gains: &[Gain], value: fn(&Gain) -> f64) -> Vec<Point> {
    let mut sorted: Vec<&Gain> = gains.iter().filter(|gain| value(gain).is_finite()).collect();
    sorted.sort_by(|a, b| value(a).total_cmp(&value(b)));
    let shown = sorted.len().min(MOST_DOTS);
    // The first, the last, and those between at even steps.
    let picked = (0..shown).map(|dot| sorted[dot * (sorted.len() - 1) / shown.saturating_sub(1).max(1)]);
    let point = |(place, gain): (usize, &Gain)| Point {
        x: place as f64 + 0.5,
        y: value(gain),
        radius: 7,
        filled: gain.questions >= FEW_QUESTIONS,
    };
    picked.enumerate().map(point).collect()
}

/// `1 hour` as `1 h`.
fn abbreviated(stretch: &str) -> String {
    match stretch.split_once(' ') {
        Some((number, unit)) => format!("{number} {}", unit.chars().next().unwrap_or_default()),
        None => stretch.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dots_of_many_users_keep_the_least_and_the_most() {
        for users in [0, 1, 2, 59, 60, 61, 1_000] {
            let gain = |user: usize| Gain { questions: user, hr1: user as f64, log_loss: f64::NAN };
            let gains: Vec<Gain> = (0..users).rev().map(gain).collect();
            let points = dots(&gains, |gain| gain.hr1);
            assert_eq!(points.len(), users.min(MOST_DOTS));
            assert!(points.is_sorted_by(|a, b| a.x < b.x && a.y < b.y), "{users}");
            let ends = [points.first(), points.last()].map(|point| point.map(|point| point.y as usize));
            assert_eq!(ends, [(users > 0).then_some(0), users.checked_sub(1)]);
            assert!(dots(&gains, |gain| gain.log_loss).is_empty());
        }
    }

    #[test]
    fn stretches_are_short_enough_for_an_axis() {
        assert_eq!(
            ["1 hour", "3 days", "2 weeks", "", "ever"].map(abbreviated),
            ["1 h", "3 d", "2 w", "", "ever"]
        );
    }
}
