//! Safetensors files of ours: metadata that say what a file is, then named tensors in f32 or f16.
//!
//! Reading is left to the `safetensors` crate, which checks sizes and offsets. Writing is done here, because the crate
//! puts metadata in random order, and the same content should give the same bytes.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, TensorInfo, TensorView};
use safetensors::{SafeTensorError, SafeTensors};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};

/// What numbers are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Half precision: two bytes, eleven significant bits, up to 65504.
    F16,
    /// Single precision: four bytes, the weights as they are.
    F32,
}

/// What a file of ours is, and what to do when it is not: the same words in every error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// The metadata's `foretap`: "transformer".
    pub(super) name: &'static str,
    /// The version that this build writes.
    pub(super) version: u32,
    /// The oldest that it reads.
    pub(super) oldest: u32,
    /// How to come by a good file.
    pub(super) again: &'static str,
}

const COPY_AGAIN: &str = "copy the file again";

/// A tensor to write.
pub(super) struct Named<'a> {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) values: &'a [f32],
}

/// Writes a file of `kind`. Values beyond half precision's range become infinite: the caller refuses them before.
///
/// # Errors
/// `out` fails, or the header cannot be written as JSON.
pub(super) fn write(
    out: &mut dyn Write,
    kind: Kind,
    metadata: BTreeMap<&str, String>,
    tensors: &[Named<'_>],
    precision: Precision,
) -> std::io::Result<()> {
    let (dtype, bytes) = match precision {
        Precision::F16 => (Dtype::F16, 2),
        Precision::F32 => (Dtype::F32, 4),
    };
    let mut metadata = metadata;
    metadata.insert("foretap", kind.name.to_owned());
    metadata.insert("version", kind.version.to_string());
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".to_owned(), serde_json::to_value(metadata)?);
    let mut end = 0;
    for Named { name, shape, values } in tensors {
        let start = end;
        end += values.len() * bytes;
        let info = TensorInfo { dtype, shape: shape.clone(), data_offsets: (start, end) };
        header.insert(name.clone(), serde_json::to_value(info)?);
    }
    let mut header = serde_json::to_vec(&header)?;
    // The format's own advice: blanks until the data are aligned.
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    for value in tensors.iter().flat_map(|tensor| tensor.values) {
        match precision {
            Precision::F16 => out.write_all(&f16::from_f32(*value).to_le_bytes())?,
            Precision::F32 => out.write_all(&value.to_le_bytes())?,
        }
    }
    Ok(())
}

/// `value` as metadata.
pub(super) fn to_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::new(ErrorKind::Model, format!("this cannot be written as JSON: {error}")))
}

/// A file of ours in memory, of the right kind and version, its sizes checked.
pub(super) struct TensorFile<'a> {
    kind: Kind,
    metadata: HashMap<String, String>,
    tensors: SafeTensors<'a>,
}

impl<'a> TensorFile<'a> {
    /// Reads `bytes` as a file of `kind`.
    ///
    /// # Errors
    /// [`ErrorKind::Model`]: they are something else, of another version, cut off or damaged.
    pub(super) fn parse(bytes: &'a [u8], kind: Kind) -> Result<Self> {
        let broken = |error| unreadable(error, kind);
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(broken)?;
        let metadata: HashMap<String, String> =
            header.metadata().clone().unwrap_or_default().into_iter().collect();
        let file = Self { kind, metadata, tensors };
        if file.metadata.get("foretap").map(String::as_str) != Some(kind.name) {
            return Err(something_else(kind));
        }
        let version = file.text("version")?;
        let is_known =
            version.parse::<u32>().is_ok_and(|known| (kind.oldest..=kind.version).contains(&known));
        if !is_known {
            let known =
                if kind.oldest == kind.version { String::new() } else { format!("{} to ", kind.oldest) };
            let message =
                format!("{} version {version}, but this build reads {known}{}", kind.name, kind.version);
            return Err(Error::new(ErrorKind::Model, message).field("version").next_step(kind.again));
        }
        Ok(file)
    }

    /// The metadata's `field`.
    pub(super) fn text(&self, field: &str) -> Result<&str> {
        let text = self.metadata.get(field);
        text.map(String::as_str).ok_or_else(|| self.wrong(field, "it is missing in the metadata"))
    }

    /// The metadata's `field`, decoded from JSON.
    pub(super) fn json<T: DeserializeOwned>(&self, field: &str) -> Result<T> {
        serde_json::from_str(self.text(field)?)
            .map_err(|error| self.wrong(field, format!("it does not fit this version: {error}")))
    }

    /// Whether there is a tensor of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.tensor(name).is_ok()
    }

    /// The values of the tensor `name`, finite all of them.
    pub(super) fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let tensor = self.tensors.tensor(name).map_err(|_| self.wrong(name, "this tensor is missing"))?;
        if tensor.shape() != shape {
            let message = format!("a shape of {:?} where {shape:?} is asked for", tensor.shape());
            return Err(self.wrong(name, message));
        }
        numbers(&tensor).map_err(|message| self.wrong(name, message))
    }

    /// Refuses tensors that nobody asked for.
    pub(super) fn expect_only(&self, mut known: impl FnMut(&str) -> bool) -> Result<()> {
        let mut names = self.tensors.names();
        names.sort_unstable();
        match names.into_iter().find(|name| !known(name)) {
            Some(name) => Err(self.wrong(name, "this tensor has no place in the model")),
            None => Ok(()),
        }
    }

    /// An error about `field`.
    pub(super) fn wrong(&self, field: &str, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Model, message).field(field).next_step(self.kind.again)
    }
}

/// The numbers of a tensor in half or single precision, finite all of them; or what is wrong with them.
pub(super) fn numbers(tensor: &TensorView<'_>) -> std::result::Result<Vec<f32>, String> {
    let (singles, rest) = tensor.data().as_chunks::<4>();
    let (halves, _) = tensor.data().as_chunks::<2>();
    let values: Vec<f32> = match tensor.dtype() {
        Dtype::F32 if rest.is_empty() => singles.iter().map(|&four| f32::from_le_bytes(four)).collect(),
        Dtype::F16 => halves.iter().map(|&two| f16::from_le_bytes(two).to_f32()).collect(),
        Dtype::BF16 => halves.iter().map(|&two| bf16::from_le_bytes(two).to_f32()).collect(),
        other => return Err(format!("values of type {other:?}, not F16, BF16 or F32")),
    };
    if values.iter().all(|value| value.is_finite()) {
        return Ok(values);
    }
    Err("a value is not a finite number".to_owned())
}

fn something_else(kind: Kind) -> Error {
    Error::new(ErrorKind::Model, format!("this is not a foretap {}", kind.name)).next_step(kind.again)
}

fn unreadable(error: SafeTensorError, kind: Kind) -> Error {
    use SafeTensorError::{
        HeaderTooLarge, HeaderTooSmall, InvalidHeader, InvalidHeaderDeserialization, InvalidHeaderLength,
        MetadataIncompleteBuffer,
    };
    match error {
        HeaderTooSmall | HeaderTooLarge | InvalidHeader(_) | InvalidHeaderDeserialization(_) => {
            something_else(kind).source(error)
        }
        InvalidHeaderLength | MetadataIncompleteBuffer => {
            let message = format!("the file is cut off or damaged: {error}");
            Error::new(ErrorKind::Model, message).next_step(COPY_AGAIN).source(error)
        }
        _ => {
            let message = format!("the file is damaged: {error}");
            Error::new(ErrorKind::Model, message).next_step(COPY_AGAIN).source(error)
        }
    }
}
