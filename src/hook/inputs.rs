//! Restores the arguments of an action. The runner writes them as one line, splits that line at
//! every space, and trims each piece (actions/runner, `HookInput.cs`), so that several spaces and
//! line breaks become one space. The original value of an input is also in an `INPUT_…` variable.

use super::{arguments, words};

/// The variable of `with: args:` of a `docker://` step.
const ARGS: &str = "INPUT_ARGS";
/// Prefix of the variables of inputs.
const INPUT: &str = "INPUT_";

/// The arguments of a container. `env` is the environment of the request.
pub(super) fn of(pieces: &[String], env: &[(String, String)]) -> Vec<String> {
    let inputs = || env.iter().filter(|(name, _)| name.starts_with(INPUT));
    let whole = inputs().find(|(name, line)| name == ARGS && split_as_runner(line) == *pieces);
    if let Some((_, line)) = whole {
        return arguments::split(line);
    }
    let split_value = arguments::split(&words::join(None, pieces));
    let lost: Vec<Input> = inputs().filter_map(|(_, value)| Input::of(value)).collect();
    split_value.into_iter().map(|word| restored(word, &lost)).collect()
}

/// An input that the splitting changes.
struct Input {
    split_value: String,
    /// The value as Docker mode passes it.
    whole: String,
}

// === impl Input ===

impl Input {
    /// `None` if nothing is lost, or if quotes in it divide it into several arguments.
    fn of(value: &str) -> Option<Self> {
        if !value.contains(char::is_whitespace) {
            return None;
        }
        let quoted = format!("\"{}\"", value.replace('"', "\\\""));
        let [whole] = <[String; 1]>::try_from(arguments::split(&quoted)).ok()?;
        let [split_value] =
            <[String; 1]>::try_from(arguments::split(&split_as_runner(&quoted).join(" "))).ok()?;
        (split_value != whole).then_some(Self { split_value, whole })
    }
}

/// Splits a line as the runner does.
fn split_as_runner(line: &str) -> Vec<&str> {
    line.split(' ').map(str::trim).filter(|piece| !piece.is_empty()).collect()
}

/// Replaces an argument, or the part after `NAME=`, by the input it came from. If two inputs differ
/// only in spaces, it is unknown which one it was, and the argument is not changed.
fn restored(word: String, lost: &[Input]) -> String {
    let only = |text: &str| {
        let mut fitting = lost.iter().filter(|input| input.split_value == text);
        let first = fitting.next()?;
        fitting.all(|other| other.whole == first.whole).then(|| first.whole.clone())
    };
    if let Some(whole) = only(&word) {
        return whole;
    }
    let after_name =
        word.split_once('=').and_then(|(name, value)| Some(format!("{name}={}", only(value)?)));
    after_name.unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The pieces that the runner sends for the arguments of an action.
    fn sent(arguments: &[&str]) -> Vec<String> {
        let quoted = arguments.iter().map(|word| format!("\"{}\"", word.replace('"', "\\\"")));
        let line = quoted.collect::<Vec<_>>().join(" ");
        split_as_runner(&line).into_iter().map(str::to_owned).collect()
    }

    fn variable(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn a_script_of_several_lines_is_the_input_that_it_was() {
        let script = "for i in 1; do\n  echo a \\\n    b\n  echo c\ndone\n";
        let pieces: Vec<String> = [
            "\"-ce\"",
            "\"for",
            "i",
            "in",
            "1;",
            "do",
            "echo",
            "a",
            "\\",
            "b",
            "echo",
            "c\ndone\n\"",
        ]
        .map(str::to_owned)
        .to_vec();
        assert_eq!(sent(&["-ce", script]), pieces);
        let env = [variable("INPUT_RUN", script), variable("INPUT_OTHER", "a b")];
        assert_eq!(of(&pieces, &env), ["-ce", script]);
        assert_eq!(of(&pieces, &[])[1], "for i in 1; do echo a \\ b echo c\ndone\n");
        // In Docker mode the inner quotes are preserved, too.
        let quoted = "echo \"a\"\n  echo 'b'\n";
        assert_eq!(of(&sent(&["-c", quoted]), &[variable("INPUT_X", quoted)]), ["-c", quoted]);
        let flag = format!("--script={script}");
        assert_eq!(of(&sent(&[&flag]), &[variable("INPUT_RUN", script)]), [flag]);
    }

    #[test]
    fn a_line_of_a_docker_step_is_split_as_it_was_written() {
        let line = "-c \"a   b\n  c\"  d\n";
        let pieces: Vec<String> = split_as_runner(line).into_iter().map(str::to_owned).collect();
        let env = [variable("INPUT_ARGS", line)];
        assert_eq!(of(&pieces, &env), ["-c", "a   b\n  c", "d\n"]);
        assert_eq!(of(&pieces, &[]), ["-c", "a b c", "d"]);
    }

    #[test]
    fn nothing_is_guessed() {
        let pieces = sent(&["a  b", "x"]);
        let two = [variable("INPUT_A", "a  b"), variable("INPUT_B", "a\n b")];
        assert_eq!(of(&pieces, &two), ["a b", "x"]);
        let other = [variable("NOT_INPUT", "a  b"), variable("INPUT_ARGS", "a  b y")];
        assert_eq!(of(&pieces, &other), ["a b", "x"]);
        // A line break at an end is inside the quotes, and is not lost.
        assert_eq!(of(&sent(&["A=1"]), &[variable("INPUT_A", "1\n")]), ["A=1"]);
    }

    proptest! {
        #[test]
        fn every_input_comes_back_whole(
            value in "[ a\"\n;x]{0,40}",
            other in "[a-z]{1,5}",
        ) {
            let env = [variable("INPUT_V", &value)];
            prop_assert_eq!(of(&sent(&[&other, &value]), &env), [other, value]);
        }

        #[test]
        fn no_pieces_make_it_panic(
            pieces in proptest::collection::vec(".{0,12}", 0..6),
            value in ".{0,40}",
        ) {
            drop(of(&pieces, &[variable("INPUT_ARGS", &value), variable("INPUT_A", &value)]));
        }
    }
}
