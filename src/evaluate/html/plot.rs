//! Plots for the HTML report: plain numbers in, one `<svg>` element out.
//!
//! Points that are not finite break a line; a plot without a finite point says "no data". Everything is drawn at
//! twice its size on the page, because the backend rounds to whole pixels.

use std::fmt::Display;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::markup::{NO_DATA, escape};

const WIDTH: u32 = 1000;
const HEIGHT: u32 = 660;
/// Plotters shrinks font sizes by 1.24: 36 is 29 units of the drawing, 14 to 15 pixels on the page.
const FONT: (&str, i32) = ("sans-serif", 36);
const BAR_FONT: (&str, i32) = ("sans-serif", 32);
/// Width of a letter of `BAR_FONT`, rather too wide: the backend cannot measure the reader's font.
const LETTER: u32 = 15;
const TEXT: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xDD, 0xDD, 0xDD);
const GUIDE: RGBColor = RGBColor(0x77, 0x77, 0x77);

/// How a model is drawn, the same in every plot: colours of Okabe and Ito that most eyes tell apart, and a shape of
/// marker for print without colours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ink {
    colour: RGBColor,
    shape: Shape,
    dashed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
}

impl Ink {
    /// For a bound that is no contender.
    pub(super) const BOUND: Self = Self { colour: GUIDE, shape: Shape::Circle, dashed: true };

    /// For the model that stands at `index`; colours come again after six, then with another shape.
    pub(super) fn of_model(index: usize) -> Self {
        const COLOURS: [RGBColor; 6] = [
            RGBColor(0x00, 0x72, 0xB2),
            RGBColor(0xD5, 0x5E, 0x00),
            RGBColor(0x00, 0x9E, 0x73),
            RGBColor(0xCC, 0x79, 0xA7),
            RGBColor(0xE6, 0x9F, 0x00),
            RGBColor(0x56, 0xB4, 0xE9),
        ];
        const SHAPES: [Shape; 4] = [Shape::Circle, Shape::Square, Shape::Triangle, Shape::Diamond];
        let shape = SHAPES[(index + index / COLOURS.len()) % SHAPES.len()];
        Self { colour: COLOURS[index % COLOURS.len()], shape, dashed: false }
    }

    /// A piece of line with its marker, for a legend.
    pub(super) fn swatch(self) -> String {
        let RGBColor(red, green, blue) = self.colour;
        let marker = if self.shape == Shape::Circle {
            "<circle cx=\"16\" cy=\"8\" r=\"5\"/>".to_owned()
        } else {
            let corners = self.corners(5).map(|(x, y)| format!("{},{}", x + 16, y + 8));
            format!("<polygon points=\"{}\"/>", corners.join(" "))
        };
        let dashes = if self.dashed { " stroke-dasharray=\"5 3\"" } else { "" };
        let colour = format!("#{red:02X}{green:02X}{blue:02X}");
        format!(
            "<svg class=\"swatch\" viewBox=\"0 0 32 16\" aria-hidden=\"true\" fill=\"{colour}\" stroke=\"{colour}\">\
             <line x1=\"0\" y1=\"8\" x2=\"32\" y2=\"8\" stroke-width=\"2\"{dashes}/>{marker}</svg>"
        )
    }

    /// Corners of the marker around its middle; those of a square for a circle.
    fn corners(self, radius: i32) -> [(i32, i32); 4] {
        let (far, near) = (radius * 5 / 4, radius * 7 / 8);
        match self.shape {
            Shape::Circle | Shape::Square => [(-near, -near), (near, -near), (near, near), (-near, near)],
            Shape::Triangle => [(0, -far), (far, near), (0, near), (-far, near)],
            Shape::Diamond => [(0, -far), (far, 0), (0, far), (-far, 0)],
        }
    }
}

/// An axis with its marks.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    label: String,
    range: Range<f64>,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Percents, over every finite one of `values` and rounded outwards to a mark; at most about six marks.
    pub(super) fn shares(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = if high > low {
            (low, high)
        } else {
            (0.0, if low > 0.0 && low.is_finite() { low } else { 1.0 })
        };
        let step = round_step((high - low) / 5.0);
        let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
        let decimals = (-step.log10() - 2.0 - 1e-9).ceil().max(0.0) as usize;
        let ticks = (0..=(last - first) as usize).map(|mark| {
            let value = (first + mark as f64) * step;
            (value, format!("{:.decimals$} %", 100.0 * value))
        });
        Self { label: label.to_owned(), range: first * step..last * step, ticks: ticks.collect() }
    }

    /// One place for each of `labels`, at 0, 1, 2, ..
    pub(super) fn categories(label: &str, labels: impl Iterator<Item = String>) -> Self {
        let ticks: Vec<(f64, String)> = labels.enumerate().map(|(at, label)| (at as f64, label)).collect();
        Self { label: label.to_owned(), range: -0.5..ticks.len().max(1) as f64 - 0.5, ticks }
    }

    /// Hours of the day, a mark every three.
    pub(super) fn hours(label: &str) -> Self {
        let ticks = (0..24).step_by(3).map(|hour| (f64::from(hour), format!("{hour} h")));
        Self { label: label.to_owned(), range: -0.5..23.5, ticks: ticks.collect() }
    }
}

