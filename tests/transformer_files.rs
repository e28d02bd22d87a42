//! Transformers in files: what is saved comes back, and what is damaged is refused with a way out.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside of test functions too: a failed step is a failed test

use std::fs;
use std::sync::LazyLock;

use foretap::ErrorKind;
use foretap::context::Task;
use foretap::transformer::{Precision, Standardisation, TransformerConfig, TransformerModel, Weights};
use half::f16;
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;
use serde_json::{Value, json};

fn model() -> TransformerModel {
    let config = TransformerConfig {
        d_model: 4,
        layers: 1,
        heads: 2,
        d_ff: 3,
        window: 8,
        pointer_width: 2,
        candidate_columns: 2,
        question_columns: 1,
        ..TransformerConfig::student(Task::NextLaunch, 3)
    };
    let columns = Standardisation {
        candidate_mean: vec![0.1, -2.5],
        candidate_scale: vec![1.0, 0.3],
        question_mean: vec![1e-30],
        question_scale: vec![16_777_217.0],
        ..Standardisation::none(&config)
    };
    let weights = Weights::random(config, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
    let apps = ["Mail", "Maps", "\"Ärger\" \u{1F4F1}"].map(str::to_owned).to_vec();
    TransformerModel { weights, apps, temperature: 1.07, columns }
}

fn saved(model: &TransformerModel, precision: Precision) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("good");
    model.save(&file, precision).unwrap();
    fs::read(&file).unwrap()
}

/// A model's file in single precision.
static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| saved(&model(), Precision::F32));

/// Loads a file of these `bytes`; the error as text.
fn load(bytes: &[u8]) -> Result<TransformerModel, (ErrorKind, String)> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("teacher.safetensors");
    fs::write(&file, bytes).unwrap();
    TransformerModel::load(&file).map_err(|error| (error.kind(), error.to_string()))
}

/// The good file with its header edited.
fn header_edited(edit: impl FnOnce(&mut Value)) -> Vec<u8> {
    let (header, data) = parts();
    let mut header: Value = serde_json::from_slice(header).unwrap();
    edit(&mut header);
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn metadata_edited(field: &str, edit: impl FnOnce(&mut Value)) -> Vec<u8> {
    header_edited(|header| {
        let text = &mut header["__metadata__"][field];
        let mut value = serde_json::from_str(text.as_str().unwrap()).unwrap();
        edit(&mut value);
        *text = json!(value.to_string());
    })
}

fn parts() -> (&'static [u8], &'static [u8]) {
    let header = u64::from_le_bytes(GOOD[..8].try_into().unwrap()) as usize;
    (&GOOD[8..8 + header], &GOOD[8 + header..])
}

#[test]
fn what_is_saved_comes_back() {
    let model = model();
    assert_eq!(load(&GOOD).unwrap(), model);
    assert_eq!(TransformerModel::from_bytes(&GOOD).unwrap(), model);
    // The helpers below make files that are good but for what is edited.
    assert_eq!(load(&header_edited(|_| ())).unwrap(), model);
    assert_eq!(load(&metadata_edited("config", |_| ())).unwrap(), model);
    // The same model gives the same bytes.
    assert_eq!(saved(&model, Precision::F32), *GOOD);
}

/// A file that says nothing of a mixture is of one softmax, and one of one softmax says nothing of it.
#[test]
fn a_mixture_comes_back_and_none_leaves_no_trace() {
    let plain = model();
    let config = TransformerConfig { mixture: 3, ..plain.weights.config().clone() };
    let weights = Weights::random(config, &mut ChaCha8Rng::seed_from_u64(2)).unwrap();
    let mixed = TransformerModel { weights, ..plain.clone() };
    assert_eq!(load(&saved(&mixed, Precision::F32)).unwrap(), mixed);
    assert!(!String::from_utf8_lossy(&GOOD).contains("mixture"));
    assert_eq!(load(&metadata_edited("config", |config| config["mixture"] = json!(1))).unwrap(), plain);
    let (kind, message) =
        load(&metadata_edited("config", |config| config["mixture"] = json!(2))).unwrap_err();
    assert!(kind == ErrorKind::Model && message.contains("`pointer_mixture`"), "{message}");
    let (_, message) = load(&metadata_edited("config", |config| config["mixture"] = json!(0))).unwrap_err();
    assert!(message.contains("mixture of 0"), "{message}");
}

#[test]
fn halves_come_back_exactly_as_halves() {
    let mut model = model();
    let layout = model.weights.layout().app_embedding.clone();
    let extremes = [65_504.0, -65_504.0, 6e-8, 1e-9, -0.0, 1.0 + 1.0 / 2_048.0, 0.1];
    model.weights.values[layout][..7].copy_from_slice(&extremes);
    let bytes = saved(&model, Precision::F16);
    assert!(bytes.len() < GOOD.len() - model.weights.values.len());
    let again = load(&bytes).unwrap();
    for (value, expected) in again.weights.values.iter().zip(&model.weights.values) {
        assert_eq!(value.to_bits(), f16::from_f32(*expected).to_f32().to_bits(), "{expected}");
    }
    // Once rounded, nothing is lost any more.
    assert_eq!(load(&saved(&again, Precision::F16)).unwrap(), again);
    assert_eq!(load(&saved(&again, Precision::F32)).unwrap(), again);
}

#[test]
fn others_read_the_file_as_safetensors() {
    let model = model();
    let file = SafeTensors::deserialize(&GOOD).unwrap();
    assert_eq!(file.len(), model.weights.layout().tensors.len());
    for spec in &model.weights.layout().tensors {
        let tensor = file.tensor(&spec.name).unwrap();
        assert_eq!(tensor.shape(), spec.shape, "{}", spec.name);
        let values = tensor.data().chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap()));
        assert!(values.eq(model.weights.values[spec.range.clone()].iter().copied()), "{}", spec.name);
    }
    assert_eq!(parts().0.len() % 8, 0, "the data are aligned");
    // And what others wrote, with tensors in another order, is read here.
    let (_, header) = SafeTensors::read_metadata(&GOOD).unwrap();
    let metadata = header.metadata().clone();
    let theirs =
        safetensors::serialize(file.iter().map(|(name, view)| (name.to_owned(), Viewed(view))), metadata);
    let theirs = theirs.unwrap();
    assert_ne!(theirs, *GOOD);
    assert_eq!(load(&theirs).unwrap(), model);
}

