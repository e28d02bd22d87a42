//! A phone's life with a bundle: every event is observed, every unlock answered, nothing but the bundle and the phone's own
//! history is asked, and the whole answer is timed: on one thread, from the history to the suggestion, with features, both
//! experts where the gate asks them, personalization, probabilities and ranking inside the clock. The transformer's KV cache is
//! emptied before each question, or with `--prefill` filled after each event as on a phone at leisure, outside the clock.
//!
//! ```text
//! cargo run --release --example phone -- --data phone.csv --bundle phone.foretap --learn
//!
//! 2002 questions; the first app was right in 86.7 %; 99.3 % went to the transformer, too
//! 3 apps were shown at 98.6 % of them, and the right one was there in 93.0 %
//! whole answer, history to suggestion, on one thread, from nothing: median 330.2 µs, 99 % under 635.4, ..
//! ..
//! history and personalization, encrypted: 264483 bytes, read back half-way
//!   first day             45 questions, the first app was right in 95.6 %
//!   ..
//! 9 of 25 nights gave trees that were kept; a night took 0.8 s in the mean, 3.2 s at most, on one thread, ..
//!
//! cargo run --release --example phone -- --simulate 20 --questions 1000000 --histogram latency.svg
//! ```
//!
//! `--learn` grows trees of the person's own past each night; what they are worth, `evaluate --as-is --learn` says.
//! Half-way through a person's log, history and personalization are saved, encrypted under a key, and restored: what follows is
//! answered by the restored ones.

mod cli;
#[path = "cli/times.rs"]
mod times;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use foretap::bundle::Bundle;
use foretap::context::questions;
use foretap::data::{Event, Vocabulary};
use foretap::experiment::no_question;
use foretap::predict::{Predictor as _, Scratch};
use foretap::router::{
    Answer, LearnOutcome, LearnSettings, Nights, Person, Route, Router, SuggestionSettings,
};
use foretap::storage::vault::{self, Key};
use foretap::{Error, ErrorKind, Silent};
use hdrhistogram::Histogram;

/// Replay logs as a phone would live them, with a bundle: accuracy, time and cost of whole answers
#[derive(Debug, Parser)]
#[command(mut_args = cli::negative_numbers)]
struct Args {
    /// The bundle [default: the one that travels with the crate]
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,

    /// Answer at least so many questions, replaying the logs as often as that takes
    #[arg(long, default_value_t = 0)]
    questions: u64,

    /// Show so many apps at once
    #[arg(long, default_value_t = SuggestionSettings::default().shown)]
    shown: usize,

    /// Show nothing where none of them is opened with at least this probability
    #[arg(long, value_name = "PROBABILITY", default_value_t = SuggestionSettings::default().least_probability)]
    least: f64,

    /// Price of a core, for the cost of a prediction on a server
    #[arg(long, value_name = "RUPEES", default_value_t = 4.0)]
    rupees_per_core_hour: f64,

    /// Compute keys and values of past tokens after each event, outside the clock, so that a question costs only its own
    #[arg(long)]
    prefill: bool,

    /// Each night, grow trees of the person's own past, and keep them where they are better
    #[arg(long)]
    learn: bool,

    /// Draw the times of all answers
    #[arg(long, value_name = "FILE")]
    histogram: Option<PathBuf>,

    /// Write the figures for machines
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    #[command(flatten)]
    router: cli::RouterArgs,

    #[command(flatten)]
    data: cli::DataArgs,

    #[command(flatten)]
    simulation: cli::SimulationArgs,
}

/// The days of life that are shown together: until when, and in words.
const AGES: [(i64, &str); 6] = [
    (1, "first day"),
    (3, "days 2 and 3"),
    (7, "rest of week 1"),
    (14, "week 2"),
    (28, "weeks 3 and 4"),
    (i64::MAX, "later"),
];

fn main() -> ExitCode {
    let args = Args::parse();
    cli::exit_on_error(|| run(&args))
}

