//! The training loop: it learns, it stops in time, and a killed run goes on as if nothing had happened.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside of test functions too: a failed step is a failed test

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use foretap::context::Task;
use foretap::predict::log_sum_exp;
use foretap::transformer::{
    Batch, DataLoader, Engine, Losses, Metrics, NO_TARGET, RunFolder, TrainedTransformer, TrainingConfig,
    TrainingPass, TransformerConfig, Weights, train,
};
use foretap::{Error, ErrorKind, Progress, Result, Silent};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const APPS: usize = 8;

fn shape() -> TransformerConfig {
    let student = TransformerConfig::student(Task::FirstAfterUnlock, APPS);
    TransformerConfig {
        d_model: 4,
        layers: 1,
        heads: 2,
        d_ff: 4,
        window: 2,
        pointer_width: 2,
        candidate_columns: 1,
        question_columns: 1,
        ..student
    }
}

fn start() -> Weights {
    Weights::random(shape(), &mut ChaCha8Rng::seed_from_u64(7)).unwrap()
}

fn config() -> TrainingConfig {
    TrainingConfig {
        steps: 60,
        learning_rate: 0.05,
        warmup_steps: 5,
        report_every: 4,
        validate_every: 10,
        checkpoint_every: 7,
        patience: 0,
        ..TrainingConfig::default()
    }
}

/// Questions over all apps; the app of number `a` is opened with a probability in proportion to `1 / (a + 1)`.
struct Popularity {
    validation: Vec<Batch>,
}

impl Popularity {
    fn new() -> Self {
        Self { validation: vec![questions(u64::MAX, 200), questions(u64::MAX - 1, 30)] }
    }
}

impl DataLoader for Popularity {
    fn batch(&self, seed: u64, step: u64) -> Batch {
        questions(seed.wrapping_mul(1_000_003).wrapping_add(step), 16)
    }

    fn validation(&self) -> &[Batch] {
        &self.validation
    }
}

fn questions(seed: u64, count: usize) -> Batch {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let whole: f64 = (1..=APPS).map(|a| 1.0 / a as f64).sum();
    let mut targets = vec![0.0; count * APPS];
    for row in targets.chunks_exact_mut(APPS) {
        let mut left = random.random::<f64>() * whole;
        let answer = (1..APPS).position(|a| {
            left -= 1.0 / a as f64;
            left < 0.0
        });
        row[answer.unwrap_or(APPS - 1)] = 1.0;
    }
    Batch {
        length: 1,
        apps: vec![0; count],
        kinds: vec![0; count],
        places: vec![0; count],
        gaps: vec![0; count],
        networks: vec![0; count],
        batteries: vec![0; count],
        clock: vec![0.0; count * foretap::context::tokens::CLOCK],
        secs: vec![0; count],
        next_apps: vec![NO_TARGET; count],
        question_tokens: (0..count as u32).collect(),
        question_columns: vec![0.0; count],
        offsets: (0..=count as u32).map(|question| question * APPS as u32).collect(),
        candidate_apps: (0..(count * APPS) as u32).map(|i| i % APPS as u32).collect(),
        candidate_columns: vec![0.0; count * APPS],
        targets,
    }
}

/// Knows the apps' biases alone; with dropout, it leaves out some of the questions.
#[derive(Default)]
struct Biases {
    passes: u64,
    /// Fails in the pass of this number: a process that is killed writes nothing more, either.
    killed_at: Option<u64>,
    /// What the loss of a pass becomes.
    spoil: Option<fn(u64, f64) -> f64>,
}

impl Engine for Biases {
    fn name(&self) -> String {
        "biases".to_owned()
    }

    fn gradient(
        &mut self,
        weights: &Weights,
        batch: &Batch,
        pass: TrainingPass,
        gradient: &mut [f32],
    ) -> Result<Losses> {
        if self.killed_at == Some(self.passes) {
            return Err(Error::new(ErrorKind::Io, "killed"));
        }
        gradient.fill(0.0);
        let logits = self.logits(weights, batch)?;
        let bias = &mut gradient[weights.layout().app_bias.clone()];
        let mut random = ChaCha8Rng::seed_from_u64(pass.seed);
        let mut losses = Losses { questions: batch.questions(), ..Losses::default() };
        for (logits, targets) in logits.chunks_exact(APPS).zip(batch.targets.chunks_exact(APPS)) {
            let normalizer = log_sum_exp(logits, 1.0);
            let kept = random.random::<f32>() >= pass.dropout;
            for (app, (&logit, &target)) in logits.iter().zip(targets).enumerate() {
                losses.question += f64::from(target) * (normalizer - f64::from(logit));
                let slope = (f64::from(logit) - normalizer).exp() as f32 - target;
                bias[app] += if kept { slope / batch.questions() as f32 } else { 0.0 };
            }
        }
        if let Some(spoil) = self.spoil {
            losses.question = spoil(self.passes, losses.question);
        }
        self.passes += 1;
        Ok(losses)
    }

