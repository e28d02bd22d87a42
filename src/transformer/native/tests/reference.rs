//! The formulas at the top of `network/layout.rs`, word by word, in f64 and with no thought of speed.

use std::ops::Range;

use fearless_simd::Level;

use super::super::dropout::{Dropout, Site};
use crate::context::tokens::{CLOCK, GAPS, gap};
use crate::network::TransformerConfig;
use crate::network::{Batch, NO_TARGET};
use crate::network::{Layout, NORM_EPSILON};

/// What a pass over a batch finds.
pub struct Answer {
    /// Sums, as in `Losses`.
    pub question: f64,
    pub next: f64,
    /// `[candidates]`.
    pub logits: Vec<f64>,
}

/// `x . matrix`, `matrix` being `[x.len(), outputs]`.
fn times(x: &[f64], matrix: &[f64]) -> Vec<f64> {
    let outputs = matrix.len() / x.len();
    (0..outputs).map(|o| x.iter().enumerate().map(|(i, x)| x * matrix[i * outputs + o]).sum()).collect()
}

fn plus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn relu(x: Vec<f64>) -> Vec<f64> {
    x.into_iter().map(|x| x.max(0.0)).collect()
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

pub fn answer(config: &TransformerConfig, values: &[f64], batch: &Batch, dropout: Dropout) -> Answer {
    let layout = Layout::new(config);
    let (d, apps) = (config.d_model, config.apps + 1);
    let tensor = |range: &Range<usize>| &values[range.clone()];
    let row = |range: &Range<usize>, row: usize| &values[range.start + row * d..][..d];
    let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let drop = |site, token: usize, x: Vec<f64>| -> Vec<f64> {
        let mut factors = vec![1.0f32; d];
        dropout.apply(Level::new(), site, token, d, &mut factors);
        x.iter().zip(factors).map(|(x, factor)| x * f64::from(factor)).collect()
    };

    let mut h = Vec::new();
    for sequence in 0..batch.sequences() {
        let first = sequence * batch.length;
        let mut x: Vec<Vec<f64>> = (first..first + batch.length)
            .map(|t| {
                let rows = [
                    row(&layout.app_embedding, batch.apps[t] as usize),
                    row(&layout.kind_embedding, batch.kinds[t].into()),
                    row(&layout.place_embedding, batch.places[t].into()),
                    row(&layout.gap_embedding, batch.gaps[t].into()),
                    row(&layout.network_embedding, batch.networks[t].into()),
                    row(&layout.battery_embedding, batch.batteries[t].into()),
                ];
                let clock =
                    times(&wide(&batch.clock[t * CLOCK..][..CLOCK]), tensor(&layout.clock_projection));
                drop(Site::Embedding, t, rows.into_iter().fold(clock, |sum, row| plus(&sum, row)))
            })
            .collect();
        for (index, at) in layout.layers.iter().enumerate() {
            let normed: Vec<Vec<f64>> = x.iter().map(|x| rms_norm(x, tensor(&at.attention_norm))).collect();
            let of = |range| normed.iter().map(|a| times(a, tensor(range))).collect::<Vec<_>>();
            let (query, key, value) = (of(&at.query), of(&at.key), of(&at.value));
            for i in 0..batch.length {
                let mut mixed = Vec::new();
                for head in 0..config.heads {
                    let part = head * config.d_head()..(head + 1) * config.d_head();
                    let scores: Vec<f64> = (0..=i)
                        .map(|j| {
                            let secs = batch.secs[first + i] - batch.secs[first + j];
                            let bias = tensor(&at.gap_bias)[head * GAPS + usize::from(gap(secs.into()))];
                            dot(&query[i][part.clone()], &key[j][part.clone()]) / (part.len() as f64).sqrt()
                                + bias
                        })
                        .collect();
                    let shares = log_softmax(&scores);
                    mixed.extend(
                        part.map(|c| -> f64 { (0..=i).map(|j| shares[j].exp() * value[j][c]).sum() }),
                    );
                }
                let added = drop(Site::Attention(index), first + i, times(&mixed, tensor(&at.output)));
                x[i] = plus(&x[i], &added);
                let normed = rms_norm(&x[i], tensor(&at.feed_norm));
                let hidden = relu(plus(&times(&normed, tensor(&at.feed_in)), tensor(&at.feed_in_bias)));
                let added = plus(&times(&hidden, tensor(&at.feed_out)), tensor(&at.feed_out_bias));
                x[i] = plus(&x[i], &drop(Site::Feed(index), first + i, added));
            }
        }
        h.extend(x.iter().map(|x| rms_norm(x, tensor(&layout.final_norm))));
    }

    let classifier =
        |h: &[f64], app: usize| dot(h, row(&layout.app_embedding, app)) + tensor(&layout.app_bias)[app];
    let mut answer = Answer { question: 0.0, next: 0.0, logits: Vec::new() };
    for (h, &next) in h.iter().zip(&batch.next_apps).filter(|&(_, &next)| next != NO_TARGET) {
        let logits: Vec<f64> = (0..apps).map(|app| classifier(h, app)).collect();
        answer.next -= log_softmax(&logits)[next as usize];
    }
    for (question, &token) in batch.question_tokens.iter().enumerate() {
        let h = &h[token as usize];
        let columns =
            wide(&batch.question_columns[question * config.question_columns..][..config.question_columns]);
        let shared = plus(
            &plus(
                &times(&columns, tensor(&layout.pointer_question)),
                &times(h, tensor(&layout.pointer_hidden)),
            ),
            tensor(&layout.pointer_bias),
        );
        let range = batch.offsets[question] as usize..batch.offsets[question + 1] as usize;
        let mut logits = Vec::new();
        // By softmax, what it adds to each candidate's logit.
        let mut added = vec![Vec::new(); config.mixture];
        for candidate in range.clone() {
            let app = batch.candidate_apps[candidate] as usize;
            let width = config.candidate_columns;
            let columns = wide(&batch.candidate_columns[candidate * width..][..width]);
            let own = plus(
                &times(&columns, tensor(&layout.pointer_candidate)),
                &times(row(&layout.app_embedding, app), tensor(&layout.pointer_app)),
            );
            let second = times(&relu(plus(&own, &shared)), tensor(&layout.pointer_second));
            let second = relu(plus(&second, tensor(&layout.pointer_second_bias)));
            logits.push(classifier(h, app) + dot(&second, tensor(&layout.pointer_output)));
            added[0].push(0.0);
            if config.mixture > 1 {
                let of_candidate = times(&second, tensor(&layout.pointer_mixture));
                added[1..].iter_mut().zip(of_candidate).for_each(|(added, of)| added.push(of));
            }
        }
        if config.mixture > 1 {
            let gates = times(&relu(shared), tensor(&layout.pointer_gate));
            let gates = log_softmax(&plus(&gates, tensor(&layout.pointer_gate_bias)));
            let softmaxes: Vec<_> = added.iter().map(|added| log_softmax(&plus(&logits, added))).collect();
            for (candidate, logit) in logits.iter_mut().enumerate() {
                let parts =
                    softmaxes.iter().zip(&gates).map(|(softmax, gate)| (softmax[candidate] + gate).exp());
                *logit = parts.sum::<f64>().ln();
            }
        }
        answer.question -= dot(&log_softmax(&logits), &wide(&batch.targets[range]));
        answer.logits.extend(logits);
    }
    answer
}
