//! Exported files: what they are made of here, and what ONNX's checker and ONNX Runtime say of them.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used)] // a failed step is a failed test

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use foretap::bundle::{Bundle, BundleContents};
use foretap::data::simulate::{SimulationConfig, simulate};
use foretap::export::onnx::{self, Numbers, TreeOperator};
use foretap::export::{ExportSet, ModelCard, OnnxExport};
use foretap::gbdt::{Child, Ensemble, SplitCondition, SplitNode, Tree};
use foretap::network::{TransformerConfig, WeightLayout};
use foretap::quantize::quantize;
use foretap::transformer::{Precision, TransformerModel, Weights};

fn export_set() -> ExportSet {
    ExportSet::of_bundle(Bundle::pretrained().unwrap()).unwrap()
}

/// The crate's bundle without some of its parts.
fn without(change: fn(&mut BundleContents)) -> ExportSet {
    let mut parts = Bundle::pretrained().unwrap().parts().clone();
    change(&mut parts);
    ExportSet::of_bundle(Bundle::new(parts).unwrap()).unwrap()
}

/// The crate's bundle whose student mixes three softmaxes.
fn mixture() -> ExportSet {
    let mut parts = Bundle::pretrained().unwrap().parts().clone();
    let mut model = export_set().transformer().unwrap().clone();
    let config = TransformerConfig { mixture: 3, ..model.weights.config().clone() };
    let mut values = model.weights.values.clone();
    let added = WeightLayout::new(&config).len() - values.len();
    values.extend((0..added).map(|k| (k * 7919 % 255) as f32 / 255.0 - 0.5));
    model.weights = Weights::new(config, values).unwrap();
    parts.student = Some(quantize(&model).unwrap());
    ExportSet::of_bundle(Bundle::new(parts).unwrap()).unwrap()
}

fn all(export_set: &ExportSet) -> Vec<OnnxExport> {
    let config = SimulationConfig { people: 2, days: 7, ..SimulationConfig::default() };
    let simulation = simulate(&config, &foretap::Silent).unwrap();
    let ranges = export_set.ranges(&simulation.log, &simulation.vocabulary, 50).unwrap();
    [export_set.onnx().unwrap(), export_set.onnx_half().unwrap(), export_set.onnx_whole(ranges).unwrap()]
        .concat()
}

/// `FORETAP_ONNX_PYTHON`: a Python with the packages of `benches/peers/requirements-onnx.txt`. Without one there is nobody
/// to ask, but where all is to be tested there must be one.
fn python() -> Option<PathBuf> {
    let python = env::var_os("FORETAP_ONNX_PYTHON").map(PathBuf::from);
    if python.is_none() {
        assert!(env::var_os("CI").is_none(), "$CI wants every test: name a Python in $FORETAP_ONNX_PYTHON");
        println!("skipped: no Python with onnx and onnxruntime in $FORETAP_ONNX_PYTHON");
    }
    python
}

#[test]
fn those_who_define_the_format_accept_the_files_and_answer_as_we_do() {
    let Some(python) = python() else { return };
    for export_set in [export_set(), mixture()] {
        let folder = tempfile::tempdir().unwrap();
        for export in all(&export_set) {
            export.save(&folder.path().join(export.name)).unwrap();
        }
        let weights = folder.path().join("transformer.safetensors");
        export_set.transformer().unwrap().save(&weights, Precision::F32).unwrap();
        let found = Command::new(&python).arg("tests/onnx_check.py").arg(folder.path()).output().unwrap();
        let (out, error) = (String::from_utf8_lossy(&found.stdout), String::from_utf8_lossy(&found.stderr));
        println!("{out}");
        assert!(found.status.success() && out.contains("11 models are right"), "{out}{error}");
    }
}

