//! The web configuration file's keys. Pure: paths are resolved, but no file is opened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::WebError;

/// Most work for one password's check, as a power of two: 2^16 rounds take several seconds.
const MAX_COST: u32 = 16;

/// The file's content.
#[derive(Debug)]
pub(super) struct WebConfig {
    pub(super) tls: Option<TlsConfig>,
    /// Users' names and the bcrypt hashes of their passwords.
    pub(super) users: BTreeMap<String, Hash>,
}

/// How connections are encrypted.
#[derive(Debug)]
pub(super) struct TlsConfig {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    /// The authority that signs client certificates, if client certificates are accepted.
    pub(super) client_authority: Option<PathBuf>,
    /// Clients must present a certificate.
    pub(super) demands_client: bool,
    /// TLS 1.2 is not accepted.
    pub(super) only_13: bool,
}

/// A bcrypt hash. Has no `Debug` output, because passwords can be guessed from it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Hash(pub(super) String);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tls_server_config: Option<TlsFields>,
    #[serde(default)]
    basic_auth_users: Option<BTreeMap<String, Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsFields {
    cert_file: PathBuf,
    key_file: PathBuf,
    #[serde(default)]
    client_auth_type: ClientAuth,
    client_ca_file: Option<PathBuf>,
    #[serde(default)]
    min_version: Version,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
enum ClientAuth {
    #[default]
    NoClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
enum Version {
    #[default]
    #[serde(rename = "TLS12")]
    Tls12,
    #[serde(rename = "TLS13")]
    Tls13,
}

// === impl WebConfig ===

impl WebConfig {
    /// Parses the text of the file at `path`; relative paths in it are resolved against its
    /// directory. No error quotes a user's entry.
    pub(super) fn parse(path: &Path, text: &[u8]) -> Result<Self, WebError> {
        let wrong = |wrong: String| WebError::Wrong { path: path.to_owned(), wrong };
        let text = std::str::from_utf8(text).map_err(|_| wrong("it is not UTF-8".into()))?;
        let yaml: Value = serde_saphyr::from_str(text).map_err(|error| {
            let at = error.location().map_or(0, |at| at.line());
            wrong(format!("it is not YAML, see line {at}"))
        })?;
        // An empty file sets no rules.
        let yaml = if yaml.is_null() { Value::Object(serde_json::Map::new()) } else { yaml };
        let file: File = serde_path_to_error::deserialize(&yaml).map_err(|error| {
            let at = error.path().to_string();
            // The value of `basic_auth_users` itself may be a password that was put at the wrong
            // place.
            if at.starts_with("basic_auth_users") {
                return wrong("basic_auth_users must be a list of names with bcrypt hashes".into());
            }
            let inner = error.inner();
            wrong(if at == "." { inner.to_string() } else { format!("{at}: {inner}") })
        })?;
        let home = path.parent().unwrap_or(Path::new(""));
        let tls = file.tls_server_config.map(|fields| fields.check(home)).transpose();
        let users = file.basic_auth_users.unwrap_or_default().into_iter();
        let users: Result<_, String> =
            users.map(|(name, hash)| Ok((name.clone(), Hash::check(&name, &hash)?))).collect();
        Ok(Self { tls: tls.map_err(wrong)?, users: users.map_err(wrong)? })
    }

    /// The files that it names.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.tls.iter().flat_map(|tls| {
            let own = [tls.certificate.as_path(), tls.key.as_path()];
            own.into_iter().chain(tls.client_authority.as_deref())
        })
    }
}

// === impl TlsFields ===

impl TlsFields {
    fn check(self, home: &Path) -> Result<TlsConfig, String> {
        let verifies = self.client_auth_type != ClientAuth::NoClientCert;
        if verifies && self.client_ca_file.is_none() {
            return Err("tls_server_config.client_ca_file is missing: client_auth_type requests \
                        certificates, and this file names the authority that signs them"
                .into());
        }
        if !verifies && self.client_ca_file.is_some() {
            return Err("tls_server_config.client_ca_file has no effect: set client_auth_type to \
                        RequireAndVerifyClientCert or VerifyClientCertIfGiven"
                .into());
        }
        Ok(TlsConfig {
            certificate: home.join(self.cert_file),
            key: home.join(self.key_file),
            client_authority: self.client_ca_file.map(|path| home.join(path)),
            demands_client: self.client_auth_type == ClientAuth::RequireAndVerifyClientCert,
            only_13: self.min_version == Version::Tls13,
        })
    }
}

