//! Tables that write every value: apart by tabs or commas, with quotes where they are needed (RFC 4180), or by any
//! white space.

use std::path::Path;

use super::options::TableOptions;
use super::roles::{Role, check_names, roles, roles_for};
use super::text::{Block, Blocks};
use super::{
    GroupSizes, Parsed, Table, TableFormat, Wanted, check_category, check_cells, label, number, numbered,
    shortened, weight,
};
use crate::error::{Error, ErrorKind, Result};
use crate::gbdt::bins::ColumnKind;

/// Reads a table whose first lines are `first`, taken out of `blocks`. Of named columns, those that are wanted.
pub(super) fn read(
    file: &Path,
    mut blocks: Blocks<'_>,
    mut first: Block,
    options: &TableOptions,
    wanted: Option<&Wanted<'_>>,
) -> Result<Table> {
    let (line, top) = first.lines().next().unwrap_or_default();
    let separator = separator(top);
    let fields: Vec<String> = match separator {
        Some(separator) => {
            let mut fields = Vec::new();
            for_each_record(separator, top, |_, record| {
                fields.extend(record.iter().map(|field| field.trim().to_owned()));
                Ok(())
            })?;
            fields
        }
        None => top.split_ascii_whitespace().map(str::to_owned).collect(),
    };
    let has_header = options.header.unwrap_or_else(|| is_header(&fields));
    let header = has_header.then_some(&fields[..]);
    check_cells(file, 1, fields.len())?;
    let named = wanted.filter(|wanted| wanted.are_named_in(header));
    let (roles, places) = match (named, header) {
        (Some(wanted), Some(header)) => roles_for(wanted, file, line, header, options)?,
        (Some(Wanted { by_whom, names, .. }), None) => {
            let first = shortened(names.first().map_or("", String::as_str));
            let message = format!("there is no header, but {by_whom} names: `{first}` and so on");
            return Err(Error::new(ErrorKind::Data, message)
                .file(file)
                .line(line)
                .next_step("write the names of the columns in the first line"));
        }
        (None, _) => (roles(file, fields.len(), header, options, wanted)?, None),
    };
    if let Some(header) = header {
        check_names(file, line, header, &roles)?;
    }
    let is_labelled = roles.contains(&Role::Label);
    let rows = Rows { file, separator, header, first_line: line, roles, places, is_labelled };
    if has_header {
        let skipped = (line - first.first_line + 1) as usize;
        let rest = first.text.split_inclusive('\n').skip(skipped).collect();
        first = Block { first_line: line + 1, text: rest };
    }
    blocks.put_back(first);

    let mut table = rows.empty_table();
    if let (Some(wanted), Some(header)) = (named, header) {
        wanted.fit(&mut table, header, &rows.roles, options);
    }
    let (mut weights, mut groups) = (Vec::new(), GroupSizes::default());
    let columns = table.columns();
    blocks.parse(
        |block| rows.parse(block),
        |part| {
            check_cells(file, table.labels.len() + part.labels.len(), columns)?;
            table.rows.extend_from_slice(&part.rows);
            table.labels.extend_from_slice(&part.labels);
            weights.extend_from_slice(&part.weights);
            part.groups.iter().try_for_each(|&(line, id)| match groups.push(id.to_bits()) {
                true => Ok(()),
                false => Err(rows.wrong(line, format!("group {id} was over already"), GROUP_STEP)),
            })
        },
    )?;
    if table.labels.is_empty() {
        return Err(Error::new(ErrorKind::Data, "there is no row under the header")
            .file(file)
            .next_step("give a table with a row a line"));
    }
    table.weights = rows.roles.contains(&Role::Weight).then_some(weights);
    table.group_sizes = rows.roles.contains(&Role::Group).then_some(groups.sizes);
    Ok(table)
}

/// A tab sooner than a comma, outside of quotes.
fn separator(line: &str) -> Option<u8> {
    let unquoted = || line.split('"').step_by(2);
    [b'\t', b','].into_iter().find(|&separator| unquoted().any(|part| part.as_bytes().contains(&separator)))
}

const GROUP_STEP: &str = "put the rows of a group one after the other";
const NUMBER_STEP: &str = "write numbers, nothing where a value is missing, and categories as numbers from 0";
const TIME_STEP: &str =
    "write times as numbers, such as seconds; in LibSVM rows, all but the label as index:value";
const HEADER_STEP: &str = "write numbers; if this line holds names, say that the table has a header";

/// How the rows of a file are read.
struct Rows<'a> {
    file: &'a Path,
    separator: Option<u8>,
    header: Option<&'a [String]>,
    /// The line of the header, or of the first row.
    first_line: u64,
    roles: Vec<Role>,
    /// By column of the file: a feature's place in the row, where the order is another. All others have none.
    places: Option<Vec<usize>>,
    is_labelled: bool,
}

/// What came of some rows.
#[derive(Default)]
struct Part {
    rows: Vec<f32>,
    labels: Vec<f32>,
    weights: Vec<f32>,
    /// Line and number of group.
    groups: Vec<(u64, f64)>,
}

