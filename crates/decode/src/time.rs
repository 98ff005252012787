//! Reading when an event happened: ISO 8601, or seconds, milliseconds or microseconds since 1970.

use chrono::{Days, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone};
use chrono_tz::Tz;

use crate::json::Kind;
use crate::tape::Value;

const MICROS_PER_SECOND: i64 = 1_000_000;
/// 1678-01-01 and 2262-01-01: between them a moment also fits into nanoseconds of 64 bits, which
/// pandas and others read timestamps as.
const EARLIEST_MICROS: i64 = -9_214_560_000 * MICROS_PER_SECOND;
const LATEST_MICROS: i64 = 9_214_646_400 * MICROS_PER_SECOND;

/// Microseconds since 1970 in UTC of an event time, `None` when it cannot be read. `zone` is that
/// of times that carry none.
pub(crate) fn event_time(value: Value<'_>, zone: Tz) -> Option<i64> {
    let micros = match value.kind() {
        Kind::Integer | Kind::Decimal => epoch(value.raw()),
        Kind::Text | Kind::Escaped => written(value.string()?.trim(), zone),
        _ => None,
    };
    micros.filter(|micros| (EARLIEST_MICROS..LATEST_MICROS).contains(micros))
}

fn written(text: &str, zone: Tz) -> Option<i64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_number { epoch(text) } else { Iso::read(text)?.micros(zone) }
}

/// A count since 1970. Its size says the unit: below 10^11 seconds (until the year 5138), below
/// 10^14 milliseconds, below 10^17 microseconds. Digits beyond a microsecond are cut off.
fn epoch(number: &str) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_plain(whole) || !is_plain(fraction) {
        return epoch_with_exponent(number);
    }
    let whole: i64 = whole.parse().ok()?;
    let (micros_per_unit, decimals) = unit(whole)?;
    Some(whole * micros_per_unit + cut_decimals(fraction, decimals))
}

fn epoch_with_exponent(number: &str) -> Option<i64> {
    let value: f64 = number.parse().ok()?;
    let exact = (0.0..1e17).contains(&value);
    #[expect(clippy::cast_possible_truncation, reason = "below 10^17, and the fraction is to be cut off")]
    exact.then_some(value as i64).and_then(|whole| {
        let (micros_per_unit, _) = unit(whole)?;
        #[expect(clippy::cast_precision_loss, reason = "one of 1, 10^3, 10^6")]
        Some((value * micros_per_unit as f64).round() as i64)
    })
}

/// Microseconds of the unit a count must be in, and how many decimals of it make a microsecond.
fn unit(count: i64) -> Option<(i64, usize)> {
    match count {
        0..100_000_000_000 => Some((MICROS_PER_SECOND, 6)),
        100_000_000_000..100_000_000_000_000 => Some((1_000, 3)),
        100_000_000_000_000..100_000_000_000_000_000 => Some((1, 0)),
        _ => None,
    }
}

/// The first `decimals` digits of a fraction as an integer.
fn cut_decimals(fraction: &str, decimals: usize) -> i64 {
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(decimals);
    digits.fold(0, |value, digit| value * 10 + i64::from(digit - b'0'))
}

/// A date and time as written.
struct Iso {
    local: NaiveDateTime,
    /// Seconds east of UTC, when the text says so.
    offset: Option<i32>,
}

impl Iso {
    fn read(text: &str) -> Option<Self> {
        let mut cursor = Cursor(text.as_bytes());
        let date = cursor.date()?;
        if cursor.0.is_empty() {
            return Some(Self { local: date.and_time(NaiveTime::MIN), offset: None });
        }
        if !cursor.skip(b"Tt ") {
            return None;
        }
        let local = cursor.time_on(date)?;
        cursor.skip(b" ");
        let offset = cursor.offset()?;
        cursor.0.is_empty().then_some(Self { local, offset })
    }

    fn micros(self, zone: Tz) -> Option<i64> {
        let offset = match self.offset {
            Some(offset) => offset,
            None if zone == Tz::UTC => 0,
            None => offset_in(zone, self.local)?,
        };
        Some(self.local.and_utc().timestamp_micros() - i64::from(offset) * MICROS_PER_SECOND)
    }
}