/// The crate writes views by reference only.
struct Viewed<'a>(safetensors::tensor::TensorView<'a>);

impl safetensors::View for Viewed<'_> {
    fn dtype(&self) -> safetensors::Dtype {
        self.0.dtype()
    }
    fn shape(&self) -> &[usize] {
        self.0.shape()
    }
    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        self.0.data().into()
    }
    fn data_len(&self) -> usize {
        self.0.data().len()
    }
}

#[test]
fn bad_files_are_refused_with_a_next_step() {
    struct Case {
        what: &'static str,
        bytes: Vec<u8>,
        says: &'static [&'static str],
    }
    let case = |what, bytes, says| Case { what, bytes, says };
    let (header, _) = parts();
    let foreign: &[&str] = &["not a foretap transformer", "train --model transformer"];
    let cut_off: &[&str] = &["cut off or damaged", "copy the file again"];
    let damaged: &[&str] = &["damaged", "copy the file again"];
    let with_last = |value: f32| {
        let mut bytes = GOOD.clone();
        let last = bytes.len() - 4;
        bytes[last..].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    let swapped_sizes = |h: &mut Value| {
        let shape = h["place_embedding"]["shape"].as_array_mut().unwrap();
        shape.reverse();
    };
    let cases = [
        case("empty", Vec::new(), foreign),
        case("three bytes", b"abc".to_vec(), foreign),
        case("a log", b"App name,Date,Time,Duration\nMail,1/2/19,10:00,5\n".to_vec(), foreign),
        case("a model of trees", b"{\"foretap\":\"model\",\"version\":2}\n{}".to_vec(), foreign),
        case("a header that is no JSON", [&8_u64.to_le_bytes()[..], b"trees   "].concat(), foreign),
        case("a header that is no text", [&2_u64.to_le_bytes()[..], &[0xff, 0xfe]].concat(), foreign),
        case("an endless header", [u64::MAX.to_le_bytes().as_slice(), b"{}"].concat(), foreign),
        case("no tensors, no metadata", [&2_u64.to_le_bytes()[..], b"{}"].concat(), foreign),
        case("of someone else", header_edited(|h| h["__metadata__"] = json!({"format": "pt"})), foreign),
        case("a checkpoint", header_edited(|h| h["__metadata__"]["foretap"] = json!("checkpoint")), foreign),
        case("cut in the header", GOOD[..8 + header.len() / 2].to_vec(), cut_off),
        case("cut after the header", GOOD[..8 + header.len()].to_vec(), cut_off),
        case("cut in half", GOOD[..GOOD.len() / 2].to_vec(), cut_off),
        case("one byte short", GOOD[..GOOD.len() - 1].to_vec(), cut_off),
        case("one byte long", [&GOOD[..], b"\n"].concat(), cut_off),
        case("twice itself", [&GOOD[..], &GOOD[..]].concat(), cut_off),
        case("sizes beyond their offsets", header_edited(|h| h["final_norm"]["shape"] = json!([5])), damaged),
        case(
            "sizes beyond all numbers",
            header_edited(|h| h["final_norm"]["shape"] = json!([u64::MAX, 9])),
            damaged,
        ),
        case(
            "offsets that overlap",
            header_edited(|h| h["final_norm"]["data_offsets"] = json!([0, 16])),
            damaged,
        ),
        case(
            "a later version",
            header_edited(|h| h["__metadata__"]["version"] = json!("9")),
            &["version 9", "this build reads 1 to 2", "train the model again"],
        ),
        case(
            "no version",
            header_edited(|h| drop(h["__metadata__"].as_object_mut().unwrap().remove("version"))),
            &["`version`", "missing"],
        ),
        case(
            "no columns",
            header_edited(|h| drop(h["__metadata__"].as_object_mut().unwrap().remove("columns"))),
            &["`columns`", "missing"],
        ),
        case(
            "a shape with more in it",
            metadata_edited("config", |config| config["experts"] = json!(8)),
            &["`config`", "experts", "train the model again"],
        ),
        case(
            "an impossible shape",
            metadata_edited("config", |c| c["heads"] = json!(3)),
            &["`config`", "3 heads"],
        ),
        case("a monstrous shape", metadata_edited("config", |c| c["d_ff"] = json!(1e12)), &["`config`"]),
        case("a negative width", metadata_edited("config", |c| c["d_model"] = json!(-4)), &["`config`"]),
        case(
            "more layers than tensors",
            metadata_edited("config", |c| c["layers"] = json!(2)),
            &["`layers.1.attention_norm`", "tensor is missing"],
        ),
        case(
            "a larger vocabulary",
            metadata_edited("config", |c| c["apps"] = json!(4)),
            &["`app_embedding`", "[5, 4]", "[6, 4]"],
        ),
        case(
            "a tensor turned around",
            header_edited(swapped_sizes),
            &["`place_embedding`", "[4, 10]", "[10, 4]"],
        ),
        case(
            "a tensor renamed",
            header_edited(|h| {
                let tensor = h.as_object_mut().unwrap().remove("final_norm").unwrap();
                h["final_norm_2"] = tensor;
            }),
            &["`final_norm`", "tensor is missing"],
        ),
        case(
            "a tensor too many",
            header_edited(|h| h["extra"] = json!({"dtype": "F32", "shape": [0], "data_offsets": [0, 0]})),
            &["`extra`", "no place"],
        ),
        case(
            "another type of numbers",
            header_edited(|h| h["app_bias"]["dtype"] = json!("I32")),
            &["`app_bias`", "I32", "F16 or F32"],
        ),
        case("an unknown type of numbers", header_edited(|h| h["app_bias"]["dtype"] = json!("F99")), foreign),
        case("not a number", with_last(f32::NAN), &["`pointer_output`", "finite"]),
        case("infinite", with_last(f32::INFINITY), &["`pointer_output`", "finite"]),
        case(
            "a name missing",
            metadata_edited("apps", |apps| drop(apps.as_array_mut().unwrap().pop())),
            &["`apps`", "2 names for 3 apps"],
        ),
        case(
            "a name twice",
            metadata_edited("apps", |apps| apps[2] = json!("Mail")),
            &["`apps`", "`Mail`", "twice"],
        ),
        case(
            "a name that is none",
            metadata_edited("apps", |apps| apps[2] = json!(7)),
            &["`apps`", "does not fit"],
        ),
        case("no temperature", metadata_edited("temperature", |t| *t = Value::Null), &["`temperature`"]),
        case(
            "a temperature of 0",
            metadata_edited("temperature", |t| *t = json!(0.0)),
            &["`temperature`", "of 0"],
        ),
        case(
            "a negative temperature",
            metadata_edited("temperature", |t| *t = json!(-1)),
            &["`temperature`", "-1"],
        ),
        case(
            "a scale of 0",
            metadata_edited("columns", |c| c["candidate_scale"][1] = json!(0.0)),
            &["`columns.candidate_scale`", "positive"],
        ),
        case(
            "a negative scale",
            metadata_edited("columns", |c| c["question_scale"][0] = json!(-2.0)),
            &["`columns.question_scale`", "positive"],
        ),
        case(
            "a mean beyond single precision",
            metadata_edited("columns", |c| c["question_mean"][0] = json!(1e300)),
            &["columns"],
        ),
        case(
            "a mean too many",
            metadata_edited("columns", |c| c["candidate_mean"].as_array_mut().unwrap().push(json!(0.0))),
            &["`columns.candidate_mean`", "3 numbers where the shape asks for 2"],
        ),
    ];
    for Case { what, bytes, says } in cases {
        let (kind, message) = load(&bytes).err().unwrap_or_else(|| panic!("{what} was loaded"));
        assert_eq!(kind, ErrorKind::Model, "{what}: {message}");
        for part in says.iter().chain(&["teacher.safetensors", "; "]) {
            assert!(message.contains(part), "{what}: `{part}` is missing in: {message}");
        }
    }
}

