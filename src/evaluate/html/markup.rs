//! Pieces of the page, figures in words, and the style.

use maud::{Markup, html};

/// Light, printable, one column on a phone.
pub(super) const STYLE: &str = "
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 3rem; background: #fafafa; color: #222;
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.25rem; margin: 0 0 .5rem; }
h3 { font-size: 1rem; margin: 0 0 .2rem; }
p { margin: 0 0 .8rem; max-width: 70ch; }
section { background: #fff; border: 1px solid #e2e2e2; border-radius: .6rem; margin: 1.25rem 0; padding: 1.1rem 1.25rem; }
.pair { display: grid; gap: 1rem 1.5rem; align-items: start; }
@media (min-width: 56rem) { .pair { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
.pair > * { min-width: 0; }
figure { margin: 0; }
figure > svg { display: block; width: 100%; max-width: 36rem; height: auto; }
figcaption { font-weight: 600; font-size: .9rem; }
.scroll { overflow-x: auto; margin: 0 0 .8rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .35rem .7rem; text-align: right; vertical-align: top; border-bottom: 1px solid #e8e8e8; }
thead th { vertical-align: bottom; border-bottom: 2px solid #999; }
th:first-child { text-align: left; padding-left: 0; overflow-wrap: break-word; max-width: 20rem; }
tbody th { font-weight: 500; }
section > .scroll th:first-child { min-width: 9.5rem; }
small { display: block; color: #595959; font-size: .76rem; white-space: nowrap; }
.swatch { display: inline-block; min-width: 2.4rem; margin-right: .4rem; text-align: center; white-space: nowrap; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; margin: 0 0 .8rem; padding: 0; }
.bar { display: flex; gap: .5rem; align-items: center; width: 14rem; }
.bar > i { height: 1.1rem; background: #0072b2; print-color-adjust: exact; }
.none { color: #595959; font-style: italic; }
@media print {
  body { background: #fff; font-size: 10pt; padding: 0; }
  section { border: 0; padding: 0; }
  figure, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
}
";

/// What stands in the place of a plot or a table without data.
pub(super) fn no_data() -> Markup {
    html! { p.none { "no data" } }
}

/// A table of rows, each a head and its cells; "no data" without a row.
pub(super) fn table(heads: &[&str], rows: impl Iterator<Item = (Markup, Vec<Markup>)>) -> Markup {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return no_data();
    }
    html! {
        div.scroll { table {
            thead { tr { @for head in heads { th scope="col" { (head) } } } }
            tbody { @for (head, cells) in rows { tr { th scope="row" { (head) } @for cell in cells { td { (cell) } } } } }
        } }
    }
}

/// A figure, bold where it says so, above the range that holds it.
pub(super) fn figure(text: &str, is_bold: bool, range: Option<String>) -> Markup {
    html! { @if is_bold { strong { (text) } } @else { (text) } @if let Some(range) = range { small { (range) } } }
}

/// Plain cells of a row.
pub(super) fn cells(texts: impl IntoIterator<Item = String>) -> Vec<Markup> {
    texts.into_iter().map(|text| html! { (text) }).collect()
}

/// `value` with so many decimals, without the sign of a zero; a dash where it is no number.
pub(super) fn decimals(value: f64, decimals: usize) -> String {
    if value.is_finite() { crate::evaluate::figure::figure(value, decimals) } else { "–".to_owned() }
}

/// `value` with its sign and so many decimals; a dash where it is no number.
pub(super) fn signed(value: f64, decimals: usize) -> String {
    if value.is_finite() { format!("{value:+.decimals$}").replace('-', "−") } else { "–".to_owned() }
}

/// `share` in percent, with a decimal below ten; a dash where it is no number.
pub(super) fn percent(share: f64) -> String {
    let is_small = (100.0 * share).abs() < 9.95 && share != 0.0;
    let text = decimals(100.0 * share, usize::from(is_small));
    if share.is_finite() { format!("{text}\u{a0}%") } else { text }
}

/// A mark of an axis, with as many decimals as it needs.
pub(super) fn number_mark(value: f64) -> String {
    // Adding zero takes the sign off a zero.
    format!("{}", (1e6 * value).round() / 1e6 + 0.0)
}

/// A mark that is a difference.
pub(super) fn signed_mark(value: f64) -> String {
    let text = number_mark(value).replace('-', "−");
    if value > 0.0 && text != "0" { format!("+{text}") } else { text }
}

/// A mark that is a share.
pub(super) fn percent_mark(share: f64) -> String {
    format!("{}\u{a0}%", number_mark(100.0 * share))
}

/// `number` with a comma between thousands.
pub(super) fn grouped(number: usize) -> String {
    match number / 1000 {
        0 => number.to_string(),
        thousands => format!("{},{:03}", grouped(thousands), number % 1000),
    }
}

/// `number` with a word that follows it: `1 user`, `2 users`.
pub(super) fn count(number: usize, word: &str) -> String {
    format!("{} {word}{}", grouped(number), if number == 1 { "" } else { "s" })
}
