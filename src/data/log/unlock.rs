//! What belongs to one unlock, in the order in which it happens to a person: the screen lights up, the lock goes, an app is
//! in front.
//!
//! Phones do not write it in this order. The lock counts as gone when its animation is over, and the app below it is in the
//! foreground by then; some write an unlock twice, or the screen's lighting up after it. So, in every format:
//!
//! 1. An app that came to the front of a locked phone at most [`SAME_MOMENT_SECS`] before the unlock, and is in front still,
//!    is what the unlock led to, unless the next app comes in the second of the unlock. The unlock is put before it, at its
//!    time.
//! 2. An unlock at most so long after another, with no lock between them, is the same unlock.
//! 3. A screen that lights up at most so long after the unlock of a dark phone lit up before it.
//!
//! What was opened earlier on a locked phone (the camera, a call) stays where it is. Events of one person come in time order
//! and leave so. What the tests have put right is not changed again; of rarer orders that is not known.

use crate::data::event::{Event, Signal};

/// How long before and after an unlock what happens belongs to it.
///
/// Of the 274 apps that phones 1 to 3 (App Usage exports) have in front of a locked screen at an unlock, 210 came at most 1
/// second before it, 9 came 2 or 3, 6 came 4 to 7, 49 up to minutes. In three public dumps 25 apps came at most 2 seconds
/// before `KEYGUARD_HIDDEN` and none earlier; in a public ActivityWatch export 525 of 535 came at most 1 second before the
/// unlock (the longest of them and of home screens 2.5), the other ten more than 6. The counting scripts were not kept.
pub(super) const SAME_MOMENT_SECS: i64 = 3;

/// What was put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reordered {
    /// Unlocks that were written after the app that they led to.
    pub moved: u64,
    /// Unlocks that were written twice.
    pub doubled: u64,
}

/// Puts the unlocks of one person into order.
pub(super) fn order_unlocks(events: &mut Vec<Event>) -> Reordered {
    let mut counts = Reordered::default();
    // A log that never says that the screen goes dark does not say when the phone is locked either.
    let has_screen = events.iter().any(|event| matches!(event.signal, Signal::ScreenOff | Signal::ScreenOn));
    let mut done: Vec<Event> = Vec::with_capacity(events.len());
    let mut phone = Phone { is_dark: false, is_locked: true, unlocked: None };
    let mut rest = std::mem::take(events).into_iter().peekable();
    while let Some(event) = rest.next() {
        match event.signal {
            Signal::ScreenOff => phone = Phone { is_dark: true, is_locked: true, unlocked: None },
            Signal::ScreenOn => {
                let dark_unlock = phone.unlocked.filter(|&at| {
                    phone.is_dark
                        && done
                            .get(at)
                            .is_some_and(|unlock| event.at.secs_since(unlock.at) <= SAME_MOMENT_SECS)
                });
                if let Some(at) = dark_unlock {
                    move_before(&mut done, at, event);
                    (phone.is_dark, phone.unlocked) = (false, Some(at + 1));
                    continue;
                }
                phone = Phone { is_dark: false, is_locked: true, unlocked: None };
            }
            Signal::Unlock => {
                let doubled = phone.unlocked.and_then(|at| done.get(at));
                if doubled.is_some_and(|unlock| event.at.secs_since(unlock.at) <= SAME_MOMENT_SECS) {
                    counts.doubled += 1;
                    continue;
                }
                // What comes in the same second is what the unlock led to.
                let is_answered =
                    |next: &Event| next.at == event.at && matches!(next.signal, Signal::Launch(_));
                let may_move = (phone.is_locked || !has_screen) && !rest.peek().is_some_and(is_answered);
                let front = if may_move { in_front(&done, &event) } else { None };
                phone.is_locked = false;
                phone.unlocked = Some(front.unwrap_or(done.len()));
                if let Some(launch) = front {
                    counts.moved += 1;
                    // The screen lit up before, even where that was written in between.
                    let lit = done.iter().skip(launch).position(|event| event.signal == Signal::ScreenOn);
                    if let Some(lit) = lit {
                        let screen_on = done.remove(launch + lit);
                        move_before(&mut done, launch, screen_on);
                        phone.unlocked = Some(launch + 1);
                    }
                    let at = phone.unlocked.unwrap_or(launch);
                    move_before(&mut done, at, event);
                    continue;
                }
            }
            Signal::Launch(_) | Signal::Close(_) | Signal::Notification(_) => {}
        }
        done.push(event);
    }
    *events = done;
    counts
}

/// What the phone shows.
struct Phone {
    /// The screen went dark, and nothing said since that it lit up.
    is_dark: bool,
    is_locked: bool,
    /// Where the unlock stands, since it was locked.
    unlocked: Option<usize>,
}

/// Where the app came to the front that is in front at `unlock`, if that is not long ago and the phone was locked.
fn in_front(done: &[Event], unlock: &Event) -> Option<usize> {
    let mut closed = Vec::new();
    for (at, event) in done.iter().enumerate().rev() {
        if unlock.at.secs_since(event.at) > SAME_MOMENT_SECS {
            return None;
        }
        match event.signal {
            // Only the last one that came can be in front.
            Signal::Launch(app) => return (!closed.contains(&app)).then_some(at),
            Signal::Close(app) => closed.push(app),
            Signal::ScreenOff | Signal::Unlock => return None,
            Signal::ScreenOn | Signal::Notification(_) => {}
        }
    }
    None
}

