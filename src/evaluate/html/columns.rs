//! Columns of the table of models: where a figure comes from, how it is written, and which one is best.

use super::is_bound;
use super::markup::decimals;
use crate::evaluate::Interval;
use crate::evaluate::report::{ExpectedMetrics, Intervals, ModelReport};

/// A column of the table of models.
pub(super) struct Column {
    pub(super) head: &'static str,
    value: fn(&ModelReport) -> f64,
    interval: fn(&ModelReport) -> Option<Interval>,
    decimals: usize,
    better: Better,
}

#[derive(PartialEq)]
enum Better {
    Higher,
    Lower,
}

/// The same figures, in the same order, as the report's table of text.
pub(super) const COLUMNS: [Column; 10] = [
    higher("HR@1", |model| model.metrics.hr1, |model| of_all(model, |of| of.hr1_interval)),
    higher("HR@3", |model| model.metrics.hr3, |model| of_all(model, |of| of.hr3_interval)),
    higher("HR@5", |model| model.metrics.hr5, |model| of_all(model, |of| of.hr5_interval)),
    higher("MRR", |model| model.metrics.mrr, |model| of_all(model, |of| of.mrr_interval)),
    higher("NDCG@5", |model| model.metrics.ndcg5, |model| of_all(model, |of| of.ndcg5_interval)),
    lower("log loss", |model| model.metrics.log_loss, |model| of_all(model, |of| of.log_loss_interval)),
    lower("ECE", |model| model.metrics.calibration_error, |_| None),
    higher("cover@90", |model| model.metrics.coverage90, |model| of_all(model, |of| of.coverage90_interval)),
    time("p50 µs", |model| measured(model.latency_us.p50)),
    time("p99 µs", |model| measured(model.latency_us.p99)),
];

/// Of the answers that were chosen; a part of the questions has no intervals.
pub(super) const CHOSEN: [Column; 4] = [
    higher("HR@1", |model| model.chosen.hr1, |_| None),
    higher("HR@3", |model| model.chosen.hr3, |_| None),
    higher("HR@5", |model| model.chosen.hr5, |_| None),
    lower("log loss", |model| model.chosen.log_loss, |_| None),
];

/// Of the answers that resumed the app that was last in front.
pub(super) const RESUMED: [Column; 4] = [
    higher("HR@1", |model| model.resumed.hr1, |_| None),
    higher("HR@3", |model| model.resumed.hr3, |_| None),
    higher("HR@5", |model| model.resumed.hr5, |_| None),
    lower("log loss", |model| model.resumed.log_loss, |_| None),
];

/// On the true probabilities of simulated people.
pub(super) const EXPECTED: [Column; 5] = [
    higher("HR@1", |model| expected(model, |of| of.hr1), |_| None),
    higher("HR@3", |model| expected(model, |of| of.hr3), |_| None),
    higher("HR@5", |model| expected(model, |of| of.hr5), |_| None),
    lower("log loss", |model| expected(model, |of| of.log_loss), |_| None),
    Column {
        head: "regret",
        value: |model| model.regret.map_or(f64::NAN, |regret| regret.mean),
        interval: |model| model.regret.and_then(|regret| Some(Interval(regret.low?, regret.high?))),
        decimals: 4,
        better: Better::Lower,
    },
];

fn of_all(model: &ModelReport, figure: fn(&Intervals) -> Interval) -> Option<Interval> {
    model.intervals.as_ref().map(figure)
}

fn expected(model: &ModelReport, figure: fn(&ExpectedMetrics) -> f64) -> f64 {
    model.expected.as_ref().map_or(f64::NAN, figure)
}

const fn higher(
    head: &'static str,
    value: fn(&ModelReport) -> f64,
    interval: fn(&ModelReport) -> Option<Interval>,
) -> Column {
    Column { head, value, interval, decimals: 3, better: Better::Higher }
}

const fn lower(
    head: &'static str,
    value: fn(&ModelReport) -> f64,
    interval: fn(&ModelReport) -> Option<Interval>,
) -> Column {
    Column { head, value, interval, decimals: 3, better: Better::Lower }
}

const fn time(head: &'static str, value: fn(&ModelReport) -> f64) -> Column {
    Column { head, value, interval: |_| None, decimals: 1, better: Better::Lower }
}

/// A time that was not measured is a zero in the report, and no number from here on.
pub(super) fn measured(us: f64) -> f64 {
    if us > 0.0 { us } else { f64::NAN }
}

/// `value` with so many decimals, without the sign of a zero.
fn rounded(value: f64, places: usize) -> String {
    let text = decimals(value, places);
    match text.strip_prefix('-') {
        Some(zero) if zero.bytes().all(|byte| b"0.".contains(&byte)) => zero.to_owned(),
        _ => text,
    }
}

impl Column {
    fn text(&self, model: &ModelReport) -> String {
        rounded((self.value)(model), self.decimals)
    }

    /// The best figure as it is written, so that figures that look the same are all best. `None` without a rival.
    pub(super) fn best(&self, models: &[ModelReport]) -> Option<String> {
        let contenders = models.iter().filter(|model| !is_bound(model) && (self.value)(model).is_finite());
        let contenders: Vec<&ModelReport> = contenders.collect();
        if contenders.len() < 2 {
            return None;
        }
        let best = contenders.into_iter().max_by(|a, b| {
            let order = (self.value)(a).total_cmp(&(self.value)(b));
            if self.better == Better::Higher { order } else { order.reverse() }
        });
        best.map(|model| self.text(model))
    }

    /// The cell of `model`, bold where it shows the `best` figure.
    pub(super) fn cell(&self, model: &ModelReport, best: Option<&str>) -> String {
        let mut text = self.text(model);
        if best == Some(text.as_str()) && !is_bound(model) {
            text = format!("<strong>{text}</strong>");
        }
        let interval = (self.interval)(model).map(|Interval(low, high)| {
            format!("<small>{} – {}</small>", rounded(low, self.decimals), rounded(high, self.decimals))
        });
        format!("<td>{text}{}</td>", interval.unwrap_or_default())
    }
}
