//! Latency: one student question of 32 tokens and 50 candidates, on one thread.

use std::hint::black_box;
use std::thread;
use std::time::Instant;

use foretap::context::Task;
use foretap::transformer::{
    Batch, BurnEngine, Engine as _, ForwardScratch, InferenceEngine, TransformerConfig,
};

use super::pytorch::{Mode, PyTorch};
use super::report::Report;
use crate::Result;
use crate::material::{self, Material};
use crate::report::Table;
use crate::timing::{SETTLE, median};

/// Different questions, asked in turn.
const ASKED: u64 = 50;
const CANDIDATES: usize = 50;
/// Sweeps of an engine before the next one's turn.
const SWEEPS_A_TURN: usize = 3;

/// Times one question, engine by engine in `turns` turns, into `report`.
///
/// # Errors
/// An engine fails.
pub fn compare(peer: &PyTorch, turns: usize, report: &mut Report) -> Result<()> {
    let config = TransformerConfig::student(Task::FirstAfterUnlock, 200);
    let batch = |seed| material::batch(&config, 1, 1, CANDIDATES, seed);
    let batches: Vec<Batch> = (0..ASKED).map(batch).collect();
    let material = Material::new(config.clone(), batches, 1.0)?;
    let folder = tempfile::tempdir()?;
    material.save(folder.path())?;
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;

    let (forward, mut scratch) = (InferenceEngine::new(material.weights.clone()), ForwardScratch::default());
    let mut scores = vec![0.0; CANDIDATES];
    let mut burn = BurnEngine::flex();
    let mut micros = [
        ("ours", Vec::new()),
        ("burn", Vec::new()),
        ("pytorch", Vec::new()),
        ("pytorch_compiled", Vec::new()),
    ];
    for turn in 0..=turns {
        let mut of_turn = [const { Vec::new() }; 4];
        thread::sleep(SETTLE);
        for batch in repeated(&material.batches) {
            of_turn[0].push(seconds(|| forward.score(black_box(batch), &mut scratch, &mut scores)));
            black_box(&scores);
        }
        of_turn[1] = one_thread.install(|| {
            let asked = repeated(&material.batches).map(|batch| {
                let start = Instant::now();
                black_box(burn.logits(&material.weights, batch)?);
                Ok(start.elapsed().as_secs_f64())
            });
            asked.collect::<Result<Vec<f64>>>()
        })?;
        of_turn[2] = peer.latency(folder.path(), Mode::Eager, SWEEPS_A_TURN)?;
        if !report.skipped.contains_key("pytorch_compiled_latency") {
            match peer.latency(folder.path(), Mode::Compiled, SWEEPS_A_TURN) {
                Ok(seconds) => of_turn[3] = seconds,
                Err(error) => {
                    report.skipped.insert("pytorch_compiled_latency".to_owned(), error.to_string());
                }
            }
        }
        // The first turn warms everyone up.
        if turn > 0 {
            for ((_, micros), of_turn) in micros.iter_mut().zip(of_turn) {
                micros.extend(of_turn.into_iter().map(|seconds| seconds * 1e6));
            }
        }
    }
    let mut table = Table::new(["engine", "µs a question"]);
    for (name, micros) in &micros {
        let Some(middle) = median(micros) else { continue };
        table.line([(*name).to_owned(), format!("{middle:.1}")]);
        report.latency_us.insert((*name).to_owned(), middle);
    }
    table.print("Latency: the student, 32 tokens, 50 candidates, one thread");
    Ok(())
}

fn repeated(batches: &[Batch]) -> impl Iterator<Item = &Batch> {
    std::iter::repeat_n(batches, SWEEPS_A_TURN).flatten()
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}
