//! ONNX files, without Python: the transformer in four kinds of numbers, trees in four ways, and the router in one graph.
//!
//! | function | answers | its inputs |
//! | --- | --- | --- |
//! | [`transformer`] | `logits`, `probabilities` `[batch, candidates]` | [`question`](super::question::question) |
//! | [`student`] | the same, in INT8 | the same |
//! | [`trees`] | `scores` `[rows, outputs]` | `features` `[rows, features]`, NaN is missing |
//! | [`router`] | `probabilities`, `order`, `ranked_probabilities`, `none_of_these`, `gain`, `is_routed` | [`router_question`](super::question::router_question) |
//!
//! Operators are those of opset 17, so that runtimes of the last years load them; inputs, outputs and sizes have names,
//! and `batch`, `tokens`, `candidates` and `rows` may be any number. The file's metadata tell the rest: see [`ModelCard`].

mod golden;
mod graph;
mod proto;
mod router;
mod transformer;
mod trees;
mod walk;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use prost::Message as _;

pub use golden::TestData;
pub use transformer::{Numbers, Ranges};
pub use trees::TreeOperator;

use super::model_card::ModelCard;
use super::network::{Network, describe};
use super::question::{Dim, FEATURES, Input};
use super::{check_size, wrong};
use crate::error::Result;
use crate::gbdt::Ensemble;
use crate::quantize::{QuantizedModel, QuantizedTrees};
use crate::router::{RouterModel, Routing};
use crate::storage::write_atomically;
use crate::transformer::TransformerModel;
use graph::Graph;
use proto::{Element, ModelProto, OperatorSetIdProto, StringStringEntryProto};
use router::{Together, add_router};
use transformer::Nodes;

/// The version of ONNX's own operators: of 2022, so that runtimes of the last years know it.
const OPSET: i64 = 17;

/// An ONNX model, ready to be written.
#[derive(Debug, Clone)]
pub struct OnnxModel {
    proto: ModelProto,
}

/// What a runtime must know to load a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirements {
    /// Version of ONNX's own operators.
    pub opset: i64,
    /// Version of the domain `ai.onnx.ml`, where trees are in the graph.
    pub ml_opset: Option<i64>,
    /// Version of the file format.
    pub ir_version: i64,
    /// Operators, by name.
    pub operators: BTreeSet<String>,
    /// ONNX Runtime from this version on: tried, with 1.15, 1.20, 1.21 and 1.32.
    pub onnx_runtime: &'static str,
}

impl fmt::Display for Requirements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ONNX opset {}", self.opset)?;
        if let Some(version) = self.ml_opset {
            write!(f, ", ai.onnx.ml {version}")?;
        }
        let operators: Vec<&str> = self.operators.iter().map(String::as_str).collect();
        write!(
            f,
            ", IR version {} (ONNX Runtime {} or later); operators: {}",
            self.ir_version,
            self.onnx_runtime,
            operators.join(" ")
        )
    }
}

/// The transformer of `model` in plain numbers, single or half.
///
/// # Errors
/// A weight is too large for half precision, or the graph for a file.
pub fn transformer(model: &TransformerModel, numbers: Numbers, model_card: &ModelCard) -> Result<OnnxModel> {
    if numbers == Numbers::Half
        && let Some(spec) = model.weights.beyond_half()
    {
        return Err(wrong("a weight is too large for half precision")
            .field(&*spec.name)
            .next_step("export it in single precision"));
    }
    network(&Network::plain(model), &numbers, model_card)
}

/// The student of `model` in INT8: [`Numbers::Dynamic`] or [`Numbers::Static`].
///
/// # Errors
/// The graph is too large for a file.
pub fn student(model: &QuantizedModel, numbers: &Numbers, model_card: &ModelCard) -> Result<OnnxModel> {
    network(&Network::whole(model), numbers, model_card)
}

fn network(network: &Network<'_>, numbers: &Numbers, model_card: &ModelCard) -> Result<OnnxModel> {
    let mut graph = Graph::default();
    let answer = describe(network, &mut Nodes { graph: &mut graph, numbers });
    for (value, name, doc) in [
        (answer.logits, "logits", "of each candidate"),
        (answer.probabilities, "probabilities", "of each candidate, if it is one of them"),
    ] {
        let value = match numbers {
            Numbers::Half => graph.cast(&value, Element::Float),
            _ => value,
        };
        graph.output(&value, name, doc, Element::Float, &[Dim::Batch, Dim::Candidates]);
    }
    OnnxModel::new(
        graph,
        "foretap_transformer",
        "which app is opened next, from the last events",
        None,
        model_card,
    )
}

