//! The transformer's operations as those of a Core ML program, in 32-bit floats, one question a call.

use super::program::{Given, Program, Tensor};
use super::proto::{
    ArrayDataType, ArrayFeatureType, DataType, FeatureDescription, FeatureType, ShapeRange, SizeRange,
};
use super::{MOST_CANDIDATES, USUAL_CANDIDATES};
use crate::export::network::{Matrix, Table, Writer};
use crate::export::question::{Dim, Input};
use crate::network::NORM_EPSILON;

/// Writes the operations of a transformer.
#[derive(Debug, Default)]
pub struct Operations {
    pub program: Program,
    /// The inputs, as an app sees them.
    pub inputs: Vec<FeatureDescription>,
    /// Tokens of the longest question.
    pub window: usize,
}

impl Operations {
    /// The least, the usual and the most that a size may be.
    fn choice(&self, dim: Dim) -> [usize; 3] {
        match dim {
            Dim::Fixed(size) => [size; 3],
            Dim::Tokens => [1, self.window, self.window],
            Dim::Candidates => [1, USUAL_CANDIDATES, MOST_CANDIDATES],
            // One question; and a transformer reads no tables of features.
            Dim::Batch | Dim::Rows => [1; 3],
        }
    }

    /// Sizes; one without a choice is known.
    fn known(&self, dims: &[Dim]) -> Vec<Dim> {
        let known = |&dim: &Dim| match self.choice(dim) {
            [least, _, most] if least == most => Dim::Fixed(most),
            _ => dim,
        };
        dims.iter().map(known).collect()
    }

