//! The journey in the module list is real: a module imports only from those before it.

#![allow(clippy::unwrap_used)] // a failed step is a failed test

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules in the order in which data passes through them.
const JOURNEY: [&str; 23] = [
    "error",
    "progress",
    "parallel",
    "storage",
    "data",
    "context",
    "inspect",
    "predict",
    "baseline",
    "gbdt",
    "ranker",
    "network",
    "transformer",
    "distill",
    "quantize",
    "router",
    "model",
    "bundle",
    "export",
    "evaluate",
    "conformance",
    "experiment",
    // The tour itself: `lib.rs` names them all.
    "lib",
];

/// The same inside each module that has children, in a row of its own. Names in one string share a room.
const ROOMS: [(&str, &[&str]); 16] = [
    ("storage", &["codec", "format", "atomic", "text", "toml_file", "vault"]),
    ("data", &["place", "event", "vocabulary", "privacy", "log", "split", "simulate"]),
    (
        "context",
        &["math", "task", "history", "question", "tokens", "replay", "replay_buffer", "training", "features"],
    ),
    ("inspect", &["statistics"]),
    ("baseline", &["bayes_optimal"]),
    (
        "gbdt",
        &[
            "config",
            "tree",
            "attach",
            "bins",
            "ensemble",
            "explain",
            "bitslice",
            "forest",
            "batch",
            "dataset",
            "table",
            "objective",
            "metric",
            "rounding",
            "block",
            "histogram",
            // A layout is chosen by the time that histograms take.
            "layout",
            "gain",
            "category",
            "split",
            "sample",
            "partition",
            "grow",
            "train",
        ],
    ),
    ("ranker", &["train"]),
    (
        "transformer",
        &[
            "weights",
            // Random batches measure every engine.
            "sample",
            "engine",
            // What engines are compared with.
            "reference",
            "native",
            "forward",
            "burn",
            "device",
            "schedule",
            "optimizer",
            "validate",
            "metrics",
            "curve",
            "tensors",
            "file",
            "import",
            "checkpoint",
            "run",
            "train",
            "dataset",
            "learn",
            "predictor",
            "pretrained",
        ],
    ),
    ("network", &["config", "layout", "columns_v1", "columns", "batch", "reader", "predictor"]),
    ("export", &["lightgbm", "xgboost", "model_card", "question", "network", "onnx", "coreml", "export_set"]),
    (
        "quantize",
        &[
            "kernel",
            "float",
            "model",
            "bytes",
            "scheme",
            "qat",
            "prepared",
            "attention",
            "mixture",
            "forward",
            "calibrate",
            "student",
            "trees",
        ],
    ),
    // A router makes all of them one, and a person asks it.
    (
        "router",
        &[
            "blend",
            "calibrate",
            "gate",
            "personal_trees",
            "personalization",
            "answer",
            "offline",
            "suggest",
            "newton",
            "model fit gate_labels person",
            "learn",
        ],
    ),
    ("model", &["save"]),
    ("bundle", &["container", "delta", "expert", "golden", "contents"]),
    (
        "evaluate",
        &[
            "figure",
            "expected",
            "metrics",
            "intervals",
            "replay",
            "latency",
            "routing",
            "as_shipped",
            "report",
            "text",
            "html",
        ],
    ),
    (
        "experiment",
        &[
            "method",
            "transformer",
            "ranker",
            "quantization",
            "routing",
            "round save",
            "check",
            "as_shipped",
            "compare",
            "benchmark",
        ],
    ),
];

