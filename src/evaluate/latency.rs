//! How long an answer takes.
//!
//! One clock for everyone: one question on one thread, from its context to the scores of all its candidates. Inside are
//! features or tokens and the model, of a router gate, experts and blend. Outside are the events before the question,
//! which are observed when they happen, and what is the same for all afterwards: probabilities, "none of these" and
//! ranking; of a router also a person's personalization.
//!
//! Two states are timed, each by its own name:
//!
//! | | what is left of earlier questions |
//! | --- | --- |
//! | from nothing | nothing: a KV cache is emptied before the clock starts |
//! | prefilled, of every third question | keys and values of all tokens but the question's own, computed before the clock starts |
//!
//! A predictor that takes part under several names is timed once. Who keeps no cache computes everything each time, and has the first figure alone. Room is allocated by then, and the
//! history lies in the processor's caches: everyone answers the same question in turn.

use std::time::Instant;

use serde::Serialize;

use super::replay::{Protocol, TestedPredictor};
use crate::context::{Context, features, replay};
use crate::gbdt::{Forest, ForestScratch};
use crate::predict::{Predictor, Scratch};

/// What times are of, in words for beside the figures.
pub const CLOCK: &str = "one question on one thread, from its context to the scores of all candidates, features included, \
                         with nothing kept of earlier questions";

/// Times of a question, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// Ninety-nine of a hundred are faster.
    pub p99: f64,
    /// 999 of a thousand are faster.
    pub p999: f64,
}

impl Latency {
    fn of(mut nanos: Vec<u64>) -> Self {
        nanos.sort_unstable();
        let at = |share: f64| {
            let index = ((nanos.len() as f64 * share) as usize).min(nanos.len().saturating_sub(1));
            nanos.get(index).map_or(0.0, |&n| n as f64 / 1_000.0)
        };
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999) }
    }
}

/// One predictor's times.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AnswerLatency {
    /// From nothing.
    pub from_nothing: Latency,
    /// Prefilled, of who keeps a cache.
    pub prefilled: Option<Latency>,
}

/// Times of a question, part by part.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Latencies {
    /// Computing the features of all candidates.
    pub features: Latency,
    /// Walking the trees over them.
    pub scoring: Latency,
    /// Each predictor's answer, in the order given.
    pub answers: Vec<AnswerLatency>,
}

/// Questions timed: enough for a 99th percentile.
const TIMED_QUESTIONS: usize = 3_000;
/// One question in so many is timed prefilled as well: what must be computed before the clock takes as long as all the rest.
const PREFILLED_EVERY: usize = 3;

/// Times the test questions: the features, the trees of `forest` over them, then each predictor in turn.
pub fn measure_latency(
    protocol: &Protocol<'_>,
    forest: Option<&Forest>,
    models: &[TestedPredictor<'_>],
) -> Latencies {
    let (mut matrix, mut logits, mut forest_scratch) = (Vec::new(), Vec::new(), ForestScratch::default());
    let (mut features_nanos, mut scoring_nanos) = (Vec::new(), Vec::new());
    let mut stopwatches = Stopwatches::new(models);
    each_timed_question(protocol, |context| {
        logits.resize(context.candidates().len(), 0.0);
        if let Some(forest) = forest {
            features_nanos.push(nanos_of(|| features::fill(context, &mut matrix)));
            scoring_nanos.push(nanos_of(|| forest.score(&matrix, &mut forest_scratch, &mut logits)));
        }
        stopwatches.time(context);
    });
    Latencies {
        features: Latency::of(features_nanos),
        scoring: Latency::of(scoring_nanos),
        answers: stopwatches.read(),
    }
}

/// Times the test questions: each predictor in turn, in the order given.
pub fn measure_answers(protocol: &Protocol<'_>, models: &[TestedPredictor<'_>]) -> Vec<AnswerLatency> {
    let mut stopwatches = Stopwatches::new(models);
    each_timed_question(protocol, |context| stopwatches.time(context));
    stopwatches.read()
}

/// Shows `visit` the test questions of the first users, until they are enough.
fn each_timed_question(protocol: &Protocol<'_>, mut visit: impl FnMut(&Context<'_>)) {
    let (mut seen, mut matrix) = (0, Vec::new());
    for (events, split) in &protocol.users {
        if seen >= TIMED_QUESTIONS {
            return;
        }
        replay(events, protocol.task, &protocol.favourites, split.test.end, |number, _, context| {
            if split.test.contains(&number) {
                seen += 1;
                // Whoever comes first would fetch the history from memory for all others.
                features::fill(context, &mut matrix);
                visit(context);
            }
        });
    }
}

/// One stopwatch for each predictor.
struct Stopwatches<'a> {
    stopwatches: Vec<Stopwatch<'a>>,
    /// Which of them is each predictor's.
    of_model: Vec<usize>,
}

