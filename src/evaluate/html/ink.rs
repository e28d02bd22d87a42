//! How a model is drawn, the same in every plot, and the legend that says so.

use plotters::style::RGBColor;

use super::markup::escape;

/// Of lines to compare with.
pub(super) const GUIDE: RGBColor = RGBColor(0x77, 0x77, 0x77);

/// A colour, and a shape of marker for print without colours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ink {
    pub(super) colour: RGBColor,
    pub(super) shape: Shape,
    pub(super) line: Line,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Line {
    Solid,
    Dashed,
    /// Points that nothing joins.
    None,
}

impl Ink {
    /// For a bound that is no contender.
    pub(super) const BOUND: Self = Self { colour: GUIDE, shape: Shape::Circle, line: Line::Dashed };

    /// For the model that stands at `index`. Colours come again after eleven, then with another shape.
    pub(super) fn of_model(index: usize) -> Self {
        // Six of Okabe and Ito that most eyes tell apart, then darker ones, so that lines without markers differ too.
        const COLOURS: [RGBColor; 11] = [
            RGBColor(0x00, 0x72, 0xB2),
            RGBColor(0xD5, 0x5E, 0x00),
            RGBColor(0x00, 0x9E, 0x73),
            RGBColor(0xCC, 0x79, 0xA7),
            RGBColor(0xE6, 0x9F, 0x00),
            RGBColor(0x56, 0xB4, 0xE9),
            RGBColor(0x88, 0x22, 0x55),
            RGBColor(0x00, 0x00, 0x00),
            RGBColor(0x8A, 0x8A, 0x00),
            RGBColor(0x4B, 0x2E, 0xC4),
            RGBColor(0x8C, 0x56, 0x4B),
        ];
        const SHAPES: [Shape; 4] = [Shape::Circle, Shape::Square, Shape::Triangle, Shape::Diamond];
        // Eleven and four share no divisor: 44 models differ.
        Self {
            colour: COLOURS[index % COLOURS.len()],
            shape: SHAPES[index % SHAPES.len()],
            line: Line::Solid,
        }
    }

    pub(super) const fn dashed(self) -> Self {
        Self { line: Line::Dashed, ..self }
    }

    pub(super) const fn dots(self) -> Self {
        Self { line: Line::None, ..self }
    }

    /// A piece of line with its marker, for a legend on the page.
    pub(super) fn swatch(self) -> String {
        format!("<svg class=\"swatch\" viewBox=\"0 0 32 16\" aria-hidden=\"true\">{}</svg>", self.sample())
    }

    /// The same as elements of a drawing, 32 wide and 16 high.
    pub(super) fn sample(self) -> String {
        let RGBColor(red, green, blue) = self.colour;
        let marker = if self.shape == Shape::Circle {
            "<circle cx=\"16\" cy=\"8\" r=\"5\"/>".to_owned()
        } else {
            let corners = self.corners(5).map(|(x, y)| format!("{},{}", x + 16, y + 8));
            format!("<polygon points=\"{}\"/>", corners.join(" "))
        };
        let line =
            |dashes| format!("<line x1=\"0\" y1=\"8\" x2=\"32\" y2=\"8\" stroke-width=\"2\"{dashes}/>");
        let line = match self.line {
            Line::Solid => line(""),
            Line::Dashed => line(" stroke-dasharray=\"5 3\""),
            Line::None => String::new(),
        };
        let colour = format!("#{red:02X}{green:02X}{blue:02X}");
        format!("<g fill=\"{colour}\" stroke=\"{colour}\">{line}{marker}</g>")
    }

    /// Corners of the marker around its middle; those of a square for a circle.
    pub(super) fn corners(self, radius: i32) -> [(i32, i32); 4] {
        let (far, near) = (radius * 5 / 4, radius * 7 / 8);
        match self.shape {
            Shape::Circle | Shape::Square => [(-near, -near), (near, -near), (near, near), (-near, near)],
            Shape::Triangle => [(0, -far), (far, near), (0, near), (-far, near)],
            Shape::Diamond => [(0, -far), (far, 0), (0, far), (-far, 0)],
        }
    }
}

/// Who is drawn how, in words.
pub(super) type Legend = Vec<(Ink, String)>;

/// A legend for the page.
pub(super) fn legend(entries: &[(Ink, String)]) -> String {
    let entry = |(ink, name): &(Ink, String)| format!("<li>{}{}</li>", ink.swatch(), escape(name));
    format!("<ul class=\"legend\">{}</ul>\n", entries.iter().map(entry).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_can_take_part_differ_even_as_lines_without_markers() {
        let inks: Vec<Ink> = (0..44).map(Ink::of_model).chain([Ink::BOUND]).collect();
        for (index, ink) in inks.iter().enumerate() {
            assert!(!inks[..index].contains(ink), "{index}");
            assert!(index >= 11 || inks[..index].iter().all(|other| other.colour != ink.colour), "{index}");
        }
    }
}
