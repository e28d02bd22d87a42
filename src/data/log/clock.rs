//! Wall-clock text to UTC seconds: time zones by name, nights of daylight saving, dates in several styles.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};

use super::locale::{plain_digits, time_of_day};
use crate::error::{Error, ErrorKind, Result};

/// The zone of a log's wall clock. Without one the wall clock is taken as UTC.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    zone: Option<TimeZone>,
}

impl Clock {
    /// The clock of a zone such as `Europe/Paris` or `UTC+2` ([`zone`](super::zone)).
    ///
    /// # Errors
    /// There is no zone of that name, or there are several.
    pub fn new(zone: Option<&str>) -> Result<Self> {
        let zone = zone.map(super::zone::parse).transpose()?;
        Ok(Self { zone })
    }

    /// UTC seconds of a local time. An hour that the night repeats is read as its first pass, unless that
    /// would be before `not_before`; in an hour that the night skips, the clock reads as if not yet changed.
    pub fn utc_secs(&self, local: DateTime, not_before: Option<i64>) -> i64 {
        // Not jiff's own timestamps, which end before the last days of the year 9999: a log may say anything.
        let wall_secs = local.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0)).as_secs();
        let Some(zone) = &self.zone else { return wall_secs };
        let secs = |offset: jiff::tz::Offset| wall_secs - i64::from(offset.seconds());
        match zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => secs(offset),
            AmbiguousOffset::Gap { before, .. } => secs(before),
            AmbiguousOffset::Fold { before, after } => {
                let first = secs(before);
                if not_before.is_some_and(|earlier| first < earlier) { secs(after) } else { first }
            }
        }
    }

    /// Local time minus UTC at that moment, in seconds.
    pub fn offset_secs(&self, at: i64) -> i32 {
        let moment = jiff::Timestamp::from_second(at);
        match (&self.zone, moment) {
            (Some(zone), Ok(moment)) => zone.to_offset(moment).seconds(),
            _ => 0,
        }
    }
}

/// Three numbers that are a date in some order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DateNumbers {
    numbers: [i16; 3],
    separator: char,
    short_year: bool,
    /// `24. 1. 31.`: with spaces and a dot at its end, as Korean has it.
    is_spaced: bool,
}

/// By how many years the Thai calendar is ahead.
const BUDDHIST_YEARS: i16 = 543;

impl DateNumbers {
    /// `12/5/19`, `05.12.2019`, `2019-12-05`, `24. 1. 31.`, `2024年1月31日`, `31.01.24 г.`, with the digits of any language; a
    /// comma may follow.
    pub fn parse(text: &str) -> Option<Self> {
        let text = plain_digits(text);
        let east_asian = ['年', '月', '년', '월'];
        let text = if text.contains(east_asian) { text.replace(east_asian, "-").into() } else { text };
        // What follows the last number, such as "day" or "year", says nothing; but a sign before the first is no date.
        let is_spaced = text.contains(". ") && text.trim_end().ends_with('.');
        let text = text.trim().trim_end_matches(|c: char| !c.is_ascii_digit());
        let separator = text.chars().find(|c| matches!(c, '/' | '-' | '.'))?;
        let mut parts = text.split(separator).map(str::trim);
        let parts = [parts.next()?, parts.next()?, parts.next().filter(|_| parts.next().is_none())?];
        let is_number =
            |part: &str| (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        if !parts.into_iter().all(is_number) {
            return None;
        }
        let numbers = parts.map(|part| part.parse().unwrap_or(-1));
        let short_year = parts.iter().all(|part| part.len() <= 2);
        Some(Self { numbers, separator, short_year, is_spaced })
    }

    /// Whether it begins with a year of four digits, which no other order does.
    pub fn begins_with_year(self) -> bool {
        self.numbers[0] > 999
    }

    /// The date in `order`, if it is one. A year of two digits is in this century; from 55 on, and in the 26th century, it is of
    /// the Thai calendar, 543 years ahead.
    pub fn date(self, order: DateOrder) -> Option<Date> {
        let [a, b, c] = self.numbers;
        let (year, month, day) = match order {
            // 5/6/19 is no day of 2005, when there were no phones to ask.
            DateOrder::Ymd if self.short_year && !(8..=40).contains(&a) => return None,
            DateOrder::Ymd => (a, b, c),
            DateOrder::Mdy => (c, a, b),
            DateOrder::Dmy => (c, b, a),
        };
        let year = match year {
            // A clock that was reset begins there.
            70 if self.short_year && (month, day) == (1, 1) => 1970,
            55.. if self.short_year => year + 2500 - BUDDHIST_YEARS,
            _ if self.short_year => year + 2000,
            2500..2700 => year - BUDDHIST_YEARS,
            _ => year,
        };
        Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
    }
}

impl std::fmt::Display for DateNumbers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ([a, b, c], separator) = (self.numbers, self.separator);
        write!(f, "{a}{separator}{b}{separator}{c}")
    }
}

