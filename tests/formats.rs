//! Models of other engines: what LightGBM and XGBoost trained answers here as it did there, what goes out and comes
//! back is the same model, and what is damaged is refused by name.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside of test functions too: a failed step is a failed test

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use foretap::export::{lightgbm, read_model, xgboost};
use foretap::gbdt::{Child, Ensemble, SplitCondition, SplitNode, Tree};
use foretap::{ErrorKind, Result};
use proptest::prelude::*;
use serde::Deserialize;

/// Models that `tests/samples/models/make.py` made with LightGBM 4.7.0, XGBoost 3.2.0 and 2.1.4, and their answers.
#[derive(Deserialize)]
struct Answers {
    rows: Vec<[Option<f32>; COLUMNS]>,
    /// By file, row-major `[rows, outputs]`.
    scores: std::collections::BTreeMap<String, Vec<f64>>,
}

const COLUMNS: usize = 4;

static ANSWERS: LazyLock<Answers> = LazyLock::new(|| serde_json::from_str(&sample("answers.json")).unwrap());

fn folder() -> PathBuf {
    Path::new("tests/samples/models").to_path_buf()
}

fn sample(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

/// One of the two formats.
#[derive(Clone, Copy)]
struct Format {
    read: fn(&str) -> Result<Ensemble>,
    write: fn(&Ensemble) -> Result<String>,
}

const LIGHTGBM: Format = Format { read: lightgbm::read, write: lightgbm::write };
const XGBOOST: Format = Format { read: xgboost::read, write: xgboost::write };

fn format_of(file: &str) -> Format {
    if file.starts_with("lightgbm") { LIGHTGBM } else { XGBOOST }
}

fn rows() -> Vec<f32> {
    ANSWERS.rows.iter().flatten().map(|value| value.unwrap_or(f32::NAN)).collect()
}

fn scores(model: &Ensemble, rows: &[f32]) -> Vec<f64> {
    let mut scores = vec![0.0; rows.len() / model.columns() * model.outputs()];
    model.score(rows, &mut scores);
    scores
}

#[test]
fn models_of_other_engines_answer_as_they_did_there() {
    let expected = [
        ("lightgbm_binary.txt", "binary", 1),
        ("lightgbm_multiclass.txt", "multiclass", 3),
        ("lightgbm_ranking.txt", "lambdarank", 1),
        ("lightgbm_regression.txt", "squared-error", 1),
        ("xgboost_binary.json", "binary", 1),
        ("xgboost_dart.ubj", "squared-error", 1),
        ("xgboost_multiclass.json", "multiclass", 3),
        ("xgboost_multiclass_2.json", "multiclass", 3),
        ("xgboost_ranking.json", "lambdarank", 1),
        ("xgboost_regression.json", "squared-error", 1),
    ];
    assert!(ANSWERS.scores.keys().eq(expected.iter().map(|(file, ..)| file)));
    for (file, objective, outputs) in expected {
        let import = read_model(&folder().join(file)).unwrap();
        let model = import.ensemble;
        assert!(import.notes.is_empty());
        assert_eq!((model.objective.as_str(), model.outputs()), (objective, outputs), "{file}");
        // LightGBM sums in 64 bits, as we do; XGBoost in 32.
        let allowed = if file.starts_with("lightgbm") { 0.0 } else { 1e-6 };
        for (row, (ours, theirs)) in scores(&model, &rows()).iter().zip(&ANSWERS.scores[file]).enumerate() {
            assert!((ours - theirs).abs() <= allowed, "{file}, score {row}: {ours}, there {theirs}");
        }
        for format in [LIGHTGBM, XGBOOST] {
            let again = (format.read)(&(format.write)(&model).unwrap()).unwrap();
            for (before, after) in scores(&model, &rows()).iter().zip(scores(&again, &rows())) {
                // LightGBM's leaf values have 64 bits, XGBoost's 32.
                assert!((before - after).abs() < 1e-6, "{file}: {before} {after}");
            }
        }
    }
}

/// A tree with each kind of split that a format has no exact word for.
fn curious() -> Ensemble {
    let split = |feature, test, missing_left, left, right| SplitNode {
        feature,
        test,
        missing_left,
        gain: 1.5,
        left,
        right,
    };
    let (node, leaf) = (Child::Split, Child::Leaf);
    let tree = Tree {
        splits: vec![
            split(1, SplitCondition::Categories(vec![0, 3, 40]), true, node(1), node(2)),
            split(0, SplitCondition::Threshold(0.0), true, leaf(0), node(3)),
            split(3, SplitCondition::Categories(vec![]), true, leaf(1), node(4)),
            split(0, SplitCondition::Threshold(f32::MAX), false, leaf(2), leaf(3)),
            split(2, SplitCondition::Threshold(f32::MIN), true, leaf(4), node(5)),
            split(2, SplitCondition::Threshold(0.1), false, leaf(5), leaf(6)),
        ],
        leaf_values: [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0].into(),
        leaf_cover: vec![3.0; 7],
    };
    let names = ["hour", "place", "gap_secs", "network"].map(str::to_owned).to_vec();
    Ensemble {
        objective: "custom".into(),
        features: names,
        base: vec![0.5],
        trees: vec![tree, Tree::constant(0.25, 2.0)],
    }
}

#[test]
fn curious_splits_come_back() {
    let model = curious();
    let values = [
        vec![f32::NAN, 0.0, -0.0, -2e-35, 2e-35, f32::MAX, f32::MIN],
        vec![f32::NAN, 0.0, 3.0, 3.9, 4.0, 40.0, 41.0, -1.0, 1e9],
        vec![f32::NAN, 0.1, 0.1_f32.next_up(), f32::MIN, f32::MIN.next_up()],
        vec![f32::NAN, 0.0, 5.0],
    ];
    let mut rows = Vec::new();
    for index in 0..values.iter().map(Vec::len).product::<usize>() {
        let mut rest = index;
        for values in &values {
            rows.push(values[rest % values.len()]);
            rest /= values.len();
        }
    }
    for (name, format) in [("lightgbm", LIGHTGBM), ("xgboost", XGBOOST)] {
        let text = (format.write)(&model).unwrap();
        let back = (format.read)(&text).unwrap();
        let expected = scores(&model, &rows);
        for ((row, after), before) in rows.chunks(COLUMNS).zip(scores(&back, &rows)).zip(expected) {
            assert_eq!(after, before, "{name}: {row:?}");
        }
        assert_eq!(back.features, model.features);
        assert_eq!((format.write)(&back).unwrap(), text, "{name}");
    }
}

#[test]
fn files_are_named_in_errors() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.json");
    xgboost::write_file(&curious(), &file).unwrap();
    assert_eq!(xgboost::read_file(&file).unwrap().features, curious().features);
    let error = lightgbm::read_file(&file).unwrap_err();
    assert_eq!((error.kind(), error.line_number()), (ErrorKind::Model, Some(1)));
    assert!(error.to_string().contains("model.json, line 1: this is not a LightGBM text model"), "{error}");
    lightgbm::write_file(&curious(), &file).unwrap();
    assert_eq!(lightgbm::read_file(&file).unwrap().features, curious().features);
    fs::write(&file, b"\xff\xfe{").unwrap();
    assert!(
        xgboost::read_file(&file).unwrap_err().to_string().contains("model.json: this is not text in UTF-8")
    );
    let missing = lightgbm::read_file(&folder.path().join("none.txt")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Io);
}

