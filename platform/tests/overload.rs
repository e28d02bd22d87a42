//! More questions than are answered, batches of questions, how long a caller waits, and models exchanged meanwhile: on the running
//! program.

#![allow(clippy::unwrap_used)]

// Each test uses a part of it.
#[allow(dead_code)]
mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Up, events};
use foretap::bundle::{Bundle, BundleContents};
use foretap_platform::registry::{Card, Registry};
use foretap_platform::serve::{BatchAnswer, PredictRequest, Problem};
use serde_json::json;

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    config.timeout_global(Some(Duration::from_secs(30))).build().into()
}

/// Status, `Retry-After` and body of an answer to a question.
fn asked(
    agent: &ureq::Agent,
    url: &str,
    priority: Option<&str>,
    body: &str,
) -> (u16, Option<String>, String) {
    let mut request = agent.post(url).header("Content-Type", "application/json");
    if let Some(priority) = priority {
        request = request.header("Priority", priority);
    }
    let mut answer = request.send(body).unwrap();
    let after = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    (answer.status().as_u16(), after, answer.body_mut().read_to_string().unwrap())
}

#[test]
fn what_is_beyond_the_places_is_refused_and_the_rest_is_answered() {
    const CALLERS: usize = 32;
    const QUESTIONS: usize = 40;
    let folder = tempfile::tempdir().unwrap();
    let settings = [("AT_ONCE", "1"), ("MAX_WAITING", "2"), ("WAIT_MS", "5")]
        .map(|(name, value)| (format!("FORETAP_ANSWER_{name}"), value.to_owned()));
    let settings: Vec<(&str, &str)> =
        settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let up = Up::start(folder.path(), &settings);
    let url = format!("{}/v1/predict", up.client.url());
    let (answered, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (url, answered, refused) = (&url, &answered, &refused);
            scope.spawn(move || {
                let agent = agent();
                for number in 0..QUESTIONS {
                    let user = format!("u{:016x}", caller * QUESTIONS + number);
                    let question = json!({ "user": user }).to_string();
                    let (status, after, body) = asked(&agent, url, None, &question);
                    match status {
                        200 => answered.fetch_add(1, Ordering::Relaxed),
                        _ => {
                            assert_eq!((status, after.as_deref()), (503, Some("1")), "{body}");
                            let problem: Problem = serde_json::from_str(&body).unwrap();
                            assert!(problem.detail.contains("more questions"), "{body}");
                            refused.fetch_add(1, Ordering::Relaxed)
                        }
                    };
                }
            });
        }
    });
    let (answered, refused) = (answered.into_inner(), refused.into_inner());
    assert_eq!(answered + refused, CALLERS * QUESTIONS);
    assert!(answered > 0 && refused > 0, "{answered} answered, {refused} refused");
    // Nothing stays behind: places and queue are free.
    for _ in 0..20 {
        assert_eq!(asked(&agent(), &url, Some("u=7"), r#"{"user":"u0000000000000001"}"#).0, 200);
    }
    let metrics = agent().get(format!("{}/metrics", up.client.url())).call().unwrap();
    let metrics = metrics.into_body().read_to_string().unwrap();
    let counted = format!("foretap_requests_refused_total{{status=\"503\"}} {refused}");
    assert!(metrics.contains(&counted), "{counted}");
    up.stop();
}

#[test]
fn a_batch_is_answered_in_its_order_and_a_bad_question_alone_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(folder.path(), &[]);
    let events = events(3, 2);
    up.client.send(&events, "k1", (500, None), |_| {}).unwrap();
    up.client.flush().unwrap();
    let at = jiff::Timestamp::from_microsecond(events.last().unwrap().at_us).unwrap().to_string();
    let question = |user: String| PredictRequest { user, at: Some(at.clone()), ..Default::default() };
    let mut users: Vec<String> = events.iter().map(|event| event.user.to_string()).collect();
    users.sort();
    users.dedup();
    let questions: Vec<PredictRequest> = (0..100)
        .map(|number| match number {
            50 => PredictRequest { apps: Some(0), ..question(users[0].clone()) },
            _ => question(users[number % users.len()].clone()),
        })
        .collect();
    let answers = up.client.predict_batch(questions.clone()).unwrap();
    assert_eq!(answers.len(), 100);
    for (number, (answer, question)) in answers.into_iter().zip(&questions).enumerate() {
        match answer {
            BatchAnswer::Problem(problem) => {
                assert_eq!((number, problem.status, problem.field.as_deref()), (50, 400, Some("apps")));
            }
            BatchAnswer::Answer(answer) => {
                let alone = up.client.predict(question).unwrap();
                assert_eq!((&answer.apps, answer.known), (&alone.apps, true), "{number}");
            }
        }
    }
    for count in [0, 101] {
        let error = up.client.predict_batch(vec![questions[0].clone(); count]).unwrap_err().to_string();
        assert!(error.contains(&format!("{count} questions")) && error.contains("1 to 100"), "{error}");
    }
    let url = format!("{}/v1/predict:batch", up.client.url());
    for body in ["", "{}", "[]", r#"{"questions":7}"#, r#"{"questions":[{}],"more":1}"#] {
        assert_eq!(asked(&agent(), &url, None, body).0, 400, "{body}");
    }
    up.stop();
}

