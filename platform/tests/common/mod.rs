//! What tests of the whole program share: starting and killing it, people to send, and what must be kept of them.

#[cfg(feature = "kafka")]
pub mod kafka;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use foretap::Silent;
use foretap::bundle::Bundle;
use foretap::data::simulate::{Law, SimulationConfig, simulate};
use foretap::data::{Network, UserId};
use foretap::router::{Person, SuggestionSettings};
use foretap_platform::client::{Client, phone_events};
use foretap_platform::lake::{Lake, TableName, people, row_count};
use foretap_platform::store::{MasterKey, OnlineStore, PersonState, RedbStore};
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
        command.arg("up");
        Self::start_by(command, folder, settings)
    }

    /// As [`start`](Self::start), by a command that ends in `foretap up`.
    pub fn start_by(mut command: Command, folder: &Path, settings: &[(&str, &str)]) -> Self {
        command.env("FORETAP_HTTP_LISTEN", "127.0.0.1:0").env("FORETAP_LOG", "warn");
        command.env("FORETAP_DATA_FOLDER", folder).envs(settings.iter().copied());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.split_whitespace().find(|word| word.starts_with("http")).expect(&line).to_owned();
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

/// What is not as it should be.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub struct Kept {
    /// Events that were sent and that the lake lacks.
    pub lost: u64,
    /// Rows of the lake beyond one for each event that was sent.
    pub doubled: u64,
    /// People whose state is not that of a replay of their events.
    pub states_different: u64,
}

/// Nothing is wrong.
pub const ALL_KEPT: Kept = Kept { lost: 0, doubled: 0, states_different: 0 };

/// Compares lake and store in `folder` with what was sent.
pub fn kept(folder: &Path, events: &[PhoneEvent]) -> Kept {
    runtime().block_on(async {
        let lake = Lake::open(&folder.join("lake"), 16).await.unwrap();
        kept_in(&lake, folder, events).await
    })
}

/// The same of a lake that may lie elsewhere.
pub async fn kept_in(lake: &Lake, folder: &Path, events: &[PhoneEvent]) -> Kept {
    let found = people(lake, None).await.unwrap();
    let sent: BTreeSet<(u64, EventKey)> = events.iter().map(|event| (event.user.0, event.key())).collect();
    let in_lake = found.iter().flat_map(|(user, events)| events.keys().map(|key| (user.0, *key)));
    let in_both = in_lake.filter(|key| sent.contains(key)).count() as u64;
    let rows = row_count(lake, TableName::Events).await.unwrap();
    let master = MasterKey::load(&folder.join("master.key"), false).unwrap();
    let store = RedbStore::open(&folder.join("store.redb")).unwrap();
    let mut states_different = 0;
    for (user, lived) in &found {
        states_different += u64::from(!is_replay(&store, &master, *user, lived.values()).await);
    }
    Kept { lost: sent.len() as u64 - in_both, doubled: rows - in_both, states_different }
}

/// Every event in the lake once, every state that of a replay.
#[allow(dead_code)] // tests/chaos.rs reports instead
pub fn assert_kept(folder: &Path, events: &[PhoneEvent]) {
    assert_eq!(kept(folder, events), ALL_KEPT);
}

/// Whether a person's state in the store is that of a replay of their events, to the byte.
pub async fn is_replay<'a>(
    store: &dyn OnlineStore,
    master: &MasterKey,
    user: UserId,
    lived: impl Iterator<Item = &'a PhoneEvent>,
) -> bool {
    let bundle = Bundle::pretrained().unwrap();
    let model: Arc<str> = "1".into();
    let row = store.row(user).await.unwrap().unwrap();
    let mut state = PersonState::read(user, &row, master.open_person(&row.key).unwrap()).unwrap();
    let snapshot = store.person(user).await.unwrap();
    let (person, vocabulary) = state.current((&bundle, &model), snapshot.as_deref()).unwrap().unwrap();
    let kept = person.write(vocabulary).unwrap();
    let mut vocabulary = bundle.vocabulary();
    let mut person = Person::new(bundle.favourites(), SuggestionSettings::default(), user.0).unwrap();
    lived.for_each(|event| person.observe(&event.to_event(&mut vocabulary)));
    kept == person.write(&vocabulary).unwrap()
}

/// An event as JSON has it.
#[allow(dead_code)] // of those who ask with events
pub fn json_event(event: &PhoneEvent) -> Box<serde_json::value::RawValue> {
    let network = match event.network {
        Network::Unknown => None,
        Network::Offline => Some("offline"),
        Network::Wifi => Some("wifi"),
        Network::Cellular => Some("cellular"),
    };
    let mut fields = serde_json::json!({
        "user": event.user.to_string(),
        "at": jiff::Timestamp::from_microsecond(event.at_us).unwrap().to_string(),
        "number": event.number,
        "utc_offset_secs": event.utc_offset_secs,
        "signal": event.signal.name(),
        "battery_percent": event.battery.percent,
        "charging": event.battery.charging,
        "network": network,
    });
    if let Some(app) = &event.app {
        fields["app"] = (**app).into();
    }
    if let Some(place) = event.place {
        fields["place"] = place.to_string().into();
    }
    serde_json::value::to_raw_value(&fields).unwrap()
}
