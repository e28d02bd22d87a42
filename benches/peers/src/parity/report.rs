//! What was measured: tables for people, JSON for machines.

use std::collections::BTreeMap;

use serde::Serialize;

use super::ask::Outcome;
use super::latency::Timed;
use crate::report::{Table, cell};
use crate::timing::{median, quantile, ratios};

/// Everything that a run of `parity` measures.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Where and how.
    pub setting: BTreeMap<String, String>,
    /// An export in a runtime each.
    pub rows: Vec<Row>,
}

/// An export in a runtime. Null where nothing was measured.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Row {
    /// `transformer`, `trees-walk`.
    pub export: String,
    /// `onnxruntime`, `tract`.
    pub runtime: String,
    /// Of the runtime.
    pub version: String,
    /// Whether the runtime takes it.
    pub loads: bool,
    /// What the runtime said when it failed.
    pub error: Option<String>,
    /// That were asked and answered.
    pub questions: usize,
    /// Of any probability, of trees any score, from ours.
    pub max_difference: Option<f64>,
    /// Share of questions with our first place.
    pub top1_agreement: Option<f64>,
    /// Share of questions with our first three, in our order.
    pub top3_agreement: Option<f64>,
    /// Share of questions whose answer is their first place.
    pub hr1: Option<f64>,
    /// Share of questions whose answer is among their first three.
    pub hr3: Option<f64>,
    /// The same of ours.
    pub ours_hr1: Option<f64>,
    /// The same of ours.
    pub ours_hr3: Option<f64>,
    /// Microseconds a question, of theirs.
    pub latency_us: Option<Spread>,
    /// Of ours: of a router the whole answer, as on a phone that prefills.
    pub ours_us: Option<Spread>,
    /// Of our router, with nothing left of the past.
    pub ours_cold_us: Option<Spread>,
    /// Ours over theirs: the median over turns, of medians.
    pub latency_ratio: Option<f64>,
    /// The same of our router, with nothing left of the past.
    pub latency_ratio_cold: Option<f64>,
}

/// Over single questions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The median.
    pub p50: f64,
    /// All but a hundredth are faster.
    pub p99: f64,
}

impl Spread {
    fn of(timed: &Timed) -> Option<Self> {
        Some(Self { p50: median(&timed.micros)?, p99: quantile(&timed.micros, 0.99)? })
    }
}

impl Row {
    /// Notes what became of the export.
    pub fn set_outcome(&mut self, outcome: Outcome) {
        let agreement = &outcome.agreement;
        let both =
            |shares: Option<[f64; 2]>| (shares.map(|shares| shares[0]), shares.map(|shares| shares[1]));
        (self.top1_agreement, self.top3_agreement) = both(agreement.shares());
        (self.hr1, self.hr3) = both(agreement.their_hits());
        (self.ours_hr1, self.ours_hr3) = both(agreement.our_hits());
        self.questions = agreement.questions;
        self.max_difference = (agreement.questions > 0).then_some(agreement.max_difference);
        (self.loads, self.error) = (outcome.loads, outcome.error);
        // JSON has no infinity: it would read as null, as if nothing were known.
        if agreement.max_difference.is_infinite() {
            self.error
                .get_or_insert_with(|| "answers that are no numbers, or not one a candidate".to_owned());
        }
    }

    /// Notes times; `cold` are those of our router with nothing left of the past.
    pub fn set_times(&mut self, ours: &Timed, cold: Option<&Timed>, theirs: &Timed) {
        self.latency_us = Spread::of(theirs);
        self.ours_us = Spread::of(ours);
        self.ours_cold_us = cold.and_then(Spread::of);
        self.latency_ratio = median(&ratios(&ours.medians, &theirs.medians));
        self.latency_ratio_cold = cold.and_then(|cold| median(&ratios(&cold.medians, &theirs.medians)));
        if self.error.is_none() {
            self.error.clone_from(&theirs.error);
        }
    }
}

impl Report {
    /// Notes a fact about where or how was measured.
    pub fn setting(&mut self, name: &str, value: impl Into<String>) {
        self.setting.insert(name.to_owned(), value.into());
    }

    /// Prints all tables.
    pub fn print(&self) {
        self.print_agreement();
        self.print_latency();
        self.print_errors();
    }

    fn print_agreement(&self) {
        let mut table = Table::new([
            "export",
            "runtime",
            "questions",
            "largest difference",
            "same first",
            "same three",
            "HR@1",
            "ours",
            "HR@3",
            "ours",
        ]);
        for row in &self.rows {
            let difference = row.max_difference.map_or_else(|| "-".to_owned(), |d| format!("{d:.1e}"));
            let mut cells =
                vec![row.export.clone(), row.runtime.clone(), row.questions.to_string(), difference];
            let shares = [row.top1_agreement, row.top3_agreement];
            cells.extend(shares.map(|share| cell(share, 4)));
            cells.extend([row.hr1, row.ours_hr1, row.hr3, row.ours_hr3].map(|rate| cell(rate, 4)));
            table.line(cells);
        }
        table.print("Agreement: their answers beside ours, ties ordered by place");
    }

