//! The model's passes on plain slices: forward, and backward derived by hand.
//!
//! ```text
//! linear       products of matrices, the only loops that take most of the time
//! layers       norm, bias, rectifier, softmax
//! dropout      what a training pass leaves out
//! attention    one layer's attention
//! prepared     the weights, packed for products
//! embedding -> block -> next_app, pointer -> mixture      the model, each part forward and backward
//! shard        some sequences through all of it
//! ```
//!
//! A batch is cut by sequences: into groups that are summed in order, each with a gradient of its own, and every group
//! into shards whose activations stay in a core's cache. Neither depends on the machine, so the result does not depend
//! on how many threads there are.

pub(super) mod attention;
pub(super) mod block;
pub(super) mod dropout;
pub(super) mod embedding;
pub(super) mod layers;
pub(super) mod linear;
mod mixture;
mod next_app;
pub(super) mod pointer;
pub(super) mod prepared;
mod shard;
#[cfg(test)]
mod tests;

use std::ops::Range;

use fearless_simd::Level;
use rayon::prelude::*;

use super::engine::{Engine, Losses, TrainingPass};
use super::weights::Weights;
use crate::error::Result;
use crate::network::{Batch, NO_TARGET};
use dropout::Dropout;
use linear::{Packed, Rows, RowsMut, Write, add_weight_gradient, multiply};
use prepared::{For, Prepared, PreparedModel};
use shard::{Job, LossWeights, Shard};

/// The vectors that eight numbers fill. AVX-512's would stay half empty, and a question's pass take a tenth longer
/// (`cargo bench --bench latency`, framework-free).
pub(super) fn level() -> Level {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = Level::new().as_avx2() {
        return Level::Avx2(avx2);
    }
    Level::new()
}

/// Tokens of a shard, at least one sequence. Activations and weights then stay in a cache of 1 MiB: with 128 tokens, a
/// core does a tenth less.
const SHARD_TOKENS: usize = 64;

/// Groups at most. More threads than groups stand idle; each group has a gradient to clear and to sum, which makes 16
/// of them about 3 % slower on two cores than 8.
const GROUPS: usize = 16;

/// Numbers of a gradient that one thread sums at a time.
const SUM_CHUNK: usize = 16 * 1024;

/// The engine that needs no framework: vectors of the processor, and threads of the current rayon pool.
#[derive(Debug)]
pub struct NativeEngine {
    level: Level,
    prepared: Prepared,
    /// One a group. They keep their room from batch to batch.
    shards: Vec<Shard>,
    packed: Packed,
}

impl Default for NativeEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl NativeEngine {
    /// An engine for weights of any shape.
    pub fn new() -> Self {
        Self { level: level(), prepared: Prepared::default(), shards: Vec::new(), packed: Packed::default() }
    }

    /// Prepares `weights`, and as many shards as `batch` has groups.
    fn begin(&mut self, weights: &Weights, batch: &Batch, purpose: For) -> Result<Vec<u32>> {
        batch.check(weights.config())?;
        self.prepared.prepare(self.level, weights, purpose);
        let groups = groups(batch);
        if self.shards.len() < groups {
            self.shards.resize_with(groups, Shard::default);
        }
        let mut questions: Vec<u32> = (0..batch.questions() as u32).collect();
        questions.sort_by_key(|&question| batch.question_tokens[question as usize]);
        Ok(questions)
    }

    /// What `app_pointer = app_embedding . pointer_app` hands on to its factors.
    fn add_app_pointer_gradient(&mut self, weights: &Weights, d_app_pointer: &[f32], gradient: &mut [f32]) {
        let (config, layout) = (weights.config(), weights.layout());
        let (d, p, apps) = (config.d_model, config.pointer_width, config.apps + 1);
        let embedding = &weights.values[layout.app_embedding.clone()][..apps * d];
        let by_pointer_app = &mut gradient[layout.pointer_app.clone()];
        add_weight_gradient(self.level, apps, embedding, d_app_pointer, by_pointer_app, &mut self.packed);
        let out = RowsMut::new(&mut gradient[layout.app_embedding.clone()], d);
        let matrix = &self.prepared.pointer_app.backward;
        multiply(self.level, apps, Rows::new(d_app_pointer, p), matrix, out, Write::Add);
    }
}

