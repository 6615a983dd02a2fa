//! Which families are shown: patterns of names, as the command line gives them. Pure.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ephemon_catalogue::families;

/// Characters of a pattern; a family's name has about half of that.
const MAX_PATTERN: usize = 128;

/// The name of a family, in which `*` stands for any letters, or for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

/// A text that is no pattern.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PatternError {
    /// Nothing, or too much.
    #[error("a pattern has 1 to {MAX_PATTERN} characters")]
    Length,
    /// What no name has.
    #[error(
        "`{0}` is in no metric's name: a pattern has letters, digits, `_`, and `*` for any of them"
    )]
    Character(char),
}

/// The families that are shown. The default shows all. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Filter(Option<Arc<HashSet<&'static str>>>);

// === impl Pattern ===

impl Pattern {
    /// Whether the whole name is as the pattern says.
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        let mut parts: Vec<_> = parts.collect();
        // Without a `*` the pattern is the name.
        let Some(last) = parts.pop() else { return rest.is_empty() };
        for part in parts {
            let Some((_, after)) = rest.split_once(part) else { return false };
            rest = after;
        }
        rest.ends_with(last)
    }

    /// Whether there is a family that it means.
    pub fn is_of_use(&self) -> bool {
        families().any(|family| self.matches(family.name))
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > MAX_PATTERN {
            return Err(PatternError::Length);
        }
        let odd = |letter: &char| !letter.is_ascii_alphanumeric() && !matches!(letter, '_' | '*');
        match text.chars().find(odd) {
            Some(letter) => Err(PatternError::Character(letter)),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Filter ===

impl Filter {
    /// Shows what `allow` names, or everything where it is empty, without what `deny` names.
    pub fn new(allow: &[Pattern], deny: &[Pattern]) -> Self {
        if allow.is_empty() && deny.is_empty() {
            return Self::default();
        }
        let any = |patterns: &[Pattern], name: &str| patterns.iter().any(|one| one.matches(name));
        let shown = families()
            .map(|family| family.name)
            .filter(|name| (allow.is_empty() || any(allow, name)) && !any(deny, name));
        Self(Some(Arc::new(shown.collect())))
    }

    /// Whether this family is shown.
    pub fn shows(&self, family: &str) -> bool {
        self.0.as_ref().is_none_or(|shown| shown.contains(family))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_star_stands_for_any_letters_and_the_rest_for_itself() {
        let cases = [
            ("ephemon_job_info", "ephemon_job_info", true),
            ("ephemon_job", "ephemon_job_info", false),
            ("ephemon_job_*", "ephemon_job_info", true),
            ("*", "ephemon_job_info", true),
            ("*_info", "ephemon_job_info", true),
            ("*_info", "ephemon_job_information", false),
            ("ephemon_*_bytes_*", "ephemon_container_io_bytes_total", true),
            ("ephemon_*_bytes_*", "ephemon_container_io_operations_total", false),
            ("ephemon_job*job_info", "ephemon_job_info", false),
            ("ab*ba", "aba", false),
            ("a**a", "aa", true),
            ("job", "ephemon_job_info", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(pattern.parse::<Pattern>().unwrap().matches(name), expected, "{pattern}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_character() {
        assert_eq!("".parse::<Pattern>(), Err(PatternError::Length));
        assert_eq!("x".repeat(MAX_PATTERN + 1).parse::<Pattern>(), Err(PatternError::Length));
        assert_eq!("ephemon_(a|b)".parse::<Pattern>(), Err(PatternError::Character('(')));
        assert!("no_such_*".parse::<Pattern>().is_ok_and(|pattern| !pattern.is_of_use()));
    }

    #[test]
    fn what_is_denied_is_not_shown_though_it_is_allowed() {
        let filter = Filter::new(
            &patterns(&["ephemon_container_*", "process_*"]),
            &patterns(&["*_pressure_*"]),
        );
        assert!(filter.shows("ephemon_container_info"));
        assert!(filter.shows("process_open_fds"));
        assert!(!filter.shows("ephemon_container_pressure_waiting_seconds_total"));
        assert!(!filter.shows("ephemon_job_info"));
        let without = Filter::new(&[], &patterns(&["ephemon_job_*"]));
        assert!(without.shows("ephemon_container_info") && !without.shows("ephemon_job_info"));
        assert!(Filter::default().shows("ephemon_job_info"));
    }

    proptest! {
        #[test]
        fn a_pattern_with_a_part_left_out_still_matches(
            start in "[a-z_]{0,8}", middle in "[a-z_]{0,8}", end in "[a-z_]{1,8}",
        ) {
            let pattern: Pattern = format!("{start}*{end}").parse().unwrap();
            let name = format!("{start}{middle}{end}");
            prop_assert!(pattern.matches(&name));
        }
    }
}
