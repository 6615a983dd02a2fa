//! Durations on the command line: `250ms`, `0.5s`, `5m`, `1h30m`.

use std::time::Duration;

use ephemon_base::duration;

/// Parses numbers with their units.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    duration::parse(text)
        .ok_or_else(|| "expected numbers with their units: 250ms, 0.5s, 5m, 1h30m".into())
}

/// Like [`parse`], but zero is an error.
pub(super) fn parse_positive(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        Duration::ZERO => Err("must be more than zero".into()),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_are_read_and_bare_numbers_refused() {
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("0.5s"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("5m"), Ok(Duration::from_mins(5)));
        assert_eq!(parse("1h30m"), Ok(Duration::from_mins(90)));
        assert!(parse("5").is_err());
        assert!(parse("s").is_err());
        assert!(parse("-1s").is_err());
        assert!(parse_positive("0s").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            drop(parse(&text));
        }
    }
}
