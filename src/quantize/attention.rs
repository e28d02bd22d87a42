//! Attention over keys and values that are kept from question to question.

use fearless_simd::{Simd, SimdBase as _, dispatch, f32x16};

use super::float::{blocks, blocks_mut, load, maximum, powers, room, store};
use super::kernel::{Kernel, LANES};
use super::prepared::{AHEAD, TABLE};
use crate::context::tokens::GAPS;
use crate::network::TransformerConfig;

/// [`TransformerConfig::check`] allows no more.
const MAX_HEADS: usize = 64;

/// How attention is cut.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    pub heads: usize,
    pub d_head: usize,
    /// Tokens that there is room for, a multiple of [`LANES`].
    pub room: usize,
    /// The width of the residual stream, padded to such a multiple.
    pub width: usize,
}

impl Heads {
    pub fn of(config: &TransformerConfig) -> Self {
        let room = config.window.next_multiple_of(LANES);
        let width = config.d_model.next_multiple_of(LANES);
        Self { heads: config.heads, d_head: config.d_head(), room, width }
    }
}

/// One layer's keys and values, token by token.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// `[width, room]`: the other way around, so that one number of all keys stands together.
    key: Vec<f32>,
    /// `[room, width]`.
    value: Vec<f32>,
}

impl Memory {
    pub fn resize(&mut self, heads: Heads) {
        self.key.resize(heads.width * heads.room, 0.0);
        self.value.resize(heads.room * heads.width, 0.0);
    }

    /// Keeps the keys of the tokens from `first` on.
    ///
    /// # Shapes
    /// `keys`: `[tokens, width]`.
    pub fn keep_keys(&mut self, heads: Heads, first: usize, keys: &[f32]) {
        let width = heads.width;
        for (block, keys) in keys.chunks(LANES * width).enumerate() {
            let first = first + block * LANES;
            let tokens = keys.len() / width;
            for (k, kept) in self.key.chunks_exact_mut(heads.room).enumerate() {
                let kept = &mut kept[first..first + tokens];
                match kept.as_chunks_mut::<LANES>() {
                    // A whole block at a time: sixteen numbers are gathered and written at once.
                    ([kept], []) => {
                        let keys = &keys[k..15 * width + k + 1];
                        *kept = std::array::from_fn(|token| keys[token * width]);
                    }
                    _ => {
                        for (kept, key) in kept.iter_mut().zip(keys[k..].iter().step_by(width)) {
                            *kept = *key;
                        }
                    }
                }
            }
        }
    }

    /// Where the values of the tokens from `first` on are kept.
    pub fn values_mut(&mut self, heads: Heads, first: usize, tokens: usize) -> &mut [f32] {
        &mut self.value[first * heads.width..][..tokens * heads.width]
    }
}

/// Writes the class of the time from each of `secs` to the token at `now`, none where a clock was set back between them;
/// what comes later in the sequence is [`AHEAD`].
///
/// # Shapes
/// `secs`: `[tokens]`; `classes`: at least as many.
pub fn gap_classes(kernel: Kernel, secs: &[u32], now: usize, classes: &mut [u8]) {
    let (past, ahead) = classes.split_at_mut(now + 1);
    let at = secs[now];
    dispatch!(kernel.level(), _simd => for (class, &then) in past.iter_mut().zip(secs) {
        *class = gap_class(at.saturating_sub(then));
    });
    ahead.fill(AHEAD);
}

/// [`gap`](crate::context::tokens::gap) without branches: a float's exponent and the first bit of its mantissa tell octave
/// and half.
#[inline(always)]
fn gap_class(secs: u32) -> u8 {
    // A float holds 24 bits exactly. Of more seconds the first bits are enough: eight are left out, which are 16 classes.
    let (kept, left_out) = if secs < 1 << 14 { (secs, 0) } else { (secs >> 8, 16) };
    let class = ((kept as i32 as f32).to_bits() >> 22) as i32 - 254 + left_out;
    class.max(secs.min(1) as i32).min(GAPS as i32 - 1) as u8
}

