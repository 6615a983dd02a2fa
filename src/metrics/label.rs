//! Labels as the text formats spell them, clipped and escaped, and back.

/// Bytes of a label's value that are shown. Names of the API have at most 253; an image or a reason
/// may be as long as whoever wrote the pod likes.
const MAX_LABEL_VALUE: usize = 1024;

/// Appends `name="value"`, with a comma if it is not the first.
pub(crate) fn push_label(labels: &mut String, name: &str, value: &str) {
    if !labels.is_empty() {
        labels.push(',');
    }
    labels.push_str(name);
    labels.push_str("=\"");
    push_escaped(labels, clip(value), true);
    labels.push('"');
}

/// Backslash and newline everywhere, the quote in label values and in OpenMetrics' help.
pub(crate) fn push_escaped(out: &mut String, text: &str, quotes: bool) {
    let special = |byte: &u8| matches!(byte, b'\\' | b'\n') || (quotes && *byte == b'"');
    if !text.as_bytes().iter().any(special) {
        out.push_str(text);
        return;
    }
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            _ => out.push(letter),
        }
    }
}

/// The labels that [`push_label`] spelled, one after the other.
pub(crate) fn pairs(labels: &str) -> Vec<(&str, String)> {
    let mut pairs = Vec::new();
    let mut rest = labels;
    while let Some((name, quoted)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut letters = quoted.chars();
        loop {
            match letters.next() {
                Some('\\') => match letters.next() {
                    Some('n') => value.push('\n'),
                    Some(letter) => value.push(letter),
                    None => break,
                },
                Some('"') | None => break,
                Some(letter) => value.push(letter),
            }
        }
        pairs.push((name, value));
        rest = letters.as_str().strip_prefix(',').unwrap_or_default();
    }
    pairs
}

/// The longest beginning that is short enough and ends between letters.
pub(crate) fn clip(value: &str) -> &str {
    if value.len() <= MAX_LABEL_VALUE {
        return value;
    }
    value.get(..value.floor_char_boundary(MAX_LABEL_VALUE)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn spelled_labels_read_back(values in prop::collection::vec(".{0,40}", 0..5)) {
            let mut spelled = String::new();
            for value in &values {
                push_label(&mut spelled, "name", value);
            }
            let read = pairs(&spelled);
            let expected: Vec<_> = values.into_iter().map(|value| ("name", value)).collect();
            prop_assert_eq!(read, expected);
        }
    }

    #[test]
    fn an_endless_value_is_cut_between_letters() {
        let long = "é".repeat(MAX_LABEL_VALUE);
        let cut = clip(&long);
        assert!(cut.len() <= MAX_LABEL_VALUE && cut.len() > MAX_LABEL_VALUE - 2);
        assert!(long.starts_with(cut));
    }

    #[test]
    fn quotes_are_left_alone_in_the_text_formats_help() {
        let mut out = String::new();
        push_escaped(&mut out, "a \"b\" \\ c\nd", false);
        assert_eq!(out, "a \"b\" \\\\ c\\nd");
    }
}
