//! Authentication of requests by user name and password (HTTP Basic authentication, RFC 7617).
//!
//! A bcrypt hash is deliberately expensive to check. To bound that cost, only one hash is checked
//! at a time, an address can wait for one check at most, after a wrong password no check starts for
//! nine times as long as the check took, and a correct password is remembered. So guessing uses at
//! most a tenth of one CPU, and a scraper waits only at its first request.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ephemon_base::lock;
use hyper::header::HeaderValue;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::config::Hash;

/// Pause after a wrong password, as a multiple of the time that its check took.
const REST: u32 = 9;

/// Users and the hashes of their passwords.
#[derive(Debug)]
pub(in crate::admin) struct Users {
    hashes: BTreeMap<String, Hash>,
    desk: Arc<Semaphore>,
    state: Mutex<State>,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::admin) enum Verdict {
    /// A known user with the correct password.
    Known,
    /// An unknown user, a wrong password, or no credentials.
    Unknown,
    /// Another check for this address is already waiting.
    Busy,
}

#[derive(Debug, Default)]
struct State {
    /// Digests of users with their correct passwords; one per user at most.
    right: HashSet<[u8; 32]>,
    waiting: HashSet<IpAddr>,
}

/// An address's place in the queue.
struct Ticket<'a> {
    users: &'a Users,
    peer: IpAddr,
}

// === impl Users ===

impl Users {
    /// `hashes` must have at least one user.
    pub(super) fn new(hashes: BTreeMap<String, Hash>) -> Self {
        Self { hashes, desk: Arc::new(Semaphore::new(1)), state: Mutex::default() }
    }

    /// Checks the `Authorization` header of a request.
    pub(in crate::admin) async fn check(
        &self,
        authorization: Option<&HeaderValue>,
        peer: IpAddr,
    ) -> Verdict {
        let Some((user, password)) = authorization.and_then(credentials) else {
            return Verdict::Unknown;
        };
        // An unknown name takes as long as a known one, so that timing does not reveal names.
        let known = self.hashes.get(&user);
        let Some(hash) = known.or_else(|| self.hashes.values().next()) else {
            return Verdict::Unknown;
        };
        let digest = digest(&user, &password, hash);
        if known.is_some() && self.state().right.contains(&digest) {
            return Verdict::Known;
        }
        if !self.state().waiting.insert(peer) {
            return Verdict::Busy;
        }
        let ticket = Ticket { users: self, peer };
        // The semaphore is never closed, so this does not fail.
        let Ok(desk) = Arc::clone(&self.desk).acquire_owned().await else {
            return Verdict::Busy;
        };
        let Hash(hash) = hash.clone();
        // In its own task, so that a client cannot skip the pause by closing its connection.
        let check = tokio::spawn(async move {
            let start = Instant::now();
            let check = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash));
            let right = check.await.is_ok_and(|verified| verified.unwrap_or(false));
            if !right {
                let rest = start.elapsed() * REST;
                tokio::spawn(async move {
                    tokio::time::sleep(rest).await;
                    drop(desk);
                });
            }
            right
        });
        let right = check.await.unwrap_or(false) && known.is_some();
        drop(ticket);
        if right {
            self.state().right.insert(digest);
            return Verdict::Known;
        }
        Verdict::Unknown
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.users.state().waiting.remove(&self.peer);
    }
}

/// Digest of the user name, the password, and the hash that accepted it.
fn digest(user: &str, password: &[u8], Hash(hash): &Hash) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in [hash.as_bytes(), user.as_bytes(), password] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

/// `Basic base64(user:password)`.
fn credentials(value: &HeaderValue) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (user, password) = decoded.split_at_checked(colon)?;
    Some((String::from_utf8(user.to_vec()).ok()?, password.get(1..)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Users {
        let hash = bcrypt::hash("secret", 4).unwrap();
        Users::new(BTreeMap::from([("prometheus".to_owned(), Hash(hash))]))
    }

    fn basic(pair: &str) -> HeaderValue {
        HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(pair))).unwrap()
    }

    async fn check(users: &Users, pair: &str) -> Verdict {
        users.check(Some(&basic(pair)), IpAddr::from([10, 0, 0, 1])).await
    }

    #[tokio::test]
    async fn only_a_user_with_its_password_is_known() {
        let users = users();
        assert_eq!(check(&users, "prometheus:secret").await, Verdict::Known);
        for pair in ["prometheus:Secret", "prometheus:", "nobody:secret", "prometheus", ":secret"] {
            assert_eq!(check(&users, pair).await, Verdict::Unknown, "{pair}");
        }
        for text in ["Bearer abc", "Basic", "Basic !", ""] {
            let value = HeaderValue::from_static(text);
            let verdict = users.check(Some(&value), IpAddr::from([10, 0, 0, 1])).await;
            assert_eq!(verdict, Verdict::Unknown, "{text:?}");
        }
        assert_eq!(users.check(None, IpAddr::from([10, 0, 0, 1])).await, Verdict::Unknown);
    }

    #[tokio::test]
    async fn whoever_guesses_holds_up_only_his_own_address_and_no_scraper_that_is_known() {
        let users = users();
        assert_eq!(check(&users, "prometheus:secret").await, Verdict::Known);
        // Holds the semaphore, like a check that never ends.
        let desk = Arc::clone(&users.desk).acquire_owned().await.unwrap();
        let (first, second) = (basic("prometheus:1"), basic("prometheus:2"));
        let guesser = IpAddr::from([10, 0, 0, 2]);
        tokio::select! {
            biased;
            verdict = users.check(Some(&first), guesser) => panic!("{verdict:?}"),
            verdict = users.check(Some(&second), guesser) => assert_eq!(verdict, Verdict::Busy),
        }
        assert_eq!(check(&users, "prometheus:secret").await, Verdict::Known);
        drop(desk);
        let verdict = users.check(Some(&first), guesser).await;
        assert_eq!(verdict, Verdict::Unknown, "the place in the queue is free again");
    }
}
