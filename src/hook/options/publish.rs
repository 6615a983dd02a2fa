//! `--publish` in the form of `ports:`.

/// Converts the long form (`published=8080,target=80,protocol=udp`; docker/cli,
/// `convertToStandardNotation`) to the short one; any other text is returned unchanged.
pub(super) fn in_short(text: &str) -> String {
    if !text.contains('=') {
        return text.to_owned();
    }
    let (mut published, mut target, mut protocol) = ("", "", "tcp");
    for (key, value) in text.split(',').filter_map(|field| field.split_once('=')) {
        match key.to_ascii_lowercase().as_str() {
            "published" => published = value,
            "target" => target = value,
            "protocol" => protocol = value,
            _ => {}
        }
    }
    let colon = if published.is_empty() { "" } else { ":" };
    format!("{published}{colon}{target}/{protocol}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_long_form_is_the_short_one() {
        assert_eq!(in_short("8080:80"), "8080:80");
        assert_eq!(in_short("published=8080,target=80"), "8080:80/tcp");
        assert_eq!(in_short("target=53,protocol=udp,mode=host"), "53/udp");
    }
}
