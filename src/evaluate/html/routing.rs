//! What a router did: whether it is better than others, whom it asks, what that costs, how sure it is, who gains by it and
//! how soon.
//!
//! Nothing of it is on the page where no router took part.

use maud::html;

use super::markup::{
    cells, count, decimals, figure, grouped, number_mark, percent, percent_mark, signed, signed_mark, table,
};
use super::plot::{Axis, Format, Ink, Line, Plot, Section, Series};
use super::{FEW_QUESTIONS, calibration_plot, hours, in_places, is_bound, measured};
use crate::evaluate::report::{ModelReport, Report, Slice, TREES};
use crate::evaluate::{
    CostPoint, GateBin, Interval, LearningPeriod, PairedDifferences, ROUTER, ROUTER_FULL, ROUTER_SHARED,
    RoutingPoint, RoutingReport,
};

/// Where fewer questions were asked, a gain says nothing, and its size would dwarf the others.
const FEWEST_QUESTIONS: usize = 10;

/// What the router does better than trees alone: on so many questions, HR@1 more and log loss less.
type Gain = (usize, [f64; 2]);

/// `None` on too few questions.
fn gain(questions: usize, before: [f64; 2], after: [f64; 2]) -> Option<Gain> {
    (questions >= FEWEST_QUESTIONS).then_some((questions, [after[0] - before[0], before[1] - after[1]]))
}

const TIME: &str = "mean time of a question, µs";

/// Makes an axis over times.
type TimeAxis = fn(Vec<f64>) -> Axis;

impl Report {
    pub(super) fn routing_sections(&self) -> Vec<Option<Section>> {
        let routing = self.routing.as_ref();
        vec![
            routing.and_then(|routing| against(&routing.against)),
            routing.map(|routing| self.asked(routing)),
            routing.map(|routing| self.gate(routing)),
            routing.and_then(|routing| self.latency(routing)),
            routing.map(|routing| self.recalibration(routing)),
            self.gains(),
            self.learning(),
        ]
    }

    /// Log loss and HR@3 against the share routed.
    fn asked(&self, routing: &RoutingReport) -> Section {
        let near = |way: &[RoutingPoint]| {
            let distance = |at: &&RoutingPoint| (at.share - routing.routed_share).abs();
            way.iter().min_by(|a, b| distance(a).total_cmp(&distance(b))).cloned()
        };
        let loss = |at: Option<RoutingPoint>| decimals(at.map_or(f64::NAN, |at| at.log_loss), 3);
        let RoutingReport { deep, routed_share, by_gate, at_random, by_oracle, .. } = routing;
        let words = html! {
            p {
                "Trees answer every question; the router also asks " (deep) " about " (percent(*routed_share)) " of them (the \
                 dashed upright line), those where its gate expects to gain most. At the left end it asks about none, at the \
                 right about all. The further the gate's line is from that of questions drawn at random, the better it \
                 chooses; an oracle, who knows beforehand where asking helps, is the bound. The lines are without personalization of \
                 each person; the open markers are the models of the first table."
            }
            p {
                "Log loss is " (loss(by_gate.first().cloned())) " where it asks about no question and "
                (loss(by_gate.last().cloned())) " where it asks about every one; near the router's share it is "
                (loss(near(by_gate))) " by the gate, " (loss(near(at_random))) " at random and " (loss(near(by_oracle)))
                " by the oracle."
            }
        };
        let whole = [(TREES, 0.0), (deep, 1.0), (ROUTER, *routed_share), (ROUTER_FULL, 1.0)];
        let plot = |caption,
                    label,
                    text: Format,
                    value: fn(&RoutingPoint) -> f64,
                    of_model: fn(&ModelReport) -> f64| {
            let [by_gate, at_random] = self.ways(routing, |at| (at.share, value(at), 6, true));
            let points = by_oracle.iter().map(|at| (at.share, value(at), 6, true)).collect();
            let oracle = Series { name: "by an oracle".to_owned(), ink: Ink::BOUND, points };
            let markers = whole.iter().filter_map(|(name, share)| {
                let model = self.model(name)?;
                Some(dots(self.series(model, vec![(*share, of_model(model), 13, false)])))
            });
            let x = Axis::over("share asked", percent_mark, [0.0, 1.0].into_iter());
            let series = [by_gate, at_random, oracle].into_iter().chain(markers).collect();
            let guide = Some([(*routed_share, f64::MIN), (*routed_share, f64::MAX)]);
            Plot { guide, ..Plot::new(caption, x, (label, text), &[], series) }
        };
        let (losses, hits) =
            ("log loss, where less is better", "answer among the first three, where more is better");
        let plots = vec![
            plot(losses, "log loss", number_mark, |at| at.log_loss, |model| model.metrics.log_loss),
            plot(hits, "HR@3", percent_mark, |at| at.hr3, |model| model.metrics.hr3),
        ];
        Section { title: "Who is asked?", file: "routing.svg", words, plots }
    }

