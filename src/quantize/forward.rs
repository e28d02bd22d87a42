//! One question's answer in INT8, from nothing or from what the last question left.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fearless_simd::dispatch;

use super::attention::{Heads, Memory, Queries, attend, gap_classes};
use super::float::{self, Block, Bytes, Range, Sums, Write, blocks, blocks_mut, load, room, store};
use super::kernel::{Kernel, LANES};
use super::mixture::Mixture;
use super::model::QuantizedModel;
use super::prepared::{Layer, Matrix, Prepared};
use crate::context::tokens::CLOCK;
use crate::network::{Batch, FARTHEST, TransformerConfig};

/// Tokens that are the same as last time cost nothing: a token sees only what came before it, so its keys and values
/// stay what they were. The bits of an answer do not depend on it.
#[derive(Debug, Clone, Default)]
struct KvCache {
    /// Which forward pass the memory belongs to; 0 is none.
    owner: u64,
    /// The tokens whose keys and values are kept.
    batch: Batch,
    layers: Vec<Memory>,
}

/// Weights made ready for one question at a time, in INT8.
#[derive(Debug, Clone)]
pub struct QuantizedForward {
    id: u64,
    kernel: Kernel,
    prepared: Arc<Prepared>,
}

/// Room for [`QuantizedForward::score`]. Once it has seen the longest sequence and the most candidates, nothing is
/// allocated.
#[derive(Debug, Clone, Default)]
pub struct QuantizedScratch {
    cache: KvCache,
    /// `[tokens, room]`
    classes: Vec<u8>,
    /// `[tokens, padded d_model]`: the residual stream.
    x: Vec<f32>,
    query: Vec<f32>,
    mixed: Vec<f32>,
    /// `[tokens, padded d_ff]`
    hidden: Vec<f32>,
    shares: Vec<f32>,
    bytes: Bytes,
    hidden_bytes: Bytes,
    products: Products,
    pointer: Pointer,
}

/// Room for the sums of a product.
#[derive(Debug, Clone, Default)]
struct Products {
    sums: Vec<i32>,
    /// Who looks on, while a model is calibrated.
    #[cfg(feature = "train")]
    observed: Option<Observed>,
}

/// By number of the tensor in the layout: what a matrix read.
#[cfg(feature = "train")]
pub(super) type Observed = std::collections::HashMap<usize, Inputs>;

/// What a matrix read.
#[cfg(feature = "train")]
#[derive(Debug, Clone, Default)]
pub(super) struct Inputs {
    /// Of each input, the sum of its squares.
    pub squares: Vec<f64>,
    pub rows: usize,
    /// The smallest and the largest of all.
    pub range: [f32; 2],
}

/// Room for a question's candidates.
#[derive(Debug, Clone, Default)]
struct Pointer {
    /// `[padded pointer_width]`: what all candidates have in common.
    shared: Vec<f32>,
    /// `[candidates, padded pointer_width]`
    hidden: Vec<f32>,
    mixture: Mixture,
}

impl QuantizedScratch {
    /// Forgets the tokens of the last question: the next one is answered from nothing.
    pub fn forget(&mut self) {
        self.cache.owner = 0;
    }
}

impl QuantizedForward {
    /// Prepares `model` for the fastest kernel of this machine.
    pub fn new(model: &QuantizedModel) -> Self {
        Self::with_kernel(model, Kernel::detect())
    }

