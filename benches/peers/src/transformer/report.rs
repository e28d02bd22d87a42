//! What was measured, in the shape that machines read.

use std::collections::BTreeMap;

use serde::Serialize;

/// Everything that a run of `transformer` measures.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Where and with what.
    pub setting: BTreeMap<String, String>,
    /// Training on two threads (one, where there is one core) with the next-app loss alone: tokens a second. PyTorch's
    /// is the better of eager and compiled.
    pub tokens_per_s: BTreeMap<String, f64>,
    /// Median over the rounds of our tokens a second over PyTorch's, in that training.
    pub train_ratio: Option<f64>,
    /// All trainings, by case: `<losses>_<threads>t`.
    pub training: BTreeMap<String, Training>,
    /// Of any logit, or any mean loss, over all shapes.
    pub forward_max_difference: f64,
    /// Of any entry of a tensor's gradient, over the largest entry of that tensor's gradient.
    pub gradient_max_difference: f64,
    /// Both, shape by shape; ours and Burn's against PyTorch.
    pub agreement: BTreeMap<String, Agreement>,
    /// Median microseconds of one student question on one thread.
    pub latency_us: BTreeMap<String, f64>,
    /// What was left out, and why.
    pub skipped: BTreeMap<String, String>,
}

/// How fast one case is trained.
#[derive(Debug, Default, Serialize)]
pub struct Training {
    /// Medians, by engine.
    pub tokens_per_s: BTreeMap<String, f64>,
    /// Median over the rounds of our tokens a second over each other's.
    pub ratio: BTreeMap<String, f64>,
    /// Ours over PyTorch's, round by round.
    pub ratios: Vec<f64>,
}

/// How far an engine is from PyTorch.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Agreement {
    /// Largest difference of a logit.
    pub logits: f64,
    /// Largest difference of a mean loss.
    pub losses: f64,
    /// Largest difference of a gradient's entry, over the tensor's largest entry.
    pub gradient: f64,
}

impl Report {
    /// Notes a fact about where or with what was measured.
    pub fn setting(&mut self, name: &str, value: impl Into<String>) {
        self.setting.insert(name.to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_that_machines_read() {
        let mut report = Report { train_ratio: Some(2.0), ..Report::default() };
        report.tokens_per_s.insert("ours".into(), 1.0);
        report.latency_us.insert("burn".into(), 3.0);
        report.training.insert("next_app_1t".into(), Training { ratios: vec![2.0], ..Training::default() });
        let json = serde_json::to_value(&report).unwrap();
        for (pointer, expected) in [
            ("/tokens_per_s/ours", 1.0),
            ("/train_ratio", 2.0),
            ("/forward_max_difference", 0.0),
            ("/gradient_max_difference", 0.0),
            ("/latency_us/burn", 3.0),
            ("/training/next_app_1t/ratios/0", 2.0),
        ] {
            assert_eq!(json.pointer(pointer), Some(&serde_json::json!(expected)), "{pointer}");
        }
    }
}
