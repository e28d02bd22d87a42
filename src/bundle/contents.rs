//! A whole bundle: everything that a phone needs to answer, checked before it is believed.
//!
//! | section | required | content |
//! | --- | --- | --- |
//! | `META` | yes | JSON: task, how columns are named ([`SCHEMA_VERSION`]), temperatures |
//! | `APPS` | yes | the vocabulary: count, then texts, by app id |
//! | `FEAT` | yes | JSON: name and unit of every feature that the trees read, in order; none without trees |
//! | `STUD` | where there is one | the student in INT8: [`QuantizedModel::read`] |
//! | `TREE` | where there are some | the quantized ranker: [`QuantizedTrees::read`] |
//! | `ROUT` | where there is one | the router between the two: [`RouterModel::read`] |
//! | `GOLD` | yes | golden questions with their answers |
//! | `CARD` | no | JSON for people: what the models learned from, how good they are |

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::container::{Section, Sections, Tag};
use super::expert::Expert;
use super::golden::{Golden, GoldenInputs};
use crate::context::features::{SCHEMA, SCHEMA_VERSION};
use crate::context::{Context, Task, favourites};
use crate::data::{AppId, Vocabulary};
use crate::error::{Error, ErrorKind, Result};
use crate::predict::Predictor;
use crate::quantize::{QuantizedModel, QuantizedTransformer, QuantizedTrees};
use crate::ranker::Ranker;
use crate::router::{Experts, Router, RouterModel, Routing};
use crate::storage::codec::{Put as _, Reader};
use crate::storage::format::{MAKE_AGAIN, UPDATE};

const META: Tag = Tag(*b"META");
const APPS: Tag = Tag(*b"APPS");
const FEATURES: Tag = Tag(*b"FEAT");
const STUDENT: Tag = Tag(*b"STUD");
const TREES: Tag = Tag(*b"TREE");
const ROUTER: Tag = Tag(*b"ROUT");
const GOLDEN: Tag = Tag(*b"GOLD");
const CARD: Tag = Tag(*b"CARD");
const KNOWN: [Tag; 8] = [META, APPS, FEATURES, STUDENT, TREES, ROUTER, GOLDEN, CARD];

/// What a bundle is made of.
#[derive(Debug, Clone, Default)]
pub struct BundleContents {
    /// What it answers.
    pub task: Task,
    /// App names by id, most launched first: candidates for a user without a history. The student's, where there is one.
    pub apps: Vec<String>,
    /// The transformer.
    pub student: Option<QuantizedModel>,
    /// The ranker, and what its logits are divided by to become probabilities.
    pub trees: Option<(QuantizedTrees, f64)>,
    /// What divides the work between the two.
    pub router: Option<RouterModel>,
    /// For people: what the models learned from, how good they are, who may use them.
    pub card: serde_json::Map<String, serde_json::Value>,
}

/// Everything that a phone needs to answer, in one file.
#[derive(Debug, Clone)]
pub struct Bundle {
    parts: BundleContents,
    golden: Golden,
    /// The apps, named once for all who ask.
    vocabulary: Vocabulary,
    favourites: Arc<[AppId]>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Meta {
    task: Task,
    schema_version: u32,
    trees_temperature: Option<f64>,
}

#[derive(Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct FeatureName {
    name: String,
    unit: String,
}

impl BundleContents {
    /// The parts of a bundle's file without its router, which is not read: so that one of another version can be fitted
    /// again to the same experts.
    ///
    /// # Errors
    /// [`ErrorKind::Model`]: the bytes are no bundle, damaged, or another part is of another version.
    pub fn without_router(bytes: &[u8]) -> Result<Self> {
        let (sections, meta) = read_sections(bytes)?;
        let parts = read_parts(&sections, &meta, |_| Ok(None))?;
        check(&parts)?;
        Ok(parts)
    }
}

impl Bundle {
    /// A bundle of `parts`, whose answers to the golden questions are kept with it.
    ///
    /// # Errors
    /// There is no expert, one answers another task or reads other columns than this build computes, or the apps are not
    /// the student's.
    pub fn new(mut parts: BundleContents) -> Result<Self> {
        let over_features =
            |(trees, temperature): (QuantizedTrees, f64)| trees.over_features().map(|t| (t, temperature));
        parts.trees = parts.trees.map(over_features).transpose()?;
        check(&parts)?;
        let experts = everyone(&parts)?;
        let favourites = favourites_of(&parts);
        let asked = GoldenInputs { task: parts.task, favourites: &favourites, experts: &experts };
        let golden = Golden::new(&asked, parts.apps.len());
        Ok(Self { vocabulary: Vocabulary::from_names(&parts.apps), favourites, parts, golden })
    }

