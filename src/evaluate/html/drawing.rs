//! Plots that belong together under one legend: on the page, and as an SVG file of their own.

use super::ink::{Legend, legend};
use super::markup::{escape, figure};
use super::plot::{HEIGHT, LETTER, Plot, WIDTH};

/// Plots, each with a caption, two in a row.
#[derive(Debug, Clone)]
pub(super) struct Drawing {
    pub(super) title: String,
    pub(super) legend: Legend,
    pub(super) panels: Vec<(String, Plot)>,
}

const MARGIN: u32 = 32;
const TITLE_HEIGHT: u32 = 64;
const COLUMN_GAP: u32 = 32;
const CAPTION_HEIGHT: u32 = 48;
const LEGEND_HEIGHT: u32 = 48;
/// Of a sample in the legend: its own width, twice, and a gap.
const SAMPLE_WIDTH: u32 = 80;
/// Between entries of the legend.
const ENTRY_GAP: u32 = 40;

impl Drawing {
    /// Legend and plots for the page, whose section has the title.
    pub(super) fn html(&self) -> String {
        format!("{}<div class=\"pair\">{}</div>\n", legend(&self.legend), self.figures())
    }

    /// The plots alone, for the page.
    pub(super) fn figures(&self) -> String {
        self.panels.iter().map(|(caption, plot)| figure(caption, &plot.svg())).collect()
    }

    /// An SVG file that needs nothing but itself: title, legend and those plots that have data. `None` where none has.
    pub(super) fn file(&self) -> Option<String> {
        let drawn = |(caption, plot): &(String, Plot)| Some((caption.clone(), plot.try_svg().ok()??));
        let panels: Vec<(String, String)> = self.panels.iter().filter_map(drawn).collect();
        let columns = panels.len().min(2);
        if columns == 0 {
            return None;
        }
        let width = (WIDTH + COLUMN_GAP) * columns as u32;
        let (legend, legend_height) = self.legend_rows(width);
        let top = MARGIN + TITLE_HEIGHT + legend_height;
        let panel_height = CAPTION_HEIGHT + HEIGHT;
        let panel = |(index, (caption, plot)): (usize, &(String, String))| {
            let x = (WIDTH + COLUMN_GAP) * (index % columns) as u32;
            let y = top + panel_height * (index / columns) as u32;
            let caption = text(x + MARGIN, y + 34, "30\" font-weight=\"600", caption);
            format!("{caption}<g transform=\"translate({x} {})\">\n{plot}</g>\n", y + CAPTION_HEIGHT)
        };
        let body: String = panels.iter().enumerate().map(panel).collect();
        let height = top + panel_height * panels.len().div_ceil(columns) as u32 + MARGIN / 2;
        let title = escape(&self.title);
        Some(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" viewBox=\"0 0 {width} {height}\" \
             role=\"img\">\n<title>{title}</title>\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#FFFFFF\"/>\n{}{legend}{body}</svg>\n",
            // Drawn at twice its size, as on the page.
            width / 2,
            height / 2,
            text(MARGIN, MARGIN + 36, "38\" font-weight=\"600", &self.title),
        ))
    }

    /// The legend as elements of a drawing under the title, and its height.
    fn legend_rows(&self, width: u32) -> (String, u32) {
        let (mut x, mut y, mut rows) = (MARGIN, MARGIN + TITLE_HEIGHT, String::new());
        for (ink, name) in &self.legend {
            let entry_width = SAMPLE_WIDTH + LETTER * name.chars().count() as u32;
            if x > MARGIN && x + entry_width > width - MARGIN {
                (x, y) = (MARGIN, y + LEGEND_HEIGHT);
            }
            let sample = ink.sample();
            rows.push_str(&format!("<g transform=\"translate({x} {}) scale(2)\">{sample}</g>\n", y + 4));
            rows.push_str(&text(x + SAMPLE_WIDTH, y + 30, "28", name));
            x += entry_width + ENTRY_GAP;
        }
        let height = if self.legend.is_empty() { 0 } else { y + LEGEND_HEIGHT - MARGIN - TITLE_HEIGHT };
        (rows, height)
    }
}

fn text(x: u32, y: u32, size: &str, text: &str) -> String {
    let text = escape(text);
    format!(
        "<text x=\"{x}\" y=\"{y}\" font-family=\"system-ui, sans-serif\" font-size=\"{size}\" \
         fill=\"#222222\">{text}</text>\n"
    )
}
