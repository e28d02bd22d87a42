//! The store made anew from the lake: every person's state is a replay of their events, so what was lost with a disk is there
//! again, to the same bytes.

use std::sync::Arc;

use foretap::{Error, ErrorKind, Result};

use crate::config::Config;
use crate::lake::people;
use crate::registry::Registry;
use crate::store::{MasterKey, OnlineStore as _, People, RedbStore};
use crate::up::{Folders, open_lake};

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
    let lake = open_lake(config).await?;
    let registry = Registry::open(&folders.models())?;
    let bundle = registry.bundle(registry.live()?.map_or(1, |live| live.version))?;
    let lived = people(&lake, None).await?;
    let people = People::open(Arc::new(store), master, 1).await?;
    let (count, mut folded) = (lived.len(), 0);
    for events in lived.into_values() {
        for (number, event) in events.into_values().enumerate() {
            let at_us = event.at_us;
            people.fold(event, at_us).await?;
            folded += 1;
            if number % EVENTS_AT_ONCE == EVENTS_AT_ONCE - 1 {
                people.write(&bundle).await?;
            }
        }
        people.write(&bundle).await?;
    }
    Ok((count, folded))
}
