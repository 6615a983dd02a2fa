//! Locks that outlive a panic. What they guard here is changed in steps that leave it whole, and a
//! thread that panics ends the program or its own request; others are not to panic after it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Locks it, whether or not a thread panicked while it held it.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for `signal`, as [`lock`] locks.
pub fn wait<'a, T>(signal: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    signal.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_lock_outlives_a_panic() {
        let shared = Arc::new(Mutex::new(1));
        let held = Arc::clone(&shared);
        let panicked = std::thread::spawn(move || {
            let mut guard = lock(&held);
            *guard = 2;
            panic!("while it is held");
        });
        assert!(panicked.join().is_err());
        assert_eq!(*lock(&shared), 2);
    }
}
