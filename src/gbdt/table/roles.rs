//! What the columns of a dense table are for.

use std::collections::HashSet;
use std::path::Path;

use super::options::{Column, TableOptions};
use super::shortened;
use crate::error::{Error, ErrorKind, Result};
use crate::gbdt::bins::ColumnKind;

/// What a column of the file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Feature(ColumnKind),
    Label,
    Weight,
    Group,
    Ignored,
}

/// Models name what they read: by names, and each for one column. A label without a name is the number of a row
/// sooner than a label.
pub(super) fn check_names(file: &Path, line: u64, header: &[String], roles: &[Role]) -> Result<()> {
    let wrong = |message: String, next_step: &str| {
        Err(Error::new(ErrorKind::Data, message).file(file).line(line).next_step(next_step))
    };
    let mut seen = HashSet::new();
    for (column, (name, role)) in header.iter().zip(roles).enumerate() {
        if name.is_empty() && matches!(role, Role::Label | Role::Feature(_)) {
            let next_step = "name it in the header, or have it left out and the right label chosen";
            return wrong(format!("column {column} has no name"), next_step);
        }
        if !seen.insert(name) {
            let message = format!("two columns are called `{}`", shortened(name));
            return wrong(message, "give each column a name of its own");
        }
    }
    Ok(())
}

/// What each column of the file is for.
pub(super) fn roles(
    file: &Path,
    width: usize,
    header: Option<&[String]>,
    options: &TableOptions,
) -> Result<Vec<Role>> {
    let places = Places { file, width, header };
    let label = places.find("label", &options.label, None)?;
    let mut roles = vec![Role::Feature(ColumnKind::Number); width];
    roles[label] = Role::Label;
    let category = Role::Feature(ColumnKind::Category);
    let categories = options.categories.iter().map(|column| ("categories", column, category));
    let weight = options.weight.iter().map(|column| ("weight", column, Role::Weight));
    let group = options.group.iter().map(|column| ("group", column, Role::Group));
    let ignored = options.ignored.iter().map(|column| ("ignored", column, Role::Ignored));
    for (option, column, role) in categories.chain(weight).chain(group).chain(ignored) {
        let found = &mut roles[places.find(option, column, Some(label))?];
        if *found != Role::Feature(ColumnKind::Number) && *found != role {
            let message = format!("{column} has another use already");
            return Err(places.wrong(message, option, "give each column one use"));
        }
        *found = role;
    }
    if !roles.iter().any(|role| matches!(role, Role::Feature(_))) {
        let message = format!("{width} columns, and no feature among them");
        let error = Error::new(ErrorKind::Data, message).file(file);
        return Err(error.next_step("give a table whose columns are apart by tabs, commas or spaces"));
    }
    Ok(roles)
}

/// Where the columns of a file are.
struct Places<'a> {
    file: &'a Path,
    width: usize,
    header: Option<&'a [String]>,
}

impl Places<'_> {
    /// The place of `column`; of one that is counted without the label, where the label is known.
    fn find(&self, option: &str, column: &Column, label: Option<usize>) -> Result<usize> {
        let found = match (column, self.header) {
            (&Column::Index(index), _) => {
                let before = label.filter(|&label| label <= index).map_or(0, |_| 1);
                Some(index.saturating_add(before)).filter(|&index| index < self.width)
            }
            (Column::Name(name), Some(header)) => header.iter().position(|other| other == name),
            (Column::Name(_), None) => None,
        };
        let next_step = || match (column, self.header) {
            (Column::Index(_), _) => {
                let others = if label.is_some() { " beside the label" } else { "" };
                let columns = self.width - usize::from(label.is_some());
                format!("choose from {columns} columns{others}, the first being 0")
            }
            (Column::Name(_), Some(header)) => format!("the header has {}", listed(header)),
            (Column::Name(_), None) => "the table has no header: give the column's number, from 0".to_owned(),
        };
        found.ok_or_else(|| self.wrong(format!("there is no {column}"), option, &next_step()))
    }

    fn wrong(&self, message: String, option: &str, next_step: &str) -> Error {
        Error::new(ErrorKind::Config, message).file(self.file).field(option).next_step(next_step)
    }
}

fn listed(header: &[String]) -> String {
    let names: Vec<String> = header.iter().take(20).map(|name| format!("`{}`", shortened(name))).collect();
    format!("{}{}", names.join(", "), if header.len() > 20 { " and others" } else { "" })
}
