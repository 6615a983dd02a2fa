//! Lines in, records out.

use proptest::prelude::*;

use super::*;
use crate::Place;

const OUT: LogStream = LogStream::Stdout;

fn sanitizer(mode: Mode, values: &[&str]) -> Sanitizer {
    let masks = JobMasks::new(mode);
    masks.add(values.iter().map(|value| value.as_bytes())).expect("few");
    Sanitizer::new(masks, Options { original: true, ..Options::default() })
}

fn record<'a>(sanitizer: &mut Sanitizer, text: &'a [u8]) -> Record<'a> {
    match sanitizer.line(OUT, text) {
        Sanitized::Record(record) => record,
        Sanitized::Suppressed(why) => panic!("not sent: {why:?}"),
    }
}

fn body(sanitizer: &mut Sanitizer, text: &str) -> String {
    match sanitizer.line(OUT, text.as_bytes()) {
        Sanitized::Record(record) => String::from_utf8(record.body.into_owned()).expect("utf-8"),
        Sanitized::Suppressed(why) => format!("{why:?}"),
    }
}

#[test]
fn a_plain_line_is_carried_as_it_is_and_without_a_severity() {
    let mut sanitizer = sanitizer(Mode::Masked, &["secret"]);
    let found = record(&mut sanitizer, b"  hello\t\xff w\xc3\xb6rld\r");
    assert!(matches!(found.body, Cow::Borrowed(b"  hello\t\xff w\xc3\xb6rld")));
    assert_eq!((found.severity.number(), found.severity.text()), (0, ""));
    assert_eq!((found.command, found.group, found.original), (None, None, None));
    assert_eq!(record(&mut sanitizer, b"").body.len(), 0);
}

#[test]
fn the_mode_says_what_is_sent() {
    let (secret, line) = ("::add-mask::hunter2-hunter2", "\x1b[1mhunter2-hunter2");
    let mut off = sanitizer(Mode::Off, &[]);
    assert_eq!(body(&mut off, line), "Off");
    let mut raw = sanitizer(Mode::Raw, &[]);
    assert_eq!(body(&mut raw, secret), "AddMask");
    assert_eq!(body(&mut raw, line), "hunter2-hunter2");
    let mut masked = sanitizer(Mode::Masked, &[]);
    assert_eq!(body(&mut masked, secret), "AddMask");
    assert_eq!(body(&mut masked, line), "***");
    assert_eq!(masked.tally().suppressed, 1);
    assert_eq!(masked.tally().masked, 1);
}

#[test]
fn a_value_told_without_escaping_is_masked_as_it_was_written_and_as_it_reads() {
    let tells = ["::add-mask::p+w%25rd!x9%0Asecond%25line", "50 %\r::add-mask::p+w%25rd!x9\r"];
    for tell in tells {
        let mut sanitizer = sanitizer(Mode::Masked, &[]);
        body(&mut sanitizer, tell);
        let lines = ["p+w%25rd!x9", "p+w%rd!x9", "cCt3JTI1cmQheD", "p%2Bw%2525rd%21x9"];
        for line in lines {
            assert_eq!(body(&mut sanitizer, line), "***", "{line}");
        }
    }
    let mut sanitizer = sanitizer(Mode::Masked, &[]);
    body(&mut sanitizer, tells[0]);
    assert_eq!(body(&mut sanitizer, "second%25line, second%line"), "***, ***");
}

#[test]
fn what_one_container_says_is_masked_in_all_of_the_pod() {
    let masks = JobMasks::new(Mode::Masked);
    let mut one = Sanitizer::new(masks.clone(), Options::default());
    let mut other = Sanitizer::new(masks, Options::default());
    assert_eq!(body(&mut other, "it is line-one"), "it is line-one");
    assert_eq!(body(&mut one, " ::Add-Mask::line-one%0Aline-two"), "AddMask");
    assert_eq!(body(&mut one, "x ##[add-mask]third-one"), "AddMask");
    assert_eq!(body(&mut other, "line-one; line-two; third-one"), "***; ***; ***");
    assert_eq!(body(&mut other, "bGluZS1vbmU= x"), "***U= x");
}

