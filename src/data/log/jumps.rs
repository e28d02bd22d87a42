//! Clocks that were set back, seen in the order in which a phone wrote its rows.
//!
//! A jump back is one whose next rows go on from there; a single row that is too early is only out of order. A jump forth
//! cannot be distinguished from a silence, but where the clock was set back by about as much later, both are named. A file with many
//! jumps is in no order of time at all, which is said elsewhere. Nothing is repaired: no format that is read here says by how
//! much a clock was set. (Android's usage statistics have no event for it, and move what they stored before.)

/// Smaller steps back are rows that were written late.
const LEAST_SECS: i64 = 300;
/// Rows, with the first, that have to go on from where the clock was set to.
const CONFIRMING: u32 = 3;
/// More jumps than these, and than one row in fifty, are no clock.
const MOST_JUMPS: u32 = 5;
/// So many, and more than one row in four, and a file cannot come into order any more.
const HOPELESS: u32 = 100;

/// A clock that was set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Jump {
    /// The last time before, and the first after, in seconds.
    pub from: i64,
    pub to: i64,
    /// The row after it.
    pub line: Option<u64>,
    /// When the clock had been set forth by about as much: the times before and after that.
    pub ahead: Option<(i64, i64)>,
}

/// Watches the times of one phone go by.
#[derive(Debug, Clone, Default)]
pub(super) struct ClockWatch {
    last: Option<i64>,
    rows: u32,
    back: u32,
    found: u32,
    /// The largest silence since the last jump.
    silence: Option<(i64, i64)>,
    // Boxed: there are two watches a user, and hardly ever a jump.
    pending: Option<Box<Pending>>,
    first: Option<Box<Jump>>,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    jump: Jump,
    confirmed: u32,
}

impl ClockWatch {
    /// The next row's time.
    pub fn see(&mut self, at: i64, line: Option<u64>) {
        // The other way round, as half of the watches are: no need to look on.
        if self.back >= HOPELESS && self.back > self.rows / 4 {
            return;
        }
        self.rows = self.rows.saturating_add(1);
        let Some(last) = self.last.replace(at) else { return };
        if at < last {
            self.pending = None;
            if last - at >= LEAST_SECS {
                self.back += 1;
                let ahead = self.silence.filter(|(before, after)| {
                    let forth = after - before;
                    forth >= last - at && forth <= 2 * (last - at)
                });
                let jump = Jump { from: last, to: at, line, ahead };
                self.pending = Some(Box::new(Pending { jump, confirmed: 1 }));
            }
            return;
        }
        if self.silence.is_none_or(|(before, after)| at - last > after - before) {
            self.silence = Some((last, at));
        }
        let Some(pending) = &mut self.pending else { return };
        pending.confirmed += 1;
        if at >= pending.jump.from {
            self.pending = None;
        } else if pending.confirmed == CONFIRMING {
            self.found += 1;
            self.first.get_or_insert_with(|| Box::new(pending.jump));
            (self.pending, self.silence) = (None, None);
        }
    }

    /// How many jumps there were, and the first.
    pub fn jumps(&self) -> Option<(u64, Jump)> {
        let is_in_order = self.back <= MOST_JUMPS || self.back <= self.rows / 50;
        self.first.as_deref().filter(|_| is_in_order).map(|jump| (u64::from(self.found), *jump))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_are_told_from_rows_out_of_order() {
        let every_minute = |from: i64, rows: i64| (0..rows).map(move |row| from + 60 * row);
        let jump = |from, to, ahead| Some((1, Jump { from, to, line: Some(to.unsigned_abs()), ahead }));
        struct Case {
            what: &'static str,
            times: Vec<i64>,
            expected: Option<(u64, Jump)>,
        }
        let case = |what, times, expected| Case { what, times, expected };
        let cases = [
            case("nothing", vec![], None),
            case("upwards", every_minute(0, 50).collect(), None),
            case(
                "set back by an hour",
                every_minute(0, 90).chain(every_minute(1800, 90)).collect(),
                jump(5340, 1800, None),
            ),
            case(
                "forth by a day and back",
                every_minute(0, 90).chain(every_minute(91_800, 20)).chain(every_minute(6600, 90)).collect(),
                jump(92_940, 6600, Some((5340, 91_800))),
            ),
            case(
                "one row too early",
                every_minute(0, 90).chain([10]).chain(every_minute(5400, 50)).collect(),
                None,
            ),
            case("two rows too early", [1000, 2000, 100, 160, 2060, 2120].to_vec(), None),
            case("written late", every_minute(0, 90).chain(every_minute(5100, 90)).collect(), None),
            case("downwards", every_minute(0, 200).map(|at| -at * 10).collect(), None),
            case(
                "no order at all",
                (0..600).map(|row| 10_000 * (row * 7919 % 101) + 60 * row).collect(),
                None,
            ),
        ];
        for Case { what, times, expected } in cases {
            let mut watch = ClockWatch::default();
            times.iter().for_each(|&at| watch.see(at, Some(at.unsigned_abs())));
            assert_eq!(watch.jumps(), expected, "{what}");
        }
        let mut watch = ClockWatch::default();
        (0..3).flat_map(|_| every_minute(0, 90)).for_each(|at| watch.see(at, None));
        assert_eq!(watch.jumps().map(|(count, _)| count), Some(2));
    }
}
