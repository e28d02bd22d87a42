//! Our student, in plain numbers and in whole ones.

use std::hint::black_box;

use foretap::quantize::{QuantizedForward, QuantizedScratch, quantize};
use foretap::transformer::{
    Batch, ForwardScratch, InferenceEngine, Standardisation, TransformerModel, Weights,
};

use super::Participant;
use crate::Result;

/// In plain numbers.
pub struct Plain<'a> {
    forward: InferenceEngine,
    scratch: ForwardScratch,
    batches: &'a [Batch],
    scores: Vec<f32>,
}

impl<'a> Plain<'a> {
    /// Prepares `weights` for `batches`, of one question each.
    pub fn new(weights: &Weights, batches: &'a [Batch]) -> Self {
        let scores = vec![0.0; batches[0].candidates()];
        Self {
            forward: InferenceEngine::new(weights.clone()),
            scratch: ForwardScratch::default(),
            batches,
            scores,
        }
    }
}

impl Participant for Plain<'_> {
    fn name(&self) -> &'static str {
        "f32"
    }

    fn answer(&mut self, index: usize) -> Result<()> {
        self.forward.score(black_box(&self.batches[index]), &mut self.scratch, &mut self.scores);
        black_box(&self.scores);
        Ok(())
    }

    fn logits(&mut self, index: usize) -> Result<Vec<f32>> {
        self.answer(index)?;
        Ok(self.scores.clone())
    }
}

/// What is left of one question for the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// Nothing: all tokens are new.
    Cold,
    /// All that is the same.
    Warm,
}

/// In INT8.
pub struct Whole<'a> {
    forward: QuantizedForward,
    scratch: QuantizedScratch,
    memory: Memory,
    batches: &'a [Batch],
    scores: Vec<f32>,
}

impl<'a> Whole<'a> {
    /// Prepares `forward` for `batches`, of one question each.
    pub fn new(forward: &QuantizedForward, memory: Memory, batches: &'a [Batch]) -> Self {
        let (forward, scratch) = (forward.clone(), QuantizedScratch::default());
        Self { forward, scratch, memory, batches, scores: vec![0.0; batches[0].candidates()] }
    }
}

impl Participant for Whole<'_> {
    fn name(&self) -> &'static str {
        match self.memory {
            Memory::Cold => "int8_cold",
            Memory::Warm => "int8_warm",
        }
    }

    fn answer(&mut self, index: usize) -> Result<()> {
        if self.memory == Memory::Cold {
            self.scratch.forget();
        }
        self.forward.score(black_box(&self.batches[index]), &mut self.scratch, &mut self.scores);
        black_box(&self.scores);
        Ok(())
    }

    fn logits(&mut self, index: usize) -> Result<Vec<f32>> {
        self.answer(index)?;
        Ok(self.scores.clone())
    }
}

/// `weights` in INT8, for the fastest kernel of this machine.
///
/// # Errors
/// They are beyond all reason.
pub fn quantized(weights: &Weights) -> Result<QuantizedForward> {
    let config = weights.config();
    let model = TransformerModel {
        weights: weights.clone(),
        apps: (0..config.apps).map(|app| format!("app {app}")).collect(),
        temperature: 1.0,
        columns: Standardisation::none(config),
    };
    Ok(QuantizedForward::new(&quantize(&model)?))
}

/// The questions of `batches`, all asked after the history of the first: only the last token differs.
pub fn of_one_history(batches: &[Batch]) -> Vec<Batch> {
    let again = |(batch, secs): (&Batch, u32)| {
        let mut again = Batch {
            question_columns: batch.question_columns.clone(),
            candidate_columns: batch.candidate_columns.clone(),
            candidate_apps: batch.candidate_apps.clone(),
            ..batches[0].clone()
        };
        let last = again.length - 1;
        again.apps[last] = batch.apps[last];
        again.secs[last] += secs;
        again
    };
    batches.iter().zip(0..).map(again).collect()
}

#[cfg(test)]
mod tests {
    use foretap::context::Task;
    use foretap::transformer::TransformerConfig;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::material;

    #[test]
    fn what_is_remembered_changes_no_answer() {
        let config = TransformerConfig::student(Task::FirstAfterUnlock, 20);
        let weights = Weights::random(config.clone(), &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        let batches: Vec<Batch> = (0..4).map(|seed| material::batch(&config, 1, 1, 5, seed)).collect();
        let batches = of_one_history(&batches);
        assert!(batches.iter().all(|batch| batch.fits(&config)));
        let forward = quantized(&weights).unwrap();
        let mut cold = Whole::new(&forward, Memory::Cold, &batches);
        let mut warm = Whole::new(&forward, Memory::Warm, &batches);
        for index in [0, 1, 2, 3, 0] {
            assert_eq!(cold.logits(index).unwrap(), warm.logits(index).unwrap());
        }
    }
}