    /// The lines along which the share routed grows: by the gate, and at random.
    fn ways(&self, routing: &RoutingReport, point: impl Fn(&RoutingPoint) -> super::Point) -> [Series; 2] {
        // What these lines show, router-shared is at one share.
        let ink = self.ink(ROUTER_SHARED);
        let ways =
            [("by the gate", Line::Solid, &routing.by_gate), ("at random", Line::Dashed, &routing.at_random)];
        ways.map(|(name, line, way)| Series {
            name: name.to_owned(),
            ink: Ink { line, ..ink },
            points: way.iter().map(&point).collect(),
        })
    }

    /// The gain that the gate expected against the one that came.
    fn gate(&self, routing: &RoutingReport) -> Section {
        let row = |paid: &CostPoint| {
            let [gained, log_loss, hr3] = [paid.gained, paid.log_loss, paid.hr3].map(|of| decimals(of, 4));
            let texts = [decimals(paid.cost_nats, 5), percent(paid.share), gained, log_loss, hr3];
            (html! { (decimals(paid.cost_us.into(), 0)) "\u{a0}µs" }, cells(texts))
        };
        let heads = ["cost", "in nats", "asked", "gained", "log loss", "HR@3"];
        let words = html! {
            p {
                "Before " (routing.deep) " is asked, the gate says how many nats of log loss it should gain. Here are the test \
                 questions in ten parts, from the least expected gain to the largest, with the mean gain that came of asking: \
                 on the dashed diagonal both are the same, and below zero the trees alone were better. The thin lines reach a \
                 standard error to either side."
            }
            p { "Asking as much as pays stops where the expected gain is below what asking costs, here a nat for 100\u{a0}ms:" }
            (table(&heads, routing.gate.pays.iter().map(row)))
        };
        let (ink, bins) = (self.ink(ROUTER_SHARED), &routing.gate.reliability);
        let unnamed = |points| Series { name: String::new(), ink, points };
        let whisker = |bin: &GateBin| {
            let ends = [bin.realized - bin.error, bin.realized + bin.error];
            unnamed(ends.map(|gain| (bin.predicted, gain, 0, true)).to_vec())
        };
        let points = bins.iter().map(|bin| (bin.predicted, bin.realized, 9, true)).collect();
        let expected: Vec<f64> = bins.iter().map(|bin| bin.predicted).chain([0.0]).collect();
        let [least, most] = [f64::min, f64::max].map(|end| expected.iter().copied().fold(0.0, end));
        let x = Axis::over("expected gain, nats", number_mark, expected.iter().copied());
        let series = bins.iter().map(whisker).chain([dots(unnamed(points))]).collect();
        let caption = "expected and realized gain of asking the transformer, too";
        let plot = Plot::new(caption, x, ("realized gain, nats", number_mark), &expected, series);
        let plots = vec![Plot { guide: Some([(least, least), (most, most)]), ..plot }];
        Section { plots, ..Section::new("Does the gate keep its word?", words) }
    }

    /// Time of a question against log loss; `None` where the experts were not timed.
    fn latency(&self, routing: &RoutingReport) -> Option<Section> {
        let timed = |name: &str| Some(self.model(name)?.latency_us.p50).filter(|us| *us > 0.0);
        let (trees_us, deep_us) = (timed(TREES)?, timed(&routing.deep)?);
        let mean_us = |share: f64| trees_us + share * deep_us;
        let words = html! { p {
            "A question costs the trees' median time, and, where it is routed, that of " (routing.deep) " besides: the \
             lines show the mean of both while the share routed grows. Further down is better, further left is faster. \
             Markers are models with their median time; of a router that asks about some questions only, with the mean, \
             since the median would be that of a question it does not ask about. The left plot is of all models, the \
             right one of the router and its experts alone."
        } };
        // Times of all models are drawn by their logarithms: one may be ten thousand times another.
        let marker = |model: &&ModelReport, place: fn(f64) -> f64| {
            let some = model.routed_share.filter(|share| *share > 0.0 && *share < 1.0);
            let us = measured(model.latency_us.p50);
            let us = if us.is_finite() { some.map_or(us, mean_us) } else { us };
            dots(self.series(model, vec![(place(us), model.metrics.log_loss, 11, true)]))
        };
        let plot = |caption, models: &[&ModelReport], radius, place: fn(f64) -> f64, axis: TimeAxis| {
            let lines = self.ways(routing, |at| (place(mean_us(at.share)), at.log_loss, radius, true));
            let lines = lines.map(|line| Series { name: format!("routed {}", line.name), ..line });
            let series: Vec<Series> =
                lines.into_iter().chain(models.iter().map(|model| marker(model, place))).collect();
            let times = series.iter().flat_map(|series| &series.points).map(|point| point.0);
            let x = axis(times.collect());
            Plot::new(caption, x, ("log loss", number_mark), &[], series)
        };
        // A bound is nothing that a phone could run.
        let all: Vec<&ModelReport> = self.models.iter().filter(|model| !is_bound(model)).collect();
        let plots = vec![
            // Among all models the lines are so short that their markers would run together.
            plot("every model that was timed", &all, 0, f64::log10, |times| {
                Axis::powers(TIME, time_mark, times.into_iter())
            }),
            plot(
                "the router and its experts",
                &self.router_and_experts(routing),
                5,
                |us| us,
                |times| Axis::over(TIME, number_mark, times.into_iter()),
            ),
        ];
        Some(Section { title: "Latency against accuracy", file: "latency.svg", words, plots })
    }

