//! What a graph is asked: a question in the tensors that its operators read.
//!
//! What no weight changes is worked out here, before any clock starts: one-hot rows, and the classes of time gaps.

use std::path::Path;

use foretap::context::tokens::{BATTERIES, CLOCK, GAPS, KINDS, NETWORKS, PLACES};
use foretap::export::question::{NamedTensor, Values, gap_classes};
use foretap::transformer::{Batch, TransformerConfig};

use crate::Result;
use crate::material::{self, Field};

/// All inputs for `batch`'s only question, of its only sequence.
pub fn inputs(batch: &Batch, config: &TransformerConfig) -> Vec<NamedTensor> {
    let (length, candidates) = (batch.length, batch.candidates());
    let rows = |apps: &[u32]| Values::Whole(apps.iter().map(|&app| app as i32).collect());
    let floats = |values: &[f32]| Values::Floats(values.to_vec());
    let facts = facts(batch);
    [
        ("apps", vec![length], rows(&batch.apps)),
        ("facts", vec![length, facts.len() / length], Values::Floats(facts)),
        ("classes", vec![length, length], Values::Whole(gap_classes(&batch.secs))),
        ("question_columns", vec![1, config.question_columns], floats(&batch.question_columns)),
        ("candidate_columns", vec![candidates, config.candidate_columns], floats(&batch.candidate_columns)),
        ("candidate_apps", vec![candidates], rows(&batch.candidate_apps)),
    ]
    .map(|(name, shape, values)| NamedTensor { name, shape, values })
    .into()
}

/// Writes inputs to `file`, as safetensors.
///
/// # Errors
/// The file cannot be written.
pub fn save(file: &Path, inputs: &[NamedTensor]) -> Result<()> {
    material::save(file, inputs.iter().map(Field::of).collect())
}

/// For each token the one-hot rows of the small tables, side by side, and its clock.
fn facts(batch: &Batch) -> Vec<f32> {
    let tables = [
        (&batch.kinds, KINDS),
        (&batch.places, PLACES),
        (&batch.gaps, GAPS),
        (&batch.networks, NETWORKS),
        (&batch.batteries, BATTERIES),
    ];
    let mut facts = Vec::new();
    for (token, clock) in batch.clock.chunks_exact(CLOCK).enumerate() {
        for (list, rows) in tables {
            let one = usize::from(list[token]);
            facts.extend((0..rows).map(|row| f32::from(u8::from(row == one))));
        }
        facts.extend_from_slice(clock);
    }
    facts
}

#[cfg(test)]
mod tests {
    use foretap::context::Task;

    use super::*;

    #[test]
    fn inputs_have_the_sizes_that_they_say() {
        let config = TransformerConfig::student(Task::FirstAfterUnlock, 7);
        let batch = material::batch(&config, 1, 1, 3, 0);
        for NamedTensor { name, shape, values } in inputs(&batch, &config) {
            let found = match values {
                Values::Floats(values) => values.len(),
                Values::Whole(values) => values.len(),
            };
            assert_eq!(found, shape.iter().product::<usize>(), "{name}");
        }
        let facts = facts(&batch);
        let ones = facts.chunks_exact(facts.len() / batch.length).map(|token| {
            let (tables, _) = token.split_at(token.len() - CLOCK);
            tables.iter().sum::<f32>()
        });
        assert!(ones.into_iter().all(|ones| ones == 5.0));
    }
}
