//! Rules that decide whether the text at a mark is a token.

use std::ops::Range;

/// How a place is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// `ghp_` and similar, `github_pat_`; tokens of an app's installation may contain a JWT.
    GitHub,
    /// `glpat-`.
    GitLab,
    /// `npm_` and 36 letters and digits.
    Npm,
    /// `AKIA`, `ASIA` and 16 upper-case letters and digits.
    AwsId,
    /// 40 characters after the name `secret_access_key`.
    AwsSecret,
    /// `xoxb-` and similar.
    Slack,
    /// The path of an incoming webhook.
    SlackHook,
    /// Three parts of base64url, separated by dots.
    Jwt,
    /// `sk-ant-` and others with the name of the issuer.
    Key,
    /// `sk-` and a long word.
    BareKey,
    /// `user:password@` of a URL.
    Userinfo,
    /// The credentials of an `Authorization` header.
    Authorization,
    /// A marker line of PEM; [`super::Pem`] handles it.
    PrivateKey,
}

/// A password in a URL is searched for in so many bytes.
const USERINFO_BYTES_MAX: usize = 1024;
/// Length of the longest text between a name and its value: `": "`, `=`, `=> '`.
const GAP_BYTES_MAX: usize = 8;

// === impl Rule ===

impl Rule {
    /// Number of rules.
    pub(super) const COUNT: usize = 13;

    /// Returns how far it scanned, and the token if there is one. `mark` is the position of the
    /// mark.
    pub(super) fn judge(self, text: &[u8], mark: Range<usize>) -> (usize, Option<Range<usize>>) {
        let Range { start, end } = mark;
        let apart = !before(text, start).is_some_and(is_word);
        match self {
            Self::GitHub => {
                let stop = run(text, end, |byte| is_word(byte) || byte == b'.');
                // The punctuation of a sentence may follow.
                let last = trim_back(text, stop, b".-");
                (stop, (last >= end + 30).then_some(start..last))
            }
            Self::GitLab => {
                let stop = run(text, end, |byte| is_word(byte) || byte == b'.');
                let last = trim_back(text, stop, b".");
                (stop, (last >= end + 16).then_some(start..last))
            }
            Self::Npm => {
                let stop = run(text, end, |byte| byte.is_ascii_alphanumeric());
                (stop, (stop >= end + 36).then_some(start..stop))
            }
            Self::AwsId => {
                let capital = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
                let stop = run(text, end, capital);
                let whole = apart && stop == end + 16 && !after(text, stop).is_some_and(is_word);
                (stop, whole.then_some(start..stop))
            }
            Self::AwsSecret => aws_secret(text, end),
            Self::Slack => {
                let stop = run(text, end, is_word);
                (stop, (stop >= end + 10).then_some(start..stop))
            }
            Self::SlackHook => {
                let stop = run(text, end, |byte| is_word(byte) || byte == b'/');
                (stop, (stop >= end + 24).then_some(end..stop))
            }
            Self::Jwt => jwt(text, start),
            Self::Key => {
                let stop = run(text, end, is_word);
                (stop, (apart && stop >= end + 16).then_some(start..stop))
            }
            Self::BareKey => {
                let stop = run(text, end, |byte| byte.is_ascii_alphanumeric());
                (stop, (apart && stop >= end + 32).then_some(start..stop))
            }
            Self::Userinfo => userinfo(text, end),
            Self::Authorization => authorization(text, end),
            Self::PrivateKey => (end, None),
        }
    }
}

fn aws_secret(text: &[u8], from: usize) -> (usize, Option<Range<usize>>) {
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
    let gap = run(text, from, |byte| b" \t\"'\\:=>".contains(&byte));
    let stop = run(text, gap, base64);
    let fits = gap > from && gap <= from + GAP_BYTES_MAX && stop == gap + 40;
    (stop, fits.then_some(gap..stop))
}

fn jwt(text: &[u8], start: usize) -> (usize, Option<Range<usize>>) {
    let header = run(text, start, is_word);
    if after(text, header) != Some(b'.') || header < start + 12 {
        return (header, None);
    }
    let payload = run(text, header + 1, is_word);
    if after(text, payload) != Some(b'.') || payload < header + 9 {
        return (header, None);
    }
    // The signature, or the rest of an encrypted one; empty if it is not signed.
    let stop = run(text, payload, |byte| is_word(byte) || byte == b'.');
    (stop, Some(start..stop))
}

fn userinfo(text: &[u8], from: usize) -> (usize, Option<Range<usize>>) {
    let inside = |byte: u8| !b"/?#@\"'<>`\\".contains(&byte) && byte > b' ';
    let window = text.get(..from.saturating_add(USERINFO_BYTES_MAX)).unwrap_or(text);
    let mut stop = run(window, from, inside);
    if after(window, stop) != Some(b'@') {
        return (stop, None);
    }
    // A password may contain an unescaped `@`: the last one before the host counts.
    loop {
        let next = run(window, stop + 1, inside);
        if after(window, next) != Some(b'@') {
            break;
        }
        stop = next;
    }
    let password = window.get(from..stop).is_some_and(|info| info.contains(&b':'));
    (stop, password.then_some(from..stop))
}

fn authorization(text: &[u8], from: usize) -> (usize, Option<Range<usize>>) {
    let gap = run(text, from, |byte| b" \t\"'\\:=>".contains(&byte));
    let scheme = run(text, gap, |byte| byte.is_ascii_alphabetic());
    let word = text.get(gap..scheme).unwrap_or_default();
    let known = [b"bearer".as_slice(), b"basic", b"token"];
    let start = run(text, scheme, |byte| byte == b' ');
    if gap == from
        || gap > from + GAP_BYTES_MAX
        || start == scheme
        || !known.iter().any(|known| word.eq_ignore_ascii_case(known))
    {
        return (scheme, None);
    }
    let stop = run(text, start, |byte| is_word(byte) || b".~+/=".contains(&byte));
    (stop, (stop >= start + 8).then_some(start..stop))
}

/// The end of the run of such bytes that begins at `from`.
fn run(text: &[u8], from: usize, of: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + rest.iter().position(|byte| !of(*byte)).unwrap_or(rest.len())
}

fn trim_back(text: &[u8], end: usize, of: &[u8]) -> usize {
    let head = text.get(..end).unwrap_or_default();
    head.iter().rposition(|byte| !of.contains(byte)).map_or(0, |last| last + 1)
}

fn before(text: &[u8], at: usize) -> Option<u8> {
    text.get(at.checked_sub(1)?).copied()
}

fn after(text: &[u8], at: usize) -> Option<u8> {
    text.get(at).copied()
}

/// A character of base64url, which most tokens consist of.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}
