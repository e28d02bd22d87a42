//! What an exported file says of itself, in the metadata that its format has.

use serde_json::{Map, Value, json};

use super::wrong;
use crate::bundle::BundleContents;
use crate::context::features::{SCHEMA, SCHEMA_VERSION};
use crate::context::{QuestionFeatures, Task};
use crate::error::Result;
use crate::network::Standardisation;
use crate::storage::format::sha256_hex;
use crate::transformer::TransformerModel;

/// What a file tells of the model in it, beyond the graph: all that an app needs to ask it.
///
/// | key | value |
/// | --- | --- |
/// | `foretap` | the version of the crate that wrote it |
/// | `task` | `first-after-unlock` or `next-launch` |
/// | `vocabulary` | JSON: app names, by row |
/// | `vocabulary_sha256` | of the names, a line feed after each: do two files speak of the same rows? |
/// | `feature_schema` | JSON: version of this key, and name and unit of each feature that trees read, in order |
/// | `question_features` | JSON: names of the columns that the router's gate reads besides, in order |
/// | `columns` | JSON: names of a network's columns in the order in which it reads them, and the mean and scale that they were brought to |
/// | `temperature` | what logits are divided by to become probabilities |
/// | `card` | JSON: what the models learned from, how good they are, who may use them |
#[derive(Debug, Clone, Default)]
pub struct ModelCard {
    /// What it answers.
    pub task: Task,
    /// App names by row.
    pub apps: Vec<String>,
    /// What a network's columns were brought to.
    pub columns: Option<Standardisation>,
    /// What logits are divided by to become probabilities.
    pub temperature: Option<f64>,
    /// For people.
    pub card: Map<String, Value>,
}

impl ModelCard {
    /// What there is to say of a bundle's models.
    pub fn parts(parts: &BundleContents) -> Self {
        let student = parts.student.as_ref();
        Self {
            task: parts.task,
            apps: parts.apps.clone(),
            columns: student.map(|student| student.columns.clone()),
            temperature: student.map(|student| student.temperature),
            card: parts.card.clone(),
        }
    }

    /// What there is to say of a transformer.
    pub fn transformer(model: &TransformerModel) -> Self {
        Self {
            task: model.weights.config().task,
            apps: model.apps.clone(),
            columns: Some(model.columns.clone()),
            temperature: Some(model.temperature),
            card: Map::new(),
        }
    }

    /// Keys and values.
    ///
    /// # Errors
    /// None that a caller could cause.
    pub(super) fn lines(&self) -> Result<Vec<(&'static str, String)>> {
        let names: String = self.apps.iter().map(|app| format!("{app}\n")).collect();
        let feature = |feature: &crate::context::features::Feature| json!([feature.name, feature.unit]);
        let features: Vec<Value> = SCHEMA.iter().map(feature).collect();
        let schema = json!({ "version": SCHEMA_VERSION, "features": features });
        let mut lines = vec![
            ("foretap", env!("CARGO_PKG_VERSION").to_owned()),
            ("task", self.task.to_string()),
            ("vocabulary", json!(self.apps).to_string()),
            ("vocabulary_sha256", sha256_hex(names.as_bytes())),
            ("feature_schema", schema.to_string()),
            ("question_features", json!(QuestionFeatures::NAMES).to_string()),
        ];
        if let Some(columns) = &self.columns {
            let columns = serde_json::to_string(columns)
                .map_err(|error| wrong(format!("the columns cannot be written as JSON: {error}")))?;
            lines.push(("columns", columns));
        }
        lines.extend(self.temperature.map(|temperature| ("temperature", temperature.to_string())));
        if !self.card.is_empty() {
            lines.push(("card", Value::Object(self.card.clone()).to_string()));
        }
        Ok(lines)
    }
}
