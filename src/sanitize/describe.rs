//! The content of a command: its message or title, and the position in the source.

use ephemon_mask::workflow_command;
use ephemon_mask::workflow_command::Name;

use super::{Place, Severity, Withheld, groups::bounded, redactor::Redactor};

/// Most bytes of an annotation's file or title.
const MAX_PROPERTY_BYTES: usize = 1024;

/// The body for a line with this command before it was masked, as far as it still is one, and its
/// position.
pub(super) fn describe(
    masked: &[u8],
    name: Name,
    redactor: &mut Redactor<'_>,
) -> Result<(Vec<u8>, Option<Box<Place>>), Withheld> {
    let command = workflow_command::parse(masked).filter(|command| command.name == name);
    let Some(command) = command else { return Ok((masked.to_vec(), None)) };
    if Severity::of(name) == Severity::Unspecified {
        let body = if name == Name::Group { command.data() } else { masked.to_vec() };
        return Ok((body, None));
    }
    let mut text = |key: &str| -> Result<Option<String>, Withheld> {
        let Some(value) = command.property(key).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        Ok(Some(bounded(&redactor.aside(&value)?, MAX_PROPERTY_BYTES)))
    };
    let number = |key: &str| -> Option<u32> {
        std::str::from_utf8(&command.property(key)?).ok()?.trim().parse().ok()
    };
    let place = Place {
        file: text("file")?,
        title: text("title")?,
        line: number("line"),
        end_line: number("endLine"),
        column: number("col"),
        end_column: number("endColumn"),
    };
    let known = place != Place::default();
    Ok((command.data(), known.then(|| Box::new(place))))
}
