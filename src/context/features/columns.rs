//! Columns are known by name, and so is what they mean.
//!
//! A saved model lists the columns that it reads by *label*: the name, and where its meaning was changed since the name
//! was first used, `@` and the version of the meaning, such as `overdue@2`. A build finds them by label among those that
//! it computes, in whatever order either has them. So a column may be added anywhere, and a model that reads one that is
//! gone, or that means something else by now, is refused.

use crate::error::{Error, ErrorKind, Result};

/// What to do about a model that reads what this build does not compute.
const NEXT_STEP: &str =
    "take the version of foretap that the model was made with, or a later one, or train the model again";

/// A column's label: its name, and a version of its meaning that is not the first.
macro_rules! label {
    ($name:ident) => {
        stringify!($name)
    };
    ($name:ident @ $version:literal) => {
        concat!(stringify!($name), "@", $version)
    };
}
pub(in crate::context) use label;

/// The name in `label`, and the version of its meaning.
pub fn name_and_version(label: &str) -> (&str, u32) {
    let versioned = label.rsplit_once('@').and_then(|(name, version)| Some((name, version.parse().ok()?)));
    versioned.unwrap_or((label, 1))
}

/// Where the column `label` of a model is among those that this build computes.
///
/// # Errors
/// [`ErrorKind::Model`]: it is not among them, or means something else here. `reader` says who reads it.
pub fn find(reader: &str, label: &str, computed: &[&str]) -> Result<usize> {
    let (name, version) = name_and_version(label);
    let named = computed.iter().position(|here| name_and_version(here).0 == name);
    let message = match named.map(|place| (place, name_and_version(computed[place]).1)) {
        Some((place, here)) if here == version => return Ok(place),
        Some((_, here)) => format!(
            "{reader} the column `{name}` in version {version} of its meaning, but this build computes version {here}"
        ),
        None => format!("{reader} the column `{name}`, which this build does not compute"),
    };
    Err(Error::new(ErrorKind::Model, message).next_step(NEXT_STEP))
}

/// Where each of a model's columns is among those that this build computes.
///
/// # Errors
/// As [`find`], or a column is there twice.
pub fn find_all<S: AsRef<str>>(reader: &str, labels: &[S], computed: &[&str]) -> Result<Vec<usize>> {
    let mut is_taken = vec![false; computed.len()];
    let place = |(index, label): (usize, &S)| {
        let label = label.as_ref();
        // Mostly it stands where it stood.
        let place = match computed.get(index) {
            Some(here) if *here == label => index,
            _ => find(reader, label, computed)?,
        };
        match std::mem::replace(&mut is_taken[place], true) {
            false => Ok(place),
            true => Err(Error::new(ErrorKind::Model, format!("{reader} the column `{label}` twice"))
                .next_step("train the model again")),
        }
    };
    labels.iter().enumerate().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name_and_meaning() {
        let computed = ["hour", "overdue@2", "trend"];
        let places = |labels: &[&str]| {
            find_all("the trees read", labels, &computed).map_err(|error| error.to_string())
        };
        assert_eq!(places(&["trend", "hour", "overdue@2"]), Ok(vec![2, 0, 1]));
        assert_eq!(places(&["hour@1"]), Ok(vec![0]), "the first version may be written");
        assert_eq!(places(&[]), Ok(vec![]));
        for (labels, says) in [
            (
                ["hour", "weekday"],
                "the trees read the column `weekday`, which this build does not compute; take",
            ),
            (
                ["hour", "overdue"],
                "the column `overdue` in version 1 of its meaning, but this build computes version 2",
            ),
            (
                ["trend@3", "hour"],
                "the column `trend` in version 3 of its meaning, but this build computes version 1",
            ),
            (["hour", "hour"], "the column `hour` twice"),
            (["hour@x", "hour"], "the column `hour@x`, which this build does not compute"),
        ] {
            let error = places(&labels).unwrap_err();
            assert!(error.contains(says) && error.contains("; "), "{error}");
        }
    }
}