// An axis of our own, so that marks stand where we say and not where the library would put them.
impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        let light = hint.weight().allow_light_points();
        if light { Vec::new() } else { self.ticks.iter().map(|tick| tick.0).collect() }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        let tick = self.ticks.iter().find(|tick| tick.0 == *value);
        tick.map(|tick| tick.1.clone()).unwrap_or_default()
    }
}

/// The least of 1, 2, 5, 10, .. times a power of ten that is not below `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// A point of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    /// Of its marker, in units of the drawing; 0 for none.
    pub(super) radius: u32,
    /// Whether the marker is filled.
    pub(super) filled: bool,
}

impl Point {
    fn is_finite(&self) -> bool {
        self.x.is_finite() && self.y.is_finite()
    }
}

/// Points of one model, joined by a line.
#[derive(Debug, Clone)]
pub(super) struct Series {
    pub(super) ink: Ink,
    pub(super) points: Vec<Point>,
}

/// Lines over two axes.
#[derive(Debug, Clone)]
pub(super) struct Plot {
    pub(super) x: Axis,
    pub(super) y: Axis,
    /// Dashed grey lines to compare with.
    pub(super) guides: Vec<[(f64, f64); 2]>,
    /// Drawn in this order, the last on top.
    pub(super) series: Vec<Series>,
}

/// A horizontal bar.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) share: f64,
    /// Written at its end.
    pub(super) text: String,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

impl Plot {
    /// The plot as an `<svg>`.
    pub(super) fn svg(&self) -> String {
        if !self.series.iter().flat_map(|series| &series.points).any(Point::is_finite) {
            return NO_DATA.to_owned();
        }
        let mut svg = String::new();
        let drawn = self.draw(&SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area());
        drawn.map_or_else(failed, |()| svg)
    }

    fn draw<'a>(&self, area: &Area<'a>) -> Drawn<'a> {
        let Self { x, y, guides, series } = self;
        let mut chart = ChartBuilder::on(area)
            .margin(16)
            .margin_right(40)
            .x_label_area_size(100)
            .y_label_area_size(150)
            .build_cartesian_2d(x.clone(), y.clone())?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID.stroke_width(2))
            .axis_style(TEXT.stroke_width(2))
            .label_style(FONT.into_font().color(&TEXT))
            .x_desc(&x.label)
            .y_desc(&y.label)
            .draw()?;
        for guide in guides {
            chart.draw_series(DashedLineSeries::new(*guide, 12, 8, GUIDE.stroke_width(3)))?;
        }
        for Series { ink, points } in series {
            let line = ink.colour.stroke_width(4);
            for part in points.split(|point| !point.is_finite()).filter(|part| !part.is_empty()) {
                let places = part.iter().map(|point| (point.x, point.y));
                if ink.dashed {
                    chart.draw_series(DashedLineSeries::new(places, 16, 10, line))?;
                } else {
                    chart.draw_series(LineSeries::new(places, line))?;
                }
            }
            let marked = || points.iter().filter(|point| point.is_finite() && point.radius > 0);
            // Filled with the model's colour, or white with a rim of it.
            let fill = |point: &Point| if point.filled { ink.colour } else { WHITE }.filled();
            if ink.shape == Shape::Circle {
                chart.draw_series(marked().map(|point| {
                    EmptyElement::at((point.x, point.y))
                        + Circle::new((0, 0), point.radius, fill(point))
                        + Circle::new((0, 0), point.radius, line)
                }))?;
            } else {
                chart.draw_series(marked().map(|point| {
                    let corners = ink.corners(point.radius as i32);
                    // Past the first corner, or the joint would show.
                    let around = [0, 1, 2, 3, 0, 1].map(|corner| corners[corner]);
                    EmptyElement::at((point.x, point.y))
                        + Polygon::new(corners, fill(point))
                        + PathElement::new(around, line)
                }))?;
            }
        }
        area.present()
    }
}

