//! LibSVM rows, and LETOR's, which name their group: `label qid:7 10:0.89 11:0.75 # comment`.

use std::path::Path;

use super::options::{Column, TableOptions};
use super::text::{Block, Blocks};
use super::{
    GroupSizes, MAX_COLUMNS, Parsed, Table, TableFormat, Wanted, absent_is_missing, check_category,
    check_cells, label, number, numbered, shortened,
};
use crate::error::{Error, ErrorKind, Result};
use crate::gbdt::bins::ColumnKind;

/// Lines that tell whether a file is of this kind: a row without features looks like a table of one column.
const LINES_TO_TELL: usize = 100;

/// Whether some row of `block` is a label and then `index:value` alone: a time of day (`12:30:05`) is none.
pub(super) fn is_sparse(block: &Block, is_labelled: bool) -> bool {
    let is_index = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_entry = |field: &str| {
        let pair = field.split_once(':');
        pair.is_some_and(|(index, value)| index == "qid" || (is_index(index) && number(value).is_some()))
    };
    let is_row = |line: &str| {
        let mut fields = without_comment(line).split_ascii_whitespace().peekable();
        // The label, where there is one.
        fields.next_if(|first| is_labelled || !is_entry(first));
        fields.peek().is_some() && fields.all(is_entry)
    };
    block.lines().take(LINES_TO_TELL).any(|(_, line)| is_row(line))
}

fn without_comment(line: &str) -> &str {
    line.split('#').next().unwrap_or_default()
}

/// Reads a table of the wanted columns, or of as many as its indices ask for.
pub(super) fn read(
    file: &Path,
    blocks: Blocks<'_>,
    options: &TableOptions,
    wanted: Option<&Wanted<'_>>,
) -> Result<Table> {
    refuse_columns(file, options)?;
    let columns = wanted.map(|wanted| wanted.names.len());
    let is_labelled = wanted.is_none_or(|wanted| wanted.is_labelled);
    let of_model = wanted.filter(|wanted| wanted.training.is_none());
    let by_model = || of_model.is_some_and(|wanted| absent_is_missing(wanted.names));
    let absent = if options.absent_is_missing.unwrap_or_else(by_model) { f32::NAN } else { 0.0 };
    let mut all = Part::default();
    let mut groups = GroupSizes::default();
    let mut found_columns = 0;
    blocks.parse(
        |block| parse(file, block, options, is_labelled),
        |part| {
            found_columns = found_columns.max(part.columns);
            check_cells(file, all.labels.len() + part.labels.len(), columns.unwrap_or(found_columns))?;
            check_whether_grouped(file, &all, &part)?;
            for &(line, id) in &part.groups {
                if !groups.push(id) {
                    return Err(wrong(file, line, format!("group {id} was over already"), GROUP_STEP));
                }
            }
            all.append(part);
            Ok(())
        },
    )?;
    if all.labels.is_empty() {
        return Err(Error::new(ErrorKind::Data, "there are only comments in this file").file(file));
    }
    let columns = columns.unwrap_or(found_columns);
    if columns == 0 {
        return Err(Error::new(ErrorKind::Data, "no row has a feature")
            .file(file)
            .next_step("write features as index:value after the label"));
    }
    let is_grouped = !all.groups.is_empty();
    Ok(Table {
        names: numbered(columns),
        kinds: kinds(file, columns, options)?,
        rows: all.rows(file, columns, absent)?,
        labels: all.labels,
        weights: None,
        group_sizes: is_grouped.then_some(groups.sizes),
        initial_scores: None,
        layout: TableFormat::Sparse,
        header: None,
        left_out: numbered(found_columns).split_off(columns.min(found_columns)),
        unused_beside: Vec::new(),
    })
}

const GROUP_STEP: &str = "put the rows of a group one after the other";

/// What came of some rows: of each, where its entries end.
#[derive(Default)]
struct Part {
    labels: Vec<f32>,
    ends: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f32>,
    /// Line and number of group, of every row or of none.
    groups: Vec<(u64, u64)>,
    /// One more than the largest index.
    columns: usize,
    first_line: u64,
}

impl Part {
    fn append(&mut self, part: Part) {
        let before = self.indices.len();
        self.labels.extend_from_slice(&part.labels);
        self.ends.extend(part.ends.iter().map(|end| end + before));
        self.indices.extend_from_slice(&part.indices);
        self.values.extend_from_slice(&part.values);
        self.groups.extend_from_slice(&part.groups);
    }

    /// Every value of every row, `absent` where it lists none: row-major `[rows, columns]`.
    fn rows(&self, file: &Path, columns: usize, absent: f32) -> Result<Vec<f32>> {
        let cells = self.labels.len() * columns;
        let mut rows = Vec::new();
        rows.try_reserve_exact(cells).map_err(|_| {
            Error::new(ErrorKind::Data, format!("no memory for its {cells} values, zeros included"))
                .file(file)
                .next_step("draw a share of the rows, or leave features out")
        })?;
        rows.resize(cells, absent);
        let starts = std::iter::once(&0).chain(&self.ends);
        for ((row, &start), &end) in rows.chunks_exact_mut(columns).zip(starts).zip(&self.ends) {
            for (&index, &value) in self.indices[start..end].iter().zip(&self.values[start..end]) {
                // Beyond the columns of training: no tree asks for it.
                if let Some(cell) = row.get_mut(index as usize) {
                    *cell = value;
                }
            }
        }
        Ok(rows)
    }
}