    /// The file.
    ///
    /// # Errors
    /// A part is larger than the format allows.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let parts = &self.parts;
        let meta = Meta {
            task: parts.task,
            schema_version: SCHEMA_VERSION,
            trees_temperature: parts.trees.as_ref().map(|(_, temperature)| *temperature),
        };
        let mut apps = Vec::new();
        apps.put_count(parts.apps.len())?;
        parts.apps.iter().try_for_each(|name| apps.put_text(name))?;
        let features = parts.trees.as_ref().map_or_else(Vec::new, |(trees, _)| feature_names(trees));
        let mut contents =
            vec![(META, true, json(&meta)?), (APPS, true, apps), (FEATURES, true, json(&features)?)];
        if let Some(student) = &parts.student {
            contents.push((STUDENT, true, student.write()?));
        }
        if let Some((trees, _)) = &parts.trees {
            contents.push((TREES, true, trees.write()?));
        }
        if let Some(router) = &parts.router {
            contents.push((ROUTER, true, router.write()?));
        }
        contents.push((GOLDEN, true, self.golden.write()?));
        contents.push((CARD, false, json(&parts.card)?));
        let sections =
            contents.iter().map(|(tag, required, bytes)| Section { tag: *tag, required: *required, bytes });
        Ok(Sections::new(sections.collect())?.to_bytes())
    }

    /// Reads a bundle, checks all of it, and asks it the golden questions.
    ///
    /// # Errors
    /// [`ErrorKind::Model`]: the bytes are no bundle, damaged, of another version, or its answers are not those that it
    /// gave when it was made.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let (sections, meta) = read_sections(bytes)?;
        let parts = read_parts(&sections, &meta, |sections| {
            sections.section(ROUTER).map(RouterModel::read).transpose()
        })?;
        check(&parts)?;
        let experts = everyone(&parts)?;
        let mut reader = sections.reader(GOLDEN)?;
        let golden = Golden::read(&mut reader, experts.len())?;
        reader.finish()?;
        let favourites = favourites_of(&parts);
        let asked = GoldenInputs { task: parts.task, favourites: &favourites, experts: &experts };
        match golden.validation_error(&asked) {
            Some(validation_error) => Err(wrong(GOLDEN, validation_error)),
            None => Ok(Self { vocabulary: Vocabulary::from_names(&parts.apps), favourites, parts, golden }),
        }
    }

    /// Reads a bundle's file.
    ///
    /// # Errors
    /// It cannot be read, or what [`from_bytes`](Self::from_bytes) says.
    pub fn load(file: &Path) -> Result<Self> {
        let bytes = std::fs::read(file).map_err(|error| {
            Error::io(file, "read the bundle", error).next_step("name a file that the `bundle` example wrote")
        })?;
        Self::from_bytes(&bytes).map_err(|error| error.file(file))
    }

    /// The bundle that travels with the crate: it knows simulated people, and nobody else. `checkpoints/README.md` tells what
    /// it learned from.
    ///
    /// # Errors
    /// The crate's own file does not fit this build.
    pub fn pretrained() -> Result<Self> {
        Self::from_bytes(foretap_checkpoints::BUNDLE).map_err(|error| error.file("checkpoints/phone.foretap"))
    }

    /// Writes the bundle's file, whole or not at all.
    ///
    /// # Errors
    /// It cannot be written; a file that was there is then as it was.
    #[cfg(feature = "train")]
    pub fn save(&self, file: &Path) -> Result<()> {
        let bytes = self.to_bytes().map_err(|error| error.file(file))?;
        crate::storage::write_atomically(file, |out| out.write_all(&bytes))
    }

    /// What it is made of.
    pub fn parts(&self) -> &BundleContents {
        &self.parts
    }

    /// How many golden questions it answers.
    pub fn golden_questions(&self) -> usize {
        self.golden.questions()
    }

    /// Shows `visit` the golden questions as a phone would meet them, app ids being those of
    /// [`vocabulary`](Self::vocabulary).
    pub fn ask_golden(&self, visit: impl FnMut(&Context<'_>)) {
        self.golden.ask(self.parts.task, &self.favourites(), visit);
    }

    /// A vocabulary that begins with the bundle's apps, to read a log into.
    pub fn vocabulary(&self) -> Vocabulary {
        self.vocabulary.clone()
    }

    /// Candidates for a user without a history, in ids of [`vocabulary`](Self::vocabulary).
    pub fn favourites(&self) -> Arc<[AppId]> {
        Arc::clone(&self.favourites)
    }

    /// The same in ids of another `vocabulary`; apps that it does not name are left out.
    pub fn favourites_in(&self, vocabulary: &Vocabulary) -> Arc<[AppId]> {
        let name = |app: &AppId| self.parts.apps.get(app.0 as usize);
        self.favourites.iter().filter_map(|app| vocabulary.id(name(app)?)).collect()
    }

    /// Who answers: the student, or without one the trees.
    pub fn expert(&self) -> Expert {
        if self.parts.student.is_some() { Expert::Student } else { Expert::Trees }
    }

    /// The student for logs whose app ids are those of `vocabulary`, if there is one.
    ///
    /// # Errors
    /// It reads other columns than this build computes.
    pub fn student(&self, vocabulary: &Vocabulary) -> Result<Option<QuantizedTransformer>> {
        student(&self.parts, vocabulary)
    }

    /// The router for logs whose app ids are those of `vocabulary`. Where the bundle lacks an expert, the other answers alone;
    /// where it lacks a router, the student does: [`Router::degraded`] says so.
    ///
    /// # Errors
    /// An expert reads other columns than this build computes, or the routing is impossible.
    pub fn router(&self, vocabulary: &Vocabulary, routing: Routing) -> Result<Router> {
        router(&self.parts, experts(&self.parts, vocabulary)?, routing)
    }

    /// Who answers for logs whose app ids are those of `vocabulary`.
    ///
    /// # Errors
    /// It reads other columns than this build computes.
    pub fn predictor(&self, vocabulary: &Vocabulary) -> Result<Box<dyn Predictor>> {
        if let Some(student) = self.student(vocabulary)? {
            return Ok(Box::new(student));
        }
        match trees(&self.parts)? {
            Some(trees) => Ok(Box::new(trees)),
            None => Err(nobody()),
        }
    }

    /// What the answerer's logits are divided by to become probabilities.
    pub fn temperature(&self) -> f64 {
        match (&self.parts.student, &self.parts.trees) {
            (Some(student), _) => student.temperature,
            (None, Some((_, temperature))) => *temperature,
            (None, None) => 1.0,
        }
    }
}

