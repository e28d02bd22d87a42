//! From a log to a report, end to end: on simulated people, whose best possible score is known, and on real phones.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside of test functions too: a failed step is a failed test

mod people;
mod phones;

use std::path::PathBuf;

use foretap::baseline::MostRecent;
use foretap::context::{Context, Question, Task, questions};
use foretap::data::simulate::{Simulation, SimulationConfig, simulate};
use foretap::data::{
    AppId, Event, Log, LogOptions, PrivacyKey, QuestionTime, Signal, SplitPlan, UserId, Vocabulary, read_logs,
};
use foretap::evaluate::{Report, SubsetMetrics};
use foretap::experiment::{Experiment, ExperimentResult, Learned, Learner, Method, Training};
use foretap::gbdt::Tree;
use foretap::predict::{Predictor, Scratch};
use foretap::ranker::RankerConfig;
use foretap::{ErrorKind, Silent};
use people::{event, people, quick};

fn quickly() -> Experiment {
    Experiment::with_ranker(quick())
}

fn with_seed(mut config: RankerConfig, seed: u64) -> RankerConfig {
    config.gbdt.seed = seed;
    config
}

fn run(experiment: &Experiment, simulation: &Simulation) -> ExperimentResult {
    let Simulation { log, vocabulary, truth } = simulation;
    experiment.run(log, vocabulary, Some(truth), &Silent).unwrap()
}

fn log_loss(report: &Report, name: &str) -> f64 {
    report.model(name).unwrap().metrics.log_loss
}

/// In expectation, where chance plays no part: the Bayes-optimal predictor has no regret within the rounding of its scores to 32 bits, every
/// other model's regret is above zero with all of its interval, and no model is expected to hit more often.
fn assert_none_is_ahead_of_the_bound(report: &Report) {
    let best = report.model("bayes-optimal").unwrap();
    assert_eq!(best.temperature, 1.0, "probabilities that are final");
    let (regret, bound) = (best.regret.unwrap(), best.expected.unwrap());
    for own in [regret.mean, regret.low.unwrap(), regret.high.unwrap(), bound.log_loss - bound.entropy] {
        assert!(own.abs() < 1e-6, "{regret:?} {bound:?}");
    }
    for model in report.models.iter().filter(|model| model.name != "bayes-optimal") {
        let (regret, expected) = (model.regret.unwrap(), model.expected.unwrap());
        assert!(regret.low > Some(0.0) && regret.low <= Some(regret.mean), "{}: {regret:?}", model.name);
        assert!(Some(regret.mean) <= regret.high, "{}: {regret:?}", model.name);
        assert!((expected.log_loss - expected.entropy - regret.mean).abs() < 1e-9, "{}", model.name);
        assert!((expected.entropy - bound.entropy).abs() < 1e-12, "{}: other questions", model.name);
        let hits = [(expected.hr1, bound.hr1), (expected.hr3, bound.hr3), (expected.hr5, bound.hr5)];
        assert!(hits.iter().all(|(own, most)| *own <= most + 1e-6), "{}: {hits:?}", model.name);
    }
}

/// The chosen and the resumed answers are all answers, and each figure is the mean of theirs.
fn assert_the_parts_make_the_whole(report: &Report) {
    for model in &report.models {
        let (all, parts) = (&model.metrics, [&model.resumed, &model.chosen]);
        assert_eq!(parts.map(|part| part.questions).iter().sum::<usize>(), all.questions, "{}", model.name);
        assert!(parts.iter().all(|part| part.questions > 0), "{}", model.name);
        let mean = |figure: fn(&SubsetMetrics) -> f64| {
            parts.iter().map(|part| part.share * figure(part)).sum::<f64>()
        };
        let pairs = [
            (mean(|_| 1.0), 1.0),
            (mean(|part| part.hr1), all.hr1),
            (mean(|part| part.hr3), all.hr3),
            (mean(|part| part.hr5), all.hr5),
            (mean(|part| part.log_loss), all.log_loss),
        ];
        assert!(pairs.iter().all(|(found, whole)| (found - whole).abs() < 1e-9), "{}: {pairs:?}", model.name);
    }
    // The most recent app is the one that was last in front.
    let recent = report.model("recent").unwrap();
    assert_eq!((recent.resumed.hr1, recent.chosen.hr1), (1.0, 0.0));
}

