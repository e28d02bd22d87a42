//! The example `trees`, from files to figures, as its user would call it.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside of test functions too: a failed step is a failed test

mod samples;
#[allow(dead_code)] // its `main`
#[path = "../examples/trees/main.rs"]
mod trees;

use std::fmt::Write as _;
use std::path::Path;

use foretap::gbdt::{Ensemble, Forest};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use samples::Folder;
use serde_json::Value;
use trees::conf::{Settings, args};

/// Runs the example with these arguments in `folder`; its JSON report, or its error.
fn run(folder: &Folder, arguments: &str) -> Result<Value, String> {
    let path = |word: &str| {
        let is_file = word.contains('.') && !word.starts_with("--") && word.parse::<f64>().is_err();
        if is_file { folder.0.path().join(word).into_os_string() } else { word.into() }
    };
    let json = folder.0.path().join("report.json");
    let report = ["--json".into(), json.clone().into_os_string()];
    let given = std::iter::once("trees".into()).chain(arguments.split_whitespace().map(path)).chain(report);
    args(given).and_then(|args| trees::run(&args)).map_err(|error| error.to_string())?;
    Ok(serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap())
}

fn figure(report: &Value, name: &str) -> f64 {
    report["figures"][name].as_f64().unwrap_or_else(|| panic!("no {name} in {report}"))
}

/// LETOR rows in groups of eight, of relevance 0 to 3; feature 3 tells it all but for some noise.
fn letor(seed: u64, groups: usize) -> String {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut text = String::new();
    for group in 0..groups {
        for row in 0..8 {
            let (relevance, noise): (f32, f32) = (random.random_range(0.0..4.0), random.random());
            let label = relevance as u8;
            writeln!(text, "{label} qid:{group} 1:{noise:.3} 3:{:.3} # doc {row}", relevance + 0.1 * noise)
                .unwrap();
        }
    }
    text
}

/// A table with a header: two labels and a weight, a number with gaps, and a town that tells what the number does not.
fn people(seed: u64, rows: usize) -> String {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut text = "bought,spent,class,weight,age,town\n".to_owned();
    for _ in 0..rows {
        let (age, town) = (random.random_range(0..100), random.random_range(0..20));
        let likes = u8::from(age > 50) ^ u8::from(town % 3 == 0);
        let class = 2 * u8::from(age > 50) + u8::from(town % 3 == 0);
        let spent = f32::from(likes) * 10.0 + random.random::<f32>();
        let weight = random.random_range(1..4);
        let age = if age % 10 == 7 { String::new() } else { age.to_string() };
        writeln!(text, "{likes},{spent},{class},{weight},{age},{town}").unwrap();
    }
    text
}

/// The columns of `table` with these numbers.
fn reordered(table: &str, columns: &[usize]) -> String {
    let row = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        columns.iter().map(|&column| fields[column]).collect::<Vec<_>>().join(",") + "\n"
    };
    table.lines().map(row).collect()
}

#[test]
fn ranks_letor_rows_and_writes_a_model_that_loads() {
    let folder = Folder::new();
    folder.file("rank.train", letor(1, 150));
    folder.file("rank.test", letor(2, 50));
    let call = "--train rank.train --test rank.test --trees 20 --min-rows 5 --model model.json";
    for objective in ["lambdarank", "rank_xendcg"] {
        let report = run(&folder, &format!("{call} --objective {objective}")).unwrap();
        assert_eq!((&report["training"]["rows"], &report["test"]["groups"]), (&1_200.into(), &50.into()));
        assert!(figure(&report, "NDCG@1") > 0.95 && figure(&report, "NDCG@5") > 0.95, "{report}");
        assert_eq!(report["features"][0]["name"], "Column_3");
    }
    let model = || std::fs::read(folder.0.path().join("model.json")).unwrap();
    let written = model();
    let ensemble: Ensemble = serde_json::from_slice(&written).unwrap();
    assert_eq!((ensemble.trees.len(), ensemble.columns()), (20, 4));
    assert!(Forest::new(ensemble).is_ok());
    for threads in [1, 3] {
        run(&folder, &format!("{call} --objective xendcg --threads {threads}")).unwrap();
        assert!(model() == written, "{threads} threads");
    }
}

