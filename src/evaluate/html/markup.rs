//! Pieces of HTML, figures in words, and the style of the page.

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
section { background: #fff; border: 1px solid #e2e2e2; border-radius: .6rem; margin: 1.25rem 0;
  padding: 1.1rem 1.25rem; }
.beside, .pair { display: grid; gap: 1rem 1.5rem; align-items: start; }
@media (min-width: 56rem) {
  .beside, .pair { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}
.beside > *, .pair > * { min-width: 0; }
figure { margin: 0; }
figure > svg { display: block; width: 100%; max-width: 36rem; height: auto; }
figcaption { font-weight: 600; font-size: .9rem; }
.scroll { overflow-x: auto; margin: 0 0 .8rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .35rem .7rem; text-align: right; vertical-align: top; border-bottom: 1px solid #e8e8e8; }
thead th { vertical-align: bottom; border-bottom: 2px solid #999; }
th:first-child { text-align: left; padding-left: 0; overflow-wrap: break-word; max-width: 20rem; }
tbody th { font-weight: 500; }
small { display: block; color: #595959; font-size: .76rem; white-space: nowrap; }
.swatch { width: 2rem; height: 1rem; margin-right: .5rem; vertical-align: -.2rem; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; margin: 0 0 .8rem; padding: 0; }
.none { color: #595959; font-style: italic; }
@media print {
  body { background: #fff; font-size: 10pt; padding: 0; }
  section { border: 0; padding: 0; }
  figure, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
}
";

/// What stands in the place of a plot or a table without data.
pub(super) const NO_DATA: &str = "<p class=\"none\">no data</p>";

/// `text` with the characters that HTML gives a meaning written out.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A section of the page; `title` is plain text, `body` is HTML.
pub(super) fn section(title: &str, body: &str) -> String {
    format!("<section>\n<h2>{}</h2>\n{body}\n</section>\n", escape(title))
}

/// Words beside a figure, or above it where the page is narrow; both are HTML.
pub(super) fn beside(words: &str, figure: &str) -> String {
    format!("<div class=\"beside\"><div>{words}</div>{figure}</div>")
}

/// A plot under its caption, which also tells of it to those who hear the page.
pub(super) fn figure(caption: &str, plot: &str) -> String {
    let caption = escape(caption);
    format!(
        "<figure role=\"group\" aria-label=\"{caption}\"><figcaption>{caption}</figcaption>{plot}</figure>\n"
    )
}

/// A table of ready rows under plain heads; "no data" without a row.
pub(super) fn table<'a>(
    heads: impl IntoIterator<Item = &'a str>,
    rows: impl Iterator<Item = String>,
) -> String {
    let rows: String = rows.collect();
    if rows.is_empty() {
        return NO_DATA.to_owned();
    }
    let heads = heads.into_iter().map(|head| format!("<th scope=\"col\">{}</th>", escape(head)));
    format!(
        "<div class=\"scroll\"><table>\n<thead><tr>{}</tr></thead>\n<tbody>\n{}</tbody></table></div>\n",
        heads.collect::<String>(),
        rows
    )
}

/// `value` with so many decimals; a dash where it is no number.
pub(super) fn decimals(value: f64, decimals: usize) -> String {
    if value.is_finite() { format!("{value:.decimals$}") } else { "–".to_owned() }
}

/// `value` with its sign and so many decimals; a dash where it is no number.
pub(super) fn signed(value: f64, decimals: usize) -> String {
    if value.is_finite() { format!("{value:+.decimals$}").replace('-', "−") } else { "–".to_owned() }
}

/// `share` in percent, with a decimal below ten.
pub(super) fn percent(share: f64) -> String {
    if !share.is_finite() {
        return "–".to_owned();
    }
    let percent = 100.0 * share;
    let decimals = usize::from(percent.abs() < 9.95 && percent != 0.0);
    format!("{percent:.decimals$} %")
}

/// `number` with a comma between thousands.
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `number` with a word that follows it: `1 user`, `2 users`.
pub(super) fn count(number: usize, word: &str) -> String {
    format!("{} {word}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// `number` short enough for an axis: `300`, `10k`.
pub(super) fn short(number: u32) -> String {
    match number {
        0..1_000 => number.to_string(),
        1_000..1_000_000 => format!("{}k", f64::from(number / 100) / 10.0),
        _ => format!("{}M", f64::from(number / 100_000) / 10.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_in_words() {
        assert_eq!(escape("<b>&\"'"), "&lt;b&gt;&amp;&quot;&#39;");
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([count(1, "user"), count(0, "user")], ["1 user", "0 users"]);
        assert_eq!([300, 1_000, 2_500, 3_000_000].map(short), ["300", "1k", "2.5k", "3M"]);
        assert_eq!([0.0, 0.012, 0.0995, 1.0, f64::NAN].map(percent), ["0 %", "1.2 %", "10 %", "100 %", "–"]);
        assert_eq!(decimals(f64::INFINITY, 2), "–");
        assert_eq!([0.0123, -0.5, f64::NAN].map(|value| signed(value, 3)), ["+0.012", "−0.500", "–"]);
    }
}