/// The least that trees must do, and the most that anything can: within the noise of a thousand questions.
#[test]
fn the_ranker_lies_between_the_baselines_and_the_truth() {
    let simulation = people(12, 10);
    let findings = run(&quickly(), &simulation);
    let report = &findings.report;
    println!("{report}");
    let names: Vec<&str> = report.models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, ["recent", "frequent", "markov", "gbdt", "bayes-optimal"]);
    let asked = report.models[0].metrics.questions;
    assert!(asked > 400, "{asked}");
    assert!(report.models.iter().all(|model| model.metrics.questions == asked));
    for baseline in ["recent", "frequent", "markov"] {
        let (ours, theirs) = (log_loss(report, "gbdt"), log_loss(report, baseline));
        assert!(ours < theirs, "gbdt {ours}, {baseline} {theirs}");
    }
    assert_none_is_ahead_of_the_bound(report);
    for model in &report.models {
        let m = &model.metrics;
        assert!(m.hr1 <= m.hr3 && m.hr3 <= m.hr5 && m.hr5 + m.unforeseen <= 1.0 + 1e-12, "{}", model.name);
        assert!(m.hr1 <= m.mrr && m.mrr5 <= m.mrr && m.hr1 <= m.ndcg5, "{}", model.name);
    }
    assert_the_parts_make_the_whole(report);
    let share: f64 = report.importance.iter().map(|feature| feature.gain_share).sum();
    assert!((share - 1.0).abs() < 1e-9, "{share}");
    // The model that was tested knows the apps by name.
    assert!(findings.model.unwrap().apps.iter().all(|name| simulation.vocabulary.id(name).is_some()));
}

#[test]
fn figures_of_several_runs_are_means_over_their_seeds() {
    let simulation = people(4, 6);
    let of_seed = |seed| run(&Experiment::with_ranker(with_seed(quick(), seed)), &simulation);
    let (first, second) = (of_seed(3), of_seed(4));
    let ranker = with_seed(quick(), 3);
    let experiment = Experiment { repeats: 1, cold_start: true, ..Experiment::with_ranker(ranker) };
    let both = run(&experiment, &simulation);
    assert!(both.report.to_string().contains("means of 2 runs"), "{}", both.report);
    let trees = |findings: &ExperimentResult| format!("{:?}", findings.model.as_ref().unwrap().ranker);
    assert_eq!(trees(&both), trees(&first), "its own seed's is kept");
    assert_eq!((first.report.runs, both.report.runs), (1, 2));
    for (both, (first, second)) in
        both.report.models.iter().zip(first.report.models.iter().zip(&second.report.models))
    {
        let (metrics, [first, second]) = (&both.metrics, [&first.metrics, &second.metrics]);
        assert_eq!(metrics.questions, first.questions, "each question counts once");
        let figures = |m: &foretap::evaluate::Metrics| [m.hr1, m.log_loss, m.calibration_error, m.macro_f1];
        for (mean, (first, second)) in
            figures(metrics).into_iter().zip(figures(first).into_iter().zip(figures(second)))
        {
            assert!(
                (mean - (first + second) / 2.0).abs() < 1e-12,
                "{}: {mean}, {first}, {second}",
                both.name
            );
        }
        assert_eq!(both.name == "gbdt", first.log_loss != second.log_loss, "{}: only trees draw", both.name);
        assert_eq!(both.per_user.iter().map(|user| user.questions).sum::<usize>(), metrics.questions);
    }
    // Each of the four in turn, on all of its questions.
    assert!(both.report.cold_start[0].metrics.questions > both.report.models[0].metrics.questions);
}

