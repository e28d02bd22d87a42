//! Core ML: what coremltools says of a package. Away from a Mac it cannot run one, but it loads the program, checks every
//! type and computes answers in NumPy by its own definitions of the operators.

use std::path::Path;
use std::process::Command;

use foretap::export::question::NamedTensor;
use foretap::export::{ExportSet, coreml};
use serde::Deserialize;

use super::model::Model;
use super::people::Question;
use super::report::Row;
use crate::material::{self, Field};
use crate::{Result, here, wheels};

/// Questions that NumPy is asked: it takes a second for each.
const ASKED: usize = 20;

/// What `coreml_check.py` says.
#[derive(Deserialize)]
struct Checked {
    coremltools: String,
    questions: usize,
    largest_difference: Option<f64>,
}

/// A row for the transformer's package, without times; none where coremltools is not installed in `$PEERS_COREML_VENV`, or
/// `.venv-coreml` here.
///
/// # Errors
/// The package cannot be written.
pub fn rows(export_set: &ExportSet, asked: &[Question], folder: &Path) -> Result<Vec<Row>> {
    let venv = wheels::environment("PEERS_COREML_VENV", ".venv-coreml");
    if !wheels::packages(&venv).is_some_and(|packages| packages.join("coremltools").is_dir()) {
        return Ok(Vec::new());
    }
    let package = folder.join("transformer.mlpackage");
    coreml::transformer(export_set.transformer()?, &export_set.model_card())?.save(&package)?;
    let questions = folder.join("questions");
    std::fs::create_dir_all(&questions)?;
    let of_transformer = Model::ALL.iter().position(|&model| model == Model::Transformer).unwrap_or_default();
    for (index, question) in asked.iter().step_by((asked.len() / ASKED).max(1)).take(ASKED).enumerate() {
        let ours = question.ours[of_transformer].clone();
        let answer = NamedTensor::floats("probabilities", vec![1, ours.len()], ours);
        let fields = Model::Transformer.inputs(question).iter().chain([&answer]).map(Field::of).collect();
        material::save(&questions.join(format!("{index}.safetensors")), fields)?;
    }
    let mut check = Command::new(venv.join("bin/python"));
    check.arg(here().join("coreml_check.py")).arg(&package).arg(&questions);
    let found = check.output()?;
    let mut row = Row { export: "coreml".into(), runtime: "coremltools".into(), ..Row::default() };
    match serde_json::from_slice::<Checked>(&found.stdout) {
        Ok(checked) if found.status.success() => {
            row.loads = true;
            row.version = checked.coremltools;
            row.questions = checked.questions;
            row.max_difference = checked.largest_difference;
        }
        _ => row.error = Some(String::from_utf8_lossy(&found.stderr).trim().to_owned()),
    }
    Ok(vec![row])
}