// === impl Hash ===

impl Hash {
    fn check(user: &str, value: &Value) -> Result<Self, String> {
        let cost = value.as_str().and_then(|text| {
            let hash: bcrypt::HashParts = text.parse().ok()?;
            Some((text, hash.get_cost()))
        });
        match cost {
            Some((text, cost)) if cost <= MAX_COST => Ok(Self(text.to_owned())),
            Some((_, cost)) => Err(format!(
                "basic_auth_users.{user}: a hash of cost {cost} takes too long to check; use a \
                 cost of at most {MAX_COST}"
            )),
            None => Err(format!(
                "basic_auth_users.{user} is not a bcrypt hash; create one with `htpasswd -nBC 10 {user}`"
            )),
        }
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hash")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hash with cost 4.
    const HASH: &str = "$2y$04$UqsZyTbCf6BbLYsvLbmqY.Cjmo0WtWDNi/fQCWgNWg/vZrVcL7C4a";

    fn parse(text: &str) -> Result<WebConfig, String> {
        WebConfig::parse(Path::new("/etc/ephemon/web.yaml"), text.as_bytes())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_whole_form_is_read_and_paths_are_beside_the_file() {
        let config = parse(&format!(
            "tls_server_config:\n  cert_file: tls.crt\n  key_file: /run/tls.key\n  \
             client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  \
             min_version: TLS13\nbasic_auth_users:\n  prometheus: {HASH}\n"
        ))
        .unwrap();
        let files: Vec<_> = config.files().map(Path::to_owned).collect();
        assert_eq!(
            files,
            ["/etc/ephemon/tls.crt", "/run/tls.key", "/etc/ephemon/ca.crt"].map(PathBuf::from)
        );
        let tls = config.tls.unwrap();
        assert!(tls.demands_client && tls.only_13);
        assert_eq!(config.users["prometheus"].0, HASH);
    }

    #[test]
    fn an_empty_file_asks_for_nothing() {
        for text in ["", "# nothing yet\n", "{}\n"] {
            let config = parse(text).unwrap();
            assert!(config.tls.is_none() && config.users.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_by_its_key() {
        let tls = |more: &str| format!("tls_server_config:\n  cert_file: a\n  key_file: b\n{more}");
        for (text, key) in [
            ("basic_auth_user:\n  a: b\n".to_owned(), "`basic_auth_user`"),
            (tls("  client_auth: x\n"), "`client_auth`"),
            (tls("  client_auth_type: RequireAnyClientCert\n"), "client_auth_type"),
            (tls("  client_auth_type: RequireAndVerifyClientCert\n"), "client_ca_file"),
            (tls("  client_ca_file: ca\n"), "client_ca_file"),
            (tls("  min_version: TLS10\n"), "min_version"),
            ("tls_server_config:\n  cert_file: a\n".to_owned(), "`key_file`"),
            ("basic_auth_users:\n  alice: hunter2\n".to_owned(), "basic_auth_users.alice"),
            (format!("basic_auth_users:\n  alice: {}\n", HASH.replace("$04", "$31")), "cost 31"),
            ("tls_server_config: [\n".to_owned(), "line"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(key), "{error}");
            assert!(error.contains("/etc/ephemon/web.yaml"), "{error}");
        }
    }

    #[test]
    fn no_error_and_no_debug_shows_what_a_user_has() {
        for text in [
            "basic_auth_users:\n  alice: hunter2\n",
            "basic_auth_users:\n  alice: 4711\n",
            "basic_auth_users: hunter2\n",
            "basic_auth_users:\n  alice: \"hunter2\n  bob: [4711\n",
        ] {
            let error = parse(text).unwrap_err();
            assert!(!error.contains("hunter2") && !error.contains("4711"), "{error}");
        }
        let config = parse(&format!("basic_auth_users:\n  alice: {HASH}\n")).unwrap();
        assert!(!format!("{config:?}").contains("$2y$"));
    }
}
