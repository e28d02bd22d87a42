//! Training speed: forward, backward, clipping and AdamW; the same weights, batches and threads for everyone.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use foretap::context::Task;
use foretap::transformer::{
    AdamW, Batch, BurnEngine, Engine, NativeEngine, TrainingPass, TransformerConfig, clip,
};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::pytorch::{Mode, PyTorch, Trained};
use super::report::{Report, Training};
use crate::Result;
use crate::material::{self, Material};
use crate::report::{Table, cell};
use crate::timing::{SETTLE, median, ratios};

const SEQUENCES: usize = 128;
/// Different batches, used in turn.
const BATCHES: u64 = 4;
/// Steps before the clock starts, after which everyone's loss must be the same.
const WARM_UP: usize = 3;
/// Of that loss. Its three updates add up what single steps differ by.
const LOSS_TOLERANCE: f64 = 1e-3;

/// How much is trained.
#[derive(Debug, Clone, Copy)]
pub struct Rounds {
    rounds: usize,
    /// About what one engine takes in a round.
    fill: Duration,
}

impl Rounds {
    /// For figures to be kept.
    pub const FULL: Self = Self { rounds: 9, fill: Duration::from_millis(1_500) };
    /// To see whether everything works.
    pub const QUICK: Self = Self { rounds: 3, fill: Duration::from_millis(300) };
}

/// Someone who trains.
trait Participant {
    fn name(&self) -> &'static str;
    /// Does so many more steps.
    fn train(&mut self, steps: usize) -> Result<Trained>;
}

/// Trains with the next-app loss alone, and with questions, on as many threads as `peer` has, into `report`.
///
/// # Errors
/// An engine fails, or comes to another loss than ours.
pub fn compare(peer: &PyTorch, rounds: Rounds, report: &mut Report) -> Result<()> {
    let threads = peer.threads;
    let plain = train_in_turn(peer, 0, rounds, report)?;
    let asked = train_in_turn(peer, 6, rounds, report)?;
    let case = |losses: &str| format!("{losses}_{threads}t");
    let mut table = Table::new([
        format!("{threads} threads"),
        "engine".to_owned(),
        "tokens/s".to_owned(),
        "ours / it".to_owned(),
    ]);
    for (name, training) in [("next app", &plain), ("questions", &asked)] {
        for (engine, tokens) in &training.tokens_per_s {
            let ratio = cell(training.ratio.get(engine).copied(), 2);
            table.line([name.to_owned(), engine.clone(), format!("{tokens:.0}"), ratio]);
        }
    }
    table.print("Training: d=64, 2 layers, 4 heads, feed-forward 256, 32 tokens, 128 sequences, 200 apps");
    // The last call has the most threads.
    let of = |engine: &str| plain.tokens_per_s.get(engine).map(|&tokens| (engine.to_owned(), tokens));
    report.tokens_per_s = ["ours", "pytorch", "burn"].into_iter().filter_map(of).collect();
    report.train_ratio = plain.ratio.get("pytorch").copied();
    report.training.insert(case("next_app"), plain);
    report.training.insert(case("questions"), asked);
    Ok(())
}

/// The shape in which training speed is measured; a student of twice the feed-forward.
fn benchmark_shape() -> TransformerConfig {
    TransformerConfig { d_ff: 256, ..TransformerConfig::student(Task::NextLaunch, 200) }
}

fn train_in_turn(peer: &PyTorch, asked: usize, rounds: Rounds, report: &mut Report) -> Result<Training> {
    let config = benchmark_shape();
    let batch = |seed| material::batch(&config, SEQUENCES, asked, 45, seed);
    let batches: Vec<Batch> = (0..BATCHES).map(batch).collect();
    let tokens = batches[0].tokens();
    let material = Material::new(config.clone(), batches, 1.0)?;
    let folder = tempfile::tempdir()?;
    material.save(folder.path())?;
    let mut participants: Vec<Box<dyn Participant + '_>> = vec![
        Box::new(Rust::new("ours", NativeEngine::new(), &material, peer.threads)?),
        Box::new(Python { name: "pytorch_eager", mode: Mode::Eager, peer, folder: folder.path() }),
        Box::new(Python { name: "pytorch_compiled", mode: Mode::Compiled, peer, folder: folder.path() }),
        Box::new(Rust::new("burn", BurnEngine::flex(), &material, peer.threads)?),
    ];
    let steps = warm_up(&mut participants, rounds, report)?;
    let mut speeds = vec![Vec::new(); participants.len()];
    for _ in 0..rounds.rounds {
        for ((participant, speeds), &steps) in participants.iter_mut().zip(&mut speeds).zip(&steps) {
            // The threads of PyTorch's OpenMP spin for a while after their work.
            thread::sleep(SETTLE);
            speeds.push((steps * tokens) as f64 / participant.train(steps)?.seconds);
        }
    }
    let mut named: Vec<(&str, Vec<f64>)> =
        participants.iter().map(|participant| participant.name()).zip(speeds).collect();
    // PyTorch's best foot forward: the mode of the higher median.
    let pytorch = named.iter().filter(|(name, _)| name.starts_with("pytorch"));
    let best = pytorch.max_by(|a, b| median(&a.1).unwrap_or(0.0).total_cmp(&median(&b.1).unwrap_or(0.0)));
    let best = best.map(|(_, speeds)| ("pytorch", speeds.clone()));
    named.extend(best);
    let ours = named[0].1.clone();
    let mut training = Training::default();
    for (name, speeds) in named {
        let of_rounds = ratios(&ours, &speeds);
        training.tokens_per_s.extend(median(&speeds).map(|tokens| (name.to_owned(), tokens)));
        if name != "ours" {
            training.ratio.extend(median(&of_rounds).map(|ratio| (name.to_owned(), ratio)));
        }
        if name == "pytorch" {
            training.ratios = of_rounds;
        }
    }
    Ok(training)
}

