//! A hook's end of the socket, blocking and plain.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
};

use ephemon_contract::session::{Channel, Opening, SEAL_BYTES};
use ephemon_contract::{
    Exit, Frames, Hello, MAX_REPLY_BYTES, PROTOCOL_VERSION, Proof, Reply, Request, Run, Signature,
    Token,
};

use super::harness::{PATIENCE, token};

/// A hook's end of a connection.
pub(super) struct Client {
    pub(super) stream: UnixStream,
    frames: Frames,
    channel: Option<Channel>,
}

/// What a step said.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    exit: Option<Exit>,
}

// === impl Client ===

impl Client {
    pub(super) fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self { stream, frames: Frames::new(MAX_REPLY_BYTES + SEAL_BYTES), channel: None }
    }

    /// Proves who we are, with the job's token; what init says to that.
    pub(super) fn greet(&mut self) -> Option<Reply> {
        match self.agree(&token()) {
            Ok(signature) => {
                let welcome = self.receive();
                self.send(&Request::Proof(Proof { signature }));
                welcome
            }
            Err(refusal) => *refusal,
        }
    }

    /// Agrees on keys, with whatever token; the proof that is to come next.
    pub(super) fn agree(&mut self, token: &Token) -> Result<Signature, Box<Option<Reply>>> {
        let opening = Opening::new().expect("a key");
        let hello = Hello { version: PROTOCOL_VERSION, key: opening.public() };
        self.send(&Request::Hello(hello));
        let theirs = match self.receive() {
            Some(Reply::Key(key)) => key,
            other => return Err(Box::new(other)),
        };
        let (channel, signature) = opening.finish(token, "job", &theirs).expect("a channel");
        self.channel = Some(channel);
        Ok(signature)
    }

    pub(super) fn send(&mut self, request: &Request) {
        let mut frame = request.encode().expect("short");
        if let Some(channel) = &mut self.channel {
            frame = channel.seal(frame).expect("short");
        }
        self.send_bytes(&frame);
    }

    /// Sends anything; an init that has closed does not matter here.
    pub(super) fn send_bytes(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes));
    }

    /// The next reply; none at the end.
    pub(super) fn receive(&mut self) -> Option<Reply> {
        let mut buffer = vec![0; 65536];
        loop {
            if let Some(mut body) = self.frames.next_frame().expect("a frame") {
                if let Some(channel) = &mut self.channel {
                    body = channel.open(body).expect("sealed by init");
                }
                return Some(Reply::decode(&body).expect("a reply"));
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.frames.feed(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no reply: {error}"),
            }
        }
    }

    pub(super) fn ask(&mut self, request: &Request) -> Reply {
        self.send(request);
        self.receive().expect("a reply")
    }

    /// How many bytes of its steps' output init has kept from the container's log.
    pub(super) fn log_dropped_bytes(&mut self) -> u64 {
        match self.ask(&Request::Status) {
            Reply::Status(status) => status.log_dropped_bytes,
            other => panic!("{other:?}"),
        }
    }

    /// Reads until the init closes.
    pub(super) fn drain(&mut self) {
        // A half frame is answered by nothing: say that no more comes.
        drop(self.stream.shutdown(std::net::Shutdown::Write));
        while self.receive().is_some() {}
    }

    pub(super) fn is_closed(&mut self) -> bool {
        self.receive().is_none()
    }

    /// Runs a step to its end.
    pub(super) fn run(&mut self, run: &Run) -> Step {
        self.send(&Request::Run(run.clone()));
        self.finish()
    }

    /// Reads a running step's replies to its end.
    pub(super) fn finish(&mut self) -> Step {
        self.read_step().unwrap_or_else(|| panic!("the connection closed before the step's end"))
    }

    /// Its exit, or none when the init closed first.
    pub(super) fn finish_or_close(&mut self) -> Option<Exit> {
        self.read_step().and_then(|step| step.exit)
    }

    fn read_step(&mut self) -> Option<Step> {
        let mut step = Step::default();
        loop {
            match self.receive()? {
                Reply::Started(started) => assert!(started.pid > 0),
                Reply::Stdout(chunk) => step.stdout.extend(chunk.0),
                Reply::Stderr(chunk) => step.stderr.extend(chunk.0),
                Reply::Exit(exit) => {
                    step.exit = Some(exit);
                    return Some(step);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

// === impl Step ===

impl Step {
    pub(super) fn exit(&self) -> &Exit {
        self.exit.as_ref().expect("an end")
    }
}
