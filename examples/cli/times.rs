//! Times of answers as a picture.

use std::fmt::Display;
use std::path::Path;

use foretap::storage::write_atomically;
use foretap::{Error, ErrorKind};
use hdrhistogram::Histogram;
use plotters::prelude::*;

const SIZE: (u32, u32) = (1200, 600);
const FONT: (&str, i32) = ("sans-serif", 26);
const TEXT: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xDD, 0xDD, 0xDD);
const BAR: RGBColor = RGBColor(0x00, 0x72, 0xB2);
const MARK: RGBColor = RGBColor(0xD5, 0x5E, 0x00);
/// Bars between two powers of ten.
const BARS: f64 = 20.0;

/// Draws how often an answer took how long, on a logarithmic scale of microseconds, with median, 99 % and 99.9 %.
pub fn draw_times(file: &Path, nanos: &Histogram<u64>) -> foretap::Result<()> {
    let mut svg = String::new();
    draw(nanos, &SVGBackend::with_string(&mut svg, SIZE).into_drawing_area())
        .map_err(|error| failed(&*error))?;
    write_atomically(file, |out| out.write_all(svg.as_bytes()))
}

fn draw(
    nanos: &Histogram<u64>,
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
) -> Result<(), Box<dyn std::error::Error>> {
    let place = |nanos: u64| (nanos.max(1) as f64 / 1_000.0).log10();
    let bar = |nanos: u64| (place(nanos) * BARS).floor() as i64;
    let mut counts = std::collections::BTreeMap::<i64, u64>::new();
    for step in nanos.iter_recorded() {
        *counts.entry(bar(step.value_iterated_to())).or_default() += step.count_at_value();
    }
    let most = counts.values().copied().max().unwrap_or(1) as f64 / nanos.len().max(1) as f64;
    let (from, to) = (place(nanos.min()).floor(), place(nanos.max()).ceil().max(3.0));

    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .margin_right(80)
        .x_label_area_size(72)
        .y_label_area_size(110)
        .build_cartesian_2d(from..to, 0.0..1.1 * most)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(2))
        .axis_style(TEXT.stroke_width(2))
        .label_style(FONT.into_font().color(&TEXT))
        .x_labels((to - from) as usize + 1)
        .x_label_formatter(&|power| format!("{} µs", 10_f64.powf(*power)))
        .y_label_formatter(&|share| format!("{:.0} %", 100.0 * share))
        .x_desc("time of a whole answer")
        .y_desc("answers")
        .draw()?;
    let total = nanos.len().max(1) as f64;
    chart.draw_series(counts.iter().map(|(&bar, &count)| {
        let (left, right) = (bar as f64 / BARS, (bar + 1) as f64 / BARS);
        Rectangle::new([(left, 0.0), (right, count as f64 / total)], BAR.filled())
    }))?;
    // Below each other, so that near ones do not overlap.
    for (name, quantile, height) in [("median", 0.5, 1.04), ("99 %", 0.99, 0.97), ("99.9 %", 0.999, 0.9)] {
        let value = nanos.value_at_quantile(quantile);
        let label = format!("{name}: {:.0} µs", value as f64 / 1_000.0);
        let line = [(place(value), 0.0), (place(value), 1.1 * most)];
        chart.draw_series([PathElement::new(line, MARK.stroke_width(3))])?;
        chart.draw_series([Text::new(
            label,
            (place(value) + 0.02, height * most),
            FONT.into_font().color(&TEXT),
        )])?;
    }
    area.present()?;
    Ok(())
}

fn failed(error: &dyn Display) -> Error {
    Error::new(ErrorKind::Data, format!("the times cannot be drawn: {error}"))
}
