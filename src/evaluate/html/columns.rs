//! Columns of the table of models: where a figure comes from, how it is written, and which one is best.

use super::is_bound;
use super::markup::decimals;
use crate::evaluate::Interval;
use crate::evaluate::report::{Intervals, ModelReport};

/// A column of the table of models.
pub(super) struct Column {
    pub(super) head: &'static str,
    value: fn(&ModelReport) -> f64,
    interval: fn(&Intervals) -> Option<Interval>,
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
    higher("HR@1", |model| model.metrics.hr1, |of| Some(of.hr1_interval)),
    higher("HR@3", |model| model.metrics.hr3, |of| Some(of.hr3_interval)),
    higher("HR@5", |model| model.metrics.hr5, |of| Some(of.hr5_interval)),
    higher("MRR", |model| model.metrics.mrr, |of| Some(of.mrr_interval)),
    higher("NDCG@5", |model| model.metrics.ndcg5, |of| Some(of.ndcg5_interval)),
    lower("log loss", |model| model.metrics.log_loss, |of| Some(of.log_loss_interval)),
    lower("ECE", |model| model.metrics.calibration_error, |_| None),
    higher("cover@90", |model| model.metrics.coverage90, |of| Some(of.coverage90_interval)),
    time("p50 µs", |model| measured(model.latency_us.p50)),
    time("p99 µs", |model| measured(model.latency_us.p99)),
];

const fn higher(
    head: &'static str,
    value: fn(&ModelReport) -> f64,
    interval: fn(&Intervals) -> Option<Interval>,
) -> Column {
    Column { head, value, interval, decimals: 3, better: Better::Higher }
}

const fn lower(
    head: &'static str,
    value: fn(&ModelReport) -> f64,
    interval: fn(&Intervals) -> Option<Interval>,
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

impl Column {
    fn text(&self, model: &ModelReport) -> String {
        decimals((self.value)(model), self.decimals)
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
        let interval = model.intervals.as_ref().and_then(self.interval).map(|Interval(low, high)| {
            format!("<small>{} – {}</small>", decimals(low, self.decimals), decimals(high, self.decimals))
        });
        format!("<td>{text}{}</td>", interval.unwrap_or_default())
    }
}
