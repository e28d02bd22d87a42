//! What a router has learned, as plain data, and its section of a bundle.
//!
//! ```text
//! field                        bytes
//! version                      4             of the weights' meaning: they read columns of the question features by number
//! weights of the blend         4 x 4 x 4     trees alone, transformer alone, trees, transformer: f32
//! temperature                  4             f32
//! weights of none of these     4 x 4         f32
//! gains                        100 x 4       f32, falling, in nats of log loss
//! gate                         list of u8    as `QuantizedTrees::write` writes it, its columns by name
//! ```

use super::blend::{Blend, Linear};
use super::calibrate::Calibration;
use super::gate::{COLUMNS, Gate, Quantiles, names};
use crate::context::QuestionFeatures;
use crate::context::columns::find_all;
use crate::error::{Error, Result};
use crate::gbdt::{Ensemble, Tree};
use crate::quantize::QuantizedTrees;
use crate::storage::codec::{Put as _, Reader};

/// What a router has learned of one task and one pair of experts.
#[derive(Debug, Clone)]
pub struct RouterModel {
    /// Guesses what the transformer would gain.
    pub gate: Gate,
    /// How large the gate's guesses are.
    pub gains: Quantiles,
    /// How much each expert counts.
    pub blend: Blend,
    /// What makes probabilities of it.
    pub calibration: Calibration,
}

/// Of the format. 1: two of the three parts of a gain, hits among three one of them, could not be negative.
// Source: units.
const VERSION: u32 = 2;
/// Columns of the question features that the weights of the blend and of none of these depend on, by [`basis`](super::blend::basis)
/// and [`none_columns`](super::calibrate::none_columns): what they meant when this version was made.
const WEIGHTS_READ: [&str; 3] = ["launches", "age", "unforeseen"];
const NEXT_STEP: &str = "fit the router again with this version of foretap: bundle make --base FILE --simulate 100, or with a log";
/// No weight that was ever fitted comes near.
// Source: units: what is read is refused beyond it.
const LARGEST: f32 = 1e3;

impl RouterModel {
    /// What there is before anything was learned: experts with these temperatures (trees, transformer) as they are, and of
    /// both the middle; nothing is expected to gain.
    ///
    /// # Errors
    /// None that a caller could cause.
    pub fn unfitted([trees, deep]: [f32; 2]) -> Result<Self> {
        let features: Vec<String> = names().map(str::to_owned).collect();
        let gate = Ensemble { features, ..Ensemble::new(vec![Tree::constant(0.0, 1.0)], COLUMNS) };
        let alone = |temperature: f32| [1.0 / temperature, 0.0, 0.0, 0.0];
        let half = |temperature: f32| [0.5 / temperature, 0.0, 0.0, 0.0];
        Ok(Self {
            gate: Gate::new(QuantizedTrees::new(&gate)?)?,
            gains: Quantiles([0.0; Quantiles::PARTS]),
            blend: Blend {
                trees_alone: alone(trees),
                deep_alone: alone(deep),
                trees: half(trees),
                deep: half(deep),
            },
            calibration: Calibration::default(),
        })
    }

    /// The model as bytes.
    ///
    /// # Errors
    /// Its gate is larger than the format allows.
    pub fn write(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        bytes.put_u32(VERSION);
        let Blend { trees_alone, deep_alone, trees, deep } = self.blend;
        let Calibration { temperature, none } = self.calibration;
        let weights = [trees_alone, deep_alone, trees, deep].concat();
        let numbers = weights.iter().chain([&temperature]).chain(&none).chain(&self.gains.0);
        numbers.for_each(|&number| bytes.put_f32(number));
        let gate = self.gate.trees().write()?;
        bytes.put_count(gate.len())?;
        bytes.extend(gate);
        Ok(bytes)
    }