/// Puts `event` before the one at `at`, at its time.
fn move_before(done: &mut Vec<Event>, at: usize, event: Event) {
    let event = match done.get(at) {
        Some(next) => Event { at: next.at, utc_offset_secs: next.utc_offset_secs, ..event },
        None => event,
    };
    done.insert(at.min(done.len()), event);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::event::{AppId, Timestamp, UserId};

    /// `5 unlock`, `5 on`, `5 off`, `6 +1` (launch), `9 -1` (close), `9 !1` (notification).
    fn events(story: &[&str]) -> Vec<Event> {
        let event = |line: &&str| {
            let (at, what) = line.split_once(' ').unwrap();
            let app = || AppId(what[1..].parse().unwrap());
            let signal = match what {
                "unlock" => Signal::Unlock,
                "on" => Signal::ScreenOn,
                "off" => Signal::ScreenOff,
                _ if what.starts_with('+') => Signal::Launch(app()),
                _ if what.starts_with('-') => Signal::Close(app()),
                _ => Signal::Notification(app()),
            };
            Event::new(UserId(1), Timestamp(at.parse().unwrap()), signal)
        };
        story.iter().map(event).collect()
    }

    #[test]
    fn unlocks_come_before_what_they_lead_to() {
        struct Case {
            what: &'static str,
            written: &'static [&'static str],
            happened: &'static [&'static str],
        }
        let unchanged = |what, story| Case { what, written: story, happened: story };
        let cases = [
            unchanged("in order", &["0 on", "2 unlock", "2 +1", "9 -1", "9 off"]),
            Case {
                what: "the app below the lock is written first",
                written: &["0 on", "2 +1", "4 unlock", "9 -1", "9 off"],
                happened: &["0 on", "2 unlock", "2 +1", "9 -1", "9 off"],
            },
            Case {
                what: "even before the screen lights up",
                written: &["0 off", "60 +1", "61 on", "63 unlock", "70 +2"],
                happened: &["0 off", "60 on", "60 unlock", "60 +1", "70 +2"],
            },
            Case {
                what: "notifications and other apps' closes lie between",
                written: &["0 on", "2 +1", "2 !3", "3 -2", "4 unlock"],
                happened: &["0 on", "2 unlock", "2 +1", "2 !3", "3 -2"],
            },
            unchanged("four seconds are another happening", &["0 on", "2 +1", "6 unlock", "9 +2"]),
            unchanged("the camera over the lock", &["0 on", "1 +1", "40 unlock", "50 +2"]),
            unchanged("closed again before the unlock", &["0 on", "1 +1", "2 -1", "3 unlock", "4 +2"]),
            unchanged("an app of before the dark", &["0 unlock", "1 +1", "2 off", "3 unlock", "4 +2"]),
            unchanged("the phone was not locked", &["0 off", "1 unlock", "9 +1", "10 unlock", "11 +2"]),
            Case {
                what: "of two apps, the one in front",
                written: &["0 on", "2 +1", "3 +2", "4 unlock"],
                happened: &["0 on", "2 +1", "3 unlock", "3 +2"],
            },
            Case {
                what: "doubled",
                written: &["0 on", "2 unlock", "3 unlock", "3 +1", "9 off"],
                happened: &["0 on", "2 unlock", "3 +1", "9 off"],
            },
            Case {
                what: "doubled around the app",
                written: &["0 on", "1 +1", "2 unlock", "3 unlock", "9 off"],
                happened: &["0 on", "1 unlock", "1 +1", "9 off"],
            },
            unchanged("locked between", &["0 on", "2 unlock", "3 on", "4 unlock", "5 +1"]),
            Case {
                what: "a face unlocks the dark phone",
                written: &["0 off", "60 unlock", "61 on", "62 +1"],
                happened: &["0 off", "60 on", "60 unlock", "62 +1"],
            },
            Case {
                what: "and the app is there already",
                written: &["0 off", "60 unlock", "60 +1", "61 on", "62 unlock", "90 off"],
                happened: &["0 off", "60 on", "60 unlock", "60 +1", "90 off"],
            },
            Case {
                what: "a log of apps and unlocks alone",
                written: &["0 unlock", "1 +1", "30 +2", "32 unlock", "60 +1"],
                happened: &["0 unlock", "1 +1", "30 unlock", "30 +2", "60 +1"],
            },
            unchanged("nothing", &[]),
            unchanged(
                "lit up after an unlock of a phone that was not dark",
                &["0 unlock", "16 +1", "17 unlock", "20 on"],
            ),
            Case {
                what: "lit up and unlocked after the app",
                written: &["0 unlock", "3 +1", "5 on", "6 unlock"],
                happened: &["0 unlock", "3 on", "3 unlock", "3 +1"],
            },
        ];
        for Case { what, written, happened } in cases {
            let mut found = events(written);
            order_unlocks(&mut found);
            assert_eq!(found, events(happened), "{what}");
            assert_eq!(order_unlocks(&mut found), Reordered::default(), "{what}: once more");
            assert_eq!(found, events(happened), "{what}: once more");
        }
        let mut counted = events(&["0 on", "1 +1", "2 unlock", "3 unlock", "9 off"]);
        assert_eq!(order_unlocks(&mut counted), Reordered { moved: 1, doubled: 1 });
    }
}
