//! What runs in a container.

use super::Role;
use crate::options::Options;
use crate::request::Container;
use crate::template::Part;
use crate::{inputs, words};

/// The command that init runs, or the arguments for the image's own entrypoint.
pub(super) fn main(
    role: Role,
    asked: &Container,
    options: &Options,
    part: &Part,
) -> (Option<Vec<String>>, Option<Vec<String>>) {
    if role == Role::Job {
        return (None, None);
    }
    let asked_for = asked.entry_point.as_ref();
    // The runner adds `--entrypoint` after the options, so it overrides theirs. If the options
    // contain an image and a command, theirs take precedence over `entrypoint:` and `command:`.
    let (given, args) = match &options.trailing {
        Some(trailing) if !trailing.command.is_empty() => {
            (options.entrypoint.as_ref().or(asked_for), trailing.command.clone())
        }
        _ => {
            let args = inputs::of(&asked.entry_point_args, &asked.env());
            (asked_for.or(options.entrypoint.as_ref()), args)
        }
    };
    // `--entrypoint ""` removes the image's own: the arguments are the command.
    let bare = given.is_some_and(String::is_empty);
    let given = given.filter(|_| !bare || !args.is_empty());
    // Words that are in the spec must be quoted; those of a step are sent over init's socket. The
    // operator's words are used unchanged.
    let in_spec = role == Role::Service || (part.command.is_none() && given.is_none());
    let literal = |word: &String| if in_spec { words::literal(word) } else { word.clone() };
    let args = part.args.clone().unwrap_or_else(|| args.iter().map(literal).collect());
    let program = match (&part.command, given) {
        (Some(command), _) => command.clone(),
        (None, Some(entry_point)) if entry_point.is_empty() => Vec::new(),
        (None, Some(entry_point)) => vec![literal(entry_point)],
        (None, None) => return (None, Some(args)),
    };
    (Some(program.into_iter().chain(args).collect()), None)
}
