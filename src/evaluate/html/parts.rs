//! What was chosen and what merely resumed, and what is expected where the truth is known.

use super::columns::{CHOSEN, Column, EXPECTED, RESUMED};
use super::markup::{decimals, grouped, percent, section, table};
use crate::evaluate::report::{ModelReport, Report};

impl Report {
    pub(super) fn parts_section(&self) -> String {
        let Some(first) = self.models.first().filter(|model| model.metrics.questions > 0) else {
            return String::new();
        };
        let (chosen, resumed) = (first.chosen, first.resumed);
        let mut words = format!(
            "<p>Many unlocks return to the app that was in front before the screen went off: the answer is \
             <em>resumed</em>. Where it differs it is <em>chosen</em>: there a launcher's suggestions save the way to \
             the app. {} of the answers ({}) are chosen, {} ({}) resumed.</p>\n",
            nonbreaking(&percent(chosen.share)),
            grouped(chosen.questions),
            nonbreaking(&percent(resumed.share)),
            grouped(resumed.questions)
        );
        words += "<div class=\"pair\">\n";
        for (head, columns, questions) in
            [("Chosen", CHOSEN, chosen.questions), ("Resumed", RESUMED, resumed.questions)]
        {
            if questions > 0 {
                let table = self.columns_table(&columns, &self.models);
                words += &format!("<div><h3>{head}</h3>\n{table}</div>\n");
            }
        }
        section("Chosen or resumed", &(words + "</div>"))
    }

    pub(super) fn expected_section(&self) -> String {
        let known: Vec<ModelReport> =
            self.models.iter().filter(|model| model.expected.is_some()).cloned().collect();
        let Some(expected) = known.first().and_then(|model| model.expected) else { return String::new() };
        let words = format!(
            "<p>These people are simulated, so the probabilities are known that their apps were drawn from. Here each model \
             is judged by them and not by the apps, which scatter. Regret is what its expected log loss has above the least \
             possible, the entropy of {}; it is zero for the <em>optimum</em> alone, and the range below it holds it with \
             95&nbsp;% confidence.</p>\n",
            decimals(expected.entropy, 4)
        );
        section("What is expected", &format!("{words}{}", self.columns_table(&EXPECTED, &known)))
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

fn nonbreaking(text: &str) -> String {
    text.replace(' ', "&nbsp;")
}
