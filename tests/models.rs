//! Model files: what is saved comes back, and what is damaged is refused with a way out.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside of test functions too: a failed step is a failed test

mod people;

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use foretap::ErrorKind;
use foretap::context::Task;
use foretap::gbdt::{Ensemble, Forest, Tree};
use foretap::model::RankerModel;
use foretap::ranker::Ranker;
use foretap::storage::write_atomically;
use people::{people, quick_model};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A model as it was trained, and as a file.
static GOOD: LazyLock<(RankerModel, Vec<u8>)> = LazyLock::new(|| {
    let model = quick_model(&people(2, 5), Task::FirstAfterUnlock);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("good.foretap");
    model.save(&file).unwrap();
    (model, fs::read(&file).unwrap())
});

/// Loads a file of these `bytes`; the error as text.
fn load(bytes: &[u8]) -> Result<RankerModel, (ErrorKind, String)> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("phone.foretap");
    fs::write(&file, bytes).unwrap();
    RankerModel::load(&file).map_err(|error| (error.kind(), error.to_string()))
}

/// The good file with its payload edited, and a header that fits it again.
fn payload_edited(edit: impl FnOnce(&mut Value)) -> Vec<u8> {
    let (_, payload) = parts(&GOOD.1);
    let mut payload: Value = serde_json::from_slice(payload).unwrap();
    edit(&mut payload);
    with_payload(&serde_json::to_vec(&payload).unwrap())
}

fn with_payload(payload: &[u8]) -> Vec<u8> {
    let sha256: String = Sha256::digest(payload).iter().map(|byte| format!("{byte:02x}")).collect();
    let (header, _) = parts(&GOOD.1);
    let mut header: Value = serde_json::from_slice(header).unwrap();
    header["bytes"] = json!(payload.len());
    header["sha256"] = json!(sha256);
    [header.to_string().as_bytes(), b"\n", payload].concat()
}

fn header_edited(edit: impl FnOnce(&mut Value)) -> Vec<u8> {
    let (header, payload) = parts(&GOOD.1);
    let mut header: Value = serde_json::from_slice(header).unwrap();
    edit(&mut header);
    [header.to_string().as_bytes(), b"\n", payload].concat()
}

fn parts(bytes: &[u8]) -> (&[u8], &[u8]) {
    let line_end = bytes.iter().position(|&byte| byte == b'\n').unwrap();
    (&bytes[..line_end], &bytes[line_end + 1..])
}

#[test]
fn what_is_saved_comes_back() {
    let (model, bytes) = &*GOOD;
    let again = load(bytes).unwrap();
    assert_eq!((again.task, &again.apps, &again.config), (model.task, &model.apps, &model.config));
    assert_eq!(again.temperature.to_bits(), model.temperature.to_bits());
    assert_eq!(again.ranker.forest().ensemble().trees, model.ranker.forest().ensemble().trees);
    assert_eq!(again.vocabulary().names(), model.apps);
    assert!(again.favourites().iter().all(|app| (app.0 as usize) < model.apps.len()));
    // The helper below makes files that are good but for what is edited.
    assert!(load(&payload_edited(|_| ())).is_ok());
}

/// Gives the feature that the first split asks for another name.
fn rename_asked_for(payload: &mut Value, name: &str) {
    let tree =
        payload["ensemble"]["trees"].as_array().unwrap().iter().find(|tree| tree["splits"] != json!([]));
    let feature = tree.unwrap()["splits"][0]["feature"].as_u64().unwrap() as usize;
    payload["ensemble"]["features"][feature] = json!(name);
}

#[test]
fn features_are_known_by_name() {
    let (model, bytes) = &*GOOD;
    let trees = |bytes: &[u8]| load(bytes).unwrap().ranker.forest().ensemble().clone();
    let as_is = trees(bytes);
    assert_eq!(as_is, *model.ranker.forest().ensemble());
    // The features the other way round, after one that is gone and that no tree asks for.
    let turned = payload_edited(|payload| {
        let features = payload["ensemble"]["features"].as_array_mut().unwrap();
        features.reverse();
        features.insert(0, json!("gone"));
        let columns = features.len();
        for tree in payload["ensemble"]["trees"].as_array_mut().unwrap() {
            for split in tree["splits"].as_array_mut().unwrap() {
                split["feature"] = json!(columns - 1 - split["feature"].as_u64().unwrap() as usize);
            }
        }
    });
    assert_eq!(trees(&turned), as_is);
    // As files of the second version told it.
    let before = payload_edited(|payload| payload["schema_version"] = json!(1));
    let (header, payload) = parts(&before);
    let mut header: Value = serde_json::from_slice(header).unwrap();
    header["version"] = json!(2);
    let before = [header.to_string().as_bytes(), b"\n", payload].concat();
    assert_eq!(trees(&before), as_is);
    let unsaid = [header.to_string().as_bytes(), b"\n", parts(bytes).1].concat();
    assert!(load(&unsaid).is_err());
}

