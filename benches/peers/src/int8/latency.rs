//! Latency: one student question of 32 tokens and 50 candidates, on one thread.

use std::time::Instant;

use super::Participant;
use super::report::{Report, Timed};
use crate::Result;
use crate::report::{Table, cell};
use crate::timing::median;

/// Sweeps of an engine before the next one's turn: a turn is short, so that everyone meets the same machine.
const SWEEPS_A_TURN: usize = 2;

/// Times one question, engine by engine in `turns` turns, into `report`.
///
/// # Errors
/// An engine fails.
pub fn compare(
    participants: &mut [Box<dyn Participant + '_>],
    questions: usize,
    turns: usize,
    report: &mut Report,
) -> Result<()> {
    let mut timed: Vec<Timed> =
        participants.iter().map(|participant| (participant.name(), Vec::new())).collect();
    for turn in 0..=turns {
        for (participant, (_, micros)) in participants.iter_mut().zip(&mut timed) {
            let mut of_turn = Vec::with_capacity(SWEEPS_A_TURN * questions);
            for index in (0..SWEEPS_A_TURN).flat_map(|_| 0..questions) {
                let start = Instant::now();
                participant.answer(index)?;
                of_turn.push(start.elapsed().as_secs_f64() * 1e6);
            }
            // The first turn warms everyone up.
            if turn > 0 {
                micros.extend(median(&of_turn));
            }
        }
    }
    report.sum_up(&timed);
    let mut table = Table::new(["engine", "µs a question", "int8_cold / it"]);
    for (name, micros) in &timed {
        let ratio = report.ratio_int8_to.get(*name).copied();
        table.line([(*name).to_owned(), cell(median(micros), 1), cell(ratio, 2)]);
    }
    table.print(&format!(
        "Latency: the student, 32 tokens, 50 candidates, one thread; ours with {}",
        report.kernel
    ));
    Ok(())
}
