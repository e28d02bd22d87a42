//! Logs that say from when to when an app was in front: windows, unlocks and screens become events.
//!
//! A window is a `Launch`, and a `Close` when it is over or the next one begins; where it has no end, nobody knows when. A
//! window of the app in front that begins within a second of its end, no unlock and no dark screen between, is the same
//! launch: another activity.

use super::clock::Clock;
use super::draft::{Draft, RowPlace, event};
use super::warnings::WarningKind;
use crate::data::event::{AppId, Signal, UserId};
use crate::error::Result;

/// Windows of one app so near each other are one launch.
const SAME_LAUNCH_MS: i64 = 1000;

/// Something that happened, in milliseconds of UTC.
pub(super) struct Happening {
    pub at_ms: i64,
    pub what: What,
    /// Local time minus UTC, where the log says so.
    pub offset_secs: Option<i32>,
    pub place: RowPlace<'static>,
}

#[cfg_attr(not(feature = "sqlite"), allow(dead_code))] // what databases alone have
pub(super) enum What {
    ScreenOn,
    Unlock,
    Window { app: String, until_ms: i64 },
    Notification(String),
    ScreenOff,
}

impl What {
    /// The order in which they come at one time.
    fn rank(&self) -> u8 {
        match self {
            Self::ScreenOn => 0,
            Self::Unlock => 1,
            Self::Window { .. } => 2,
            Self::Notification(_) => 3,
            Self::ScreenOff => 4,
        }
    }
}

/// The app in front, and when its window ends.
struct Front {
    app: AppId,
    since_ms: i64,
    until_ms: i64,
}

/// Writes one user's events. `no_unlock` is said where none of them is an unlock.
///
/// # Errors
/// A time is not believable, and the options are strict.
pub(super) fn write(
    mut happenings: Vec<Happening>,
    user: UserId,
    no_unlock: &str,
    draft: &mut Draft<'_>,
) -> Result<()> {
    let clock = Clock::new(draft.options.time_zone.as_deref())?;
    happenings.sort_by_key(|happening| (happening.at_ms, happening.what.rank()));
    if !happenings.iter().any(|happening| matches!(happening.what, What::Unlock)) {
        draft.warn(WarningKind::NoUnlock, None, no_unlock);
    }
    let mut phone = Writer { user, clock, draft, front: None };
    let mut unlocked_since = false;
    for Happening { at_ms, what, offset_secs, place } in happenings {
        if !phone.draft.check_time(user, at_ms.div_euclid(1000), place)? {
            continue;
        }
        let push = |phone: &mut Writer<'_, '_>, signal| phone.push(at_ms, offset_secs, signal);
        match what {
            What::ScreenOn | What::Unlock => {
                // An app that is over closes before.
                phone.close_if(at_ms, offset_secs, |front| front.until_ms <= at_ms);
                let unlocks = matches!(what, What::Unlock);
                unlocked_since |= unlocks;
                push(&mut phone, if unlocks { Signal::Unlock } else { Signal::ScreenOn });
            }
            What::Window { app, until_ms } => {
                let app = phone.draft.names.intern(&app);
                let goes_on = |front: &&mut Front| {
                    front.app == app && !unlocked_since && at_ms - front.until_ms <= SAME_LAUNCH_MS
                };
                match phone.front.as_mut().filter(goes_on) {
                    Some(front) => front.until_ms = front.until_ms.max(until_ms),
                    None => {
                        phone.close_if(at_ms, offset_secs, |_| true);
                        push(&mut phone, Signal::Launch(app));
                        phone.front = Some(Front { app, since_ms: at_ms, until_ms });
                    }
                }
                unlocked_since = false;
            }
            What::Notification(app) => {
                phone.close_if(at_ms, offset_secs, |front| front.until_ms + SAME_LAUNCH_MS < at_ms);
                let app = phone.draft.names.intern(&app);
                push(&mut phone, Signal::Notification(app));
            }
            What::ScreenOff => {
                phone.close_if(at_ms, offset_secs, |_| true);
                push(&mut phone, Signal::ScreenOff);
            }
        }
    }
    phone.close_if(i64::MAX, None, |_| true);
    Ok(())
}

struct Writer<'a, 'd> {
    user: UserId,
    clock: Clock,
    draft: &'a mut Draft<'d>,
    front: Option<Front>,
}

impl Writer<'_, '_> {
    fn push(&mut self, at_ms: i64, offset_secs: Option<i32>, signal: Signal) {
        let at = at_ms.div_euclid(1000);
        let offset_secs = offset_secs.unwrap_or_else(|| self.clock.offset_secs(at));
        self.draft.push(event(self.user, at, offset_secs, signal), None);
    }

    /// Closes the app in front at the end of its window, or at `at_ms` if that comes first.
    fn close_if(&mut self, at_ms: i64, offset_secs: Option<i32>, is_over: impl Fn(&Front) -> bool) {
        let Some(front) = self.front.take_if(|front| is_over(front)) else { return };
        if front.until_ms > front.since_ms {
            self.push(front.until_ms.min(at_ms), offset_secs, Signal::Close(front.app));
        }
    }
}
