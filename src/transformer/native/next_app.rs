//! The next app at every token: softmax over the vocabulary and "unknown".

use std::ops::Range;

use super::layers::{add, add_bias, add_column_sums, softmax};
use super::linear::{Packed, Rows, RowsMut, Write, add_weight_gradient, multiply};
use super::prepared::PreparedModel;
use crate::network::{Batch, NO_TARGET};

/// Numbers of logits that are worked on at once: 128 KiB, so that a large vocabulary stays in the cache too.
const BLOCK: usize = 32 * 1024;

/// Room for a block of tokens.
#[derive(Debug, Clone, Default)]
pub(in crate::transformer) struct NextApp {
    /// The tokens that have a next app, and which.
    targets: Vec<(u32, u32)>,
    /// `[rows, apps + 1]`: logits, then shares, then gradients.
    logits: Vec<f32>,
    /// `[rows, d_model]`
    hidden: Vec<f32>,
    d_hidden: Vec<f32>,
    packed: Packed,
}

/// Where the gradients go.
#[derive(Debug)]
pub(in crate::transformer) struct NextAppGradient<'a> {
    /// By `h`, `[tokens, d_model]`.
    pub h: &'a mut [f32],
    /// By the weights, in their layout.
    pub weights: &'a mut [f32],
}

impl NextApp {
    /// Returns the sum of the losses of `tokens` and how many there are. Where `weight`, what each loss counts for, is not zero, the
    /// gradients are added to `to`.
    ///
    /// # Shapes
    /// `h`: `[tokens, d_model]`.
    pub fn learn(
        &mut self,
        model: PreparedModel<'_>,
        batch: &Batch,
        tokens: Range<usize>,
        weight: f32,
        h: &[f32],
        to: NextAppGradient<'_>,
    ) -> (f64, usize) {
        let (level, d, apps) = (model.level, model.config().d_model, model.config().apps + 1);
        let layout = model.layout();
        let embedding = layout.app_embedding.start..layout.app_embedding.start + apps * d;
        let Self { targets, logits, hidden, d_hidden, packed } = self;
        targets.clear();
        let next_apps = batch.next_apps[tokens].iter().copied();
        targets.extend((0..).zip(next_apps).filter(|&(_, app)| app != NO_TARGET));

        let mut loss = 0.0;
        for targets in targets.chunks((BLOCK / apps).max(16)) {
            let rows = targets.len();
            logits.resize(rows * apps, 0.0);
            hidden.clear();
            for &(token, _) in targets {
                hidden.extend_from_slice(&h[token as usize * d..][..d]);
            }
            let out = RowsMut::new(logits, apps);
            multiply(level, rows, Rows::new(hidden, d), &model.prepared.apps.forward, out, Write::Set);
            add_bias(level, logits, model.tensor(&layout.app_bias));
            for (&(_, app), row) in targets.iter().zip(logits.chunks_exact_mut(apps)) {
                let logit = row[app as usize];
                loss += f64::from(softmax(level, row)) - f64::from(logit);
                row[app as usize] -= 1.0;
                row.iter_mut().for_each(|d| *d *= weight);
            }
            if weight == 0.0 {
                continue;
            }
            d_hidden.resize(rows * d, 0.0);
            let out = RowsMut::new(d_hidden, d);
            multiply(level, rows, Rows::new(logits, apps), &model.prepared.apps.backward, out, Write::Set);
            for (&(token, _), row) in targets.iter().zip(d_hidden.chunks_exact(d)) {
                add(level, &mut to.h[token as usize * d..][..d], row);
            }
            add_weight_gradient(level, rows, logits, hidden, &mut to.weights[embedding.clone()], packed);
            add_column_sums(level, logits, &mut to.weights[layout.app_bias.clone()]);
        }
        (loss, targets.len())
    }
}
