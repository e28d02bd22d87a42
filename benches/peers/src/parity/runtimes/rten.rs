//! RTen: the crate `rten`, its weights packed on loading, on a pool of one thread.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use foretap::export::question::{NamedTensor, Values};
use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value, ValueOrView};

use super::{Runtime, Session, locked};
use crate::Result;

/// RTen, and the one thread that it runs on.
pub struct Rten(Arc<ThreadPool>);

impl Rten {
    /// Starts the thread.
    pub fn start() -> Self {
        Self(Arc::new(ThreadPool::with_num_threads(1)))
    }

    /// Calls `measure` on the thread that graphs run on: from any other, each answer waits some 10 µs for it.
    pub fn on_its_thread<R: Send>(&self, measure: impl FnOnce() -> R + Send) -> R {
        self.0.run(measure)
    }
}

impl Runtime for Rten {
    fn name(&self) -> &'static str {
        "rten"
    }

    fn version(&self) -> String {
        locked("rten")
    }

    fn load(&self, file: &Path) -> Result<Box<dyn Session + '_>> {
        let model = ModelOptions::with_all_ops().prepack_weights(true).load_file(file)?;
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&self.0)));
        Ok(Box::new(Graph { model, options, questions: Vec::new() }))
    }
}

struct Graph {
    model: Model,
    options: RunOptions,
    questions: Vec<Vec<(NodeId, Value)>>,
}

impl Graph {
    /// Every output, in the order of the graph's.
    fn answer(&self, index: usize) -> Result<Vec<Value>> {
        let inputs =
            self.questions[index].iter().map(|(id, value)| (*id, ValueOrView::View(value.as_view())));
        Ok(self.model.run(inputs.collect(), self.model.output_ids(), Some(self.options.clone()))?)
    }
}

impl Session for Graph {
    fn prepare(&mut self, inputs: &[NamedTensor]) -> Result<usize> {
        let question = inputs.iter().map(|input| Ok((self.model.node_id(input.name)?, tensor(input)?)));
        self.questions.push(question.collect::<Result<_>>()?);
        Ok(self.questions.len() - 1)
    }

    fn clear(&mut self) {
        self.questions.clear();
    }

    fn run(&mut self, index: usize) -> Result<()> {
        black_box(self.answer(index)?);
        Ok(())
    }

    fn output(&mut self, index: usize, name: &str) -> Result<Vec<f32>> {
        let id = self.model.node_id(name)?;
        let answer = self.model.output_ids().iter().zip(self.answer(index)?);
        match answer.into_iter().find(|(found, _)| **found == id) {
            Some((_, Value::FloatTensor(tensor))) => Ok(tensor.into_data()),
            Some((_, other)) => Err(format!("{name} holds {:?}", other.dtype()).into()),
            None => Err(format!("{name} is no output").into()),
        }
    }
}

fn tensor(input: &NamedTensor) -> Result<Value> {
    Ok(match &input.values {
        Values::Floats(values) => Value::from_shape(&input.shape, values.clone())?,
        Values::Whole(values) => Value::from_shape(&input.shape, values.clone())?,
    })
}