impl<'a> Stopwatches<'a> {
    fn new(models: &[TestedPredictor<'a>]) -> Self {
        let (mut stopwatches, mut of_model) = (Vec::<Stopwatch<'a>>::new(), Vec::new());
        for &TestedPredictor { predictor, .. } in models {
            // Those without a field may all lie at one address.
            let same = |known: &Stopwatch<'_>| {
                size_of_val(predictor) > 0 && std::ptr::addr_eq(known.predictor, predictor)
            };
            let known = stopwatches.iter().position(same);
            of_model.push(known.unwrap_or(stopwatches.len()));
            if known.is_none() {
                stopwatches.push(Stopwatch::new(predictor));
            }
        }
        Self { stopwatches, of_model }
    }

    fn time(&mut self, context: &Context<'_>) {
        self.stopwatches.iter_mut().for_each(|stopwatch| stopwatch.time(context));
    }

    /// Each predictor's times, in the order given.
    fn read(self) -> Vec<AnswerLatency> {
        let times: Vec<AnswerLatency> = self.stopwatches.into_iter().map(Stopwatch::read).collect();
        self.of_model.into_iter().map(|stopwatch| times[stopwatch]).collect()
    }
}

/// A predictor with its working memory, and how long it took.
struct Stopwatch<'a> {
    predictor: &'a dyn Predictor,
    scratch: Scratch,
    scores: Vec<f32>,
    from_nothing: Vec<u64>,
    prefilled: Vec<u64>,
}

impl<'a> Stopwatch<'a> {
    fn new(predictor: &'a dyn Predictor) -> Self {
        let (scores, from_nothing, prefilled) = (Vec::new(), Vec::new(), Vec::new());
        Self { predictor, scratch: predictor.new_scratch(), scores, from_nothing, prefilled }
    }

    fn time(&mut self, context: &Context<'_>) {
        let Self { predictor, scratch, scores, from_nothing, prefilled } = self;
        scores.clear();
        scores.resize(context.candidates().len(), 0.0);
        if predictor.keeps_cache() && from_nothing.len() % PREFILLED_EVERY == 0 {
            // First, while the cache of the question before leaves little to compute outside the clock.
            predictor.prefill(context, scratch);
            prefilled.push(nanos_of(|| predictor.score(context, scratch, scores)));
        }
        predictor.clear_cache(scratch);
        from_nothing.push(nanos_of(|| predictor.score(context, scratch, scores)));
    }

    fn read(self) -> AnswerLatency {
        let prefilled = Some(self.prefilled).filter(|nanos| !nanos.is_empty()).map(Latency::of);
        AnswerLatency { from_nothing: Latency::of(self.from_nothing), prefilled }
    }
}

fn nanos_of(act: impl FnOnce()) -> u64 {
    let start = Instant::now();
    act();
    start.elapsed().as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::context::Task;
    use crate::data::{AppId, Event, Signal, Split, Timestamp, UserId};

    #[test]
    fn percentiles_by_hand() {
        let latency = Latency::of((1..=1_000).map(|n| n * 1_000).collect());
        assert_eq!((latency.p50, latency.p99, latency.p999), (501.0, 991.0, 1_000.0));
        assert_eq!(Latency::of(vec![]), Latency::default());
    }

    /// What its scratch holds.
    #[derive(Default, Clone, Copy, PartialEq)]
    enum Cache {
        #[default]
        Empty,
        Prefilled,
        OfAQuestion,
    }

    /// Counts in which state it is asked: from nothing, prefilled, with what an earlier question left.
    #[derive(Default)]
    struct Keeping {
        keeps: bool,
        asked: [AtomicU32; 3],
    }

    impl Predictor for Keeping {
        fn new_scratch(&self) -> Scratch {
            Scratch::new(Cache::Empty)
        }

        fn score(&self, _: &Context<'_>, scratch: &mut Scratch, _: &mut [f32]) {
            let cache: &mut Cache = scratch.buffers();
            self.asked[*cache as usize].fetch_add(1, Ordering::Relaxed);
            if self.keeps {
                *cache = Cache::OfAQuestion;
            }
        }

        fn prefill(&self, _: &Context<'_>, scratch: &mut Scratch) {
            *scratch.buffers() = Cache::Prefilled;
        }

        fn keeps_cache(&self) -> bool {
            self.keeps
        }

        fn clear_cache(&self, scratch: &mut Scratch) {
            *scratch.buffers() = Cache::Empty;
        }
    }

    #[test]
    fn no_question_profits_from_the_one_before() {
        let event = |at: i64, signal| Event::new(UserId(1), Timestamp(at), signal);
        let events: Vec<Event> = (0..40)
            .flat_map(|n| {
                [event(100 * n, Signal::Unlock), event(100 * n + 5, Signal::Launch(AppId(n as u32 % 3)))]
            })
            .collect();
        let split = Split { train: 0..10, validation: 10..20, test: 20..40 };
        let protocol = Protocol {
            task: Task::FirstAfterUnlock,
            favourites: Arc::from([]),
            users: vec![(&events, split)],
            truth: None,
            run: 0,
        };
        for keeps in [true, false] {
            let predictor = Keeping { keeps, ..Keeping::default() };
            let model =
                TestedPredictor { name: "keeping", predictor: &predictor, for_validation: &predictor };
            // Two names of one predictor are two entries and one measurement.
            let [found, again] = measure_answers(&protocol, &[model, model])[..] else {
                panic!("two models")
            };
            assert_eq!(found, again);
            let asked = predictor.asked.each_ref().map(|count| count.load(Ordering::Relaxed));
            assert_eq!(asked, [20, if keeps { 20_u32.div_ceil(3) } else { 0 }, 0]);
            assert_eq!(found.prefilled.is_some(), keeps);
        }
    }
}
