//! Finds well-known kinds of tokens by their form, as the last safeguard in addition to the known
//! values. One vectorised search finds the few places where a token may be; small rules check each
//! of them. Every rule is linear in the length of the line: a run of characters is scanned only
//! once.

mod pem;
mod rule;

use std::{ops::Range, sync::LazyLock};

use aho_corasick::{AhoCorasick, MatchKind};

pub use self::pem::Pem;
use self::{pem::PRIVATE_KEY, rule::Rule};

/// A text that every token of a kind contains, and the rule that checks the place.
const MARKS: [(&str, Rule); 33] = [
    ("ghp_", Rule::GitHub),
    ("gho_", Rule::GitHub),
    ("ghu_", Rule::GitHub),
    ("ghs_", Rule::GitHub),
    ("ghr_", Rule::GitHub),
    ("github_pat_", Rule::GitHub),
    ("glpat-", Rule::GitLab),
    ("npm_", Rule::Npm),
    ("AKIA", Rule::AwsId),
    ("ASIA", Rule::AwsId),
    ("ecret_access_key", Rule::AwsSecret),
    ("ECRET_ACCESS_KEY", Rule::AwsSecret),
    ("ecretAccessKey", Rule::AwsSecret),
    ("ecret-access-key", Rule::AwsSecret),
    ("xoxa-", Rule::Slack),
    ("xoxb-", Rule::Slack),
    ("xoxp-", Rule::Slack),
    ("xoxr-", Rule::Slack),
    ("xoxs-", Rule::Slack),
    ("xoxe.", Rule::Slack),
    ("xapp-", Rule::Slack),
    ("hooks.slack.com/", Rule::SlackHook),
    ("eyJ", Rule::Jwt),
    ("sk-ant-", Rule::Key),
    ("sk-proj-", Rule::Key),
    ("sk-svcacct-", Rule::Key),
    ("sk-admin-", Rule::Key),
    ("sk-or-", Rule::Key),
    ("sk-", Rule::BareKey),
    ("://", Rule::Userinfo),
    ("uthorization", Rule::Authorization),
    ("UTHORIZATION", Rule::Authorization),
    (PRIVATE_KEY, Rule::PrivateKey),
];

/// The automaton of the marks, built for the first line.
static SEARCH: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostFirst)
        .build(MARKS.map(|(mark, _)| mark))
        .ok()
});

/// Adds the tokens to `found`, in no particular order. `pem` is the state of the stream whose next
/// line is `text`, because a private key has many lines.
pub fn find(text: &[u8], pem: &mut Pem, found: &mut Vec<Range<usize>>) {
    if let Some(search) = &*SEARCH {
        // How far each rule has scanned without finding a token: no token begins before that.
        let mut walked = [0; Rule::COUNT];
        for mark in search.find_iter(text) {
            let Some((_, rule)) = MARKS.get(mark.pattern().as_usize()) else { continue };
            if *rule == Rule::PrivateKey {
                pem.marker(text, mark.range());
                continue;
            }
            let Some(walked) = walked.get_mut(*rule as usize) else { continue };
            if mark.start() < *walked {
                continue;
            }
            let (end, token) = rule.judge(text, mark.range());
            *walked = end;
            found.extend(token);
        }
    }
    pem.end_line(text, found);
}

#[cfg(test)]
mod tests;
