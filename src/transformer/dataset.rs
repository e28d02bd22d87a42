//! What a transformer learns from: people's tokens cut into windows, with the questions asked in them.
//!
//! The last three quarters of a window are its zone; the questions asked there are learned from, so that each has at least
//! a quarter of a window before it. The zones begin anew at a random place in every epoch, and cover every question once.
//!
//! ```text
//! tokens   . . . . . . . . . . . . . . . . . . . .
//! zones   |--|------|------|------|------|----         one epoch
//! window         [........]                            that of the third zone
//! ```

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use half::f16;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::train::DataLoader;
use crate::context::pointer_features::PointerRows;
use crate::context::tokens::Token;
use crate::context::{Context, PersonView, TrainingView};
use crate::data::AppId;
use crate::network::ColumnReader;
use crate::network::TransformerConfig;
use crate::network::{Batch, NO_TARGET};
use crate::predict::{Predictor, Scratch, softmax};
use crate::progress::Progress;

/// How a dataset is made of people's logs.
#[derive(Clone, Copy)]
pub struct DatasetConfig<'a> {
    /// The transformer's shape.
    pub config: &'a TransformerConfig,
    /// By app id: its row of the app embedding. Apps beyond are unknown.
    pub rows: &'a [u32],
    /// Most tokens of a batch; at least one sequence.
    pub batch_tokens: usize,
    /// Share of sequences in which some or all apps are made unknown, so that the model learns to do without names.
    pub unknown_share: f64,
    /// Most questions to learn from; beyond them, questions are drawn. 0 keeps all.
    pub max_questions: usize,
    /// Most questions to validate on, about; beyond them, whole windows are left out. 0 keeps all.
    pub max_validation: usize,
    /// Who teaches, beside the answers themselves.
    pub teacher: Option<Teacher<'a>>,
    /// Seed of what is drawn here.
    pub seed: u64,
}

/// A predictor whose answers are learned from.
#[derive(Clone, Copy)]
pub struct Teacher<'a> {
    /// The teacher.
    pub predictor: &'a dyn Predictor,
    /// What its logits are divided by: more than 1 softens them.
    pub temperature: f64,
    /// Weight of its answers, 0 to 1; the rest is the true answer's.
    pub weight: f64,
    /// Whether its answers are the very probabilities that the true ones were drawn from, as of simulated people. Then
    /// they also tell when to stop: of a few thousand drawn answers, chance alone is half a percent of the log loss.
    pub is_truth: bool,
}

/// A data loader held in memory: tokens, and the columns of all questions in half precision.
#[derive(Debug)]
pub struct SequenceDataset {
    config: TransformerConfig,
    batch_tokens: usize,
    unknown_share: f64,
    people: Vec<UserSequences>,
    validation: Vec<Batch>,
    timetable: Mutex<Timetable>,
}

/// The epochs walked through so far. They differ a little in length, with their zones.
#[derive(Debug, Default)]
struct Timetable {
    seed: u64,
    /// The step at which each epoch ends.
    ends: Vec<u64>,
    /// The windows of one epoch, in the order of learning, and its number.
    held: Option<(usize, Arc<Epoch>)>,
}

/// Of the sequences with unknown apps, a third know none.
const MOST_UNKNOWN: f64 = 1.5;

/// One person's log as it is learned from.
#[derive(Debug, Default)]
struct UserSequences {
    tokens: Vec<Token>,
    /// By token: rows of the app embedding.
    apps: Vec<u32>,
    next_apps: Vec<u32>,
    questions: Vec<SequenceQuestion>,
    /// How many of the tokens and questions are for learning; the rest are for validation.
    learned_tokens: usize,
    learned_questions: usize,
    candidate_apps: Vec<u32>,
    candidate_columns: Vec<f16>,
    question_columns: Vec<f16>,
    targets: Vec<f32>,
}

#[derive(Debug, Clone)]
struct SequenceQuestion {
    token: usize,
    candidates: Range<usize>,
}

/// The last of `tokens` are a zone.
#[derive(Debug, Clone, PartialEq)]
struct Window {
    person: usize,
    tokens: Range<usize>,
    zone: Range<usize>,
}

type Epoch = Vec<Vec<Window>>;

