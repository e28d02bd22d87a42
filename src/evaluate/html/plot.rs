//! Sections with plots: plain numbers in, one `<svg>` element a plot out, or a file with all plots of a section.
//!
//! Points that are not finite break a line; a plot without a finite point says "no data". Everything is drawn at
//! twice its size on the page, because the backend rounds to whole pixels.

use std::error::Error;
use std::f64::consts::TAU;
use std::ops::Range;

use maud::{Markup, PreEscaped, html};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::markup::no_data;

const WIDTH: u32 = 1000;
const HEIGHT: u32 = 660;
/// Plotters shrinks font sizes by 1.24: 36 is 29 units of the drawing, 14 to 15 pixels on the page.
const FONT: (&str, i32) = ("sans-serif", 36);
const TEXT: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xDD, 0xDD, 0xDD);
/// Of lines to compare with.
const GUIDE: RGBColor = RGBColor(0x77, 0x77, 0x77);

/// How a model is drawn, the same in every plot: a colour, and a shape of marker for print without colours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ink {
    pub(super) colour: RGBColor,
    pub(super) shape: usize,
    pub(super) line: Line,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Line {
    Solid,
    Dashed,
    /// Points that nothing joins.
    None,
}

impl Ink {
    /// For a bound that no model reaches.
    pub(super) const BOUND: Self = Self { colour: GUIDE, shape: 0, line: Line::Dashed };

    /// For the model that stands at `index`. Colours come again after eleven, then with another shape: 44 models differ.
    pub(super) fn of_model(index: usize) -> Self {
        // Six of Okabe and Ito that most eyes tell apart, then darker ones, so that lines without markers differ too.
        const COLOURS: [u32; 11] = [
            0x0072B2, 0xD55E00, 0x009E73, 0xCC79A7, 0xE69F00, 0x56B4E9, 0x882255, 0x000000, 0x8A8A00,
            0x4B2EC4, 0x8C564B,
        ];
        let [_, red, green, blue] = COLOURS[index % COLOURS.len()].to_be_bytes();
        Self { colour: RGBColor(red, green, blue), shape: index % 4, line: Line::Solid }
    }

    /// Corners of the marker around its middle: a circle, a square, a triangle or a diamond.
    fn corners(self, radius: i32) -> impl Iterator<Item = (i32, i32)> + Clone {
        let shapes = [(20, 0.0, 1.0), (4, 0.125, 1.2), (3, 0.75, 1.35), (4, 0.0, 1.25)];
        let (corners, turn, size) = shapes[self.shape];
        (0..corners).map(move |corner| {
            let (y, x) = (TAU * (turn + f64::from(corner) / f64::from(corners))).sin_cos();
            [x, y].map(|place| (size * place * f64::from(radius)).round() as i32).into()
        })
    }

    /// The same in letters, for a legend.
    fn sample(self) -> String {
        let line = match self.line {
            Line::Solid => "─",
            Line::Dashed => "╌",
            Line::None => "",
        };
        format!("{line}{}{line}", ["●", "■", "▲", "◆"][self.shape])
    }

    pub(super) fn swatch(self) -> Markup {
        let RGBColor(red, green, blue) = self.colour;
        let style = format!("color:#{red:02X}{green:02X}{blue:02X}");
        html! { span.swatch aria-hidden="true" style=(style) { (self.sample()) } }
    }
}

/// How an axis writes a mark.
pub(super) type Format = fn(f64) -> String;

/// An axis over the values that it shows, with room before the first and behind the last for their markers.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    label: String,
    range: Range<f64>,
    text: Format,
    /// Instead of numbers at 0, 1, 2, ..
    names: Vec<String>,
    most_marks: usize,
}

impl Axis {
    /// Over every finite one of `values`.
    pub(super) fn over(label: &str, text: Format, values: impl Iterator<Item = f64>) -> Self {
        let finite = values.filter(|value| value.is_finite()).map(|value| (value, value));
        let ends = finite.reduce(|ends, value| (ends.0.min(value.0), ends.1.max(value.1)));
        let (low, high) = ends.unwrap_or((0.0, 1.0));
        // Values that differ by less than this are the same, but for rounding.
        let room = if high - low > 1e-9 * (1.0 + low.abs()) { 0.05 * (high - low) } else { 0.5 };
        Self {
            label: label.to_owned(),
            range: low - room..high + room,
            text,
            names: Vec::new(),
            most_marks: 7,
        }
    }

