//! Which app would be opened next: a model's answer for one person at one moment, in words or as JSON.
//!
//! ```text
//! cargo run --release --example predict -- --data phone.csv --model model.json
//!
//! Unlocked on Sunday 1 February 2026, 00:25, this person probably opens:
//!   1. App 79                       89.0 %
//!   2. Messages                      2.7 %
//!   3. Photos                        2.1 %
//! ..
//!      an app never opened before    0.9 %
//!
//! cargo run --release --example predict -- --data phone.csv --model model.json --at "2026-01-30T08:00[Europe/Paris]"
//! ```

#[path = "cli/any_model.rs"]
mod any_model;
mod cli;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use any_model::AnyModel;
use clap::Parser;
use foretap::context::{Context, History, Task};
use foretap::data::{AppId, Event, Log, Signal, Timestamp, UserId, Vocabulary};
use foretap::predict::{Prediction, Predictor};
use foretap::router::{Answer, Route, Routing};
use foretap::transformer::Transformer;
use foretap::{Error, ErrorKind};

/// Rank the apps that a person would open next
#[derive(Debug, Parser)]
#[command(mut_args = cli::negative_numbers)]
struct Args {
    /// The model, from the `train`, `distill` or `bundle` example [default: the bundle that travels with the crate]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,

    /// Whose phone, by raw or hashed id, where the log has several; the raw id of a phone's own file is the file's
    /// name without extensions
    #[arg(long, value_name = "USER")]
    user: Option<String>,

    /// Ask at this time on the log's wall clock, such as 2019-12-05T08:00, or at this moment, such as
    /// 2019-12-05T08:00[Europe/Paris] or 2019-12-05T07:00:00Z; later events are not looked at. Without it, at the log's end
    #[arg(long, value_name = "TIME")]
    at: Option<String>,

    /// How many apps to show
    #[arg(long, default_value_t = 5)]
    top: usize,

    /// Write the answer for machines
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    #[command(flatten)]
    data: cli::DataArgs,
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::exit_on_error(|| run(&args))
}

fn run(args: &Args) -> foretap::Result<()> {
    cli::check_writable([&args.json])?;
    let model = AnyModel::load(args.model.as_deref())?;
    let mut vocabulary = model.vocabulary();
    let log = args.data.load(&mut vocabulary, &cli::Bar::new())?;
    let user = args.user.as_deref().map(|user| hashed(user, &args.data)).transpose()?;
    let events = events_of(&log, user)?;
    let at = args.at.as_deref().map(At::new).transpose()?;
    let (history, asked) = history_at(&model, events, at)?;
    let context = history.context_at(asked.at, model.task());
    let (prediction, route) = model.answer(&context, &vocabulary)?;
    cli::say(&in_words(&prediction, &asked, model.task(), &vocabulary, args.top));
    if let Some(route) = route {
        cli::say(match route {
            Route::Trees => "The trees answered alone: the question is simple enough.",
            Route::Both => "Trees and transformer answered together.",
            Route::Deep => "The transformer answered alone.",
        });
    }
    if let Some(file) = &args.json {
        let apps: Vec<_> = prediction
            .candidates
            .iter()
            .take(args.top)
            .map(|c| serde_json::json!({ "app": vocabulary.name(c.app), "probability": c.probability }))
            .collect();
        let answer = serde_json::json!({
            "user": asked.user.to_string(),
            "at": asked.at.0,
            "task": model.task(),
            "apps": apps,
            "none_of_these": prediction.none_of_these,
            "routed": route.map(|route| route != Route::Trees),
        });
        cli::write_json(file, &answer)?;
    }
    Ok(())
}

impl AnyModel {
    fn task(&self) -> Task {
        match self {
            Self::Bundle(bundle) => bundle.parts().task,
            Self::Ranker(model) => model.task,
            Self::Transformer(model) => model.weights.config().task,
        }
    }

    fn vocabulary(&self) -> Vocabulary {
        match self {
            Self::Bundle(bundle) => bundle.vocabulary(),
            Self::Ranker(model) => model.vocabulary(),
            Self::Transformer(model) => Vocabulary::from_names(&model.apps),
        }
    }

    fn favourites(&self) -> Arc<[AppId]> {
        match self {
            Self::Bundle(bundle) => bundle.favourites(),
            Self::Ranker(model) => model.favourites(),
            Self::Transformer(model) => model.favourites(),
        }
    }

    /// The answer, and of a bundle who gave it.
    fn answer(
        &self,
        context: &Context<'_>,
        vocabulary: &Vocabulary,
    ) -> foretap::Result<(Prediction, Option<Route>)> {
        let ask = |predictor: &dyn Predictor, temperature: f64| {
            let mut scores = vec![0.0; context.candidates().len()];
            predictor.score(context, &mut predictor.new_scratch(), &mut scores);
            (Prediction::new(context, &scores, temperature), None)
        };
        Ok(match self {
            Self::Bundle(bundle) => {
                let router = bundle.router(vocabulary, Routing::default())?;
                if let Some(reason) = router.degraded() {
                    eprintln!("warning: {reason}");
                }
                let mut answer = Answer::default();
                router.answer(context, None, &mut router.new_scratch(), &mut answer);
                (answer.prediction, Some(answer.route))
            }
            Self::Ranker(model) => ask(&model.ranker, model.temperature),
            Self::Transformer(model) => ask(&Transformer::new(model, vocabulary)?, model.temperature),
        })
    }
}

