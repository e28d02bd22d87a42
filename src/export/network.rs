//! The transformer's formulas (`src/network/layout.rs`), described once for every writer of graphs: [`describe`] calls a
//! [`Writer`] operation by operation. What an operation is called, and in which numbers it is computed, is the writer's.
//!
//! Sizes in comments: B questions, T tokens, C candidates, d = `d_model`, H heads, G classes of a time gap,
//! V = apps + 2 rows of the embedding, p = `pointer_width`, M = `mixture`.

use std::borrow::Cow;
use std::ops::Range;

use super::question::{
    CANDIDATE_APPS, CANDIDATE_COLUMNS, CLOCK, Dim, FACTS, GAP_CLASSES, Input, QUESTION_COLUMNS, TOKENS,
};
use crate::context::tokens::GAPS;
use crate::network::{FARTHEST, LayerLayout, TransformerConfig, WeightLayout, transposed};
use crate::quantize::QuantizedModel;
use crate::transformer::TransformerModel;

/// Added to the score of what must not be seen. Half precision holds it, and nothing that a network scores comes near.
pub(super) const HIDDEN: f32 = -3e4;

/// The embedding as a matrix that hidden states are multiplied by.
pub(super) const APPS: &str = "app_embedding_transposed";

/// What a matrix multiplies: whoever rounds it wants to know how far it reaches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reads {
    /// Numbers on both sides of zero.
    Signed,
    /// None below zero.
    Positive,
    /// None farther from zero than this.
    Within(f32),
}

/// Integers that stand for a tensor's: signed bytes, and what a step of each line is worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Steps {
    /// `[rows, columns]`
    pub values: Vec<i8>,
    /// `[columns]` of a matrix, `[rows]` of a table.
    pub scales: Vec<f32>,
}

/// Numbers that vectors are multiplied by, `[inputs, outputs]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// As in a weights file.
    pub name: String,
    pub inputs: usize,
    pub outputs: usize,
    pub values: Vec<f32>,
    /// The same in INT8, where the model has them.
    pub steps: Option<Steps>,
    pub reads: Reads,
}

/// Rows to look up, `[rows, width]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub name: String,
    pub rows: usize,
    pub width: usize,
    pub values: Vec<f32>,
    /// The same in INT8, where the model has them.
    pub steps: Option<Steps>,
}

/// Whoever writes a graph.
pub trait Writer {
    /// What a node computes.
    type Value: Clone;

    /// An input of the graph.
    fn input(&mut self, input: &Input) -> Self::Value;
    /// Integers with `by` added, one for each of the last size.
    fn shift(&mut self, ids: &Self::Value, by: &[i32]) -> Self::Value;
    /// For each whole number its row: one more size, the table's width, at the end.
    fn lookup(&mut self, table: &Table, ids: &Self::Value) -> Self::Value;
    /// `[.., inputs]` times the matrix: `[.., outputs]`.
    fn product(&mut self, x: &Self::Value, matrix: &Matrix) -> Self::Value;
    /// `[.., m, k]` times `[.., k, n]`.
    fn matmul(&mut self, a: &Self::Value, b: &Self::Value) -> Self::Value;
    /// Sizes that differ are 1 on one side, or missing in front.
    fn add(&mut self, a: &Self::Value, b: &Self::Value) -> Self::Value;
    /// The same with a vector for the last size.
    fn add_vector(&mut self, x: &Self::Value, name: &str, vector: &[f32]) -> Self::Value;
    /// `x / sqrt(mean(x^2) + epsilon) * gain`, over the last size.
    fn rms_norm(&mut self, x: &Self::Value, name: &str, gain: &[f32]) -> Self::Value;
    /// What is below zero becomes zero.
    fn relu(&mut self, x: &Self::Value) -> Self::Value;
    /// Over the last size.
    fn softmax(&mut self, x: &Self::Value) -> Self::Value;
    /// Its logarithm, also where nothing is left of it: of what is hidden it stays as far below.
    fn log_softmax(&mut self, x: &Self::Value) -> Self::Value;
    /// Sums over the size at `axis`, which goes.
    fn sum(&mut self, x: &Self::Value, axis: usize) -> Self::Value;
    /// The last of the size at 1, which stays as 1.
    fn last(&mut self, x: &Self::Value) -> Self::Value;
    /// Other sizes for the same numbers. One that is not [`Dim::Fixed`] is that of `x`, at the same place.
    fn reshape(&mut self, x: &Self::Value, dims: &[Dim]) -> Self::Value;
    /// Size `k` becomes what size `order[k]` was.
    fn transpose(&mut self, x: &Self::Value, order: &[usize]) -> Self::Value;
    /// `[B, n]` at `ids` `[B, C]`: `[B, C]`.
    fn pick(&mut self, x: &Self::Value, ids: &Self::Value) -> Self::Value;
    /// For each pair of tokens `[B, T, T]` its row of the table, `[B, H, T, T]`.
    fn pair_bias(&mut self, table: &Table, pairs: &Self::Value) -> Self::Value {
        let bias = self.lookup(table, pairs); // [B, T, T, H]
        self.transpose(&bias, &[0, 3, 1, 2])
    }
    /// `x` times a number.
    fn scale(&mut self, x: &Self::Value, by: f32) -> Self::Value;
}

