//! The socket: authentication of clients, and one conversation after the other with each of them.

use std::{
    fs, io,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::Path,
    sync::{Arc, atomic::AtomicUsize},
    thread,
    time::Duration,
};

use ephemon_contract::{
    Command, ErrorCode, Failure, PROTOCOL_VERSION, Proof, Reply, Request, Run, Stop, Transcript,
    Welcome, session,
};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::io::Errno;

use super::{
    STACK_BYTES, command,
    connection::{Arrival, Connection, Gone},
    files,
    forward::Slot,
    health, step,
    supervisor::Supervisor,
};

/// Most connections at once; a further client gets an error.
const MAX_CONNECTIONS: usize = 64;
/// Time limit for each step of a client's authentication.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause if no connection can be accepted because descriptors ran out.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// How long connections may remain after the container's own step has ended.
const LAST_CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);

/// Binds the socket at a temporary path, makes it accessible to all users, and renames it, so that
/// every process that sees it can connect. Authentication decides who may use it. Returns the
/// socket and its inode number.
pub(super) fn bind(path: &Path) -> io::Result<(UnixListener, u64)> {
    let beside = path.with_extension("new");
    for stale in [&beside, path] {
        match fs::remove_file(stale) {
            Err(error) if error.raw_os_error() != Some(Errno::NOENT.raw_os_error()) => {
                return Err(error);
            }
            _ => {}
        }
    }
    let listener = UnixListener::bind(&beside)?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o666))?;
    let inode = fs::symlink_metadata(&beside)?.ino();
    fs::rename(&beside, path)?;
    Ok((listener, inode))
}

/// Accepts connections until the process ends.
pub(super) fn accept_forever(listener: &UnixListener, supervisor: &Arc<Supervisor>) {
    let connections = Arc::new(AtomicUsize::new(0));
    loop {
        match listener.accept() {
            Ok((stream, _)) => accept(stream, supervisor, &connections),
            Err(_) => thread::sleep(ACCEPT_RETRY_INTERVAL),
        }
    }
}

fn accept(stream: UnixStream, supervisor: &Arc<Supervisor>, connections: &Arc<AtomicUsize>) {
    let Ok(mut connection) = Connection::new(stream) else { return };
    let Some(slot) = Slot::take(connections, MAX_CONNECTIONS) else {
        let failure =
            Failure::new(ErrorCode::Busy, format!("{MAX_CONNECTIONS} connections are open"));
        // The connection closes in either case.
        connection.queue(&Reply::Error(failure)).ok();
        return;
    };
    let supervisor = Arc::clone(supervisor);
    // Without a thread the connection closes, and the hook tries again or reports it.
    drop(thread::Builder::new().name("hook".to_owned()).stack_size(STACK_BYTES).spawn(move || {
        // When the peer disconnects, its requests have already been ended.
        converse(&supervisor, &mut connection).ok();
        drop(slot);
    }));
}

fn converse(supervisor: &Arc<Supervisor>, client: &mut Connection) -> Result<(), Gone> {
    if let Err(failure) = greet(supervisor, client)? {
        return client.reply(&Reply::Error(failure));
    }
    client.trust();
    supervisor.meet();
    let result = serve(supervisor, client);
    supervisor.part();
    result
}

fn serve(supervisor: &Arc<Supervisor>, client: &mut Connection) -> Result<(), Gone> {
    loop {
        match client.wait_request(None)? {
            Arrival::Request(request) => answer(supervisor, client, *request)?,
            Arrival::Nothing => {}
            Arrival::Invalid => {
                let failure = Failure::new(ErrorCode::Protocol, "this frame is not a request");
                return client.reply(&Reply::Error(failure));
            }
        }
    }
}

/// Authenticates both sides. Before that the peer learns nothing specific to this container;
/// without the container's key it cannot even learn that.
fn greet(supervisor: &Supervisor, client: &mut Connection) -> Result<Result<(), Failure>, Gone> {
    let transcript = match client.wait_request(Some(HELLO_TIMEOUT))? {
        Arrival::Request(request) => match open(supervisor, client, &request)? {
            Ok(transcript) => transcript,
            Err(failure) => return Ok(Err(failure)),
        },
        Arrival::Invalid => {
            return Ok(Err(Failure::new(ErrorCode::Protocol, "this frame is not a request")));
        }
        Arrival::Nothing => return Err(Gone),
    };
    if let Err(failure) = admit(supervisor, client) {
        return Ok(Err(failure));
    }
    client.reply(&Reply::Welcome(welcome(supervisor)))?;
    let hook = &supervisor.config.hook_key;
    Ok(match client.wait_request(Some(HELLO_TIMEOUT))? {
        Arrival::Request(request) => match *request {
            Request::Proof(Proof { signature }) if transcript.is_signed(hook, &signature) => Ok(()),
            _ => Err(Failure::new(ErrorCode::Unauthorized, "the client is not the job's hook")),
        },
        Arrival::Invalid => {
            Err(Failure::new(ErrorCode::Unauthorized, "the key is not this container's"))
        }
        Arrival::Nothing => return Err(Gone),
    })
}