/// The order of a date's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateOrder {
    /// 2019-12-31
    Ymd,
    /// 12/31/19
    Mdy,
    /// 31/12/2019
    Dmy,
}

impl std::fmt::Display for DateOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            DateOrder::Ymd => "year-month-day",
            DateOrder::Mdy => "month/day/year",
            DateOrder::Dmy => "day/month/year",
        })
    }
}

impl std::str::FromStr for DateOrder {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "ymd" => Ok(DateOrder::Ymd),
            "mdy" => Ok(DateOrder::Mdy),
            "dmy" => Ok(DateOrder::Dmy),
            _ => Err(Error::new(ErrorKind::Config, format!("`{text}` is no order of dates"))
                .next_step("say ymd (2019-12-31), mdy (12/31/19) or dmy (31/12/2019)")),
        }
    }
}

impl DateOrder {
    /// The order of a whole file, and whether the file leaves a doubt.
    ///
    /// The order in which more rows are dates wins: one day above 12 decides. Then the one in which the rows
    /// run more steadily in one direction, then the one with the shorter span from first to last, and last
    /// the custom of the spelling: `M/D/YY` with slashes and a short year, `YY. M. D.`, else the day first.
    pub(super) fn of_file(rows: &[(DateNumbers, Time)]) -> (Self, bool) {
        let custom = match rows.first() {
            Some((date, _)) if date.separator == '/' && date.short_year => DateOrder::Mdy,
            Some((date, _)) if date.is_spaced && date.short_year => DateOrder::Ymd,
            _ => DateOrder::Dmy,
        };
        let mut fits: Vec<Fit> = [DateOrder::Ymd, DateOrder::Mdy, DateOrder::Dmy]
            .into_iter()
            .map(|order| Fit::of(order, custom, rows))
            .collect();
        fits.sort_by_key(|fit| (fit.not_dates, fit.disorder, fit.span_days, fit.unaccustomed));
        match fits.as_slice() {
            [best, second, ..] => {
                // Months for days, or days for years, make a log of weeks one of many months.
                let is_longer = second.span_days > 300 && second.span_days > 5 * best.span_days;
                let as_good =
                    (best.not_dates, best.disorder) == (second.not_dates, second.disorder) && !is_longer;
                let differs = rows.iter().any(|(date, _)| date.date(best.order) != date.date(second.order));
                (best.order, as_good && differs)
            }
            _ => (custom, false),
        }
    }
}

/// How well an order fits a file: less is better.
struct Fit {
    order: DateOrder,
    not_dates: usize,
    disorder: usize,
    span_days: i32,
    unaccustomed: bool,
}

impl Fit {
    fn of(order: DateOrder, custom: DateOrder, rows: &[(DateNumbers, Time)]) -> Self {
        let times: Vec<DateTime> =
            rows.iter().filter_map(|(date, time)| Some(date.date(order)?.to_datetime(*time))).collect();
        let span = times.iter().max().zip(times.iter().min());
        Self {
            order,
            not_dates: rows.len() - times.len(),
            disorder: disorder(&times),
            span_days: span.map_or(0, |(last, first)| (last.date() - first.date()).get_days()),
            unaccustomed: order != custom,
        }
    }
}

/// How many steps go against the direction of most.
fn disorder(times: &[DateTime]) -> usize {
    let steps = times.iter().zip(times.iter().skip(1));
    let (mut up, mut down) = (0, 0);
    for (a, b) in steps {
        up += usize::from(b > a);
        down += usize::from(b < a);
    }
    up.min(down)
}