impl SequenceDataset {
    /// Replays the log of everyone in `view`.
    pub fn new(
        dataset_config: &DatasetConfig<'_>,
        columns: &ColumnReader,
        view: &TrainingView<'_>,
        progress: &dyn Progress,
    ) -> Self {
        let questions = view.questions();
        let kept = match dataset_config.max_questions {
            0 => 1.0,
            most => (most as f64 / questions.max(1) as f64).min(1.0),
        };
        progress.start("reading sequences", view.people().len() as u64);
        let people: Vec<UserSequences> = view
            .people()
            .par_iter()
            .enumerate()
            .map(|(index, person)| {
                let random = random(dataset_config.seed, index as u64, 1);
                let sequences = UserSequences::take(dataset_config, columns, view, person, kept, random);
                progress.advance(1);
                sequences
            })
            .collect();
        progress.finish();
        let mut made = Self {
            config: dataset_config.config.clone(),
            batch_tokens: dataset_config.batch_tokens,
            unknown_share: dataset_config.unknown_share,
            people,
            validation: Vec::new(),
            timetable: Mutex::default(),
        };
        let mut windows = made.windows(|person| (person.learned_tokens..person.tokens.len(), 0));
        let asked = |window: &Window| made.people[window.person].asked(&window.zone).len();
        let questions: usize = windows.iter().map(asked).sum();
        if dataset_config.max_validation > 0 && questions > dataset_config.max_validation {
            // Evenly, so that everybody is asked.
            let every = questions.div_ceil(dataset_config.max_validation);
            windows = windows.into_iter().step_by(every).collect();
        }
        made.validation = made.batches(windows).iter().map(|windows| made.fill(windows, None)).collect();
        made
    }

    /// Questions to learn from.
    pub fn questions(&self) -> usize {
        self.people.iter().map(|person| person.learned_questions).sum()
    }

    /// Batches of one epoch, about.
    pub fn batches_an_epoch(&self, seed: u64) -> u64 {
        self.epoch_of(seed, 0).0.len() as u64
    }

    fn zone_length(&self) -> usize {
        (self.config.window * 3 / 4).max(1)
    }

    /// All windows whose zones part the tokens that `part` names, the first zone being so long.
    fn windows(&self, mut part: impl FnMut(&UserSequences) -> (Range<usize>, usize)) -> Vec<Window> {
        let zone_length = self.zone_length();
        let mut windows = Vec::new();
        for (index, person) in self.people.iter().enumerate() {
            let (tokens, first) = part(person);
            let mut start = tokens.start;
            let mut end = if first > 0 { start + first } else { start + zone_length };
            while start < tokens.end {
                end = end.min(tokens.end);
                let zone = start..end;
                if person.asked(&zone).next().is_some() {
                    windows.push(Window {
                        person: index,
                        tokens: end.saturating_sub(self.config.window)..end,
                        zone,
                    });
                }
                (start, end) = (end, end + zone_length);
            }
        }
        windows
    }

    /// Windows of equal length, as many as fit into a batch.
    fn batches(&self, mut windows: Vec<Window>) -> Epoch {
        // Stable: within a length the order stays.
        windows.sort_by_key(|window| window.tokens.len());
        windows
            .chunk_by(|a, b| a.tokens.len() == b.tokens.len())
            .flat_map(|alike| alike.chunks((self.batch_tokens / alike[0].tokens.len()).max(1)))
            .map(<[Window]>::to_vec)
            .collect()
    }

    /// The epoch of `step`, and how many steps it had before.
    fn epoch_of(&self, seed: u64, step: u64) -> (Arc<Epoch>, u64) {
        let mut timetable = self.timetable.lock().unwrap_or_else(PoisonError::into_inner);
        if timetable.seed != seed {
            *timetable = Timetable { seed, ..Timetable::default() };
        }
        loop {
            let number = timetable.ends.partition_point(|&end| end <= step);
            let epoch = match &timetable.held {
                Some((held, epoch)) if *held == number => Arc::clone(epoch),
                _ => Arc::new(self.epoch(seed, number as u64)),
            };
            timetable.held = Some((number, Arc::clone(&epoch)));
            let begin = number.checked_sub(1).map_or(0, |before| timetable.ends[before]);
            if number < timetable.ends.len() || epoch.is_empty() {
                return (epoch, begin);
            }
            timetable.ends.push(begin + epoch.len() as u64);
        }
    }

