//! What a line has become.

use std::{borrow::Cow, sync::Arc};

use ephemon_mask::workflow_command::Name;

/// What is known of how bad a line is. A plain line says nothing of it, on either output: no number
/// is made up for it, and what receives the record may look at the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// A plain line.
    Unspecified,
    /// `::debug::`.
    Debug,
    /// `::notice::`.
    Notice,
    /// `::warning::`.
    Warning,
    /// `::error::`.
    Error,
}

/// A line to send, or why there is nothing to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sanitized<'a> {
    /// To send.
    Record(Record<'a>),
    /// Not to send.
    Suppressed(Suppressed),
}

/// Why a line is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suppressed {
    /// The mode is off.
    Off,
    /// It tells a secret.
    AddMask,
}

/// A line that may be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// The text without colours and secrets; of an annotation its message, of a group its title.
    /// Not always UTF-8: what a job writes is carried as it is.
    pub body: Cow<'a, [u8]>,
    /// How bad.
    pub severity: Severity,
    /// The workflow command that the line is.
    pub command: Option<Name>,
    /// What an annotation says of the source.
    pub place: Option<Box<Place>>,
    /// Titles of the groups around the line, outermost first, with ` / ` between.
    pub group: Option<Arc<str>>,
    /// How many parts of the line are masked.
    pub masked: u32,
    /// Bytes beyond the longest body that are not in it.
    pub truncated_bytes: u64,
    /// Why the body is only a word in place of the text.
    pub withheld: Option<Withheld>,
    /// The pod told values that are not known any more: one of them may be in the text.
    pub unproven: bool,
    /// The line as it was written, secrets masked; where asked for and other than the body.
    pub original: Option<Vec<u8>>,
}

/// Why a text is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Withheld {
    /// The pod has more values to mask than are kept.
    TooManyValues,
    /// The line costs too much to search for them.
    TooMuchWork,
    /// The pod told values that are not known any more.
    Unproven,
}

/// What becomes of the text of a pod that told values which are not known any more: the agent was
/// started anew, and the lines that told them are gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Unproven {
    /// It is not sent.
    #[default]
    Withhold,
    /// It is sent, and the record says so.
    Mark,
}

/// What an annotation says of the source. Unlike names of attributes its texts are the job's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Path, usually below the workspace.
    pub file: Option<String>,
    /// First line, from 1.
    pub line: Option<u32>,
    /// Last line.
    pub end_line: Option<u32>,
    /// First column, from 1.
    pub column: Option<u32>,
    /// Last column.
    pub end_column: Option<u32>,
    /// The annotation's title.
    pub title: Option<String>,
}

/// What a sanitizer has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines taken, or parts of lines that came in parts.
    pub lines: u64,
    /// Not sent, because they tell a secret.
    pub suppressed: u64,
    /// Parts of lines masked.
    pub masked: u64,
    /// Lines whose text was not shown.
    pub withheld: u64,
    /// Lines cut.
    pub truncated_lines: u64,
    /// Bytes cut.
    pub truncated_bytes: u64,
}

// === impl Severity ===

impl Severity {
    /// OTLP's number, 0 for none.
    pub fn number(self) -> i32 {
        match self {
            Self::Unspecified => 0,
            Self::Debug => 5,
            Self::Notice => 10,
            Self::Warning => 13,
            Self::Error => 17,
        }
    }

    /// As the runner calls it; empty for none.
    pub fn text(self) -> &'static str {
        match self {
            Self::Unspecified => "",
            Self::Debug => "debug",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    pub(super) fn of(command: Name) -> Self {
        match command {
            Name::Debug => Self::Debug,
            Name::Notice => Self::Notice,
            Name::Warning => Self::Warning,
            Name::Error => Self::Error,
            _ => Self::Unspecified,
        }
    }
}

// === impl Record ===

impl Record<'_> {
    /// A word in place of a text that must not be shown.
    pub(super) fn withheld(why: Withheld) -> Self {
        Self {
            body: Cow::Borrowed(why.as_str().as_bytes()),
            severity: Severity::Unspecified,
            command: None,
            place: None,
            group: None,
            masked: 0,
            truncated_bytes: 0,
            withheld: Some(why),
            unproven: false,
            original: None,
        }
    }
}

// === impl Withheld ===

impl Withheld {
    /// What stands in the text's place.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooManyValues => "[ephemon] withheld: too many values to mask",
            Self::TooMuchWork => {
                "[ephemon] withheld: searching it for values to mask takes too long"
            }
            Self::Unproven => "[ephemon] withheld: some values to mask are no longer known",
        }
    }

    /// The value of the record's attribute.
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooManyValues => "too_many_values",
            Self::TooMuchWork => "too_much_work",
            Self::Unproven => "unproven",
        }
    }
}
