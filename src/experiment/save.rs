//! The models of an experiment as files, as they were trained.

use std::path::Path;

use super::method::Artifact;
use super::round::Round;
use super::routing::RouterPlan;
use crate::bundle::{Bundle, BundleContents};
use crate::error::{Error, Result};
use crate::evaluate::RoutedTest;
use crate::quantize::QuantizedTrees;
use crate::storage::write_atomically;
use crate::transformer::{Precision, TransformerModel};

/// Makes the folder of models, and refuses one that has something in it: files of two experiments would mix.
///
/// # Errors
/// It is no folder, is not empty, or cannot be written to.
pub(super) fn check(folder: &Path) -> Result<()> {
    let failed = |doing, error| {
        Error::io(folder, doing, error).next_step("name a new or an empty folder with --save-models")
    };
    std::fs::create_dir_all(folder).map_err(|error| failed("make the folder for models", error))?;
    let mut files = std::fs::read_dir(folder).map_err(|error| failed("read the folder for models", error))?;
    if files.next().is_some() {
        let error = std::io::Error::other("there is something in it");
        return Err(failed("write models into this folder", error));
    }
    tempfile::tempfile_in(folder).map_err(|error| failed("write into the folder for models", error))?;
    Ok(())
}

/// Writes every model of `round` into `folder`, each under its method's name: trees as `NAME.json`, transformers as
/// `NAME.safetensors`, those in INT8 and the router as the sections of a bundle (`NAME.section`, `router.section`), and
/// where ranker, INT8 transformer and router are there, all of them as `phone.foretap`. Transformers also as they were
/// before they had learned from the validation questions: `NAME.without-validation.safetensors`.
///
/// # Errors
/// The folder or a file cannot be written.
pub(super) fn round(
    folder: &Path,
    round: &Round<'_>,
    temperatures: &[(String, f64)],
    routed: Option<(&RouterPlan, &RoutedTest)>,
) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| {
        Error::io(folder, "make the folder for models", error).next_step("name another with --save-models")
    })?;
    let temperature =
        |name: &str| temperatures.iter().find(|(other, _)| other == name).map_or(1.0, |(_, found)| *found);
    for (name, learned) in &round.learned {
        let file = |extension: &str| folder.join(format!("{name}.{extension}"));
        match &learned.artifact {
            Artifact::None => {}
            Artifact::Ranker(_) => {
                if let Some(model) = round.model(name, temperature(name)) {
                    model.save(&file("json"))?;
                }
            }
            Artifact::Transformer(models) => {
                let [late, early] = &**models;
                for (model, suffix) in [(late, "safetensors"), (early, "without-validation.safetensors")] {
                    let model = TransformerModel { temperature: temperature(name), ..model.clone() };
                    model.save(&file(suffix), Precision::F32)?;
                }
            }
            Artifact::Quantized(_) => {
                if let Some(model) = round.quantized(name, temperature(name)) {
                    write(&file("section"), &model.write()?)?;
                }
            }
            Artifact::File { extension, bytes } => write(&file(extension), bytes)?,
        }
    }
    let Some((plan, routed)) = routed else { return Ok(()) };
    let router = &routed.fitted.model;
    write(&folder.join("router.section"), &router.write()?)?;
    let student = round.quantized(&plan.deep, temperature(&plan.deep));
    let (Some(student), Some(model)) = (student, round.model(&plan.trees, temperature(&plan.trees))) else {
        return Ok(());
    };
    let bundle = Bundle::new(BundleContents {
        task: model.task,
        apps: student.apps.clone(),
        student: Some(student),
        trees: Some((QuantizedTrees::new(model.ranker.forest().ensemble())?, model.temperature)),
        router: Some(router.clone()),
        card: serde_json::Map::new(),
    })?;
    bundle.save(&folder.join("phone.foretap"))
}

fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically(file, |out| out.write_all(bytes))
}
