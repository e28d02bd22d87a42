//! What the examples share: the arguments that name the data, a progress bar, and how errors end a program.

#![allow(dead_code)] // each example uses a part

mod bar;
mod data;
mod deep;
mod source;
mod training;

use std::io::Write as _;
use std::process::ExitCode;

#[allow(unused_imports)] // each example uses a part
pub use bar::Bar;
#[allow(unused_imports)]
pub use data::DataArgs;
#[allow(unused_imports)]
pub use deep::{DeepArgs, RouterArgs, RunArgs, WeightsArgs};
#[allow(unused_imports)]
pub use source::{DEFAULT_LAW, SimulationArgs, Source};
#[allow(unused_imports)]
pub use training::{
    TrainingArgs, check_outputs, check_writable, local_time, make_folder, moment, write_json, zoned_moment,
};

/// Takes `-1` for the value of the flag before it, and not for a flag of its own: then the error says what is wrong with it. For
/// `#[command(mut_args = ..)]`.
pub fn negative_numbers(arg: clap::Arg) -> clap::Arg {
    if arg.get_action().takes_values() { arg.allow_negative_numbers(true) } else { arg }
}

/// Prints `text`. A reader that has gone away, such as `head`, is no error.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Runs a program's body. An error is printed with its next step, and the program fails.
pub fn exit_on_error(run: impl FnOnce() -> foretap::Result<()>) -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