    /// An operation whose result is of floats.
    fn floats(&mut self, kind: &str, given: &[(&str, Given<'_>)], dims: Vec<Dim>) -> Tensor {
        self.program.operation(kind, given, DataType::Float32, dims)
    }

    /// `x` and `y` to a result of `x`'s sizes, or, of tensors, of sizes that both fit.
    fn pair(&mut self, kind: &str, x: &Tensor, y: Given<'_>) -> Tensor {
        let dims = match y {
            Given::Tensor(y) => broadcast(&x.dims, &y.dims),
            _ => x.dims.clone(),
        };
        self.program.operation(kind, &[("x", x.into()), ("y", y)], x.data_type, dims)
    }

    fn multiply(&mut self, x: &Tensor, y: Given<'_>, columns: Dim) -> Tensor {
        let (no, mut dims) = (Given::Flag(false), x.dims.clone());
        dims.pop();
        dims.push(columns);
        self.floats("matmul", &[("x", x.into()), ("y", y), ("transpose_x", no), ("transpose_y", no)], dims)
    }
}

/// Sizes that differ are 1 on one side, or missing in front.
fn broadcast(x: &[Dim], y: &[Dim]) -> Vec<Dim> {
    let (long, short) = if x.len() < y.len() { (y, x) } else { (x, y) };
    let mut dims = long.to_vec();
    for (dim, other) in dims.iter_mut().rev().zip(short.iter().rev()) {
        if *dim == Dim::Fixed(1) {
            *dim = *other;
        }
    }
    dims
}

impl Writer for Operations {
    type Value = Tensor;

    fn input(&mut self, input: &Input) -> Tensor {
        let sizes = input.sizes();
        let choices: Vec<[usize; 3]> = sizes.iter().map(|&dim| self.choice(dim)).collect();
        let range = |&[least, _, most]: &[usize; 3]| SizeRange {
            lower_bound: least as u64,
            upper_bound: most as i64,
        };
        let (data_type, array) = match input.is_whole {
            true => (DataType::Int32, ArrayDataType::Int32),
            false => (DataType::Float32, ArrayDataType::Float32),
        };
        let array = ArrayFeatureType {
            shape: choices.iter().map(|&[_, usual, _]| usual as i64).collect(),
            data_type: array as i32,
            shape_range: Some(ShapeRange { size_ranges: choices.iter().map(range).collect() }),
        };
        self.inputs.push(FeatureDescription {
            name: input.name.to_owned(),
            short_description: input.doc.to_owned(),
            r#type: Some(FeatureType { multi_array_type: Some(array) }),
        });
        let dims = self.known(&sizes);
        self.program.input(input.name, data_type, dims)
    }

    fn shift(&mut self, ids: &Tensor, by: &[i32]) -> Tensor {
        self.pair("add", ids, Given::Wholes(by))
    }

    fn lookup(&mut self, table: &Table, ids: &Tensor) -> Tensor {
        let shape = [table.rows, table.width];
        let rows = Given::Weights(&table.name, &shape, &table.values);
        let (axis, batch_dims) = (Given::Whole(0), Given::Whole(0));
        let mut dims = ids.dims.clone();
        dims.push(Dim::Fixed(table.width));
        let given = [("x", rows), ("indices", ids.into()), ("axis", axis), ("batch_dims", batch_dims)];
        self.floats("gather", &given, dims)
    }

    fn product(&mut self, x: &Tensor, matrix: &Matrix) -> Tensor {
        let shape = [matrix.inputs, matrix.outputs];
        let weights = Given::Weights(&matrix.name, &shape, &matrix.values);
        self.multiply(x, weights, Dim::Fixed(matrix.outputs))
    }

    fn matmul(&mut self, a: &Tensor, b: &Tensor) -> Tensor {
        let columns = b.dims.last().copied().unwrap_or(Dim::Fixed(1));
        self.multiply(a, b.into(), columns)
    }

    fn add(&mut self, a: &Tensor, b: &Tensor) -> Tensor {
        self.pair("add", a, b.into())
    }

    fn add_vector(&mut self, x: &Tensor, name: &str, vector: &[f32]) -> Tensor {
        self.pair("add", x, Given::Weights(name, &[vector.len()], vector))
    }

    fn rms_norm(&mut self, x: &Tensor, name: &str, gain: &[f32]) -> Tensor {
        let squares = self.pair("mul", x, x.into());
        let mut dims = x.dims.clone();
        dims.pop();
        dims.push(Dim::Fixed(1));
        let (axes, keep) = (Given::Wholes(&[-1]), Given::Flag(true));
        let given = [("x", (&squares).into()), ("axes", axes), ("keep_dims", keep)];
        let mean = self.floats("reduce_mean", &given, dims.clone());
        // This operation adds epsilon before the root, as we do.
        let given = [("x", (&mean).into()), ("epsilon", Given::Float(NORM_EPSILON))];
        let inverse = self.floats("rsqrt", &given, dims);
        let even = self.pair("mul", x, (&inverse).into());
        self.pair("mul", &even, Given::Weights(name, &[gain.len()], gain))
    }

    fn relu(&mut self, x: &Tensor) -> Tensor {
        self.floats("relu", &[("x", x.into())], x.dims.clone())
    }

    fn softmax(&mut self, x: &Tensor) -> Tensor {
        self.floats("softmax", &[("x", x.into()), ("axis", Given::Whole(-1))], x.dims.clone())
    }

    fn log_softmax(&mut self, x: &Tensor) -> Tensor {
        let mut dims = x.dims.clone();
        dims.pop();
        dims.push(Dim::Fixed(1));
        let (axes, keep) = (Given::Wholes(&[-1]), Given::Flag(true));
        let given = [("x", x.into()), ("axes", axes), ("keep_dims", keep)];
        let sum = self.floats("reduce_log_sum_exp", &given, dims);
        self.pair("sub", x, (&sum).into())
    }

    fn sum(&mut self, x: &Tensor, axis: usize) -> Tensor {
        let mut dims = x.dims.clone();
        dims.remove(axis);
        let (axes, keep) = ([axis as i32], Given::Flag(false));
        let given = [("x", x.into()), ("axes", Given::Wholes(&axes)), ("keep_dims", keep)];
        self.floats("reduce_sum", &given, dims)
    }

    fn last(&mut self, x: &Tensor) -> Tensor {
        let mut begin = vec![0; x.dims.len()];
        let (end, to_the_end) = (begin.clone(), vec![true; x.dims.len()]);
        begin[1] = -1;
        let mut dims = x.dims.clone();
        dims[1] = Dim::Fixed(1);
        let given = [
            ("x", x.into()),
            ("begin", Given::Wholes(&begin)),
            ("end", Given::Wholes(&end)),
            ("end_mask", Given::Flags(&to_the_end)),
        ];
        self.program.operation("slice_by_index", &given, x.data_type, dims)
    }

    fn reshape(&mut self, x: &Tensor, dims: &[Dim]) -> Tensor {
        let dims = self.known(dims);
        // With one question, at most one size is left to find out: -1 says so.
        let size = |dim: &Dim| if let Dim::Fixed(size) = dim { *size as i32 } else { -1 };
        let sizes: Vec<i32> = dims.iter().map(size).collect();
        self.floats("reshape", &[("x", x.into()), ("shape", Given::Wholes(&sizes))], dims)
    }

    fn transpose(&mut self, x: &Tensor, order: &[usize]) -> Tensor {
        let dims = order.iter().map(|&axis| x.dims[axis]).collect();
        let order: Vec<i32> = order.iter().map(|&axis| axis as i32).collect();
        self.floats("transpose", &[("x", x.into()), ("perm", Given::Wholes(&order))], dims)
    }

    fn pick(&mut self, x: &Tensor, ids: &Tensor) -> Tensor {
        let given = [("x", x.into()), ("indices", ids.into()), ("axis", Given::Whole(1))];
        self.floats("gather_along_axis", &given, ids.dims.clone())
    }

    fn scale(&mut self, x: &Tensor, by: f32) -> Tensor {
        self.pair("mul", x, Given::Float(by))
    }
}
