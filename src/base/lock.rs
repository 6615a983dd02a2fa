//! Locks that remain usable after a panic. The data that they protect is valid after every single
//! change, and a panicking thread ends the program or only its own request; other threads must not
//! panic because of it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Locks a mutex, even if a thread panicked while it held the lock.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for `signal`; handles panics like [`lock`].
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
