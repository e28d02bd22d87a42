//! Whether all compute the same: the logits of every question.

use super::Participant;
use super::report::Report;
use crate::Result;
use crate::agreement::largest_difference;
use crate::report::Table;

/// Between plain numbers. Whole ones are compared for information: everyone rounds in other places.
const TOLERANCE: f64 = 1e-4;

/// Compares the logits of the first participant with those of each other, into `report`.
///
/// # Errors
/// Another one with plain numbers differs by more than it may, or fails.
pub fn compare(
    participants: &mut [Box<dyn Participant + '_>],
    questions: usize,
    report: &mut Report,
) -> Result<()> {
    let mut answers = Vec::new();
    for participant in &mut *participants {
        let all: Vec<Vec<f32>> =
            (0..questions).map(|index| participant.logits(index)).collect::<Result<_>>()?;
        answers.push((participant.name(), all.concat()));
    }
    let Some(((first, expected), others)) = answers.split_first() else { return Ok(()) };
    let mut table = Table::new(["engine".to_owned(), format!("difference from {first}")]);
    for (name, logits) in others {
        let difference = largest_difference(expected, logits);
        table.line([(*name).to_owned(), format!("{difference:.1e}")]);
        report.largest_difference.insert((*name).to_owned(), difference);
        if name.ends_with("f32") && difference > TOLERANCE {
            return Err(format!(
                "{name} computes something else than ours: its logits differ by {difference:.1e}, more than \
                 {TOLERANCE:.0e}"
            )
            .into());
        }
    }
    let (least, most) = expected
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(least, most), &x| (least.min(x), most.max(x)));
    table.print(&format!("Agreement: {questions} questions, logits from {least:.1} to {most:.1}"));
    Ok(())
}
