//! Pages of made-up reports: whole, self-contained, escaped, and there even where there is nothing to show.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::markup::{number_mark, signed, signed_mark};
use super::routing::time_mark;
use super::*;
use crate::data::{AppId, UserId};
use crate::evaluate::latency::Latency;
use crate::evaluate::metrics::tests::outcome;
use crate::evaluate::replay::TestResult;
use crate::evaluate::report::FeatureImportance;
use crate::evaluate::{
    CostPoint, Expected, GateBin, GateReport, Interval, LearningPeriod, Metrics, Outcome, PairedDifferences,
    ROUTER, ROUTER_FULL, ROUTER_SHARED, RoutingPoint, RoutingReport,
};

const NAUGHTY: &str = "<b>&\"";

/// A predictor of some skill, asked `days` questions by each of `users` users; a little too sure of itself.
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
            is_resumed: day.is_multiple_of(3),
            is_after_pause: day.is_multiple_of(5),
            expected: Some(Expected {
                cross_entropy: 2.0 - f64::from(skill),
                entropy: 0.5,
                hits: [f64::from(right), 0.98, 0.99],
            }),
            ..outcome(Some(rank), confidence)
        }
    };
    let asked = (0..users).flat_map(|user| (0..days).map(move |day| (user, day)));
    let test: Vec<Outcome> = asked.map(|(user, day)| question(user, day)).collect();
    let tested = TestResult { name: name.to_owned(), temperature: 1.0, threshold90: 0.8, test };
    let users: Vec<UserId> =
        (0..users).map(|user| UserId(u64::from(user).wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect();
    let latency = Latency { p50: 3.25 + f64::from(skill), p99: 12.5 * f64::from(skill), p999: 0.0 };
    ModelReport::new(&tested, latency, &users)
}

fn report(models: Vec<ModelReport>) -> Report {
    Report {
        task: Task::FirstAfterUnlock,
        split: SplitPlan::default(),
        users: models.first().map_or(0, |model| model.per_user.len()),
        runs: 1,
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

/// A router's report with figures at so many shares.
fn routing(steps: usize) -> RoutingReport {
    let way = |bend: f64| {
        let at = |step: usize| {
            let share = step as f64 / steps.saturating_sub(1).max(1) as f64;
            let gained = 0.1 * share.powf(bend);
            RoutingPoint {
                share,
                hr1: 0.5 + gained,
                hr3: 0.7 + gained,
                hr5: 0.8 + gained,
                log_loss: 1.5 - gained,
            }
        };
        (0..steps).map(at).collect::<Vec<RoutingPoint>>()
    };
    let stretch = |(until, questions): (&'static str, usize)| {
        let hr1 = [0.3, 0.31, 0.35];
        LearningPeriod { until, questions, hr1, hr3: hr1, log_loss: hr1.map(|rate| 2.0 - rate) }
    };
    let clear = Some(Interval(0.01, 0.03));
    let unclear = Some(Interval(-0.01, 0.03));
    RoutingReport {
        deep: "student-int8".to_owned(),
        routed_share: 0.2,
        by_gate: way(0.5),
        at_random: way(1.0),
        by_oracle: way(0.25),
        calibration_error: [0.081, 0.012],
        calibration: [0.8, 1.0].map(|skill| made_up("calibrated", 2, 90, skill).calibration),
        learning: [("1 hour", 12), ("1 day", 80), ("4 weeks", 900)].map(stretch).to_vec(),
        gate: GateReport {
            reliability: (0..steps.min(10))
                .map(|bin| {
                    let predicted = 0.1 * bin as f64 - 0.2;
                    GateBin { predicted, realized: 0.8 * predicted, error: 0.05, questions: 90 }
                })
                .collect(),
            pays: vec![CostPoint {
                cost_us: 25.0,
                cost_nats: 0.00025,
                share: 0.4,
                gained: 0.0123,
                log_loss: 1.4,
                hr3: 0.8,
            }],
        },
        validation_losses: None,
        against: vec![PairedDifferences {
            name: ROUTER.to_owned(),
            with: NAUGHTY.to_owned(),
            differences: [(0.0234, clear), (0.0123, unclear), (0.0, None), (f64::NAN, None)],
        }],
    }
}

/// A report in which a router took part.
fn routed(routing: RoutingReport) -> Report {
    let names = ["recent", NAUGHTY, "gbdt", "student-int8", ROUTER, ROUTER_FULL, ROUTER_SHARED, BOUND];
    let models = names.iter().enumerate().map(|(n, name)| made_up(name, 70, 40, 0.3 + 0.05 * n as f32));
    let mut report = report(models.collect());
    report.models[4].routed_share = Some(routing.routed_share);
    Report { routing: Some(routing), ..report }
}

fn set_nan(report: &mut Report) {
    let Some(routing) = &mut report.routing else { return };
    (routing.routed_share, routing.calibration_error) = (f64::NAN, [f64::NAN, f64::INFINITY]);
    routing.by_gate.iter_mut().for_each(|at| (at.hr3, at.log_loss) = (f64::NAN, f64::NEG_INFINITY));
    routing.at_random.iter_mut().for_each(|at| at.share = f64::NAN);
    routing.learning.iter_mut().for_each(|stretch| stretch.hr1[1] = f64::NAN);
    routing.gate.reliability.iter_mut().for_each(|bin| bin.realized = f64::NAN);
    routing.gate.pays.iter_mut().for_each(|paid| (paid.share, paid.gained) = (f64::NAN, f64::NAN));
    routing.calibration[0].iter_mut().for_each(|bin| bin.hit_rate = f64::NAN);
    routing.against[0].differences[0] = (f64::NAN, Some(Interval(f64::NAN, f64::NAN)));
    for model in &mut report.models {
        (model.metrics.log_loss, model.metrics.hr3, model.latency_us.p50) = (f64::NAN, f64::NAN, 3.0);
        model.routed_share = model.routed_share.map(|_| f64::NAN);
        model.per_user.iter_mut().for_each(|user| (user.hr1, user.coverage90) = (f64::NAN, f64::NAN));
        model.by_hour.iter_mut().for_each(|slice| slice.hr1 = f64::NAN);
    }
}

/// Reports in which a router took part, most of them odd, and the plots that have something to show.
fn routed_reports() -> Vec<(&'static str, Report, Vec<&'static str>)> {
    let all = vec!["calibration", "coverage", "gains", "latency", "learning", "routing"];
    let without = |name: &str| all.iter().copied().filter(|other| *other != name).collect::<Vec<_>>();
    let mut not_a_number = routed(routing(21));
    set_nan(&mut not_a_number);
    let mut untimed = routed(routing(21));
    untimed.models[2].latency_us.p50 = 0.0;
    let mut no_trees = routed(routing(21));
    no_trees.models.remove(2);
    let mut alone = routed(routing(21));
    alone.models = vec![made_up(ROUTER, 1, 40, 0.5)];
    let nothing = Report { routing: Some(RoutingReport::default()), ..empty() };
    let mut cold = routed(RoutingReport { learning: Vec::new(), ..routing(21) });
    cold.cold_learning = routing(21).learning;
    vec![
        ("whole", routed(routing(21)), all.clone()),
        ("one step", routed(routing(1)), all.clone()),
        ("no step", routed(routing(0)), all.clone()),
        ("no numbers", not_a_number, without("latency")),
        ("not timed", untimed, without("latency")),
        ("no trees", no_trees, vec!["calibration", "coverage", "learning", "routing"]),
        ("router alone", alone, vec!["calibration", "coverage", "learning", "routing"]),
        ("nothing", nothing, vec![]),
        ("no stretch", routed(RoutingReport { learning: Vec::new(), ..routing(21) }), without("learning")),
        ("cold stretches", cold, all.clone()),
    ]
}

const ROUTER_SECTIONS: [&str; 7] = [
    "Is the router better?",
    "Who is asked?",
    "Does the gate keep its word?",
    "Latency against accuracy",
    "Calibration before and after",
    "Who gains?",
    "As a person becomes known",
];

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
    let row = |name: &str| page.split("<tr>").find(|row| row.contains(name)).unwrap();
    assert!(row("</span>b</th>").contains("<strong>"));
    assert!(!row("</span>bayes-optimal</th>").contains("<strong>"));
    assert!(page.contains("The users of <strong>b</strong>"));
}

#[test]
fn what_was_chosen_and_what_is_expected_have_tables_where_they_are_known() {
    let has = |report: &Report, title: &str| report.page(&[]).contains(&format!("<h2>{title}</h2>"));
    let mut report =
        report(vec![made_up("a", 3, 40, 0.3), made_up("b", 3, 40, 0.9), made_up(BOUND, 3, 40, 1.5)]);
    let page = report.page(&[]);
    for title in ["Chosen or resumed", "What is expected"] {
        assert!(has(&report, title), "{title}");
    }
    // Of 40 questions a user 14 resume.
    assert!(page.contains("<h3>Chosen: 65\u{a0}% of the answers (78)</h3>"), "{page}");
    assert!(page.contains("<h3>Resumed: 35\u{a0}% of the answers (42)</h3>"), "{page}");
    assert!(page.contains("<td><strong>0.6000</strong><small>0.6000 – 0.6000</small></td>"), "regret of b");
    report.cold_start.clear();
    for model in &mut report.models {
        (model.expected, model.regret, model.resumed.questions) = (None, None, 0);
    }
    assert!(!has(&report, "What is expected") && !report.page(&[]).contains("<h3>Resumed"));
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

#[test]
fn a_router_has_its_sections_and_nobody_else_has_them() {
    let has = |page: &str, title: &str| page.contains(&format!("<h2>{title}</h2>"));
    let page = routed(routing(21)).page(&[]);
    let without = report(vec![made_up("gbdt", 3, 40, 0.3)]).page(&[]);
    for title in ROUTER_SECTIONS {
        assert!(has(&page, title) && !has(&without, title), "{title}");
    }
    let timed = |model| {
        let report = report(vec![made_up(model, 3, 40, 0.3)]);
        Report { scoring_us: Latency { p50: 3.0, ..Latency::default() }, ..report }
    };
    for (model, is_said) in [("gbdt", true), ("router", false)] {
        let (page, text) = (timed(model).page(&[]), timed(model).to_string());
        assert_eq!(page.contains("gbdt's median time"), is_said, "{model}");
        assert_eq!(text.contains("of gbdt's time"), is_said, "{model}");
    }
    assert!(!page.contains("no data") && !page.contains("means of"));
    let repeated = Report { runs: 3, ..routed(routing(21)) };
    assert!(repeated.page(&[]).contains("All figures are means of 3 runs"));
    assert!(page.contains("<strong>0.081</strong>") && page.contains("<strong>0.012</strong>"));
    assert!(page.contains("The users of <strong>router-full</strong>, worst first"));
    let against = page.split("<tr>").find(|row| row.contains("router over &lt;b&gt;")).unwrap();
    let cells = [
        "<td><strong>+0.0234</strong><small>+0.0100 to +0.0300</small></td>",
        "<td>+0.0123<small>−0.0100 to +0.0300</small></td>",
        "<td>+0.0000</td>",
        "<td>–</td>",
    ];
    assert!(against.contains(&cells.concat()), "{against}");
}

#[test]
fn odd_reports_of_a_router_still_give_a_page_and_plots() {
    for (case, report, expected) in routed_reports() {
        assert_sound(&report.page(&[]));
        assert!(!report.page(&[]).contains(NAUGHTY), "{case}");
        let folder = tempfile::tempdir().unwrap();
        report.write_plots(folder.path()).unwrap();
        let mut found: Vec<String> = Vec::new();
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let file = entry.unwrap().path();
            let svg = std::fs::read_to_string(&file).unwrap();
            assert!(
                svg.starts_with("<svg width=") && svg.contains("xmlns=\"http://www.w3.org/2000/svg\""),
                "{case}"
            );
            assert_well_formed(&svg);
            found.push(file.file_stem().unwrap().to_str().unwrap().to_owned());
        }
        found.sort();
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn plots_without_a_router_are_of_coverage_and_need_a_folder() {
    let report = report(vec![made_up("gbdt", 3, 40, 0.3)]);
    let folder = tempfile::tempdir().unwrap();
    report.write_plots(folder.path()).unwrap();
    let names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["coverage.svg"]);
    let error = report.write_plots(&folder.path().join("missing")).unwrap_err().to_string();
    assert!(error.contains("there is no folder"), "{error}");
}

/// Tags are closed in order, attributes are quoted, and nothing but entities begins with an ampersand.
fn assert_well_formed(svg: &str) {
    let mut open = Vec::new();
    for part in svg.split('<').skip(1) {
        let (tag, text) = part.split_once('>').unwrap();
        assert!(!text.contains('>') && tag.matches('"').count().is_multiple_of(2), "{part}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().unwrap());
        }
    }
    assert_eq!(open, Vec::<&str>::new());
    for after in svg.split('&').skip(1) {
        let known = ["amp;", "lt;", "gt;", "quot;", "apos;", "#39;"];
        assert!(known.iter().any(|entity| after.starts_with(entity)), "{}", &after[..after.len().min(20)]);
    }
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
}

#[test]
fn figures_in_words() {
    assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    assert_eq!([count(1, "user"), count(0, "user")], ["1 user", "0 users"]);
    let percents = [0.0, 0.012, 0.0995, 1.0, f64::NAN].map(percent);
    assert_eq!(percents, ["0\u{a0}%", "1.2\u{a0}%", "10\u{a0}%", "100\u{a0}%", "–"]);
    assert_eq!([f64::INFINITY, -0.001, -0.5].map(|value| decimals(value, 2)), ["–", "0.00", "-0.50"]);
    assert_eq!([0.0123, -0.5, f64::NAN].map(|value| signed(value, 3)), ["+0.012", "−0.500", "–"]);
    assert_eq!([-0.0, 1.0 / 3.0, -2.0].map(number_mark), ["0", "0.333333", "-2"]);
    assert_eq!([0.0, -0.0, 0.5, -2.0].map(signed_mark), ["0", "0", "+0.5", "−2"]);
    assert_eq!(
        [0.3, 10.0, 31.622_8, 1_000.0].map(|us: f64| time_mark(us.log10())),
        ["0.3", "10", "32", "1000"]
    );
}

#[test]
fn all_who_can_take_part_differ_even_as_lines_without_markers() {
    let inks: Vec<Ink> = (0..44).map(Ink::of_model).chain([Ink::BOUND]).collect();
    for (index, ink) in inks.iter().enumerate() {
        assert!(!inks[..index].contains(ink), "{index}");
        assert!(index >= 11 || inks[..index].iter().all(|other| other.colour != ink.colour), "{index}");
    }
}

#[test]
fn values_at_the_edges_of_numbers_do_no_harm() {
    for value in [0.0, -1.0, 1e-300, 1e12, f64::MIN_POSITIVE / 4.0, f64::NAN, f64::INFINITY] {
        let points = vec![(value, value, 6, true), (0.0, value, 0, true)];
        let series = vec![Series { name: "n".repeat(80), ink: Ink::of_model(0), points }];
        let x = Axis::over("x", number_mark, [value].into_iter());
        let plot = Plot::new("caption", x, ("y", number_mark), &[value], series);
        let section = Section { plots: vec![plot], ..Section::new("title", html! {}) };
        let page = section.html().into_string();
        assert!(page.contains(if value.is_finite() { "<svg" } else { "no data" }), "{value}");
        assert_eq!(section.svg().is_some(), value.is_finite());
    }
}
