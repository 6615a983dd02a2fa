//! Parses workflow commands in a line of output, with the runner's own grammar (actions/runner,
//! `ActionCommand.cs`, `ActionCommandManager.cs`), for init and for the agent. Pure, std only.

mod grammar;

use std::fmt;

pub use grammar::may_be_command;
use grammar::{Parts, Text};

/// The commands that the runner supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Name {
    /// An annotation of level error.
    Error,
    /// An annotation of level warning.
    Warning,
    /// An annotation of level notice.
    Notice,
    /// A debug message.
    Debug,
    /// Begins a group of lines.
    Group,
    /// Ends a group of lines.
    EndGroup,
    /// Its data is a secret.
    AddMask,
    /// Its data is the token that enables commands again.
    StopCommands,
    /// Adds a problem matcher.
    AddMatcher,
    /// Removes a problem matcher.
    RemoveMatcher,
    /// Enables or disables the display of commands.
    Echo,
    /// Sets a variable; the runner rejects it unless configured otherwise.
    SetEnv,
    /// Sets an output.
    SetOutput,
    /// Saves a value for the post step.
    SaveState,
    /// Adds to `PATH`; rejected like `set-env`.
    AddPath,
    /// Used by the checkout action.
    InternalSetRepoPath,
}

/// A line that is a command. Its parts are still escaped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Command<'a> {
    /// Its name.
    pub name: Name,
    text: Text<'a>,
}

/// The kind of a line, depending on the lines before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen<'a> {
    /// Not a command, or one while commands are stopped.
    Plain,
    /// Enables commands again. Contains the token.
    Resumed,
    /// A command that applies; [`Name::StopCommands`] has already been handled.
    Command(Command<'a>),
}

/// Tracks `::stop-commands::` through the lines of a container's output.
#[derive(Default)]
pub struct Commands {
    /// The token that enables commands again, while they are stopped.
    stopped_until: Option<Vec<u8>>,
}

// === impl Name ===

impl Name {
    const ALL: [Self; 16] = [
        Self::Error,
        Self::Warning,
        Self::Notice,
        Self::Debug,
        Self::Group,
        Self::EndGroup,
        Self::AddMask,
        Self::StopCommands,
        Self::AddMatcher,
        Self::RemoveMatcher,
        Self::Echo,
        Self::SetEnv,
        Self::SetOutput,
        Self::SaveState,
        Self::AddPath,
        Self::InternalSetRepoPath,
    ];

    /// Its name in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Debug => "debug",
            Self::Group => "group",
            Self::EndGroup => "endgroup",
            Self::AddMask => "add-mask",
            Self::StopCommands => "stop-commands",
            Self::AddMatcher => "add-matcher",
            Self::RemoveMatcher => "remove-matcher",
            Self::Echo => "echo",
            Self::SetEnv => "set-env",
            Self::SetOutput => "set-output",
            Self::SaveState => "save-state",
            Self::AddPath => "add-path",
            Self::InternalSetRepoPath => "internal-set-repo-path",
        }
    }

    fn of(text: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|name| text.eq_ignore_ascii_case(name.as_str().as_bytes()))
    }
}

// === impl Command ===

impl Command<'_> {
    /// The data, unescaped; it may have several lines.
    pub fn data(&self) -> Vec<u8> {
        self.text.data()
    }

    /// The values that the data may stand for, if it registers a secret: unescaped, as the runner
    /// reads it; as written, because a shell that runs `echo "::add-mask::$VALUE"` escapes nothing;
    /// and with only line ends unescaped, for a script that escapes nothing else.
    pub fn secrets(&self) -> Vec<Vec<u8>> {
        self.text.readings()
    }

    /// The unescaped value of a property.
    pub fn property(&self, key: &str) -> Option<Vec<u8>> {
        self.text.property(key)
    }
}

/// Prints the name but not the data, which may be a secret.
impl fmt::Debug for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command").field("name", &self.name).finish_non_exhaustive()
    }
}

// === impl Commands ===

impl Commands {
    /// Handles the next line.
    pub fn see<'a>(&mut self, line: &'a [u8]) -> Seen<'a> {
        if let Some(word) = &self.stopped_until {
            if grammar::parts(line).any(|parts| parts.name.eq_ignore_ascii_case(word)) {
                self.stopped_until = None;
                return Seen::Resumed;
            }
            return Seen::Plain;
        }
        let Some(command) = parse(line) else { return Seen::Plain };
        if command.name == Name::StopCommands {
            let word = command.data();
            let word = word.trim_ascii();
            // The runner accepts any token, also the name of a command. A token that is longer than
            // any in use is not stored: commands stay enabled, and registered values are masked.
            let is_kept = (1..=MAX_WORD_BYTES).contains(&word.len());
            if !is_kept || Name::of(word).is_some() {
                return Seen::Plain;
            }
            self.stopped_until = Some(word.to_vec());
        }
        Seen::Command(command)
    }

    /// The command in a line, without handling it.
    pub fn peek(&self, line: &[u8]) -> Option<Name> {
        if self.stopped_until.is_some() { None } else { Some(parse(line)?.name) }
    }
}

