//! Core ML packages, without Python or a Mac: the transformer as an ML Program.
//!
//! | function | answers | its inputs |
//! | --- | --- | --- |
//! | [`transformer`] | `logits`, `probabilities` `[1, candidates]` | [`question`](super::question::question) |
//!
//! A call asks one question, of 1 to `window` tokens and 1 to [`MOST_CANDIDATES`] candidates; nothing need be padded.
//! An `.mlpackage` is a folder: Xcode compiles it with an app, `MLModel.compileModel(at:)` on a device. Its metadata
//! tell the rest: see [`ModelCard`].
//!
//! Weights and operations are 32-bit floats, so that an app computes the numbers that we do, on the processor or the
//! graphics unit: Apple's Neural Engine computes in 16 bits alone. An app may allow its device half precision
//! (`allowLowPrecisionAccumulationOnGPU`), and `coremltools.optimize` makes weights smaller.

mod package;
mod program;
mod proto;
mod transformer;
mod weights;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use prost::Message as _;

use super::check_size;
use super::model_card::ModelCard;
use super::network::{Network, describe};
use crate::error::Result;
use crate::transformer::TransformerModel;
use proto::{
    ArrayDataType, ArrayFeatureType, FeatureDescription, FeatureType, Metadata, Model, ModelDescription,
};
use transformer::Operations;

/// A call's candidates at most: more apps than anyone has.
pub const MOST_CANDIDATES: usize = 2000;

/// What tools that measure a model without an app take.
const USUAL_CANDIDATES: usize = 50;

/// The first that has the operations of [`program::OPSET`].
const SPECIFICATION_VERSION: i32 = 7;

/// A Core ML model, ready to be written.
#[derive(Debug, Clone)]
pub struct CoreMlModel {
    model: Model,
    /// The file of constants.
    weights: Vec<u8>,
}

/// What a device must know to load a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirements {
    /// Version of the file format.
    pub specification_version: i32,
    /// The set of operations.
    pub opset: &'static str,
    /// iOS from this version on.
    pub ios: &'static str,
    /// macOS from this version on.
    pub macos: &'static str,
    /// Operations, by name.
    pub operators: BTreeSet<String>,
}

impl fmt::Display for Requirements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operators: Vec<&str> = self.operators.iter().map(String::as_str).collect();
        write!(
            f,
            "Core ML specification {}, opset {} (iOS {}, macOS {} or later); operators: {}",
            self.specification_version,
            self.opset,
            self.ios,
            self.macos,
            operators.join(" ")
        )
    }
}

/// The transformer of `model` in 32-bit floats.
///
/// # Errors
/// The program is too large for a file.
pub fn transformer(model: &TransformerModel, model_card: &ModelCard) -> Result<CoreMlModel> {
    let network = Network::plain(model);
    let mut operations = Operations { window: network.config().window, ..Operations::default() };
    let answer = describe(&network, &mut operations);
    let Operations { mut program, inputs, .. } = operations;
    let mut outputs = Vec::new();
    for (value, name, doc) in [
        (answer.logits, "logits", "of each candidate"),
        (answer.probabilities, "probabilities", "of each candidate, if it is one of them"),
    ] {
        program.output(&value, name);
        // Sizes that follow from the inputs' are not said.
        let array = ArrayFeatureType { data_type: ArrayDataType::Float32 as i32, ..Default::default() };
        outputs.push(FeatureDescription {
            name: name.to_owned(),
            short_description: doc.to_owned(),
            r#type: Some(FeatureType { multi_array_type: Some(array) }),
        });
    }
    let metadata = Metadata {
        short_description: "which app is opened next".to_owned(),
        version_string: env!("CARGO_PKG_VERSION").to_owned(),
        author: "foretap".to_owned(),
        license: env!("CARGO_PKG_LICENSE").to_owned(),
        user_defined: model_card.lines()?.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
    };
    let (program, weights) = program.finish();
    let description = ModelDescription { input: inputs, output: outputs, metadata: Some(metadata) };
    let model = Model {
        specification_version: SPECIFICATION_VERSION,
        description: Some(description),
        ml_program: Some(program),
    };
    // The file of weights knows no such end.
    check_size(model.encoded_len(), "Core ML's programs end")?;
    Ok(CoreMlModel { model, weights })
}

