//! Places for what takes memory while a client reads it. One address gets at most a share of them, so
//! that it cannot take all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use ephemon_base::lock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    share: usize,
    /// Of the addresses that have a place or wait for one.
    shares: Arc<Mutex<HashMap<IpAddr, Arc<Semaphore>>>>,
}

/// A place; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    _of_all: OwnedSemaphorePermit,
    /// None where addresses have no shares.
    _of_share: Option<OwnedSemaphorePermit>,
}

// === impl Places ===

impl Places {
    /// So many places, of which one address gets at most `share`.
    pub(super) fn new(most: usize, share: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(most)), share, shares: Arc::default() }
    }

    /// A place for this address when there is one.
    pub(super) async fn take(&self, peer: IpAddr) -> Option<Place> {
        // The share first: who waits for it keeps no place from others.
        let of_share = self.share_of(peer).acquire_owned().await.ok()?;
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Place { _of_all: of_all, _of_share: Some(of_share) })
    }

    /// A place for this address if there is one now.
    pub(super) fn try_take(&self, peer: IpAddr) -> Option<Place> {
        let of_share = self.share_of(peer).try_acquire_owned().ok()?;
        let of_all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Place { _of_all: of_all, _of_share: Some(of_share) })
    }

    fn share_of(&self, peer: IpAddr) -> Arc<Semaphore> {
        let mut shares = lock(&self.shares);
        // A place, and who waits for one, holds its share.
        shares.retain(|_, share| Arc::strong_count(share) > 1);
        Arc::clone(shares.entry(peer).or_insert_with(|| Arc::new(Semaphore::new(self.share))))
    }
}

// === impl Place ===

impl From<OwnedSemaphorePermit> for Place {
    fn from(of_all: OwnedSemaphorePermit) -> Self {
        Self { _of_all: of_all, _of_share: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    #[tokio::test]
    async fn one_address_gets_its_share_and_leaves_places_for_others() {
        let places = Places::new(3, 2);
        let first = places.try_take(peer(1)).unwrap();
        let _second = places.take(peer(1)).await.unwrap();
        assert!(places.try_take(peer(1)).is_none());
        let third = places.try_take(peer(2)).unwrap();
        assert!(places.try_take(peer(3)).is_none(), "all are taken");
        drop(first);
        assert!(places.try_take(peer(1)).is_some());
        drop(third);
        assert!(places.try_take(peer(3)).is_some());
        assert!(lock(&places.shares).len() <= 2, "only those of addresses with a place");
    }
}