impl Engine for NativeEngine {
    fn name(&self) -> String {
        "cpu".to_owned()
    }

    fn gradient(
        &mut self,
        weights: &Weights,
        batch: &Batch,
        pass: TrainingPass,
        gradient: &mut [f32],
    ) -> Result<Losses> {
        let questions = self.begin(weights, batch, For::Training)?;
        let next_tokens = batch.next_apps.iter().filter(|&&app| app != NO_TARGET).count();
        let loss_weights = LossWeights::new(batch, pass, next_tokens);
        let model = PreparedModel { level: self.level, weights, prepared: &self.prepared };
        let dropout = Dropout::new(pass.dropout, pass.seed);
        let job = Job { model, batch, questions: &questions, dropout };
        let app_pointer = self.prepared.app_pointer.len();
        let groups = groups(batch);

        let of_groups: Vec<Losses> = self.shards[..groups]
            .par_iter_mut()
            .enumerate()
            .map(|(group, shard)| {
                shard.gradient.clear();
                shard.gradient.resize(gradient.len(), 0.0);
                shard.d_app_pointer.clear();
                shard.d_app_pointer.resize(app_pointer, 0.0);
                let mut losses = Losses::default();
                for sequences in shards(batch, group) {
                    losses += shard.learn(job, sequences, loss_weights);
                }
                losses
            })
            .collect();
        let mut losses = Losses::default();
        of_groups.into_iter().for_each(|of_group| losses += of_group);

        let shards = &self.shards[..groups];
        gradient.par_chunks_mut(SUM_CHUNK).enumerate().for_each(|(chunk, to)| {
            to.fill(0.0);
            for shard in shards {
                let from = &shard.gradient[chunk * SUM_CHUNK..][..to.len()];
                layers::add(model.level, to, from);
            }
        });
        let mut d_app_pointer = vec![0.0; app_pointer];
        for shard in shards {
            layers::add(model.level, &mut d_app_pointer, &shard.d_app_pointer);
        }
        self.add_app_pointer_gradient(weights, &d_app_pointer, gradient);
        Ok(losses)
    }

    fn logits(&mut self, weights: &Weights, batch: &Batch) -> Result<Vec<f32>> {
        let questions = self.begin(weights, batch, For::Inference)?;
        let model = PreparedModel { level: self.level, weights, prepared: &self.prepared };
        let job = Job { model, batch, questions: &questions, dropout: Dropout::none() };
        let of_groups: Vec<Vec<f32>> = self.shards[..groups(batch)]
            .par_iter_mut()
            .enumerate()
            .map(|(group, shard)| {
                let mut logits = Vec::new();
                for sequences in shards(batch, group) {
                    shard.logits(job, sequences, &mut logits);
                }
                logits
            })
            .collect();
        // In the order of the questions' tokens; back to the batch's own.
        let by_token = of_groups.concat();
        let mut logits = vec![0.0; batch.candidates()];
        let mut from = 0;
        for &question in &questions {
            let (start, end) =
                (batch.offsets[question as usize] as usize, batch.offsets[question as usize + 1] as usize);
            logits[start..end].copy_from_slice(&by_token[from..][..end - start]);
            from += end - start;
        }
        Ok(logits)
    }
}

/// Sequences of a shard.
fn per_shard(batch: &Batch) -> usize {
    (SHARD_TOKENS / batch.length).max(1)
}

/// How many groups `batch` is cut into.
fn groups(batch: &Batch) -> usize {
    batch.sequences().div_ceil(per_shard(batch)).min(GROUPS)
}

/// The sequences of each shard of `group`.
fn shards(batch: &Batch, group: usize) -> impl Iterator<Item = Range<usize>> {
    let (sequences, groups, step) = (batch.sequences(), groups(batch), per_shard(batch));
    let (start, end) = (sequences * group / groups, sequences * (group + 1) / groups);
    (start..end).step_by(step).map(move |first| first..end.min(first + step))
}
