//! Which of our models an export is, what it is asked, and what it answers.

use foretap::export::question::{NamedTensor, Values};

use super::people::Question;
use crate::Result;

/// Who answers as an export does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// The transformer in plain numbers.
    Transformer,
    /// The transformer in INT8.
    Student,
    /// The trees alone.
    Trees,
    /// Trees and transformer in plain numbers.
    PlainRouter,
    /// Trees and transformer in INT8.
    Router,
}

impl Model {
    /// All, in the order of [`Question::ours`].
    pub const ALL: [Self; 5] =
        [Self::Transformer, Self::Student, Self::Trees, Self::PlainRouter, Self::Router];

    /// The model behind the export `name`.
    ///
    /// # Errors
    /// An export that this program does not know.
    pub fn of(name: &str) -> Result<Self> {
        Ok(match name {
            "transformer" | "transformer-f16" => Self::Transformer,
            "student-static" | "student-dynamic" => Self::Student,
            "trees" | "trees-regressor" | "trees-classifier" | "trees-walk" => Self::Trees,
            "router" | "router-walk" => Self::PlainRouter,
            "router-dynamic" => Self::Router,
            _ => return Err(format!("the export {name} is new: say in {} whose it is", file!()).into()),
        })
    }

    /// Whether it answers from a context, features included.
    pub fn is_router(self) -> bool {
        matches!(self, Self::PlainRouter | Self::Router)
    }

    /// The output of its graph that is compared.
    pub fn output(self) -> &'static str {
        if self == Self::Trees { "scores" } else { "probabilities" }
    }

    /// What its graph reads of `question`.
    pub fn inputs(self, question: &Question) -> Vec<NamedTensor> {
        let inputs = question.inputs.iter();
        let of_trees = |input: &&NamedTensor| input.name == "features";
        match self {
            Self::PlainRouter | Self::Router => inputs.cloned().collect(),
            // Trees know no questions, only rows.
            Self::Trees => inputs
                .filter(of_trees)
                .map(|input| NamedTensor { shape: input.shape[1..].to_vec(), ..input.clone() })
                .collect(),
            Self::Transformer | Self::Student => inputs
                .filter(|input| !of_trees(input) && input.name != "question_features")
                .cloned()
                .collect(),
        }
    }

    /// What makes a question of another shape: its tokens and its candidates.
    pub fn shape(self, question: &Question) -> (usize, usize) {
        let (tokens, candidates) = question.size();
        (if self == Self::Trees { 0 } else { tokens }, candidates)
    }
}

/// The plain numbers of the input `name`.
pub fn floats<'a>(inputs: &'a [NamedTensor], name: &str) -> &'a [f32] {
    let named = inputs.iter().find(|input| input.name == name);
    match named.map(|input| &input.values) {
        Some(Values::Floats(values)) => values,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use foretap::export::TREES;

    use super::*;

    #[test]
    fn every_way_to_say_trees_is_known_and_what_is_new_is_refused() {
        for (name, _) in TREES {
            assert_eq!(Model::of(name).unwrap(), Model::Trees, "{name}");
        }
        assert!(Model::of("student-ternary").unwrap_err().to_string().contains("student-ternary"));
    }

    #[test]
    fn each_graph_is_given_what_it_reads() {
        let input = |name, shape: &[usize]| {
            NamedTensor::floats(name, shape.to_vec(), vec![0.5; shape.iter().product()])
        };
        let inputs = vec![
            input("features", &[1, 3, 2]),
            input("question_features", &[1, 4]),
            input("clock", &[1, 5, 6]),
        ];
        let question = Question {
            inputs,
            batch: Default::default(),
            answer: None,
            ours: Default::default(),
            asked: (0, 0),
        };
        let read = |model: Model| {
            model.inputs(&question).into_iter().map(|input| (input.name, input.shape)).collect::<Vec<_>>()
        };
        let router =
            [("features", vec![1, 3, 2]), ("question_features", vec![1, 4]), ("clock", vec![1, 5, 6])];
        assert_eq!(read(Model::Router), router);
        assert_eq!(read(Model::PlainRouter), router);
        assert_eq!(read(Model::Trees), [("features", vec![3, 2])]);
        assert_eq!(read(Model::Student), router[2..]);
        assert_eq!(question.features(), [0.5; 6]);
        assert!(floats(&question.inputs, "tokens").is_empty());
    }
}
