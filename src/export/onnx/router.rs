//! The router as nodes: both experts, the gate's trees, the blend and the calibration, so that one graph takes tokens and
//! features and returns probabilities and their order.
//!
//! Every question goes through both experts, because one graph answers many questions at once; the gate decides which
//! answer counts, as [`Router`](crate::router::Router) does. What personalization adds is that person's, and not here.
//!
//! Sizes in comments: B questions, C candidates, F features.

use super::graph::{Graph, int};
use super::proto::Element;
use super::transformer::{Nodes, Numbers};
use super::trees::{TreeOperator, add_trees};
use crate::context::QuestionFeatures;
use crate::context::columns::name_and_version;
use crate::error::Result;
use crate::export::network::{HIDDEN, Network, logits};
use crate::export::question::{CANDIDATE_APPS, Dim, FEATURES, Input, SITUATION};
use crate::gbdt::Ensemble;
use crate::router::blend::{FRESH_SECS, GAINS, HISTORY, LEAST_WEIGHT, Linear, MOST_STALE};
use crate::router::calibrate::{NONE_OF_THESE, SHARES};
use crate::router::{RouterModel, RoutingThreshold};

/// What answers together.
pub struct Together<'a> {
    pub network: Network<'a>,
    pub trees: &'a Ensemble,
    pub router: &'a RouterModel,
    /// Which gains send a question to both.
    pub threshold: RoutingThreshold,
}

/// Adds the router, with its inputs and outputs.
///
/// # Errors
/// A forest cannot be said by `operator`.
pub fn add_router(
    graph: &mut Graph,
    together: &Together<'_>,
    numbers: &Numbers,
    operator: TreeOperator,
) -> Result<()> {
    let no_app = together.network.config().no_app();
    let by_deep = logits(&together.network, &mut Nodes { graph, numbers });
    let by_deep = if *numbers == Numbers::Half { graph.cast(&by_deep, Element::Float) } else { by_deep };
    let by_deep = log_softmax(graph, &by_deep);

    let features = input(graph, &Input { width: Some(together.trees.columns()), ..FEATURES });
    let rows = graph.sizes(&[-1, together.trees.columns() as i64]);
    let rows = graph.node("Reshape", [&features, &rows]);
    let scores = add_trees(graph, together.trees, operator, &rows)?;
    let shape = graph.node("Shape", [CANDIDATE_APPS.name]);
    let scores = graph.node("Reshape", [&scores, &shape]); // [B, C]
    let no_app = graph.ids("no_app", &[no_app as i32]);
    let is_none = graph.node("Equal", [CANDIDATE_APPS.name, &no_app]);
    let hidden = graph.number(HIDDEN);
    let scores = graph.node("Where", [&is_none, &hidden, &scores]);
    let by_trees = log_softmax(graph, &scores);

    let question_features = input(graph, &Input { width: Some(QuestionFeatures::NAMES.len()), ..SITUATION });
    let gain = gain(graph, together.router, operator, &by_trees, &question_features)?; // [B, 1]
    let threshold = graph.number(together.threshold.gain.clamp(f32::MIN, f32::MAX));
    let is_routed = graph.node("Greater", [&gain, &threshold]);
    let basis = Basis::of(graph, &question_features, &gain);
    let mixed = blend(graph, together.router, &basis, &is_routed, [&by_trees, &by_deep]);
    let temperature = graph.number(together.router.calibration.temperature);
    let mixed = graph.node("Div", [&mixed, &temperature]);
    let among = graph.node_with("Softmax", [&mixed], [int("axis", -1)]);
    let none = none_of_these(graph, together.router, &basis, &question_features);
    let one = graph.number(1.0);
    let some = graph.node("Sub", [&one, &none]);
    let probabilities = graph.node("Mul", [&among, &some]);

    let [second, third] = [[1], [2]].map(|sizes| graph.sizes(&sizes));
    let candidates = graph.node("Slice", [&shape, &second, &third]);
    let [ranked, order] = graph.nodes_of("TopK", [&probabilities, &candidates], []);
    let is_routed = graph.cast(&is_routed, Element::Int32);
    let of_candidates = [Dim::Batch, Dim::Candidates];
    let of_question = [Dim::Batch, Dim::Fixed(1)];
    for (value, name, doc, element, dims) in [
        (&probabilities, "probabilities", "of each candidate", Element::Float, of_candidates),
        (&order, "order", "places of the candidates, most probable first", Element::Int64, of_candidates),
        (&ranked, "ranked_probabilities", "of the candidates in that order", Element::Float, of_candidates),
        (&none, "none_of_these", "probability that no candidate is opened", Element::Float, of_question),
        (&gain, "gain", "what the gate expects of the transformer", Element::Float, of_question),
        (&is_routed, "is_routed", "whether the transformer's answer counts", Element::Int32, of_question),
    ] {
        graph.output(value, name, doc, element, &dims);
    }
    Ok(())
}