#[test]
fn modules_import_only_from_modules_before_them() {
    let source = Path::new("src").to_path_buf();
    let (mut wrong, mut seen) = (Vec::new(), BTreeSet::new());
    for file in rust_files(&source) {
        let module = module_of(file.strip_prefix(&source).unwrap());
        let text = fs::read_to_string(&file).unwrap();
        seen.insert(module[0].clone());
        for (line, used) in imports(&module, &text) {
            if let Some(why) = breach(&module, &used) {
                wrong.push(format!("{}:{line}: {why}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let journey: BTreeSet<String> = JOURNEY.map(str::to_owned).into();
    assert_eq!((journey.len(), &journey), (JOURNEY.len(), &seen), "JOURNEY and the modules that are there");
}

#[test]
fn each_module_with_children_has_one_row_that_names_them_all() {
    let source = Path::new("src");
    let mut there: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in rust_files(source) {
        if let [module, child, ..] = &module_of(file.strip_prefix(source).unwrap())[..] {
            there.entry(module.clone()).or_default().insert(child.clone());
        }
    }
    let mut wrong = Vec::new();
    for (place, (module, rooms)) in ROOMS.iter().enumerate() {
        if ROOMS[..place].iter().any(|(earlier, _)| earlier == module) {
            wrong.push(format!("`{module}` has two rows: the second one is never read"));
        }
        let children = there.get(*module);
        let mut named = BTreeSet::new();
        for name in rooms.iter().flat_map(|room| room.split(' ')) {
            if !children.is_some_and(|children| children.contains(name)) {
                wrong.push(format!("`{module}::{name}` is no file and no folder"));
            }
            if !named.insert(name) {
                wrong.push(format!("`{module}::{name}` has two places"));
            }
        }
    }
    for (module, children) in &there {
        match ROOMS.iter().find(|(name, _)| name == module) {
            None => wrong.push(format!("`{module}` has children, but no row")),
            Some((_, rooms)) => {
                let is_named =
                    |child: &&String| rooms.iter().any(|room| room.split(' ').any(|n| n == *child));
                let unnamed = children.iter().filter(|child| !is_named(child));
                wrong.extend(unnamed.map(|child| format!("`{module}::{child}` has no place")));
            }
        }
    }
    assert!(!there.is_empty() && wrong.is_empty(), "ROOMS, in tests/layers.rs: {}", wrong.join("\n"));
}

/// A newcomer finds a place by the tour in `lib.rs`: it names every module, and what each folder holds.
#[test]
fn the_tour_names_every_module() {
    let text = fs::read_to_string("src/lib.rs").unwrap();
    let tour = text.split("# The tour").nth(1).unwrap().split("# Cargo features").next().unwrap();
    let words: BTreeSet<&str> = tour.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let children = ROOMS.iter().flat_map(|(_, rooms)| rooms.iter()).flat_map(|room| room.split(' '));
    let modules = JOURNEY.iter().copied().filter(|module| *module != "lib");
    let missing: Vec<&str> = modules.chain(children).filter(|name| !words.contains(name)).collect();
    assert!(missing.is_empty(), "the tour in src/lib.rs lacks {missing:?}");
}

/// Why `module` may not use `used`, both as paths from the crate's root.
fn breach(module: &[String], used: &[String]) -> Option<String> {
    let rank = |name: &String| JOURNEY.iter().position(|m| m == name);
    let (Some(own), Some(other)) = (module.first(), used.first()) else { return None };
    if own == "lib" {
        return None;
    }
    let Some(own_rank) = rank(own) else {
        return Some(format!("`{own}` has no place in JOURNEY, in tests/layers.rs"));
    };
    if own != other {
        // What `lib.rs` hands on (`crate::Result`) is used from where it is made.
        let before = rank(other).is_some_and(|other_rank| other_rank < own_rank);
        return (!before).then(|| format!("`{own}` uses `{other}`, which does not come before it"));
    }
    let (child, sibling) = (module.get(1)?, used.get(1)?);
    let Some((_, rooms)) = ROOMS.iter().find(|(name, _)| name == own) else {
        return Some(format!("`{own}` has children, but no row in ROOMS, in tests/layers.rs"));
    };
    let room = |name: &String| rooms.iter().position(|room| room.split(' ').any(|n| n == name));
    let Some(child_rank) = room(child) else {
        return Some(format!("`{own}::{child}` has no place in ROOMS, in tests/layers.rs"));
    };
    // What is no room is an item that the parent hands on.
    let later = room(sibling).is_some_and(|rank| rank > child_rank);
    later.then(|| format!("`{own}::{child}` uses its later sibling `{sibling}`"))
}

/// The paths that `text`, of `module`, uses within the crate, from the crate's root, each with its line. Comments
/// are free to name anything.
fn imports(module: &[String], text: &str) -> Vec<(usize, Vec<String>)> {
    let code: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let code = code.join("\n");
    let mut found = Vec::new();
    for (start, _) in code.match_indices("crate::").chain(code.match_indices("super::")) {
        let before = code[..start].chars().next_back();
        // `foo_crate::`, or the second half of `super::super::`, which the first one reads.
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let line = code[..start].matches('\n').count() + 1;
        let mut base = Vec::new();
        let mut rest = &code[start..];
        if let Some(after) = rest.strip_prefix("crate::") {
            rest = after;
        } else {
            base = module.to_vec();
            if code[..start].contains("\nmod tests {") {
                base.push("tests".to_owned());
            }
            while let Some(after) = rest.strip_prefix("super::") {
                base.pop();
                rest = after;
            }
        }
        for path in paths(rest) {
            found.push((line, [base.clone(), path].concat()));
        }
    }
    found
}

/// The paths that `text` begins with: one, or as many as its braces hold.
fn paths(text: &str) -> Vec<Vec<String>> {
    if let Some(group) = text.strip_prefix('{') {
        return pieces(group).into_iter().flat_map(paths).collect();
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let deeper = rest.strip_prefix("::").map(paths).filter(|deeper| !deeper.is_empty());
    let ends = || if name.is_empty() { Vec::new() } else { vec![Vec::new()] };
    deeper.unwrap_or_else(ends).into_iter().map(|path| [vec![name.to_owned()], path].concat()).collect()
}

/// What stands between the commas of a group, up to its closing brace.
fn pieces(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (position, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                found.push(group[start..position].trim());
                start = position + 1;
                if character == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    found
}

fn module_of(file: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        file.with_extension("").iter().map(|name| name.to_string_lossy().into_owned()).collect();
    if names.last().is_some_and(|name| name == "mod") {
        names.pop();
    }
    names
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn imports_are_read_however_they_are_written() {
    let module = ["data".to_owned(), "log".to_owned(), "write".to_owned()];
    let text = "use crate::{error::{Error, Result}, storage};\n\
                // use crate::ranker;\n\
                use super::super::event::{self, AppId};\n\
                let x = crate::predict::first::<u8>(my_crate::other::f());\n\
                use crate::data::{\n    place, Log,\n};\n\
                mod tests {\n    use super::Log;\n    use super::super::lines;\n}";
    let mut found: Vec<(usize, String)> =
        imports(&module, text).into_iter().map(|(line, path)| (line, path.join("::"))).collect();
    found.sort();
    let expected = [
        (1, "error::Error"),
        (1, "error::Result"),
        (1, "storage"),
        (3, "data::event::AppId"),
        (3, "data::event::self"),
        (4, "predict::first"),
        (5, "data::Log"),
        (5, "data::place"),
        (9, "data::log::write::Log"),
        (10, "data::log::lines"),
    ];
    assert_eq!(found, expected.map(|(line, path)| (line, path.to_owned())));
}

#[test]
fn what_is_objected_to() {
    struct Case {
        module: &'static str,
        used: &'static str,
        allowed: bool,
    }
    let case = |module, used, allowed| Case { module, used, allowed };
    let cases = [
        case("data::log", "error::Error", true),
        case("data::log", "context::History", false),
        case("error", "progress", false),
        case("data::split", "data::log", true),
        case("data::log::write", "data::simulate", false),
        case("data::log::write", "data::Log", true),
        case("data::event", "data::place", true),
        case("data::event", "data::vocabulary", false),
        case("data::extra", "data::event", false),
        case("predict::extra", "predict::Prediction", false),
        case("experiment::transformer", "experiment::round", false),
        case("export::onnx", "export::export_set", false),
        case("ranker", "Result", false),
        case("nowhere", "error", false),
        case("gbdt::grow", "gbdt::train", false),
        case("gbdt::grow", "gbdt::config", true),
        case("lib", "ranker", true),
    ];
    for Case { module, used, allowed } in cases {
        let path = |text: &str| text.split("::").map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(breach(&path(module), &path(used)).is_none(), allowed, "{module} uses {used}");
    }
}
