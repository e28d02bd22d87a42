//! Transformers learn from people: from nothing, from each other, and on from what they knew.

#![allow(clippy::unwrap_used)] // a failed step is a failed test

mod people;

use std::sync::Arc;

use foretap::Silent;
use foretap::baseline::{MostRecent, Optimum};
use foretap::context::{Lesson, Task, questions, replay};
use foretap::data::simulate::Simulation;
use foretap::data::{AppId, Event, SplitPlan, Vocabulary};
use foretap::distill::{DistillConfig, distill};
use foretap::experiment::{DeepPlan, Experiment};
use foretap::predict::{Predictor, log_sum_exp};
use foretap::transformer::{
    Course, Native, Recipe, Size, Teacher, TrainingConfig, Transformer, TransformerModel, learn, pretrained,
};
use people::{people, quick};

fn recipe(epochs: f64) -> Recipe {
    let training =
        TrainingConfig { learning_rate: 4e-3, dropout: 0.0, validate_every: 100, ..Default::default() };
    Recipe {
        size: Size::Student,
        training,
        epochs,
        batch_tokens: 256,
        unknown_share: 0.1,
        ..Recipe::default()
    }
}

/// Four fifths to learn from, the rest to validate on.
fn lessons(simulation: &Simulation) -> Vec<Lesson<'_>> {
    let lesson = |events| {
        let all = questions(Task::FirstAfterUnlock, events).len();
        Lesson { events, train: 0..all * 8 / 10, validation: all * 8 / 10..all }
    };
    simulation.log.users().map(lesson).collect()
}

fn course<'a>(
    simulation: &'a Simulation,
    favourites: &'a Arc<[AppId]>,
    lessons: &'a [Lesson<'a>],
    teacher: Option<Teacher<'a>>,
) -> Course<'a> {
    Course { task: Task::FirstAfterUnlock, vocabulary: &simulation.vocabulary, favourites, lessons, teacher }
}

#[test]
fn a_student_learns_from_nothing_and_goes_on_from_there() {
    let simulation = people(5, 8);
    let (favourites, lessons) = (Arc::default(), lessons(&simulation));
    let course = course(&simulation, &favourites, &lessons, None);
    let mut engine = Native::new();
    let (model, first) = learn(&recipe(2.0), &course, None, &mut engine, None, &Silent).unwrap();
    let loss = |trained: &foretap::transformer::TrainedTransformer| trained.validation.unwrap().loss;
    let untrained = first.metrics.iter().find_map(|line| line.validation_loss).unwrap();
    assert!(loss(&first) < 0.6 * untrained, "{} of {untrained}", loss(&first));

    let (again, second) = learn(&recipe(2.0), &course, Some(&model), &mut engine, None, &Silent).unwrap();
    assert_eq!(again.apps, model.apps);
    assert!(loss(&second) <= loss(&first) + 1e-3, "{} after {}", loss(&second), loss(&first));
}

#[test]
fn a_student_learns_what_its_teacher_says() {
    let simulation = people(4, 6);
    let (favourites, lessons) = (Arc::default(), lessons(&simulation));
    let course = course(&simulation, &favourites, &lessons, None);
    let config = DistillConfig { temperature: 1.0, teacher_weight: 1.0, recipe: recipe(8.0) };
    let distilled = distill(&config, &MostRecent, &course, None, &mut Native::new(), None, &Silent).unwrap();
    let student = Transformer::new(&distilled.0, &simulation.vocabulary).unwrap();
    // How far the student's answers are from the teacher's, in nats.
    let mut divergence = Vec::new();
    for lesson in &lessons {
        let mut scratch = student.new_scratch();
        replay(
            lesson.events,
            Task::FirstAfterUnlock,
            &favourites,
            lesson.validation.end,
            |number, _, context| {
                if lesson.validation.contains(&number) {
                    let mut scores =
                        [vec![0.0; context.candidates().len()], vec![0.0; context.candidates().len()]];
                    student.score(context, &mut scratch, &mut scores[0]);
                    MostRecent.score(context, &mut MostRecent.new_scratch(), &mut scores[1]);
                    let log = |scores: &[f32]| {
                        let normalizer = log_sum_exp(scores, 1.0);
                        scores.iter().map(|&score| f64::from(score) - normalizer).collect::<Vec<f64>>()
                    };
                    let pairs = log(&scores[0]).into_iter().zip(log(&scores[1]));
                    divergence.push(
                        pairs.map(|(student, teacher)| teacher.exp() * (teacher - student)).sum::<f64>(),
                    );
                }
            },
        );
    }
    let mean = divergence.iter().sum::<f64>() / divergence.len() as f64;
    assert!(mean < 0.1, "{mean} nats from Zipf's law by recency");
}

