//! The parts of a benchmark: all of them, or those that the command line names.

/// Measures the parts, in this order.
pub(crate) fn measure(parts: &[(&str, fn())]) {
    for (name, measure) in parts {
        if is_wanted(name) {
            measure();
        }
    }
}

/// Whether a word of the command line begins this part's name, or there is no word.
pub(crate) fn is_wanted(part: &str) -> bool {
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with('-')).peekable();
    words.peek().is_none() || words.any(|word| part.starts_with(&word))
}
