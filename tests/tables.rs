//! Tables from text files: every layout that LightGBM reads, and every way in which one may be wrong.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside of test functions too: a failed step is a failed test

mod samples;

use foretap::gbdt::objective::named;
use foretap::gbdt::{Column, ColumnKind, GbdtConfig, Precision, Table, TableOptions, train};
use foretap::{ErrorKind, Result, Silent};
use proptest::prelude::*;
use samples::{Folder, gzip};

/// Reads a table of this content, with what stands beside it: endings and contents.
fn read_beside(content: &str, options: &TableOptions, beside: &[(&str, &str)]) -> Result<Table> {
    let folder = Folder::new();
    for (ending, content) in beside {
        folder.file(&format!("rank.train.{ending}"), content);
    }
    Table::read(&folder.file("rank.train", content), options, &Silent)
}

fn read(content: &str) -> Table {
    read_beside(content, &TableOptions::default(), &[]).unwrap()
}

/// The table as text: labels, then rows, `_` being a missing value.
fn shown(table: &Table) -> String {
    let value = |value: &f32| if value.is_nan() { "_".to_owned() } else { value.to_string() };
    let rows = table.rows.chunks(table.columns()).zip(&table.labels);
    let rows = rows.map(|(row, label)| {
        let row: Vec<String> = row.iter().map(value).collect();
        format!("{label}: {}", row.join(" "))
    });
    rows.collect::<Vec<_>>().join(", ")
}

fn names(table: &Table) -> String {
    table.names.join(" ")
}

#[test]
fn layouts_are_recognised() {
    let cases = [
        ("tabs", "1\t0.5\t-2\n0\t\tNA\n", "1: 0.5 -2, 0: _ _"),
        ("commas", "1,0.5,-2\n0,,nan\n", "1: 0.5 -2, 0: _ _"),
        ("spaces", "1 0.5 -2\n0  na   NULL\n", "1: 0.5 -2, 0: _ _"),
        ("spaces after commas", "1, 0.5, -2\n0, n/a, -nan\n", "1: 0.5 -2, 0: _ _"),
        ("quotes", "\"1\",\"0.5\",\"-2\"\n0,\"\",3\n", "1: 0.5 -2, 0: _ 3"),
        ("infinite", "1,inf,-Infinity\n0,1e60,-1e60\n", "1: inf -inf, 0: inf -inf"),
        ("exponents", "1e0,1.5E2,+.5\n", "1: 150 0.5"),
        ("Windows", "1,2\r\n0,3\r\n", "1: 2, 0: 3"),
        ("no last line break", "1,2\n0,3", "1: 2, 0: 3"),
        ("blank lines", "\n \n1,2\n\n  \n0,3\n\n", "1: 2, 0: 3"),
        ("byte order mark", "\u{feff}1,2\n0,3\n", "1: 2, 0: 3"),
        ("LibSVM from 0", "1 0:0.5 2:-2\n0 1:3\n", "1: 0.5 0 -2, 0: 0 3 0"),
        ("LibSVM from 1", "1 1:0.5\n0 2:3 \n", "1: 0 0.5 0, 0: 0 0 3"),
        ("LibSVM, rows without features", "1\n0 1:3\n1\n", "1: 0 0, 0: 0 3, 1: 0 0"),
        ("LibSVM, tabs, missing value", "1\t1:nan\n0\t1:3\n", "1: 0 _, 0: 0 3"),
        ("LibSVM, comments", "# made by hand\n2 1:4 # doc 7:1\n", "2: 0 4"),
        ("a hash in no LibSVM row", "1 2 3\n1 2 4\n", "1: 2 3, 1: 2 4"),
    ];
    for (name, content, expected) in cases {
        assert_eq!(shown(&read(content)), expected, "{name}");
    }
    let packed = gzip(b"1,2\n0,3\n");
    let folder = Folder::new();
    let table = Table::read(&folder.file("table.csv.gz", packed), &TableOptions::default(), &Silent).unwrap();
    assert_eq!(shown(&table), "1: 2, 0: 3");
}

#[test]
fn headers_name_the_features() {
    let header = |header| TableOptions { header, ..TableOptions::default() };
    let cases = [
        ("label,age,height\n1,2,3\n", None, "age height"),
        ("label\tage\n1\t2\n", None, "age"),
        ("y age\n1 2\n", None, "age"),
        ("label,\"age, in years\",\"say \"\"so\"\"\"\n1,2,3\n", None, "age, in years say \"so\""),
        ("label,\"a\tb\",c\n1,2,3\n", None, "a\tb c"),
        ("label\t\"a,b\"\tc\n1\t2\t3\n", None, "a,b c"),
        ("1,2,3\n1,2,3\n", None, "Column_0 Column_1"),
        ("0,1,2\n1,2,3\n", Some(true), "1 2"),
        ("1 1:3\n", None, "Column_0 Column_1"),
    ];
    for (content, has_header, expected) in cases {
        let table = read_beside(content, &header(has_header), &[]).unwrap();
        assert_eq!(names(&table), expected, "{content}");
    }
}