/// What attention reads, besides the memory.
#[derive(Debug, Clone, Copy)]
pub struct Queries<'a> {
    /// `[tokens, width]`: of the asking tokens, already divided by the root of a head's width.
    pub query: &'a [f32],
    /// Which token is the first that asks.
    pub first: usize,
    /// `[tokens, room]`: see [`gap_classes`].
    pub classes: &'a [u8],
    /// `[heads, TABLE]`.
    pub gap_bias: &'a [f32],
}

/// What each asking token takes of all tokens up to itself.
///
/// # Shapes
/// `shares`: at least `[tokens, heads, room]` afterwards; `mixed`: `[tokens, width]`.
pub fn attend(
    kernel: Kernel,
    heads: Heads,
    asked: Queries<'_>,
    memory: &Memory,
    shares: &mut Vec<f32>,
    mixed: &mut [f32],
) {
    let shares = room(shares, asked.query.len() / heads.width * heads.heads * heads.room);
    let mut totals = [0.0; MAX_HEADS];
    let tables = asked.gap_bias.as_chunks::<TABLE>().0;
    dispatch!(kernel.level(), simd => {
        // Of all tokens before anything else: numbers that were just written one by one are slow to read as a vector.
        let biases = shares.chunks_exact_mut(heads.heads * heads.room);
        for (past, (biases, classes)) in
            (asked.first + 1..).zip(biases.zip(asked.classes.chunks_exact(heads.room)))
        {
            let classes = &classes[..past.next_multiple_of(LANES)];
            for (biases, table) in biases.chunks_exact_mut(heads.room).zip(tables) {
                for (bias, &class) in biases.iter_mut().zip(classes) {
                    *bias = table[usize::from(class) % TABLE];
                }
            }
        }
        let tokens = asked.query.chunks_exact(heads.width).zip(mixed.chunks_exact_mut(heads.width));
        let tokens = tokens.zip(shares.chunks_exact_mut(heads.heads * heads.room));
        for (past, ((query, mixed), shares)) in (asked.first + 1..).zip(tokens) {
            let seen = past.div_ceil(LANES);
            // The student's and the teacher's: constants, so that sums stay in registers.
            match (heads.d_head, heads.heads) {
                (16, 4) => score_four::<_, 16>(simd, heads, query, &memory.key, seen, shares),
                (32, 4) => score_four::<_, 32>(simd, heads, query, &memory.key, seen, shares),
                _ => score(simd, heads, query, &memory.key, seen, shares),
            }
            // Step by step for all heads: one head's does not wait for another's.
            for (shares, total) in shares.chunks_exact(heads.room).zip(&mut totals[..]) {
                *total = maximum(simd, &blocks(shares)[..seen]);
            }
            for (shares, total) in shares.chunks_exact_mut(heads.room).zip(&mut totals[..]) {
                *total = powers(simd, &mut blocks_mut(shares)[..seen], *total);
            }
            let values = &memory.value[..past * heads.width];
            match (heads.d_head, heads.heads) {
                (16, 4) => mix_blocks::<_, 4, 1>(simd, heads, shares, &totals, values, mixed),
                (32, 4) => mix_blocks::<_, 4, 2>(simd, heads, shares, &totals, values, mixed),
                _ => mix(heads, shares, &totals, values, mixed),
            }
        }
    });
}

/// Adds to each head's biases the products of a query with the keys, one number of sixteen keys after the other; four heads
/// side by side, because each sum waits for its last.
///
/// # Shapes
/// `query`: `[4, D_HEAD]`; `keys`: `[4, D_HEAD, room]`; `scores`: `[4, room]`, of which `seen` blocks a head.
#[inline(always)]
fn score_four<S: Simd, const D_HEAD: usize>(
    simd: S,
    heads: Heads,
    query: &[f32],
    keys: &[f32],
    seen: usize,
    scores: &mut [f32],
) {
    let room = heads.room / LANES;
    let [a, b, c, d] = query.as_chunks::<D_HEAD>().0 else { return };
    let (keys, scores) = (blocks(keys), blocks_mut(scores));
    for block in 0..seen {
        let bias = |head: usize| load(simd, &scores[head * room + block]);
        let (mut of_a, mut of_b, mut of_c, mut of_d) = (bias(0), bias(1), bias(2), bias(3));
        for k in 0..D_HEAD {
            let key = |head: usize| load(simd, &keys[(head * D_HEAD + k) * room + block]);
            of_a += key(0) * a[k];
            of_b += key(1) * b[k];
            of_c += key(2) * c[k];
            of_d += key(3) * d[k];
        }
        for (head, sum) in [of_a, of_b, of_c, of_d].into_iter().enumerate() {
            store(sum, &mut scores[head * room + block]);
        }
    }
}

