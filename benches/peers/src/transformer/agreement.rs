//! Whether both compute the same: logits, losses and the gradient of one step, on random weights and batches.
//!
//! A rectifier's gradient jumps where its input is zero. Of the million rectifiers' inputs of a batch, some lie within
//! rounding of that, and who rounds otherwise has another gradient, both right. So biases are moved a little, and the
//! comparison is made where no input is near zero: PyTorch says how near they are in its own pass.

use std::fs;

use foretap::context::Task;
use foretap::transformer::reference::{KEEP_ALL, away_from_kinks};
use foretap::transformer::{Batch, BurnEngine, Engine, NativeEngine, TrainingPass, TransformerConfig};
use safetensors::SafeTensors;

use super::pytorch::PyTorch;
use super::report::{Agreement, Report};
use crate::Result;
use crate::agreement::largest_difference;
use crate::material::Material;
use crate::report::Table;

/// Of a logit or a mean loss.
const FORWARD_TOLERANCE: f64 = 1e-4;
/// Of an entry of a tensor's gradient, over that tensor's largest entry.
const GRADIENT_TOLERANCE: f64 = 1e-3;
/// No rectifier's input is nearer to zero than this; rounding moves one by a hundredth of it.
const AWAY: f64 = 1e-3;

const APPS: usize = 200;
const SEQUENCES: usize = 16;
const SEEDS: u64 = 3;

/// Compares our engine, and Burn's, with PyTorch, into `report`.
///
/// # Errors
/// One differs by more than it may, or fails.
pub fn compare(peer: &PyTorch, report: &mut Report) -> Result<()> {
    let task = Task::FirstAfterUnlock;
    let shapes = [
        ("teacher", TransformerConfig::teacher(task, APPS)),
        ("student", TransformerConfig::student(task, APPS)),
    ];
    let mut table = Table::new(["random weights and batches", "logits", "losses", "gradient"]);
    let mut wrong = Vec::new();
    for (shape, config) in shapes {
        let mut found = [Agreement::default(); 2];
        for seed in 0..SEEDS {
            // Every other batch has short sequences.
            let length = if seed % 2 == 0 { config.window } else { 5 };
            let batch = Batch::random(&config, length, SEQUENCES, seed);
            let mut material = Material::new(config.clone(), vec![batch], 0.3)?;
            // A little farther, for what rounding takes of it in PyTorch.
            material.weights =
                away_from_kinks(&material.weights, &material.batches[0], 1.1 * AWAY, KEEP_ALL)?;
            let folder = tempfile::tempdir()?;
            material.save(folder.path())?;
            peer.check(folder.path())?;
            let theirs = fs::read(folder.path().join("results.safetensors"))?;
            let theirs = SafeTensors::deserialize(&theirs)?;
            let nearest = f64::from(values(&theirs, "nearest_kink")?[0]);
            if nearest < AWAY {
                return Err(format!(
                    "{shape}: PyTorch has a rectifier's input of {nearest:.1e}: gradients jump there"
                )
                .into());
            }
            found[0].widen(agreement(&mut NativeEngine::new(), &material, &theirs)?);
            found[1].widen(agreement(&mut BurnEngine::flex(), &material, &theirs)?);
        }
        report.forward_max_difference =
            report.forward_max_difference.max(found[0].logits).max(found[0].losses);
        report.gradient_max_difference = report.gradient_max_difference.max(found[0].gradient);
        for (engine, found) in ["ours", "burn"].into_iter().zip(found) {
            let name = format!("{shape}, {engine}");
            let differences = [found.logits, found.losses, found.gradient];
            table.line([name.clone()].into_iter().chain(differences.map(|d| format!("{d:.1e}"))));
            let is_close =
                found.logits.max(found.losses) <= FORWARD_TOLERANCE && found.gradient <= GRADIENT_TOLERANCE;
            wrong.extend((!is_close).then_some(name));
            report.agreement.insert(format!("{shape}_{engine}"), found);
        }
    }
    table.print("Largest differences from PyTorch; a gradient's over the largest entry of its tensor");
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} computes something else than PyTorch: more than {FORWARD_TOLERANCE:.0e} forward or {GRADIENT_TOLERANCE:.0e} \
         of a gradient",
        wrong.join("; ")
    )
    .into())
}

fn agreement(engine: &mut dyn Engine, material: &Material, theirs: &SafeTensors<'_>) -> Result<Agreement> {
    let Material { weights, batches, training } = material;
    let batch = &batches[0];
    let logits = engine.logits(weights, batch)?;
    let mut gradient = vec![f32::NAN; weights.values.len()];
    let pass = TrainingPass { next_weight: training.next_weight, dropout: 0.0, seed: 0 };
    let losses = engine.gradient(weights, batch, pass, &mut gradient)?;
    let (questions, tokens) = (losses.questions.max(1) as f64, losses.next_tokens.max(1) as f64);
    let their_losses = values(theirs, "losses")?;
    let mut found = Agreement {
        logits: largest_difference(&logits, &values(theirs, "logits")?),
        losses: largest_difference(
            &[(losses.question / questions) as f32, (losses.next / tokens) as f32],
            &[(f64::from(their_losses[0]) / questions) as f32, (f64::from(their_losses[1]) / tokens) as f32],
        ),
        gradient: 0.0,
    };
    for tensor in &weights.layout().tensors {
        let (ours, theirs) = (&gradient[tensor.range.clone()], values(theirs, &tensor.name)?);
        let largest = theirs.iter().fold(0.0, |most, value| value.abs().max(most));
        let difference = largest_difference(ours, &theirs);
        // A tensor that no loss depends on has a gradient of zeros on both sides.
        let relative = if difference == 0.0 { 0.0 } else { difference / f64::from(largest) };
        found.gradient = found.gradient.max(relative);
    }
    Ok(found)
}

impl Agreement {
    fn widen(&mut self, other: Self) {
        self.logits = self.logits.max(other.logits);
        self.losses = self.losses.max(other.losses);
        self.gradient = self.gradient.max(other.gradient);
    }
}

fn values(file: &SafeTensors<'_>, name: &str) -> Result<Vec<f32>> {
    let tensor = file.tensor(name).map_err(|error| format!("PyTorch's {name}: {error}"))?;
    let (singles, _) = tensor.data().as_chunks::<4>();
    Ok(singles.iter().map(|&four| f32::from_le_bytes(four)).collect())
}
