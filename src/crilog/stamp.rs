//! A record's time: Go's `time.RFC3339Nano` of any zone to nanoseconds since 1970. Pure.
//!
//! As many digits of the second as are not zero, so nothing after the seconds stands at a fixed
//! place. Written by hand: this is read once for every line of every container.

/// Seconds in a day.
const DAY: i64 = 86_400;

/// Nanoseconds in a second.
const SECOND: i64 = 1_000_000_000;

/// Takes a whole stamp, such as `2026-11-23T12:16:41.47592032Z` or `…T14:16:41+02:00`.
///
/// Returns nothing for what is no stamp and for years that nanoseconds in 64 bits do not reach.
pub(super) fn unix_ns(text: &[u8]) -> Option<i64> {
    let (fixed, rest) = text.split_first_chunk::<19>()?;
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', i0, i1, b':', s0, s1] =
        *fixed
    else {
        return None;
    };
    let year = two(y0, y1)? * 100 + two(y2, y3)?;
    let (month, day) = (two(m0, m1)?, two(d0, d1)?);
    let (hour, minute, second) = (two(h0, h1)?, two(i0, i1)?, two(s0, s1)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 {
        return None;
    }
    // 60: a leap second, which Go never prints but RFC 3339 allows.
    if second > 60 {
        return None;
    }
    let (fraction, zone) = fraction(rest)?;
    let seconds = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second - offset(zone)?;
    seconds.checked_mul(SECOND)?.checked_add(fraction)
}

/// The digits after a point, as nanoseconds, and what follows. Digits beyond nine say nothing.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.', digits)) = text.split_first() else {
        return Some((0, text));
    };
    let mut value = 0;
    let mut unit = SECOND / 10;
    let mut rest = digits;
    while let Some((digit @ b'0'..=b'9', more)) = rest.split_first() {
        value += i64::from(digit - b'0') * unit;
        unit /= 10;
        rest = more;
    }
    (rest.len() < digits.len()).then_some((value, rest))
}

/// Seconds that a zone is ahead of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    match *zone {
        [b'Z'] => Some(0),
        [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1] => {
            let ahead = two(h0, h1)? * 3600 + two(m0, m1)? * 60;
            Some(if sign == b'-' { -ahead } else { ahead })
        }
        _ => None,
    }
}

fn two(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| i64::from(tens) * 10 + i64::from(ones))
}

/// Days from 1970-01-01 in the Gregorian calendar. A year is taken to begin in March, so that the
/// leap day is its last; 400 years have 146 097 days.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let century = year.div_euclid(400);
    let of_century = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    century * 146_097 + of_century * 365 + of_century / 4 - of_century / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stamps_of_every_width_and_zone_are_read() {
        let cases = [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.1Z", 100_000_000),
            ("1969-12-31T23:59:59.999999999Z", -1),
            ("2026-11-23T12:16:41.47592032Z", 1_795_436_201_475_920_320),
            ("2026-11-23T14:16:41.47592032+02:00", 1_795_436_201_475_920_320),
            ("2026-11-23T08:46:41.47592032-03:30", 1_795_436_201_475_920_320),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000_000_000),
            ("2000-03-01T00:00:00.0000000019Z", 951_868_800_000_000_001),
        ];
        for (text, ns) in cases {
            assert_eq!(unix_ns(text.as_bytes()), Some(ns), "{text}");
        }
    }

    #[test]
    fn what_is_no_stamp_is_none() {
        for text in [
            "",
            "2026-11-23T12:16:41",
            "2026-11-23T12:16:41.Z",
            "2026-11-23 12:16:41Z",
            "2026-13-23T12:16:41Z",
            "2026-11-23T24:16:41Z",
            "2026-11-23T12:16:41.5",
            "2026-11-23T12:16:41.5Zx",
            "2026-11-23T12:16:41+0200",
            "9999-11-23T12:16:41Z",
            "20a6-11-23T12:16:41Z",
        ] {
            assert_eq!(unix_ns(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_calendar_of_a_library(
            seconds in -9_000_000_000_i64..9_000_000_000,
            ns in 0..1_000_000_000_i32,
        ) {
            let time = jiff::Timestamp::new(seconds, ns).unwrap();
            let expected = i64::try_from(time.as_nanosecond()).unwrap();
            prop_assert_eq!(unix_ns(time.to_string().as_bytes()), Some(expected));
        }

        #[test]
        fn any_bytes_are_taken_without_panic(text in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = unix_ns(&text);
        }
    }
}
