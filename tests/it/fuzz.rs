//! The fuzzer's targets on generated input, so that they are run by every toolchain.

use proptest::prelude::*;

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

proptest! {
    #[test]
    fn the_masker_holds_what_it_promises(data in input()) {
        targets::masker(&data);
    }

    #[test]
    fn the_refiner_holds_what_it_promises(data in input()) {
        targets::refiner(&data);
    }

    #[test]
    fn the_line_parser_holds_what_it_promises(
        stamp in "[0-9TZ:.+-]{0,35}", tag in "[PF:x]{0,4}", text in input(), raw in input(),
    ) {
        let record = [format!("{stamp} stdout {tag} ").as_bytes(), &text].concat();
        targets::line(&record);
        targets::line(&raw);
    }
}