    fn epoch(&self, seed: u64, number: u64) -> Epoch {
        let zone = self.zone_length();
        let mut random = random(seed, number, 3);
        let mut windows = self.windows(|person| (0..person.learned_tokens, random.random_range(1..=zone)));
        shuffle(&mut windows, &mut random);
        let mut batches = self.batches(windows);
        shuffle(&mut batches, &mut random);
        batches
    }

    fn fill(&self, windows: &[Window], mut random: Option<ChaCha8Rng>) -> Batch {
        let mut batch = Batch::default();
        batch.clear(windows.first().map_or(0, |window| window.tokens.len()));
        let unknown = self.config.unknown_app();
        let mut known = vec![true; self.config.apps + 2];
        for window in windows {
            let person = &self.people[window.person];
            if let Some(random) = &mut random {
                let unknown = if random.random_bool(self.unknown_share) {
                    random.random_range(0.0..MOST_UNKNOWN)
                } else {
                    0.0
                };
                known[..self.config.apps].fill_with(|| random.random::<f64>() >= unknown);
            }
            let row = |app: u32| match app {
                NO_TARGET => NO_TARGET,
                app if known[app as usize] => app,
                _ => unknown,
            };
            let first = batch.tokens();
            let began = person.tokens[window.tokens.start].at;
            for token in window.tokens.clone() {
                let next =
                    if window.zone.contains(&token) { row(person.next_apps[token]) } else { NO_TARGET };
                batch.push_token(&person.tokens[token], began, row(person.apps[token]), next);
            }
            let wide = |columns: &[f16]| columns.iter().map(|column| column.to_f32()).collect::<Vec<f32>>();
            for number in person.asked(&window.zone) {
                let asked = &person.questions[number];
                let (c, q) = (self.config.candidate_columns, self.config.question_columns);
                let candidates = asked.candidates.clone();
                batch.question_columns.extend(wide(&person.question_columns[number * q..(number + 1) * q]));
                batch
                    .candidate_columns
                    .extend(wide(&person.candidate_columns[candidates.start * c..candidates.end * c]));
                batch
                    .candidate_apps
                    .extend(person.candidate_apps[candidates.clone()].iter().map(|&app| row(app)));
                batch.targets.extend(&person.targets[candidates]);
                batch.end_question(first + asked.token - window.tokens.start);
            }
        }
        batch
    }
}

impl DataLoader for SequenceDataset {
    fn batch(&self, seed: u64, step: u64) -> Batch {
        let (epoch, begin) = self.epoch_of(seed, step);
        match epoch.get((step - begin) as usize) {
            Some(windows) => self.fill(windows, Some(random(seed, step, 2))),
            None => Batch { length: 1, offsets: vec![0], ..Batch::default() },
        }
    }

    fn validation(&self) -> &[Batch] {
        &self.validation
    }
}

impl UserSequences {
    fn take(
        dataset_config: &DatasetConfig<'_>,
        columns: &ColumnReader,
        view: &TrainingView<'_>,
        person: &PersonView<'_>,
        kept: f64,
        mut random: ChaCha8Rng,
    ) -> Self {
        let mut sequences = Self::default();
        let mut rows = PointerRows::default();
        let (mut of_candidates, mut of_question) = (Vec::new(), Vec::new());
        let mut teaching = dataset_config.teacher.map(Teaching::new);
        let (train, validation) = (person.train(), person.validation());
        let last = train.end.max(validation.end);
        let mut seen = 0;
        view.replay(person, last, |number, question, context| {
            context.tokens_since(&mut seen, &mut sequences.tokens);
            let is_validation = validation.contains(&number);
            if !is_validation {
                sequences.learned_tokens = sequences.tokens.len();
            }
            let answer = context.candidates().iter().position(|&app| app == question.answer);
            let Some(answer) = answer else { return };
            let is_learned = !is_validation && train.contains(&number) && random.random_bool(kept);
            if !(is_validation || is_learned) {
                return;
            }
            of_candidates.clear();
            of_question.clear();
            columns.read(context, &mut rows, &mut of_candidates, &mut of_question);
            sequences.candidate_columns.extend(of_candidates.iter().map(|&value| f16::from_f32(value)));
            sequences.question_columns.extend(of_question.iter().map(|&value| f16::from_f32(value)));
            sequences
                .candidate_apps
                .extend(context.candidates().iter().map(|&app| dataset_config.row(Some(app))));
            let first = sequences.targets.len();
            sequences.targets.resize(first + context.candidates().len(), 0.0);
            let targets = &mut sequences.targets[first..];
            targets[answer] = 1.0;
            // Validated is what really happened, or what it was drawn from.
            if let Some(teaching) =
                teaching.as_mut().filter(|teaching| !is_validation || teaching.teacher.is_truth)
            {
                teaching.soften(context, targets);
            }
            let candidates = first..sequences.targets.len();
            sequences.questions.push(SequenceQuestion { token: sequences.tokens.len() - 1, candidates });
            sequences.learned_questions += usize::from(!is_validation);
        });
        sequences.apps = sequences.tokens.iter().map(|token| dataset_config.row(token.app)).collect();
        sequences.next_apps = next_apps(&sequences.tokens, &sequences.apps);
        sequences
    }