    fn print_latency(&self) {
        let mut table = Table::new([
            "export",
            "runtime",
            "µs p50",
            "p99",
            "ours p50",
            "p99",
            "ours / it",
            "ours, cold",
            "cold / it",
        ]);
        let micros = |spread: Option<Spread>| {
            [spread.map(|spread| spread.p50), spread.map(|spread| spread.p99)].map(|us| cell(us, 1))
        };
        for row in self.rows.iter().filter(|row| row.latency_us.is_some()) {
            let mut cells = vec![row.export.clone(), row.runtime.clone()];
            cells.extend(micros(row.latency_us));
            cells.extend(micros(row.ours_us));
            cells.push(cell(row.latency_ratio, 3));
            cells.push(cell(row.ours_cold_us.map(|spread| spread.p50), 1));
            cells.push(cell(row.latency_ratio_cold, 3));
            table.line(cells);
        }
        table.print(
            "Latency: one question on one thread. SourceTensor is the graph alone, inputs in place; of a router ours is the \
             whole answer,\nfeatures and ranking too, prefilled as on a phone, and `cold` without",
        );
    }

    fn print_errors(&self) {
        let failed: Vec<&Row> = self.rows.iter().filter(|row| row.error.is_some()).collect();
        if !failed.is_empty() {
            println!("\nRefused or failed");
        }
        for row in failed {
            let error = row.error.as_deref().unwrap_or_default();
            println!("{} in {} {}: {}", row.export, row.runtime, row.version, error.trim());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parity::agreement::Agreement;

    fn timed(medians: &[f64]) -> Timed {
        Timed { micros: medians.to_vec(), medians: medians.to_vec(), error: None }
    }

    #[test]
    fn the_keys_that_machines_read() {
        let mut agreement = Agreement::default();
        agreement.count(&[0.75, 0.25], &[0.5, 0.5], Some(0));
        let mut row = Row { export: "transformer".into(), runtime: "tract".into(), ..Row::default() };
        row.set_outcome(Outcome { loads: true, error: None, agreement });
        // Turn by turn: 1/2, 2/2, 9/3.
        row.set_times(&timed(&[1.0, 2.0, 9.0]), None, &timed(&[2.0, 2.0, 3.0]));
        let report = Report { rows: vec![row], ..Report::default() };
        let json = serde_json::to_value(&report).unwrap();
        assert!(json["setting"].is_object());
        for (key, expected) in [
            ("export", serde_json::json!("transformer")),
            ("runtime", serde_json::json!("tract")),
            ("version", serde_json::json!("")),
            ("loads", serde_json::json!(true)),
            ("error", serde_json::Value::Null),
            ("questions", serde_json::json!(1)),
            ("max_difference", serde_json::json!(0.25)),
            ("top1_agreement", serde_json::json!(1.0)),
            ("top3_agreement", serde_json::json!(1.0)),
            ("hr1", serde_json::json!(1.0)),
            ("hr3", serde_json::json!(1.0)),
            ("ours_hr1", serde_json::json!(1.0)),
            ("ours_hr3", serde_json::json!(1.0)),
            ("latency_us", serde_json::json!({"p50": 2.0, "p99": 3.0})),
            ("ours_us", serde_json::json!({"p50": 2.0, "p99": 9.0})),
            ("ours_cold_us", serde_json::Value::Null),
            ("latency_ratio", serde_json::json!(1.0)),
            ("latency_ratio_cold", serde_json::Value::Null),
        ] {
            assert_eq!(json["rows"][0].get(key), Some(&expected), "{key}");
        }
    }

    #[test]
    fn what_was_refused_has_no_figures() {
        let mut row = Row::default();
        row.set_outcome(Outcome { error: Some("no such operator".into()), ..Outcome::default() });
        let json = serde_json::to_value(&row).unwrap();
        assert_eq!((&json["loads"], &json["questions"]), (&false.into(), &0.into()));
        for key in ["max_difference", "top1_agreement", "hr3", "ours_hr1", "latency_us", "latency_ratio"] {
            assert!(json[key].is_null(), "{key}");
        }
        assert_eq!(json["error"], "no such operator");
    }

    #[test]
    fn ratios_are_taken_turn_by_turn() {
        let mut row = Row::default();
        row.set_times(&timed(&[2.0, 8.0, 3.0]), Some(&timed(&[4.0, 4.0, 6.0])), &timed(&[4.0, 4.0, 4.0]));
        assert_eq!((row.latency_ratio, row.latency_ratio_cold), (Some(0.75), Some(1.0)));
    }
}
