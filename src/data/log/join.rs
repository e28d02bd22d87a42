//! All files together become the log: each person's events once, in time order, as they happened.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use super::draft::{Part, is_repeat};
use super::home::{LeftOut, leave_out_home};
use super::lines::excerpt;
use super::merge::{merge, share_in_common};
use super::readings::Readings;
use super::unlock::{Reordered, order_unlocks};
use super::warnings::{WarningKind, Warnings};
use super::{Log, LogFormat, LogOptions};
use crate::data::event::{Event, UserId};
use crate::data::vocabulary::Vocabulary;

/// More people's files are not compared with one another: that many are a study's.
const MOST_COMPARED: usize = 12;

/// A person's events, by the file that has them.
type Person = Vec<(usize, Vec<Event>)>;

/// The log of `files`, whose events are `parts`, each with its format.
pub(super) fn join(
    files: &[PathBuf],
    formats: &[LogFormat],
    parts: Vec<Part>,
    options: &LogOptions,
    vocabulary: &Vocabulary,
    warnings: &mut Warnings,
) -> Log {
    let (parts, readings): (Vec<_>, Vec<_>) =
        parts.into_iter().map(|part| (part.events, part.readings)).unzip();
    let readings = Readings::together(readings.into_iter());
    let mut people = by_person(parts);
    for (file, events) in people.iter_mut().flatten() {
        events.sort_by_key(|event| event.at);
        let count = events.len();
        // Rows out of order may repeat each other only now.
        events.dedup_by(|event, previous| is_repeat(event, previous));
        if events.len() < count {
            warnings.add_many(WarningKind::Duplicate, &files[*file], (count - events.len()) as u64, None, "");
        }
    }
    note_same_phones(files, &people, warnings);
    // What was done, by the first file of whom it was done to.
    let mut done: BTreeMap<usize, (LeftOut, Reordered)> = BTreeMap::new();
    for home in options.home.iter().filter(|home| !vocabulary.names().contains(home)) {
        if let Some(file) = files.first() {
            let lower = home.to_lowercase();
            let near = vocabulary.names().iter().find(|name| name.to_lowercase() == lower);
            let hint = near.map_or(String::new(), |name| format!("; did you mean `{}`?", excerpt(name, 60)));
            let detail = format!("no app is called `{}`, which --home names{hint}", excerpt(home, 60));
            warnings.add(WarningKind::UnknownHome, file, None, detail);
        }
    }
    let mut events = Vec::new();
    for person in people {
        let first = person.first().map_or(0, |(file, _)| *file);
        // Unlocks that stand for sessions say nothing about home screens.
        let by_behaviour = person.iter().all(|(file, _)| formats[*file].has_unlocks());
        let mut of_person = one_list(files, formats, person, warnings);
        readings.fill(&mut of_person);
        let (left_out, reordered) = done.entry(first).or_default();
        leave_out_home(&mut of_person, options, vocabulary, by_behaviour, left_out);
        let Reordered { moved, doubled } = order_unlocks(&mut of_person);
        (reordered.moved, reordered.doubled) = (reordered.moved + moved, reordered.doubled + doubled);
        events.append(&mut of_person);
    }
    for (file, (left_out, reordered)) in done {
        let file = &files[file];
        if left_out.count() > 0 {
            let words = left_out.words(vocabulary);
            warnings.add_many(WarningKind::HomeScreen, file, left_out.count(), None, words);
        }
        let Reordered { moved, doubled } = reordered;
        if moved + doubled > 0 {
            let detail = format!("{moved} moved by up to 3 seconds, {doubled} dropped");
            warnings.add_many(WarningKind::UnlockOrder, file, moved + doubled, None, detail);
        }
    }
    Log { events }
}

/// People in order of appearance, each with the events of each file.
fn by_person(parts: Vec<Vec<Event>>) -> Vec<Person> {
    let mut places: HashMap<UserId, usize> = HashMap::new();
    let mut people: Vec<Person> = Vec::new();
    for (file, events) in parts.into_iter().enumerate() {
        // Rows of one person mostly stand together.
        let mut last = None;
        for event in events {
            let place = match last {
                Some((user, place)) if user == event.user => place,
                _ => *places.entry(event.user).or_insert(people.len()),
            };
            last = Some((event.user, place));
            if place == people.len() {
                people.push(Vec::new());
            }
            match people[place].last_mut() {
                Some((of, list)) if *of == file => list.push(event),
                _ => people[place].push((file, vec![event])),
            }
        }
    }
    people
}

/// One person's files as one list.
fn one_list(
    files: &[PathBuf],
    formats: &[LogFormat],
    mut person: Person,
    warnings: &mut Warnings,
) -> Vec<Event> {
    if person.len() == 1 {
        return person.pop().map_or_else(Vec::new, |(_, events)| events);
    }
    let (places, lists): (Vec<usize>, Vec<Vec<Event>>) = person.into_iter().unzip();
    let may_shift: Vec<bool> = places.iter().map(|file| formats[*file].is_of_wall_clock()).collect();
    let merged = merge(lists, &may_shift);
    let earlier = |index: usize| match index {
        1 => files[places[0]].display().to_string(),
        _ => "an earlier file".to_owned(),
    };
    for (index, (place, of_file)) in places.iter().zip(&merged.files).enumerate() {
        let file = &files[*place];
        if of_file.shift_secs != 0 {
            let hours = of_file.shift_secs as f64 / 3600.0;
            let detail = format!(
                "its times agree with those of {} where they are moved by {hours:+} hours: another time zone was set when it \
                 was exported; moved",
                earlier(index)
            );
            warnings.add(WarningKind::Shifted, file, None, detail);
        }
        if of_file.offset_secs != 0 {
            let by = of_file.offset_secs;
            let detail = format!(
                "it tells the same as {}, but {} s {}: most events are there twice; leave one of the files out",
                earlier(index),
                by.abs(),
                if by > 0 { "later" } else { "earlier" }
            );
            warnings.add(WarningKind::Offset, file, None, detail);
        }
        if of_file.repeats > 0 {
            warnings.add_many(WarningKind::Repeat, file, of_file.repeats, None, earlier(index));
        }
    }
    merged.events
}

/// Says which people's files tell the same.
fn note_same_phones(files: &[PathBuf], people: &[Person], warnings: &mut Warnings) {
    if !(2..=MOST_COMPARED).contains(&people.len()) {
        return;
    }
    let singles: Vec<&(usize, Vec<Event>)> =
        people.iter().filter(|person| person.len() == 1).filter_map(|person| person.first()).collect();
    for (index, (file, events)) in singles.iter().enumerate() {
        for (other, of_other) in singles[..index].iter().filter(|(other, _)| other != file) {
            let share = share_in_common(of_other, events).filter(|share| *share > 0.5);
            if let Some(share) = share {
                let detail = format!(
                    "{:.0} % of what it says of the same days stands in {}, too: if they are one phone's, say so with --person NAME",
                    100.0 * share,
                    files[*other].display()
                );
                warnings.add(WarningKind::SamePhone, &files[*file], None, detail);
            }
        }
    }
}
