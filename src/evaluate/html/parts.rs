//! What was chosen and what merely resumed, and what is expected where the truth is known.

use super::columns::{CHOSEN, Column, EXPECTED, RESUMED};
use super::markup::{decimals, grouped, percent, section, table};
use crate::evaluate::report::{ModelReport, Part, Report};

impl Report {
    pub(super) fn parts_section(&self) -> String {
        if self.models.iter().all(|model| model.metrics.questions == 0) {
            return String::new();
        }
        let words = "<p>Many unlocks return to the app that was in front before the screen went off: the answer is \
                     <em>resumed</em>. Where it differs it is <em>chosen</em>: there a launcher's suggestions save the way \
                     to the app.</p>\n";
        section("Chosen or resumed", &format!("{words}{}", self.part_tables(&self.models)))
    }

    /// A table of the chosen answers beside one of the resumed; no table where there are none of a kind.
    pub(super) fn part_tables(&self, models: &[ModelReport]) -> String {
        let Some(first) = models.first() else { return String::new() };
        let table = |(name, columns, part): (&str, [Column; 4], Part)| match part.questions {
            0 => String::new(),
            questions => format!(
                "<div><h3>{name}: {} of the answers ({})</h3>\n{}</div>\n",
                percent(part.share).replace(' ', "&nbsp;"),
                grouped(questions),
                self.columns_table(&columns, models)
            ),
        };
        let tables = [("Chosen", CHOSEN, first.chosen), ("Resumed", RESUMED, first.resumed)].map(table);
        format!("<div class=\"pair\">\n{}</div>", tables.concat())
    }

    pub(super) fn expected_section(&self) -> String {
        let Some(expected) = self.models.iter().find_map(|model| model.expected) else {
            return String::new();
        };
        let words = format!(
            "<p>These people are simulated, so the probabilities are known that their apps were drawn from. Here each model \
             is judged by them and not by the apps, which scatter. Regret is what its expected log loss has above the least \
             possible, the entropy of {}; it is zero for the <em>bayes-optimal</em> alone, and the range below it holds it with \
             95&nbsp;% confidence.</p>\n",
            decimals(expected.entropy, 4)
        );
        section("What is expected", &format!("{words}{}", self.columns_table(&EXPECTED, &self.models)))
    }

    /// One row a model.
    pub(super) fn columns_table(&self, columns: &[Column], models: &[ModelReport]) -> String {
        let best: Vec<Option<String>> = columns.iter().map(|column| column.best(models)).collect();
        let row = |model: &ModelReport| {
            let cells = columns.iter().zip(&best).map(|(column, best)| column.cell(model, best.as_deref()));
            format!("<tr>{}{}</tr>\n", self.row_head(model), cells.collect::<String>())
        };
        let heads = ["model"].into_iter().chain(columns.iter().map(|column| column.head));
        table(heads, models.iter().map(row))
    }
}