    /// Reads what [`write`](Self::write) wrote.
    ///
    /// # Errors
    /// [`ErrorKind::Model`](crate::ErrorKind::Model): cut off, of another version, numbers that no fit gives, or a gate
    /// that reads other columns than this build computes.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new("router", bytes, NEXT_STEP);
        let version = reader.u32()?;
        if version != VERSION {
            return Err(reader.wrong(format!("version {version}, but this build reads {VERSION}")));
        }
        find_all("the router's weights read", &WEIGHTS_READ, QuestionFeatures::NAMES).map_err(of_section)?;
        let mut linear = || -> Result<Linear> {
            let mut numbers = Linear::default();
            for number in &mut numbers {
                *number = number_of(&mut reader)?;
            }
            Ok(numbers)
        };
        let blend =
            Blend { trees_alone: linear()?, deep_alone: linear()?, trees: linear()?, deep: linear()? };
        let temperature = number_of(&mut reader)?;
        if temperature <= 0.0 {
            return Err(reader.wrong(format!("a temperature of {temperature}")));
        }
        let mut none = Linear::default();
        for number in &mut none {
            *number = number_of(&mut reader)?;
        }
        let mut gains = [0.0; Quantiles::PARTS];
        for gain in &mut gains {
            *gain = number_of(&mut reader)?;
        }
        if !gains.is_sorted_by(|a, b| a >= b) {
            return Err(reader.wrong("gains that do not fall"));
        }
        let count = reader.count(1)?;
        let gate = Gate::new(QuantizedTrees::read(reader.bytes(count)?)?).map_err(of_section)?;
        reader.finish()?;
        Ok(Self { gate, gains: Quantiles(gains), blend, calibration: Calibration { temperature, none } })
    }
}

/// An error about columns, which needs a place.
fn of_section(error: Error) -> Error {
    error.field("ROUT")
}

fn number_of(reader: &mut Reader<'_>) -> Result<f32> {
    let number = reader.f32()?;
    if number.abs() <= LARGEST { Ok(number) } else { Err(reader.wrong(format!("a weight of {number}"))) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::gbdt::{Child, SplitCondition, SplitNode};

    /// A gate that sends what the trees are unsure of, and a blend of three to one.
    pub fn sample() -> RouterModel {
        let split = SplitNode {
            feature: 0,
            test: SplitCondition::Threshold(0.5),
            missing_left: false,
            gain: 1.0,
            left: Child::Leaf(0),
            right: Child::Leaf(1),
        };
        let tree = Tree { splits: vec![split], leaf_values: vec![0.25, -0.125], leaf_cover: vec![1.0; 2] };
        let features: Vec<String> = names().map(str::to_owned).collect();
        let ensemble = Ensemble { features: features.clone(), ..Ensemble::new(vec![tree], features.len()) };
        let gate = Gate::new(QuantizedTrees::new(&ensemble).unwrap()).unwrap();
        let mut gains = [-0.125; Quantiles::PARTS];
        gains[..30].fill(0.25);
        RouterModel {
            gate,
            gains: Quantiles(gains),
            blend: Blend { trees: [0.75, 0.1, 0.0, -0.2], deep: [0.25, 0.0, 0.1, 0.0], ..Blend::default() },
            calibration: Calibration { temperature: 1.25, ..Calibration::default() },
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = sample().write().unwrap();
        let read = RouterModel::read(&bytes).unwrap();
        assert_eq!(read.write().unwrap(), bytes);
        assert_eq!((read.blend, read.calibration), (sample().blend, sample().calibration));
    }

    #[test]
    fn what_no_fit_gives_is_refused() {
        let bytes = sample().write().unwrap();
        let edited = |at: usize, with: &[u8]| {
            let mut bytes = bytes.clone();
            bytes[at..at + with.len()].copy_from_slice(with);
            bytes
        };
        let cases = [
            (edited(0, &[1]), "version 1, but this build reads 2"),
            (edited(0, &[9]), "version 9, but this build reads 2"),
            (edited(4, &f32::NAN.to_le_bytes()), "a weight of NaN"),
            (edited(20, &1e9_f32.to_le_bytes()), "a weight of 1000000000"),
            (edited(68, &0.0_f32.to_le_bytes()), "a temperature of 0"),
            (edited(88, &(-1.0_f32).to_le_bytes()), "gains that do not fall"),
            (bytes[..bytes.len() - 1].to_vec(), "bytes"),
            ([&bytes[..], &[0]].concat(), "router"),
        ];
        for (bytes, says) in cases {
            let error = RouterModel::read(&bytes).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(says) && error.contains("; "), "{says}: {error}");
        }
        for (at, byte) in bytes.iter().enumerate() {
            for bit in [1, 128] {
                // Never a panic; what is accepted answers.
                let _ = RouterModel::read(&edited(at, &[byte ^ bit]));
            }
        }
    }
}
