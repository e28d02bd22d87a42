//! What the labels of an App Usage export mean, by the table of languages, or by how they behave.
//!
//! `data/app_usage_labels.csv` has the languages of which an export was seen. In another language, or in the part of an export
//! where the phone had one, the labels of the screen are inferred from what they do ([`infer`]):
//!
//! - *Screen off* comes before the long silences, and after it only the screen comes on.
//! - Of the two labels that follow it, *on, locked* comes before *on, unlocked*, and not the other way round. Where one label
//!   follows it, that is the unlock, unless hardly anything else leads to the next one.
//! - *Notification* has no duration, and the name of an app within one wording.
//!
//! On phones 1 to 3 this finds what the table says of all their labels. What is found is said in a warning; where the signs are
//! few or contradict each other, nothing is inferred.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// What a label says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    Unlock,
    ScreenOnLocked,
    ScreenOff,
    /// With the app's name.
    Notification(&'a str),
    App,
}

/// The label table, taken apart.
#[derive(Debug, Default)]
pub(super) struct Labels {
    screens: HashMap<String, Meaning<'static>>,
    /// What stands before and after the app's name.
    notifications: Vec<(String, String)>,
}

pub(super) static LABELS: LazyLock<Labels> =
    LazyLock::new(|| Labels::parse(include_str!("../../../data/app_usage_labels.csv")));

impl Labels {
    /// Rows of another shape are left to the test below to find.
    fn parse(table: &str) -> Self {
        let mut labels = Self::default();
        for (_language, label, meaning) in label_rows(table).flatten() {
            let label = plain_spaces(&label);
            let screen = match meaning.as_str() {
                "unlock" => Meaning::Unlock,
                "screen-on-locked" => Meaning::ScreenOnLocked,
                "screen-off" | "screen-off-locked" => Meaning::ScreenOff,
                _ => {
                    if let Some((before, after)) = label.split_once("{}") {
                        labels.notifications.push((before.to_owned(), after.to_owned()));
                    }
                    continue;
                }
            };
            labels.screens.insert(label, screen);
        }
        labels
    }

    /// What a label says.
    pub fn meaning<'a>(&self, label: &'a str) -> Meaning<'a> {
        if let Some(&screen) = self.screens.get(&plain_spaces(label)) {
            return screen;
        }
        let name = self.notifications.iter().find_map(|(before, after)| {
            let name = strip_prefix_spaces(label, before)?.strip_suffix(after.as_str())?.trim();
            (!name.is_empty()).then_some(name)
        });
        name.map_or(Meaning::App, Meaning::Notification)
    }
}

impl Labels {
    /// Takes the labels of `other`, too.
    pub fn extend(&mut self, other: Self) {
        self.screens.extend(other.screens);
        self.notifications.extend(other.notifications);
    }

    /// Each label and what it says, in words.
    pub fn words(&self) -> Vec<(String, &'static str)> {
        let word = |meaning: &Meaning<'_>| match meaning {
            Meaning::Unlock => "the unlock",
            Meaning::ScreenOnLocked => "the locked screen coming on",
            _ => "the screen going dark",
        };
        let mut words: Vec<_> =
            self.screens.iter().map(|(label, meaning)| (label.clone(), word(meaning))).collect();
        words.sort_unstable();
        let notifications = self.notifications.iter();
        words.extend(notifications.map(|(before, after)| (format!("{before}{{}}{after}"), "a notification")));
        words
    }
}

/// Language, label and meaning of each row of the label table.
fn label_rows(table: &str) -> impl Iterator<Item = csv::Result<(String, String, String)>> {
    csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(table.as_bytes()).into_deserialize()
}

/// French and others put a non-breaking space here and there; a label is the same with a plain one.
fn plain_spaces(label: &str) -> String {
    label.trim().replace(['\u{a0}', '\u{202f}'], " ")
}

/// `text` after `prefix`, any kind of space being equal to a plain one.
fn strip_prefix_spaces<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let mut rest = text.chars();
    for wanted in prefix.chars() {
        let found = rest.next()?;
        let found = if matches!(found, '\u{a0}' | '\u{202f}') { ' ' } else { found };
        if found != wanted {
            return None;
        }
    }
    Some(rest.as_str())
}

/// A row as inference sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct LabelledRow<'a> {
    pub label: &'a str,
    /// On any clock that goes on.
    pub at_secs: i64,
    pub duration_secs: i64,
}

