//! The transformer's operations as ONNX nodes, in one of four kinds of numbers.

use std::collections::BTreeMap;

use super::graph::{Graph, int, ints, named};
use super::proto::Element;
use crate::export::network::{Matrix, Reads, Table, Writer};
use crate::export::question::{Dim, Input};
use crate::network::NORM_EPSILON;

/// How far the inputs of each matrix reach, by its name: what lies beyond is cut off.
pub type Ranges = BTreeMap<String, [f32; 2]>;

/// What numbers a graph computes in.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// 32-bit floats.
    Single,
    /// 16-bit floats, but for norms, inputs and outputs.
    Half,
    /// Weights and what they multiply in unsigned bytes; each question sets the range of the latter: `MatMulInteger`.
    ///
    /// Signed weights would be the plainer choice, but ONNX Runtime multiplies them by `vpmaddubsw` on x86 without VNNI,
    /// whose sums of two products saturate at 16 bits: logits were off by 1.5. Of two unsigned factors it takes other
    /// instructions, which are exact, and here as fast.
    Dynamic,
    /// The same with ranges that are known beforehand: `QuantizeLinear` and `DequantizeLinear` around products.
    Static(Ranges),
}

/// Writes the nodes of a transformer.
pub struct Nodes<'a> {
    pub graph: &'a mut Graph,
    pub numbers: &'a Numbers,
}

impl Nodes<'_> {
    /// A constant in the numbers of the graph.
    fn constant(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        match self.numbers {
            Numbers::Half => self.graph.halves(name, shape, values),
            _ => self.graph.floats(name, shape, values),
        }
    }

    /// `x` in unsigned bytes, what a step is worth, and the byte that stands for zero.
    fn in_bytes(&mut self, x: &str, matrix: &Matrix, ranges: &Ranges) -> [String; 3] {
        let (step, zero) = match (matrix.reads, ranges.get(&matrix.name)) {
            // As our own student has it.
            (Reads::Within(most), _) => (most / 127.0, 128),
            (_, Some(range)) => step_of(*range),
            (_, None) => return self.graph.nodes_of("DynamicQuantizeLinear", [x], []),
        };
        let (step, zero) = (self.graph.number(step), self.graph.byte(zero));
        [self.graph.node("QuantizeLinear", [x, &step, &zero]), step, zero]
    }
}

/// What a step is worth where 256 of them reach over `range`, and which of them is zero.
fn step_of([least, most]: [f32; 2]) -> (f32, u8) {
    let (least, most) = (least.min(0.0), most.max(0.0).max(least + 1e-6));
    let step = (most - least) / 255.0;
    (step, (-least / step).round() as u8)
}

