//! `key=value,key=value`, percent-encoded, as in `OTEL_RESOURCE_ATTRIBUTES` and in headers.

use percent_encoding::percent_decode_str;

use super::Ignored;

/// Parses the whole list, or fails, as the specification requires for resource attributes.
pub(super) fn parse(variable: &str, text: &str) -> Result<Vec<(String, String)>, Ignored> {
    let whole = |entry, trouble| Ignored::List { variable: variable.to_owned(), entry, trouble };
    let mut pairs = Vec::new();
    for (number, pair) in each(variable, text) {
        pairs.push(pair.map_err(|wrong| match wrong {
            Ignored::Pair { entry, trouble, .. } => whole(entry, trouble),
            other => other,
        })?);
        let entry = text.split(',').nth(number.saturating_sub(1)).unwrap_or_default();
        if !is_encoded(entry) {
            return Err(whole(number, "has a `%` that is not followed by two hexadecimal digits"));
        }
    }
    Ok(pairs)
}

/// Whether each `%` begins an encoded byte.
fn is_encoded(text: &str) -> bool {
    text.split('%').skip(1).all(|after| {
        let digits = after.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Parses each entry separately, with its number, from 1.
pub(super) fn each<'a>(
    variable: &'a str,
    text: &'a str,
) -> impl Iterator<Item = (usize, Result<(String, String), Ignored>)> + 'a {
    let entries = text.split(',').zip(1_usize..).filter(|(entry, _)| !entry.trim().is_empty());
    entries.map(move |(entry, number)| (number, pair(variable, number, entry)))
}

fn pair(variable: &str, entry: usize, text: &str) -> Result<(String, String), Ignored> {
    let wrong = |trouble| Ignored::Pair { variable: variable.to_owned(), entry, trouble };
    let (key, value) = text.split_once('=').ok_or_else(|| wrong("has no `=`"))?;
    let key = decode(key).ok_or_else(|| wrong("is not UTF-8"))?;
    let value = decode(value).ok_or_else(|| wrong("is not UTF-8"))?;
    if key.is_empty() { Err(wrong("has no key")) } else { Ok((key, value)) }
}

fn decode(text: &str) -> Option<String> {
    let decoded = percent_decode_str(text.trim()).decode_utf8().ok()?;
    Some(decoded.into_owned())
}
