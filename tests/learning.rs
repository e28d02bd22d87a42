//! Transformers learn from people: from nothing, from each other, and on from what they knew.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used)] // a failed step is a failed test

mod people;

use std::sync::Arc;

use foretap::Silent;
use foretap::baseline::{BayesOptimal, MostRecent};
use foretap::context::{Task, TrainingView, questions, replay};
use foretap::data::simulate::{Law, Simulation, SimulationConfig, simulate};
use foretap::data::{Event, Split, SplitPlan, Vocabulary};
use foretap::experiment::{Experiment, TransformerPlan};
use foretap::predict::{Predictor, log_sum_exp};
use foretap::transformer::{
    FineTuneConfig, NativeEngine, Size, Standardisation, Teacher, TrainingConfig, TrainingSet, Transformer,
    TransformerConfig, TransformerModel, Weights, learn, pretrained,
};
use people::{people, quick};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

fn fine_tune(epochs: f64) -> FineTuneConfig {
    let training = TrainingConfig {
        learning_rate: 4e-3,
        pointer_rate: 2.0,
        dropout: 0.0,
        validate_every: 100,
        ..Default::default()
    };
    FineTuneConfig {
        size: Size::Student,
        training,
        epochs,
        batch_tokens: 256,
        unknown_share: 0.1,
        ..FineTuneConfig::default()
    }
}

/// Four fifths to learn from, the rest to validate on.
fn view<'a>(simulation: &'a Simulation, vocabulary: &'a Vocabulary) -> TrainingView<'a> {
    let task = Task::FirstAfterUnlock;
    let split = |events| {
        let all = questions(task, events).len();
        Split { train: 0..all * 8 / 10, validation: all * 8 / 10..all, test: all..all }
    };
    let people = simulation.log.users().map(|events| (events, split(events)));
    TrainingView::new(task, vocabulary, people)
}

#[test]
fn a_student_learns_from_nothing_and_goes_on_from_there() {
    let simulation = people(5, 8);
    let view = view(&simulation, &simulation.vocabulary);
    let training_set = TrainingSet { view: &view, teacher: None };
    let mut engine = NativeEngine::new();
    let (model, first) = learn(&fine_tune(2.0), &training_set, None, &mut engine, None, &Silent).unwrap();
    let loss = |trained: &foretap::transformer::TrainedTransformer| trained.validation.unwrap().loss;
    let untrained = first.metrics.iter().find_map(|line| line.validation_loss).unwrap();
    assert!(loss(&first) < 0.6 * untrained, "{} of {untrained}", loss(&first));

    let (again, second) =
        learn(&fine_tune(2.0), &training_set, Some(&model), &mut engine, None, &Silent).unwrap();
    assert_eq!(again.apps, model.apps);
    assert!(loss(&second) <= loss(&first) + 1e-3, "{} after {}", loss(&second), loss(&first));
}

#[test]
fn a_student_learns_what_its_teacher_says() {
    let simulation = people(4, 6);
    let view = view(&simulation, &simulation.vocabulary);
    let teacher = Teacher { predictor: &MostRecent, temperature: 1.0, weight: 1.0, is_truth: false };
    let training_set = TrainingSet { view: &view, teacher: Some(teacher) };
    let distilled =
        learn(&fine_tune(12.0), &training_set, None, &mut NativeEngine::new(), None, &Silent).unwrap();
    let student = Transformer::new(&distilled.0, &simulation.vocabulary).unwrap();
    // How far the student's answers are from the teacher's, in nats.
    let mut divergence = Vec::new();
    for person in view.people() {
        let mut scratch = student.new_scratch();
        let validation = person.validation();
        view.replay(person, validation.end, |number, _, context| {
            if validation.contains(&number) {
                let mut scores =
                    [vec![0.0; context.candidates().len()], vec![0.0; context.candidates().len()]];
                student.score(context, &mut scratch, &mut scores[0]);
                MostRecent.score(context, &mut MostRecent.new_scratch(), &mut scores[1]);
                let log = |scores: &[f32]| {
                    let normalizer = log_sum_exp(scores, 1.0);
                    scores.iter().map(|&score| f64::from(score) - normalizer).collect::<Vec<f64>>()
                };
                let pairs = log(&scores[0]).into_iter().zip(log(&scores[1]));
                divergence
                    .push(pairs.map(|(student, teacher)| teacher.exp() * (teacher - student)).sum::<f64>());
            }
        });
    }
    let mean = divergence.iter().sum::<f64>() / divergence.len() as f64;
    assert!(mean < 0.1, "{mean} nats from Zipf's law by recency");
}