    /// Numbers of the questions asked at `tokens`.
    fn asked(&self, tokens: &Range<usize>) -> Range<usize> {
        let before = |token: usize| self.questions.partition_point(|asked| asked.token < token);
        before(tokens.start)..before(tokens.end)
    }
}

impl DatasetConfig<'_> {
    fn row(&self, app: Option<AppId>) -> u32 {
        app.map_or(self.config.no_app(), |app| {
            self.rows.get(app.0 as usize).copied().unwrap_or(self.config.unknown_app())
        })
    }
}

/// By token: the app launched next.
fn next_apps(tokens: &[Token], apps: &[u32]) -> Vec<u32> {
    let mut next = NO_TARGET;
    let mut found: Vec<u32> = tokens
        .iter()
        .zip(apps)
        .rev()
        .map(|(token, &app)| {
            let after = next;
            if token.is_launch() {
                next = app;
            }
            after
        })
        .collect();
    found.reverse();
    found
}

/// A teacher at work.
struct Teaching<'a> {
    teacher: Teacher<'a>,
    scratch: Scratch,
    scores: Vec<f32>,
}

impl<'a> Teaching<'a> {
    fn new(teacher: Teacher<'a>) -> Self {
        Self { teacher, scratch: teacher.predictor.new_scratch(), scores: Vec::new() }
    }

    fn soften(&mut self, context: &Context<'_>, targets: &mut [f32]) {
        let Teacher { predictor, temperature, weight, .. } = self.teacher;
        self.scores.resize(targets.len(), 0.0);
        predictor.score(context, &mut self.scratch, &mut self.scores);
        for (target, taught) in targets.iter_mut().zip(softmax(&self.scores, temperature)) {
            *target = (weight * taught + (1.0 - weight) * f64::from(*target)) as f32;
        }
    }
}

/// Random numbers that depend on all three.
fn random(seed: u64, stream: u64, purpose: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ purpose.rotate_left(40));
    random.set_stream(stream);
    random
}