/// A model that is trained on with new apps keeps its rows, and one that is not trained at all keeps its answers.
#[test]
fn the_vocabulary_grows_without_renumbering() {
    let known = people(3, 5);
    let (favourites, lessons) = (Arc::default(), lessons(&known));
    let first = course(&known, &favourites, &lessons, None);
    let (model, _) = learn(&recipe(1.0), &first, None, &mut Native::new(), None, &Silent).unwrap();

    let renamed = Vocabulary::from_names(
        known.vocabulary.names().iter().map(|name| format!("{name} of another store")),
    );
    let second = Course { vocabulary: &renamed, ..first };
    let mut frozen = recipe(1.0);
    frozen.training.learning_rate = 1e-30;
    let (grown, _) = learn(&frozen, &second, Some(&model), &mut Native::new(), None, &Silent).unwrap();
    assert_eq!(grown.apps[..model.apps.len()], model.apps);
    assert!(grown.apps.len() > model.apps.len());
    let [before, after] = [&model, &grown].map(|model| Transformer::new(model, &known.vocabulary).unwrap());
    let events: &[Event] = lessons[0].events;
    replay(events, Task::FirstAfterUnlock, &favourites, 50, |_, _, context| {
        let mut scores = [vec![0.0; context.candidates().len()], vec![0.0; context.candidates().len()]];
        for (predictor, scores) in [&before, &after].into_iter().zip(&mut scores) {
            predictor.score(context, &mut predictor.new_scratch(), scores);
        }
        for (a, b) in scores[0].iter().zip(&scores[1]) {
            assert!((a - b).abs() < 1e-4, "{a} and {b}");
        }
    });
}

#[test]
fn the_crates_own_checkpoints_are_what_they_are_said_to_be() {
    let [teacher, student] = [Size::Teacher, Size::Student].map(|size| pretrained(size).unwrap());
    let bytes = ["teacher", "student"]
        .map(|name| std::fs::metadata(format!("checkpoints/{name}.safetensors")).unwrap().len());
    assert!(bytes[1] * 10 <= bytes[0], "the student has a tenth of the teacher's bytes: {bytes:?}");
    assert!(bytes.iter().sum::<u64>() < 2_000_000, "{bytes:?}");

    // People whom training never saw, and a little of their time.
    let simulation = foretap::data::simulate::simulate(
        &foretap::data::simulate::SimulationConfig { people: 6, days: 14, seed: 4242, ..Default::default() },
        &Silent,
    )
    .unwrap();
    let plan = |(name, model): (&str, TransformerModel)| {
        DeepPlan::named(name, Some(model)).unwrap().as_it_is().unwrap()
    };
    let experiment = Experiment {
        ranker: quick(),
        transformers: [("teacher", teacher), ("student", student)].map(plan).to_vec(),
        ..Experiment::default()
    };
    let report = experiment
        .run(&simulation.log, &simulation.vocabulary, Some(&simulation.truth), &Silent)
        .unwrap()
        .report;
    let loss = |name: &str| report.model(name).unwrap().metrics.log_loss;
    let hr3 = |name: &str| report.model(name).unwrap().metrics.hr3;
    assert!(loss("optimum") < loss("teacher") && loss("teacher") < loss("markov"), "{report}");
    assert!(loss("student") < loss("markov") && hr3("student") > 0.97 * hr3("teacher"), "{report}");
}

#[test]
fn impossible_plans_are_refused() {
    let simulation = people(2, 4);
    let plan = DeepPlan::named("student", None).unwrap();
    assert!(DeepPlan::named("pupil", None).unwrap_err().to_string().contains("teacher or student"));
    assert!(plan.clone().as_it_is().is_err());
    // A checkpoint for unlocks cannot answer what comes next.
    let wrong = DeepPlan::named("student", Some(pretrained(Size::Student).unwrap())).unwrap();
    for plan in [wrong.clone(), wrong.as_it_is().unwrap()] {
        let experiment = Experiment {
            task: Task::NextLaunch,
            transformers: vec![plan],
            ranker: quick(),
            ..Default::default()
        };
        let error =
            experiment.run(&simulation.log, &simulation.vocabulary, None, &Silent).unwrap_err().to_string();
        assert!(error.contains("first-after-unlock, not next-launch"), "{error}");
    }
    // Nothing to learn from.
    let split = SplitPlan::Shares { validation: 0.1, test: 0.0 };
    let experiment = Experiment { split, ..Default::default() };
    let optimum = Optimum { truth: &simulation.truth };
    let teacher = Teacher { predictor: &optimum, temperature: 1.0, weight: 1.0 };
    let nobody = foretap::data::Log::from_events(Vec::new());
    let error = experiment
        .train_transformer(&plan, &nobody, &simulation.vocabulary, Some(teacher), None, &Silent)
        .unwrap_err()
        .to_string();
    assert!(error.contains("no question"), "{error}");
}
