//! How a command reaches Prometheus or an agent: a URL, certificates, a token or a password.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ephemon_otel::{Asked, SetupError, WebClient, WebError};
use hyper::header::HeaderValue;
use hyper::{StatusCode, Uri};

/// A token or password is shorter.
const MOST_SECRET_BYTES: u64 = 64 << 10;
/// Most characters of an answer that are repeated in an error.
const MOST_SAID_CHARS: usize = 200;

/// Flags of commands that ask a server.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct WebAccess {
    /// Send the token in this file with each request
    #[arg(long, value_name = "FILE", conflicts_with = "user")]
    pub(super) bearer_token_file: Option<PathBuf>,

    /// Send this user name, with the password in --password-file
    #[arg(long, value_name = "NAME", requires = "password_file")]
    pub(super) user: Option<String>,

    /// The file with the password of --user
    #[arg(long, value_name = "FILE", requires = "user")]
    pub(super) password_file: Option<PathBuf>,

    /// Trust the certificates in this file (PEM) instead of the system's
    #[arg(long, value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
}

/// Why a server gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// No URL.
    #[error("{url:?} is no URL of a server: {why}; write http://HOST:PORT or https://HOST/PATH")]
    Url {
        /// As given; nothing of it where it may hold a password.
        url: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A file cannot be read.
    #[error("cannot read {}, which {flag} names: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The flag.
        flag: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// A file has other content.
    #[error("{}, which {flag} names, contains no {wanted}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The flag.
        flag: &'static str,
        /// What it should.
        wanted: &'static str,
    },
    /// No TLS.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// No answer.
    #[error("cannot ask {url}: {source}{}", hint(source))]
    NoAnswer {
        /// The server.
        url: Uri,
        /// The cause.
        source: WebError,
    },
    /// A refusal.
    #[error("{url} answers with status {status}{}{said}", status_hint(*status))]
    Status {
        /// The server.
        url: Uri,
        /// The status.
        status: StatusCode,
        /// The beginning of the answer.
        said: String,
    },
}

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) url: Uri,
    client: WebClient,
}

// === impl WebAccess ===

impl WebAccess {
    /// The server at this URL, by these flags and the proxy variables.
    pub(super) fn server(&self, url: &str, timeout: Duration) -> Result<Server, Error> {
        let url = parsed(url)?;
        if let Some(path) = &self.ca_file {
            let text = read(path, "--ca-file")?;
            if !text.contains("-----BEGIN CERTIFICATE-----") {
                let wanted = "certificate in PEM format";
                return Err(Error::Content { path: path.clone(), flag: "--ca-file", wanted });
            }
        }
        let authorization = self.authorization()?;
        if authorization.is_some() && is_readable_by_others(&url) {
            warn(&url);
        }
        let lookup = |name: &str| std::env::var(name).ok();
        let client =
            WebClient::new(url.clone(), self.ca_file.clone(), authorization, timeout, lookup)?;
        Ok(Server { url, client })
    }

