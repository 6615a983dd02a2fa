//! Splits a command line as the runner does: it passes one line to .NET, which splits it into the
//! arguments of `docker create`, `docker run` and `docker exec`. No shell is involved, so nothing
//! is expanded. Pure.

use super::request::ScriptStep;
use super::words;

/// The program and its arguments. The runner splits the line at every space; .NET's rules then
/// determine where an argument ends, as for `docker exec`.
pub(super) fn of_script(asked: &ScriptStep) -> Vec<String> {
    split(&words::join(Some(&asked.entry_point), &asked.entry_point_args))
}

/// Splits by the rules of .NET's `ProcessStartInfo.Arguments`: spaces and tabs separate arguments;
/// double quotes group, and `""` inside them is one quote; a backslash is literal unless double
/// quotes follow it. A single quote is literal, and a quote that is not closed extends to the end.
pub(super) fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut is_quoted = false;
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            ' ' | '\t' if !is_quoted => words.extend(word.take()),
            '\\' => {
                let mut count = 1;
                while rest.next_if_eq(&'\\').is_some() {
                    count += 1;
                }
                let text = word.get_or_insert_default();
                if rest.peek() != Some(&'"') {
                    text.extend(std::iter::repeat_n('\\', count));
                    continue;
                }
                // Each pair of backslashes becomes one; an odd one makes the quote literal.
                text.extend(std::iter::repeat_n('\\', count / 2));
                if count % 2 == 1 {
                    text.extend(rest.next());
                }
            }
            '"' => {
                let text = word.get_or_insert_default();
                if is_quoted && rest.next_if_eq(&'"').is_some() {
                    text.push('"');
                } else {
                    is_quoted = !is_quoted;
                }
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_those_of_dot_net() {
        let cases: [(&str, &[&str]); 12] = [
            ("", &[]),
            ("bash -e  /__w/_temp/a.sh ", &["bash", "-e", "/__w/_temp/a.sh"]),
            (r#"node "/__w/_actions/a b/index.js""#, &["node", "/__w/_actions/a b/index.js"]),
            (r#"bash -c "a 'b'; c""#, &["bash", "-c", "a 'b'; c"]),
            ("perl -e 'print 1'", &["perl", "-e", "'print", "1'"]),
            (r#"a\b \\ "c\d""#, &[r"a\b", r"\\", r"c\d"]),
            (r#""a\"b" "a\\" \\\"c"#, &[r#"a"b"#, r"a\", r#"\"c"#]),
            (r#""say ""x"" now""#, &[r#"say "x" now"#]),
            (r#""" "" a"#, &["", "", "a"]),
            (r#"a"b c"d"#, &["ab cd"]),
            (r#""never closed"#, &["never closed"]),
            ("$HOME `id` $(id) a;b\tc#d", &["$HOME", "`id`", "$(id)", "a;b", "c#d"]),
        ];
        for (line, words) in cases {
            assert_eq!(split(line), words, "{line}");
        }
    }

    proptest! {
        /// The runner quotes a path like this: `"` becomes `\"`, and quotes are added around it.
        #[test]
        fn what_the_runner_quotes_comes_back(words in proptest::collection::vec("[^\\\\]{0,12}", 0..6)) {
            let quoted: Vec<String> =
                words.iter().map(|word| format!("\"{}\"", word.replace('"', "\\\""))).collect();
            prop_assert_eq!(split(&quoted.join(" ")), words);
        }
    }
}