    fn logits(&mut self, weights: &Weights, batch: &Batch) -> Result<Vec<f32>> {
        let bias = &weights.values[weights.layout().app_bias.clone()];
        Ok(batch.candidate_apps.iter().map(|&app| bias[app as usize]).collect())
    }
}

fn run(config: &TrainingConfig, mut engine: Biases, folder: Option<&Path>) -> Result<TrainedTransformer> {
    let folder = folder.map(|folder| RunFolder::open(folder).unwrap());
    train(config, &mut engine, &Popularity::new(), start(), folder.as_ref(), &Silent)
}

/// Metrics without what depends on the machine's speed.
fn timeless(metrics: &[Metrics]) -> Vec<Metrics> {
    metrics.iter().map(|line| Metrics { tokens_per_s: None, secs: 0.0, ..line.clone() }).collect()
}

fn bits(weights: &Weights) -> Vec<u32> {
    weights.values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn it_learns_what_the_apps_popularity_tells() {
    let trained = run(&TrainingConfig { steps: 300, ..config() }, Biases::default(), None).unwrap();
    let first = trained.metrics[0].validation_loss.unwrap();
    assert!((first - (APPS as f64).ln()).abs() < 1e-5, "all apps are alike at the start: {first}");
    let best = trained.validation.unwrap();
    // The entropy of the apps' popularity is 1.82 nats.
    assert!(best.loss < 1.9 && best.hr3 > 0.6 && best.questions == 230, "{best:?}");
    let bias = &trained.weights.values[trained.weights.layout().app_bias.clone()];
    assert!(bias[..3].is_sorted_by(|a, b| a > b), "{bias:?}");
}

#[test]
fn every_line_and_step_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let trained = run(&config(), Biases::default(), Some(folder.path())).unwrap();
    let steps: Vec<u64> = trained.metrics.iter().map(|line| line.step).collect();
    assert_eq!(
        steps,
        [0, 4, 8, 10, 12, 16, 20, 24, 28, 30, 32, 36, 40, 44, 48, 50, 52, 56, 60],
        "every four steps, and at each validation"
    );
    for line in &trained.metrics {
        assert_eq!(line.validation_loss.is_some(), line.step.is_multiple_of(10), "{line:?}");
        assert_eq!(line.loss.is_some() && line.gradient_norm.is_some(), line.step > 0, "{line:?}");
        assert_eq!(line.next_loss, None, "no token has a next app");
    }
    let read = RunFolder::open(folder.path()).unwrap().metrics().unwrap();
    assert_eq!(read, trained.metrics, "floats come back to the last bit");
    assert!(fs::read_to_string(folder.path().join("curve.svg")).unwrap().contains("lowest"));
}

#[test]
fn a_killed_run_goes_on_as_if_nothing_had_happened() {
    let whole_folder = tempfile::tempdir().unwrap();
    let whole = run(&config(), Biases::default(), Some(whole_folder.path())).unwrap();
    // Before the first step, between checkpoints (every 7 steps, and at validations that were better), right after
    // one, in the last step; and again and again.
    for kills in [vec![0], vec![1], vec![6], vec![7], vec![13], vec![59], vec![3; 20], vec![9, 0, 12, 30, 1]]
    {
        let folder = tempfile::tempdir().unwrap();
        for (number, &kill) in kills.iter().enumerate() {
            let engine = Biases { killed_at: Some(kill), ..Biases::default() };
            // With steps lost at each kill, a run that is killed often may never end; later kills may come too late.
            match run(&config(), engine, Some(folder.path())) {
                Err(error) => assert!(error.to_string().contains("killed"), "{error}"),
                Ok(_) => assert!(number > 0, "not killed at {kill}"),
            }
            // A line that the kill cut off.
            let metrics = folder.path().join("metrics.jsonl");
            let mut text = fs::read(&metrics).unwrap();
            text.extend_from_slice(b"{\"step\":60,\"lo");
            fs::write(&metrics, text).unwrap();
        }
        let resumed = run(&config(), Biases::default(), Some(folder.path())).unwrap();
        assert_eq!(bits(&resumed.weights), bits(&whole.weights), "killed at {kills:?}");
        assert_eq!((resumed.best_step, resumed.steps), (whole.best_step, whole.steps));
        assert_eq!(timeless(&resumed.metrics), timeless(&whole.metrics), "killed at {kills:?}");
        let lines = fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
        let lines: Vec<Metrics> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(timeless(&lines), timeless(&whole.metrics), "killed at {kills:?}");
        // The last weights and moments, beside the best weights: the checkpoints' tensors are equal byte by byte.
        let tensors = |folder: &Path| {
            let bytes = fs::read(folder.join("checkpoint.safetensors")).unwrap();
            let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            bytes[8 + header..].to_vec()
        };
        assert!(tensors(folder.path()) == tensors(whole_folder.path()), "killed at {kills:?}");
    }
}

