//! A quantized transformer as bytes, the section of a bundle: as large as its numbers.
//!
//! In the fields of [`crate::bundle`], one after the other:
//!
//! ```text
//! field                                     bytes
//! length of the description                 4
//! description, as JSON                      its length   {"config": .., "temperature": .., "columns": ..}, then blanks;
//!                                                        before columns had names, they were known by their number
//! tensors, in the order of WeightLayout::tensors
//!   of embeddings and matrices: scales      4 each       f32, one a row or a column
//!                               values      1 each       signed, row by row
//!   of all others: numbers                  4 each       f32, row by row
//! ```
//!
//! Nothing is written twice: how long each tensor is follows from the config. The names of the apps are not here, because a
//! bundle tells them once for all of its experts.

use serde::{Deserialize, Serialize};

use super::model::{Description, QuantizedModel, QuantizedTensor, TensorEncoding};
use crate::error::{Error, ErrorKind, Result};
use crate::network::{Standardisation, TensorSpec, TransformerConfig, WeightLayout};
use crate::storage::codec::{Put as _, Reader};

/// What to do about bytes that are none of ours.
const NEXT_STEP: &str = "quantize the model again with this version of foretap";

/// What the description is filled up to a multiple of.
const HEAD_BYTES: usize = 512;

/// A [`Description`] without the apps.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    config: TransformerConfig,
    temperature: f64,
    columns: Standardisation,
}

impl QuantizedModel {
    /// The model as bytes, without its apps; equal models give equal bytes.
    ///
    /// # Errors
    /// The temperature or a column's scale was changed to what is no number.
    pub fn write(&self) -> Result<Vec<u8>> {
        let head = Head {
            config: self.config().clone(),
            temperature: self.temperature,
            columns: self.columns.clone(),
        };
        let mut json = serde_json::to_vec(&head).map_err(|error| {
            Error::new(ErrorKind::Model, format!("the model cannot be described as JSON: {error}"))
                .next_step(NEXT_STEP)
        })?;
        // A digit more or less must not move all numbers: patches compare the byte at one place with that at the same.
        json.resize(json.len().next_multiple_of(HEAD_BYTES), b' ');
        let mut out = Vec::with_capacity(4 + json.len() + self.bytes());
        out.put_count(json.len())?;
        out.put(&json);
        for (_, tensor) in self.tensors() {
            tensor.scales.iter().for_each(|&scale| out.put_f32(scale));
            out.extend(tensor.values.iter().map(|value| value.to_le_bytes()[0]));
            tensor.floats.iter().for_each(|&number| out.put_f32(number));
        }
        Ok(out)
    }

    /// Reads a model over `apps` and checks all of it: whatever the bytes are, what is allocated is in proportion to
    /// them.
    ///
    /// # Errors
    /// [`ErrorKind::Model`]: the bytes are cut off, too many, or no model over so many apps.
    pub fn read(bytes: &[u8], apps: Vec<String>) -> Result<Self> {
        let mut reader = Reader::new("student", bytes, NEXT_STEP);
        let Head { config, temperature, columns } = read_head(&mut reader)?;
        let layout = WeightLayout::new(&config);
        let tensors =
            layout.tensors.iter().map(|spec| read_tensor(&mut reader, spec)).collect::<Result<Vec<_>>>()?;
        reader.finish()?;
        Self::new(Description { config, apps, temperature, columns: columns.named() }, tensors)
    }
}

/// The description, if what follows can hold the numbers that it promises.
fn read_head(reader: &mut Reader<'_>) -> Result<Head> {
    let length = reader.count(1)?;
    let json = reader.bytes(length)?;
    let head: Head = serde_json::from_slice(json)
        .map_err(|error| reader.wrong(format!("no description of a model: {error}")))?;
    head.config.check().map_err(|error| reader.wrong(error.to_string()))?;
    let (numbers, left) = (WeightLayout::count(&head.config), reader.rest().len());
    if numbers > left as u64 {
        return Err(reader.wrong(format!("a model of {numbers} numbers, but {left} bytes are left")));
    }
    Ok(head)
}

fn read_tensor(reader: &mut Reader<'_>, spec: &TensorSpec) -> Result<QuantizedTensor> {
    let (scales, values, floats) = TensorEncoding::of(spec).lengths(spec);
    let scales = read_floats(reader, scales)?;
    let values = reader.bytes(values)?.iter().map(|&byte| i8::from_le_bytes([byte])).collect();
    let floats = read_floats(reader, floats)?;
    Ok(QuantizedTensor { values, scales, floats })
}