/// Horizontal bars, the first on top, as an `<svg>`.
pub(super) fn bars(label: &str, bars: &[Bar]) -> String {
    let bars: Vec<&Bar> = bars.iter().filter(|bar| bar.share.is_finite()).collect();
    if bars.is_empty() {
        return NO_DATA.to_owned();
    }
    let mut svg = String::new();
    let height = 150 + 48 * bars.len() as u32;
    let drawn =
        draw_bars(label, &bars, &SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area());
    drawn.map_or_else(failed, |()| svg)
}

fn draw_bars<'a>(label: &str, bars: &[&Bar], area: &Area<'a>) -> Drawn<'a> {
    let names = Axis::categories("", bars.iter().rev().map(|bar| cut(&bar.name)));
    let mut shares = Axis::shares(label, bars.iter().map(|bar| bar.share).chain([0.0]));
    let longest = |text: &dyn Fn(&Bar) -> usize| bars.iter().map(|bar| text(bar)).max().unwrap_or(0) as u32;
    let name_width = 40 + LETTER * longest(&|bar| cut(&bar.name).chars().count());
    let text_width = 20 + LETTER * longest(&|bar| bar.text.chars().count());
    // Room on the right for the words at the end of the longest bar, but a third at least for the bars.
    let room = f64::from(WIDTH.saturating_sub(name_width).max(3));
    shares.range.end *= room / (room - f64::from(text_width)).max(room / 3.0);
    let ink = Ink::of_model(0).colour;
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(100)
        .y_label_area_size(name_width)
        .build_cartesian_2d(shares, names)?;
    chart
        .configure_mesh()
        .disable_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(2))
        .axis_style(TEXT.stroke_width(2))
        .label_style(BAR_FONT.into_font().color(&TEXT))
        .x_desc(label)
        .draw()?;
    let rows = || bars.iter().rev().enumerate().map(|(row, bar)| (row as f64, bar));
    let bar =
        |(row, bar): (f64, &&Bar)| Rectangle::new([(0.0, row - 0.36), (bar.share, row + 0.36)], ink.filled());
    chart.draw_series(rows().map(bar))?;
    let style = BAR_FONT.into_font().color(&TEXT).pos(Pos::new(HPos::Left, VPos::Center));
    chart.draw_series(rows().map(|(row, bar)| {
        EmptyElement::<(f64, f64), SVGBackend<'_>>::at((bar.share.max(0.0), row))
            + Text::new(bar.text.clone(), (10, 0), style.clone())
    }))?;
    area.present()
}

/// `name` where it is short, else its start.
fn cut(name: &str) -> String {
    const MOST: usize = 32;
    if name.chars().count() <= MOST {
        return name.to_owned();
    }
    name.chars().take(MOST - 1).chain(['…']).collect()
}

fn failed(error: impl Display) -> String {
    let error = escape(&error.to_string());
    format!("<p class=\"none\">this plot could not be drawn: {error}</p>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_numbers_around_the_values() {
        let marks = |values: &[f64]| {
            let axis = Axis::shares("", values.iter().copied());
            let texts: Vec<String> = axis.ticks.iter().map(|tick| tick.1.clone()).collect();
            texts.join(" ")
        };
        let cases: [(&[f64], &str); 7] = [
            (&[0.0, 1.0], "0 % 20 % 40 % 60 % 80 % 100 %"),
            (&[0.0, 0.31, f64::NAN], "0 % 10 % 20 % 30 % 40 %"),
            (&[0.0, 0.004], "0.0 % 0.1 % 0.2 % 0.3 % 0.4 %"),
            (&[0.62, 1.0], "60 % 70 % 80 % 90 % 100 %"),
            (&[], "0 % 20 % 40 % 60 % 80 % 100 %"),
            (&[f64::INFINITY, 0.0], "0 % 20 % 40 % 60 % 80 % 100 %"),
            (&[0.5], "0 % 10 % 20 % 30 % 40 % 50 %"),
        ];
        for (values, expected) in cases {
            assert_eq!(marks(values), expected, "{values:?}");
        }
    }

    #[test]
    fn values_at_the_edges_of_numbers_do_no_harm() {
        let bar = |share| Bar { name: "n".repeat(80), share, text: "t".repeat(80) };
        for share in [0.0, -1.0, 1e-300, 1e300, f64::MIN_POSITIVE / 4.0, f64::NAN] {
            assert!(bars("label", &[bar(share), bar(0.0)]).starts_with("<svg"), "{share}");
        }
        assert_eq!(bars("label", &[bar(f64::NAN)]), NO_DATA);
    }

    #[test]
    fn the_first_colours_and_all_shapes_differ() {
        let inks: Vec<Ink> = (0..12).map(Ink::of_model).chain([Ink::BOUND]).collect();
        for (index, ink) in inks.iter().enumerate() {
            assert!(!inks[..index].contains(ink), "{index}");
        }
    }
}
