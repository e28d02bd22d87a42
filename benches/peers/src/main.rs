//! foretap beside its peers: the same rows, the same settings, in turn, each inside its own engine.
//!
//! The order of the files is the journey: [`cases`] are the rows and [`task`] what is asked of them; [`engines`] learn
//! behind one face, over the C interfaces in [`ffi`]; [`timing`] lets them run in turn; [`train`], [`accuracy`],
//! [`inference`] and [`formats`] each measure one thing into the [`report`]; [`trees`] runs them all.
//! [`int8`] and `transformer` are journeys of their own, from the [`material`] that every engine is given; so is `parity`,
//! of the models as they are exported.

mod accuracy;
mod agreement;
mod cases;
mod engines;
mod ffi;
mod formats;
mod inference;
mod int8;
mod material;
mod onnxruntime;
#[cfg(feature = "parity")]
mod parity;
mod report;
mod task;
mod timing;
mod train;
#[cfg(feature = "burn")]
mod transformer;
mod trees;
mod wheels;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Any error: this program prints it and ends.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// A result with any error.
pub type Result<T> = std::result::Result<T, Error>;

/// foretap beside its peers, on the same rows, in one run
#[derive(Debug, Parser)]
#[command(bin_name = "bash benches/peers/run", version, about)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Trees(trees::Trees),
    Int8(int8::Int8),
    #[cfg(feature = "parity")]
    Parity(parity::Parity),
    #[cfg(feature = "burn")]
    Transformer(transformer::Transformer),
}

fn main() -> ExitCode {
    let measured = match Arguments::parse().what {
        What::Trees(trees) => trees.run(),
        What::Int8(int8) => int8.run(),
        #[cfg(feature = "parity")]
        What::Parity(parity) => parity.run(),
        #[cfg(feature = "burn")]
        What::Transformer(transformer) => transformer.run(),
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The package's folder.
fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
