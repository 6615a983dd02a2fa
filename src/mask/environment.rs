//! Finds the variables of an environment that contain secrets, by their names and by the form of
//! their values, so that they are masked from the first line of output. Pure, std only.
//!
//! The runner knows a job's secrets and masks what it shows, but the container's log is written
//! before the runner reads the output.

/// Parts of names whose values are secrets.
const MARKS: [&str; 12] = [
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "PRIVATE",
    "CREDENTIAL",
    "APIKEY",
    "WEBHOOK",
    "CONNECTIONSTRING",
    "CONNECTION_STRING",
    "CONN_STR",
];
/// The same for whole words of a name.
const WORDS: [&str; 16] = [
    "KEY",
    "KEYS",
    "PWD",
    "PASS",
    "AUTH",
    "DSN",
    "CERT",
    "PAT",
    "JWT",
    "SAS",
    "OTP",
    "PEM",
    "PFX",
    "SALT",
    "COOKIE",
    "SIGNATURE",
];
/// Names with such words that contain no secret: every job has a cache key and the working
/// directory.
const PLAIN_NAMES: [&str; 8] = [
    "PWD",
    "OLDPWD",
    "KEY",
    "INPUT_KEY",
    "INPUT_RESTORE_KEYS",
    "RESTORE_KEYS",
    "CACHE_KEY",
    "SSH_AUTH_SOCK",
];
/// Last words of names whose values are paths of secrets.
const PLACES: [&str; 4] = ["FILE", "PATH", "DIR", "SOCK"];
/// Directories of the runner's and the system's own files. A secret in base64 may begin with `/`,
/// too.
const ROOTS: [&str; 11] = [
    "/github/", "/__w/", "/__e/", "/__t/", "/home/", "/root/", "/tmp/", "/var/", "/etc/", "/usr/",
    "/run/",
];
/// Prefixes of well-known kinds of tokens.
const TOKENS: [&str; 14] = [
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "npm_",
    "xoxb-",
    "xoxp-",
    "xapp-",
    "sk-",
    "eyJ",
    "AKIA",
];
/// Names of the secret parts of a connection string, as written by ODBC, ADO.NET and Azure.
const PARTS: [&str; 6] =
    ["password", "pwd", "accountkey", "sharedaccesskey", "sharedaccesssignature", "sharedsecret"];
/// Shorter values would occur in too many lines.
const SECRET_CHARS_MIN: usize = 6;
/// Shorter values are not tokens.
const MIN_TOKEN_CHARS: usize = 16;
/// Most values of one environment.
const VARIABLES_LIMIT: usize = 512;

/// The secrets among these variables. A value with several lines is returned line by line, because
/// a log has single lines, and also as JSON writes it.
pub fn secrets<'a>(env: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let mut secrets = Vec::new();
    for (name, value) in env {
        if is_secret_name(name) && !is_plain(name, value) {
            tell(value, &mut secrets);
        } else {
            by_form(value, &mut secrets);
        }
        if secrets.len() >= VARIABLES_LIMIT {
            secrets.truncate(VARIABLES_LIMIT);
            break;
        }
    }
    secrets
}

fn is_secret_name(name: &str) -> bool {
    let name: String = name
        .chars()
        .map(|char| if char.is_ascii_alphanumeric() { char.to_ascii_uppercase() } else { '_' })
        .collect();
    if PLAIN_NAMES.contains(&name.as_str()) || name.split('_').any(|word| word == "PUBLIC") {
        return false;
    }
    MARKS.iter().any(|mark| name.contains(mark))
        || name.split('_').any(|word| WORDS.contains(&word))
}

/// Values with secret names that are not secret and occur in every log.
fn is_plain(name: &str, value: &str) -> bool {
    let names_a_place = || {
        let last = name.rsplit(['_', '-', '.']).next().unwrap_or_default();
        PLACES.iter().any(|place| last.eq_ignore_ascii_case(place))
    };
    let is_path = value.starts_with('/')
        && (names_a_place() || ROOTS.iter().any(|root| value.starts_with(root)));
    let is_switch = ["true", "false"].iter().any(|word| value.eq_ignore_ascii_case(word));
    is_path || is_switch || is_bare_url(value)
}

/// A URL with a host and nothing else.
fn is_bare_url(value: &str) -> bool {
    let rest = ["http://", "https://"].iter().find_map(|scheme| value.strip_prefix(scheme));
    rest.is_some_and(|rest| {
        let host = rest.trim_end_matches('/');
        !host.contains(['/', '?', '#', '@']) && !host.is_empty()
    })
}

/// The secret parts of a value whose name does not suggest a secret.
fn by_form(value: &str, secrets: &mut Vec<String>) {
    let is_word = !value.contains(char::is_whitespace);
    let is_token = is_word
        && value.len() >= MIN_TOKEN_CHARS
        && TOKENS.iter().any(|token| value.starts_with(token));
    if is_token || value.contains("PRIVATE KEY-----") {
        return tell(value, secrets);
    }
    if let Some(password) = userinfo(value) {
        tell(password, secrets);
    }
    for part in value.split(';') {
        let Some((name, secret)) = part.split_once('=') else { continue };
        let name: String = name.chars().filter(|char| !char.is_whitespace()).collect();
        if PARTS.contains(&name.to_ascii_lowercase().as_str()) {
            tell(secret, secrets);
        }
    }
}

