//! The command line with its configuration file.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args as _, FromArgMatches as _};

use super::{Cli, Command, plugin};
use crate::{Args, config_file, settings};

/// The command that runs for as long as the node does.
const AGENT: &str = "agent";

/// The command line cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Usage; also help and version, which are not errors.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The configuration file.
    #[error(transparent)]
    File(#[from] config_file::Error),
}

/// Reads the words of a command line, and the file that `--config` names.
pub(super) fn cli(words: impl IntoIterator<Item = OsString>) -> Result<Cli, Error> {
    let mut words: Vec<OsString> = words.into_iter().collect();
    let is_agent = words.get(1).is_some_and(|word| word == AGENT);
    let definition = if is_agent && !plugin::is_plugin(words.first()) {
        agent_alone()
    } else {
        plugin::command(words.first())
    };
    let mut matches = definition.clone().try_get_matches_from(&words)?;
    let Some((AGENT, agent)) = matches.subcommand() else {
        return Ok(Cli::from_arg_matches(&matches)?);
    };
    let mut command = definition.clone();
    command.build();
    let command = command.find_subcommand(AGENT).cloned().unwrap_or_default();
    let mut from_file = Vec::new();
    if let Some(path) = agent.get_one::<PathBuf>(config_file::FLAG).cloned() {
        from_file = config_file::arguments(&path, &command, agent)?;
        words.extend(from_file.iter().cloned());
        // Wrong values are the parser's to name; that they are the file's is said here.
        matches = definition
            .try_get_matches_from(&words)
            .map_err(|error| config_file::Error::rejected(&path, &error))?;
    }
    let mut cli = Cli::from_arg_matches(&matches)?;
    if let (Command::Agent(args), Some((_, agent))) = (&mut cli.command, matches.subcommand()) {
        args.settings = settings::of(&command, agent, &from_file);
    }
    Ok(cli)
}

/// The definition of `ephemon agent` without the other commands: to define them would be a good part of
/// the agent's start, and all of its code that this touches stays in memory.
fn agent_alone() -> clap::Command {
    let agent = Args::augment_args(clap::Command::new(AGENT));
    clap::Command::new("ephemon")
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .max_term_width(100)
        .subcommand_required(true)
        .subcommand(agent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Source;

    fn parsed(text: &str, line: &[&str]) -> Result<Box<Args>, Error> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("agent.yaml");
        std::fs::write(&file, text).unwrap();
        let mut words: Vec<OsString> = vec!["ephemon".into(), "agent".into()];
        words.extend(["--config".into(), file.into_os_string()]);
        words.extend(line.iter().map(OsString::from));
        match cli(words)?.command {
            Command::Agent(args) => Ok(args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_files_values_are_flags_and_say_where_they_come_from() {
        let text = "sample-budget: 9\nno-api: true\nretain-ended: 1m\n";
        let args = parsed(text, &["--retain-ended", "2m"]).unwrap();
        assert_eq!((args.sample_budget, args.no_api), (9, true));
        assert_eq!(args.retain_ended.as_secs(), 120);
        let source = |flag: &str| args.settings.iter().find(|it| it.flag == flag).unwrap().source;
        assert_eq!(source("sample-budget"), Source::File);
        assert_eq!(source("retain-ended"), Source::CommandLine);
        assert_eq!(source("max-ended"), Source::Default);
    }

    #[test]
    fn the_agent_alone_answers_as_among_all_commands() {
        let lines: [&[&str]; 6] = [
            &["agent", "--help"],
            &["agent", "-h"],
            &["agent", "--version"],
            &["agent", "--sample-budgets", "1"],
            &["agent", "--kubeconfig", "x", "--no-api"],
            &["agent", "--listen", "nowhere"],
        ];
        for line in lines {
            let said = |definition: clap::Command| {
                let words = ["ephemon"].iter().chain(line);
                definition.try_get_matches_from(words).unwrap_err().render().to_string()
            };
            assert_eq!(said(agent_alone()), said(plugin::command(None)), "{line:?}");
        }
        for line in [["agent", "--sample-budget=9"], ["agent", "--no-api"]] {
            let read = |definition: clap::Command| {
                let words = ["ephemon"].iter().chain(&line);
                let matches = definition.try_get_matches_from(words).unwrap();
                format!("{:?}", Cli::from_arg_matches(&matches).unwrap())
            };
            assert_eq!(read(agent_alone()), read(plugin::command(None)), "{line:?}");
        }
    }

    #[test]
    fn a_value_that_no_flag_takes_is_the_files_and_a_missing_file_is_named() {
        let error = parsed("sample-budget: 900\n", &[]).unwrap_err().to_string();
        assert!(error.contains("agent.yaml") && error.contains("sample-budget"), "{error}");
        let error = parsed("no-api: true\n", &["--kubeconfig", "x"]).unwrap_err().to_string();
        assert!(error.contains("agent.yaml") && error.contains("--kubeconfig"), "{error}");
        let words = ["ephemon", "agent", "--config", "/nowhere/at.yaml"].map(OsString::from);
        let error = cli(words).unwrap_err().to_string();
        assert!(error.contains("/nowhere/at.yaml"), "{error}");
    }
}
