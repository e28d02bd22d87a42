//! Causal attention with a bias by time gap, each sequence and head by itself.

use fearless_simd::{Level, Simd, dispatch};

use super::layers::{dot_row, softmax_row};
use super::linear::{Packed, Rows, RowsMut, Write, multiply, multiply_transposed};
use crate::context::tokens::{GAPS, gap};

/// The class of a pair whose second token comes later: none may look ahead.
const AHEAD: u8 = GAPS as u8;

/// Entries of a bias table: a power of two, so that an index needs no check.
const TABLE: usize = 64;
const _: () = assert!(GAPS < TABLE);

/// How a batch is cut for attention.
#[derive(Debug, Clone, Copy)]
pub(in crate::transformer) struct Shape {
    /// Tokens a sequence.
    pub length: usize,
    pub heads: usize,
    pub d_head: usize,
}

impl Shape {
    fn d_model(self) -> usize {
        self.heads * self.d_head
    }

    fn scale(self) -> f32 {
        1.0 / (self.d_head as f32).sqrt()
    }

    /// Numbers of one sequence and head in `shares`.
    fn square(self) -> usize {
        self.length * self.length
    }
}

/// Writes the class of the time between every two tokens of a sequence.
///
/// # Shapes
/// `secs`: `[length]`, ascending; `classes`: `[length, length]`, from the later to the earlier token.
pub(in crate::transformer) fn gap_classes(secs: &[u32], classes: &mut [u8]) {
    for (index, (row, &now)) in classes.chunks_exact_mut(secs.len()).zip(secs).enumerate() {
        let (past, ahead) = row.split_at_mut(index + 1);
        for (class, &then) in past.iter_mut().zip(secs) {
            *class = gap(i64::from(now) - i64::from(then));
        }
        ahead.fill(AHEAD);
    }
}

/// What attention reads, and what its backward pass reads again.
#[derive(Debug, Clone, Default)]
pub(in crate::transformer) struct Attention {
    /// `[tokens, d_model]`, heads side by side.
    pub query: Vec<f32>,
    pub key: Vec<f32>,
    pub value: Vec<f32>,
    /// `[sequences, heads, length, length]`: how much of each earlier token a token takes.
    pub shares: Vec<f32>,
    /// `[tokens, d_model]`: the values, mixed by `shares`.
    pub mixed: Vec<f32>,
}

impl Attention {
    /// Makes room for `tokens`.
    pub fn shape(&mut self, shape: Shape, tokens: usize) {
        for list in [&mut self.query, &mut self.key, &mut self.value, &mut self.mixed] {
            list.resize(tokens * shape.d_model(), 0.0);
        }
        self.shares.resize(tokens * shape.heads * shape.length, 0.0);
    }

    /// From `query`, `key` and `value` to `shares` and `mixed`.
    ///
    /// # Shapes
    /// `classes`: `[sequences, length, length]`; `gap_bias`: `[heads, GAPS]`.
    pub fn forward(
        &mut self,
        level: Level,
        shape: Shape,
        classes: &[u8],
        gap_bias: &[f32],
        packed: &mut Packed,
    ) {
        let Shape { length, heads, d_head } = shape;
        let d = shape.d_model();
        for (sequence, classes) in classes.chunks_exact(shape.square()).enumerate() {
            for head in 0..heads {
                let start = sequence * length * d + head * d_head;
                let rows = |values| Rows::new(values, d);
                let scores = &mut self.shares[(sequence * heads + head) * shape.square()..][..shape.square()];
                packed.pack_transposed(rows(&self.key[start..]), d_head, length);
                let out = RowsMut::new(scores, length);
                multiply(level, length, rows(&self.query[start..]), packed, out, Write::Set);
                let table = bias_table(&gap_bias[head * GAPS..][..GAPS]);
                dispatch!(level, simd => softmax_scores(simd, scores, classes, &table, shape));
                packed.pack(rows(&self.value[start..]), length, d_head);
                let out = RowsMut::new(&mut self.mixed[start..], d);
                multiply(level, length, Rows::new(scores, length), packed, out, Write::Set);
            }
        }
    }
}

/// One head's biases, and one that leaves nothing of what lies ahead.
fn bias_table(gap_bias: &[f32]) -> [f32; TABLE] {
    let mut table = [0.0; TABLE];
    table[..GAPS].copy_from_slice(gap_bias);
    table[usize::from(AHEAD)] = -1e30;
    table
}

/// The bias of `class`.
#[inline(always)]
fn bias(table: &[f32; TABLE], class: u8) -> f32 {
    table[usize::from(class) % TABLE]
}

/// Whole rows, with what lies ahead at minus infinity: loops of one length become vectors.
#[inline(always)]
fn softmax_scores<S: Simd>(simd: S, scores: &mut [f32], classes: &[u8], table: &[f32; TABLE], shape: Shape) {
    let scale = shape.scale();
    let rows = scores.chunks_exact_mut(shape.length).zip(classes.chunks_exact(shape.length));
    for (row, classes) in rows {
        for (score, &class) in row.iter_mut().zip(classes) {
            *score = *score * scale + bias(table, class);
        }
        softmax_row(simd, row);
    }
}

