//! What an exported network is asked: a question in the tensors that its graph reads.
//!
//! | input | sizes | what |
//! | --- | --- | --- |
//! | `tokens` | `[batch, tokens, 6]` | of each event its app (row of the vocabulary), signal kind, place, time gap, network, battery |
//! | `clock` | `[batch, tokens, 14]` | sines and cosines of its hour and weekday |
//! | `gap_classes` | `[batch, tokens, tokens]` | for each token the class of the time since each token up to it; 48 hides a pair |
//! | `candidate_apps` | `[batch, candidates]` | rows of the vocabulary; the row after the unknown app's is no candidate |
//! | `candidate_columns` | `[batch, candidates, columns]` | what the past says of each, standardised, in the order of the metadata's names |
//! | `question_columns` | `[batch, columns]` | what the moment looks like, standardised, in the order of the metadata's names |
//!
//! A router's graph reads two more: `features` `[batch, candidates, features]`, what trees read of each candidate, NaN where
//! it is missing, and `question_features` `[batch, columns]`, what the gate reads of the moment.
//!
//! The last token is the question itself. Shorter questions of a batch are padded: tokens in front, hidden from all others
//! by class 48, and candidates at the end, with the row of no app, whose probability is zero.
//!
//! [`question`] makes these of a [`Batch`], which a [`QuestionReader`](crate::network::QuestionReader) reads off a
//! [`Context`].

use crate::context::Context;
use crate::context::features::{self, SCHEMA};
use crate::context::tokens::{self, GAPS, gap};
use crate::network::{Batch, TransformerConfig};

/// Integers that tell of a token.
pub(super) const FACTS: usize = 6;

/// A size of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dim {
    /// The same in every call.
    Fixed(usize),
    /// Questions of a call.
    Batch,
    /// Tokens of each question.
    Tokens,
    /// Candidates of each question.
    Candidates,
    /// Rows of a table of features.
    Rows,
}

/// An input of a graph.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input {
    pub name: &'static str,
    /// In the graph's file.
    pub doc: &'static str,
    /// Sizes before the last.
    pub dims: &'static [Dim],
    /// The last size, where it is a number.
    pub width: Option<usize>,
    /// Whether it holds integers, of 32 bits.
    pub is_whole: bool,
}

pub(super) const TOKENS: Input = Input {
    name: "tokens",
    doc: "of each event: app, signal kind, place, time gap, network, battery; the last is the question",
    dims: &[Dim::Batch, Dim::Tokens],
    width: Some(FACTS),
    is_whole: true,
};
pub(super) const CLOCK: Input = Input {
    name: "clock",
    doc: "sines and cosines of hour and weekday",
    dims: &[Dim::Batch, Dim::Tokens],
    width: Some(tokens::CLOCK),
    is_whole: false,
};
pub(super) const GAP_CLASSES: Input = Input {
    name: "gap_classes",
    doc: "class of the time from each token (last size) to each that reads it; 48 hides the pair",
    dims: &[Dim::Batch, Dim::Tokens, Dim::Tokens],
    width: None,
    is_whole: true,
};
pub(super) const CANDIDATE_APPS: Input = Input {
    name: "candidate_apps",
    doc: "rows of the vocabulary; its length is an unknown app, one more no candidate",
    dims: &[Dim::Batch, Dim::Candidates],
    width: None,
    is_whole: true,
};
pub(super) const CANDIDATE_COLUMNS: Input = Input {
    name: "candidate_columns",
    doc: "what the past says of each candidate, standardised",
    dims: &[Dim::Batch, Dim::Candidates],
    width: None,
    is_whole: false,
};
pub(super) const QUESTION_COLUMNS: Input = Input {
    name: "question_columns",
    doc: "what the moment looks like, standardised",
    dims: &[Dim::Batch],
    width: None,
    is_whole: false,
};
/// Of a router's graph, besides.
pub(super) const FEATURES: Input = Input {
    name: "features",
    doc: "what trees read of each candidate, in the order of the schema; NaN is missing",
    dims: &[Dim::Batch, Dim::Candidates],
    width: None,
    is_whole: false,
};
pub(super) const SITUATION: Input = Input {
    name: "question_features",
    doc: "what the gate reads of the moment; NaN is unknown",
    dims: &[Dim::Batch],
    width: None,
    is_whole: false,
};

impl Input {
    /// All sizes.
    pub(super) fn sizes(&self) -> Vec<Dim> {
        self.dims.iter().copied().chain(self.width.map(Dim::Fixed)).collect()
    }
}

