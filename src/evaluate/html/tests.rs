//! Pages of made-up reports: whole, self-contained, escaped, and there even where there is nothing to show.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::data::{AppId, UserId};
use crate::evaluate::metrics::tests::outcome;
use crate::evaluate::replay::{Latency, Tested};
use crate::evaluate::report::FeatureImportance;
use crate::evaluate::{Metrics, Outcome};

const NAUGHTY: &str = "<b>&\"";

/// A contender of some skill, asked `days` questions by each of `users` users; a little too sure of itself.
fn made_up(name: &str, users: u32, days: u32, skill: f32) -> ModelReport {
    let mut random = ChaCha8Rng::seed_from_u64(name.len() as u64);
    let mut question = |user: u32, day: u32| {
        let mut chance = || random.random::<f32>();
        let right = (skill * (0.25 + chance())).clamp(0.02, 0.98);
        let confidence = right.powf(0.8);
        let rank = if chance() < right { 0 } else { 1 + (9.0 * chance()) as u32 };
        Outcome {
            user,
            day: day as i32 / 8,
            hour: (6.0 + 18.0 * chance().sqrt()) as u8 % 24,
            launches_before: day * day / 3,
            answer: AppId(day % 7),
            probability: if rank == 0 { right } else { (1.0 - right) / 9.0 },
            ..outcome(Some(rank), confidence)
        }
    };
    let asked = (0..users).flat_map(|user| (0..days).map(move |day| (user, day)));
    let test: Vec<Outcome> = asked.map(|(user, day)| question(user, day)).collect();
    let tested = Tested { name: name.to_owned(), temperature: 1.0, threshold90: 0.8, test };
    let users: Vec<UserId> = (0..users).map(|user| UserId(u64::from(user) * 0x9E37_79B9_7F4A_7C15)).collect();
    let latency = Latency { p50: 3.25 + f64::from(skill), p99: 12.5 * f64::from(skill), p999: 0.0 };
    ModelReport::new(&tested, latency, &users)
}

fn report(models: Vec<ModelReport>) -> Report {
    Report {
        task: Task::FirstAfterUnlock,
        split: SplitPlan::default(),
        users: models.first().map_or(0, |model| model.per_user.len()),
        features_us: Latency { p50: 2.1, p99: 8.0, p999: 9.0 },
        scoring_us: Latency::default(),
        cold_start: models.iter().skip(1).cloned().collect(),
        models,
        routing: None,
        cold_learning: Vec::new(),
        importance: (0..30)
            .map(|n| FeatureImportance {
                name: ["share_24h", "transitions_from_previous", "recency_rank"][n % 3],
                gain_share: 0.2 / (1.0 + n as f64),
                splits: 3000 / (n as u32 + 1),
            })
            .collect(),
    }
}

fn empty() -> Report {
    Report { importance: Vec::new(), features_us: Latency::default(), ..report(Vec::new()) }
}

const SECTIONS: [&str; 7] = [
    "The models",
    "By hour of day",
    "By length of history",
    "Is it as sure as it should be?",
    "How often can it answer well?",
    "What the ranker looks at",
    "User by user",
];

fn assert_sound(page: &str) {
    for title in SECTIONS {
        assert!(page.contains(&format!("<h2>{title}</h2>")), "{title}");
    }
    let own = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for foreign in ["http:", "https:", "src=", "href=", "url(", "@import", "<script", "NaN", "inf"] {
        assert!(!own.contains(foreign), "{foreign}");
    }
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    assert_eq!(page.matches("<section").count(), page.matches("</section>").count());
}

#[test]
fn a_page_holds_every_section_and_nothing_foreign() {
    let models =
        vec![made_up("recent", 40, 90, 0.4), made_up(NAUGHTY, 40, 90, 0.9), made_up(BOUND, 40, 90, 1.0)];
    let mut report = report(models);
    report.models[1].per_user[0].user = NAUGHTY.to_owned();
    report.models[1].per_user[0].hr1 = 0.0;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html");
    report
        .write_html(&file, &[format!("At 8:00 {NAUGHTY}"), "b".into(), "c".into(), "fourth".into()])
        .unwrap();
    let page = std::fs::read_to_string(file).unwrap();
    assert_sound(&page);
    assert!(page.contains("<h2>New users</h2>") && page.contains("<h2>Predictions in words</h2>"));
    assert!(!page.contains(NAUGHTY) && page.contains("At 8:00 &lt;b&gt;&amp;&quot;"));
    assert!(page.contains("<code>&lt;b&gt;&amp;&quot;</code>"));
    assert!(page.contains("10 more users did as well"));
    assert!(!page.contains("fourth") && !page.contains("no data"));
}

#[test]
fn the_bound_wins_no_column() {
    let page = report(vec![made_up("a", 3, 40, 0.3), made_up("b", 3, 40, 0.9), made_up(BOUND, 3, 40, 1.0)])
        .page(&[]);
    let row = |name: &str| page.lines().find(|line| line.starts_with("<tr>") && line.contains(name)).unwrap();
    assert!(row("</svg>b</th>").contains("<strong>"));
    assert!(!row("</svg>optimum</th>").contains("<strong>"));
    assert!(page.contains("The users of <strong>b</strong>"));
}

#[test]
fn odd_reports_still_give_a_page() {
    let broken = || {
        let mut model = made_up("broken", 2, 40, 0.5);
        model.metrics = Metrics { hr1: f64::NAN, log_loss: f64::INFINITY, ..model.metrics };
        model.metrics.coverage90 = f64::NAN;
        model.coverage90_threshold = f32::NAN;
        model.metrics.coverage90_precision = Some(f64::INFINITY);
        model.by_hour[0].hr1 = f64::NAN;
        model.by_history[0].hr3 = f64::NEG_INFINITY;
        model.calibration[0].confidence = f64::NAN;
        model.coverage[3] = (f64::NAN, f64::NAN);
        model.per_user[1].hr1 = f64::NAN;
        model
    };
    let mut bare = made_up("bare", 1, 20, 0.5);
    bare.by_hour.clear();
    bare.by_history.clear();
    bare.calibration.clear();
    bare.coverage.clear();
    bare.per_user.clear();
    bare.metrics.coverage90_precision = None;
    let mut same_share = report(vec![made_up("always right", 1, 1, 10.0), broken()]);
    same_share.importance.iter_mut().for_each(|feature| feature.gain_share = 0.0);
    let cases = [
        empty(),
        report(vec![made_up("no questions", 0, 0, 0.5)]),
        report(vec![made_up("one question", 1, 1, 0.5)]),
        report(vec![made_up(BOUND, 1, 1, 0.5)]),
        report(vec![made_up("one user", 1, 60, 0.5)]),
        report(vec![bare]),
        report(vec![broken()]),
        report((0..9).map(|n| made_up(&format!("model {n}"), 1, 30, 0.1 * n as f32)).collect()),
        same_share,
    ];
    for case in cases {
        assert_sound(&case.page(&[]));
    }
    assert_eq!(empty().page(&[]).matches("no data").count(), 10);
}
