//! The report as one HTML page that needs nothing but itself: tables and SVG plots, no scripts, no other files.
//!
//! Whatever comes from the data is escaped; a figure that is not a number is shown as a dash.

mod markup;
mod plot;
mod routing;

use std::collections::BTreeSet;
use std::path::Path;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::markup::{STYLE, cells, count, decimals, figure, grouped, no_data, percent, percent_mark, table};
use self::plot::{Axis, Ink, Plot, Point, Section, Series};
use super::latency::CLOCK;
use super::metrics::CalibrationBin;
use super::report::{FeatureImportance, ModelReport, Report, Slice, SubsetMetrics, TREES, UserReport};
use super::{Interval, ROUTER, ROUTER_SHARED};
use crate::context::Task;
use crate::data::SplitPlan;
use crate::error::Result;
use crate::storage::write_atomically;

/// The predictor that knows what the simulator drew from: a bound, so it wins no column.
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
        for section in self.sections(&[]).iter().filter(|section| !section.file.is_empty()) {
            if let Some(svg) = section.svg() {
                write_atomically(&folder.join(section.file), |out| out.write_all(svg.as_bytes()))?;
            }
        }
        Ok(())
    }

    fn page(&self, predictions: &[String]) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { "Which app is opened next: test report" }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header { h1 { "Which app is opened next" } (self.summary()) }
                    main { @for section in self.sections(predictions) { (section.html()) } }
                }
            }
        };
        page.into_string()
    }

    fn sections(&self, predictions: &[String]) -> Vec<Section> {
        let in_words = || {
            let first = predictions.iter().take(MOST_PREDICTIONS);
            Section::new("Predictions in words", html! { ul { @for line in first { li { (line) } } } })
        };
        let results =
            [Some(self.models()), self.parts(), self.expected(), (!predictions.is_empty()).then(in_words)];
        let details = [
            self.by_hour(),
            self.by_history(),
            self.calibration(),
            self.coverage(),
            self.features(),
            self.users(),
        ];
        let about_routing = self.routing_sections().into_iter().flatten();
        results.into_iter().flatten().chain(about_routing).chain(details).chain(self.new_users()).collect()
    }

    fn summary(&self) -> Markup {
        let questions = self.models.first().map_or(0, |model| model.metrics.questions);
        let task = match self.task {
            Task::FirstAfterUnlock => "which app is opened first after an unlock",
            Task::NextLaunch => "which other app is opened next",
        };
        let split = match self.split {
            SplitPlan::Shares { test, .. } if test >= 1.0 => {
                "all of each user's questions, none learned from".to_owned()
            }
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
        html! { p {
            "A test of " (count(questions, "question")) " of " (count(self.users, "user")) ": " strong { (task) }
            "? Tested on " (split) "."
            @if self.runs > 1 { " All figures are means of " (self.runs) " runs, each trained with other seeds." }
        } }
    }

    fn models(&self) -> Section {
        let words = html! {
            p {
                "HR@k is the share of questions whose answer stood among the first k; MRR and NDCG@5 also ask how high it \
                 stood. Log loss and ECE judge the probabilities, and less is better. Cover@90 is the share of questions \
                 answered by a threshold that was chosen for 90\u{a0}% precision. Times are of " (CLOCK) ". The best of each \
                 column is bold; the range below a figure holds it with 95\u{a0}% confidence."
                @if self.models.iter().any(is_bound) {
                    " The " em { (BOUND) } " knows what the simulator drew from: it shows what was possible and takes no part."
                }
            }
            (self.model_table(&self.models))
            @if self.features_us.p50 > 0.0 && self.model(TREES).is_some() {
                p {
                    "Of " (TREES) "'s median time, features take " (decimals(self.features_us.p50, 1)) " µs and trees "
                    (decimals(self.scoring_us.p50, 1)) " µs."
                }
            }
        };
        Section::new("The models", words)
    }

    /// The same figures, in the same order, as the report's table of text.
    fn model_table(&self, models: &[ModelReport]) -> Markup {
        let heads =
            ["HR@1", "HR@3", "HR@5", "MRR", "NDCG@5", "log loss", "ECE", "cover@90", "p50 µs", "p99 µs"];
        self.columns_table(heads, models, |model| {
            let (of, range) = (&model.metrics, model.intervals);
            [
                (of.hr1, range.map(|of| of.hr1_interval)),
                (of.hr3, range.map(|of| of.hr3_interval)),
                (of.hr5, range.map(|of| of.hr5_interval)),
                (of.mrr, range.map(|of| of.mrr_interval)),
                (of.ndcg5, range.map(|of| of.ndcg5_interval)),
                (of.log_loss, range.map(|of| of.log_loss_interval)),
                (of.calibration_error, None),
                (of.coverage90, range.map(|of| of.coverage90_interval)),
                (measured(model.latency_us.p50), None),
                (measured(model.latency_us.p99), None),
            ]
        })
    }

    /// One row a model, the best of each column bold.
    fn columns_table<const N: usize>(
        &self,
        heads: [&str; N],
        models: &[ModelReport],
        figures: impl Fn(&ModelReport) -> [(f64, Option<Interval>); N],
    ) -> Markup {
        let rows: Vec<_> = models.iter().map(|model| (model, figures(model))).collect();
        let places =
            heads.map(|head| if head == "regret" { 4 } else { 3 - 2 * usize::from(head.ends_with("µs")) });
        let is_less_better = |head| ["log loss", "ECE", "p50 µs", "p99 µs", "regret"].contains(&head);
        // The best figure as it is written, so that figures that look the same are all best; none without a rival.
        let best: [Option<String>; N] = std::array::from_fn(|column| {
            let rivals = rows.iter().filter(|(model, _)| !is_bound(model)).map(|(_, of)| of[column].0);
            let mut rivals: Vec<f64> = rivals.filter(|figure| figure.is_finite()).collect();
            rivals.sort_by(f64::total_cmp);
            let best = if is_less_better(heads[column]) { rivals.first() } else { rivals.last() };
            best.filter(|_| rivals.len() > 1).map(|best| decimals(*best, places[column]))
        });
        let row = |(model, figures): &(&ModelReport, [_; N])| {
            let cell = |(column, (value, range)): (usize, &(f64, Option<Interval>))| {
                let text = |value: f64| decimals(value, places[column]);
                let is_best = !is_bound(model) && best[column].as_ref() == Some(&text(*value));
                let range = range.map(|Interval(low, high)| format!("{} – {}", text(low), text(high)));
                figure(&text(*value), is_best, range)
            };
            (self.row_head(model), figures.iter().enumerate().map(cell).collect())
        };
        table(&[&["model"], &heads[..]].concat(), rows.iter().map(row))
    }

    fn row_head(&self, model: &ModelReport) -> Markup {
        html! { (self.ink(&model.name).swatch()) (model.name) }
    }

    fn parts(&self) -> Option<Section> {
        let words = html! {
            p {
                "Many unlocks return to the app that was in front before the screen went off: the answer is " em { "resumed" }
                ". Where it differs it is " em { "chosen" } ": there a launcher's suggestions save the way to the app."
            }
            (self.part_tables(&self.models))
        };
        let is_asked = self.models.iter().any(|model| model.metrics.questions > 0);
        is_asked.then(|| Section::new("Chosen or resumed", words))
    }

    /// A table of the chosen answers beside one of the resumed; no table where there are none of a kind.
    fn part_tables(&self, models: &[ModelReport]) -> Markup {
        type PartOf = fn(&ModelReport) -> SubsetMetrics;
        let parts = [("Chosen", (|model| model.chosen) as PartOf), ("Resumed", |model| model.resumed)];
        let parts = parts.map(|(name, part)| {
            let SubsetMetrics { share, questions, .. } =
                models.first().map(part).filter(|part| part.questions > 0)?;
            let table = self.columns_table(["HR@1", "HR@3", "HR@5", "log loss"], models, |model| {
                let SubsetMetrics { hr1, hr3, hr5, log_loss, .. } = part(model);
                [hr1, hr3, hr5, log_loss].map(|figure| (figure, None))
            });
            Some((format!("{name}: {} of the answers ({})", percent(share), grouped(questions)), table))
        });
        html! { div.pair { @for (title, table) in parts.into_iter().flatten() { div { h3 { (title) } (table) } } } }
    }

    fn expected(&self) -> Option<Section> {
        let entropy = self.models.iter().find_map(|model| model.expected)?.entropy;
        let words = html! {
            p {
                "These people are simulated, so the probabilities are known that their apps were drawn from. Here each model \
                 is judged by them and not by the apps, which scatter. Regret is what its expected log loss has above the \
                 least possible, the entropy of " (decimals(entropy, 4)) "; it is zero for the " em { (BOUND) } " alone, and \
                 the range below it holds it with 95\u{a0}% confidence."
            }
            (self.columns_table(["HR@1", "HR@3", "HR@5", "log loss", "regret"], &self.models, |model| {
                let of = model.expected.map_or([f64::NAN; 4], |of| [of.hr1, of.hr3, of.hr5, of.log_loss]);
                let [hr1, hr3, hr5, log_loss] = of.map(|figure| (figure, None));
                let range = model.regret.and_then(|regret| Some(Interval(regret.low?, regret.high?)));
                [hr1, hr3, hr5, log_loss, (model.regret.map_or(f64::NAN, |regret| regret.mean), range)]
            }))
        };
        Some(Section::new("What is expected", words))
    }

    fn by_hour(&self) -> Section {
        let words = html! { p {
            "How often the app that was opened stood first (left), and among the first three (right), by the hour on the \
             user's clock. Higher is better. Open markers stand on fewer than " (FEW_QUESTIONS) " questions and may be \
             chance; a line stops where nothing was asked."
        } };
        let (hours, x) = hours();
        Section {
            plots: self.slice_plots(|model| &model.by_hour, &hours, &x),
            ..Section::new("By hour of day", words)
        }
    }

    fn by_history(&self) -> Section {
        let words = html! { p {
            "The same two figures by how many launches of the user were known when the question was asked. A model that \
             learns from the user climbs to the right; the left end shows how it copes with a new phone. Open markers \
             stand on fewer than " (FEW_QUESTIONS) " questions."
        } };
        let (bounds, x) = self.histories();
        let plots = self.slice_plots(|model| &model.by_history, &bounds, &x);
        Section { plots, ..Section::new("By length of history", words) }
    }

    /// The lengths of history at which a slice of any model begins, and their axis.
    fn histories(&self) -> (Vec<u32>, Axis) {
        let slices = self.models.iter().flat_map(|model| &model.by_history);
        let bounds: BTreeSet<u32> = slices.map(|slice| slice.from).collect();
        let names = bounds.iter().map(|from| format!("{}+", grouped(*from as usize)));
        let axis = Axis::named("launches in the history", names);
        (bounds.into_iter().collect(), axis)
    }

    /// Lines of two hit rates over the slices that `slices` names, at the places of `bounds` in order.
    fn slice_plots(&self, slices: fn(&ModelReport) -> &[Slice], bounds: &[u32], x: &Axis) -> Vec<Plot> {
        let plot = |caption: &str, label: &str, rate: fn(&Slice) -> f64| {
            let series = self.models.iter().map(|model| {
                let of = |bound: &u32| slices(model).iter().find(|slice| slice.from == *bound);
                let rates = bounds.iter().map(|bound| of(bound).map(|slice| (slice.questions, rate(slice))));
                self.series(model, in_places(rates))
            });
            // Both have the same axis.
            let rates = self.models.iter().flat_map(slices).flat_map(|slice| [slice.hr1, slice.hr3]);
            let also: Vec<f64> = rates.chain([0.0]).collect();
            Plot::new(caption, x.clone(), (label, percent_mark), &also, series.collect())
        };
        let first = plot("answer ranked first", "HR@1", |slice| slice.hr1);
        vec![first, plot("answer among the first three", "HR@3", |slice| slice.hr3)]
    }

    fn calibration(&self) -> Section {
        let words = html! { p {
            "Of the questions that a model answered with 70\u{a0}% confidence, 70\u{a0}% should be right: then its line \
             lies on the dashed diagonal. Below the diagonal it promises too much, above it too little. The larger a \
             marker, the more questions stand behind it."
        } };
        let curves =
            self.models.iter().map(|model| (&*model.name, self.ink(&model.name), &*model.calibration));
        let plots = vec![calibration_plot(&curves.collect::<Vec<_>>())];
        Section { plots, ..Section::new("Is it as sure as it should be?", words) }
    }

    fn coverage(&self) -> Section {
        let row = |model: &ModelReport| {
            let threshold = f64::from(model.coverage90_threshold);
            let threshold = if threshold > 1.0 { "never".to_owned() } else { decimals(threshold, 3) };
            let precision = model.metrics.coverage90_precision.unwrap_or(f64::NAN);
            (self.row_head(model), cells([threshold, percent(model.metrics.coverage90), percent(precision)]))
        };
        let words = html! {
            p {
                "A phone need not answer every question. Here each model answers those it is surest of first: the line shows \
                 how many of its answers are right while it answers more and more. The further right a line meets the dashed \
                 90\u{a0}%, the better. The large open marker is what a threshold chosen beforehand, on validation questions, \
                 gave."
            }
            (table(&["model", "from confidence", "answered", "precision"], self.models.iter().map(row)))
        };
        let all: Vec<&ModelReport> = self.models.iter().collect();
        let mut plots =
            vec![self.coverage_plot("precision while more and more questions are answered", &all)];
        // The lines of a router and its experts are close.
        let own = self.routing.as_ref().map(|routing| self.router_and_experts(routing));
        let own = own.filter(|own| own.len() < all.len());
        plots
            .extend(own.map(|own| self.coverage_plot("the same, of the router and its experts alone", &own)));
        Section { title: "How often can it answer well?", file: "coverage.svg", words, plots }
    }

    /// Share answered against precision.
    fn coverage_plot(&self, caption: &str, models: &[&ModelReport]) -> Plot {
        let line = |model: &&ModelReport| {
            // There is a point at every percent: one in ten is marked, for lines of many models need shapes, too.
            let every = model.coverage.len().clamp(1, 10);
            let radius = |index: usize| if (index + 1).is_multiple_of(every) { 6 } else { 0 };
            let points =
                model.coverage.iter().enumerate().map(|(index, &(x, y))| (x, y, radius(index), true));
            self.series(model, points.collect())
        };
        let chosen = |model: &&ModelReport| {
            let point = (model.metrics.coverage90, model.metrics.coverage90_precision?, 14, false);
            Some(Series { name: String::new(), ..self.series(model, vec![point]) })
        };
        // The markers lie on top of all lines.
        let series = models.iter().map(line).chain(models.iter().filter_map(chosen)).collect();
        let x = Axis::over("share of questions answered", percent_mark, [0.0, 1.0].into_iter());
        let plot = Plot::new(caption, x, ("precision", percent_mark), &[0.9, 1.0], series);
        Plot { guide: Some([(0.0, 0.9), (1.0, 0.9)]), ..plot }
    }

    fn features(&self) -> Section {
        let shown = self.importance.iter().take(MOST_FEATURES);
        let most = shown.clone().map(|feature| feature.gain_share).fold(f64::MIN_POSITIVE, f64::max);
        let row = |feature: &FeatureImportance| {
            let style = format!("width:{:.1}%", (75.0 * feature.gain_share / most).clamp(0.0, 75.0));
            let bar = html! { div.bar { i style=(style) {} (percent(feature.gain_share)) } };
            (html! { (feature.name) }, vec![bar])
        };
        let more = self.importance.len().saturating_sub(MOST_FEATURES);
        let words = html! {
            div.pair {
                p {
                    "The features that the trees of the ranker lean on, by their share of all gain in training. Features that \
                     tell the same story share it among them, so a short bar does not mean that nothing would be lost without \
                     it."
                    @if more > 0 { " " (grouped(more)) " more are not shown." }
                }
                (table(&["feature", "share of all gain"], shown.map(row)))
            }
        };
        Section::new("What the ranker looks at", words)
    }

    fn users(&self) -> Section {
        let model = self.router().or_else(|| self.best_model()).filter(|model| !model.per_user.is_empty());
        let Some(model) = model else { return Section::new("User by user", no_data()) };
        let mut users: Vec<&UserReport> = model.per_user.iter().collect();
        users.sort_by(|a, b| {
            let worst_first = a.hr1.total_cmp(&b.hr1).then(b.questions.cmp(&a.questions));
            worst_first.then_with(|| a.user.cmp(&b.user))
        });
        let row = |user: &&UserReport| {
            let [hr1, hr3, hr5, loss] =
                [user.hr1, user.hr3, user.hr5, user.log_loss].map(|of| decimals(of, 3));
            let texts = [grouped(user.questions), hr1, hr3, hr5, loss, percent(user.coverage90)];
            (html! { code { (user.user) } }, cells(texts))
        };
        let more = users.len().saturating_sub(MOST_USERS);
        let [least, middle, most] = quartiles(model.per_user.iter().map(|user| user.coverage90)).map(percent);
        let heads = ["user", "questions", "HR@1", "HR@3", "HR@5", "log loss", "cover@90"];
        let words = html! {
            p {
                "The users of " strong { (model.name) }
                @if self.router().is_none() { ", the model that most often ranks the answer first" }
                ", worst first. Few questions make for wild figures: look at the users with many. Cover@90 is the share of a \
                 user's questions that the common threshold for 90\u{a0}% precision lets it answer: " (middle) " for the user \
                 in the middle, less than " (least) " for a quarter of the users, more than " (most) " for another."
            }
            (table(&heads, users.iter().take(MOST_USERS).map(row)))
            @if more > 0 { p { (count(more, "more user")) " did as well or better and are not shown." } }
        };
        Section::new("User by user", words)
    }

    fn new_users(&self) -> Option<Section> {
        let questions = self.cold_start.first()?.metrics.questions;
        let words = html! {
            p {
                (count(questions, "question")) " of users that training never saw, from their first day on. Columns as in the \
                 first table."
            }
            (self.model_table(&self.cold_start)) (self.part_tables(&self.cold_start))
        };
        Some(Section::new("New users", words))
    }

    fn series(&self, model: &ModelReport, points: Vec<Point>) -> Series {
        Series { name: model.name.clone(), ink: self.ink(&model.name), points }
    }

    /// How the model of this name is drawn: by its place in the first table, the same where it starts cold. Those of a router
    /// that are not in the table stand behind it.
    fn ink(&self, name: &str) -> Ink {
        let in_table = self.models.iter().map(|model| model.name.as_str()).filter(|name| *name != BOUND);
        let place = in_table.chain([TREES, ROUTER_SHARED, ROUTER]).position(|other| other == name);
        if name == BOUND { Ink::BOUND } else { Ink::of_model(place.unwrap_or(0)) }
    }

    fn best_model(&self) -> Option<&ModelReport> {
        let hr1 = |model: &&ModelReport| if model.metrics.hr1.is_finite() { model.metrics.hr1 } else { -1.0 };
        let models = self.models.iter().filter(|model| !is_bound(model));
        // The least of the reversed order: the first of equals.
        models.min_by(|a, b| hr1(b).total_cmp(&hr1(a))).or(self.models.first())
    }
}

