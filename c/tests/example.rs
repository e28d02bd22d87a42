//! example.c, compiled against the library as it ships, prints what it should.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside of test functions too: a failed step is a failed test

mod made;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

/// Where tests run.
const PACKAGE: &str = ".";

#[test]
fn the_example_compiles_without_a_warning_and_ranks_the_week_s_apps() {
    let Some(compiler) = compiler() else { return };
    let folder = tempfile::tempdir().unwrap();
    let program = compile(&compiler, &library(), folder.path());
    let apps = ["org.example.chat", "org.example.mail"];
    for (expert, bundle) in [("student", made::with_student(&apps)), ("trees", made::with_trees(&apps))] {
        let file = folder.path().join(expert);
        fs::write(&file, bundle.to_bytes().unwrap()).unwrap();
        let found = example(&program).arg(&file).output().unwrap();
        let (out, err) = texts(&found);
        assert!(found.status.success() && err.is_empty(), "{expert}: {out}{err}");
        let rows: Vec<(&str, f64)> = out.lines().map(row).collect();
        let [first, second, third, ("an app never opened yet", none)] = rows[..] else {
            panic!("{expert}: {out}")
        };
        let opened = ["chat", "clock", "music", "weather"].map(|app| format!("org.example.{app}"));
        for (place, (app, _)) in ["1. ", "2. ", "3. "].into_iter().zip([first, second, third]) {
            let app = app.strip_prefix(place).unwrap();
            assert!(opened.iter().any(|opened| opened == app), "{expert}: {out}");
        }
        assert!(first.1 >= second.1 && second.1 >= third.1, "{expert}: {out}");
        // Of 21 unlocks, the first three led to a new app: (3 + 1/2) / (21 + 1).
        assert!(none == 15.9 && first.1 + second.1 + third.1 + none <= 100.2, "{expert}: {out}");
    }
}

#[test]
fn the_example_says_why_it_fails() {
    let Some(compiler) = compiler() else { return };
    let folder = tempfile::tempdir().unwrap();
    let program = compile(&compiler, &library(), folder.path());
    let nonsense = folder.path().join("nonsense");
    fs::write(&nonsense, "no bundle at all").unwrap();
    let nothing = folder.path().join("nothing");
    let usage = format!("foretap {}\nusage: ", env!("CARGO_PKG_VERSION"));
    let cases: [(&[&Path], i32, &str); 3] = [
        (&[], 2, &usage),
        (&[&nothing], 1, "cannot read the bundle"),
        (&[&nonsense], 1, "this is not a foretap bundle; name a bundle instead"),
    ];
    for (arguments, code, says) in cases {
        let found = example(&program).args(arguments).output().unwrap();
        let (out, err) = texts(&found);
        assert!(found.status.code() == Some(code) && out.is_empty(), "{arguments:?}: {out}{err}");
        assert!(err.contains(says), "{arguments:?}: `{says}` is missing in: {err}");
    }
}

/// The C compiler: `$CC`, or `cc`. Without one there is nothing to test, but where all is to be tested there must be one.
fn compiler() -> Option<String> {
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    if Command::new(&compiler).arg("--version").output().is_ok_and(|found| found.status.success()) {
        return Some(compiler);
    }
    assert!(env::var_os("CI").is_none(), "no C compiler `{compiler}`, but $CI wants every test: install one");
    println!("skipped: no C compiler `{compiler}`; name one in $CC");
    None
}

/// Builds the library, because cargo builds no such library for a test, and returns its folder.
fn library() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let manifest = Path::new(PACKAGE).join("Cargo.toml");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--profile", "phone", "--lib"]);
    run(build.arg("--manifest-path").arg(manifest).arg("--target-dir").arg(target));
    target.join("phone")
}

/// Compiles the example into `folder`, and returns the program.
fn compile(compiler: &str, library: &Path, folder: &Path) -> PathBuf {
    let (package, program) = (Path::new(PACKAGE), folder.join("example"));
    let mut compile = Command::new(compiler);
    compile.args(["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]);
    compile.arg("-I").arg(package.join("include")).arg(package.join("example.c"));
    compile.arg("-L").arg(library).arg("-lforetap_c").arg(format!("-Wl,-rpath,{}", library.display()));
    run(compile.arg("-o").arg(&program));
    program
}

/// The program, to be run with the library that it was linked with: cargo has tests look for libraries among those of other
/// builds first, which may be older.
fn example(program: &Path) -> Command {
    let mut example = Command::new(program);
    example.env_remove("LD_LIBRARY_PATH").env_remove("DYLD_FALLBACK_LIBRARY_PATH");
    example
}

/// Runs a command that must succeed.
fn run(command: &mut Command) {
    let found = command.output().unwrap();
    let (out, err) = texts(&found);
    assert!(found.status.success(), "{command:?}\n{out}{err}");
}

fn texts(output: &Output) -> (String, String) {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8(text.clone()).unwrap()).into()
}

/// A printed line: its name, and its percentage.
fn row(line: &str) -> (&str, f64) {
    let (name, number) = line.strip_suffix(" %").unwrap().rsplit_once(' ').unwrap();
    (name.trim(), number.parse().unwrap())
}
