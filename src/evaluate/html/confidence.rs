//! Whether models are as sure as they should be, and how often they are sure enough.

use super::axis::Axis;
use super::drawing::Drawing;
use super::ink::{Ink, legend};
use super::markup::{beside, decimals, percent, section, table};
use super::plot::{Plot, Point, Series};
use crate::evaluate::metrics::CalibrationBin;
use crate::evaluate::report::{ModelReport, Report};

impl Report {
    pub(super) fn calibration_section(&self) -> String {
        let curves = self.models.iter().map(|model| (self.ink(model), model.calibration.as_slice()));
        let drawing = Drawing {
            title: "Confidence and hit rate".to_owned(),
            legend: self.model_legend(),
            panels: vec![(CALIBRATION.to_owned(), calibration_plot(curves.collect()))],
        };
        let words = format!(
            "<p>Of the questions that a model answered with 70&nbsp;% confidence, 70&nbsp;% should be right: then \
             its line lies on the dashed diagonal. Below the diagonal it promises too much, above it too little. The \
             larger a marker, the more questions stand behind it.</p>\n{}",
            legend(&drawing.legend)
        );
        section("Is it as sure as it should be?", &beside(&words, &drawing.figures()))
    }

    pub(super) fn coverage_section(&self) -> String {
        let row = |model: &ModelReport| {
            let threshold = match f64::from(model.coverage90_threshold) {
                never if never > 1.0 => "never".to_owned(),
                threshold => decimals(threshold, 3),
            };
            let (head, answered) = (self.row_head(model), percent(model.metrics.coverage90));
            let precision = percent(model.metrics.coverage90_precision.unwrap_or(f64::NAN));
            format!("<tr>{head}<td>{threshold}</td><td>{answered}</td><td>{precision}</td></tr>\n")
        };
        let words = format!(
            "<p>A phone need not answer every question. Here each model answers those it is surest of first: the \
             line shows how many of its answers are right while it answers more and more. The further right a line \
             meets the dashed 90&nbsp;%, the better. The large open marker is what a threshold chosen beforehand, on \
             validation questions, gave.</p>\n{}",
            table(["model", "from confidence", "answered", "precision"], self.models.iter().map(row))
        );
        section("How often can it answer well?", &beside(&words, &self.coverage_drawing().figures()))
    }

    /// Share answered against precision: of all models, and of a router and its experts alone, whose lines are close.
    pub(super) fn coverage_drawing(&self) -> Drawing {
        let all: Vec<&ModelReport> = self.models.iter().collect();
        let mut panels = vec![("precision while more and more questions are answered", all)];
        if let Some(routing) = &self.routing {
            let its_own = self.router_and_experts(routing);
            if its_own.len() < self.models.len() {
                panels.push(("the same, of the router and its experts alone", its_own));
            }
        }
        let panels =
            panels.into_iter().map(|(caption, models)| (caption.to_owned(), self.coverage_plot(&models)));
        Drawing {
            title: "How often can it answer well?".to_owned(),
            legend: self.model_legend(),
            panels: panels.collect(),
        }
    }

    fn coverage_plot(&self, models: &[&ModelReport]) -> Plot {
        let points = |model: &ModelReport| {
            let few = model.coverage.len() < MARK_EVERY;
            let marked = |index: usize| few || (index + 1).is_multiple_of(MARK_EVERY);
            let point = |(index, &(x, y)): (usize, &(f64, f64))| {
                let radius = if marked(index) { 6 } else { 0 };
                Point { x, y, radius, filled: true }
            };
            model.coverage.iter().enumerate().map(point).collect()
        };
        let lines = models.iter().map(|model| Series::new(self.ink(model), points(model)));
        let chosen = models.iter().filter_map(|model| {
            let y = model.metrics.coverage90_precision?;
            let point = Point { x: model.metrics.coverage90, y, radius: 14, filled: false };
            Some(Series::new(self.ink(model), vec![point]))
        });
        // The markers lie on top of all lines.
        let series: Vec<Series> = lines.chain(chosen).collect();
        let precisions = series.iter().flat_map(|series| &series.points).map(|point| point.y);
        Plot {
            x: Axis::shares("share of questions answered", [0.0, 1.0].into_iter()),
            y: Axis::shares("precision", precisions.chain([0.9, 1.0])),
            guides: vec![[(0.0, 0.9), (1.0, 0.9)]],
            series,
        }
    }
}

/// Of the coverage curves, which have a point at every percent, one in so many is marked: lines of many models need shapes,
/// too.
const MARK_EVERY: usize = 10;

/// What a calibration plot shows.
pub(super) const CALIBRATION: &str = "confidence in the first app, and how often it was right";

/// Confidence against hit rate, with the diagonal on which they are the same.
pub(super) fn calibration_plot(curves: Vec<(Ink, &[CalibrationBin])>) -> Plot {
    let most = curves.iter().flat_map(|(_, bins)| *bins).map(|bin| bin.questions).max();
    let most = most.unwrap_or(0).max(1) as f64;
    let point = |bin: &CalibrationBin| {
        let radius = (18.0 * (bin.questions as f64 / most).sqrt()).max(4.0) as u32;
        Point { x: bin.confidence, y: bin.hit_rate, radius, filled: true }
    };
    let series = curves.into_iter().map(|(ink, bins)| Series::new(ink, bins.iter().map(point).collect()));
    let axis = |label| Axis::shares(label, [0.0, 1.0].into_iter());
    Plot {
        x: axis("confidence"),
        y: axis("hit rate"),
        guides: vec![[(0.0, 0.0), (1.0, 1.0)]],
        series: series.collect(),
    }
}
