//! Two bundles on the same questions: whether the second should take the first one's place.

use serde::{Deserialize, Serialize};

use super::{Experiment, PersonLog};
use crate::bundle::Bundle;
use crate::data::{Log, Split, SplitPlan, Vocabulary};
use crate::error::{Error, ErrorKind, Result};
use crate::evaluate::{Interval, Metrics, Protocol, difference_intervals, test_as_shipped};
use crate::progress::Progress;
use crate::router::Routing;

/// One bundle's figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleFigures {
    /// Share whose answer ranked first.
    pub hr1: f64,
    /// Share whose answer ranked among the first three.
    pub hr3: f64,
    /// Mean of `-ln p(answer)`, in nats.
    pub log_loss: f64,
}

/// Two bundles on the same questions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleComparison {
    /// People with a question that was scored.
    pub people: usize,
    /// Questions that were scored.
    pub questions: usize,
    /// The bundle that there is.
    pub before: BundleFigures,
    /// The one that may take its place.
    pub after: BundleFigures,
    /// What the second has more in HR@1: the middle 95 % of a bootstrap over people, or over days where they are few. `None` where
    /// there are fewer than two of either.
    pub hr1_difference: Option<Interval>,
    /// The same of HR@3.
    pub hr3_difference: Option<Interval>,
    /// The same of the log loss: below zero, the second is better.
    pub log_loss_difference: Option<Interval>,
}

/// Has both bundles live with the people of `log`, each as it comes, and scores the last `test_share` of each person's questions.
///
/// # Errors
/// They answer different tasks, the log has no question of it, or a model reads other columns than this build computes.
pub fn compare_bundles(
    [before, after]: [&Bundle; 2],
    routing: Routing,
    test_share: f64,
    log: &Log,
    vocabulary: &Vocabulary,
    progress: &dyn Progress,
) -> Result<BundleComparison> {
    let task = before.parts().task;
    if after.parts().task != task {
        let message = format!("one bundle answers {task}, the other {}", after.parts().task);
        return Err(Error::new(ErrorKind::Config, message).next_step("compare bundles of one task"));
    }
    let experiment = Experiment { task, ..Experiment::default() };
    let people = experiment.people(log)?;
    let split = SplitPlan::Shares { validation: 0.0, test: test_share };
    let scored =
        |person: &PersonLog<'_>| Split { train: 0..0, validation: 0..0, ..split.split(&person.times, 0) };
    let outcomes = |bundle: &Bundle, name: &str| -> Result<_> {
        let protocol = Protocol {
            task,
            favourites: bundle.favourites_in(vocabulary),
            users: people.iter().map(|person| (person.events, scored(person))).collect(),
            truth: None,
            run: 0,
        };
        let router = bundle.router(vocabulary, routing)?;
        Ok(test_as_shipped(name, &router, None, &protocol, progress)?.test)
    };
    let (with_before, with_after) = (outcomes(before, "before")?, outcomes(after, "after")?);
    if with_before.is_empty() {
        return Err(Error::new(ErrorKind::Data, "no question to compare on")
            .next_step("give longer logs, or a larger share of their questions"));
    }
    let figures = |outcomes: &[_]| {
        let Metrics { hr1, hr3, log_loss, .. } = Metrics::of(outcomes);
        BundleFigures { hr1, hr3, log_loss }
    };
    // HR@1, HR@3, HR@5, MRR, NDCG@5, log loss, coverage.
    let differences = difference_intervals(&with_before, &with_after, 1);
    let difference = |figure: usize| differences.map(|differences| differences[figure]);
    let users: std::collections::BTreeSet<u32> = with_before.iter().map(|outcome| outcome.user).collect();
    Ok(BundleComparison {
        people: users.len(),
        questions: with_before.len(),
        before: figures(&with_before),
        after: figures(&with_after),
        hr1_difference: difference(0),
        hr3_difference: difference(1),
        log_loss_difference: difference(5),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::BundleContents;
    use crate::data::simulate::{SimulationConfig, simulate};
    use crate::progress::Silent;

    #[test]
    fn a_bundle_is_no_better_than_itself_and_better_than_its_half() {
        let config = SimulationConfig { people: 3, days: 6, ..Default::default() };
        let simulation = simulate(&config, &Silent).unwrap();
        let (log, vocabulary) = (&simulation.log, &simulation.vocabulary);
        let bundle = Bundle::pretrained().unwrap();
        let compare = |after: &Bundle| {
            compare_bundles([&bundle, after], Routing::default(), 0.5, log, vocabulary, &Silent).unwrap()
        };
        let with_itself = compare(&bundle);
        assert_eq!(with_itself.before, with_itself.after);
        assert_eq!(with_itself.log_loss_difference, Some(Interval(0.0, 0.0)));
        assert_eq!(with_itself.people, 3);
        let student = BundleContents { trees: None, router: None, ..bundle.parts().clone() };
        let with_half = compare(&Bundle::new(student).unwrap());
        assert_eq!(with_half.questions, with_itself.questions);
        let Interval(low, high) = with_half.log_loss_difference.unwrap();
        let change = with_half.after.log_loss - with_half.before.log_loss;
        assert!(low <= change && change <= high && change != 0.0, "{with_half:?}");
        let read: BundleComparison =
            serde_json::from_str(&serde_json::to_string(&with_half).unwrap()).unwrap();
        assert_eq!(read, with_half);
    }
}