#[test]
fn a_run_that_has_ended_gives_its_result_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let whole = run(&config(), Biases::default(), Some(folder.path())).unwrap();
    let again =
        run(&config(), Biases { killed_at: Some(0), ..Biases::default() }, Some(folder.path())).unwrap();
    assert_eq!(again, whole);
}

#[test]
fn patience_ends_a_run_and_the_best_weights_are_kept() {
    // A rate far too high: the loss falls at first and then only wavers.
    let config = TrainingConfig { steps: 2_000, learning_rate: 1.0, patience: 3, ..config() };
    let folder = tempfile::tempdir().unwrap();
    let trained = run(&config, Biases::default(), Some(folder.path())).unwrap();
    assert!(trained.steps < 2_000 && trained.steps == trained.best_step + 30, "{}", trained.steps);
    let losses = trained.metrics.iter().filter_map(|line| line.validation_loss);
    let lowest = losses.fold(f64::INFINITY, f64::min);
    assert_eq!(trained.validation.unwrap().loss, lowest);
    let kept = RunFolder::open(folder.path()).unwrap().best_weights().unwrap().unwrap();
    assert_eq!(bits(&kept), bits(&trained.weights));
    // Resumed, it is still over.
    let again =
        run(&config, Biases { killed_at: Some(0), ..Biases::default() }, Some(folder.path())).unwrap();
    assert_eq!(again, trained);
}

#[test]
fn without_validation_the_last_weights_are_the_best() {
    let loader = Popularity { validation: Vec::new() };
    let folder = tempfile::tempdir().unwrap();
    let folder = RunFolder::open(folder.path()).unwrap();
    let trained = train(&config(), &mut Biases::default(), &loader, start(), Some(&folder), &Silent).unwrap();
    assert_eq!((trained.best_step, trained.steps, trained.validation), (60, 60, None));
    assert_eq!(bits(&folder.best_weights().unwrap().unwrap()), bits(&trained.weights));
}

#[test]
fn a_run_that_diverges_stops_and_keeps_what_was_good() {
    struct Case {
        what: &'static str,
        spoil: fn(u64, f64) -> f64,
        says: &'static [&'static str],
    }
    let cases = [
        Case {
            what: "no number",
            spoil: |pass, loss| if pass == 33 { f64::NAN } else { loss },
            says: &["step 33", "the loss is NaN"],
        },
        Case {
            what: "infinite",
            spoil: |pass, loss| if pass == 33 { f64::INFINITY } else { loss },
            says: &["step 33", "the loss is inf"],
        },
        Case {
            what: "growing",
            spoil: |pass, loss| if pass > 30 { 100.0 * loss } else { loss },
            says: &["at the start"],
        },
    ];
    for Case { what, spoil, says } in cases {
        let folder = tempfile::tempdir().unwrap();
        let engine = || Biases { spoil: Some(spoil), ..Biases::default() };
        let error = run(&config(), engine(), Some(folder.path())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Diverged, "{what}");
        let message = error.to_string();
        let place = folder.path().display().to_string();
        for part in says.iter().chain(&["diverged", "best weights", "learning rate below 0.05", &*place]) {
            assert!(message.contains(part), "{what}: `{part}` is missing in: {message}");
        }
        // The best weights so far are those of a good run that was stopped there.
        let good_folder = tempfile::tempdir().unwrap();
        let killed = Biases { killed_at: Some(33), ..Biases::default() };
        run(&config(), killed, Some(good_folder.path())).unwrap_err();
        let best = |folder: &Path| RunFolder::open(folder).unwrap().best_weights().unwrap().map(|w| bits(&w));
        assert!(best(folder.path()).is_some());
        assert_eq!(best(folder.path()), best(good_folder.path()), "{what}");
    }
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    run(&config(), Biases { killed_at: Some(20), ..Biases::default() }, Some(folder.path())).unwrap_err();
    let place = RunFolder::open(folder.path()).unwrap();
    let try_with = |config: &TrainingConfig, weights: Weights, loader: &Popularity| {
        train(config, &mut Biases::default(), loader, weights, Some(&place), &Silent).unwrap_err().to_string()
    };
    let mut nudged = start();
    nudged.values[3] += 1.0;
    let others = Popularity { validation: vec![questions(1, 9)] };
    let same = Popularity::new();
    let cases = [
        (try_with(&TrainingConfig { steps: 70, ..config() }, start(), &same), "`steps`"),
        (try_with(&TrainingConfig { seed: 1, ..config() }, start(), &same), "`seed`"),
        (
            try_with(&TrainingConfig { dropout: 0.3, ..config() }, start(), &same),
            "begun with dropout 0.1, not 0.3",
        ),
        (
            try_with(&TrainingConfig { learning_rate: 0.01, ..config() }, start(), &same),
            "begun with learning_rate 0.05, not 0.01",
        ),
        (try_with(&config(), nudged, &same), "other weights or other data"),
        (try_with(&config(), start(), &others), "other weights or other data"),
    ];
    for (message, says) in cases {
        for part in [says, "checkpoint.safetensors", "name another folder"] {
            assert!(message.contains(part), "`{part}` is missing in: {message}");
        }
    }
    // None of these refusals touched the run.
    assert!(run(&config(), Biases::default(), Some(folder.path())).is_ok());
}