fn input(graph: &mut Graph, input: &Input) -> String {
    graph.input(input.name, input.doc, Element::Float, &input.sizes())
}

fn log_softmax(graph: &mut Graph, x: &str) -> String {
    graph.node_with("LogSoftmax", [x], [int("axis", -1)])
}

/// Columns `from..to` of the last size.
fn columns(graph: &mut Graph, x: &str, from: usize, to: usize) -> String {
    let [from, to, axis] = [from as i64, to as i64, 1].map(|size| graph.sizes(&[size]));
    graph.node("Slice", [x, &from, &to, &axis])
}

/// What the gate expects of the transformer: `src/router/gate.rs`.
fn gain(
    graph: &mut Graph,
    router: &RouterModel,
    operator: TreeOperator,
    by_trees: &str,
    question_features: &str,
) -> Result<String> {
    // Three more, so that there are always three.
    let (more, hidden) = (graph.sizes(&[0, 0, 0, 3]), graph.number(HIDDEN));
    let padded = graph.node("Pad", [by_trees, &more, &hidden]);
    let three = graph.sizes(&[3]);
    let [best, _] = graph.nodes_of("TopK", [&padded, &three], []); // [B, 3]
    let [first, second, third] = [0, 1, 2].map(|place| columns(graph, &best, place, place + 1));
    let [p_first, p_second, p_third] = [&first, &second, &third].map(|ln| graph.node("Exp", [ln]));
    let margin = graph.node("Sub", [&p_first, &p_second]);
    // Of one candidate there is no second.
    let (nothing, unknown) = (graph.number(HIDDEN / 2.0), graph.floats("unknown", &[], &[f32::NAN]));
    let mut gap = |more: &str, less: &str| {
        let gap = graph.node("Sub", [more, less]);
        let is_there = graph.node("Greater", [less, &nothing]);
        graph.node("Where", [&is_there, &gap, &unknown])
    };
    let (first_gap, second_gap) = (gap(&first, &second), gap(&second, &third));
    let probabilities = graph.node("Exp", [by_trees]);
    let terms = graph.node("Mul", [&probabilities, by_trees]);
    let axis = graph.sizes(&[1]);
    let entropy = graph.node_with("ReduceSum", [&terms, &axis], [int("keepdims", 1)]);
    let entropy = graph.node("Neg", [&entropy]);
    let two = graph.node("Add", [&p_first, &p_second]);
    let three = graph.node("Add", [&two, &p_third]);
    let row = [&p_first, &margin, &first_gap, &second_gap, &entropy, &three, question_features];
    let row = graph.node_with("Concat", row, [int("axis", 1)]);
    add_trees(graph, &router.gate.trees().to_ensemble(), operator, &row)
}

/// What weights depend on: `src/router/blend.rs`.
struct Basis {
    /// `[B, 4]`: one, history, gain, staleness.
    all: String,
    /// `[B, 1]`
    one: String,
    history: String,
    staleness: String,
}

