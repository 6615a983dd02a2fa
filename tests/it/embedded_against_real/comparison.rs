//! Two recordings against each other, and their differences against the permitted ones. Pure.

use std::fmt::Write;

use super::recording::Recording;

/// A line that one node has otherwise than the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) line: String,
    pub(super) embedded: String,
    pub(super) real: String,
}

/// A difference that stays, exactly as it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Permitted {
    pub(super) line: &'static str,
    pub(super) embedded: &'static str,
    pub(super) real: &'static str,
    /// A sentence of the embedded node's documentation.
    pub(super) why: &'static str,
}

/// Stands for a line that a recording lacks.
const ABSENT: &str = "(no such line)";

/// Lines that differ, in the embedded node's order, then those that only the real one has.
pub(super) fn differences(embedded: &Recording, real: &Recording) -> Vec<Difference> {
    let only_real = real.names().filter(|name| embedded.get(name).is_none());
    let of = |recording: &Recording, line: &str| recording.get(line).unwrap_or(ABSENT).to_owned();
    embedded
        .names()
        .chain(only_real)
        .map(|line| Difference {
            line: line.to_owned(),
            embedded: of(embedded, line),
            real: of(real, line),
        })
        .filter(|difference| difference.embedded != difference.real)
        .collect()
}

/// What is wrong: differences that are not permitted as they are, and permitted ones that are not
/// there. Empty where nothing is.
pub(super) fn judge(differences: &[Difference], permitted: &[Permitted]) -> String {
    let mut wrong = String::new();
    let is = |difference: &Difference, permitted: &Permitted| {
        difference.line == permitted.line
            && difference.embedded == permitted.embedded
            && difference.real == permitted.real
    };
    for difference in differences {
        if !permitted.iter().any(|permitted| is(difference, permitted)) {
            let Difference { line, embedded, real } = difference;
            writeln!(wrong, "{line}\n    embedded: {embedded}\n    real:     {real}").unwrap();
        }
    }
    for permitted in permitted {
        if !differences.iter().any(|difference| is(difference, permitted)) {
            writeln!(wrong, "{}: the permitted difference has gone", permitted.line).unwrap();
        }
    }
    wrong
}

/// What the embedded node does not show of the orders that are declared. It hides nothing, so that each
/// instant which a real node may show is compared, too.
pub(super) fn hidden(embedded: &Recording) -> String {
    let mut wrong = String::new();
    for ((line, order), seen) in embedded.incomplete() {
        writeln!(
            wrong,
            "{line}: not all of it is shown\n    embedded: {seen}\n    declared: {order}"
        )
        .unwrap();
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::super::order::Order;
    use super::*;

    fn recording(lines: &[(&str, &str)]) -> Recording {
        let mut recording = Recording::new(&[]);
        for (name, value) in lines {
            recording.note(*name, value);
        }
        recording
    }

    fn permitted(embedded: &'static str, real: &'static str) -> Permitted {
        Permitted { line: "a", embedded, real, why: "" }
    }

    #[test]
    fn equal_recordings_have_no_difference_in_any_order() {
        let one = recording(&[("a", "1"), ("b", "2")]);
        let other = recording(&[("b", "2"), ("a", "1")]);
        assert_eq!(differences(&one, &other), []);
    }

    #[test]
    fn a_line_that_one_side_lacks_is_a_difference() {
        let found = differences(&recording(&[("a", "1")]), &recording(&[("b", "2")]));
        let lines: Vec<&str> = found.iter().map(|difference| difference.line.as_str()).collect();
        assert_eq!(lines, ["a", "b"]);
        assert_eq!((found[0].real.as_str(), found[1].embedded.as_str()), (ABSENT, ABSENT));
    }

    #[test]
    fn an_instant_that_the_embedded_node_hides_is_wrong_and_one_that_a_real_node_hides_is_not() {
        const ORDERS: [Order; 1] = [("a", "- > (1) > 2")];
        let of = |seen: &[&str]| {
            let mut recording = Recording::new(&ORDERS);
            recording.note_order("a".to_owned(), seen.iter().map(|it| (*it).to_owned()).collect());
            recording
        };
        let (whole, hides) = (of(&["-", "1", "2"]), of(&["-", "2"]));
        assert_eq!(differences(&whole, &hides), []);
        assert_eq!(hidden(&whole), "");
        assert!(hidden(&hides).contains("embedded: - > 2"));
        assert!(hidden(&Recording::new(&ORDERS)).contains("a: "));
        assert_eq!(differences(&of(&["-", "3", "2"]), &hides).len(), 1);
    }

    #[test]
    fn a_permitted_difference_passes_and_a_new_a_changed_and_a_gone_one_do_not() {
        let found = differences(&recording(&[("a", "1")]), &recording(&[("a", "2")]));
        assert_eq!(judge(&found, &[permitted("1", "2")]), "");
        assert!(judge(&found, &[]).contains("embedded: 1"));
        assert!(judge(&found, &[permitted("1", "3")]).contains("real:     2"));
        assert!(judge(&[], &[permitted("1", "2")]).contains("has gone"));
    }
}
