//! The report as one HTML page that needs nothing but itself: tables and SVG plots, no scripts, no other files.
//!
//! Whatever comes from the data is escaped; a figure that is not a number is shown as a dash.

mod axis;
mod columns;
mod confidence;
mod drawing;
mod gains;
mod ink;
mod labels;
mod markup;
mod parts;
mod plot;
mod routing;

use std::collections::BTreeSet;
use std::path::Path;

use self::axis::Axis;
use self::columns::COLUMNS;
use self::drawing::Drawing;
use self::ink::{Ink, Legend};
use self::markup::{
    NO_DATA, STYLE, beside, count, decimals, escape, figure, grouped, percent, section, short, table,
};
use self::plot::{Bar, Plot, Point, Series, bars};
use super::latency::CLOCK;
use super::report::{ModelReport, Report, Slice, UserReport};
use crate::context::Task;
use crate::data::SplitPlan;
use crate::error::Result;
use crate::file::write_atomically;

/// The contender that knows what the simulator drew from: a bound, so it wins no column.
const BOUND: &str = "bayes-optimal";
/// Rates over fewer questions are drawn as open markers: chance moves them by some ten percentage points.
const FEW_QUESTIONS: usize = 30;
const MOST_FEATURES: usize = 20;
const MOST_USERS: usize = 30;
const MOST_PREDICTIONS: usize = 3;

