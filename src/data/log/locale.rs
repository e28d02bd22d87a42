//! Digits and times of day as phones write them in their people's languages.
//!
//! Source: Unicode's CLDR 30 to 48 (day periods of 120 locales, digits, short dates), which Android and iOS print from. The
//! narrow markers, of one letter, are left out: no export was seen with one, and `a` is morning in one language and evening
//! in another.

use std::borrow::Cow;

use jiff::civil::Time;

/// Markers of the hours before noon, without dots and spaces, in lower case.
const MORNING: [&str; 57] = [
    "priekšpusdienā",
    "eparadites",
    "prijepodne",
    "претпладне",
    "ก่อนเที่ยง",
    "formiddag",
    "priešpiet",
    "पूर्वाह्न",
    "পূৰ্বাহ্ণ",
    "পূৰ্বাহ্ন",
    "ಪೂರ್ವಾಹ್ನ",
    "prepodne",
    "преподне",
    "قبلازظهر",
    "முற்பகல்",
    "ກ່ອນທ່ຽງ",
    "asubuhi",
    "damanhã",
    "priekšp",
    "претпл",
    "לפנה״צ",
    "таңкы",
    "နံနက်",
    "vorm",
    "проб",
    "ਪੂਦੁ",
    "dop",
    "मपू",
    "පෙව",
    "ጥዋት",
    "am",
    "ap",
    "de",
    "fh",
    "fm",
    "pd",
    "pg",
    "rn",
    "sa",
    "to",
    "vm",
    "yb",
    "öö",
    "πμ",
    "дп",
    "тң",
    "үө",
    "կա",
    "بن",
    "غم",
    "قظ",
    "上午",
    "凌晨",
    "午前",
    "清晨",
    "오전",
    "ص",
];

/// The same of the hours from noon on.
const AFTERNOON: [&str; 57] = [
    "түштөнкийинки",
    "ettermiddag",
    "pēcpusdienā",
    "หลังเที่ยง",
    "epasdites",
    "попладне",
    "بعدازظهر",
    "பிற்பகல்",
    "ຫຼັງທ່ຽງ",
    "datarde",
    "popodne",
    "поподне",
    "अपराह्न",
    "অপৰাহ্ণ",
    "অপৰাহ্ন",
    "ಅಪರಾಹ್ನ",
    "mchana",
    "popiet",
    "nachm",
    "אחה״צ",
    "pēcp",
    "попл",
    "слоб",
    "ਬਾਦੁ",
    "ከሰዓት",
    "odp",
    "pop",
    "ptg",
    "ညနေ",
    "ch",
    "du",
    "eh",
    "em",
    "in",
    "ip",
    "md",
    "nm",
    "pm",
    "tk",
    "yh",
    "ös",
    "μμ",
    "пп",
    "тк",
    "үх",
    "կհ",
    "بظ",
    "دن",
    "غو",
    "मउ",
    "පව",
    "下午",
    "中午",
    "午後",
    "晚上",
    "오후",
    "م",
];

/// The zeros of the digits that are written for 0 to 9 in some language: Arabic, Persian, Devanagari, Bengali, Gurmukhi,
/// Gujarati, Odia, Tamil, Telugu, Kannada, Malayalam, Thai, Lao, Tibetan, Burmese, Khmer, full width.
const ZEROS: [char; 17] = [
    '\u{660}', '\u{6f0}', '\u{966}', '\u{9e6}', '\u{a66}', '\u{ae6}', '\u{b66}', '\u{be6}', '\u{c66}',
    '\u{ce6}', '\u{d66}', '\u{e50}', '\u{ed0}', '\u{f20}', '\u{1040}', '\u{17e0}', '\u{ff10}',
];

/// `text` with digits of any language as those of ASCII, plain spaces, and without marks of the direction of writing.
pub(super) fn plain_digits(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let plain = |c: char| match c {
        '\u{200e}' | '\u{200f}' | '\u{200c}' | '\u{61c}' => None,
        '\u{a0}' | '\u{202f}' | '\u{2009}' => Some(' '),
        _ => {
            let digit =
                ZEROS.iter().map(|&zero| (c as u32).wrapping_sub(zero as u32)).find(|&digit| digit < 10);
            digit.map_or(Some(c), |digit| char::from_digit(digit, 10))
        }
    };
    Cow::Owned(text.chars().filter_map(plain).collect())
}

