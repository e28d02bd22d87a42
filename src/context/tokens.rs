//! A history's events as tokens, and the sequence that ends with the question.

use super::history::History;
use super::history::token::UNLOCK;
pub use super::history::token::{BATTERIES, CLOCK, GAPS, KINDS, MAX_WINDOW, NETWORKS, PLACES, Token, gap};
use super::question::Context;
use super::task::Task;
use crate::data::{AppId, Signal, Timestamp};

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
        Token {
            gap: gap(self.unused_secs(now)),
            ..self.token(now, UNLOCK as u8 + self.departure(now) as u8, None)
        }
    }

    fn token(&self, at: Timestamp, kind: u8, app: Option<AppId>) -> Token {
        let (hour, weekday) = self.wall_clock(at);
        let visits = &self.totals.by_place;
        let busier = |place: usize| visits.iter().filter(|&&other| other > visits[place]).count();
        let battery = match (self.battery.charging, self.battery.percent) {
            (Some(true), _) => 1,
            // Source of 20: the operating systems. iOS warns at 20 %, Android at 15 % unless the maker sets another.
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
        if !self.is_last_token() {
            tokens.push(self.history.unlock_token(self.now));
        }
        let room = window.clamp(1, MAX_WINDOW) - tokens.len();
        tokens.extend(self.history.tokens.iter().take(room));
        tokens.reverse();
    }

    /// Whether the question is an event that was observed: an unlock just now, or the app in front. Otherwise it is an
    /// unlock at this moment, which leaves no token behind.
    pub fn is_last_token(&self) -> bool {
        let newest = self.history.tokens.iter().next();
        match self.task {
            Task::FirstAfterUnlock => {
                newest.is_some_and(|token| usize::from(token.kind) >= UNLOCK && token.at == self.now)
            }
            Task::NextLaunch => newest.is_some(),
        }
    }

    /// How many of at most `window` tokens to read, so that the first one changes only after every half window.
    pub fn stepping_window(&self, window: usize) -> usize {
        let tokens = self.history.tokens_read + u64::from(!self.is_last_token());
        let half = window as u64 / 2;
        if half == 0 || tokens <= window as u64 {
            return window;
        }
        (half + 1 + (tokens - 1) % half) as usize
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Event, UserId};

    fn history(events: &[(i64, Signal)]) -> History {
        let mut history = History::default();
        for &(at, signal) in events {
            history.observe(&Event::new(UserId(1), Timestamp(at), signal));
        }
        history
    }

    #[test]
    fn the_question_is_the_last_token() {
        let app = AppId(3);
        let past = [
            (0, Signal::Unlock),
            (2, Signal::Launch(app)),
            (9, Signal::Launch(AppId(4))),
            (9, Signal::ScreenOff),
        ];
        let mut tokens = Vec::new();
        let kinds = |tokens: &[Token]| tokens.iter().map(|token| usize::from(token.kind)).collect::<Vec<_>>();

        // An unlock that was not observed is added; one that was is not doubled.
        history(&past).context_at(Timestamp(40), Task::FirstAfterUnlock).tokens(8, &mut tokens);
        assert_eq!(kinds(&tokens)[1..3], [0, 1]);
        assert_eq!((tokens.len(), tokens[3].at, tokens[3].gap), (4, Timestamp(40), gap(31)));
        let observed = [&past[..], &[(40, Signal::Unlock)]].concat();
        let unobserved = tokens.clone();
        history(&observed).context_at(Timestamp(40), Task::FirstAfterUnlock).tokens(8, &mut tokens);
        assert_eq!(tokens, unobserved);

        history(&past).context_at(Timestamp(9), Task::NextLaunch).tokens(8, &mut tokens);
        assert_eq!(tokens[2].app, Some(AppId(4)), "the app in front is the question");
    }

    #[test]
    fn windows_of_any_size() {
        let events: Vec<(i64, Signal)> =
            (0..200).map(|n| (n, Signal::Notification(AppId(n as u32)))).collect();
        let mut tokens = Vec::new();
        for task in [Task::FirstAfterUnlock, Task::NextLaunch] {
            for (window, expected) in [(0, 1), (1, 1), (2, 2), (64, 64), (1_000, MAX_WINDOW)] {
                history(&events).context_at(Timestamp(200), task).tokens(window, &mut tokens);
                assert_eq!(tokens.len(), expected, "{task}, {window}");
                assert!(tokens.is_sorted_by_key(|token| token.at));
            }
            History::default().context_at(Timestamp(5), task).tokens(64, &mut tokens);
            assert_eq!(tokens.len(), 1, "nothing happened, but something is asked");
        }
    }

    #[test]
    fn stepping_windows_begin_at_the_same_token_for_half_a_window() {
        let (mut history, mut tokens) = (History::default(), Vec::new());
        let mut began = Vec::new();
        for n in 0..200 {
            history.observe(&Event::new(UserId(1), Timestamp(n), Signal::Notification(AppId(0))));
            let context = history.context_at(Timestamp(n), Task::NextLaunch);
            let window = context.stepping_window(32);
            context.tokens(window, &mut tokens);
            assert!((17..=32).contains(&tokens.len()) || n < 32, "{n}: {}", tokens.len());
            began.push(tokens[0].at.0);
            // A question that is no event is one token more.
            let context = history.context_at(Timestamp(n), Task::FirstAfterUnlock);
            context.tokens(context.stepping_window(32), &mut tokens);
            assert_eq!(tokens[0].at.0, ((n + 1) / 16 * 16 - 16).max(0), "{n}");
        }
        assert!((0..200).all(|n| began[n as usize] == (n / 16 * 16 - 16).max(0)), "{began:?}");
        let context = history.context_at(Timestamp(200), Task::NextLaunch);
        assert_eq!([0, 1].map(|window| context.stepping_window(window)), [0, 1]);
    }

    #[test]
    fn nothing_is_read_twice() {
        let (mut seen, mut tokens) = (0, Vec::new());
        let mut history = History::default();
        for n in 0..50 {
            history.observe(&Event::new(UserId(1), Timestamp(n), Signal::Launch(AppId(n as u32))));
            if n % 7 == 0 || n == 49 {
                history.context_at(Timestamp(n), Task::NextLaunch).tokens_since(&mut seen, &mut tokens);
            }
        }
        assert!(tokens.iter().map(|token| token.at.0).eq(0..=49), "{}", tokens.len());
    }
}
