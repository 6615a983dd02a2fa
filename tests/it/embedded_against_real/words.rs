//! Words that differ from run to run and from node to node, replaced by what they are. Pure.

/// A text with the node's own words replaced, then ids and times.
pub(super) fn neutral(text: &str, own: &[(String, &'static str)]) -> String {
    let mut text = text.to_owned();
    for (word, place) in own.iter().filter(|(word, _)| !word.is_empty()) {
        text = text.replace(word.as_str(), place);
    }
    let mut neutral = String::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-:.".contains(c);
        let end = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
        let (token, after) = rest.split_at(end);
        neutral.push_str(&of_token(token));
        let next = after.find(is_part).unwrap_or(after.len());
        let (between, later) = after.split_at(next);
        neutral.push_str(between);
        rest = later;
    }
    neutral
}

fn of_token(token: &str) -> String {
    // Punctuation at a token's end is not part of it.
    let bare = token.trim_end_matches([':', '.', '-']);
    let tail = token.strip_prefix(bare).unwrap_or_default();
    // The cgroup of a pod is named so.
    if let Some(uid) = bare.strip_prefix("pod").filter(|uid| is_uid(uid)) {
        return format!("pod{}{tail}", of_token(uid));
    }
    let place = if bare.len() == 64 && is_hexadecimal(bare) {
        "ID"
    } else if is_uid(bare) {
        "UID"
    } else if bare.parse::<jiff::Timestamp>().is_ok() {
        "TIME"
    } else {
        bare
    };
    format!("{place}{tail}")
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_uid(text: &str) -> bool {
    text.len() == 36 && is_hexadecimal(&text.replace('-', ""))
}

/// A run of more than ten equal characters, shown by its length.
pub(super) fn shortened(text: &str) -> String {
    let mut shown = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let mut count = 1;
        while characters.next_if_eq(&character).is_some() {
            count += 1;
        }
        if count > 10 {
            shown.extend([character.to_string(), "*".to_owned(), count.to_string()]);
        } else {
            shown.extend(std::iter::repeat_n(character, count));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_times_are_replaced_and_words_are_not() {
        let id = "0123456789abcdef".repeat(4);
        let text = format!("containerd://{id} at 2026-11-23T12:19:15.5Z: 70 of 701 (12ab), IMG.");
        let own = [("IMG".to_owned(), "IMAGE")];
        assert_eq!(neutral(&text, &own), "containerd://ID at TIME: 70 of 701 (12ab), IMAGE.");
        assert_eq!(neutral("pod 0e269fa4-f505-4963-9096-958063077203!", &[]), "pod UID!");
        let cgroup = "burstable/pod0e269fa4-f505-4963-9096-958063077203";
        assert_eq!(neutral(cgroup, &[]), "burstable/podUID");
    }

    #[test]
    fn long_runs_are_shown_by_their_length() {
        assert_eq!(shortened(&format!("ab{}c", "x".repeat(20))), "abx*20c");
        assert_eq!(shortened("aab"), "aab");
    }
}