/// A bundle's sections, in a version that this build reads.
fn read_sections(bytes: &[u8]) -> Result<(Sections<'_>, Meta)> {
    let sections = Sections::parse(bytes)?;
    sections.check_known(&KNOWN)?;
    let meta: Meta = from_json(&sections, META)?;
    if !(1..=SCHEMA_VERSION).contains(&meta.schema_version) {
        let message = format!(
            "columns are named in version {}, but this build reads 1 to {SCHEMA_VERSION}",
            meta.schema_version
        );
        return Err(wrong(META, message).next_step(UPDATE));
    }
    Ok((sections, meta))
}

fn read_parts(
    sections: &Sections<'_>,
    meta: &Meta,
    router: impl Fn(&Sections<'_>) -> Result<Option<RouterModel>>,
) -> Result<BundleContents> {
    let mut reader = sections.reader(APPS)?;
    let apps = read_apps(&mut reader)?;
    reader.finish()?;
    let student = sections.section(STUDENT).map(|bytes| QuantizedModel::read(bytes, apps.clone()));
    let student = student.transpose()?;
    if let Some(student) = &student {
        student.columns.reader().map_err(|error| error.field(STUDENT.to_string()))?;
    }
    let trees = sections.section(TREES).map(|bytes| read_trees(bytes, sections)).transpose()?;
    let router = router(sections)?;
    let trees = match (trees, meta.trees_temperature) {
        (Some(trees), Some(temperature)) => Some((trees, temperature)),
        (None, None) => None,
        _ => return Err(wrong(META, "a temperature without trees, or trees without one".to_owned())),
    };
    let card = match sections.section(CARD) {
        Some(_) => from_json(sections, CARD)?,
        None => serde_json::Map::new(),
    };
    Ok(BundleContents { task: meta.task, apps, student, trees, router, card })
}

/// The trees, over the features as this build computes them.
fn read_trees(bytes: &[u8], sections: &Sections<'_>) -> Result<QuantizedTrees> {
    let trees = QuantizedTrees::read(bytes)?;
    let named = from_json::<Vec<FeatureName>>(sections, FEATURES)?;
    if !named.iter().map(|feature| feature.name.as_str()).eq(trees.names()) {
        return Err(wrong(FEATURES, "other features than the trees read".to_owned()));
    }
    trees.over_features().map_err(|error| error.field(TREES.to_string()))
}

fn read_apps(reader: &mut Reader<'_>) -> Result<Vec<String>> {
    let count = reader.count(2)?;
    let mut apps = Vec::new();
    for _ in 0..count {
        apps.push(reader.text()?.to_owned());
    }
    Ok(apps)
}

/// What a reader relies on, and so what a maker must not break.
fn check(parts: &BundleContents) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    if let Some(name) = parts.apps.iter().find(|name| name.is_empty() || !seen.insert(name.as_str())) {
        return Err(wrong(APPS, format!("`{name}` is there twice, or no name")));
    }
    if let Some(student) = &parts.student {
        let answers = student.config().task;
        if answers != parts.task {
            return Err(wrong(STUDENT, format!("the student answers {answers}, the bundle {}", parts.task)));
        }
        if student.apps != parts.apps {
            return Err(wrong(APPS, "other apps than the student's".to_owned()));
        }
    }
    if let Some((_, temperature)) = &parts.trees
        && !(temperature.is_finite() && *temperature > 0.0)
    {
        return Err(wrong(META, format!("a temperature of {temperature}")));
    }
    if parts.student.is_none() && parts.trees.is_none() {
        return Err(nobody());
    }
    Ok(())
}