/// A silence that is rarely a film.
const LONG_SECS: i64 = 1800;
/// Fewer long silences, and fewer rows of a label, show nothing.
const FEWEST_SILENCES: usize = 10;
const FEWEST_ROWS: usize = 10;
/// Fewer apps within one wording are a coincidence.
const FEWEST_NOTIFIED: usize = 3;
/// More labels than any phone has apps: then no wording is looked for.
const MOST_LABELS: usize = 2000;

/// The labels of the screen and of notifications in rows of an unknown language, oldest first; nothing unless they are clear.
///
/// The percentages leave room on both sides of what phones 1 to 3 have: at least 89 % of the silences are dark, an app precedes
/// 9 % of them at most, and one label of the screen follows the other 78 to 972 times, the other way round 4 times at most.
pub(super) fn infer(rows: &[LabelledRow<'_>]) -> Option<Labels> {
    let mut timeless: HashMap<&str, bool> = HashMap::new();
    for row in rows {
        *timeless.entry(row.label).or_insert(true) &= row.duration_secs == 0;
    }
    let mut labels = Labels { notifications: wordings(&timeless), ..Labels::default() };
    // A notification comes at any time, and says nothing about the screen.
    let is_notice = |label: &str| matches!(labels.meaning(label), Meaning::Notification(_));
    let notices: HashSet<&str> = timeless.keys().copied().filter(|label| is_notice(label)).collect();
    let stays: Vec<LabelledRow<'_>> =
        rows.iter().filter(|row| !notices.contains(row.label)).copied().collect();
    let pairs = || stays.iter().zip(stays.iter().skip(1));
    let mut silences: HashMap<&str, usize> = HashMap::new();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for (row, next) in pairs() {
        *counts.entry(row.label).or_default() += 1;
        if next.at_secs - row.at_secs >= LONG_SECS {
            *silences.entry(row.label).or_default() += 1;
        }
    }
    let all_silences: usize = silences.values().sum();
    let is_frequent = |label: &str| counts.get(label).is_some_and(|&count| count >= FEWEST_ROWS);
    let share = |part: usize, of: usize, percent: usize| 100 * part >= percent * of;
    let mut off: HashSet<&str> = silences
        .iter()
        .filter(|&(label, &count)| share(count, all_silences, 15) && is_frequent(label))
        .map(|(&label, _)| label)
        .collect();
    let on = followers(&stays, &off, 10);
    // Hardly anything but the screen's coming on follows what says that it went dark; of several ways one may be rare.
    let mut goes_on: HashMap<&str, usize> = HashMap::new();
    for (row, _) in pairs().filter(|(_, next)| on.contains(next.label) || off.contains(next.label)) {
        *goes_on.entry(row.label).or_default() += 1;
    }
    let mut comes_on: HashMap<&str, usize> = HashMap::new();
    for (row, _) in pairs().filter(|(_, next)| on.contains(next.label)) {
        *comes_on.entry(row.label).or_default() += 1;
    }
    let most = |part: &HashMap<&str, usize>, label: &str| {
        let all = counts.get(label).copied().unwrap_or_default();
        share(part.get(label).copied().unwrap_or_default(), all, 80)
    };
    off.retain(|label| most(&goes_on, label));
    off.extend(
        counts.keys().filter(|&&label| !on.contains(label) && is_frequent(label) && most(&comes_on, label)),
    );
    let dark: usize = off.iter().filter_map(|label| silences.get(label)).sum();
    let is_clear = all_silences >= FEWEST_SILENCES && share(dark, all_silences, 85) && off.len() <= 3;
    let (unlock, locked) = unlock_of(&stays, &on, &off).filter(|_| is_clear)?;
    let mut put = |label: &str, meaning| {
        labels.screens.insert(plain_spaces(label), meaning);
    };
    put(unlock, Meaning::Unlock);
    locked.into_iter().for_each(|label| put(label, Meaning::ScreenOnLocked));
    off.into_iter().for_each(|label| put(label, Meaning::ScreenOff));
    Some(labels)
}

/// What comes after rows of `of`, in at least so many percent of the cases each.
fn followers<'a>(rows: &[LabelledRow<'a>], of: &HashSet<&str>, percent: usize) -> HashSet<&'a str> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let pairs = rows.iter().zip(rows.iter().skip(1));
    for (_, next) in pairs.filter(|(row, next)| of.contains(row.label) && !of.contains(next.label)) {
        *counts.entry(next.label).or_default() += 1;
    }
    let all: usize = counts.values().sum();
    counts.into_iter().filter(|&(_, count)| 100 * count >= percent * all).map(|(label, _)| label).collect()
}

