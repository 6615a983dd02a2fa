//! Mutual authentication of the two ends of a socket, and encryption of their messages, because any
//! container of the pod can replace a socket or relay its connections. Without I/O.
//!
//! Both ends generate a key for this session only (X25519). From the shared secret, the container's
//! own key, and the values on which both ends must agree, the session's two keys are derived (HKDF
//! with SHA-256); every frame after that is encrypted (ChaCha20-Poly1305) with a counter. So the
//! first frame that can be decrypted proves init's identity: only this container's spec has its
//! key. The hook's first frame contains its signature (Ed25519) of the same values, which proves
//! the hook's identity: the public key for it is in the spec. This corresponds to `KNpsk0` of the
//! Noise protocol framework, with a signature in place of the static key.

use std::fmt;

use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral},
    hkdf::{HKDF_SHA256, Prk, Salt},
    rand::SystemRandom,
};

use super::token::{ContainerKey, HookKey, KEY_BYTES, SIGNATURE_BYTES, Token};
pub use super::wire::SEAL_BYTES;
use super::wire::{LENGTH_BYTES, Malformed};

/// Identifies this use of the keys, and its version.
const PROTOCOL: &[u8] = b"ephemon socket 3";

/// One end's public key for one session.
pub type SessionKey = [u8; KEY_BYTES];
/// The hook's proof of identity.
pub type Signature = [u8; SIGNATURE_BYTES];

/// Why there is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The operating system provides no random numbers.
    #[error("the system provides no random numbers for a session key")]
    Random,
    /// The peer's public key is not valid.
    #[error("the peer's public key is not valid")]
    Key,
}

/// The hook's end before init has answered.
pub struct Opening {
    private: EphemeralPrivateKey,
    public: SessionKey,
}

/// The values on which both ends of a session must agree. The hook signs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript(Vec<u8>);

/// Encrypts outgoing and decrypts incoming frames, each once and in order.
pub struct Channel {
    /// Boxed because a key has half a kilobyte, and many futures contain a channel.
    sealing: Box<LessSafeKey>,
    opening: Box<LessSafeKey>,
    sealed: u64,
    opened: u64,
    /// A frame could not be decrypted, so no later frame is accepted.
    lost: bool,
}

/// The direction of a key.
#[derive(Debug, Clone, Copy)]
enum Way {
    FromHook,
    FromInit,
}

/// Init's end: answers a hook's key with its own. The client is not authenticated yet.
pub fn accept(
    hook: &HookKey,
    key: &ContainerKey,
    container: &str,
    theirs: &SessionKey,
) -> Result<(SessionKey, Channel, Transcript), SessionError> {
    let own = Opening::new()?;
    let public = own.public;
    let transcript = Transcript::new(hook, container, theirs, &public);
    let keys = agreed(own.private, theirs, key)?;
    let channel = Channel::new(&keys, &transcript, Way::FromInit, Way::FromHook);
    Ok((public, channel, transcript))
}

fn agreed(
    private: EphemeralPrivateKey,
    theirs: &SessionKey,
    key: &ContainerKey,
) -> Result<Prk, SessionError> {
    let salt = Salt::new(HKDF_SHA256, key.as_bytes());
    let theirs = UnparsedPublicKey::new(&X25519, theirs);
    agree_ephemeral(private, &theirs, |shared| salt.extract(shared)).map_err(|_| SessionError::Key)
}

// === impl Opening ===

impl Opening {
    /// Generates a key for a new session.
    pub fn new() -> Result<Self, SessionError> {
        let private = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new())
            .map_err(|_| SessionError::Random)?;
        let public = private.compute_public_key().map_err(|_| SessionError::Random)?;
        let public = public.as_ref().try_into().map_err(|_| SessionError::Random)?;
        Ok(Self { private, public })
    }

    /// The public key to send to init.
    pub fn public(&self) -> SessionKey {
        self.public
    }

    /// Processes init's answer: returns the channel, and the proof to be sent in the first
    /// encrypted frame. Init is authenticated once its first frame can be decrypted.
    pub fn finish(
        self,
        token: &Token,
        container: &str,
        theirs: &SessionKey,
    ) -> Result<(Channel, Signature), SessionError> {
        let transcript = Transcript::new(&token.hook_key(), container, &self.public, theirs);
        let keys = agreed(self.private, theirs, &token.container_key(container))?;
        let channel = Channel::new(&keys, &transcript, Way::FromHook, Way::FromInit);
        Ok((channel, token.sign(&transcript.0)))
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opening(..)")
    }
}