/// Hours of the day, and their axis.
fn hours() -> (Vec<u32>, Axis) {
    ((0..24).collect(), Axis::named("hour of day", (0..24).map(|hour| format!("{hour}"))))
}

/// A point for each value at 0, 1, 2, .., open where it stands on few questions.
fn in_places(values: impl Iterator<Item = Option<(usize, f64)>>) -> Vec<Point> {
    let point = |(place, value): (usize, Option<(usize, f64)>)| {
        let (questions, value) = value.unwrap_or((0, f64::NAN));
        (place as f64, value, 7, questions >= FEW_QUESTIONS)
    };
    values.enumerate().map(point).collect()
}

/// Confidence against hit rate, with the diagonal on which they are the same.
fn calibration_plot(curves: &[(&str, Ink, &[CalibrationBin])]) -> Plot {
    let most = curves.iter().flat_map(|curve| curve.2).map(|bin| bin.questions).max().unwrap_or(0).max(1);
    let point = |bin: &CalibrationBin| {
        let radius = (18.0 * (bin.questions as f64 / most as f64).sqrt()).max(4.0);
        (bin.confidence, bin.hit_rate, radius as i32, true)
    };
    let series = curves.iter().map(|(name, ink, bins)| Series {
        name: (*name).to_owned(),
        ink: *ink,
        points: bins.iter().map(point).collect(),
    });
    let x = Axis::over("confidence", percent_mark, [0.0, 1.0].into_iter());
    let caption = "confidence in the first app, and how often it was right";
    let plot = Plot::new(caption, x, ("hit rate", percent_mark), &[0.0, 1.0], series.collect());
    Plot { guide: Some([(0.0, 0.0), (1.0, 1.0)]), ..plot }
}

fn is_bound(model: &ModelReport) -> bool {
    model.name == BOUND
}

/// A time that was not measured is a zero in the report, and no number from here on.
fn measured(us: f64) -> f64 {
    if us > 0.0 { us } else { f64::NAN }
}

/// The values below which a quarter, a half and three quarters of the finite ones lie.
fn quartiles(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut sorted: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
    // Midway between the two that are nearest where none stands there.
    let quarters = [1, 2, 3].map(|quarter| sorted.len().saturating_sub(1) * quarter);
    quarters.map(|place| (at(place / 4) + at(place.div_ceil(4))) / 2.0)
}

#[cfg(test)]
mod tests;