/// Of the labels that say that the screen came on, the unlock, and the other one if there is one.
fn unlock_of<'a>(
    rows: &[LabelledRow<'a>],
    on: &HashSet<&'a str>,
    off: &HashSet<&str>,
) -> Option<(&'a str, Option<&'a str>)> {
    let mut on: Vec<&str> = on.iter().copied().collect();
    on.sort_unstable();
    let pairs = || rows.iter().zip(rows.iter().skip(1));
    let count = |label: &str| rows.iter().filter(|row| row.label == label).count();
    match on[..] {
        [one] => {
            let mut after_one: Vec<&str> = followers(rows, &HashSet::from([one]), 50).into_iter().collect();
            after_one.sort_unstable();
            // It may be that the screen always comes on locked: what hardly ever comes otherwise is the unlock.
            let unlock = after_one.into_iter().find(|&next| {
                let all = pairs().filter(|(_, row)| row.label == next).count();
                let is_before = |label: &str| label == one || off.contains(label);
                let from_dark =
                    pairs().filter(|(row, then)| then.label == next && is_before(row.label)).count();
                !off.contains(next) && all >= FEWEST_ROWS && 10 * from_dark >= 9 * all
            });
            let apps = pairs().filter(|(row, next)| row.label == one && !off.contains(next.label)).count();
            let is_clear = count(one) >= FEWEST_ROWS && 2 * apps >= count(one);
            is_clear.then_some(unlock.map_or((one, None), |unlock| (unlock, Some(one))))
        }
        [a, b] => {
            let after = |first: &str, then: &str| {
                pairs().filter(|(row, next)| row.label == first && next.label == then).count()
            };
            let (ab, ba) = (after(a, b), after(b, a));
            let (few, many, unlock, locked) = if ab >= ba { (ba, ab, b, a) } else { (ab, ba, a, b) };
            let is_clear = many >= FEWEST_ROWS && many >= 5 * few;
            (is_clear && count(unlock) >= FEWEST_ROWS).then_some((unlock, Some(locked)))
        }
        _ => None,
    }
}

/// What stands before and after apps' names in labels without any duration.
fn wordings(timeless: &HashMap<&str, bool>) -> Vec<(String, String)> {
    if timeless.len() > MOST_LABELS {
        return Vec::new();
    }
    let (notices, apps): (Vec<_>, Vec<_>) = timeless.iter().partition(|&(_, &timeless)| timeless);
    let mut counts: HashMap<(&str, &str), usize> = HashMap::new();
    for (label, _) in &notices {
        let within = apps.iter().filter_map(|(app, _)| label.split_once(**app));
        within.for_each(|wording| *counts.entry(wording).or_default() += 1);
    }
    let mut found: Vec<((&str, &str), usize)> = counts.into_iter().collect();
    // The most frequent one, of equals the shorter.
    found.sort_by_key(|&((before, after), count)| {
        (std::cmp::Reverse(count), before.len() + after.len(), before, after)
    });
    let best = found.first().filter(|&&((before, after), count)| {
        count >= FEWEST_NOTIFIED && !(before.trim().is_empty() && after.trim().is_empty())
    });
    best.map(|((before, after), _)| (plain_spaces_within(before), (*after).to_owned())).into_iter().collect()
}