    /// Prepares `model` for `kernel`. The answers are the same with any.
    pub fn with_kernel(model: &QuantizedModel, kernel: Kernel) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { id, kernel, prepared: Arc::new(Prepared::new(model)) }
    }

    /// The shape.
    pub fn config(&self) -> &TransformerConfig {
        &self.prepared.config
    }

    /// What it computes with.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// The logits of the candidates of `batch`'s only question, which its last token asks.
    ///
    /// # Shapes
    /// `batch`: one sequence, one question, as [`Batch::fits`] says; `scores`: `[batch.candidates()]`.
    pub fn score(&self, batch: &Batch, scratch: &mut QuantizedScratch, scores: &mut [f32]) {
        debug_assert!(batch.fits(self.config()), "a batch of another shape");
        debug_assert!(batch.sequences() == 1 && batch.questions() == 1, "one question of one sequence");
        self.read(batch, 1, scratch);
        if !scores.is_empty() {
            self.point(batch, scratch, scores);
        }
    }

    /// Computes what a question after the tokens of `batch` needs of them, so that it will have only itself to compute.
    ///
    /// # Shapes
    /// `batch`: at most one sequence, without a question.
    pub fn prefill(&self, batch: &Batch, scratch: &mut QuantizedScratch) {
        if batch.length > 0 {
            self.read(batch, 0, scratch);
        }
    }

    /// Reads the tokens that are new. Of the last layer, keys and values of every token, but all else only of the last
    /// `asking` ones.
    fn read(&self, batch: &Batch, asking: usize, scratch: &mut QuantizedScratch) {
        let first = scratch.cache.take_over(self, batch, batch.length - asking);
        if first == batch.length {
            return;
        }
        let heads = Heads::of(self.config());
        scratch.classes.resize((batch.length - first) * heads.room, 0);
        for (token, classes) in (first..).zip(scratch.classes.chunks_exact_mut(heads.room)) {
            gap_classes(self.kernel, &batch.secs, token, classes);
        }
        self.embed(batch, first, scratch);
        for index in 0..self.prepared.layers.len() {
            let is_last = index + 1 == self.prepared.layers.len();
            let asking = if is_last { asking } else { batch.length - first };
            self.attention(index, batch.length, asking, scratch);
            if asking > 0 {
                self.feed(&self.prepared.layers[index], scratch);
            }
        }
    }

    /// `x`, of the tokens from `first` on: the sum of their embeddings.
    fn embed(&self, batch: &Batch, first: usize, scratch: &mut QuantizedScratch) {
        let (prepared, tokens) = (&*self.prepared, first..batch.length);
        let QuantizedScratch { x, bytes, products, .. } = scratch;
        bytes.resize(tokens.len(), prepared.clock.packed.inputs());
        // Sines and cosines.
        float::quantize_by(self.kernel, &batch.clock[first * CLOCK..], CLOCK, 1.0, bytes);
        let width = prepared.clock.packed.outputs();
        x.resize(tokens.len() * width, 0.0);
        self.product(bytes, &prepared.clock, products).write(self.kernel, Write::Set, x);
        let lists = [&batch.kinds, &batch.places, &batch.gaps, &batch.networks, &batch.batteries];
        dispatch!(self.kernel.level(), simd => for (token, x) in tokens.zip(x.chunks_exact_mut(width)) {
            let app = batch.apps[token] as usize;
            let (row, scale) = (&prepared.apps.values[app * width..][..width], prepared.apps.scales[app]);
            for (x, &app) in x.iter_mut().zip(row) {
                *x += f32::from(app) * scale;
            }
            let row = |table: usize| {
                blocks(&prepared.small[table][usize::from(lists[table][token]) * width..][..width])
            };
            let [kind, place, gap, network, battery] = [row(0), row(1), row(2), row(3), row(4)];
            for (k, x) in blocks_mut(x).iter_mut().enumerate() {
                let of = |row: &[Block]| load(simd, &row[k]);
                let small = (of(kind) + of(place)) + (of(gap) + of(network)) + of(battery);
                store(load(simd, x) + small, x);
            }
        });
    }

    /// `x += attention(norm(x))`, of the last `asking` tokens; of the others, keys and values are kept.
    fn attention(&self, index: usize, length: usize, asking: usize, scratch: &mut QuantizedScratch) {
        let (kernel, layer, heads) = (self.kernel, &self.prepared.layers[index], Heads::of(self.config()));
        let QuantizedScratch { cache, x, query, mixed, bytes, products, classes, shares, .. } = scratch;
        let (memory, tokens) = (&mut cache.layers[index], x.len() / heads.width);
        let first = length - tokens;
        bytes.resize(tokens, heads.width);
        float::norm(kernel, x, &layer.attention_norm, self.config().d_model, bytes);
        let key = room(query, tokens * heads.width);
        self.product(bytes, &layer.key, products).write(kernel, Write::Set, key);
        memory.keep_keys(heads, first, key);
        self.product(bytes, &layer.value, products).write(
            kernel,
            Write::Set,
            memory.values_mut(heads, first, tokens),
        );

        if asking == 0 {
            return;
        }
        bytes.keep_last(asking);
        x.copy_within((tokens - asking) * heads.width.., 0);
        x.truncate(asking * heads.width);
        let [query, mixed] = [query, mixed].map(|list| room(list, asking * heads.width));
        self.product(bytes, &layer.query, products).write(kernel, Write::Set, query);
        let classes = &classes[(tokens - asking) * heads.room..];
        let asked = Queries { query, first: length - asking, classes, gap_bias: &layer.gap_bias };
        attend(kernel, heads, asked, memory, shares, mixed);
        float::quantize(kernel, mixed, Range::Signed, bytes);
        self.product(bytes, &layer.output, products).write(kernel, Write::Add, x);
    }

    /// `x += relu(norm(x) . feed_in + bias) . feed_out + bias`.
    fn feed(&self, layer: &Layer, scratch: &mut QuantizedScratch) {
        let kernel = self.kernel;
        let QuantizedScratch { x, hidden, bytes, hidden_bytes, products, .. } = scratch;
        let (tokens, width) = (bytes.scales.len(), layer.feed_out.packed.inputs());
        float::norm(kernel, x, &layer.feed_norm, self.config().d_model, bytes);
        let hidden = room(hidden, tokens * width);
        self.product(bytes, &layer.feed_in, products).write(
            kernel,
            Write::Rectify(&layer.feed_in_bias),
            hidden,
        );
        hidden_bytes.resize(tokens, width);
        float::quantize(kernel, hidden, Range::Positive, hidden_bytes);
        self.product(hidden_bytes, &layer.feed_out, products).write(
            kernel,
            Write::AddWithBias(&layer.feed_out_bias),
            x,
        );
    }

    /// The logits, from the last token's `x` and what the past says of each candidate.
    fn point(&self, batch: &Batch, scratch: &mut QuantizedScratch, scores: &mut [f32]) {
        let (kernel, prepared, config) = (self.kernel, &*self.prepared, self.config());
        let QuantizedScratch { x, bytes: h, hidden_bytes: bytes, pointer, products, .. } = scratch;
        let Pointer { shared, hidden, mixture } = pointer;
        float::norm(kernel, x, &prepared.final_norm, config.d_model, h);
        shared.clone_from(&prepared.pointer_bias);
        self.product(h, &prepared.pointer_hidden, products).write(kernel, Write::Add, shared);
        bytes.resize(1, prepared.pointer_question.packed.inputs());
        float::quantize_by(kernel, &batch.question_columns, config.question_columns, FARTHEST, bytes);
        self.product(bytes, &prepared.pointer_question, products).write(kernel, Write::Add, shared);

        let width = prepared.pointer_candidate.packed.outputs();
        bytes.resize(scores.len(), prepared.pointer_candidate.packed.inputs());
        float::quantize_by(kernel, &batch.candidate_columns, config.candidate_columns, FARTHEST, bytes);
        hidden.clear();
        for &app in &batch.candidate_apps {
            hidden.extend_from_slice(&prepared.app_pointer[app as usize * width..][..width]);
        }
        self.product(bytes, &prepared.pointer_candidate, products).write(
            kernel,
            Write::AddAndRectify(shared),
            hidden,
        );
        bytes.resize(scores.len(), width);
        float::quantize(kernel, hidden, Range::Positive, bytes);
        self.product(bytes, &prepared.pointer_second, products).write(
            kernel,
            Write::Rectify(&prepared.pointer_second_bias),
            hidden,
        );
        self.sum_up(batch, h, hidden, scores);
        if config.mixture > 1 {
            mixture.mix(kernel, prepared, shared, hidden, scores);
        }
    }

    /// What the classifier and the pointer say, and the app's bias.
    fn sum_up(&self, batch: &Batch, h: &Bytes, hidden: &[f32], scores: &mut [f32]) {
        let prepared = &*self.prepared;
        let (width, output) = (h.values.len(), blocks(&prepared.pointer_output));
        dispatch!(self.kernel.level(), simd => {
            let candidates = hidden.chunks_exact(output.len() * LANES).zip(&batch.candidate_apps);
            for (score, (hidden, &app)) in scores.iter_mut().zip(candidates) {
                let row = &prepared.apps.values[app as usize * width..][..width];
                let matched = float::dot_bytes(&h.values, row) as f32;
                let classified = matched * h.scales[0] * prepared.apps.scales[app as usize];
                let pointed = float::dot(simd, blocks(hidden), output);
                *score = classified + prepared.app_bias[app as usize] + pointed;
            }
        });
    }

    /// `bytes . matrix`.
    fn product<'a>(&self, bytes: &'a Bytes, matrix: &'a Matrix, products: &'a mut Products) -> Sums<'a> {
        #[cfg(feature = "train")]
        if let Some(observed) = &mut products.observed {
            observe(observed, bytes, matrix);
        }
        let sums = room(&mut products.sums, bytes.scales.len() * matrix.packed.outputs());
        self.kernel.multiply(&bytes.values, &matrix.packed, sums);
        Sums { values: sums, of_rows: &bytes.scales, of_outputs: &matrix.scales }
    }

    /// What matrices read while the questions of `batches` are answered.
    #[cfg(feature = "train")]
    pub(super) fn observe(&self, batches: &[Batch]) -> Observed {
        let mut scratch = QuantizedScratch::default();
        scratch.products.observed = Some(Observed::new());
        let mut scores = Vec::new();
        for batch in batches {
            scores.resize(batch.candidates(), 0.0);
            scratch.forget();
            self.score(batch, &mut scratch, &mut scores);
        }
        scratch.products.observed.unwrap_or_default()
    }
}

