//! Models that change engines: the largest difference of raw scores on 10,000 rows they were not learned from, with
//! categories and missing values, over models of every kind.

use foretap::export;
use foretap::gbdt::{Ensemble, Forest, ForestScratch};

use crate::Result;
use crate::cases::made;
use crate::engines::{Foretap, lightgbm_parameters, xgboost_parameters};
use crate::report::{Report, Table};
use crate::task::{Goal, Rows, Settings};
use crate::wheels::Wheels;

const ROWS: usize = 10_000;
const GOALS: [Goal; 4] = [Goal::Binary, Goal::Regression, Goal::Multiclass(4), Goal::Lambdarank];
const WAYS: [&str; 4] = ["to_lightgbm", "from_lightgbm", "to_xgboost", "from_xgboost"];

/// Sends models both ways between ours and the two engines, into `report`.
///
/// # Errors
/// A model is refused, or an engine fails.
pub fn compare(wheels: &Wheels, report: &mut Report) -> Result<()> {
    let mut table = Table::new(["model"].into_iter().chain(WAYS));
    let mut largest = [0.0_f64; 4];
    for goal in GOALS {
        let (rows, unseen) = (made::mixed(ROWS, goal, 1), made::mixed(ROWS, goal, 2));
        let settings = Settings { trees: 50, ..Settings::new(goal) };
        let differences = [
            to_lightgbm(wheels, &rows, &unseen, &settings)?,
            from_lightgbm(wheels, &rows, &unseen, &settings)?,
            to_xgboost(wheels, &rows, &unseen, &settings)?,
            from_xgboost(wheels, &rows, &unseen, &settings)?,
        ];
        table.line(
            [format!("{goal:?}")]
                .into_iter()
                .chain(differences.map(|difference| format!("{difference:.1e}"))),
        );
        for (largest, difference) in largest.iter_mut().zip(differences) {
            // `max` would lose a NaN.
            *largest = if difference > *largest || difference.is_nan() { difference } else { *largest };
        }
    }
    table.print(&format!("Formats: largest difference of raw scores on {ROWS} rows"));
    report.format_max_difference.extend(WAYS.map(str::to_owned).into_iter().zip(largest));
    Ok(())
}

fn to_lightgbm(wheels: &Wheels, rows: &Rows, unseen: &Rows, settings: &Settings) -> Result<f64> {
    let ours = Foretap::new().forest(rows, settings, 1)?;
    let theirs = wheels.lightgbm.load(&export::lightgbm::write(ours.ensemble())?)?;
    difference(&score(&ours, unseen), &theirs.score(&unseen.values, unseen.columns, c"")?)
}

fn from_lightgbm(wheels: &Wheels, rows: &Rows, unseen: &Rows, settings: &Settings) -> Result<f64> {
    let parameters = format!("{} categorical_feature=3,7", lightgbm_parameters(settings));
    let data = wheels.lightgbm.dataset(rows, &parameters, None)?;
    let mut theirs = data.booster(&parameters)?;
    for _ in 0..settings.trees {
        theirs.update()?;
    }
    let ours = forest(export::lightgbm::read(&theirs.save()?)?)?;
    difference(&score(&ours, unseen), &theirs.score(&unseen.values, unseen.columns, c"")?)
}

fn to_xgboost(wheels: &Wheels, rows: &Rows, unseen: &Rows, settings: &Settings) -> Result<f64> {
    let ours = Foretap::new().forest(rows, settings, 1)?;
    let theirs = wheels.xgboost.load(&export::xgboost::write(ours.ensemble())?)?;
    let mut scores = Vec::new();
    theirs.score(&unseen.values, unseen.columns, &mut scores)?;
    difference(&score(&ours, unseen), &scores.into_iter().map(f64::from).collect::<Vec<_>>())
}

fn from_xgboost(wheels: &Wheels, rows: &Rows, unseen: &Rows, settings: &Settings) -> Result<f64> {
    let matrix = wheels.xgboost.matrix(rows, settings.bins, 1)?;
    let mut theirs = matrix.booster(&xgboost_parameters(settings))?;
    for round in 0..settings.trees {
        theirs.update(round, &matrix)?;
    }
    let ours = forest(export::xgboost::read(&theirs.save()?)?)?;
    let mut scores = Vec::new();
    theirs.score(&unseen.values, unseen.columns, &mut scores)?;
    difference(&score(&ours, unseen), &scores.into_iter().map(f64::from).collect::<Vec<_>>())
}

fn forest(ensemble: Ensemble) -> Result<Forest> {
    Ok(Forest::new(ensemble)?)
}

fn score(forest: &Forest, rows: &Rows) -> Vec<f64> {
    let mut scores = vec![0.0; rows.rows() * forest.outputs()];
    forest.score(&rows.values, &mut ForestScratch::default(), &mut scores);
    scores
}

fn difference(ours: &[f64], theirs: &[f64]) -> Result<f64> {
    if ours.len() != theirs.len() {
        return Err(format!("{} scores of ours, {} of theirs", ours.len(), theirs.len()).into());
    }
    let differences = ours.iter().zip(theirs).map(|(ours, theirs)| (ours - theirs).abs());
    Ok(differences.fold(0.0, |a, b| if b > a || b.is_nan() { b } else { a }))
}