/// Trees, by the `operator` that the runtime knows. Thresholds and leaves are 32-bit floats: of trees from a bundle nothing
/// is lost, their leaves are steps of a power of two.
///
/// # Errors
/// The model is damaged, has splits by category that the operator cannot say, or is too large for a file.
pub fn trees(ensemble: &Ensemble, operator: TreeOperator, model_card: &ModelCard) -> Result<OnnxModel> {
    ensemble.check()?;
    let mut graph = Graph::default();
    let input = Input { width: Some(ensemble.columns()), ..FEATURES };
    let rows = [Dim::Rows, Dim::Fixed(ensemble.columns())];
    let rows = graph.input(input.name, input.doc, Element::Float, &rows);
    let scores = trees::add_trees(&mut graph, ensemble, operator, &rows)?;
    let dims = [Dim::Rows, Dim::Fixed(ensemble.outputs())];
    graph.output(&scores, "scores", "of each row, higher is more probable", Element::Float, &dims);
    OnnxModel::new(graph, "foretap_trees", "a score a row", operator.version(), model_card)
}

/// Who answers together in one graph.
#[derive(Debug, Clone, Copy)]
pub struct Experts<'a> {
    /// The student. In [`Numbers::Single`] and [`Numbers::Half`], the plain numbers that its bytes stand for.
    pub student: &'a QuantizedModel,
    /// The ranker.
    pub trees: &'a QuantizedTrees,
    /// What divides the work.
    pub router: &'a RouterModel,
}

/// The router over a student and trees in one graph, `routing` its questions.
///
/// # Errors
/// The routing is impossible, or the graph is too large for a file.
pub fn router(
    experts: &Experts<'_>,
    routing: Routing,
    numbers: &Numbers,
    operator: TreeOperator,
    model_card: &ModelCard,
) -> Result<OnnxModel> {
    let together = Together {
        network: Network::whole(experts.student),
        trees: &experts.trees.to_ensemble(),
        router: experts.router,
        threshold: routing.threshold(&experts.router.gains)?,
    };
    let mut graph = Graph::default();
    add_router(&mut graph, &together, numbers, operator)?;
    let doc = "which app is opened next: trees, transformer, gate, blend and calibration";
    OnnxModel::new(graph, "foretap_router", doc, operator.version(), model_card)
}

impl OnnxModel {
    fn new(
        graph: Graph,
        name: &str,
        doc: &str,
        ml_opset: Option<i64>,
        model_card: &ModelCard,
    ) -> Result<Self> {
        let opset = |domain: &str, version| OperatorSetIdProto { domain: domain.to_owned(), version };
        let ml = ml_opset.map(|version| opset(graph::ML, version));
        let proto = ModelProto {
            // The first that knows those operators: older runtimes refuse what they think is newer than they are.
            ir_version: if ml_opset == Some(5) { 10 } else { 8 },
            producer_name: "foretap".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            domain: String::new(),
            model_version: 1,
            doc_string: doc.to_owned(),
            graph: Some(graph.finish(name, doc)),
            opset_import: [opset("", OPSET)].into_iter().chain(ml).collect(),
            metadata_props: model_card
                .lines()?
                .into_iter()
                .map(|(key, value)| StringStringEntryProto { key: key.to_owned(), value })
                .collect(),
        };
        check_size(proto.encoded_len(), "ONNX files end")?;
        Ok(Self { proto })
    }

    /// What a runtime must know to load it.
    pub fn requirements(&self) -> Requirements {
        let version = |domain: &str| {
            self.proto.opset_import.iter().find(|set| set.domain == domain).map(|set| set.version)
        };
        let nodes = self.proto.graph.iter().flat_map(|graph| &graph.node);
        let ml_opset = version(graph::ML);
        Requirements {
            opset: version("").unwrap_or(OPSET),
            ml_opset,
            ir_version: self.proto.ir_version,
            operators: nodes.map(|node| node.op_type.clone()).collect(),
            onnx_runtime: if ml_opset == Some(5) { "1.21" } else { "1.15" },
        }
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.proto.encode_to_vec()
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// It cannot be written; a file that was there is then as it was.
    pub fn save(&self, file: &Path) -> Result<()> {
        write_atomically(file, |out| out.write_all(&self.to_bytes()))
    }
}