#[test]
fn classifies_and_predicts_numbers_from_csv() {
    let folder = Folder::new();
    folder.file("people.csv", people(1, 3_000));
    folder.file("others.csv", people(2, 1_000));
    let call = "--train people.csv --test others.csv --categories name:town --weight weight --trees 40";
    // Nine of ten ages are known, and the town always.
    let cases = [
        ("binary", "--label bought --ignore name:spent,class", "AUC", 0.93..1.0),
        ("binary", "--label bought --ignore name:spent,class", "log loss", 0.0..0.25),
        ("multiclass", "--label class --classes 4 --ignore name:spent,bought", "error", 0.0..0.1),
        ("multiclass", "--label class --classes 4 --ignore name:spent,bought", "log loss", 0.0..0.25),
        ("regression", "--label spent --ignore name:bought,class", "MSE", 0.0..5.0),
    ];
    for (objective, columns, name, expected) in cases {
        let report = run(&folder, &format!("{call} --objective {objective} {columns}")).unwrap();
        assert!(expected.contains(&figure(&report, name)), "{objective}: {report}");
        assert_eq!(report["training"]["columns"], 2);
    }
    let report = run(
        &folder,
        &format!(
            "{call} --label spent --ignore name:bought,class --validation others.csv --early-stopping 3 --learning-rate 0.9"
        ),
    );
    let (trees, losses) = (&report.as_ref().unwrap()["trees"], &report.as_ref().unwrap()["losses"]);
    assert!(
        trees.as_u64().unwrap() < losses.as_array().unwrap().len() as u64,
        "it stopped, and kept the best"
    );
}

#[test]
fn models_move_between_engines_and_training_goes_on() {
    let folder = Folder::new();
    folder.file("people.csv", people(1, 2_000));
    folder.file("others.csv", people(2, 500));
    let columns = "--test others.csv --categories name:town --label bought --ignore name:spent,class,weight";
    let trained = run(
        &folder,
        &format!(
            "--train people.csv --objective binary --trees 10 {columns} --model m.json --lightgbm m.txt --xgboost x.json"
        ),
    );
    let expected = figure(trained.as_ref().unwrap(), "log loss");
    for start in ["m.json", "m.txt", "x.json"] {
        let scored = run(&folder, &format!("--start {start} {columns}")).unwrap();
        assert_eq!(figure(&scored, "log loss"), expected, "{start}");
        let further =
            run(&folder, &format!("--start {start} --train people.csv --trees 10 {columns}")).unwrap();
        assert!(figure(&further, "log loss") < expected, "{start}");
        assert_eq!(further["objective"], "binary");
    }
    // Its columns in another order, among others.
    folder.file("elsewhere.csv", reordered(&people(2, 500), &[5, 1, 0, 4, 2]));
    for start in ["m.json", "m.txt", "x.json"] {
        let scored = run(&folder, &format!("--start {start} --test elsewhere.csv --label bought")).unwrap();
        assert_eq!(figure(&scored, "log loss"), expected, "{start}");
    }
    let trained_on = |test: &str| {
        let columns = columns.replace("others.csv", test);
        run(&folder, &format!("--train people.csv --objective binary --trees 10 {columns}"))
    };
    folder.file("with_weight.csv", reordered(&people(2, 500), &[5, 1, 3, 0, 4, 2]));
    let figures = |test: &str| trained_on(test).unwrap()["figures"].clone();
    assert_eq!(figures("others.csv"), figures("with_weight.csv"));
    folder.file("homeless.csv", reordered(&people(2, 500), &[0, 4]));
    folder.file("nameless.csv", people(2, 500).split_once('\n').unwrap().1);
    folder.file("m.json", "{\"trees\": 7}");
    folder.file("m.txt", "tree\nversion=v9\n");
    let cases = [
        ("--start m.json", "m.json: neither XGBoost's JSON nor trees of our own"),
        ("--start m.txt", "m.txt"),
        (
            "--start x.json --test homeless.csv",
            "homeless.csv, line 1: there is no column `town`, which the model reads; add it; the header has `bought`, `age`",
        ),
        (
            "--start x.json --test nameless.csv",
            "nameless.csv, line 1: there is no header, but the model reads names: `age`",
        ),
        (
            "--start x.json --train homeless.csv",
            "the model to go on from reads the column `town`, which is not there; give",
        ),
        (
            "--start x.json --train people.csv --label class --ignore name:spent,bought,weight --objective multiclass --classes 4",
            "the model to go on from has 1 outputs, the objective 4",
        ),
    ];
    for (arguments, expected) in cases {
        let error = run(&folder, arguments).unwrap_err();
        assert!(error.contains(expected) && !error.contains('\n'), "{arguments}: {error}");
    }
}