/// What came of the questions.
#[derive(Default)]
struct Tally {
    asked: u64,
    first: u64,
    shown: u64,
    right: u64,
    routed: u64,
    saved_bytes: usize,
    /// By days since a person's first event: questions, and those whose first app was right.
    by_day: BTreeMap<i64, [u64; 2]>,
    nights: u64,
    /// Nights whose trees were kept.
    nights_learned: u64,
    /// Nights with too few questions to learn from.
    nights_too_few: u64,
    /// Questions of a night that were learned from, at most.
    learned_from: usize,
    /// Seconds of the longest night, and of all.
    longest_secs: f64,
    learning_secs: f64,
}

/// One phone: who answers, in which room, and how long it took.
struct Phone<'a> {
    bundle: &'a Bundle,
    router: Router,
    settings: SuggestionSettings,
    prefill: bool,
    learn: Option<LearnSettings>,
    scratch: Scratch,
    answer: Answer,
    /// Nanoseconds of whole answers.
    times: Histogram<u64>,
    tally: Tally,
}

fn run(args: &Args) -> foretap::Result<()> {
    cli::check_writable([&args.histogram, &args.json])?;
    let bundle = match &args.bundle {
        Some(file) => Bundle::load(file)?,
        None => Bundle::pretrained()?,
    };
    let bar = cli::Bar::new();
    let cli::Source { log, vocabulary, .. } = args.simulation.load_or_simulate(&args.data, &bar)?;
    let router = bundle.router(&vocabulary, args.router.routing()?)?;
    if !(args.rupees_per_core_hour.is_finite() && args.rupees_per_core_hour > 0.0) {
        let message = format!("{} is no price", args.rupees_per_core_hour);
        let error = Error::new(ErrorKind::Config, message).field("--rupees-per-core-hour");
        return Err(error.next_step("give a number above 0"));
    }
    if let Some(reason) = router.degraded() {
        eprintln!("warning: {reason}");
    }
    let settings = SuggestionSettings {
        shown: args.shown,
        least_probability: args.least,
        ..SuggestionSettings::default()
    };
    settings.check()?;
    // Three digits of everything up to a minute.
    let times = Histogram::new_with_max(60_000_000_000, 3)
        .map_err(|error| Error::new(ErrorKind::Config, format!("no histogram can be made: {error}")))?;
    let scratch = router.new_scratch();
    let mut phone = Phone {
        bundle: &bundle,
        router,
        settings,
        prefill: args.prefill,
        learn: args.learn.then(LearnSettings::default),
        scratch,
        answer: Answer::default(),
        times,
        tally: Tally::default(),
    };
    let people: Vec<&[Event]> = log.users().collect();
    loop {
        let before = phone.tally.asked;
        for events in &people {
            phone.live(events, &vocabulary)?;
        }
        if phone.tally.asked >= args.questions || phone.tally.asked == before {
            break;
        }
    }
    if phone.tally.asked == 0 {
        return Err(no_question(&log, bundle.parts().task));
    }
    report(args, &phone)
}