#[test]
fn an_annotation_tells_its_severity_its_place_and_its_message() {
    let mut sanitizer = sanitizer(Mode::Masked, &["secret"]);
    let text =
        b"::error file=src/secret.rs,line=3,endLine=4,col=5,endColumn=6,title=T::a secret%0Ab";
    let found = record(&mut sanitizer, text);
    assert_eq!(found.body, b"a ***\nb".as_slice());
    assert_eq!((found.severity.number(), found.command), (17, Some(Name::Error)));
    let place = Place {
        file: Some("src/***.rs".into()),
        line: Some(3),
        end_line: Some(4),
        column: Some(5),
        end_column: Some(6),
        title: Some("T".into()),
    };
    assert_eq!(found.place.as_deref(), Some(&place));
    let original = String::from_utf8(found.original.expect("asked for")).expect("utf-8");
    assert!(original.starts_with("::error file=src/***.rs,"), "{original}");
    assert!(original.ends_with("::a ***%0Ab"), "{original}");
    for (text, number) in [("warning", 13), ("notice", 10), ("debug", 5), ("echo", 0)] {
        let line = format!("::{text}::x");
        assert_eq!(record(&mut sanitizer, line.as_bytes()).severity.number(), number);
    }
    assert_eq!(record(&mut sanitizer, b"##[warning line=x]late").place, None);
}

#[test]
fn lines_know_their_groups_and_these_are_masked_by_what_is_learned_later() {
    let mut sanitizer = sanitizer(Mode::Masked, &[]);
    let mut group = |text: &str| match sanitizer.line(OUT, text.as_bytes()) {
        Sanitized::Record(record) => record.group.map(|group| group.to_string()),
        Sanitized::Suppressed(_) => None,
    };
    assert_eq!(group("plain"), None);
    assert_eq!(group("::group::Build \x1b[1mhunter2").as_deref(), Some("Build hunter2"));
    assert_eq!(group("##[group]Inner").as_deref(), Some("Build hunter2 / Inner"));
    assert_eq!(group("::add-mask::hunter2"), None);
    assert_eq!(group("##[endgroup]").as_deref(), Some("Build *** / Inner"));
    assert_eq!(group("::endgroup::").as_deref(), Some("Build ***"));
    assert_eq!(group("plain"), None);
}

#[test]
fn stopped_commands_are_text_and_the_word_is_not_shown() {
    let mut sanitizer = sanitizer(Mode::Masked, &[]);
    assert_eq!(body(&mut sanitizer, "::stop-commands::w0rd"), "::stop-commands::***");
    assert_eq!(body(&mut sanitizer, "::add-mask::shown"), "::add-mask::shown");
    assert_eq!(record(&mut sanitizer, b"::error::x").severity.number(), 0);
    assert_eq!(body(&mut sanitizer, "::w0rd::"), "::***::");
    assert_eq!(body(&mut sanitizer, "::add-mask::shown"), "AddMask");
    assert_eq!(body(&mut sanitizer, "shown"), "***");
}

#[test]
fn a_command_behind_a_carriage_return_is_obeyed_as_the_runner_does() {
    let mut sanitizer = sanitizer(Mode::Masked, &[]);
    let text = "50%\r::notice::x\r::add-mask::hunter2\rhunter2\r::stop-commands::w0rd";
    let shown = "50%\r::notice::x\r::add-mask::***\r***\r::stop-commands::***";
    assert_eq!(body(&mut sanitizer, text), shown);
    assert_eq!(body(&mut sanitizer, "hunter2\r\n"), "***\r\n");
    assert_eq!(body(&mut sanitizer, "x\r::w0rd::"), "x\r::***::");
}

