//! Against a stand-in for the runtime, at the other end of a pair of sockets.

use std::sync::Mutex;

use super::*;
use crate::listing::tests::more as more_field;
use crate::wire::{
    Container, ContainerEvent, ContainerLife, CreateContainerRequest, CreateContainerResponse,
    PodSandbox, Status,
};

/// Limits every container to so many tasks, and notes what it is told.
#[derive(Debug, Default)]
struct ToPids {
    tasks: Option<u64>,
    slow: bool,
    told: Mutex<Vec<String>>,
}

impl ToPids {
    fn note(&self, what: impl Into<String>) {
        self.told.lock().unwrap().push(what.into());
    }
}

impl Handler for ToPids {
    async fn decide(&self, creation: Creation, _within: Duration) -> Adjustment {
        if self.slow {
            std::future::pending::<()>().await;
        }
        assert_eq!(creation.container, "job");
        let pids = self.tasks.filter(|_| !creation.there.pids_are_fixed);
        Adjustment { pids, ..Adjustment::default() }
    }

    fn unreadable(&self) {
        self.note("unreadable");
    }

    fn late(&self, creation: &Creation) {
        assert_eq!(creation.container, "job");
        self.note("late");
    }

    fn ready(&self) {
        self.note("ready");
    }

    fn told(&self, event: Event, life: Life) {
        self.note(format!("{event:?} {} {}", life.container, life.id));
    }

    fn listed(&self, list: List) {
        let whole = if list.is_complete { "all" } else { "a part" };
        self.note(format!("{whole} of {}", list.containers.len()));
    }
}

/// The runtime's end.
struct Runtime {
    stream: UnixStream,
    next: u32,
}

impl Runtime {
    /// What comes next, on which connection.
    async fn read(&mut self) -> (u32, Message) {
        let mut header = [0; frame::HEADER_BYTES];
        self.stream.read_exact(&mut header).await.unwrap();
        let header = Header::read(header).unwrap();
        assert!(header.bytes <= 4096, "the runtime's buffer");
        let mut content = vec![0; header.bytes];
        self.stream.read_exact(&mut content).await.unwrap();
        let mut incoming = Incoming::new(MAX_CALL_BYTES);
        incoming.push(&content);
        (header.connection, incoming.next().unwrap().expect("one message in a frame"))
    }

    async fn write(&mut self, connection: u32, content: &[u8]) {
        // In two frames, as a long message may come.
        let (head, tail) = content.split_at(content.len().min(7));
        for part in [head, tail] {
            self.stream.write_all(&framed(connection, part)).await.unwrap();
        }
    }

    async fn registration(&mut self, status: Option<Status>) -> RegisterPluginRequest {
        let (connection, message) = self.read().await;
        assert_eq!((connection, message.kind), (frame::RUNTIME, REQUEST));
        let request = Request::decode(message.data).unwrap();
        assert_eq!((&*request.service, &*request.method), (RUNTIME_SERVICE, "RegisterPlugin"));
        let data = Response { status, payload: Bytes::new() }.encode_to_vec().into();
        let answer = Message { stream: message.stream, kind: RESPONSE, data, cut: false };
        self.write(frame::RUNTIME, &answer.write()).await;
        RegisterPluginRequest::decode(request.payload).unwrap()
    }

    async fn call(&mut self, method: &str, payload: Vec<u8>) -> Bytes {
        let stream = self.next;
        self.next += 2;
        let service = "nri.pkg.api.v1alpha1.Plugin".to_owned();
        let request = Request { service, method: method.to_owned(), payload: payload.into() };
        let data = request.encode_to_vec().into();
        self.write(frame::PLUGIN, &Message { stream, kind: REQUEST, data, cut: false }.write())
            .await;
        let (connection, answer) = self.read().await;
        assert_eq!((connection, answer.stream), (frame::PLUGIN, stream));
        let answer = Response::decode(answer.data).unwrap();
        assert_eq!(answer.status, None, "an error would fail the container");
        answer.payload
    }

    async fn configure(&mut self, request_timeout: i64) {
        let payload = ConfigureRequest { request_timeout }.encode_to_vec();
        let answer = self.call("Configure", payload).await;
        assert_eq!(ConfigureResponse::decode(answer).unwrap().events, 0b10_0100_1000);
    }

    /// Tells of a container.
    async fn tell(&mut self, method: &str) {
        let container = ContainerLife {
            id: Bytes::from_static(b"id"),
            name: Bytes::from_static(b"job"),
            ..ContainerLife::default()
        };
        let event = ContainerEvent { pod: None, container: Some(container) }.encode_to_vec();
        assert_eq!(self.call(method, event).await, Bytes::new());
    }

    /// Sends a part of the list of all pods and containers.
    async fn list(&mut self, more: bool) {
        let mut part = Vec::new();
        more_field(more, &mut part);
        let answer = self.call("Synchronize", part).await;
        assert_eq!(SynchronizeResponse::decode(answer).unwrap().more, more);
    }

    async fn create(&mut self) -> CreateContainerResponse {
        let container = Container { name: "job".into(), linux: None }.encode_to_vec();
        let pod = Some(PodSandbox::default());
        let payload = CreateContainerRequest { pod, container: container.into() }.encode_to_vec();
        CreateContainerResponse::decode(self.call("CreateContainer", payload).await).unwrap()
    }
}

