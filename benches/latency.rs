//! One question on one thread; each group says what is inside its clock.
//!
//! | group | inside the clock | candidates |
//! | --- | --- | --- |
//! | `answer` | from the context to the scores, features included: what `evaluate` times | 10, 50, 200 |
//! | `pass` | the network alone, 32 tokens, its inputs in place | 50 |
//! | `ranked answer` | from the context to ranked probabilities: a router's features, experts, personalization, "none of these" | 50 |
//!
//! `answer` has its parts beside it, `features` and the `trees` over them: 300 trees of 31 leaves. Whoever keeps a KV cache
//! has it emptied before each question; `prefilled` has keys and values of all tokens but the question's own in it.
//!
//! `cargo bench --bench latency`. The people are simulated; each history is then widened to exactly the number of
//! candidates that is measured.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use foretap::Silent;
use foretap::bundle::Bundle;
use foretap::context::{History, Task, features};
use foretap::data::simulate::{SimulationConfig, simulate};
use foretap::data::{AppId, Event, Log, Signal, SplitPlan, Timestamp, Vocabulary};
use foretap::experiment::Experiment;
use foretap::gbdt::ForestScratch;
use foretap::predict::Predictor;
use foretap::quantize::{QuantizedForward, QuantizedScratch, QuantizedTransformer, quantize};
use foretap::ranker::{Ranker, RankerConfig};
use foretap::router::{Answer, Personalization, Routing};
use foretap::transformer::{
    Batch, ForwardScratch, InferenceEngine, Size, Standardisation, Transformer, TransformerConfig,
    TransformerModel, Weights, pretrained,
};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

fn answers(criterion: &mut Criterion) {
    let (log, vocabulary) = people();
    let ranker = trained(&log, &vocabulary);
    println!("{} trees", ranker.forest().ensemble().trees.len());
    let student = pretrained(Size::Student).expect("the crate's own student fits");
    let int8 = quantize(&student).expect("trained weights are sound");
    let students: [(&str, Box<dyn Predictor>); 2] = [
        ("student f32", Box::new(Transformer::new(&student, &vocabulary).expect("columns of this build"))),
        (
            "student int8",
            Box::new(QuantizedTransformer::new(&int8, &vocabulary).expect("columns of this build")),
        ),
    ];
    for candidates in [10, 50, 200] {
        let (history, now) = history_of(&log, vocabulary.len() as u32, candidates);
        let context = history.context_at(now, Task::FirstAfterUnlock);
        assert_eq!(context.candidates().len(), candidates);
        let mut matrix = Vec::new();
        features::fill(&context, &mut matrix);
        let mut scores = vec![0.0; candidates];
        let mut logits = vec![0.0; candidates];
        let mut forest_scratch = ForestScratch::default();
        let mut scratch = ranker.new_scratch();

        let mut group = criterion.benchmark_group("answer");
        let name = |part: &str| BenchmarkId::new(part, candidates);
        let mut filled = matrix.clone();
        group.bench_function(name("features"), |b| {
            b.iter(|| features::fill(black_box(&context), &mut filled))
        });
        group.bench_function(name("trees"), |b| {
            b.iter(|| ranker.forest().score(black_box(&matrix), &mut forest_scratch, &mut logits));
        });
        group.bench_function(name("ranker"), |b| {
            b.iter(|| ranker.score(black_box(&context), &mut scratch, &mut scores));
        });
        for (expert, predictor) in &students {
            let mut scratch = predictor.new_scratch();
            group.bench_function(name(expert), |b| {
                b.iter(|| {
                    predictor.clear_cache(&mut scratch);
                    predictor.score(black_box(&context), &mut scratch, &mut scores);
                });
            });
            if predictor.keeps_cache() {
                // What a question finds in the cache serves it again.
                predictor.prefill(&context, &mut scratch);
                group.bench_function(name(&format!("{expert}, prefilled")), |b| {
                    b.iter(|| predictor.score(black_box(&context), &mut scratch, &mut scores));
                });
            }
        }
        group.finish();
    }
}

fn people() -> (Log, Vocabulary) {
    let config = SimulationConfig { people: 20, days: 14, ..SimulationConfig::default() };
    let simulation = simulate(&config, &Silent).expect("the settings are possible");
    (simulation.log, simulation.vocabulary)
}

