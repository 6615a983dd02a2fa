//! Every flag's value and where it came from, as `/debug/state` shows them. No flag holds a secret:
//! those are in files and in `OTEL_*` variables, which are not shown.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use serde::Serialize;

use super::config_file;

/// A flag's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its name without dashes.
    pub flag: String,
    /// As text; several values are separated by commas.
    pub value: String,
    /// Where it was set.
    pub source: Source,
}

/// Where a value was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Nowhere.
    Default,
    /// In the environment.
    Environment,
    /// In the configuration file.
    File,
    /// On the command line.
    CommandLine,
}

/// The flags of `command` that have a value. `from_file` are the arguments that a configuration file
/// has added.
pub(super) fn of(command: &Command, matches: &ArgMatches, from_file: &[OsString]) -> Vec<Setting> {
    let in_file: BTreeSet<&str> =
        from_file.iter().filter_map(|word| word.to_str()).map(config_file::flag_of).collect();
    let settings = command.get_arguments().filter_map(|flag| {
        let (id, name) = (flag.get_id().as_str(), flag.get_long()?);
        let source = match matches.value_source(id)? {
            _ if in_file.contains(name) => Source::File,
            ValueSource::CommandLine => Source::CommandLine,
            ValueSource::EnvVariable => Source::Environment,
            _ => Source::Default,
        };
        let values = matches.get_raw(id)?;
        let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
        Some(Setting { flag: name.to_owned(), value: values.join(","), source })
    });
    settings.collect()
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use super::*;
    use crate::Args;

    #[test]
    fn each_value_comes_with_its_source() {
        let command = || Args::augment_args(Command::new("agent"));
        let line = ["agent", "--no-api", "--sample-budget=5", "--retain-ended", "1m"];
        let matches = command().get_matches_from(line);
        let settings = of(&command(), &matches, &["--sample-budget=5".into()]);
        let setting = |flag: &str| {
            let setting = settings.iter().find(|setting| setting.flag == flag);
            setting.map(|setting| (setting.value.as_str(), setting.source))
        };
        assert_eq!(setting("no-api"), Some(("true", Source::CommandLine)));
        assert_eq!(setting("sample-budget"), Some(("5", Source::File)));
        assert_eq!(setting("retain-ended"), Some(("1m", Source::CommandLine)));
        assert_eq!(setting("sample-interval"), Some(("1s", Source::Default)));
        assert_eq!(setting("kubeconfig"), None);
    }
}