/// Adds the squares of what `bytes` stand for.
#[cfg(feature = "train")]
fn observe(observed: &mut Observed, bytes: &Bytes, matrix: &Matrix) {
    let width = matrix.packed.inputs();
    let inputs = observed.entry(matrix.tensor).or_default();
    inputs.squares.resize(width, 0.0);
    for (row, &scale) in bytes.values.chunks_exact(width).zip(&bytes.scales) {
        inputs.rows += 1;
        for (sum, &byte) in inputs.squares.iter_mut().zip(row) {
            let value = (f64::from(byte) - f64::from(matrix.read.zero())) * f64::from(scale);
            *sum += value * value;
            let [least, most] = inputs.range;
            inputs.range = [least.min(value as f32), most.max(value as f32)];
        }
    }
}

impl KvCache {
    /// Makes the memory that of `forward` and `batch`, and returns the first token that is not in it, at most `most`.
    fn take_over(&mut self, forward: &QuantizedForward, batch: &Batch, most: usize) -> usize {
        let config = forward.config();
        if self.owner != forward.id {
            self.owner = forward.id;
            self.batch.clear(0);
            self.layers.resize_with(config.layers, Memory::default);
            self.layers.iter_mut().for_each(|memory| memory.resize(Heads::of(config)));
        }
        let kept = &mut self.batch;
        let is_same = |token: usize| {
            let clock = token * CLOCK..(token + 1) * CLOCK;
            kept.apps[token] == batch.apps[token]
                && kept.secs[token] == batch.secs[token]
                && kept.kinds[token] == batch.kinds[token]
                && kept.places[token] == batch.places[token]
                && kept.gaps[token] == batch.gaps[token]
                && kept.networks[token] == batch.networks[token]
                && kept.batteries[token] == batch.batteries[token]
                && kept.clock[clock.clone()] == batch.clock[clock]
        };
        let longest = kept.tokens().min(most);
        let first = (0..longest).find(|&token| !is_same(token)).unwrap_or(longest);
        kept.clear(batch.length);
        kept.apps.extend_from_slice(&batch.apps);
        kept.secs.extend_from_slice(&batch.secs);
        kept.kinds.extend_from_slice(&batch.kinds);
        kept.places.extend_from_slice(&batch.places);
        kept.gaps.extend_from_slice(&batch.gaps);
        kept.networks.extend_from_slice(&batch.networks);
        kept.batteries.extend_from_slice(&batch.batteries);
        kept.clock.extend_from_slice(&batch.clock);
        first
    }
}

