//! A quantized model as the passes want it: packed for products, rows padded with zeros to whole blocks, and the tables
//! that follow from it.

use super::float::Range;
use super::kernel::{LANES, Packed};
use super::model::{QuantizedModel, dequantized};
use crate::context::tokens::GAPS;
use crate::network::{TransformerConfig, transposed};

/// The class of a pair whose second token comes later: none may look ahead.
pub const AHEAD: u8 = GAPS as u8;

/// Entries of a head's bias table: a power of two, so that an index needs no check.
pub const TABLE: usize = 64;
const _: () = assert!(GAPS < TABLE);

/// A matrix ready for products, and what a step of each output is worth.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// Its number in the layout, and how its rows' bytes are read: for those who look on.
    #[cfg(feature = "train")]
    pub tensor: usize,
    #[cfg(feature = "train")]
    pub read: Range,
    pub packed: Packed,
    /// `[padded outputs]`; what pads it is zero.
    pub scales: Vec<f32>,
}

/// One layer.
#[derive(Debug, Clone)]
pub struct Layer {
    pub attention_norm: Vec<f32>,
    /// Divided by the root of a head's width, as scores are.
    pub query: Matrix,
    pub key: Matrix,
    pub value: Matrix,
    pub output: Matrix,
    /// `[heads, TABLE]`: a head's biases, and one that leaves nothing of what lies ahead.
    pub gap_bias: Vec<f32>,
    pub feed_norm: Vec<f32>,
    pub feed_in: Matrix,
    pub feed_in_bias: Vec<f32>,
    pub feed_out: Matrix,
    pub feed_out_bias: Vec<f32>,
}

/// Rows of bytes, a scale a row.
#[derive(Debug, Clone)]
pub struct Embedding {
    /// `[rows, padded width]`.
    pub values: Vec<i8>,
    /// `[rows]`.
    pub scales: Vec<f32>,
}

/// All of it.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub config: TransformerConfig,
    pub apps: Embedding,
    /// Kinds, places, gaps, networks, batteries: few rows, so plain numbers, `[rows, padded d_model]`.
    pub small: [Vec<f32>; 5],
    pub clock: Matrix,
    pub layers: Vec<Layer>,
    pub final_norm: Vec<f32>,
    pub app_bias: Vec<f32>,
    pub pointer_candidate: Matrix,
    pub pointer_question: Matrix,
    pub pointer_hidden: Matrix,
    pub pointer_bias: Vec<f32>,
    pub pointer_second: Matrix,
    pub pointer_second_bias: Vec<f32>,
    pub pointer_output: Vec<f32>,
    /// `[mixture - 1, padded pointer_width]`; like the other two, nothing where there is no mixture.
    pub pointer_mixture: Vec<f32>,
    /// `[mixture, padded pointer_width]`.
    pub pointer_gate: Vec<f32>,
    /// `[mixture]`.
    pub pointer_gate_bias: Vec<f32>,
    /// `[apps + 1, padded pointer_width]`: what an app adds to every candidate that it is.
    pub app_pointer: Vec<f32>,
}

