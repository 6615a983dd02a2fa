//! Commands between carriage returns.

use ephemon_mask::workflow_command;
use ephemon_mask::workflow_command::{Name, Seen};

use super::{LOOK_AHEAD_BYTES, Sanitizer, may_be_command};

/// Replaces a line that stops commands, because its token would let any process enable them again.
pub(super) const STOP_SHOWN: &[u8] = b"::stop-commands::***";
pub(super) const RESUME_SHOWN: &[u8] = b"::***::";
/// Replaces a secret that is registered in the middle of a line, after a carriage return.
const ADD_MASK_SHOWN: &[u8] = b"::add-mask::***";

impl Sanitizer {
    /// The runner ends a line at a carriage return, too, so commands may follow one. Returns the
    /// text without what such commands register; `None` if they register nothing. For a text that
    /// is partly seen again (`again`), only secrets are registered; its last segment is incomplete.
    pub(super) fn returns(&mut self, text: &[u8], again: bool) -> Option<Vec<u8>> {
        let mut shown = Vec::new();
        let mut told = false;
        let mut segments = text.split(|byte| *byte == b'\r').peekable();
        while let Some(segment) = segments.next() {
            let open = again && segments.peek().is_none();
            let instead = if may_be_command(segment) && !(open && segment.len() <= LOOK_AHEAD_BYTES)
            {
                self.segment(segment, again, open)
            } else {
                None
            };
            told |= instead.is_some();
            shown.extend_from_slice(instead.unwrap_or(segment));
            if segments.peek().is_some() {
                shown.push(b'\r');
            }
        }
        told.then_some(shown)
    }

    /// Executes a command between carriage returns; returns its replacement if it must not be
    /// shown.
    fn segment(&mut self, segment: &[u8], again: bool, open: bool) -> Option<&'static [u8]> {
        if self.commands.peek(segment) == Some(Name::AddMask) {
            if open {
                self.masks.give_up();
            } else if let Some(command) = workflow_command::parse(segment) {
                self.masks.add(command.secrets().iter().map(Vec::as_slice)).ok();
            }
            return Some(ADD_MASK_SHOWN);
        }
        if again {
            return None;
        }
        match self.commands.see(segment) {
            Seen::Command(command) if command.name == Name::StopCommands => Some(STOP_SHOWN),
            Seen::Resumed => Some(RESUME_SHOWN),
            _ => None,
        }
    }
}
