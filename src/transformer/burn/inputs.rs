//! A batch as tensors. What depends on no weight is worked out here, once a pass.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::context::tokens::{self, BATTERIES, CLOCK, GAPS, KINDS, NETWORKS, PLACES};
use crate::network::{Batch, NO_TARGET, TransformerConfig};

/// Added to a logit that must not be chosen. Finite, so that no sum of it is "not a number".
const NEVER: f32 = -1e9;

/// Columns of [`Inputs::facts`].
const FACTS: usize = KINDS + PLACES + GAPS + NETWORKS + BATTERIES + CLOCK;

/// What a pass reads of a batch's tokens.
pub(super) struct Inputs {
    pub(super) sequences: usize,
    /// Tokens a sequence.
    pub(super) length: usize,
    /// `[tokens]`: rows of the app embedding.
    pub(super) apps: Tensor<1, Int>,
    /// `[tokens, FACTS]`: ones for kind, place, gap, network and battery, then the clock, in the order in which their
    /// tables lie in the weights. One product looks all of them up, and its gradient is a product too, where a
    /// gather's would add up thousands of rows one after another on a graphics card.
    pub(super) facts: Tensor<2>,
    /// `[sequences, GAPS, length * length]`: one where the time between two tokens is of that class.
    pub(super) gaps: Tensor<3>,
    /// `[1, 1, length, length]`: nothing where a token may look, [`NEVER`] at what comes after it.
    pub(super) causal: Tensor<4>,
}

/// Which app came next, where one did.
pub(super) struct NextApps {
    /// `[tokens, 1]`: its row; 0 where there is none.
    pub(super) apps: Tensor<2, Int>,
    /// `[tokens, 1]`: one where there is a next app.
    pub(super) present: Tensor<2>,
}

/// The questions, each with as many candidates as the one that has most, `widest`.
pub(super) struct QuestionTensors {
    pub(super) count: usize,
    pub(super) widest: usize,
    /// `[questions]`: the token at which each is asked.
    pub(super) tokens: Tensor<1, Int>,
    /// `[questions, question_columns]`.
    pub(super) columns: Tensor<2>,
    /// `[questions, widest]`: rows of the app embedding; 0 beyond a question's own.
    pub(super) apps: Tensor<2, Int>,
    /// `[questions * widest, candidate_columns]`.
    pub(super) candidate_columns: Tensor<2>,
    /// `[questions, widest]`: nothing at a candidate, [`NEVER`] beyond a question's own.
    pub(super) absent: Tensor<2>,
    /// `[questions, widest]`.
    pub(super) targets: Tensor<2>,
}

impl Inputs {
    /// Uploads the tokens of `batch`.
    pub(super) fn new(batch: &Batch, device: &Device) -> Self {
        let (sequences, length) = (batch.sequences(), batch.length);
        let square = length * length;
        let gaps = ints(gap_classes(batch), [sequences, 1, square], device);
        let classes = ints((0..GAPS as i32).collect(), [1, GAPS, 1], device);
        let causal = (0..square).map(|at| if at % length > at / length { NEVER } else { 0.0 }).collect();
        Self {
            sequences,
            length,
            apps: ints(batch.apps.iter().map(|&app| app as i32).collect(), [batch.tokens()], device),
            facts: floats(facts(batch), [batch.tokens(), FACTS], device),
            gaps: gaps.equal(classes).float(),
            causal: floats(causal, [1, 1, length, length], device),
        }
    }
}

impl NextApps {
    /// Uploads what came next, unless nothing did.
    pub(super) fn new(batch: &Batch, device: &Device) -> Option<Self> {
        let present = |app: &u32| *app != NO_TARGET;
        batch.next_apps.iter().any(present).then(|| {
            let apps = batch.next_apps.iter().map(|app| if present(app) { *app as i32 } else { 0 }).collect();
            let weights = batch.next_apps.iter().map(|app| f32::from(present(app))).collect();
            let shape = [batch.tokens(), 1];
            Self { apps: ints(apps, shape, device), present: floats(weights, shape, device) }
        })
    }
}

impl QuestionTensors {
    /// Uploads the questions, unless there is no candidate.
    pub(super) fn new(batch: &Batch, config: &TransformerConfig, device: &Device) -> Option<Self> {
        let (count, columns) = (batch.questions(), config.candidate_columns);
        let widest = batch.offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize).max().unwrap_or(0);
        if widest == 0 {
            return None;
        }
        let mut apps = vec![0; count * widest];
        let mut candidate_columns = vec![0.0; count * widest * columns];
        let mut absent = vec![NEVER; count * widest];
        let mut targets = vec![0.0; count * widest];
        for (candidate, cell) in cells(batch, widest).enumerate() {
            apps[cell] = batch.candidate_apps[candidate] as i32;
            candidate_columns[cell * columns..][..columns]
                .copy_from_slice(&batch.candidate_columns[candidate * columns..][..columns]);
            absent[cell] = 0.0;
            targets[cell] = batch.targets[candidate];
        }
        let tokens = batch.question_tokens.iter().map(|&token| token as i32).collect();
        Some(Self {
            count,
            widest,
            tokens: ints(tokens, [count], device),
            columns: floats(batch.question_columns.clone(), [count, config.question_columns], device),
            apps: ints(apps, [count, widest], device),
            candidate_columns: floats(candidate_columns, [count * widest, columns], device),
            absent: floats(absent, [count, widest], device),
            targets: floats(targets, [count, widest], device),
        })
    }
}

/// Where each candidate of `batch`, in order, lies in `[questions, widest]`.
pub(super) fn cells(batch: &Batch, widest: usize) -> impl Iterator<Item = usize> {
    batch.offsets.windows(2).enumerate().flat_map(move |(question, pair)| {
        let count = (pair[1] - pair[0]) as usize;
        question * widest..question * widest + count
    })
}

/// See [`Inputs::facts`].
fn facts(batch: &Batch) -> Vec<f32> {
    let mut facts = vec![0.0; batch.tokens() * FACTS];
    for (token, row) in facts.chunks_exact_mut(FACTS).enumerate() {
        let classes = [
            (batch.kinds[token], KINDS),
            (batch.places[token], PLACES),
            (batch.gaps[token], GAPS),
            (batch.networks[token], NETWORKS),
            (batch.batteries[token], BATTERIES),
        ];
        let mut start = 0;
        for (class, count) in classes {
            row[start + usize::from(class)] = 1.0;
            start += count;
        }
        row[start..].copy_from_slice(&batch.clock[token * CLOCK..][..CLOCK]);
    }
    facts
}

/// `[sequences, length, length]`: the class of the time from the second token of a pair to the first; of a pair in
/// the wrong order, the class of no time.
fn gap_classes(batch: &Batch) -> Vec<i32> {
    let mut classes = Vec::with_capacity(batch.tokens() * batch.length);
    for secs in batch.secs.chunks_exact(batch.length) {
        for &later in secs {
            classes.extend(
                secs.iter().map(|&earlier| i32::from(tokens::gap(i64::from(later) - i64::from(earlier)))),
            );
        }
    }
    classes
}

fn floats<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn ints<const D: usize>(values: Vec<i32>, shape: [usize; D], device: &Device) -> Tensor<D, Int> {
    Tensor::from_data(TensorData::new(values, shape), device)
}
