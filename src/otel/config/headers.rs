//! Headers of every request. They contain keys and tokens, so only names are ever shown.

use hyper::header::{HeaderName, HeaderValue};

use super::{Ignored, Variable, pairs};

/// Headers of the transport itself; a second one would make the request invalid.
const RESERVED: [&str; 9] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "grpc-timeout",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
];
/// Shorter words are not treated as secrets, because they are common in responses.
const SHORTEST_SECRET: usize = 6;

/// Names and values; the values are never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(HeaderName, HeaderValue)>);

// === impl Headers ===

impl std::fmt::Debug for Headers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.0.iter().map(|(name, _)| name.as_str())).finish()
    }
}

impl Headers {
    /// The valid headers of the list, and what is wrong with the others.
    pub(super) fn parse(said: &Variable) -> (Self, Vec<Ignored>) {
        let (mut headers, mut ignored) = (Vec::new(), Vec::new());
        for (entry, pair) in pairs::each(&said.name, &said.value) {
            let wrong = |trouble| Ignored::Pair { variable: said.name.clone(), entry, trouble };
            match pair.and_then(|(key, value)| header(&key, &value).map_err(wrong)) {
                Ok(header) => headers.push(header),
                Err(error) => ignored.push(error),
            }
        }
        (Self(headers), ignored)
    }

    /// Names and values; the values are marked as sensitive.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// Texts that must be masked if a collector repeats what it was sent: each value, and each of
    /// its words.
    pub fn secrets(&self) -> Vec<String> {
        let values = self.0.iter().filter_map(|(_, value)| value.to_str().ok());
        let words = values.flat_map(|value| std::iter::once(value).chain(value.split(' ')));
        let mut secrets: Vec<String> =
            words.filter(|word| word.len() >= SHORTEST_SECRET).map(str::to_owned).collect();
        // The longest first, so that masking a part does not reveal the rest.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        secrets
    }
}

/// A header with this name and value, or what is wrong with it.
fn header(key: &str, value: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let name = HeaderName::from_bytes(key.to_ascii_lowercase().as_bytes())
        .map_err(|_| "has a key that is not valid in a header")?;
    // gRPC decodes the values of names with this suffix as base64.
    if RESERVED.contains(&name.as_str()) || name.as_str().ends_with("-bin") {
        return Err("has a reserved key");
    }
    let impossible = "has a value that is not valid in a header";
    if !value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
        return Err(impossible);
    }
    let mut value = HeaderValue::from_str(value).map_err(|_| impossible)?;
    value.set_sensitive(true);
    Ok((name, value))
}
