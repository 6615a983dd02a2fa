//! Selects the proxy for a collector from the usual variables. Pure.
//!
//! `NO_PROXY` is interpreted as by curl: names including their subdomains (`.example.com` means the
//! same as `example.com`), addresses, networks (`10.0.0.0/8`), `*` for all; names and addresses may
//! have a port. As in Go, no proxy is used for a collector on this host.

use std::net::IpAddr;

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::http::uri::PathAndQuery;
use hyper_util::client::proxy::matcher::Matcher;
use percent_encoding::percent_decode_str;

/// An HTTP proxy. User and password are not in debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    uri: Uri,
    authorization: Option<HeaderValue>,
    secrets: Vec<String>,
    variable: String,
}

// === impl Proxy ===

impl std::fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Proxy({})", self.shown())
    }
}

impl Proxy {
    /// Parses the URL in a variable with this name; the default scheme is `http`. `None` if it is
    /// not a URL of an HTTP proxy.
    pub(crate) fn parse(variable: &str, value: &str) -> Option<Self> {
        let matcher = Matcher::builder().all(value).build();
        let proxy = matcher.intercept(&Uri::from_static("http://collector/"))?;
        let uri = proxy.uri();
        let authority = uri.authority()?.as_str();
        let said_port = authority.rsplit_once(':').map(|(_, port)| port);
        let is_v6 = authority.ends_with(']');
        // A part of a password that looks like a host or a port must not be shown.
        let is_odd = authority.contains('@')
            || (!is_v6 && said_port.is_some() && uri.port_u16().is_none())
            || (value.contains('@') && proxy.basic_auth().is_none());
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_host = uri.host().is_some_and(|host| !host.is_empty());
        (is_web && has_host && !is_odd).then(|| Self {
            uri: uri.clone(),
            authorization: proxy.basic_auth().cloned(),
            secrets: secrets(value),
            variable: variable.to_owned(),
        })
    }

    /// Scheme, host and port, without credentials, for a log.
    pub fn shown(&self) -> String {
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        format!("{}://{authority}", self.uri.scheme_str().unwrap_or("http"))
    }

    /// The variable that sets it.
    pub fn variable(&self) -> &str {
        &self.variable
    }

    /// The address to connect to.
    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The value of `Proxy-Authorization`.
    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// Texts that must be masked if a proxy repeats what it was sent.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let encoded = self.authorization.as_ref().and_then(|value| value.to_str().ok());
        let encoded = encoded.into_iter().flat_map(|value| value.split(' ')).skip(1);
        self.secrets.iter().map(String::as_str).chain(encoded)
    }
}

/// The password in a proxy's URL, encoded and decoded; without a password the user name, which may
/// be a token.
fn secrets(value: &str) -> Vec<String> {
    let after_scheme = value.split_once("://").map_or(value, |(_, after)| after);
    let Some((user_info, _)) = after_scheme.rsplit_once('@') else { return Vec::new() };
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let secret = if password.is_empty() { user } else { password };
    if secret.is_empty() {
        return Vec::new();
    }
    let decoded = percent_decode_str(secret).decode_utf8_lossy().into_owned();
    vec![secret.to_owned(), decoded]
}

/// Whether requests to this endpoint use the proxy, if there is one.
pub(crate) fn is_proxied(endpoint: &Uri, no_proxy: &str) -> bool {
    let Some(host) = endpoint.host().map(|host| host.trim_end_matches('.')) else { return false };
    if is_local(host) {
        return false;
    }
    let secure = endpoint.scheme_str() == Some("https");
    let port = endpoint.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let exempt: Vec<&str> = no_proxy
        .split(|letter: char| letter == ',' || letter.is_whitespace())
        .filter_map(|entry| of_port(entry, port))
        .collect();
    // The matcher supports it for names only.
    if exempt.contains(&"*") {
        return false;
    }
    let target = Uri::builder()
        .scheme("http")
        .authority(host)
        .path_and_query(PathAndQuery::from_static("/"))
        .build();
    let matcher = Matcher::builder().all("http://proxy").no(exempt.join(",")).build();
    target.is_ok_and(|target| matcher.intercept(&target).is_some())
}

