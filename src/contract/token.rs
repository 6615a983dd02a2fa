//! The job's socket token: the hook keeps it in its state, the pod's spec carries its digest.

use std::fmt;

use sha2::{Digest, Sha256};

/// Bytes of a token.
const TOKEN_BYTES: usize = 32;

/// A secret that its holder shows to use a socket. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// SHA-256 of a token, safe to publish: the token is 256 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenDigest([u8; TOKEN_BYTES]);

/// A text that is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not {} hex digits", TOKEN_BYTES * 2)]
pub struct TokenError;

// === impl Token ===

impl Token {
    /// From 32 bytes of a cryptographic random source.
    pub fn from_random(bytes: [u8; TOKEN_BYTES]) -> Self {
        Self(hex(&bytes))
    }

    /// From the text that [`Token::expose`] gave.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        unhex(text).map(|bytes| Self(hex(&bytes)))
    }

    /// The secret itself, for [`super::Hello::token`] and the hook's state.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What the container is given.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::of(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

// === impl TokenDigest ===

impl TokenDigest {
    /// Of whatever a peer shows as its token.
    pub fn of(shown: &str) -> Self {
        Self(Sha256::digest(shown.as_bytes()).into())
    }

    /// From [`super::env::TOKEN_SHA256`].
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        unhex(text).map(Self)
    }

    /// Whether `shown` is the token, in a time that does not tell how much of it is right.
    pub fn admits(&self, shown: &str) -> bool {
        let shown = Self::of(shown);
        let difference = self.0.iter().zip(shown.0.iter()).fold(0, |all, (a, b)| all | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

impl fmt::Display for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0xf])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

fn unhex(text: &str) -> Result<[u8; TOKEN_BYTES], TokenError> {
    let mut digits = text.chars().map(|digit| {
        digit.to_digit(16).and_then(|value| u8::try_from(value).ok()).ok_or(TokenError)
    });
    let mut bytes = [0; TOKEN_BYTES];
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
    fn a_digest_admits_its_token_and_no_other() {
        let token = Token::from_random([7; 32]);
        let digest = TokenDigest::parse(&token.digest().to_string()).expect("a digest");
        assert!(digest.admits(token.expose()));
        assert!(!digest.admits(Token::from_random([8; 32]).expose()));
        assert!(!digest.admits(""));
        assert!(!digest.admits(&digest.to_string()));
    }

    #[test]
    fn the_digest_is_plain_sha256_of_the_text() {
        assert_eq!(
            TokenDigest::of("abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn what_is_not_64_hex_digits_is_refused() {
        for text in ["", "ab", &"g".repeat(64), &"a".repeat(63), &"a".repeat(65), &"é".repeat(32)]
        {
            assert_eq!(TokenDigest::parse(text), Err(TokenError), "{text}");
            assert_eq!(Token::parse(text), Err(TokenError), "{text}");
        }
    }

    #[test]
    fn debug_output_does_not_show_the_token() {
        assert_eq!(format!("{:?}", Token::from_random([1; 32])), "Token(..)");
    }
}