impl CoreMlModel {
    /// What a device must know to load it.
    pub fn requirements(&self) -> Requirements {
        let functions = self.model.ml_program.iter().flat_map(|program| program.functions.values());
        let blocks = functions.flat_map(|function| function.block_specializations.values());
        let operators = blocks.flat_map(|block| &block.operations).map(|operation| operation.r#type.clone());
        Requirements {
            specification_version: self.model.specification_version,
            opset: program::OPSET,
            ios: "16",
            macos: "13",
            operators: operators.filter(|operator| operator != "const").collect(),
        }
    }

    /// Writes the folder, an `.mlpackage`, whole or not at all. A package that was written there before is replaced.
    ///
    /// # Errors
    /// `folder` is not called `.mlpackage`, is something else than such a package, or cannot be written; what was there
    /// is then as it was.
    pub fn save(&self, folder: &Path) -> Result<()> {
        package::save(folder, &self.model.encode_to_vec(), &self.weights)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    use super::proto::{Block, SizeRange, Value, ValueKind};
    use super::*;
    use crate::context::Task;
    use crate::network::{Standardisation, TransformerConfig};
    use crate::transformer::Weights;

    /// One layer, sizes that are no round numbers, and a model of several layers.
    fn models() -> [TransformerModel; 3] {
        let student = TransformerConfig::student(Task::NextLaunch, 11);
        let odd = TransformerConfig {
            apps: 3,
            d_model: 6,
            layers: 1,
            heads: 3,
            d_ff: 5,
            window: 7,
            pointer_width: 3,
            mixture: 3,
            ..student.clone()
        };
        let single = TransformerConfig { window: 1, apps: 0, ..odd.clone() };
        [odd, single, student].map(|config| TransformerModel {
            apps: (0..config.apps).map(|app| format!("app{app}")).collect(),
            temperature: 1.25,
            columns: Standardisation::none(&config),
            weights: Weights::random(config, &mut ChaCha8Rng::seed_from_u64(5)).unwrap(),
        })
    }

    fn made(model: &TransformerModel) -> CoreMlModel {
        transformer(model, &ModelCard::transformer(model)).unwrap()
    }

    fn block(model: &CoreMlModel) -> &Block {
        &model.model.ml_program.as_ref().unwrap().functions["main"].block_specializations[program::OPSET]
    }

    fn is_valid(name: &str) -> bool {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    }

    #[test]
    fn names_are_valid_and_unique_and_known_before_they_are_read() {
        for model in models() {
            let model = made(&model);
            let description = model.model.description.as_ref().unwrap();
            let mut known: HashSet<&str> = description.input.iter().map(|input| &*input.name).collect();
            assert_eq!(known.len(), 6);
            for operation in &block(&model).operations {
                let read = operation.inputs.values().flat_map(|argument| &argument.arguments);
                for binding in read {
                    assert!(known.contains(binding.name.as_deref().unwrap()), "{operation:?}");
                }
                let [computed] = &*operation.outputs else { panic!("{operation:?}") };
                assert!(is_valid(&computed.name) && known.insert(&computed.name), "{}", computed.name);
            }
            assert_eq!(block(&model).outputs, ["logits", "probabilities"]);
            assert!(block(&model).outputs.iter().all(|output| known.contains(&**output)));
        }
    }

    #[test]
    fn every_long_constant_has_its_place_in_the_file() {
        let [odd, ..] = models();
        let model = made(&odd);
        let mut found = Vec::new();
        for operation in &block(&model).operations {
            let Some(Value { r#type, value: Some(ValueKind::BlobFile(blob)) }) =
                operation.attributes.get("val")
            else {
                continue;
            };
            let tensor = r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
            let size = |dimension: &proto::Dimension| match dimension.dimension {
                Some(proto::DimensionKind::Constant(constant)) => constant.size,
                _ => panic!("{operation:?}"),
            };
            let bytes = 4 * tensor.dimensions.iter().map(size).product::<u64>();
            let at = blob.offset as usize;
            assert_eq!(model.weights[at + 8..at + 16], bytes.to_le_bytes(), "{operation:?}");
            found.push(at);
        }
        assert!(found.is_sorted() && found.iter().all(|at| at % 64 == 0));
        assert_eq!(model.weights[..4], (found.len() as u32).to_le_bytes());
    }

    #[test]
    fn a_call_chooses_tokens_and_candidates_where_there_is_a_choice() {
        let ranges = |model: &TransformerModel, name: &str| -> Vec<(u64, i64)> {
            let description = made(model).model.description.unwrap();
            let input = description.input.iter().find(|input| input.name == name).unwrap();
            let array = input.r#type.as_ref().unwrap().multi_array_type.as_ref().unwrap();
            let sizes = &array.shape_range.as_ref().unwrap().size_ranges;
            assert_eq!(sizes.len(), array.shape.len());
            sizes.iter().map(|&SizeRange { lower_bound, upper_bound }| (lower_bound, upper_bound)).collect()
        };
        let [odd, single, _] = models();
        assert_eq!(ranges(&odd, "tokens"), [(1, 1), (1, 7), (6, 6)]);
        assert_eq!(ranges(&odd, "gap_classes"), [(1, 1), (1, 7), (1, 7)]);
        assert_eq!(ranges(&odd, "candidate_apps"), [(1, 1), (1, 2000)]);
        assert_eq!(ranges(&single, "tokens"), [(1, 1), (1, 1), (6, 6)]);
    }

    #[test]
    fn the_same_model_is_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let [.., student] = models();
        let [first, second] = ["a", "b"].map(|name| {
            let target = folder.path().join(name).with_extension("mlpackage");
            made(&student).save(&target).unwrap();
            let data = target.join("Data/com.apple.CoreML");
            ["model.mlmodel", "weights/weight.bin"].map(|file| std::fs::read(data.join(file)).unwrap())
        });
        assert!(first == second);
        let read = Model::decode(&*first[0]).unwrap();
        let metadata = read.description.unwrap().metadata.unwrap();
        assert_eq!(metadata.license, "MIT OR Apache-2.0");
        assert_eq!(metadata.user_defined["temperature"], "1.25");
    }

    #[test]
    fn says_what_it_needs() {
        let [odd, ..] = models();
        assert_eq!(
            made(&odd).requirements().to_string(),
            "Core ML specification 7, opset CoreML6 (iOS 16, macOS 13 or later); operators: add gather \
             gather_along_axis matmul mul reduce_log_sum_exp reduce_mean reduce_sum relu reshape rsqrt slice_by_index \
             softmax sub transpose"
        );
    }
}
