//! The documents: links that lead somewhere, a runbook for each alert, messages that the programs
//! have, and figures that agree.

mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::{files, repository, sources};
use page::Page;

/// Most bytes of the README.
const README_BYTES: usize = 8 * 1024;
/// Where every measured figure stands; other pages repeat some of them.
const FIGURES: &str = "deploy/docs/performance.md";
/// What was true at its time.
const HISTORY: [&str; 2] = ["CHANGELOG.md", "deploy/adr/"];
/// What only a measurement says.
const MEASURED: [&str; 4] = ["µs", "MB/s", "MiB/s", "% of a core"];
/// Units of figures that are measured or set.
const UNITS: [&str; 5] = ["%", "s", "ms", "MB", "MiB"];
/// The heading of tables whose messages are the programs' own.
const MESSAGES: [&str; 2] = ["| the agent logs |", "| the hook says |"];

fn pages() -> Vec<Page> {
    let top = fs::read_dir(repository()).unwrap().flatten().map(|entry| entry.path());
    let below = ["src", "dashboards", "deploy", "tests", ".github"];
    let below = below.into_iter().flat_map(|top| files(&repository().join(top)));
    let all = top.filter(|path| path.is_file()).chain(below);
    let is_document = |path: &PathBuf| path.extension().is_some_and(|it| it == "md");
    let pages: Vec<Page> = all.filter(is_document).map(|path| Page::read(&path)).collect();
    assert!(pages.len() > 10, "there must be documents to look at");
    pages
}

fn text(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_readme_is_short_and_names_the_commands() {
    let readme = text("README.md");
    assert!(readme.len() <= README_BYTES, "README.md has {} bytes", readme.len());
    let has = |line: &str| readme.lines().any(|one| one == line);
    assert!(has("cargo build --release") && has("target/release/ephemon demo --once"));
    assert!(has("cargo test") && text(".ci/run").contains("\n    cargo test --locked"));
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let anchors: BTreeMap<&str, BTreeSet<String>> =
        pages.iter().map(|page| (&*page.path, page.anchors())).collect();
    let mut wrong = String::new();
    for page in &pages {
        for link in page.links() {
            let (path, anchor) = link.split_once('#').unwrap_or((&*link, ""));
            let target = match path {
                "" => page.path.clone(),
                path => resolved(&page.path, path),
            };
            let there = repository().join(&target).exists();
            let known = anchor.is_empty()
                || anchors.get(&*target).is_some_and(|anchors| anchors.contains(anchor));
            if !there || !known {
                writeln!(wrong, "{}: {link}", page.path).unwrap();
            }
        }
    }
    // Sources, manifests and scripts name pages by their path.
    for (path, named) in named_pages() {
        let (file, anchor) = named.split_once('#').unwrap_or((&*named, ""));
        let known = anchors.get(file);
        if !known.is_some_and(|known| anchor.is_empty() || known.contains(anchor)) {
            writeln!(wrong, "{path}: {named}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "links that lead nowhere:\n{wrong}");
}

/// A link's path from the root of the repository.
fn resolved(page: &str, link: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in Path::new(page).parent().unwrap().join(link).components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            part => parts.push(part.as_os_str().to_string_lossy().into_owned()),
        }
    }
    parts.join("/")
}

/// Where something that is no document names one of `deploy/docs`.
fn named_pages() -> Vec<(String, String)> {
    let below = ["src", "dashboards", "deploy", "tests"].map(|top| files(&repository().join(top)));
    let mut found = Vec::new();
    for path in below.into_iter().flatten() {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        if path.extension().is_some_and(|it| it == "md") || path.starts_with(own()) {
            continue;
        }
        for (_, rest) in text.match_indices("deploy/docs/").map(|(at, _)| text.split_at(at)) {
            let end = |letter: char| !letter.is_ascii_alphanumeric() && !"/-_.#".contains(letter);
            let name = rest.split(end).next().unwrap_or_default().trim_end_matches('.');
            if name.contains(".md") {
                found.push((path.display().to_string(), name.to_owned()));
            }
        }
    }
    found
}

/// These rules themselves.
fn own() -> PathBuf {
    repository().join("tests/it/tidy")
}

#[test]
fn every_alert_has_a_runbook_and_no_runbook_is_of_another() {
    let rules = text("dashboards/rules/alerts.yaml");
    let alerts: BTreeSet<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let runbooks = text("deploy/docs/runbooks.md");
    let sections: BTreeSet<&str> = runbooks
        .lines()
        .filter_map(|line| line.strip_prefix("## <a id=\"")?.split_once("\"></a>"))
        .map(|(anchor, name)| {
            assert_eq!(anchor, name, "the anchor is the alert's name");
            name
        })
        .collect();
    assert_eq!(sections, alerts);
    for rule in rules.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap();
        let severity = rule.split_once("severity: ").unwrap().1.split(' ').next().unwrap();
        let (_, section) = runbooks.split_once(&format!("</a>{name}\n")).unwrap();
        let section = section.split("\n## ").next().unwrap();
        assert!(section.contains(&format!("Severity: {severity}.")), "{name} is {severity}");
    }
}

#[test]
fn a_figure_is_the_same_on_every_page() {
    let pages = pages();
    let home = pages.iter().find(|page| page.path == FIGURES).expect(FIGURES);
    let (marked, rest) = home.figures();
    let mut wrong = String::new();
    let mut figures: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, figure) in &marked {
        if *figures.entry(name).or_insert(figure) != figure {
            writeln!(wrong, "{FIGURES}: two figures called {name}").unwrap();
        }
    }
    let own: BTreeSet<String> =
        marked.iter().flat_map(|(_, figure)| fractions(figure)).chain(fractions(&rest)).collect();
    assert!(figures.len() > 5 && own.len() > 20, "{figures:?} {own:?}");
    for page in pages.iter().filter(|page| page.path != FIGURES) {
        let (marked, rest) = page.figures();
        for (name, figure) in &marked {
            if figures.get(&**name) != Some(&&**figure) {
                let known = figures.get(&**name);
                writeln!(wrong, "{}: {name} is {figure}, not {known:?}", page.path).unwrap();
            }
        }
        if HISTORY.iter().any(|history| page.path.starts_with(history)) {
            continue;
        }
        for figure in fractions(&rest).into_iter().filter(|figure| own.contains(figure)) {
            writeln!(wrong, "{}: {figure} stands without a marker", page.path).unwrap();
        }
        for unit in MEASURED.into_iter().filter(|unit| says_how_much(&rest, unit)) {
            writeln!(wrong, "{}: a figure in {unit} stands without a marker", page.path).unwrap();
        }
    }
    assert!(wrong.is_empty(), "figures belong on {FIGURES}:\n{wrong}");
}

