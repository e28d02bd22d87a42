//! Answers per second of the whole program, by an open loop: requests are sent at a rate, whether answers have come or not, and a
//! latency counts from when the request was due. The highest rate is looked for at which 99 % are answered within 10 ms and
//! 99.9 % within 25 ms; it is then held.
//!
//! ```text
//! bash platform/benches/run serve --json out.json      # brings the load generator `oha` once
//! ```
//!
//! Server and generator share the machine's cores: the figures say what each took.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use foretap::Silent;
use foretap::bundle::Bundle;
use foretap::data::UserId;
use foretap::data::simulate::{Law, SimulationConfig, simulate};
use foretap_platform::client::{Client, phone_events};
use foretap_platform::say;
use foretap_platform::store::{MasterKey, People, RedbStore};
use foretap_platform::wire::PhoneEvent;
use serde_json::{Value, json};

/// Measure answers
#[derive(Debug, Parser)]
struct Arguments {
    /// People in the store
    #[arg(long, default_value_t = 100_000)]
    people: u64,
    /// Days of each
    #[arg(long, default_value_t = 2)]
    days: u32,
    /// Seconds of each attempt at a rate
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Seconds that the highest rate is held
    #[arg(long, default_value_t = 300)]
    hold: u64,
    /// The first rate that is tried, in requests a second
    #[arg(long, default_value_t = 500)]
    first: u64,
    /// Connections
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// The load generator [default: as FORETAP_OHA says, or `oha`]
    #[arg(long)]
    oha: Option<PathBuf>,
    /// Write the figures for machines
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// What a rate has to hold, in milliseconds.
const P99_MS: f64 = 10.0;
const P999_MS: f64 = 25.0;
/// Simulated people, whose days others live again.
const LIVES: usize = 500;
/// Events between two writes while the store is filled.
const FILLED_AT_ONCE: usize = 500_000;

fn main() {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir().unwrap();
    let started = Instant::now();
    fill(folder.path(), &arguments);
    say(&format!("{} people in {:.0} s", arguments.people, started.elapsed().as_secs_f64()));
    let questions = questions(folder.path(), &arguments);
    let server = Server::start(folder.path());
    // Each person once: the store's pages and the connections are warm.
    let warm = server.load(&arguments, &questions, (arguments.first, 10));
    say(&format!("warm: {}", warm.in_words()));
    let rate = highest(&server, &arguments, &questions);
    let held = server.load(&arguments, &questions, (rate, arguments.hold));
    say(&format!("held for {} s: {}", arguments.hold, held.in_words()));
    let over = server.load(&arguments, &questions, (10 * rate, arguments.seconds));
    say(&format!("ten times as many: {}", over.in_words()));
    let figures = json!({
        "people": arguments.people,
        "rps": held.rate,
        "p50_ms": held.p50_ms,
        "p99_ms": held.p99_ms,
        "p999_ms": held.p999_ms,
        "failed": held.failed,
        "server_cores": held.server_cores,
        "generator_cores": held.generator_cores,
        // Answers in time, beside those of the rate that was held.
        "goodput_at_10x": over.in_time_per_s / held.in_time_per_s,
        "refused_at_10x": over.failed,
        "stages": server.stages(),
        "rss_mb": server.rss_mb(),
    });
    let text = serde_json::to_string_pretty(&figures).unwrap();
    say(&text);
    if let Some(file) = &arguments.json {
        std::fs::write(file, text).unwrap();
    }
}

/// People whose lives are those of simulated ones, straight into the store: what is sent does not matter here.
fn fill(folder: &Path, arguments: &Arguments) {
    let law = Law::named("broad").unwrap();
    let people = LIVES.min(arguments.people as usize);
    let config = SimulationConfig { people, days: arguments.days, law, ..Default::default() };
    let simulation = simulate(&config, &Silent).unwrap();
    let events = phone_events(&simulation.log, &simulation.vocabulary);
    let mut lives: std::collections::BTreeMap<UserId, Vec<PhoneEvent>> = Default::default();
    for event in events {
        lives.entry(event.user).or_default().push(event);
    }
    let lives: Vec<Vec<PhoneEvent>> = lives.into_values().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let master = MasterKey::load(&folder.join("master.key"), true).unwrap();
        let store = Arc::new(RedbStore::open(&folder.join("store.redb")).unwrap());
        let people = People::open(store, master, 1_000).await.unwrap();
        let bundle = Bundle::pretrained().unwrap();
        let mut folded = 0;
        for user in 0..arguments.people {
            for event in &lives[user as usize % lives.len()] {
                let event = PhoneEvent { user: user_of(user), ..event.clone() };
                people.fold(event, i64::MAX).await.unwrap();
                folded += 1;
            }
            if folded >= FILLED_AT_ONCE {
                people.write(&bundle).await.unwrap();
                folded = 0;
            }
        }
        people.write(&bundle).await.unwrap();
    });
}

