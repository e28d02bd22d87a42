//! How many questions are worked on at once, and what becomes of those beyond.
//!
//! A question holds a place while its person is read and its model is asked. Behind the places some wait, for a short time. What
//! comes beyond that is refused at once, before its body is read: an answer that comes too late helps nobody, and the work
//! for it would make the next ones late, too.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::HeaderMap;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::config::AnswerConfig;

/// Who goes first where there are more questions than places: the urgency of the header `Priority` of RFC 9218.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// Somebody looks at a screen: urgency 0 to 3, or no header.
    #[default]
    Interactive,
    /// Nobody waits: urgency 4 to 7. At most half of the places, and of the queue.
    Background,
}

impl Priority {
    /// What a request's header says, if it says anything. As RFC 9218 has it, one that cannot be read counts as none.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut members = headers.get("priority")?.to_str().ok()?.split(',').map(str::trim);
        match members.find_map(|member| member.strip_prefix("u=")?.parse::<u8>().ok())? {
            0..=3 => Some(Self::Interactive),
            4..=7 => Some(Self::Background),
            _ => None,
        }
    }
}

/// There are more questions than places, and too many wait, or waited too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overloaded;

/// The places, and the queue before them.
#[derive(Debug)]
pub struct Admission {
    places: Semaphore,
    /// Of them for questions in the background.
    background: Semaphore,
    waiting: AtomicUsize,
    max_waiting: usize,
    wait: Duration,
}

/// A place. It is given back when it is dropped.
#[derive(Debug)]
pub struct Place<'a> {
    _place: SemaphorePermit<'a>,
    _background: Option<SemaphorePermit<'a>>,
}

/// Places of each core where the settings name no number. A question that waits for the store needs no core meanwhile.
const PLACES_PER_CORE: usize = 8;

impl Admission {
    /// As the settings say.
    pub fn of(config: &AnswerConfig) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let places = match config.at_once {
            0 => PLACES_PER_CORE * cores,
            places => places.min(Semaphore::MAX_PERMITS),
        };
        Self {
            places: Semaphore::new(places),
            background: Semaphore::new(places.div_ceil(2)),
            waiting: AtomicUsize::new(0),
            max_waiting: config.max_waiting,
            wait: Duration::from_millis(config.wait_ms),
        }
    }

    /// Whether the queue is as long as it may be. Then a question need not be read.
    pub fn is_full(&self) -> bool {
        self.places.available_permits() == 0 && self.waiting.load(Ordering::Relaxed) >= self.max_waiting
    }

    /// Waits for a place, at most `within`, and no longer than the settings say.
    ///
    /// # Errors
    /// Too many wait already, or none came free in time.
    pub async fn enter(&self, priority: Priority, within: Duration) -> Result<Place<'_>, Overloaded> {
        let (is_background, most) = match priority {
            Priority::Interactive => (false, self.max_waiting),
            Priority::Background => (true, self.max_waiting / 2),
        };
        if let Some(place) = self.free(is_background) {
            return Ok(place);
        }
        let _waiting = Waiting::among(&self.waiting, most).ok_or(Overloaded)?;
        let place = async {
            let background = match is_background {
                true => Some(self.background.acquire().await.map_err(|_| Overloaded)?),
                false => None,
            };
            let place = self.places.acquire().await.map_err(|_| Overloaded)?;
            Ok(Place { _place: place, _background: background })
        };
        tokio::time::timeout(self.wait.min(within), place).await.unwrap_or(Err(Overloaded))
    }

    /// A place that nobody waits for.
    fn free(&self, is_background: bool) -> Option<Place<'_>> {
        let background = match is_background {
            true => Some(self.background.try_acquire().ok()?),
            false => None,
        };
        Some(Place { _place: self.places.try_acquire().ok()?, _background: background })
    }
}

/// One of those who wait, until it is dropped: also where the caller has gone.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn among(all: &'a AtomicUsize, most: usize) -> Option<Self> {
        let one_more = |waiting: usize| (waiting < most).then_some(waiting + 1);
        all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| Self(all))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn admission(at_once: usize, max_waiting: usize) -> Admission {
        Admission::of(&AnswerConfig { at_once, max_waiting, wait_ms: 50, ..AnswerConfig::default() })
    }

    const LONG: Duration = Duration::from_secs(5);

    #[test]
    fn the_header_says_who_goes_first() {
        for (value, expected) in [
            ("u=0", Some(Priority::Interactive)),
            ("u=3, i", Some(Priority::Interactive)),
            ("u=4", Some(Priority::Background)),
            ("i, u=7", Some(Priority::Background)),
            ("u=8", None),
            ("u=-1", None),
            ("urgent", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("priority", value.parse().unwrap());
            assert_eq!(Priority::of(&headers), expected, "{value}");
        }
        assert_eq!(Priority::of(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn what_is_beyond_places_and_queue_is_refused_at_once() {
        let admission = admission(2, 1);
        let held = [
            admission.enter(Priority::Interactive, LONG).await.unwrap(),
            admission.enter(Priority::Interactive, LONG).await.unwrap(),
        ];
        assert!(!admission.is_full());
        // One waits, in vain; meanwhile there is no room for another.
        let started = std::time::Instant::now();
        let (waited, refused, full) = tokio::join!(
            admission.enter(Priority::Interactive, LONG),
            async {
                let refused = admission.enter(Priority::Interactive, LONG).await;
                (refused.is_err(), started.elapsed())
            },
            async { admission.is_full() }
        );
        assert!(waited.is_err() && started.elapsed() >= Duration::from_millis(50));
        assert!(refused.0 && refused.1 < Duration::from_millis(40) && full);
        drop(held);
        assert!(admission.enter(Priority::Interactive, LONG).await.is_ok());
        assert!(!admission.is_full());
    }

    #[tokio::test]
    async fn a_place_that_comes_free_is_the_waiting_ones() {
        let admission = admission(1, 4);
        let held = admission.enter(Priority::Interactive, LONG).await.unwrap();
        let (entered, ()) = tokio::join!(admission.enter(Priority::Interactive, LONG), async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            drop(held);
        });
        drop(entered.unwrap());
        // Whoever waits less than the settings say is told so.
        let held = admission.enter(Priority::Interactive, LONG).await.unwrap();
        assert!(admission.enter(Priority::Interactive, Duration::from_millis(1)).await.is_err());
        drop(held);
        assert!(admission.enter(Priority::Interactive, LONG).await.is_ok());
    }

    #[tokio::test]
    async fn the_background_leaves_half() {
        let admission = admission(4, 4);
        let mut held = Vec::new();
        for _ in 0..2 {
            held.push(admission.enter(Priority::Background, LONG).await.unwrap());
        }
        assert!(admission.enter(Priority::Background, LONG).await.is_err());
        for _ in 0..2 {
            held.push(admission.enter(Priority::Interactive, LONG).await.unwrap());
        }
        // A caller that goes while it waits leaves nothing behind.
        tokio::time::timeout(Duration::from_millis(5), admission.enter(Priority::Interactive, LONG))
            .await
            .unwrap_err();
        assert_eq!(admission.waiting.load(Ordering::Relaxed), 0);
    }
}