/// A transformer to be described: its shape and its numbers.
pub struct Network<'a> {
    config: &'a TransformerConfig,
    layout: &'a WeightLayout,
    plain: Cow<'a, [f32]>,
    whole: Option<&'a QuantizedModel>,
    /// What logits are divided by to become probabilities.
    temperature: f64,
}

impl<'a> Network<'a> {
    /// In plain numbers.
    pub fn plain(model: &'a TransformerModel) -> Self {
        let weights = &model.weights;
        Self {
            config: weights.config(),
            layout: weights.layout(),
            plain: Cow::Borrowed(&weights.values),
            whole: None,
            temperature: model.temperature,
        }
    }

    /// In INT8, and the plain ones that they stand for.
    pub fn whole(model: &'a QuantizedModel) -> Self {
        Self {
            config: model.config(),
            layout: model.layout(),
            plain: Cow::Owned(model.dequantized()),
            whole: Some(model),
            temperature: model.temperature,
        }
    }

    pub fn config(&self) -> &'a TransformerConfig {
        self.config
    }

    fn numbers(&self, range: &Range<usize>) -> &[f32] {
        &self.plain[range.clone()]
    }

    /// Name, sizes and steps of the tensor at `range`.
    fn tensor(&self, range: &Range<usize>) -> (String, [usize; 2], Option<Steps>) {
        let spec = self.layout.spec(range);
        let steps = |model: &QuantizedModel| {
            let (_, tensor) = model.tensor(range);
            Steps { values: tensor.values.clone(), scales: tensor.scales.clone() }
        };
        let steps = self.whole.map(steps);
        let columns = spec.shape.last().copied().unwrap_or(1);
        (spec.name.clone(), [spec.range.len() / columns, columns], steps)
    }

    fn matrix(&self, range: &Range<usize>, reads: Reads) -> Matrix {
        let (name, [inputs, outputs], steps) = self.tensor(range);
        Matrix { name, inputs, outputs, values: self.numbers(range).to_vec(), steps, reads }
    }

    /// The query's matrix, which divides by the root of a head's width, too.
    fn query(&self, layer: &LayerLayout) -> Matrix {
        let mut query = self.matrix(&layer.query, Reads::Signed);
        let root = (self.config.d_head() as f32).sqrt();
        let scales = query.steps.iter_mut().flat_map(|steps| &mut steps.scales);
        query.values.iter_mut().chain(scales).for_each(|number| *number /= root);
        query
    }

    /// All that a token may be, one table below the other, and where each begins.
    fn facts(&self) -> (Table, [i32; FACTS]) {
        let at = self.layout;
        let tables = [
            &at.app_embedding,
            &at.kind_embedding,
            &at.place_embedding,
            &at.gap_embedding,
            &at.network_embedding,
            &at.battery_embedding,
        ];
        let (mut all, mut starts) = (Table::empty("token_embedding", self.config.d_model), [0; FACTS]);
        for (start, range) in starts.iter_mut().zip(tables) {
            *start = all.rows as i32;
            let (_, [rows, _], steps) = self.tensor(range);
            all.rows += rows;
            all.values.extend_from_slice(self.numbers(range));
            match (&mut all.steps, steps) {
                (Some(all), Some(steps)) => {
                    all.values.extend(steps.values);
                    all.scales.extend(steps.scales);
                }
                (none, steps) => *none = steps,
            }
        }
        (all, starts)
    }

    /// What the hidden state is compared with: each app's row of the embedding, as a column; of no app, zeros.
    fn apps(&self) -> Matrix {
        let (_, [rows, width], steps) = self.tensor(&self.layout.app_embedding);
        let mut values = transposed(self.numbers(&self.layout.app_embedding), width);
        values.iter_mut().skip(rows - 1).step_by(rows).for_each(|value| *value = 0.0);
        let steps = steps.map(|mut steps| {
            steps.values = transposed(&steps.values, width);
            steps.values.iter_mut().skip(rows - 1).step_by(rows).for_each(|value| *value = 0);
            steps
        });
        let name = APPS.to_owned();
        Matrix { name, inputs: width, outputs: rows, values, steps, reads: Reads::Signed }
    }

    /// `app_embedding . pointer_app`, since neither changes; of no app, zeros.
    fn app_pointer(&self) -> Table {
        let (d, p) = (self.config.d_model, self.config.pointer_width);
        let matrix = self.numbers(&self.layout.pointer_app);
        let mut table = Table::empty("app_pointer", p);
        let apps = self.numbers(&self.layout.app_embedding);
        for row in apps.chunks_exact(d).take(self.config.apps + 1) {
            let sum = |out: usize| -> f64 {
                row.iter()
                    .zip(matrix[out..].iter().step_by(p))
                    .map(|(a, b)| f64::from(*a) * f64::from(*b))
                    .sum()
            };
            table.values.extend((0..p).map(|out| sum(out) as f32));
        }
        table.values.extend(std::iter::repeat_n(0.0, p));
        table.rows = self.config.apps + 2;
        table
    }

    /// The pointer's last rows, a column for each softmax; plain numbers everywhere.
    fn outputs(&self) -> Matrix {
        let (first, mixture) = (self.numbers(&self.layout.pointer_output), self.config.mixture);
        let mut values = first.to_vec();
        if mixture > 1 {
            let others = self.numbers(&self.layout.pointer_mixture).chunks_exact(mixture - 1);
            let row = |(&first, others): (&f32, &[f32])| {
                std::iter::once(first)
                    .chain(others.iter().map(move |other| first + other))
                    .collect::<Vec<f32>>()
            };
            values = first.iter().zip(others).flat_map(row).collect();
        }
        let (name, inputs) = ("pointer_output".to_owned(), first.len());
        Matrix { name, inputs, outputs: mixture, values, steps: None, reads: Reads::Positive }
    }

    /// What weighs the softmaxes of a mixture; plain numbers everywhere.
    fn gate(&self) -> Matrix {
        Matrix { steps: None, ..self.matrix(&self.layout.pointer_gate, Reads::Positive) }
    }

    /// What picks the first of as many numbers as there are softmaxes.
    fn first(&self) -> Matrix {
        let inputs = self.config.mixture;
        let values = (0..inputs).map(|k| if k == 0 { 1.0 } else { 0.0 }).collect();
        Matrix { name: "first".to_owned(), inputs, outputs: 1, values, steps: None, reads: Reads::Signed }
    }

    /// A row a class of gaps, what each head thinks of it; the last class is that of pairs that must not see each other.
    fn gap_bias(&self, layer: &LayerLayout) -> Table {
        let (name, [heads, classes], _) = self.tensor(&layer.gap_bias);
        let mut values = transposed(self.numbers(&layer.gap_bias), classes);
        values.extend(std::iter::repeat_n(HIDDEN, heads));
        Table { name, rows: GAPS + 1, width: heads, values, steps: None }
    }
}

