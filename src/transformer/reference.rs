//! The formulas at the top of `network/layout.rs`, word by word, in f64 and with no thought of speed: what every engine is
//! compared with, and at which weights.
//!
//! A rectifier's gradient jumps where its input is zero, so two engines that round differently may give different
//! gradients there, and both are right. [`away_from_kinks`] moves biases a little, so that no rectifier's input is near
//! zero: gradients that still differ are a fault.

use std::ops::Range;

use super::weights::Weights;
use crate::context::tokens::{CLOCK, GAPS, gap};
use crate::error::Result;
use crate::network::{Batch, NO_TARGET, NORM_EPSILON, TransformerConfig, WeightLayout};

/// What a pass over a batch finds.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Sums, as in [`Losses`](super::Losses).
    pub question: f64,
    /// The next apps'.
    pub next: f64,
    /// `[candidates]`.
    pub logits: Vec<f64>,
    /// The smallest distance of a rectifier's input from zero; infinite where there is none.
    pub nearest_kink: f64,
}

/// Where something may be left out in training: the sum of embeddings, or what a layer's attention or feed-forward adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// The sum of a token's embeddings.
    Embedding,
    /// Of this layer.
    Attention(usize),
    /// Of this layer.
    Feed(usize),
}

/// Multiplies what is added at a token by what dropout makes of it.
pub type DropFn<'a> = &'a dyn Fn(Added, usize, &mut [f64]);

/// Leaves out nothing.
pub const KEEP_ALL: DropFn<'static> = &|_, _, _| {};

/// What `weights` say of `batch`.
pub fn answer(weights: &Weights, batch: &Batch) -> Answer {
    let values: Vec<f64> = weights.values.iter().map(|&value| f64::from(value)).collect();
    answer_of(weights.config(), &values, batch, KEEP_ALL)
}

/// The same of weights that are no floats, where `drop` leaves some out.
///
/// # Shapes
/// `values`: `[WeightLayout::len]`.
pub fn answer_of(config: &TransformerConfig, values: &[f64], batch: &Batch, drop: DropFn<'_>) -> Answer {
    let mut nearest = f64::INFINITY;
    let answer = pass(config, values, batch, drop, &mut |_, inputs| {
        nearest = inputs.iter().flatten().fold(nearest, |nearest, input| nearest.min(input.abs()));
    });
    Answer { nearest_kink: nearest, ..answer }
}

/// `weights` with biases moved, each as little as it takes, so that no rectifier's input over `batch` is nearer to zero
/// than `distance`, in exact arithmetic.
///
/// # Errors
/// A bias is moved beyond all numbers.
pub fn away_from_kinks(weights: &Weights, batch: &Batch, distance: f64, drop: DropFn<'_>) -> Result<Weights> {
    let mut moved = weights.values.clone();
    let values: Vec<f64> = moved.iter().map(|&value| f64::from(value)).collect();
    // What a bias in f32 cannot say exactly is less than this.
    let wanted = distance * (1.0 + 1e-3) + 1e-6;
    pass(weights.config(), &values, batch, drop, &mut |biases: &Range<usize>, inputs| {
        for (unit, bias) in moved[biases.clone()].iter_mut().enumerate() {
            let mut column: Vec<f64> = inputs.iter().map(|row| row[unit]).collect();
            let before = f64::from(*bias);
            *bias = (before - nearest_gap(&mut column, wanted)) as f32;
            inputs.iter_mut().for_each(|row| row[unit] += f64::from(*bias) - before);
        }
    });
    Weights::new(weights.config().clone(), moved)
}

/// The number nearest to zero that is no nearer than `distance` to any of `numbers`, which are sorted.
fn nearest_gap(numbers: &mut [f64], distance: f64) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let is_free = |at: f64| {
        let next = numbers.partition_point(|&number| number < at);
        let neighbours = [next.checked_sub(1), Some(next)].into_iter().flatten();
        // Where `at` is a neighbour's edge, rounding may take it either way.
        neighbours
            .filter_map(|index| numbers.get(index))
            .all(|number| (number - at).abs() >= distance * (1.0 - 1e-9))
    };
    let edges = numbers.iter().flat_map(|number| [number - distance, number + distance]);
    let free = [0.0_f64].into_iter().chain(edges).filter(|&at| is_free(at));
    free.min_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or_default()
}