impl Prepared {
    pub fn new(model: &QuantizedModel) -> Self {
        let (config, layout) = (model.config().clone(), model.layout());
        let matrix = |range, read: Range| {
            let (spec, tensor) = model.tensor(range);
            let packed = Packed::new(&tensor.values, spec.shape[1], read.zero());
            let mut scales = tensor.scales.clone();
            scales.resize(packed.outputs(), 0.0);
            Matrix {
                #[cfg(feature = "train")]
                tensor: layout.tensors.partition_point(|other| other.range.start < spec.range.start),
                #[cfg(feature = "train")]
                read,
                packed,
                scales,
            }
        };
        let signed = |range| matrix(range, Range::Signed);
        let plain = |range| {
            let (spec, tensor) = model.tensor(range);
            padded(&dequantized(spec, tensor), spec.shape.last().copied().unwrap_or(1))
        };
        // By column, as sums are: a row for each.
        let columns = |range: &std::ops::Range<usize>| {
            if range.is_empty() {
                return Vec::new();
            }
            let (spec, tensor) = model.tensor(range);
            let numbers = dequantized(spec, tensor);
            padded(&transposed(&numbers, numbers.len() / config.pointer_width), config.pointer_width)
        };
        let gate_bias = match layout.pointer_gate_bias.is_empty() {
            true => Vec::new(),
            false => model.tensor(&layout.pointer_gate_bias).1.floats.clone(),
        };
        let (_, apps) = model.tensor(&layout.app_embedding);
        let apps = Embedding { values: padded(&apps.values, config.d_model), scales: apps.scales.clone() };
        let layers = layout.layers.iter().map(|at| {
            let mut query = signed(&at.query);
            let root = (config.d_head() as f32).sqrt();
            query.scales.iter_mut().for_each(|scale| *scale /= root);
            Layer {
                attention_norm: plain(&at.attention_norm),
                query,
                key: signed(&at.key),
                value: signed(&at.value),
                output: signed(&at.output),
                gap_bias: bias_tables(&model.tensor(&at.gap_bias).1.floats),
                feed_norm: plain(&at.feed_norm),
                feed_in: signed(&at.feed_in),
                feed_in_bias: plain(&at.feed_in_bias),
                feed_out: matrix(&at.feed_out, Range::Positive),
                feed_out_bias: plain(&at.feed_out_bias),
            }
        });
        Self {
            apps,
            small: [
                &layout.kind_embedding,
                &layout.place_embedding,
                &layout.gap_embedding,
                &layout.network_embedding,
                &layout.battery_embedding,
            ]
            .map(plain),
            clock: signed(&layout.clock_projection),
            layers: layers.collect(),
            final_norm: plain(&layout.final_norm),
            app_bias: model.tensor(&layout.app_bias).1.floats.clone(),
            pointer_candidate: signed(&layout.pointer_candidate),
            pointer_question: signed(&layout.pointer_question),
            pointer_hidden: signed(&layout.pointer_hidden),
            pointer_bias: plain(&layout.pointer_bias),
            pointer_second: matrix(&layout.pointer_second, Range::Positive),
            pointer_second_bias: plain(&layout.pointer_second_bias),
            pointer_output: plain(&layout.pointer_output),
            pointer_mixture: columns(&layout.pointer_mixture),
            pointer_gate: columns(&layout.pointer_gate),
            pointer_gate_bias: gate_bias,
            app_pointer: app_pointer(model),
            config,
        }
    }
}

/// Rows with zeros after them, up to whole blocks.
fn padded<T: Copy + Default>(values: &[T], width: usize) -> Vec<T> {
    let more = width.next_multiple_of(LANES) - width;
    let row =
        |row: &[T]| row.iter().copied().chain(std::iter::repeat_n(T::default(), more)).collect::<Vec<T>>();
    values.chunks_exact(width).flat_map(row).collect()
}

/// Each head's biases, with room for [`AHEAD`].
fn bias_tables(gap_bias: &[f32]) -> Vec<f32> {
    let mut tables = vec![0.0; gap_bias.len() / GAPS * TABLE];
    for (table, bias) in tables.chunks_exact_mut(TABLE).zip(gap_bias.chunks_exact(GAPS)) {
        table[..GAPS].copy_from_slice(bias);
        table[usize::from(AHEAD)] = -1e30;
    }
    tables
}

/// `app_embedding . pointer_app`, a row an app of the vocabulary and one for all others.
fn app_pointer(model: &QuantizedModel) -> Vec<f32> {
    let (config, layout) = (model.config(), model.layout());
    let ((_, apps), (_, matrix)) = (model.tensor(&layout.app_embedding), model.tensor(&layout.pointer_app));
    let (d, p) = (config.d_model, config.pointer_width);
    let mut table = Vec::with_capacity((config.apps + 1) * p);
    for (app, scale) in apps.values.chunks_exact(d).zip(&apps.scales).take(config.apps + 1) {
        let sum = |out: usize| -> i32 {
            let column = matrix.values[out..].iter().step_by(p);
            app.iter().zip(column).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum()
        };
        table.extend((0..p).map(|out| sum(out) as f32 * scale * matrix.scales[out]));
    }
    padded(&table, p)
}
