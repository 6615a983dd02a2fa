//! A fast hash of the first bytes of forms. The job determines these bytes, so each map has a
//! random key.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Creates hashers with one key.
#[derive(Debug, Clone)]
pub(super) struct Keyed([u64; 2]);

/// The hash of one [`u32`].
#[derive(Debug)]
pub(super) struct Hashing {
    key: [u64; 2],
    hash: u64,
}

// === impl Keyed ===

impl Default for Keyed {
    fn default() -> Self {
        let random = RandomState::new();
        Self([random.hash_one(0_u8), random.hash_one(1_u8) | 1])
    }
}

impl BuildHasher for Keyed {
    type Hasher = Hashing;

    fn build_hasher(&self) -> Hashing {
        Hashing { key: self.0, hash: 0 }
    }
}

// === impl Hashing ===

impl Hashing {
    fn mix(&mut self, value: u64) {
        let [first, second] = self.key;
        let product = u128::from(value ^ self.hash ^ first) * u128::from(second);
        let half = |product: u128| u64::try_from(product & u128::from(u64::MAX)).unwrap_or(0);
        self.hash = half(product) ^ half(product >> 64);
    }
}

impl Hasher for Hashing {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.mix(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, value: u32) {
        // Not only a few bits of a product, because the products of similar values are similar.
        self.mix(u64::from(value) | u64::from(value) << 32);
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}
