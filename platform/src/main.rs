//! The command line: each command in a few lines.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use foretap::data::simulate::{Law, SimulationConfig, simulate};
use foretap::data::{LogOptions, PrivacyKey, Vocabulary, read_logs};
use foretap::{Error, ErrorKind, Result, Silent};
use foretap_platform::client::{Client, phone_events};
use foretap_platform::config::{self, Config};
use foretap_platform::lake::{DeadLetter, TableName, dead_letters};
use foretap_platform::registry::Registry;
use foretap_platform::serve::{AskRequest, FeedbackRequest};
use foretap_platform::store::MasterKey;
use foretap_platform::up::{Folders, open_lake, up};
use foretap_platform::wire::{self, Encoding};
use foretap_platform::{demo, pipeline, rebuild, say};

/// Which app each of many people opens next: events in, answers out, models trained and approved
#[derive(Debug, Parser)]
#[command(name = "foretap", version)]
struct Arguments {
    /// Settings [default: each setting's default; see `foretap config --example`]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole system in one process
    Up,
    /// Play logs into it as phones would
    Send(SendArguments),
    /// Ask what a user opens next
    Ask {
        /// The keyed hash of the user's id, as events have it
        #[arg(long)]
        user: String,
        /// When, as 2026-11-30T08:15:00+01:00 [default: now]
        #[arg(long)]
        at: Option<String>,
        /// How many apps
        #[arg(long)]
        apps: Option<usize>,
        #[command(flatten)]
        server: ServerArguments,
    },
    /// Say what was opened after an answer
    Feedback {
        /// The answer's id
        answer_id: String,
        /// The app; without it, none was
        #[arg(long)]
        opened: Option<String>,
        #[command(flatten)]
        server: ServerArguments,
    },
    /// Have lake and store commit all that was sent before
    Flush(ServerArguments),
    /// Figures of the running system
    Status(ServerArguments),
    /// Train on the lake, and compare with the live model on the same later questions
    Train {
        /// A tag or a snapshot's id [default: the newest]
        #[arg(long)]
        data_version: Option<String>,
    },
    /// The versions, how they compare, and which one is live
    Models,
    /// Make a version live, without a restart
    Approve {
        /// The version
        version: u32,
        /// Who says so
        #[arg(long)]
        by: String,
        /// Why
        #[arg(long, default_value = "")]
        note: String,
        /// Although the gate did not pass it
        #[arg(long)]
        despite_gate: bool,
    },
    /// The tables of all events
    Lake {
        #[command(subcommand)]
        command: LakeCommand,
    },
    /// What a person may ask of us
    Person {
        #[command(subcommand)]
        command: PersonCommand,
    },
    /// What could not be used, and why
    Dead {
        #[command(subcommand)]
        command: DeadCommand,
    },
    /// Make an empty store anew from the lake, while nothing runs
    Rebuild,
    /// The circle on simulated people: sent, kept, answered, trained, compared, approved, fed back
    Demo {
        /// People
        #[arg(long, default_value_t = 24)]
        people: usize,
        /// Days of each
        #[arg(long, default_value_t = 14)]
        days: u32,
        /// Write the figures for machines
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// Test what the settings name, and say what to mend
    Check,
    /// Print the settings
    Config {
        /// Every key with its default and a sentence, instead of what is in force
        #[arg(long)]
        example: bool,
    },
}

#[derive(Debug, Subcommand)]
enum LakeCommand {
    /// Versions of the events, oldest first
    Snapshots,
    /// Name the newest version of the events for good
    Tag {
        /// The name, such as v1.0
        name: String,
    },
    /// Put small files together, in every table
    Compact,
    /// Remove older days from every table; tagged versions stay
    Retain {
        /// Days to keep
        #[arg(long)]
        days: u32,
        /// Do it; otherwise it is only counted what would go
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
enum PersonCommand {
    /// Remove a person from state, journal and every version of the lake, and print the report
    Forget {
        /// The keyed hash of their id
        user: String,
        #[command(flatten)]
        server: ServerArguments,
    },
    /// Print all that is held of a person
    Export {
        /// The keyed hash of their id
        user: String,
        #[command(flatten)]
        server: ServerArguments,
    },
}

#[derive(Debug, Subcommand)]
enum DeadCommand {
    /// By field and reason, how many and since when; `--each` names them
    List {
        /// One line a dead letter
        #[arg(long)]
        each: bool,
    },
    /// One dead letter as it came: it may hold what must not travel
    Show(DeadLetterId),
    /// Send one again, after the limits that refused it were changed; with --all, every one
    Replay {
        #[command(flatten)]
        letter: Option<DeadLetterId>,
        /// All of them
        #[arg(long, conflicts_with = "position", required_unless_present = "position")]
        all: bool,
        #[command(flatten)]
        server: ServerArguments,
    },
}

#[derive(Debug, Args)]
struct DeadLetterId {
    /// The record's position, as `dead list --each` has it
    #[arg(long)]
    position: u64,
    /// The event's number in the record
    #[arg(long, default_value_t = 0)]
    index: u32,
}

#[derive(Debug, Args)]
struct ServerArguments {
    /// Where the server listens [default: as the settings say]
    #[arg(long)]
    url: Option<String>,
}

#[derive(Debug, Args)]
struct SendArguments {
    /// Log files or folders of them, in any format that the crate reads
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present = "simulate")]
    log: Vec<PathBuf>,

