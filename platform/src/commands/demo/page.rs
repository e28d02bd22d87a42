//! The demonstration as one HTML page that needs nothing but itself. What comes from the data is escaped.

use foretap::evaluate::Interval;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Lived, Story};

/// Questions that the page shows, of the first person.
const SHOWN: usize = 40;

/// Light, printable, one column.
const STYLE: &str = "
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem 1rem 3rem; color: #222; font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .4rem; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
p { max-width: 70ch; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .3rem .7rem; text-align: right; vertical-align: top; border-bottom: 1px solid #e4e4e4; }
th { border-bottom: 2px solid #999; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
td.hit { background: #e3f2e6; font-weight: 600; }
pre { margin: 0; font: inherit; white-space: pre-wrap; }
div { overflow-x: auto; }
@media print { tr { break-inside: avoid; } }
";

/// The page.
pub fn page(story: &Story) -> String {
    let figures = &story.figures;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "foretap demo" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "foretap: the circle, once" }
                p {
                    (story.people) " simulated people, " (story.days) " days. All but the last day was sent in, kept, and learned from; "
                    "on the last day each unlock was a question through the door, and what was opened was fed back. "
                    (figures.events) " events and " (figures.impressions) " impressions are in the lake, and version "
                    (figures.live) " is live."
                }
                h2 { "What happened" }
                div { table {
                    tr { th { "after" } th.text { "step" } }
                    @for (seconds, step) in &story.steps {
                        tr { td { (format!("{seconds:.1} s")) } td.text { (of_step(step)) } }
                    }
                } }
                h2 { "The model that was trained, beside the one before" }
                (comparison(story))
                h2 { "The last day, question by question" }
                (last_day(&story.lived))
            }
        }
    };
    page.into_string()
}

/// The first line: what follows is a table that stands below.
fn of_step(step: &str) -> Markup {
    html! { (step.lines().next().unwrap_or_default()) }
}

fn comparison(story: &Story) -> Markup {
    let compared = &story.comparison;
    let (before, after) = (compared.before, compared.after);
    let rows = [
        ("HR@1", before.hr1, after.hr1, compared.hr1_difference),
        ("HR@3", before.hr3, after.hr3, compared.hr3_difference),
        ("log loss", before.log_loss, after.log_loss, compared.log_loss_difference),
    ];
    html! {
        p {
            "On the same " (compared.questions) " later questions of " (compared.people)
            " people, which neither model learned from. HR@k: share of the questions whose answer is among the first k apps; "
            "higher is better. Log loss: lower is better."
        }
        div { table {
            tr { th { "" } th { "live before" } th { "trained" } th { "difference" } th { "middle 95 % of a bootstrap" } }
            @for (name, before, after, interval) in rows {
                tr {
                    td { (name) }
                    td { (format!("{before:.3}")) }
                    td { (format!("{after:.3}")) }
                    td { (format!("{:+.3}", after - before)) }
                    td { (interval.map_or_else(|| "-".to_owned(), |Interval(low, high)| format!("{low:+.3} to {high:+.3}"))) }
                }
            }
        } }
    }
}

fn last_day(lived: &[Lived]) -> Markup {
    let hits = lived.iter().filter(|lived| lived.is_hit()).count();
    let Some(first) = lived.first() else { return html! { p { "nobody unlocked a phone" } } };
    let of_first = || lived.iter().filter(|other| other.user == first.user);
    let count = of_first().count();
    html! {
        p {
            (hits) " of " (lived.len()) " answers had the app that was opened among their three. Below "
            @if count > SHOWN { "the first " (SHOWN) " of " }
            (count) " questions of " (first.user) ", by the person's own clock. The app that was opened is marked."
        }
        div { table {
            tr {
                th { "at" } th.text { "first" } th.text { "second" } th.text { "third" } th { "confidence" }
                th.text { "answered by" } th { "version" } th.text { "opened" }
            }
            @for lived in of_first().take(SHOWN) { (row(lived)) }
        } }
    }
}

fn row(lived: &Lived) -> Markup {
    html! {
        tr {
            td { (lived.at) }
            @for rank in 0..3 {
                @match lived.apps.get(rank) {
                    Some(app) => {
                        td.text.hit[lived.opened.as_ref() == Some(&app.app)] {
                            (app.app) " " (format!("{:.0} %", 100.0 * app.probability))
                        }
                    }
                    None => td { },
                }
            }
            td { (format!("{:.0} %", 100.0 * lived.confidence)) }
            td.text { (lived.route) }
            td { (lived.model) }
            td.text { (lived.opened.as_deref().unwrap_or("nothing")) }
        }
    }
}