    /// Confidence against hit rate, of the experts as they came and of the router.
    fn recalibration(&self, routing: &RoutingReport) -> Section {
        let [before, after] = routing.calibration_error.map(|error| decimals(error, 3));
        let words = html! {
            p {
                "Experts differ in how sure they sound. The router weighs their words before it answers, so that a confidence \
                 of 70\u{a0}% should come true in 70\u{a0}% of the cases: then a line lies on the dashed diagonal. The larger \
                 a marker, the more questions stand behind it."
            }
            p {
                "The calibration error, the mean distance from the diagonal, is " strong { (before) }
                " as the experts came and " strong { (after) } " by the router."
            }
        };
        let [before, after] = routing.calibration.each_ref().map(Vec::as_slice);
        let curves =
            [("as the experts came", Ink::BOUND, before), ("by the router", self.ink(ROUTER), after)];
        let plots = vec![calibration_plot(&curves)];
        Section { title: "Calibration before and after", file: "calibration.svg", words, plots }
    }

    /// The router's gains by user, by hour and by length of history; `None` without a router or trees to compare.
    fn gains(&self) -> Option<Section> {
        let (router, trees) = (self.router()?, self.model(TREES)?);
        let users = router.per_user.iter().filter_map(|after| {
            let before = trees.per_user.iter().find(|before| before.user == after.user)?;
            gain(after.questions, [before.hr1, before.log_loss], [after.hr1, after.log_loss])
        });
        let users: Vec<Option<Gain>> = users.map(Some).collect();
        let gained: Vec<f64> = users.iter().flatten().map(|gain| gain.1[0]).collect();
        let words = html! { p {
            "What " strong { (router.name) } " does better than " (TREES) " alone: how much more often it ranks the answer \
             first (left, in percentage points), and how much log loss it saves (right). Above the dashed line it is \
             better. Open markers stand on fewer than " (FEW_QUESTIONS) " questions and may be chance; what stands on \
             fewer than " (FEWEST_QUESTIONS) " is left out. Of " (count(users.len(), "user")) ", "
            (grouped(gained.iter().filter(|hr1| **hr1 > 0.0).count())) " gain HR@1 and "
            (grouped(gained.iter().filter(|hr1| **hr1 < 0.0).count())) " lose."
        } };
        let slices = |after: &[Slice], before: &[Slice], bounds: &[u32]| {
            let of = |bound: &u32| {
                let [after, before] =
                    [after, before].map(|all| all.iter().find(|slice| slice.from == *bound));
                let (after, before) = after.zip(before)?;
                gain(after.questions, [before.hr1, before.log_loss], [after.hr1, after.log_loss])
            };
            bounds.iter().map(of).collect::<Vec<_>>()
        };
        let ((hours, hour_axis), (bounds, history_axis)) = (hours(), self.histories());
        let count = [0.0, users.len().saturating_sub(1) as f64].into_iter();
        let user_axis = Axis::over("users, least gain first", number_mark, count);
        let parts = [
            ("by user", users, user_axis),
            ("by hour of day", slices(&router.by_hour, &trees.by_hour, &hours), hour_axis),
            ("by length of history", slices(&router.by_history, &trees.by_history, &bounds), history_axis),
        ];
        let figures: [(&str, &str, Format); 2] = [
            ("HR@1 gained", "points of HR@1", |share| signed_mark(100.0 * share)),
            ("log loss saved", "log loss saved", signed_mark),
        ];
        let mut plots = Vec::new();
        for (by, gains, x) in parts {
            for (index, (caption, label, text)) in figures.into_iter().enumerate() {
                let value = |gain: &Option<Gain>| gain.map(|(questions, values)| (questions, values[index]));
                let mut values: Vec<Option<(usize, f64)>> = gains.iter().map(value).collect();
                if by == "by user" {
                    let value = |gain: &Option<(usize, f64)>| gain.map_or(f64::NAN, |gain| gain.1);
                    values.sort_by(|a, b| value(a).total_cmp(&value(b)));
                }
                let name = format!("{} better than {TREES}", router.name);
                let line =
                    Series { name, ink: self.ink(&router.name), points: in_places(values.into_iter()) };
                let series = vec![if by == "by user" { dots(line) } else { line }];
                let plot = Plot::new(&format!("{caption} {by}"), x.clone(), (label, text), &[0.0], series);
                plots.push(Plot { guide: Some([(f64::MIN, 0.0), (f64::MAX, 0.0)]), ..plot });
            }
        }
        Some(Section { title: "Who gains?", file: "gains.svg", words, plots })
    }