impl Table {
    fn empty(name: &str, width: usize) -> Self {
        Self { name: name.to_owned(), rows: 0, width, values: Vec::new(), steps: None }
    }
}

/// What [`describe`] leaves.
pub struct Described<V> {
    /// `[B, C]`
    pub logits: V,
    /// `[B, C]`: a softmax of the logits, divided by the model's temperature.
    pub probabilities: V,
}

/// Tells `writer` a question's logits and probabilities. Of the last layer, keys and values of every token, but all else
/// of the last one only.
pub fn describe<W: Writer>(network: &Network<'_>, writer: &mut W) -> Described<W::Value> {
    let logits = logits(network, writer);
    let scaled = writer.scale(&logits, (1.0 / network.temperature) as f32);
    let probabilities = writer.softmax(&scaled);
    Described { logits, probabilities }
}

/// Tells `writer` a question's logits alone.
pub fn logits<W: Writer>(network: &Network<'_>, w: &mut W) -> W::Value {
    let config = network.config;
    let tokens = w.input(&TOKENS);
    let (facts, starts) = network.facts();
    let rows = w.shift(&tokens, &starts);
    let rows = w.lookup(&facts, &rows); // [B, T, FACTS, d]
    let facts = w.sum(&rows, 2); // [B, T, d]
    let clock = w.input(&CLOCK);
    let clock = w.product(&clock, &network.matrix(&network.layout.clock_projection, Reads::Within(1.0)));
    let mut x = w.add(&facts, &clock);
    let mut classes = w.input(&GAP_CLASSES); // [B, T, T]
    for (index, layer) in network.layout.layers.iter().enumerate() {
        if index + 1 == config.layers {
            classes = w.last(&classes);
        }
        x = attention(network, layer, index + 1 == config.layers, w, &x, &classes);
        x = feed(network, layer, w, &x);
    }
    let h = w.rms_norm(&x, "final_norm", network.numbers(&network.layout.final_norm)); // [B, 1, d]
    candidates(network, w, &h)
}

