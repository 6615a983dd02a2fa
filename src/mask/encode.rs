//! The forms in which a secret may occur in output: the runner's list of encodings (actions/runner,
//! `HostContext.cs`, `ValueEncoders.cs`), applied to bytes.

/// Shorter encodings are not searched for, because a few characters match everywhere.
const MIN_ENCODED_BYTES: usize = 6;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The value, its lines, and all their encodings, without empty ones.
pub(super) fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    let lines = value.split(|byte| matches!(byte, b'\r' | b'\n')).map(<[u8]>::trim_ascii);
    for plain in std::iter::once(value.trim_ascii()).chain(lines).filter(|plain| !plain.is_empty())
    {
        if !plain.contains(&b'\n') {
            forms.push(plain.to_vec());
        }
        forms.extend(encodings(plain).into_iter().filter(|form| form.len() >= MIN_ENCODED_BYTES));
    }
    forms.sort_unstable();
    forms.dedup();
    forms
}

fn encodings(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms: Vec<Vec<u8>> = (0..3).map(|shift| base64_stem(value, shift)).collect();
    forms.push(replace(value, &[(b'"', b"\\\"")]));
    forms.push(replace(value, &[(b'\'', b"''")]));
    forms.push(json(value));
    forms.push(percent(value));
    forms.push(replace(
        value,
        &[
            (b'<', b"&lt;"),
            (b'>', b"&gt;"),
            (b'"', b"&quot;"),
            (b'\'', b"&apos;"),
            (b'&', b"&amp;"),
        ],
    ));
    if value.len() > 8
        && let Some(inner) = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""))
    {
        forms.push(inner.to_vec());
    }
    forms.extend(powershell_parts(value));
    forms.retain(|form| form != value);
    forms
}

/// Base64 of the value if it begins `shift` bytes before the end of a group of three, without the
/// last character if that depends on what follows the value.
fn base64_stem(value: &[u8], shift: usize) -> Vec<u8> {
    let value = value.get(shift..).unwrap_or_default();
    let mut stem = Vec::with_capacity(value.len() / 3 * 4 + 3);
    for group in value.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte));
        let bits = bits << (8 * (3 - group.len()));
        // Number of characters that depend on the value only: 4 for three bytes, 2 for two, 1 for
        // one.
        let certain = match group.len() {
            3 => 4,
            2 => 2,
            _ => 1,
        };
        for place in (4 - certain..4).rev() {
            let digit = usize::try_from((bits >> (6 * place)) & 63).unwrap_or(0);
            stem.extend(BASE64.get(digit));
        }
    }
    stem
}

fn replace(value: &[u8], table: &[(u8, &[u8])]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for byte in value {
        match table.iter().find(|(from, _)| from == byte) {
            Some((_, to)) => out.extend_from_slice(to),
            None => out.push(*byte),
        }
    }
    out
}

/// As Newtonsoft writes a JSON string: control characters escaped, other text unchanged.
fn json(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for byte in value {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            control if *control < 0x20 => {
                out.extend_from_slice(format!("\\u{control:04x}").as_bytes());
            }
            other => out.push(*other),
        }
    }
    out
}

fn percent(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for byte in value {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            out.push(*byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

/// PowerShell prints a failed command in two parts, split at `&`, so either side may occur alone.
fn powershell_parts(value: &[u8]) -> Vec<Vec<u8>> {
    let plus = value.windows(2).position(|pair| pair == b"&+");
    let (before, after) = match plus {
        Some(at) => (value.get(..at + 2), value.get(at + 3..)),
        None => match value.iter().rposition(|byte| *byte == b'&') {
            Some(at) => (value.get(..=at), value.get(at + 1..)),
            None => return Vec::new(),
        },
    };
    [before, after].into_iter().flatten().map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(value: &str, form: &str) {
        let forms = forms(value.as_bytes());
        assert!(forms.contains(&form.as_bytes().to_vec()), "{value} has no form {form}: {forms:?}");
    }

    #[test]
    fn every_encoding_of_the_runner_is_a_form() {
        has("hunter2-hunter2", "hunter2-hunter2");
        has("hunter2-hunter2", "aHVudGVyMi1odW50ZXIy");
        has("hunter2-hunter2", "dW50ZXIyLWh1bnRlcj");
        has("hunter2-hunter2", "bnRlcjItaHVudGVyM");
        has("say \"hi\" now", "say \\\"hi\\\" now");
        has("it's a secret", "it''s a secret");
        has("tab\there ok", "tab\\there ok");
        has("p/w with space", "p%2Fw%20with%20space");
        has("a<b>&'c\"", "a&lt;b&gt;&amp;&apos;c&quot;");
        has("\"quoted value\"", "quoted value");
        has("firstpart&secondpart", "firstpart&");
        has("firstpart&secondpart", "secondpart");
        has("firstpart&+secondpart", "firstpart&+");
        has("firstpart&+secondpart", "econdpart");
    }

    #[test]
    fn each_line_of_a_value_is_a_form_and_empty_ones_are_not() {
        has("-----BEGIN-----\r\nabcdefgh\n\n", "abcdefgh");
        has("-----BEGIN-----\r\nabcdefgh\n\n", "-----BEGIN-----");
        assert!(forms(b" \n ").is_empty());
        assert!(forms(b"").is_empty());
    }

    #[test]
    fn a_base64_stem_is_in_the_base64_of_any_text_around_it() {
        let whole = |text: &[u8]| {
            let mut padded = text.to_vec();
            padded.resize(text.len().next_multiple_of(3), b'x');
            base64_stem(&padded, 0)
        };
        for before in ["", "u", "us", "use", "user"] {
            let text = format!("{before}S3cr3tP4ss:tail");
            let encoded = whole(text.as_bytes());
            let found = (0..3).any(|shift| {
                let stem = base64_stem(b"S3cr3tP4ss", shift);
                encoded.windows(stem.len()).any(|window| window == stem)
            });
            assert!(found, "{text}");
        }
    }
}