#[test]
fn columns_are_found_by_number_and_name() {
    let content = "id,weight,y,query,age,town\n7,0.5,1,10,30,4\n8,2,0,10,,-1\n9,1,1,3,50,0\n";
    let by_name = TableOptions {
        label: "y".parse().unwrap(),
        weight: Some("weight".parse().unwrap()),
        group: Some("name:query".parse().unwrap()),
        ignored: vec!["id".parse().unwrap()],
        categories: vec!["town".parse().unwrap()],
        ..TableOptions::default()
    };
    // All but the label are counted without it.
    let by_number = TableOptions {
        label: "2".parse().unwrap(),
        weight: Some(Column::Index(1)),
        group: Some(Column::Index(2)),
        ignored: vec![Column::Index(0)],
        categories: vec![Column::Index(4)],
        ..TableOptions::default()
    };
    for options in [by_name, by_number.clone()] {
        let table = read_beside(content, &options, &[]).unwrap();
        assert_eq!(shown(&table), "1: 30 4, 0: _ -1, 1: 50 0");
        assert_eq!(names(&table), "age town");
        assert_eq!(table.kinds, [ColumnKind::Number, ColumnKind::Category]);
        assert_eq!(table.weights.as_deref(), Some(&[0.5, 2.0, 1.0][..]));
        assert_eq!(table.group_sizes.as_deref(), Some(&[2, 1][..]));
    }
    let numbered = TableOptions {
        ignored: vec![Column::Index(0)],
        label: Column::Name("y".to_owned()),
        ..TableOptions::default()
    };
    assert_eq!(shown(&read_beside(",y,a\n0,1,2\n1,0,3\n", &numbered, &[]).unwrap()), "1: 2, 0: 3");
    let headless = content.split_once('\n').unwrap().1;
    assert_eq!(names(&read_beside(headless, &by_number, &[]).unwrap()), "Column_3 Column_4");
    let sparse = TableOptions { categories: vec![Column::Index(1)], ..TableOptions::default() };
    let table = read_beside("1 1:3 2:0.5\n", &sparse, &[]).unwrap();
    assert_eq!(table.kinds, [ColumnKind::Number, ColumnKind::Category, ColumnKind::Number]);
}

#[test]
fn groups_and_weights_stand_beside_or_within() {
    let rows = "1 1:2\n0 1:3\n2 1:4\n";
    let beside = read_beside(rows, &TableOptions::default(), &[("query", "2\n1\n"), ("weight", "1\n0\n2.5")]);
    let beside = beside.unwrap();
    assert_eq!(beside.group_sizes.as_deref(), Some(&[2, 1][..]));
    assert_eq!(beside.weights.as_deref(), Some(&[1.0, 0.0, 2.5][..]));
    let within = "1 qid:8 1:2\n0 qid:8 1:3\n2 qid:1 1:4\n";
    for beside in [&[][..], &[("query", "2\n1\n")]] {
        let table = read_beside(within, &TableOptions::default(), beside).unwrap();
        assert_eq!(table.group_sizes.as_deref(), Some(&[2, 1][..]));
    }
    let folder = Folder::new();
    folder.file("t.query.gz", gzip(b"3\n"));
    let packed = folder.file("t.gz", gzip(rows.as_bytes()));
    let table = Table::read(&packed, &TableOptions::default(), &Silent).unwrap();
    assert_eq!(table.group_sizes.as_deref(), Some(&[3][..]));
}

