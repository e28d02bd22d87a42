//! The report's smaller tables as text: what was chosen and what merely resumed, and what is expected.

use std::fmt::{Formatter, Result};

use super::as_shipped::LearningTime;
use super::figure::figure;
use super::report::{ModelReport, Regret, Report, SubsetMetrics};

impl Report {
    /// Each model where the answer was chosen, and where it resumed the app that was last in front.
    pub(super) fn write_parts(f: &mut Formatter<'_>, models: &[ModelReport]) -> Result {
        let Some(first) = models.first().filter(|model| model.metrics.questions > 0) else { return Ok(()) };
        let (chosen, resumed) = (first.chosen, first.resumed);
        if resumed.questions == 0 {
            return writeln!(f, "No answer resumes the app that was last in front: all are chosen.");
        }
        writeln!(
            f,
            "\nchosen: {:.1} % of the answers differ from the app that was last in front ({}); resumed: {:.1} % are it ({})",
            100.0 * chosen.share,
            chosen.questions,
            100.0 * resumed.share,
            resumed.questions
        )?;
        writeln!(f, "{:<13} {:>32}   {:>32}", "", "chosen", "resumed")?;
        let heads = format!("{:>7} {:>7} {:>7} {:>8}", "HR@1", "HR@3", "HR@5", "log loss");
        writeln!(f, "{:<13} {heads}   {heads}", "model")?;
        let cells = |part: &SubsetMetrics| {
            let [hr1, hr3, hr5, log_loss] = [part.hr1, part.hr3, part.hr5, part.log_loss].map(finite);
            format!("{hr1:>7} {hr3:>7} {hr5:>7} {log_loss:>8}")
        };
        for model in models {
            writeln!(f, "{:<13} {}   {}", model.name, cells(&model.chosen), cells(&model.resumed))?;
        }
        let (paused, new) = (first.after_pause, first.new_apps);
        writeln!(
            f,
            "\nafter a pause: {:.1} % of the questions come after an hour or more without use ({}); new: {:.1} % are answered by an app opened for the \
             first time ({})",
            100.0 * paused.share,
            paused.questions,
            100.0 * new.share,
            new.questions
        )?;
        writeln!(f, "{:<13} {:>32}   {:>8}", "", "after a pause", "new")?;
        writeln!(f, "{:<13} {heads}   {:>8}", "model", "log loss")?;
        for model in models {
            let of_new = finite(model.new_apps.log_loss);
            writeln!(f, "{:<13} {}   {of_new:>8}", model.name, cells(&model.after_pause))?;
        }
        Ok(())
    }

    /// The log loss of each model, and its hits, by how long users were known; where whole logs were tested.
    pub(super) fn write_curves(f: &mut Formatter<'_>, models: &[ModelReport]) -> Result {
        let curves =
            || models.iter().filter_map(|model| Some((model, &model.learning_curve.as_ref()?.stretches)));
        let Some((_, first)) = curves().next() else { return Ok(()) };
        writeln!(f, "\nby the time since a user's first event, HR@1 and log loss:")?;
        let names: String = curves().map(|(model, _)| format!(" {:>15}", model.name)).collect();
        writeln!(f, "{:<8} {:>9}{names}", "until", "questions")?;
        for (row, at) in first.iter().enumerate() {
            let LearningTime::Until(until) = at.day else { continue };
            let cells: String = curves()
                .filter_map(|(_, stretches)| stretches.get(row))
                .map(|at| format!(" {:>7} {:>7}", figure(at.hr1, 3), figure(at.log_loss, 3)))
                .collect();
            writeln!(f, "{until:<8} {:>9}{cells}", at.questions)?;
        }
        Ok(())
    }

    /// What is expected of each model on the true probabilities, where they are known.
    pub(super) fn write_expected(f: &mut Formatter<'_>, models: &[ModelReport]) -> Result {
        let known = || models.iter().filter_map(|model| Some((model, model.expected?, model.regret?)));
        let Some((_, first, _)) = known().next() else { return Ok(()) };
        writeln!(
            f,
            "\nexpected, on the true probabilities of {} questions; the least possible log loss is their entropy, {}",
            first.questions,
            figure(first.entropy, 4)
        )?;
        writeln!(
            f,
            "{:<13} {:>7} {:>7} {:>7} {:>9} {:>8} {:>17}",
            "model", "HR@1", "HR@3", "HR@5", "log loss", "regret", "95 % interval"
        )?;
        for (model, expected, regret) in known() {
            writeln!(
                f,
                "{:<13} {:>7} {:>7} {:>7} {:>9} {:>8} {:>17}",
                model.name,
                figure(expected.hr1, 4),
                figure(expected.hr3, 4),
                figure(expected.hr5, 4),
                figure(expected.log_loss, 4),
                figure(regret.mean, 4),
                interval(&regret)
            )?;
        }
        Ok(())
    }
}

fn interval(regret: &Regret) -> String {
    match (regret.low, regret.high) {
        (Some(low), Some(high)) => format!("{} - {}", figure(low, 4), figure(high, 4)),
        _ => "-".to_owned(),
    }
}

/// A figure with three decimals; a dash where it is no number.
fn finite(value: f64) -> String {
    if value.is_finite() { figure(value, 3) } else { "-".to_owned() }
}
