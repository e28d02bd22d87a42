//! Accuracy on test rows, by the same code for everyone, averaged over as many seeds.

use foretap::gbdt::metric::{auc, log_loss, mean_ndcg, mean_squared_error, multiclass_log_loss};

use crate::Result;
use crate::cases::Case;
use crate::engines::{self, Engine, Foretap, LightGbm};
use crate::report::{Accuracy, Precision, Report, Table, cell};
use crate::task::{Goal, Rows};
use crate::wheels::Wheels;

/// Ranks at which rankings are cut off.
const RANKS: [usize; 3] = [1, 3, 5];

/// A metric, and how far behind LightGBM we may be.
struct Metric {
    /// After the case's name in keys; nothing for the case's only one.
    suffix: String,
    name: String,
    value: f64,
    allowance: Allowance,
}

/// What a shortfall is, and how much of it is allowed.
enum Allowance {
    /// Theirs less ours: larger values are better.
    Less(f64),
    /// Ours over theirs, less 1: smaller values are better.
    Share(f64),
    /// Larger values are better, for information.
    Unbound,
}

/// Trains ours in both precisions and LightGBM with seeds 1 to `seeds`, and compares them on the case's test rows.
///
/// # Errors
/// What an engine says, or a metric that has no value on these rows.
pub fn compare(case: &Case, test: &Rows, wheels: &Wheels, seeds: u64, report: &mut Report) -> Result<()> {
    // Many small trainings: on one thread, where nobody waits.
    let threads = 1;
    let engines: [&dyn Engine; 3] = [&Foretap::new(), &LightGbm::new(wheels.lightgbm), &Foretap::full()];
    // By engine, then by seed.
    let mut results: Vec<Vec<Vec<Metric>>> = Vec::new();
    for engine in engines {
        let rows = engine.load(&case.rows, &case.settings)?.ok_or("the engine cannot do this task")?;
        let of_seed = |seed| metrics(case.settings.goal, test, &rows.train(threads, seed)?.score(test)?);
        results.push((1..=seeds).map(of_seed).collect::<Result<_>>()?);
    }
    let own =
        if case.settings.goal.is_ranking() { Some(own_ndcg(case, test, wheels, threads)?) } else { None };
    let mut table =
        Table::new(["metric", "ours", "± seeds", "LightGBM", "± seeds", "shortfall", "allowed", "ours full"]);
    for index in 0..results[0][0].len() {
        let [ours, theirs, full] = [0, 1, 2].map(|engine| {
            spread(
                &results[engine].iter().map(|metrics: &Vec<Metric>| metrics[index].value).collect::<Vec<_>>(),
            )
        });
        let metric = &results[0][0][index];
        let (shortfall, allowed) = match metric.allowance {
            Allowance::Less(allowed) => (theirs.mean - ours.mean, Some(allowed)),
            Allowance::Share(allowed) => (ours.mean / theirs.mean - 1.0, Some(allowed)),
            Allowance::Unbound => (theirs.mean - ours.mean, None),
        };
        table.line([
            metric.name.clone(),
            cell(Some(ours.mean), 5),
            cell(Some(ours.deviation), 5),
            cell(Some(theirs.mean), 5),
            cell(Some(theirs.deviation), 5),
            cell(Some(shortfall), 5),
            cell(allowed, 3),
            cell(Some(full.mean), 5),
        ]);
        let accuracy = Accuracy {
            metric: metric.name.clone(),
            ours: ours.mean,
            lightgbm: theirs.mean,
            shortfall,
            allowed,
            ours_deviation: ours.deviation,
            lightgbm_deviation: theirs.deviation,
        };
        let key = format!("{}{}", case.name, metric.suffix);
        let precision = Precision { measure: metric.name.clone(), quantized: ours.mean, full: full.mean };
        report.precision.insert(key.clone(), precision);
        // What nothing is asked of stands apart, so that all of `accuracy` may be checked.
        let to = if allowed.is_some() { &mut report.accuracy } else { &mut report.for_information };
        to.insert(key, accuracy);
    }
    table.print(&format!("Accuracy: {}, {} test rows, means over {seeds} seeds", case.name, test.rows()));
    if let Some(own) = own {
        let by_us: Vec<f64> = results[1][0].iter().map(|metric| metric.value).collect();
        let digits =
            |values: &[f64]| values.iter().map(|value| format!("{value:.5}")).collect::<Vec<_>>().join(" ");
        println!("LightGBM's own NDCG with seed 1: {}; by our code: {}", digits(&own), digits(&by_us));
    }
    Ok(())
}

fn metrics(goal: Goal, test: &Rows, scores: &[f64]) -> Result<Vec<Metric>> {
    let (labels, weights) = (&test.labels, &test.weights);
    let metric = |suffix: &str, name: &str, value: Option<f64>, allowance| {
        let value = value.ok_or_else(|| format!("{name} has no value on these rows"))?;
        Ok(Metric { suffix: suffix.to_owned(), name: name.to_owned(), value, allowance })
    };
    match goal {
        Goal::Lambdarank | Goal::Xendcg => RANKS
            .iter()
            .map(|&k| {
                let mean = mean_ndcg(labels, scores, &test.groups, k);
                metric(&format!("_ndcg@{k}"), &format!("NDCG@{k}"), mean, Allowance::Less(0.005))
            })
            .collect(),
        Goal::Binary => Ok(vec![
            metric("", "log loss", log_loss(labels, scores, weights), Allowance::Share(0.01))?,
            metric("_auc", "AUC", auc(labels, scores, weights), Allowance::Unbound)?,
        ]),
        Goal::Multiclass(classes) => {
            let loss = multiclass_log_loss(labels, scores, classes, weights);
            Ok(vec![metric("", "log loss", loss, Allowance::Share(0.01))?])
        }
        Goal::Regression => {
            let error = mean_squared_error(labels, scores, weights);
            Ok(vec![metric("", "squared error", error, Allowance::Share(0.01))?])
        }
    }
}

/// NDCG as LightGBM computes it of its own model with seed 1: a check of ours.
fn own_ndcg(case: &Case, test: &Rows, wheels: &Wheels, threads: usize) -> Result<Vec<f64>> {
    let ranks = RANKS.map(|rank| rank.to_string()).join(",");
    let settings = engines::lightgbm_parameters(&case.settings, &case.rows);
    let parameters = format!("{settings} num_threads={threads} seed=1 metric=ndcg eval_at={ranks}");
    let data = wheels.lightgbm.dataset(&case.rows, &parameters, None)?;
    let validation = wheels.lightgbm.dataset(test, &parameters, Some(&data))?;
    let mut booster = data.booster(&parameters)?;
    booster.add_validation(&validation)?;
    for _ in 0..case.settings.trees {
        booster.update()?;
    }
    booster.metrics(RANKS.len())
}

struct Spread {
    mean: f64,
    deviation: f64,
}

/// Mean and sample standard deviation.
fn spread(values: &[f64]) -> Spread {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Spread { mean, deviation: (squares / (count - 1.0).max(1.0)).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads() {
        for (values, mean, deviation) in [(&[1.0, 3.0][..], 2.0, 2.0_f64.sqrt()), (&[5.0], 5.0, 0.0)] {
            let spread = spread(values);
            assert_eq!((spread.mean, spread.deviation), (mean, deviation));
        }
    }
}
