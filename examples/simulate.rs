//! Writes the log of simulated people, whose habits are known.
//!
//! ```text
//! cargo run --release --example simulate -- --people 1 --days 28 --out phone.csv
//!
//! 1 people, 450 apps, 15957 events, 5629 launches, 1343 first-after-unlock questions, written to phone.csv
//! the best that any predictor can do: HR@1/3/5 0.939/1.000/1.000, log loss 0.202
//! ```

mod cli;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use foretap::context::{Task, questions};
use foretap::data::simulate::{Law, Simulation, SimulationConfig, simulate};
use foretap::data::{Signal, write_log};
use foretap::inspect::summarize;

/// Write the log of simulated people
#[derive(Debug, Parser)]
#[command(mut_args = cli::negative_numbers)]
struct Args {
    /// How many people
    #[arg(long, default_value_t = 60)]
    people: usize,

    /// How many days each
    #[arg(long, default_value_t = 28)]
    days: u32,

    /// How they come to open an app: broad (a family, what the bundle learned from), narrow (one law for everybody),
    /// clockwork, crowded, responsive, ritual, wanderer, weekly (families for testing), or a file with the ending .toml (docs/simulation.md)
    #[arg(long, default_value = cli::DEFAULT_LAW, value_name = "LAW", value_parser = Law::named_or_read)]
    law: Law,

    /// How many apps there are
    #[arg(long, default_value_t = 87)]
    apps: usize,

    /// The same seed gives the same people
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Write the log here: .csv or .jsonl, and .gz after it for gzip
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Write a summary for machines, with the best possible scores
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::exit_on_error(|| run(&args))
}

fn run(args: &Args) -> foretap::Result<()> {
    cli::check_writable([&Some(args.out.clone()), &args.json])?;
    let config = SimulationConfig {
        people: args.people,
        law: args.law.clone(),
        days: args.days,
        apps: args.apps,
        seed: args.seed,
        ..SimulationConfig::default()
    };
    let simulation = simulate(&config, &cli::Bar::new())?;
    write_log(&args.out, &simulation.log, &simulation.vocabulary)?;
    let events = simulation.log.events();
    let launches = events.iter().filter(|event| matches!(event.signal, Signal::Launch(_))).count();
    let best = Best::of(&simulation);
    cli::say(&format!(
        "{} people, {} apps, {} events, {launches} launches, {} first-after-unlock questions, written to {}",
        args.people,
        simulation.vocabulary.len(),
        events.len(),
        best.questions,
        args.out.display()
    ));
    let [hr1, hr3, hr5] = best.hit_rates;
    if best.questions == 0 {
        eprintln!("warning: nobody opens an app after an unlock: there is nothing to predict");
    } else {
        cli::say(&format!(
            "the best that any predictor can do: HR@1/3/5 {hr1:.3}/{hr3:.3}/{hr5:.3}, log loss {:.3}",
            best.log_loss
        ));
    }
    if let Some(file) = &args.json {
        let summary = serde_json::json!({
            "config": config,
            "statistics": summarize(&simulation.log),
            "events": events.len(),
            "launches": launches,
            // Of no question, null.
            "best": {
                "questions": best.questions,
                "hr1": hr1,
                "hr3": hr3,
                "hr5": hr5,
                "log_loss": best.log_loss,
            },
        });
        cli::write_json(file, &summary)?;
    }
    Ok(())
}

/// Expected scores of whoever knows the true probabilities, all of a person's apps being candidates.
struct Best {
    questions: usize,
    hit_rates: [f64; 3],
    log_loss: f64,
}

impl Best {
    fn of(simulation: &Simulation) -> Self {
        let mut best = Self { questions: 0, hit_rates: [0.0; 3], log_loss: 0.0 };
        for events in simulation.log.users() {
            for question in questions(Task::FirstAfterUnlock, events) {
                let asked = &events[question.asked_at];
                let Some(truth) = simulation.truth.first_after_unlock(asked.user, asked.at) else { continue };
                best.questions += 1;
                best.log_loss += truth.entropy();
                for (rate, k) in best.hit_rates.iter_mut().zip([1, 3, 5]) {
                    *rate += truth.best_hit_rate(k);
                }
            }
        }
        let questions = best.questions as f64;
        Self {
            hit_rates: best.hit_rates.map(|sum| sum / questions),
            log_loss: best.log_loss / questions,
            ..best
        }
    }
}