#[test]
fn initial_scores_stand_beside_and_what_is_not_read_is_known() {
    let rows = "1 1:2\n0 1:3\n";
    let options = TableOptions::default();
    for (init, expected) in [("0.5\n-1e-3\n", &[0.5, -0.001][..]), ("1\t2\n3\t4\n", &[1.0, 2.0, 3.0, 4.0])] {
        let table = read_beside(rows, &options, &[("init", init)]).unwrap();
        assert_eq!(table.initial_scores.as_deref(), Some(expected));
        let data = table.dataset(table.binner(255).unwrap()).unwrap();
        assert_eq!(data.rows(), 2);
    }
    let all = [
        ("query", "2\n"),
        ("weight", "1\n2\n"),
        ("init", "1\n2\n"),
        ("position", "1\n2\n"),
        ("group", "2\n"),
        ("base_margin", "1\n2\n"),
    ];
    let unused = |table: &Table| {
        let endings =
            table.unused_beside().iter().map(|file| file.extension().unwrap().to_str().unwrap().to_owned());
        endings.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(unused(&read_beside(rows, &options, &all).unwrap()), "position group base_margin");
    assert_eq!(unused(&read_beside(rows, &options, &all[..3]).unwrap()), "");
    let folder = Folder::new();
    for (ending, content) in all {
        folder.file(&format!("new.{ending}"), content);
    }
    let features = ["Column_0", "Column_1"].map(str::to_owned);
    let table = Table::read_features(&features, &folder.file("new", rows), &options, &Silent).unwrap();
    assert_eq!(unused(&table), "query weight init position group base_margin");
    assert_eq!((table.weights, table.group_sizes, table.initial_scores), (None, None, None));
}

/// The base score is that of no rows then, and the trees learn what the initial scores leave over.
#[test]
fn training_starts_from_initial_scores() {
    let rows: String = (0..200).map(|row| format!("{},{}\n", 100 + row % 2, row % 2)).collect();
    let config = GbdtConfig { trees: 1, learning_rate: 1.0, min_rows: 1, l2: 0.0, ..GbdtConfig::default() };
    let trained = |beside: &[(&str, &str)], classes: usize| {
        let table = read_beside(&rows, &TableOptions::default(), beside).unwrap();
        let data = table.dataset(table.binner(255).unwrap()).unwrap();
        let objective = named(if classes == 1 { "squared-error" } else { "multiclass" }, classes).unwrap();
        train(&config, &*objective, &data, None, &Silent).map(|trained| trained.forest.ensemble().clone())
    };
    let score = |beside: &[(&str, &str)], value: f32| {
        let mut scores = [0.0];
        trained(beside, 1).unwrap().score(&[value], &mut scores);
        scores[0].round()
    };
    assert_eq!((score(&[], 0.0), score(&[], 1.0)), (100.0, 101.0));
    let init = "90\n".repeat(200);
    let beside = [("init", init.as_str())];
    assert_eq!((score(&beside, 0.0), score(&beside, 1.0)), (10.0, 11.0));
    assert_eq!(trained(&beside, 1).unwrap().base, [0.0]);
    // LightGBM 4.7.0 on the same two files, `raw_score=True`:
    // {"objective": "multiclass", "num_class": 3, "learning_rate": 0.5, "min_data_in_leaf": 1}, 1 round.
    let expected = [
        [0.69296572, -0.43134298, -0.47064758],
        [-0.64229077, 1.46700846, -0.47064758],
        [-0.64229077, -0.43134298, 1.14250733],
    ];
    let rows: String = (0..300).map(|row| format!("{},{}\n", row % 3, row % 3)).collect();
    let table =
        read_beside(&rows, &TableOptions::default(), &[("init", &"0.5\t-0.25\t0\n".repeat(300))]).unwrap();
    let data = table.dataset(table.binner(255).unwrap()).unwrap();
    let config = GbdtConfig { learning_rate: 0.5, precision: Precision::Full, ..config.clone() };
    let three = train(&config, &*named("multiclass", 3).unwrap(), &data, None, &Silent).unwrap();
    let mut scores = [0.0; 9];
    three.forest.ensemble().score(&[0.0, 1.0, 2.0], &mut scores);
    for (ours, theirs) in scores.iter().zip(expected.as_flattened()) {
        assert!((ours - theirs).abs() < 1e-6, "{ours}, there {theirs}");
    }
    let two = "90\t1\n".repeat(200);
    let error = trained(&[("init", &two)], 1).unwrap_err().to_string();
    assert!(
        error.contains("2 initial scores a row, but the objective has 1 outputs; give each row"),
        "{error}"
    );
}

#[test]
fn bad_tables_say_where_and_what_next() {
    struct Case {
        content: &'static str,
        options: TableOptions,
        beside: &'static [(&'static str, &'static str)],
        says: &'static [&'static str],
    }
    let case = |content, says| Case { content, options: TableOptions::default(), beside: &[], says };
    let beside = |beside, says| Case { beside, ..case("1,2\n0,3\n", says) };
    let with = |content, options, says| Case { options, ..case(content, says) };
    let header = |header| TableOptions { header: Some(header), ..TableOptions::default() };
    let label = |label: &str| TableOptions { label: label.parse().unwrap(), ..TableOptions::default() };
    let towns = || TableOptions { categories: vec![Column::Index(0)], ..TableOptions::default() };
    let grouped = || TableOptions { group: Some(Column::Index(0)), ..TableOptions::default() };
    let weighted = || TableOptions { weight: Some(Column::Index(0)), ..TableOptions::default() };
    let cases = [
        case("", &["rank.train: the file is empty; give"]),
        case("\n\n", &["the file is empty"]),
        case("y,a\n", &["no row under the header"]),
        case("# nothing\n# 1:2\n", &["rank.train"]),
        case("1\n2\n", &["1 columns, and no feature among them", "tabs, commas or spaces"]),
        // Labels.
        case("1,2\n,3\n", &["line 2, field `column 0`: the label is missing"]),
        case("1,2\nnan,3\n", &["line 2, field `column 0`: the label is missing"]),
        case("y,a\n1,2\ninf,3\n", &["line 3, field `column 0 (y)`: the label `inf` is not a finite number"]),
        case("1 1:2\nnan 1:2\n", &["line 2: the label is missing"]),
        case("1 1:2\n1:2\n", &["line 2: the label `1:2` is not a finite number"]),
        case("1\t2\n\t\n", &["line 2, field `column 0`: the label is missing"]),
        // Values and widths.
        case("1,2,3\n1,2,x3\n", &["line 2, field `column 2`: `x3` is not a number; write numbers"]),
        case("y,a,b\n1,2,red\n", &["line 2, field `column 2 (b)`: `red` is not a number", "categories"]),
        case("1,red\n1,2\n", &["line 1, field `column 1`: `red`", "if this line holds names"]),
        with("y,a\n1,2\n", header(false), &["line 1, field `column 0`: the label `y`", "has a header"]),
        case("1,2\ny,a\n1,2\n", &["line 2, field `column 0`: the label `y`"]),
        case("1,2,3\n1,2\n", &["line 2: 2 values, but 3 columns"]),
        case("1 2 3\n\n1 2 3 4\n", &["line 3: 4 values, but 3 columns"]),
        case("1,2\n\n\n1,x\n", &["line 4, field `column 1`: `x` is not a number"]),
        case("1,2\n1,3\n\"", &["line 3, field `column 0`: the label is missing"]),
        case("1,2\n\" \"\n1,3\n", &["line 2, field `column 0`: the label is missing"]),
        case("1;2\n1;3\n", &["no feature", "tabs, commas or spaces"]),
        case("y,a,a\n1,2,3\n", &["line 1: two columns are called `a`"]),
        case(",y,a\n0,1,2\n", &["line 1: column 0 has no name; name it", "left out"]),
        case("y,a,\n1,2,3\n", &["line 1: column 2 has no name"]),
        case("1,2\n1,\"2\n1,3\n", &["line 2, field `column 1`: `2⏎1,3` is not a number"]),
        // A time of day is no `index:value`.
        case(
            "y,at,a\n1,12:30:05,2\n",
            &["line 2, field `column 1 (at)`: `12:30:05` is not a number; write times"],
        ),
        case(
            "1, 12:30:05, 2\n",
            &["line 1, field `column 1`: `12:30:05` is not a number; write times as numbers"],
        ),
        case("1, 12:30, 2\n", &["line 1, field `column 1`: `12:30` is not a number; write times as numbers"]),
        case("1\t12:30:05\t2\n", &["line 1, field `column 1`: `12:30:05` is not a number; write times"]),
        case("1\t12:30\t2\n", &["line 1, field `column 1`: `12:30` is not a number; write times"]),
        case("1 12:30:05 2\n", &["line 1, field `column 1`: `12:30:05` is not a number; write times"]),
        case(
            "1,2024-05-01 12:30:05\n",
            &["field `column 1`: `2024-05-01 12:30:05` is not a number; write times"],
        ),
        // LibSVM.
        case("1 1:2\n1 2:3 2:4\n", &["line 2: the index of `2:4` does not come after 2", "ascending"]),
        case("1 1:2\n1 3:3 2:4\n", &["line 2: the index of `2:4` does not come after 3"]),
        case("1 1:2\n1 -1:3\n", &["line 2: `-1:3` has no index"]),
        case("1 1:2\n1 5000000000:3\n", &["line 2: `5000000000:3` has no index"]),
        case("1 1:2\n1 100000:3\n", &["line 2: the index of `100000:3` is beyond the 100000 columns"]),
        case("1 1:2\n1 2:x\n", &["line 2: the value of `2:x` is not a number"]),
        case("1 1:2\n1 2\n", &["line 2: `2` is not index:value"]),
        case("1 qid:a 1:2\n", &["line 1: `a` is not the number of a group", "qid:"]),
        case("1 qid:1 1:2\n1 1:2\n", &["line 2: of this row and those before it, some name their group"]),
        case("1 1:2\n1 qid:1 1:2\n", &["line 2: of this row and those before it, some name their group"]),
        case("1 qid:1 1:2\n1 qid:2 1:2\n1 qid:1 1:2\n", &["line 3: group 1 was over already", "one after"]),
        case("1 qid:1\n", &["no row has a feature"]),
        with("1 1:2\n", header(true), &["field `header`", "LibSVM"]),
        with("1 1:2\n", label("1"), &["field `label`", "label first"]),
        // Columns.
        with("y,a\n1,2\n", label("z"), &["field `label`: there is no column `z`; the header has `y`, `a`"]),
        with("1,2\n1,2\n", label("z"), &["field `label`: there is no column `z`", "no header"]),
        with("1,2\n1,2\n", label("2"), &["field `label`: there is no column 2", "2 columns"]),
        with("1,2.5\n", towns(), &["line 1, field `column 1`: 2.5 is not the number of a category"]),
        with("1,16777216\n", towns(), &["16777216 is not the number of a category"]),
        with("1 0:2.5\n", towns(), &["line 1: 2.5 is not the number of a category"]),
        with("1,1,2\n1,2,2\n1,1,2\n", grouped(), &["line 3: group 1 was over already"]),
        with("1,a,2\n", header(false), &["`a` is not a number"]),
        with("1,,2\n", grouped(), &["line 1, field `column 1`: `` is not the number of a group"]),
        with("1,-1,2\n", weighted(), &["line 1, field `column 1`: the weight `-1` is not"]),
        with("1,0,2\n", weighted(), &["rank.train: every weight is zero"]),
        with("1,2\n", grouped(), &["no feature"]),
        // What stands beside.
        beside(&[("query", "1\n0\n1\n")], &["rank.train.query, line 2: a group of no rows"]),
        beside(&[("query", "1\n2\n")], &["rank.train.query: its 2 groups have 3 rows, but the table has 2"]),
        beside(&[("query", "1\n1.0\n")], &["rank.train.query, line 2: `1.0` is not the size of a group"]),
        beside(&[("query", "18446744073709551615\n3\n")], &["too many rows"]),
        beside(&[("query", "")], &["its 0 groups have 0 rows"]),
        beside(&[("weight", "1\n-1\n")], &["rank.train.weight, line 2: the weight `-1` is not a number"]),
        beside(&[("weight", "1\nnan\n")], &["rank.train.weight, line 2: the weight `nan`"]),
        beside(&[("weight", "1\n")], &["rank.train.weight: 1 weights, but the table has 2 rows"]),
        beside(&[("weight", "0\n0\n")], &["every weight is zero"]),
        beside(
            &[("init", "1\n")],
            &["rank.train.init: initial scores of 1 rows, but the table has 2; write"],
        ),
        beside(
            &[("init", "1\nx\n")],
            &["rank.train.init, line 2: `x` is not a finite score; write the initial"],
        ),
        beside(&[("init", "1\ninf\n")], &["rank.train.init, line 2: `inf` is not a finite score"]),
        beside(
            &[("init", "1\t2\n1\n")],
            &["rank.train.init: 1 scores for row 1, but 2 for the first; write"],
        ),
        Case {
            beside: &[("query", "2\n")],
            ..case("1 qid:1 1:2\n1 qid:2 1:2\n", &["rank.train.query", "one of the two"])
        },
        Case {
            beside: &[("weight", "2\n")],
            ..with("1,1,2\n", weighted(), &["rank.train.weight", "one of the two"])
        },
    ];
    for Case { content, options, beside, says } in cases {
        let message = match read_beside(content, &options, beside) {
            Ok(table) => format!("no error, but {}", shown(&table)),
            Err(error) => error.to_string(),
        };
        for part in says.iter().chain(&["rank.train"]) {
            assert!(message.contains(part), "of {content:?} expected {part:?}: {message}");
        }
    }
}