/// A tensor with a name: an input of a graph, or what it answered.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// The graph's name for it.
    pub name: &'static str,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// What it holds, row by row.
    pub values: Values,
}

/// Numbers of a [`NamedTensor`].
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Plain numbers.
    Floats(Vec<f32>),
    /// Rows of tables, and classes.
    Whole(Vec<i32>),
}

impl NamedTensor {
    /// A tensor of plain numbers.
    pub fn floats(name: &'static str, shape: Vec<usize>, values: Vec<f32>) -> Self {
        Self { name, shape, values: Values::Floats(values) }
    }

    /// A tensor of integers.
    pub fn whole(name: &'static str, shape: Vec<usize>, values: Vec<i32>) -> Self {
        Self { name, shape, values: Values::Whole(values) }
    }
}

/// The inputs of a transformer's graph for the only question of `batch`, which has one sequence.
///
/// # Shapes
/// As in the table above, with a `batch` of 1.
pub fn question(batch: &Batch, config: &TransformerConfig) -> Vec<NamedTensor> {
    let (length, candidates) = (batch.length, batch.candidates());
    let facts = (0..length).flat_map(|token| {
        let classes = [
            batch.kinds[token],
            batch.places[token],
            batch.gaps[token],
            batch.networks[token],
            batch.batteries[token],
        ];
        std::iter::once(batch.apps[token] as i32).chain(classes.map(i32::from))
    });
    let apps = batch.candidate_apps.iter().map(|&app| app as i32).collect();
    vec![
        NamedTensor::whole(TOKENS.name, vec![1, length, FACTS], facts.collect()),
        NamedTensor::floats(CLOCK.name, vec![1, length, tokens::CLOCK], batch.clock.clone()),
        NamedTensor::whole(GAP_CLASSES.name, vec![1, length, length], gap_classes(&batch.secs)),
        NamedTensor::whole(CANDIDATE_APPS.name, vec![1, candidates], apps),
        NamedTensor::floats(
            CANDIDATE_COLUMNS.name,
            vec![1, candidates, config.candidate_columns],
            batch.candidate_columns.clone(),
        ),
        NamedTensor::floats(
            QUESTION_COLUMNS.name,
            vec![1, config.question_columns],
            batch.question_columns.clone(),
        ),
    ]
}

/// What the inputs of a router's graph add to those of its transformer's.
///
/// # Shapes
/// `features`: `[1, candidates, features]`; `question_features`: `[1, columns]`.
pub fn router_question(context: &Context<'_>) -> [NamedTensor; 2] {
    let (mut matrix, candidates) = (Vec::new(), context.candidates().len());
    features::fill(context, &mut matrix);
    let question_features = context.question_features().columns();
    [
        NamedTensor::floats(FEATURES.name, vec![1, candidates, SCHEMA.len()], matrix),
        NamedTensor::floats(SITUATION.name, vec![1, question_features.len()], question_features.into()),
    ]
}

/// For each token the class of the time since each other; what comes later is hidden.
///
/// # Shapes
/// `secs`: `[tokens]`; returned: `[tokens, tokens]`, a row for each token that reads.
pub fn gap_classes(secs: &[u32]) -> Vec<i32> {
    let class = |now: usize, then: usize| match now.checked_sub(then) {
        Some(_) => i32::from(gap(i64::from(secs[now]) - i64::from(secs[then]))),
        None => GAPS as i32,
    };
    (0..secs.len()).flat_map(|now| (0..secs.len()).map(move |then| class(now, then))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Task;

    #[test]
    fn no_token_looks_ahead() {
        let (ahead, minute) = (GAPS as i32, i32::from(gap(60)));
        assert_eq!(gap_classes(&[5, 5, 65]), [0, ahead, ahead, 0, 0, ahead, minute, minute, 0]);
        assert!(gap_classes(&[]).is_empty());
    }

    #[test]
    fn inputs_have_the_sizes_that_they_say() {
        let config = TransformerConfig::student(Task::FirstAfterUnlock, 7);
        let batch = Batch::random_question(&config, 5, 3, 0);
        for NamedTensor { name, shape, values } in question(&batch, &config) {
            let found = match values {
                Values::Floats(values) => values.len(),
                Values::Whole(values) => values.len(),
            };
            assert_eq!(found, shape.iter().product::<usize>(), "{name}");
        }
    }
}
