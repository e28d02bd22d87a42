//! Some whole sequences of a batch, forward and backward.

use std::ops::Range;

use super::super::engine::{Losses, TrainingPass};
use super::attention::{Shape, gap_classes};
use super::block::{Block, BlockScratch, Run};
use super::dropout::{Dropout, Site};
use super::embedding::{embed, embed_backward};
use super::layers::{Normed, rms_norm, rms_norm_backward};
use super::linear::Packed;
use super::next_app::{NextApp, NextAppGradient};
use super::pointer::{Pointer, PointerGradient, Question};
use super::prepared::PreparedModel;
use crate::network::Batch;

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub(in crate::transformer) struct Job<'a> {
    pub model: PreparedModel<'a>,
    pub batch: &'a Batch,
    /// The batch's questions, by their tokens.
    pub questions: &'a [u32],
    pub dropout: Dropout,
}

impl<'a> Job<'a> {
    /// The questions of `tokens`.
    fn questions_of(&self, tokens: &Range<usize>) -> &'a [u32] {
        let at = |token: usize| {
            self.questions
                .partition_point(|&question| (self.batch.question_tokens[question as usize] as usize) < token)
        };
        &self.questions[at(tokens.start)..at(tokens.end)]
    }

    fn shape(&self) -> Shape {
        let config = self.model.config();
        Shape { length: self.batch.length, heads: config.heads, d_head: config.d_head() }
    }
}

/// What each loss of a batch counts for: one over how many there are.
#[derive(Debug, Clone, Copy)]
pub(in crate::transformer) struct LossWeights {
    pub question: f32,
    pub next: f32,
}

impl LossWeights {
    /// Of `batch`, as [`Engine::gradient`](super::super::engine::Engine::gradient) says.
    pub fn new(batch: &Batch, pass: TrainingPass, next_tokens: usize) -> Self {
        Self {
            question: 1.0 / batch.questions().max(1) as f32,
            next: pass.next_weight / next_tokens.max(1) as f32,
        }
    }
}

/// Room for one shard, and the gradient of all that were computed in it.
#[derive(Debug, Clone, Default)]
pub(in crate::transformer) struct Shard {
    blocks: Vec<Block>,
    /// `[sequences, length, length]`
    classes: Vec<u8>,
    /// `[tokens, d_model]`: what the last layer returned, and that normed.
    last: Vec<f32>,
    inverses: Vec<f32>,
    h: Vec<f32>,
    d_h: Vec<f32>,
    /// `[tokens, d_model]`: the gradient by the residual stream.
    d_x: Vec<f32>,
    next_app: NextApp,
    pointer: Pointer,
    scratch: BlockScratch,
    packed: Packed,
    /// In the weights' layout.
    pub gradient: Vec<f32>,
    /// `[apps + 1, pointer_width]`: by `Prepared::app_pointer`.
    pub d_app_pointer: Vec<f32>,
}

impl Shard {
    /// Computes `h` of all tokens of `sequences`.
    fn forward(&mut self, job: Job<'_>, sequences: &Range<usize>) -> Range<usize> {
        let Job { model, batch, dropout, .. } = job;
        let length = batch.length;
        let tokens = sequences.start * length..sequences.end * length;
        let d = model.config().d_model;
        self.classes.resize(tokens.len() * length, 0);
        let secs = batch.secs[tokens.clone()].chunks_exact(length);
        for (secs, classes) in secs.zip(self.classes.chunks_exact_mut(length * length)) {
            gap_classes(secs, classes);
        }
        self.blocks.resize_with(model.config().layers, Block::default);
        for list in [&mut self.last, &mut self.h] {
            list.resize(tokens.len() * d, 0.0);
        }
        self.inverses.resize(tokens.len(), 0.0);

        let run = Run {
            model,
            shape: job.shape(),
            first: tokens.start,
            tokens: tokens.len(),
            classes: &self.classes,
            dropout,
        };
        self.blocks.iter_mut().for_each(|block| block.shape(&run));
        if let Some(first) = self.blocks.first_mut() {
            embed(model, batch, tokens.clone(), &mut first.input);
            dropout.apply(model.level, Site::Embedding, tokens.start, d, &mut first.input);
        }
        for index in 0..self.blocks.len() {
            let (before, after) = self.blocks.split_at_mut(index + 1);
            let output = after.first_mut().map_or(&mut self.last, |next| &mut next.input);
            before[index].forward(&run, index, output, &mut self.packed);
        }
        let gain = model.tensor(&model.layout().final_norm);
        rms_norm(model.level, &self.last, gain, &mut self.h, &mut self.inverses);
        tokens
    }

    /// Adds the gradients of `sequences` to `gradient` and `d_app_pointer`, and returns their losses.
    pub fn learn(&mut self, job: Job<'_>, sequences: Range<usize>, weights: LossWeights) -> Losses {
        let Job { model, batch, dropout, .. } = job;
        let (d, layout) = (model.config().d_model, model.layout());
        let tokens = self.forward(job, &sequences);
        let Self { blocks, classes, last, inverses, h, d_h, d_x, .. } = self;
        for list in [&mut *d_h, &mut *d_x] {
            list.clear();
            list.resize(tokens.len() * d, 0.0);
        }

        let mut losses = Losses::default();
        for &index in job.questions_of(&tokens) {
            let index = index as usize;
            let row = (batch.question_tokens[index] as usize - tokens.start) * d;
            let to = PointerGradient {
                h: &mut d_h[row..][..d],
                weights: &mut self.gradient,
                app_pointer: &mut self.d_app_pointer,
            };
            let question = Question { model, batch, index, h: &h[row..][..d] };
            losses.question += self.pointer.learn(question, weights.question, to);
            losses.questions += 1;
        }
        let to = NextAppGradient { h: d_h, weights: &mut self.gradient };
        let (loss, count) = self.next_app.learn(model, batch, tokens.clone(), weights.next, h, to);
        losses.next += loss;
        losses.next_tokens += count;

        let norm = Normed { x: last, gain: model.tensor(&layout.final_norm), inverses };
        rms_norm_backward(model.level, norm, d_h, d_x, &mut self.gradient[layout.final_norm.clone()]);
        let run =
            Run { model, shape: job.shape(), first: tokens.start, tokens: tokens.len(), classes, dropout };
        for (index, block) in blocks.iter().enumerate().rev() {
            block.backward(&run, index, d_x, &mut self.gradient, &mut self.scratch);
        }
        dropout.apply(model.level, Site::Embedding, tokens.start, d, d_x);
        embed_backward(model, batch, tokens, d_x, &mut self.packed, &mut self.gradient);
        losses
    }

    /// Appends the candidates' logits of each question of `sequences`, in the order of the questions' tokens.
    pub fn logits(&mut self, job: Job<'_>, sequences: Range<usize>, logits: &mut Vec<f32>) {
        let d = job.model.config().d_model;
        let tokens = self.forward(job, &sequences);
        for &index in job.questions_of(&tokens) {
            let index = index as usize;
            let row = (job.batch.question_tokens[index] as usize - tokens.start) * d;
            let question = Question { model: job.model, batch: job.batch, index, h: &self.h[row..][..d] };
            let start = logits.len();
            logits.resize(start + question.candidates().len(), 0.0);
            self.pointer.forward(question, &mut logits[start..]);
        }
    }
}
