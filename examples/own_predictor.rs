//! Your own predictor beside foretap's: memory by a power law, with two numbers that are learned from the log.
//!
//!     cargo run --release --example own_predictor -- --data phone.csv
//!
//! A logit is `often ln(launches) - decay ln(seconds since the last one)`, as the base-level activation of ACT-R: Petrov,
//! "Computationally Efficient Approximation of the Base-Level Learning Equation in ACT-R", 2006.

mod cli;

use std::process::ExitCode;

use clap::Parser;
use foretap::context::Context;
use foretap::data::Vocabulary;
use foretap::experiment::{Experiment, Learned, Learner, Method, Training};
use foretap::predict::{Predictor, Scratch, log_sum_exp};

/// Compare your own predictor with the crate's
#[derive(Parser)]
#[command(mut_args = cli::negative_numbers)]
struct Args {
    #[command(flatten)]
    data: cli::DataArgs,
}

/// `often` and `decay`.
#[derive(Clone, Copy)]
struct Activation([f32; 2]);

impl Predictor for Activation {
    fn new_scratch(&self) -> Scratch {
        Scratch::none()
    }
    fn score(&self, context: &Context<'_>, _scratch: &mut Scratch, scores: &mut [f32]) {
        let [often, decay] = self.0;
        for (score, &app) in scores.iter_mut().zip(context.candidates()) {
            let used = context.app_use(app);
            let launches = used.map_or(0, |used| used.launches()) as f32;
            let last = used.and_then(|used| used.last_launch());
            let since_secs = last.map_or(1e7, |last| context.now().secs_since(last).max(0) as f32);
            *score = often * launches.ln_1p() - decay * since_secs.ln_1p();
        }
    }
}

/// Tries a grid on the training questions, and takes what makes their answers most probable.
struct GridSearch;

impl Learner for GridSearch {
    fn learn(&self, training: &Training<'_>, _: &dyn foretap::Progress) -> foretap::Result<Learned> {
        let quarters = |n: usize| [n % 7, n / 7 + 1].map(|quarters| quarters as f32 / 4.0);
        let grid = (0..56).map(quarters).map(|pair| (Activation(pair), 0.0));
        let (view, mut tried, mut scores) = (training.view, grid.collect::<Vec<_>>(), Vec::new());
        for person in view.people() {
            view.replay(person, person.train().end, |_, question, context| {
                let mut apps = context.candidates().iter();
                let Some(answer) = apps.position(|&app| app == question.answer) else { return };
                for (activation, loss) in &mut tried {
                    scores.resize(context.candidates().len(), 0.0);
                    activation.score(context, &mut Scratch::none(), &mut scores);
                    *loss += log_sum_exp(&scores, 1.0) - f64::from(scores[answer]);
                }
            });
        }
        tried.sort_by(|a, b| a.1.total_cmp(&b.1));
        Ok(Learned::new(tried[0].0))
    }
}

fn main() -> ExitCode {
    let (args, bar) = (Args::parse(), cli::Bar::new());
    cli::exit_on_error(|| {
        let (mut vocabulary, mut experiment) = (Vocabulary::new(), Experiment::default());
        let log = args.data.load(&mut vocabulary, &bar)?;
        experiment.methods.push(Method::new("activation", GridSearch));
        let found = experiment.run(&log, &vocabulary, None, &bar)?;
        cli::say(&found.report.to_string());
        found.failures.into_iter().next().map_or(Ok(()), |failure| Err(failure.error))
    })
}
