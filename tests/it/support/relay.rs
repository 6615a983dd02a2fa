//! A container of the pod that takes the place of an init's socket: it renames the real one, listens
//! in its place, passes on what is said, and keeps all of it.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

/// What was said through a relay.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    pub(crate) by_hook: Vec<u8>,
    pub(crate) by_init: Vec<u8>,
}

/// A taken socket.
pub(crate) struct Relay {
    /// Where the init's own socket is now.
    pub(crate) moved: PathBuf,
    said: Arc<Mutex<Said>>,
}

/// What a relay does to the hook's bytes, by their place in the stream.
type Change = fn(usize, &mut u8);

// === impl Relay ===

impl Relay {
    /// Takes a socket and passes everything on.
    pub(crate) fn take(socket: &Path) -> Self {
        Self::change(socket, |_, _| {})
    }

    /// Takes a socket and changes what the hook says.
    pub(crate) fn change(socket: &Path, change: Change) -> Self {
        let moved = socket.with_extension("moved");
        fs::rename(socket, &moved).unwrap();
        let said = Arc::<Mutex<Said>>::default();
        let (path, heard) = (moved.clone(), Arc::clone(&said));
        listen(socket, move |hook| pass(&hook, &path, &heard, change));
        Self { moved, said }
    }

    /// All that was said until now.
    pub(crate) fn said(&self) -> Said {
        self.said.lock().unwrap().clone()
    }

    /// Gives the socket back.
    pub(crate) fn give_back(&self, socket: &Path) {
        fs::rename(&self.moved, socket).unwrap();
    }
}

// === impl Said ===

impl Said {
    /// Whether either end said this in clear.
    pub(crate) fn shows(&self, text: &str) -> bool {
        let within = |all: &[u8]| all.windows(text.len()).any(|part| part == text.as_bytes());
        within(&self.by_hook) || within(&self.by_init)
    }
}

/// Listens at a path, as everybody in the pod can, and has each connection answered.
pub(crate) fn listen(path: &Path, answer: impl Fn(UnixStream) + Send + Sync + 'static) {
    let listener = UnixListener::bind(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
    let answer = Arc::new(answer);
    // They end with the test.
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = Arc::clone(&answer);
            thread::spawn(move || answer(stream));
        }
    });
}

fn pass(hook: &UnixStream, init: &Path, said: &Arc<Mutex<Said>>, change: Change) {
    let init = UnixStream::connect(init).unwrap();
    let (from_init, to_hook) = (init.try_clone().unwrap(), hook.try_clone().unwrap());
    let heard = Arc::clone(said);
    let back = thread::spawn(move || {
        copy(&from_init, &to_hook, |bytes| heard.lock().unwrap().by_init.extend_from_slice(bytes));
    });
    let mut place = 0;
    copy(hook, &init, |bytes| {
        said.lock().unwrap().by_hook.extend_from_slice(bytes);
        for byte in bytes {
            change(place, byte);
            place += 1;
        }
    });
    back.join().unwrap();
}

fn copy(mut from: &UnixStream, mut to: &UnixStream, mut keep: impl FnMut(&mut [u8])) {
    let mut buffer = vec![0; 65536];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        keep(&mut buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // The other end hears of the end.
    to.shutdown(Shutdown::Write).ok();
}