/// The same for heads of any number and width.
#[inline(always)]
fn score<S: Simd>(simd: S, heads: Heads, query: &[f32], keys: &[f32], seen: usize, scores: &mut [f32]) {
    let queries = query.chunks_exact(heads.d_head).zip(keys.chunks_exact(heads.d_head * heads.room));
    for (scores, (query, keys)) in scores.chunks_exact_mut(heads.room).zip(queries) {
        for (block, scores) in blocks_mut(scores)[..seen].iter_mut().enumerate() {
            let mut sum = load(simd, scores);
            for (&query, keys) in query.iter().zip(keys.chunks_exact(heads.room)) {
                sum += load(simd, &blocks(keys)[block]) * query;
            }
            store(sum, scores);
        }
    }
}

/// The values, mixed by each head's shares; `EACH` blocks a head.
#[inline(always)]
fn mix_blocks<S: Simd, const HEADS: usize, const EACH: usize>(
    simd: S,
    heads: Heads,
    shares: &[f32],
    totals: &[f32],
    values: &[f32],
    mixed: &mut [f32],
) {
    let mut sums = [[f32x16::splat(simd, 0.0); EACH]; HEADS];
    for (token, value) in values.chunks_exact(HEADS * EACH * LANES).enumerate() {
        let value = blocks(value).as_chunks::<EACH>().0;
        for (head, (sums, value)) in sums.iter_mut().zip(value).enumerate() {
            let share = shares[head * heads.room + token];
            for (sums, value) in sums.iter_mut().zip(value) {
                *sums += load(simd, value) * share;
            }
        }
    }
    for ((mixed, sums), total) in blocks_mut(mixed).as_chunks_mut::<EACH>().0.iter_mut().zip(sums).zip(totals)
    {
        for (mixed, sum) in mixed.iter_mut().zip(sums) {
            store(sum * (1.0 / total), mixed);
        }
    }
}

/// The same for heads of any width.
#[inline(always)]
fn mix(heads: Heads, shares: &[f32], totals: &[f32], values: &[f32], mixed: &mut [f32]) {
    mixed.fill(0.0);
    for (token, value) in values.chunks_exact(heads.width).enumerate() {
        for (k, (mixed, value)) in mixed.iter_mut().zip(value).enumerate().take(heads.heads * heads.d_head) {
            *mixed += shares[k / heads.d_head * heads.room + token] * value;
        }
    }
    for (k, mixed) in mixed.iter_mut().enumerate().take(heads.heads * heads.d_head) {
        *mixed /= totals[k / heads.d_head];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::tokens::gap;

    #[test]
    fn a_clock_that_is_set_back_is_no_time_at_all() {
        for kernel in Kernel::all() {
            let mut classes = [7; 4];
            gap_classes(kernel, &[0, 500, 20], 2, &mut classes);
            assert_eq!(classes, [gap(20), gap(-480), gap(0), AHEAD]);
        }
    }

    #[test]
    fn classes_are_those_of_tokens() {
        let powers = (0..32).flat_map(|power| [0, 1, 2].map(|more| (1_u32 << power).wrapping_sub(1) + more));
        for secs in (0..70_000).chain(powers).chain([u32::MAX, u32::MAX - 1]) {
            assert_eq!(gap_class(secs), gap(i64::from(secs)), "{secs} s");
        }
    }
}