    /// Over logarithms to the base of ten: a mark for each power of it.
    pub(super) fn powers(label: &str, text: Format, logarithms: impl Iterator<Item = f64>) -> Self {
        let axis = Self::over(label, text, logarithms);
        let most_marks = (axis.range.end - axis.range.start) as usize + 1;
        Self { most_marks, ..axis }
    }

    /// One place for each of `names`.
    pub(super) fn named(label: &str, names: impl Iterator<Item = String>) -> Self {
        let names: Vec<String> = names.collect();
        let range = -0.5..names.len().max(1) as f64 - 0.5;
        let most_marks = names.len().min(12);
        Self { label: label.to_owned(), range, text: |_| String::new(), names, most_marks }
    }

    fn mark(&self, value: f64) -> String {
        let is_place = (value - value.round()).abs() < 1e-6;
        let name = self.names.get(value.round() as usize).filter(|_| is_place);
        name.cloned().unwrap_or_else(|| (self.text)(value))
    }
}

/// A point with the radius of its marker, 0 for none, and whether the marker is filled.
pub(super) type Point = (f64, f64, i32, bool);

/// Points of one model, joined by a line.
#[derive(Debug, Clone)]
pub(super) struct Series {
    /// In the legend, which leaves out a series without a name.
    pub(super) name: String,
    pub(super) ink: Ink,
    pub(super) points: Vec<Point>,
}

/// Lines over two axes.
#[derive(Debug, Clone)]
pub(super) struct Plot {
    pub(super) caption: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    /// A dashed grey line to compare with, cut off at the axes.
    pub(super) guide: Option<[(f64, f64); 2]>,
    /// Drawn in this order, the last on top.
    pub(super) series: Vec<Series>,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<T = ()> = Result<T, Box<dyn Error>>;

/// What `draw` draws, as an `<svg>` of this size.
fn svg(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn) -> Drawn<String> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    draw(&area)?;
    area.present()?;
    drop(area);
    Ok(svg)
}

fn is_finite((x, y, ..): &Point) -> bool {
    x.is_finite() && y.is_finite()
}

impl Plot {
    /// The axis of y covers all points, and `also` these values.
    pub(super) fn new(caption: &str, x: Axis, y: (&str, Format), also: &[f64], series: Vec<Series>) -> Self {
        let values = series.iter().flat_map(|series| &series.points).map(|point| point.1);
        let y = Axis::over(y.0, y.1, values.chain(also.iter().copied()));
        Self { caption: caption.to_owned(), x, y, guide: None, series }
    }

    fn has_data(&self) -> bool {
        self.series.iter().flat_map(|series| &series.points).any(is_finite)
    }

    fn draw(&self, area: &Area<'_>) -> Drawn {
        let Self { x, y, guide, series, .. } = self;
        let mut chart = ChartBuilder::on(area)
            .margin(16)
            .margin_right(40)
            .x_label_area_size(100)
            .y_label_area_size(150)
            .build_cartesian_2d(x.range.clone(), y.range.clone())?;
        let (x_mark, y_mark) = (|value: &f64| x.mark(*value), |value: &f64| y.mark(*value));
        let mut mesh = chart.configure_mesh();
        mesh.x_labels(x.most_marks).y_labels(7).x_label_formatter(&x_mark).y_label_formatter(&y_mark);
        mesh.light_line_style(TRANSPARENT).bold_line_style(GRID.stroke_width(2));
        mesh.axis_style(TEXT.stroke_width(2)).label_style(FONT.into_font().color(&TEXT));
        mesh.x_desc(&x.label).y_desc(&y.label).draw()?;
        let cut = |at: f64, range: &Range<f64>| at.clamp(range.start, range.end);
        let guide = guide.map(|guide| guide.map(|at| (cut(at.0, &x.range), cut(at.1, &y.range))));
        if let Some(guide) = guide.filter(|guide| guide.iter().all(|at| at.0.is_finite() && at.1.is_finite()))
        {
            chart.draw_series(DashedLineSeries::new(guide, 12, 8, GUIDE.stroke_width(3)))?;
        }
        for Series { ink, points, .. } in series {
            let rim = ink.colour.stroke_width(4);
            for part in points.split(|point| !is_finite(point)).filter(|part| part.len() > 1) {
                let places = part.iter().map(|point| (point.0, point.1));
                match ink.line {
                    Line::Solid => drop(chart.draw_series(LineSeries::new(places, rim))?),
                    Line::Dashed => drop(chart.draw_series(DashedLineSeries::new(places, 16, 10, rim))?),
                    Line::None => {}
                }
            }
            let marked = points.iter().filter(|point| is_finite(point) && point.2 > 0);
            chart.draw_series(marked.map(|&(x, y, radius, filled)| {
                let corners = ink.corners(radius);
                // Past the first corner, or the joint would show.
                let around = corners.clone().chain(corners.clone().take(2)).collect::<Vec<_>>();
                let fill = if filled { ink.colour } else { WHITE }.filled();
                let marker = Polygon::new(corners.collect::<Vec<_>>(), fill);
                EmptyElement::at((x, y)) + marker + PathElement::new(around, rim)
            }))?;
        }
        Ok(())
    }
}

