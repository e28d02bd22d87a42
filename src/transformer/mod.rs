//! The deep expert: a small causal transformer over (app, time, place) tokens.

#[cfg(feature = "burn")]
mod burn;
mod checkpoint;
mod curve;
mod dataset;
mod device;
mod engine;
mod file;
mod forward;
mod import;
mod learn;
mod metrics;
mod native;
mod optimizer;
mod predictor;
mod pretrained;
#[doc(hidden)]
pub mod reference;
mod run;
mod sample;
mod schedule;
mod tensors;
mod train;
mod validate;
mod weights;

#[cfg(feature = "burn")]
pub use self::burn::BurnEngine;
pub use dataset::{DatasetConfig, SequenceDataset, Teacher};
pub use device::Device;
pub use engine::{Engine, Losses, TrainingPass};
pub use file::{FORMAT_VERSION, TransformerModel};
pub use forward::{ForwardScratch, InferenceEngine};
pub use import::{Imported, Mapping, SourceTensor};
pub use learn::{FineTuneConfig, MAX_VOCABULARY, Size, TrainingSet, learn};
pub use metrics::Metrics;
pub use native::NativeEngine;
pub use optimizer::{AdamW, clip};
pub use predictor::Transformer;
pub use pretrained::pretrained;
pub use run::RunFolder;
pub use schedule::TrainingConfig;
pub use tensors::Precision;
pub use train::{DataLoader, TrainedTransformer, train};
pub use validate::{Validation, validate};
pub use weights::Weights;

pub use crate::network::{
    Batch, LayerLayout, NO_TARGET, NORM_EPSILON, Standardisation, TensorSpec, TransformerConfig, WeightLayout,
};