/// A model that is trained on with new apps keeps its rows, and one that is not trained at all keeps its answers.
#[test]
fn the_vocabulary_grows_without_renumbering() {
    let known = people(3, 5);
    let first_view = view(&known, &known.vocabulary);
    let first = TrainingSet { view: &first_view, teacher: None };
    let (model, _) = learn(&fine_tune(1.0), &first, None, &mut NativeEngine::new(), None, &Silent).unwrap();

    let renamed = Vocabulary::from_names(
        known.vocabulary.names().iter().map(|name| format!("{name} of another store")),
    );
    let second_view = view(&known, &renamed);
    let second = TrainingSet { view: &second_view, teacher: None };
    let mut frozen = fine_tune(1.0);
    frozen.training.learning_rate = 1e-30;
    let (grown, _) = learn(&frozen, &second, Some(&model), &mut NativeEngine::new(), None, &Silent).unwrap();
    assert_eq!(grown.apps[..model.apps.len()], model.apps);
    assert!(grown.apps.len() > model.apps.len());
    assert_answers_are_alike([&model, &grown], &known);
}

/// New layers are laid on without any change, and learn.
#[test]
fn layers_are_laid_on() {
    let simulation = people(4, 6);
    let view = view(&simulation, &simulation.vocabulary);
    let training_set = TrainingSet { view: &view, teacher: None };
    let learn =
        |fine_tune, start| learn(&fine_tune, &training_set, start, &mut NativeEngine::new(), None, &Silent);
    let with = |layers, rate| {
        let mut fine_tune = FineTuneConfig { layers: Some(layers), ..fine_tune(1.0) };
        fine_tune.training.learning_rate = rate;
        fine_tune
    };
    let (shallow, _) = learn(with(1, 4e-3), None).unwrap();
    let (frozen, _) = learn(with(3, 1e-30), Some(&shallow)).unwrap();
    assert_eq!(frozen.weights.config().layers, 3);
    assert_answers_are_alike([&shallow, &frozen], &simulation);
    let (deep, _) = learn(with(3, 4e-3), Some(&shallow)).unwrap();
    let output = deep.weights.layout().layers[2].output.clone();
    assert!(deep.weights.values[output].iter().any(|&value| value != 0.0), "the third layer has learned");
    let error = learn(with(1, 4e-3), Some(&deep)).unwrap_err();
    assert!(error.to_string().contains("1 layers of a model that has 3"), "{error}");
}

