//! One value as text. Whole numbers of nanoseconds and microseconds become exact decimals of
//! seconds, never by way of a float.

use ephemon_catalogue::Value;

use crate::format::Format;

/// Appends a sample's value.
pub(super) fn push(out: &mut String, value: Value) {
    match value {
        Value::Count(count) => push_digits(out, count, 1),
        Value::Code(code) => {
            if code < 0 {
                out.push('-');
            }
            push_digits(out, u64::from(code.unsigned_abs()), 1);
        }
        Value::Millis(millis) => {
            push_digits(out, millis / 1000, 1);
            out.push('.');
            push_digits(out, millis % 1000, 3);
        }
        Value::Nanos(nanos) => {
            push_digits(out, nanos / 1_000_000_000, 1);
            out.push('.');
            push_digits(out, nanos % 1_000_000_000, 9);
        }
        Value::Micros(micros) => {
            push_digits(out, micros / 1_000_000, 1);
            out.push('.');
            push_digits(out, micros % 1_000_000, 6);
        }
        Value::Float(float) => push_float(out, float),
    }
}

/// A sample's value as protobuf has it: the nearest float, as a reader of the text makes it.
pub(super) fn float(value: Value) -> f64 {
    match value {
        Value::Count(count) => count as f64,
        Value::Code(code) => code.into(),
        Value::Millis(millis) => millis as f64 / 1e3,
        Value::Micros(micros) => micros as f64 / 1e6,
        Value::Nanos(nanos) => nanos as f64 / 1e9,
        Value::Float(float) => float,
    }
}

/// The value of a histogram's `le` label, spelled as Go does (`5e-06`) and, in OpenMetrics, with a
/// fraction always: the canonical forms its "Considerations: Canonical Numbers" asks for.
pub(super) fn bound(le: f64, format: Format) -> String {
    let size = le.abs();
    if !le.is_finite() {
        let mut text = String::new();
        push_float(&mut text, le);
        text
    } else if size != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{le:e}");
        match text.split_once('e') {
            Some((digits, exponent)) => {
                let (sign, exponent) = match exponent.strip_prefix('-') {
                    Some(exponent) => ('-', exponent),
                    None => ('+', exponent),
                };
                format!("{digits}e{sign}{exponent:0>2}")
            }
            None => text,
        }
    } else {
        let mut text = le.to_string();
        if format == Format::OpenMetrics && !text.contains('.') {
            text.push_str(".0");
        }
        text
    }
}

fn push_float(out: &mut String, float: f64) {
    if float.is_nan() {
        out.push_str("NaN");
    } else if float.is_infinite() {
        out.push_str(if float > 0.0 { "+Inf" } else { "-Inf" });
    } else {
        out.push_str(&float.to_string());
    }
}

/// Decimal digits, with zeros in front up to `width`. A third of the cost of `write!`.
fn push_digits(out: &mut String, mut number: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        if number == 0 && used >= width {
            break;
        }
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        used += 1;
    }
    // Letter by letter: as a text they would be looked through for what is no UTF-8.
    let text = digits.get(digits.len() - used..).unwrap_or_default();
    out.extend(text.iter().copied().map(char::from));
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;

    use super::*;

    fn text(value: Value) -> String {
        let mut out = String::new();
        push(&mut out, value);
        out
    }

    #[test]
    fn nanoseconds_are_exact_to_the_last_digit() {
        assert_eq!(text(Value::Nanos(1_234_567_890)), "1.234567890");
        assert_eq!(text(Value::Nanos(7)), "0.000000007");
        assert_eq!(text(Value::Nanos(u64::MAX)), "18446744073.709551615");
        assert_eq!(text(Value::Micros(1_500_000)), "1.500000");
        assert_eq!(text(Value::Millis(250)), "0.250");
    }

    #[test]
    fn a_moment_is_exact_to_the_nanosecond() {
        let at = UNIX_EPOCH + Duration::new(1_790_000_000, 42);
        assert_eq!(Value::unix(at).map(text).unwrap(), "1790000000.000000042");
    }

    #[test]
    fn odd_floats_have_their_words() {
        assert_eq!(text(Value::Float(f64::NAN)), "NaN");
        assert_eq!(text(Value::Float(f64::INFINITY)), "+Inf");
        assert_eq!(text(Value::Float(f64::NEG_INFINITY)), "-Inf");
    }

    #[test]
    fn bounds_are_canonical() {
        let cases = [
            (5e-6, "5e-06", "5e-06"),
            (3.5e-5, "3.5e-05", "3.5e-05"),
            (1e-4, "0.0001", "0.0001"),
            (0.25, "0.25", "0.25"),
            (1.0, "1", "1.0"),
            (0.0, "0", "0.0"),
            (1e21, "1e+21", "1e+21"),
            (f64::INFINITY, "+Inf", "+Inf"),
        ];
        for (le, plain, open) in cases {
            assert_eq!(bound(le, Format::Text), plain);
            assert_eq!(bound(le, Format::OpenMetrics), open);
        }
    }

    proptest! {
        #[test]
        fn whole_numbers_read_back(count: u64, code: i32) {
            prop_assert_eq!(text(Value::Count(count)), count.to_string());
            prop_assert_eq!(text(Value::Code(code)), code.to_string());
        }

        #[test]
        fn seconds_read_back_as_the_nanoseconds_they_were(nanos: u64) {
            let text = text(Value::Nanos(nanos));
            let (whole, fraction) = text.split_once('.').unwrap();
            prop_assert_eq!(fraction.len(), 9);
            prop_assert_eq!(format!("{whole}{fraction}").parse::<u64>().unwrap(), nanos);
        }

        #[test]
        fn bounds_read_back(le: f64) {
            prop_assume!(le.is_finite());
            let bits = |format| bound(le, format).parse::<f64>().unwrap().to_bits();
            prop_assert_eq!(bits(Format::Text), le.to_bits());
            prop_assert_eq!(bits(Format::OpenMetrics), le.to_bits());
        }
    }
}
