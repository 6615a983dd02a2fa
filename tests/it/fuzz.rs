//! The fuzzer's targets on their seeds and on generated input, so that they are run wherever the tests
//! are.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

#[path = "../fuzz/targets.rs"]
mod targets;

/// A value, and lines made of it, of commands, of what tokens look like, and of anything.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "::",
        "::add-mask::",
        "::error file=",
        "::group::",
        "##[",
        "]",
        "%0A",
        "%25",
        "\r",
        "\n",
        "\x1b[31m",
        "\x1b]0;",
        "\x07",
        "***",
        "ghp_0123456789abcdefghijABCDEFGHIJ012345",
        "://",
        "a:b@",
        "-----BEGIN RSA PRIVATE KEY-----",
        "-----END RSA PRIVATE KEY-----",
        "eyJ",
        "sk-",
        "Authorization: Bearer ",
        "::stop-commands::w",
        "::w::",
    ];
    ("[ -~]{0,12}", any::<bool>()).prop_flat_map(move |(value, raw)| {
        let word = prop_oneof![
            proptest::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
            Just(value.clone().into_bytes()),
            "[a-z0-9A-Z+/=.]{0,40}".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..if raw { 20 } else { 1 }),
        ];
        proptest::collection::vec(word, 0..20)
            .prop_map(move |words| [value.as_bytes(), b"\n", &words.concat()].concat())
    })
}

/// A target by its name.
fn run(name: &str, data: &[u8]) {
    let target = targets::ALL.into_iter().find(|(known, _)| *known == name);
    target.unwrap_or_else(|| panic!("there is no target {name}")).1(data);
}

/// The seeds of a target: examples, and what the fuzzer has found.
fn seeds(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// A seed of a target with some bytes changed, left out, or taken from another place.
fn changed(name: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let seeds: Vec<Vec<u8>> = seeds(name).into_iter().map(|(_, seed)| seed).collect();
    let change = (any::<Index>(), any::<Index>(), 0..24_usize, any::<u8>(), 0..4_u8);
    (proptest::sample::select(seeds), proptest::collection::vec(change, 0..6)).prop_map(
        |(mut seed, changes)| {
            for (at, from, length, byte, kind) in changes {
                if seed.is_empty() {
                    seed.push(byte);
                }
                let (at, from) = (at.index(seed.len()), from.index(seed.len()));
                let piece = seed[from..(from + length).min(seed.len())].to_vec();
                let end = (at + length).min(seed.len());
                match kind {
                    0 => seed[at] = byte,
                    1 => drop(seed.splice(at..at, piece)),
                    2 => drop(seed.splice(at..end, piece)),
                    _ => drop(seed.drain(at..end)),
                }
            }
            seed
        },
    )
}

#[test]
fn every_seed_holds_what_its_target_promises() {
    for (name, target) in targets::ALL {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for (path, seed) in seeds {
            println!("{}", path.display());
            target(&seed);
        }
    }
}

#[test]
fn changed_seeds_hold_what_their_targets_promise() {
    for (name, target) in targets::ALL {
        let mut runner = TestRunner::new(Config { cases: 512, ..Config::default() });
        let outcome = runner.run(&changed(name), |data| {
            target(&data);
            Ok(())
        });
        outcome.unwrap_or_else(|failure| panic!("{name}: {failure}"));
    }
}

proptest! {
    #[test]
    fn the_masker_holds_what_it_promises(data in input()) {
        run("masker", &data);
    }

    #[test]
    fn the_sanitizer_holds_what_it_promises(data in input()) {
        run("sanitizer", &data);
    }

    #[test]
    fn the_line_parser_holds_what_it_promises(
        stamp in "[0-9TZ:.+-]{0,35}", tag in "[PF:x]{0,4}", text in input(), raw in input(),
    ) {
        let record = [format!("{stamp} stdout {tag} ").as_bytes(), &text].concat();
        run("line", &record);
        run("line", &raw);
    }
}
