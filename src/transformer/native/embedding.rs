//! The sum of embeddings that a token begins as.

use super::layers::add;
use super::linear::{Packed, Rows, RowsMut, Write, multiply, multiply_transposed};
use super::prepared::PreparedModel;
use crate::context::tokens::CLOCK;
use crate::network::Batch;
use std::ops::Range;

/// The rows that token `token` adds up, besides its clock: where each one's tensor begins, and which row it is.
fn rows(model: PreparedModel<'_>, batch: &Batch, token: usize) -> [(usize, usize); 6] {
    let layout = model.layout();
    [
        (layout.app_embedding.start, batch.apps[token] as usize),
        (layout.kind_embedding.start, usize::from(batch.kinds[token])),
        (layout.place_embedding.start, usize::from(batch.places[token])),
        (layout.gap_embedding.start, usize::from(batch.gaps[token])),
        (layout.network_embedding.start, usize::from(batch.networks[token])),
        (layout.battery_embedding.start, usize::from(batch.batteries[token])),
    ]
}

/// Embeds `tokens` of `batch`.
///
/// # Shapes
/// `x`: `[tokens, d_model]`.
pub(in crate::transformer) fn embed(
    model: PreparedModel<'_>,
    batch: &Batch,
    tokens: Range<usize>,
    x: &mut [f32],
) {
    let d = model.config().d_model;
    let clock = Rows::new(&batch.clock[tokens.start * CLOCK..], CLOCK);
    let projection = &model.prepared.clock_projection.forward;
    multiply(model.level, tokens.len(), clock, projection, RowsMut::new(x, d), Write::Set);
    for (token, x) in tokens.zip(x.chunks_exact_mut(d)) {
        for (start, row) in rows(model, batch, token) {
            add(model.level, x, &model.weights.values[start + row * d..][..d]);
        }
    }
}

/// Adds what the embeddings get of `d_x` to `gradient`.
pub(in crate::transformer) fn embed_backward(
    model: PreparedModel<'_>,
    batch: &Batch,
    tokens: Range<usize>,
    d_x: &[f32],
    packed: &mut Packed,
    gradient: &mut [f32],
) {
    let d = model.config().d_model;
    packed.pack(Rows::new(d_x, d), tokens.len(), d);
    let clock = Rows::new(&batch.clock[tokens.start * CLOCK..], CLOCK);
    let out = RowsMut::new(&mut gradient[model.layout().clock_projection.clone()], d);
    multiply_transposed(model.level, CLOCK, clock, packed, out, Write::Add);
    for (token, d_x) in tokens.zip(d_x.chunks_exact(d)) {
        for (start, row) in rows(model, batch, token) {
            add(model.level, &mut gradient[start + row * d..][..d], d_x);
        }
    }
}