#[test]
fn bad_files_are_named() {
    let folder = Folder::new();
    let utf16: Vec<u8> = "\u{feff}1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let cut = gzip("1,2,3,4,5\n".repeat(2_000).as_bytes());
    let long = vec![b'1'; 20_000_000];
    let cases: [(&str, &[u8], &str); 5] = [
        ("latin1", b"1,2\n1,\xe9\n", "line 2: not UTF-8"),
        ("utf16", &utf16, "line 1: not UTF-8 but UTF-16"),
        ("binary", b"1,2\0\n", "line 1: not UTF-8 but UTF-16, or not text at all"),
        ("cut", &cut[..cut.len() / 2], "the gzip data is cut off or damaged"),
        ("long", &long, "line 1: this line is longer"),
    ];
    for (name, content, expected) in cases {
        let error = Table::read(&folder.file(name, content), &TableOptions::default(), &Silent).unwrap_err();
        assert!(error.to_string().contains(expected) && error.to_string().contains(name), "{error}");
    }
    let error = Table::read("nowhere".as_ref(), &TableOptions::default(), &Silent).unwrap_err();
    assert!(error.kind() == ErrorKind::Io && error.to_string().contains("nowhere"), "{error}");
}

#[test]
fn more_values_than_memory_can_hold_are_refused() {
    // 45,000 rows of up to 100,000 columns: more than 2^32 values from 600 kB of text.
    let sparse = format!("{}1 99999:1\n", "1 0:1\n".repeat(45_000));
    let error = read_beside(&sparse, &TableOptions::default(), &[]).unwrap_err().to_string();
    assert!(error.contains("of 100000 features are more than 2^32 values"), "{error}");
    let wide = "1,".repeat(100_001);
    let error = read_beside(&wide, &TableOptions::default(), &[]).unwrap_err().to_string();
    assert!(error.contains("100002 columns are more than"), "{error}");
}

