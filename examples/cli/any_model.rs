//! A model file of any kind, told by its first byte.

use std::io::Read as _;
use std::path::Path;

use foretap::bundle::Bundle;
use foretap::model::RankerModel;
use foretap::transformer::TransformerModel;

/// A model file of any kind.
pub enum AnyModel {
    Bundle(Box<Bundle>),
    Ranker(Box<RankerModel>),
    Transformer(Box<TransformerModel>),
}

impl AnyModel {
    /// Reads `file`, a bundle, a ranker or a transformer; without one, the crate's own bundle.
    pub fn load(file: Option<&Path>) -> foretap::Result<Self> {
        let Some(file) = file else { return Ok(Self::Bundle(Box::new(Bundle::pretrained()?))) };
        // A bundle's file begins with 0x89, a ranker's with its header in JSON, a transformer's with the eight bytes of a
        // length.
        let mut first = [0];
        let read = std::fs::File::open(file).and_then(|mut file| file.read(&mut first));
        match (read, first[0]) {
            (Ok(1), 0x89) => Ok(Self::Bundle(Box::new(Bundle::load(file)?))),
            (Ok(1), b'{') | (Ok(0) | Err(_), _) => Ok(Self::Ranker(Box::new(RankerModel::load(file)?))),
            _ => Ok(Self::Transformer(Box::new(TransformerModel::load(file)?))),
        }
    }
}
