//! Every message is decoded as it was encoded, however the stream is split, and invalid input is
//! rejected.

use proptest::{collection::vec, option, prelude::*};

use super::*;

mod records;

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,12}"
}

fn n32() -> impl Strategy<Value = u32> {
    any::<u32>()
}

fn n64() -> impl Strategy<Value = u64> {
    any::<u64>()
}

fn flag() -> impl Strategy<Value = bool> {
    any::<bool>()
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        vec(text(), 0..4).prop_map(Command::Argv),
        text().prop_map(Command::Line),
        Just(Command::Own),
    ]
}

fn kind() -> impl Strategy<Value = StepKind> {
    prop_oneof![
        Just(StepKind::Script),
        Just(StepKind::Container),
        Just(StepKind::Service),
        Just(StepKind::Internal),
    ]
}

fn run() -> impl Strategy<Value = Run> {
    let texts =
        (option::of(text()), option::of(text()), text(), option::of(text()), option::of(n64()));
    let rest = (vec((text(), text()), 0..4), vec(text(), 0..3), kind(), any::<bool>());
    (command(), texts, rest).prop_map(
        |(command, (cwd, user, name, id, called_ns), (env, prepend_path, kind, ends_container))| {
            Run { command, env, prepend_path, cwd, user, name, kind, id, called_ns, ends_container }
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    let signal = prop_oneof![
        Just(Signal::Interrupt),
        Just(Signal::Terminate),
        Just(Signal::Kill),
        Just(Signal::Quit),
        Just(Signal::Hangup),
    ];
    let probe = prop_oneof![command().prop_map(Probe::Command), text().prop_map(Probe::Tcp)];
    prop_oneof![
        any::<(u16, SessionKey)>()
            .prop_map(|(version, key)| Request::Hello(Hello { version, key })),
        vec(any::<u8>(), 64).prop_map(|bytes| {
            Request::Proof(Proof { signature: bytes.try_into().expect("64 bytes") })
        }),
        run().prop_map(Request::Run),
        vec(text(), 0..4).prop_map(Request::Mask),
        (signal, option::of(n32())).prop_map(|(signal, kill_after_ms)| {
            Request::Signal(SignalStep { signal, kill_after_ms })
        }),
        n32().prop_map(|grace_ms| Request::Stop(Stop { grace_ms })),
        (probe, n32(), n32(), n32(), n32()).prop_map(
            |(probe, interval_ms, timeout_ms, retries, start_period_ms)| Request::Health(Health {
                probe,
                interval_ms,
                timeout_ms,
                retries,
                start_period_ms,
            })
        ),
        vec((text(), vec(text(), 0..3)), 0..3).prop_map(|entries| {
            let entry = |(address, names)| HostEntry { address, names };
            Request::Hosts(entries.into_iter().map(entry).collect())
        }),
        vec((text(), text()), 0..3).prop_map(|links| {
            let present = |path: &String| match path.len() % 2 {
                0 => Present::Refuse,
                _ => Present::Replace,
            };
            let link = |(path, target)| Link { present: present(&path), path, target };
            Request::Links(links.into_iter().map(link).collect())
        }),
        vec(text(), 0..3).prop_map(Request::Directories),
        (text(), vec(any::<u8>(), 0..20), n32()).prop_map(|(path, content, mode)| {
            Request::WriteFile(WriteFile { path, content: Chunk(content), mode })
        }),
        vec((text(), text()), 0..3).prop_map(|ports| {
            Request::Forward(
                ports.into_iter().map(|(listen, to)| Forward { listen, to, udp: false }).collect(),
            )
        }),
        Just(Request::Status),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![any::<u8>().prop_map(End::Code), any::<u8>().prop_map(End::Signal)]
}

fn process_usage() -> impl Strategy<Value = ProcessUsage> {
    (n64(), n64(), n64()).prop_map(|(user_us, system_us, max_rss_bytes)| ProcessUsage {
        user_us,
        system_us,
        max_rss_bytes,
    })
}

fn delta() -> impl Strategy<Value = CgroupDelta> {
    any::<([Option<u64>; 7], Option<bool>)>().prop_map(
        |(
            [
                cpu_ns,
                throttled_ns,
                memory_bytes,
                memory_peak_bytes,
                oom_kills,
                read_bytes,
                written_bytes,
            ],
            rose,
        )| {
            CgroupDelta {
                cpu_ns,
                throttled_ns,
                memory_bytes,
                memory_peak_bytes,
                memory_peak_rose: rose,
                oom_kills,
                read_bytes,
                written_bytes,
            }
        },
    )
}

fn welcome() -> impl Strategy<Value = Welcome> {
    let fields = (any::<u16>(), n32(), n32(), n32(), flag(), flag(), n64(), n64());
    (fields, vec(text(), 0..3)).prop_map(|(fields, notes)| {
        let (version, pid, uid, gid, alpine, shell, started_at_ns, socket_inode) = fields;
        Welcome { version, pid, uid, gid, alpine, shell, started_at_ns, socket_inode, notes }
    })
}

fn reply() -> impl Strategy<Value = Reply> {
    let exit = (end(), flag(), flag(), n64(), n64(), n64(), process_usage(), delta());
    let step = (n64(), n32(), text(), n64());
    let status = (n64(), vec(step, 0..3), n64(), n32(), n64(), n64());
    let code = prop_oneof![
        Just(ErrorCode::Unauthorized),
        Just(ErrorCode::Version),
        Just(ErrorCode::Protocol),
        Just(ErrorCode::CommandNotFound),
        Just(ErrorCode::CommandNotExecutable),
        Just(ErrorCode::WorkingDirectory),
        Just(ErrorCode::User),
        Just(ErrorCode::Busy),
        Just(ErrorCode::Stopping),
        Just(ErrorCode::AddressInUse),
        Just(ErrorCode::System),
    ];
    prop_oneof![
        welcome().prop_map(Reply::Welcome),
        (n32(), n64(), n64()).prop_map(|(pid, step, at_ns)| Reply::Started(Started {
            pid,
            step,
            at_ns
        })),
        vec(any::<u8>(), 0..50).prop_map(|bytes| Reply::Stdout(Chunk(bytes))),
        vec(any::<u8>(), 0..50).prop_map(|bytes| Reply::Stderr(Chunk(bytes))),
        exit.prop_map(
            |(
                end,
                cancelled,
                left_open,
                started_at_ns,
                ended_at_ns,
                duration_ns,
                process,
                cgroup,
            )| {
                Reply::Exit(Exit {
                    end,
                    cancelled,
                    left_open,
                    started_at_ns,
                    ended_at_ns,
                    duration_ns,
                    process,
                    cgroup,
                })
            }
        ),
        any::<SessionKey>().prop_map(Reply::Key),
        Just(Reply::Done),
        status.prop_map(
            |(uptime_ns, steps, steps_ended, masks, log_dropped_bytes, journal_dropped)| {
                let step = |(step, pid, name, started_at_ns)| StepStatus {
                    step,
                    pid,
                    name,
                    started_at_ns,
                };
                let steps = steps.into_iter().map(step).collect();
                Reply::Status(Status {
                    uptime_ns,
                    steps,
                    steps_ended,
                    masks,
                    log_dropped_bytes,
                    journal_dropped,
                })
            }
        ),
        (flag(), n32(), text()).prop_map(|(healthy, probes, text)| {
            Reply::Health(HealthReport { healthy, probes, text })
        }),
        (code, text()).prop_map(|(code, text)| Reply::Error(Failure { code, text })),
    ]
}

/// Feeds the stream in pieces of `cut` bytes and returns all frames.
fn frames(stream: &[u8], cut: usize, limit: usize) -> Result<Vec<Vec<u8>>, Malformed> {
    let mut frames = Frames::new(limit);
    let mut taken = Vec::new();
    for piece in stream.chunks(cut) {
        frames.feed(piece);
        while let Some(frame) = frames.next_frame()? {
            taken.push(frame);
        }
    }
    Ok(taken)
}

proptest! {
    #[test]
    fn requests_come_out_as_they_went_in(requests in vec(request(), 1..4), cut in 1..40_usize) {
        let stream: Vec<u8> = requests.iter().flat_map(|r| r.encode().expect("short")).collect();
        let read = frames(&stream, cut, MAX_REQUEST_BYTES).expect("frames");
        let read: Vec<_> = read.iter().map(|body| Request::decode(body).expect("a request")).collect();
        prop_assert_eq!(read, requests);
    }

    #[test]
    fn replies_come_out_as_they_went_in(replies in vec(reply(), 1..4), cut in 1..40_usize) {
        let stream: Vec<u8> = replies.iter().flat_map(|r| r.encode().expect("short")).collect();
        let read = frames(&stream, cut, MAX_REPLY_BYTES).expect("frames");
        let read: Vec<_> = read.iter().map(|body| Reply::decode(body).expect("a reply")).collect();
        prop_assert_eq!(read, replies);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200), cut in 1..40_usize) {
        drop(Request::decode(&bytes));
        drop(Reply::decode(&bytes));
        drop(Record::from_line(&bytes));
        drop(frames(&bytes, cut, 64));
    }

    #[test]
    fn a_damaged_request_is_read_or_refused(
        request in request(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut frame = request.encode().expect("short");
        let mut body = frame.split_off(4);
        let at = at.index(body.len());
        body[at] = byte;
        drop(Request::decode(&body));
        drop(Request::decode(&body[..at]));
    }
}

#[test]
fn a_frame_over_the_limit_is_refused_before_it_arrives() {
    let mut frames = Frames::new(MAX_HELLO_BYTES);
    frames.feed(&u32::MAX.to_le_bytes());
    let bytes = u32::MAX as usize;
    assert_eq!(frames.next_frame(), Err(Malformed::TooLong { bytes, limit: MAX_HELLO_BYTES }));
}

#[test]
fn a_list_that_claims_more_than_it_has_is_short() {
    let mut body = vec![3];
    body.extend_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Request::decode(&body), Err(Malformed::Short));
}

#[test]
fn what_follows_a_value_is_refused() {
    assert_eq!(Request::decode(&[11, 0]), Err(Malformed::Left(1)));
    assert_eq!(Reply::decode(&[200]), Err(Malformed::Tag { what: "Reply", tag: 200 }));
}

#[test]
fn a_request_too_long_to_be_taken_is_not_sent() {
    let request = Request::Mask(vec!["x".repeat(MAX_REQUEST_BYTES)]);
    assert!(matches!(request.encode(), Err(Malformed::TooLong { .. })));
}

#[test]
fn the_longest_chunk_of_output_fits_a_reply() {
    let reply = Reply::Stdout(Chunk(vec![0; MAX_CHUNK_BYTES]));
    assert!(reply.encode().is_ok());
}