/// `2018-01-16 06:01:05`, the form of most logs.
pub(super) fn iso_date_time(text: &str) -> Option<DateTime> {
    let (date, time) = text.trim().split_once([' ', 'T'])?;
    let date = DateNumbers::parse(date).filter(|date| date.separator == '-' && !date.short_year)?;
    Some(date.date(DateOrder::Ymd)?.to_datetime(time_of_day(time)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn nights_of_daylight_saving_keep_time_in_order() {
        let paris = Clock::new(Some("Europe/Paris")).unwrap();
        // 2019-10-27 03:00 became 02:00: 02:30 came at 00:30 and at 01:30 UTC.
        let autumn = date(2019, 10, 27).at(2, 30, 0, 0);
        assert_eq!(paris.utc_secs(autumn, None), 1_572_136_200);
        assert_eq!(paris.utc_secs(autumn, Some(1_572_136_200)), 1_572_136_200);
        assert_eq!(paris.utc_secs(autumn, Some(1_572_136_201)), 1_572_139_800);
        assert_eq!((paris.offset_secs(1_572_136_200), paris.offset_secs(1_572_139_800)), (7200, 3600));
        // 2019-03-31 02:00 became 03:00: 02:30 never came, and is 03:30.
        let spring = date(2019, 3, 31).at(2, 30, 0, 0);
        assert_eq!(paris.utc_secs(spring, None), paris.utc_secs(date(2019, 3, 31).at(3, 30, 0, 0), None));
        let utc = Clock::new(None).unwrap();
        assert_eq!(utc.utc_secs(autumn, None), 1_572_143_400);
        // The ends of the calendar are a time too.
        assert_eq!(utc.utc_secs(date(9999, 12, 31).at(23, 59, 59, 0), None), 253_402_300_799);
        assert_eq!(paris.utc_secs(date(9999, 12, 31).at(23, 59, 59, 0), None), 253_402_297_199);
        assert_eq!(utc.utc_secs(date(0, 1, 1).at(0, 0, 0, 0), None), -62_167_219_200);
    }

    #[test]
    fn date_style_is_told_by_the_file() {
        let order = |texts: &[&str]| {
            let rows: Vec<_> =
                texts.iter().map(|text| (DateNumbers::parse(text).unwrap(), Time::midnight())).collect();
            DateOrder::of_file(&rows)
        };
        assert_eq!(order(&["12/13/19", "12/1/19"]), (DateOrder::Mdy, false));
        assert_eq!(order(&["13/12/2019", "01/12/2019"]), (DateOrder::Dmy, false));
        assert_eq!(order(&["2019-12-13"]), (DateOrder::Ymd, false));
        // Steady in one direction only as month/day.
        assert_eq!(order(&["3/2/19", "2/4/19", "2/3/19", "1/5/19"]), (DateOrder::Mdy, false));
        // Both are steady: nine days beat eight months, with a doubt.
        assert_eq!(order(&["12/9/19", "12/1/19"]), (DateOrder::Mdy, true));
        assert_eq!(order(&["09/12/2019", "01/12/2019"]), (DateOrder::Dmy, true));
        assert_eq!(order(&["5/5/19"]), (DateOrder::Mdy, false));
        assert_eq!(order(&["5/6/19"]), (DateOrder::Mdy, true));
        // Korean and Nepali.
        assert_eq!(order(&["24. 1. 30.", "24. 1. 31.", "24. 2. 1."]), (DateOrder::Ymd, false));
        assert_eq!(order(&["२४/१/३१", "24/2/1", "24/2/9"]), (DateOrder::Ymd, false));
        let last_of_january = Some("2024-01-31".to_owned());
        for (text, order) in [
            ("31/1/67", DateOrder::Dmy),
            ("31/1/2567", DateOrder::Dmy),
            ("٣١\u{200f}/١\u{200f}/٢٠٢٤", DateOrder::Dmy),
            ("2024年1月31日", DateOrder::Ymd),
            ("2024. 01. 31.", DateOrder::Ymd),
            ("31.01.24 г.", DateOrder::Dmy),
            ("31.01.2024,", DateOrder::Dmy),
        ] {
            let date =
                DateNumbers::parse(text).and_then(|date| date.date(order)).map(|date| date.to_string());
            assert_eq!(date, last_of_january, "{text}");
        }
        assert_eq!(DateNumbers::parse("1/2"), None);
        assert_eq!(DateNumbers::parse("99999/1/1"), None);
        assert_eq!(DateNumbers::parse("31/31/2019").and_then(|d| d.date(DateOrder::Dmy)), None);
    }
}
