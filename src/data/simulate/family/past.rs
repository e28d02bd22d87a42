//! What has happened to one person's phone so far.

use super::Slot;
use crate::data::Timestamp;

/// How many launches back sequences reach.
const REACH: usize = 8;
/// Half-lives of the traces of past launches: two minutes to a month, in steps of six.
pub(super) const RATES: usize = 6;
pub(super) const HALF_LIVES_SECS: [f64; RATES] = [120.0, 720.0, 4_320.0, 25_920.0, 155_520.0, 933_120.0];

/// Of constant size.
#[derive(Debug, Clone)]
pub(super) struct Past {
    pub now: Timestamp,
    pub utc_offset_secs: i32,
    /// By slot: the last launch.
    pub launched: Vec<Option<Timestamp>>,
    /// By slot: the last notification; the newest since the last launch.
    pub notified: Vec<Option<Timestamp>>,
    pub unseen: Vec<Option<Timestamp>>,
    /// By slot: how often it was launched, each halved after its time, as of the last launch.
    traces: Vec<[f64; RATES]>,
    /// The app in the foreground.
    pub in_front: Option<Slot>,
    /// The last launches, newest last; relaunching the newest adds nothing.
    pub recent: Vec<Slot>,
    /// Place, and since when.
    pub arrived: Option<(usize, Timestamp)>,
    /// The app that was used last when the screen went dark, when, and whether it was in front then.
    pub left: Option<(Slot, Timestamp, bool)>,
}

impl Past {
    pub(super) fn new(apps: usize, utc_offset_secs: i32) -> Self {
        Self {
            now: Timestamp::default(),
            utc_offset_secs,
            launched: vec![None; apps],
            notified: vec![None; apps],
            unseen: vec![None; apps],
            traces: vec![[0.0; RATES]; apps],
            in_front: None,
            recent: Vec::with_capacity(REACH),
            arrived: None,
            left: None,
        }
    }

    pub(super) fn launch(&mut self, slot: Slot) {
        let age = self.launched[slot].map_or(0.0, |at| self.now.secs_since(at) as f64);
        for (trace, half_life) in self.traces[slot].iter_mut().zip(HALF_LIVES_SECS) {
            *trace = *trace * (-age / half_life).exp2() + 1.0;
        }
        self.launched[slot] = Some(self.now);
        self.unseen[slot] = None;
        self.in_front = Some(slot);
        if self.recent.last() != Some(&slot) {
            if self.recent.len() == REACH {
                self.recent.remove(0);
            }
            self.recent.push(slot);
        }
    }

    pub(super) fn notify(&mut self, slot: Slot) {
        self.notified[slot] = Some(self.now);
        self.unseen[slot] = Some(self.now);
    }

    pub(super) fn trace(&self, slot: Slot, rates: &[f64; RATES]) -> f64 {
        let Some(at) = self.launched[slot] else { return 0.0 };
        let age = self.now.secs_since(at) as f64;
        let parts = rates.iter().zip(&self.traces[slot]).zip(HALF_LIVES_SECS);
        parts
            .filter(|((rate, _), _)| **rate > 0.0)
            .map(|((rate, trace), half)| rate * trace * (-age / half).exp2())
            .sum()
    }

    pub(super) fn hour(&self) -> f64 {
        self.local_secs().rem_euclid(86_400) as f64 / 3600.0
    }

    /// 0 is Monday.
    pub(super) fn weekday(&self) -> usize {
        (self.day() + 3).rem_euclid(7) as usize
    }

    pub(super) fn day(&self) -> i64 {
        self.day_of(self.now)
    }

    pub(super) fn day_of(&self, at: Timestamp) -> i64 {
        (at.0 + i64::from(self.utc_offset_secs)).div_euclid(86_400)
    }

    fn local_secs(&self) -> i64 {
        self.now.0 + i64::from(self.utc_offset_secs)
    }
}