fn plain_spaces_within(text: &str) -> String {
    text.replace(['\u{a0}', '\u{202f}'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weeks of a phone whose labels are these: off, locked, unlock, and a wording.
    fn weeks(days: i64, [off, locked, unlock]: [&str; 3], wording: (&str, &str)) -> Vec<(String, i64, i64)> {
        let apps = ["Mail", "Karten", "Chat", "Uhr"];
        let mut rows = Vec::new();
        for use_ in 0..days * 12 {
            let at = 7200 * use_ + 37 * (use_ % 11);
            let app = |index: i64| apps[(index % 4) as usize];
            if (use_ % 3 > 0 || locked == "immer") && !locked.is_empty() {
                rows.push((locked.to_owned(), at - 2, 2));
            }
            rows.push((unlock.to_owned(), at, 1));
            rows.push((app(use_ * 7).to_owned(), at + 1, 40));
            rows.push((format!("{}{}{}", wording.0, app(use_), wording.1), at + 20, 0));
            rows.push((app(use_ * 5 + 1).to_owned(), at + 41, 60));
            rows.push((off.to_owned(), at + 101, 7000));
        }
        rows
    }

    fn of(rows: &[(String, i64, i64)]) -> Vec<LabelledRow<'_>> {
        rows.iter()
            .map(|(label, at_secs, duration_secs)| LabelledRow {
                label,
                at_secs: *at_secs,
                duration_secs: *duration_secs,
            })
            .collect()
    }

    #[test]
    fn labels_are_told_by_what_they_do() {
        let german = ["Bildschirm aus", "Bildschirm an (gesperrt)", "Bildschirm an (entsperrt)"];
        let rows = weeks(7, german, ("Benachrichtigung (", ")"));
        let labels = infer(&of(&rows)).unwrap();
        assert_eq!(labels.meaning("Bildschirm aus"), Meaning::ScreenOff);
        assert_eq!(labels.meaning("Bildschirm an (gesperrt)"), Meaning::ScreenOnLocked);
        assert_eq!(labels.meaning("Bildschirm an (entsperrt)"), Meaning::Unlock);
        assert_eq!(labels.meaning("Benachrichtigung (Neu)"), Meaning::Notification("Neu"));
        assert_eq!(labels.meaning("Mail"), Meaning::App);
        // A phone without a lock.
        let rows = weeks(7, ["aus", "", "an"], ("Neu: ", ""));
        let labels = infer(&of(&rows)).unwrap();
        assert_eq!((labels.meaning("an"), labels.meaning("aus")), (Meaning::Unlock, Meaning::ScreenOff));
        assert_eq!(labels.meaning("Neu: Mail"), Meaning::Notification("Mail"));
        // Unlocks without any duration are no notifications.
        let mut rows = weeks(7, german, ("Neu: ", ""));
        rows.iter_mut().filter(|row| row.0 == german[2]).for_each(|row| row.2 = 0);
        assert_eq!(infer(&of(&rows)).unwrap().meaning(german[2]), Meaning::Unlock);
        // A screen that never comes on unlocked.
        let rows = weeks(7, ["aus", "immer", "an"], ("Neu: ", ""));
        let labels = infer(&of(&rows)).unwrap();
        assert_eq!(
            (labels.meaning("immer"), labels.meaning("an")),
            (Meaning::ScreenOnLocked, Meaning::Unlock)
        );
    }

    #[test]
    fn nothing_is_inferred_where_it_is_not_clear() {
        let german = ["aus", "gesperrt", "entsperrt"];
        let rows = |days| weeks(days, german, ("N (", ")"));
        let without = |label: &str| rows(7).into_iter().filter(|(of, ..)| of != label).collect::<Vec<_>>();
        let mut shuffled = rows(7);
        for (index, row) in shuffled.iter_mut().enumerate() {
            row.0 = german[index * 7919 % 3].to_owned();
        }
        let cases = [
            ("nothing", Vec::new()),
            ("half a day", rows(1)[..20].to_vec()),
            ("no screen off", without("aus")),
            ("labels at random", shuffled),
        ];
        for (what, rows) in cases {
            assert!(infer(&of(&rows)).is_none(), "{what}");
        }
    }

    #[test]
    fn label_table_is_sound() {
        let table = include_str!("../../../data/app_usage_labels.csv");
        let rows: Vec<(String, String, String)> = label_rows(table).collect::<csv::Result<_>>().unwrap();
        for (_, label, meaning) in &rows {
            let known = ["unlock", "screen-on-locked", "screen-off", "screen-off-locked", "notification"];
            assert!(known.contains(&meaning.as_str()), "{label}: {meaning}");
            assert_eq!(meaning == "notification", label.contains("{}"), "{label}: {meaning}");
        }
        for language in ["en", "fr"] {
            let has_unlock = rows.iter().any(|(of, _, meaning)| of == language && meaning == "unlock");
            assert!(has_unlock, "{language} has no unlock label");
        }
    }

    #[test]
    fn labels_mean_what_they_say() {
        let cases = [
            ("Screen on (unlocked)", Meaning::Unlock),
            ("Écran allumé\u{a0}(déverrouillé)", Meaning::Unlock),
            ("Écran allumé (verrouillé)", Meaning::ScreenOnLocked),
            ("Screen off", Meaning::ScreenOff),
            ("Notification posted (Notes (beta))", Meaning::Notification("Notes (beta)")),
            ("Notifications envoyées\u{a0}(Google\u{a0}Play)", Meaning::Notification("Google\u{a0}Play")),
            ("Notification posted ()", Meaning::App),
            ("Screen Time", Meaning::App),
        ];
        for (label, expected) in cases {
            assert_eq!(LABELS.meaning(label), expected, "{label}");
        }
    }
}
