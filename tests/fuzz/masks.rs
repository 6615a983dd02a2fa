//! Values that no log may show.

use ephemon_mask::job::{JobMasks, Mode};
use ephemon_mask::patterns::{Pem, find};
use ephemon_mask::{Masks, merge, replace};
use ephemon_model::LogStream;
use ephemon_sanitize::Sanitized;
use ephemon_sanitize::{Options, Sanitizer};

use super::{contains, split};

/// The first line of `data` is a value, the rest is text.
pub(super) fn masker(data: &[u8]) {
    let (value, text) = split(data);
    let masks = Masks::default();
    masks.add([value]).expect("one value");
    let matcher = masks.matcher().expect("one value");
    let (mut by_values, mut again) = (Vec::new(), Vec::new());
    matcher.mask(text, usize::MAX, &mut by_values).expect("no limit");
    // A value with stars in it may be made by masking: nobody has such secrets.
    if !value.contains(&b'*') {
        let value = value.trim_ascii();
        assert!(value.is_empty() || !contains(&by_values, value), "the value is still there");
        matcher.mask(&by_values, usize::MAX, &mut again).expect("no limit");
        assert_eq!(by_values, again, "masked twice");
    }
    let once = by_looks(text);
    assert_eq!(by_looks(&once), once, "masked twice by looks");
}

/// The first line of `data` is told to be a secret; the others follow it, on both streams.
pub(super) fn sanitizer(data: &[u8]) {
    let (value, text) = split(data);
    let value = value.trim_ascii();
    let masks = JobMasks::new(Mode::Masked);
    masks.add([value]).expect("one value");
    let options = Options { max_body_bytes: 200, original: true, ..Options::default() };
    let mut sanitizer = Sanitizer::new(masks, options);
    // As a carriage return within it makes lines of a value, its lines are looked for.
    let whole = value.len() >= 6 && !value.iter().any(|byte| b"\r*".contains(byte));
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let stream = if at % 2 == 0 { LogStream::Stdout } else { LogStream::Stderr };
        let outcome = if line.len() > 100 {
            let (first, second) = line.split_at(50);
            check(&sanitizer.part(stream, first, 0, true), value, whole);
            sanitizer.part(stream, second, 1, false)
        } else {
            sanitizer.line(stream, line)
        };
        check(&outcome, value, whole);
    }
}

fn check(sanitized: &Sanitized<'_>, value: &[u8], whole: bool) {
    let Sanitized::Record(record) = sanitized else { return };
    let place = record.place.as_deref().cloned().unwrap_or_default();
    let texts = [
        Some(record.body.as_ref()),
        record.original.as_deref(),
        record.group.as_deref().map(str::as_bytes),
        place.file.as_deref().map(str::as_bytes),
        place.title.as_deref().map(str::as_bytes),
    ];
    // What stands in a text's place has words of its own.
    let shown = whole && record.withheld.is_none();
    for text in texts.into_iter().flatten().filter(|_| shown) {
        assert!(!contains(text, value), "the value is still there");
    }
}

fn by_looks(text: &[u8]) -> Vec<u8> {
    let (mut found, mut out) = (Vec::new(), Vec::new());
    find(text, &mut Pem::default(), &mut found);
    merge(&mut found);
    replace(text, &found, &mut out);
    out
}