impl Phone<'_> {
    /// One person's log, from the first event to the last.
    fn live(&mut self, events: &[Event], vocabulary: &Vocabulary) -> foretap::Result<()> {
        let task = self.bundle.parts().task;
        let mut person = Person::new(self.bundle.favourites_in(vocabulary), self.settings, 1)?;
        if let Some(settings) = &self.learn {
            person.keep_events(settings.events);
        }
        let mut questions = questions(task, events).into_iter().peekable();
        let first = events.first().copied();
        let mut nights = Nights::default();
        for (position, event) in events.iter().enumerate() {
            if position == events.len() / 2 {
                person = self.restart(&person, vocabulary)?;
            }
            if nights.passed_before(event) {
                self.night(&mut person)?;
            }
            person.observe(event);
            let Some(question) = questions.next_if(|question| question.asked_at == position) else {
                if self.prefill {
                    let context = person.history().context_at(event.at, task);
                    self.router.prefill(&context, &mut self.scratch);
                }
                continue;
            };
            if !self.prefill {
                self.router.clear_cache(&mut self.scratch);
            }
            let start = Instant::now();
            person.ask(&self.router, task, event.at, &mut self.scratch, &mut self.answer);
            let suggestion = person.suggest(&self.answer);
            self.times.saturating_record(start.elapsed().as_nanos() as u64);

            let tally = &mut self.tally;
            tally.asked += 1;
            let is_right = self.answer.first(1).iter().any(|first| first.app == question.answer);
            tally.first += u64::from(is_right);
            let age = first.map_or(0, |first| event.at.secs_since(first.at).max(0) / 86_400);
            let [asked, right] = tally.by_day.entry(age).or_default();
            *asked += 1;
            *right += u64::from(is_right);
            tally.routed += u64::from(self.answer.route != Route::Trees);
            if let Some(suggestion) = suggestion {
                tally.shown += 1;
                tally.right += u64::from(suggestion.apps().contains(&question.answer));
            }
        }
        Ok(())
    }

    /// The phone lies on its charger: it learns, where it is to.
    fn night(&mut self, person: &mut Person) -> foretap::Result<()> {
        let Some(settings) = &self.learn else { return Ok(()) };
        let start = Instant::now();
        let learned = person.learn(&self.router, self.bundle.parts().task, settings, &Silent)?;
        let (secs, tally) = (start.elapsed().as_secs_f64(), &mut self.tally);
        tally.nights += 1;
        tally.nights_learned += u64::from(learned.outcome == LearnOutcome::Learned);
        tally.nights_too_few += u64::from(learned.outcome == LearnOutcome::TooFewQuestions);
        tally.learned_from = tally.learned_from.max(learned.questions);
        tally.longest_secs = tally.longest_secs.max(secs);
        tally.learning_secs += secs;
        Ok(())
    }

    /// Saves the person, sealed, and goes on with what is read back: as after a restart.
    fn restart(&mut self, person: &Person, vocabulary: &Vocabulary) -> foretap::Result<Person> {
        let key = Key::random()?;
        let sealed = vault::seal(&person.write(vocabulary)?, Some(&key))?;
        self.tally.saved_bytes = sealed.len();
        let mut names = vocabulary.clone();
        let favourites = self.bundle.favourites_in(vocabulary);
        Person::read(&vault::open(&sealed, Some(&key))?, &mut names, favourites, self.settings)
    }
}

