//! What the columns of a dense table are for.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::options::{Column, TableOptions};
use super::{Table, Wanted, shortened};
use crate::error::{Error, ErrorKind, Result};
use crate::gbdt::bins::ColumnKind;
use crate::gbdt::ensemble::are_numbers;

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
    wanted: Option<&Wanted<'_>>,
) -> Result<Vec<Role>> {
    let places = Places { file, width, header };
    let unlabelled = wanted.filter(|wanted| !wanted.is_labelled);
    let others = options.weight.iter().chain(&options.group).chain(&options.ignored).count();
    let has_label = unlabelled.is_none_or(|wanted| wanted.names.len() + others != width);
    let label = if has_label { Some(places.find("label", &options.label, None)?) } else { None };
    let mut roles = vec![Role::Feature(ColumnKind::Number); width];
    // What is only predicted needs nothing but its features.
    let unless_unlabelled = |role| if unlabelled.is_some() { Role::Ignored } else { role };
    if let Some(label) = label {
        roles[label] = unless_unlabelled(Role::Label);
    }
    let category = Role::Feature(ColumnKind::Category);
    let categories = options.categories.iter().map(|column| ("categories", column, category));
    let weight = options.weight.iter().map(|column| ("weight", column, unless_unlabelled(Role::Weight)));
    let group = options.group.iter().map(|column| ("group", column, unless_unlabelled(Role::Group)));
    let ignored = options.ignored.iter().map(|column| ("ignored", column, Role::Ignored));
    for (option, column, role) in categories.chain(weight).chain(group).chain(ignored) {
        let found = &mut roles[places.find(option, column, label)?];
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

/// `options` of a table with this `header`, which name all columns that have a name there.
pub(super) fn by_name(options: &TableOptions, header: &[String]) -> TableOptions {
    let label = match &options.label {
        Column::Index(index) => Some(*index),
        Column::Name(name) => header.iter().position(|other| other == name),
    };
    let named = |column: &Column, label: Option<usize>| match column {
        Column::Index(index) => {
            let place = index.saturating_add(usize::from(label.is_some_and(|label| label <= *index)));
            header.get(place).filter(|name| !name.is_empty()).map(|name| Column::Name(name.clone()))
        }
        Column::Name(_) => None,
    };
    let beside = |column: &Column| named(column, label).unwrap_or_else(|| column.clone());
    TableOptions {
        header: options.header,
        label: named(&options.label, None).unwrap_or_else(|| options.label.clone()),
        weight: options.weight.as_ref().map(beside),
        group: options.group.as_ref().map(beside),
        ignored: options.ignored.iter().map(beside).collect(),
        categories: options.categories.iter().map(beside).collect(),
        absent_is_missing: options.absent_is_missing,
    }
}

/// What each column of a file with a header is for, whose features are the wanted ones, and the places of the features in a
/// row, where their order is another.
pub(super) fn roles_for(
    wanted: &Wanted<'_>,
    file: &Path,
    line: u64,
    header: &[String],
    options: &TableOptions,
) -> Result<(Vec<Role>, Option<Vec<usize>>)> {
    let places = Places { file, width: header.len(), header: Some(header) };
    let mut roles = vec![Role::Ignored; header.len()];
    let label = match places.find("label", &options.label, None) {
        Ok(label) if wanted.is_labelled => {
            roles[label] = Role::Label;
            Some(label)
        }
        // A number says where the label is in other tables; here it may be a feature.
        Ok(label) => Some(label).filter(|_| matches!(options.label, Column::Name(_))),
        Err(error) if wanted.is_labelled => return Err(error),
        Err(_) => None,
    };
    let weight = options.weight.iter().map(|column| ("weight", column, Role::Weight));
    let group = options.group.iter().map(|column| ("group", column, Role::Group));
    for (option, column, role) in weight.chain(group).filter(|_| wanted.is_labelled) {
        let found = &mut roles[places.find(option, column, label)?];
        if *found != Role::Ignored {
            let message = format!("{column} has another use already");
            return Err(places.wrong(message, option, "give each column one use"));
        }
        *found = role;
    }
    let mut categories = vec![false; header.len()];
    for column in &options.categories {
        // Which of the wanted columns are categories, training knows.
        if wanted.training.is_none() {
            categories[places.find("categories", column, label)?] = true;
        }
    }
    let by_name: HashMap<&String, usize> = header.iter().zip(0..).collect();
    let mut in_row = vec![0; header.len()];
    let mut found = Vec::with_capacity(wanted.names.len());
    for (place, name) in wanted.names.iter().enumerate() {
        let wrong = |message: String, next_step: &str| {
            Err(Error::new(ErrorKind::Data, message).file(file).line(line).next_step(next_step))
        };
        let by_whom = wanted.by_whom;
        let Some(&column) = by_name.get(name) else {
            let message = format!("there is no column `{}`, which {by_whom}", shortened(name));
            return wrong(message, &format!("add it; the header has {}", listed(header)));
        };
        if roles[column] != Role::Ignored {
            let message = format!(
                "the column `{}`, which {by_whom}, is no feature here: it has another use",
                shortened(name)
            );
            return wrong(
                message,
                "name the columns of label, weight and group, or only predict, without labels",
            );
        }
        let kind = match wanted.training {
            Some(Table { kinds, .. }) => kinds[place],
            None if categories[column] => ColumnKind::Category,
            None => ColumnKind::Number,
        };
        roles[column] = Role::Feature(kind);
        in_row[column] = place;
        found.push(column);
    }
    let is_other_order = !found.is_sorted();
    Ok((roles, is_other_order.then_some(in_row)))
}

impl<'a> Wanted<'a> {
    /// The columns that a model reads.
    pub(super) fn of_model(names: &'a [String], is_labelled: bool) -> Self {
        let is_named = !are_numbers(names);
        Self { names, is_named, by_whom: "the model reads", training: None, is_labelled }
    }

    /// Whether columns are found by name in a file of this `header`.
    pub(super) fn are_named_in(&self, header: Option<&[String]>) -> bool {
        let has = |name: &String| header.is_some_and(|header| header.contains(name));
        // A header may have numbers for names, too.
        self.is_named || (self.training.is_none() && self.names.iter().any(has))
    }

    /// Puts the kinds of columns of `table` in the wanted order, and lists what was left out of it.
    pub(super) fn fit(&self, table: &mut Table, header: &[String], roles: &[Role], options: &TableOptions) {
        let options = by_name(options, header);
        let roles_by_name: HashMap<&String, Role> = header.iter().zip(roles.iter().copied()).collect();
        let kind = |name: &String| match roles_by_name.get(name) {
            Some(Role::Feature(kind)) => *kind,
            _ => ColumnKind::Number,
        };
        table.kinds = self.names.iter().map(kind).collect();
        let is_meant = |name: &String| {
            options.ignored.iter().any(|column| match column {
                Column::Name(ignored) => ignored == name,
                Column::Index(_) => false,
            })
        };
        let columns = header.iter().zip(roles).filter(|(_, role)| **role == Role::Ignored);
        table.left_out = columns.map(|(name, _)| name.clone()).filter(|name| !is_meant(name)).collect();
    }
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
