//! How far a long job has come, on a terminal. The examples and the platform's program share it.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use foretap::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress bar on stderr. It appears when a stage has lasted two seconds, and only on a terminal.
#[derive(Debug, Default)]
pub struct Bar {
    stage: Mutex<Option<Stage>>,
}

#[derive(Debug)]
struct Stage {
    bar: ProgressBar,
    since: Instant,
    is_drawn: bool,
}

impl Bar {
    const APPEARS_AFTER: Duration = Duration::from_secs(2);

    /// A bar that waits for its first stage.
    pub fn new() -> Self {
        Self::default()
    }

    fn with_stage(&self, act: impl FnOnce(&mut Option<Stage>)) {
        // A thread that panicked while holding the bar leaves nothing that drawing could not cope with.
        act(&mut self.stage.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}

impl Progress for Bar {
    fn start(&self, what: &str, total: u64) {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {percent:>3} %, {eta} left") {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        self.with_stage(|stage| *stage = Some(Stage { bar, since: Instant::now(), is_drawn: false }));
    }

    fn advance(&self, steps: u64) {
        self.with_stage(|stage| {
            let Some(stage) = stage else { return };
            if !stage.is_drawn
                && stage.since.elapsed() > Self::APPEARS_AFTER
                && std::io::stderr().is_terminal()
            {
                stage.bar.set_draw_target(ProgressDrawTarget::stderr());
                stage.is_drawn = true;
            }
            stage.bar.inc(steps);
        });
    }

    fn note(&self, line: &str) {
        self.with_stage(|stage| {
            if let Some(stage) = stage {
                stage.bar.set_message(line.to_owned());
            }
        });
    }

    fn finish(&self) {
        self.with_stage(|stage| {
            if let Some(stage) = stage.take() {
                stage.bar.finish_and_clear();
            }
        });
    }
}
