//! An [`Engine`] on one of Burn's devices.

use std::sync::{Mutex, PoisonError};

use burn::tensor::{Device, Distribution, Tensor};

use super::inputs::{Inputs, NextApps, QuestionTensors, cells};
use super::model::BurnModel;
use crate::error::{Error, ErrorKind, Result};
use crate::network::{Batch, NO_TARGET};
use crate::transformer::engine::{Engine, Losses, TrainingPass};
use crate::transformer::weights::Weights;

/// Burn seeds a device's random numbers for the whole process, so only one engine draws at a time.
static DRAWING: Mutex<()> = Mutex::new(());

/// Computes on a device of Burn's.
pub struct BurnEngine {
    name: String,
    /// Without gradients.
    device: Device,
}

impl BurnEngine {
    /// On Burn's own kernels in plain Rust. Its threads are rayon's: `RAYON_NUM_THREADS` says how many.
    #[cfg(feature = "flex")]
    pub fn flex() -> Self {
        Self { name: "flex".to_owned(), device: Device::flex() }
    }

    /// On the `ndarray` crate.
    #[cfg(feature = "ndarray")]
    // Burn marks it as deprecated in favour of `flex`. It stays as the second opinion while Burn ships it.
    #[allow(deprecated)]
    pub fn ndarray() -> Self {
        Self { name: "ndarray".to_owned(), device: Device::ndarray() }
    }

    /// On the first graphics card, by Vulkan, Metal or WebGPU.
    ///
    /// # Errors
    /// There is no card, or it fails at its first sum.
    #[cfg(feature = "wgpu")]
    pub fn gpu() -> Result<Self> {
        use burn::tensor::{DeviceKind, DeviceType};

        // Burn panics when it opens a card that is not there, so ask first whether one is.
        if Device::enumerate(DeviceType::Wgpu).is_empty() {
            return Err(Error::new(ErrorKind::Device, "no graphics card answers")
                .next_step("install its driver, or choose another device"));
        }
        let device = Device::wgpu(DeviceKind::DefaultDevice);
        // A driver that lacks a part makes the first kernel panic.
        let first_sum = || {
            let sum = Tensor::<1>::ones([2], &device).sum().try_into_vec_as::<f32>();
            let card = device.identity().map_or_else(String::new, |identity| format!(" ({})", identity.name));
            (sum.is_ok_and(|sum| sum == [2.0]), card)
        };
        // Unwind safe: after a panic the device is not used again.
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(first_sum)) {
            Ok((true, card)) => Ok(Self { name: format!("wgpu{card}"), device }),
            _ => Err(Error::new(ErrorKind::Device, "the graphics card fails at its first sum")
                .next_step("read the driver's message above, or choose another device")),
        }
    }

    /// What dropout multiplies with, in the order in which the model asks: nothing or `1 / (1 - share)`.
    ///
    /// # Shapes
    /// `[tokens, d_model]` each.
    fn masks(&self, weights: &Weights, batch: &Batch, pass: TrainingPass) -> Vec<Tensor<2>> {
        if pass.dropout <= 0.0 {
            return Vec::new();
        }
        let config = weights.config();
        let kept = f64::from(1.0 - pass.dropout).max(0.0);
        let scale = if kept > 0.0 { 1.0 / kept } else { 0.0 };
        // The guard protects no data, so one that a panic left behind is as good.
        let _drawing = DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
        self.device.seed(pass.seed);
        let shape = [batch.tokens(), config.d_model];
        let mask = |_| Tensor::random(shape, Distribution::Bernoulli(kept), &self.device) * scale;
        (0..1 + 2 * config.layers).map(mask).collect()
    }
}

