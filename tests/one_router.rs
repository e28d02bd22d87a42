//! The router of an evaluation and that of a phone are one: the same probabilities to the bit, question by question, over weeks
//! of a log, with feedback and without.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used)] // a failed step is a failed test

mod people;

use std::sync::Arc;

use foretap::Silent;
use foretap::bundle::Bundle;
use foretap::context::{Task, TrainingView, questions};
use foretap::data::{AppId, Event, Split};
use foretap::evaluate::{Outcome, Protocol, ROUTER, ROUTER_FULL, TestedExperts, test_router};
use foretap::predict::Predictor;
use foretap::router::{
    Answer, Experts, Feedback, Person, Route, Router, RouterModel, Routing, Suggestion, SuggestionSettings,
};
use foretap::transformer::{Size, Transformer, pretrained};
use people::{people, quick_model};

const UNLOCKS: Task = Task::FirstAfterUnlock;

/// What a test tells of an answer, floats as bits.
type Told = (AppId, Option<AppId>, Option<usize>, u32, u32);

fn told_by(outcome: &Outcome) -> Told {
    let rank = outcome.rank.map(|rank| rank as usize);
    (outcome.answer, outcome.first, rank, outcome.probability.to_bits(), outcome.confidence.to_bits())
}

fn told(answer: &Answer, opened: AppId) -> Told {
    let candidates = &answer.prediction.candidates;
    let rank = candidates.iter().position(|candidate| candidate.app == opened);
    let probability = rank.map_or(answer.prediction.none_of_these, |rank| candidates[rank].probability);
    let first = candidates.first();
    let confidence = first.map_or(0.0, |first| first.probability) as f32;
    (opened, first.map(|first| first.app), rank, (probability as f32).to_bits(), confidence.to_bits())
}

/// One phone's life with this model: what it answered to the test questions, and how many of them went to both.
fn phone(
    protocol: &Protocol<'_>,
    user: usize,
    pair: &TestedExperts,
    model: &RouterModel,
    routing: Routing,
    shown: Option<SuggestionSettings>,
) -> (Vec<Told>, usize) {
    let (events, split) = &protocol.users[user];
    let routers = [0, 1].map(|version| {
        let [trees, deep] = [&pair.trees, &pair.deep].map(|experts| Some(Arc::clone(&experts[version])));
        Router::new(model.clone(), Experts { trees, deep }, routing).unwrap()
    });
    let asked = questions(UNLOCKS, events);
    let mut scratches = [routers[0].new_scratch(), routers[1].new_scratch()];
    let favourites = Arc::clone(&protocol.favourites);
    let mut person = Person::new(favourites, shown.unwrap_or_default(), user as u64).unwrap();
    let mut awaited: Option<Suggestion> = None;
    let (mut answer, mut found, mut routed) = (Answer::default(), Vec::new(), 0);
    for (position, event) in events.iter().enumerate() {
        person.observe(event);
        if let Some(question) = asked.iter().find(|question| question.answered_at == position)
            && let Some(suggestion) = awaited.take()
        {
            let was_taken = suggestion.apps().contains(&question.answer);
            let feedback = if was_taken { Feedback::Taken(question.answer) } else { Feedback::Ignored };
            person.feedback(suggestion.id, feedback).unwrap();
        }
        let Some(number) = asked.iter().position(|question| question.asked_at == position) else { continue };
        let version = usize::from(split.validation.contains(&number));
        if version == 0 && !split.test.contains(&number) {
            continue;
        }
        person.ask(&routers[version], UNLOCKS, event.at, &mut scratches[version], &mut answer);
        if shown.is_some() {
            awaited = person.suggest(&answer);
        }
        if version == 0 {
            found.push(told(&answer, asked[number].answer));
            routed += usize::from(answer.route == Route::Both);
        }
    }
    (found, routed)
}

/// A user whose second quarter validates, and whose later half is tested.
fn split(events: &[Event]) -> (&[Event], Split) {
    let count = questions(UNLOCKS, events).len();
    let [validation, test] = [count / 4, count / 2];
    (events, Split { train: 0..validation, validation: validation..test, test: test..count })
}

#[test]
fn an_evaluation_gives_a_phones_probabilities_to_the_bit() {
    let simulation = people(4, 28);
    let vocabulary = &simulation.vocabulary;
    let bundle = Bundle::pretrained().unwrap();
    let expert = |expert: Arc<dyn Predictor>| expert;
    // Those that are tested, and others for the validation questions.
    let pair = TestedExperts {
        trees: [
            expert(Arc::new(bundle.parts().trees.as_ref().unwrap().0.ranker().unwrap())),
            expert(Arc::new(quick_model(&people(5, 7), UNLOCKS).ranker)),
        ],
        deep: [
            expert(Arc::new(bundle.student(vocabulary).unwrap().unwrap())),
            expert(Arc::new(Transformer::new(&pretrained(Size::Student).unwrap(), vocabulary).unwrap())),
        ],
    };
    let protocol = Protocol {
        task: UNLOCKS,
        favourites: bundle.favourites_in(vocabulary),
        users: simulation.log.users().map(split).collect(),
        truth: None,
        run: 0,
    };
    let view = TrainingView::new(UNLOCKS, vocabulary, simulation.log.users().map(split));
    let shows =
        SuggestionSettings { least_probability: 0.3, exploration: 0.2, ..SuggestionSettings::default() };
    let mut all = Vec::new();
    for shown in [None, Some(shows)] {
        let test = test_router(&view, &protocol, &pair, Routing::Share(0.3), shown, &Silent).unwrap();
        for (name, routing) in [(ROUTER, Routing::Share(0.3)), (ROUTER_FULL, Routing::Share(1.0))] {
            let tested = test.tested.iter().find(|tested| tested.name == name).unwrap();
            let evaluated: Vec<Told> = tested.test.iter().map(told_by).collect();
            let (mut lived, mut routed) = (Vec::new(), 0);
            for user in 0..protocol.users.len() {
                let (found, both) = phone(&protocol, user, &pair, &test.fitted.model, routing, shown);
                lived.extend(found);
                routed += both;
            }
            assert!(lived.len() > 800, "{} questions", lived.len());
            for (number, (lived, evaluated)) in lived.iter().zip(&evaluated).enumerate() {
                assert_eq!(lived, evaluated, "{name}, {shown:?}, question {number}");
            }
            assert_eq!(lived.len(), evaluated.len());
            assert_eq!(routed == lived.len(), name == ROUTER_FULL);
            assert!(routed * 10 > lived.len(), "{routed} of {} went to both", lived.len());
            all.push(lived);
        }
    }
    assert!(all[0] != all[2] && all[1] != all[3], "feedback changes answers");
}
