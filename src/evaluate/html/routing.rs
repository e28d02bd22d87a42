//! What a router did: whether it is better than others, whom it asks, what that costs, and how sure it is.
//!
//! Nothing of it is on the page where no router took part.

use super::axis::Axis;
use super::columns::measured;
use super::confidence::{CALIBRATION, calibration_plot};
use super::drawing::Drawing;
use super::ink::{Ink, Legend, legend};
use super::is_bound;
use super::markup::{beside, decimals, escape, percent, section, signed, table};
use super::plot::{Plot, Point, Series};
use crate::evaluate::report::{ModelReport, Report};
use crate::evaluate::{
    Against, GateBin, Interval, Paid, ROUTER, ROUTER_FULL, ROUTER_SHARED, Routed, RoutingReport,
};

/// The expert that every question goes to.
pub(super) const TREES: &str = "gbdt";

impl Report {
    pub(super) fn routing_sections(&self) -> String {
        let Some(routing) = &self.routing else { return String::new() };
        let sections = [
            against_section(&routing.against),
            self.asked_section(routing),
            self.gate_section(routing),
            self.latency_section(routing),
            self.recalibration_section(routing),
        ];
        sections.concat()
    }

    fn asked_section(&self, routing: &RoutingReport) -> String {
        let near = |way: &[Routed]| {
            let distance = |at: &&Routed| (at.share - routing.routed_share).abs();
            let nearest = way.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
            decimals(nearest.map_or(f64::NAN, |at| at.log_loss), 3)
        };
        let end = |at: Option<&Routed>| decimals(at.map_or(f64::NAN, |at| at.log_loss), 3);
        let words = format!(
            "<p>Trees answer every question; the router also asks {} about {} of them (the dashed upright line), \
             those where its gate expects to gain most. At the left end it asks about none, at the right about all. The \
             further the gate's line is from that of questions drawn at random, the better it chooses; an oracle, who \
             knows beforehand where asking helps, is the bound. The lines are without habits of each person; the open \
             markers are the models of the first table.</p>\n\
             <p>Log loss is {} where it asks about no question and {} where it asks about every one; near the router's \
             share it is {} by the gate, {} at random and {} by the oracle.</p>\n",
            escape(&routing.deep),
            percent(routing.routed_share),
            end(routing.by_gate.first()),
            end(routing.by_gate.last()),
            near(&routing.by_gate),
            near(&routing.at_random),
            near(&routing.by_oracle),
        );
        section("Who is asked?", &format!("{words}{}", self.asked_drawing(routing).html()))
    }

    /// Log loss and HR@3 against the share routed.
    pub(super) fn asked_drawing(&self, routing: &RoutingReport) -> Drawing {
        let mut lines = self.ways(routing).to_vec();
        lines.push((Ink::BOUND, "by an oracle", &routing.by_oracle));
        let whole =
            [(TREES, 0.0), (routing.deep.as_str(), 1.0), (ROUTER, routing.routed_share), (ROUTER_FULL, 1.0)];
        let whole = whole.map(|(name, share)| Some((self.model(name)?, share)));
        let whole: Vec<(&ModelReport, f64)> = whole.into_iter().flatten().collect();
        let panel =
            |caption: &str, axis: Axis, routed: fn(&Routed) -> f64, model: fn(&ModelReport) -> f64| {
                let line = |&(ink, _, way): &(Ink, &str, &[Routed])| {
                    let point = |at: &Routed| mark(at.share, routed(at), 6);
                    Series::new(ink, way.iter().map(point).collect())
                };
                let marker = |&(of, share): &(&ModelReport, f64)| {
                    Series::new(self.ink(of), vec![Point { filled: false, ..mark(share, model(of), 13) }])
                };
                let (low, high) = (axis.range.start, axis.range.end);
                let plot = Plot {
                    x: Axis::shares("share asked", [0.0, 1.0].into_iter()).with_room(),
                    y: axis,
                    guides: vec![[(routing.routed_share, low), (routing.routed_share, high)]],
                    series: lines.iter().map(line).chain(whole.iter().map(marker)).collect(),
                };
                (caption.to_owned(), plot)
            };
        let routed = || lines.iter().flat_map(|(_, _, way)| *way);
        let models = || whole.iter().map(|(model, _)| model.metrics);
        let losses = routed().map(|at| at.log_loss).chain(models().map(|of| of.log_loss));
        let hits = routed().map(|at| at.hr3).chain(models().map(|of| of.hr3));
        let panels = vec![
            panel(
                "log loss, where less is better",
                Axis::numbers("log loss", losses),
                |at| at.log_loss,
                |model| model.metrics.log_loss,
            ),
            panel(
                "answer among the first three, where more is better",
                Axis::shares("HR@3", hits),
                |at| at.hr3,
                |model| model.metrics.hr3,
            ),
        ];
        let mut legend: Legend = lines.iter().map(|&(ink, name, _)| (ink, name.to_owned())).collect();
        legend.extend(whole.iter().map(|(model, _)| (self.ink(model).dots(), model.name.clone())));
        Drawing { title: format!("Who is asked? Trees, or {} too", routing.deep), legend, panels }
    }