#[test]
fn what_no_reader_would_believe_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("teacher.safetensors");
    fs::write(&file, "as it was").unwrap();
    let edited = |edit: fn(&mut TransformerModel)| {
        let mut model = model();
        edit(&mut model);
        model
    };
    let cases = [
        (edited(|m| m.weights.values[0] = 65_520.0), "too large for half precision"),
        (edited(|m| m.weights.values[0] = f32::NAN), "not a finite number"),
        (edited(|m| m.weights.values.truncate(9)), "weights where the shape asks for"),
        (edited(|m| drop(m.apps.pop())), "2 names for 3 apps"),
        (edited(|m| m.temperature = f64::NAN), "a temperature of NaN"),
        (edited(|m| m.columns.question_scale[0] = f32::INFINITY), "not a positive number"),
    ];
    for (model, says) in cases {
        let error = model.save(&file, Precision::F16).unwrap_err();
        let message = error.to_string();
        for part in [says, "teacher.safetensors", "; "] {
            assert!(message.contains(part), "`{part}` is missing in: {message}");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "as it was");
    }
    // What is too large for a half may be a single.
    edited(|m| m.weights.values[0] = 65_520.0).save(&file, Precision::F32).unwrap();
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for file in [folder.path().join("missing.safetensors"), folder.path().to_path_buf()] {
        let error = TransformerModel::load(&file).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        let message = error.to_string();
        for part in [&*file.display().to_string(), "cannot read the transformer", "train --model transformer"]
        {
            assert!(message.contains(part), "`{part}` is missing in: {message}");
        }
    }
}