/// The id in the log of a user who is named by raw or hashed id.
fn hashed(user: &str, data: &cli::DataArgs) -> foretap::Result<UserId> {
    user.parse().or_else(|()| Ok(data.key()?.user_id(user)))
}

/// The events of the one user that is meant.
fn events_of(log: &Log, user: Option<UserId>) -> foretap::Result<&[Event]> {
    let users: Vec<&[Event]> = log.users().collect();
    let wrong = |message: String| {
        let names: Vec<String> = users.iter().take(5).map(|events| events[0].user.to_string()).collect();
        let more = if users.len() > 5 { ", .." } else { "" };
        Err(Error::new(ErrorKind::Config, message)
            .next_step(format!("name one with --user: {}{more}", names.join(", "))))
    };
    match (user, users.as_slice()) {
        (None, [only]) => Ok(only),
        (None, _) => wrong(format!("the log has {} users", users.len())),
        (Some(user), _) => match users.iter().find(|events| events[0].user == user) {
            Some(events) => Ok(events),
            None => wrong(format!("the log has no user {user}")),
        },
    }
}

/// When the question is asked.
#[derive(Clone, Copy)]
enum At {
    /// On the log's wall clock: seconds, as if it were UTC.
    WallClock(i64),
    Moment(Timestamp),
}

impl At {
    fn new(text: &str) -> foretap::Result<Self> {
        match cli::zoned_moment("--at", text)? {
            Some(moment) => Ok(Self::Moment(moment)),
            None => cli::moment("--at", text, None).map(|at| Self::WallClock(at.0)),
        }
    }

    /// Whether `event` had happened.
    fn is_after(self, event: &Event) -> bool {
        self.on_clock_of(event) >= event.at
    }

    /// The moment, on a clock as far from UTC as that of `event`.
    fn on_clock_of(self, event: &Event) -> Timestamp {
        match self {
            Self::WallClock(secs) => Timestamp(secs - i64::from(event.utc_offset_secs)),
            Self::Moment(moment) => moment,
        }
    }
}

/// The history up to the moment asked about, and that moment as an event: an unlock where the task wants one.
fn history_at(model: &AnyModel, events: &[Event], at: Option<At>) -> foretap::Result<(History, Event)> {
    // From the end: on the night the clocks go back, an hour of the wall clock comes twice.
    let until = at.map_or(events.len(), |at| {
        events.iter().rposition(|event| at.is_after(event)).map_or(0, |last| last + 1)
    });
    let Some(last) = until.checked_sub(1).and_then(|last| events.get(last)) else {
        return Err(Error::new(ErrorKind::Config, "the log begins later")
            .field("--at")
            .next_step("name a later time"));
    };
    let mut history = History::new(model.favourites());
    events[..until].iter().for_each(|event| history.observe(event));
    let now = at.map_or(last.at, |at| at.on_clock_of(last));
    let days = now.secs_since(last.at) / 86_400;
    if days > 0 {
        eprintln!("warning: the log ends {days} days before: what happened since is not known");
    }
    let asked = Event { at: now, signal: Signal::Unlock, ..*last };
    if model.task() == Task::FirstAfterUnlock && last.signal != Signal::Unlock {
        history.observe(&asked);
    }
    Ok((history, asked))
}

fn in_words(
    prediction: &Prediction,
    asked: &Event,
    task: Task,
    vocabulary: &Vocabulary,
    top: usize,
) -> String {
    let when = match task {
        Task::FirstAfterUnlock => "Unlocked",
        Task::NextLaunch => "Asked",
    };
    let mut lines = vec![format!(
        "{when} on {}, this person probably opens:",
        cli::local_time(asked.at, asked.utc_offset_secs)
    )];
    let (known, new) = ("another app used before", "an app never opened before");
    let names = prediction.candidates.iter().take(top).map(|candidate| vocabulary.name(candidate.app));
    let width = names.chain([known, new]).map(|name| name.chars().count()).max().unwrap_or_default();
    let shown = prediction.candidates.iter().take(top).enumerate();
    lines.extend(shown.map(|(index, candidate)| {
        let (name, percent) = (vocabulary.name(candidate.app), 100.0 * candidate.probability);
        format!("{:>3}. {name:<width$}  {percent:>5.1} %", index + 1)
    }));
    if prediction.candidates.len() > top {
        let rest: f64 = prediction.candidates.iter().skip(top).map(|candidate| candidate.probability).sum();
        lines.push(format!("     {known:<width$}  {:>5.1} %", 100.0 * rest));
    }
    lines.push(format!("     {new:<width$}  {:>5.1} %", 100.0 * prediction.none_of_these));
    lines.join("\n")
}
