//! From the lake to a model that may take the live one's place.
//!
//! ```text
//! each person's questions, by time:   |-- ranker learns (60 %) --|-- router is fitted (20 %) --|-- both are compared (20 %) --|
//! ```
//!
//! The ranker is trained on the people of the lake; the student is the live model's. A router is fitted between the two on
//! questions that neither learned from, and the whole is compared with the live model on later questions that nothing was
//! fitted on. The gate refuses what is not better: see [`passes`].

use foretap::bundle::{Bundle, BundleContents};
use foretap::data::{Event, Log, SplitPlan, Vocabulary};
use foretap::experiment::{BundleComparison, Experiment, compare_bundles};
use foretap::quantize::QuantizedTrees;
use foretap::ranker::RankerConfig;
use foretap::router::Routing;
use foretap::{Error, ErrorKind, Progress, Result};

use crate::lake::{Lake, SnapshotInfo, TableName, people};
use crate::registry::{Card, Registry};

/// Share of each person's questions that the router is fitted on, and share that the models are compared on.
const SHARE: f64 = 0.2;
/// Share of the ranker's questions that tell when to stop.
const VALIDATION: f64 = 0.15;

/// A trained version.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// Its number in the registry.
    pub version: u32,
    /// What is known of it.
    pub card: Card,
}

