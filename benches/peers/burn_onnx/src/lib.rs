//! The way around: foretap writes its transformer as ONNX, Burn's importer makes Rust of it, and both answer alike.
//!
//! ```text
//! cargo test --release --manifest-path benches/peers/burn_onnx/Cargo.toml
//! ```

/// What Burn's importer wrote.
#[allow(clippy::all, unused, missing_docs)]
pub mod transformer {
    include!(concat!(env!("OUT_DIR"), "/model/transformer.rs"));
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)] // a failed step is a failed test
mod tests {
    use burn::tensor::{Device, Int, Tensor, TensorData};
    use foretap::bundle::Bundle;
    use foretap::export::ExportSet;
    use foretap::export::question::{NamedTensor, Values, question};
    use foretap::transformer::{Batch, InferenceEngine, ForwardScratch};

    use super::transformer::Model;

    fn data(inputs: &[NamedTensor], name: &str) -> TensorData {
        let input = inputs.iter().find(|input| input.name == name).unwrap();
        match &input.values {
            Values::Floats(values) => TensorData::new(values.clone(), input.shape.clone()),
            Values::Whole(values) => TensorData::new(values.clone(), input.shape.clone()),
        }
    }

    fn asked(model: &Model, inputs: &[NamedTensor]) -> [Vec<f32>; 2] {
        let device = Device::default();
        let (logits, probabilities) = model.forward(
            Tensor::<3, Int>::from_data(data(inputs, "tokens"), &device),
            Tensor::<3>::from_data(data(inputs, "clock"), &device),
            Tensor::<3, Int>::from_data(data(inputs, "gap_classes"), &device),
            Tensor::<2, Int>::from_data(data(inputs, "candidate_apps"), &device),
            Tensor::<2>::from_data(data(inputs, "question_columns"), &device),
            Tensor::<3>::from_data(data(inputs, "candidate_columns"), &device),
        );
        [logits, probabilities].map(|answer| answer.into_data().to_vec::<f32>().unwrap())
    }

    fn difference(found: &[f32], expected: &[f32]) -> f32 {
        assert_eq!(found.len(), expected.len());
        found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn what_went_out_comes_in_and_answers_alike() {
        let export_set = ExportSet::of_bundle(Bundle::pretrained().unwrap()).unwrap();
        let (model, ours) = (Model::default(), export_set.transformer().unwrap());
        let golden = &export_set.onnx().unwrap()[0].test;
        let [logits, probabilities] = asked(&model, &golden.inputs);
        for (name, found) in [("logits", logits), ("probabilities", probabilities)] {
            let expected = golden.outputs.iter().find(|output| output.name == name).unwrap();
            let Values::Floats(expected) = &expected.values else { panic!("{name} are no numbers") };
            let difference = difference(&found, expected);
            println!("the golden question's {name} differ by {difference:e}");
            assert!(difference < 1e-4);
        }
        let config = ours.weights.config();
        let (forward, mut scratch) = (InferenceEngine::new(ours.weights.clone()), ForwardScratch::default());
        let mut largest = 0.0_f32;
        for (length, candidates, seed) in [(config.window, 50, 1), (1, 1, 2), (2, 7, 3), (17, 200, 4)] {
            let batch = Batch::random_question(config, length, candidates, seed);
            let mut expected = vec![0.0; candidates];
            forward.score(&batch, &mut scratch, &mut expected);
            let [logits, _] = asked(&model, &question(&batch, config));
            largest = largest.max(difference(&logits, &expected));
        }
        println!("logits of random questions differ by {largest:e} at most");
        assert!(largest < 1e-4);
    }
}
