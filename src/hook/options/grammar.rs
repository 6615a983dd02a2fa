//! How Docker writes sizes and durations, and Kubernetes capabilities.

use super::Error;

/// A value that makes no sense.
pub(super) fn wrong(option: &'static str, value: &str, wanted: &'static str) -> Error {
    Error::Value { option, value: value.chars().take(64).collect(), wanted }
}

/// Docker's memory grammar: powers of 1024, `512m`, `1g`, `2048kb`.
pub(super) fn docker_bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix("ib").or_else(|| text.strip_suffix('b')).unwrap_or(&text);
    let (number, unit) = match text.chars().last()? {
        'k' => (text.strip_suffix('k')?, 1_u64 << 10),
        'm' => (text.strip_suffix('m')?, 1 << 20),
        'g' => (text.strip_suffix('g')?, 1 << 30),
        't' => (text.strip_suffix('t')?, 1 << 40),
        _ => (text, 1),
    };
    number.parse::<u64>().ok()?.checked_mul(unit).filter(|bytes| *bytes > 0)
}

/// Go's grammar of durations, in milliseconds: `1m30s`, `500ms`, `1.5s`.
pub(super) fn span(option: &'static str, text: &str) -> Result<u32, Error> {
    let wrong = || wrong(option, text, "a duration as 30s, 500ms or 1m30s");
    let mut rest = text;
    let mut total = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at_checked(digits).ok_or_else(wrong)?;
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at_checked(letters).ok_or_else(wrong)?;
        let millis = match unit {
            "h" => 3_600_000.0,
            "m" => 60_000.0,
            "s" => 1000.0,
            "ms" => 1.0,
            "us" | "µs" => 0.001,
            "ns" => 0.000_001,
            _ => return Err(wrong()),
        };
        total += number.parse::<f64>().map_err(|_| wrong())? * millis;
        rest = next;
    }
    if text.is_empty() || !total.is_finite() || total > f64::from(u32::MAX) {
        return Err(wrong());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within 0 and u32::MAX, looked at just above"
    )]
    Ok(total.ceil() as u32)
}

/// Kubernetes has no prefix.
pub(super) fn capability(name: &str) -> String {
    let name = name.to_ascii_uppercase();
    name.strip_prefix("CAP_").unwrap_or(&name).to_owned()
}
