//! A trained transformer as a [`Predictor`].

use super::file::TransformerModel;
use super::forward::{Forward, ForwardScratch};
use crate::context::Context;
use crate::context::pointer::{CANDIDATE_COLUMNS, PointerRows, QUESTION_COLUMNS};
use crate::context::tokens::Token;
use crate::data::{AppId, Vocabulary};
use crate::error::{Error, ErrorKind, Result};
use crate::network::Standardisation;
use crate::network::TransformerConfig;
use crate::network::{Batch, NO_TARGET};
use crate::predict::{Predictor, Scratch};

/// A transformer that knows the apps of one vocabulary. It needs no framework.
#[derive(Debug, Clone)]
pub struct Transformer {
    forward: Forward,
    config: TransformerConfig,
    columns: Standardisation,
    /// By app id.
    rows: Vec<u32>,
}

impl Transformer {
    /// A predictor for logs whose app ids are those of `vocabulary`. Apps that the model does not know are told apart by
    /// how they were used alone.
    ///
    /// # Errors
    /// The model reads other columns than this build computes.
    pub fn new(model: &TransformerModel, vocabulary: &Vocabulary) -> Result<Self> {
        let config = model.weights.config();
        let (candidate, question) = (config.candidate_columns, config.question_columns);
        if (candidate, question) != (CANDIDATE_COLUMNS, QUESTION_COLUMNS) {
            let message = format!(
                "the transformer reads {candidate} and {question} columns, but this build computes \
                 {CANDIDATE_COLUMNS} and {QUESTION_COLUMNS}"
            );
            return Err(
                Error::new(ErrorKind::Model, message).next_step("train the model again with this version")
            );
        }
        Ok(Self {
            forward: Forward::new(model.weights.clone()),
            config: model.weights.config().clone(),
            columns: model.columns.clone(),
            rows: model.rows(vocabulary),
        })
    }

    fn row(&self, app: AppId) -> u32 {
        self.rows.get(app.0 as usize).copied().unwrap_or(self.config.unknown_app())
    }
}

#[derive(Debug, Default)]
struct TransformerScratch {
    tokens: Vec<Token>,
    rows: PointerRows,
    batch: Batch,
    forward: ForwardScratch,
}

impl Predictor for Transformer {
    fn new_scratch(&self) -> Scratch {
        Scratch::new(TransformerScratch::default())
    }

    fn score(&self, context: &Context<'_>, scratch: &mut Scratch, scores: &mut [f32]) {
        let TransformerScratch { tokens, rows, batch, forward } = scratch.buffers();
        context.tokens(self.config.window, tokens);
        batch.clear(tokens.len());
        let began = tokens.first().map(|token| token.at).unwrap_or_default();
        for token in tokens.iter() {
            let app = token.app.map_or(self.config.no_app(), |app| self.row(app));
            batch.push_token(token, began, app, NO_TARGET);
        }
        rows.fill(context);
        self.columns.candidates(&mut rows.candidates);
        self.columns.questions(&mut rows.question);
        batch.candidate_columns.extend_from_slice(&rows.candidates);
        batch.question_columns.extend_from_slice(&rows.question);
        batch.candidate_apps.extend(context.candidates().iter().map(|&app| self.row(app)));
        batch.targets.resize(scores.len(), 0.0);
        batch.end_question(tokens.len() - 1);
        self.forward.score(batch, forward, scores);
    }
}
