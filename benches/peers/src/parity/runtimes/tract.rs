//! tract: the crate `tract-onnx`, with a plan for each shape of question.

use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;

use foretap::export::question::{NamedTensor, Values};
use tract_onnx::prelude::{
    Framework, InferenceFact, InferenceModel, InferenceModelExt, IntoRunnable, IntoTValue, TValue, TVec,
    Tensor, TractResult, TypedSimpleState,
};

use super::{Runtime, Session, locked};
use crate::Result;

/// tract, which has no threads unless its feature `multithread-mm` is on.
pub struct Tract;

impl Runtime for Tract {
    fn name(&self) -> &'static str {
        "tract"
    }

    fn version(&self) -> String {
        locked("tract-onnx")
    }

    fn load(&self, file: &Path) -> Result<Box<dyn Session + '_>> {
        let model = tract_onnx::onnx().model_for_path(file).map_err(|error| format!("{error:#}"))?;
        Ok(Box::new(Graph { model, plans: HashMap::new(), questions: Vec::new() }))
    }
}

/// The shapes of a question's inputs, in the graph's order.
type Shapes = Vec<Vec<usize>>;

struct Graph {
    model: InferenceModel,
    /// Each holds the weights once more and takes 14 to 50 ms to make: whoever asks many shapes, asks one after another
    /// and clears between them.
    plans: HashMap<Shapes, TypedSimpleState>,
    questions: Vec<(Shapes, TVec<TValue>)>,
}

impl Graph {
    /// `inputs` in the graph's order.
    fn ordered(&self, inputs: &[NamedTensor]) -> Result<TVec<TValue>> {
        let order = self.model.inputs.iter().map(|outlet| {
            let name = &self.model.node(outlet.node).name;
            let input = inputs.iter().find(|input| input.name == name);
            Ok(tensor(input.ok_or_else(|| format!("the question has no {name}"))?)?.into_tvalue())
        });
        order.collect()
    }

    /// A plan for inputs of the types and shapes of `inputs`.
    ///
    /// One plan for all shapes gives the same answers, 15 to 50 % later on a small transformer.
    fn plan(&self, inputs: &[TValue]) -> TractResult<TypedSimpleState> {
        let mut model = self.model.clone();
        for (index, input) in inputs.iter().enumerate() {
            model.set_input_fact(index, InferenceFact::dt_shape(input.datum_type(), input.shape()))?;
        }
        model.into_optimized()?.into_runnable()?.spawn()
    }

    /// Every output, in the order of the graph's.
    fn answer(&mut self, index: usize) -> Result<TVec<TValue>> {
        let (shapes, inputs) = &self.questions[index];
        let plan = self.plans.get_mut(shapes).ok_or("no plan: the question was not prepared")?;
        Ok(plan.run(inputs.clone()).map_err(|error| format!("{error:#}"))?)
    }
}

impl Session for Graph {
    fn prepare(&mut self, inputs: &[NamedTensor]) -> Result<usize> {
        let inputs = self.ordered(inputs)?;
        let shapes: Shapes = inputs.iter().map(|input| input.shape().to_vec()).collect();
        if !self.plans.contains_key(&shapes) {
            let plan = self.plan(&inputs).map_err(|error| format!("{error:#}"))?;
            self.plans.insert(shapes.clone(), plan);
        }
        self.questions.push((shapes, inputs));
        Ok(self.questions.len() - 1)
    }

    fn clear(&mut self) {
        self.questions.clear();
        self.plans.clear();
    }

    fn run(&mut self, index: usize) -> Result<()> {
        black_box(self.answer(index)?);
        Ok(())
    }

    fn output(&mut self, index: usize, name: &str) -> Result<Vec<f32>> {
        let values = self.answer(index)?;
        let outputs = self.model.outputs.iter().zip(&values);
        let output = outputs.into_iter().find(|(outlet, _)| self.model.outlet_label(**outlet) == Some(name));
        let (_, value) = output.ok_or_else(|| format!("there is no output {name}"))?;
        Ok(value.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
    }
}

fn tensor(input: &NamedTensor) -> Result<Tensor> {
    Ok(match &input.values {
        Values::Floats(values) => Tensor::from_shape(&input.shape, values)?,
        Values::Whole(values) => Tensor::from_shape(&input.shape, values)?,
    })
}