/// `x . matrix`, `matrix` being `[x.len(), outputs]`.
fn times(x: &[f64], matrix: &[f64]) -> Vec<f64> {
    let mut product = vec![0.0; matrix.len() / x.len()];
    for (x, row) in x.iter().zip(matrix.chunks_exact(product.len().max(1))) {
        product.iter_mut().zip(row).for_each(|(sum, weight)| *sum += x * weight);
    }
    product
}

fn plus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn relu(x: &[f64]) -> Vec<f64> {
    x.iter().map(|x| x.max(0.0)).collect()
}

fn rms_norm(x: &[f64], gain: &[f64]) -> Vec<f64> {
    let root = (dot(x, x) / x.len() as f64 + f64::from(NORM_EPSILON)).sqrt();
    x.iter().zip(gain).map(|(x, gain)| x / root * gain).collect()
}

fn log_softmax(x: &[f64]) -> Vec<f64> {
    let most = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = most + x.iter().map(|x| (x - most).exp()).sum::<f64>().ln();
    x.iter().map(|x| x - log_sum).collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// Sees the inputs of each set of rectifiers, row by row, and may move them with the biases in the range that it is told.
type Rectified<'a> = &'a mut dyn FnMut(&Range<usize>, &mut Vec<Vec<f64>>);

/// A pass that shows `rectified` its rectifiers.
fn pass(
    config: &TransformerConfig,
    values: &[f64],
    batch: &Batch,
    drop: DropFn<'_>,
    rectified: Rectified<'_>,
) -> Answer {
    let layout = WeightLayout::new(config);
    let h = hidden(config, &layout, values, batch, drop, rectified);
    let mut answer = Answer { question: 0.0, next: 0.0, logits: Vec::new(), nearest_kink: f64::INFINITY };
    for (h, &next) in h.iter().zip(&batch.next_apps).filter(|&(_, &next)| next != NO_TARGET) {
        let logits: Vec<f64> = (0..config.apps + 1).map(|app| classified(&layout, values, h, app)).collect();
        answer.next -= log_softmax(&logits)[next as usize];
    }
    for (question, logits) in of_candidates(config, &layout, values, batch, &h, rectified).enumerate() {
        let range = batch.offsets[question] as usize..batch.offsets[question + 1] as usize;
        answer.question -= dot(&log_softmax(&logits), &wide(&batch.targets[range]));
        answer.logits.extend(logits);
    }
    answer
}

/// `[tokens, d_model]`: what the last layer says of each token.
fn hidden(
    config: &TransformerConfig,
    layout: &WeightLayout,
    values: &[f64],
    batch: &Batch,
    drop: DropFn<'_>,
    rectified: Rectified<'_>,
) -> Vec<Vec<f64>> {
    let d = config.d_model;
    let tensor = |range: &Range<usize>| &values[range.clone()];
    let row = |range: &Range<usize>, row: usize| &values[range.start + row * d..][..d];
    let dropped = |site, token: usize, mut x: Vec<f64>| -> Vec<f64> {
        drop(site, token, &mut x);
        x
    };
    let tokens = batch.sequences() * batch.length;
    let mut x: Vec<Vec<f64>> = (0..tokens)
        .map(|t| {
            let rows = [
                row(&layout.app_embedding, batch.apps[t] as usize),
                row(&layout.kind_embedding, batch.kinds[t].into()),
                row(&layout.place_embedding, batch.places[t].into()),
                row(&layout.gap_embedding, batch.gaps[t].into()),
                row(&layout.network_embedding, batch.networks[t].into()),
                row(&layout.battery_embedding, batch.batteries[t].into()),
            ];
            let clock = times(&wide(&batch.clock[t * CLOCK..][..CLOCK]), tensor(&layout.clock_projection));
            dropped(Added::Embedding, t, rows.into_iter().fold(clock, |sum, row| plus(&sum, row)))
        })
        .collect();
    for (index, at) in layout.layers.iter().enumerate() {
        let normed: Vec<Vec<f64>> = x.iter().map(|x| rms_norm(x, tensor(&at.attention_norm))).collect();
        let of = |range| normed.iter().map(|a| times(a, tensor(range))).collect::<Vec<_>>();
        let (query, key, value) = (of(&at.query), of(&at.key), of(&at.value));
        for i in 0..tokens {
            // From the first token of its sequence to itself.
            let seen = i - i % batch.length..=i;
            let mut mixed = Vec::new();
            for head in 0..config.heads {
                let part = head * config.d_head()..(head + 1) * config.d_head();
                let score = |j: usize| {
                    let secs = batch.secs[i] - batch.secs[j];
                    let bias = tensor(&at.gap_bias)[head * GAPS + usize::from(gap(secs.into()))];
                    dot(&query[i][part.clone()], &key[j][part.clone()]) / (part.len() as f64).sqrt() + bias
                };
                let shares = log_softmax(&seen.clone().map(score).collect::<Vec<f64>>());
                mixed.extend(part.clone().map(|c| -> f64 {
                    seen.clone().zip(&shares).map(|(j, share)| share.exp() * value[j][c]).sum()
                }));
            }
            let added = dropped(Added::Attention(index), i, times(&mixed, tensor(&at.output)));
            x[i] = plus(&x[i], &added);
        }
        let feed_in = |x: &Vec<f64>| {
            let normed = rms_norm(x, tensor(&at.feed_norm));
            plus(&times(&normed, tensor(&at.feed_in)), tensor(&at.feed_in_bias))
        };
        let mut inputs: Vec<Vec<f64>> = x.iter().map(feed_in).collect();
        rectified(&at.feed_in_bias, &mut inputs);
        for (i, input) in inputs.iter().enumerate() {
            let added = plus(&times(&relu(input), tensor(&at.feed_out)), tensor(&at.feed_out_bias));
            x[i] = plus(&x[i], &dropped(Added::Feed(index), i, added));
        }
    }
    x.iter().map(|x| rms_norm(x, tensor(&layout.final_norm))).collect()
}

/// What the classifier says of `app` where the last layer says `h`.
fn classified(layout: &WeightLayout, values: &[f64], h: &[f64], app: usize) -> f64 {
    let row = &values[layout.app_embedding.start + app * h.len()..][..h.len()];
    dot(h, row) + values[layout.app_bias.clone()][app]
}

/// Question by question, the logits of its candidates.
fn of_candidates(
    config: &TransformerConfig,
    layout: &WeightLayout,
    values: &[f64],
    batch: &Batch,
    h: &[Vec<f64>],
    rectified: Rectified<'_>,
) -> impl Iterator<Item = Vec<f64>> {
    let tensor = |range: &Range<usize>| &values[range.clone()];
    let d = config.d_model;
    // What a question's candidates have in common, then what is each one's own.
    let shared = batch.question_tokens.iter().enumerate().map(|(question, &token)| {
        let width = config.question_columns;
        let columns = wide(&batch.question_columns[question * width..][..width]);
        let of_hidden = times(&h[token as usize], tensor(&layout.pointer_hidden));
        plus(
            &plus(&times(&columns, tensor(&layout.pointer_question)), &of_hidden),
            tensor(&layout.pointer_bias),
        )
    });
    let mut shared: Vec<Vec<f64>> = shared.collect();
    let candidates = |question: usize| batch.offsets[question] as usize..batch.offsets[question + 1] as usize;
    let mut first = Vec::new();
    for (question, shared) in shared.iter().enumerate() {
        for candidate in candidates(question) {
            let width = config.candidate_columns;
            let columns = wide(&batch.candidate_columns[candidate * width..][..width]);
            let app = batch.candidate_apps[candidate] as usize;
            let of_app = &values[layout.app_embedding.start + app * d..][..d];
            let own = plus(
                &times(&columns, tensor(&layout.pointer_candidate)),
                &times(of_app, tensor(&layout.pointer_app)),
            );
            first.push(plus(&own, shared));
        }
    }
    // A mixture's gates rectify what the candidates have in common; it has the same bias.
    let of_candidates = first.len();
    if config.mixture > 1 {
        first.append(&mut shared);
    }
    rectified(&layout.pointer_bias, &mut first);
    let shared = first.split_off(of_candidates);
    let second = first.iter().map(|first| {
        plus(&times(&relu(first), tensor(&layout.pointer_second)), tensor(&layout.pointer_second_bias))
    });
    let mut second: Vec<Vec<f64>> = second.collect();
    rectified(&layout.pointer_second_bias, &mut second);

    (0..batch.questions()).map(move |question| {
        let h = &h[batch.question_tokens[question] as usize];
        let of_question = candidates(question);
        let second: Vec<Vec<f64>> = second[of_question.clone()].iter().map(|second| relu(second)).collect();
        let apps = &batch.candidate_apps[of_question];
        let logits = apps.iter().zip(&second).map(|(&app, second)| {
            classified(layout, values, h, app as usize) + dot(second, tensor(&layout.pointer_output))
        });
        let logits: Vec<f64> = logits.collect();
        if config.mixture == 1 {
            return logits;
        }
        // By softmax, what it adds to each candidate's logit; the first adds nothing.
        let mut added = vec![vec![0.0; logits.len()]; config.mixture];
        for (candidate, second) in second.iter().enumerate() {
            let of_candidate = times(second, tensor(&layout.pointer_mixture));
            added[1..].iter_mut().zip(of_candidate).for_each(|(added, of)| added[candidate] = of);
        }
        let gates = times(&relu(&shared[question]), tensor(&layout.pointer_gate));
        let gates = log_softmax(&plus(&gates, tensor(&layout.pointer_gate_bias)));
        let softmaxes: Vec<_> = added.iter().map(|added| log_softmax(&plus(&logits, added))).collect();
        let mixed = |candidate: usize| {
            let parts = softmaxes.iter().zip(&gates).map(|(softmax, gate)| (softmax[candidate] + gate).exp());
            parts.sum::<f64>().ln()
        };
        (0..logits.len()).map(mixed).collect()
    })
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::context::Task;

    #[test]
    fn a_gap_is_the_nearest_that_is_wide_enough() {
        assert_eq!(nearest_gap(&mut [], 0.5), 0.0);
        assert_eq!(nearest_gap(&mut [2.0, -1.0], 0.5), 0.0);
        assert_eq!(nearest_gap(&mut [0.25], 0.5), -0.25);
        // Between -0.5 and 0.25 there is no room of 0.5 to either side; above 0.25 there is.
        assert_eq!(nearest_gap(&mut [0.25, 1.5, -0.5, -1.0], 0.5), 0.75);
    }

    #[test]
    fn biases_move_until_no_rectifier_is_near_its_kink() {
        for mixture in [1, 3] {
            let config = TransformerConfig {
                d_model: 8,
                heads: 2,
                d_ff: 12,
                window: 6,
                pointer_width: 5,
                mixture,
                ..TransformerConfig::student(Task::FirstAfterUnlock, 7)
            };
            let weights = Weights::random(config.clone(), &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
            let batch = Batch::random(&config, 6, 8, 2);
            let moved = away_from_kinks(&weights, &batch, 1e-3, KEEP_ALL).unwrap();
            let (before, after) = (answer(&weights, &batch), answer(&moved, &batch));
            assert!(before.nearest_kink < 1e-3 && after.nearest_kink >= 1e-3, "{}", after.nearest_kink);
            let farthest = weights.values.iter().zip(&moved.values).map(|(a, b)| (a - b).abs());
            assert!(farthest.fold(0.0, f32::max) < 0.2);
            // Some units of each layer are still on for some tokens and off for others.
            assert!((after.next - before.next).abs() < 0.05 * before.next && after != before);
        }
    }
}