/// `19:39:20`, `19:39`, `7:39:20 PM`, `7:39 p.m.`, `下午7:39`, `de. 8:05`, `20.05.09`, `08 h 05 min 09 s`
pub(super) fn time_of_day(text: &str) -> Option<Time> {
    let text = text.trim();
    // Most logs have plain digits: only the others pay for a copy.
    if text.bytes().all(|b| b.is_ascii_digit() || b == b':') {
        return clock_time(text.split(':'), None);
    }
    let bare: String = plain_digits(text).to_lowercase().chars().filter(|c| !c.is_whitespace()).collect();
    let is_digit = |c: char| c.is_ascii_digit();
    let (start, end) = (bare.find(is_digit)?, bare.rfind(is_digit)? + 1);
    let (before, after) = (half_of_day(bare.get(..start)?)?, half_of_day(bare.get(end..)?)?);
    let numbers = bare.get(start..end)?.replace("min", ":").replace(['.', 'h'], ":");
    clock_time(numbers.split(':'), before.or(after))
}

/// How many hours a clock of twelve is behind, by what stands before or after the numbers: nothing where that says nothing,
/// and `None` where it is no part of a time.
fn half_of_day(words: &str) -> Option<Option<i8>> {
    let words: String = words.chars().filter(|c| !matches!(c, '.' | '\u{5f3}')).collect();
    // French ends a time with seconds "s", Bulgarian with "ч." for hours.
    let bare =
        words.strip_prefix(['s', 'ч']).filter(|rest| rest.is_empty() || is_marker(rest)).unwrap_or(&words);
    match bare {
        "" => Some(None),
        _ if MORNING.contains(&bare) => Some(Some(0)),
        _ if AFTERNOON.contains(&bare) => Some(Some(12)),
        _ => None,
    }
}

fn is_marker(text: &str) -> bool {
    MORNING.contains(&text) || AFTERNOON.contains(&text)
}

/// The time of two or three numbers; `half` are the hours that a clock of twelve is behind.
fn clock_time<'a>(parts: impl Iterator<Item = &'a str>, half: Option<i8>) -> Option<Time> {
    let mut parts = parts.map(small_number);
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    let hour = match half {
        None => hour,
        Some(hours) if (1..=12).contains(&hour) => hour % 12 + hours,
        Some(_) => return None,
    };
    if parts.next().is_some() {
        return None;
    }
    Time::new(hour, minute, second, 0).ok()
}

fn small_number(text: &str) -> Option<i8> {
    let is_number = matches!(text.len(), 1 | 2) && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::time;

    #[test]
    fn times_of_day_in_many_languages() {
        let evening = Some(time(20, 5, 9, 0));
        let cases = [
            ("19:39:28", Some(time(19, 39, 28, 0))),
            ("7:05", Some(time(7, 5, 0, 0))),
            ("12:00:01 AM", Some(time(0, 0, 1, 0))),
            ("12:30\u{202f}p.m.", Some(time(12, 30, 0, 0))),
            ("8:05:09 p.\u{a0}m.", evening),
            ("8:05:09 пп", evening),
            ("下午8:05:09", evening),
            ("晚上8:05:09", evening),
            ("午後8:05:09", evening),
            ("오후 8:05:09", evening),
            ("du. 8:05:09", evening),
            ("8:05:09 odp.", evening),
            ("٨:٠٥:٠٩ م", evening),
            ("۲۰:۰۵:۰۹", evening),
            ("२०:०५:०९", evening),
            ("20.05.09", evening),
            ("08.05.09 PM", evening),
            ("20 h 05 min 09 s", evening),
            ("08 h 05 min 09 s p.m.", evening),
            ("8:05:09 ч. pm", evening),
            ("8:05:09 CH", evening),
            ("8:05:09 ÖS", evening),
            ("中午12:10", Some(time(12, 10, 0, 0))),
            ("13:00 PM", None),
            ("24:00:00", None),
            ("1:2:3:4", None),
            ("8:05 xm", None),
            ("noon", None),
            ("+1:00", None),
            ("", None),
            ("م", None),
        ];
        for (text, expected) in cases {
            assert_eq!(time_of_day(text), expected, "{text}");
        }
    }

    #[test]
    fn digits_of_any_language() {
        assert_eq!(plain_digits("٣١\u{200f}/١\u{200f}/٢٠٢٤"), "31/1/2024");
        assert_eq!(plain_digits("２０24-01"), "2024-01");
        assert_eq!(plain_digits("24. 1. 31."), "24. 1. 31.");
    }
}