/// Trains on a snapshot of the lake (the newest without one, or the one that a tag names), compares with the live model, and
/// adds the result to the registry.
///
/// # Errors
/// There is no such snapshot, its events have too few questions, or a file cannot be read or written.
pub async fn train(
    lake: &Lake,
    registry: &Registry,
    data_version: Option<&str>,
    routing: Routing,
    progress: &dyn Progress,
) -> Result<Trained> {
    let snapshot = snapshot(lake, data_version).await?;
    let (log, vocabulary) = log(lake, snapshot.id).await?;
    let parent = registry.live()?.map(|live| live.version);
    let Some(parent) = parent else {
        return Err(
            Error::new(ErrorKind::Config, "no model is live").next_step("run `foretap approve` first")
        );
    };
    let live = registry.bundle(parent)?;
    let candidate = candidate(&live, &log, &vocabulary, routing, progress)?;
    let bundles = [&live, &candidate];
    let comparison = compare_bundles(bundles, routing, SHARE, &log, &vocabulary, progress)?;
    let card = Card {
        made_at: jiff::Timestamp::now().as_second(),
        learned_from: format!("{} people, {} events of the lake", log.users().count(), log.events().len()),
        data_version: Some(snapshot.id),
        parent: Some(parent),
        comparison: Some(comparison),
        passed_gate: Some(passes(&comparison)),
        code: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let version = registry.add(&candidate, &card)?;
    Ok(Trained { version, card })
}

/// Whether the second bundle may take the first one's place: its log loss is lower by more than chance (the whole interval is
/// below zero), and it finds no fewer answers among the first three by more than chance. What is missing or no number does
/// not pass.
pub fn passes(comparison: &BundleComparison) -> bool {
    let is_better = comparison.log_loss_difference.is_some_and(|interval| interval.1 < 0.0);
    let is_not_worse = comparison.hr3_difference.is_some_and(|interval| interval.1 >= 0.0);
    is_better && is_not_worse
}

/// A comparison in words.
pub fn in_words(comparison: &BundleComparison) -> String {
    let row = |name: &str, before: f64, after: f64, difference: Option<foretap::evaluate::Interval>| {
        let difference = difference.map_or_else(String::new, |interval| {
            format!("  {:+.4} ({:+.4} to {:+.4})", after - before, interval.0, interval.1)
        });
        format!("  {name:<10}{before:>8.4}{after:>11.4}{difference}")
    };
    let (before, after) = (comparison.before, comparison.after);
    [
        format!(
            "{} questions of {} people, the last fifth of each:",
            comparison.questions, comparison.people
        ),
        format!(
            "  {:<10}{:>8}{:>11}  difference, with the middle 95 % of a bootstrap",
            "", "live", "candidate"
        ),
        row("HR@1", before.hr1, after.hr1, comparison.hr1_difference),
        row("HR@3", before.hr3, after.hr3, comparison.hr3_difference),
        row("log loss", before.log_loss, after.log_loss, comparison.log_loss_difference),
    ]
    .join("\n")
}

async fn snapshot(lake: &Lake, data_version: Option<&str>) -> Result<SnapshotInfo> {
    let snapshots = lake.snapshots(TableName::Events).await?;
    let found = match data_version {
        None => snapshots.into_iter().find(|snapshot| snapshot.is_current),
        Some(name) => {
            let is_it = |snapshot: &&SnapshotInfo| {
                snapshot.tags.iter().any(|tag| tag == name) || snapshot.id.to_string() == name
            };
            snapshots.iter().find(is_it).cloned()
        }
    };
    found.ok_or_else(|| match data_version {
        None => Error::new(ErrorKind::Data, "the lake has no event yet")
            .next_step("send some (`foretap send`), and wait for a commit or ask for one (`foretap flush`)"),
        Some(name) => Error::new(ErrorKind::Config, format!("no data version `{}`", name.escape_debug()))
            .field("--data-version")
            .next_step("see `foretap lake snapshots`"),
    })
}

/// The snapshot's events as the crate's log.
async fn log(lake: &Lake, snapshot: i64) -> Result<(Log, Vocabulary)> {
    let mut vocabulary = Vocabulary::new();
    let mut events: Vec<Event> = Vec::new();
    for (_, person) in people(lake, Some(snapshot)).await? {
        events.extend(person.into_values().map(|event| event.to_event(&mut vocabulary)));
    }
    Ok((Log::from_events(events), vocabulary))
}

fn candidate(
    live: &Bundle,
    log: &Log,
    vocabulary: &Vocabulary,
    routing: Routing,
    progress: &dyn Progress,
) -> Result<Bundle> {
    let task = live.parts().task;
    let with = |validation: f64, test: f64| Experiment {
        task,
        split: SplitPlan::Shares { validation, test },
        ..Experiment::default()
    };
    let trained =
        with(VALIDATION, 2.0 * SHARE).train(&RankerConfig::default(), log, vocabulary, progress)?.model;
    let trees = QuantizedTrees::new(trained.ranker.forest().ensemble())?;
    let student = live.parts().student.clone();
    let apps = if student.is_some() { live.parts().apps.clone() } else { trained.apps.clone() };
    let mut parts = BundleContents {
        task,
        apps,
        student,
        trees: Some((trees, trained.temperature)),
        router: None,
        card: serde_json::Map::new(),
    };
    let experts = Bundle::new(parts.clone())?;
    if let (Some(student), Some((trees, _))) = (experts.student(vocabulary)?, &experts.parts().trees) {
        let trees = trees.ranker()?;
        let fitted = with(SHARE, SHARE).fit_router([&trees, &student], routing, log, vocabulary, progress)?;
        parts.router = Some(fitted.model);
    }
    Bundle::new(parts)
}

#[cfg(test)]
mod tests {
    use foretap::evaluate::Interval;
    use foretap::experiment::BundleFigures;

    use super::*;

    #[test]
    fn the_gate_fails_closed() {
        let figures = BundleFigures { hr1: 0.5, hr3: 0.7, log_loss: 1.0 };
        let good = BundleComparison {
            people: 20,
            questions: 1_000,
            before: figures,
            after: figures,
            hr1_difference: None,
            hr3_difference: Some(Interval(-0.01, 0.02)),
            log_loss_difference: Some(Interval(-0.1, -0.01)),
        };
        assert!(passes(&good));
        let nan = f64::NAN;
        for bad in [
            BundleComparison { log_loss_difference: None, ..good },
            BundleComparison { hr3_difference: None, ..good },
            BundleComparison { log_loss_difference: Some(Interval(-0.1, 0.0)), ..good },
            BundleComparison { log_loss_difference: Some(Interval(nan, nan)), ..good },
            BundleComparison { hr3_difference: Some(Interval(-0.02, -0.01)), ..good },
            BundleComparison { hr3_difference: Some(Interval(nan, nan)), ..good },
        ] {
            assert!(!passes(&bad), "{bad:?}");
        }
    }
}