/// The token is not printed, because it belongs to the job.
impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stopped = self.stopped_until.is_some();
        f.debug_struct("Commands").field("stopped", &stopped).finish()
    }
}

/// Longest token of `stop-commands` in bytes; it is kept for the life of a log.
const MAX_WORD_BYTES: usize = 256;

/// The command in a line, if commands are enabled.
pub fn parse(line: &[u8]) -> Option<Command<'_>> {
    grammar::parts(line)
        .find_map(|Parts { name, text }| Some(Command { name: Name::of(name)?, text }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(line: &str, name: Name, data: &str, properties: &[(&str, &str)]) {
        let command = parse(line.as_bytes()).unwrap_or_else(|| panic!("{line} is a command"));
        assert_eq!((command.name, command.data()), (name, data.as_bytes().to_vec()), "{line}");
        for (key, value) in properties {
            assert_eq!(command.property(key).as_deref(), Some(value.as_bytes()), "{line}");
        }
    }

    #[test]
    fn both_grammars_are_read_as_the_runner_reads_them() {
        check("::debug::a%0Ab%25%0D", Name::Debug, "a\nb%\r", &[]);
        let at = [("file", "a,b.c"), ("line", "3"), ("title", "x::y")];
        check(" \t::Error file=a%2Cb.c,line=3,title=x%3A%3Ay::no", Name::Error, "no", &at);
        check("::error  FILE=a=b ,::no", Name::Error, "no", &[("file", "a=b ")]);
        check("x ##[warning file=a;line=1]say%5D;", Name::Warning, "say];", &[("line", "1")]);
        check("::x::##[group]inner", Name::Group, "inner", &[]);
        check("\u{a0}\u{3000}\x0b::endgroup::", Name::EndGroup, "", &[]);
        for plain in ["", "::", "::error", "a ::error::b", "::errors::b", "##[error", "# [error]"] {
            assert_eq!(parse(plain.as_bytes()), None, "{plain}");
        }
        let none = parse(b"::error line::x").expect("a command");
        assert_eq!((none.property("line"), none.property("file")), (None, None));
    }

    #[test]
    fn a_secret_is_what_the_data_says_escaped_or_not() {
        let secrets = |line: &str| {
            let command = parse(line.as_bytes()).expect("a command");
            let texts = command.secrets().into_iter().map(|text| String::from_utf8(text).unwrap());
            texts.collect::<Vec<_>>()
        };
        assert_eq!(secrets("::add-mask::plain"), ["plain"]);
        assert_eq!(secrets("::add-mask::p+w%25rd!x9"), ["p+w%25rd!x9", "p+w%rd!x9"]);
        assert_eq!(secrets("::add-mask::a%25b%0Ac"), ["a%25b\nc", "a%25b%0Ac", "a%b\nc"]);
        assert_eq!(secrets("##[add-mask]a%5Db"), ["a%5Db", "a]b"]);
    }

    #[test]
    fn stopped_commands_are_plain_until_the_word() {
        let mut commands = Commands::default();
        let names = |seen: Seen<'_>| match seen {
            Seen::Command(command) => Some(command.name),
            _ => None,
        };
        assert_eq!(names(commands.see(b"::stop-commands::w0rd")), Some(Name::StopCommands));
        assert_eq!(commands.see(b"::add-mask::x"), Seen::Plain);
        assert_eq!(commands.peek(b"::add-mask::x"), None);
        assert_eq!(commands.see(b"::W0RD::"), Seen::Resumed);
        assert_eq!(names(commands.see(b"::add-mask::x")), Some(Name::AddMask));
        assert_eq!(commands.see(b"::stop-commands::"), Seen::Plain);
        let long = [b"::stop-commands::".as_slice(), &[b'x'; 257]].concat();
        assert_eq!(commands.see(&long), Seen::Plain);
        assert_eq!(commands.see(b"::stop-commands::add-mask"), Seen::Plain);
        assert_eq!(names(commands.see(b"::add-mask::x")), Some(Name::AddMask));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut commands = Commands::default();
            commands.see(&bytes);
            if let Some(command) = parse(&bytes) {
                command.data();
                command.property("file");
            }
        }

        #[test]
        fn what_is_escaped_as_the_toolkit_does_comes_back(data in ".{0,20}", file in ".{1,20}") {
            let escape = |text: &str| {
                text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
            };
            let property = escape(&file).replace(':', "%3A").replace(',', "%2C");
            let line = format!("::error file={property}::{}", escape(&data));
            let trimmed = file.trim_ascii_end();
            let command = parse(line.as_bytes()).expect("a command");
            prop_assert_eq!(command.data(), data.into_bytes());
            let found = command.property("file").expect("a file");
            prop_assert_eq!(found.trim_ascii_end(), trimmed.as_bytes());
        }
    }
}
