//! `--config FILE`: flags in a YAML file, for what is too long for a command line.
//!
//! A key is a flag's name without its dashes. The command line has precedence over the environment,
//! the environment over the file, the file over the default. The file's values become arguments and
//! are read by the same parser, so a flag means the same wherever it is set.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Command};
use serde_json::Value;

/// The flag that names the file, which the file itself cannot set.
pub(super) const FLAG: &str = "config";
/// Longest file that is read, in bytes.
const BYTES_MAX: u64 = 1 << 20;

/// The configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is not YAML of the expected form, or a key or value is wrong.
    #[error("configuration file {path}: {wrong}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its key.
        wrong: String,
    },
}

// === impl Error ===

impl Error {
    /// The parser does not take what the file says together with the rest. Its first line says what.
    pub(super) fn rejected(path: &Path, error: &clap::Error) -> Self {
        let text = error.to_string();
        let text = text.split("\n\nUsage").next().unwrap_or_default();
        let text = text.trim_start_matches("error: ").trim().to_owned();
        Self::Wrong { path: path.to_owned(), wrong: text }
    }
}

/// The file's settings as arguments of `command`: those that neither the command line nor the
/// environment has set, as `matches` says.
pub(super) fn arguments(
    path: &Path,
    command: &Command,
    matches: &ArgMatches,
) -> Result<Vec<OsString>, Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    let wrong = |wrong| Error::Wrong { path: path.to_owned(), wrong };
    if text.len() as u64 > BYTES_MAX {
        return Err(wrong(format!("it is longer than {BYTES_MAX} bytes")));
    }
    read(&text, command, matches).map_err(wrong)
}

/// The flag that an argument of [`arguments`] sets.
pub(super) fn flag_of(argument: &str) -> &str {
    let flag = argument.trim_start_matches('-');
    flag.split_once('=').map_or(flag, |(flag, _)| flag)
}

fn read(text: &str, command: &Command, matches: &ArgMatches) -> Result<Vec<OsString>, String> {
    // An empty document, or one of comments, sets nothing.
    let settings: Option<BTreeMap<String, Value>> = serde_saphyr::from_str(text)
        .map_err(|error| format!("expected `flag: value`, one to a line: {error}"))?;
    let mut arguments = Vec::new();
    for (key, value) in settings.unwrap_or_default() {
        let flag = command.get_arguments().find(|flag| flag.get_long() == Some(key.as_str()));
        let Some(flag) = flag.filter(|_| key != FLAG) else {
            return Err(format!(
                "`{key}` is not a flag of `ephemon {}` that a file can set; see --help",
                command.get_name()
            ));
        };
        let id = flag.get_id().as_str();
        let set = matches.value_source(id);
        if matches!(set, Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
            continue;
        }
        let is_switch = matches!(flag.get_action(), ArgAction::SetTrue);
        if is_switch {
            match value {
                Value::Bool(true) => arguments.push(format!("--{key}").into()),
                Value::Bool(false) => {}
                _ => return Err(format!("`{key}` must be true or false")),
            }
            continue;
        }
        let values = match value {
            Value::Array(values) => values,
            value => vec![value],
        };
        if values.len() > 1 && !matches!(flag.get_action(), ArgAction::Append) {
            return Err(format!("`{key}` takes one value, not a list"));
        }
        for value in values {
            let text = match value {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                Value::Bool(flag) => flag.to_string(),
                Value::Null | Value::Array(_) | Value::Object(_) => {
                    return Err(format!("`{key}` must be a text or a number"));
                }
            };
            arguments.push(format!("--{key}={text}").into());
        }
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use clap::Args as _;
    use proptest::prelude::*;

    use super::*;
    use crate::Args;

    fn command() -> Command {
        Args::augment_args(Command::new("agent"))
    }

    fn of(text: &str, line: &[&str]) -> Result<Vec<String>, String> {
        let matches = command().get_matches_from(["agent"].into_iter().chain(line.iter().copied()));
        let arguments = read(text, &command(), &matches)?;
        Ok(arguments.into_iter().map(|word| word.into_string().unwrap()).collect())
    }

    #[test]
    fn keys_are_flags_and_the_command_line_has_precedence() {
        let text =
            "# comment\npod-selector: a=b\nsample-budget: 5\nno-api: true\notlp-metrics: false\n";
        assert_eq!(of(text, &[]).unwrap(), ["--no-api", "--pod-selector=a=b", "--sample-budget=5"]);
        assert_eq!(
            of(text, &["--sample-budget", "7"]).unwrap(),
            ["--no-api", "--pod-selector=a=b"]
        );
        assert_eq!(of("", &[]).unwrap(), [""; 0]);
        assert_eq!(of("# nothing\n", &[]).unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_key() {
        for (text, words) in [
            ("pod-selectr: a\n", "`pod-selectr` is not a flag"),
            ("config: x\n", "`config` is not a flag"),
            ("no-api: 3\n", "`no-api` must be true or false"),
            ("node-name: [a, b]\n", "`node-name` takes one value"),
            ("pod-selector: {a: b}\n", "`pod-selector` must be a text"),
            ("- a\n", "expected `flag: value`"),
        ] {
            let error = of(text, &[]).unwrap_err();
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            drop(of(&text, &[]));
        }
    }
}