fn attention<W: Writer>(
    network: &Network<'_>,
    layer: &LayerLayout,
    is_last: bool,
    w: &mut W,
    x: &W::Value,
    classes: &W::Value,
) -> W::Value {
    let config = network.config;
    let (heads, width) = (config.heads, config.d_head());
    let gain = &network.layout.spec(&layer.attention_norm).name;
    let mut a = w.rms_norm(x, gain, network.numbers(&layer.attention_norm));
    let key = w.product(&a, &network.matrix(&layer.key, Reads::Signed));
    let value = w.product(&a, &network.matrix(&layer.value, Reads::Signed));
    let (mut x, mut asking) = (x.clone(), Dim::Tokens);
    if is_last {
        (x, a, asking) = (w.last(&x), w.last(&a), Dim::Fixed(1));
    }
    let query = w.product(&a, &network.query(layer));
    let mut apart = |rows: &W::Value, tokens: Dim, order: [usize; 4]| {
        let rows = w.reshape(rows, &[Dim::Batch, tokens, Dim::Fixed(heads), Dim::Fixed(width)]);
        w.transpose(&rows, &order)
    };
    let query = apart(&query, asking, [0, 2, 1, 3]); // [B, H, T, d / H]
    let key = apart(&key, Dim::Tokens, [0, 2, 3, 1]); // [B, H, d / H, T]
    let value = apart(&value, Dim::Tokens, [0, 2, 1, 3]); // [B, H, T, d / H]
    let bias = w.pair_bias(&network.gap_bias(layer), classes);
    let scores = w.matmul(&query, &key);
    let scores = w.add(&scores, &bias); // [B, H, T, T]
    let shares = w.softmax(&scores);
    let mixed = w.matmul(&shares, &value); // [B, H, T, d / H]
    let mixed = w.transpose(&mixed, &[0, 2, 1, 3]);
    let mixed = w.reshape(&mixed, &[Dim::Batch, asking, Dim::Fixed(config.d_model)]);
    let mixed = w.product(&mixed, &network.matrix(&layer.output, Reads::Signed));
    w.add(&x, &mixed)
}