/// A plain softmax becomes a mixture, which learns; a mixture gets more.
#[test]
fn softmaxes_are_laid_on() {
    let simulation = people(4, 6);
    let view = view(&simulation, &simulation.vocabulary);
    let training_set = TrainingSet { view: &view, teacher: None };
    let learn =
        |fine_tune, start| learn(&fine_tune, &training_set, start, &mut NativeEngine::new(), None, &Silent);
    let with = |mixture, rate| {
        let mut fine_tune = FineTuneConfig { mixture, ..fine_tune(1.0) };
        fine_tune.training.learning_rate = rate;
        fine_tune
    };
    let tensor = |model: &TransformerModel, name: &str| -> Vec<f32> {
        let spec = model.weights.layout().tensors.iter().find(|spec| spec.name == name).unwrap();
        model.weights.values[spec.range.clone()].to_vec()
    };
    let (plain, _) = learn(with(None, 4e-3), None).unwrap();
    assert_eq!(plain.weights.config().mixture, 1, "a student's");
    let (frozen, _) = learn(with(Some(3), 1e-30), Some(&plain)).unwrap();
    assert_eq!(frozen.weights.config().mixture, 3);
    assert_eq!(tensor(&frozen, "pointer_output"), tensor(&plain, "pointer_output"));
    let (mixed, _) = learn(with(Some(3), 4e-3), Some(&plain)).unwrap();
    assert_ne!(tensor(&mixed, "pointer_mixture"), tensor(&frozen, "pointer_mixture"), "it has learned");
    let (same, _) = learn(with(None, 1e-30), Some(&mixed)).unwrap();
    assert_eq!(same.weights, mixed.weights);

    let (more, _) = learn(with(Some(4), 1e-30), Some(&mixed)).unwrap();
    for (name, columns) in [("pointer_mixture", 2), ("pointer_gate", 3), ("pointer_gate_bias", 3)] {
        let (before, after) = (tensor(&mixed, name), tensor(&more, name));
        assert_ne!(before.len(), after.len());
        let kept = after.chunks_exact(columns + 1).flat_map(|row| &row[..columns]);
        assert!(kept.eq(&before), "{name}");
    }
    let error = learn(with(Some(2), 4e-3), Some(&more)).unwrap_err();
    assert!(error.to_string().contains("2 softmaxes of a model that has 4"), "{error}");
}

