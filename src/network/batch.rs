//! What one training step reads: sequences of equal length, and the questions asked within them.

use super::config::TransformerConfig;
use crate::context::tokens::{BATTERIES, CLOCK, GAPS, KINDS, NETWORKS, PLACES, Token};
use crate::data::Timestamp;
use crate::error::{Error, ErrorKind, Result};

/// A token that has no next app to learn from.
pub const NO_TARGET: u32 = u32::MAX;

/// Sequences of equal length, so that nothing is padded, and the questions asked at some of their tokens.
///
/// Tokens are numbered sequence by sequence: token `t` of sequence `s` is `s * length + t`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// Tokens a sequence.
    pub length: usize,
    /// `[tokens]`: rows of the app embedding.
    pub apps: Vec<u32>,
    /// `[tokens]`, below [`KINDS`](crate::context::tokens::KINDS).
    pub kinds: Vec<u8>,
    /// `[tokens]`, below [`PLACES`](crate::context::tokens::PLACES).
    pub places: Vec<u8>,
    /// `[tokens]`, below [`GAPS`](crate::context::tokens::GAPS).
    pub gaps: Vec<u8>,
    /// `[tokens]`, below [`NETWORKS`](crate::context::tokens::NETWORKS).
    pub networks: Vec<u8>,
    /// `[tokens]`, below [`BATTERIES`](crate::context::tokens::BATTERIES).
    pub batteries: Vec<u8>,
    /// `[tokens, CLOCK]`: hour and weekday as points on circles.
    pub clock: Vec<f32>,
    /// `[tokens]`: seconds since the sequence's first token, ascending within it.
    pub secs: Vec<u32>,
    /// `[tokens]`: the app opened next, as a row of the app embedding up to the unknown app, or [`NO_TARGET`].
    pub next_apps: Vec<u32>,

    /// `[questions]`: the token at which each is asked.
    pub question_tokens: Vec<u32>,
    /// `[questions, question_columns]`, standardised.
    pub question_columns: Vec<f32>,
    /// `[questions + 1]`: question `q` has the candidates `offsets[q]..offsets[q + 1]`.
    pub offsets: Vec<u32>,
    /// `[candidates]`: rows of the app embedding up to the unknown app.
    pub candidate_apps: Vec<u32>,
    /// `[candidates, candidate_columns]`, standardised.
    pub candidate_columns: Vec<f32>,
    /// `[candidates]`: the distribution to learn; each question's sum to one.
    pub targets: Vec<f32>,
}

impl Batch {
    /// Takes everything out, for sequences of `length` tokens.
    pub fn clear(&mut self, length: usize) {
        let Self {
            apps,
            kinds,
            places,
            gaps,
            networks,
            batteries,
            clock,
            secs,
            next_apps,
            question_tokens,
            question_columns,
            offsets,
            candidate_apps,
            candidate_columns,
            targets,
            ..
        } = self;
        self.length = length;
        [apps, secs, next_apps, question_tokens, candidate_apps].into_iter().for_each(Vec::clear);
        [kinds, places, gaps, networks, batteries].into_iter().for_each(Vec::clear);
        [clock, question_columns, candidate_columns, targets].into_iter().for_each(Vec::clear);
        offsets.clear();
        offsets.push(0);
    }

    /// Adds a token to the last sequence, which began at `began`. `app` and `next_app` are rows of the app embedding.
    pub fn push_token(&mut self, token: &Token, began: Timestamp, app: u32, next_app: u32) {
        self.apps.push(app);
        self.kinds.push(token.kind);
        self.places.push(token.place);
        self.gaps.push(token.gap);
        self.networks.push(token.network);
        self.batteries.push(token.battery);
        self.clock.extend(token.clock());
        self.secs.push(token.at.secs_since(began).clamp(0, i64::from(u32::MAX)) as u32);
        self.next_apps.push(next_app);
    }

    /// Takes the last token back from the only sequence, whose length it lowers.
    pub(crate) fn pop_token(&mut self) {
        let length = self.length.saturating_sub(1);
        self.length = length;
        self.apps.truncate(length);
        let bytes =
            [&mut self.kinds, &mut self.places, &mut self.gaps, &mut self.networks, &mut self.batteries];
        bytes.into_iter().for_each(|list| list.truncate(length));
        self.clock.truncate(length * CLOCK);
        self.secs.truncate(length);
        self.next_apps.truncate(length);
    }

    /// Ends the question that is asked at `token`; its candidates and columns have been added.
    pub fn end_question(&mut self, token: usize) {
        self.question_tokens.push(token as u32);
        self.offsets.push(self.candidate_apps.len() as u32);
    }

    /// All tokens.
    pub fn tokens(&self) -> usize {
        self.apps.len()
    }

    /// All sequences.
    pub fn sequences(&self) -> usize {
        self.tokens() / self.length.max(1)
    }

    /// All questions.
    pub fn questions(&self) -> usize {
        self.question_tokens.len()
    }

    /// All candidates of all questions.
    pub fn candidates(&self) -> usize {
        self.candidate_apps.len()
    }

    /// Refuses a batch that does not [fit](Self::fits) `config`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`].
    pub fn check(&self, config: &TransformerConfig) -> Result<()> {
        if self.fits(config) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Config, "a batch of another shape than the transformer's")
            .next_step("make it for the model's own vocabulary, window and columns"))
    }

    /// Whether every list is as long, and every row as large, as `config` and the other lists ask for.
    pub fn fits(&self, config: &TransformerConfig) -> bool {
        let (tokens, questions, candidates) = (self.tokens(), self.questions(), self.candidates());
        let lists = [
            (&self.kinds, KINDS),
            (&self.places, PLACES),
            (&self.gaps, GAPS),
            (&self.networks, NETWORKS),
            (&self.batteries, BATTERIES),
        ];
        let fits = |&(list, rows): &(&Vec<u8>, usize)| {
            list.len() == tokens && list.iter().all(|&row| usize::from(row) < rows)
        };
        let unknown = config.unknown_app();
        self.length > 0
            && self.length <= config.window
            && tokens.is_multiple_of(self.length)
            && lists.iter().all(fits)
            && self.clock.len() == tokens * CLOCK
            && self.secs.len() == tokens
            && self.next_apps.len() == tokens
            && self.apps.iter().all(|&app| app <= config.no_app())
            && self.next_apps.iter().all(|&app| app <= unknown || app == NO_TARGET)
            && self.question_tokens.iter().all(|&token| (token as usize) < tokens)
            && self.question_columns.len() == questions * config.question_columns
            && self.offsets.len() == questions + 1
            && self.offsets.first() == Some(&0)
            && self.offsets.is_sorted()
            && self.offsets.last().map(|&end| end as usize) == Some(candidates)
            && self.candidate_apps.iter().all(|&app| app <= unknown)
            && self.candidate_columns.len() == candidates * config.candidate_columns
            && self.targets.len() == candidates
    }
}
