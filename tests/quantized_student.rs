//! The student in INT8 on real histories: every kernel, every way to come to an answer, the same bits.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used)] // a failed step is a failed test

mod people;

use std::sync::Arc;

use foretap::Silent;
use foretap::context::{Context, History, Task, replay};
use foretap::data::AppId;
use foretap::evaluate::Interval;
use foretap::experiment::{Experiment, QuantizationPlan, TransformerPlan};
use foretap::network::Window;
use foretap::predict::{Predictor, Scratch};
use foretap::quantize::{Kernel, QuantizedTransformer, quantize};
use foretap::transformer::{Size, Transformer, TransformerModel, Weights, pretrained};
use people::people;

fn bits(predictor: &QuantizedTransformer, context: &Context<'_>, scratch: &mut Scratch) -> Vec<u32> {
    let mut scores = vec![f32::NAN; context.candidates().len()];
    predictor.score(context, scratch, &mut scores);
    scores.into_iter().map(f32::to_bits).collect()
}

#[test]
fn kernels_and_scratches_agree_on_every_question() {
    let simulation = people(3, 10);
    let model = quantize(&pretrained(Size::Student).unwrap()).unwrap();
    let made = |kernel, window| QuantizedTransformer::with(&model, &simulation.vocabulary, kernel, window);
    let favourites: Arc<[AppId]> = (0..20).map(AppId).collect();
    for window in [Window::Stepping, Window::Sliding] {
        let plain = made(Kernel::PLAIN, window).unwrap();
        let fast: Vec<_> = Kernel::all().into_iter().map(|kernel| made(kernel, window).unwrap()).collect();
        let mut questions = 0;
        for events in simulation.log.users() {
            let mut kept: Vec<Scratch> = fast.iter().map(Predictor::new_scratch).collect();
            replay(events, Task::FirstAfterUnlock, &favourites, 300, |_, _, context| {
                let expected = bits(&plain, context, &mut plain.new_scratch());
                for (predictor, kept) in fast.iter().zip(&mut kept) {
                    assert_eq!(bits(predictor, context, kept), expected, "with what was kept");
                    assert_eq!(bits(predictor, context, &mut predictor.new_scratch()), expected, "afresh");
                }
                questions += 1;
            });
        }
        assert!(questions > 300, "{questions}");
    }
}

/// A comparison of the two is one of rounding alone: both read the window that ships.
#[test]
fn plain_and_quantized_predictors_read_the_same_tokens() {
    let simulation = people(2, 10);
    let plain = pretrained(Size::Student).unwrap();
    let whole = quantize(&plain).unwrap();
    let rounded = TransformerModel {
        weights: Weights::new(plain.weights.config().clone(), whole.dequantized()).unwrap(),
        ..plain
    };
    let vocabulary = &simulation.vocabulary;
    let shipped = QuantizedTransformer::new(&whole, vocabulary).unwrap();
    let by_default = Transformer::new(&rounded, vocabulary).unwrap();
    let [stepping, sliding] = [Window::Stepping, Window::Sliding]
        .map(|window| Transformer::with(&rounded, vocabulary, window).unwrap());
    assert_eq!(Window::default(), Window::Stepping, "the one that a KV cache can use");
    let favourites: Arc<[AppId]> = (0..20).map(AppId).collect();
    let (mut questions, mut elsewhere, mut furthest) = (0, 0, 0.0_f32);
    for events in simulation.log.users() {
        replay(events, Task::FirstAfterUnlock, &favourites, 300, |_, _, context| {
            let [found, expected, other] = [&by_default, &stepping, &sliding].map(|predictor| {
                let mut scores = vec![f32::NAN; context.candidates().len()];
                predictor.score(context, &mut predictor.new_scratch(), &mut scores);
                scores
            });
            let mut quantized = vec![f32::NAN; found.len()];
            shipped.score(context, &mut shipped.new_scratch(), &mut quantized);
            let apart = |other: &[f32]| {
                let differences = found.iter().zip(other).map(|(a, b)| (a - b).abs());
                differences.fold(0.0, f32::max)
            };
            assert_eq!(found, expected);
            furthest = furthest.max(apart(&quantized));
            elsewhere += usize::from(other != found);
            questions += 1;
        });
    }
    println!("{questions} questions, rounding moves a logit by {furthest}; {elsewhere} differ by the window");
    // What is left is what the INT8 pass rounds of its inputs.
    assert!(questions > 200 && furthest < 1.0, "{furthest}");
    assert!(elsewhere * 2 > questions, "the windows differ in {elsewhere} of {questions}");
}