#[test]
fn colours_neither_hide_a_secret_nor_keep_it_in_the_original() {
    let mut sanitizer = sanitizer(Mode::Masked, &["secret"]);
    let found = record(&mut sanitizer, b"\x1b[31ma se\x1b[0mcret b");
    assert_eq!((found.body.as_ref(), found.original), (b"a *** b".as_slice(), None));
    let found = record(&mut sanitizer, b"\x1b[31ma secret b");
    let original = Some(b"\x1b[31ma *** b".to_vec());
    assert_eq!((found.body.as_ref(), found.original), (b"a *** b".as_slice(), original));
    assert_eq!(found.masked, 1);
    let token = format!("\x1b[1mghp_\x1b[m{}", "aB3dE6gH9j".repeat(4));
    let found = record(&mut sanitizer, token.as_bytes());
    assert_eq!((found.body.as_ref(), found.original), (b"***".as_slice(), None));
}

#[test]
fn a_private_key_over_many_lines_does_not_touch_the_other_stream() {
    let mut sanitizer = sanitizer(Mode::Masked, &[]);
    assert_eq!(body(&mut sanitizer, "-----BEGIN PRIVATE KEY-----"), "***");
    let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC";
    let Sanitized::Record(other) = sanitizer.line(LogStream::Stderr, line.as_bytes()) else {
        panic!()
    };
    assert_eq!(other.body, line.as_bytes());
    assert_eq!(body(&mut sanitizer, line), "***");
    assert_eq!(body(&mut sanitizer, "-----END PRIVATE KEY-----"), "***");
    assert_eq!(body(&mut sanitizer, line), line);
}

#[test]
fn more_values_than_are_kept_withhold_every_text_of_the_pod() {
    let mut sanitizer = sanitizer(Mode::Masked, &[]);
    for n in 0..3000 {
        assert_eq!(body(&mut sanitizer, &format!("::add-mask::value-{n}")), "AddMask");
    }
    assert_eq!(body(&mut sanitizer, "hello"), Withheld::TooManyValues.as_str());
    assert_eq!(body(&mut sanitizer, "::group::hello"), Withheld::TooManyValues.as_str());
    assert_eq!(sanitizer.tally().withheld, 2);
}

#[test]
fn a_line_that_costs_too_much_is_withheld_and_the_next_is_not() {
    let value = format!("{}!", "a".repeat(250));
    let mut sanitizer = sanitizer(Mode::Masked, &[&value]);
    let line = "a".repeat(100_000);
    let withheld = record(&mut sanitizer, line.as_bytes()).withheld;
    assert_eq!(withheld, Some(Withheld::TooMuchWork));
    assert_eq!(body(&mut sanitizer, "fine"), "fine");
}

#[test]
fn a_long_body_is_cut_at_a_character_and_never_in_a_secret() {
    let masks = JobMasks::new(Mode::Masked);
    masks.add([b"hunter2-hunter2".as_slice()]).expect("few");
    let mut sanitizer = Sanitizer::new(masks, Options { max_body_bytes: 10, ..Options::default() });
    let found = record(&mut sanitizer, b"1234567hunter2-hunter2 rest");
    assert_eq!((found.body.as_ref(), found.truncated_bytes), (b"1234567***".as_slice(), 5));
    let found = record(&mut sanitizer, "12345678\u{20ac}9".as_bytes());
    assert_eq!((found.body.as_ref(), found.truncated_bytes), (b"12345678".as_slice(), 4));
    let mut long = vec![b'x'; 100_000];
    long.extend_from_slice(b"\x1b[0m");
    let found = record(&mut sanitizer, &long);
    assert_eq!((found.body.len(), found.truncated_bytes), (10, 100_004 - 10));
    assert_eq!(sanitizer.tally().truncated_lines, 3);
}

#[test]
fn a_secret_across_two_parts_of_a_line_is_masked() {
    let mut sanitizer = sanitizer(Mode::Masked, &["hunter2-hunter2"]);
    let mut shown = Vec::new();
    let parts = ["x".repeat(20_000) + "hunter2-", "hunter2".to_owned() + &"y".repeat(20_000)];
    for (part, text) in parts.iter().enumerate() {
        let number = u32::try_from(part).expect("few");
        match sanitizer.part(OUT, text.as_bytes(), number, number == 0) {
            Sanitized::Record(record) => shown.extend_from_slice(&record.body),
            Sanitized::Suppressed(why) => panic!("{why:?}"),
        }
    }
    let expected = "x".repeat(20_000) + "***" + &"y".repeat(20_000);
    assert_eq!(String::from_utf8(shown).expect("utf-8"), expected);
}

