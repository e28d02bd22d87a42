//! example.c and killed.c, compiled against the library as it ships, print what they should.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside of test functions too: a failed step is a failed test

mod made;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use std::{env, fs};

/// Where tests run.
const PACKAGE: &str = ".";

#[test]
fn the_example_compiles_without_a_warning_and_lives_two_weeks() {
    let Some(compiler) = compiler() else { return };
    let folder = tempfile::tempdir().unwrap();
    let program = compile(&compiler, &library(), "example.c", folder.path());
    let apps = ["org.example.chat", "org.example.mail"];
    let opened = ["chat", "clock", "music", "weather"].map(|app| format!("org.example.{app}"));
    let bundles = [
        (
            "student",
            made::with_student(&apps),
            "there are no trees: the transformer answers alone, and every question\n",
        ),
        ("trees", made::with_trees(&apps), "there is no transformer: the trees answer alone\n"),
        ("both", made::with_both(&apps), ""),
    ];
    for (what, bundle, degraded) in bundles {
        let [file, person] =
            [what.to_owned(), format!("{what}'s person")].map(|name| folder.path().join(name));
        fs::write(&file, bundle.to_bytes().unwrap()).unwrap();
        // Of 21 unlocks, the first three led to a new app: (3 + 1/2) / (21 + 1). Of 43, one more was without an answer.
        for (week, expected_none) in [(1, 15.9), (2, 8.1)] {
            let found = run(program_alone(&program).args([&file, &person]));
            let (out, err) = texts(&found);
            assert_eq!(err, degraded, "{what}");
            let (shown, rows) = out.split_once('\n').unwrap();
            assert!(shown.starts_with("apps were shown at "), "{what}: {out}");
            let rows: Vec<(&str, f64)> = rows.lines().map(row).collect();
            let [first, second, third, ("an app never opened yet", none)] = rows[..] else {
                panic!("{what}: {out}")
            };
            for (place, (app, _)) in ["1. ", "2. ", "3. "].into_iter().zip([first, second, third]) {
                let app = app.strip_prefix(place).unwrap();
                assert!(opened.iter().any(|opened| opened == app), "{what}: {out}");
            }
            assert!(first.1 >= second.1 && second.1 >= third.1, "{what}: {out}");
            assert_eq!(none, expected_none, "{what}, week {week}: {out}");
            assert!(first.1 + second.1 + third.1 + none <= 100.2, "{what}: {out}");
        }
        let sealed = fs::read(&person).unwrap();
        assert!(!sealed.windows(11).any(|bytes| bytes == b"org.example"), "{what}: no name can be read");
    }
}

#[test]
fn a_phone_that_is_killed_again_and_again_answers_as_one_that_was_not() {
    let Some(compiler) = compiler() else { return };
    let folder = tempfile::tempdir().unwrap();
    let program = compile(&compiler, &library(), "tests/killed.c", folder.path());
    let bundle = folder.path().join("bundle");
    fs::write(&bundle, made::with_both(&["chat", "mail"]).to_bytes().unwrap()).unwrap();
    let [undisturbed, killed] = ["undisturbed", "killed"].map(|name| folder.path().join(name));
    let expected = texts(&run(program_alone(&program).args([&bundle, &undisturbed]))).0;
    let expected: Vec<&str> = expected.lines().collect();
    assert_eq!(expected.len(), 300);

    let (mut kills, mut answered, mut asked_again) = (0, 0, 0);
    loop {
        let mut phone =
            program_alone(&program).args([&bundle, &killed]).stdout(Stdio::piped()).spawn().unwrap();
        // Longer and longer, so that the end is reached on a slow machine, too.
        std::thread::sleep(Duration::from_millis(2 + 7 * kills % 23 + kills / 4));
        let at_end = phone.try_wait().unwrap().is_some();
        phone.kill().unwrap();
        let found = phone.wait_with_output().unwrap();
        let out = String::from_utf8(found.stdout).unwrap();
        // The last line may be cut off.
        let whole = out.rfind('\n').map_or("", |end| &out[..=end]);
        for line in whole.lines() {
            let question: usize = line.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(line, expected[question], "after {kills} kills");
            asked_again += usize::from(question < answered);
            answered = answered.max(question + 1);
        }
        if at_end {
            assert!(found.status.success(), "{out}");
            break;
        }
        kills += 1;
        assert!(kills < 2_000, "{answered} answers after {kills} kills");
    }
    assert_eq!(answered, 300);
    assert!(kills >= 3, "the machine is too fast for this test: {kills} kills");
    println!("{kills} kills, {asked_again} questions asked again");
    // Without the state of exploration's draws, which begins at random, and the sum at the end.
    let [undisturbed, killed] = [undisturbed, killed].map(|file| {
        let mut bytes = fs::read(file).unwrap();
        bytes[36..44].fill(0);
        bytes.truncate(bytes.len() - 32);
        bytes
    });
    assert!(undisturbed == killed, "saved to other bytes");
}

#[test]
fn the_example_says_why_it_fails() {
    let Some(compiler) = compiler() else { return };
    let folder = tempfile::tempdir().unwrap();
    let program = compile(&compiler, &library(), "example.c", folder.path());
    let nonsense = folder.path().join("nonsense");
    fs::write(&nonsense, "no bundle at all").unwrap();
    let nothing = folder.path().join("nothing");
    let usage = format!("foretap {}\nusage: ", env!("CARGO_PKG_VERSION"));
    let good = folder.path().join("good");
    fs::write(&good, made::with_both(&["mail"]).to_bytes().unwrap()).unwrap();
    let nowhere = nothing.join("person");
    let cases: [(&[&Path], i32, &str); 6] = [
        (&[], 2, &usage),
        (&[&good], 2, &usage),
        (&[&nothing, &nothing], 1, "cannot read the bundle"),
        (&[&nonsense, &nothing], 1, "this is not a foretap bundle; name a bundle instead"),
        (&[&good, &nonsense], 1, "this is not a foretap history; name a history instead"),
        (&[&good, &nowhere], 1, "there is no folder"),
    ];
    for (arguments, code, says) in cases {
        let found = program_alone(&program).args(arguments).output().unwrap();
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

/// Compiles `source` into `folder`, and returns the program.
fn compile(compiler: &str, library: &Path, source: &str, folder: &Path) -> PathBuf {
    let (package, program) = (Path::new(PACKAGE), folder.join("program"));
    let mut compile = Command::new(compiler);
    compile.args(["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]);
    compile.arg("-I").arg(package.join("include")).arg(package.join(source));
    compile.arg("-L").arg(library).arg("-lforetap_c").arg(format!("-Wl,-rpath,{}", library.display()));
    run(compile.arg("-o").arg(&program));
    program
}

/// The program, to be run with the library that it was linked with: cargo has tests look for libraries among those of other
/// builds first, which may be older.
fn program_alone(program: &Path) -> Command {
    let mut program = Command::new(program);
    program.env_remove("LD_LIBRARY_PATH").env_remove("DYLD_FALLBACK_LIBRARY_PATH");
    program
}

/// Runs a command that must succeed.
fn run(command: &mut Command) -> Output {
    let found = command.output().unwrap();
    let (out, err) = texts(&found);
    assert!(found.status.success(), "{command:?}\n{out}{err}");
    found
}

fn texts(output: &Output) -> (String, String) {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8(text.clone()).unwrap()).into()
}

/// A printed line: its name, and its percentage.
fn row(line: &str) -> (&str, f64) {
    let (name, number) = line.strip_suffix(" %").unwrap().rsplit_once(' ').unwrap();
    (name.trim(), number.parse().unwrap())
}