fn user_of(number: u64) -> UserId {
    // Spread, as hashes are.
    UserId(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// A question of each person, in a random order: one a line.
fn questions(folder: &Path, arguments: &Arguments) -> PathBuf {
    let file = folder.join("questions.jsonl");
    let mut out = std::io::BufWriter::new(std::fs::File::create(&file).unwrap());
    for number in 0..arguments.people {
        let user = user_of(number.wrapping_mul(7_919) % arguments.people).to_string();
        let context = json!({ "battery_percent": number % 101, "network": "wifi", "utc_offset_secs": 3_600 });
        writeln!(out, "{}", json!({ "user": user, "context": context })).unwrap();
    }
    out.flush().unwrap();
    file
}

/// The highest rate that holds, to a twentieth.
fn highest(server: &Server, arguments: &Arguments, questions: &Path) -> u64 {
    let holds = |rate: u64| {
        let tried = server.load(arguments, questions, (rate, arguments.seconds));
        let holds = tried.failed == 0 && tried.p99_ms < P99_MS && tried.p999_ms < P999_MS;
        say(&format!("{} {}", if holds { "holds" } else { "fails" }, tried.in_words()));
        holds
    };
    let (mut least, mut most) = (0, arguments.first);
    while holds(most) {
        (least, most) = (most, 2 * most);
    }
    while most - least > (least / 20).max(1) {
        let middle = least.midpoint(most);
        if holds(middle) { least = middle } else { most = middle }
    }
    least
}

/// The running program.
struct Server {
    child: Child,
    url: String,
    client: Client,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came of a load.
struct Loaded {
    rate: u64,
    answered_per_s: f64,
    /// Of them within [`P999_MS`] of when they were due, at least.
    in_time_per_s: f64,
    failed: u64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    server_cores: f64,
    generator_cores: f64,
}

impl Loaded {
    fn in_words(&self) -> String {
        format!(
            "{} a second: {:.0} answered, {:.0} of them in time, {} failed; median {:.2} ms, 99 % {:.2} ms, 99.9 % {:.2} ms; server {:.2} cores, \
             generator {:.2}",
            self.rate,
            self.answered_per_s,
            self.in_time_per_s,
            self.failed,
            self.p50_ms,
            self.p99_ms,
            self.p999_ms,
            self.server_cores,
            self.generator_cores
        )
    }
}

impl Server {
    fn start(folder: &Path) -> Self {
        // The store alone was filled: an empty lake beside it is none that was lost.
        let mut command = Command::new(env!("CARGO_BIN_EXE_foretap"));
        command.arg("up").env("FORETAP_DATA_FOLDER", folder).env("FORETAP_HTTP_LISTEN", "127.0.0.1:0");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(foretap_platform::lake::Lake::open(&folder.join("lake"), 16)).unwrap();
        let mut child = command.env("FORETAP_LOG", "error").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.split_whitespace().find(|word| word.starts_with("http")).unwrap().to_owned();
        Self { child, client: Client::new(&url), url }
    }

    fn load(&self, arguments: &Arguments, questions: &Path, (rate, seconds): (u64, u64)) -> Loaded {
        let server = self.child.id().to_string();
        let before = (cpu_seconds(&server).0, cpu_seconds("self").1);
        let oha = arguments.oha.clone().or_else(|| std::env::var_os("FORETAP_OHA").map(PathBuf::from));
        let mut command = Command::new(oha.unwrap_or_else(|| "oha".into()));
        command.args(["--no-tui", "--output-format", "json", "--latency-correction", "-m", "POST"]);
        command.args(["-T", "application/json", "-q", &rate.to_string(), "-z", &format!("{seconds}s")]);
        command
            .args(["-c", &arguments.connections.to_string(), "--stats-success-breakdown", "-Z"])
            .arg(questions);
        let child = command.arg(format!("{}/v1/predict", self.url)).stdout(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "oha");
        let server_cores = (cpu_seconds(&server).0 - before.0) / seconds as f64;
        let generator_cores = (cpu_seconds("self").1 - before.1) / seconds as f64;
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let at =
            |percentile: &str| report["latencyPercentiles"][percentile].as_f64().unwrap_or(f64::NAN) * 1e3;
        let answers = report["statusCodeDistribution"].as_object().unwrap();
        let fine = answers.get("200").and_then(Value::as_u64).unwrap_or(0);
        let all: u64 = answers.values().filter_map(Value::as_u64).sum();
        let errors = report["errorDistribution"].as_object().map_or(0, |errors| {
            let counted = errors.iter().filter(|(why, _)| !why.contains("deadline"));
            counted.filter_map(|(_, count)| count.as_u64()).sum()
        });
        let answered_per_s = fine as f64 / seconds as f64;
        // The generator reports some percentiles of what was answered: the greatest of them that is in time.
        let in_time = [("p10", 0.1), ("p25", 0.25), ("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p95", 0.95)];
        let in_time = in_time.into_iter().chain([("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.999_9)]);
        let answered = &report["latencyPercentilesSuccessful"];
        let is_in_time = |name: &str| answered[name].as_f64().is_some_and(|secs| secs * 1e3 <= P999_MS);
        let in_time =
            in_time.filter(|(name, _)| is_in_time(name)).map(|(_, share)| share).fold(0.0, f64::max);
        Loaded {
            rate,
            answered_per_s,
            in_time_per_s: in_time * answered_per_s,
            failed: all - fine + errors,
            p50_ms: at("p50"),
            p99_ms: at("p99"),
            p999_ms: at("p99.9"),
            server_cores,
            generator_cores,
        }
    }

    /// 99 % of each stage of an answer, from the server's own histograms, in milliseconds.
    fn stages(&self) -> Value {
        let mut text = ureq::get(format!("{}/metrics", self.url)).call().unwrap();
        let text = text.body_mut().read_to_string().unwrap();
        let of = |stage: &str| {
            let buckets: Vec<(f64, f64)> = text
                .lines()
                .filter(|line| {
                    line.starts_with("foretap_answer_seconds_bucket")
                        && line.contains(&format!("stage=\"{stage}\""))
                })
                .filter_map(|line| {
                    let bound = line.split("le=\"").nth(1)?.split('"').next()?;
                    let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
                    Some((bound, line.rsplit(' ').next()?.parse().ok()?))
                })
                .collect();
            let all = buckets.last().map_or(0.0, |(_, count)| *count);
            let found = buckets.iter().find(|(_, count)| *count >= 0.99 * all);
            json!(found.map(|(bound, _)| bound * 1e3))
        };
        json!({ "queue": of("queue"), "state": of("state"), "model": of("model"), "total": of("total") })
    }

    fn rss_mb(&self) -> f64 {
        let _ = self.client.status();
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmHWM"));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).unwrap_or(0.0) / 1_024.0
    }
}

/// Seconds of processor time that a process has had, and its children that have ended.
fn cpu_seconds(process: &str) -> (f64, f64) {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Behind the name, which may have spaces.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    ((ticks(11) + ticks(12)) / 100.0, (ticks(13) + ticks(14)) / 100.0)
}