#[test]
fn a_damaged_checkpoint_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    run(&config(), Biases { killed_at: Some(20), ..Biases::default() }, Some(folder.path())).unwrap_err();
    let file = folder.path().join("checkpoint.safetensors");
    let good = fs::read(&file).unwrap();
    let mut not_a_number = good.clone();
    let last = not_a_number.len() - 4;
    not_a_number[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    let edited = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = good.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
        let mut bytes = good.clone();
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    let cases = [
        ("empty", Vec::new(), "not a foretap checkpoint"),
        ("text", b"loss 1.5, loss 1.4, loss 1.3".to_vec(), "not a foretap checkpoint"),
        ("cut off", good[..good.len() - 9].to_vec(), "cut off"),
        ("not a number", not_a_number, "not a finite number"),
        ("a transformer", edited("\"checkpoint\"", "\"transforme\""), "not a foretap checkpoint"),
        ("a later version", edited("\"version\":\"1\"", "\"version\":\"9\""), "version 9"),
        ("without moments", edited("\"first_moment\"", "\"third_moment\""), "missing"),
    ];
    for (what, bytes, says) in cases {
        fs::write(&file, &bytes).unwrap();
        let message = run(&config(), Biases::default(), Some(folder.path())).unwrap_err().to_string();
        for part in [says, "checkpoint.safetensors", "; "] {
            assert!(message.contains(part), "{what}: `{part}` is missing in: {message}");
        }
        assert_eq!(fs::read(&file).unwrap(), bytes, "{what}: it is left as it is");
    }
}

#[test]
fn what_does_not_fit_is_refused_before_the_first_step() {
    let narrow = TransformerConfig { apps: APPS - 3, ..shape() };
    let narrow = Weights::random(narrow, &mut ChaCha8Rng::seed_from_u64(7)).unwrap();
    let refused = |config: &TrainingConfig, weights| {
        train(config, &mut Biases::default(), &Popularity::new(), weights, None, &Silent).unwrap_err()
    };
    let cases = [
        (refused(&config(), narrow), "of another shape than the transformer's"),
        (refused(&TrainingConfig { validate_every: 0, ..config() }, start()), "`validate_every`"),
    ];
    for (error, says) in cases {
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn progress_is_told_in_a_line() {
    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);
    impl Progress for Heard {
        fn start(&self, what: &str, total: u64) {
            self.0.lock().unwrap().push(format!("{what}: {total}"));
        }
        fn advance(&self, _steps: u64) {}
        fn note(&self, line: &str) {
            self.0.lock().unwrap().push(line.to_owned());
        }
        fn finish(&self) {}
    }
    let heard = Heard::default();
    train(&config(), &mut Biases::default(), &Popularity::new(), start(), None, &heard).unwrap();
    let lines = heard.0.into_inner().unwrap();
    assert_eq!(lines[0], "training on biases: 60");
    assert_eq!(lines.len(), 20);
    for part in ["step 56 of 60", "loss 1.", "validation 1.", "HR@3 0.", "k tokens/s", "s left"] {
        assert!(lines[18].contains(part), "`{part}` is missing in: {}", lines[18]);
    }
}