/// How golden questions are routed, whatever a phone does: some to the trees alone, some to both, so that both ways are tested.
const GOLDEN_ROUTING: Routing = Routing::Share(0.2);

/// Everyone who can answer, for the bundle's own vocabulary; the router asks the same experts.
fn everyone(parts: &BundleContents) -> Result<Vec<(Expert, Arc<dyn Predictor>)>> {
    let Experts { trees, deep } = experts(parts, &Vocabulary::from_names(&parts.apps))?;
    let router: Option<Arc<dyn Predictor>> = match parts.router {
        Some(_) => {
            let experts = Experts { trees: trees.clone(), deep: deep.clone() };
            Some(Arc::new(router(parts, experts, GOLDEN_ROUTING)?))
        }
        None => None,
    };
    let all = [(Expert::Student, deep), (Expert::Trees, trees), (Expert::Router, router)];
    Ok(all.into_iter().filter_map(|(expert, who)| Some((expert, who?))).collect())
}

fn student(parts: &BundleContents, vocabulary: &Vocabulary) -> Result<Option<QuantizedTransformer>> {
    parts.student.as_ref().map(|student| QuantizedTransformer::new(student, vocabulary)).transpose()
}

fn trees(parts: &BundleContents) -> Result<Option<Ranker>> {
    parts.trees.as_ref().map(|(trees, _)| trees.ranker()).transpose()
}

/// Whoever is there, for logs whose app ids are those of `vocabulary`.
fn experts(parts: &BundleContents, vocabulary: &Vocabulary) -> Result<Experts> {
    let deep = student(parts, vocabulary)?.map(|student| Arc::new(student) as Arc<dyn Predictor>);
    let trees = trees(parts)?.map(|trees| Arc::new(trees) as Arc<dyn Predictor>);
    Ok(Experts { trees, deep })
}

fn router(parts: &BundleContents, Experts { trees, deep }: Experts, routing: Routing) -> Result<Router> {
    if let Some(model) = &parts.router {
        return Router::new(model.clone(), Experts { trees, deep }, routing);
    }
    let temperature = |of: Option<f64>| of.unwrap_or(1.0) as f32;
    let model = RouterModel::unfitted([
        temperature(parts.trees.as_ref().map(|(_, temperature)| *temperature)),
        temperature(parts.student.as_ref().map(|student| student.temperature)),
    ])?;
    let is_both = trees.is_some() && deep.is_some();
    let trees = trees.filter(|_| !is_both);
    let router = Router::new(model, Experts { trees, deep }, routing)?;
    Ok(if is_both { router.because("the bundle has no router: the student answers alone") } else { router })
}

fn favourites_of(parts: &BundleContents) -> Arc<[AppId]> {
    favourites((0..parts.apps.len() as u32).map(AppId))
}

fn feature_names(trees: &QuantizedTrees) -> Vec<FeatureName> {
    let unit = |name: &str| SCHEMA.iter().find(|feature| feature.name == name).map_or("", |f| f.unit);
    trees.names().map(|name| FeatureName { name: name.to_owned(), unit: unit(name).to_owned() }).collect()
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| Error::new(ErrorKind::Model, format!("this cannot be written as JSON: {error}")))
}

fn from_json<T: for<'de> Deserialize<'de>>(sections: &Sections<'_>, tag: Tag) -> Result<T> {
    serde_json::from_slice(sections.require(tag)?).map_err(|error| wrong(tag, format!("unreadable: {error}")))
}

fn nobody() -> Error {
    wrong(META, "neither a student nor trees".to_owned())
}