// === impl Transcript ===

impl Transcript {
    /// Every part has a fixed length, except the name, which is last.
    fn new(hook: &HookKey, container: &str, hooks: &SessionKey, inits: &SessionKey) -> Self {
        let parts = [PROTOCOL, hook.as_bytes(), hooks, inits, container.as_bytes()];
        Self(parts.concat())
    }

    /// Whether the signature was made with the key of the hook that created the container.
    pub fn is_signed(&self, hook: &HookKey, signature: &Signature) -> bool {
        hook.has_signed(&self.0, signature)
    }
}

// === impl Way ===

impl Way {
    fn key(self, keys: &Prk, transcript: &Transcript) -> Box<LessSafeKey> {
        let label: &[u8] = match self {
            Self::FromHook => b"from hook",
            Self::FromInit => b"from init",
        };
        let info = [&transcript.0, label];
        let key = keys.expand(&info, &CHACHA20_POLY1305).map(UnboundKey::from);
        Box::new(LessSafeKey::new(key.expect("a key must not be longer than the output of HKDF")))
    }
}

// === impl Channel ===

impl Channel {
    fn new(keys: &Prk, transcript: &Transcript, out: Way, back: Way) -> Self {
        let (sealing, opening) = (out.key(keys, transcript), back.key(keys, transcript));
        Self { sealing, opening, sealed: 0, opened: 0, lost: false }
    }

    /// Encrypts a whole frame, which begins with its length.
    pub fn seal(&mut self, mut frame: Vec<u8>) -> Result<Vec<u8>, Malformed> {
        let body = frame.get_mut(LENGTH_BYTES..).ok_or(Malformed::Short)?;
        let bytes = body.len() + SEAL_BYTES;
        let too_long = Malformed::TooLong { bytes, limit: bytes - 1 };
        let length = u32::try_from(bytes).map_err(|_| too_long)?;
        let nonce = counted(&mut self.sealed);
        let tag = self.sealing.seal_in_place_separate_tag(nonce, Aad::empty(), body);
        frame.extend_from_slice(tag.map_err(|_| too_long)?.as_ref());
        if let Some(place) = frame.first_chunk_mut::<LENGTH_BYTES>() {
            *place = length.to_le_bytes();
        }
        Ok(frame)
    }

    /// Decrypts a frame's contents, as [`super::Frames`] returns them. After an error the stream
    /// cannot be used any more.
    pub fn open(&mut self, mut body: Vec<u8>) -> Result<Vec<u8>, Malformed> {
        if self.lost {
            return Err(Malformed::Seal);
        }
        let nonce = counted(&mut self.opened);
        let Ok(opened) = self.opening.open_in_place(nonce, Aad::empty(), &mut body) else {
            self.lost = true;
            return Err(Malformed::Seal);
        };
        let bytes = opened.len();
        body.truncate(bytes);
        Ok(body)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Channel(..)")
    }
}

