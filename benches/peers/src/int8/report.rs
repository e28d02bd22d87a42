//! What was measured, in the shape that machines read.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::timing::{median, ratios};

/// Everything that a run of `int8` measures. Times are medians over turns, of the medians of their questions.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Where and how.
    pub setting: BTreeMap<String, String>,
    /// Of the wheels.
    pub versions: BTreeMap<String, String>,
    /// What our integer products are computed with.
    pub kernel: String,
    /// Ours in plain numbers.
    pub f32_us: Option<f64>,
    /// Ours in INT8, from nothing.
    pub int8_cold_us: Option<f64>,
    /// The same where all but the last token are those of the question before.
    pub int8_warm_us: Option<f64>,
    /// ONNX Runtime's in plain numbers.
    pub onnx_f32_us: Option<f64>,
    /// ONNX Runtime's in INT8, all or most: of its fastest such graph.
    pub onnx_int8_us: Option<f64>,
    /// A call of ONNX Runtime that computes next to nothing; the two above contain it.
    pub onnx_overhead_us: Option<f64>,
    /// Median over the turns of `int8_cold_us` over `f32_us`.
    pub ratio_int8_to_f32: Option<f64>,
    /// Median over the turns of `int8_cold_us` over `onnx_int8_us`.
    pub ratio_int8_to_onnx: Option<f64>,
    /// Microseconds of everyone, all graphs included.
    pub latency_us: BTreeMap<String, f64>,
    /// Median over the turns of `int8_cold_us` over everyone's.
    pub ratio_int8_to: BTreeMap<String, f64>,
    /// Of any logit from ours in plain numbers.
    pub largest_difference: BTreeMap<String, f64>,
}

/// A name, and its microseconds turn by turn.
pub type Timed = (&'static str, Vec<f64>);

impl Report {
    /// Notes a fact about where or how was measured.
    pub fn setting(&mut self, name: &str, value: impl Into<String>) {
        self.setting.insert(name.to_owned(), value.into());
    }

    /// Notes all times.
    pub fn sum_up(&mut self, timed: &[Timed]) {
        let named = |name: &str| {
            timed.iter().find(|(other, _)| *other == name).map_or(&[][..], |(_, micros)| micros.as_slice())
        };
        let graphs = timed.iter().filter(|(name, _)| name.starts_with("onnx_int8"));
        let fastest = graphs
            .map(|(_, micros)| micros.as_slice())
            .min_by(|a, b| median(a).unwrap_or(f64::INFINITY).total_cmp(&median(b).unwrap_or(f64::INFINITY)));
        let (cold, fastest) = (named("int8_cold"), fastest.unwrap_or_default());
        self.f32_us = median(named("f32"));
        self.int8_cold_us = median(cold);
        self.int8_warm_us = median(named("int8_warm"));
        self.onnx_f32_us = median(named("onnx_f32"));
        self.onnx_int8_us = median(fastest);
        self.onnx_overhead_us = median(named("onnx_overhead"));
        self.ratio_int8_to_f32 = median(&ratios(cold, named("f32")));
        self.ratio_int8_to_onnx = median(&ratios(cold, fastest));
        for (name, micros) in timed {
            self.latency_us.extend(median(micros).map(|middle| ((*name).to_owned(), middle)));
            self.ratio_int8_to.extend(median(&ratios(cold, micros)).map(|ratio| ((*name).to_owned(), ratio)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_that_machines_read() {
        let mut report = Report { kernel: "plain".into(), ..Report::default() };
        report.sum_up(&[
            ("f32", vec![4.0, 8.0, 5.0]),
            ("int8_cold", vec![2.0, 2.0, 3.0]),
            ("int8_warm", vec![1.0]),
            ("onnx_f32", vec![7.0]),
            ("onnx_int8_dynamic", vec![8.0, 8.0, 4.0]),
            ("onnx_int8_static", vec![9.0]),
            ("onnx_overhead", vec![0.5]),
        ]);
        let json = serde_json::to_value(&report).unwrap();
        for (key, expected) in [
            ("f32_us", 5.0),
            ("int8_cold_us", 2.0),
            ("int8_warm_us", 1.0),
            ("onnx_f32_us", 7.0),
            ("onnx_int8_us", 8.0),
            ("onnx_overhead_us", 0.5),
            ("ratio_int8_to_f32", 0.5),
            ("ratio_int8_to_onnx", 0.25),
        ] {
            assert_eq!(json[key], serde_json::json!(expected), "{key}");
        }
        assert_eq!(json["kernel"], "plain");
        assert_eq!(json["latency_us"]["onnx_int8_static"], 9.0);
    }
}