/// Files as editors, other systems and other versions leave them, and what is said of them.
#[test]
fn unusual_files_are_read_and_what_was_decided_is_said() {
    let lightgbm = sample("lightgbm_regression.txt");
    let line = |text: &str, key: &str| text.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    let lightgbm_with = |key: &str, new: &str| {
        let sizeless = lightgbm.replace("tree_sizes=", "sizes=");
        sizeless.replacen(&line(&sizeless, key), new, 1)
    };
    let xgboost = sample("xgboost_regression.json");
    let xgboost_with = |old: &str, new: &str| {
        assert!(xgboost.contains(old), "{old}");
        xgboost.replacen(old, new, 1)
    };
    let best = "\"attributes\":{\"best_iteration\":\"1\"}";
    let best_of_scikit = "\"attributes\":{\"best_iteration\":\"1\",\"scikit_learn\":\"{}\"}";
    let cases = [
        ("lines of Windows", lightgbm.replace('\n', "\r\n"), 3, ""),
        ("a byte order mark", format!("\u{feff}{lightgbm}"), 3, ""),
        ("both", format!("\u{feff}{}", lightgbm.replace('\n', "\r\n")), 3, ""),
        ("JSON with a mark", format!("\u{feff}{xgboost}"), 3, ""),
        ("infinite gains", lightgbm_with("split_gain=", "split_gain=inf -inf 1e300 2 inf"), 3, ""),
        ("a name with an equals sign", lightgbm.replace("feature_names=", "feature_names=a=b="), 3, ""),
        (
            "an objective without a namesake",
            lightgbm.replace("=regression", "=poisson"),
            3,
            "`poisson` has no namesake",
        ),
        (
            "categories of a data frame",
            format!("{lightgbm}\npandas_categorical:[[\"a\"]]\n"),
            3,
            "a category is its number in the model",
        ),
        ("no categories in a data frame", format!("{lightgbm}\npandas_categorical:[]\n"), 3, ""),
        ("version 2", xgboost_with("\"version\":[3", "\"version\":[2"), 3, ""),
        ("version 1.7", xgboost_with("\"version\":[3,2", "\"version\":[1,7"), 3, ""),
        (
            "another objective of theirs",
            xgboost_with("reg:squarederror", "reg:absoluteerror"),
            3,
            "`output_margin`",
        ),
        ("early stopping", xgboost_with("\"attributes\":{}", best), 3, "all 3 rounds are used"),
        (
            "early stopping, scikit-learn",
            xgboost_with("\"attributes\":{}", best_of_scikit),
            2,
            "up to `best_iteration` 1",
        ),
        ("the last is best", xgboost_with("\"attributes\":{}", &best.replace('1', "2")), 3, ""),
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model");
    for (what, text, trees, note) in cases {
        fs::write(&file, text).unwrap();
        let import = read_model(&file).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(import.ensemble.trees.len(), trees, "{what}");
        let notes = import.notes.join("; ");
        assert!(notes.contains(note) && notes.is_empty() == note.is_empty(), "{what}: {notes}");
    }
}

/// XGBoost 3.2 writes `dart` beside its trees (`xgboost_dart.ubj`); later versions among them.
#[test]
fn factors_multiply_the_first_trees() {
    let plain = sample("xgboost_regression.json");
    let with = |factors: &str| {
        xgboost::read(&plain.replacen("\"trees\":", &format!("\"weight_drop\":{factors},\"trees\":"), 1))
    };
    let (before, after) = (xgboost::read(&plain).unwrap(), with("[0.5,2]").unwrap());
    for ((before, after), factor) in before.trees.iter().zip(&after.trees).zip([0.5, 2.0, 1.0]) {
        assert!(before.leaf_values.iter().map(|value| value * factor).eq(after.leaf_values.iter().copied()));
    }
    let error = with("[1,1,1,1]").unwrap_err().to_string();
    assert!(error.contains("field `weight_drop`: 4 factors for 3 trees; save"), "{error}");
    assert!(with("[1e99]").is_err() && with("[null]").is_err());
}

/// `nextafter(-inf)`: LightGBM's threshold between negative infinity and all else.
#[test]
fn negative_infinity_has_a_side_of_its_own() {
    let text = sample("lightgbm_regression.txt").replace("tree_sizes=", "sizes=");
    for threshold in ["-1.7976931348623157e+308", "-inf", "-1e39"] {
        let tree = "Tree=0\nnum_leaves=2\nnum_cat=0\nsplit_feature=0\nsplit_gain=inf\ndecision_type=2\n\
                    left_child=-1\nright_child=-2\nleaf_value=1 2\nleaf_count=1 1\nis_linear=0\n";
        let (head, _) = text.split_once("Tree=0").unwrap();
        let text = format!("{head}{tree}threshold={threshold}\nend of trees\n");
        let model = lightgbm::read(&text).unwrap();
        let row = |value| [value, 0.0, 0.0, 0.0];
        let rows = [f32::NEG_INFINITY, f32::MIN.next_up(), 0.0, f32::NAN, f32::INFINITY].map(row);
        assert_eq!(scores(&model, rows.as_flattened()), [1.0, 2.0, 2.0, 2.0, 2.0], "{threshold}");
    }
}

#[test]
fn dumps_are_refused_with_what_to_save_instead() {
    let dumps = [
        // `Booster.dump_model` of LightGBM, as JSON.
        r#"{"name":"tree","version":"v4","num_class":1,"tree_info":[{"tree_index":0,"tree_structure":{}}]}"#,
        // `Booster.dump_model(.., dump_format="json")` and `json.dumps(Booster.get_dump())` of XGBoost.
        "[\n  { \"nodeid\": 0, \"leaf\": 0.5 }\n]",
        r#"["{ \"nodeid\": 0, \"leaf\": 0.5 }"]"#,
        // One entry of `get_dump(dump_format="json")`, and its text.
        r#"  { "nodeid": 0, "depth": 0, "split": "f0", "children": []}"#,
        "booster[0]:\n0:[f0<0.5] yes=1,no=2,missing=1\n",
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dump.json");
    for dump in dumps {
        fs::write(&file, dump).unwrap();
        let errors = [
            read_model(&file).map(|_| ()),
            lightgbm::read(dump).map(|_| ()),
            xgboost::read(dump).map(|_| ()),
        ];
        for error in errors.map(Result::unwrap_err) {
            let message = error.to_string();
            assert!(
                message.contains("a dump of trees") && message.contains("by `save_model`"),
                "{dump}: {message}"
            );
        }
        assert!(read_model(&file).unwrap_err().to_string().contains("dump.json"));
    }
}

#[test]
fn damaged_text_is_refused_by_line_and_key() {
    let text = sample("lightgbm_regression.txt").replace("tree_sizes=", "sizes=");
    assert!(lightgbm::read(&text).is_ok());
    // A line that is there, its replacement, and what the error says.
    let cases = [
        ("tree", "forest", "is not a LightGBM text model"),
        ("version=", "version=v5", "version v5, but this build reads v3 and v4"),
        ("version=", "", "a line is missing here"),
        ("max_feature_idx=", "max_feature_idx=9", "4 names for features 0 to 9"),
        ("max_feature_idx=", "max_feature_idx=9223372036854775807", "4 names"),
        ("num_tree_per_iteration=", "num_tree_per_iteration=0", "3 trees do not make up 0 outputs"),
        ("num_tree_per_iteration=", "num_tree_per_iteration=2", "3 trees do not make up 2 outputs"),
        ("num_tree_per_iteration=", "num_tree_per_iteration=99999999999", "99999999999 outputs"),
        ("label_index=", "average_output", "random forest"),
        ("sizes=", "tree_sizes=1 2 3", "but `tree_sizes` says 1"),
        ("sizes=", "tree_sizes=1", "1 numbers, where 3 belong"),
        ("Tree=0", "Tree=1", "`Tree=1` stands where `Tree=0` should"),
        ("num_leaves=", "num_leaves=0", "without leaves"),
        ("num_leaves=", "num_leaves=99999999999", "6 numbers, where 99999999999 belong"),
        ("num_leaves=", "num_leaves=99999999999999999999", "no number that belongs here"),
        ("num_cat=", "num_cat=0", "no list 0 of categories"),
        ("num_cat=", "num_cat=18446744073709551615", "where 18446744073709551615 belong"),
        ("split_feature=", "split_feature=1 2 4 1 3", "split 2 asks for feature 4 of 4"),
        ("split_feature=", "split_feature=1 2 -1 1 3", "`-1` is no number that belongs here"),
        ("threshold=", "threshold=nan nan nan nan nan", "no"),
        ("decision_type=", "decision_type=4 5 4 5 4", "train with `zero_as_missing=false`"),
        ("decision_type=", "decision_type=13 13 13 13 13", "no list"),
        ("decision_type=", "decision_type=12 12 12 12 12", "decisions of type 12 are not known"),
        ("left_child=", "left_child=0 0 0 0 0", "leads nowhere"),
        ("left_child=", "left_child=-9223372036854775808 0 0 0 0", "leads nowhere"),
        ("leaf_value=", "leaf_value=1 2 3 4 5", "5 numbers, where 6 belong"),
        ("leaf_value=", "leaf_value=1 2 3 4 5 inf", "a leaf value is not finite"),
        ("leaf_count=", "leaf_count=1 2 3 4 5 -6", "`-6` is no number"),
        ("split_gain=", "split_gain=1 2 3 4 nan", "a gain is no number"),
        ("cat_boundaries=", "cat_boundaries=0", "1 numbers, where"),
        ("is_linear=", "is_linear=1", "linear_tree=false"),
        ("leaf_weight=", "leaf_value=1", "`leaf_value` for the second time"),
        ("end of trees", "", "cut off"),
    ];
    for (key, edited, expected) in cases {
        let old = text.lines().find(|line| line.starts_with(key)).unwrap();
        let damaged = text.replacen(&format!("{old}\n"), &format!("{edited}\n"), 1);
        let error = lightgbm::read(&damaged).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(expected) && message.contains("; "), "{edited}: {message}");
        assert!(error.line_number().is_some() || expected == "cut off", "{edited}: {message}");
    }
}

#[test]
fn damaged_json_is_refused_by_field() {
    let text = sample("xgboost_regression.json");
    assert!(xgboost::read(&text).is_ok());
    let cases = [
        ("{\"learner\"", "{\"teacher\"", "missing field `learner`"),
        ("\"version\":[3", "\"version\":[4", "version [4, 2, 0], but this build reads 1.7, 2"),
        ("\"version\":[3,2", "\"version\":[1,6", "version [1, 6, 0], but this build reads 1.7, 2"),
        ("\"name\":\"gbtree\"", "\"name\":\"gblinear\"", "the booster is `gblinear`"),
        ("\"name\":\"gbtree\"", "\"name\":\"dart\"", "there are no trees"),
        ("\"attributes\":{}", "\"attributes\":{\"best_iteration\":\"x\"}", "field `learner.attributes.best"),
        ("\"num_parallel_tree\":\"1\"", "\"num_parallel_tree\":\"-1\"", "field `num_parallel_tree`"),
        ("\"name\":\"reg:squarederror\"", "\"name\":\"reg:cubic\"", "`reg:cubic`: how its base score"),
        ("\"num_trees\":\"3\"", "\"num_trees\":\"4000000000\"", "3 and 3 entries for 4000000000 trees"),
        ("\"tree_info\":[0,0,0]", "\"tree_info\":[0,0]", "3 and 2 entries"),
        ("\"tree_info\":[0,0,0]", "\"tree_info\":[0,1,0]", "output 1 of 1"),
        ("\"num_feature\":\"4\",\"num_target\"", "\"num_feature\":\"1\",\"num_target\"", "of 1"),
        ("\"num_feature\":\"4\",\"num_target\"", "\"num_feature\":\"99999999999\",\"num_target\"", "at most"),
        ("\"num_class\":\"0\"", "\"num_class\":\"9000000000\"", "3 trees for 9000000000 outputs"),
        ("\"num_class\":\"0\"", "\"num_class\":\"x\"", "field `num_class`: `x` is no number"),
        ("\"base_score\":\"[", "\"base_score\":\"[1E0,", "2 scores and 3 trees for 1 outputs"),
        ("\"size_leaf_vector\":\"1\"", "\"size_leaf_vector\":\"3\"", "each leaf holds 3 values"),
        ("\"left_children\":[1", "\"left_children\":[0", "node 0 has the children 0 and 2"),
        ("\"left_children\":[1", "\"left_children\":[-1", "node 0 has the children -1 and 2"),
        ("\"left_children\":[1", "\"left_children\":[1,1", "where each node has one"),
        ("\"left_children\":[1", "\"left_children\":[2147483647", "node 0 has the children 2147483647 and 2"),
        ("\"left_children\":[1", "\"left_children\":[2147483648", "invalid value"),
        ("\"default_left\":[", "\"default_left\":[7,", "expected 0 or 1"),
        ("\"split_type\":[", "\"split_type\":[0,", "where each node has one"),
        ("\"split_conditions\":[", "\"split_conditions\":[1e999,", "out of range"),
        ("\"split_conditions\":[", "\"split_conditions\":[NaN,", "where each node has one"),
        (
            "\"split_conditions\":[7.5001E-1",
            "\"split_conditions\":[NaN",
            "threshold of split 0 is not finite",
        ),
        ("\"categories_segments\":[0", "\"categories_segments\":[1", "fits no node"),
        (
            "\"categories_sizes\":[",
            "\"categories_sizes\":[18446744073709551615,",
            "without a beginning or a size",
        ),
        ("\"categories_nodes\":[", "\"categories_nodes\":[1000,", "without a beginning or a size"),
        ("\"categories\":[", "\"categories\":[-1,", "invalid value"),
        ("\"split_type\":[0,1", "\"split_type\":[0,0", "do not match"),
        ("\"categories_nodes\":[1", "\"categories_nodes\":[9000", "fits no node"),
    ];
    for (old, new, expected) in cases {
        assert!(text.contains(old), "{old}");
        let error = xgboost::read(&text.replacen(old, new, 1)).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(expected) && message.contains("; "), "{new}: {message}");
        assert_eq!(error.kind(), ErrorKind::Model);
    }
}

