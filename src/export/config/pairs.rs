//! `key=value,key=value`, percent-encoded, as in `OTEL_RESOURCE_ATTRIBUTES` and in headers.

use percent_encoding::percent_decode_str;

use super::Error;

/// Parses the whole list, or nothing of it.
pub(super) fn parse(variable: &str, text: &str) -> Result<Vec<(String, String)>, Error> {
    let mut pairs = Vec::new();
    for (index, pair) in text.split(',').enumerate() {
        if pair.trim().is_empty() {
            continue;
        }
        let wrong = |trouble| Error::Pair {
            variable: variable.to_owned(),
            entry: index.saturating_add(1),
            trouble,
        };
        let (key, value) = pair.split_once('=').ok_or_else(|| wrong("has no `=`"))?;
        let key = decode(key).ok_or_else(|| wrong("is not UTF-8"))?;
        let value = decode(value).ok_or_else(|| wrong("is not UTF-8"))?;
        if key.is_empty() {
            return Err(wrong("has no key"));
        }
        pairs.push((key, value));
    }
    Ok(pairs)
}

fn decode(text: &str) -> Option<String> {
    let decoded = percent_decode_str(text.trim()).decode_utf8().ok()?;
    Some(decoded.into_owned())
}
