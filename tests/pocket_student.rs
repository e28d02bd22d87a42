//! The student in whole numbers on real histories: every kernel, every way to come to an answer, the same bits.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used)] // a failed step is a failed test

mod people;

use std::sync::Arc;

use foretap::context::{Context, History, Task, replay};
use foretap::data::AppId;
use foretap::network::Window;
use foretap::predict::{Predictor, Scratch};
use foretap::quantize::{Kernel, QuantizedTransformer, quantize};
use foretap::transformer::{Size, pretrained};
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

#[test]
fn reading_ahead_after_every_event_changes_no_bit() {
    let simulation = people(1, 6);
    let model = quantize(&pretrained(Size::Student).unwrap()).unwrap();
    let predictor = QuantizedTransformer::new(&model, &simulation.vocabulary).unwrap();
    let (mut history, mut scratch) = (History::default(), predictor.new_scratch());
    for event in simulation.log.users().next().unwrap().iter().take(1_500) {
        history.observe(event);
        predictor.read_ahead(&history.context_at(event.at, Task::FirstAfterUnlock), &mut scratch);
        let later = foretap::data::Timestamp(event.at.0 + 7);
        for now in [event.at, later] {
            let context = history.context_at(now, Task::FirstAfterUnlock);
            let expected = bits(&predictor, &context, &mut predictor.new_scratch());
            assert_eq!(bits(&predictor, &context, &mut scratch), expected);
        }
    }
}
