//! Who a request says it is, by Basic authentication (RFC 7617), and whether it is.
//!
//! A bcrypt hash is made to cost its checker time. So only one is checked at a time, an address
//! waits for one check at most, a wrong password is followed by nine times the rest that its check
//! took, and a right one is remembered: whoever guesses gets a tenth of one CPU, and the scraper,
//! known after its first request, never waits for them.

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

/// Rest after a wrong password, in times of what its check took.
const REST: u32 = 9;

/// Users and their passwords' hashes.
#[derive(Debug)]
pub(in crate::admin) struct Users {
    hashes: BTreeMap<String, Hash>,
    desk: Arc<Semaphore>,
    state: Mutex<State>,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::admin) enum Verdict {
    /// One of the users.
    Known,
    /// Not one of them, or nobody.
    Unknown,
    /// This address has another check under way.
    Busy,
}

#[derive(Debug, Default)]
struct State {
    /// Digests of users with their right passwords; one a user at most.
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
    /// At least one user.
    pub(super) fn new(hashes: BTreeMap<String, Hash>) -> Self {
        Self { hashes, desk: Arc::new(Semaphore::new(1)), state: Mutex::default() }
    }

    /// Whose request this is, by its `Authorization`.
    pub(in crate::admin) async fn check(
        &self,
        authorization: Option<&HeaderValue>,
        peer: IpAddr,
    ) -> Verdict {
        let Some((user, password)) = authorization.and_then(credentials) else {
            return Verdict::Unknown;
        };
        // A name that nobody has takes as long as one that somebody has.
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
        // Nobody closes the semaphore.
        let Ok(desk) = Arc::clone(&self.desk).acquire_owned().await else {
            return Verdict::Busy;
        };
        let Hash(hash) = hash.clone();
        // On its own task: a client that hangs up does not get its rest back.
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

/// Of the user's name, the password, and the hash that it was found right by.
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
        // The desk is taken, as by a check that never ends.
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
