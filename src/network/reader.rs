//! From a question to what a network reads of it.

use super::batch::{Batch, NO_TARGET};
use super::columns::{ColumnReader, Standardisation};
use super::config::TransformerConfig;
use crate::context::Context;
use crate::context::features::SharedFeatures;
use crate::context::pointer_features::PointerRows;
use crate::context::tokens::Token;
use crate::data::{AppId, Vocabulary};
use crate::error::Result;

/// Which of the past tokens are read, as a user's past grows.
///
/// The default is the window that ships: float and INT8 predictors, calibration, exports and comparisons all read it, so
/// that a difference between two of them is never one of windows. What it costs against [`Sliding`](Window::Sliding), the
/// `quantize` example measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Window {
    /// Always as many as there is room for: the first one changes with every event, and with it all that a KV cache holds.
    Sliding,
    /// Half a window to a whole one. The first token stays the same while half a window is read, so that keys and values of
    /// the others can be used again.
    #[default]
    Stepping,
}

/// Turns questions into batches of one, for the apps of one vocabulary.
#[derive(Debug, Clone)]
pub struct QuestionReader {
    config: TransformerConfig,
    columns: ColumnReader,
    window: Window,
    /// By app id: the row of the app embedding.
    rows: Vec<u32>,
}

/// Room for [`QuestionReader::read`].
#[derive(Debug, Default)]
pub struct ReaderScratch {
    tokens: Vec<Token>,
    rows: PointerRows,
    /// What was read last.
    pub batch: Batch,
}

impl QuestionReader {
    /// A reader of logs whose app ids are those of `vocabulary`, for a network of shape `config` that knows `apps`. What
    /// it does not know is distinguished by how it was used alone.
    ///
    /// # Errors
    /// The network reads a column that this build does not compute, or that means something else here.
    pub fn new(
        config: &TransformerConfig,
        columns: &Standardisation,
        apps: &[String],
        vocabulary: &Vocabulary,
        window: Window,
    ) -> Result<Self> {
        let mut rows = vec![config.unknown_app(); vocabulary.len()];
        for (row, name) in (0..).zip(apps) {
            if let Some(id) = vocabulary.id(name) {
                rows[id.0 as usize] = row;
            }
        }
        Ok(Self { config: config.clone(), columns: columns.reader()?, window, rows })
    }

    /// The shape of the network.
    pub fn config(&self) -> &TransformerConfig {
        &self.config
    }

    /// Reads the question into `scratch.batch`.
    pub fn read(&self, context: &Context<'_>, scratch: &mut ReaderScratch) {
        self.read_tokens(context, scratch);
        let ReaderScratch { rows, batch, .. } = scratch;
        self.columns.read(context, rows, &mut batch.candidate_columns, &mut batch.question_columns);
        self.end_question(context, batch);
    }

    /// The same from `features` of this question, which others read, too.
    pub fn read_sharing(
        &self,
        context: &Context<'_>,
        features: &mut SharedFeatures,
        scratch: &mut ReaderScratch,
    ) {
        self.read_tokens(context, scratch);
        let ReaderScratch { rows, batch, .. } = scratch;
        let Batch { candidate_columns, question_columns, .. } = batch;
        self.columns.read_sharing(context, features, rows, candidate_columns, question_columns);
        self.end_question(context, batch);
    }

    fn end_question(&self, context: &Context<'_>, batch: &mut Batch) {
        batch.candidate_apps.extend(context.candidates().iter().map(|&app| self.row(app)));
        batch.targets.resize(context.candidates().len(), 0.0);
        batch.end_question(batch.length - 1);
    }

    /// Reads the question's tokens alone.
    fn read_tokens(&self, context: &Context<'_>, scratch: &mut ReaderScratch) {
        let ReaderScratch { tokens, batch, .. } = scratch;
        let window = match self.window {
            Window::Sliding => self.config.window,
            Window::Stepping => context.stepping_window(self.config.window),
        };
        context.tokens(window, tokens);
        batch.clear(tokens.len());
        let began = tokens.first().map(|token| token.at).unwrap_or_default();
        for token in tokens.iter() {
            let app = token.app.map_or(self.config.no_app(), |app| self.row(app));
            batch.push_token(token, began, app, NO_TARGET);
        }
    }

    /// Reads the tokens that a question after the last event of `context` will find before its own.
    pub fn prefill(&self, context: &Context<'_>, scratch: &mut ReaderScratch) {
        self.read_tokens(context, scratch);
        if !context.is_last_token() {
            scratch.batch.pop_token();
        }
    }

    fn row(&self, app: AppId) -> u32 {
        self.rows.get(app.0 as usize).copied().unwrap_or(self.config.unknown_app())
    }
}