#[test]
fn the_json_report_has_its_figures_by_name() {
    let findings = run(&quickly(), &people(3, 5));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    findings.report.write_json(&file).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(json["task"], "first-after-unlock");
    for name in ["recent", "frequent", "markov", "gbdt", "bayes-optimal"] {
        let model = &json["models"][name];
        assert!(model["questions"].as_u64() > Some(0), "{name}");
        for figure in ["hr1", "hr3", "hr5", "mrr", "ndcg5", "log_loss", "coverage90"] {
            let value = model[figure].as_f64().unwrap_or_else(|| panic!("{name}.{figure}"));
            let interval = &model[format!("{figure}_interval")];
            let [low, high] = [0, 1].map(|end| interval[end].as_f64().unwrap());
            assert!(
                low - 1e-9 <= value && value <= high + 1e-9,
                "{name}.{figure}: {value} in {low} to {high}"
            );
        }
        for part in ["resumed", "chosen"] {
            for figure in ["questions", "hr1", "hr3", "hr5", "log_loss", "share"] {
                assert!(model[part][figure].is_number(), "{name}.{part}.{figure}");
            }
        }
        for figure in ["hr1", "hr3", "hr5", "log_loss", "entropy"] {
            assert!(model["expected"][figure].is_number(), "{name}.expected.{figure}");
        }
        let [low, mean, high] = ["low", "mean", "high"].map(|key| model["regret"][key].as_f64().unwrap());
        assert!(low <= mean && mean <= high, "{name}: {low} {mean} {high}");
        let [p50, p99] = ["p50", "p99"].map(|p| model["latency_us"][p].as_f64().unwrap());
        assert!(0.0 <= p50 && p50 <= p99, "{name}: {p50} {p99}");
    }
    assert!(json["models"]["gbdt"]["latency_us"]["p99"].as_f64() > Some(0.0));
}

#[test]
fn trees_do_not_depend_on_the_number_of_threads() {
    let simulation = people(6, 8);
    // A sample of the rows is drawn, too.
    let ranker = RankerConfig { max_rows: 30_000, ..quick() };
    let trees = |threads: usize, seed: u64| -> Vec<Tree> {
        let (config, experiment) = (with_seed(ranker.clone(), seed), quickly());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let trained = pool
            .install(|| experiment.train(&config, &simulation.log, &simulation.vocabulary, &Silent))
            .unwrap();
        trained.model.ranker.forest().ensemble().trees.to_vec()
    };
    let alone = trees(1, 0);
    assert!(!alone.is_empty());
    assert!(alone == trees(2, 0) && alone == trees(3, 0), "threads changed the trees");
    assert!(alone != trees(2, 1), "another seed gave the same trees");
}

#[test]
fn what_cannot_be_run_is_refused() {
    let simulation = people(2, 4);
    let shares = |validation, test| SplitPlan::Shares { validation, test };
    let nan = f64::NAN;
    for split in [
        shares(0.5, 0.5),
        shares(0.2, 0.0),
        shares(-0.1, 0.2),
        shares(0.1, -0.2),
        shares(0.0, 1.0),
        shares(nan, 0.2),
        shares(0.1, nan),
        shares(0.1, f64::INFINITY),
        SplitPlan::LastDays(0),
        SplitPlan::RollingOrigin(0),
    ] {
        let experiment = Experiment { split, ..quickly() };
        let error = experiment.run(&simulation.log, &simulation.vocabulary, None, &Silent).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{split:?}: {error}");
        assert!(error.to_string().contains("; "), "no next step: {error}");
    }

    let without_unlocks =
        simulation.log.events().iter().filter(|event| event.signal != Signal::Unlock).copied().collect();
    for (log, split) in [
        (Log::default(), SplitPlan::default()),
        (Log::from_events(without_unlocks), SplitPlan::default()),
        // All that there is would be the test: nothing is left to learn from.
        (simulation.log.clone(), SplitPlan::LastDays(365)),
        // A share that rounds to no question at all: nothing is left to score.
        (simulation.log.clone(), shares(0.1, 1e-6)),
    ] {
        let experiment = Experiment { split, ..quickly() };
        let error = experiment.run(&log, &simulation.vocabulary, None, &Silent).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        assert!(
            error.to_string().contains("give a longer log") || error.to_string().contains("give a log with"),
            "{error}"
        );
    }

    type Edit = fn(&mut RankerConfig);
    let edits: [(&str, Edit); 9] = [
        ("trees", |config| config.gbdt.trees = 0),
        ("leaves", |config| config.gbdt.leaves = 1),
        ("max_depth", |config| config.gbdt.max_depth = 0),
        ("learning_rate", |config| config.gbdt.learning_rate = f64::NAN),
        ("learning_rate", |config| config.gbdt.learning_rate = 0.0),
        ("learning_rate", |config| config.gbdt.learning_rate = f64::INFINITY),
        ("l2", |config| config.gbdt.l2 = f64::NAN),
        ("group_fraction", |config| config.gbdt.group_fraction = 0.0),
        ("feature_fraction", |config| config.gbdt.feature_fraction = 1.5),
    ];
    for (field, edit) in edits {
        let mut config = quick();
        edit(&mut config);
        let experiment = Experiment::with_ranker(config);
        let error = experiment.run(&simulation.log, &simulation.vocabulary, None, &Silent).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains(&format!("field `{field}`")), "{error}");
    }
}