#[test]
fn tables_without_labels_are_predicted() {
    let folder = Folder::new();
    let others = people(2, 100);
    folder.file("people.csv", people(1, 1_000));
    // Town and age alone, the other way round, beside a column that no model knows.
    folder.file("new.csv", reordered(&others, &[5, 3, 4]));
    folder.file("labelled.csv", &others);
    let options = "--categories name:town --label bought --ignore name:spent,class,weight";
    let train = "--train people.csv --objective binary --trees 5";
    let predict = |arguments: &str| {
        run(&folder, &format!("{arguments} --out out.txt")).unwrap();
        let text = std::fs::read_to_string(folder.0.path().join("out.txt")).unwrap();
        let rows = text.lines().map(|line| line.split('\t').map(|field| field.parse().unwrap()).collect());
        rows.collect::<Vec<Vec<f64>>>()
    };
    let expected = predict(&format!(
        "{train} {options} --predict new.csv --model m.json --lightgbm m.txt --xgboost x.json"
    ));
    assert_eq!(expected.len(), 100);
    assert!(expected.iter().all(|row| row.len() == 1 && row[0] > 0.0 && row[0] < 1.0), "probabilities");
    for start in ["m.json", "m.txt", "x.json"] {
        assert_eq!(predict(&format!("--start {start} --predict new.csv")), expected, "{start}");
        assert_eq!(
            predict(&format!("--start {start} --predict labelled.csv --label bought")),
            expected,
            "{start}"
        );
    }
    let scores = predict("--start m.json --predict new.csv --raw-scores");
    for (score, probability) in scores.iter().zip(&expected) {
        assert!((1.0 / (1.0 + (-score[0]).exp()) - probability[0]).abs() < 1e-12);
    }
    // As LightGBM's own program is asked.
    folder.file("predict.conf", "task=predict\ndata=new.csv\ninput_model=m.txt\noutput_result=by_conf.txt\n");
    run(&folder, "--conf predict.conf").unwrap();
    let by_conf = std::fs::read_to_string(folder.0.path().join("by_conf.txt")).unwrap();
    assert!(by_conf.lines().map(|line| line.parse::<f64>().unwrap()).eq(expected.iter().map(|row| row[0])));
    let classes = "--label class --classes 4 --objective multiclass --ignore name:spent,bought,weight";
    let probabilities = predict(&format!("--train people.csv --trees 3 {classes} --predict new.csv"));
    assert!(probabilities.iter().all(|row| row.len() == 4 && (row.iter().sum::<f64>() - 1.0).abs() < 1e-12));
    for (arguments, says) in [
        ("--start m.json --predict new.csv", "--predict and --out belong together; name"),
        ("--start m.json --predict nowhere.csv --out out.txt", "nowhere.csv: cannot read this file"),
        ("--start m.json --predict new.csv --out no/out.txt", "there is no folder"),
    ] {
        let error = run(&folder, arguments).unwrap_err();
        assert!(error.contains(says) && !error.contains('\n'), "{arguments}: {error}");
    }
}

/// A squared error of zero where the initial scores are the labels already.
#[test]
fn initial_scores_are_added_where_a_table_has_them() {
    let folder = Folder::new();
    let rows: String = (0..100).map(|row| format!("{row},{}\n", row % 7)).collect();
    let init: String = (0..100).map(|row| format!("{row}\n")).collect();
    folder.file("some.csv", &rows);
    folder.file("same.csv", &rows);
    let figures = |beside: bool| {
        if beside {
            folder.file("some.csv.init", &init);
            folder.file("same.csv.init", &init);
        }
        figure(&run(&folder, "--train some.csv --test same.csv --trees 3").unwrap(), "MSE")
    };
    assert!(figures(false) > 100.0);
    assert_eq!(figures(true), 0.0);
    folder.file("same.csv.init", "1\t2\n".repeat(100));
    for arguments in ["--train some.csv --test same.csv --trees 3", "--train same.csv --trees 3"] {
        let error = run(&folder, arguments).unwrap_err();
        let says = "same.csv.init: 2 initial scores a row, but the model has 1 outputs; give each row";
        assert!(error.contains(says), "{error}");
    }
}

