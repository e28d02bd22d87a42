//! LightGBM's example folders: a `train.conf` and the tables that it names, with their sidecar files.

use std::fs;
use std::path::{Path, PathBuf};

use foretap::Silent;
use foretap::gbdt::ColumnKind;
use foretap::gbdt::table::{Table, TableOptions};

use super::Case;
use super::conf::Conf;
use crate::Result;
use crate::task::{Goal, Rows, Settings};

/// The folders in `data` that have a `train.conf`, by name.
///
/// # Errors
/// `data` cannot be listed.
pub fn folders(data: &Path) -> Result<Vec<PathBuf>> {
    let says = |error| format!("{}: {error}", data.display());
    let mut folders: Vec<PathBuf> =
        fs::read_dir(data).map_err(says)?.flatten().map(|entry| entry.path()).collect();
    folders.retain(|folder| folder.join("train.conf").is_file());
    folders.sort();
    Ok(folders)
}

/// The cases of `folder`: one with its own objective and, where that ranks, one with the other ranking objective,
/// unless a folder of `others` is named after it.
///
/// # Errors
/// The configuration or a table cannot be read.
pub fn cases(folder: &Path, others: &[PathBuf]) -> Result<Vec<Case>> {
    let conf = folder.join("train.conf");
    let says = |error: crate::Error| format!("{}: {error}", conf.display());
    let conf = Conf::parse(&fs::read_to_string(&conf).map_err(|error| says(error.into()))?);
    let settings = conf.settings().map_err(says)?;
    let table = |name: &str| {
        let file = conf.text(name).ok_or_else(|| says(format!("no `{name}`").into()))?;
        Ok::<_, crate::Error>(folder.join(file))
    };
    let training = Table::read(&table("data")?, &TableOptions::default(), &Silent)?;
    let test = Table::read_like(&training, &table("valid")?, &TableOptions::default(), &Silent)?;
    let (training, test) = (rows(training), rows(test));
    let name = |folder: &Path| folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let case = |name, settings| Case { name, rows: training.clone(), settings, test: Some(test.clone()) };
    let mut cases = vec![case(name(folder), settings.clone())];
    let (other, other_name) = match settings.goal {
        Goal::Lambdarank => (Goal::Xendcg, "xendcg"),
        Goal::Xendcg => (Goal::Lambdarank, "lambdarank"),
        Goal::Binary | Goal::Multiclass(_) | Goal::Regression => return Ok(cases),
    };
    let taken = others.iter().any(|folder| name(folder) == other_name);
    if !taken {
        cases.push(case(other_name.to_owned(), Settings { goal: other, ..settings }));
    }
    Ok(cases)
}

fn rows(table: Table) -> Rows {
    let is_category = |column: &usize| table.kinds[*column] == ColumnKind::Category;
    Rows {
        columns: table.columns(),
        categories: (0..table.columns()).filter(is_category).collect(),
        values: table.rows,
        labels: table.labels,
        weights: table.weights.unwrap_or_default(),
        groups: table.group_sizes.unwrap_or_default(),
    }
}
