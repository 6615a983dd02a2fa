//! The result of sanitizing a line.

use std::{borrow::Cow, sync::Arc};

use ephemon_mask::workflow_command::Name;

/// The severity of a line. A plain line has none, on either output stream; a receiver may derive
/// one from the text.
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

/// A record, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sanitized<'a> {
    /// To send.
    Record(Record<'a>),
    /// Not exported.
    Suppressed(Suppressed),
}

/// Why a line is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suppressed {
    /// The mode is off.
    Off,
    /// It registers a secret.
    AddMask,
}

/// A line that may be exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// The text without colours and secrets; for an annotation its message, for a group its title.
    /// Not always UTF-8, because the output of a job is passed on unchanged.
    pub body: Cow<'a, [u8]>,
    /// The severity.
    pub severity: Severity,
    /// The workflow command that the line is.
    pub command: Option<Name>,
    /// The position in the source that an annotation names.
    pub place: Option<Box<Place>>,
    /// Titles of the enclosing groups, outermost first, separated by ` / `.
    pub group: Option<Arc<str>>,
    /// Number of masked parts of the line.
    pub masked: u32,
    /// Bytes that were cut from the body because of its maximum length.
    pub truncated_bytes: u64,
    /// Why the body is a placeholder instead of the text.
    pub withheld: Option<Withheld>,
    /// The pod registered values that are no longer known, and the text may contain one.
    pub unproven: bool,
    /// The line as written, with secrets masked, if requested and different from the body.
    pub original: Option<Vec<u8>>,
}

/// Why a text is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Withheld {
    /// The pod has more values to mask than are kept.
    TooManyValues,
    /// Searching the line for them would take too long.
    TooMuchWork,
    /// The pod registered values that are no longer known.
    Unproven,
}

/// How to treat the text of a pod that registered values which are no longer known, because the
/// agent was restarted and the lines that registered them are gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Unproven {
    /// It is not exported.
    #[default]
    Withhold,
    /// It is exported, and the record is marked.
    Mark,
}

/// The position in the source that an annotation names. Its texts come from the job.
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

/// Counts of a sanitizer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines, or parts of lines that arrived in parts.
    pub lines: u64,
    /// Not exported, because they register a secret.
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
    /// The severity number of OTLP, 0 for none.
    pub fn number(self) -> i32 {
        match self {
            Self::Unspecified => 0,
            Self::Debug => 5,
            Self::Notice => 10,
            Self::Warning => 13,
            Self::Error => 17,
        }
    }

    /// The runner's name for it; empty for none.
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
    /// A placeholder for a text that must not be shown.
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
    /// The placeholder.
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