/// Names that a file could not hold are refused before an hour of training, not after it.
#[test]
fn names_are_checked_before_training() {
    let folder = Folder::new();
    let cases = [
        ("a b", Err("LightGBM does not load the feature name `a b`"), Ok(())),
        ("a[b]", Err("LightGBM does not load the feature name `a[b]`"), Err("XGBoost does not load")),
        ("a<b", Ok(()), Err("XGBoost does not load the feature name `a<b`")),
        ("a\"\"b", Err("LightGBM does not load the feature name"), Ok(())),
        ("a{b", Err("LightGBM does not load"), Ok(())),
        ("a:b", Err("LightGBM does not load"), Ok(())),
        ("a\tb", Err("feature name `a\\tb`"), Err("feature name `a\\tb`")),
        ("a=b", Ok(()), Ok(())),
        ("電池 %", Err("LightGBM does not load the feature name `電池 %`"), Ok(())),
        ("電池", Ok(()), Ok(())),
        ("año", Ok(()), Ok(())),
    ];
    for (name, lightgbm, xgboost) in cases {
        let rows: String = (0..60).map(|row| format!("{},{},{}\n", row % 2, row % 5, row % 3)).collect();
        folder.file("some.csv", format!("y,\"{name}\",c\n{rows}"));
        for (file, expected) in [("lightgbm m.txt", lightgbm), ("xgboost m.json", xgboost)] {
            let trained = run(&folder, &format!("--train some.csv --trees 2 --{file}"));
            match (trained, expected) {
                (Ok(_), Ok(())) => {
                    let model = file.split_once(' ').unwrap().1;
                    assert!(
                        run(&folder, &format!("--start {model} --test some.csv")).is_ok(),
                        "{name}: {file}"
                    );
                }
                (Err(error), Err(says)) => {
                    assert!(error.contains(says) && error.contains("some.csv"), "{name}: {error}");
                    assert!(error.contains("give each feature a name of its own"), "{name}: {error}");
                }
                (Ok(_), Err(says)) => panic!("{name}, {file}: no error `{says}`"),
                (Err(error), Ok(())) => panic!("{name}, {file}: {error}"),
            }
        }
    }
    folder.file("twice.csv", "y,a,a\n1,2,3\n");
    let error = run(&folder, "--train twice.csv").unwrap_err();
    assert!(error.contains("twice.csv, line 1: two columns are called `a`; give"), "{error}");
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    let folder = Folder::new();
    folder.file("rank.train", letor(1, 20));
    folder.file("people.csv", people(1, 100));
    folder.file("bad.conf", "num_leaves = many\n");
    let cases = [
        ("", "no table is given; name its file with --train"),
        ("--train nowhere.csv", "nowhere.csv: cannot read this file"),
        ("--train people.csv --objective lambdarank", "compares the rows of a group"),
        ("--train people.csv --bins 300", "field `max_bins`: 300 bins a feature"),
        ("--train people.csv --leaves 1", "field `leaves`"),
        ("--train people.csv --objective multiclass", "classes"),
        ("--train people.csv --label salary", "there is no column `salary`; the header has `bought`"),
        ("--train people.csv --test rank.train", "rank.train: a LibSVM file, where training had"),
        ("--train people.csv --label spent --objective binary", "people.csv"),
        ("--train people.csv --model there/is/none.json", "there is no folder"),
        (
            "--train people.csv --model people.csv",
            "people.csv, field `--model`: this file is what is read, too",
        ),
        (
            "--train people.csv --model m.json --lightgbm m.json",
            "field `--lightgbm`: this file is --model, too",
        ),
        ("--start m.json --predict people.csv --out m.json", "field `--out`: this file is what is read, too"),
        ("--conf nowhere.conf", "nowhere.conf: cannot read the configuration"),
        ("--conf bad.conf", "bad.conf, line 1, field `num_leaves`"),
    ];
    for (arguments, expected) in cases {
        let error = run(&folder, arguments).unwrap_err();
        assert!(error.contains(expected) && !error.contains('\n'), "{arguments}: {error}");
    }
    assert_eq!(
        std::fs::read_to_string(folder.0.path().join("people.csv")).unwrap(),
        people(1, 100),
        "as it was"
    );
}

