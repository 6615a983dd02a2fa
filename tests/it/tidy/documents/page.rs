//! One document in Markdown, as far as its rules look at it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::repository;

const FIGURE: &str = "<!-- figure:";
const FIGURE_END: &str = "<!-- /figure -->";

/// A document.
pub(super) struct Page {
    /// From the root of the repository, with `/`.
    pub(super) path: String,
    text: String,
}

// === impl Page ===

impl Page {
    pub(super) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let path = path.strip_prefix(repository()).unwrap().to_string_lossy().into_owned();
        Self { path, text }
    }

    /// The lines outside blocks of code.
    fn lines(&self) -> Vec<&str> {
        let mut fenced = false;
        let outside = |line: &&str| {
            let fence = line.trim_start().starts_with("```");
            fenced ^= fence;
            !fenced && !fence
        };
        self.text.lines().filter(outside).collect()
    }

    /// Targets of links and pictures that are not on the web.
    pub(super) fn links(&self) -> Vec<String> {
        let prose = without_code(&self.lines().join("\n"));
        let targets = prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
        let own = |target: &&str| !target.contains("://") && !target.starts_with("mailto:");
        targets.filter(own).map(str::to_owned).collect()
    }

    /// What a link into this page can name: as GitHub makes them of headings, and those that are
    /// written out.
    pub(super) fn anchors(&self) -> BTreeSet<String> {
        let mut anchors = BTreeSet::new();
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for line in self.lines() {
            for rest in line.split("<a id=\"").skip(1) {
                anchors.extend(rest.split_once('"').map(|(anchor, _)| anchor.to_owned()));
            }
            let Some((marks, heading)) = line.split_once(' ') else { continue };
            if marks.is_empty() || marks.bytes().any(|mark| mark != b'#') {
                continue;
            }
            let slug = slug(heading);
            let before = times.entry(slug.clone()).or_default();
            anchors.insert(if *before == 0 { slug } else { format!("{slug}-{before}") });
            *before += 1;
        }
        anchors
    }

    /// Figures in markers, by name, and the text without these and without code.
    ///
    /// # Panics
    /// If a marker has no end.
    pub(super) fn figures(&self) -> (Vec<(String, String)>, String) {
        let whole = self.lines().join("\n");
        let mut parts = whole.split(FIGURE);
        let mut rest = parts.next().unwrap_or_default().to_owned();
        let mut figures = Vec::new();
        for part in parts {
            let marked = part.split_once(" -->").and_then(|(name, after)| {
                let (figure, after) = after.split_once(FIGURE_END)?;
                Some((name, figure, after))
            });
            let (name, figure, after) =
                marked.unwrap_or_else(|| panic!("{}: a figure has no end: {part}", self.path));
            figures.push((name.to_owned(), figure.to_owned()));
            rest.push_str(after);
        }
        (figures, without_code(&rest))
    }

    /// The code in the first cell of each row of the tables with one of these headings.
    pub(super) fn first_cells(&self, headings: &[&str]) -> Vec<String> {
        let mut cells = Vec::new();
        let mut inside = false;
        for line in self.lines() {
            let heading = headings.iter().any(|heading| line.starts_with(heading));
            inside = heading || (inside && line.starts_with('|'));
            if inside && let Some(rest) = line.strip_prefix("| `") {
                cells.extend(rest.split_once('`').map(|(cell, _)| cell.to_owned()));
            }
        }
        cells
    }
}

/// A heading's anchor on GitHub.
fn slug(heading: &str) -> String {
    let mut plain = String::new();
    let mut tag = false;
    for letter in heading.chars() {
        tag = (tag || letter == '<') && letter != '>';
        if !tag && letter != '>' {
            plain.push(letter);
        }
    }
    let kept = plain.trim().chars().filter(|it| it.is_alphanumeric() || " -_".contains(*it));
    kept.map(|it| if it == ' ' { '-' } else { it.to_ascii_lowercase() }).collect()
}

/// Without what stands between backticks.
fn without_code(text: &str) -> String {
    text.split('`').step_by(2).collect()
}

#[test]
fn a_page_is_taken_apart() {
    let text = "# A *title*: `x`\n\n```sh\n# no heading, [no](link.md)\n```\n\n## <a id=\"Alert\"></a>Alert\n\
                [one](a.md#b) and ![two](b.png), `[code](c.md)`, [web](https://d)\n\n## Alert\n\
                takes <!-- figure:f -->1.5 ms<!-- /figure -->, or 2 s\n\n\
                | it logs | |\n|---|---|\n| `a … b` | c |\n";
    let page = Page { path: "x.md".into(), text: text.into() };
    assert_eq!(page.links(), ["a.md#b", "b.png"]);
    let anchors = ["Alert", "a-title-x", "alert", "alert-1"].map(str::to_owned);
    assert_eq!(page.anchors(), BTreeSet::from(anchors));
    let (figures, rest) = page.figures();
    assert_eq!(figures, [("f".to_owned(), "1.5 ms".to_owned())]);
    assert!(rest.contains("takes , or 2 s"), "{rest}");
    assert_eq!(page.first_cells(&["| it logs |"]), ["a … b"]);
}