#[test]
fn what_a_format_cannot_say_is_not_written() {
    let edited = |edit: fn(&mut Ensemble)| {
        let mut model = curious();
        edit(&mut model);
        model
    };
    let cases = [
        (
            LIGHTGBM,
            edited(|m| m.trees[0].splits[0].test = SplitCondition::Categories(vec![1 << 24])),
            "category 16777216",
        ),
        (
            XGBOOST,
            edited(|m| m.trees[0].splits[0].test = SplitCondition::Categories(vec![1 << 24])),
            "category 16777216",
        ),
        (XGBOOST, edited(|m| m.trees[0].leaf_values[0] = 1e39), "32-bit float"),
        (XGBOOST, edited(|m| m.base[0] = 1e39), "32-bit float"),
        (LIGHTGBM, edited(|m| (m.base[0], m.trees[0].leaf_values[0]) = (f64::MAX, f64::MAX)), "add up"),
        (LIGHTGBM, edited(|m| m.features[0] = "a\tb".into()), "feature name `a"),
        (LIGHTGBM, edited(|m| m.features[0] = "a:b".into()), "feature name `a:b`"),
        (LIGHTGBM, edited(|m| m.features[0] = "a b".into()), "feature name `a b`"),
        (XGBOOST, edited(|m| m.features[0] = "a[0]".into()), "feature name `a[0]`"),
    ];
    for (format, model, expected) in cases {
        let message = (format.write)(&model).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn objectives_have_counterparts() {
    struct Case {
        ours: &'static str,
        lightgbm: &'static str,
        from_lightgbm: &'static str,
        xgboost: &'static str,
        from_xgboost: &'static str,
    }
    let case = |ours, lightgbm, from_lightgbm, xgboost, from_xgboost| Case {
        ours,
        lightgbm,
        from_lightgbm,
        xgboost,
        from_xgboost,
    };
    let cases = [
        case("candidate-softmax", "objective=lambdarank", "lambdarank", "rank:ndcg", "lambdarank"),
        case("lambdarank", "objective=lambdarank", "lambdarank", "rank:ndcg", "lambdarank"),
        case("xendcg", "objective=rank_xendcg", "xendcg", "rank:ndcg", "lambdarank"),
        case("binary", "objective=binary sigmoid:1", "binary", "binary:logistic", "binary"),
        case("multiclass", "objective=multiclass num_class:2", "multiclass", "multi:softprob", "multiclass"),
        case("squared-error", "objective=regression", "squared-error", "reg:squarederror", "squared-error"),
        case("custom", "feature_names", "custom", "reg:squarederror", "squared-error"),
        case("log-cosh", "feature_names", "custom", "reg:squarederror", "squared-error"),
    ];
    for case in cases {
        let outputs = if case.ours == "multiclass" { 2 } else { 1 };
        let model = Ensemble {
            objective: case.ours.to_owned(),
            base: vec![0.0; outputs],
            ..Ensemble::new(vec![Tree::constant(1.0, 1.0); 2], 1)
        };
        let text = lightgbm::write(&model).unwrap();
        assert!(text.lines().nth(6).unwrap().starts_with(case.lightgbm), "{}: {text}", case.ours);
        assert_eq!(lightgbm::read(&text).unwrap().objective, case.from_lightgbm);
        let text = xgboost::write(&model).unwrap();
        assert!(text.contains(&format!("\"name\":\"{}\"", case.xgboost)), "{}: {text}", case.ours);
        assert_eq!(xgboost::read(&text).unwrap().objective, case.from_xgboost);
    }
    let steep = sample("lightgbm_binary.txt").replace("sigmoid:1\n", "sigmoid:2\n");
    assert_eq!(lightgbm::read(&steep).unwrap().objective, "custom");
    let two = Ensemble { base: vec![0.0; 2], ..Ensemble::new(vec![Tree::constant(1.0, 1.0); 2], 1) };
    for format in [LIGHTGBM, XGBOOST] {
        let back = (format.read)(&(format.write)(&two).unwrap()).unwrap();
        assert_eq!((back.objective.as_str(), back.outputs()), ("custom", 2));
    }
}

#[test]
fn lightgbm_takes_what_is_near_zero_for_zero() {
    let split = |threshold| SplitNode {
        feature: 0,
        test: SplitCondition::Threshold(threshold),
        missing_left: false,
        gain: 1.0,
        left: Child::Leaf(0),
        right: Child::Leaf(1),
    };
    for (threshold, left, right) in
        [(0.0, 1e-35, 1.1e-35), (1e-40, 1e-35, 1.1e-35), (-1e-40, -1.1e-35, -1e-35)]
    {
        let tree =
            Tree { splits: vec![split(threshold)], leaf_values: vec![1.0, 2.0], leaf_cover: vec![1.0; 2] };
        let text = lightgbm::write(&Ensemble::new(vec![tree], 1)).unwrap();
        assert_eq!(scores(&lightgbm::read(&text).unwrap(), &[left, right]), [1.0, 2.0], "{threshold:e}");
    }
}

/// Many splits that send missing values left of categories, each the left child of the one before.
#[test]
fn copies_for_missing_values_are_bounded() {
    let chain = |length: usize| {
        let splits = (0..length).map(|node| SplitNode {
            feature: node,
            test: SplitCondition::Categories(vec![1]),
            missing_left: true,
            gain: 1.0,
            left: if node + 1 < length { Child::Split(node + 1) } else { Child::Leaf(length) },
            right: Child::Leaf(node),
        });
        let leaf_values = (0..=length).map(|leaf| leaf as f64).collect();
        let tree = Tree { splits: splits.collect(), leaf_values, leaf_cover: vec![1.0; length + 1] };
        Ensemble::new(vec![tree], length)
    };
    let model = chain(3);
    let back = lightgbm::read(&lightgbm::write(&model).unwrap()).unwrap();
    for row in [[f32::NAN; 3], [1.0; 3], [1.0, f32::NAN, 2.0], [f32::NAN, 1.0, f32::NAN], [0.0; 3]] {
        assert_eq!(scores(&back, &row), scores(&model, &row), "{row:?}");
    }
    assert!(lightgbm::write(&chain(40)).unwrap_err().to_string().contains("XGBoost JSON"));
    assert!(xgboost::write(&chain(40)).is_ok());
}

// Trees at random, and files with random damage.

fn number() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => -3_i8..3,
        1 => Just(100)
    ]
    .prop_map(|eighths| if eighths == 100 { f32::MAX } else { f32::from(eighths) / 8.0 })
}

