//! Every number of `src/context` and `src/router` says where it comes from, and `docs/constants.md` lists all of them.

#![allow(clippy::unwrap_used)] // a failed step is a failed test

use std::fs;
use std::path::{Path, PathBuf};

/// How a comment begins to say where a number comes from.
const SOURCE: &str = "Source";

/// A constant number.
#[derive(Debug, PartialEq)]
struct Constant {
    name: String,
    /// As the source has it.
    value: String,
    /// The comment above it.
    comment: String,
}

#[test]
fn every_constant_says_where_it_comes_from() {
    let page = fs::read_to_string("docs/constants.md").unwrap();
    let mut wrong = Vec::new();
    let mut known = Vec::new();
    for (file, text) in sources() {
        for Constant { name, value, comment } in constants(&text) {
            let row = format!("| `{name}` | `{file}` | `{value}` |");
            known.push(row.clone());
            if !comment.contains(SOURCE) {
                wrong.push(format!("{file}: the comment of {name} names no source"));
            }
            // What is a matter of units says all in its comment, unless it refers to the page.
            let is_said = comment.contains("Source: units") && !comment.contains("docs/constants.md");
            if !is_said && !page.contains(&row) {
                wrong.push(format!("docs/constants.md lacks a row that begins with {row}"));
            }
        }
    }
    for row in page.lines().filter(|line| line.starts_with("| `") && line.contains(".rs` | `")) {
        if !known.iter().any(|known| row.starts_with(known)) {
            wrong.push(format!("docs/constants.md lists what is not there: {row}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(known.len() > 60, "{} constants were found", known.len());
}

/// The files by their names below `src`, each without its tests.
fn sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for folder in ["src/context", "src/router"] {
        collect(Path::new(folder), &mut files);
    }
    files.sort();
    let without_tests = |text: String| text.split("\n#[cfg(test)]\n").next().unwrap_or_default().to_owned();
    let name = |file: &PathBuf| {
        let names: Vec<String> =
            file.iter().skip(1).map(|name| name.to_string_lossy().into_owned()).collect();
        names.join("/")
    };
    files.iter().map(|file| (name(file), without_tests(fs::read_to_string(file).unwrap()))).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The constants of `text` that are numbers.
fn constants(text: &str) -> Vec<Constant> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some((before, _)) = line.split_once("const ") else { continue };
        if !before.is_empty() && !before.starts_with("pub") {
            continue;
        }
        // A long one ends on a later line.
        let end = at + lines[at..].iter().position(|line| line.ends_with(';')).unwrap_or_default();
        let item = lines[at..=end].join(" ");
        let declaration = item[before.len()..].trim_start_matches("const ").trim_end_matches(';');
        let Some(((name, kind), value)) =
            declaration.split_once(" = ").and_then(|(left, value)| Some((left.split_once(": ")?, value)))
        else {
            continue;
        };
        let numbers = ["u8", "u16", "u32", "u64", "usize", "i32", "i64", "f32", "f64"];
        let is_number = numbers.iter().any(|number| kind.contains(number)) && !kind.contains('&');
        // A count made of other counts is no choice.
        let is_sum = kind.contains("usize") && value.chars().any(|c| c.is_ascii_uppercase());
        if is_number && !is_sum && value.chars().any(|c| c.is_ascii_digit()) {
            let above = lines[..at].iter().rev();
            let mut comment: Vec<&str> = above
                .take_while(|line| line.starts_with("//") || line.starts_with("#["))
                .copied()
                .filter(|line| line.starts_with("//"))
                .collect();
            comment.reverse();
            found.push(Constant {
                name: name.to_owned(),
                value: value.to_owned(),
                comment: comment.join(" "),
            });
        }
    }
    found
}

#[test]
fn constants_are_found_however_they_are_written() {
    let text = "/// Seconds.\n#[cfg(x)]\npub(super) const SECS: i64 = 2 * 3600;\n\
                const TEXT: &str = \"1\";\n    const WIDE: [f32; 2] = [0.5, 25.0];\n\
                // Two.\nconst LONG: [[f32; 2]; 2] =\n    [[1.0, 2.0], [3.0, 4.0]];\n\
                const SUM: usize = A + 1;\nconst fn one() -> u8 { 1 }\nconst NAMES: [&str; 1] = [\"a\"];\n";
    let found: Vec<(String, String, String)> =
        constants(text).into_iter().map(|c| (c.name, c.value, c.comment)).collect();
    let expected = [
        ("SECS", "2 * 3600", "/// Seconds."),
        ("WIDE", "[0.5, 25.0]", ""),
        ("LONG", "[[1.0, 2.0], [3.0, 4.0]]", "// Two."),
    ];
    assert_eq!(found, expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
}
