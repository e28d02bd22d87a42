//! How good weights are on questions that were not learned from.

use serde::{Deserialize, Serialize};

use super::engine::Engine;
use super::weights::Weights;
use crate::error::{Error, ErrorKind, Result};
use crate::network::Batch;
use crate::predict::log_sum_exp;

/// Figures over questions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Mean cross entropy of the candidates against the targets, in nats.
    pub loss: f64,
    /// Share of the questions whose answer, the candidate of the largest target, is among the first three.
    pub hr3: f64,
    /// How many questions.
    pub questions: usize,
}

/// Asks every question of `batches`, without dropout. `None` where there is none.
///
/// A candidate that scores as high as the answer ranks before it: batches know nothing else to order ties by, and no
/// figure may profit from one.
///
/// # Errors
/// The device failed.
pub fn validate(engine: &mut dyn Engine, weights: &Weights, batches: &[Batch]) -> Result<Option<Validation>> {
    let (mut loss, mut hits, mut questions) = (0.0, 0, 0);
    for batch in batches {
        let logits = engine.logits(weights, batch)?;
        if logits.len() != batch.candidates() {
            let message = format!("{} logits for {} candidates", logits.len(), batch.candidates());
            return Err(Error::new(ErrorKind::Data, message).field(engine.name()));
        }
        questions += batch.questions();
        for ends in batch.offsets.windows(2) {
            let range = ends[0] as usize..ends[1] as usize;
            let (logits, targets) = (&logits[range.clone()], &batch.targets[range]);
            loss += cross_entropy(logits, targets);
            hits += usize::from(is_hit(logits, targets, 3));
        }
    }
    let mean = |sum: f64| sum / questions as f64;
    Ok((questions > 0).then(|| Validation { loss: mean(loss), hr3: mean(hits as f64), questions }))
}

fn cross_entropy(logits: &[f32], targets: &[f32]) -> f64 {
    let normalizer = log_sum_exp(logits, 1.0);
    let terms = logits.iter().zip(targets).filter(|(_, target)| **target > 0.0);
    terms.map(|(&logit, &target)| f64::from(target) * (normalizer - f64::from(logit))).sum()
}

/// Whether fewer than `k` other candidates score at least as high as the answer.
fn is_hit(logits: &[f32], targets: &[f32], k: usize) -> bool {
    let likeliest = (0..targets.len()).reduce(|best, i| if targets[i] > targets[best] { i } else { best });
    let Some(answer) = likeliest.filter(|&answer| targets[answer] > 0.0) else { return false };
    (0..logits.len()).filter(|&i| i != answer && logits[i] >= logits[answer]).count() < k
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_among_the_first_three_or_not() {
        struct Case {
            logits: &'static [f32],
            targets: &'static [f32],
            hit: bool,
        }
        let case = |logits, targets, hit| Case { logits, targets, hit };
        let cases = [
            case(&[4.0, 3.0, 2.0, 1.0], &[0.0, 0.0, 1.0, 0.0], true),
            case(&[4.0, 3.0, 2.0, 1.0], &[0.0, 0.0, 0.0, 1.0], false),
            // A tie at the third place is a miss.
            case(&[4.0, 3.0, 1.0, 1.0], &[0.0, 0.0, 0.0, 1.0], false),
            case(&[4.0, 3.0, 1.0, 1.0], &[0.0, 0.0, 1.0, 0.0], false),
            // Soft targets: the likeliest is the answer.
            case(&[0.0, 3.0, 2.0, 1.0], &[0.4, 0.3, 0.2, 0.1], false),
            case(&[0.0], &[1.0], true),
            case(&[5.0, 1.0], &[0.0, 0.0], false),
            case(&[], &[], false),
        ];
        for Case { logits, targets, hit } in cases {
            assert_eq!(is_hit(logits, targets, 3), hit, "{logits:?} {targets:?}");
        }
    }

    #[test]
    fn cross_entropy_by_hand() {
        let ln = |x: f64| x.ln();
        let cases: [(&[f32], &[f32], f64); 4] = [
            (&[0.0, 0.0], &[1.0, 0.0], ln(2.0)),
            (&[1.0, 0.0], &[0.5, 0.5], ln(1.0 + 1f64.exp()) - 0.5),
            (&[200.0, 0.0], &[0.0, 1.0], 200.0),
            (&[], &[], 0.0),
        ];
        for (logits, targets, expected) in cases {
            assert!((cross_entropy(logits, targets) - expected).abs() < 1e-9, "{logits:?}");
        }
    }
}