    /// The lines along which the share routed grows: by the gate, and at random.
    fn ways<'a>(&self, routing: &'a RoutingReport) -> [(Ink, &'static str, &'a [Routed]); 2] {
        // What these lines show, router-shared is at one share.
        let ink = self.ink_named(ROUTER_SHARED, 0);
        [(ink, "by the gate", &routing.by_gate), (ink.dashed(), "at random", &routing.at_random)]
    }

    fn gate_section(&self, routing: &RoutingReport) -> String {
        let drawing = self.gate_drawing(routing);
        let row = |paid: &Paid| {
            let cells = [
                decimals(paid.cost_nats, 5),
                percent(paid.share),
                decimals(paid.gained, 4),
                decimals(paid.log_loss, 4),
                decimals(paid.hr3, 4),
            ];
            let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
            format!("<tr><th scope=\"row\">{:.0} µs</th>{cells}</tr>\n", paid.cost_us)
        };
        let words = format!(
            "<p>Before {} is asked, the gate says how many nats of log loss it should gain. Here are the test questions in \
             ten parts, from the least expected gain to the largest, with the mean gain that came of asking: on the dashed \
             diagonal both are the same, and below zero the trees alone were better. The thin lines reach a standard error to \
             either side.</p>\n<p>Asking as much as pays stops where the expected gain is below what asking costs, here a nat \
             for 100&nbsp;ms:</p>\n{}",
            escape(&routing.deep),
            table(
                ["cost", "in nats", "asked", "gained", "log loss", "HR@3"],
                routing.gate.pays.iter().map(row)
            ),
        );
        section("Does the gate keep its word?", &beside(&words, &drawing.figures()))
    }

    /// The gain that the gate expected against the one that came.
    pub(super) fn gate_drawing(&self, routing: &RoutingReport) -> Drawing {
        let ink = self.ink_named(ROUTER_SHARED, 0);
        let bins = &routing.gate.reliability;
        let ends = |bin: &GateBin| [bin.realized - bin.error, bin.realized + bin.error];
        let whisker = |bin: &GateBin| {
            Series::new(ink, ends(bin).map(|realized| mark(bin.predicted, realized, 0)).to_vec())
        };
        let points = bins.iter().map(|bin| mark(bin.predicted, bin.realized, 9)).collect();
        let expected = || bins.iter().map(|bin| bin.predicted);
        let (least, most) = expected().fold((0.0_f64, 0.0_f64), |(low, high), x| (low.min(x), high.max(x)));
        let plot = Plot {
            x: Axis::numbers("expected gain, nats", expected()).with_room(),
            y: Axis::numbers("realized gain, nats", expected().chain(bins.iter().flat_map(ends))).with_room(),
            guides: vec![[(least, least), (most, most)]],
            series: bins.iter().map(whisker).chain([Series::new(ink.dots(), points)]).collect(),
        };
        Drawing {
            title: "Does the gate keep its word?".to_owned(),
            legend: vec![(ink.dots(), "a tenth of the questions".to_owned())],
            panels: vec![("expected and realized gain of asking the transformer, too".to_owned(), plot)],
        }
    }

    fn latency_section(&self, routing: &RoutingReport) -> String {
        let Some(drawing) = self.latency_drawing(routing) else { return String::new() };
        let words = format!(
            "<p>A question costs the trees' median time, and, where it is routed, that of {} besides: the lines show \
             the mean of both while the share routed grows. Further down is better, further left is faster. Markers \
             are models with their median time; of a router that asks about some questions only, with the mean, \
             since the median would be that of a question it does not ask about. The left plot is of all models, the \
             right one of the router and its experts alone.</p>\n",
            escape(&routing.deep)
        );
        section("Latency against accuracy", &format!("{words}{}", drawing.html()))
    }

    /// Time of a question against log loss; `None` where the experts were not timed.
    pub(super) fn latency_drawing(&self, routing: &RoutingReport) -> Option<Drawing> {
        let timed =
            |name: &str| Some(self.model(name)?.latency_us.p50).filter(|us| measured(*us).is_finite());
        let (trees_us, deep_us) = (timed(TREES)?, timed(&routing.deep)?);
        let mean_us = |share: f64| trees_us + share * deep_us;
        let ways = self.ways(routing);
        let line = |&(ink, _, way): &(Ink, &str, &[Routed]), radius: u32| {
            let points = way.iter().map(|at| mark(mean_us(at.share), at.log_loss, radius));
            Series::new(ink, points.collect())
        };
        let marker = |model: &ModelReport| {
            let us = match model.routed_share {
                Some(share) if share > 0.0 && share < 1.0 => mean_us(share),
                _ => model.latency_us.p50,
            };
            let is_timed = measured(model.latency_us.p50).is_finite();
            let point = mark(if is_timed { us } else { f64::NAN }, model.metrics.log_loss, 11);
            Series { name: Some(model.name.clone()), ..Series::new(self.ink(model).dots(), vec![point]) }
        };
        let panel = |caption: &str, models: &[&ModelReport], radius: u32| {
            let lines = ways.iter().map(|way| line(way, radius));
            let series: Vec<Series> = lines.chain(models.iter().map(|model| marker(model))).collect();
            let points = || series.iter().flat_map(|series| &series.points);
            let plot = Plot {
                x: Axis::micros("mean time of a question, µs", points().map(|point| point.x)).with_room(),
                y: Axis::numbers("log loss", points().map(|point| point.y)).with_room(),
                guides: vec![],
                series,
            };
            (caption.to_owned(), plot)
        };
        // A bound is nothing that a phone could run.
        let all: Vec<&ModelReport> = self.models.iter().filter(|model| !is_bound(model)).collect();
        let panels = vec![
            // Among all models the lines are so short that their markers would run together.
            panel("every model that was timed", &all, 0),
            panel("the router and its experts", &self.router_and_experts(routing), 5),
        ];
        let mut legend: Legend = ways.iter().map(|&(ink, name, _)| (ink, format!("routed {name}"))).collect();
        legend.extend(all.iter().map(|model| (self.ink(model).dots(), model.name.clone())));
        Some(Drawing { title: "Latency against accuracy".to_owned(), legend, panels })
    }

    fn recalibration_section(&self, routing: &RoutingReport) -> String {
        let drawing = self.recalibration_drawing(routing);
        let [before, after] = routing.calibration_error.map(|error| decimals(error, 3));
        let words = format!(
            "<p>Experts differ in how sure they sound. The router weighs their words before it answers, so that a \
             confidence of 70&nbsp;% should come true in 70&nbsp;% of the cases: then a line lies on the dashed diagonal. \
             The larger a marker, the more questions stand behind it.</p>\n\
             <p>The calibration error, the mean distance from the diagonal, is <strong>{before}</strong> as the experts \
             came and <strong>{after}</strong> by the router.</p>\n{}",
            legend(&drawing.legend)
        );
        section("Calibration before and after", &beside(&words, &drawing.figures()))
    }

    /// Confidence against hit rate, of the experts as they came and of the router.
    pub(super) fn recalibration_drawing(&self, routing: &RoutingReport) -> Drawing {
        let inks = [Ink::BOUND, self.ink_named(ROUTER, 0)];
        let bins = routing.calibration.iter().map(Vec::as_slice);
        let names = ["as the experts came", "by the router"].map(str::to_owned);
        Drawing {
            title: "Calibration before and after".to_owned(),
            legend: inks.into_iter().zip(names).collect(),
            panels: vec![(CALIBRATION.to_owned(), calibration_plot(inks.into_iter().zip(bins).collect()))],
        }
    }

    /// Those of the models that are a router or one of its experts.
    pub(super) fn router_and_experts(&self, routing: &RoutingReport) -> Vec<&ModelReport> {
        let names = [TREES, &routing.deep, ROUTER, ROUTER_FULL, ROUTER_SHARED];
        self.models.iter().filter(|model| names.contains(&model.name.as_str())).collect()
    }

    /// The router whose users are shown: the one that leaves nothing out, where it takes part.
    pub(super) fn router(&self) -> Option<&ModelReport> {
        self.model(ROUTER_FULL).or_else(|| self.model(ROUTER))
    }
}