/// The first steps of everyone, which must lead to the same loss, and how many steps fill a round. An engine that
/// cannot compile is left out.
fn warm_up(
    participants: &mut Vec<Box<dyn Participant + '_>>,
    rounds: Rounds,
    report: &mut Report,
) -> Result<Vec<usize>> {
    let (mut steps, mut expected) = (Vec::new(), None);
    let mut index = 0;
    while index < participants.len() {
        let participant = &mut participants[index];
        let loss = match participant.train(WARM_UP) {
            Ok(trained) => trained.loss,
            Err(error) if participant.name() == "pytorch_compiled" => {
                eprintln!("without torch.compile: {error}");
                report.skipped.insert(participant.name().to_owned(), error.to_string());
                participants.remove(index);
                continue;
            }
            Err(error) => return Err(error),
        };
        let expected = *expected.get_or_insert(loss);
        // Not by a difference above the tolerance, which would not show a NaN.
        let is_close = (loss - expected).abs() <= LOSS_TOLERANCE * expected.abs();
        if !is_close {
            let name = participant.name();
            return Err(format!("after {WARM_UP} steps {name} has a loss of {loss}, ours {expected}").into());
        }
        let a_step = participant.train(WARM_UP)?.seconds / WARM_UP as f64;
        steps.push(((rounds.fill.as_secs_f64() / a_step) as usize).max(2));
        index += 1;
    }
    Ok(steps)
}

/// An engine of foretap's in this process.
struct Rust<E> {
    name: &'static str,
    engine: E,
    material: Material,
    optimizer: AdamW,
    gradient: Vec<f32>,
    steps: usize,
    threads: ThreadPool,
}

impl<E: Engine + Send> Rust<E> {
    fn new(name: &'static str, engine: E, material: &Material, threads: usize) -> Result<Self> {
        Ok(Self {
            name,
            engine,
            material: material.clone(),
            optimizer: AdamW::new(material.weights.layout()),
            gradient: vec![0.0; material.weights.values.len()],
            steps: 0,
            threads: ThreadPoolBuilder::new().num_threads(threads).build()?,
        })
    }
}

impl<E: Engine + Send> Participant for Rust<E> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn train(&mut self, steps: usize) -> Result<Trained> {
        let Self { engine, material, optimizer, gradient, threads, .. } = self;
        let Material { weights, batches, training } = material;
        let (first, next_weight) = (self.steps, training.next_weight);
        let pass = TrainingPass { next_weight, dropout: 0.0, seed: 0 };
        let start = Instant::now();
        let loss = threads.install(|| {
            let mut loss = f64::NAN;
            for step in first..first + steps {
                let losses = engine.gradient(weights, &batches[step % batches.len()], pass, gradient)?;
                clip(gradient, training.clip_norm);
                optimizer.update(&mut weights.values, gradient, training, training.learning_rate);
                loss = losses.total(next_weight);
            }
            Ok::<_, foretap::Error>(loss)
        })?;
        self.steps += steps;
        Ok(Trained { seconds: start.elapsed().as_secs_f64(), loss })
    }
}

/// PyTorch in its own process.
struct Python<'a> {
    name: &'static str,
    mode: Mode,
    peer: &'a PyTorch,
    folder: &'a Path,
}

impl Participant for Python<'_> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn train(&mut self, steps: usize) -> Result<Trained> {
        self.peer.train(self.folder, self.mode, steps)
    }
}
