//! The command line: each command in a few lines.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use foretap::Result;
use foretap_platform::client::Client;
use foretap_platform::config::{self, Config};
use foretap_platform::serve::{FeedbackRequest, PredictRequest};
use foretap_platform::up::up;
use foretap_platform::{rebuild, say};

#[path = "../../examples/cli/bar.rs"]
mod bar;
mod commands;
#[path = "../../examples/cli/data.rs"]
mod data;

use commands::dead::DeadCommand;
use commands::keys::KeysCommand;
use commands::lake::LakeCommand;
use commands::send::SendArguments;
use commands::{check, dead, demo, keys, lake, models, runtime, say_json, send};

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
    // SageMaker starts a container with this word.
    #[command(alias = "serve")]
    Up,
    /// Play logs into it as phones would
    Send(Box<SendArguments>),
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
    /// Whether the running system does its work and takes requests
    Health(ServerArguments),
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
    /// API keys: who may ask, and what they may do; and another master key
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
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
        /// Write what happened as a page
        #[arg(long, value_name = "FILE", default_value = "foretap-demo.html")]
        page: PathBuf,
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

#[derive(Debug, Args)]
struct ServerArguments {
    /// Where the server listens [default: as the settings say]; FORETAP_TOKEN holds an API key or a token, FORETAP_CA_FILE names
    /// the certificate of a private authority
    #[arg(long)]
    url: Option<String>,
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
        let scheme = if config.guard.certificate_file.is_some() { "https" } else { "http" };
        let url = server.url.clone().unwrap_or_else(|| format!("{scheme}://{}", config.http.listen));
        Client::of_environment(&url)
    };
    match &arguments.command {
        Command::Up => serve(config),
        Command::Send(send) => send::send(send, &client(&send.server)?),
        Command::Ask { user, at, apps, server } => {
            let request = PredictRequest {
                user: user.clone(),
                at: at.clone(),
                apps: *apps,
                after: None,
                ..Default::default()
            };
            let answer = client(server)?.predict(&request)?;
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
            client(server)?.feedback(&request)
        }
        Command::Flush(server) => client(server)?.flush(),
        Command::Health(server) => {
            let client = client(server)?;
            client.health().and_then(|()| client.ready())
        }
        Command::Status(server) => say_json(&client(server)?.status()?),
        Command::Person { command: PersonCommand::Forget { user, server } } => {
            say_json(&client(server)?.forget(user)?)
        }
        Command::Person { command: PersonCommand::Export { user, server } } => {
            say_json(&client(server)?.export(user)?)
        }
        Command::Train { data_version } => models::train(&config, data_version.as_deref()),
        Command::Models => models::models(&config),
        Command::Approve { version, by, note, despite_gate } => {
            models::approve(&config, *version, (by, note), *despite_gate)
        }
        Command::Lake { command } => lake::lake(&config, command),
        Command::Keys { command } => keys::keys(&config, command),
        Command::Dead { command } => dead::dead(&config, command, client),
        Command::Rebuild => {
            let (people, events) = runtime()?.block_on(rebuild::rebuild(&config))?;
            say(&format!("{people} people from {events} events"));
            Ok(())
        }
        Command::Demo { people, days, page, json } => demo::demo(*people, *days, page, json.as_deref()),
        Command::Check => check::check(&config),
        Command::Config { example: true } => {
            say(config::EXAMPLE.trim_end());
            Ok(())
        }
        Command::Config { example: false } => say_json(&config),
    }
}

fn serve(config: Config) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("FORETAP_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // A message that cannot be written is lost: whoever is being answered is answered all the same.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.log_internal_errors(false).init();
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
    let started = move |url: &str| {
        say(&format!("foretap listens on {url} and keeps its data in {folder}; stop it with Ctrl-C"));
    };
    runtime()?.block_on(up(config, started, stop))
}