#[test]
fn what_the_window_costs_is_a_row_of_its_own() {
    let simulation = people(12, 10);
    let student = pretrained(Size::Student).unwrap();
    let mut aware = TransformerPlan::new(Size::Student, Some(student.clone()));
    aware.fine_tune.epochs = 0.0;
    let plan = QuantizationPlan { aware, calibration: 50, pruned: Vec::new() };
    let (log, vocabulary) = (&simulation.log, &simulation.vocabulary);
    let found = Experiment::default().quantize(&plan, &student, log, vocabulary, None, &Silent).unwrap();
    let names: Vec<&str> = found.variants.iter().map(|variant| variant.report.name.as_str()).collect();
    assert_eq!(names, ["f32", "f32, sliding window", "int8", "int8, calibrated"]);
    let [ships, sliding] = [0, 1].map(|row| found.variants[row].report.metrics.log_loss);
    let cost = found.window_cost;
    println!("f32 {ships}, with a sliding window {sliding}: {cost:?}");
    assert!((cost.log_loss - (ships - sliding)).abs() < 1e-12 && cost.log_loss != 0.0);
    let Interval(low, high) = cost.log_loss_interval.unwrap();
    assert!(low <= cost.log_loss && cost.log_loss <= high);
    // The row's own change is against the window that ships.
    let Interval(low, high) = found.variants[1].log_loss_change.unwrap();
    assert!(low <= -cost.log_loss && -cost.log_loss <= high);
    for variant in &found.variants {
        let report = &variant.report;
        assert!(report.latency_us.p50 > 0.0);
        assert_eq!(report.latency_prefilled_us.is_some(), report.name.starts_with("int8"));
    }
}

#[test]
fn an_emptied_cache_is_a_fresh_one() {
    let simulation = people(1, 6);
    let model = quantize(&pretrained(Size::Student).unwrap()).unwrap();
    let predictor = QuantizedTransformer::new(&model, &simulation.vocabulary).unwrap();
    assert!(predictor.keeps_cache());
    let mut scratch = predictor.new_scratch();
    replay(
        simulation.log.users().next().unwrap(),
        Task::FirstAfterUnlock,
        &Arc::from([]),
        50,
        |_, _, context| {
            let fresh = bits(&predictor, context, &mut predictor.new_scratch());
            predictor.clear_cache(&mut scratch);
            assert_eq!(bits(&predictor, context, &mut scratch), fresh);
        },
    );
}

#[test]
fn reading_ahead_after_every_event_changes_no_bit() {
    let simulation = people(1, 6);
    let model = quantize(&pretrained(Size::Student).unwrap()).unwrap();
    let predictor = QuantizedTransformer::new(&model, &simulation.vocabulary).unwrap();
    let (mut history, mut scratch) = (History::default(), predictor.new_scratch());
    for event in simulation.log.users().next().unwrap().iter().take(1_500) {
        history.observe(event);
        predictor.prefill(&history.context_at(event.at, Task::FirstAfterUnlock), &mut scratch);
        let later = foretap::data::Timestamp(event.at.0 + 7);
        for now in [event.at, later] {
            let context = history.context_at(now, Task::FirstAfterUnlock);
            let expected = bits(&predictor, &context, &mut predictor.new_scratch());
            assert_eq!(bits(&predictor, &context, &mut scratch), expected);
        }
    }
}