    fn authorization(&self) -> Result<Option<HeaderValue>, Error> {
        let secret = |path: &Path, flag| {
            let text = read(path, flag)?;
            let text = text.trim_end_matches(['\r', '\n']).to_owned();
            let wanted = "secret in one line";
            let is_one = !text.is_empty() && !text.contains(char::is_control);
            is_one.then_some(text).ok_or(Error::Content { path: path.to_owned(), flag, wanted })
        };
        let (value, path, flag) = if let Some(path) = &self.bearer_token_file {
            let flag = "--bearer-token-file";
            (format!("Bearer {}", secret(path, flag)?), path, flag)
        } else if let (Some(user), Some(path)) = (&self.user, &self.password_file) {
            let flag = "--password-file";
            let pair = format!("{user}:{}", secret(path, flag)?);
            (format!("Basic {}", BASE64_STANDARD.encode(pair)), path, flag)
        } else {
            return Ok(None);
        };
        let mut value = HeaderValue::from_str(&value).map_err(|_| Error::Content {
            path: path.clone(),
            flag,
            wanted: "secret that fits a header",
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

// === impl Server ===

impl Server {
    /// The body of a successful answer.
    pub(super) async fn get(
        &self,
        path: &str,
        accept: &'static str,
        most: usize,
    ) -> Result<Vec<u8>, Error> {
        let (status, body) = self.ask(path, accept, most).await?;
        if !status.is_success() {
            return Err(self.refused(status, &body));
        }
        Ok(body)
    }

    /// Status and body.
    pub(super) async fn ask(
        &self,
        path: &str,
        accept: &'static str,
        most: usize,
    ) -> Result<(StatusCode, Vec<u8>), Error> {
        let answer = self.client.get(Asked { path, accept, most }).await;
        let (status, body) =
            answer.map_err(|source| Error::NoAnswer { url: self.url.clone(), source })?;
        Ok((status, body.into()))
    }

    /// The error of an answer with another status than success.
    pub(super) fn refused(&self, status: StatusCode, body: &[u8]) -> Error {
        let text = String::from_utf8_lossy(body);
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let said: String =
            line.chars().filter(|letter| !letter.is_control()).take(MOST_SAID_CHARS).collect();
        let said = if said.is_empty() { said } else { format!(": {said}") };
        Error::Status { url: self.url.clone(), status, said }
    }
}

fn parsed(text: &str) -> Result<Uri, Error> {
    let wrong = |why| Error::Url { url: text.to_owned(), why };
    // A user name and a password would be in the process list.
    if text.contains('@') {
        let why = "a user name belongs in --user, its password in --password-file";
        return Err(Error::Url { url: String::new(), why });
    }
    // A query may have a token.
    if text.contains('?') {
        return Err(Error::Url { url: String::new(), why: "it has a query" });
    }
    let url: Uri = text.parse().map_err(|_| wrong("it cannot be read"))?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err(wrong("its scheme is neither http nor https"));
    }
    if url.host().is_none_or(str::is_empty) {
        return Err(wrong("it has no host"));
    }
    Ok(url)
}

/// Whether what is sent there leaves this machine in plain text.
fn is_readable_by_others(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let address = host.parse::<std::net::IpAddr>().ok();
    let is_here =
        host.eq_ignore_ascii_case("localhost") || address.is_some_and(|it| it.is_loopback());
    url.scheme_str() == Some("http") && !is_here
}

#[expect(clippy::print_stderr, reason = "whoever asks must know before a second time")]
fn warn(url: &Uri) {
    eprintln!(
        "ephemon: {url} has no TLS: whoever is on the way can read the token or password; use https:// or a \
         port-forward to localhost"
    );
}

fn read(path: &Path, flag: &'static str) -> Result<String, Error> {
    let failed = |source| Error::File { path: path.to_owned(), flag, source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MOST_SECRET_BYTES * 16).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

fn hint(error: &WebError) -> &'static str {
    match error {
        WebError::Connection(why) if why.contains("certificate") => {
            "; --ca-file names the certificates to trust"
        }
        WebError::Connection(_) => "; is the URL right, and is a port-forward needed?",
        WebError::Timeout(_) => "; ask for less at a time",
        WebError::TooLarge(_) => "; ask for less",
    }
}

fn status_hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "; --bearer-token-file, or --user with --password-file, say who you are"
        }
        StatusCode::NOT_FOUND => "; is the URL the server's root?",
        _ if status.is_redirection() => "; use the URL that it leads to",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(access: &WebAccess, url: &str) -> String {
        access.server(url, Duration::from_secs(1)).unwrap_err().to_string()
    }

    #[test]
    fn an_address_that_is_no_url_is_said_so_and_a_password_is_not_repeated() {
        let access = WebAccess::default();
        for url in ["", "prometheus", "ftp://x", "http:///x", "http://x/?a=b"] {
            let said = refused(&access, url);
            assert!(said.contains("http://HOST:PORT"), "{url}: {said}");
        }
        for url in ["https://x/?token=hunter2", "prometheus?token=hunter2"] {
            let said = refused(&access, url);
            assert!(said.contains("it has a query") && !said.contains("hunter2"), "{said}");
        }
        let said = refused(&access, "http://me:hunter2@prometheus:9090");
        assert!(said.contains("--password-file") && !said.contains("hunter2"), "{said}");
    }

    #[test]
    fn a_secret_is_readable_without_tls_unless_it_stays_here() {
        for (url, expected) in [
            ("http://prometheus:9090", true),
            ("http://10.0.0.7:9911", true),
            ("http://localhost.example/", true),
            ("https://prometheus", false),
            ("http://localhost:9090", false),
            ("http://127.0.0.1:9090", false),
            ("http://[::1]:9090", false),
        ] {
            assert_eq!(is_readable_by_others(&url.parse().unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn files_are_named_with_their_flags_and_secrets_are_not_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "top secret\nsecond line\n").unwrap();
        let token = WebAccess { bearer_token_file: Some(path.clone()), ..WebAccess::default() };
        let said = refused(&token, "http://x");
        assert!(said.contains("--bearer-token-file") && !said.contains("secret\n"), "{said}");
        let ca = WebAccess { ca_file: Some(path.clone()), ..WebAccess::default() };
        assert!(refused(&ca, "https://x").contains("--ca-file names, contains no certificate"));
        let none = WebAccess { ca_file: Some("/nowhere".into()), ..WebAccess::default() };
        assert!(refused(&none, "https://x").contains("/nowhere"));
        std::fs::write(&path, "hunter22\n").unwrap();
        let user = Some("me".to_owned());
        let basic = WebAccess { user, password_file: Some(path), ..WebAccess::default() };
        let server = basic.server("http://x", Duration::from_secs(1)).unwrap();
        assert!(!format!("{server:?} {basic:?}").contains("hunter22"));
        assert_eq!(basic.authorization().unwrap().unwrap(), "Basic bWU6aHVudGVyMjI=");
    }
}
