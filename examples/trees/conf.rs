//! LightGBM's configuration files: lines of `key = value`. Each becomes the option that means the same, and goes
//! before what the command line says, so that the command line decides.

use std::ffi::OsString;
use std::path::Path;

use clap::Parser as _;
use foretap::{Error, ErrorKind, Result};

use super::settings::Args;

/// What an option is called on the command line, and in LightGBM's files.
#[rustfmt::skip]
const OPTIONS: [(&str, &[&str]); 32] = [
    ("objective", &["objective", "objective_type", "app", "application", "loss"]),
    ("classes", &["num_class", "num_classes"]),
    ("train", &["data", "train", "train_data", "train_data_file", "data_filename"]),
    ("test", &["valid", "test", "valid_data", "valid_data_file", "test_data", "test_data_file", "valid_filenames"]),
    ("start", &["input_model", "model_input", "model_in"]),
    ("out", &["output_result", "predict_result", "prediction_result", "predict_name", "prediction_name", "pred_name", "name_pred"]),
    (
        "trees",
        &[
            "num_iterations", "num_iteration", "n_iter", "num_tree", "num_trees", "num_round", "num_rounds", "nrounds",
            "num_boost_round", "n_estimators", "max_iter",
        ],
    ),
    ("learning-rate", &["learning_rate", "shrinkage_rate", "eta"]),
    ("leaves", &["num_leaves", "num_leaf", "max_leaves", "max_leaf", "max_leaf_nodes"]),
    ("max-depth", &["max_depth"]),
    (
        "min-rows",
        &["min_data_in_leaf", "min_data_per_leaf", "min_data", "min_child_samples", "min_samples_leaf"],
    ),
    (
        "min-hessian",
        &[
            "min_sum_hessian_in_leaf", "min_sum_hessian_per_leaf", "min_sum_hessian", "min_hessian",
            "min_child_weight",
        ],
    ),
    ("min-gain", &["min_gain_to_split", "min_split_gain"]),
    ("l1", &["lambda_l1", "reg_alpha", "l1_regularization"]),
    ("l2", &["lambda_l2", "reg_lambda", "lambda", "l2_regularization"]),
    ("bins", &["max_bin", "max_bins"]),
    ("row-fraction", &["bagging_fraction", "sub_row", "subsample", "bagging"]),
    ("feature-fraction", &["feature_fraction", "sub_feature", "colsample_bytree"]),
    (
        "early-stopping",
        &["early_stopping_round", "early_stopping_rounds", "early_stopping", "n_iter_no_change"],
    ),
    ("monotone", &["monotone_constraints", "mc", "monotone_constraint", "monotonic_cst"]),
    ("category-smoothing", &["cat_smooth"]),
    ("category-l2", &["cat_l2"]),
    ("max-categories", &["max_cat_threshold"]),
    ("goss-top", &["top_rate"]),
    ("goss-other", &["other_rate"]),
    ("seed", &["seed", "random_seed", "random_state"]),
    ("header", &["header", "has_header"]),
    ("label", &["label_column", "label"]),
    ("weight", &["weight_column", "weight"]),
    ("group", &["group_column", "group", "group_id", "query_column", "query", "query_id"]),
    ("ignore", &["ignore_column", "ignore_feature", "blacklist"]),
    ("categories", &["categorical_feature", "cat_feature", "categorical_column", "cat_column", "categorical_features"]),
];

/// Settings that change no tree, or that have their own place in this example.
#[rustfmt::skip]
const HARMLESS: [&str; 49] = [
    "config", "config_file", "metric", "metrics", "metric_types", "metric_freq", "output_freq", "eval_at", "ndcg_eval_at",
    "ndcg_at", "map_eval_at", "map_at", "is_training_metric", "is_provide_training_metric", "training_metric",
    "train_metric", "tree_learner", "tree", "tree_type", "tree_learner_type", "is_enable_sparse", "is_sparse",
    "enable_sparse", "sparse", "use_two_round_loading", "two_round", "two_round_loading", "is_save_binary_file",
    "save_binary", "is_save_binary", "output_model", "model_output", "model_out", "num_machines",
    "num_machine", "local_listen_port", "local_port", "machine_list_file", "machine_list_filename", "mlist", "verbosity",
    "verbose", "auc_mu_weights", "device_type", "device", "force_row_wise", "force_col_wise", "histogram_pool_size",
    "deterministic",
];

