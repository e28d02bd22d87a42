//! One suite over every predictor: what `Predictor` promises, each of them keeps.
//!
//! A new predictor of the crate joins with a line here; yours is checked by `foretap::conformance::check`.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside of test functions too: a failed step is a failed test

mod people;

use std::sync::Arc;

use foretap::baseline::{BayesOptimal, Markov, MostFrequent, MostRecent};
use foretap::conformance::{CheckedPredictor, check_all};
use foretap::context::Task;
use foretap::data::simulate::Simulation;
use foretap::distill::{TeacherEnsemble, WeightedTeacher};
use foretap::model::RankerModel;
use foretap::predict::Predictor;
use foretap::quantize::{QuantizedModel, QuantizedTransformer, QuantizedTrees, quantize};
use foretap::router::{Experts, Router, RouterModel, Routing};
use foretap::transformer::{
    Precision, Standardisation, Transformer, TransformerConfig, TransformerModel, Weights,
};
use people::{TASKS, people, quick_model};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

#[test]
fn every_predictor_keeps_the_contract() {
    let simulation = people(4, 6);
    let [unlock, launch] = TASKS.map(|task| quick_model(&simulation, task));
    let [unlock_again, launch_again] = [&unlock, &launch].map(saved_and_loaded);
    let bayes_optimal = BayesOptimal { truth: &simulation.truth };
    let [deep_unlock, deep_launch] = TASKS.map(|task| random_transformer(&simulation, task));
    let [deep_unlock_again, deep_launch_again] = [&deep_unlock, &deep_launch].map(|model| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model");
        model.save(&file, Precision::F32).unwrap();
        TransformerModel::load(&file).unwrap()
    });
    let [whole_unlock, whole_launch] = [&deep_unlock, &deep_launch].map(|model| quantize(model).unwrap());
    let [whole_unlock_again, whole_launch_again] = [&whole_unlock, &whole_launch]
        .map(|model| QuantizedModel::read(&model.write().unwrap(), model.apps.clone()).unwrap());
    let models = [&whole_unlock, &whole_unlock_again, &whole_launch, &whole_launch_again];
    let [whole_unlock, whole_unlock_again, whole_launch, whole_launch_again] =
        models.map(|model| QuantizedTransformer::new(model, &simulation.vocabulary).unwrap());
    let quantized_trees = QuantizedTrees::new(unlock.ranker.forest().ensemble()).unwrap();
    let quantized_trees_again = QuantizedTrees::read(&quantized_trees.write().unwrap()).unwrap();
    let [quantized_trees, quantized_trees_again] =
        [quantized_trees, quantized_trees_again].map(|trees| trees.ranker().unwrap());
    let models = [&deep_unlock, &deep_unlock_again, &deep_launch, &deep_launch_again];
    let [deep_unlock, deep_unlock_again, deep_launch, deep_launch_again] =
        models.map(|model| Transformer::new(model, &simulation.vocabulary).unwrap());
    let parts = [(&unlock.ranker as &dyn Predictor, 0.3), (&deep_unlock, 0.7)];
    let blend = TeacherEnsemble::new(
        parts.map(|(predictor, weight)| WeightedTeacher { predictor, temperature: 1.2, weight }).to_vec(),
    );
    let [router, router_again] =
        [&simulation, &simulation].map(|simulation| router(simulation, unlock.clone()));
    #[rustfmt::skip]
    let predictors = [
        CheckedPredictor { name: "transformer of unlocks", predictor: &deep_unlock, reloaded: Some(&deep_unlock_again) },
        CheckedPredictor { name: "transformer of launches", predictor: &deep_launch, reloaded: Some(&deep_launch_again) },
        CheckedPredictor { name: "INT8 of unlocks", predictor: &whole_unlock, reloaded: Some(&whole_unlock_again) },
        CheckedPredictor { name: "INT8 of launches", predictor: &whole_launch, reloaded: Some(&whole_launch_again) },
        CheckedPredictor { name: "quantized trees", predictor: &quantized_trees, reloaded: Some(&quantized_trees_again) },
        CheckedPredictor { name: "blend", predictor: &blend, reloaded: None },
        CheckedPredictor { name: "router", predictor: &router, reloaded: Some(&router_again) },
        CheckedPredictor { name: "recent", predictor: &MostRecent, reloaded: None },
        CheckedPredictor { name: "frequent", predictor: &MostFrequent, reloaded: None },
        CheckedPredictor { name: "markov", predictor: &Markov::default(), reloaded: None },
        CheckedPredictor { name: "bayes-optimal", predictor: &bayes_optimal, reloaded: None },
        CheckedPredictor { name: "ranker of unlocks", predictor: &unlock.ranker, reloaded: Some(&unlock_again.ranker) },
        CheckedPredictor { name: "ranker of launches", predictor: &launch.ranker, reloaded: Some(&launch_again.ranker) },
    ];
    check_all(&predictors, &simulation.log).unwrap_or_else(|error| panic!("{error}"));
}

/// A transformer that has learned nothing and does not know half of the apps.
fn random_transformer(simulation: &Simulation, task: Task) -> TransformerModel {
    let apps: Vec<String> = simulation.vocabulary.names().iter().step_by(2).cloned().collect();
    let config = TransformerConfig::student(task, apps.len());
    let columns = Standardisation::none(&config);
    let weights = Weights::random(config, &mut ChaCha8Rng::seed_from_u64(7)).unwrap();
    TransformerModel { weights, apps, temperature: 1.0, columns }
}

/// A router between trees and a transformer that knows nothing, which asks it often.
fn router(simulation: &Simulation, trees: RankerModel) -> Router {
    let whole = quantize(&random_transformer(simulation, Task::FirstAfterUnlock)).unwrap();
    let deep = QuantizedTransformer::new(&whole, &simulation.vocabulary).unwrap();
    let bytes = RouterModel::unfitted([1.0, 1.5]).unwrap().write().unwrap();
    let experts = Experts { trees: Some(Arc::new(trees.ranker)), deep: Some(Arc::new(deep)) };
    Router::new(RouterModel::read(&bytes).unwrap(), experts, Routing::Gain(-1.0)).unwrap()
}

fn saved_and_loaded(model: &RankerModel) -> RankerModel {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model");
    model.save(&file).unwrap();
    RankerModel::load(&file).unwrap()
}
