//! The least that a phone needs: a bundle is opened, a morning observed, an answer asked for. The program is the predictor
//! and little else.
//!
//! ```text
//! cargo run --release --no-default-features --example minimal -- phone.foretap
//!
//!  12.2 %  org.example.chat
//!   1.4 %  org.example.mail
//!   1.4 %  org.example.maps
//! ```

use std::path::Path;
use std::process::ExitCode;

use foretap::bundle::Bundle;
use foretap::data::{Event, Signal, Timestamp, UserId};
use foretap::predict::{Candidate, Predictor as _};
use foretap::router::{Answer, Person, Routing, SuggestionSettings};

fn main() -> ExitCode {
    let Some(file) = std::env::args_os().nth(1) else {
        eprintln!("usage: minimal BUNDLE");
        return ExitCode::from(2);
    };
    match first_apps(Path::new(&file)) {
        Ok(lines) => println!("{}", lines.join("\n")),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The three apps that are opened first, most probably, by somebody whose phone has seen one morning.
fn first_apps(file: &Path) -> foretap::Result<Vec<String>> {
    let bundle = Bundle::load(file)?;
    // The bundle's apps, and those of one's own.
    let mut apps = bundle.vocabulary();
    let [mail, maps, chat] = ["mail", "maps", "chat"].map(|name| apps.intern(&format!("org.example.{name}")));
    let morning = [
        (0, Signal::Unlock),
        (2, Signal::Launch(mail)),
        (90, Signal::Launch(maps)),
        (300, Signal::ScreenOff),
        (900, Signal::Unlock),
        (905, Signal::Launch(chat)),
        (930, Signal::ScreenOff),
        (3_000, Signal::Notification(chat)),
        (3_600, Signal::Unlock),
    ];
    // 2 March 2026, eight in the morning.
    let at = |secs: i64| Timestamp(1_772_438_400 + secs);
    let mut person = Person::new(bundle.favourites(), SuggestionSettings::default(), 1)?;
    for (secs, signal) in morning {
        person.observe(&Event::new(UserId(0), at(secs), signal));
    }
    let router = bundle.router(&apps, Routing::default())?;
    let mut answer = Answer::default();
    person.ask(&router, bundle.parts().task, at(3_600), &mut router.new_scratch(), &mut answer);
    let in_words = |app: &Candidate| format!("{:5.1} %  {}", 100.0 * app.probability, apps.name(app.app));
    Ok(answer.first(3).iter().map(in_words).collect())
}