#[cfg(test)]
#[cfg(feature = "train")]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    use super::super::scheme::quantize;
    use super::*;
    use crate::context::Task;
    use crate::transformer::{ForwardScratch, InferenceEngine, Standardisation, TransformerModel, Weights};

    fn model(config: TransformerConfig) -> (QuantizedModel, InferenceEngine) {
        let weights = Weights::random(config.clone(), &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        let apps = (0..config.apps).map(|app| format!("app {app}")).collect();
        let columns = Standardisation::none(&config);
        let model = quantize(&TransformerModel { weights, apps, temperature: 1.0, columns }).unwrap();
        let plain = Weights::new(config, model.dequantized()).unwrap();
        (model, InferenceEngine::new(plain))
    }

    fn shapes() -> [TransformerConfig; 3] {
        let student = TransformerConfig::student(Task::FirstAfterUnlock, 30);
        let odd = TransformerConfig {
            layers: 1,
            d_model: 12,
            heads: 3,
            pointer_width: 7,
            mixture: 18,
            ..student.clone()
        };
        [student, odd, TransformerConfig::teacher(Task::FirstAfterUnlock, 30)]
    }

    #[test]
    fn answers_are_near_those_of_the_plain_weights() {
        for config in shapes() {
            let (model, plain) = model(config.clone());
            let forward = QuantizedForward::new(&model);
            let (mut scratch, mut plain_scratch) = (QuantizedScratch::default(), ForwardScratch::default());
            for (length, candidates) in [(config.window, 50), (1, 1), (2, 3), (17, 7), (16, 200)] {
                let batch = Batch::random_question(&config, length, candidates, 3);
                let (mut found, mut expected) = (vec![f32::NAN; candidates], vec![0.0; candidates]);
                forward.score(&batch, &mut scratch, &mut found);
                plain.score(&batch, &mut plain_scratch, &mut expected);
                let spread = expected.iter().fold(0.1_f32, |most, x| most.max(x.abs()));
                for (found, expected) in found.iter().zip(&expected) {
                    assert!(
                        (found - expected).abs() < 0.05 * spread,
                        "{length} tokens: {found}, not {expected}"
                    );
                }
            }
        }
    }

    /// The batch's first tokens, without a question.
    fn beginning(batch: &Batch, length: usize) -> Batch {
        let mut beginning = Batch { length: batch.length, ..batch.clone() };
        while beginning.length > length {
            beginning.pop_token();
        }
        beginning
    }

    #[test]
    fn what_is_remembered_changes_no_bit() {
        for config in shapes() {
            let (model, _) = model(config.clone());
            let forward = QuantizedForward::new(&model);
            let other = QuantizedForward::with_kernel(&model, Kernel::PLAIN);
            let mut scratch = QuantizedScratch::default();
            let answer = |scratch: &mut QuantizedScratch, batch: &Batch| {
                let mut scores = vec![f32::NAN; batch.candidates()];
                forward.score(batch, scratch, &mut scores);
                scores.into_iter().map(f32::to_bits).collect::<Vec<u32>>()
            };
            for (length, candidates, seed) in [(16, 5, 1), (16, 5, 2), (config.window, 30, 2), (1, 1, 2)] {
                let batch = Batch::random_question(&config, length, candidates, seed);
                let expected = answer(&mut QuantizedScratch::default(), &batch);
                assert_eq!(answer(&mut scratch, &batch), expected, "after another question");
                assert_eq!(answer(&mut scratch, &batch), expected, "after the same");
                for known in [0, 1, length / 2, length - 1] {
                    scratch.forget();
                    forward.prefill(&beginning(&batch, known), &mut scratch);
                    assert_eq!(
                        answer(&mut scratch, &batch),
                        expected,
                        "{known} of {length} tokens prefilled"
                    );
                }
                other.score(&batch, &mut scratch, &mut vec![0.0; candidates]);
                assert_eq!(answer(&mut scratch, &batch), expected, "after another model");
                let mut edited = batch.clone();
                edited.gaps[0] ^= 1;
                answer(&mut scratch, &edited);
                assert_eq!(answer(&mut scratch, &batch), expected, "after other tokens");
            }
        }
    }

    #[test]
    fn every_kernel_answers_with_the_same_bits() {
        for config in shapes() {
            let (model, _) = model(config.clone());
            for (length, candidates) in [(config.window, 50), (1, 1), (2, 3), (17, 7), (16, 200)] {
                let batch = Batch::random_question(&config, length, candidates, 3);
                let bits = |kernel| {
                    let mut scores = vec![f32::NAN; candidates];
                    let forward = QuantizedForward::with_kernel(&model, kernel);
                    forward.score(&batch, &mut QuantizedScratch::default(), &mut scores);
                    scores.into_iter().map(f32::to_bits).collect::<Vec<u32>>()
                };
                let expected = bits(Kernel::PLAIN);
                for kernel in Kernel::all() {
                    assert_eq!(bits(kernel), expected, "{}, {length} tokens", kernel.name());
                }
            }
        }
    }
}
