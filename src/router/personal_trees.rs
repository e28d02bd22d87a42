//! Trees that one person's own past has taught: added to the shared models' logits, and trusted as far as they earned it.
//!
//! ```text
//! shared(app)   = softmax of the router's logits, with what personalization adds
//! personal(app) = softmax of the same logits + the personal trees' scores
//! p(app)        = (1 - trust) shared(app) + trust personal(app)
//! trust        <- trust personal(opened) / p(opened), then drawn a little towards one half
//! ```
//!
//! The last line is Bayes' rule with a fixed share (Herbster, Warmuth, "Tracking the best expert", 1998). Whatever the trees have
//! learned, the mean log loss of `p` exceeds that of the better of the two by little, and it follows when another one becomes
//! the better.

use std::sync::Arc;

use crate::context::Context;
use crate::context::features::SharedFeatures;
use crate::context::math;
use crate::error::Result;
#[cfg(feature = "learn")]
use crate::gbdt::Forest;
use crate::predict::{Predictor as _, Scratch};
use crate::quantize::QuantizedTrees;
use crate::ranker::Ranker;
use crate::storage::codec::{Put as _, Reader};

use super::calibrate::log_softmax;

/// The trust at the start, and what it is drawn towards.
// Source: units: nothing speaks for either.
const INDIFFERENT: f32 = 0.5;
/// The share of the trust that an answer moves towards one half.
// Source: by hand, not measured: one change of who is better in two hundred answers, some days.
const FIXED_SHARE: f32 = 0.005;

/// Trees of one person over the ranker's features, and how far they are trusted.
#[derive(Debug, Clone)]
pub struct PersonalTrees {
    quantized: QuantizedTrees,
    ranker: Arc<Ranker>,
    trust: f32,
}

impl PartialEq for PersonalTrees {
    fn eq(&self, other: &Self) -> bool {
        self.quantized == other.quantized && self.trust.to_bits() == other.trust.to_bits()
    }
}

impl PersonalTrees {
    /// Trees that nothing speaks for or against yet.
    ///
    /// # Errors
    /// They read a feature that this build does not compute, or that means something else here.
    pub(super) fn new(quantized: QuantizedTrees) -> Result<Self> {
        let ranker = Arc::new(quantized.ranker()?);
        Ok(Self { quantized, ranker, trust: INDIFFERENT })
    }

    /// Trees in place of `before`, which are trusted as those were: the same person, taught in the same way.
    #[must_use]
    #[cfg(feature = "learn")]
    pub(super) fn after(mut self, before: Option<&Self>) -> Self {
        self.trust = before.map_or(INDIFFERENT, |before| before.trust);
        self
    }

    /// How far the trees are trusted beside the shared models alone, 0 to 1.
    pub fn trust(&self) -> f32 {
        self.trust
    }

    /// The trees.
    #[cfg(feature = "learn")]
    pub(super) fn forest(&self) -> &Forest {
        self.ranker.forest()
    }

    /// How many trees there are.
    pub fn trees(&self) -> usize {
        self.ranker.forest().ensemble().trees.len()
    }

    /// Makes log-probabilities of the shared models' `logits`, mixed with those of the trees. `log_ratios` are set to the
    /// trees' log-probabilities less those of the shared models.
    ///
    /// # Shapes
    /// `logits`: `[candidates]`; `log_ratios` becomes so long.
    pub(super) fn mix(
        &self,
        context: &Context<'_>,
        features: &mut SharedFeatures,
        scratch: &mut Scratch,
        log_ratios: &mut Vec<f32>,
        logits: &mut [f32],
    ) {
        log_ratios.clear();
        log_ratios.resize(logits.len(), 0.0);
        self.ranker.score_sharing(context, features, scratch, log_ratios);
        log_softmax(logits);
        log_ratios.iter_mut().zip(&*logits).for_each(|(score, shared)| *score += shared);
        log_softmax(log_ratios);
        for (log_ratio, logit) in log_ratios.iter_mut().zip(logits) {
            *log_ratio -= *logit;
            *logit += math::ln(self.ratio(*log_ratio));
        }
    }

    /// Trusts the trees more or less after an answer, whose probability by the trees was `log_ratio` of that by the shared models.
    pub(super) fn learn(&mut self, log_ratio: f32) {
        let posterior = self.by_trees(log_ratio) / self.ratio(log_ratio);
        self.trust = posterior + FIXED_SHARE * (INDIFFERENT - posterior);
    }

    /// A mixed probability over the shared models' one.
    fn ratio(&self, log_ratio: f32) -> f32 {
        1.0 - self.trust + self.by_trees(log_ratio)
    }

    /// The trees' part of it.
    fn by_trees(&self, log_ratio: f32) -> f32 {
        self.trust * math::exp(log_ratio.clamp(-MOST_NATS, MOST_NATS))
    }

    /// Its bytes.
    ///
    /// # Errors
    /// The trees are larger than the format allows.
    pub(super) fn write(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        bytes.put_f32(self.trust);
        let trees = self.quantized.write()?;
        bytes.put_count(trees.len())?;
        bytes.extend(trees);
        Ok(bytes)
    }

    /// Reads what [`write`](Self::write) wrote.
    ///
    /// # Errors
    /// It is cut off or damaged, or the trees read a feature that this build does not compute.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let trust = reader.f32()?;
        if !(0.0..=1.0).contains(&trust) {
            return Err(reader.wrong(format!("{trust} is no trust")));
        }
        let count = reader.count(1)?;
        let quantized = QuantizedTrees::read(reader.bytes(count)?)?;
        Ok(Self { trust, ..Self::new(quantized)? })
    }
}

/// Ratios beyond it are alike: e^20 is half a thousand million.
// Source: units: keeps `exp` finite.
const MOST_NATS: f32 = 20.0;
