//! Tables of Markdown, within bounds.

use std::fmt::Write as _;

use super::text::escaped;

/// Most rows: a summary is read by people.
const MOST_ROWS: usize = 200;

/// Appends a table with its title, and nothing if it has no rows. Cells are text, and are escaped; heads
/// are written as they are.
///
/// Rows are added for as long as `text` stays below `most_bytes` and there are no more than 200; the
/// earlier ones are left out first, and their number is said.
pub fn table<'a, R>(text: &mut String, title: &str, heads: &[&str], rows: R, most_bytes: usize)
where
    R: ExactSizeIterator<Item: IntoIterator<Item = &'a str>> + DoubleEndedIterator,
{
    let all = rows.len();
    if all == 0 {
        return;
    }
    // Writing to a string does not fail.
    writeln!(text, "\n### {title}\n\n| {} |", heads.join(" | ")).ok();
    writeln!(text, "|{}", "---|".repeat(heads.len())).ok();
    let written = rows.rev().take(MOST_ROWS).map(|row| {
        let cells: Vec<String> = row.into_iter().map(escaped).collect();
        format!("| {} |", cells.join(" | "))
    });
    let rows = last_within(written, most_bytes.saturating_sub(text.len()));
    for row in &rows {
        writeln!(text, "{row}").ok();
    }
    if rows.len() < all {
        writeln!(text, "\n{} earlier rows are left out.", all - rows.len()).ok();
    }
}

/// The texts that come first, as many as fit so many bytes with a newline each, in reverse order.
pub fn last_within(texts: impl Iterator<Item = String>, mut room: usize) -> Vec<String> {
    let mut taken: Vec<String> = texts
        .map_while(|text| {
            room = room.checked_sub(text.len() + 1)?;
            Some(text)
        })
        .collect();
    taken.reverse();
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(rows: &[[&str; 2]], most_bytes: usize) -> String {
        let mut text = String::new();
        table(&mut text, "T", &["a", "b"], rows.iter().copied(), most_bytes);
        text
    }

    #[test]
    fn cells_are_text_and_the_last_rows_are_kept() {
        let head = "\n### T\n\n| a | b |\n|---|---|\n";
        assert_eq!(written(&[["1|", "2"]], 100), format!("{head}| 1&#124; | 2 |\n"));
        assert_eq!(written(&[], 100), "");
        let two = written(&[["1", "2"], ["3", "4"]], head.len() + 10);
        assert_eq!(two, format!("{head}| 3 | 4 |\n\n1 earlier rows are left out.\n"));
        let many = written(&[["x", "y"]; 201], 1 << 20);
        assert!(many.ends_with("\n1 earlier rows are left out.\n"), "{many}");
    }
}
