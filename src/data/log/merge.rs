//! Files of one person whose days overlap become one log: each event once, however many files have it.
//!
//! Within the time that two files share, an event of the later file is a repeat where the earlier one has the same signal,
//! of the same app, at most [`SAME_SECS`] away (one file rounds to seconds, the other cuts); of two equal events both stay
//! where each file has two. A file that was exported under another time zone has all its events shifted by a whole number of
//! quarters of an hour: it is shifted back where that makes most of its events repeats, if both files cover the same time as
//! they are and have seconds, without which regular days agree by chance. Any other constant difference is only said: nobody
//! knows which of the two clocks was right.

use std::collections::HashMap;

use super::home::has_seconds;
use crate::data::event::{Event, Signal, Timestamp};

/// One file rounds a time, another cuts it.
const SAME_SECS: i64 = 1;
/// Offsets of time zones are multiples of this.
const ZONE_STEP_SECS: i64 = 900;
/// No one sets a clock further: and an event's offset stays one that is believed.
const MOST_ZONE_SECS: i64 = 14 * 3600;
/// Fewer shared events show nothing about a shift, nor about whose files these are.
const FEWEST_SHARED: usize = 20;
/// Events that a shift is tried on.
const SAMPLE: usize = 400;

/// One person's events out of several files.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// In time order.
    pub events: Vec<Event>,
    /// Of each file: events that an earlier one had, and by how many seconds it was shifted.
    pub files: Vec<FileMerge>,
}

/// What became of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct FileMerge {
    pub repeats: u64,
    pub shift_secs: i64,
    /// By how many seconds its times differ from those of the same events in earlier files, where it was not shifted.
    pub offset_secs: i64,
}

/// Merges files, each in time order; which of them may have been exported under another time zone, `may_shift` says.
pub(super) fn merge(files: Vec<Vec<Event>>, may_shift: &[bool]) -> Merged {
    let mut merged = Merged::default();
    for (mut events, may_shift) in files.into_iter().zip(may_shift) {
        let difference = difference_secs(&merged.events, &events);
        let shift_secs = if *may_shift && difference % ZONE_STEP_SECS == 0 { difference } else { 0 };
        let offset_secs = shift_secs - difference;
        if shift_secs != 0 {
            for event in &mut events {
                event.at = Timestamp(event.at.0 + shift_secs);
                event.utc_offset_secs -= shift_secs as i32;
            }
        }
        let is_repeat = repeats(&merged.events, &events);
        let before = events.len();
        let mut repeat = is_repeat.into_iter();
        events.retain(|_| !repeat.next().unwrap_or(false));
        merged.files.push(FileMerge { repeats: (before - events.len()) as u64, shift_secs, offset_secs });
        merged.events.append(&mut events);
        // Stable: of one second, those of the earlier file come first.
        merged.events.sort_by_key(|event| event.at);
    }
    merged
}

/// What share of the events in the time that both files cover is the same, if that says something: one phone's files share
/// nearly all, two phones' files nearly none.
pub(super) fn share_in_common(a: &[Event], b: &[Event]) -> Option<f64> {
    let within = |events: &[Event], of: &[Event]| -> usize {
        let (Some(first), Some(last)) = (of.first(), of.last()) else { return 0 };
        events.iter().filter(|event| (first.at..=last.at).contains(&event.at)).count()
    };
    let fewer = within(a, b).min(within(b, a));
    let shared = repeats(a, b).into_iter().filter(|is_repeat| *is_repeat).count();
    (fewer >= FEWEST_SHARED).then(|| shared as f64 / fewer as f64)
}

/// Which events of `new` are in `known` already. Both are in time order.
fn repeats(known: &[Event], new: &[Event]) -> Vec<bool> {
    let mut is_repeat = vec![false; new.len()];
    let (Some(first), Some(last)) = (new.first(), new.last()) else { return is_repeat };
    let mut times: HashMap<Signal, Vec<i64>> = HashMap::new();
    let shared = (first.at.0 - SAME_SECS)..=(last.at.0 + SAME_SECS);
    for event in known.iter().filter(|event| shared.contains(&event.at.0)) {
        times.entry(event.signal).or_default().push(event.at.0);
    }
    // Times of each signal that an event of `new` has been matched with, or that are too early for all later ones.
    let mut passed: HashMap<Signal, usize> = HashMap::new();
    for (event, is_repeat) in new.iter().zip(&mut is_repeat) {
        let Some(times) = times.get(&event.signal) else { continue };
        let next = passed.entry(event.signal).or_default();
        while times.get(*next).is_some_and(|at| event.at.0 - at > SAME_SECS) {
            *next += 1;
        }
        if times.get(*next).is_some_and(|at| (at - event.at.0).abs() <= SAME_SECS) {
            (*is_repeat, *next) = (true, *next + 1);
        }
    }
    is_repeat
}