fn test() -> impl Strategy<Value = SplitCondition> {
    prop_oneof![
        number().prop_map(SplitCondition::Threshold),
        prop::collection::btree_set(0_u32..70, 0..5)
            .prop_map(|left| SplitCondition::Categories(left.into_iter().collect())),
    ]
}

/// A tree grown leaf by leaf: each split takes the place of one of the leaves before it.
fn tree() -> impl Strategy<Value = Tree> {
    let splits =
        prop::collection::vec((0..COLUMNS, test(), any::<bool>(), any::<prop::sample::Index>()), 0..8);
    (splits, prop::collection::vec(-1.0_f32..1.0, 9)).prop_map(|(drawn, values)| {
        let mut tree = Tree::default();
        let mut leaves: Vec<Option<(usize, bool)>> = vec![None];
        for (node, (feature, test, missing_left, leaf)) in drawn.into_iter().enumerate() {
            let leaf = leaf.index(leaves.len());
            match leaves[leaf] {
                Some((parent, true)) => tree.splits[parent].left = Child::Split(node),
                Some((parent, false)) => tree.splits[parent].right = Child::Split(node),
                None => {}
            }
            let (left, right) = (Child::Leaf(leaf), Child::Leaf(leaves.len()));
            tree.splits.push(SplitNode { feature, test, missing_left, gain: 0.5, left, right });
            leaves[leaf] = Some((node, true));
            leaves.push(Some((node, false)));
        }
        tree.leaf_values = values[..leaves.len()].iter().map(|&value| f64::from(value)).collect();
        tree.leaf_cover = (0..leaves.len()).map(|leaf| leaf as f64).collect();
        tree
    })
}