/// Files of the first version told columns by their number.
#[test]
fn files_of_the_first_version_read_the_columns_of_their_time() {
    let before = header_edited(|header| {
        let metadata = &mut header["__metadata__"];
        metadata["version"] = json!("1");
        let mut columns: Value = serde_json::from_str(metadata["columns"].as_str().unwrap()).unwrap();
        for names in ["candidate_names", "question_names"] {
            assert!(columns.as_object_mut().unwrap().remove(names).is_some());
        }
        metadata["columns"] = json!(columns.to_string());
    });
    assert_eq!(load(&before).unwrap(), model());
}

#[test]
fn columns_that_this_build_does_not_compute_are_refused_by_name() {
    for (list, name, says) in [
        ("candidate_names", "magic", "the column `magic`, which this build does not compute"),
        (
            "question_names",
            "hour@7",
            "the column `hour` in version 7 of its meaning, but this build computes version 1",
        ),
    ] {
        let bytes = metadata_edited("columns", |columns| columns[list][0] = json!(name));
        let (kind, error) = load(&bytes).unwrap_err();
        assert_eq!(kind, ErrorKind::Model);
        let place = format!(
            "teacher.safetensors, field `columns.{list}`: the transformer reads {says}; take the version"
        );
        assert!(error.contains(&place), "{error}");
    }
    let bytes = metadata_edited("columns", |columns| columns["candidate_names"] = json!(["since_launch"]));
    assert!(load(&bytes).unwrap_err().1.contains("1 names where the shape asks for 2"));
}

#[test]
fn columns_are_standardised_row_by_row() {
    let columns = Standardisation {
        candidate_names: vec!["since_launch".into(), "trend".into()],
        question_names: vec!["hour".into()],
        candidate_mean: vec![1.0, -2.0],
        candidate_scale: vec![2.0, 0.5],
        question_mean: vec![3.0],
        question_scale: vec![1.5],
    };
    let mut rows = [1.0, -2.0, 5.0, 0.0];
    columns.candidates(&mut rows);
    assert_eq!(rows, [0.0, 0.0, 2.0, 4.0]);
    let mut rows = [6.0, 3.0];
    columns.questions(&mut rows);
    assert_eq!(rows, [2.0, 0.0]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Damage in the header is refused or harmless, and never causes a panic.
    #[test]
    fn no_header_is_believed_unchecked(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..4),
        keep in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = GOOD.clone();
        let reach = 8 + parts().0.len();
        for (at, mask) in flips {
            bytes[at.index(reach)] ^= mask;
        }
        bytes.truncate(keep.map_or(bytes.len(), |keep| keep.index(bytes.len() + 1)));
        if let Err((kind, message)) = load(&bytes) {
            prop_assert_eq!(kind, ErrorKind::Model);
            prop_assert!(message.contains("teacher.safetensors") && message.contains("; "), "{}", message);
        }
    }
}