#[test]
fn bad_files_are_refused_with_a_next_step() {
    struct Case {
        what: &'static str,
        bytes: Vec<u8>,
        says: &'static [&'static str],
    }
    let good = &GOOD.1;
    let case = |what, bytes, says| Case { what, bytes, says };
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let not_a_model: &[&str] = &["not a foretap model", "`train` example"];
    let damaged: &[&str] = &["damaged", "copy the file again"];
    let train_again: &[&str] = &["train the model again"];
    let cases = [
        case("empty", Vec::new(), not_a_model),
        case("one line break", b"\n".to_vec(), not_a_model),
        case("a log", b"App name,Date,Time,Duration\nMail,1/2/19,10:00,5\n".to_vec(), not_a_model),
        case("another JSON", b"{\"trees\":[]}\n{}".to_vec(), not_a_model),
        case("bytes", vec![0xff, 0x00, 0xfe, 0x0a, 0x80], not_a_model),
        case("something else of ours", header_edited(|h| h["foretap"] = json!("bundle")), not_a_model),
        case("cut in half", good[..good.len() / 2].to_vec(), &["cut off", "copy the file again"]),
        case("one byte short", good[..good.len() - 1].to_vec(), &["cut off", "copy the file again"]),
        case("one byte long", [good, &b"\n"[..]].concat(), damaged),
        case("twice itself", [&good[..], &good[..]].concat(), damaged),
        case("a byte of the payload flipped", flipped(good.len() - 20), damaged),
        case("the middle flipped", flipped(good.len() / 2), damaged),
        case("a header without a checksum", header_edited(|h| h["sha256"] = Value::Null), damaged),
        case("a header that promises less", header_edited(|h| h["bytes"] = json!(3)), damaged),
        case("a negative size", header_edited(|h| h["bytes"] = json!(-3)), damaged),
        case("an unknown field in the header", header_edited(|h| h["extra"] = json!(1)), damaged),
        case(
            "a later version",
            header_edited(|h| *h = json!({"foretap": "model", "version": 99, "sections": []})),
            &["version 99", "this build reads", "train the model again"],
        ),
        case("no version", header_edited(|h| h["version"] = Value::Null), &["version null", "train"]),
        case(
            "a schema of a version that has none",
            payload_edited(|p| p["schema_version"] = json!(4_000)),
            &["feature schema 4000, where version 3 has none", "train the model again"],
        ),
        case(
            "a feature that this build does not compute",
            payload_edited(|p| rename_asked_for(p, "x")),
            &[
                "field `ensemble.features`: the trees read the column `x`, which this build does not",
                "or train the model again",
            ],
        ),
        case(
            "a feature of another meaning",
            payload_edited(|p| rename_asked_for(p, "overdue@9")),
            &[
                "the column `overdue` in version 9 of its meaning, but this build computes version 1",
                "train the model again",
            ],
        ),
        case("no features", payload_edited(|p| p["ensemble"]["features"] = json!([])), train_again),
        case(
            "no trees",
            payload_edited(|p| drop(p["ensemble"].as_object_mut().unwrap().remove("trees"))),
            train_again,
        ),
        case("an unknown field", payload_edited(|p| p["extra"] = json!(1)), train_again),
        case("an unknown setting", payload_edited(|p| p["config"]["extra"] = json!(1)), train_again),
        case("another task", payload_edited(|p| p["task"] = json!("next-month")), train_again),
        case(
            "a temperature of zero",
            payload_edited(|p| p["temperature"] = json!(0.0)),
            &["field `temperature`", "train the model again"],
        ),
        case("no temperature", payload_edited(|p| p["temperature"] = Value::Null), train_again),
        case(
            "a tree that asks for no feature",
            payload_edited(|p| p["ensemble"]["trees"][0]["splits"][0]["feature"] = json!(60_000)),
            &["tree 0", "feature 60000", "train the model again"],
        ),
        case(
            "a tree that never ends",
            payload_edited(|p| p["ensemble"]["trees"][0]["splits"][0]["left"] = json!({"split": 0})),
            &["tree 0", "leads nowhere", "train the model again"],
        ),
        case(
            "a leaf too much",
            payload_edited(|p| {
                p["ensemble"]["trees"][0]["leaf_values"].as_array_mut().unwrap().push(json!(1.0))
            }),
            &["tree 0", "leaves", "train the model again"],
        ),
        case(
            "a leaf that is no number",
            payload_edited(|p| p["ensemble"]["trees"][0]["leaf_values"][0] = json!("much")),
            &["train the model again"],
        ),
        case("a payload that is no JSON", with_payload(b"trees"), train_again),
        case("no payload", with_payload(b""), train_again),
    ];
    for Case { what, bytes, says } in cases {
        let (kind, message) = load(&bytes).err().unwrap_or_else(|| panic!("{what} was loaded"));
        assert_eq!(kind, ErrorKind::Model, "{what}: {message}");
        for part in says.iter().chain(&["phone.foretap"]) {
            assert!(message.contains(part), "{what}: `{part}` is missing in: {message}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for file in [folder.path().join("missing.foretap"), folder.path().to_path_buf()] {
        let error = RankerModel::load(&file).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        let message = error.to_string();
        for part in [&*file.display().to_string(), "cannot read the model", "`train` example"] {
            assert!(message.contains(part), "`{part}` is missing in: {message}");
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn what_cannot_be_written_leaves_everything_as_it_was() {
    let model = &GOOD.0;
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good");
    fs::write(&good, "as it was").unwrap();
    fs::create_dir(folder.path().join("taken")).unwrap();
    // A folder that is not there, one that is a file, a name that is a folder, no name.
    for output in ["missing/model", "good/model", "taken", ""] {
        let file = folder.path().join(output);
        let error = model.save(&file).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{output}");
        let message = error.to_string();
        for part in [&*file.display().to_string(), "cannot write", "name a file in a folder"] {
            assert!(message.contains(part), "`{part}` is missing in: {message}");
        }
        assert_eq!(names(folder.path()), ["good", "taken"], "{output}");
    }
    // A disk that fills up midway.
    let full = |out: &mut dyn std::io::Write| {
        out.write_all(&[b'x'; 100_000])?;
        Err(std::io::Error::other("no space left"))
    };
    assert!(write_atomically(&good, full).unwrap_err().to_string().contains("no space left"));
    assert_eq!(names(folder.path()), ["good", "taken"]);
    assert_eq!(fs::read_to_string(&good).unwrap(), "as it was");

    // A good model is replaced whole by another.
    model.save(&good).unwrap();
    assert_eq!(fs::read(&good).unwrap(), GOOD.1);
    assert_eq!(names(folder.path()), ["good", "taken"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// To the last bit, which a JSON reader does not owe to anybody.
    #[test]
    fn numbers_come_back_as_they_were(temperature in 0.01_f64..100.0, leaf in -9.0_f64..9.0) {
        let mut model = GOOD.0.clone();
        model.temperature = temperature;
        let ensemble = Ensemble { trees: vec![Tree::constant(leaf, 1.0)], ..model.ranker.forest().ensemble().clone() };
        model.ranker = Ranker::new(Forest::new(ensemble).unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model");
        model.save(&file).unwrap();
        let again = RankerModel::load(&file).unwrap();
        prop_assert_eq!(again.temperature.to_bits(), temperature.to_bits());
        prop_assert_eq!(again.ranker.forest().ensemble().trees[0].leaf_values[0].to_bits(), leaf.to_bits());
    }

    /// Any damage is noticed, and the error names the file.
    #[test]
    fn no_damage_goes_unnoticed(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 0..4),
        in_header in any::<bool>(),
        keep in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = GOOD.1.clone();
        let reach = if in_header { parts(&GOOD.1).0.len() + 1 } else { bytes.len() };
        for (at, mask) in flips {
            bytes[at.index(reach)] ^= mask;
        }
        bytes.truncate(keep.map_or(bytes.len(), |keep| keep.index(bytes.len() + 1)));
        match load(&bytes) {
            Ok(_) => prop_assert_eq!(&bytes, &GOOD.1),
            Err((kind, message)) => {
                prop_assert_eq!(kind, ErrorKind::Model);
                prop_assert!(message.contains("phone.foretap") && message.contains("; "), "{}", message);
            }
        }
    }

    /// Edited payloads under a fitting checksum are refused or good, but never cause a panic.
    #[test]
    fn no_payload_is_believed_unchecked(flips in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..128), 1..4)) {
        let mut payload = parts(&GOOD.1).1.to_vec();
        for (at, mask) in flips {
            let at = at.index(payload.len());
            payload[at] ^= mask;
        }
        if let Err((kind, message)) = load(&with_payload(&payload)) {
            prop_assert_eq!(kind, ErrorKind::Model);
            prop_assert!(message.contains("phone.foretap") && message.contains("train the model again"), "{}", message);
        }
    }
}
