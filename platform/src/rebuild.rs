//! The store made anew from the lake: every person's state is a replay of their events, so what was lost with a disk is there
//! again, to the same bytes.

use foretap::{Error, ErrorKind, Result};

use crate::config::{Config, StoreKind};
use crate::lake::people;
use crate::registry::Registry;
use crate::store::People;
use crate::up::{Folders, check_key, note_rollback, open_key, open_lake, open_store};

/// Events that are folded between two writes of a person.
const EVENTS_AT_ONCE: usize = 2_000;

/// Fills an empty store from the lake; returns how many people and events. `foretap up` must not run meanwhile.
///
/// # Errors
/// The store has people, or a file cannot be read or written.
pub async fn rebuild(config: &Config) -> Result<(usize, usize)> {
    let folders = Folders::of(config);
    let store = open_store(config).await?;
    if !store.users(None, 1).await?.is_empty() {
        let error = Error::new(ErrorKind::Config, "the store has people");
        return Err(match config.store.kind {
            StoreKind::Redb => error
                .file(folders.store())
                .next_step("move the file away first: it is made anew from the lake"),
            StoreKind::Dynamodb => error.field("store.table").next_step(
                "give another `table` in [store], or delete this one first: it is made anew from the lake",
            ),
        });
    }
    let master = open_key(config, true).await?;
    check_key(&*store, &master).await.map_err(|error| error.file(config.key_file()))?;
    let lake = open_lake(config).await?;
    let registry = Registry::open(&folders.models())?;
    let bundle = registry.bundle(registry.live()?.map_or(1, |live| live.version))?;
    let lived = people(&lake, None).await?;
    let people = People::open(store, master, 1).await?;
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
    note_rollback(&folders, &lake)?;
    Ok((count, folded))
}
