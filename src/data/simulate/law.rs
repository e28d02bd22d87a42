//! Which law simulated people follow.

use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::FamilyLaw;
use crate::error::{Error, ErrorKind, Result};

/// The families that come with the crate, each with its file.
const FAMILIES: [(&str, &str); 7] = [
    ("broad", include_str!("../../../data/laws/broad.toml")),
    ("clockwork", include_str!("../../../data/laws/clockwork.toml")),
    ("crowded", include_str!("../../../data/laws/crowded.toml")),
    ("responsive", include_str!("../../../data/laws/responsive.toml")),
    ("ritual", include_str!("../../../data/laws/ritual.toml")),
    ("wanderer", include_str!("../../../data/laws/wanderer.toml")),
    ("weekly", include_str!("../../../data/laws/weekly.toml")),
];

/// How simulated people come to open an app. In JSON, its name.
#[derive(Debug, Clone, PartialEq)]
pub enum Law {
    /// One law for everybody: a person's constants differ, how they work does not.
    Narrow,
    /// A family: how it works is drawn for each person.
    Family(Box<FamilyLaw>),
}

impl Law {
    /// The laws that come with the crate.
    pub fn names() -> impl Iterator<Item = &'static str> {
        std::iter::once("narrow").chain(FAMILIES.iter().map(|(name, _)| *name))
    }

    /// The law of this name, of those that come with the crate.
    ///
    /// # Errors
    /// There is none.
    pub fn named(name: &str) -> Result<Self> {
        if name == "narrow" {
            return Ok(Self::Narrow);
        }
        let Some((_, text)) = FAMILIES.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = Self::names().collect();
            return Err(Error::new(ErrorKind::Config, format!("there is no law {name:?}"))
                .next_step(format!("name one of {}, or a file with the ending .toml", known.join(", "))));
        };
        let family = FamilyLaw::parse(Path::new(&format!("data/laws/{name}.toml")), text)?;
        Ok(Self::Family(Box::new(family)))
    }

    /// The law of this name, or else in the file of this name: one with a folder or an ending is a file.
    ///
    /// # Errors
    /// There is no such law, or the file cannot be read as one.
    pub fn named_or_read(name_or_file: &str) -> Result<Self> {
        let file = Path::new(name_or_file);
        if file.extension().is_some() || file.components().count() > 1 {
            return Ok(Self::Family(Box::new(FamilyLaw::read(file)?)));
        }
        Self::named(name_or_file)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Narrow => "narrow",
            Self::Family(family) => &family.name,
        }
    }
}

impl Serialize for Law {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Law {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::named(&name).map_err(serde::de::Error::custom)
    }
}