/// Plays the runtime against a session that decides so.
async fn play(decide: &ToPids, runtime: impl AsyncFnOnce(Runtime)) -> Error {
    let (own, other) = UnixStream::pair().unwrap();
    let runtime = runtime(Runtime { stream: other, next: 1 });
    tokio::join!(Session::new(own).serve("ephemon", decide), runtime).0
}

#[tokio::test]
async fn a_plugin_registers_and_answers_until_the_runtime_goes() {
    let decide = ToPids { tasks: Some(7), ..ToPids::default() };
    let ended = play(&decide, async |mut runtime| {
        let plugin = runtime.registration(None).await;
        assert_eq!((&*plugin.plugin_name, &*plugin.plugin_idx), ("ephemon", "99"));
        runtime.configure(2000).await;
        for more in [true, false] {
            runtime.list(more).await;
        }
        let created = runtime.create().await;
        let resources = created.adjust.unwrap().linux.unwrap().resources.unwrap();
        assert_eq!(resources.pids.unwrap().limit, 7);
        // Of a large node, and a container that nobody could start.
        let large = vec![7; MAX_CALL_BYTES + MAX_CALL_BYTES / 2];
        let answer = runtime.call("Synchronize", large.clone()).await;
        assert!(SynchronizeResponse::decode(answer).unwrap().more);
        // Of what is not told of a part that was cut the rest is not all.
        runtime.list(false).await;
        assert_eq!(runtime.call("CreateContainer", large).await, Bytes::new());
        // What is not known, and another connection, are no reason to end.
        assert_eq!(runtime.call("StateChange", vec![255; 9]).await, Bytes::new());
        runtime.write(77, b"of a later version").await;
        assert!(runtime.create().await.adjust.is_some());
    });
    assert!(matches!(ended.await, Error::Closed));
    let told = [
        "ready",
        "all of 0",
        "Created job ",
        "a part of 0",
        "a part of 0",
        "unreadable",
        "Created job ",
    ];
    assert_eq!(*decide.told.lock().unwrap(), told);
}

#[tokio::test]
async fn what_is_told_is_answered_first_and_passed_on_in_its_order() {
    let decide = ToPids::default();
    let ended = play(&decide, async |mut runtime| {
        runtime.registration(None).await;
        runtime.configure(2000).await;
        runtime.list(false).await;
        for method in ["StopContainer", "PostStartContainer", "RemoveContainer"] {
            runtime.tell(method).await;
        }
        assert_eq!(runtime.call("StopContainer", vec![255; 9]).await, Bytes::new());
        runtime.tell("StopContainer").await;
    });
    assert!(matches!(ended.await, Error::Closed));
    let told = ["ready", "all of 0", "Ended job id", "Started job id", "Ended job id"];
    assert_eq!(*decide.told.lock().unwrap(), told);
}

#[tokio::test]
async fn what_cannot_be_read_or_takes_too_long_changes_nothing() {
    let decide = ToPids { slow: true, tasks: Some(7), ..ToPids::default() };
    let ended = play(&decide, async |mut runtime| {
        runtime.registration(None).await;
        runtime.configure(40).await;
        let answer = runtime.call("CreateContainer", vec![255; 30]).await;
        assert_eq!(answer, Bytes::new());
        let since = Instant::now();
        assert_eq!(runtime.create().await.adjust, None);
        assert!(since.elapsed() >= Duration::from_millis(20));
        assert_eq!(runtime.call("Shutdown", Vec::new()).await, Bytes::new());
    });
    assert!(matches!(ended.await, Error::Shutdown));
    assert_eq!(*decide.told.lock().unwrap(), ["unreadable", "late", "Created job "]);
}

#[tokio::test]
async fn a_runtime_that_does_not_say_its_time_limit_knows_no_limit_of_tasks() {
    let decide = ToPids { tasks: Some(7), ..ToPids::default() };
    let ended = play(&decide, async |mut runtime| {
        runtime.registration(None).await;
        runtime.configure(0).await;
        assert_eq!(runtime.create().await.adjust, None);
    });
    assert!(matches!(ended.await, Error::Closed));
}

#[tokio::test]
async fn a_refusal_is_shown_without_control_characters() {
    let status = Status { code: 2, message: format!("no\x1b[31m{}", "x".repeat(9000)) };
    let decide = ToPids::default();
    let ended = play(&decide, async |mut runtime| {
        runtime.registration(Some(status)).await;
        // Until the other end has gone.
        runtime.stream.read_to_end(&mut Vec::new()).await.unwrap();
    });
    let text = ended.await.to_string();
    assert!(text.contains("no [31mxxx") && text.len() < 400, "{text}");
}

#[tokio::test]
async fn nonsense_ends_the_session() {
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        &[0, 0, 0, 1, 0, 0, 0, 10, 255, 0, 0, 0, 0, 0, 0, 0, 1, 0],
    ] {
        let decide = ToPids::default();
        let ended = play(&decide, async |mut runtime| {
            runtime.registration(None).await;
            runtime.stream.write_all(bytes).await.unwrap();
            runtime.stream.read_to_end(&mut Vec::new()).await.ok();
        });
        let error = ended.await;
        assert!(matches!(error, Error::Nonsense(_)), "{error:?}");
    }
}

#[tokio::test]
async fn a_missing_socket_is_named_with_what_to_check() {
    let directory = tempfile::tempdir().unwrap();
    let error = check(&directory.path().join("nri.sock")).await.unwrap_err().to_string();
    assert!(error.contains("nri.sock") && error.contains("--nri-socket"), "{error}");
}
