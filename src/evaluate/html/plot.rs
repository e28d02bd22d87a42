//! Plots for the HTML report: plain numbers in, one `<svg>` element out.
//!
//! Points that are not finite break a line; a plot without a finite point says "no data". Everything is drawn at
//! twice its size on the page, because the backend rounds to whole pixels.

use std::fmt::Display;

use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::Axis;
use super::ink::{GUIDE, Ink, Line, Shape};
use super::labels::{self, Label};
use super::markup::{NO_DATA, escape};

pub(super) const WIDTH: u32 = 1000;
pub(super) const HEIGHT: u32 = 660;
/// Plotters shrinks font sizes by 1.24: 36 is 29 units of the drawing, 14 to 15 pixels on the page.
const FONT: (&str, i32) = ("sans-serif", 36);
const BAR_FONT: (&str, i32) = ("sans-serif", 32);
/// Width of a letter of `BAR_FONT`, rather too wide: the backend cannot measure the reader's font.
pub(super) const LETTER: u32 = 15;
const TEXT: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xDD, 0xDD, 0xDD);

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
    /// Written beside its first point.
    pub(super) name: Option<String>,
}

impl Series {
    pub(super) fn new(ink: Ink, points: Vec<Point>) -> Self {
        Self { ink, points, name: None }
    }
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
type Chart<'c, 'a> = ChartContext<'c, SVGBackend<'a>, Cartesian2d<Axis, Axis>>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

impl Plot {
    /// The plot as an `<svg>`, or in words why there is none.
    pub(super) fn svg(&self) -> String {
        match self.try_svg() {
            Ok(svg) => svg.unwrap_or_else(|| NO_DATA.to_owned()),
            Err(error) => failed(error),
        }
    }

    /// The plot as an `<svg>`; `None` without a point.
    pub(super) fn try_svg(&self) -> Result<Option<String>, String> {
        if !self.series.iter().flat_map(|series| &series.points).any(Point::is_finite) {
            return Ok(None);
        }
        let mut svg = String::new();
        let drawn = self.draw(&SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area());
        drawn.map(|()| Some(svg)).map_err(|error| error.to_string())
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
        let is_finite = |guide: &&[(f64, f64); 2]| guide.iter().all(|(x, y)| x.is_finite() && y.is_finite());
        for guide in guides.iter().filter(is_finite) {
            chart.draw_series(DashedLineSeries::new(*guide, 12, 8, GUIDE.stroke_width(3)))?;
        }
        for series in series {
            draw_series(&mut chart, series)?;
        }
        draw_names(area, &chart, series)?;
        area.present()
    }
}

fn draw_series<'a>(chart: &mut Chart<'_, 'a>, Series { ink, points, .. }: &Series) -> Drawn<'a> {
    let line = ink.colour.stroke_width(4);
    for part in points.split(|point| !point.is_finite()).filter(|part| !part.is_empty()) {
        let places = part.iter().map(|point| (point.x, point.y));
        match ink.line {
            Line::Solid => {
                chart.draw_series(LineSeries::new(places, line))?;
            }
            Line::Dashed => {
                chart.draw_series(DashedLineSeries::new(places, 16, 10, line))?;
            }
            Line::None => {}
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
    Ok(())
}

/// Writes the names of those series that have one beside their first points.
fn draw_names<'a>(area: &Area<'a>, chart: &Chart<'_, 'a>, series: &[Series]) -> Drawn<'a> {
    let place = |point: &Point| chart.backend_coord(&(point.x, point.y));
    let label = |series: &Series| {
        let (x, y) = place(series.points.iter().find(|point| point.is_finite())?);
        Some(Label { x, y, name: cut(series.name.as_deref()?) })
    };
    let names: Vec<Label> = series.iter().filter_map(label).collect();
    let points = series.iter().flat_map(|series| &series.points).filter(|point| point.is_finite());
    let taken: Vec<(i32, i32)> = points.map(place).collect();
    let (x, y) = chart.plotting_area().get_pixel_range();
    let places = labels::place(&names, &taken, [x.start, y.start, x.end, y.end], LETTER as i32);
    let style = BAR_FONT.into_font().color(&TEXT).pos(Pos::new(HPos::Left, VPos::Center));
    names.iter().zip(places).try_for_each(|(label, place)| area.draw_text(&label.name, &style, place))
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
pub(super) fn cut(name: &str) -> String {
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
    fn values_at_the_edges_of_numbers_do_no_harm() {
        let bar = |share| Bar { name: "n".repeat(80), share, text: "t".repeat(80) };
        for share in [0.0, -1.0, 1e-300, 1e300, f64::MIN_POSITIVE / 4.0, f64::NAN] {
            assert!(bars("label", &[bar(share), bar(0.0)]).starts_with("<svg"), "{share}");
        }
        assert_eq!(bars("label", &[bar(f64::NAN)]), NO_DATA);
    }
}
