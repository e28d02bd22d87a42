//! The store made anew from the lake: every person's state is a replay of their events, so what was lost with a disk is there
//! again, to the same bytes.

use foretap::bundle::Bundle;
use foretap::{Error, ErrorKind, Result};

use crate::config::Config;
use crate::lake::{Lake, people};
use crate::registry::Registry;
use crate::store::{MasterKey, OnlineStore, PersonState, RedbStore, Written};
use crate::up::Folders;

/// Events that are folded between two writes of a person.
const EVENTS_AT_ONCE: usize = 2_000;

/// Fills an empty store from the lake; returns how many people and events. `foretap up` must not run meanwhile.
///
/// # Errors
/// The store has people, or a file cannot be read or written.
pub async fn rebuild(config: &Config) -> Result<(usize, usize)> {
    let folders = Folders::of(config);
    let store = RedbStore::open(&folders.store())?;
    if store.sizes().await?.people > 0 {
        return Err(Error::new(ErrorKind::Config, "the store has people")
            .file(folders.store())
            .next_step("move the file away first: it is made anew from the lake"));
    }
    let master = MasterKey::load(&config.key_file(), true)?;
    let lake = Lake::open(&folders.lake(), config.lake.buckets).await?;
    let registry = Registry::open(&folders.models())?;
    let bundle = registry.bundle(registry.live()?.map_or(1, |live| live.version))?;
    let people = people(&lake, None).await?;
    let count = people.len();
    let mut folded = 0;
    for (user, events) in people {
        let (key, sealed) = master.new_person()?;
        let mut state = PersonState::new(user, key, sealed);
        for (number, event) in events.into_values().enumerate() {
            state.fold(event);
            folded += 1;
            if number % EVENTS_AT_ONCE == EVENTS_AT_ONCE - 1 {
                write(&store, &mut state, &bundle).await?;
            }
        }
        write(&store, &mut state, &bundle).await?;
    }
    Ok((count, folded))
}

async fn write(store: &RedbStore, state: &mut PersonState, bundle: &Bundle) -> Result<()> {
    let snapshot = store.person(state.user()).await?;
    let Some((write, pending)) = state.to_write(bundle, snapshot.as_deref())? else { return Ok(()) };
    match store.write(vec![write]).await?.first() {
        Some(Written::Version(version)) => {
            state.written(*version, pending);
            Ok(())
        }
        Some(Written::Conflict) | None => {
            Err(Error::new(ErrorKind::Io, "another process writes to the store")
                .next_step("stop it and try again"))
        }
    }
}