    /// The zone of the logs' wall clocks, where they have none
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,

    /// The key under which raw ids are hashed before they leave this machine; made where it is missing
    #[arg(long, value_name = "FILE", default_value = "foretap-data/privacy.key")]
    key: PathBuf,

    /// A label of that key, never the key
    #[arg(long, default_value = "k1")]
    key_id: String,

    /// Simulate so many people instead
    #[arg(long, value_name = "PEOPLE", conflicts_with = "log")]
    simulate: Option<usize>,

    /// The law of simulated people: a name or a file
    #[arg(long, default_value = "broad", requires = "simulate")]
    law: String,

    /// Days of simulated people
    #[arg(long, default_value_t = 14, requires = "simulate")]
    days: u32,

    /// Seed of simulated people
    #[arg(long, default_value_t = 1, requires = "simulate")]
    seed: u64,

    /// Events in a request
    #[arg(long, default_value_t = 2_000)]
    batch: usize,

    /// Seconds of the log that pass in one second [default: as fast as it goes]
    #[arg(long)]
    speed: Option<f64>,

    #[command(flatten)]
    server: ServerArguments,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let config = Config::load(arguments.config.as_deref())?;
    let client = |server: &ServerArguments| {
        Client::new(&server.url.clone().unwrap_or_else(|| format!("http://{}", config.http.listen)))
    };
    match &arguments.command {
        Command::Up => serve(config),
        Command::Send(send) => self::send(send, &client(&send.server)),
        Command::Ask { user, at, apps, server } => {
            let request = AskRequest { user: user.clone(), at: at.clone(), apps: *apps, after: None };
            let answer = client(server).ask(&request)?;
            if !answer.known {
                say("nothing is known of this user: an answer for anybody");
            }
            for app in &answer.apps {
                say(&format!("{:5.1} %  {}", 100.0 * app.probability, app.app));
            }
            if answer.abstains {
                say("not sure enough to show anything");
            }
            say(&format!("answer {} by version {} ({})", answer.answer_id, answer.model, answer.route));
            Ok(())
        }
        Command::Feedback { answer_id, opened, server } => {
            let request = FeedbackRequest { answer_id: answer_id.clone(), opened: opened.clone() };
            client(server).feedback(&request)
        }
        Command::Flush(server) => client(server).flush(),
        Command::Status(server) => say_json(&client(server).status()?),
        Command::Person { command: PersonCommand::Forget { user, server } } => {
            say_json(&client(server).forget(user)?)
        }
        Command::Person { command: PersonCommand::Export { user, server } } => {
            say_json(&client(server).export(user)?)
        }
        Command::Train { data_version } => train(&config, data_version.as_deref()),
        Command::Models => models(&config),
        Command::Approve { version, by, note, despite_gate } => {
            approve(&config, *version, (by, note), *despite_gate)
        }
        Command::Lake { command } => lake(&config, command),
        Command::Dead { command } => dead(&config, command, client),
        Command::Rebuild => {
            let (people, events) = runtime()?.block_on(rebuild::rebuild(&config))?;
            say(&format!("{people} people from {events} events"));
            Ok(())
        }
        Command::Demo { people, days, json } => demo::run(*people, *days, json.as_deref()),
        Command::Check => check(&config),
        Command::Config { example: true } => {
            say(config::EXAMPLE.trim_end());
            Ok(())
        }
        Command::Config { example: false } => say_json(&config),
    }
}

fn say_json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value);
    say(&text.map_err(|error| Error::new(ErrorKind::Data, error.to_string()))?);
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(ErrorKind::Io, format!("no runtime can be started: {error}")))
}