fn wrong(tag: Tag, message: String) -> Error {
    Error::new(ErrorKind::Model, message).field(tag.to_string()).next_step(MAKE_AGAIN)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::gbdt::{Child, Ensemble, SplitCondition, SplitNode, Tree};
    #[cfg(feature = "train")]
    use crate::network::{Batch, QuestionReader, ReaderScratch, Window};
    use crate::network::{Standardisation, TransformerConfig, WeightLayout};
    use crate::quantize::{Description, QuantizedTensor, TensorEncoding};
    #[cfg(feature = "train")]
    use crate::quantize::{QuantizedForward, QuantizedScratch};
    #[cfg(feature = "train")]
    use crate::transformer::reference;

    const APPS: [&str; 5] = ["Mail", "Maps", "Chat", "Cämera", "Übersetzer"];

    /// A student of numbers that look drawn.
    fn student() -> QuantizedModel {
        let config = TransformerConfig {
            d_model: 16,
            heads: 2,
            d_ff: 16,
            window: 8,
            pointer_width: 4,
            ..TransformerConfig::student(Task::FirstAfterUnlock, APPS.len())
        };
        let tensors = WeightLayout::new(&config).tensors.into_iter().map(|spec| {
            let values = (0..spec.range.len()).map(|k| ((k * 7919 + spec.range.start) % 255) as i32 - 127);
            let scales = |count| vec![0.004; count];
            match TensorEncoding::of(&spec) {
                TensorEncoding::Float => QuantizedTensor {
                    floats: values.map(|value| value as f32 / 100.0).collect(),
                    ..QuantizedTensor::default()
                },
                storage => QuantizedTensor {
                    values: values.map(|value| value as i8).collect(),
                    scales: scales(if storage == TensorEncoding::PerRow {
                        spec.shape[0]
                    } else {
                        spec.shape[1]
                    }),
                    floats: Vec::new(),
                },
            }
        });
        let description = Description {
            apps: APPS.map(str::to_owned).into(),
            temperature: 1.25,
            columns: Standardisation::none(&config),
            config: config.clone(),
        };
        QuantizedModel::new(description, tensors.collect()).unwrap()
    }

    fn trees(leaf: f64) -> QuantizedTrees {
        let split = |feature: usize, threshold: f32| SplitNode {
            feature,
            test: SplitCondition::Threshold(threshold),
            missing_left: feature.is_multiple_of(2),
            gain: 1.0,
            left: Child::Leaf(0),
            right: Child::Leaf(1),
        };
        let tree = |feature: usize| Tree {
            splits: vec![split(feature, 0.5 + feature as f32)],
            leaf_values: vec![leaf, -0.5],
            leaf_cover: vec![1.0; 2],
        };
        let features = SCHEMA.iter().map(|feature| feature.name.to_owned()).collect();
        let trees = (0..SCHEMA.len()).map(tree).collect();
        QuantizedTrees::new(&Ensemble { features, ..Ensemble::new(trees, SCHEMA.len()) }).unwrap()
    }

    pub(in crate::bundle) fn parts() -> BundleContents {
        let card = [("learned_from".to_owned(), "nobody".into())].into_iter().collect();
        BundleContents {
            task: Task::FirstAfterUnlock,
            apps: APPS.map(str::to_owned).into(),
            student: Some(student()),
            trees: Some((trees(0.125), 0.75)),
            router: Some(crate::router::sample()),
            card,
        }
    }

    /// The bundle's sections, with some replaced or left out, and checksums that fit again.
    fn edited(bytes: &[u8], edit: impl Fn(Section<'_>) -> Option<(bool, Vec<u8>)>) -> Vec<u8> {
        let sections = Sections::parse(bytes).unwrap();
        let edited: Vec<_> = sections.iter().filter_map(|s| edit(*s).map(|new| (s.tag, new))).collect();
        let section = |(tag, (required, bytes)): &'_ (Tag, (bool, Vec<u8>))| (*tag, *required, bytes.clone());
        let owned: Vec<_> = edited.iter().map(section).collect();
        let sections =
            owned.iter().map(|(tag, required, bytes)| Section { tag: *tag, required: *required, bytes });
        Sections::new(sections.collect()).unwrap().to_bytes()
    }

    /// Its golden questions are asked: a change of any feature's last bit shows here.
    #[test]
    fn the_crates_own_bundle_answers_as_when_it_was_made() {
        assert_eq!(Bundle::pretrained().unwrap().parts().task, Task::FirstAfterUnlock);
    }

    #[test]
    fn what_is_written_is_read_with_either_expert_or_both() {
        let all = parts();
        let cases = [
            (all.clone(), Expert::Student, 1.25),
            (BundleContents { trees: None, ..all.clone() }, Expert::Student, 1.25),
            (BundleContents { student: None, ..all }, Expert::Trees, 0.75),
        ];
        for (parts, expert, temperature) in cases {
            let bundle = Bundle::new(parts.clone()).unwrap();
            let bytes = bundle.to_bytes().unwrap();
            let read = Bundle::from_bytes(&bytes).unwrap();
            assert_eq!(read.to_bytes().unwrap(), bytes);
            assert_eq!((read.expert(), read.temperature()), (expert, temperature));
            assert_eq!(read.parts().card, parts.card);
            assert_eq!(read.vocabulary().names(), APPS);
            assert!(read.golden_questions() > 5);
            assert!(read.predictor(&read.vocabulary()).is_ok());
        }
    }

    #[test]
    fn a_router_of_another_version_is_refused_and_its_experts_are_there() {
        let bytes = edited(&Bundle::new(parts()).unwrap().to_bytes().unwrap(), |section| {
            let mut bytes = section.bytes.to_vec();
            if section.tag == ROUTER {
                bytes[0] = 1;
            }
            Some((section.required, bytes))
        });
        let error = Bundle::from_bytes(&bytes).unwrap_err().to_string();
        assert!(error.contains("version 1") && error.contains("make --base"), "{error}");
        let parts = BundleContents::without_router(&bytes).unwrap();
        assert!(parts.router.is_none() && parts.student.is_some() && parts.trees.is_some());
        assert!(Bundle::new(parts).is_ok());
        assert!(BundleContents::without_router(&bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        type Edit = fn(&mut BundleContents);
        let cases: [(Edit, &str); 6] = [
            (|parts| (parts.student, parts.trees) = (None, None), "neither a student nor trees"),
            (|parts| parts.apps[0] = "Post".into(), "other apps than the student's"),
            (|parts| parts.apps[1] = "Mail".into(), "there twice"),
            (|parts| parts.apps[1].clear(), "no name"),
            (|parts| parts.task = Task::NextLaunch, "the student answers first-after-unlock"),
            (|parts| parts.trees = Some((trees(0.125), 0.0)), "a temperature of 0"),
        ];
        for (edit, expected) in cases {
            let mut parts = parts();
            edit(&mut parts);
            let error = Bundle::new(parts).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(expected) && error.contains("; "), "{error}");
        }
    }

    #[test]
    fn sections_with_fitting_checksums_but_wrong_content_are_refused() {
        let bytes = Bundle::new(parts()).unwrap().to_bytes().unwrap();
        let replaced = |tag: Tag, content: &[u8]| {
            edited(&bytes, |section| {
                let content = if section.tag == tag { content.to_vec() } else { section.bytes.to_vec() };
                Some((section.required, content))
            })
        };
        let meta = |edit: &str| replaced(META, edit.as_bytes());
        let unknown = |required: bool| {
            let sections = Sections::parse(&bytes).unwrap();
            let mut all: Vec<Section<'_>> = sections.iter().copied().collect();
            all.push(Section { tag: Tag(*b"SOON"), required, bytes: b"?" });
            Sections::new(all).unwrap().to_bytes()
        };
        let without = |tag: Tag| {
            edited(&bytes, |section| (section.tag != tag).then(|| (section.required, section.bytes.to_vec())))
        };
        let cases = [
            (meta("{}"), "META`: unreadable"),
            (
                meta(r#"{"task":"first-after-unlock","schema_version":99,"trees_temperature":1.0}"#),
                "columns are named in version 99, but this build reads 1 to 2",
            ),
            (
                meta(r#"{"task":"first-after-unlock","schema_version":1,"trees_temperature":null}"#),
                "trees without one",
            ),
            (replaced(FEATURES, b"[]"), "other features than the trees read"),
            (replaced(super::APPS, &[9, 0, 0, 0]), "9 elements"),
            (replaced(GOLDEN, &[0; 8]), "no question"),
            (replaced(CARD, b"[]"), "CARD`: unreadable"),
            // A whole model, but another.
            (replaced(ROUTER, &[1, 0]), "router"),
            (replaced(TREES, &trees(0.25).write().unwrap()), "golden question"),
            (unknown(true), "which this build does not know"),
            (without(META), "this section is missing"),
            (without(GOLDEN), "this section is missing"),
        ];
        for (bytes, expected) in cases {
            let error = Bundle::from_bytes(&bytes).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(expected) && error.contains("; "), "{expected}: {error}");
        }
        assert!(Bundle::from_bytes(&unknown(false)).is_ok(), "optional ones are skipped");
        assert!(Bundle::from_bytes(&without(CARD)).is_ok());
    }

    /// Each list in another order.
    fn shuffled<T: Clone>(list: &[T]) -> Vec<T> {
        (0..list.len()).map(|k| list[(11 * k + 3) % list.len()].clone()).collect()
    }

    /// The same model, whose columns are in another order.
    fn shuffled_student(student: &QuantizedModel) -> QuantizedModel {
        let width = student.config().pointer_width;
        let tensors = student.tensors().map(|(spec, tensor)| {
            let mut tensor = tensor.clone();
            if ["pointer_candidate", "pointer_question"].contains(&spec.name.as_str()) {
                let rows: Vec<&[i8]> = tensor.values.chunks_exact(width).collect();
                tensor.values = shuffled(&rows).concat();
            }
            tensor
        });
        let of = &student.columns;
        let columns = Standardisation {
            candidate_names: shuffled(&of.candidate_names),
            question_names: shuffled(&of.question_names),
            candidate_mean: shuffled(&of.candidate_mean),
            candidate_scale: shuffled(&of.candidate_scale),
            question_mean: shuffled(&of.question_mean),
            question_scale: shuffled(&of.question_scale),
        };
        let (config, apps) = (student.config().clone(), student.apps.clone());
        let description = Description { config, apps, temperature: student.temperature, columns };
        QuantizedModel::new(description, tensors.collect()).unwrap()
    }

    /// The same trees, whose columns are in another order, after one that this build does not compute and no tree reads.
    fn shuffled_trees(trees: &QuantizedTrees) -> QuantizedTrees {
        let ensemble = trees.to_ensemble();
        let mut features = vec!["gone".to_owned()];
        features.extend(shuffled(&ensemble.features));
        let place = |name: &String| features.iter().position(|other| other == name).unwrap();
        let places = (0..).zip(&ensemble.features).map(|(column, name)| (column, place(name))).collect();
        QuantizedTrees::new(&ensemble.moved(features.clone(), &places)).unwrap()
    }

    fn features_of(trees: &QuantizedTrees) -> Vec<u8> {
        let features = trees.names().map(|name| FeatureName { name: name.to_owned(), unit: String::new() });
        json(&features.collect::<Vec<_>>()).unwrap()
    }

    /// The bytes of a router over this gate.
    fn router_over(section: &[u8], gate: &QuantizedTrees) -> Vec<u8> {
        const WEIGHTS: usize = 4 + 4 * (16 + 1 + 4 + 100);
        let gate = gate.write().unwrap();
        [&section[..WEIGHTS], &(gate.len() as u32).to_le_bytes(), &gate].concat()
    }

    fn replacing(bytes: &[u8], with: &[(Tag, &[u8])]) -> Vec<u8> {
        edited(bytes, |section| {
            let new = with.iter().find(|(tag, _)| *tag == section.tag).map(|(_, new)| new.to_vec());
            Some((section.required, new.unwrap_or_else(|| section.bytes.to_vec())))
        })
    }

    /// Golden questions are asked on loading: whoever reads a column in another's place answers otherwise.
    #[test]
    fn columns_in_another_order_give_the_same_answers_to_the_bit() {
        let parts = parts();
        let bytes = Bundle::new(parts.clone()).unwrap().to_bytes().unwrap();
        let sections = Sections::parse(&bytes).unwrap();
        let (student, trees) = (parts.student.as_ref().unwrap(), &parts.trees.as_ref().unwrap().0);
        let student = shuffled_student(student).write().unwrap();
        let moved = shuffled_trees(trees);
        let gate = shuffled_trees(parts.router.as_ref().unwrap().gate.trees());
        let router = router_over(sections.require(ROUTER).unwrap(), &gate);
        let all: [(Tag, &[u8]); 4] = [
            (STUDENT, &student),
            (TREES, &moved.write().unwrap()),
            (FEATURES, &features_of(&moved)),
            (ROUTER, &router),
        ];
        for (tag, new) in all {
            assert_ne!(sections.require(tag).unwrap(), new, "{tag}");
        }
        let other = Bundle::from_bytes(&replacing(&bytes, &all)).unwrap();
        // Trees are kept as this build reads them, also for exports.
        assert_eq!(other.parts().trees.as_ref().unwrap().0, *trees);
        assert!(other.parts().router.as_ref().unwrap().gate.trees().names().eq(crate::router::gate::names()));
    }

    #[cfg(feature = "train")] // for its temporary folders
    #[test]
    fn columns_that_are_gone_or_mean_something_else_are_refused_by_name() {
        let parts = parts();
        let bytes = Bundle::new(parts.clone()).unwrap().to_bytes().unwrap();
        let sections = Sections::parse(&bytes).unwrap();
        let renamed = |trees: &QuantizedTrees, column: usize, name: &str| {
            let mut ensemble = trees.to_ensemble();
            ensemble.features[column] = name.to_owned();
            QuantizedTrees::new(&ensemble).unwrap()
        };
        let student = |name: &str| {
            let mut student = parts.student.clone().unwrap();
            student.columns.candidate_names[5] = name.to_owned();
            replacing(&bytes, &[(STUDENT, &student.write().unwrap())])
        };
        let trees = |name: &str| {
            let trees = renamed(&parts.trees.as_ref().unwrap().0, 4, name);
            replacing(&bytes, &[(TREES, &trees.write().unwrap()), (FEATURES, &features_of(&trees))])
        };
        let gate = |name: &str| {
            let gate = renamed(parts.router.as_ref().unwrap().gate.trees(), 0, name);
            replacing(&bytes, &[(ROUTER, &router_over(sections.require(ROUTER).unwrap(), &gate))])
        };
        let next_step = "; take the version of foretap that the model was made with, or a later one, or train the model again";
        for (bytes, says) in [
            (
                student("x"),
                "field `STUD`: the transformer reads the column `x`, which this build does not compute",
            ),
            (
                student("is_last@3"),
                "field `STUD`: the transformer reads the column `is_last` in version 3 of its meaning",
            ),
            (trees("x"), "field `TREE`: the trees read the column `x`, which this build does not compute"),
            (trees("trend@2"), "field `TREE`: the trees read the column `trend` in version 2 of its meaning"),
            (
                gate("x"),
                "field `ROUT`: the router's gate reads the column `x`, which this build does not compute",
            ),
            (
                gate("first@2"),
                "field `ROUT`: the router's gate reads the column `first` in version 2 of its meaning",
            ),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("phone.foretap");
            std::fs::write(&file, &bytes).unwrap();
            let error = Bundle::load(&file).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Model);
            let error = error.to_string();
            assert!(error.starts_with(&*file.display().to_string()), "{error}");
            assert!(error.contains(says) && error.ends_with(next_step), "{error}");
        }
    }

    /// A section whose checksum was made to fit is another student, and the golden questions alone tell it from the one
    /// that the bundle was made of. Every byte is damaged in turn. What need not be refused, because no golden answer
    /// depends on it, is found by a plain pass in f64, of which the student's own passes know nothing:
    ///
    /// - numbers that no golden question reads: rows of embeddings (places, gaps, hours, apps) and gap classes that do not
    ///   occur, units that no token wakes; changed, they move no answer at all;
    /// - changes that move every golden answer by less than the student's own rounding does, above all of the low bits of
    ///   a float: they drown in it.
    ///
    /// All else is refused, without exception.
    #[cfg(feature = "train")]
    #[test]
    fn every_byte_of_a_student_that_a_golden_answer_depends_on_matters() {
        let bundle = Bundle::new(BundleContents { trees: None, router: None, ..parts() }).unwrap();
        let bytes = bundle.to_bytes().unwrap();
        let good = Sections::parse(&bytes).unwrap().require(STUDENT).unwrap();
        let damaged = |at: usize, mask: u8| {
            let mut content = good.to_vec();
            content[at] ^= mask;
            content
        };
        let loaded = |student: &[u8]| {
            Bundle::from_bytes(&edited(&bytes, |section| {
                let content = if section.tag == STUDENT { student } else { section.bytes };
                Some((section.required, content.to_vec()))
            }))
        };
        // The description, in which a letter or a digit becomes something else.
        let description = 4 + u32::from_le_bytes(good[..4].try_into().unwrap()) as usize;
        for at in 0..description {
            let error = loaded(&damaged(at, 64)).err().map(|error| error.to_string());
            assert!(error.is_some_and(|error| error.contains("; ")), "byte {at} of the description");
        }

        let (whole, questions) = (student(), golden_batches(&bundle));
        let plain = |model: &QuantizedModel| -> Vec<f64> {
            let weights = crate::quantize::dequantize(model).unwrap().weights;
            questions.iter().flat_map(|batch| reference::answer(&weights, batch).logits).collect()
        };
        let farthest = |a: &[f64], b: &[f64]| {
            assert_eq!(a.len(), b.len());
            a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
        };
        let expected = plain(&whole);
        let (forward, mut scratch) = (QuantizedForward::new(&whole), QuantizedScratch::default());
        let rounded: Vec<f64> = questions
            .iter()
            .flat_map(|batch| {
                let mut scores = vec![0.0; batch.candidates()];
                forward.score(batch, &mut scratch, &mut scores);
                scores.into_iter().map(f64::from)
            })
            .collect();
        let rounding = farthest(&rounded, &expected);
        let (mut refused, mut unread, mut drowned) = (0, 0, 0);
        for (at, mask) in (description..good.len()).flat_map(|at| [(at, 1), (at, 64)]) {
            let student = damaged(at, mask);
            if let Err(error) = loaded(&student) {
                assert_eq!(error.kind(), ErrorKind::Model, "byte {at}: {error}");
                assert!(error.to_string().contains("; "), "byte {at}: {error}");
                refused += 1;
                continue;
            }
            let student = QuantizedModel::read(&student, whole.apps.clone()).unwrap();
            let moved = farthest(&plain(&student), &expected);
            let tensor = student.tensors().zip(whole.tensors()).find(|(a, b)| a.1 != b.1);
            let name = tensor.map_or("no tensor", |((spec, _), _)| &spec.name);
            assert!(
                moved <= rounding,
                "byte {at}, {name}: an answer moves by {moved}, by rounding {rounding}"
            );
            *(if moved == 0.0 { &mut unread } else { &mut drowned }) += 1;
        }
        let tried = refused + unread + drowned;
        println!("of {tried}: {unread} not read, {drowned} below the rounding of {rounding:.1e}");
        // Most of what is not read are the embeddings' rows.
        assert!(unread * 4 < tried && drowned * 10 < tried, "{unread} and {drowned} of {tried}");
    }

    /// What the student reads of the golden questions.
    #[cfg(feature = "train")]
    fn golden_batches(bundle: &Bundle) -> Vec<Batch> {
        let student = bundle.parts().student.as_ref().unwrap();
        let vocabulary = bundle.vocabulary();
        let reader = QuestionReader::new(
            student.config(),
            &student.columns,
            &student.apps,
            &vocabulary,
            Window::Stepping,
        );
        let (reader, mut scratch) = (reader.unwrap(), ReaderScratch::default());
        let mut batches = Vec::new();
        bundle.ask_golden(|context| {
            reader.read(context, &mut scratch);
            batches.push(scratch.batch.clone());
        });
        batches
    }
}
