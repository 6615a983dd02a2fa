//! `kubectl-ephemon`: the same program as a plugin of kubectl, which runs it as `kubectl ephemon`.

use std::ffi::OsString;
use std::path::Path;

use clap::CommandFactory as _;
use ephemon_client::Source;

use super::{Cli, plugin_completion};

/// The plugin's file name.
const PROGRAM: &str = "kubectl-ephemon";
/// Commands that are for a node or this machine; the plugin has them, too, but does not list them.
const LOCAL: [&str; 5] = ["agent", "debug", "demo", "install", "probe"];

/// The definition of the command line of a program that was started by this name.
pub(super) fn command(program: Option<&OsString>) -> clap::Command {
    let command = Cli::command();
    if !is_plugin(program) {
        return command;
    }
    let command = command
        .bin_name("kubectl ephemon")
        .about("What runs in the jobs of a cluster, what it uses, and why a job is slow");
    LOCAL
        .into_iter()
        .fold(command, |command, name| command.mut_subcommand(name, |it| it.hide(true)))
}

/// What kubectl is told of the words after `kubectl ephemon`, with the jobs that the last one may name.
pub(super) fn completions(words: &[String], jobs: &[(String, String)]) -> String {
    plugin_completion::text(&built(), words, jobs)
}

/// Which agents have the job that the last word names; `None` if it names none.
pub(super) fn source_of_job(words: &[String]) -> Option<Source> {
    plugin_completion::source_of_job(&built(), words)
}

fn built() -> clap::Command {
    let mut command = command(Some(&PROGRAM.into()));
    command.build();
    command
}

/// Whether the program was started by the plugin's name.
pub(super) fn is_plugin(program: Option<&OsString>) -> bool {
    let name = program.and_then(|path| Path::new(path).file_stem());
    name.is_some_and(|name| name == PROGRAM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugin_is_called_as_kubectl_calls_it_and_lists_what_is_for_a_cluster() {
        let help = |program: &str| command(Some(&program.into())).render_long_help().to_string();
        let plugin = help("/usr/local/bin/kubectl-ephemon");
        assert!(plugin.contains("Usage: kubectl ephemon "), "{plugin}");
        assert!(plugin.contains("  jobs ") && !plugin.contains("  install "), "{plugin}");
        let program = help("ephemon");
        assert!(program.contains("Usage: ephemon ") && program.contains("  install "), "{program}");
    }
}