    /// HR@1 and log loss from the first hour to the fourth week; `None` where no question was asked in them.
    fn learning(&self) -> Option<Section> {
        let warm = self.routing.as_ref().filter(|_| self.cold_learning.is_empty());
        let learning = warm.map_or(&self.cold_learning, |routing| &routing.learning);
        let row = |stretch: &LearningPeriod| {
            let rates = stretch.hr1.iter().chain(&stretch.log_loss).map(|&rate| decimals(rate, 3));
            (html! { (stretch.until) }, cells([grouped(stretch.questions)].into_iter().chain(rates)))
        };
        let heads = [
            "until",
            "questions",
            "HR@1: trees",
            "no personalization",
            "router",
            "log loss: trees",
            "no personalization",
            "router",
        ];
        let words = html! {
            p {
                @if warm.is_none() { "Users that training never saw, from their first hour on" }
                @else {
                    "The users of the test, whose earlier questions training may have seen, by the time since their first event"
                }
                ". The trees know a person by the history alone; a router with personalization also learns which expert, which apps and \
                 how much doubt suit this person. Open markers stand on fewer than " (FEW_QUESTIONS) " questions."
            }
            (table(&heads, learning.iter().map(row)))
        };
        let ways =
            [(TREES, "trees alone"), (ROUTER_SHARED, "router without personalization"), (ROUTER, "router")];
        let plot = |caption, label, text: Format, values: fn(&LearningPeriod) -> [f64; 3]| {
            let series = ways.iter().enumerate().map(|(way, (model, name))| {
                let values = learning.iter().map(|stretch| Some((stretch.questions, values(stretch)[way])));
                Series { name: (*name).to_owned(), ink: self.ink(model), points: in_places(values) }
            });
            let stretches = learning.iter().map(|stretch| stretch.until.to_owned());
            let x = Axis::named("time since the first event", stretches);
            Plot::new(caption, x, (label, text), &[], series.collect())
        };
        let plots = vec![
            plot("answer ranked first", "HR@1", percent_mark, |stretch| stretch.hr1),
            plot("log loss, where less is better", "log loss", number_mark, |stretch| stretch.log_loss),
        ];
        let section = Section { title: "As a person becomes known", file: "learning.svg", words, plots };
        (!learning.is_empty()).then_some(section)
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

/// Its points alone.
fn dots(series: Series) -> Series {
    Series { ink: Ink { line: Line::None, ..series.ink }, ..series }
}

/// Microseconds of which the axis has the decimal logarithm, to two digits.
pub(super) fn time_mark(logarithm: f64) -> String {
    let unit = 10_f64.powf(logarithm.floor() - 1.0);
    number_mark((10_f64.powf(logarithm) / unit).round() * unit)
}

fn against(against: &[PairedDifferences]) -> Option<Section> {
    // Two routers are compared both ways; one is enough.
    let is_new = |(index, new): &(usize, &PairedDifferences)| {
        !against[..*index].iter().any(|old| old.name == new.with && old.with == new.name)
    };
    let row = |(_, against): (usize, &PairedDifferences)| {
        let cells = against.differences.iter().map(|(difference, interval)| {
            let is_clear = interval.is_some_and(|Interval(low, high)| low > 0.0 || high < 0.0);
            let range =
                interval.map(|Interval(low, high)| format!("{} to {}", signed(low, 4), signed(high, 4)));
            figure(&signed(*difference, 4), is_clear, range)
        });
        (html! { (against.name) " over " (against.with) }, cells.collect())
    };
    let rows = against.iter().enumerate().filter(is_new).map(row);
    let words = html! {
        p {
            "What a router has more than another model, on the same questions: more hits are better, less log loss is. The \
             range below a difference holds it with 95\u{a0}% confidence; where it leaves out zero, the difference is bold."
        }
        (table(&["models", "HR@1", "HR@3", "HR@5", "log loss"], rows))
    };
    (!against.is_empty()).then(|| Section::new("Is the router better?", words))
}
