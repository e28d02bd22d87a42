//! The (app, time, place) tokens that the transformer reads: one for each launch, notification and unlock.

use std::f32::consts::TAU;

use super::app_use::Departure;
use super::history::History;
use super::question::Context;
use super::task::Task;
use crate::data::{AppId, Signal, Timestamp};

/// Tokens that a history keeps: no window is longer.
pub const MAX_WINDOW: usize = 64;

/// Kinds of signal: first launch after an unlock, other launch, notification, unlock by how the phone was left.
pub const KINDS: usize = UNLOCK + Departure::KINDS;

/// The first kind that is an unlock.
const UNLOCK: usize = 3;

/// Places by how much the user does there: the eight most visited, any other, unknown.
pub const PLACES: usize = 10;

/// Classes of a time in seconds: its binary logarithm.
pub const GAPS: usize = 24;

/// Unknown, offline, wifi, cellular.
pub const NETWORKS: usize = 4;

/// Unknown, charging, nearly empty, neither.
pub const BATTERIES: usize = 4;

/// Numbers that tell hour and weekday: sines and cosines of four and three harmonics.
pub const CLOCK: usize = 14;

/// An event as the transformer reads it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Token {
    /// When.
    pub at: Timestamp,
    /// Which app, if any.
    pub app: Option<AppId>,
    /// Below [`KINDS`].
    pub kind: u8,
    /// Below [`PLACES`].
    pub place: u8,
    /// Time since the token before, of an unlock since the phone was last in use: [`gap`], below [`GAPS`].
    pub gap: u8,
    /// Below [`NETWORKS`].
    pub network: u8,
    /// Below [`BATTERIES`].
    pub battery: u8,
    /// Local hour of the day, 0 to 23.99.
    pub hour: f32,
    /// Local day of the week, 0 is Monday.
    pub weekday: u8,
}

impl Token {
    /// Whether an app came to the foreground.
    pub fn is_launch(&self) -> bool {
        self.kind < 2
    }

    /// Hour and weekday as points on circles.
    pub fn clock(&self) -> [f32; CLOCK] {
        let mut clock = [0.0; CLOCK];
        let (day, week) = (TAU * self.hour / 24.0, TAU * (f32::from(self.weekday) + self.hour / 24.0) / 7.0);
        let angles =
            [1.0, 2.0, 3.0, 4.0].map(|n| n * day).into_iter().chain([1.0, 2.0, 3.0].map(|n| n * week));
        for (pair, angle) in clock.chunks_exact_mut(2).zip(angles) {
            pair.copy_from_slice(&[angle.sin(), angle.cos()]);
        }
        clock
    }
}

/// The class of a time: 0 for none, `n` for `2^(n-1)` to `2^n - 1` seconds.
pub fn gap(secs: i64) -> u8 {
    (64 - secs.max(0).leading_zeros()).min(GAPS as u32 - 1) as u8
}

impl History {
    /// Notes `signal` as a token, before it is folded into the rest of the history.
    pub(super) fn read_token(&mut self, signal: Signal, now: Timestamp) {
        let since = |then: Option<Timestamp>| then.map_or(i64::MAX, |then| now.secs_since(then));
        let token = match signal {
            Signal::Launch(app) => self.token(now, u8::from(!self.awaits_first_app), Some(app)),
            Signal::Notification(app) => self.token(now, 2, Some(app)),
            Signal::Unlock => self.unlock_token(now),
            Signal::Close(_) | Signal::ScreenOn | Signal::ScreenOff => return,
        };
        let before = self.tokens.iter().next().map(|token| token.at);
        let gap = if signal == Signal::Unlock { token.gap } else { gap(since(before)) };
        self.tokens.push(Token { gap, ..token });
        self.tokens_read += 1;
    }

    fn unlock_token(&self, now: Timestamp) -> Token {
        let unused_secs = self.use_ended.map_or(i64::MAX, |ended| now.secs_since(ended));
        Token { gap: gap(unused_secs), ..self.token(now, UNLOCK as u8 + self.departure(now) as u8, None) }
    }

    fn token(&self, at: Timestamp, kind: u8, app: Option<AppId>) -> Token {
        let (hour, weekday) = self.wall_clock(at);
        let visits = &self.totals.by_place;
        let busier = |place: usize| visits.iter().filter(|&&other| other > visits[place]).count();
        let battery = match (self.battery.charging, self.battery.percent) {
            (Some(true), _) => 1,
            (_, Some(..=20)) => 2,
            (None, None) => 0,
            _ => 3,
        };
        Token {
            at,
            app,
            kind,
            place: self.place.map_or(PLACES as u8 - 1, |place| busier(place).min(PLACES - 2) as u8),
            gap: 0,
            network: self.network as u8,
            battery,
            hour,
            weekday: weekday as u8,
        }
    }
}

impl Context<'_> {
    /// The last `window` tokens up to the question, oldest first, of which the last is the question itself: at least one,
    /// at most [`MAX_WINDOW`].
    pub fn tokens(&self, window: usize, tokens: &mut Vec<Token>) {
        tokens.clear();
        let newest = self.history.tokens.iter().next();
        // An unlock that was observed, or the app in front, is the question; without one it is an unlock at this moment.
        let is_asked = match self.task {
            Task::FirstAfterUnlock => {
                newest.is_some_and(|token| usize::from(token.kind) >= UNLOCK && token.at == self.now)
            }
            Task::NextLaunch => newest.is_some(),
        };
        if !is_asked {
            tokens.push(self.history.unlock_token(self.now));
        }
        let room = window.clamp(1, MAX_WINDOW) - tokens.len();
        tokens.extend(self.history.tokens.iter().take(room));
        tokens.reverse();
    }

    /// Adds to `tokens` those read since `seen` were, oldest first, and counts them in. More than [`MAX_WINDOW`] are not
    /// kept, so ask often.
    pub fn tokens_since(&self, seen: &mut u64, tokens: &mut Vec<Token>) {
        let fresh = (self.history.tokens_read - *seen).min(MAX_WINDOW as u64) as usize;
        *seen = self.history.tokens_read;
        let first = tokens.len();
        tokens.extend(self.history.tokens.iter().take(fresh));
        tokens[first..].reverse();
    }
}
