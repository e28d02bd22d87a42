//! Columns are known by name, and so is what they mean.
//!
//! A saved model lists the columns that it reads by *label*: the name, and where its meaning was changed since the name
//! was first used, `@` and the version of the meaning, such as `overdue@2`. A build finds them by label among those that
//! it computes, in whatever order either has them. So a column may be added anywhere, and a model that reads one that is
//! gone, or that means something else by now, is refused.

use crate::error::{Error, ErrorKind, Result};

/// What to do about a model that reads what this build does not compute, and a later one may.
const FROM_LATER: &str =
    "take the version of foretap that the model was made with, or a later one, or train the model again";

/// What to do about a model that reads what no build from this one on computes.
const FROM_EARLIER: &str =
    "train the model again with this version, or take the version of foretap that it was made with";

/// Columns that models were trained on and that are computed no longer (docs/constants.md, "What is removed"). A name that
/// is here is never used again.
pub(crate) const REMOVED: [&str; 22] = [
    "first_use_180_to_90_min_before",
    "first_use_90_to_30_min_before",
    "first_use_30_to_0_min_before",
    "first_use_0_to_30_min_after",
    "first_use_30_to_90_min_after",
    "first_use_90_to_180_min_after",
    "first_use_any_time",
    "spontaneous_share",
    "spontaneous_hour_affinity",
    "notification_freshness",
    "newer_notifications",
    "notification_response",
    "spontaneous_after_rest_share",
    "due_probability",
    "trigger_log_lift",
    "trigger_conditional_share",
    "log_preference",
    "propensity_share",
    "log_expected_choices",
    "log_rest_phase",
    "notification_response_rate",
    "spontaneous_rate",
];

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
    let (message, next_step) = match named.map(|place| (place, name_and_version(computed[place]).1)) {
        Some((place, here)) if here == version => return Ok(place),
        Some((_, here)) => (
            format!(
                "{reader} the column `{name}` in version {version} of its meaning, but this build computes version {here}"
            ),
            if version < here { FROM_EARLIER } else { FROM_LATER },
        ),
        None if REMOVED.contains(&name) => {
            (format!("{reader} the column `{name}`, which was removed"), FROM_EARLIER)
        }
        None => (format!("{reader} the column `{name}`, which this build does not compute"), FROM_LATER),
    };
    Err(Error::new(ErrorKind::Model, message).next_step(next_step))
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
                "the trees read the column `weekday`, which this build does not compute; take the version of foretap that \
                 the model was made with, or a later one",
            ),
            (
                ["hour", "due_probability@2"],
                "the trees read the column `due_probability`, which was removed; train the model again",
            ),
            (
                ["hour", "overdue"],
                "the column `overdue` in version 1 of its meaning, but this build computes version 2; train the model again",
            ),
            (
                ["trend@3", "hour"],
                "the column `trend` in version 3 of its meaning, but this build computes version 1; take",
            ),
            (["hour", "hour"], "the column `hour` twice"),
            (["hour@x", "hour"], "the column `hour@x`, which this build does not compute"),
        ] {
            let error = places(&labels).unwrap_err();
            assert!(error.contains(says) && error.contains("; "), "{error}");
        }
    }
}