impl Report {
    /// Writes it as one HTML page, whole or not at all. `predictions` tell of real predictions in words; up to
    /// three are shown.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_html(&self, file: &Path, predictions: &[String]) -> Result<()> {
        let page = self.page(predictions);
        write_atomically(file, |out| out.write_all(page.as_bytes()))
    }

    /// Writes its main plots as SVG files into `folder`, each whole or not at all: `coverage.svg`, and where a router
    /// took part `routing.svg`, `latency.svg`, `calibration.svg`, `gains.svg` and `learning.svg`, those that have data.
    ///
    /// # Errors
    /// There is no such folder, or a file cannot be written.
    pub fn write_plots(&self, folder: &Path) -> Result<()> {
        let routing = self.routing.as_ref();
        let drawings = [
            ("routing.svg", routing.map(|routing| self.asked_drawing(routing))),
            ("latency.svg", routing.and_then(|routing| self.latency_drawing(routing))),
            ("calibration.svg", routing.map(|routing| self.recalibration_drawing(routing))),
            ("coverage.svg", Some(self.coverage_drawing())),
            ("gains.svg", self.gains_drawing()),
            ("learning.svg", self.learning_drawing()),
        ];
        for (name, drawing) in drawings {
            if let Some(svg) = drawing.and_then(|drawing| drawing.file()) {
                write_atomically(&folder.join(name), |out| out.write_all(svg.as_bytes()))?;
            }
        }
        Ok(())
    }

    fn page(&self, predictions: &[String]) -> String {
        let sections = [
            self.model_section(),
            self.parts_section(),
            self.expected_section(),
            prediction_section(predictions),
            self.routing_sections(),
            self.gains_section(),
            self.learning_section(),
            self.hour_section(),
            self.history_section(),
            self.calibration_section(),
            self.coverage_section(),
            self.importance_section(),
            self.user_section(),
            self.cold_start_section(),
        ];
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>Which app is opened next: test report</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
             <header><h1>Which app is opened next</h1>\n<p>{}</p></header>\n<main>\n{}</main>\n</body>\n</html>\n",
            self.summary(),
            sections.concat(),
        )
    }

    fn summary(&self) -> String {
        let questions = self.models.first().map_or(0, |model| model.metrics.questions);
        let task = match self.task {
            Task::FirstAfterUnlock => "which app is opened first after an unlock",
            Task::NextLaunch => "which other app is opened next",
        };
        let split = match self.split {
            SplitPlan::Shares { test, .. } => format!("the last {} of each user's questions", percent(test)),
            SplitPlan::LastDays(days) => {
                format!("the questions of each user's last {}", count(days as usize, "day"))
            }
            SplitPlan::From(moment) => match jiff::Timestamp::from_second(moment.0) {
                Ok(at) => format!("the questions from {} on", at.strftime("%-d %B %Y, %H:%M UTC")),
                Err(_) => format!("the questions from second {} on", moment.0),
            },
            SplitPlan::RollingOrigin(blocks) => format!(
                "the second half of each user's questions, in {}, each predicted from what came before it",
                count(blocks, "block")
            ),
        };
        let runs = match self.runs {
            0 | 1 => String::new(),
            runs => format!(" All figures are means of {runs} runs, each trained with other seeds."),
        };
        format!(
            "A test of {} of {}: <strong>{task}</strong>? Tested on {split}.{runs}",
            count(questions, "question"),
            count(self.users, "user")
        )
    }

    fn model_section(&self) -> String {
        let features = match self.features_us.p50 {
            us if us > 0.0 => {
                let trees = self.scoring_us.p50;
                format!("<p>Of gbdt's median time, features take {us:.1} µs and trees {trees:.1} µs.</p>")
            }
            _ => String::new(),
        };
        section(
            "The models",
            &format!(
                "<p>HR@k is the share of questions whose answer stood among the first k; MRR and NDCG@5 also ask \
                 how high it stood. Log loss and ECE judge the probabilities, and less is better. Cover@90 is the \
                 share of questions answered by a threshold that was chosen for 90&nbsp;% precision. Times are of {CLOCK}. \
                 The best of each column is bold; the range below a figure holds it with 95&nbsp;% confidence.{}</p>\n\
                 {}{features}",
                if self.models.iter().any(is_bound) {
                    " The <em>bayes-optimal</em> knows what the simulator drew from: it shows what was possible and \
                     takes no part."
                } else {
                    ""
                },
                self.model_table(&self.models)
            ),
        )
    }

    fn model_table(&self, models: &[ModelReport]) -> String {
        self.columns_table(&COLUMNS, models)
    }

    fn hour_section(&self) -> String {
        let words = format!(
            "How often the app that was opened stood first (left), and among the first three (right), by the hour \
             on the user's clock. Higher is better. Open markers stand on fewer than {FEW_QUESTIONS} questions and \
             may be chance; a line stops where nothing was asked."
        );
        let hours = Axis::hours("hour of day");
        self.slice_section("By hour of day", &words, |model| &model.by_hour, (0..24).collect(), hours)
    }

    fn history_section(&self) -> String {
        let words = format!(
            "The same two figures by how many launches of the user were known when the question was asked. A model \
             that learns from the user climbs to the right; the left end shows how it copes with a new phone. Open \
             markers stand on fewer than {FEW_QUESTIONS} questions."
        );
        let bounds = self.history_bounds();
        self.slice_section(
            "By length of history",
            &words,
            |model| &model.by_history,
            bounds,
            self.history_axis(),
        )
    }

    /// The lengths of history at which a slice of any model begins.
    fn history_bounds(&self) -> Vec<u32> {
        let slices = self.models.iter().flat_map(|model| &model.by_history);
        let bounds: BTreeSet<u32> = slices.map(|slice| slice.from).collect();
        bounds.into_iter().collect()
    }

    /// One place for each of the bounds.
    fn history_axis(&self) -> Axis {
        let labels = self.history_bounds().into_iter().map(|from| format!("{}+", short(from)));
        Axis::categories("launches in the history", labels)
    }

    /// Lines of two hit rates over the slices that `slices` names, at the places of `bounds` in order.
    fn slice_section(
        &self,
        title: &str,
        words: &str,
        slices: fn(&ModelReport) -> &[Slice],
        bounds: Vec<u32>,
        x: Axis,
    ) -> String {
        let all = || self.models.iter().flat_map(slices);
        let y = |label| Axis::shares(label, all().flat_map(|slice| [slice.hr1, slice.hr3]).chain([0.0]));
        let plot = |label, rate: fn(&Slice) -> f64| {
            let points = |model: &ModelReport| {
                let point = |(place, bound): (usize, &u32)| {
                    let slice = slices(model).iter().find(|slice| slice.from == *bound);
                    let y = slice.map_or(f64::NAN, rate);
                    let filled = slice.is_some_and(|slice| slice.questions >= FEW_QUESTIONS);
                    Point { x: place as f64, y, radius: 7, filled }
                };
                bounds.iter().enumerate().map(point).collect()
            };
            self.plot(x.clone(), y(label), vec![], points)
        };
        let panels = vec![
            ("answer ranked first".to_owned(), plot("HR@1", |slice| slice.hr1)),
            ("answer among the first three".to_owned(), plot("HR@3", |slice| slice.hr3)),
        ];
        let drawing = Drawing { title: title.to_owned(), legend: self.model_legend(), panels };
        section(title, &format!("<p>{words}</p>\n{}", drawing.html()))
    }

    fn importance_section(&self) -> String {
        let shown = self.importance.iter().take(MOST_FEATURES).map(|feature| Bar {
            name: feature.name.to_owned(),
            share: feature.gain_share,
            text: percent(feature.gain_share),
        });
        let more = self.importance.len().saturating_sub(MOST_FEATURES);
        let more = if more > 0 { format!(" {} more are not shown.", grouped(more)) } else { String::new() };
        let words = format!(
            "<p>The features that the trees of the ranker lean on, by their share of all gain in training. Features \
             that tell the same story share it among them, so a short bar does not mean that nothing would be lost \
             without it.{more}</p>"
        );
        let figure = figure("share of all gain", &bars("share of all gain", &shown.collect::<Vec<_>>()));
        section("What the ranker looks at", &beside(&words, &figure))
    }

    fn user_section(&self) -> String {
        let model = self.router().or_else(|| self.best_model());
        let Some(model) = model.filter(|model| !model.per_user.is_empty()) else {
            return section("User by user", NO_DATA);
        };
        let mut users: Vec<_> = model.per_user.iter().collect();
        users.sort_by(|a, b| {
            let worst_first = a.hr1.total_cmp(&b.hr1).then(b.questions.cmp(&a.questions));
            worst_first.then_with(|| a.user.cmp(&b.user))
        });
        let row = |user: &&UserReport| {
            let rates = [user.hr1, user.hr3, user.hr5, user.log_loss].map(|rate| decimals(rate, 3));
            format!(
                "<tr><th scope=\"row\"><code>{}</code></th><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                escape(&user.user),
                grouped(user.questions),
                rates.join("</td><td>"),
                percent(user.coverage90)
            )
        };
        let more = users.len().saturating_sub(MOST_USERS);
        let more = match more {
            0 => String::new(),
            more => format!("<p>{} did as well or better and are not shown.</p>", count(more, "more user")),
        };
        let chosen = match self.router() {
            Some(_) => "",
            None => ", the model that most often ranks the answer first",
        };
        let covered = quartiles(model.per_user.iter().map(|user| user.coverage90));
        let [least, middle, most] = covered.map(|share| percent(share).replace(' ', "&nbsp;"));
        section(
            "User by user",
            &format!(
                "<p>The users of <strong>{}</strong>{chosen}, worst first. Few questions make for wild figures: look at \
                 the users with many. Cover@90 is the share of a user's questions that the common threshold for 90&nbsp;% \
                 precision lets it answer: {middle} for the user in the middle, less than {least} for a quarter of the \
                 users, more than {most} for another.</p>\n{}{more}",
                escape(&model.name),
                table(
                    ["user", "questions", "HR@1", "HR@3", "HR@5", "log loss", "cover@90"],
                    users.iter().take(MOST_USERS).map(row)
                )
            ),
        )
    }

    fn cold_start_section(&self) -> String {
        let Some(first) = self.cold_start.first() else { return String::new() };
        section(
            "New users",
            &format!(
                "<p>{} of users that training never saw, from their first day on. Columns as in the first table.</p>\n{}{}",
                count(first.metrics.questions, "question"),
                self.model_table(&self.cold_start),
                self.part_tables(&self.cold_start)
            ),
        )
    }

    /// A plot with one line of `points` for each model.
    fn plot(
        &self,
        x: Axis,
        y: Axis,
        guides: Vec<[(f64, f64); 2]>,
        points: impl Fn(&ModelReport) -> Vec<Point>,
    ) -> Plot {
        let series = self.models.iter().map(|model| Series::new(self.ink(model), points(model)));
        Plot { x, y, guides, series: series.collect() }
    }

    fn model_legend(&self) -> Legend {
        self.models.iter().map(|model| (self.ink(model), model.name.clone())).collect()
    }

    fn row_head(&self, model: &ModelReport) -> String {
        format!("<th scope=\"row\">{}{}</th>", self.ink(model).swatch(), escape(&model.name))
    }

    /// How a model is drawn, by its place in the first table; the same where it starts cold.
    fn ink(&self, model: &ModelReport) -> Ink {
        if is_bound(model) {
            return Ink::BOUND;
        }
        self.ink_named(&model.name, 0)
    }

    /// How the model of this name is drawn; one that is not in the first table, by a place behind it: the first `spare`
    /// places there are left to others.
    fn ink_named(&self, name: &str, spare: usize) -> Ink {
        let mut drawn = self.models.iter().filter(|other| !is_bound(other));
        Ink::of_model(drawn.position(|other| other.name == name).unwrap_or(self.models.len() + spare))
    }

    fn best_model(&self) -> Option<&ModelReport> {
        let hr1 = |model: &&ModelReport| if model.metrics.hr1.is_finite() { model.metrics.hr1 } else { -1.0 };
        let contenders = self.models.iter().filter(|model| !is_bound(model));
        // The least of the reversed order: the first of equals.
        contenders.min_by(|a, b| hr1(b).total_cmp(&hr1(a))).or(self.models.first())
    }
}

fn is_bound(model: &ModelReport) -> bool {
    model.name == BOUND
}

/// The values below which a quarter, a half and three quarters of the finite ones lie.
fn quartiles(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut sorted: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| {
        let place = sorted.len().saturating_sub(1) * quarter;
        // Midway between the two that are nearest where none stands there.
        let [below, above] =
            [place / 4, place.div_ceil(4)].map(|at| sorted.get(at).copied().unwrap_or(f64::NAN));
        (below + above) / 2.0
    })
}

fn prediction_section(predictions: &[String]) -> String {
    if predictions.is_empty() {
        return String::new();
    }
    let items = predictions.iter().take(MOST_PREDICTIONS).map(|line| format!("<li>{}</li>\n", escape(line)));
    section("Predictions in words", &format!("<ul>\n{}</ul>", items.collect::<String>()))
}

#[cfg(test)]
mod tests;