/// Someone whose phone was unlocked once, someone who opened one app, someone with a single question, and someone
/// with two thousand apps: all together.
#[test]
fn odd_people_do_no_harm() {
    let settings = SimulationConfig { people: 3, days: 5, apps: 2_000, ..Default::default() };
    let Simulation { log, vocabulary, .. } = simulate(&settings, &Silent).unwrap();
    assert_eq!(vocabulary.len(), 2_000);
    let of = |user: u64, events: Vec<Event>| {
        events.into_iter().map(move |event| Event { user: UserId(user), ..event }).collect::<Vec<_>>()
    };
    let launch = |at_secs, app| event(at_secs, Signal::Launch(AppId(app)));
    let collector = (0..2_000).flat_map(|app| {
        let at_secs = 1_767_571_200 + 40 * i64::from(app);
        let unlock = (app % 50 == 0).then(|| event(at_secs, Signal::Unlock));
        unlock.into_iter().chain([launch(at_secs + 1, app)])
    });
    let mut events = log.events().to_vec();
    events.extend(of(1, vec![event(1_767_571_200, Signal::Unlock)]));
    events.extend(of(2, vec![launch(1_767_571_200, 5)]));
    events.extend(of(3, vec![event(1_767_571_200, Signal::Unlock), launch(1_767_571_201, 5)]));
    events.extend(of(4, collector.collect()));
    let log = Log::from_events(events);
    for (task, split, people) in
        [(Task::FirstAfterUnlock, SplitPlan::default(), 4), (Task::NextLaunch, SplitPlan::LastDays(1), 4)]
    {
        let mut config = RankerConfig { max_rows: 100_000, ..quick() };
        config.gbdt.trees = 5;
        let experiment = Experiment { task, split, ..Experiment::with_ranker(config) };
        let findings = experiment.run(&log, &vocabulary, None, &Silent).unwrap();
        // Who has a single question has none to be tested on.
        assert_eq!(findings.report.users, people, "{task}");
        for model in &findings.report.models {
            assert!(model.metrics.questions > 0 && model.metrics.log_loss.is_finite(), "{}", model.name);
        }
        assert!(findings.report.to_string().contains("gbdt"));
    }
    // A log of nothing else: two questions are too few to be tested on, but no reason to panic.
    let one_question = [event(0, Signal::Unlock), launch(1, 5), event(9, Signal::Unlock), launch(10, 5)];
    let log = Log::from_events(one_question.to_vec());
    let error = quickly().run(&log, &vocabulary, None, &Silent).unwrap_err().to_string();
    assert!(error.contains("the log has 2 questions"), "{error}");
    // Nor is there one to stop at, and a loss on what was learned from is not shown for it.
    let trained = quickly().train(&quick(), &log, &vocabulary, &Silent).unwrap();
    assert!(trained.losses.is_empty());
}

#[test]
fn the_next_app_is_always_chosen_and_its_truth_is_not_asked_for() {
    let experiment = Experiment { task: Task::NextLaunch, ..quickly() };
    let report = run(&experiment, &people(3, 5)).report;
    for model in &report.models {
        let (resumed, chosen) = (&model.resumed, &model.chosen);
        assert_eq!(
            (resumed.questions, resumed.share, resumed.hr1.is_nan()),
            (0, 0.0, true),
            "{}",
            model.name
        );
        assert_eq!((chosen.share, chosen.log_loss), (1.0, model.metrics.log_loss), "{}", model.name);
        assert_eq!((model.expected, model.regret, model.by_memory.len()), (None, None, 0), "{}", model.name);
    }
    let text = report.to_string();
    assert!(text.contains("all are chosen") && !text.contains("NaN") && !text.contains("regret"), "{text}");
}