#[test]
fn a_caller_says_how_long_it_waits() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(folder.path(), &[]);
    let url = format!("{}/v1/predict", up.client.url());
    for within_ms in [0, 60_001] {
        let body = json!({ "user": "u0000000000000001", "within_ms": within_ms }).to_string();
        let (status, _, answer) = asked(&agent(), &url, None, &body);
        assert!(status == 400 && answer.contains("within_ms"), "{answer}");
    }
    // Events that will never be there are waited for no longer than that.
    let body = json!({ "user": "u0000000000000001", "within_ms": 50, "after": 1_000_000 }).to_string();
    let started = Instant::now();
    let (status, _, answer) = asked(&agent(), &url, None, &body);
    // Its time is up before its turn: refused, or answered without the person.
    assert!([200, 503].contains(&status), "{answer}");
    assert!(started.elapsed() < Duration::from_millis(500), "{answer}");
    up.stop();
}

#[test]
fn no_answer_is_lost_or_mixed_while_models_are_exchanged() {
    const SWAPS: u32 = 6;
    const LONGEST: Duration = Duration::from_secs(60);
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(folder.path(), &[]);
    let events = events(2, 2);
    up.client.send(&events, "k1", (500, None), |_| {}).unwrap();
    up.client.flush().unwrap();
    // The trees alone: other probabilities than those of the version that ships, by another route.
    let registry = Registry::open(&folder.path().join("models")).unwrap();
    let parts = Bundle::pretrained().unwrap().parts().clone();
    let other = Bundle::new(BundleContents { student: None, router: None, ..parts }).unwrap();
    let card = Card {
        made_at: 0,
        learned_from: "a test".to_owned(),
        data_version: None,
        parent: Some(1),
        comparison: None,
        passed_gate: None,
        code: "0".to_owned(),
    };
    assert_eq!(registry.add(&other, &card).unwrap(), 2);
    let at = jiff::Timestamp::from_microsecond(events.last().unwrap().at_us).unwrap().to_string();
    let user = events.last().unwrap().user.to_string();
    let question = PredictRequest { user, at: Some(at), apps: Some(10), ..Default::default() };
    let bits = |answer: &foretap_platform::serve::PredictResponse| {
        let apps = answer.apps.iter().map(|app| (app.app.clone(), app.probability.to_bits()));
        (answer.route.clone(), apps.collect::<Vec<_>>(), answer.confidence.to_bits())
    };
    let live = |version: u32| {
        let before = registry.live().unwrap().map(|live| live.version);
        registry.approve(version, before, "a test", "").unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let answer = up.client.predict(&question).unwrap();
            if answer.model == version.to_string() {
                return bits(&answer);
            }
            assert!(Instant::now() < deadline, "version {version} is not live");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let expected: BTreeMap<String, _> = [2, 1].map(|version| (version.to_string(), live(version))).into();
    assert_ne!(expected["1"], expected["2"]);
    let (is_over, began) = (AtomicBool::new(false), Instant::now());
    let asked: BTreeMap<String, usize> = std::thread::scope(|scope| {
        let askers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
                    while !is_over.load(Ordering::Relaxed) && began.elapsed() < LONGEST {
                        let answer = up.client.predict(&question).unwrap();
                        assert_eq!(bits(&answer), expected[&answer.model], "of version {}", answer.model);
                        *asked.entry(answer.model).or_default() += 1;
                    }
                    asked
                })
            })
            .collect();
        for swap in 0..SWAPS {
            live(2 - swap % 2);
        }
        // A version that is damaged is not taken over, and the one before goes on.
        let file = folder.path().join("models/000002/bundle.foretap");
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
        let before = registry.live().unwrap().map(|live| live.version);
        registry.approve(2, before, "a test", "").unwrap_err();
        is_over.store(true, Ordering::Relaxed);
        let mut all: BTreeMap<String, usize> = BTreeMap::new();
        for asker in askers {
            for (model, count) in asker.join().unwrap() {
                *all.entry(model).or_default() += count;
            }
        }
        all
    });
    assert!(asked["1"] > 100 && asked["2"] > 100, "{asked:?}");
    up.stop();
}

#[test]
fn a_body_may_be_as_large_as_the_limit_and_no_byte_larger() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("FORETAP_HTTP_MAX_BODY_BYTES", "3000"), ("FORETAP_HTTP_MAX_BATCH_BYTES", "3000")];
    let up = Up::start(folder.path(), &settings);
    let question = r#"{"user":"u0000000000000001"}"#;
    let several = format!(r#"{{"questions":[{question}]}}"#);
    let events = r#"{"version":1,"key_id":"k1","events":[]}"#;
    let feedback = r#"{"answer_id":"none","opened":null}"#;
    for (path, body, limit, fine) in [
        ("/v1/predict", question, 128 << 10, 200),
        ("/v1/predict:batch", &*several, 1 << 20, 200),
        ("/v1/feedback", feedback, 128 << 10, 400),
        ("/v1/events", events, 3_000, 202),
    ] {
        let url = format!("{}{path}", up.client.url());
        for (length, expected) in [(limit - 1, fine), (limit, fine), (limit + 1, 413)] {
            let padded = format!("{body}{}", " ".repeat(length - body.len()));
            let (status, _, answer) = asked(&agent(), &url, None, &padded);
            assert_eq!(status, expected, "{path} of {length} bytes: {answer}");
            if status == 413 {
                let problem: Problem = serde_json::from_str(&answer).unwrap();
                assert_eq!(problem.field.as_deref(), Some("body"));
            }
        }
    }
    up.stop();
}