#[test]
fn test_tables_have_the_columns_of_training() {
    let cases = [
        // LibSVM rows say nothing of the columns they leave out.
        ("1 1:2 3:4\n", "0 1:5\n", Ok("0: 0 5 0 0")),
        ("1 1:2\n", "0 1:5 7:1\n", Ok("0: 0 5")),
        ("1 1:2 3:4\n", "0 2:1\n1 1:3\n", Ok("0: 0 0 1 0, 1: 0 3 0 0")),
        ("1 1:2\n", "0\n1\n", Ok("0: 0 0, 1: 0 0")),
        ("1 1:2\n", "0,1\n", Err("line 1")),
        ("1,2\n", "0\t3\n", Ok("0: 3")),
        ("1,2\n", "y,a\n0,3\n", Ok("0: 3")),
        (
            "y,a\n1,2\n",
            "0,3\n",
            Err("test, line 1: there is no header, but training had names: `a` and so on; write"),
        ),
        (
            "y,a\n1,2\n",
            "y,b\n0,3\n",
            Err("test, line 1: there is no column `a`, which training had; add it; the header"),
        ),
        ("y,a\n1,2\n", "1 0:2\n", Err("a LibSVM file, where training had")),
        ("1,2\n", "1,2,3\n", Err("it has 2 features, but training had 1; give this table the columns")),
        (
            "1,2,3\n",
            "2,3\n",
            Err("it has 1 features, but training had 2; if it has no label, only predict it"),
        ),
        ("1,2,3\n", "1 0:2\n", Err("a LibSVM file, where training had")),
    ];
    let folder = Folder::new();
    for (training, test, expected) in cases {
        let training = read(training);
        let test = Table::read_like(&training, &folder.file("test", test), &TableOptions::default(), &Silent);
        match (test, expected) {
            (Ok(test), Ok(expected)) => {
                assert_eq!(shown(&test), expected);
                assert_eq!(test.names, training.names);
            }
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (Ok(test), Err(expected)) => unreachable!("{expected}: {}", shown(&test)),
            (Err(error), Ok(_)) => unreachable!("{error}"),
        }
    }
}

