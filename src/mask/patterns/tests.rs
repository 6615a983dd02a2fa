//! Text that is masked as a token, and text that is not.

use proptest::prelude::*;

use super::{super::merge, *};
use crate::replace;

fn masked(pem: &mut Pem, text: &[u8]) -> String {
    let (mut found, mut out) = (Vec::new(), Vec::new());
    find(text, pem, &mut found);
    merge(&mut found);
    replace(text, &found, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn check(text: &str, expected: &str) {
    assert_eq!(masked(&mut Pem::default(), text.as_bytes()), expected, "{text}");
    // The result must not contain a token again.
    assert_eq!(masked(&mut Pem::default(), expected.as_bytes()), expected, "twice: {text}");
}

#[test]
fn tokens_are_masked() {
    let (x16, x36) = ("A1B2C3D4E5F6G7H8", "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hI6");
    for prefix in ["ghp", "gho", "ghu", "ghs", "ghr"] {
        check(&format!("token={prefix}_{x36}."), "token=***.");
    }
    check(&format!("ghs_{x36}.eyJ_abc-d.sig, next"), "***, next");
    check(&format!("(github_pat_{x36}_{x36})"), "(***)");
    check("glpat-aB3dE6gH9jK2mN5pQ8sT x", "*** x");
    check(&format!("npm_{x36} x"), "*** x");
    check(&format!("id AKIA{x16}, ASIA{x16}"), "id ***, ***");
    check(&format!("AWS_SECRET_ACCESS_KEY={x36}+/aB\n"), "AWS_SECRET_ACCESS_KEY=***\n");
    check(&format!("\"SecretAccessKey\": \"{x36}+/aB\""), "\"SecretAccessKey\": \"***\"");
    check("xoxb-1234567890-abcdef x", "*** x");
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P";
    check(&format!("id_token: {jwt}!"), "id_token: ***!");
    check(&format!("sk-ant-api03-{x36} sk-{x36} sk-proj-{x16}{x16}"), "*** *** ***");
    check(
        "curl https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
        "curl https://hooks.slack.com/***",
    );
    check("git clone https://bob:p@ss@host/x.git", "git clone https://***@host/x.git");
    check("redis://:hunter2@db:6379 postgres://u:p@h/d", "redis://***@db:6379 postgres://***@h/d");
    check("Authorization: Bearer abc.def_ghi=", "Authorization: Bearer ***");
    check("{\"authorization\":\"basic Ym9iOmh1bnRlcg==\"}", "{\"authorization\":\"basic ***\"}");
    check("http.extraheader=AUTHORIZATION: basic eGFjY2Vzcw==", {
        "http.extraheader=AUTHORIZATION: basic ***"
    });
}

#[test]
fn ordinary_text_is_left_alone() {
    for text in [
        "the task-runner-with-a-very-long-name-and-more-of-it is at risk-",
        "https://github.com/owner/repo@v1 http://user@host/ see a://b c",
        "npm_config_registry=https://registry.npmjs.org/ npm_lifecycle_event=build",
        "ghp_short github_pat_ glpat-1 AKIA AKIAlowercase123456 XAKIAA1B2C3D4E5F6G7H8",
        "eyJ.eyJ.eyJ eyJhbGciOiJIUzI1NiJ9 eyJhbGciOiJIUzI1NiJ9.x",
        "Authorization: required; authorization bearer of news; PRIVATE KEY",
        "secret_access_key is not set: 0123456789",
        "-----BEGIN CERTIFICATE-----",
        "-----END PRIVATE KEY-----",
        "0123456789abcdef0123456789abcdef01234567",
    ] {
        check(text, text);
    }
}

#[test]
fn a_private_key_is_masked_in_a_line_and_over_lines() {
    check(
        "key: -----BEGIN RSA PRIVATE KEY-----\\nMIIE\\n-----END RSA PRIVATE KEY-----\\n, x",
        "key: ***\\n, x",
    );
    let mut pem = Pem::default();
    let lines = [
        ("before", "before"),
        (" -----BEGIN OPENSSH PRIVATE KEY-----", " ***"),
        ("b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz", "***"),
        ("12:00:01 b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAA== |", "12:00:01 *** |"),
        ("c2g= ", "***"),
        (" -----END OPENSSH PRIVATE KEY----- done", "*** done"),
        ("b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz", ""),
    ];
    for (line, expected) in lines {
        let expected = if expected.is_empty() { line } else { expected };
        assert_eq!(masked(&mut pem, line.as_bytes()), expected);
    }
    masked(&mut pem, b"-----BEGIN PRIVATE KEY-----");
    for _ in 0..300 {
        masked(&mut pem, b"words of a log");
    }
    assert_eq!(masked(&mut pem, b"words"), "words", "a key that never ends is given up");
}

#[test]
fn a_hostile_line_costs_no_more_than_a_walk_or_two() {
    // If runs were scanned repeatedly, each of these would take hours.
    for unit in ["eyJ", "eyJ-", "://", "://a", "ghp_", "sk-", "xoxb-", "PRIVATE KEY", "npm_"] {
        masked(&mut Pem::default(), unit.repeat(300_000).as_bytes());
    }
    masked(&mut Pem::default(), "-----BEGIN PRIVATE KEY".repeat(50_000).as_bytes());
    masked(
        &mut Pem::default(),
        "-----BEGIN PRIVATE KEY-----END PRIVATE KEY".repeat(9999).as_bytes(),
    );
}

proptest! {
    #[test]
    fn any_bytes_are_taken_and_masking_twice_is_masking_once(
        pieces in proptest::collection::vec(
            prop_oneof![
                proptest::sample::select(MARKS.map(|(mark, _)| mark.to_owned()).to_vec()),
                "[A-Za-z0-9_.@:/ =*-]{0,50}",
                Just("-----".to_owned()),
                Just("-----BEGIN ".to_owned()),
                Just("-----END ".to_owned()),
                Just("Authorization: Bearer ".to_owned()),
            ],
            0..12,
        ),
    ) {
        let once = masked(&mut Pem::default(), pieces.concat().as_bytes());
        prop_assert_eq!(masked(&mut Pem::default(), once.as_bytes()), once);
    }
}