impl Rows<'_> {
    fn parse(&self, block: &Block) -> Result<Part> {
        let mut part = Part::default();
        match self.separator {
            Some(separator) => for_each_record(separator, &block.text, |line, record| {
                self.row(block.first_line + line - 1, record.iter(), &mut part)
            })?,
            None => {
                for (line, text) in block.lines() {
                    self.row(line, text.split_ascii_whitespace(), &mut part)?;
                }
            }
        }
        Ok(part)
    }

    fn row<'r>(&self, line: u64, fields: impl Iterator<Item = &'r str>, part: &mut Part) -> Result<()> {
        let mut width = 0;
        let start = part.rows.len();
        if self.places.is_some() {
            let is_feature = |role: &&Role| matches!(role, Role::Feature(_));
            part.rows.resize(start + self.roles.iter().filter(is_feature).count(), f32::NAN);
        }
        for (column, text) in fields.enumerate() {
            width += 1;
            let Some(&role) = self.roles.get(column) else { continue };
            let place = self.places.as_ref().map(|places| start + places[column]);
            self.value(role, line, text, place, part).map_err(|message| {
                let step = match text {
                    time if time.contains(':') => TIME_STEP,
                    _ if line == self.first_line => HEADER_STEP,
                    _ => NUMBER_STEP,
                };
                self.wrong(line, message, step).field(self.place(column))
            })?;
        }
        if width != self.roles.len() {
            let message = format!("{width} values, but {} columns", self.roles.len());
            return Err(self.wrong(line, message, "give every row a value in each column"));
        }
        if !self.is_labelled {
            part.labels.push(f32::NAN);
        }
        Ok(())
    }

    /// `place` is that of a feature, where it is not the next.
    fn value(&self, role: Role, line: u64, text: &str, place: Option<usize>, part: &mut Part) -> Parsed<()> {
        match role {
            Role::Feature(kind) => {
                let value = number(text).ok_or_else(|| format!("`{}` is not a number", shortened(text)))?;
                if kind == ColumnKind::Category {
                    check_category(value)?;
                }
                match place.and_then(|place| part.rows.get_mut(place)) {
                    Some(cell) => *cell = value,
                    None => part.rows.push(value),
                }
            }
            Role::Label => part.labels.push(label(text)?),
            Role::Weight => part.weights.push(weight(text)?),
            Role::Group => {
                let id = text.trim().parse().ok().filter(|id: &f64| id.is_finite());
                let id = id.ok_or_else(|| format!("`{}` is not the number of a group", shortened(text)))?;
                part.groups.push((line, id));
            }
            Role::Ignored => {}
        }
        Ok(())
    }

    fn empty_table(&self) -> Table {
        let kind_of = |role: &Role| match role {
            Role::Feature(kind) => Some(*kind),
            _ => None,
        };
        let kinds: Vec<ColumnKind> = self.roles.iter().filter_map(kind_of).collect();
        let names = match self.header {
            Some(header) => {
                let named = header.iter().zip(&self.roles);
                named.filter(|(_, role)| kind_of(role).is_some()).map(|(name, _)| name.clone()).collect()
            }
            None => {
                // Numbered without the label, as options number them.
                let features = self.roles.iter().filter(|role| **role != Role::Label);
                let numbered = numbered(self.roles.len()).into_iter().zip(features);
                numbered.filter(|(_, role)| kind_of(role).is_some()).map(|(name, _)| name).collect()
            }
        };
        let (rows, labels) = (Vec::new(), Vec::new());
        Table {
            names,
            kinds,
            rows,
            labels,
            weights: None,
            group_sizes: None,
            initial_scores: None,
            layout: TableFormat::Dense,
            header: self.header.map(<[String]>::to_vec),
            left_out: Vec::new(),
            unused_beside: Vec::new(),
        }
    }

    fn place(&self, column: usize) -> String {
        match self.header.and_then(|header| header.get(column)) {
            Some(name) => format!("column {column} ({name})"),
            None => format!("column {column}"),
        }
    }

    fn wrong(&self, line: u64, message: String, next_step: &str) -> Error {
        Error::new(ErrorKind::Data, message).file(self.file).line(line).next_step(next_step)
    }
}

/// Gives each row of `text` to `act`, with its line, counted from 1. A quote that is not closed makes one long field,
/// which is no number.
fn for_each_record(
    separator: u8,
    text: &str,
    mut act: impl FnMut(u64, &csv::StringRecord) -> Result<()>,
) -> Result<()> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(separator)
        .from_reader(text.as_bytes());
    let mut record = csv::StringRecord::new();
    let unreadable = |error: csv::Error| Error::new(ErrorKind::Data, error.to_string());
    while reader.read_record(&mut record).map_err(unreadable)? {
        // The reader stands before the empty lines that it skips.
        let (before, at) = record.position().map_or((1, 0), |place| (place.line(), place.byte() as usize));
        let rest = text.get(at..).unwrap_or_default();
        let start = rest.trim_start_matches(['\r', '\n']);
        let skipped = rest[..rest.len() - start.len()].matches('\n').count() as u64;
        // A line of white space alone is blank, as it is everywhere else.
        let is_blank = record.len() == 1 && start.lines().next().is_none_or(|line| line.trim().is_empty());
        if !is_blank {
            act(before + skipped, &record)?;
        }
    }
    Ok(())
}

/// Words, and no number: a row that holds both is one that went wrong.
fn is_header(fields: &[String]) -> bool {
    let is_word = |field: &String| number(field).is_none();
    let is_value = |field: &String| number(field).is_some_and(|number| !number.is_nan());
    fields.iter().any(is_word) && !fields.iter().any(is_value)
}