/// A column with a time of day, left out: what the file is, other columns tell.
#[test]
fn times_of_day_make_no_libsvm_file() {
    let ignored =
        |column: &str| TableOptions { ignored: vec![column.parse().unwrap()], ..TableOptions::default() };
    for (content, column, expected) in [
        ("y,at,a\n1,12:30:05,2\n0,12:30:06,3\n", "at", "1: 2, 0: 3"),
        ("1, 12:30:05, 2\n0, 9:05:59, 3\n", "0", "1: 2, 0: 3"),
        ("1, 12:30, 2\n", "0", "1: 2"),
        ("1\t12:30:05\t2\n", "0", "1: 2"),
        ("1\t12:30\t2\n", "0", "1: 2"),
        ("1 12:30 2\n", "0", "1: 2"),
        ("1,2,2024-05-01 12:30:05\n", "1", "1: 2"),
        ("y\ta\tat\n1\t2\t12:30\n", "at", "1: 2"),
    ] {
        let table = read_beside(content, &ignored(column), &[]).unwrap();
        assert_eq!(shown(&table), expected, "{content:?}");
    }
}

/// Names are matched with the header, whatever the order.
#[test]
fn columns_of_a_test_table_are_found_by_name() {
    let folder = Folder::new();
    let options = TableOptions {
        weight: Some(Column::Index(2)),
        ignored: vec![Column::Name("id".to_owned())],
        categories: vec![Column::Index(1)],
        ..TableOptions::default()
    };
    let training = folder.file("training", "y,a,town,w,id,b\n1,2,0,1,7,3\n0,3,1,2,8,5\n");
    let training = Table::read(&training, &options, &Silent).unwrap();
    assert_eq!(names(&training), "a town b");
    let like = |content: &str| Table::read_like(&training, &folder.file("test", content), &options, &Silent);

    let same = like("y,a,town,w,id,b\n1,2,0,1,7,3\n").unwrap();
    let moved = like("b,more,w,town,y,a\n3,9,1,0,1,2\n").unwrap();
    assert_eq!((moved.left_out(), same.left_out()), (&["more".to_owned()][..], &[][..]));
    assert_eq!((shown(&moved), moved.weights.as_deref()), (shown(&same), Some(&[1.0][..])));
    assert_eq!((moved.kinds, moved.names), (same.kinds, same.names));

    for (content, says) in [
        (
            "b,w,y,a\n3,1,1,2\n",
            "line 1: there is no column `town`, which training had; add it; the header has `b`, `w`",
        ),
        ("b,w,town,a\n3,1,0,2\n", "field `label`: there is no column `y`; the header has `b`"),
        ("y,b,a,w,town\n1,3,2,1,0.5\n", "field `column 4 (town)`: 0.5 is not the number of a category"),
    ] {
        let error = like(content).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("test, "), "{error}");
    }
}