/// Agrees on keys. Everything after this is encrypted.
fn open(
    supervisor: &Supervisor,
    client: &mut Connection,
    request: &Request,
) -> Result<Result<Transcript, Failure>, Gone> {
    let config = &supervisor.config;
    let Request::Hello(hello) = request else {
        return Ok(Err(Failure::new(ErrorCode::Protocol, "the first request must be Hello")));
    };
    if hello.version != PROTOCOL_VERSION {
        let text = format!(
            "the client uses protocol version {}, this is version {PROTOCOL_VERSION}",
            hello.version
        );
        return Ok(Err(Failure::new(ErrorCode::Version, text)));
    }
    let accepted =
        session::accept(&config.hook_key, &config.container_key, &config.container, &hello.key);
    match accepted {
        Ok((key, channel, transcript)) => {
            client.queue(&Reply::Key(key))?;
            client.seal(channel);
            Ok(Ok(transcript))
        }
        Err(error) => Ok(Err(Failure::new(ErrorCode::Protocol, error.to_string()))),
    }
}

fn admit(supervisor: &Supervisor, client: &Connection) -> Result<(), Failure> {
    let Some(allowed) = supervisor.config.peer_uid else { return Ok(()) };
    // Not with `rustix`, which treats the process id 0 of a peer in another process namespace as an
    // error.
    let peer = getsockopt(&client.interest().0, PeerCredentials).map_err(|error| {
        Failure::new(
            ErrorCode::Unauthorized,
            format!("cannot read the credentials of the client: {error}"),
        )
    })?;
    let uid = peer.uid();
    if [allowed, supervisor.uid, 0].contains(&uid) {
        return Ok(());
    }
    let text = format!("uid {uid} may not use this socket");
    Err(Failure::new(ErrorCode::Unauthorized, text))
}

fn welcome(supervisor: &Supervisor) -> Welcome {
    Welcome {
        version: PROTOCOL_VERSION,
        pid: std::process::id(),
        uid: supervisor.uid,
        gid: supervisor.gid,
        alpine: is_alpine(Path::new("/etc")),
        shell: command::has_shell(),
        started_at_ns: supervisor.started_at_ns,
        socket_inode: supervisor.socket_inode,
        notes: supervisor.notes.clone(),
    }
}

fn answer(
    supervisor: &Arc<Supervisor>,
    client: &mut Connection,
    request: Request,
) -> Result<(), Gone> {
    let done = |result: Result<(), Failure>| match result {
        Ok(()) => Reply::Done,
        Err(failure) => Reply::Error(failure),
    };
    let system = |error: String| Failure::new(ErrorCode::System, error);
    let reply = match request {
        Request::Hello(_) | Request::Proof(_) => {
            Reply::Error(Failure::new(ErrorCode::Protocol, "the client has already sent Hello"))
        }
        // The step ended before its signal arrived.
        Request::Signal(_) => return Ok(()),
        Request::Run(mut run) => {
            if run.command == Command::Own
                && let Some(own) = &supervisor.config.own
            {
                run.command = Command::Argv(own.clone());
            }
            return answer_run(supervisor, client, &run);
        }
        Request::Stop(Stop { grace_ms }) => {
            client.reply(&Reply::Done)?;
            supervisor.stop(Duration::from_millis(grace_ms.into()));
            return Err(Gone);
        }
        Request::Mask(values) => {
            let added = supervisor.masks.add(values.iter().map(String::as_bytes));
            done(added.map_err(|error| Failure::new(ErrorCode::Busy, error.to_string())))
        }
        Request::Health(asked) => Reply::Health(health::check(supervisor, &asked, client)?),
        Request::Hosts(entries) => {
            let replaced = supervisor.hosts.replace(&entries);
            done(replaced.map_err(|error| system(error.to_string())))
        }
        Request::Links(links) => done(files::link(&links, &supervisor.config.root)),
        Request::Directories(paths) => {
            done(files::make_directories(&paths, &supervisor.config.root))
        }
        Request::WriteFile(file) => done(files::write(&file, &supervisor.config.root)),
        Request::Forward(asked) => done(supervisor.forwards.start(&asked)),
        Request::Status => Reply::Status(supervisor.status()),
    };
    client.reply(&reply)
}

fn answer_run(
    supervisor: &Arc<Supervisor>,
    client: &mut Connection,
    run: &Run,
) -> Result<(), Gone> {
    supervisor.others.learn(&supervisor.masks);
    let (reply, exit_code, begun) = match step::run(supervisor, run, Some(client)) {
        Ok((exit, begun)) => (Reply::Exit(exit), exit.end.exit_code(), Some(begun)),
        Err(failure) => {
            let exit_code = failure.code.exit_code();
            (Reply::Error(failure), exit_code, None)
        }
    };
    let told = client.reply(&reply);
    if run.ends_container {
        supervisor.finish(exit_code, LAST_CONNECTION_TIMEOUT);
    }
    drop(begun);
    told
}

fn is_alpine(etc: &Path) -> bool {
    etc.join("alpine-release").exists()
        || fs::read_to_string(etc.join("os-release")).is_ok_and(|text| {
            text.lines().any(|line| matches!(line, "ID=alpine" | "ID=\"alpine\""))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alpine_is_told_by_either_file() {
        let etc = tempfile::tempdir().expect("a directory");
        assert!(!is_alpine(etc.path()));
        fs::write(etc.path().join("os-release"), "NAME=x\nID=debian\nID_LIKE=alpine\n")
            .expect("a file");
        assert!(!is_alpine(etc.path()));
        fs::write(etc.path().join("os-release"), "ID=alpine\n").expect("a file");
        assert!(is_alpine(etc.path()));
        fs::remove_file(etc.path().join("os-release")).expect("removed");
        fs::write(etc.path().join("alpine-release"), "3\n").expect("a file");
        assert!(is_alpine(etc.path()));
    }
}
