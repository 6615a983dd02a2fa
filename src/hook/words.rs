//! Arguments that the runner split at every blank, made whole again.

/// Quotes that open and never close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a quote opens and never closes")]
pub(super) struct Unbalanced;

/// The line as it was written, as far as it can be known: several blanks in a row between the
/// pieces of a container step have become one.
pub(super) fn join<'a>(first: Option<&'a str>, pieces: &'a [String]) -> String {
    let all: Vec<&str> = first.into_iter().chain(pieces.iter().map(String::as_str)).collect();
    all.join(" ")
}

/// The words of a workflow in a pod's spec, where `$(NAME)` is Kubernetes' and `$$` its dollar sign.
pub(super) fn literal(word: &str) -> String {
    word.replace('$', "$$")
}

/// Splits by a shell's quoting rules; nothing is expanded. A `#` that begins a word is a part of
/// it: arguments have no comments.
pub(super) fn split(line: &str) -> Result<Vec<String>, Unbalanced> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' => {
                let text = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or(Unbalanced)? {
                        '\'' => break,
                        other => text.push(other),
                    }
                }
            }
            '"' => quoted(&mut chars, word.get_or_insert_default())?,
            '\\' => match chars.next().ok_or(Unbalanced)? {
                '\n' => {}
                other => word.get_or_insert_default().push(other),
            },
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Inside double quotes a backslash is itself before anything but these.
fn quoted(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    text: &mut String,
) -> Result<(), Unbalanced> {
    loop {
        match chars.next().ok_or(Unbalanced)? {
            '"' => return Ok(()),
            '\\' => match chars.next().ok_or(Unbalanced)? {
                '\n' => {}
                escaped @ ('$' | '`' | '"' | '\\') => text.push(escaped),
                other => text.extend(['\\', other]),
            },
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_quoted_argument_that_was_torn_is_whole_again() {
        let pieces = ["\"a\"".to_owned(), "\"b".to_owned(), "c\"".to_owned()];
        assert_eq!(split(&join(None, &pieces)).unwrap(), ["a", "b c"]);
    }

    #[test]
    fn shell_quoting_is_understood() {
        let cases: [(&str, &[&str]); 8] = [
            ("", &[]),
            ("  a   b ", &["a", "b"]),
            (r#"--health-cmd "pg_isready -U x""#, &["--health-cmd", "pg_isready -U x"]),
            (r"a\ b", &["a b"]),
            (r#"'it''s' "$HOME\$""#, &["its", "$HOME$"]),
            (r#""" ''"#, &["", ""]),
            ("a#b #c", &["a#b", "#c"]),
            (r#""\n""#, &[r"\n"]),
        ];
        for (line, words) in cases {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
        for bad in ["'", "\"a", "a\\"] {
            assert_eq!(split(bad), Err(Unbalanced), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn quoted_words_come_back(words in proptest::collection::vec("[^\0]{0,12}", 0..6)) {
            let quoted: Vec<String> = words
                .iter()
                .map(|word| format!("'{}'", word.replace('\'', r"'\''")))
                .collect();
            prop_assert_eq!(split(&quoted.join(" ")).unwrap(), words);
        }

        #[test]
        fn no_line_makes_it_panic(line in ".{0,200}") {
            drop(split(&line));
        }
    }
}
