//! What jobs say in lines: commands, values that other containers tell, the runner's own sentences,
//! secrets in environments.

use ephemon_jobs::runner;
use ephemon_jobs::runner::Said;
use ephemon_mask::environment;
use ephemon_mask::shared;
use ephemon_mask::shared::Told;
use ephemon_mask::workflow_command::{Commands, Name, Seen, may_be_command, parse};

/// Longest name of a job that is kept, in characters.
const LONGEST_NAME: usize = 256;
/// Most values that one environment may tell.
const MOST_VALUES: usize = 512;

/// Each line of `data` is read as all of these.
pub(super) fn commands(data: &[u8]) {
    let (mut commands, mut stopped) = (Commands::default(), false);
    for line in data.split(|byte| *byte == b'\n') {
        let peeked = commands.peek(line);
        match commands.see(line) {
            Seen::Plain => {}
            Seen::Resumed => {
                assert!(stopped, "commands were in force");
                stopped = false;
            }
            Seen::Command(command) => {
                assert!(!stopped, "a command while there are none");
                assert_eq!(peeked, Some(command.name), "peeked at as another");
                assert!(may_be_command(line), "passed over by those who look first");
                stopped = command.name == Name::StopCommands;
            }
        }
        if let Some(command) = parse(line) {
            let data = command.data();
            assert!(data.len() <= line.len(), "data out of nowhere");
            assert!(command.secrets().contains(&data), "as the runner reads it");
            let property = command.property("file").unwrap_or_default();
            assert!(property.len() <= line.len(), "a property out of nowhere");
        }
        told(line);
        if let Ok(text) = str::from_utf8(line) {
            said(text);
            secrets(text);
        }
    }
}

/// A value comes back from the line that tells it.
fn told(line: &[u8]) {
    match shared::parse(line) {
        None => assert!(line.is_empty(), "a line that is neither value nor loss"),
        Some(Told::Lost) => {}
        Some(Told::Value(value)) => {
            let digits = value.iter().map(|byte| format!("{byte:02x}"));
            let again = format!("\"{}\"", digits.collect::<String>());
            assert!(again.as_bytes().eq_ignore_ascii_case(line), "another value");
        }
    }
}

fn said(text: &str) {
    if let Some(Said::Running { name } | Said::Completed { name, .. }) = runner::parse(text) {
        let letters = name.chars().count();
        assert!((1..=LONGEST_NAME).contains(&letters), "{letters} letters");
        assert!(!name.chars().any(char::is_control), "{name:?}");
    }
}

/// A line `NAME=VALUE`.
fn secrets(text: &str) {
    let Some((name, value)) = text.split_once('=') else { return };
    let found = environment::secrets([(name, value)]);
    assert!(found.len() <= MOST_VALUES, "{} values", found.len());
    assert!(found.iter().all(|secret| !secret.is_empty()), "an empty value masks everything");
    // Known by its name alone, whatever it is made of.
    let by_name = environment::secrets([("DEPLOY_PASSWORD", value)]);
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    if value.len() >= 12 && value.bytes().all(plain) {
        assert!(by_name.iter().any(|secret| secret == value), "{value} is not told");
    }
}
