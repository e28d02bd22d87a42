//! OpenVINO: the library of its wheel, with a plan for each shape of question, as tract has them.

use std::collections::HashMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use foretap::export::question::{NamedTensor, Values};
use openvino::{
    CompiledModel, Core, DeviceType, ElementType, InferRequest, PartialShape, RwPropertyKey, Shape, Tensor,
    get_last_error_message,
};

use super::{Runtime, Session};
use crate::Result;
use crate::wheels;

/// What the library's file is called; its version follows.
const NAME: &str = "libopenvino_c.so.";

/// OpenVINO's processor plugin, on one thread and in single precision.
pub struct OpenVino(Mutex<Core>);

impl OpenVino {
    /// Opens the library in the environment at `venv`.
    ///
    /// # Errors
    /// There is no environment, the wheel is missing in it, or is too old.
    pub fn open(venv: &Path) -> Result<Self> {
        openvino_sys::library::load_from(file(venv)?)?;
        let mut core = Core::new()?;
        // Where a processor has short floats, it would compute in them.
        let settings = [
            (RwPropertyKey::InferenceNumThreads, "1"),
            (RwPropertyKey::NumStreams, "1"),
            (RwPropertyKey::HintInferencePrecision, "f32"),
        ];
        core.set_properties(&DeviceType::CPU, settings)?;
        Ok(Self(Mutex::new(core)))
    }
}

fn file(venv: &Path) -> Result<PathBuf> {
    wheels::library(venv, "openvino/libs", NAME).ok_or_else(|| {
        format!("no OpenVINO in {}; start with `bash benches/peers/run`", venv.display()).into()
    })
}

impl Runtime for OpenVino {
    fn name(&self) -> &'static str {
        "openvino"
    }

    fn version(&self) -> String {
        openvino::version().parts().take(3).collect::<Vec<_>>().join(".")
    }

    fn load(&self, file: &Path) -> Result<Box<dyn Session + '_>> {
        let file = file.to_str().ok_or("a file whose name is no text")?.to_owned();
        let mut graph = Graph { core: &self.0, file, plans: HashMap::new(), questions: Vec::new() };
        graph.with_core(|core, file| core.read_model_from_file(file, "").map(|_| ()))?;
        Ok(Box::new(graph))
    }
}

/// The shapes of a question's inputs.
type Shapes = Vec<Vec<usize>>;

struct Graph<'a> {
    core: &'a Mutex<Core>,
    file: String,
    plans: HashMap<Shapes, CompiledModel>,
    questions: Vec<InferRequest>,
}

impl Graph<'_> {
    fn with_core<T>(
        &mut self,
        call: impl FnOnce(&mut Core, &str) -> std::result::Result<T, openvino::InferenceError>,
    ) -> Result<T> {
        // Whoever panicked before left it as it was.
        let mut core = self.core.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        call(&mut core, &self.file).map_err(|error| {
            // The message says which operator; the error only that something failed.
            get_last_error_message().map_or_else(|| error.to_string(), |message| message.to_string()).into()
        })
    }

    /// A plan for inputs of these shapes: for shapes that are left open it takes half as long again, and more.
    fn plan(&mut self, inputs: &[NamedTensor]) -> Result<CompiledModel> {
        let shapes = inputs.iter().map(|input| {
            let sizes: Vec<i64> = input.shape.iter().map(|&size| size as i64).collect();
            Ok((input.name, PartialShape::new_static(sizes.len() as i64, &sizes)?))
        });
        let shapes = shapes.collect::<Result<Vec<_>>>()?;
        let shapes: Vec<(&str, &PartialShape)> = shapes.iter().map(|(name, shape)| (*name, shape)).collect();
        self.with_core(|core, file| {
            let mut model = core.read_model_from_file(file, "")?;
            model.reshape(&shapes)?;
            core.compile_model(&model, DeviceType::CPU)
        })
    }
}

impl Session for Graph<'_> {
    fn prepare(&mut self, inputs: &[NamedTensor]) -> Result<usize> {
        let shapes: Shapes = inputs.iter().map(|input| input.shape.clone()).collect();
        if !self.plans.contains_key(&shapes) {
            let plan = self.plan(inputs)?;
            self.plans.insert(shapes.clone(), plan);
        }
        let plan = self.plans.get_mut(&shapes).ok_or("no plan")?;
        let mut request = plan.create_infer_request()?;
        for input in inputs {
            request.set_tensor(input.name, &tensor(input)?)?;
        }
        self.questions.push(request);
        Ok(self.questions.len() - 1)
    }

    fn clear(&mut self) {
        self.questions.clear();
        self.plans.clear();
    }

    fn run(&mut self, index: usize) -> Result<()> {
        self.questions[index].infer()?;
        black_box(&self.questions[index]);
        Ok(())
    }

    fn output(&mut self, index: usize, name: &str) -> Result<Vec<f32>> {
        self.run(index)?;
        Ok(self.questions[index].get_tensor(name)?.get_data::<f32>()?.to_vec())
    }
}

fn tensor(input: &NamedTensor) -> Result<Tensor> {
    let sizes: Vec<i64> = input.shape.iter().map(|&size| size as i64).collect();
    let shape = Shape::new(&sizes)?;
    Ok(match &input.values {
        Values::Floats(values) => {
            let mut tensor = Tensor::new(ElementType::F32, &shape)?;
            tensor.get_data_mut::<f32>()?.copy_from_slice(values);
            tensor
        }
        Values::Whole(values) => {
            let mut tensor = Tensor::new(ElementType::I32, &shape)?;
            tensor.get_data_mut::<i32>()?.copy_from_slice(values);
            tensor
        }
    })
}
