//! Parses Kubernetes quantities: a decimal number with a suffix for powers of 1000 (`n u m k M G T
//! P E`) or of 1024 (`Ki Mi Gi Ti Pi Ei`), or with an exponent (`1e9`), as `ParseQuantity` of
//! apimachinery does. Without a sign, because no limit is negative.

/// Most digits that are parsed: more than any meaningful value has.
const MAX_DIGITS: usize = 30;

/// The quantity in units of `1 / scale`, rounded up as Kubernetes does: 1000 for thousandths.
/// `None` for text that is not a quantity, or a value that does not fit into `u64`.
pub(super) fn scaled(text: &str, scale: u64) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(split)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}");
    if fraction.contains('.') || number.trim_start_matches('.').is_empty() {
        return None;
    }
    if digits.len() > MAX_DIGITS {
        return None;
    }
    let mantissa: u128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let (factor, exponent) = unit(suffix)?;
    let exponent = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let value = mantissa.checked_mul(factor)?.checked_mul(scale.into())?;
    let power = 10_u128.checked_pow(exponent.unsigned_abs());
    let value = match (exponent < 0, power) {
        _ if value == 0 => 0,
        (false, power) => value.checked_mul(power?)?,
        // Less than one unit, but not zero.
        (true, None) => 1,
        (true, Some(power)) => value.div_ceil(power),
    };
    value.try_into().ok()
}

/// A factor and a power of ten.
fn unit(suffix: &str) -> Option<(u128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        exponent => (1, exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_of_kubernetes_is_read() {
        for (text, scale, value) in [
            ("1.5Gi", 1, 1_610_612_736),
            ("1e9", 1, 1_000_000_000),
            ("1E3", 1, 1000),
            ("1E", 1, 1_000_000_000_000_000_000),
            ("12e-1", 1, 2),
            ("2e0", 1000, 2000),
            ("1500m", 1000, 1500),
            (".5", 1000, 500),
            ("1.", 1000, 1000),
            ("0.0001", 1000, 1),
            ("1n", 1000, 1),
            ("128974848000m", 1, 128_974_848),
            ("123Mi", 1, 123 << 20),
            ("0.1Pi", 1, 112_589_990_684_263),
            ("0", 1, 0),
            ("0e99", 1, 0),
            ("1e-99", 1, 1),
        ] {
            assert_eq!(scaled(text, scale), Some(value), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "", ".", "1.2.3", "Mi", "1kk", "1 Gi", "-1", "+1", "1e", "1e1.5", "é", "1mi", "16Ei",
            "1e20", "1e99",
        ] {
            assert_eq!(scaled(text, 1), None, "{text}");
        }
        assert_eq!(scaled(&"9".repeat(40), 1), None);
    }

    proptest! {
        #[test]
        fn whole_numbers_are_themselves(number in any::<u64>()) {
            prop_assert_eq!(scaled(&number.to_string(), 1), Some(number));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9.]{0,6}\\PC{0,6}", scale in any::<u64>()) {
            prop_assert!(scaled(&text, scale).is_none() || !text.is_empty());
        }
    }
}
