//! What a collector says of itself, made fit for our log: short, on one line, and without the
//! headers that it was sent.

use ephemon_otel::Proxy;
use ephemon_otel::config::{Headers, Target};
use percent_encoding::percent_decode_str;

/// The most of a collector's words that is repeated.
const REASON_BYTES_MAX: usize = 300;
/// Shorter words of a query are no secrets, and common in a collector's answer.
const SECRET_BYTES_MIN: usize = 6;
/// The most that is searched for secrets.
const SEARCHED_BYTES_MAX: usize = 4096;

/// Takes out of a text what must not be seen.
#[derive(Clone, Default)]
pub(super) struct Censor(Vec<String>);

// === impl Censor ===

impl std::fmt::Debug for Censor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Censor({})", self.0.len())
    }
}

impl Censor {
    pub(super) fn of(headers: &Headers) -> Self {
        Self(headers.secrets())
    }

    /// Of the headers, of what is in the endpoint's query, which may hold a key, and of the proxy's
    /// password.
    pub(super) fn of_target(target: &Target) -> Self {
        let mut secrets = target.headers.secrets();
        let query = target.endpoint.query().unwrap_or_default();
        for pair in std::iter::once(query).chain(query.split('&')) {
            let value = pair.split_once('=').map_or(pair, |(_, value)| value);
            let decoded = percent_decode_str(value).decode_utf8_lossy().into_owned();
            secrets.extend([pair.to_owned(), value.to_owned(), decoded]);
        }
        secrets.retain(|secret| secret.len() >= SECRET_BYTES_MIN);
        // However short: it is known to be one.
        let of_proxy = target.proxy.iter().flat_map(Proxy::secrets).map(str::to_owned);
        secrets.extend(of_proxy);
        // The longest first: what is left of a value must not show the rest.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self(secrets)
    }

    /// One short line, without any value of a header.
    pub(super) fn clean(&self, said: &str) -> String {
        let mut text: String = said.chars().take(SEARCHED_BYTES_MAX).collect();
        let capped = text.len() < said.len();
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), "***");
            }
        }
        if capped {
            // Where it was cut off, the beginning of a secret may stand.
            let part = self.0.iter().map(String::len).max().unwrap_or(0);
            text = text.chars().take(text.chars().count().saturating_sub(part)).collect();
        }
        let whole = text.chars().count() <= REASON_BYTES_MAX;
        let line = text.chars().take(REASON_BYTES_MAX);
        let mut line: String =
            line.map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        if !whole {
            line.push('…');
        }
        line.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collectors_words_are_short_on_one_line_and_without_our_headers() {
        let censor = Censor(vec!["Bearer hunter2".into(), "hunter2".into()]);
        let said = "bad token Bearer hunter2 (hunter2)\r\n\u{1b}[31mred";
        assert_eq!(censor.clean(said), "bad token *** (***)   [31mred");
        let long = format!("{}hunter2", "x".repeat(REASON_BYTES_MAX - 3));
        let cleaned = censor.clean(&long);
        assert!(
            !cleaned.contains("hun") && cleaned.chars().count() <= REASON_BYTES_MAX + 1,
            "{cleaned}"
        );
        assert_eq!(censor.clean(&"é".repeat(5000)).chars().count(), REASON_BYTES_MAX + 1);
    }
}