/// What the program is asked to do: by its arguments, and before them by the configuration file that they name.
///
/// # Errors
/// The file cannot be read, or a line of it is no setting that could be followed.
pub fn args(given: impl IntoIterator<Item = OsString>) -> Result<Args> {
    let given: Vec<OsString> = given.into_iter().collect();
    let args = Args::parse_from(&given);
    let Some(file) = &args.conf else { return Ok(args) };
    let text = std::fs::read_to_string(file).map_err(|error| {
        Error::io(file, "read the configuration", error).next_step("name a LightGBM configuration file")
    })?;
    let settings = Settings::read(file, &text)?;
    for note in &settings.notes {
        eprintln!("{}: {note}", file.display());
    }
    let (program, rest) = given.split_at(given.len().min(1));
    let options = settings.options.into_iter().map(|(option, value)| format!("--{option}={value}").into());
    Ok(Args::parse_from(program.iter().cloned().chain(options).chain(rest.iter().cloned())))
}

/// A configuration file in terms of the command line.
#[derive(Debug, Default)]
pub struct Settings {
    /// Options, without their dashes, and values.
    pub options: Vec<(&'static str, String)>,
    /// What the user should know of what is not followed.
    pub notes: Vec<String>,
}

impl Settings {
    /// Translates the `text` of `file`.
    ///
    /// # Errors
    /// A line that is no setting, or one that is given twice, has an impossible value or asks for what is not here.
    pub fn read(file: &Path, text: &str) -> Result<Self> {
        let mut settings = Self::default();
        let (mut draws, mut unfollowed, mut unknown) = (Draws::default(), Vec::new(), Vec::new());
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let wrong = |message: String| Error::new(ErrorKind::Config, message).file(file).line(number);
            let Some((key, value)) = line.split_once('=').map(|(key, value)| (key.trim(), value.trim()))
            else {
                return Err(wrong(format!("`{line}` is no setting")).next_step("write it as `key = value`"));
            };
            let at_key = |message: String| wrong(message).field(key);
            if draws.follow(key, value).map_err(|message| at_key(message).next_step("remove this line"))? {
                continue;
            }
            let Some((option, _)) = OPTIONS.iter().find(|(_, names)| names.contains(&key)) else {
                let list = if HARMLESS.contains(&key) { &mut unfollowed } else { &mut unknown };
                list.push(key.to_owned());
                continue;
            };
            if settings.options.iter().any(|(given, _)| given == option) {
                return Err(at_key("this was set before".to_owned()).next_step("remove one of the two lines"));
            }
            let value = settings.in_our_words(option, value, file);
            check(option, &value)
                .map_err(|message| at_key(message).next_step("see --help for what is possible"))?;
            settings.options.push((option, value));
        }
        draws.apply(&mut settings, file);
        if !unfollowed.is_empty() {
            settings.notes.push(format!("of no meaning here: {}", unfollowed.join(", ")));
        }
        if !unknown.is_empty() {
            let unknown = unknown.join(", ");
            settings
                .notes
                .push(format!("warning: not known here, LightGBM might train otherwise: {unknown}"));
        }
        Ok(settings)
    }

    /// `value` as the option takes it. Files are found beside the configuration.
    fn in_our_words(&mut self, option: &str, value: &str, file: &Path) -> String {
        match option {
            "train" | "test" | "start" | "out" => {
                let mut tables = value.split(',').map(str::trim);
                let first = tables.next().unwrap_or_default();
                if tables.next().is_some() {
                    self.notes.push(format!("only the first of the tables {value} is read"));
                }
                let folder = file.parent().unwrap_or(Path::new(""));
                folder.join(first).to_string_lossy().into_owned()
            }
            "header" => match value {
                "1" | "+" => "true".to_owned(),
                "0" | "-" => "false".to_owned(),
                other => other.to_owned(),
            },
            // Negative for never, as zero is here.
            "early-stopping" if value.starts_with('-') => "0".to_owned(),
            _ => value.to_owned(),
        }
    }
}

/// What several lines together say of the rows that each tree sees, and lines that are right as long as they say
/// the usual.
#[derive(Debug, Default)]
struct Draws {
    predicts: bool,
    raw_scores: bool,
    threads: Option<String>,
    bagging_every: usize,
    by_group: bool,
    goss: bool,
}