#[test]
fn users_that_training_never_saw_are_tested_in_turn() {
    let simulation = people(3, 5);
    let report = run(&Experiment { cold_start: true, ..quickly() }, &simulation).report;
    let all: usize =
        simulation.log.users().map(|events| questions(Task::FirstAfterUnlock, events).len()).sum();
    assert_eq!(report.cold_start.len(), 4);
    for model in &report.cold_start {
        // Each of so few people in turn, from the first day on.
        assert_eq!((model.metrics.questions, model.per_user.len()), (all, 3), "{}", model.name);
    }
    let by_name = |name: &str| report.cold_start.iter().find(|model| model.name == name).unwrap().metrics;
    assert!(by_name("gbdt").log_loss < by_name("markov").log_loss);

    // One in five of many people.
    let report = run(&Experiment { cold_start: true, ..quickly() }, &people(11, 2)).report;
    assert_eq!(report.cold_start[0].per_user.len(), 3);
}

#[test]
fn a_rolling_origin_tests_the_later_half_block_by_block() {
    let simulation = people(3, 6);
    let report = run(&Experiment { split: SplitPlan::RollingOrigin(3), ..quickly() }, &simulation).report;
    let later_half = |events| {
        let asked = questions(Task::FirstAfterUnlock, events).len();
        asked - asked / 2
    };
    let expected: usize = simulation.log.users().map(later_half).sum();
    for model in &report.models {
        assert_eq!((model.metrics.questions, model.per_user.len()), (expected, 3), "{}", model.name);
    }
    assert!(log_loss(&report, "gbdt") < log_loss(&report, "markov"));
}

/// What a test question's answer was decides nothing about the others: later days may be anything.
#[test]
fn the_model_never_sees_the_test() {
    let simulation = people(4, 6);
    let experiment = quickly();
    let model = run(&experiment, &simulation).model;
    // From each user's first test question on, other apps are opened.
    let mut changed = Vec::new();
    for events in simulation.log.users() {
        let time = |question: &Question| QuestionTime {
            asked: events[question.asked_at].at,
            answered: events[question.answered_at].at,
        };
        let times: Vec<QuestionTime> = questions(Task::FirstAfterUnlock, events).iter().map(time).collect();
        let first_test = times[experiment.split.split(&times, 0).test.start].asked;
        let other_app = |event: &Event| match event.signal {
            Signal::Launch(AppId(app)) if event.at >= first_test => {
                Event { signal: Signal::Launch(AppId((app + 11) % 87)), ..*event }
            }
            _ => *event,
        };
        changed.extend(events.iter().map(other_app));
    }
    let again =
        experiment.run(&Log::from_events(changed), &simulation.vocabulary, None, &Silent).unwrap().model;
    let (model, again) = (model.unwrap(), again.unwrap());
    assert!(model.ranker.forest().ensemble().trees == again.ranker.forest().ensemble().trees);
    assert_eq!((model.apps, model.temperature), (again.apps, again.temperature));
}

// Real people.

#[test]
fn real_phones() {
    let Some(folder) = phones::folder() else { return };
    let files: Vec<PathBuf> =
        (1..=3).map(|phone| folder.join(format!("phone{phone}_app_usage.csv"))).collect();
    let options = LogOptions::new(PrivacyKey::from_bytes([7; 32]));
    let mut vocabulary = Vocabulary::new();
    let (log, _) = read_logs(&files, &options, &mut vocabulary, &Silent).unwrap();
    let split = SplitPlan::Shares { validation: 0.15, test: 0.2 };
    let experiment = Experiment { split, ..Default::default() };
    let report = experiment.run(&log, &vocabulary, None, &Silent).unwrap().report;
    println!("{report}");
    let recent = report.model("recent").unwrap().metrics;
    assert!((1_094..=1_098).contains(&recent.questions), "{}", recent.questions);
    // Counted by another program over the rows that `convert` writes: 850, 935 and 965 of 1,096. (Published for these phones,
    // where an unlock just after its app has no answer and dialogs are apps: .761, .843, .873 of 1,084.)
    for (found, expected) in [(recent.hr1, 0.7755), (recent.hr3, 0.8531), (recent.hr5, 0.8805)] {
        assert!((found - expected).abs() <= 0.002, "most recent: {found}, not {expected}");
    }
    let ours = report.model("gbdt").unwrap().metrics;
    // The bar is .77/.885/.925. Logarithms and exponentials differ in the last bit between platforms, and one other
    // split early on moves a few of the 1,096 questions: half a point is left for that.
    assert!(ours.hr1 >= 0.77 && ours.hr3 >= 0.88 && ours.hr5 >= 0.92, "gbdt: {ours:?}");
}

