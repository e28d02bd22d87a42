//! A program under construction: operations, constants, inputs and outputs, in Core ML's words.

use std::collections::BTreeMap;

use super::proto::{
    self, Binding, BlobFileValue, Block, ConstantDimension, DataType, Dimension, DimensionKind, Elements,
    ImmediateValue, NamedValueType, Operation, RepeatedBools, RepeatedFloats, RepeatedInts, RepeatedStrings,
    TensorType, TensorValue, UnknownDimension, Value, ValueKind, ValueType,
};
use super::weights::Weights;
use crate::export::question::Dim;

/// The operations of iOS 16 and macOS 13.
pub const OPSET: &str = "CoreML6";

/// From this many numbers on a constant goes to the file of weights, as Apple's own converter has it.
const LONG: usize = 10;

/// What an operation computes, or an input.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    pub name: String,
    pub data_type: DataType,
    /// What is not [`Dim::Fixed`] is each call's choice.
    pub dims: Vec<Dim>,
}

/// What a parameter of an operation is given.
#[derive(Debug, Clone, Copy)]
pub enum Given<'a> {
    Tensor(&'a Tensor),
    Flag(bool),
    Flags(&'a [bool]),
    Whole(i32),
    Wholes(&'a [i32]),
    Float(f32),
    /// Numbers of the model, by name.
    Weights(&'a str, &'a [usize], &'a [f32]),
}

impl<'a> From<&'a Tensor> for Given<'a> {
    fn from(tensor: &'a Tensor) -> Self {
        Self::Tensor(tensor)
    }
}

/// A program under construction. Operations are added in an order in which they can be computed.
#[derive(Debug, Default)]
pub struct Program {
    inputs: Vec<NamedValueType>,
    block: Block,
    weights: Weights,
}

impl Program {
    /// An input of the program.
    pub fn input(&mut self, name: &str, data_type: DataType, dims: Vec<Dim>) -> Tensor {
        let input = Tensor { name: name.to_owned(), data_type, dims };
        self.inputs.push(input.named_type());
        input
    }

    /// Adds an operation with one result, of the type and sizes that it is said to have.
    pub fn operation(
        &mut self,
        kind: &str,
        given: &[(&str, Given<'_>)],
        data_type: DataType,
        dims: Vec<Dim>,
    ) -> Tensor {
        // Constants come before who reads them, so the count names an operation as no other.
        let name = format!("{kind}_{}", self.block.operations.len());
        let mut inputs = BTreeMap::new();
        for (parameter, given) in given {
            let binding = Binding { name: Some(self.bind(&format!("{name}_{parameter}"), *given)) };
            inputs.insert((*parameter).to_owned(), proto::Argument { arguments: vec![binding] });
        }
        let result = Tensor { name, data_type, dims };
        self.push(kind, &result, inputs, BTreeMap::new());
        result
    }

    /// Makes what an operation computes an output of the program.
    pub fn output(&mut self, tensor: &Tensor, name: &str) {
        for operation in &mut self.block.operations {
            let read = operation.inputs.values_mut().flat_map(|argument| &mut argument.arguments);
            read.filter(|binding| binding.name.as_ref() == Some(&tensor.name))
                .for_each(|binding| binding.name = Some(name.to_owned()));
            for computed in operation.outputs.iter_mut().filter(|computed| computed.name == tensor.name) {
                name.clone_into(&mut computed.name);
                operation.attributes.insert("name".to_owned(), text(name));
            }
        }
        self.block.outputs.push(name.to_owned());
    }

    /// The program, and the file of its weights.
    pub fn finish(self) -> (proto::Program, Vec<u8>) {
        let block_specializations = BTreeMap::from([(OPSET.to_owned(), self.block)]);
        let main = proto::Function { inputs: self.inputs, opset: OPSET.to_owned(), block_specializations };
        let functions = BTreeMap::from([("main".to_owned(), main)]);
        (proto::Program { version: 1, functions }, self.weights.finish())
    }

    /// The name of what a parameter is given; a constant gets `name`, or its own.
    fn bind(&mut self, name: &str, given: Given<'_>) -> String {
        match given {
            Given::Tensor(tensor) => tensor.name.clone(),
            Given::Flag(value) => self.constant(name, DataType::Bool, &[], flags(&[value])),
            Given::Flags(values) => self.constant(name, DataType::Bool, &[values.len()], flags(values)),
            Given::Whole(value) => self.constant(name, DataType::Int32, &[], wholes(&[value])),
            Given::Wholes(values) => self.constant(name, DataType::Int32, &[values.len()], wholes(values)),
            Given::Float(value) => self.constant(name, DataType::Float32, &[], floats(&[value])),
            Given::Weights(name, shape, values) => {
                // The format knows no dots in names.
                let name = name.replace('.', "_");
                let operations = &self.block.operations;
                if operations
                    .iter()
                    .flat_map(|operation| &operation.outputs)
                    .any(|output| output.name == name)
                {
                    return name;
                }
                let kind = if values.len() < LONG {
                    floats(values)
                } else {
                    let file_name = "@model_path/weights/weight.bin".to_owned();
                    ValueKind::BlobFile(BlobFileValue { file_name, offset: self.weights.add(values) })
                };
                self.constant(&name, DataType::Float32, shape, kind)
            }
        }
    }

    fn constant(&mut self, name: &str, data_type: DataType, shape: &[usize], kind: ValueKind) -> String {
        let dims = shape.iter().map(|&size| Dim::Fixed(size)).collect();
        let tensor = Tensor { name: name.to_owned(), data_type, dims };
        let value = Value { r#type: Some(tensor.value_type()), value: Some(kind) };
        self.push("const", &tensor, BTreeMap::new(), BTreeMap::from([("val".to_owned(), value)]));
        tensor.name
    }

    fn push(
        &mut self,
        kind: &str,
        result: &Tensor,
        inputs: BTreeMap<String, proto::Argument>,
        mut attributes: BTreeMap<String, Value>,
    ) {
        attributes.insert("name".to_owned(), text(&result.name));
        let outputs = vec![result.named_type()];
        self.block.operations.push(Operation { r#type: kind.to_owned(), inputs, outputs, attributes });
    }
}

impl Tensor {
    fn named_type(&self) -> NamedValueType {
        NamedValueType { name: self.name.clone(), r#type: Some(self.value_type()) }
    }

    fn value_type(&self) -> ValueType {
        let dimension = |dim: &Dim| {
            let kind = match dim {
                Dim::Fixed(size) => DimensionKind::Constant(ConstantDimension { size: *size as u64 }),
                _ => DimensionKind::Unknown(UnknownDimension { variadic: false }),
            };
            Dimension { dimension: Some(kind) }
        };
        let (data_type, rank) = (self.data_type as i32, self.dims.len() as i64);
        let dimensions = self.dims.iter().map(dimension).collect();
        ValueType { tensor_type: Some(TensorType { data_type, rank, dimensions }) }
    }
}

fn immediate(elements: Elements) -> ValueKind {
    ValueKind::Immediate(ImmediateValue { tensor: Some(TensorValue { value: Some(elements) }) })
}

fn flags(values: &[bool]) -> ValueKind {
    immediate(Elements::Bools(RepeatedBools { values: values.to_vec() }))
}

fn wholes(values: &[i32]) -> ValueKind {
    immediate(Elements::Ints(RepeatedInts { values: values.to_vec() }))
}

fn floats(values: &[f32]) -> ValueKind {
    immediate(Elements::Floats(RepeatedFloats { values: values.to_vec() }))
}

/// An attribute that is a text.
fn text(value: &str) -> Value {
    let elements = Elements::Strings(RepeatedStrings { values: vec![value.to_owned()] });
    let tensor_type = TensorType { data_type: DataType::String as i32, rank: 0, dimensions: Vec::new() };
    Value { r#type: Some(ValueType { tensor_type: Some(tensor_type) }), value: Some(immediate(elements)) }
}