impl Engine for BurnEngine {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn gradient(
        &mut self,
        weights: &Weights,
        batch: &Batch,
        pass: TrainingPass,
        gradient: &mut [f32],
    ) -> Result<Losses> {
        // A device would read beyond its tables.
        batch.check(weights.config())?;
        let device = self.device.clone().autodiff();
        let next = NextApps::new(batch, &device);
        let questions = QuestionTensors::new(batch, weights.config(), &device);
        let mut losses = Losses {
            questions: batch.questions(),
            next_tokens: batch.next_apps.iter().filter(|&&app| app != NO_TARGET).count(),
            ..Losses::default()
        };
        if next.is_none() && questions.is_none() {
            gradient.fill(0.0);
            return Ok(losses);
        }

        let model = BurnModel::new(weights, &device);
        let hidden = model.hidden(&Inputs::new(batch, &device), self.masks(weights, batch, pass));
        let nothing = || Tensor::zeros([1], &device);
        let question_loss = questions.map_or_else(nothing, |asked| model.question_loss(&hidden, &asked));
        let next_loss = next.map_or_else(nothing, |next| model.next_loss(hidden, &next));
        let total = question_loss.clone() / losses.questions.max(1) as f32
            + next_loss.clone() * (pass.next_weight / losses.next_tokens.max(1) as f32);
        let mut gradients = total.backward();

        // One list, so that a card is waited for once.
        let mut parts = vec![question_loss.inner(), next_loss.inner()];
        for leaf in &model.leaves {
            // A weight that no loss depends on has no gradient: the pointer's in a batch without questions.
            let zeros = || Tensor::zeros(leaf.shape(), &self.device);
            parts.push(leaf.grad_remove(&mut gradients).unwrap_or_else(zeros));
        }
        let downloaded = download(Tensor::cat(parts, 0))?;
        losses.question = f64::from(downloaded[0]);
        losses.next = f64::from(downloaded[1]);
        gradient.copy_from_slice(&downloaded[2..]);
        Ok(losses)
    }

    fn logits(&mut self, weights: &Weights, batch: &Batch) -> Result<Vec<f32>> {
        batch.check(weights.config())?;
        let Some(questions) = QuestionTensors::new(batch, weights.config(), &self.device) else {
            return Ok(Vec::new());
        };
        let model = BurnModel::new(weights, &self.device);
        let hidden = model.hidden(&Inputs::new(batch, &self.device), Vec::new());
        let logits = download(model.candidate_logits(&hidden, &questions))?;
        Ok(cells(batch, questions.widest).map(|cell| logits[cell]).collect())
    }
}

/// Waits for the device to finish `tensor`.
fn download<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    tensor.try_into_vec_as::<f32>().map_err(|source| {
        Error::new(ErrorKind::Device, format!("the device failed: {source}"))
            .next_step("try again, with smaller batches if its memory ran out, or choose another device")
    })
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::context::Task;
    use crate::transformer::TransformerConfig;

    #[test]
    fn dropout_leaves_out_its_share_and_keeps_the_mean() -> Result<()> {
        let config = TransformerConfig::student(Task::NextLaunch, 3);
        let batch = Batch { length: 32, apps: vec![0; 32 * 32], ..Batch::default() };
        let weights =
            Weights::new(config.clone(), vec![0.0; crate::transformer::WeightLayout::new(&config).len()])?;
        for dropout in [0.1, 0.5, 1.0] {
            let pass = TrainingPass { next_weight: 0.0, dropout, seed: 5 };
            let masks = BurnEngine::flex().masks(&weights, &batch, pass);
            assert_eq!(masks.len(), 1 + 2 * config.layers);
            for mask in masks {
                let mask = download(mask)?;
                let kept = mask.iter().filter(|&&factor| factor != 0.0).count();
                let share = kept as f32 / mask.len() as f32;
                assert!((share - (1.0 - dropout)).abs() < 0.01, "{share} kept at {dropout}");
                let factor = 1.0 / (1.0 - dropout);
                assert!(mask.iter().all(|&found| found == 0.0 || (found - factor).abs() < 1e-5));
            }
        }
        Ok(())
    }
}
