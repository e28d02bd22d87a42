//! What stands beside a table: `FILE.query` with the sizes of groups, `FILE.weight` with the weights of rows, `FILE.init`
//! with the scores that training starts from, a number a line (of several outputs, several).

use std::path::{Path, PathBuf};

use super::text::Blocks;
use super::{Parsed, Table, weight};
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Silent;

const READ: [&str; 3] = ["query", "weight", "init"];
/// What else LightGBM reads (`position`), and what XGBoost does.
const UNREAD: [&str; 3] = ["position", "group", "base_margin"];

/// Reads what stands beside `file` into `table`, whose rows are to be predicted alone where they have no labels.
pub(super) fn attach(table: &mut Table, file: &Path, is_labelled: bool) -> Result<()> {
    let unused = READ.iter().filter(|_| !is_labelled).chain(&UNREAD);
    table.unused_beside = unused.filter_map(|kind| beside(file, kind)).collect();
    if !is_labelled {
        return Ok(());
    }
    if let Some(query) = beside(file, "query") {
        let sizes = group_sizes(&query, table.labels.len())?;
        if table.group_sizes.as_ref().is_some_and(|known| *known != sizes) {
            return Err(Error::new(
                ErrorKind::Data,
                format!("its sizes of groups are not those that {} itself tells", file.display()),
            )
            .file(query)
            .next_step("remove one of the two"));
        }
        table.group_sizes = Some(sizes);
    }
    if let Some(beside) = beside(file, "weight") {
        if table.weights.is_some() {
            return Err(Error::new(ErrorKind::Config, "weights are given here and in a column of the table")
                .file(beside)
                .next_step("remove one of the two"));
        }
        table.weights = Some(weights(&beside, table.labels.len())?);
    }
    if let Some(init) = beside(file, "init") {
        table.initial_scores = Some(initial_scores(&init, table.labels.len())?);
    }
    if table.weights.as_ref().is_some_and(|weights| weights.iter().all(|&weight| weight == 0.0)) {
        return Err(Error::new(ErrorKind::Data, "every weight is zero")
            .file(file)
            .next_step("give rows that count a weight above zero"));
    }
    Ok(())
}

/// `FILE.kind` of `FILE` or of `FILE.gz`, gzipped or not, where there is one.
fn beside(file: &Path, kind: &str) -> Option<PathBuf> {
    let unpacked =
        (file.extension().is_some_and(|extension| extension == "gz")).then(|| file.with_extension(""));
    let with = |file: &Path, ending: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let endings = [format!(".{kind}"), format!(".{kind}.gz")];
    let files = [Some(file.to_path_buf()), unpacked].into_iter().flatten();
    files.flat_map(|file| endings.each_ref().map(|ending| with(&file, ending))).find(|file| file.is_file())
}

fn group_sizes(file: &Path, rows: usize) -> Result<Vec<usize>> {
    let size = |text: &str| match text.parse() {
        Ok(0) => Err("a group of no rows".to_owned()),
        Ok(size) => Ok(size),
        Err(_) => Err(format!("`{}` is not the size of a group", super::shortened(text))),
    };
    let next_step = "write the number of rows of each group, in their order, a line each";
    let sizes: Vec<usize> = numbers(file, size, next_step)?;
    let total = sizes.iter().try_fold(0_usize, |total, &size| total.checked_add(size));
    if total != Some(rows) {
        let total = total.map_or_else(|| "too many".to_owned(), |total| total.to_string());
        let message = format!("its {} groups have {total} rows, but the table has {rows}", sizes.len());
        return Err(Error::new(ErrorKind::Data, message).file(file).next_step(next_step));
    }
    Ok(sizes)
}

fn weights(file: &Path, rows: usize) -> Result<Vec<f32>> {
    let next_step = "write the weight of each row, in their order, a line each";
    let weights = numbers(file, weight, next_step)?;
    if weights.len() != rows {
        let message = format!("{} weights, but the table has {rows} rows", weights.len());
        return Err(Error::new(ErrorKind::Data, message).file(file).next_step(next_step));
    }
    Ok(weights)
}

/// As LightGBM reads them: a line for each row, and on it a score for each output, by tabs apart.
fn initial_scores(file: &Path, rows: usize) -> Result<Vec<f64>> {
    let next_step =
        "write the initial score of each row, in their order, a line each; of several outputs, by tabs apart";
    let scores_of = |text: &str| -> Parsed<Vec<f64>> {
        let score = |text: &str| {
            let score = text.parse().ok().filter(|score: &f64| score.is_finite());
            score.ok_or_else(|| format!("`{}` is not a finite score", super::shortened(text)))
        };
        text.split_ascii_whitespace().map(score).collect()
    };
    let scores: Vec<Vec<f64>> = numbers(file, scores_of, next_step)?;
    let wrong = |message: String| Error::new(ErrorKind::Data, message).file(file).next_step(next_step);
    if scores.len() != rows {
        return Err(wrong(format!("initial scores of {} rows, but the table has {rows}", scores.len())));
    }
    let outputs = scores.first().map_or(0, Vec::len);
    if let Some(row) = scores.iter().position(|scores| scores.len() != outputs) {
        let message = format!("{} scores for row {row}, but {outputs} for the first", scores[row].len());
        return Err(wrong(message));
    }
    Ok(scores.concat())
}

/// What `read` makes of each line.
fn numbers<T>(file: &Path, read: impl Fn(&str) -> Parsed<T>, next_step: &str) -> Result<Vec<T>> {
    let mut blocks = Blocks::open(file, &Silent)?;
    let mut numbers = Vec::new();
    while let Some(block) = blocks.next()? {
        for (line, text) in block.lines() {
            let wrong =
                |message| Error::new(ErrorKind::Data, message).file(file).line(line).next_step(next_step);
            numbers.push(read(text.trim()).map_err(wrong)?);
        }
    }
    Ok(numbers)
}