fn shuffle<T>(list: &mut [T], random: &mut ChaCha8Rng) {
    for last in (1..list.len()).rev() {
        list.swap(last, random.random_range(0..=last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::MostRecent;
    use crate::context::{Task, questions};
    use crate::data::simulate::{SimulationConfig, simulate};
    use crate::data::{Event, Split, Vocabulary};
    use crate::network::Standardisation;
    use crate::progress::Silent;

    fn people(days: u32) -> Vec<Vec<Event>> {
        let config = SimulationConfig { people: 3, days, ..SimulationConfig::default() };
        simulate(&config, &Silent).unwrap().log.users().map(<[Event]>::to_vec).collect()
    }

    fn loader(people: &[Vec<Event>], config: &TransformerConfig, unknown_share: f64) -> SequenceDataset {
        distilled_loader(people, config, unknown_share, None)
    }

    fn distilled_loader(
        people: &[Vec<Event>],
        config: &TransformerConfig,
        unknown_share: f64,
        teacher: Option<Teacher<'_>>,
    ) -> SequenceDataset {
        let vocabulary = Vocabulary::new();
        let split = |events: &'_ Vec<Event>| {
            let all = questions(config.task, events).len();
            let train = all * 8 / 10;
            Split { train: 0..train, validation: train..all, test: all..all }
        };
        let people = people.iter().map(|events| (&events[..], split(events)));
        let view = TrainingView::new(config.task, &vocabulary, people);
        let dataset_config = DatasetConfig {
            config,
            rows: &(0..config.apps as u32).collect::<Vec<u32>>(),
            batch_tokens: 200,
            unknown_share,
            max_questions: 0,
            max_validation: 0,
            teacher,
            seed: 1,
        };
        SequenceDataset::new(
            &dataset_config,
            &Standardisation::none(config).reader().unwrap(),
            &view,
            &Silent,
        )
    }

    /// Answers tell when to stop, and a teacher does only if it knows what they were drawn from.
    #[test]
    fn validated_is_what_happened_or_what_it_was_drawn_from() {
        let config = TransformerConfig::student(Task::FirstAfterUnlock, 40);
        let people = people(4);
        for is_truth in [false, true] {
            let teacher = Teacher { predictor: &MostRecent, temperature: 1.0, weight: 1.0, is_truth };
            let loader = distilled_loader(&people, &config, 0.0, Some(teacher));
            let is_drawn = |batch: &Batch| batch.targets.iter().all(|&target| target == 0.0 || target == 1.0);
            assert!(!loader.validation().is_empty());
            assert_eq!(loader.validation().iter().all(is_drawn), !is_truth);
            assert!(!is_drawn(&loader.batch(1, 0)), "learned from is the teacher");
        }
    }

    #[test]
    fn every_question_is_asked_once_an_epoch() {
        for task in [Task::FirstAfterUnlock, Task::NextLaunch] {
            let config = TransformerConfig::student(task, 40);
            let people = people(4);
            let loader = loader(&people, &config, 0.0);
            let mut step = 0;
            for epoch in 0..3 {
                let mut asked = 0;
                while asked < loader.questions() {
                    let batch = loader.batch(5, step);
                    assert!(batch.fits(&config) && batch.questions() > 0);
                    asked += batch.questions();
                    step += 1;
                }
                assert_eq!(asked, loader.questions(), "{task}, epoch {epoch}");
            }
            let all: usize = people.iter().map(|events| questions(task, events).len()).sum();
            let validation: usize = loader.validation().iter().map(Batch::questions).sum();
            // Those whose answer is an app opened for the first time are not among them.
            assert!((all * 8 / 10..=all).contains(&(loader.questions() + validation)), "{all}");
            assert!(loader.validation().iter().all(|batch| batch.fits(&config)));
        }
    }

    #[test]
    fn a_batch_follows_from_seed_and_step_alone() {
        let config = TransformerConfig::student(Task::FirstAfterUnlock, 87);
        let people = people(3);
        let loader = loader(&people, &config, 0.5);
        let in_order: Vec<Batch> = (0..60).map(|step| loader.batch(9, step)).collect();
        for step in [59, 0, 31, 3] {
            assert_eq!(loader.batch(9, step as u64), in_order[step]);
        }
        assert_ne!(loader.batch(10, 0), in_order[0]);
    }

    #[test]
    fn apps_made_unknown_are_unknown_everywhere_in_their_sequence() {
        let config = TransformerConfig::student(Task::FirstAfterUnlock, 87);
        let people = people(3);
        let share = |loader: &SequenceDataset| {
            let batches: Vec<Batch> = (0..40).map(|step| loader.batch(1, step)).collect();
            let apps: Vec<u32> = batches.into_iter().flat_map(|batch| batch.candidate_apps).collect();
            apps.iter().filter(|&&app| app == config.unknown_app()).count() as f64 / apps.len() as f64
        };
        assert_eq!(share(&loader(&people, &config, 0.0)), 0.0);
        // A uniform share up to one and a half, cut at one: two thirds on average.
        let found = share(&loader(&people, &config, 1.0));
        assert!((0.5..0.8).contains(&found), "{found}");
    }

    #[test]
    fn the_next_app_is_the_one_launched_next() {
        let at = |kind| Token {
            at: crate::data::Timestamp(0),
            app: None,
            kind,
            place: 0,
            gap: 0,
            network: 0,
            battery: 0,
            hour: 0.0,
            weekday: 0,
        };
        let tokens = [3, 0, 2, 1, 2].map(at);
        assert_eq!(next_apps(&tokens, &[9, 4, 5, 6, 7]), [4, 6, 6, NO_TARGET, NO_TARGET]);
    }
}