fn is_local(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// An entry of `NO_PROXY` without its port; `None` if it has another port.
fn of_port(entry: &str, port: u16) -> Option<&str> {
    let (host, said) = match entry.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((host, after)) => (host, after.strip_prefix(':')),
        None => match entry.split_once(':') {
            // Several colons are an IPv6 address.
            Some((host, after)) if !after.contains(':') => (host, Some(after)),
            _ => (entry, None),
        },
    };
    // As in Go, `*.example.com` means `.example.com`.
    let host = if host.starts_with("*.") { host.trim_start_matches('*') } else { host };
    let host = host.trim_end_matches('.');
    let fits = said.is_none_or(|said| said.parse() == Ok(port));
    (fits && !host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direct(endpoint: &str, no_proxy: &str) -> bool {
        !is_proxied(&endpoint.parse().unwrap(), no_proxy)
    }

    #[test]
    fn names_stand_for_all_below_them_and_only_whole_labels_count() {
        for entry in ["example.com", ".example.com", "*.example.com", "EXAMPLE.com", "example.com."]
        {
            assert!(direct("http://otel.example.com:4318", entry), "{entry}");
            assert!(direct("http://otel.Example.com.:4318", entry), "{entry}");
            assert!(!direct("http://notexample.com:4318", entry), "{entry}");
            assert!(!direct("http://example.com.org:4318", entry), "{entry}");
        }
        assert!(direct("http://example.com", "a.org, example.com"));
        assert!(direct("http://example.com", "a.org example.com"));
        for endpoint in ["http://anything", "http://10.1.2.3:4318", "https://[fd00::1]:4317"] {
            assert!(direct(endpoint, "*"), "{endpoint}");
            assert!(direct(endpoint, "a.org,*"), "{endpoint}");
        }
        assert!(!direct("http://example.com", ""));
        assert!(!direct("http://example.com", " , ,"));
    }

    #[test]
    fn an_entry_with_a_port_is_for_that_port_alone() {
        assert!(direct("http://c.org:4318", "c.org:4318"));
        assert!(!direct("http://c.org:4317", "c.org:4318"));
        assert!(direct("https://c.org", "c.org:443"));
        assert!(direct("http://c.org", "c.org:80"));
        assert!(!direct("http://c.org", "c.org:http"));
        assert!(direct("http://10.1.2.3:4318", "10.1.2.3:4318"));
        assert!(direct("http://[fd00::1]:4318", "[fd00::1]:4318"));
        assert!(!direct("http://[fd00::1]:4317", "[fd00::1]:4318"));
    }

    #[test]
    fn addresses_and_networks_are_for_hosts_that_are_addresses() {
        assert!(direct("http://10.1.2.3", "10.0.0.0/8"));
        assert!(!direct("http://11.1.2.3", "10.0.0.0/8"));
        assert!(direct("http://10.1.2.3", "10.1.2.3"));
        assert!(!direct("http://10.1.2.33", "10.1.2.3"));
        assert!(direct("http://[fd00::1]", "fd00::/8"));
        assert!(direct("http://[fd00::1]", "fd00::1"));
        assert!(direct("http://[fd00::1]", "[fd00::1]"));
        assert!(!direct("http://[fe80::1]", "fd00::/8"));
    }

    #[test]
    fn this_host_has_no_proxy() {
        for endpoint in
            ["http://localhost:4318", "http://LOCALHOST", "http://127.9.9.9", "http://[::1]:1"]
        {
            assert!(direct(endpoint, ""), "{endpoint}");
        }
        assert!(!direct("http://localhost.example.com", ""));
    }

    #[test]
    fn a_url_is_read_with_user_and_password_and_shows_neither() {
        for (value, shown) in [
            ("http://proxy:3128", "http://proxy:3128"),
            ("proxy:3128", "http://proxy:3128"),
            ("https://proxy", "https://proxy"),
            ("http://user:hunter%402@proxy:3128/", "http://proxy:3128"),
            ("user:hunter%402@proxy:3128", "http://proxy:3128"),
            ("http://user:hunter%402@[fd00::1]:3128", "http://[fd00::1]:3128"),
            ("http://user:hunter%402@[fd00::1]", "http://[fd00::1]"),
        ] {
            let proxy = Proxy::parse("HTTP_PROXY", value).unwrap();
            assert_eq!(proxy.shown(), shown, "{value}");
            assert!(!format!("{proxy:?}").contains("hunter"), "{value}");
            let has_user = value.contains("user");
            // user:hunter@2
            let basic = has_user.then_some("Basic dXNlcjpodW50ZXJAMg==");
            assert_eq!(proxy.authorization().map(|value| value.to_str().unwrap()), basic);
            let secrets: Vec<_> = proxy.secrets().collect();
            let known: &[&str] = &["hunter%402", "hunter@2", "dXNlcjpodW50ZXJAMg=="];
            assert_eq!(secrets, if has_user { known } else { &[] });
        }
    }

    #[test]
    fn a_user_without_a_password_is_a_secret() {
        for value in ["http://t%30ken@proxy:3128", "http://t%30ken:@proxy:3128"] {
            let proxy = Proxy::parse("HTTP_PROXY", value).unwrap();
            let secrets: Vec<_> = proxy.secrets().collect();
            assert!(secrets.starts_with(&["t%30ken", "t0ken"]), "{secrets:?}");
        }
    }

    #[test]
    fn what_is_no_url_of_a_web_proxy_is_none() {
        for value in [
            "socks5://proxy:1080",
            "ftp://proxy",
            "http://",
            "http://pro xy",
            "http://user:hunter@2@proxy:3128",
            "http://user:hunter/2@proxy:3128",
            "http://user:hunter#2@proxy:3128",
            "http://proxy:port",
            "http://proxy:99999",
        ] {
            assert_eq!(Proxy::parse("HTTP_PROXY", value), None, "{value}");
        }
    }
}
