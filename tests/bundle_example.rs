//! The example `bundle`, from models to a patched bundle, as its user would call it.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside of test functions too: a failed step is a failed test

#[allow(dead_code)] // its `main`
#[path = "../examples/bundle.rs"]
mod bundle;
mod people;

use std::fs;
use std::path::Path;

use clap::Parser as _;
use foretap::bundle::{Bundle, Expert};
use foretap::context::Task;
use people::{people, quick_model};

/// Runs the example with these arguments, files' names standing for files in `folder`; its error as text.
fn run(folder: &Path, arguments: &str) -> Result<(), String> {
    let path = |word: &str| match word.contains('.') {
        true => folder.join(word).into_os_string(),
        false => word.into(),
    };
    let given = std::iter::once("bundle".into()).chain(arguments.split_whitespace().map(path));
    let args = bundle::Args::try_parse_from(given).map_err(|error| error.to_string())?;
    bundle::run(&args).map_err(|error| error.to_string())
}

#[test]
fn bundles_are_made_looked_into_and_updated() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let simulation = people(2, 5);
    quick_model(&simulation, Task::FirstAfterUnlock).save(&at("ranker.json")).unwrap();
    quick_model(&simulation, Task::NextLaunch).save(&at("launches.json")).unwrap();
    fs::write(at("card.json"), r#"{"learned_from": "nobody"}"#).unwrap();
    fs::write(at("list.json"), "[1]").unwrap();

    for command in [
        "make --out student.foretap",
        "make --trees ranker.json --card card.json --out both.foretap",
        "make --no-student --trees launches.json --out trees.foretap",
        "make --base both.foretap --out again.foretap",
        "inspect both.foretap",
        "verify both.foretap",
        "diff student.foretap both.foretap --out update.patch",
        "apply student.foretap update.patch --out made.foretap",
    ] {
        run(folder.path(), command).unwrap_or_else(|error| panic!("{command}: {error}"));
    }
    let both = fs::read(at("both.foretap")).unwrap();
    assert_eq!(fs::read(at("made.foretap")).unwrap(), both);
    assert_eq!(fs::read(at("again.foretap")).unwrap(), both, "there was no router to leave out");
    let bundle = Bundle::from_bytes(&both).unwrap();
    assert_eq!((bundle.expert(), &bundle.parts().card["learned_from"]), (Expert::Student, &"nobody".into()));
    assert_eq!(Bundle::load(&at("trees.foretap")).unwrap().parts().task, Task::NextLaunch);
    assert!(
        fs::metadata(at("update.patch")).unwrap().len() < both.len() as u64 / 2,
        "the student is the same"
    );

    fs::write(at("cut.foretap"), &both[..both.len() - 1]).unwrap();
    for (command, expected) in [
        ("make --no-student --out x.foretap", "--trees"),
        ("make --trees launches.json --out x.foretap", "name a ranker of the same task"),
        ("make --card list.json --out x.foretap", "list.json, line 1: no JSON object"),
        ("make --out nowhere/x.foretap", "there is no folder"),
        ("verify cut.foretap", "the file is cut off"),
        ("inspect ranker.json", "not a foretap bundle"),
        ("apply both.foretap update.patch --out x.foretap", "update.patch"),
        ("apply student.foretap both.foretap --out x.foretap", "name a patch instead"),
        ("diff student.foretap missing.foretap --out x.foretap", "missing.foretap: cannot read"),
    ] {
        let error = run(folder.path(), command).unwrap_err();
        assert!(error.contains(expected), "{command}: {error}");
        assert!(!at("x.foretap").exists(), "{command}: nothing is left behind");
    }
}