fn ensemble() -> impl Strategy<Value = Ensemble> {
    let objectives = vec!["candidate-softmax", "xendcg", "binary", "squared-error", "multiclass", "log-cosh"];
    (
        prop::sample::select(objectives),
        prop::collection::vec(tree(), 6),
        prop::collection::vec(-1.0_f32..1.0, 3),
    )
        .prop_map(|(objective, trees, base)| {
            let outputs = if ["multiclass", "log-cosh"].contains(&objective) { 3 } else { 1 };
            Ensemble {
                objective: objective.to_owned(),
                base: base[..outputs].iter().map(|&base| f64::from(base)).collect(),
                ..Ensemble::new(trees, COLUMNS)
            }
        })
}

/// Values as a row may hold them. Infinite ones are left out: XGBoost takes none.
fn value() -> impl Strategy<Value = f32> {
    prop_oneof![
        Just(f32::NAN),
        number(),
        (0_u8..72).prop_map(f32::from),
        Just(-1.0),
        Just(f32::MIN),
        Just(1e9)
    ]
}

proptest! {
    #[test]
    fn written_and_read_is_the_same_model(
        model in ensemble(),
        rows in prop::collection::vec(value(), 20 * COLUMNS),
    ) {
        for format in [LIGHTGBM, XGBOOST] {
            let text = match (format.write)(&model) {
                Ok(text) => text,
                // Copies for missing values may be too many.
                Err(error) => {
                    prop_assert!(error.to_string().contains("XGBoost JSON"), "{}", error);
                    continue;
                }
            };
            let back = (format.read)(&text).unwrap();
            back.check().unwrap();
            prop_assert_eq!(scores(&back, &rows), scores(&model, &rows));
            prop_assert_eq!((format.write)(&back).unwrap(), text);
        }
    }

    #[test]
    fn damaged_files_never_panic(
        file in prop::sample::select(ANSWERS.scores.keys().cloned().collect::<Vec<_>>()),
        cut in prop::option::of(any::<prop::sample::Index>()),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = fs::read(folder().join(&file)).unwrap();
        if let Some(cut) = &cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        for (place, byte) in &flips {
            if !bytes.is_empty() {
                let place = place.index(bytes.len());
                // Half of them digits, which hurt most.
                bytes[place] = if byte % 2 == 0 { b'0' + byte % 10 } else { *byte };
            }
        }
        let binary = bytes.clone();
        let read = match String::from_utf8(bytes) {
            _ if file.ends_with(".ubj") => xgboost::read_ubjson(&binary),
            Ok(text) => (format_of(&file).read)(&text),
            Err(_) => return Ok(()),
        };
        if let Ok(model) = read {
            model.check().unwrap();
            let rows: Vec<f32> = vec![0.0; model.columns()];
            prop_assert!(scores(&model, &rows).iter().all(|score| !score.is_nan()));
        }
    }
}