/// Attention of a sequence's last token alone, the only one that an answer needs of the last layer.
///
/// # Shapes
/// `query`, `mixed`: `[d_model]`; `key`, `value`: `[length, d_model]`; `classes`: `[length]`, from the last token;
/// `shares`: `[length]`, overwritten.
pub(in crate::transformer) fn attend_last(
    level: Level,
    shape: Shape,
    [query, key, value]: [&[f32]; 3],
    classes: &[u8],
    gap_bias: &[f32],
    shares: &mut [f32],
    mixed: &mut [f32],
) {
    let (d, scale) = (shape.d_model(), shape.scale());
    dispatch!(level, simd => for (head, mixed) in mixed.chunks_exact_mut(shape.d_head).enumerate() {
        let part = head * shape.d_head..(head + 1) * shape.d_head;
        let table = bias_table(&gap_bias[head * GAPS..][..GAPS]);
        for ((share, key), &class) in shares.iter_mut().zip(key.chunks_exact(d)).zip(classes) {
            *share = dot_row(simd, &query[part.clone()], &key[part.clone()]) * scale + bias(&table, class);
        }
        softmax_row(simd, shares);
        mixed.fill(0.0);
        for (&share, value) in shares.iter().zip(value.chunks_exact(d)) {
            for (mixed, value) in mixed.iter_mut().zip(&value[part.clone()]) {
                *mixed += share * value;
            }
        }
    });
}

/// The gradients of one layer's attention, and room for them.
#[derive(Debug, Clone, Default)]
pub(in crate::transformer) struct AttentionGradient {
    /// `[tokens, d_model]`, as in [`Attention`]. `mixed` is read, the others are written.
    pub query: Vec<f32>,
    pub key: Vec<f32>,
    pub value: Vec<f32>,
    pub mixed: Vec<f32>,
    /// `[length, length]` of one sequence and head.
    scores: Vec<f32>,
    packed: Packed,
}

impl AttentionGradient {
    /// Makes room for `tokens`.
    pub fn shape(&mut self, shape: Shape, tokens: usize) {
        for list in [&mut self.query, &mut self.key, &mut self.value, &mut self.mixed] {
            list.resize(tokens * shape.d_model(), 0.0);
        }
        self.scores.resize(shape.square(), 0.0);
    }

    /// From the gradient by `mixed` to those by `query`, `key` and `value`; what `gap_bias` gets is added to
    /// `d_gap_bias`.
    ///
    /// # Shapes
    /// As in [`Attention::forward`].
    pub fn backward(
        &mut self,
        level: Level,
        shape: Shape,
        of: &Attention,
        classes: &[u8],
        d_gap_bias: &mut [f32],
    ) {
        let Shape { length, heads, d_head } = shape;
        let d = shape.d_model();
        let Self { query, key, value, mixed, scores, packed } = self;
        for (sequence, classes) in classes.chunks_exact(shape.square()).enumerate() {
            for head in 0..heads {
                let start = sequence * length * d + head * d_head;
                let shares = &of.shares[(sequence * heads + head) * shape.square()..][..shape.square()];
                let square = |values| Rows::new(values, length);
                let rows = |values| Rows::new(values, d);

                packed.pack_transposed(rows(&of.value[start..]), d_head, length);
                let d_shares = RowsMut::new(scores, length);
                multiply(level, length, rows(&mixed[start..]), packed, d_shares, Write::Set);
                packed.pack(rows(&mixed[start..]), length, d_head);
                let d_value = RowsMut::new(&mut value[start..], d);
                multiply_transposed(level, length, square(shares), packed, d_value, Write::Set);

                let d_table = &mut d_gap_bias[head * GAPS..][..GAPS];
                dispatch!(level, simd => softmax_scores_backward(simd, scores, shares, classes, d_table, shape));

                packed.pack(rows(&of.key[start..]), length, d_head);
                let d_query = RowsMut::new(&mut query[start..], d);
                multiply(level, length, square(scores), packed, d_query, Write::Set);
                packed.pack(rows(&of.query[start..]), length, d_head);
                let d_key = RowsMut::new(&mut key[start..], d);
                multiply_transposed(level, length, square(scores), packed, d_key, Write::Set);
            }
        }
    }
}

/// Turns the gradient by shares into that by products of query and key: `shares * (d - sum(shares * d))`, which is
/// also the bias's, and the scale.
#[inline(always)]
fn softmax_scores_backward<S: Simd>(
    simd: S,
    d: &mut [f32],
    shares: &[f32],
    classes: &[u8],
    d_table: &mut [f32],
    shape: Shape,
) {
    let (length, scale) = (shape.length, shape.scale());
    // Neighbours are often of one class: with a table each, none waits for the other's sum.
    let mut tables = [[0.0f32; TABLE]; 4];
    let rows = d.chunks_exact_mut(length).zip(shares.chunks_exact(length)).zip(classes.chunks_exact(length));
    for (index, ((d, shares), classes)) in rows.enumerate() {
        let pull = dot_row(simd, shares, d);
        for (d, share) in d.iter_mut().zip(shares) {
            *d = share * (*d - pull);
        }
        let past = index + 1;
        let quads = d[..past].chunks(4).zip(classes[..past].chunks(4));
        for (d, classes) in quads {
            for ((table, d), &class) in tables.iter_mut().zip(d).zip(classes) {
                table[usize::from(class) % TABLE] += d;
            }
        }
        for d in d.iter_mut() {
            *d *= scale;
        }
    }
    for (class, d) in d_table.iter_mut().enumerate() {
        *d += (tables[0][class] + tables[1][class]) + (tables[2][class] + tables[3][class]);
    }
}