/// All 300 trees, so that nothing is gained by stopping early.
fn trained(log: &Log, vocabulary: &Vocabulary) -> Ranker {
    let experiment =
        Experiment { split: SplitPlan::Shares { validation: 0.0, test: 0.2 }, ..Experiment::default() };
    let mut config = RankerConfig::default();
    config.gbdt.trees = 300;
    config.gbdt.early_stopping = 0;
    experiment.train(&config, log, vocabulary, &Silent).expect("the log has questions").model.ranker
}

/// The first person's history, with apps added or left out until there are `candidates`.
fn history_of(log: &Log, unused: u32, candidates: usize) -> (History, Timestamp) {
    let events = log.users().next().expect("there are people");
    let mut history = History::default();
    let mut opened: Vec<AppId> = Vec::new();
    for event in events {
        let app = event.signal.app();
        if app.is_some_and(|app| !opened.contains(&app)) {
            if opened.len() == candidates {
                continue;
            }
            opened.extend(app.filter(|_| matches!(event.signal, Signal::Launch(_))));
        }
        history.observe(event);
    }
    let last = *events.last().expect("there are events");
    for (step, app) in (0..).zip(unused..).take(candidates - opened.len().min(candidates)) {
        history.observe(&Event {
            at: Timestamp(last.at.0 + step),
            signal: Signal::Launch(AppId(app)),
            ..last
        });
    }
    let now = Timestamp(last.at.0 + 3_600);
    history.observe(&Event { at: now, signal: Signal::Unlock, ..last });
    (history, now)
}

fn passes(criterion: &mut Criterion) {
    let config = TransformerConfig::student(Task::FirstAfterUnlock, 100);
    let weights =
        Weights::random(config.clone(), &mut ChaCha8Rng::seed_from_u64(1)).expect("a shape that is possible");
    let apps = (0..config.apps).map(|app| format!("app {app}")).collect();
    let columns = Standardisation::none(&config);
    let model = TransformerModel { weights: weights.clone(), apps, temperature: 1.0, columns };
    let whole = QuantizedForward::new(&quantize(&model).expect("random weights are sound"));
    let (forward, mut scratch) = (InferenceEngine::new(weights), ForwardScratch::default());
    let mut whole_scratch = QuantizedScratch::default();
    let batch = Batch::random_question(&config, config.window, 50, 1);
    let mut scores = vec![0.0; batch.candidates()];
    let mut group = criterion.benchmark_group("pass");
    group.bench_function("f32", |b| {
        b.iter(|| forward.score(black_box(&batch), &mut scratch, &mut scores));
    });
    group.bench_function(format!("int8, {}", whole.kernel().name()), |b| {
        b.iter(|| {
            whole_scratch.forget();
            whole.score(black_box(&batch), &mut whole_scratch, &mut scores);
        });
    });
    group.bench_function("int8, prefilled", |b| {
        b.iter(|| whole.score(black_box(&batch), &mut whole_scratch, &mut scores));
    });
}

/// Answers of the crate's bundle: by the trees alone, and by both experts.
fn ranked_answers(criterion: &mut Criterion) {
    let bundle = Bundle::pretrained().expect("the crate's own bundle fits");
    let (log, vocabulary) = people();
    let (history, now) = history_of(&log, vocabulary.len() as u32, 50);
    let context = history.context_at(now, Task::FirstAfterUnlock);
    let (personalization, mut answer) = (Personalization::default(), Answer::default());
    let mut group = criterion.benchmark_group("ranked answer");
    for (name, share) in [("trees alone", 0.0), ("both experts", 1.0)] {
        let router = bundle.router(&vocabulary, Routing::Share(share)).expect("a share");
        let mut scratch = router.new_scratch();
        group.bench_function(name, |b| {
            b.iter(|| {
                router.clear_cache(&mut scratch);
                router.answer(black_box(&context), Some(&personalization), &mut scratch, &mut answer);
            });
        });
        if share > 0.0 {
            router.prefill(&context, &mut scratch);
            group.bench_function(format!("{name}, prefilled"), |b| {
                b.iter(|| {
                    router.answer(black_box(&context), Some(&personalization), &mut scratch, &mut answer)
                });
            });
        }
    }
}

criterion_group!(benches, answers, passes, ranked_answers);
criterion_main!(benches);