fn report(args: &Args, phone: &Phone<'_>) -> foretap::Result<()> {
    let Phone { times, tally, .. } = phone;
    let us = |share: f64| times.value_at_quantile(share) as f64 / 1_000.0;
    let share = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
    let a_second = 1e9 / times.mean();
    let rupees = args.rupees_per_core_hour / (3_600.0 * a_second);
    cli::say(&format!(
        "{} questions; the first app was right in {:.1} %; {:.1} % went to the transformer, too",
        tally.asked,
        share(tally.first, tally.asked),
        share(tally.routed, tally.asked)
    ));
    cli::say(&format!(
        "{} apps were shown at {:.1} % of them, and the right one was there in {:.1} %",
        args.shown,
        share(tally.shown, tally.asked),
        share(tally.right, tally.shown)
    ));
    cli::say(&format!(
        "whole answer, history to suggestion, on one thread, {}: median {:.1} µs, 99 % under {:.1}, 99.9 % under {:.1}, \
         mean {:.1}",
        if phone.prefill { "prefilled" } else { "from nothing" },
        us(0.5),
        us(0.99),
        us(0.999),
        times.mean() / 1_000.0
    ));
    cli::say(&bars(times));
    cli::say(&format!(
        "{a_second:.0} predictions a second and core; {rupees:.9} rupees a prediction at {} rupees a core and hour, which is \
         {:.0} times less than 0.001",
        args.rupees_per_core_hour,
        0.001 / rupees
    ));
    cli::say(&format!(
        "history and personalization, encrypted: {} bytes, read back half-way",
        tally.saved_bytes
    ));
    say_learning(args, tally);
    if let Some(file) = &args.histogram {
        times::draw_times(file, times)?;
    }
    if let Some(file) = &args.json {
        let figures = serde_json::json!({
            "questions": tally.asked,
            "hr1": tally.first as f64 / tally.asked as f64,
            "routed_share": tally.routed as f64 / tally.asked as f64,
            "shown_share": tally.shown as f64 / tally.asked as f64,
            "shown_precision": tally.right as f64 / tally.shown.max(1) as f64,
            "prefilled": phone.prefill,
            "latency_us": { "p50": us(0.5), "p99": us(0.99), "p999": us(0.999), "mean": times.mean() / 1_000.0 },
            "predictions_per_second": a_second,
            "rupees_per_prediction": rupees,
            "saved_bytes": tally.saved_bytes,
            "by_day": tally.by_day.iter().map(|(day, [asked, right])| serde_json::json!({
                "day": day, "questions": asked, "hr1": *right as f64 / *asked as f64,
            })).collect::<Vec<_>>(),
            "learning": args.learn.then(|| serde_json::json!({
                "nights": tally.nights,
                "learned": tally.nights_learned,
                "too_few_questions": tally.nights_too_few,
                "questions": tally.learned_from,
                "mean_secs": tally.learning_secs / tally.nights.max(1) as f64,
                "longest_secs": tally.longest_secs,
            })),
        });
        cli::write_json(file, &figures)?;
    }
    Ok(())
}

/// How often the first app was right as people became known, and what learning cost.
fn say_learning(args: &Args, tally: &Tally) {
    let mut from = 0;
    for (until, age) in AGES {
        let days = tally.by_day.range(from..until);
        let [asked, right] = days.fold([0, 0], |[a, b], (_, [c, d])| [a + c, b + d]);
        if asked > 0 {
            let share = 100.0 * right as f64 / asked as f64;
            cli::say(&format!("  {age:<15}{asked:>9} questions, the first app was right in {share:.1} %"));
        }
        from = until;
    }
    if args.learn && tally.nights_too_few == tally.nights {
        let least = LearnSettings::default().least_questions;
        let why = match tally.nights {
            0 => "no night passes in the log, and they are grown at four in the morning".to_owned(),
            1 => format!("the one night had {} questions", tally.learned_from),
            nights => format!("none of the {nights} nights had more than {} questions", tally.learned_from),
        };
        cli::say(&format!(
            "no trees were grown of a person's own past: {why}; {least} are needed: give a longer log"
        ));
    } else if args.learn {
        cli::say(&format!(
            "{} of {} nights gave trees that were kept; a night took {:.1} s in the mean, {:.1} s at most, on one thread, for {} \
             questions at most; {} nights had too few questions",
            tally.nights_learned,
            tally.nights,
            tally.learning_secs / tally.nights.max(1) as f64,
            tally.longest_secs,
            tally.learned_from,
            tally.nights_too_few
        ));
    }
}

/// Times in steps of a factor of two, as bars of text.
fn bars(times: &Histogram<u64>) -> String {
    const WIDTH: f64 = 50.0;
    let steps = (0..)
        .map(|power| (1_000_u64 << power, 2_000_u64 << power))
        .take_while(|(from, _)| *from <= times.max());
    let counts: Vec<(u64, u64)> = steps
        .map(|(from, to)| (to, times.count_between(from, to - 1)))
        .filter(|(_, count)| *count > 0)
        .collect();
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(1) as f64;
    let line = |(to, count): &(u64, u64)| {
        let bar = "#".repeat((WIDTH * *count as f64 / most).ceil() as usize);
        format!("  under {:>6} µs {count:>9} {bar}", to / 1_000)
    };
    counts.iter().map(line).collect::<Vec<_>>().join("\n")
}
