//! Batches of random numbers, for tests and for measuring.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::context::tokens::{BATTERIES, CLOCK, GAPS, KINDS, NETWORKS, PLACES};
use crate::network::TransformerConfig;
use crate::network::{Batch, NO_TARGET};

impl Batch {
    /// A batch of random sequences: one question each on average, none to two, of 45 candidates on average, 1 to 89.
    /// Their tokens are in no order. One token in ten has no next app.
    #[doc(hidden)]
    pub fn random(config: &TransformerConfig, length: usize, sequences: usize, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let tokens = length * sequences;
        let unknown = config.unknown_app();
        let below = |random: &mut ChaCha8Rng, end: usize| {
            (0..tokens).map(|_| random.random_range(0..end) as u8).collect()
        };
        let mut batch = Self {
            length,
            apps: (0..tokens).map(|_| random.random_range(0..=config.no_app())).collect(),
            kinds: below(&mut random, KINDS),
            places: below(&mut random, PLACES),
            gaps: below(&mut random, GAPS),
            networks: below(&mut random, NETWORKS),
            batteries: below(&mut random, BATTERIES),
            clock: (0..tokens * CLOCK).map(|_| random.random_range(-1.0..1.0)).collect(),
            offsets: vec![0],
            ..Self::default()
        };
        for token in 0..tokens {
            let step = 2.0f64.powf(random.random_range(0.0..14.0)) as u32 - 1;
            let before = if token.is_multiple_of(length) { 0 } else { batch.secs[token - 1] + step };
            batch.secs.push(before);
            let next = random.random_range(0..=unknown);
            batch.next_apps.push(if random.random_bool(0.1) { NO_TARGET } else { next });
        }
        let mut asked: Vec<u32> = Vec::new();
        for sequence in 0..sequences {
            for _ in 0..random.random_range(0..3) {
                let token = (sequence * length + random.random_range(0..length)) as u32;
                asked.insert(random.random_range(0..=asked.len()), token);
            }
        }
        for _ in &asked {
            let candidates = if random.random_bool(0.1) { 1 } else { random.random_range(1..90) };
            let columns = |random: &mut ChaCha8Rng, count: usize| -> Vec<f32> {
                (0..count).map(|_| random.random_range(-2.0..2.0)).collect()
            };
            batch.question_columns.extend(columns(&mut random, config.question_columns));
            batch.candidate_columns.extend(columns(&mut random, candidates * config.candidate_columns));
            batch.candidate_apps.extend((0..candidates).map(|_| random.random_range(0..=unknown)));
            let shares: Vec<f32> =
                (0..candidates).map(|_| random.random_range(0.0f32..1.0).powi(8) + 1e-3).collect();
            let total: f32 = shares.iter().sum();
            batch.targets.extend(shares.iter().map(|share| share / total));
            batch.offsets.push(batch.candidate_apps.len() as u32);
        }
        batch.question_tokens = asked;
        batch
    }

    /// One random sequence whose last token asks one question of `candidates`.
    #[doc(hidden)]
    pub fn random_question(config: &TransformerConfig, length: usize, candidates: usize, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut columns = |count: usize| (0..count).map(|_| random.random_range(-2.0..2.0)).collect();
        Self {
            question_tokens: vec![length as u32 - 1],
            question_columns: columns(config.question_columns),
            offsets: vec![0, candidates as u32],
            candidate_apps: (0..candidates as u32).map(|app| app % (config.unknown_app() + 1)).collect(),
            candidate_columns: columns(candidates * config.candidate_columns),
            targets: vec![1.0 / candidates as f32; candidates],
            ..Self::random(config, length, 1, seed)
        }
    }
}