fn parse(file: &Path, block: &Block, options: &TableOptions, is_labelled: bool) -> Result<Part> {
    let mut part = Part { first_line: block.first_line, ..Part::default() };
    for (line, text) in block.lines() {
        let mut fields = without_comment(text).split_ascii_whitespace().peekable();
        if fields.peek().is_none() {
            continue;
        }
        let at = |message: String, step: &str| wrong(file, line, message, step);
        let label = match fields.next_if(|first| is_labelled || !first.contains(':')) {
            Some(first) if is_labelled => {
                label(first).map_err(|message| at(message, "begin every row with its label"))?
            }
            _ => f32::NAN,
        };
        if let Some(id) = fields.peek().and_then(|field| field.strip_prefix("qid:")) {
            let id = id.parse().map_err(|_| {
                at(
                    format!("`{}` is not the number of a group", shortened(id)),
                    "write a whole number after `qid:`",
                )
            })?;
            part.groups.push((line, id));
            fields.next();
        }
        part.labels.push(label);
        if !part.groups.is_empty() && part.groups.len() != part.labels.len() {
            return Err(half_grouped(file, line));
        }
        let mut next_index = 0;
        for field in fields {
            let (index, value) =
                entry(field, next_index, options).map_err(|message| at(message, ENTRY_STEP))?;
            next_index = index as usize + 1;
            part.indices.push(index);
            part.values.push(value);
        }
        part.columns = part.columns.max(next_index);
        part.ends.push(part.indices.len());
    }
    Ok(part)
}

const ENTRY_STEP: &str = "write features as index:value, each index once, in ascending order";

/// An entry whose index is at least `next_index`.
fn entry(field: &str, next_index: usize, options: &TableOptions) -> Parsed<(u32, f32)> {
    let quoted = || shortened(field);
    let (index, text) = field.split_once(':').ok_or_else(|| format!("`{}` is not index:value", quoted()))?;
    let index: u32 = index.parse().map_err(|_| format!("`{}` has no index of a feature", quoted()))?;
    let value = number(text).ok_or_else(|| format!("the value of `{}` is not a number", quoted()))?;
    if index as usize >= MAX_COLUMNS {
        return Err(format!(
            "the index of `{}` is beyond the {MAX_COLUMNS} columns that a table may have",
            quoted()
        ));
    }
    if (index as usize) < next_index {
        return Err(format!("the index of `{}` does not come after {}", quoted(), next_index - 1));
    }
    if options.categories.contains(&Column::Index(index as usize)) {
        check_category(value)?;
    }
    Ok((index, value))
}

fn check_whether_grouped(file: &Path, before: &Part, part: &Part) -> Result<()> {
    if before.labels.is_empty()
        || part.labels.is_empty()
        || before.groups.is_empty() == part.groups.is_empty()
    {
        return Ok(());
    }
    Err(half_grouped(file, part.first_line))
}

fn half_grouped(file: &Path, line: u64) -> Error {
    let message = "of this row and those before it, some name their group and some do not";
    wrong(file, line, message.to_owned(), "write `qid:` and a number after every label, or after none")
}

/// Here columns are found by their index alone, the label comes first, and groups are named by `qid`.
fn refuse_columns(file: &Path, options: &TableOptions) -> Result<()> {
    let wrong = |field: &str, message: &str| {
        Err(Error::new(ErrorKind::Config, format!("a LibSVM file {message}"))
            .file(file)
            .field(field)
            .next_step("leave this option out, or give the table with tabs or commas"))
    };
    match options {
        _ if options.label != Column::Index(0) => wrong("label", "has its label first"),
        _ if options.header == Some(true) => wrong("header", "has no header"),
        _ if options.weight.is_some() => wrong("weight", "has its weights beside it, in FILE.weight"),
        _ if options.group.is_some() => wrong("group", "names groups by `qid:`, or in FILE.query"),
        _ if !options.ignored.is_empty() => wrong("ignored", "is read with all its features"),
        _ => Ok(()),
    }
}

fn kinds(file: &Path, columns: usize, options: &TableOptions) -> Result<Vec<ColumnKind>> {
    let mut kinds = vec![ColumnKind::Number; columns];
    for column in &options.categories {
        let kind = match column {
            Column::Index(index) => kinds.get_mut(*index),
            Column::Name(_) => None,
        };
        let Some(kind) = kind else {
            return Err(Error::new(ErrorKind::Config, format!("there is no {column} among the {columns}"))
                .file(file)
                .field("categories")
                .next_step("give the indices of features, as the file has them"));
        };
        *kind = ColumnKind::Category;
    }
    Ok(kinds)
}

fn wrong(file: &Path, line: u64, message: String, next_step: &str) -> Error {
    Error::new(ErrorKind::Data, message).file(file).line(line).next_step(next_step)
}