#[test]
fn configuration_files_become_options() {
    let read = |text: &str| Settings::read(Path::new("here/train.conf"), text);
    let options = |text: &str| {
        let options = read(text).unwrap_or_else(|error| panic!("{text}: {error}")).options;
        options.iter().map(|(option, value)| format!("{option}={value}")).collect::<Vec<_>>().join(" ")
    };
    let cases = [
        ("# nothing\n\n", ""),
        ("task = train\nboosting=gbdt", ""),
        ("objective = lambdarank # as in 2010", "objective=lambdarank"),
        ("app=regression_l2\nnum_class = 1", "objective=regression_l2 classes=1"),
        ("data = a.train\nvalid_data=../b.test", "train=here/a.train test=here/../b.test"),
        ("data = /a.train\nvalid = b,c", "train=/a.train test=here/b"),
        ("num_round=7\neta=0.3\nmax_leaves=4", "trees=7 learning-rate=0.3 leaves=4"),
        ("max_depth=-1\nmin_data=3\nmin_child_weight=0.5", "max-depth=-1 min-rows=3 min-hessian=0.5"),
        ("lambda_l1=1\nreg_lambda=2\nmin_split_gain=3\nmax_bin=63", "l1=1 l2=2 min-gain=3 bins=63"),
        ("bagging_fraction=0.9", ""),
        ("bagging_fraction=0.9\nbagging_freq=0", ""),
        ("bagging_freq=1\nsubsample=0.9\nsub_feature=0.5", "row-fraction=0.9 feature-fraction=0.5"),
        ("bagging_freq=5\nbagging_fraction=0.9\nbagging_by_query=true", "group-fraction=0.9"),
        ("boosting=goss", "goss-top=0.2 goss-other=0.1"),
        (
            "data_sample_strategy=goss\ntop_rate=0.3\nbagging_freq=1\nbagging_fraction=0.5",
            "goss-top=0.3 goss-other=0.1",
        ),
        ("top_rate=0.3", ""),
        ("early_stopping = 10\nseed=3\nnum_threads=-1", "early-stopping=10 seed=3 threads=0"),
        ("early_stopping_round=-1", "early-stopping=0"),
        ("header=true\nlabel=name:y\nweight=1", "header=true label=name:y weight=1"),
        (
            "group=name:q\nignore_column=3,4\ncat_feature=name:a,b",
            "group=name:q ignore=3,4 categories=name:a,b",
        ),
        ("monotone_constraints=1,0,-1\ncat_smooth=1", "monotone=1,0,-1 category-smoothing=1"),
        ("input_model=m.txt\noutput_result=p.txt", "start=here/m.txt"),
        (
            "task=predict\ndata=a\nvalid=b\ninput_model=m.txt\npredict_raw_score=true",
            "predict=here/a start=here/m.txt out=here/LightGBM_predict_result.txt raw-scores=true",
        ),
        ("task=prediction\ndata=a\noutput_result=p.txt", "predict=here/a out=here/p.txt"),
        (
            "predict_contrib=false\npredict_leaf_index=0\nnum_iteration_predict=-1\nstart_iteration_predict=0",
            "",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(options(text), expected, "{text}");
    }
    let notes = read("metric = ndcg\nlinear_tree = true\nverbose=1\nbagging_freq=5\ndata=a,b").unwrap().notes;
    assert_eq!(
        notes,
        [
            "only the first of the tables a,b is read",
            "rows are drawn for every tree, not for every 5 trees",
            "of no meaning here: metric, verbose",
            "warning: not known here, LightGBM might train otherwise: linear_tree",
        ]
    );
    let wrong = [
        ("\nhello", "here/train.conf, line 2: `hello` is no setting; write it as `key = value`"),
        ("num_trees=2\nnum_round=3", "line 2, field `num_round`: this was set before"),
        ("num_leaves = many", "line 1, field `num_leaves`: invalid value 'many'"),
        ("objective = poisson", "line 1, field `objective`: invalid value 'poisson'"),
        ("boosting = dart", "line 1, field `boosting`: `dart` is not to be had here"),
        ("task = refit", "line 1, field `task`: `refit` is not to be had here"),
        (
            "predict_contrib = true",
            "line 1, field `predict_contrib`: only scores and probabilities are predicted here; remove",
        ),
        ("leaf_index = 1", "line 1, field `leaf_index`: only scores"),
        (
            "num_iteration_predict = 5",
            "line 1, field `num_iteration_predict`: all trees of a model predict here",
        ),
        ("start_iteration_predict = 5", "line 1, field `start_iteration_predict`: all trees"),
        ("bagging_freq = often", "line 1, field `bagging_freq`: `often` is not a number of rounds"),
    ];
    for (text, expected) in wrong {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{text}: {error}");
    }
}

#[test]
fn the_command_line_goes_before_the_configuration() {
    let folder = Folder::new();
    folder.file("rank.train", letor(1, 30));
    folder.file("rank.test", letor(2, 10));
    folder.file("train.conf", "objective=lambdarank\ndata=rank.train\nvalid_data=rank.test\nnum_trees=9\nnum_leaves=4\nmonotone_constraints=1");
    let report = run(&folder, "--conf train.conf --trees 3 --monotone 0,0,0,1").unwrap();
    let config = &report["config"];
    assert_eq!((&config["trees"], &config["leaves"]), (&3.into(), &4.into()));
    assert_eq!(config["monotone"], serde_json::json!([0, 0, 0, 1]));
    assert_eq!((&report["test"]["rows"], &report["trees"]), (&80.into(), &3.into()));
}