#[test]
fn every_model_has_its_golden_question_and_says_what_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let exports = all(&export_set());
    let names: Vec<&str> = exports.iter().map(|export| export.name).collect();
    assert_eq!(
        names.join(" "),
        "transformer trees trees-regressor trees-classifier trees-walk router router-walk \
                                 transformer-f16 student-static student-dynamic router-dynamic"
    );
    for export in exports {
        let own = folder.path().join(export.name);
        export.save(&own).unwrap();
        let files = |kind: &str| {
            let entries = fs::read_dir(own.join("test_data_set_0")).unwrap();
            entries.filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with(kind)).count()
        };
        let (inputs, outputs) = match export.name {
            name if name.starts_with("trees") => (1, 1),
            name if name.starts_with("router") => (8, 4),
            _ => (6, 2),
        };
        assert_eq!((files("input"), files("output")), (inputs, outputs), "{}", export.name);
        let needs = export.model.requirements();
        let by_trees = match export.name {
            "trees" => Some(5),
            "trees-regressor" | "trees-classifier" | "router" | "router-dynamic" => Some(3),
            _ => None,
        };
        assert_eq!((needs.opset, needs.ml_opset), (17, by_trees), "{}", export.name);
        assert_eq!(fs::read(own.join("model.onnx")).unwrap(), export.model.to_bytes());
    }
}

#[test]
fn the_same_model_gives_the_same_bytes() {
    let bytes = |export_set: &ExportSet| {
        export_set.onnx().unwrap().iter().map(|e| e.model.to_bytes()).collect::<Vec<_>>()
    };
    assert!(bytes(&export_set()) == bytes(&export_set()));
}

#[test]
fn a_part_that_is_missing_is_named() {
    let no_student = without(|parts| parts.student = None);
    let no_trees = without(|parts| parts.trees = None);
    let no_router = without(|parts| parts.router = None);
    let names = |export_set: &ExportSet| {
        export_set.onnx().unwrap().iter().map(|export| export.name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&no_student), "trees trees-regressor trees-classifier trees-walk");
    assert_eq!(names(&no_trees), "transformer");
    assert_eq!(names(&no_router), "transformer trees trees-regressor trees-classifier trees-walk");
    for (error, says) in [
        (
            no_student.onnx_half().err(),
            "field `STUD`: the bundle has no transformer; make it without --no-student",
        ),
        (no_student.router().err(), "the bundle has no transformer"),
        (no_trees.ensemble().err(), "field `TREE`: the bundle has no trees; make it with --trees"),
        (
            no_router.router().err(),
            "field `ROUT`: the bundle has no router; make it with --data or --simulate",
        ),
    ] {
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(says), "{says}: {error}");
    }
}

#[test]
fn what_a_target_cannot_hold_is_refused() {
    let large = |value: f32| {
        let mut model: TransformerModel = export_set().transformer().unwrap().clone();
        model.weights.values[7] = value;
        onnx::transformer(&model, Numbers::Half, &ModelCard::transformer(&model))
            .map(|_| ())
            .map_err(|e| e.to_string())
    };
    assert_eq!(large(65_000.0), Ok(()));
    let error = large(66_000.0).unwrap_err();
    assert!(
        error.contains("app_embedding") && error.contains("half precision; export it in single"),
        "{error}"
    );

    let split = SplitNode {
        feature: 0,
        test: SplitCondition::Categories(vec![1, 4]),
        missing_left: false,
        gain: 1.0,
        left: Child::Leaf(0),
        right: Child::Leaf(1),
    };
    let tree = Tree { splits: vec![split], leaf_values: vec![1.0, 2.0], leaf_cover: vec![1.0; 2] };
    let ensemble = Ensemble::new(vec![tree], 1);
    assert!(onnx::trees(&ensemble, TreeOperator::TreeEnsemble, &ModelCard::default()).is_ok());
    for operator in [TreeOperator::Regressor, TreeOperator::Classifier, TreeOperator::Walk] {
        let error = onnx::trees(&ensemble, operator, &ModelCard::default()).unwrap_err().to_string();
        assert!(error.contains("tree 0 splits by category; export it by the current operator"), "{error}");
    }
}

#[test]
fn a_path_that_cannot_be_written_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("taken");
    fs::write(&file, "something else").unwrap();
    let export = export_set().onnx().unwrap().remove(0);
    for (target, says) in
        [(file.as_path(), "cannot make this folder"), (Path::new("/proc/none"), "cannot make this folder")]
    {
        let error = export.save(target).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("name a folder that you may write to"), "{error}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "something else");
    let error = export.model.save(&folder.path().join("missing/model.onnx")).unwrap_err().to_string();
    assert!(error.contains("there is no folder"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
