//! `foretap train`, `models` and `approve`.

use foretap::{Error, ErrorKind, Result};
use foretap_platform::config::Config;
use foretap_platform::registry::Registry;
use foretap_platform::up::{Folders, open_lake};
use foretap_platform::{pipeline, say};

use super::runtime;
use crate::bar::Bar;

pub fn train(config: &Config, data_version: Option<&str>) -> Result<()> {
    let folders = Folders::of(config);
    let registry = Registry::open(&folders.models())?;
    let routing = config.answer.routing()?;
    let trained = runtime()?.block_on(async {
        let lake = open_lake(config).await?;
        pipeline::train(&lake, &registry, data_version, routing, &Bar::new()).await
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

pub fn models(config: &Config) -> Result<()> {
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

pub fn approve(config: &Config, version: u32, (by, note): (&str, &str), despite_gate: bool) -> Result<()> {
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