#[test]
fn columns_are_added_and_those_of_nobody_refused() {
    let simulation = people(1, 3);
    let view = view(&simulation, &simulation.vocabulary);
    let training_set = TrainingSet { view: &view, teacher: None };
    let student = TransformerConfig::student(view.task(), 0);
    let model = |candidate_columns, question_columns| {
        let config = TransformerConfig { candidate_columns, question_columns, ..student.clone() };
        let columns = Standardisation::none(&config);
        let weights = Weights::random(config, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        TransformerModel { weights, apps: Vec::new(), temperature: 1.0, columns }
    };
    let learn = |old: &TransformerModel, widened| {
        let mut frozen = FineTuneConfig { widened, ..fine_tune(0.1) };
        frozen.training.learning_rate = 1e-30;
        learn(&frozen, &training_set, Some(old), &mut NativeEngine::new(), None, &Silent)
    };
    let (candidate, question) = (student.candidate_columns, student.question_columns);

    let old = model(candidate - 2, question - 1);
    let (same, _) = learn(&old, false).unwrap();
    assert_eq!(same.weights.config().candidate_columns, candidate - 2);
    let (widened, _) = learn(&old, true).unwrap();
    assert_answers_are_alike([&same, &widened], &simulation);
    let rows = |model: &TransformerModel| {
        model.weights.values[model.weights.layout().pointer_candidate.clone()].to_vec()
    };
    let (before, after) = (rows(&old), rows(&widened));
    assert_eq!(before, after[..before.len()]);
    assert_eq!(after[before.len()..], vec![0.0; 2 * student.pointer_width]);
    assert!(widened.columns.candidate_scale[candidate - 1] > 0.0);

    for (more, column) in
        [(model(candidate + 1, question), candidate), (model(candidate - 1, question + 1), question)]
    {
        let error = learn(&more, true).unwrap_err().to_string();
        let says = format!("the column `column_{column}`, which this build does not compute; ");
        assert!(error.contains(&says), "{error}");
    }
}

fn assert_answers_are_alike(models: [&TransformerModel; 2], simulation: &Simulation) {
    let predictors = models.map(|model| Transformer::new(model, &simulation.vocabulary).unwrap());
    let events: &[Event] = simulation.log.users().next().unwrap();
    let mut compared = 0;
    replay(events, Task::FirstAfterUnlock, &Arc::default(), 50, |_, _, context| {
        let [before, after] = predictors.each_ref().map(|predictor| {
            let mut scores = vec![0.0; context.candidates().len()];
            predictor.score(context, &mut predictor.new_scratch(), &mut scores);
            scores
        });
        for (a, b) in before.iter().zip(&after) {
            assert!((a - b).abs() < 1e-4, "{a} and {b}");
        }
        compared += before.len();
    });
    assert!(compared > 200, "{compared} scores");
}

#[test]
fn the_crates_own_checkpoints_are_what_they_are_said_to_be() {
    let [teacher, student] = [Size::Teacher, Size::Student].map(|size| pretrained(size).unwrap());
    let bytes = ["teacher", "student"]
        .map(|name| std::fs::metadata(format!("checkpoints/{name}.safetensors")).unwrap().len());
    assert!(bytes[1] * 3 <= bytes[0], "the student has a third of the teacher's bytes: {bytes:?}");
    assert!(bytes.iter().sum::<u64>() < 2_000_000, "{bytes:?}");

    // People whom training never saw, and a little of their time.
    let simulation = simulate(
        &SimulationConfig {
            law: Law::named("broad").unwrap(),
            people: 6,
            days: 14,
            seed: 4242,
            ..Default::default()
        },
        &Silent,
    )
    .unwrap();
    let plan = |(size, model)| TransformerPlan::new(size, Some(model)).as_it_is().unwrap();
    let mut experiment = Experiment::with_ranker(quick());
    let plans = [(Size::Teacher, teacher), (Size::Student, student)].map(plan);
    plans.into_iter().for_each(|plan| experiment.add_transformer(plan, false));
    let report = experiment
        .run(&simulation.log, &simulation.vocabulary, Some(&simulation.truth), &Silent)
        .unwrap()
        .report;
    let loss = |name: &str| report.model(name).unwrap().metrics.log_loss;
    let hr3 = |name: &str| report.model(name).unwrap().metrics.hr3;
    let least_regret = |name: &str| report.model(name).unwrap().regret.and_then(|regret| regret.low);
    assert!(least_regret("teacher") > Some(0.0) && least_regret("student") > Some(0.0), "{report}");
    assert!(loss("teacher") < loss("markov"), "{report}");
    assert!(loss("student") < loss("markov") && hr3("student") > 0.97 * hr3("teacher"), "{report}");
}

#[test]
fn impossible_plans_are_refused() {
    let simulation = people(2, 4);
    let plan = TransformerPlan::new(Size::Student, None);
    assert!("pupil".parse::<Size>().unwrap_err().to_string().contains("teacher or student"));
    assert!(plan.clone().as_it_is().is_err());
    // A checkpoint for unlocks cannot answer what comes next.
    let wrong = TransformerPlan::new(Size::Student, Some(pretrained(Size::Student).unwrap()));
    for plan in [wrong.clone(), wrong.as_it_is().unwrap()] {
        let mut experiment = Experiment { task: Task::NextLaunch, ..Experiment::with_ranker(quick()) };
        experiment.add_transformer(plan, false);
        let error =
            experiment.run(&simulation.log, &simulation.vocabulary, None, &Silent).unwrap_err().to_string();
        assert!(error.contains("first-after-unlock, not next-launch"), "{error}");
    }
    // Nothing to learn from.
    let split = SplitPlan::Shares { validation: 0.1, test: 0.0 };
    let experiment = Experiment { split, ..Default::default() };
    let bayes_optimal = BayesOptimal { truth: &simulation.truth };
    let teacher = Teacher { predictor: &bayes_optimal, temperature: 1.0, weight: 1.0, is_truth: true };
    let nobody = foretap::data::Log::from_events(Vec::new());
    let error = experiment
        .train_transformer(&plan, &nobody, &simulation.vocabulary, Some(teacher), None, &Silent)
        .unwrap_err()
        .to_string();
    assert!(error.contains("no question"), "{error}");
}

/// A model for use is trained on everything: no part is left out to test on, unless that is asked for.
#[test]
fn a_ranker_is_trained_with_or_without_a_part_left_out() {
    let simulation = people(2, 6);
    let train = |test: f64| {
        let split = SplitPlan::Shares { validation: 0.15, test };
        let experiment = Experiment { split, ..Experiment::default() };
        let trained = experiment.train(&quick(), &simulation.log, &simulation.vocabulary, &Silent).unwrap();
        assert!(!trained.losses.is_empty(), "validated");
        trained.model.ranker.forest().ensemble().clone()
    };
    assert_ne!(train(0.0), train(0.3));
}
