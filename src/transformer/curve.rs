//! The loss curve as an SVG: the questions' loss in training and in validation, by step.

use std::fmt::Display;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::metrics::Metrics;
use crate::error::{Error, ErrorKind, Result};

const SIZE: (u32, u32) = (1200, 720);
/// Plotters shrinks font sizes by 1.24.
const FONT: (&str, i32) = ("sans-serif", 28);
const TEXT: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xDD, 0xDD, 0xDD);
// Blue and vermilion of Okabe and Ito, which most eyes tell apart.
const TRAINING: RGBColor = RGBColor(0x00, 0x72, 0xB2);
const VALIDATION: RGBColor = RGBColor(0xD5, 0x5E, 0x00);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = std::result::Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

/// The curve of `metrics`, empty axes where there is none yet.
///
/// # Errors
/// It cannot be drawn.
pub(super) fn svg(metrics: &[Metrics]) -> Result<String> {
    let mut svg = String::new();
    let drawn = draw(metrics, &SVGBackend::with_string(&mut svg, SIZE).into_drawing_area());
    drawn.map_err(|error| failed(&error))?;
    Ok(svg)
}

fn draw<'a>(metrics: &[Metrics], area: &Area<'a>) -> Drawn<'a> {
    let points = |loss: fn(&Metrics) -> Option<f64>| -> Vec<(f64, f64)> {
        let point = |line: &Metrics| Some((line.step as f64, loss(line).filter(|loss| loss.is_finite())?));
        metrics.iter().filter_map(point).collect()
    };
    let training = points(|line| line.question_loss);
    let validation = points(|line| line.validation_loss);
    let best = validation.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
    let last_step = metrics.last().map_or(1, |line| line.step.max(1));
    let losses = training.iter().chain(&validation).map(|point| point.1);
    let (low, high) =
        losses.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), loss| (low.min(loss), high.max(loss)));
    let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
    let room = 0.05 * (high - low).max(0.1);

    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .margin_right(40)
        .x_label_area_size(72)
        .y_label_area_size(110)
        .build_cartesian_2d(0.0..last_step as f64, low - room..high + room)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(2))
        .axis_style(TEXT.stroke_width(2))
        .label_style(FONT.into_font().color(&TEXT))
        .x_labels(8)
        .y_labels(8)
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_label_formatter(&|loss| format!("{loss:.2}"))
        .x_desc("step")
        .y_desc("loss of a question, nats")
        .draw()?;
    let swatch = |colour: RGBColor| {
        move |(x, y): (i32, i32)| PathElement::new([(x, y), (x + 30, y)], colour.stroke_width(4))
    };
    chart
        .draw_series(LineSeries::new(training, TRAINING.stroke_width(2)))?
        .label("training, with dropout")
        .legend(swatch(TRAINING));
    let validation = LineSeries::new(validation, VALIDATION.filled().stroke_width(3)).point_size(5);
    let label = best.map_or("validation".to_owned(), |(step, loss)| {
        format!("validation, lowest {loss:.3} at step {step}")
    });
    chart.draw_series(validation)?.label(label).legend(swatch(VALIDATION));
    // A ring around the lowest.
    chart.draw_series(best.map(|best| Circle::new(best, 11, TEXT.stroke_width(3))))?;
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .margin(16)
        .legend_area_size(44)
        .background_style(WHITE.mix(0.9))
        .border_style(GRID.stroke_width(2))
        .label_font(FONT.into_font().color(&TEXT))
        .draw()?;
    area.present()
}

fn failed(error: &dyn Display) -> Error {
    Error::new(ErrorKind::Data, format!("the loss curve cannot be drawn: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: u64, question_loss: Option<f64>, validation_loss: Option<f64>) -> Metrics {
        Metrics {
            step,
            loss: question_loss,
            question_loss,
            next_loss: None,
            validation_loss,
            validation_hr3: None,
            learning_rate: 1e-3,
            gradient_norm: None,
            tokens_per_s: None,
            secs: 0.0,
        }
    }

    #[test]
    fn a_curve_names_its_lines_and_the_lowest_loss() {
        let fall = |step: u64| 1.2 + 2.6 * (-(step as f64) / 300.0).exp();
        let noise = |step: u64| 0.06 * ((step as f64) * 1.7).sin();
        let lines: Vec<Metrics> = (0..=100)
            .map(|at| {
                let step = 20 * at;
                let overfit = 0.25 * (step as f64 / 2_000.0).powi(2);
                let validation = (step % 200 == 0).then(|| fall(step) + overfit);
                line(step, (step > 0).then(|| fall(step) + noise(step)), validation)
            })
            .collect();
        let svg = svg(&lines).unwrap();
        for part in
            ["training, with dropout", "validation, lowest 1.338 at step 1200", "loss of a question, nats"]
        {
            assert!(svg.contains(part), "{part}");
        }
    }

    #[test]
    fn few_and_odd_lines_do_no_harm() {
        let none: Vec<Metrics> = Vec::new();
        let flat = vec![line(0, None, Some(1.5)), line(5, Some(1.5), Some(1.5))];
        let odd = vec![line(0, None, Some(f64::NAN)), line(5, Some(f64::INFINITY), None)];
        for lines in [none, vec![line(0, None, None)], vec![line(0, None, Some(0.0))], flat, odd] {
            let svg = svg(&lines).unwrap();
            assert!(svg.starts_with("<svg") && !svg.contains("NaN"), "{lines:?}");
        }
    }
}