/// Every `1.5 ms` and the like: what has a decimal is seldom the same by chance.
fn fractions(text: &str) -> Vec<String> {
    let word =
        |word: &str| word.trim_matches(|it: char| !it.is_alphanumeric() && it != '%').to_owned();
    let words: Vec<String> = text.split_whitespace().map(word).collect();
    let is_fraction = |word: &str| {
        let parts = word.split_once('.');
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
        parts.is_some_and(|(whole, part)| digits(whole) && digits(part))
    };
    let pairs = words.windows(2).filter(|pair| is_fraction(&pair[0]));
    pairs.filter(|pair| UNITS.contains(&&*pair[1])).map(|pair| pair.join(" ")).collect()
}

/// Whether a number stands before the unit.
fn says_how_much(text: &str, unit: &str) -> bool {
    let before = text.match_indices(unit).map(|(at, _)| text.split_at(at).0.trim_end());
    before.into_iter().any(|before| before.ends_with(|last: char| last.is_ascii_digit()))
}

/// `…` stands for what differs.
#[test]
fn messages_that_documents_explain_are_in_the_code() {
    let sources = sources().into_iter().filter(|source| source.path.starts_with("src/"));
    let code: String = sources.map(|source| joined(&source.text)).collect();
    let (mut seen, mut wrong) = (0, String::new());
    for page in pages() {
        for message in page.first_cells(&MESSAGES) {
            seen += 1;
            let parts = message.split('…').map(str::trim).filter(|part| part.len() > 2);
            for part in parts.filter(|part| !code.contains(part)) {
                writeln!(wrong, "{}: {part:?} of `{message}`", page.path).unwrap();
            }
        }
    }
    assert!(seen > 30, "only {seen} messages were found");
    assert!(wrong.is_empty(), "no program says:\n{wrong}");
}

/// The code with the lines of a broken string put together, and without escapes.
fn joined(code: &str) -> String {
    let mut parts = code.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    let whole = parts.fold(first, |whole, part| whole + part.trim_start());
    whole.replace("\\\"", "\"")
}

#[test]
fn these_rules_see_what_is_wrong() {
    assert_eq!(resolved("deploy/docs/a.md", "../../README.md"), "README.md");
    assert_eq!(fractions("takes **1.5 ms**, 3 s; (0.27 % before) of v2.4 s"), ["1.5 ms", "0.27 %"]);
    assert!(says_how_much("it makes 20 MB/s here", "MB/s"));
    assert!(!says_how_much("megabytes a second (MB/s)", "MB/s"));
    assert_eq!(joined("\"one \\\n     line\""), "\"one line\"");
}
