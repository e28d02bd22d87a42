//! Whether a runtime loads an export, and what it answers.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use super::agreement::Agreement;
use super::model::Model;
use super::people::Question;
use super::runtimes::Runtime;
use crate::Result;

/// What became of an export in a runtime.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Whether the runtime took it.
    pub loads: bool,
    /// What it said when it failed.
    pub error: Option<String>,
    /// What it answered until then.
    pub agreement: Agreement,
}

/// Asks `runtime`, of the export in `file`, all questions that it answers within `limit`.
pub fn ask(runtime: &dyn Runtime, file: &Path, model: Model, asked: &[Question], limit: Duration) -> Outcome {
    let mut outcome = Outcome::default();
    // What a runtime panics about is its answer to this export, and not the end of the run.
    let ended = catch_unwind(AssertUnwindSafe(|| ask_all(runtime, file, model, asked, limit, &mut outcome)));
    let ended = ended.unwrap_or_else(|_| Err(format!("{} panicked", runtime.name()).into()));
    outcome.error = ended.err().map(|error| error.to_string());
    outcome
}

fn ask_all(
    runtime: &dyn Runtime,
    file: &Path,
    model: Model,
    asked: &[Question],
    limit: Duration,
    outcome: &mut Outcome,
) -> Result<()> {
    let start = Instant::now();
    let mut session = runtime.load(file)?;
    let shapes: Vec<_> = asked.iter().map(|question| model.shape(question)).collect();
    let which = Model::ALL.iter().position(|&other| other == model).unwrap_or_default();
    for group in by_shape(&shapes) {
        // tract and OpenVINO plan for each shape: their plans are used up one after another, and never kept all at once.
        session.clear();
        for question in group.into_iter().map(|index| &asked[index]) {
            if start.elapsed() > limit {
                return Ok(());
            }
            let index = session.prepare(&model.inputs(question))?;
            // Not before: tract refuses a graph when it plans.
            outcome.loads = true;
            let theirs = session.output(index, model.output())?;
            outcome.agreement.count(&question.ours[which], &theirs, question.answer);
        }
    }
    Ok(())
}

/// Numbers of questions, those of equal shape together. The groups are shuffled, so that those that are answered in time
/// are not the small ones.
fn by_shape(shapes: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let mut groups = BTreeMap::<_, Vec<usize>>::new();
    for (index, shape) in shapes.iter().enumerate() {
        groups.entry(shape).or_default().push(index);
    }
    let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
    groups.shuffle(&mut ChaCha8Rng::seed_from_u64(0));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shape_comes_once() {
        let shapes = [(8, 5), (9, 5), (8, 5), (8, 6), (9, 5), (8, 5)];
        let mut groups = by_shape(&shapes);
        groups.sort();
        assert_eq!(groups, [vec![0, 2, 5], vec![1, 4], vec![3]]);
        assert!(by_shape(&[]).is_empty());
    }

    #[test]
    fn the_order_of_shapes_is_the_same_in_every_run_and_not_by_size() {
        let shapes: Vec<_> = (0..50).map(|size| (size, size)).collect();
        assert_eq!(by_shape(&shapes), by_shape(&shapes));
        assert!(!by_shape(&shapes).is_sorted());
    }
}