impl Writer for Nodes<'_> {
    type Value = String;

    fn input(&mut self, input: &Input) -> String {
        let element = if input.is_whole { Element::Int32 } else { Element::Float };
        let name = self.graph.input(input.name, input.doc, element, &input.sizes());
        match (self.numbers, input.is_whole) {
            (Numbers::Half, false) => self.graph.cast(&name, Element::Float16),
            _ => name,
        }
    }

    fn shift(&mut self, ids: &String, by: &[i32]) -> String {
        let by = self.graph.ids("starts", by);
        self.graph.node("Add", [ids, &by])
    }

    fn lookup(&mut self, table: &Table, ids: &String) -> String {
        let shape = [table.rows, table.width];
        match (&table.steps, self.numbers) {
            (Some(steps), Numbers::Dynamic | Numbers::Static(_)) => {
                let values = self.graph.bytes(&table.name, &shape, &steps.values);
                let scales =
                    self.graph.floats(&format!("{}_scale", table.name), &[table.rows, 1], &steps.scales);
                let rows = self.graph.node("Gather", [&values, ids]);
                let rows = self.graph.cast(&rows, Element::Float);
                let scales = self.graph.node("Gather", [&scales, ids]);
                self.graph.node("Mul", [&rows, &scales])
            }
            _ => {
                let values = self.constant(&table.name, &shape, &table.values);
                self.graph.node("Gather", [&values, ids])
            }
        }
    }

    fn product(&mut self, x: &String, matrix: &Matrix) -> String {
        let Matrix { name, inputs, outputs, values, steps, .. } = matrix;
        let shape = [*inputs, *outputs];
        match (steps, self.numbers) {
            (Some(steps), Numbers::Dynamic) => {
                let [bytes, step, zero] = self.in_bytes(x, matrix, &Ranges::new());
                let weights = self.graph.unsigned_bytes(name, &shape, &steps.values);
                let scales = self.graph.floats(&format!("{name}_scale"), &[*outputs], &steps.scales);
                let weight_zero = self.graph.byte(Graph::ZERO);
                let sums = self.graph.node("MatMulInteger", [&bytes, &weights, &zero, &weight_zero]);
                let sums = self.graph.cast(&sums, Element::Float);
                let scales = self.graph.node("Mul", [&step, &scales]);
                self.graph.node("Mul", [&sums, &scales])
            }
            (Some(steps), Numbers::Static(ranges)) => {
                let [bytes, step, zero] = self.in_bytes(x, matrix, ranges);
                let x = self.graph.node("DequantizeLinear", [&bytes, &step, &zero]);
                let weights = self.graph.unsigned_bytes(name, &shape, &steps.values);
                let scales = self.graph.floats(&format!("{name}_scale"), &[*outputs], &steps.scales);
                let zeros =
                    self.graph.unsigned_bytes(&format!("{name}_zero"), &[*outputs], &vec![0; *outputs]);
                let weights =
                    self.graph.node_with("DequantizeLinear", [&weights, &scales, &zeros], [int("axis", 1)]);
                self.graph.node("MatMul", [&x, &weights])
            }
            _ => {
                let weights = self.constant(name, &shape, values);
                self.graph.node("MatMul", [x, &weights])
            }
        }
    }

    fn matmul(&mut self, a: &String, b: &String) -> String {
        self.graph.node("MatMul", [a, b])
    }

    fn add(&mut self, a: &String, b: &String) -> String {
        self.graph.node("Add", [a, b])
    }

    fn add_vector(&mut self, x: &String, name: &str, vector: &[f32]) -> String {
        let vector = self.constant(name, &[vector.len()], vector);
        self.graph.node("Add", [x, &vector])
    }

    fn rms_norm(&mut self, x: &String, name: &str, gain: &[f32]) -> String {
        let is_half = *self.numbers == Numbers::Half;
        let g = &mut *self.graph;
        // A mean of squares may be more than half precision holds.
        let x = if is_half { g.cast(x, Element::Float) } else { x.clone() };
        let (two, epsilon) = (g.number(2.0), g.number(NORM_EPSILON));
        let squares = g.node("Pow", [&x, &two]);
        let mean = g.node_with("ReduceMean", [&squares], [ints("axes", vec![-1]), int("keepdims", 1)]);
        let mean = g.node("Add", [&mean, &epsilon]);
        let root = g.node("Sqrt", [&mean]);
        let even = g.node("Div", [&x, &root]);
        let gain = g.floats(name, &[gain.len()], gain);
        let x = g.node("Mul", [&even, &gain]);
        if is_half { g.cast(&x, Element::Float16) } else { x }
    }

    fn relu(&mut self, x: &String) -> String {
        self.graph.node("Relu", [x])
    }

    fn softmax(&mut self, x: &String) -> String {
        self.graph.node_with("Softmax", [x], [int("axis", -1)])
    }

    fn log_softmax(&mut self, x: &String) -> String {
        self.graph.node_with("LogSoftmax", [x], [int("axis", -1)])
    }

    fn sum(&mut self, x: &String, axis: usize) -> String {
        let axes = self.graph.sizes(&[axis as i64]);
        self.graph.node_with("ReduceSum", [x, &axes], [int("keepdims", 0)])
    }

    fn last(&mut self, x: &String) -> String {
        let [last, end, axis] = [[-1], [i64::MAX], [1]].map(|sizes| self.graph.sizes(&sizes));
        self.graph.node("Slice", [x, &last, &end, &axis])
    }

    fn reshape(&mut self, x: &String, dims: &[Dim]) -> String {
        // Zero is a size that stays.
        let size = |dim: &Dim| if let Dim::Fixed(size) = dim { *size as i64 } else { 0 };
        let sizes = self.graph.sizes(&dims.iter().map(size).collect::<Vec<i64>>());
        self.graph.node("Reshape", [x, &sizes])
    }

    fn transpose(&mut self, x: &String, order: &[usize]) -> String {
        let order = order.iter().map(|&axis| axis as i64).collect();
        self.graph.node_with("Transpose", [x], [ints("perm", order)])
    }

    fn pick(&mut self, x: &String, ids: &String) -> String {
        self.graph.node_with("GatherElements", [x, ids], [int("axis", 1)])
    }

    /// With pairs in one row meanwhile: after a transposition of four sizes, tract runs the softmax across memory, four
    /// times as long for the whole graph (`benches/peers/run parity`).
    fn pair_bias(&mut self, table: &Table, pairs: &String) -> String {
        let shape = self.graph.node("Shape", [pairs]);
        let in_a_row = self.graph.sizes(&[0, -1]);
        let row = self.graph.node("Reshape", [pairs, &in_a_row]);
        let bias = self.lookup(table, &row); // [B, T * T, H]
        let bias = self.transpose(&bias, &[0, 2, 1]);
        let [zero, one, three] = [0, 1, 3].map(|size| self.graph.sizes(&[size]));
        let batch = self.graph.node("Slice", [&shape, &zero, &one]);
        let tokens = self.graph.node("Slice", [&shape, &one, &three]);
        let heads = self.graph.sizes(&[table.width as i64]);
        let shape = self.graph.node_with("Concat", [&*batch, &heads, &tokens], [int("axis", 0)]);
        self.graph.node("Reshape", [&bias, &shape])
    }

    fn scale(&mut self, x: &String, by: f32) -> String {
        let by = self.constant(&named("scale", &format!("{by:?}")), &[], &[by]);
        self.graph.node("Mul", [x, &by])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_reach_over_the_range_and_zero_is_one_of_them() {
        for (range, expected) in [
            ([-1.0, 1.55], (0.01, 100)),
            ([0.0, 2.55], (0.01, 0)),
            ([-2.55, 0.0], (0.01, 255)),
            ([0.5, 2.55], (0.01, 0)),
        ] {
            let (step, zero) = step_of(range);
            assert!((step - expected.0).abs() < 1e-6 && zero == expected.1, "{range:?}: {step} {zero}");
        }
        assert!(step_of([0.0, 0.0]).0 > 0.0);
    }
}