fn serve(config: Config) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("FORETAP_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let stop = async {
        let interrupted = tokio::signal::ctrl_c();
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let Ok(mut terminated) = signal(SignalKind::terminate()) else {
                interrupted.await.unwrap_or_default();
                return;
            };
            tokio::select! {
                interrupted = interrupted => interrupted.unwrap_or_default(),
                _ = terminated.recv() => {}
            }
        }
        #[cfg(not(unix))]
        interrupted.await.unwrap_or_default();
    };
    let folder = config.data.folder.display().to_string();
    let started = move |address: std::net::SocketAddr| {
        say(&format!(
            "foretap listens on http://{address} and keeps its data in {folder}; stop it with Ctrl-C"
        ));
    };
    runtime()?.block_on(up(config, started, stop))
}

fn send(arguments: &SendArguments, client: &Client) -> Result<()> {
    if arguments.speed.is_some_and(|speed| !(speed.is_finite() && speed > 0.0)) {
        let error = Error::new(ErrorKind::Config, "no speed").field("--speed");
        return Err(error.next_step("give a number above 0"));
    }
    let (log, vocabulary) = match arguments.simulate {
        Some(people) => {
            let config = SimulationConfig {
                people,
                days: arguments.days,
                law: Law::named_or_read(&arguments.law)?,
                seed: arguments.seed,
                ..SimulationConfig::default()
            };
            let simulation = simulate(&config, &Silent)?;
            (simulation.log, simulation.vocabulary)
        }
        None => {
            if let Some(folder) = arguments.key.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                std::fs::create_dir_all(folder)
                    .map_err(|error| Error::io(folder, "make the key's folder", error))?;
            }
            let mut options = LogOptions::new(PrivacyKey::load_or_create(&arguments.key)?);
            options.time_zone.clone_from(&arguments.time_zone);
            let mut vocabulary = Vocabulary::new();
            let (log, warnings) = read_logs(&arguments.log, &options, &mut vocabulary, &Silent)?;
            for warning in warnings.iter() {
                eprintln!("warning: {warning}");
            }
            (log, vocabulary)
        }
    };
    let events = phone_events(&log, &vocabulary);
    let people: Vec<String> = log.users().take(3).map(|person| person[0].user.to_string()).collect();
    let sent = client.send(&events, &arguments.key_id, (arguments.batch, arguments.speed), |_| {})?;
    say(&format!(
        "{} events of {} people accepted, {} refused, in {} requests",
        sent.accepted,
        log.users().count(),
        sent.refused,
        sent.batches
    ));
    for reason in &sent.reasons {
        say(&format!("  refused: {}: {}", reason.field, reason.reason));
    }
    let newest = events.last().and_then(|event| jiff::Timestamp::from_microsecond(event.at_us).ok());
    if let (Some(user), Some(newest)) = (people.first(), newest) {
        say(&format!("ask with: foretap ask --user {user} --at {newest}"));
    }
    Ok(())
}

fn train(config: &Config, data_version: Option<&str>) -> Result<()> {
    let folders = Folders::of(config);
    let registry = Registry::open(&folders.models())?;
    let routing = config.answer.routing()?;
    let trained = runtime()?.block_on(async {
        let lake = open_lake(config).await?;
        pipeline::train(&lake, &registry, data_version, routing, &Silent).await
    })?;
    if let Some(comparison) = &trained.card.comparison {
        say(&pipeline::in_words(comparison));
    }
    let version = trained.version;
    say(&match trained.card.passed_gate {
        Some(true) => format!(
            "version {version} passed the gate: make it live with `foretap approve {version} --by NAME`"
        ),
        _ => format!(
            "version {version} did not pass the gate: it is no better than the live one by more than chance (`approve --despite-gate` makes it live all the same)"
        ),
    });
    Ok(())
}

fn models(config: &Config) -> Result<()> {
    let registry = Registry::open(&Folders::of(config).models())?;
    let live = registry.live()?;
    say(&format!("{:>7}  {:<6}{:<10}{:>9}  learned from", "version", "", "gate", "log loss"));
    for version in registry.versions()? {
        let card = registry.card(version)?;
        let is_live = live.as_ref().is_some_and(|live| live.version == version);
        let gate = card.passed_gate.map_or("-", |passed| if passed { "passed" } else { "refused" });
        let loss =
            card.comparison.map_or_else(|| "-".to_owned(), |found| format!("{:.4}", found.after.log_loss));
        let mark = if is_live { "live" } else { "" };
        say(&format!("{version:>7}  {mark:<6}{gate:<10}{loss:>9}  {}", card.learned_from));
    }
    if let Some(live) = live {
        let note = if live.note.is_empty() { String::new() } else { format!(": {}", live.note) };
        say(&format!("version {} was approved by {}{note}", live.version, live.approved_by));
    }
    Ok(())
}