/// By how much `new` has to be shifted to tell the same as `known`: 0 unless that is clear.
fn difference_secs(known: &[Event], new: &[Event]) -> i64 {
    let (Some(first), Some(last)) = (known.first(), known.last()) else { return 0 };
    let mut times: HashMap<Signal, Vec<i64>> = HashMap::new();
    for event in known.iter().filter(|event| !matches!(event.signal, Signal::Close(_))) {
        times.entry(event.signal).or_default().push(event.at.0);
    }
    // Of those that fall into the time that is known, the share that is known.
    let agreement = |shift: i64| {
        let within = |event: &&Event| (first.at.0..=last.at.0).contains(&(event.at.0 + shift));
        let inside: Vec<&Event> =
            new.iter().filter(within).filter(|event| !matches!(event.signal, Signal::Close(_))).collect();
        let sample = inside.iter().step_by(inside.len() / SAMPLE + 1);
        let is_known = |event: &&&Event| {
            let at = event.at.0 + shift;
            times.get(&event.signal).is_some_and(|times| {
                let near = times.partition_point(|&known| known < at - SAME_SECS);
                times.get(near).is_some_and(|&known| known <= at + SAME_SECS)
            })
        };
        let (count, known) = (sample.clone().count(), sample.filter(is_known).count());
        if count < FEWEST_SHARED { 0.0 } else { known as f64 / count as f64 }
    };
    let overlap = new.iter().filter(|event| (first.at..=last.at).contains(&event.at)).count();
    if overlap < 2 * FEWEST_SHARED || !has_seconds(known) || !has_seconds(new) {
        return 0;
    }
    let as_it_is = agreement(0);
    if as_it_is > 0.5 {
        return 0;
    }
    let steps = MOST_ZONE_SECS / ZONE_STEP_SECS;
    let zones = (-steps..=steps).map(|step| step * ZONE_STEP_SECS);
    let shifts = zones.chain(frequent_differences(&times, new));
    let best = shifts.map(|shift| (agreement(shift), shift)).max_by(|a, b| {
        // Of equals the one that a time zone makes, then the smaller shift.
        let is_zone = |shift: i64| shift % ZONE_STEP_SECS == 0;
        a.0.total_cmp(&b.0).then(is_zone(a.1).cmp(&is_zone(b.1))).then(b.1.abs().cmp(&a.1.abs()))
    });
    best.filter(|&(share, shift)| share > 0.8 && share > 2.0 * as_it_is && shift.abs() > SAME_SECS)
        .map_or(0, |(_, shift)| shift)
}

