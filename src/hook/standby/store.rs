//! Where the book lies: in the runner's own `/tmp`, which no container of the job shares. A lock
//! keeps calls apart that run at the same time.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::book::Book;
use crate::settings::Settings;

/// Most bytes of a book: some steps' images, and some specs.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// How long to wait for another call, which holds the lock for a millisecond. One that was stopped
/// in mid-air must not stop others.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);
const LOCK_INTERVAL: Duration = Duration::from_millis(1);

/// The place of one pod's book.
#[derive(Debug, Clone)]
pub(super) struct Store(PathBuf);

// === impl Store ===

impl Store {
    /// `None` for a pod without a name.
    pub(super) fn of(settings: &Settings) -> Option<Self> {
        let pod = settings.pod.as_deref().filter(|pod| !pod.contains('/'))?;
        Some(Self(std::env::temp_dir().join(format!(".ephemon-{pod}.standby"))))
    }

    /// Puts a new book in the place of an earlier job's.
    pub(super) fn create(&self, book: &Book) -> io::Result<()> {
        self.remove();
        DirBuilder::new().mode(0o700).create(&self.0)?;
        self.write(book)
    }

    /// Reads the book, changes it, and writes it if it differs; nobody else does so meanwhile.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Book) -> T) -> io::Result<T> {
        self.is_own()?;
        let _lock = self.lock()?;
        let before = self.read()?;
        let mut book = before.clone();
        let result = change(&mut book);
        if book != before {
            self.write(&book)?;
        }
        Ok(result)
    }

    /// Reads the book for the last time and removes it. The disk may be full, and a call that was
    /// stopped may hold the lock: neither keeps what waits from being ended.
    pub(super) fn close(&self) -> Vec<String> {
        let last = || self.is_own().and_then(|()| self.read()).map(|mut book| book.close());
        let left = self.with(Book::close).or_else(|_| last());
        self.remove();
        left.unwrap_or_default()
    }

    /// Removes it. There may be none.
    pub(super) fn remove(&self) {
        drop(fs::remove_dir_all(&self.0));
    }

    fn is_own(&self) -> io::Result<()> {
        let found = fs::symlink_metadata(&self.0)?;
        let uid = rustix::process::getuid().as_raw();
        if !found.is_dir() || found.uid() != uid || found.mode() & 0o077 != 0 {
            return Err(io::Error::other(format!("{} is not the hook's own", self.0.display())));
        }
        Ok(())
    }

    fn lock(&self) -> io::Result<File> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.0.join("lock"))?;
        let until = Instant::now() + LOCK_TIMEOUT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if Instant::now() < until => sleep(LOCK_INTERVAL),
                Err(TryLockError::WouldBlock) => {
                    return Err(io::Error::other("another call of the hook holds the book"));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    fn read(&self) -> io::Result<Book> {
        let mut text = Vec::new();
        File::open(self.0.join("book"))?.take(MAX_BYTES).read_to_end(&mut text)?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// A call that is killed in the middle leaves the earlier book.
    fn write(&self, book: &Book) -> io::Result<()> {
        let beside = self.0.join("book.new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&serde_json::to_vec(book)?)?;
        fs::rename(beside, self.0.join("book"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::pod_view::PodView;

    fn store(root: &tempfile::TempDir) -> Store {
        Store(root.path().join("book"))
    }

    /// Changes the book, again where the lock was held for longer than a call waits: on a busy machine by the
    /// others, or by a process that another test is starting, which has copies of this one's descriptors.
    fn in_turn<T>(store: &Store, mut change: impl FnMut(&mut Book) -> T) -> T {
        let is_held = |error: &io::Error| error.to_string().contains("another call");
        let changed = (0..100).find_map(|_| match store.with(&mut change) {
            Err(error) if is_held(&error) => None,
            changed => Some(changed.unwrap()),
        });
        changed.expect("nobody gives the book back")
    }

    #[test]
    fn a_book_is_changed_and_read_again() {
        let root = tempfile::tempdir().unwrap();
        let store = store(&root);
        assert!(store.with(|_| ()).is_err(), "there is none yet");
        store.create(&Book::new(2, PodView::default())).unwrap();
        in_turn(&store, |book| book.used("alpine"));
        assert_eq!(in_turn(&store, |book| book.missing()).as_deref(), Some("alpine"));
        // The next job begins anew.
        store.create(&Book::new(2, PodView::default())).unwrap();
        assert_eq!(in_turn(&store, |book| book.missing()), None);
        store.remove();
        assert!(store.with(|_| ()).is_err());
    }

    #[test]
    fn what_others_can_change_is_not_believed() {
        let root = tempfile::tempdir().unwrap();
        let store = store(&root);
        store.create(&Book::new(2, PodView::default())).unwrap();
        fs::set_permissions(&store.0, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(store.with(|_| ()).is_err(), "of all");
        fs::set_permissions(&store.0, fs::Permissions::from_mode(0o700)).unwrap();
        let beside = root.path().join("beside");
        fs::rename(&store.0, &beside).unwrap();
        symlink(&beside, &store.0).unwrap();
        assert!(store.with(|_| ()).is_err(), "a link");
    }

    #[test]
    fn a_book_that_is_none_and_a_lock_that_is_held_are_errors() {
        let root = tempfile::tempdir().unwrap();
        let store = store(&root);
        store.create(&Book::new(2, PodView::default())).unwrap();
        let held = store.lock().unwrap();
        assert!(store.with(|_| ()).is_err());
        drop(held);
        for text in ["", "{}", "[1]", "no"] {
            fs::write(store.0.join("book"), text).unwrap();
            assert!(store.with(|_| ()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_waits_is_named_at_the_end_whatever_happens_to_the_book() {
        let root = tempfile::tempdir().unwrap();
        let store = store(&root);
        let mut book = Book::new(2, PodView::default());
        book.reserve("standby", "alpine", serde_json::from_str("0").unwrap());
        store.create(&book).unwrap();
        let _held = store.lock().unwrap();
        assert_eq!(store.close(), ["standby"], "locked");
        assert!(!store.0.exists());
        store.create(&book).unwrap();
        // Nothing can be written there, as on a full disk.
        fs::create_dir(store.0.join("book.new")).unwrap();
        assert!(store.with(Book::close).is_err());
        assert_eq!(store.close(), ["standby"], "unwritable");
    }

    #[test]
    fn calls_at_one_time_take_turns() {
        let root = tempfile::tempdir().unwrap();
        let store = store(&root);
        store.create(&Book::new(2, PodView::default())).unwrap();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let store = &store;
                scope.spawn(move || in_turn(store, |book| book.used(&format!("i-{number}"))));
            }
        });
        let learnt = in_turn(&store, |book| {
            let mut count = 0;
            while let Some(image) = book.missing() {
                book.used(&image);
                let shape = serde_json::from_str("0").unwrap();
                book.reserve(&image, &image, shape);
                count += 1;
            }
            count
        });
        assert_eq!(learnt, 2, "as many as may wait");
    }
}
