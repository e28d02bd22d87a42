//! The field's words: none of the private ones that stood here once comes back.

#![allow(clippy::unwrap_used)] // a failed step is a failed test

use std::fs;
use std::path::{Path, PathBuf};

/// Beginnings of words, and what the field says instead.
const PRIVATE: [(&str, &str); 31] = [
    ("prospect", "prior features"),
    ("motive", "launch attribution"),
    ("inclination", "propensity"),
    ("herald", "trigger"),
    ("liking", "preference"),
    ("own_accord", "spontaneous"),
    ("own accord", "spontaneous"),
    ("unprompted", "spontaneous"),
    ("tempts", "choice share"),
    ("foretell", "predict"),
    ("foretold", "predicted, explained"),
    ("foreseen", "expected"),
    ("voices", "expert log-probabilities"),
    ("syllabus", "dataset config"),
    ("phonelessons", "sequence dataset"),
    ("lessons", "data loader"),
    ("whole numbers", "integers, INT8"),
    ("pocket", "INT8, quantized"),
    ("read_ahead", "prefill"),
    ("read ahead", "prefill"),
    ("reads ahead", "prefill"),
    ("reading ahead", "prefill"),
    ("objection", "validation error"),
    ("optimum", "Bayes-optimal predictor, least possible"),
    ("situation::", "question features"),
    ("told in", "encoded, written, named"),
    ("habits::", "personalization"),
    ("with habits", "with personalization"),
    ("without habits", "without personalization"),
    ("contender", "tested predictor"),
    ("entrant", "checked predictor"),
];

/// Where such a word is meant as it stands.
const MEANT: [&str; 2] = ["\"Language Lessons\"", "use super::habits::"];

#[test]
fn private_words_stay_away() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("README.md")];
    for folder in ["src", "examples", "benches", "docs", "tests", "c/src", "checkpoints"] {
        collect(&root.join(folder), &mut files);
    }
    let mut found = Vec::new();
    for file in files.iter().filter(|file| !file.ends_with("tests/words.rs")) {
        let text = fs::read_to_string(file).unwrap();
        for (line, text) in
            text.lines().enumerate().filter(|(_, text)| !MEANT.iter().any(|meant| text.contains(meant)))
        {
            let lower = text.to_lowercase();
            for (word, instead) in PRIVATE.iter().filter(|(word, _)| begins_in(&lower, word)) {
                let place = file.strip_prefix(root).unwrap().display();
                found.push(format!("{place}:{}: `{word}`; say {instead}", line + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Whether `word` stands in `text` where a word or a part of an identifier begins.
fn begins_in(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| !text[..at].ends_with(char::is_alphanumeric))
}

/// The Rust and Markdown files under `folder`, without what peers install and build.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "md") {
            files.push(path);
        }
    }
}