fn approve(config: &Config, version: u32, (by, note): (&str, &str), despite_gate: bool) -> Result<()> {
    let registry = Registry::open(&Folders::of(config).models())?;
    let before = registry.live()?.map(|live| live.version);
    let card = registry.card(version)?;
    if card.passed_gate == Some(false) && !despite_gate {
        return Err(Error::new(ErrorKind::Config, format!("version {version} did not pass the gate"))
            .next_step("train another, or say --despite-gate and why by --note"));
    }
    // It was compared with its parent: that it is better than something else, nobody has seen.
    if let (Some(parent), Some(before)) = (card.parent, before)
        && parent != before
        && version != before
        && !despite_gate
    {
        let message =
            format!("version {version} was compared with version {parent}, but {before} is live by now");
        return Err(Error::new(ErrorKind::Config, message).next_step("train again, or say --despite-gate"));
    }
    let live = registry.approve(version, before, by, note)?;
    say(&format!("version {} is live", live.version));
    Ok(())
}

fn lake(config: &Config, command: &LakeCommand) -> Result<()> {
    runtime()?.block_on(async {
        let lake = open_lake(config).await?;
        match command {
            LakeCommand::Snapshots => {
                say(&format!("{:>20}  {:<24}{:>12}  tags", "snapshot", "committed", "rows"));
                for snapshot in lake.snapshots(TableName::Events).await? {
                    let at = jiff::Timestamp::from_millisecond(snapshot.at_ms)
                        .map_or_else(|_| snapshot.at_ms.to_string(), |at| at.to_string());
                    let (id, rows, tags) = (snapshot.id, snapshot.rows, snapshot.tags.join(", "));
                    say(&format!("{id:>20}  {at:<24}{rows:>12}  {tags}"));
                }
                Ok(())
            }
            LakeCommand::Tag { name } => {
                let snapshot = lake.tag(name).await?;
                say(&format!("{name} is snapshot {snapshot}"));
                Ok(())
            }
            LakeCommand::Compact => {
                for name in TableName::ALL {
                    let cleaned = lake.compact(name).await?;
                    say(&format!("{}: {} files less", name.name(), cleaned.files_less));
                }
                Ok(())
            }
            LakeCommand::Retain { days, yes } => {
                let until_us = jiff::Timestamp::now().as_microsecond() - i64::from(*days) * 86_400_000_000;
                for name in TableName::ALL {
                    let cleaned = lake.retain(name, until_us, !*yes).await?;
                    say(&format!(
                        "{}: {} rows less, {} older snapshots dropped, {} files deleted",
                        name.name(),
                        cleaned.rows,
                        cleaned.snapshots,
                        cleaned.files_deleted
                    ));
                }
                if !*yes {
                    say("nothing was removed: say --yes to do it");
                }
                Ok(())
            }
        }
    })
}