#[test]
fn columns_for_a_model_are_found_by_name() {
    let folder = Folder::new();
    let read = |features: &[&str], content: &str| {
        let features: Vec<String> = features.iter().map(|&name| name.to_owned()).collect();
        let table =
            Table::read_for(&features, &folder.file("test", content), &TableOptions::default(), &Silent);
        table.map(|table| (shown(&table), table.left_out().join(" "))).map_err(|error| error.to_string())
    };
    let ok = |table: &str, left_out: &str| Ok((table.to_owned(), left_out.to_owned()));
    assert_eq!(read(&["a", "b"], "y,b,c,a\n1,2,3,4\n0,5,6,7\n"), ok("1: 4 2, 0: 7 5", "c"));
    assert_eq!(read(&["a", "b"], "y\ta\tb\n1\t2\t3\n"), ok("1: 2 3", ""));
    // A model without names: by place, and the count has to be right.
    assert_eq!(read(&["Column_0", "Column_1"], "1,2,3\n"), ok("1: 2 3", ""));
    assert_eq!(read(&["feature_0", "feature_1"], "y,b,a\n1,2,3\n"), ok("1: 2 3", ""));
    assert_eq!(read(&["Column_0", "Column_1"], "y,Column_1,Column_0\n1,2,3\n"), ok("1: 3 2", ""));
    assert_eq!(read(&["Column_0", "Column_1", "Column_2"], "1 1:2\n"), ok("1: 0 2 0", ""));
    let cases: [(&[&str], &str, &str); 6] = [
        (
            &["a", "b"],
            "y,b,c\n1,2,3\n",
            "line 1: there is no column `a`, which the model reads; add it; the header",
        ),
        (
            &["a", "b"],
            "1,2,3\n",
            "line 1: there is no header, but the model reads names: `a` and so on; write",
        ),
        (&["a", "b"], "1 1:2\n", "a LibSVM file, whose columns have numbers, but the model reads names: `a`"),
        (&["a", "b"], "a,b,c\n1,2,3\n", "the column `a`, which the model reads, is no feature here"),
        (&["Column_0"], "1,2,3\n", "it has 2 features, but the model reads 1; give this table the columns"),
        (
            &["Column_0", "Column_1"],
            "y,Column_1\n1,2\n",
            "there is no column `Column_0`, which the model reads",
        ),
    ];
    for (features, content, says) in cases {
        let error = read(features, content).unwrap_err();
        assert!(error.contains(says) && error.contains("test"), "{error}");
    }
}

/// Rows to predict: labels are not read, and need not be there.
#[test]
fn tables_without_labels_can_be_predicted() {
    let folder = Folder::new();
    let named = |label: &str| TableOptions { label: label.parse().unwrap(), ..TableOptions::default() };
    let read = |features: &[&str], content: &str, options: &TableOptions| {
        let features: Vec<String> = features.iter().map(|&name| name.to_owned()).collect();
        let table = Table::read_features(&features, &folder.file("new", content), options, &Silent)?;
        assert!(table.labels.iter().all(|label| label.is_nan()) && table.names == features);
        assert!(table.dataset(table.binner(255).unwrap()).is_err(), "nobody learns from it");
        Ok::<_, foretap::Error>((shown(&table), table.left_out().join(" ")))
    };
    let (ab, columns, nameless) = (&["a", "b"], &["Column_0", "Column_1"], &["feature_0", "feature_1"]);
    let default = TableOptions::default;
    let ignoring = |columns: &str| TableOptions { ignored: vec![columns.parse().unwrap()], ..default() };
    let weighed = || TableOptions { weight: Some(Column::Index(0)), ..default() };
    let missing = |absent| TableOptions { absent_is_missing: Some(absent), ..default() };
    let cases: [(&[&str], &str, TableOptions, &str, &str); 16] = [
        (ab, "b,a\n1,2\n3,4\n", default(), "NaN: 2 1, NaN: 4 3", ""),
        (ab, "b,y,a\n1,x,2\n", named("y"), "NaN: 2 1", "y"),
        (ab, "b,a\n1,2\n", named("y"), "NaN: 2 1", ""),
        (ab, "b,a\n1,2\n", named("0"), "NaN: 2 1", ""),
        (columns, "1,2\n", default(), "NaN: 1 2", ""),
        (columns, "9,1,2\n", default(), "NaN: 1 2", ""),
        (columns, "1,2,9\n", named("2"), "NaN: 1 2", ""),
        (columns, "1\t9\t2\n", ignoring("1"), "NaN: 1 2", ""),
        (columns, "8,9,1,2\n", weighed(), "NaN: 1 2", ""),
        (columns, "9,1,2\n", weighed(), "NaN: 1 2", ""),
        (columns, "0:1 1:2\n1:3\n", default(), "NaN: 1 2, NaN: 0 3", ""),
        (columns, "5 qid:2 0:1\nqid:3 1:2 3:1\n", default(), "NaN: 1 0, NaN: 0 2", "Column_2 Column_3"),
        (columns, "0:1\n", missing(true), "NaN: 1 _", ""),
        // XGBoost takes what is absent for missing.
        (nameless, "0:1\n5 1:2\n", default(), "NaN: 1 _, NaN: _ 2", ""),
        (nameless, "0:1\n5 1:2\n", missing(false), "NaN: 1 0, NaN: 0 2", ""),
        (nameless, "1,2\n", default(), "NaN: 1 2", ""),
    ];
    for (features, content, options, expected, left_out) in cases {
        let found = read(features, content, &options).unwrap_or_else(|error| panic!("{content:?}: {error}"));
        assert_eq!(found, (expected.to_owned(), left_out.to_owned()), "{content:?}");
    }
    let cases: [(&[&str], &str, &str); 5] = [
        (ab, "b,y\n1,2\n", "new, line 1: there is no column `a`, which the model reads; add it"),
        (ab, "1,2\n", "new, line 1: there is no header, but the model reads names"),
        (ab, "b,a\n1,x\n", "new, line 2, field `column 1 (a)`: `x` is not a number"),
        (columns, "1,2,3,4\n", "new: it has 3 features, but the model reads 2; give"),
        (columns, "1\n", "new: 1 columns, and no feature among them; give"),
    ];
    for (features, content, says) in cases {
        let error = read(features, content, &default()).unwrap_err().to_string();
        assert!(error.contains(says), "{content:?}: {error}");
    }
}

