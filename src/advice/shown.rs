//! Text and figures as they are shown. Pure.

use ephemon_base::visible::one_line;

use super::amount::GIB;

/// Most characters of a name.
const MOST_NAME_CHARS: usize = 80;

/// A name of a job's author without what would change a terminal or turn the text around, in one
/// line.
pub(crate) fn name(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { one_line(text, MOST_NAME_CHARS) }
}

/// CPUs: `0.25`.
pub(crate) fn cores(cores: f64) -> String {
    format!("{cores:.2}")
}

/// Memory: `312Mi`, `1.5Gi`.
pub(crate) fn memory(bytes: f64) -> String {
    if bytes < GIB {
        format!("{:.0}Mi", bytes / super::amount::MIB)
    } else {
        format!("{:.1}Gi", bytes / GIB)
    }
}

/// A value, or a dash.
pub(crate) fn or_dash<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_line_of_visible_letters() {
        assert_eq!(name("a\u{1b}[31m\n\u{202e}b"), "a␛[31m␊‹U+202E›b");
        assert_eq!(name(""), "-");
        assert_eq!(name(&"x".repeat(200)).chars().count(), MOST_NAME_CHARS + 1);
        assert_eq!(name("büro 日本"), "büro 日本");
    }

    #[test]
    fn figures_have_the_digits_that_matter() {
        assert_eq!((cores(0.2549), memory(312.4 * 1_048_576.0)), ("0.25".into(), "312Mi".into()));
        assert_eq!(memory(1.52 * GIB), "1.5Gi");
    }
}
