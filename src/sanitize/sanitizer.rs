//! Sanitizes a container's lines, one after the other: workflow commands are executed, secrets
//! masked, colours removed. The order matters, because values that a line registers apply to the
//! next.

mod returns;

use std::{borrow::Cow, fmt, ops::Range, sync::Arc};

use ephemon_mask::job::{JobMasks, Mode};
use ephemon_mask::patterns::Pem;
use ephemon_mask::workflow_command::{Command, Commands, Name, Seen};
use ephemon_mask::{Matcher, workflow_command};
use ephemon_model::LogStream;
use memchr::memchr;

use self::returns::{RESUME_SHOWN, STOP_SHOWN};
use super::{
    Record, Sanitized, Severity, Suppressed, Tally, Unproven, Withheld, ansi,
    describe::describe,
    draft::Draft,
    groups::{self, Groups},
    redactor::{LOOK_AHEAD_BYTES, Redactor, strip},
};

/// Capacity for matches in a line that is kept for the next line, 16 bytes each.
const KEPT_FOUND: usize = 64;

/// The content of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Longest body.
    pub max_body_bytes: usize,
    /// Whether [`Record::original`] is set.
    pub original: bool,
    /// How to treat text if some values to mask may be unknown.
    pub unproven: Unproven,
}

/// The state of one container's output.
pub struct Sanitizer {
    masks: JobMasks,
    options: Options,
    commands: Commands,
    groups: Groups,
    /// Number of forms when the groups' titles were last masked.
    groups_masked_by: usize,
    lanes: [Lane; 3],
    found: Vec<Range<usize>>,
    tally: Tally,
}

/// The state of one stream.
#[derive(Default)]
struct Lane {
    pem: Pem,
    /// The end of the last part of a line that arrives in parts, because a secret may continue in
    /// the next part.
    carry: Vec<u8>,
    /// The line registers a secret, so its other parts are hidden.
    hidden: bool,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self { max_body_bytes: 1024 * 1024, original: false, unproven: Unproven::Withhold }
    }
}

// === impl Sanitizer ===

impl Sanitizer {
    /// For a container of the pod with these masks.
    pub fn new(masks: JobMasks, options: Options) -> Self {
        Self {
            masks,
            options,
            commands: Commands::default(),
            groups: Groups::default(),
            groups_masked_by: 0,
            lanes: Default::default(),
            found: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Sanitizes a whole line, without its newline.
    pub fn line<'a>(&mut self, stream: LogStream, text: &'a [u8]) -> Sanitized<'a> {
        self.part(stream, text, 0, false)
    }

