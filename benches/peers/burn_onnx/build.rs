//! Exports the transformer of the crate's bundle, and has Burn's importer write a module of it.

use std::error::Error;
use std::path::PathBuf;

use burn_onnx::ModelGen;
use foretap::bundle::Bundle;
use foretap::export::ExportSet;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::var("OUT_DIR")?);
    let file = folder.join("transformer.onnx");
    let exports = ExportSet::of_bundle(Bundle::pretrained()?)?.onnx()?;
    let transformer = exports.iter().find(|export| export.name == "transformer");
    transformer.ok_or("the bundle has no transformer")?.model.save(&file)?;
    let file = file.to_str().ok_or("a folder whose name is no text")?;
    ModelGen::new().input(file).out_dir("model/").run_from_script();
    println!("cargo::rerun-if-changed=build.rs");
    Ok(())
}
