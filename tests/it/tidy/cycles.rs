//! No two files of a crate need each other: what both need belongs in a third. A parent may use its
//! children and they their parent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{Source, sources};

/// A file of a crate as its module's path; `lib.rs` is the empty one.
type Module = Vec<String>;

/// Which files of a crate each of its files names.
type Uses = BTreeMap<Module, BTreeSet<Module>>;

#[test]
fn no_files_of_a_crate_need_each_other() {
    let mut crates: BTreeMap<String, Vec<(Module, Source)>> = BTreeMap::new();
    for source in sources() {
        if let Some((name, module)) = place(&source.path) {
            crates.entry(name).or_default().push((module, source));
        }
    }
    assert!(crates.len() > 10, "there must be crates to look at");
    let mut wrong = String::new();
    for (name, files) in crates {
        let uses = uses(&files);
        for cycle in cycles(&uses) {
            let files: Vec<_> = cycle.iter().map(|module| module.join("/")).collect();
            writeln!(wrong, "src/{name}: {}", files.join(", ")).unwrap();
            for (from, to) in edges(&uses, &cycle) {
                writeln!(wrong, "  {}.rs names {}.rs", from.join("/"), to.join("/")).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "import cycles; move down what both files need:\n{wrong}");
}

#[test]
fn cycles_are_found_however_the_paths_are_written() {
    let file = |path: &str, text: &str| {
        (place(path).unwrap().1, Source { path: path.into(), text: text.into() })
    };
    let files = [
        file("src/x/lib.rs", "mod a;\nmod b;\nuse b::Thing;\n"),
        file(
            "src/x/a.rs",
            "use std::{fs, io};\nuse super::{\n    b::{self, Thing as T},\n    c,\n};\n",
        ),
        file("src/x/b.rs", "fn f() { crate::a::f() }\n"),
        file(
            "src/x/c.rs",
            "// super::a\nmod d;\n#[cfg(test)]\nmod tests {\n    use crate::a;\n}\n",
        ),
        file("src/x/c/d.rs", "use super::super::a::f;\nuse super::C;\n"),
        file("src/x/e.rs", "use crate::c::d::D;\npub(super) use super::a;\n"),
        file("src/x/f.rs", "#[cfg(test)]\nmod story;\n\nuse super::g;\n"),
        file("src/x/g.rs", "use super::f::F;\n"),
    ];
    let uses = uses(&files);
    let found: Vec<Vec<String>> = cycles(&uses)
        .iter()
        .map(|cycle| cycle.iter().map(|module| module.join("/")).collect())
        .collect();
    assert_eq!(found, [["a", "b"], ["f", "g"]]);
}

/// The crate of `src` and the module that a file is; none of tests and of `main.rs`.
fn place(path: &str) -> Option<(String, Module)> {
    let (name, file) = path.strip_prefix("src/")?.split_once('/')?;
    let mut module: Module = file.strip_suffix(".rs")?.split('/').map(str::to_owned).collect();
    if module.iter().any(|part| part == "tests") || file == "main.rs" {
        return None;
    }
    if file == "lib.rs" {
        module.clear();
    }
    Some((name.to_owned(), module))
}

fn uses(files: &[(Module, Source)]) -> Uses {
    let modules: BTreeSet<&Module> = files.iter().map(|(module, _)| module).collect();
    let mut uses = Uses::new();
    for (module, source) in files {
        let named = paths(&shipped(&source.text)).into_iter();
        let named = named.filter_map(|path| target(module, &path, &modules));
        // What a file shares with its parents and children is no cycle.
        let named = named.filter(|other| !other.starts_with(module) && !module.starts_with(other));
        uses.insert(module.clone(), named.collect());
    }
    uses
}

/// The file that a path leads to: the last part of it that is one.
fn target(from: &Module, path: &[String], modules: &BTreeSet<&Module>) -> Option<Module> {
    let (first, rest) = path.split_first()?;
    let ups = rest.iter().take_while(|part| *part == "super").count();
    let mut whole = match first.as_str() {
        "crate" => Module::new(),
        "self" => from.clone(),
        "super" => from.get(..from.len().checked_sub(1 + ups)?)?.to_vec(),
        _ => return None,
    };
    whole.extend_from_slice(rest.get(ups..)?);
    while !modules.contains(&whole) {
        whole.pop()?;
    }
    Some(whole)
}

/// Without comments, and without what only tests have.
fn shipped(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            // A file of its own, or all that follows.
            if lines.next().is_some_and(|next| next.ends_with(';')) {
                continue;
            }
            break;
        }
        code.push_str(line.split("//").next().unwrap_or_default());
        code.push('\n');
    }
    code
}

/// Every path that begins with `crate`, `self` or `super`, those in braces one by one.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for first in ["crate", "self", "super"] {
        for (at, _) in code.match_indices(&format!("{first}::")) {
            let before = code.get(..at).and_then(|before| before.chars().next_back());
            if !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                expand(Vec::new(), code.get(at..).unwrap_or_default(), &mut found);
            }
        }
    }
    found
}

/// Reads a path, or a tree of paths, at the beginning of `text`. Returns what follows.
fn expand<'a>(mut prefix: Vec<String>, text: &'a str, found: &mut Vec<Vec<String>>) -> &'a str {
    let mut rest = text.trim_start();
    loop {
        if let Some(tree) = rest.strip_prefix('{') {
            rest = tree.trim_start();
            while !rest.is_empty() && !rest.starts_with('}') {
                let after = expand(prefix.clone(), rest, found);
                // `as NAME`, a comma, or what is no tree of paths at all.
                let stop = after.find([',', '}']).unwrap_or(after.len());
                rest = after.get(stop..).unwrap_or_default();
                rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
            }
            return rest.strip_prefix('}').unwrap_or(rest);
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let is_own = name == "self" && !prefix.is_empty();
        if !name.is_empty() && !is_own {
            prefix.push(name.to_owned());
        }
        let Some(next) = after.strip_prefix("::") else {
            found.push(prefix);
            return after;
        };
        rest = next;
    }
}

/// Sets of files of which each leads to each other one.
fn cycles(uses: &Uses) -> Vec<Vec<Module>> {
    let reached: BTreeMap<&Module, BTreeSet<&Module>> =
        uses.keys().map(|module| (module, reach(uses, module))).collect();
    let mut left: BTreeSet<&Module> = uses.keys().collect();
    let mut cycles = Vec::new();
    while let Some(module) = left.pop_first() {
        let there = reached.get(module).into_iter().flatten();
        let both = there.filter(|other| reached.get(*other).is_some_and(|to| to.contains(module)));
        let both: BTreeSet<&Module> = both.copied().collect();
        if both.len() > 1 {
            left.retain(|other| !both.contains(other));
            cycles.push(both.into_iter().cloned().collect());
        }
    }
    cycles
}

fn reach<'a>(uses: &'a Uses, from: &'a Module) -> BTreeSet<&'a Module> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        for other in uses.get(module).into_iter().flatten() {
            if seen.insert(other) {
                next.push(other);
            }
        }
    }
    seen
}

/// What the files of a cycle name of each other.
fn edges<'a>(uses: &'a Uses, cycle: &'a [Module]) -> Vec<(&'a Module, &'a Module)> {
    let of = |from| uses.get(from).into_iter().flatten().map(move |to| (from, to));
    cycle.iter().flat_map(of).filter(|(_, to)| cycle.contains(to)).collect()
}
