//! `kubectl_complete-ephemon`: what kubectl asks for the completions of its plugin. It is started with
//! the words after `kubectl ephemon`, the last of them unfinished, and prints a candidate a line with its
//! description, and last what the shell is to do besides: nothing (`:4`, no names of files).

use std::ffi::OsString;
use std::path::Path;

use clap::{Arg, Command, FromArgMatches as _};
use ephemon_client::Source;

use super::Cli;

/// The program's file name.
const PROGRAM: &str = "kubectl_complete-ephemon";
/// No names of files.
const DIRECTIVE: &str = ":4";

/// Whether a program that was started by this name is asked for completions.
pub(super) fn is_asked(program: Option<&OsString>) -> bool {
    program.is_some_and(|path| Path::new(path).file_name().is_some_and(|name| name == PROGRAM))
}

/// What is printed for these words, the last one unfinished; `jobs` are those that it may name.
pub(super) fn text(command: &Command, words: &[String], jobs: &[(String, String)]) -> String {
    let (last, before) = words.split_last().map_or(("", &[][..]), |(last, rest)| (&**last, rest));
    let mut lines = candidates(command, before, last);
    let named = jobs.iter().filter(|(pod, _)| pod.starts_with(last));
    lines.extend(named.map(|(pod, what)| format!("{pod}\t{what}")));
    lines.push(DIRECTIVE.to_owned());
    lines.join("\n") + "\n"
}

/// Which agents have the job that the last word names; `None` if it names none.
pub(super) fn source_of_job(command: &Command, words: &[String]) -> Option<Source> {
    let (last, before) = words.split_last()?;
    let is_value = before.last().is_some_and(|word| flag(reached(command, before), word).is_some());
    if is_value || last.starts_with('-') {
        return None;
    }
    // With any job in its place the line must be a whole one; a report's file may come later.
    let line = |more: &'static [&'static str]| {
        let all = [PROGRAM].into_iter().chain(before.iter().map(String::as_str));
        let matches =
            command.clone().try_get_matches_from(all.chain(["job"]).chain(more.iter().copied()));
        Cli::from_arg_matches(&matches.ok()?).ok()
    };
    match line(&[]).or_else(|| line(&["--html", "-"]))?.command {
        super::Command::Cluster(command) => command.source_of_job().cloned(),
        super::Command::Report(args) => Some(args.source),
        _ => None,
    }
}

/// The command that the words lead to.
fn reached<'a>(command: &'a Command, before: &[String]) -> &'a Command {
    before.iter().fold(command, |command, word| command.find_subcommand(word).unwrap_or(command))
}

fn candidates(command: &Command, before: &[String], last: &str) -> Vec<String> {
    let here = reached(command, before);
    let described = |name: &str, help: Option<&clap::builder::StyledStr>| {
        let help = help.map(ToString::to_string).unwrap_or_default();
        format!("{name}\t{}", help.lines().next().unwrap_or_default())
    };
    let starts = |name: &str| name.starts_with(last);
    if let Some(flag) = before.last().and_then(|word| flag(here, word)) {
        let values = flag.get_possible_values();
        let names = values.iter().map(|value| value.get_name().to_owned());
        return names.filter(|name| starts(name)).collect();
    }
    if last.starts_with('-') {
        let flags = here.get_arguments().filter(|it| !it.is_hide_set());
        let named = flags.filter_map(|it| Some((format!("--{}", it.get_long()?), it.get_help())));
        return named
            .filter(|(name, _)| starts(name))
            .map(|(name, help)| described(&name, help))
            .collect();
    }
    let commands = here.get_subcommands().filter(|it| !it.is_hide_set() && starts(it.get_name()));
    commands.map(|it| described(it.get_name(), it.get_about())).collect()
}

/// The flag that a word is, if a value follows it.
fn flag<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    command.get_arguments().filter(|flag| flag.get_action().takes_values()).find(|flag| {
        let is_long = || word.strip_prefix("--").is_some_and(|name| flag.get_long() == Some(name));
        let is_short = || {
            let mut letters = word.strip_prefix('-').unwrap_or_default().chars();
            let letter = letters.next();
            letter.is_some() && letters.next().is_none() && flag.get_short() == letter
        };
        is_long() || is_short()
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn commands_flags_and_values_are_completed_and_files_are_not() {
        let mut command = Cli::command().mut_subcommand("install", |it| it.hide(true));
        command.build();
        let names = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            let text = text(&command, &words, &[]);
            assert!(text.ends_with(":4\n"), "{text}");
            let lines = text.lines().filter(|line| *line != ":4");
            lines.map(|line| line.split('\t').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(&["jo"]), ["jobs", "job"]);
        assert_eq!(names(&["inst"]), [""; 0], "what is for this machine is not listed");
        assert_eq!(names(&["job", "--wa"]), ["--watch"]);
        assert_eq!(names(&["job", "pod-1", "-o", ""]), ["text", "json"]);
        assert_eq!(names(&["top", "--sort-by", "c"]), ["cpu"]);
        assert_eq!(names(&["job", ""]), [""; 0]);
        assert!(names(&[]).contains(&"why".to_owned()));
        assert!(!names(&["job", "--"]).is_empty());
    }

    #[test]
    fn jobs_are_asked_for_where_the_word_names_one() {
        let mut command = Cli::command();
        command.build();
        let asked = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            source_of_job(&command, &words)
        };
        for name in ["job", "logs", "why", "report"] {
            assert!(asked(&[name, ""]).is_some(), "{name}");
            assert!(asked(&[name, "run"]).is_some(), "{name}");
            assert!(asked(&[name, "pod-1", ""]).is_none(), "{name} has its job");
            assert!(asked(&[name, "-"]).is_none(), "{name}");
            assert!(asked(&[name, "pod-1", "--context", ""]).is_none(), "{name}: a context");
        }
        for none in [&["jobs", ""][..], &["top", ""], &["jo"], &[], &["job"], &["agent", ""]] {
            assert!(asked(none).is_none(), "{none:?}");
        }
        let source = asked(&["job", "--context", "prod", "-n", "ci", ""]).unwrap();
        assert_eq!(
            (source.context.as_deref(), source.namespace.as_deref()),
            (Some("prod"), Some("ci"))
        );
        assert!(asked(&["report", "--markdown", "-", ""]).is_some());

        let jobs =
            [("pod-1", "Build"), ("pod-2", "Test")].map(|(pod, what)| (pod.into(), what.into()));
        let text = |last: &str| text(&command, &["why".into(), last.into()], &jobs);
        assert_eq!(
            (text(""), text("pod-2")),
            ("pod-1\tBuild\npod-2\tTest\n:4\n".into(), "pod-2\tTest\n:4\n".into())
        );
    }
}