/// A section of the page: words, and plots that belong together under one legend.
#[derive(Debug, Clone)]
pub(super) struct Section {
    pub(super) title: &'static str,
    /// Of the plots by themselves; empty for none.
    pub(super) file: &'static str,
    pub(super) words: Markup,
    pub(super) plots: Vec<Plot>,
}

impl Section {
    pub(super) fn new(title: &'static str, words: Markup) -> Self {
        Self { title, file: "", words, plots: Vec::new() }
    }

    /// The legend: the first plot has every series that the others have.
    fn legend(&self) -> Vec<&Series> {
        let series = self.plots.iter().take(1).flat_map(|plot| &plot.series);
        series.filter(|series| !series.name.is_empty()).collect()
    }

    /// A single plot stands beside the words, several stand below them two in a row.
    pub(super) fn html(&self) -> Markup {
        let words = html! {
            (self.words)
            @if !self.legend().is_empty() {
                ul.legend { @for series in self.legend() { li { (series.ink.swatch()) (series.name) } } }
            }
        };
        let figures = html! {
            @for plot in &self.plots {
                figure role="group" aria-label=(plot.caption) {
                    figcaption { (plot.caption) }
                    @match svg((WIDTH, HEIGHT), |area| plot.draw(area)) {
                        _ if !plot.has_data() => (no_data()),
                        Ok(svg) => (PreEscaped(svg)),
                        Err(error) => p.none { "this plot could not be drawn: " (error) },
                    }
                }
            }
        };
        html! {
            section {
                h2 { (self.title) }
                @if self.plots.len() == 1 { div.pair { div { (words) } (figures) } }
                @else { (words) @if !self.plots.is_empty() { div.pair { (figures) } } }
            }
        }
    }

    /// An SVG file that needs nothing but itself: title, those plots that have data, and the legend beside them. `None` where
    /// none has.
    pub(super) fn svg(&self) -> Option<String> {
        let plots: Vec<&Plot> = self.plots.iter().filter(|plot| plot.has_data()).collect();
        if plots.is_empty() {
            return None;
        }
        let (columns, rows) = (plots.len().min(2), plots.len().div_ceil(2));
        let longest = self.legend().iter().map(|series| series.name.chars().count()).max().unwrap_or(0);
        let plots_width = WIDTH * columns as u32;
        let (width, height) = (plots_width + 150 + 17 * longest as u32, 110 + (HEIGHT + 60) * rows as u32);
        let drawn = svg((width, height), |area| {
            let bold = |size: i32| ("sans-serif", size, FontStyle::Bold).into_font().color(&TEXT);
            area.fill(&WHITE)?;
            let area = area.margin(20, 0, 0, 0);
            let (left, right) = area.titled(self.title, bold(46))?.split_horizontally(plots_width);
            for (area, plot) in left.split_evenly((rows, columns)).iter().zip(plots) {
                plot.draw(&area.titled(&plot.caption, bold(36))?)?;
            }
            // The library writes a legend into a plot, where it would hide lines: this plot is empty.
            let mut chart = ChartBuilder::on(&right).margin_top(60).build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
            for Series { name, ink, .. } in self.legend() {
                let series = chart.draw_series(std::iter::empty::<Circle<(f64, f64), i32>>())?.label(name);
                let style = FONT.into_font().color(&ink.colour);
                series.legend(move |(x, y)| Text::new(ink.sample(), (x, y - 16), style.clone()));
            }
            let mut labels = chart.configure_series_labels();
            labels.position(SeriesLabelPosition::UpperLeft).legend_area_size(100);
            Ok(labels.label_font(FONT.into_font().color(&TEXT)).draw()?)
        });
        // Drawn at twice its size, as on the page.
        let size = |scale: u32| format!("width=\"{}\" height=\"{}\"", width / scale, height / scale);
        drawn.ok().map(|svg| svg.replacen(&size(1), &size(2), 1))
    }
}
