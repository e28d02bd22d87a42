//! Training times: every engine on the same rows, in turn.

use std::time::Instant;

use crate::Result;
use crate::cases::Case;
use crate::engines::{Engine, Foretap, Hessboost, LightGbm, Loaded, Perpetual, XgBoost};
use crate::report::{Precision, Report, Table, Training, cell};
use crate::timing::{Rounds, median, ratios, train_in_turn};
use crate::wheels::Wheels;

/// Times all engines on `case`, on each number of `threads`, into `report`.
///
/// # Errors
/// What an engine says.
pub fn compare(
    case: &Case,
    wheels: &Wheels,
    threads: &[usize],
    rounds: Rounds,
    report: &mut Report,
) -> Result<()> {
    let (lightgbm, xgboost) = (wheels.lightgbm, wheels.xgboost);
    // The rivals first: their ratio is asked for.
    let engines: [&dyn Engine; 7] = [
        &Foretap::new(),
        &LightGbm::new(lightgbm),
        &XgBoost::new(xgboost),
        &Hessboost,
        &Perpetual,
        &Foretap::full(),
        &LightGbm::quantized(lightgbm),
    ];
    let mut table = Table::new(["engine".to_owned(), "load s".to_owned()]);
    let mut loaded: Vec<(&str, Box<dyn Loaded + '_>)> = Vec::new();
    let mut load_seconds = Vec::new();
    for engine in engines {
        let start = Instant::now();
        let rows = engine.load(&case.rows, &case.settings)?;
        load_seconds.push(rows.as_ref().map(|_| start.elapsed().as_secs_f64()));
        loaded.extend(rows.map(|rows| (engine.name(), rows)));
    }
    let mut columns = Vec::new();
    for &threads in threads {
        let participants: Vec<&dyn Loaded> = loaded.iter().map(|(_, rows)| &**rows).collect();
        let trainings = train_in_turn(&participants, threads, rounds)?;
        let of =
            |engine: &dyn Engine| loaded.iter().zip(&trainings).find(|((name, _), _)| *name == engine.name());
        let seconds = engines.map(|engine| of(engine).and_then(|(_, trainings)| median(&trainings.seconds)));
        let trees = engines.map(|engine| of(engine).map(|(_, trainings)| trainings.trees));
        let ratios = ratios(&trainings[0].seconds, &trainings[1].seconds);
        let ratio = median(&ratios);
        let name = format!("{}_{threads}t", case.name);
        if let [Some(quantized), .., Some(full), _] = seconds {
            let measure = "seconds of training".to_owned();
            report.precision.insert(format!("{name}_s"), Precision { measure, quantized, full });
        }
        let training = Training {
            rows: case.rows.rows(),
            columns: case.rows.columns,
            threads,
            trees: engines
                .iter()
                .zip(trees)
                .filter_map(|(e, trees)| Some((e.name().to_owned(), trees?)))
                .collect(),
            seconds: engines
                .iter()
                .zip(seconds)
                .map(|(e, seconds)| (format!("{}_s", e.name()), seconds))
                .collect(),
            ratio,
            ratios,
        };
        report.train.insert(name, training);
        columns.push((seconds, trees, ratio));
    }
    for threads in threads {
        table.head([format!("{threads} threads s"), "ours / it".to_owned()]);
    }
    table.head(["trees"]);
    for (index, (engine, load)) in engines.iter().zip(&load_seconds).enumerate() {
        let mut line = vec![engine.name().to_owned(), cell(*load, 2)];
        for (seconds, _, ratio) in &columns {
            let of_medians = seconds[0].zip(seconds[index]).map(|(ours, its)| ours / its);
            line.push(cell(seconds[index], 3));
            line.push(cell(if index == 1 { *ratio } else { of_medians }, 2));
        }
        line.push(
            columns.last().and_then(|(_, trees, _)| trees[index]).map_or("-".to_owned(), |n| n.to_string()),
        );
        table.line(line);
    }
    let seconds = engines.iter().zip(load_seconds).filter_map(|(e, load)| Some((e.name().to_owned(), load?)));
    report.load.insert(case.name.clone(), seconds.collect());
    table.print(&format!(
        "Training: {}, {} rows of {} columns, {:?}, {} rounds of {} leaves",
        case.name,
        case.rows.rows(),
        case.rows.columns,
        case.settings.goal,
        case.settings.trees,
        case.settings.leaves
    ));
    Ok(())
}