/// Seconds east of UTC at a local time. A time there was twice, when clocks were set back, is the
/// earlier of both; one there never was, when they were set forward, moves forward by as much.
/// Both as `java.time` has it: <https://docs.oracle.com/en/java/javase/21/docs/api/java.base/java/time/ZonedDateTime.html>
fn offset_in(zone: Tz, local: NaiveDateTime) -> Option<i32> {
    let offset = match zone.offset_from_local_datetime(&local).earliest() {
        Some(offset) => offset,
        // The offset before the gap: that of two days before, as no gap is longer than one day.
        None => zone.offset_from_utc_datetime(&local.checked_sub_days(Days::new(2))?),
    };
    Some(offset.fix().local_minus_utc())
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    /// `YYYY-MM-DD`
    fn date(&mut self) -> Option<NaiveDate> {
        let year = self.digits(4)?;
        let month = self.skip(b"-").then(|| self.digits(2))??;
        let day = self.skip(b"-").then(|| self.digits(2))??;
        NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)
    }

    /// `HH[:MM[:SS[.fraction]]]`, where second 60 and 24:00 are the beginning of what follows.
    fn time_on(&mut self, date: NaiveDate) -> Option<NaiveDateTime> {
        let hour = self.digits(2)?;
        let minute = if self.skip(b":") { self.digits(2)? } else { 0 };
        let second = if self.skip(b":") { self.digits(2)? } else { 0 };
        let micros = if self.skip(b".,") { self.fraction()? } else { 0 };
        let end_of_day = hour == 24 && minute == 0 && second == 0 && micros == 0;
        if minute > 59 || second > 60 || (hour > 23 && !end_of_day) {
            return None;
        }
        let seconds = i64::from(hour * 3600 + minute * 60 + second);
        let since_midnight = chrono::TimeDelta::microseconds(seconds * MICROS_PER_SECOND + micros);
        date.and_time(NaiveTime::MIN).checked_add_signed(since_midnight)
    }

    /// Microseconds; digits beyond are cut off.
    fn fraction(&mut self) -> Option<i64> {
        let length = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(length);
        self.0 = rest;
        let text = std::str::from_utf8(digits).ok().filter(|digits| !digits.is_empty())?;
        Some(cut_decimals(text, 6))
    }

    /// `Z`, `+HH`, `+HHMM`, `+HH:MM`, or nothing: `Some(None)`.
    #[expect(
        clippy::option_option,
        reason = "unreadable and absent are different answers, and both end a chain"
    )]
    fn offset(&mut self) -> Option<Option<i32>> {
        if self.0.is_empty() {
            return Some(None);
        }
        if self.skip(b"Zz") {
            return Some(Some(0));
        }
        let sign = if self.skip(b"+") { 1 } else { self.skip(b"-").then_some(-1)? };
        let hours = self.digits(2)?;
        let minutes = if self.skip(b":") || !self.0.is_empty() { self.digits(2)? } else { 0 };
        let seconds = i32::try_from(hours * 3600 + minutes * 60).ok()?;
        (hours < 24 && minutes < 60).then_some(Some(sign * seconds))
    }

    fn skip(&mut self, any_of: &[u8]) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if any_of.contains(first) => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn digits(&mut self, count: usize) -> Option<u32> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        let all = digits.iter().all(u8::is_ascii_digit);
        all.then(|| digits.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::Tape;

    fn read_in(zone: Tz, json: &str) -> Option<i64> {
        let mut tape = Tape::default();
        tape.scan(json.as_bytes(), 0, 8).unwrap();
        event_time(tape.root(json), zone)
    }

    fn read(json: &str) -> Option<i64> {
        read_in(Tz::UTC, json)
    }

    /// 2024-03-05T06:07:08.123456Z
    const MOMENT: i64 = 1_709_618_828_123_456;

    #[test]
    fn iso_8601_is_read_with_and_without_a_zone() {
        for text in [
            "2024-03-05T06:07:08.123456Z",
            "2024-03-05t06:07:08,123456z",
            "2024-03-05 06:07:08.123456",
            "2024-03-05T06:07:08.123456999Z",
            "2024-03-05T15:07:08.123456+09:00",
            "2024-03-05 15:07:08.123456 +0900",
            "2024-03-04T22:07:08.123456-08",
            " 2024-03-05T06:07:08.123456Z ",
            "2024-03-05T06:07:08.123456\\u005a",
        ] {
            assert_eq!(read(&format!("\"{text}\"")), Some(MOMENT), "{text}");
        }
        assert_eq!(read("\"2024-03-05\""), Some(1_709_596_800_000_000));
        assert_eq!(read("\"2024-03-05T06:07\""), Some(1_709_618_820_000_000));
        assert_eq!(read("\"2024-03-05T06\""), Some(1_709_618_400_000_000));
        assert_eq!(read("\"2024-02-29T24:00:00\""), Some(1_709_251_200_000_000));
        assert_eq!(read("\"2016-12-31T23:59:60Z\""), Some(1_483_228_800_000_000));
    }

    #[test]
    fn a_count_since_1970_is_read_by_its_size() {
        for number in ["1709618828.123456", "1709618828123.456", "1709618828123456", "1709618828.1234567"] {
            assert_eq!(read(number), Some(MOMENT), "{number}");
            assert_eq!(read(&format!("\"{number}\"")), Some(MOMENT), "{number}");
        }
        assert_eq!(read("1709618828"), Some(1_709_618_828_000_000));
        assert_eq!(read("1709618828123"), Some(1_709_618_828_123_000));
        assert_eq!(read("1.709618828e9"), Some(1_709_618_828_000_000));
        assert_eq!(read("0"), Some(0));
    }

    #[test]
    fn local_times_are_read_in_the_zone_of_the_settings() {
        assert_eq!(read_in(Tz::Asia__Seoul, "\"2024-03-05T15:07:08.123456\""), Some(MOMENT));
        assert_eq!(read_in(Tz::Asia__Seoul, "\"2024-03-05\""), Some(1_709_564_400_000_000));
        assert_eq!(read_in(Tz::Asia__Seoul, "\"2024-03-05T06:07:08.123456Z\""), Some(MOMENT));
    }

    #[test]
    fn a_local_time_there_was_twice_is_the_earlier_one() {
        let earlier = read("\"2024-10-27T00:30:00Z\"");
        assert_eq!(read_in(Tz::Europe__Berlin, "\"2024-10-27T02:30:00\""), earlier);
    }

    #[test]
    fn a_local_time_there_never_was_moves_forward_by_the_gap() {
        let after = read("\"2024-03-31T01:30:00Z\"");
        assert_eq!(read_in(Tz::Europe__Berlin, "\"2024-03-31T02:30:00\""), after);
        let samoa_skipped_a_day = read("\"2011-12-30T22:00:00Z\"");
        assert_eq!(read_in(Tz::Pacific__Apia, "\"2011-12-30T12:00:00\""), samoa_skipped_a_day);
    }

    #[test]
    fn what_is_no_moment_is_not_read() {
        for json in [
            "\"\"",
            "\"yesterday\"",
            "\"2024-13-01\"",
            "\"2023-02-29\"",
            "\"2024-03-05T25:00\"",
            "\"2024-03-05T24:00:01\"",
            "\"2024-03-05T06:60\"",
            "\"2024-03-05T06:07:08.Z\"",
            "\"2024-03-05T06:07:08+24:00\"",
            "\"2024-03-05T06:07:08 UTC\"",
            "\"2024-03-05X\"",
            "\"20240305T060708Z\"",
            "\"\\ud800\"",
            "-1",
            "1e300",
            "1709618828123456789",
            "\"1.2.3\"",
            "\".\"",
            "true",
            "[1709618828]",
            "{}",
        ] {
            assert_eq!(read(json), None, "{json}");
        }
    }

    #[test]
    fn moments_that_readers_cannot_hold_are_not_read() {
        for json in ["\"9999-12-31T23:59:59Z\"", "\"0001-01-01\"", "\"2262-01-01\"", "99999999999"] {
            assert_eq!(read(json), None, "{json}");
        }
        assert_eq!(read("\"1678-01-01\""), Some(EARLIEST_MICROS));
        assert_eq!(read("\"2261-12-31T23:59:59.999999\""), Some(LATEST_MICROS - 1));
        assert!(EARLIEST_MICROS.checked_mul(1000).is_some() && LATEST_MICROS.checked_mul(1000).is_some());
    }
}