/// The next nonce; it is unique because both keys are used for this session only.
fn counted(count: &mut u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    if let Some(place) = nonce.last_chunk_mut() {
        *place = count.to_be_bytes();
    }
    *count += 1;
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> Token {
        Token::from_random([7; 32])
    }

    /// Both ends; init has the key of `theirs` in its spec and is named `called`.
    fn ends(theirs: &Token, called: &str) -> (Channel, Channel, bool) {
        let opening = Opening::new().unwrap();
        let (hook, key) = (theirs.hook_key(), theirs.container_key(called));
        let (answer, init, transcript) = accept(&hook, &key, called, &opening.public()).unwrap();
        let (channel, signature) = opening.finish(&token(), "job", &answer).unwrap();
        let signed = transcript.is_signed(&hook, &signature);
        (channel, init, signed)
    }

    fn frame(body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_le_bytes();
        [&length, body].concat()
    }

    #[test]
    fn both_ends_of_one_container_know_each_other() {
        let (mut hook, mut init, signed) = ends(&token(), "job");
        assert!(signed);
        for text in [&b"first"[..], b"", b"third"] {
            let sealed = hook.seal(frame(text)).unwrap();
            assert_eq!(init.open(sealed[4..].to_vec()).unwrap(), text);
            let sealed = init.seal(frame(text)).unwrap();
            assert_eq!(hook.open(sealed[4..].to_vec()).unwrap(), text);
        }
    }

    #[test]
    fn another_jobs_or_containers_init_is_not_taken_for_this_one() {
        for (theirs, called) in [(Token::from_random([8; 32]), "job"), (token(), "redis")] {
            let (mut hook, mut init, signed) = ends(&theirs, called);
            let sealed = init.seal(frame(b"welcome")).unwrap();
            assert_eq!(hook.open(sealed[4..].to_vec()), Err(Malformed::Seal), "{called}");
            assert!(!signed, "{called}");
        }
    }

    /// A process that reads the pod's spec has the container's key, but not the signing key.
    #[test]
    fn the_containers_key_alone_is_no_leave_to_ask() {
        let (hook, key) = (token().hook_key(), token().container_key("job"));
        let opening = Opening::new().unwrap();
        let public = opening.public();
        let (answer, mut init, transcript) = accept(&hook, &key, "job", &public).unwrap();
        let seen = Transcript::new(&hook, "job", &public, &answer);
        let keys = agreed(opening.private, &answer, &key).unwrap();
        let mut posing = Channel::new(&keys, &seen, Way::FromHook, Way::FromInit);
        let sealed = posing.seal(frame(b"run")).unwrap();
        assert!(init.open(sealed[4..].to_vec()).is_ok(), "the key is this container's");
        let forged = Token::from_random([8; 32]).sign(&seen.0);
        assert!(!transcript.is_signed(&hook, &forged));
        // A signature of another session is not accepted either.
        let earlier = Transcript::new(&hook, "job", &Opening::new().unwrap().public(), &answer);
        assert!(!transcript.is_signed(&hook, &token().sign(&earlier.0)));
    }

    #[test]
    fn a_key_that_makes_every_secret_the_same_is_refused() {
        let (hook, key) = (token().hook_key(), token().container_key("job"));
        assert_eq!(accept(&hook, &key, "job", &[0; 32]).unwrap_err(), SessionError::Key);
    }

    #[test]
    fn frames_that_are_left_out_repeated_or_sent_back_do_not_open() {
        let (mut hook, mut init, _) = ends(&token(), "job");
        let first = hook.seal(frame(b"first")).unwrap()[4..].to_vec();
        let second = hook.seal(frame(b"second")).unwrap()[4..].to_vec();
        let (mut other, mut behind, _) = ends(&token(), "job");
        assert_eq!(behind.open(first.clone()), Err(Malformed::Seal), "another session");
        assert_eq!(other.open(first.clone()), Err(Malformed::Seal), "its own words");
        assert!(init.open(first.clone()).is_ok());
        assert_eq!(init.open(first), Err(Malformed::Seal), "again");
        let (mut hook, mut init, _) = ends(&token(), "job");
        hook.seal(frame(b"lost")).unwrap();
        let next = hook.seal(frame(b"next")).unwrap()[4..].to_vec();
        assert_eq!(init.open(next), Err(Malformed::Seal), "one is missing");
        // A later frame that replaces it is not accepted either.
        let (mut hook, mut init, _) = ends(&token(), "job");
        let first = hook.seal(frame(b"first")).unwrap()[4..].to_vec();
        hook.seal(frame(b"replaced")).unwrap();
        let third = hook.seal(frame(b"third")).unwrap()[4..].to_vec();
        assert!(init.open(first.clone()).is_ok());
        assert_eq!(init.open(first), Err(Malformed::Seal), "in another's place");
        assert_eq!(init.open(third), Err(Malformed::Seal), "after that");
        assert_eq!(init.open(second), Err(Malformed::Seal));
    }

    proptest! {
        #[test]
        fn a_changed_frame_does_not_open(
            body in proptest::collection::vec(any::<u8>(), 0..50),
            at in any::<prop::sample::Index>(), change in 1..=u8::MAX,
        ) {
            let (mut hook, mut init, _) = ends(&token(), "job");
            let mut sealed = hook.seal(frame(&body)).unwrap()[4..].to_vec();
            let at = at.index(sealed.len());
            sealed[at] ^= change;
            prop_assert_eq!(init.open(sealed), Err(Malformed::Seal));
        }

        #[test]
        fn any_bytes_are_refused(body in proptest::collection::vec(any::<u8>(), 0..50)) {
            let (mut hook, _, _) = ends(&token(), "job");
            prop_assert!(hook.open(body).is_err());
        }
    }
}
