//! A graph under construction: nodes, constants, inputs and outputs, in ONNX's words.

use half::f16;

use super::proto::{
    AttributeProto, DimensionProto, Element, GraphProto, NodeProto, TensorProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto,
};
use crate::export::question::Dim;

/// The domain of operators that are not of neural networks.
pub const ML: &str = "ai.onnx.ml";

/// A graph under construction. Nodes are added in an order in which they can be computed.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
}

impl Graph {
    /// The unsigned byte that stands for zero where signed ones are written as unsigned ones.
    pub const ZERO: u8 = 128;

    /// An input of the graph, and its name.
    pub fn input(&mut self, name: &str, doc: &str, element: Element, dims: &[Dim]) -> String {
        if self.inputs.iter().all(|input| input.name != name) {
            self.inputs.push(value_info(name, doc, element, dims));
        }
        name.to_owned()
    }

    /// Makes what a node computes an output of the graph.
    pub fn output(&mut self, value: &str, name: &str, doc: &str, element: Element, dims: &[Dim]) {
        let names = self.nodes.iter_mut().flat_map(|node| node.output.iter_mut().chain(&mut node.input));
        names.filter(|found| *found == value).for_each(|found| name.clone_into(found));
        self.outputs.push(value_info(name, doc, element, dims));
    }

    /// Adds a node with one output, and names it.
    pub fn node<const N: usize>(&mut self, operator: &str, inputs: [&str; N]) -> String {
        self.node_with(operator, inputs, [])
    }

    /// The same with attributes.
    pub fn node_with<const N: usize>(
        &mut self,
        operator: &str,
        inputs: [&str; N],
        attributes: impl IntoIterator<Item = AttributeProto>,
    ) -> String {
        let [output] = self.nodes_of(operator, inputs, attributes);
        output
    }

    /// The same with any number of outputs.
    pub fn nodes_of<const N: usize, const O: usize>(
        &mut self,
        operator: &str,
        inputs: [&str; N],
        attributes: impl IntoIterator<Item = AttributeProto>,
    ) -> [String; O] {
        let name = format!("{operator}_{}", self.nodes.len());
        let output = |k: usize| if k == 0 { name.clone() } else { format!("{name}_{k}") };
        let outputs: [String; O] = std::array::from_fn(output);
        self.nodes.push(NodeProto {
            input: inputs.map(str::to_owned).into(),
            output: outputs.clone().into(),
            op_type: operator.to_owned(),
            attribute: attributes.into_iter().collect(),
            domain: if operator.starts_with("TreeEnsemble") { ML.to_owned() } else { String::new() },
            name,
        });
        outputs
    }

    /// A constant of plain numbers; of the same name there is one.
    pub fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        self.constant(name, |name| TensorProto::floats(name, shape, values))
    }

    /// The same in half precision.
    pub fn halves(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        let half = |x: &f32| f16::from_f32(*x).to_le_bytes();
        let bytes = || values.iter().flat_map(half).collect();
        self.constant(name, |name| TensorProto::new(name, shape, Element::Float16, bytes()))
    }

    /// A number.
    pub fn number(&mut self, value: f32) -> String {
        self.floats(&named("number", &format!("{value:?}")), &[], &[value])
    }

    /// The same of signed bytes.
    pub fn bytes(&mut self, name: &str, shape: &[usize], values: &[i8]) -> String {
        let bytes = || values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(name, |name| TensorProto::new(name, shape, Element::Int8, bytes()))
    }

    /// Signed bytes as unsigned ones, each [`Self::ZERO`] more.
    pub fn unsigned_bytes(&mut self, name: &str, shape: &[usize], values: &[i8]) -> String {
        let bytes = || values.iter().map(|value| value.cast_unsigned() ^ Self::ZERO).collect();
        self.constant(name, |name| TensorProto::new(name, shape, Element::Uint8, bytes()))
    }

    /// An unsigned byte.
    pub fn byte(&mut self, value: u8) -> String {
        self.constant(&format!("byte_{value}"), |name| {
            TensorProto::new(name, &[], Element::Uint8, vec![value])
        })
    }

    /// The same of 32-bit integers.
    pub fn ids(&mut self, name: &str, values: &[i32]) -> String {
        self.constant(name, |name| TensorProto::ids(name, &[values.len()], values))
    }

    /// Sizes and places, for operators that want them as constants.
    pub fn sizes(&mut self, values: &[i64]) -> String {
        let numbers: Vec<String> = values.iter().map(i64::to_string).collect();
        let bytes = || values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(&named("sizes", &numbers.join("_")), |name| {
            TensorProto::new(name, &[values.len()], Element::Int64, bytes())
        })
    }

    fn constant(&mut self, name: &str, tensor: impl FnOnce(&str) -> TensorProto) -> String {
        if self.constants.iter().all(|constant| constant.name != name) {
            self.constants.push(tensor(name));
        }
        name.to_owned()
    }

    /// Numbers of another kind.
    pub fn cast(&mut self, value: &str, to: Element) -> String {
        self.node_with("Cast", [value], [int("to", to as i64)])
    }

    /// The graph. Constants that nothing reads are left out.
    pub fn finish(mut self, name: &str, doc: &str) -> GraphProto {
        self.constants.retain(|constant| self.nodes.iter().any(|node| node.input.contains(&constant.name)));
        GraphProto {
            node: self.nodes,
            name: name.to_owned(),
            initializer: self.constants,
            doc_string: doc.to_owned(),
            input: self.inputs,
            output: self.outputs,
        }
    }
}

/// A constant's name, of its numbers. Burn's importer makes identifiers of names: -1 and 1 must not become the same.
pub fn named(what: &str, numbers: &str) -> String {
    format!("{what}_{}", numbers.replace('-', "minus_").replace('.', "_point_"))
}

fn value_info(name: &str, doc: &str, element: Element, dims: &[Dim]) -> ValueInfoProto {
    let dim = |dim: &Dim| match dim {
        Dim::Fixed(size) => DimensionProto { dim_value: Some(*size as i64), dim_param: None },
        named => DimensionProto { dim_value: None, dim_param: Some(format!("{named:?}").to_lowercase()) },
    };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor_type = TensorTypeProto { elem_type: element as i32, shape: Some(shape) };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { tensor_type: Some(tensor_type) }),
        doc_string: doc.to_owned(),
    }
}

/// An attribute that is a whole number.
pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.to_owned(), i: Some(value), r#type: 2, ..AttributeProto::default() }
}

/// An attribute that is a text.
pub fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto { name: name.to_owned(), s: Some(value.into()), r#type: 3, ..AttributeProto::default() }
}

/// An attribute that is a tensor.
pub fn tensor(name: &str, value: TensorProto) -> AttributeProto {
    AttributeProto { name: name.to_owned(), t: Some(value), r#type: 4, ..AttributeProto::default() }
}

/// An attribute that is a list of plain numbers.
pub fn floats(name: &str, values: Vec<f32>) -> AttributeProto {
    AttributeProto { name: name.to_owned(), floats: values, r#type: 6, ..AttributeProto::default() }
}

/// An attribute that is a list of integers.
pub fn ints(name: &str, values: Vec<i64>) -> AttributeProto {
    AttributeProto { name: name.to_owned(), ints: values, r#type: 7, ..AttributeProto::default() }
}

/// An attribute that is a list of texts.
pub fn texts(name: &str, values: &[&str]) -> AttributeProto {
    let strings = values.iter().map(|&value| value.into()).collect();
    AttributeProto { name: name.to_owned(), strings, r#type: 8, ..AttributeProto::default() }
}