/// A predictor with one fault.
#[derive(Clone, Copy)]
struct Faulty(fn(&Context<'_>, &mut [f32]));

impl Predictor for Faulty {
    fn new_scratch(&self) -> Scratch {
        Scratch::none()
    }

    fn score(&self, context: &Context<'_>, _scratch: &mut Scratch, scores: &mut [f32]) {
        MostRecent.score(context, &mut Scratch::none(), scores);
        (self.0)(context, scores);
    }
}

/// A learner that fails.
struct Fails(fn() -> Learned);

impl Learner for Fails {
    fn learn(&self, _training: &Training<'_>, _progress: &dyn foretap::Progress) -> foretap::Result<Learned> {
        Ok((self.0)())
    }
}

#[test]
fn who_fails_is_named_and_the_others_figures_are_kept() {
    let simulation = people(3, 5);
    let expected = run(&quickly(), &simulation).report;
    let faulty = |name: &str, fault| Method::predictor(name, Faulty(fault));
    let mut experiment = Experiment { cold_start: true, ..quickly() };
    experiment.methods.splice(
        0..0,
        [
            faulty("gives NaN", |_, scores| scores[0] = f32::NAN),
            faulty("leaves one out", |_, scores| {
                let last = scores.len() - 1;
                scores[last..].fill(f32::NAN);
            }),
            faulty("panics", |context, _| assert!(context.launches() < 100, "too many launches")),
            faulty("reads too far", |_, scores| scores[0] += scores[scores.len()]),
            Method::new("does not learn", Fails(|| panic!("nothing was learned"))),
            faulty("is sound", |_, _| {}),
        ],
    );
    let Simulation { log, vocabulary, truth } = &simulation;
    let found = experiment.run(log, vocabulary, Some(truth), &Silent).unwrap();
    let errors: Vec<String> = found.failures.iter().map(|failure| failure.error.to_string()).collect();
    for (name, says) in [
        ("gives NaN", "a score of NaN for candidate 1 of"),
        ("leaves one out", "a score of NaN for candidate"),
        ("panics", "it panicked: too many launches"),
        ("reads too far", "it panicked: index out of bounds"),
        ("does not learn", "it panicked: nothing was learned"),
    ] {
        let error = errors.iter().find(|error| error.contains(&format!("`{name}`"))).unwrap();
        assert!(error.contains(says), "{error}");
    }
    assert_eq!(errors.len(), 5, "each once: {errors:?}");
    let names: Vec<&str> = found.report.models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, ["is sound", "recent", "frequent", "markov", "gbdt", "bayes-optimal"]);
    for model in &expected.models {
        assert_eq!(found.report.model(&model.name).unwrap().metrics, model.metrics, "{}", model.name);
    }
    assert_eq!(
        found.report.model("is sound").unwrap().metrics,
        found.report.model("recent").unwrap().metrics
    );
    assert_eq!(found.report.cold_start.len(), 5);

    // A name that is taken, and one that means something else.
    for name in ["gbdt", "router", "bayes-optimal"] {
        let mut experiment = quickly();
        experiment.methods.push(faulty(name, |_, _| {}));
        let error = experiment.run(log, vocabulary, None, &Silent).unwrap_err().to_string();
        assert!(error.contains(&format!("the name `{name}` is taken")), "{error}");
    }
    // Nobody is left.
    let alone = Experiment { methods: vec![faulty("panics", |_, _| panic!("at once"))], ..quickly() };
    let error = alone.run(log, vocabulary, None, &Silent).unwrap_err().to_string();
    assert!(error.contains("`panics`: it panicked: at once"), "{error}");
}
