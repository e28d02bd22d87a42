//! What tests of the whole program share: starting and killing it, people to send, and what must be kept of them.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use foretap::Silent;
use foretap::bundle::Bundle;
use foretap::data::simulate::{Law, SimulationConfig, simulate};
use foretap::router::{Person, SuggestionSettings};
use foretap_platform::client::{Client, phone_events};
use foretap_platform::lake::{Lake, TableName, people, row_count};
use foretap_platform::store::{MasterKey, OnlineStore as _, PersonState, RedbStore};
use foretap_platform::wire::{EventKey, PhoneEvent};

/// A running `foretap up`; killed when it is dropped.
pub struct Up {
    /// The process.
    pub child: Child,
    /// Of its door.
    pub client: Client,
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Up {
    /// Starts it with its data in `folder` and these settings, and waits until it answers.
    pub fn start(folder: &Path, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foretap"));
        command.arg("up").env("FORETAP_HTTP_LISTEN", "127.0.0.1:0").env("FORETAP_LOG", "warn");
        command.env("FORETAP_DATA_FOLDER", folder).envs(settings.iter().copied());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.split_whitespace().find(|word| word.starts_with("http://")).expect(&line).to_owned();
        Self { child, client: Client::new(&url) }
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

/// What simulated people's phones send, in the order of the events' times.
pub fn events(people: usize, days: u32) -> Vec<PhoneEvent> {
    let law = Law::named("broad").unwrap();
    let simulation =
        simulate(&SimulationConfig { people, days, law, ..Default::default() }, &Silent).unwrap();
    phone_events(&simulation.log, &simulation.vocabulary)
}

/// A runtime for what is asked of the files directly.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

/// Every event in the lake once, every state that of a replay.
pub fn assert_kept(folder: &Path, events: &[PhoneEvent]) {
    runtime().block_on(async {
        let lake = Lake::open(&folder.join("lake"), 16).await.unwrap();
        assert_kept_in(&lake, folder, events).await;
    });
}

/// The same of a lake that may lie elsewhere.
pub async fn assert_kept_in(lake: &Lake, folder: &Path, events: &[PhoneEvent]) {
    let bundle = Bundle::pretrained().unwrap();
    let model: Arc<str> = "1".into();
    let found = people(lake, None).await.unwrap();
    let in_lake: BTreeSet<(u64, EventKey)> =
        found.iter().flat_map(|(user, events)| events.keys().map(|key| (user.0, *key))).collect();
    let sent: BTreeSet<(u64, EventKey)> = events.iter().map(|event| (event.user.0, event.key())).collect();
    assert!(
        in_lake == sent,
        "{} of {} events are in the lake",
        in_lake.intersection(&sent).count(),
        sent.len()
    );
    assert_eq!(row_count(lake, TableName::Events).await.unwrap(), sent.len() as u64, "each once");
    let master = MasterKey::load(&folder.join("master.key"), false).unwrap();
    let store = RedbStore::open(&folder.join("store.redb")).unwrap();
    for (user, lived) in &found {
        let row = store.row(*user).await.unwrap().unwrap();
        let mut state = PersonState::read(*user, &row, master.open_person(&row.key).unwrap()).unwrap();
        let snapshot = store.person(*user).await.unwrap();
        let (person, vocabulary) = state.current((&bundle, &model), snapshot.as_deref()).unwrap();
        let kept = person.write(vocabulary).unwrap();
        let mut vocabulary = bundle.vocabulary();
        let mut person = Person::new(bundle.favourites(), SuggestionSettings::default(), user.0).unwrap();
        lived.values().for_each(|event| person.observe(&event.to_event(&mut vocabulary)));
        assert!(kept == person.write(&vocabulary).unwrap(), "the state of {user} is that of a replay");
    }
}
