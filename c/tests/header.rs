//! include/foretap.h is what cbindgen makes of the package. To make it again, after a change:
//!
//! ```text
//! UPDATE_HEADER=1 cargo test --release -p foretap-c --test header
//! ```

#![allow(clippy::unwrap_used)] // a failed step is a failed test

use std::path::Path;
use std::{env, fs};

use cbindgen::{Builder, Config};

/// What C sees, in the order of the header.
const SOURCES: [&str; 2] = ["src/types.rs", "src/lib.rs"];

#[test]
fn the_header_is_that_of_the_sources() {
    let package = Path::new("");
    let builder = Builder::new().with_config(Config::from_file(package.join("cbindgen.toml")).unwrap());
    let builder = SOURCES.iter().fold(builder, |builder, source| builder.with_src(package.join(source)));
    let mut made = Vec::new();
    builder.generate().unwrap().write(&mut made);
    let made = String::from_utf8(made).unwrap();

    let file = package.join("include/foretap.h");
    if env::var_os("UPDATE_HEADER").is_some() {
        fs::write(&file, &made).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == made,
        "include/foretap.h is not that of the sources; make it again:\n\
         UPDATE_HEADER=1 cargo test --release -p foretap-c --test header"
    );
}
