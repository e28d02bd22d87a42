//! foretap predicts which app a person opens next, on the phone, before the tap.
//!
//! A phone unlocks; the crate ranks the apps that its user has opened before; a launcher shows the first few. It
//! learns from the phone's own log, runs offline, and never needs raw identities or coordinates.
//!
//! ```
//! use foretap::context::{History, Task};
//! use foretap::baseline::Markov;
//! use foretap::data::{Event, Signal, Timestamp, UserId, Vocabulary};
//! use foretap::predict::{Prediction, Predictor};
//!
//! let mut apps = Vocabulary::new();
//! let (mail, maps) = (apps.intern("Mail"), apps.intern("Maps"));
//! let mut history = History::default();
//! for (secs, signal) in [
//!     (0, Signal::Unlock), (1, Signal::Launch(mail)), (60, Signal::ScreenOff),
//!     (600, Signal::Unlock), (601, Signal::Launch(maps)), (660, Signal::ScreenOff),
//!     (900, Signal::Unlock),
//! ] {
//!     history.observe(&Event::new(UserId(1), Timestamp(secs), signal));
//! }
//! let context = history.context_at(Timestamp(900), Task::FirstAfterUnlock);
//! let predictor = Markov::default();
//! let mut scores = vec![0.0; context.candidates().len()];
//! predictor.score(&context, &mut predictor.new_scratch(), &mut scores);
//! let prediction = Prediction::new(&context, &scores, 1.0);
//! println!("{} with {:.0} %", apps.name(prediction.candidates[0].app), 100.0 * prediction.candidates[0].probability);
//! ```
//!
//! # The tour
//!
//! The modules in the order in which data passes through them: a module imports only from those above it (`tests/layers.rs`
//! keeps it so, and has the order inside each folder). Here a folder's files stand by subject; its `mod.rs` says more.
//!
//! ```text
//! src/
//!   error        one Error: a kind, a place (file, line, field), a next step
//!   progress     what a long job reports of itself
//!   parallel     many users at once, the longest log first
//!   storage/     HOW BYTES ARE KEPT
//!     codec        fields of binary files; every length and number is checked
//!     format       a file says in its first bytes what it is, and of which version
//!     atomic, text files are written whole or not at all; texts are read plain or gzipped
//!     toml_file    configuration, with errors that name the line
//!     vault        a history's file, checked by a sum or encrypted under a key
//!
//!   data/        WHAT HAPPENED
//!     place        city-level buckets
//!     event        Event, Signal and their ids
//!     vocabulary   app names <-> ids
//!     privacy      coordinates -> city-level buckets, user ids -> keyed hashes
//!     log/         formats: native, app_usage, usagestats, activity_watch, table, lsapp, tsinghua, sqlite/ (databases);
//!                  mod.rs registers them, and mapping says in a file how to read a study's. labels, locale: languages
//!                  join: merge (files that overlap), readings (battery, network, place), home (home screens left out),
//!                  unlock (in order)
//!     split        training, validation, test: always by time
//!     simulate/    people whose habits, and so the best possible score, are known: narrow/ (one law), family/ (a law drawn for each,
//!                  by the files in data/laws)
//!
//!   context/     WHAT IS KNOWN AT THE QUESTION
//!     math         logarithms and angles, the same to the last bit on every machine
//!     task         the two questions (first app after an unlock; next app), and which unlocks have no answer
//!     history/     WHAT IS REMEMBERED, event by event, in constant memory; builds each Context
//!       counts, ridge, sequence_model                          its bounded counters; counts smooths over neighbouring hours
//!       app_use, token                                         one app; an event for the transformer
//!       saved, bytes                                           how one part becomes bytes; the file: its version, its fields
//!     question     the Context: candidates and what is known when a question is asked
//!     tokens       the sequence that ends with the question
//!     replay       a user's log, question by question
//!     replay_buffer  a phone's last events and the history before them, to ask its questions again
//!     training     the part of a log that may be learned from
//!     features/    WHAT IS COMPUTED: mod.rs has the table of all columns of the ranker, and how far each is drawn to its prior
//!       columns                                                each has a name, and a version of what it means
//!       question_features                                      of the question
//!       pointer_features                                       the same and more, scaled for the transformer's pointer
//!
//!   inspect/     what is in a log, and whether it looks like people's; statistics: how a person uses a phone, in a few numbers
//!   predict      THE CONTRACT: Predictor, Prediction, ties
//!   baseline     most recent, most frequent, Markov; bayes_optimal: the least possible log loss on simulated people
//!
//!   gbdt/        THE FAST EXPERT
//!     tree, ensemble, explain/       a model as plain data, and why it answers so
//!     bitslice/, forest, batch       its answers, a question at a time or millions of rows
//!     bins, dataset, table/          from values and text files to bytes
//!     objective/, metric             what trees minimise, and how good they are
//!     sample -> rounding -> block -> histogram -> layout, gain -> split, category -> partition -> grow, attach -> train
//!   ranker       features + forest = a Predictor
//!
//!   network/     THE DEEP EXPERT'S ARCHITECTURE AND INPUT
//!     config, layout                 its shape, its formulas, and where each number lies
//!     predictor                      a network as a Predictor, in floats or in INT8
//!     batch, columns, reader         what it reads; columns by name (columns_v1: of files that name none)
//!   transformer/ THE DEEP EXPERT
//!     weights, engine                plain numbers; the trait of what computes loss and gradient
//!     native/, forward               the passes by hand: training, and one question
//!     burn/, device                  the same on Burn's tensors: processors and graphics cards
//!     reference, sample              the passes in plain f64, and random batches to compare the others on
//!     schedule -> optimizer -> train the loop; validate, checkpoint, run, metrics, curve: what it checks and keeps
//!     dataset -> learn               from people's logs to a trained model
//!     file, tensors, import          a model file; weights that were trained elsewhere
//!     pretrained, predictor          the crate's own; a Predictor
//!   distill      what a student learns from an ensemble of predictors
//!
//!   quantize/    THE QUANTIZED EXPERT
//!     kernel, float                  integer products by the machine's best instructions; dequantizing, norms, activations
//!     model, bytes                   plain data, and its section of a file
//!     scheme, qat                    scales and rounding of weights (biases stay floats: model); quantization-aware training
//!     prepared, attention, mixture, forward   one question, without or with the KV cache of the last one
//!     calibrate, student             what quantizing costs, tensor by tensor; a Predictor
//!     trees/                         the ranker's forest in bins and steps, and its section of a file
//!
//!   router/      TOGETHER
//!     gate, blend, calibrate         which questions the transformer is asked; the weights of both; how temperature and "none of
//!                                    these" are applied
//!     model                          plain data and its section of a file
//!     fit, newton, gate_labels       how weights and temperature are learned; Newton's method; what the gate learns
//!     answer, personalization, personal_trees   one answer; what one person's phone adds to it, answer by answer and at night
//!     offline                        what an evaluation on logs asks of it beside what a phone does
//!     suggest, person                what is shown and what became of it; all that belongs to one phone
//!     learn                          how a phone grows trees of its own user's past
//!
//!   model/       a trained ranker in a file, checked whole; save
//!   bundle/      one self-verifying file for phones: container, contents, expert; golden questions; delta between two files
//!   export/      WEIGHTS THAT LEAVE
//!     lightgbm/, xgboost/            trees to and from other engines
//!     question, network              what a graph is asked; the formulas, described once for every writer of graphs
//!     onnx/                          ONNX: transformer, trees, router, in floats and in INT8; mod.rs has the opset
//!     coreml/                        Core ML's ML Program
//!     model_card, export_set         what a file says of itself; all files of a bundle, each with a golden question
//!
//!   evaluate/    HOW GOOD IT IS: figure, expected, metrics, intervals, replay, latency, routing, as_shipped, report, text,
//!                html
//!   conformance  what a Predictor promises, checked: yours too
//!   experiment/  from a log to a report: check, method, round, save; the methods ranker, transformer, quantization, routing;
//!                as_shipped: nothing trained; compare: one bundle beside another; benchmark: the field's public data sets
//! ```
//!
//! Start with [`context::History`] to see what is known, [`predict::Predictor`] for what a predictor must do,
//! [`router::Person`] for what an app team holds of one phone, and [`experiment::Experiment`] for how all of it is trained
//! and compared. The examples are thin around these.
//!
//! # Cargo features
//!
//! `train`, the default, is what learning needs: reading logs, simulating people, training, evaluating, reports, exports, and the
//! float transformer. Without it (`default-features = false`) what a phone needs remains, small and quick to build: history,
//! context, trees, INT8 transformer, router, and the bundle that they come in. `flex`, `ndarray` and `wgpu` are Burn's devices to
//! train on, beside the crate's own engine; each brings `train` along and takes minutes to build. Two parts of `train` are small by
//! themselves and meant for phones: `vault` keeps a history's file, whole or not at all, checked, and encrypted under the caller's
//! key; `learn` grows trees of a user's own past at night ([`router::Person::learn`]).
//! `sqlite` reads logs that are SQLite databases (iPhones, AWARE, ActivityWatch); it brings `train` along and builds SQLite from
//! its C source.

// Links to what only a build with `train` has.
#![cfg_attr(not(feature = "train"), allow(rustdoc::broken_intra_doc_links))]

pub mod baseline;
pub mod bundle;
pub mod context;
pub mod data;
mod error;
pub mod gbdt;
pub mod model;
pub mod network;
pub mod predict;
mod progress;
pub mod quantize;
pub mod ranker;
pub mod router;
pub mod storage;

#[cfg(feature = "train")]
pub mod conformance;
#[cfg(feature = "train")]
pub mod distill;
#[cfg(feature = "train")]
pub mod evaluate;
#[cfg(feature = "train")]
pub mod experiment;
#[cfg(feature = "train")]
pub mod export;
#[cfg(feature = "train")]
pub mod inspect;
#[cfg(feature = "train")]
mod parallel;
#[cfg(feature = "train")]
pub mod transformer;

pub use error::{Error, ErrorKind, Result};
pub use progress::{Progress, Silent};

/// The README's program runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