    /// Sanitizes a part of a line that is too long to be passed at once; `part` counts from 0, and
    /// `continues` is set if more parts follow. The last bytes of a part are returned with the next
    /// one, so that a secret across the two is masked.
    pub fn part<'a>(
        &mut self,
        stream: LogStream,
        text: &'a [u8],
        part: u32,
        continues: bool,
    ) -> Sanitized<'a> {
        if self.masks.mode() == Mode::Off {
            return Sanitized::Suppressed(Suppressed::Off);
        }
        self.tally.lines += 1;
        if let Some(suppressed) = self.hide(stream, text, part, continues) {
            self.tally.suppressed += 1;
            return Sanitized::Suppressed(suppressed);
        }
        let whole = part == 0 && !continues;
        let record =
            if whole { self.whole(stream, text) } else { self.piece(stream, text, continues) };
        let mut record = record.unwrap_or_else(Record::withheld);
        record.unproven = self.masks.mode() == Mode::Masked && !self.masks.is_proven();
        self.tally.masked += u64::from(record.masked);
        self.tally.withheld += u64::from(record.withheld.is_some());
        self.tally.truncated_lines += u64::from(record.truncated_bytes > 0);
        self.tally.truncated_bytes += record.truncated_bytes;
        // A log is long-lived, and few of its lines have many matches.
        self.found.clear();
        self.found.shrink_to(KEPT_FOUND);
        Sanitized::Record(record)
    }

    /// Registers the masks in a line that is not exported, and follows its commands.
    pub fn learn(&mut self, stream: LogStream, text: &[u8], part: u32, continues: bool) {
        // Sanitizing the text may be expensive, and only these lines can register values.
        if part > 0 || continues || may_be_command(text) || memchr(b'\r', text).is_some() {
            self.part(stream, text, part, continues);
        }
    }

    /// A short text that is not a line of the output, such as a name: masked, without terminal
    /// controls. `None` if it must not be shown.
    pub fn aside(&mut self, text: &str) -> Option<String> {
        if self.masks.mode() == Mode::Off {
            return None;
        }
        let matcher = self.matcher().ok()?;
        let mut redactor = Redactor::new(matcher, &mut self.found, text.len());
        let clean = redactor.aside(text.as_bytes()).ok()?;
        Some(String::from_utf8_lossy(&clean).into_owned())
    }

    /// The pod's masks.
    pub fn masks(&self) -> &JobMasks {
        &self.masks
    }

    /// What has been done so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Registers the value in a line, and returns that the line must be hidden.
    fn hide(
        &mut self,
        stream: LogStream,
        text: &[u8],
        part: u32,
        continues: bool,
    ) -> Option<Suppressed> {
        if part == 0 {
            let lane = lane(&mut self.lanes, stream);
            lane.carry.clear();
            lane.hidden = may_be_command(text)
                && self.commands.peek(trim_return(text)) == Some(Name::AddMask);
            if lane.hidden && continues {
                // It is longer than any value that can be stored.
                self.masks.give_up();
            } else if lane.hidden
                && let Seen::Command(command) = self.commands.see(trim_return(text))
            {
                // The masks record that there are too many.
                self.masks.add(command.secrets().iter().map(Vec::as_slice)).ok();
            }
        }
        lane(&mut self.lanes, stream).hidden.then_some(Suppressed::AddMask)
    }

    fn whole<'a>(&mut self, stream: LogStream, line: &'a [u8]) -> Result<Record<'a>, Withheld> {
        let text = trim_return(line);
        let most = self.options.max_body_bytes;
        let mut draft = Draft::of(text, most);
        let mut command = None;
        let mut closes = false;
        if memchr(b'\r', text).is_some() {
            if let Some(shown) = self.returns(text, false) {
                draft = Draft::of(&shown, most).into_owned();
            }
        } else if may_be_command(text) {
            match self.commands.see(text) {
                Seen::Plain => {}
                Seen::Resumed => draft.text = Cow::Borrowed(RESUME_SHOWN),
                Seen::Command(Command { name: Name::StopCommands, .. }) => {
                    draft.command = Some(Name::StopCommands);
                    draft.text = Cow::Borrowed(STOP_SHOWN);
                }
                Seen::Command(seen) => {
                    closes = seen.name == Name::EndGroup;
                    command = Some(seen);
                }
            }
        }
        let record = self.record(stream, draft, command);
        if closes {
            self.groups.close();
        }
        record
    }

    fn record<'a>(
        &mut self,
        stream: LogStream,
        mut draft: Draft<'a>,
        command: Option<Command<'_>>,
    ) -> Result<Record<'a>, Withheld> {
        let matcher = self.matcher()?;
        let mut redactor = Redactor::new(matcher, &mut self.found, draft.text.len());
        let escapes = ansi::has_escape(&draft.text);
        let mut rewritten = false;
        if escapes || command.is_some() {
            let masked = redactor.values(&draft.text)?.into_owned();
            rewritten = true;
            if let Some(command) = command {
                // Parsed again after masking, because a value may have been anywhere in it.
                let (text, place) = describe(&masked, command.name, &mut redactor)?;
                draft.command = Some(command.name);
                draft.place = place;
                draft.text = Cow::Owned(text);
            } else {
                draft.text = Cow::Owned(masked.clone());
            }
            draft.original = self.options.original.then_some(masked);
            if ansi::has_escape(&draft.text) {
                draft.text = Cow::Owned(ansi::strip(&draft.text));
            }
        }
        let before = redactor.masked;
        // More was omitted than the end of the body: what begins there is not seen completely.
        let end =
            draft.text.len().saturating_sub(if draft.cut_bytes > 0 { LOOK_AHEAD_BYTES } else { 0 });
        let cut = draft.cut.min(end);
        let pem = &mut lane(&mut self.lanes, stream).pem;
        let length = draft.text.len();
        let (body, taken) = redactor.body(draft.text, cut, pem)?;
        draft.cut_bytes += length - taken;
        let masked = redactor.masked;
        if draft.original.is_some() {
            // The original may contain the same secret with colours in it; then it is not exported.
            let safe = rewritten && masked == before && draft.cut_bytes == 0;
            let original = draft.original.take().filter(|text| safe && **text != *body);
            draft.original = match original {
                Some(text) => Some(text).filter(|text| is_clean(&mut redactor, text)),
                None => None,
            };
        }
        if draft.command == Some(Name::Group) {
            self.groups.open(&body);
        }
        Ok(Record {
            severity: draft.command.map_or(Severity::Unspecified, Severity::of),
            command: draft.command,
            place: draft.place,
            group: self.groups.path(),
            masked,
            truncated_bytes: draft.cut_bytes as u64,
            withheld: None,
            unproven: false,
            original: draft.original,
            body,
        })
    }

    /// A part of a line that is too long to be a command.
    fn piece<'a>(
        &mut self,
        stream: LogStream,
        text: &[u8],
        continues: bool,
    ) -> Result<Record<'a>, Withheld> {
        let mut joined = std::mem::take(&mut lane(&mut self.lanes, stream).carry);
        joined.extend_from_slice(text);
        if memchr(b'\r', text).is_some()
            && let Some(shown) = self.returns(&joined, continues)
        {
            joined = shown;
        }
        let matcher = self.matcher()?;
        let lane = lane(&mut self.lanes, stream);
        let mut redactor = Redactor::new(matcher, &mut self.found, joined.len());
        let cut = joined.len().saturating_sub(if continues { LOOK_AHEAD_BYTES } else { 0 });
        let clean = redactor.all(&joined, cut, &mut lane.pem)?;
        // Once more without colours, if there are any, because values may have contained some.
        let stripped = strip(&clean.text);
        let taken = clean.taken;
        let body = redactor.all(&stripped, stripped.len(), &mut Pem::default())?.text.into_owned();
        let masked = redactor.masked;
        lane.carry = joined.split_off(taken);
        Ok(Record {
            body: Cow::Owned(body),
            severity: Severity::Unspecified,
            command: None,
            place: None,
            group: self.groups.path(),
            masked,
            truncated_bytes: 0,
            withheld: None,
            unproven: false,
            original: None,
        })
    }

    /// The present matcher; the groups' titles are masked with it as well.
    fn matcher(&mut self) -> Result<Option<Arc<Matcher>>, Withheld> {
        if self.masks.mode() == Mode::Raw {
            return Ok(None);
        }
        let matcher = self.masks.matcher().ok_or(Withheld::TooManyValues)?;
        if self.options.unproven == Unproven::Withhold && !self.masks.is_proven() {
            return Err(Withheld::Unproven);
        }
        if matcher.forms() != self.groups_masked_by {
            self.groups_masked_by = matcher.forms();
            let (matcher, found) = (Some(Arc::clone(&matcher)), &mut self.found);
            let mut redactor = Redactor::new(matcher, found, groups::MAX_BYTES);
            self.groups.mask(|title| redactor.aside(title).unwrap_or_default());
        }
        Ok(Some(matcher))
    }
}

/// Prints the counts, not the text.
impl fmt::Debug for Sanitizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sanitizer").field("tally", &self.tally).finish_non_exhaustive()
    }
}

/// Whether nothing would be masked in the text, with or without its colours.
fn is_clean(redactor: &mut Redactor<'_>, text: &[u8]) -> bool {
    let before = redactor.masked;
    redactor.all(text, text.len(), &mut Pem::default()).is_ok()
        && redactor.aside(text).is_ok()
        && redactor.masked == before
}

/// A carriage return before the newline is not part of the text.
fn trim_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// A fast version of [`workflow_command::may_be_command`].
fn may_be_command(line: &[u8]) -> bool {
    match line.first() {
        None => false,
        Some(b':' | ..=b' ' | 0x80..) => workflow_command::may_be_command(line),
        Some(_) => memchr(b'#', line).is_some() && workflow_command::may_be_command(line),
    }
}

fn lane(lanes: &mut [Lane; 3], stream: LogStream) -> &mut Lane {
    let [stdout, stderr, unknown] = lanes;
    match stream {
        LogStream::Stdout => stdout,
        LogStream::Stderr => stderr,
        LogStream::Unknown => unknown,
    }
}

#[cfg(test)]
mod tests;