#[test]
fn tables_become_datasets() {
    let options = TableOptions { categories: vec![Column::Index(1)], ..TableOptions::default() };
    let content = "y,a,town\n1,2,0\n0,3,1\n2,,1\n";
    let table = read_beside(content, &options, &[("query", "2\n1\n"), ("weight", "1\n2\n3\n")]).unwrap();
    let data = table.dataset(table.binner(255).unwrap()).unwrap();
    assert_eq!((data.rows(), data.groups(), data.labels()), (3, 2, &[1.0, 0.0, 2.0][..]));
    assert_eq!(data.binner().names(), ["a", "town"]);
    assert_eq!(data.binner().kind(1), ColumnKind::Category);
    for bins in [0, 1, 256] {
        assert!(table.binner(bins).unwrap_err().to_string().contains("from 2 to 255"));
    }
    let other = read("1,2\n0,3\n");
    assert!(other.dataset(table.binner(255).unwrap()).is_err());
}

#[test]
fn large_tables_are_read_alike_by_any_number_of_threads() {
    // Several blocks of a million bytes each, and more rows than boundaries are learned from.
    let rows: Vec<String> =
        (0..250_000_u32).map(|row| format!("{},{}.25,{}", row % 2, row % 1_000, row)).collect();
    let folder = Folder::new();
    let file = folder.file("large.csv", rows.join("\n"));
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let read = || Table::read(&file, &TableOptions::default(), &Silent).unwrap();
    let (one, four) = (pool(1).install(read), pool(4).install(read));
    assert_eq!(one, four);
    assert_eq!(one.labels.len(), 250_000);
    assert!(
        one.rows
            .chunks(2)
            .enumerate()
            .all(|(row, values)| values == [(row % 1_000) as f32 + 0.25, row as f32])
    );
    let binner = one.binner(255).unwrap();
    assert_eq!((binner.bins(0), binner.bins(1)), (256, 256));
    assert_eq!(binner, four.binner(255).unwrap());
}

proptest! {
    /// Whatever a file holds: an error, or a table with a row for every line that is neither blank nor a header.
    #[test]
    fn no_line_is_lost(pieces in prop::collection::vec(prop::sample::select(vec![
        "1", "0.5", "-2", "nan", "", "x", "y", "1:2", "2:3", "0:1", "qid:1", "qid:2", "\"", "1e99", ",", ",", "\t",
        " ", " ", "\n", "\n", "\n1,2\n", "\n1 1:1\n", "\r\n", "\u{e9}",
    ]), 0..40)) {
        let content = pieces.concat();
        match read_beside(&content, &TableOptions::default(), &[]) {
            Ok(table) => {
                prop_assert_eq!(table.rows.len(), table.labels.len() * table.columns());
                prop_assert!(table.labels.iter().all(|label| label.is_finite()));
                let lines = content.lines().filter(|line| !line.trim().is_empty()).count();
                let header = usize::from(!table.names[0].starts_with("Column_"));
                prop_assert_eq!(table.labels.len() + header, lines, "{:?}", content);
                prop_assert!(table.dataset(table.binner(255).unwrap()).is_ok());
            }
            Err(error) => prop_assert!(error.to_string().contains("; "), "no next step: {}", error),
        }
    }
}

#[test]
fn numbers_that_floats_do_not_tell_apart_are_named() {
    let table = read("label,date,count,none\n1,20240131,16777216,nan\n0,20240132,-3,inf\n");
    assert_eq!(table.beyond_floats(), ["date"]);
    assert_eq!(read("1,2\n0,3\n").beyond_floats(), Vec::<&str>::new());
}