fn read_floats(reader: &mut Reader<'_>, count: usize) -> Result<Vec<f32>> {
    // Where the product is beyond memory, there are fewer bytes, too.
    let bytes = reader.bytes(count.saturating_mul(4))?;
    Ok(bytes.as_chunks().0.iter().map(|&four| f32::from_le_bytes(four)).collect())
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::context::Task;

    /// A small model of arbitrary numbers, and one of the shape that goes to phones.
    fn models() -> [QuantizedModel; 2] {
        let student = TransformerConfig::student(Task::FirstAfterUnlock, 30);
        let small = TransformerConfig {
            apps: 2,
            layers: 1,
            d_model: 2,
            heads: 1,
            d_ff: 3,
            pointer_width: 2,
            candidate_columns: 2,
            question_columns: 1,
            mixture: 3,
            ..student.clone()
        };
        [small, student].map(|config| {
            let mut random = ChaCha8Rng::seed_from_u64(1);
            let tensors =
                WeightLayout::new(&config).tensors.iter().map(|spec| tensor(spec, &mut random)).collect();
            let mut columns = Standardisation::none(&config);
            columns.candidate_mean.fill_with(|| random.random_range(-1.0..1.0));
            let apps = apps(&config);
            QuantizedModel::new(Description { config, apps, temperature: 1.1, columns }, tensors).unwrap()
        })
    }

    fn apps(config: &TransformerConfig) -> Vec<String> {
        (0..config.apps).map(|app| format!("app {app}")).collect()
    }

    fn tensor(spec: &TensorSpec, random: &mut ChaCha8Rng) -> QuantizedTensor {
        let (scales, values, floats) = TensorEncoding::of(spec).lengths(spec);
        QuantizedTensor {
            scales: (0..scales).map(|_| random.random_range(0.0..0.1)).collect(),
            values: (0..values).map(|_| random.random()).collect(),
            floats: (0..floats).map(|_| random.random_range(-1.0..1.0)).collect(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for model in models() {
            let bytes = model.write().unwrap();
            let again = QuantizedModel::read(&bytes, model.apps.clone()).unwrap();
            assert_eq!(again, model);
            assert_eq!(again.write().unwrap(), bytes);
            // The numbers and a page of JSON.
            let beside = bytes.len() - model.bytes();
            println!("{} bytes, {beside} of them beside the numbers", bytes.len());
            assert!(beside < 8_000, "{beside}");
        }
    }

    #[test]
    fn bytes_that_are_no_model_are_refused() {
        let [model, _] = models();
        let good = model.write().unwrap();
        let length = u32::from_le_bytes(good[..4].try_into().unwrap()) as usize;
        let with_json = |edit: &dyn Fn(&mut serde_json::Value)| {
            let mut json = serde_json::from_slice(&good[4..4 + length]).unwrap();
            edit(&mut json);
            let json = json.to_string();
            [&(json.len() as u32).to_le_bytes(), json.as_bytes(), &good[4 + length..]].concat()
        };
        assert!(QuantizedModel::read(&with_json(&|_| ()), model.apps.clone()).is_ok());
        let mut no_number = good.clone();
        no_number[4 + length..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
        let cases: [(&str, Vec<u8>, &[&str]); 12] = [
            ("nothing", vec![], &["at byte 0: 4 bytes are asked for"]),
            ("an endless description", [0xff; 9].to_vec(), &["at byte 0: 4294967295 elements"]),
            ("no JSON", [&[3, 0, 0, 0][..], b"{x}"].concat(), &["at byte 4: no description of a model"]),
            (
                "nested JSON",
                [&1_000_u32.to_le_bytes()[..], &[b'['; 1_000]].concat(),
                &["no description of a model"],
            ),
            ("one byte too many", [&good[..], &[0]].concat(), &["1 bytes too many"]),
            ("one byte too few", good[..good.len() - 1].to_vec(), &["bytes are asked for"]),
            ("a scale that is no number", no_number, &["field `app_embedding`", "a scale of NaN"]),
            ("an unknown field", with_json(&|json| json["extra"] = 1.into()), &["unknown field `extra`"]),
            ("no temperature", with_json(&|json| json["temperature"] = 0.into()), &["a temperature of 0"]),
            (
                "a shape of nothing",
                with_json(&|json| json["config"]["layers"] = 0.into()),
                &["at byte 4: field `layers`: a transformer with layers of 0"],
            ),
            (
                "a model beyond memory",
                with_json(&|json| {
                    let sizes = [("apps", 1_000_000), ("d_model", 4_096), ("d_ff", 16_384), ("layers", 64)];
                    sizes.iter().for_each(|&(size, value)| json["config"][size] = value.into());
                }),
                &["at byte 4: a model of 16984125022 numbers, but"],
            ),
            ("another shape", with_json(&|json| json["config"]["d_ff"] = 2.into()), &["bytes too many"]),
        ];
        for (what, bytes, says) in cases {
            let error = QuantizedModel::read(&bytes, model.apps.clone()).expect_err(what);
            assert_eq!(error.kind(), ErrorKind::Model, "{what}");
            let message = error.to_string();
            assert!(says.iter().all(|part| message.contains(part)), "{what}: {message}");
        }
        let error = QuantizedModel::read(&good, vec![]).unwrap_err().to_string();
        assert!(error.contains("0 names for 2 apps"), "{error}");
    }

    /// Refused, or a model that is written as it was read.
    #[test]
    fn damaged_bytes_do_no_harm() {
        let [model, _] = models();
        let good = model.write().unwrap();
        for cut in 0..good.len() {
            assert!(QuantizedModel::read(&good[..cut], model.apps.clone()).is_err(), "cut at {cut}");
        }
        let mut random = ChaCha8Rng::seed_from_u64(2);
        let (mut refused, mut read) = (0, 0);
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..bytes.len());
                bytes[at] = if random.random() {
                    random.random()
                } else {
                    bytes[at] ^ 1 << random.random_range(0..8)
                };
            }
            match QuantizedModel::read(&bytes, model.apps.clone()) {
                Ok(model) => {
                    read += 1;
                    assert_eq!(
                        QuantizedModel::read(&model.write().unwrap(), model.apps.clone()).unwrap(),
                        model
                    );
                }
                Err(error) => {
                    refused += 1;
                    assert_eq!(error.kind(), ErrorKind::Model, "{error}");
                }
            }
        }
        println!("{refused} refused, {read} read");
        assert!(refused > 1_000 && read > 1_000, "{refused} refused, {read} read");
    }
}
