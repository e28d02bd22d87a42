//! Models that change engines: the largest difference of raw scores on 10,000 rows they were not learned from, with
//! categories and missing values, over models of every kind.

use foretap::export;
use foretap::gbdt::{Ensemble, Forest, ForestScratch};

use crate::Result;
use crate::cases::made;
use crate::engines::{Foretap, lightgbm_parameters, xgboost_parameters};
use crate::ffi::xgboost::Booster;
use crate::report::{Report, Table};
use crate::task::{Goal, Rows, Settings};
use crate::wheels::Wheels;

const ROWS: usize = 10_000;
const GOALS: [Goal; 4] = [Goal::Binary, Goal::Regression, Goal::Multiclass(4), Goal::Lambdarank];

/// A model that changed engines: what both sides make of the same rows.
struct Changed {
    ours: Forest,
    /// Row-major `[rows, outputs]`.
    theirs: Vec<f64>,
}

/// Sends models both ways between ours and the two engines, into `report`.
///
/// # Errors
/// A model is refused, or an engine fails.
pub fn compare(wheels: &Wheels, report: &mut Report) -> Result<()> {
    type Way = fn(&Wheels, &Rows, &Rows, &Settings) -> Result<Changed>;
    let ways: [(&str, Way); 4] = [
        ("to_lightgbm", to_lightgbm),
        ("from_lightgbm", from_lightgbm),
        ("to_xgboost", to_xgboost),
        ("from_xgboost", from_xgboost),
    ];
    let singles = ["to_xgboost_in_singles", "from_xgboost_in_singles"];
    let mut table = Table::new(["model"].into_iter().chain(ways.map(|(name, _)| name)).chain(singles));
    for goal in GOALS {
        let (rows, unseen) = (made::mixed(ROWS, goal, 1), made::mixed(ROWS, goal, 2));
        // Scores of about 1: the rounding of XGBoost's single precision grows with them.
        let settings = Settings { trees: 20, learning_rate: 0.05, ..Settings::new(goal) };
        let mut differences = Vec::new();
        let mut in_singles = Vec::new();
        for (name, way) in ways {
            let Changed { ours, theirs } = way(wheels, &rows, &unseen, &settings)?;
            differences.push((name.to_owned(), difference(&score(&ours, &unseen), &theirs)?));
            if name.ends_with("xgboost") {
                let scores = score_in_singles(ours.ensemble(), &unseen);
                in_singles.push((format!("{name}_in_singles"), difference(&scores, &theirs)?));
            }
        }
        differences.extend(in_singles);
        let cells = differences.iter().map(|(_, difference)| format!("{difference:.1e}"));
        table.line([format!("{goal:?}")].into_iter().chain(cells));
        for (name, difference) in differences {
            let largest = report.format_max_difference.entry(name).or_insert(0.0);
            *largest = larger(*largest, difference);
        }
    }
    table.print(&format!("Formats: largest difference of raw scores on {ROWS} rows"));
    Ok(())
}

fn to_lightgbm(wheels: &Wheels, rows: &Rows, unseen: &Rows, settings: &Settings) -> Result<Changed> {
    let ours = Foretap::new().forest(rows, settings, 1)?;
    let theirs = wheels.lightgbm.load(&export::lightgbm::write(ours.ensemble())?)?;
    Ok(Changed { theirs: theirs.score(&unseen.values, unseen.columns, c"")?, ours })
}

fn from_lightgbm(wheels: &Wheels, rows: &Rows, unseen: &Rows, settings: &Settings) -> Result<Changed> {
    let parameters = lightgbm_parameters(settings, rows);
    let data = wheels.lightgbm.dataset(rows, &parameters, None)?;
    let mut theirs = data.booster(&parameters)?;
    for _ in 0..settings.trees {
        theirs.update()?;
    }
    let ours = Forest::new(export::lightgbm::read(&theirs.save()?)?)?;
    Ok(Changed { theirs: theirs.score(&unseen.values, unseen.columns, c"")?, ours })
}

fn to_xgboost(wheels: &Wheels, rows: &Rows, unseen: &Rows, settings: &Settings) -> Result<Changed> {
    let ours = Foretap::new().forest(rows, settings, 1)?;
    let theirs = wheels.xgboost.load(&export::xgboost::write(ours.ensemble())?)?;
    Ok(Changed { ours, theirs: xgboost_scores(&theirs, unseen)? })
}

fn from_xgboost(wheels: &Wheels, rows: &Rows, unseen: &Rows, settings: &Settings) -> Result<Changed> {
    let matrix = wheels.xgboost.matrix(rows, settings.bins, 1)?;
    let mut theirs = matrix.booster(&xgboost_parameters(settings))?;
    for round in 0..settings.trees {
        theirs.update(round, &matrix)?;
    }
    let ours = Forest::new(export::xgboost::read(&theirs.save()?)?)?;
    Ok(Changed { ours, theirs: xgboost_scores(&theirs, unseen)? })
}

fn xgboost_scores(booster: &Booster, rows: &Rows) -> Result<Vec<f64>> {
    let mut scores = Vec::new();
    booster.score(&rows.values, rows.columns, &mut scores)?;
    Ok(scores.into_iter().map(f64::from).collect())
}

fn score(forest: &Forest, rows: &Rows) -> Vec<f64> {
    let mut scores = vec![0.0; rows.rows() * forest.outputs()];
    forest.score(&rows.values, &mut ForestScratch::default(), &mut scores);
    scores
}

/// Our trees, added in the single precision and the order that XGBoost adds in: what is left of a difference then is
/// none of rounding.
fn score_in_singles(ensemble: &Ensemble, rows: &Rows) -> Vec<f64> {
    let of_row = |row: &[f32]| {
        let mut scores: Vec<f32> = ensemble.base.iter().map(|&base| base as f32).collect();
        for (index, tree) in ensemble.trees.iter().enumerate() {
            scores[index % ensemble.outputs()] += tree.value(row) as f32;
        }
        scores.into_iter().map(f64::from).collect::<Vec<_>>()
    };
    rows.values.chunks_exact(rows.columns).flat_map(of_row).collect()
}

fn difference(ours: &[f64], theirs: &[f64]) -> Result<f64> {
    if ours.len() != theirs.len() {
        return Err(format!("{} scores of ours, {} of theirs", ours.len(), theirs.len()).into());
    }
    Ok(ours.iter().zip(theirs).map(|(ours, theirs)| (ours - theirs).abs()).fold(0.0, larger))
}

/// The larger of the two, or NaN where one is: `f64::max` would lose it.
fn larger(a: f64, b: f64) -> f64 {
    if a >= b || a.is_nan() { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_difference_is_lost() {
        for (ours, theirs, expected) in
            [(&[1.0, 2.0][..], &[1.0, 2.5][..], 0.5), (&[1.0, -3.0], &[1.5, -3.0], 0.5), (&[], &[], 0.0)]
        {
            assert_eq!(difference(ours, theirs).unwrap(), expected);
        }
        for ours in [[f64::NAN, 1.0], [1.0, f64::NAN]] {
            assert!(difference(&ours, &[1.0, 1.0]).unwrap().is_nan());
        }
        assert!(difference(&[1.0], &[1.0, 2.0]).is_err());
    }
}