/// The password of a URL with credentials, or the user name if it is alone, as with tokens.
fn userinfo(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (userinfo, _) = authority.rsplit_once('@')?;
    Some(userinfo.split_once(':').map_or(userinfo, |(_, password)| password))
}

fn tell(value: &str, secrets: &mut Vec<String>) {
    let value = value.trim();
    if value.contains('\n') {
        let escaped = value.replace('\r', "\\r").replace('\n', "\\n");
        let lines = value.lines().map(|line| line.trim().to_owned());
        secrets.extend(lines.chain([escaped]).filter(|text| is_long(text)));
    } else if is_long(value) {
        secrets.push(value.to_owned());
        // The parts of a URL, too, because programs print them separately.
        secrets.extend(userinfo(value).filter(|part| is_long(part)).map(str::to_owned));
    }
}

fn is_long(text: &str) -> bool {
    text.chars().count() >= SECRET_CHARS_MIN
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(name: &str, value: &str) -> Vec<String> {
        secrets([(name, value)])
    }

    #[test]
    fn a_value_is_secret_by_its_name_whatever_it_begins_with() {
        for (name, value) in [
            ("INPUT_TOKEN", "ghs_abcdef"),
            ("DB_PASSWORD", "hunter2"),
            ("AWS_SECRET_ACCESS_KEY", "/aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5hJ7"),
            ("DATABASE_PASSWORD_URL", "https://db.example.org/t/9f8e7d6c5b4a39281706"),
            ("SIGNING_PASSPHRASE", "correct horse battery"),
            ("DEPLOY_KEY", "AAAAB3NzaC1yc2E"),
            ("INPUT_API-KEY", "0123456789"),
            ("sentry.dsn", "https://example.org/4711"),
            ("SLACK_WEBHOOK", "https://hooks.example.org/T0/B0/x"),
            ("REDIS_AUTH", "opensesame"),
            ("MYSQL_PWD", "opensesame"),
            ("TLS_CERT", "MIIDdzCCAl8"),
        ] {
            assert!(of(name, value).contains(&value.to_owned()), "{name}");
        }
    }

    #[test]
    fn what_is_in_every_log_is_no_secret() {
        for (name, value) in [
            ("TOKEN_URL", "https://example.org/"),
            ("NO_SECRET", "abc"),
            ("HOME", "/github/home-of-all"),
            ("PWD", "/__w/repository/repository"),
            ("INPUT_KEY", "Linux-node-0123"),
            ("INPUT_RESTORE-KEYS", "Linux-node-"),
            ("GOOGLE_APPLICATION_CREDENTIALS", "/github/home/key.json"),
            ("SSH_PRIVATE_KEY_PATH", "/keys/id_ed25519"),
            ("INPUT_PERSIST-CREDENTIALS", "false"),
            ("PUBLIC_KEY", "AAAAB3NzaC1yc2E"),
            ("MONKEY_ISLAND", "a game of 1990"),
            ("REPOSITORY_URL", "https://github.com/octo/hello"),
        ] {
            assert_eq!(of(name, value), [""; 0], "{name}");
        }
    }

    #[test]
    fn a_value_is_secret_by_its_form_whatever_its_name() {
        assert_eq!(of("DATABASE_URL", "postgres://app:s3cr3t-w0rd@db:5432/app"), ["s3cr3t-w0rd"]);
        assert_eq!(of("REMOTE", "https://x-token-0123@git.example.org/r"), ["x-token-0123"]);
        let storage = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=abcd+/==;X=1";
        assert_eq!(of("STORAGE", storage), ["abcd+/=="]);
        assert_eq!(of("DB", "Server=db; User Id=sa; Password=hunter2;"), ["hunter2"]);
        assert_eq!(of("GH", "ghp_0123456789abcdef"), ["ghp_0123456789abcdef"]);
    }

    #[test]
    fn lines_of_a_value_are_told_but_for_those_that_are_in_every_text() {
        let key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nQ\n-----END PRIVATE KEY-----\n";
        let told = of("X", key);
        assert!(told.contains(&"MIIEvQIBADANBg".to_owned()) && !told.contains(&"Q".to_owned()));
        let told = of("GOOGLE_CREDENTIALS", "{\n  \"id\": \"0123456789\"\n}");
        assert_eq!(told, ["\"id\": \"0123456789\"", "{\\n  \"id\": \"0123456789\"\\n}"]);
    }

    proptest! {
        #[test]
        fn any_environment_is_taken(name in any::<String>(), value in any::<String>()) {
            prop_assert!(of(&name, &value).iter().all(|secret| is_long(secret)));
        }
    }
}