fn feed<W: Writer>(network: &Network<'_>, layer: &LayerLayout, w: &mut W, x: &W::Value) -> W::Value {
    let name = |range: &Range<usize>| &*network.layout.spec(range).name;
    let f = w.rms_norm(x, name(&layer.feed_norm), network.numbers(&layer.feed_norm));
    let wide = w.product(&f, &network.matrix(&layer.feed_in, Reads::Signed));
    let wide = w.add_vector(&wide, name(&layer.feed_in_bias), network.numbers(&layer.feed_in_bias));
    let wide = w.relu(&wide);
    let narrow = w.product(&wide, &network.matrix(&layer.feed_out, Reads::Positive));
    let narrow = w.add_vector(&narrow, name(&layer.feed_out_bias), network.numbers(&layer.feed_out_bias));
    w.add(x, &narrow)
}

/// The logits of the candidates: what the classifier says of an app's name, and the pointer of what the past says of it.
fn candidates<W: Writer>(network: &Network<'_>, w: &mut W, h: &W::Value) -> W::Value {
    let (config, at) = (network.config, network.layout);
    let apps = w.input(&CANDIDATE_APPS);
    let named = w.product(h, &network.apps());
    let mut bias = network.numbers(&at.app_bias).to_vec();
    bias.push(HIDDEN); // no app: a place without a candidate
    let named = w.add_vector(&named, "app_bias", &bias);
    let named = w.reshape(&named, &[Dim::Batch, Dim::Fixed(config.apps + 2)]);
    let named = w.pick(&named, &apps); // [B, C]

    let question = w.input(&Input { width: Some(config.question_columns), ..QUESTION_COLUMNS });
    let far = Reads::Within(FARTHEST);
    let question = w.product(&question, &network.matrix(&at.pointer_question, far));
    let question = w.reshape(&question, &[Dim::Batch, Dim::Fixed(1), Dim::Fixed(config.pointer_width)]);
    let hidden = w.product(h, &network.matrix(&at.pointer_hidden, Reads::Signed));
    let asked = w.add(&question, &hidden);
    let asked = w.add_vector(&asked, "pointer_bias", network.numbers(&at.pointer_bias)); // [B, 1, p]
    let columns = w.input(&Input { width: Some(config.candidate_columns), ..CANDIDATE_COLUMNS });
    let columns = w.product(&columns, &network.matrix(&at.pointer_candidate, far)); // [B, C, p]
    let of_app = w.lookup(&network.app_pointer(), &apps);
    let u = w.add(&columns, &of_app);
    let u = w.add(&u, &asked);
    let u = w.relu(&u);
    let u = w.product(&u, &network.matrix(&at.pointer_second, Reads::Positive));
    let u = w.add_vector(&u, "pointer_second_bias", network.numbers(&at.pointer_second_bias));
    let u = w.relu(&u);
    let pointed = w.product(&u, &network.outputs()); // [B, C, M]
    if config.mixture > 1 {
        return mixed(network, w, &named, &pointed, &asked);
    }
    let pointed = w.reshape(&pointed, &[Dim::Batch, Dim::Candidates]);
    w.add(&named, &pointed)
}

/// The logits of several softmaxes, mixed.
fn mixed<W: Writer>(
    network: &Network<'_>,
    w: &mut W,
    named: &W::Value,
    pointed: &W::Value,
    asked: &W::Value,
) -> W::Value {
    let named = w.reshape(named, &[Dim::Batch, Dim::Candidates, Dim::Fixed(1)]);
    let z = w.add(&named, pointed); // [B, C, M]
    let z = w.transpose(&z, &[0, 2, 1]);
    let shares = w.log_softmax(&z);
    let shares = w.transpose(&shares, &[0, 2, 1]); // [B, C, M]
    let asked = w.relu(asked);
    let gates = w.product(&asked, &network.gate());
    let bias = network.numbers(&network.layout.pointer_gate_bias);
    let gates = w.add_vector(&gates, "pointer_gate_bias", bias);
    let gates = w.log_softmax(&gates); // [B, 1, M]
    let parts = w.add(&shares, &gates);
    // The logarithm of their sum is what a log softmax takes away, of any of them.
    let left = w.log_softmax(&parts);
    let left = w.scale(&left, -1.0);
    let sums = w.add(&parts, &left); // [B, C, M], M times the same
    let sum = w.product(&sums, &network.first());
    w.reshape(&sum, &[Dim::Batch, Dim::Candidates])
}
