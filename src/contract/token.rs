//! The job's token, which the hook keeps in its state and never sends, and the keys derived from
//! it. The pod's spec contains the [`HookKey`] and, for each container, its [`ContainerKey`].

use std::fmt;

use ring::{
    hkdf::{HKDF_SHA256, Salt},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};

/// Bytes of a token, and of every key.
pub(super) const KEY_BYTES: usize = 32;
/// Bytes of an Ed25519 signature.
pub(super) const SIGNATURE_BYTES: usize = 64;
/// Makes keys differ from those that another use of the token would derive.
const SALT: &[u8] = b"ephemon token";

/// The secret of one job: who has it can run programs in the job's containers. `Debug` does not
/// print it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// The public half of the key (Ed25519) with which a hook proves its identity to an init. Safe to
/// publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HookKey([u8; KEY_BYTES]);

/// The key with which one container's init proves its identity to the hook. Who has it can pose as
/// that init, but cannot send it requests. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct ContainerKey([u8; KEY_BYTES]);

/// Text that is not a valid token or key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not {} hex digits", KEY_BYTES * 2)]
pub struct TokenError;

// === impl Token ===

impl Token {
    /// From 32 bytes of a cryptographic random source.
    pub fn from_random(bytes: [u8; KEY_BYTES]) -> Self {
        Self(hex(&bytes))
    }

    /// Parses the text that [`Token::expose`] returned.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        unhex(text).map(|bytes| Self(hex(&bytes)))
    }

    /// The secret itself, for the hook's state.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The key for all containers of the job.
    pub fn hook_key(&self) -> HookKey {
        let mut key = [0; KEY_BYTES];
        key.copy_from_slice(self.pair().public_key().as_ref());
        HookKey(key)
    }

    /// The key for one container of the job only.
    pub fn container_key(&self, container: &str) -> ContainerKey {
        ContainerKey(self.derived(&[b"container key", container.as_bytes()]))
    }

    /// Signs text as the holder of the token.
    pub(super) fn sign(&self, text: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let mut signature = [0; SIGNATURE_BYTES];
        signature.copy_from_slice(self.pair().sign(text).as_ref());
        signature
    }

    fn pair(&self) -> Ed25519KeyPair {
        let seed = self.derived(&[b"hook key"]);
        Ed25519KeyPair::from_seed_unchecked(&seed).expect("32 bytes must be a seed")
    }

    fn derived(&self, info: &[&[u8]]) -> [u8; KEY_BYTES] {
        let mut key = [0; KEY_BYTES];
        let from = Salt::new(HKDF_SHA256, SALT).extract(self.0.as_bytes());
        let derived = from.expand(info, HKDF_SHA256).and_then(|derived| derived.fill(&mut key));
        derived.expect("a key must be as long as its hash");
        key
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

// === impl HookKey ===

impl HookKey {
    /// Parses the value of [`super::env::HOOK_KEY`].
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        unhex(text).map(Self)
    }

    pub(super) fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Whether the signature of this text was made with the token.
    pub(super) fn has_signed(&self, text: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(text, signature).is_ok()
    }
}

impl fmt::Display for HookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

// === impl ContainerKey ===

impl ContainerKey {
    /// Parses the value of [`super::env::CONTAINER_KEY`].
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        unhex(text).map(Self)
    }

    /// The key itself, for the container's spec.
    pub fn expose(&self) -> String {
        hex(&self.0)
    }

    pub(super) fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for ContainerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContainerKey(..)")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0xf])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

fn unhex(text: &str) -> Result<[u8; KEY_BYTES], TokenError> {
    let mut digits = text.chars().map(|digit| {
        digit.to_digit(16).and_then(|value| u8::try_from(value).ok()).ok_or(TokenError)
    });
    let mut bytes = [0; KEY_BYTES];
    for byte in &mut bytes {
        let high = digits.next().ok_or(TokenError)??;
        let low = digits.next().ok_or(TokenError)??;
        *byte = (high << 4) | low;
    }
    if digits.next().is_some() { Err(TokenError) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_as_they_were_and_differ_by_job_and_container() {
        let (token, other) = (Token::from_random([7; 32]), Token::from_random([8; 32]));
        assert_eq!(HookKey::parse(&token.hook_key().to_string()), Ok(token.hook_key()));
        let key = token.container_key("job");
        assert_eq!(ContainerKey::parse(&key.expose()), Ok(key.clone()));
        assert_ne!(token.hook_key(), other.hook_key());
        assert_ne!(key, token.container_key("job-2"));
        assert_ne!(key, other.container_key("job"));
        assert_eq!(Token::parse(token.expose()), Ok(token));
    }

    /// As the standards define them (RFC 5869, RFC 8032), from the token's text.
    #[test]
    fn keys_are_hkdf_of_the_token_with_their_names() {
        let token = Token::from_random([7; 32]);
        assert_eq!(
            token.hook_key().to_string(),
            "8b65a07a3b8831768a92e4a8ad5fb73393bf8882bc9603374546f29a9ee643d8"
        );
        assert_eq!(
            token.container_key("job").expose(),
            "7807e1fb7db722e90db333519b409881ddd0d59f50ac57d70df90fe1a938f2c9"
        );
    }

    #[test]
    fn a_signature_is_of_one_text_by_one_token() {
        let (token, other) = (Token::from_random([7; 32]), Token::from_random([8; 32]));
        let signature = token.sign(b"text");
        assert!(token.hook_key().has_signed(b"text", &signature));
        assert!(!token.hook_key().has_signed(b"texts", &signature));
        assert!(!other.hook_key().has_signed(b"text", &signature));
        assert!(!token.hook_key().has_signed(b"text", &[0; SIGNATURE_BYTES]));
    }

    #[test]
    fn what_is_not_64_hex_digits_is_refused() {
        for text in ["", "ab", &"g".repeat(64), &"a".repeat(63), &"a".repeat(65), &"é".repeat(32)]
        {
            assert_eq!(HookKey::parse(text), Err(TokenError), "{text}");
            assert_eq!(ContainerKey::parse(text), Err(TokenError), "{text}");
            assert_eq!(Token::parse(text), Err(TokenError), "{text}");
        }
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let token = Token::from_random([1; 32]);
        assert_eq!(format!("{token:?}"), "Token(..)");
        assert_eq!(format!("{:?}", token.container_key("job")), "ContainerKey(..)");
    }
}