fn against_section(against: &[Against]) -> String {
    if against.is_empty() {
        return String::new();
    }
    // Two routers are compared both ways; one is enough.
    let is_new = |(index, new): &(usize, &Against)| {
        !against[..*index].iter().any(|old| old.name == new.with && old.with == new.name)
    };
    let shown = against.iter().enumerate().filter(is_new).map(|(_, against)| against);
    let row = |against: &Against| {
        let cells =
            against.differences.iter().map(|(difference, interval)| difference_cell(*difference, *interval));
        format!(
            "<tr><th scope=\"row\">{} over {}</th>{}</tr>\n",
            escape(&against.name),
            escape(&against.with),
            cells.collect::<String>()
        )
    };
    section(
        "Is the router better?",
        &format!(
            "<p>What a router has more than another model, on the same questions: more hits are better, less log \
             loss is. The range below a difference holds it with 95&nbsp;% confidence; where it leaves out zero, the \
             difference is bold.</p>\n{}",
            table(["models", "HR@1", "HR@3", "HR@5", "log loss"], shown.map(row))
        ),
    )
}

fn difference_cell(difference: f64, interval: Option<Interval>) -> String {
    let is_clear = interval.is_some_and(|Interval(low, high)| low > 0.0 || high < 0.0);
    let mut text = signed(difference, 4);
    if is_clear {
        text = format!("<strong>{text}</strong>");
    }
    let range = interval
        .map(|Interval(low, high)| format!("<small>{} to {}</small>", signed(low, 4), signed(high, 4)));
    format!("<td>{text}{}</td>", range.unwrap_or_default())
}

fn mark(x: f64, y: f64, radius: u32) -> Point {
    Point { x, y, radius, filled: true }
}