fn dead(
    config: &Config,
    command: &DeadCommand,
    client: impl FnOnce(&ServerArguments) -> Client,
) -> Result<()> {
    let letters = runtime()?.block_on(async {
        let lake = open_lake(config).await?;
        dead_letters(&lake).await
    })?;
    let of = |wanted: &DeadLetterId| {
        let is_it = |letter: &&DeadLetter| letter.position == wanted.position && letter.index == wanted.index;
        letters.iter().find(is_it).ok_or_else(|| {
            let message = format!("no dead letter at position {}, index {}", wanted.position, wanted.index);
            Error::new(ErrorKind::Config, message).next_step("see `foretap dead list --each`")
        })
    };
    let raw = |letter: &DeadLetter| MasterKey::load(&config.key_file(), false)?.open(&letter.raw_sealed);
    match command {
        DeadCommand::List { each: true } => {
            for letter in &letters {
                let DeadLetter { position, index, partition, field, reason, .. } = letter;
                say(&format!("position {position} index {index} of {partition}: {field}: {reason}"));
            }
            Ok(())
        }
        DeadCommand::List { each: false } => {
            let mut counts: BTreeMap<(&str, &str), (u64, i64)> = BTreeMap::new();
            for letter in &letters {
                let entry =
                    counts.entry((&letter.field, &letter.reason)).or_insert((0, letter.received_at_us));
                entry.0 += 1;
            }
            say(&format!("{} dead letters", letters.len()));
            for ((field, reason), (count, since_us)) in counts {
                let since =
                    jiff::Timestamp::from_microsecond(since_us).map(|at| at.to_string()).unwrap_or_default();
                say(&format!("{count:>9}  {field}: {reason} (first {since})"));
            }
            Ok(())
        }
        DeadCommand::Show(wanted) => {
            let letter = of(wanted)?;
            let raw = raw(letter)?;
            say(&match letter.encoding.as_str() {
                "json" => String::from_utf8_lossy(&raw).into_owned(),
                _ => raw.iter().map(|byte| format!("{byte:02x}")).collect(),
            });
            Ok(())
        }
        DeadCommand::Replay { letter, all: _, server } => {
            let client = client(server);
            let wanted = match letter {
                Some(wanted) => vec![of(wanted)?],
                None => letters.iter().collect(),
            };
            let (mut accepted, mut refused) = (0, 0);
            for letter in &wanted {
                let encoding = Encoding::from_name(&letter.encoding).unwrap_or(Encoding::Json);
                let batch = wire::batch_of_raw(&raw(letter)?, encoding, &letter.key_id);
                let sent = batch
                    .map_err(|refusal| Error::new(ErrorKind::Data, refusal.reason).field(refusal.field))
                    .and_then(|batch| client.send_batch(&batch, encoding));
                match sent {
                    Ok(sent) => {
                        accepted += sent.accepted;
                        refused += sent.refused;
                        for again in sent.reasons {
                            say(&format!(
                                "position {} index {}: {}: {}",
                                letter.position, letter.index, again.field, again.reason
                            ));
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::Io => return Err(error),
                    Err(error) => {
                        refused += 1;
                        say(&format!("position {} index {}: {error}", letter.position, letter.index));
                    }
                }
            }
            say(&format!("{accepted} accepted now, {refused} refused again"));
            Ok(())
        }
    }
}

/// Each thing that the settings name, whether it can be used, and what to mend.
fn check(config: &Config) -> Result<()> {
    let folders = Folders::of(config);
    let mut failed = 0;
    let mut report = |what: &str, found: Result<String>| match found {
        Ok(fine) => say(&format!("fine   {what}: {fine}")),
        Err(error) => {
            failed += 1;
            say(&format!("WRONG  {what}: {error}"));
        }
    };
    report("folder", folders.make().and_then(|()| writable(&config.data.folder)));
    report("clock", clock());
    report("address", address(&config.http.listen));
    report(
        "models",
        Registry::open(&folders.models()).and_then(|registry| {
            let live = registry.live()?.map_or(1, |live| live.version);
            let bundle = registry.bundle(live)?;
            Ok(format!("version {live} answers its {} golden questions", bundle.golden_questions()))
        }),
    );
    report(
        "lake",
        runtime().and_then(|runtime| {
            runtime.block_on(async {
                let lake = open_lake(config).await?;
                let snapshots = lake.snapshots(TableName::Events).await?;
                Ok(format!("{} rows of events", snapshots.last().map_or(0, |snapshot| snapshot.rows)))
            })
        }),
    );
    if config.kafka.is_used() {
        report("kafka", kafka(config));
    }
    match failed {
        0 => Ok(()),
        failed => Err(Error::new(ErrorKind::Config, format!("{failed} of these cannot be used"))),
    }
}

#[cfg(feature = "kafka")]
fn kafka(config: &Config) -> Result<String> {
    runtime()?.block_on(foretap_platform::source::check_kafka(&config.kafka))
}

#[cfg(not(feature = "kafka"))]
fn kafka(_config: &Config) -> Result<String> {
    Err(foretap_platform::up::no_kafka())
}

fn writable(folder: &std::path::Path) -> Result<String> {
    let probe =
        tempfile::tempfile_in(folder).and_then(|mut file| std::io::Write::write_all(&mut file, b"probe"));
    probe.map_err(|error| {
        Error::io(folder, "write here", error).next_step("give another `folder` in [data]")
    })?;
    Ok(folder.display().to_string())
}

fn clock() -> Result<String> {
    let now = jiff::Timestamp::now();
    // When this was written: a clock before it was never set.
    if now.as_second() < 1_796_000_000 {
        return Err(
            Error::new(ErrorKind::Config, format!("it is {now} by this machine")).next_step("set its clock")
        );
    }
    Ok(now.to_string())
}

fn address(listen: &str) -> Result<String> {
    match std::net::TcpListener::bind(listen) {
        Ok(_) => Ok(format!("{listen} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Ok(format!(
            "something listens on {listen}: if that is not foretap, give another `listen` in [http]"
        )),
        Err(error) => Err(Error::new(ErrorKind::Io, format!("cannot listen on {listen}: {error}"))
            .next_step("give another `listen` in [http]")),
    }
}