impl Draws {
    /// Whether `key` was one of its own.
    fn follow(&mut self, key: &str, value: &str) -> std::result::Result<bool, String> {
        match (key, value) {
            ("task" | "task_type", "train" | "training") => {}
            ("task" | "task_type", "predict" | "prediction" | "test") => self.predicts = true,
            ("predict_raw_score" | "is_predict_raw_score" | "predict_rawscore" | "raw_score", _) => {
                self.raw_scores = matches!(value, "true" | "1" | "+");
            }
            (
                "predict_leaf_index"
                | "is_predict_leaf_index"
                | "leaf_index"
                | "predict_contrib"
                | "is_predict_contrib"
                | "contrib",
                _,
            ) => {
                if !matches!(value, "false" | "0" | "-") {
                    return Err("only scores and probabilities are predicted here".to_owned());
                }
            }
            // Zero and less are all trees there, too.
            ("num_iteration_predict", _) => {
                if !value.parse().is_ok_and(|trees: i64| trees <= 0) {
                    return Err("all trees of a model predict here".to_owned());
                }
            }
            ("start_iteration_predict", _) => {
                if value != "0" {
                    return Err("all trees of a model predict here".to_owned());
                }
            }
            ("boosting" | "boosting_type" | "boost", "gbdt" | "gbrt") => {}
            ("data_sample_strategy", "bagging") => {}
            ("boosting" | "boosting_type" | "boost" | "data_sample_strategy", "goss") => self.goss = true,
            ("task" | "task_type" | "boosting" | "boosting_type" | "boost" | "data_sample_strategy", _) => {
                return Err(format!("`{value}` is not to be had here"));
            }
            ("bagging_freq" | "subsample_freq", _) => {
                self.bagging_every =
                    value.parse().map_err(|_| format!("`{value}` is not a number of rounds"))?;
            }
            ("bagging_by_query", _) => self.by_group = matches!(value, "true" | "1" | "+"),
            ("num_threads" | "num_thread" | "nthread" | "nthreads" | "n_jobs", _) => {
                let threads: i64 =
                    value.parse().map_err(|_| format!("`{value}` is not a number of threads"))?;
                self.threads = Some(threads.max(0).to_string());
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn apply(self, settings: &mut Settings, file: &Path) {
        let default_out = settings.in_our_words("out", "LightGBM_predict_result.txt", file);
        let options = &mut settings.options;
        options.extend(self.threads.map(|threads| ("threads", threads)));
        if self.predicts {
            // The table is called `data` there, too; what trains and tests is not for this task.
            options.retain(|(option, _)| *option != "test");
            options
                .iter_mut()
                .filter(|(option, _)| *option == "train")
                .for_each(|(option, _)| *option = "predict");
            if !options.iter().any(|(option, _)| *option == "out") {
                options.push(("out", default_out));
            }
            options.extend(self.raw_scores.then(|| ("raw-scores", "true".to_owned())));
        } else {
            options.retain(|(option, _)| *option != "out");
        }
        // LightGBM draws rows only where it is told how often, and not besides GOSS.
        let bagging = self.bagging_every > 0 && !self.goss;
        options.retain(|(option, _)| match *option {
            "row-fraction" => bagging,
            "goss-top" | "goss-other" => self.goss,
            _ => true,
        });
        for (option, default) in [("goss-top", "0.2"), ("goss-other", "0.1")] {
            if self.goss && !options.iter().any(|(given, _)| *given == option) {
                options.push((option, default.to_owned()));
            }
        }
        for (option, _) in options.iter_mut().filter(|(option, _)| self.by_group && *option == "row-fraction")
        {
            *option = "group-fraction";
        }
        if bagging && self.bagging_every > 1 {
            let note = format!("rows are drawn for every tree, not for every {} trees", self.bagging_every);
            settings.notes.push(note);
        }
    }
}

/// Asks the command line what it would say to the option alone.
fn check(option: &str, value: &str) -> std::result::Result<(), String> {
    let Err(error) = Args::try_parse_from(["trees".to_owned(), format!("--{option}={value}")]) else {
        return Ok(());
    };
    let text = error.to_string();
    Err(text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned())
}