/// The differences between an event of `new` and one of the same signal that are the most frequent.
fn frequent_differences(times: &HashMap<Signal, Vec<i64>>, new: &[Event]) -> Vec<i64> {
    const MOST: usize = 3;
    let mut counts: HashMap<i64, u32> = HashMap::new();
    for event in new.iter().step_by(new.len() / SAMPLE + 1) {
        let Some(times) = times.get(&event.signal) else { continue };
        let first = times.partition_point(|&at| at < event.at.0 - MOST_ZONE_SECS);
        let near = times.iter().skip(first).take_while(|&&at| at <= event.at.0 + MOST_ZONE_SECS);
        near.for_each(|at| *counts.entry(at - event.at.0).or_default() += 1);
    }
    let mut counts: Vec<(i64, u32)> = counts.into_iter().collect();
    counts.sort_unstable_by_key(|&(difference, count)| (std::cmp::Reverse(count), difference));
    counts.into_iter().take(MOST).map(|(difference, _)| difference).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::event::{AppId, UserId};

    /// Unlocks and launches at odd times, in time order.
    fn phone(seed: i64, events: i64) -> Vec<Event> {
        let mut at = 1_700_000_000;
        let event = |index: i64| {
            at += (index * index * 7919 + seed * 104_729) % 1800;
            let signal = match index % 3 {
                0 => Signal::Unlock,
                1 => Signal::Launch(AppId((index * 13 % 5) as u32)),
                _ => Signal::Close(AppId(((index - 1) * 13 % 5) as u32)),
            };
            Event::new(UserId(1), Timestamp(at), signal)
        };
        (0..events).map(event).collect()
    }

    #[test]
    fn every_event_once() {
        let whole = phone(1, 300);
        struct Case {
            what: &'static str,
            files: Vec<Vec<Event>>,
            repeats: Vec<u64>,
        }
        let case = |what, files, repeats: &[u64]| Case { what, files, repeats: repeats.to_vec() };
        let cases = [
            case("one file", vec![whole.clone()], &[0]),
            case("the same file twice", vec![whole.clone(), whole.clone()], &[0, 300]),
            case("days that overlap", vec![whole[..200].to_vec(), whole[120..].to_vec()], &[0, 80]),
            case("the later file first", vec![whole[120..].to_vec(), whole[..200].to_vec()], &[0, 80]),
            case("one within the other", vec![whole.clone(), whole[50..90].to_vec()], &[0, 40]),
            case("one after the other", vec![whole[..150].to_vec(), whole[150..].to_vec()], &[0, 0]),
            case(
                "three",
                vec![whole[..150].to_vec(), whole[200..].to_vec(), whole[100..250].to_vec()],
                &[0, 0, 100],
            ),
            case("nothing", vec![whole.clone(), Vec::new()], &[0, 0]),
        ];
        for Case { what, files, repeats } in cases {
            let may_shift = vec![true; files.len()];
            let merged = merge(files, &may_shift);
            assert_eq!(merged.events, whole, "{what}");
            assert_eq!(merged.files.iter().map(|file| file.repeats).collect::<Vec<_>>(), repeats, "{what}");
            assert!(merged.files.iter().all(|file| file.shift_secs == 0), "{what}");
        }
    }

    #[test]
    fn a_second_off_and_equal_events() {
        let notice = |at| Event::new(UserId(1), Timestamp(at), Signal::Notification(AppId(1)));
        // Three in one second, of which the other file has two and a fourth a second later.
        let merged = merge(
            vec![vec![notice(5), notice(5), notice(5)], vec![notice(5), notice(5), notice(6), notice(9)]],
            &[true; 2],
        );
        assert_eq!(merged.events, [5, 5, 5, 9].map(notice));
        let whole = phone(2, 90);
        let cut: Vec<Event> =
            whole.iter().map(|event| Event { at: Timestamp(event.at.0 + 1), ..*event }).collect();
        assert_eq!(merge(vec![whole.clone(), cut], &[true; 2]).events.len(), 90);
    }

    #[test]
    fn another_time_zone_is_shifted_back() {
        let whole = phone(3, 300);
        for hours in [-5, 1, 9] {
            let shift = 3600 * hours + 1800;
            let away = |event: &Event| Event { at: Timestamp(event.at.0 + shift), ..*event };
            let merged =
                merge(vec![whole[..200].to_vec(), whole[120..].iter().map(away).collect()], &[true; 2]);
            assert_eq!(
                merged.files[1],
                FileMerge { repeats: 80, shift_secs: -shift, offset_secs: 0 },
                "{hours}"
            );
            let times = |events: &[Event]| events.iter().map(|event| event.at).collect::<Vec<_>>();
            assert_eq!(times(&merged.events), times(&whole), "{hours}");
        }
        // A clock that was wrong is only said, and so is a zone where files are not shifted.
        for (seconds, may_shift) in [(7, true), (-100, true), (3600, false), (-47, false)] {
            let away = |event: &Event| Event { at: Timestamp(event.at.0 + seconds), ..*event };
            let files = vec![whole[..200].to_vec(), whole[120..].iter().map(away).collect()];
            let merged = merge(files, &[may_shift; 2]);
            let FileMerge { shift_secs, offset_secs, .. } = merged.files[1];
            assert_eq!((shift_secs, offset_secs), (0, seconds), "{seconds}");
            assert!(merged.events.len() > 350, "{seconds}");
        }
        // Regular days agree with themselves an hour later, with seconds and without.
        for second in [0, 17] {
            let days: Vec<Event> = (0..800)
                .map(|half_hour| {
                    let at = Timestamp(1_699_999_200 + 1800 * half_hour + second);
                    Event::new(UserId(1), at, Signal::Launch(AppId(1)))
                })
                .collect();
            let merged = merge(vec![days[..400].to_vec(), days[400..].to_vec()], &[true; 2]);
            assert_eq!(merged.files[1], FileMerge::default(), "{second}");
        }
        // Another phone's log is no shifted one.
        let merged = merge(vec![whole.clone(), phone(4, 300)], &[true; 2]);
        assert_eq!(merged.files[1].shift_secs, 0);
        assert!(share_in_common(&whole, &phone(4, 300)).unwrap() < 0.1);
        assert_eq!(share_in_common(&whole, &whole[40..]), Some(1.0));
        assert_eq!(share_in_common(&whole[..10], &whole), None);
    }
}
