//! Values that init is to mask in the container's log. The runner masks by itself what it shows;
//! the node's log is written before it sees a byte.

/// Parts of names whose values are taken for secrets.
const MARKS: [&str; 8] =
    ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "PRIVATE", "CREDENTIAL", "API_KEY", "APIKEY"];
/// Shorter values would mask half of every line.
const MIN_CHARS: usize = 6;
/// Most values of a step.
const MOST: usize = 64;

/// Values of variables that sound secret.
pub(super) fn of(env: &[(String, String)]) -> Vec<String> {
    env.iter()
        .filter(|(name, _)| {
            let name = name.to_ascii_uppercase();
            MARKS.iter().any(|mark| name.contains(mark))
        })
        .map(|(_, value)| value.clone())
        .filter(|value| value.chars().count() >= MIN_CHARS && !is_plain(value))
        .take(MOST)
        .collect()
}

/// Paths, links and switches are nobody's secret, and are in every log.
fn is_plain(value: &str) -> bool {
    value.starts_with('/')
        || value.starts_with("http://")
        || value.starts_with("https://")
        || value.eq_ignore_ascii_case("false")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_sound_secret_are_masked_and_ordinary_ones_are_not() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let env = [
            pair("INPUT_TOKEN", "ghs_abcdef"),
            pair("DB_PASSWORD", "hunter2"),
            pair("TOKEN_URL", "https://example.org/"),
            pair("NO_SECRET", "abc"),
            pair("HOME", "/github/home-of-all"),
        ];
        assert_eq!(of(&env), ["ghs_abcdef", "hunter2"]);
    }
}