#[test]
fn an_overlong_secret_is_not_shown_and_closes_the_log() {
    let mut sanitizer = sanitizer(Mode::Masked, &[]);
    let suppressed = Sanitized::Suppressed(Suppressed::AddMask);
    assert_eq!(sanitizer.part(OUT, b"::add-mask::xxxx", 0, true), suppressed);
    assert_eq!(sanitizer.part(OUT, b"yyyy", 1, false), suppressed);
    assert_eq!(body(&mut sanitizer, "z"), Withheld::TooManyValues.as_str());
}

proptest! {
    #[test]
    fn a_learned_value_never_occurs_in_what_is_sent(
        value in "[ -)+-~]{6,30}",
        lines in proptest::collection::vec(("[a-z\x1b\\[;:%#=\r ]{0,30}", 0..6_usize, "[a-z0-9=: ]{0,20}"), 1..6),
    ) {
        prop_assume!(value.trim_ascii().len() >= 6);
        let value = value.trim_ascii();
        let mut sanitizer = sanitizer(Mode::Masked, &[]);
        let told = format!("::add-mask::{}", value.replace('%', "%25"));
        prop_assert_eq!(body(&mut sanitizer, &told), "AddMask");
        for (before, how, after) in lines {
            let said = match how {
                0 => value.to_owned(),
                1 => value.chars().map(String::from).collect::<Vec<_>>().join("\x1b[0m"),
                2 => value.replace('"', "\\\""),
                3 => format!("::error file={value}::{value}"),
                4 => format!("\r::notice title={value}::{value}"),
                _ => format!("##[group]{value}"),
            };
            let text = format!("{before}{said}{after}");
            let Sanitized::Record(record) = sanitizer.line(OUT, text.as_bytes()) else { continue };
            let mut shown = vec![record.body.into_owned()];
            shown.extend(record.original);
            shown.extend(record.group.map(|group| group.as_bytes().to_vec()));
            let place = record.place.unwrap_or_default();
            shown.extend([place.file, place.title].into_iter().flatten().map(String::into_bytes));
            for shown in shown {
                let found = shown.windows(value.len()).any(|window| window == value.as_bytes());
                prop_assert!(!found, "{value:?} in {:?}", String::from_utf8_lossy(&shown));
            }
        }
    }

    #[test]
    fn any_bytes_are_taken_and_refining_twice_is_refining_once(
        lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 1..6),
    ) {
        let mut sanitizer = sanitizer(Mode::Masked, &["abc", "q"]);
        for line in &lines {
            if let Sanitized::Record(record) = sanitizer.line(OUT, line) {
                let mut again = self::sanitizer(Mode::Masked, &["abc", "q"]);
                let once = record.body.into_owned();
                if workflow_command::may_be_command(&once) || once.ends_with(b"\r") {
                    continue;
                }
                prop_assert_eq!(again.line(OUT, &once), Sanitized::Record(Record {
                    body: Cow::Borrowed(&once),
                    severity: Severity::Unspecified,
                    command: None,
                    place: None,
                    group: None,
                    masked: 0,
                    truncated_bytes: 0,
                    withheld: None,
                    unproven: false,
                    original: None,
                }));
            }
        }
    }
}

#[test]
fn a_line_with_more_to_mask_than_can_be_held_is_withheld_alone() {
    let mut sanitizer = sanitizer(Mode::Masked, &["a"]);
    let withheld = |sanitized: Sanitized<'_>| match sanitized {
        Sanitized::Record(record) => record.withheld,
        Sanitized::Suppressed(why) => panic!("{why:?}"),
    };
    assert_eq!(withheld(sanitizer.line(OUT, &b"ab".repeat(100_000))), Some(Withheld::TooMuchWork));
    assert_eq!(withheld(sanitizer.line(OUT, &b"ab".repeat(1000))), None);
    assert!(sanitizer.found.capacity() <= KEPT_FOUND, "room for one line is not kept for the next");
}