impl Basis {
    fn of(graph: &mut Graph, question_features: &str, gain: &str) -> Self {
        let [launches, age] = ["launches", "age"].map(|name| named(graph, question_features, name));
        let [start, unit] = HISTORY.map(|number| graph.number(number));
        let history = graph.node("Sub", [&launches, &start]);
        let history = graph.node("Div", [&history, &unit]);
        let [least, most] = GAINS.map(|number| graph.number(number));
        let gain = graph.node("Clip", [gain, &least, &most]);
        let (fresh, zero, stalest) =
            (graph.number(crate::context::math::ln(FRESH_SECS)), graph.number(0.0), graph.number(MOST_STALE));
        let stale = graph.node("Sub", [&age, &fresh]);
        let stale = graph.node("Clip", [&stale, &zero, &stalest]);
        let is_unknown = graph.node("IsNaN", [&age]);
        let staleness = graph.node("Where", [&is_unknown, &zero, &stale]);
        let one = graph.node("Mul", [&launches, &zero]);
        let unit = graph.number(1.0);
        let one = graph.node("Add", [&one, &unit]);
        let all = graph.node_with("Concat", [&one, &history, &gain, &staleness], [int("axis", 1)]);
        Self { all, one, history, staleness }
    }
}

/// A column of the question features, by its name, whatever the version of its meaning: the formulas here are those of this build.
fn named(graph: &mut Graph, question_features: &str, name: &str) -> String {
    let place = QuestionFeatures::NAMES
        .iter()
        .position(|&label| name_and_version(label).0 == name)
        .unwrap_or_default();
    columns(graph, question_features, place, place + 1)
}

/// The logits of who answers: `src/router/blend.rs`.
fn blend(
    graph: &mut Graph,
    router: &RouterModel,
    basis: &Basis,
    is_routed: &str,
    [by_trees, by_deep]: [&str; 2],
) -> String {
    let mut weight = |name: &str, linear: &Linear, least: f32| {
        let linear = graph.floats(&format!("blend_{name}"), &[linear.len(), 1], linear);
        let weight = graph.node("MatMul", [&basis.all, &linear]);
        let least = graph.number(least);
        graph.node("Max", [&weight, &least])
    };
    let alone = weight("trees_alone", &router.blend.trees_alone, LEAST_WEIGHT);
    let trees = weight("trees", &router.blend.trees, 0.0);
    let deep = weight("deep", &router.blend.deep, 0.0);
    // Somebody has to decide.
    let both = graph.node("Add", [&trees, &deep]);
    let (least, half) = (graph.number(LEAST_WEIGHT), graph.number(LEAST_WEIGHT / 2.0));
    let is_nobody = graph.node("Less", [&both, &least]);
    let [trees, deep] = [&trees, &deep].map(|weight| graph.node("Where", [&is_nobody, &half, weight]));
    // Of a question that is not routed the transformer's answer does not count.
    let zero = graph.number(0.0);
    let trees = graph.node("Where", [is_routed, &trees, &alone]);
    let deep = graph.node("Where", [is_routed, &deep, &zero]);
    let of_trees = graph.node("Mul", [by_trees, &trees]);
    let of_deep = graph.node("Mul", [by_deep, &deep]);
    graph.node("Add", [&of_trees, &of_deep])
}

/// `src/router/calibrate.rs`.
fn none_of_these(graph: &mut Graph, router: &RouterModel, basis: &Basis, question_features: &str) -> String {
    let share = named(graph, question_features, "unforeseen");
    let one = graph.number(1.0);
    let [least, most] = SHARES.map(|number| graph.number(number));
    let share = graph.node("Clip", [&share, &least, &most]);
    let other = graph.node("Sub", [&one, &share]);
    let odds = graph.node("Div", [&share, &other]);
    let odds = graph.node("Log", [&odds]);
    let columns = [&basis.one, &odds, &basis.history, &basis.staleness].map(String::as_str);
    let columns = graph.node_with("Concat", columns, [int("axis", 1)]);
    let weights = graph.floats("none_of_these_weights", &[4, 1], &router.calibration.none);
    let logit = graph.node("MatMul", [&columns, &weights]);
    let none = graph.node("Sigmoid", [&logit]);
    let [least, most] = NONE_OF_THESE.map(|number| graph.number(number));
    graph.node("Clip", [&none, &least, &most])
}
