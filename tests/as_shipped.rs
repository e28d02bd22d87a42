//! A bundle over whole logs: what is reported of it is what a phone would have answered, and nothing was trained on the log.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used)] // a failed step is a failed test

use foretap::Silent;
use foretap::bundle::Bundle;
use foretap::context::{Task, questions};
use foretap::data::simulate::{Simulation, SimulationConfig, simulate};
use foretap::data::{Log, Signal};
use foretap::evaluate::LearningTime;
use foretap::experiment::{AsShipped, Experiment, train_on_others};
use foretap::gbdt::GbdtConfig;
use foretap::predict::Predictor as _;
use foretap::ranker::RankerConfig;
use foretap::router::{Answer, Person, Routing, SuggestionSettings};

fn people(people: usize, seed: u64) -> Simulation {
    simulate(&SimulationConfig { people, days: 10, seed, ..SimulationConfig::default() }, &Silent).unwrap()
}

#[test]
fn a_bundle_answers_as_on_a_phone_beside_a_ranker_of_other_people() {
    let (tested, others) = (people(2, 5), people(3, 6));
    let bundle = Bundle::pretrained().unwrap();
    let config =
        RankerConfig { gbdt: GbdtConfig { trees: 10, ..GbdtConfig::default() }, ..RankerConfig::default() };
    let trained =
        train_on_others(&Experiment::default(), &config, (&others.log, &others.vocabulary), 2, &Silent)
            .unwrap();
    let test = AsShipped {
        bundle: &bundle,
        routing: Routing::default(),
        others: &trained,
        nightly: None,
        test_share: 1.0,
        truth: None,
    };
    let report = test.test(&tested.log, &tested.vocabulary, &Silent).unwrap();
    let names: Vec<&str> = report.models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!((names, report.runs, report.users), (vec!["recent", "markov", "others", "bundle"], 2, 2));

    // A phone, by hand.
    let router = bundle.router(&tested.vocabulary, Routing::default()).unwrap();
    let (mut asked, mut hits, mut loss) = (0_usize, 0.0, 0.0);
    for (number, events) in tested.log.users().enumerate() {
        let favourites = bundle.favourites_in(&tested.vocabulary);
        let mut person = Person::new(favourites, SuggestionSettings::default(), number as u64).unwrap();
        let (mut scratch, mut answer) = (router.new_scratch(), Answer::default());
        let mut questions = questions(Task::FirstAfterUnlock, events).into_iter().peekable();
        for (position, event) in events.iter().enumerate() {
            person.observe(event);
            let Some(question) = questions.next_if(|question| question.asked_at == position) else {
                continue;
            };
            person.ask(&router, Task::FirstAfterUnlock, event.at, &mut scratch, &mut answer);
            let candidates = &answer.prediction.candidates;
            let found = candidates.iter().find(|candidate| candidate.app == question.answer);
            let probability = found.map_or(answer.prediction.none_of_these, |found| found.probability);
            asked += 1;
            hits += f64::from(u8::from(candidates.first().is_some_and(|first| first.app == question.answer)));
            loss -= f64::from(probability as f32).max(1e-9).ln();
        }
    }
    let of_bundle = report.model("bundle").unwrap();
    assert_eq!(of_bundle.metrics.questions, asked);
    assert_eq!(of_bundle.metrics.hr1, hits / asked as f64);
    assert!((of_bundle.metrics.log_loss - loss / asked as f64).abs() < 1e-9);

    // Every question counts once in the curve, of everybody, and JSON has it by day.
    for model in &report.models {
        let curve = model.learning_curve.as_ref().unwrap();
        for points in [&curve.days, &curve.stretches] {
            assert_eq!(points.iter().map(|point| point.questions).sum::<usize>(), asked, "{}", model.name);
        }
        assert_eq!(curve.days[0].day, LearningTime::Day(0));
    }
    let json = serde_json::to_value(&report).unwrap();
    let first = &json["models"]["bundle"]["learning_curve"][0];
    let keys: Vec<&String> = first.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["day", "hr1", "hr3", "log_loss", "questions"]);
    assert_eq!(first["day"], 0);
    // No question validated, so no threshold was chosen.
    assert_eq!(json["models"]["recent"]["coverage90"], serde_json::Value::Null);
    let text = report.to_string();
    // One dash in the interval, one for the coverage.
    let row = text.lines().find(|line| line.starts_with("bundle")).unwrap();
    assert_eq!(row.split_whitespace().filter(|word| *word == "-").count(), 2, "{text}");
    assert!(text.contains("by the time since a user's first event") && text.contains("\n1 week "), "{text}");
}

#[test]
fn a_log_or_a_ranker_that_does_not_fit_is_refused() {
    let bundle = Bundle::pretrained().unwrap();
    let empty = Log::default();
    let test = AsShipped {
        bundle: &bundle,
        routing: Routing::default(),
        others: &[],
        nightly: None,
        test_share: 1.0,
        truth: None,
    };
    let error = test.test(&empty, &bundle.vocabulary(), &Silent).unwrap_err().to_string();
    assert!(error.contains("no question of the task first-after-unlock"), "{error}");

    assert!(error.contains("its signals: nothing; no app is launched in it"), "{error}");

    let some = people(1, 7);
    let without = |is_left: fn(&Signal) -> bool| {
        let events = some.log.events().iter().filter(|event| is_left(&event.signal));
        let log = Log::from_events(events.copied().collect());
        test.test(&log, &some.vocabulary, &Silent).unwrap_err().to_string()
    };
    let error = without(|signal| *signal != Signal::Unlock);
    assert!(error.contains("its signals: launches ") && error.contains("; no unlock is in it: "), "{error}");
    let error = without(|signal| *signal == Signal::Unlock);
    assert!(
        error.contains("its signals: unlocks ") && error.contains("; no app is launched in it: "),
        "{error}"
    );
    let few = AsShipped { test_share: 1e-4, ..test };
    let error = few.test(&some.log, &some.vocabulary, &Silent).unwrap_err().to_string();
    let says = "field `--test-share`: a share of 0.0001 leaves 0 of ";
    assert!(
        error.contains(says) && error.contains(" questions of 1 person to score; choose at least 0.0"),
        "{error}"
    );
    let enough = error.split("at least ").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
    let enough = AsShipped { test_share: enough.parse().unwrap(), ..test };
    assert_eq!(enough.test(&some.log, &some.vocabulary, &Silent).unwrap().models[0].metrics.questions, 1);
    let config =
        RankerConfig { gbdt: GbdtConfig { trees: 2, ..GbdtConfig::default() }, ..RankerConfig::default() };
    let next = Experiment { task: Task::NextLaunch, ..Experiment::default() };
    let trained = train_on_others(&next, &config, (&some.log, &some.vocabulary), 1, &Silent).unwrap();
    let test = AsShipped { others: &trained, ..test };
    let error = test.test(&some.log, &some.vocabulary, &Silent).unwrap_err().to_string();
    assert!(
        error.contains("the bundle answers first-after-unlock, the other people's ranker next-launch"),
        "{error}"
    );
}
