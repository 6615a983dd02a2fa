//! The output that processes hold open after their step has ended.

use std::{
    io::{ErrorKind, Read},
    os::fd::AsFd,
    sync::Arc,
    thread,
};

use rustix::event::PollFlags;

use crate::{
    container_log::ContainerLog,
    poll,
    reaper::Process,
    supervisor::Supervisor,
    tee::{Stream, Tee},
};

/// Keeps reading the output of processes that a step left behind, because a daemon must not be
/// killed by writing. The output goes to the container's log.
pub(super) fn keep(supervisor: &Arc<Supervisor>, process: Process, mut tee: Tee) {
    let Some(slot) = supervisor.leave_behind() else { return };
    let supervisor = Arc::clone(supervisor);
    let started = thread::Builder::new()
        .name("left".to_owned())
        .stack_size(crate::STACK_BYTES)
        .spawn(move || {
            let Process { mut stdout, mut stderr, .. } = process;
            let mut buffer = vec![0; 4096];
            while stdout.is_some() || stderr.is_some() {
                let ready = poll::wait(
                    &[
                        stdout.as_ref().map(|out| (out.as_fd(), PollFlags::IN)),
                        stderr.as_ref().map(|err| (err.as_fd(), PollFlags::IN)),
                    ],
                    None,
                );
                let is_ready = |at: usize| ready.get(at).is_some_and(|flags| !flags.is_empty());
                supervisor.others.learn_again(&supervisor.masks);
                let log = &supervisor.log;
                if is_ready(0) {
                    pass_on(&mut stdout, Stream::Out, &mut buffer, &mut tee, log);
                }
                if is_ready(1) {
                    pass_on(&mut stderr, Stream::Err, &mut buffer, &mut tee, log);
                }
            }
            drop(slot);
        });
    // Without a thread the pipe closes, and the daemon gets SIGPIPE when it writes.
    drop(started);
}

fn pass_on<R: Read>(
    pipe: &mut Option<R>,
    stream: Stream,
    buffer: &mut [u8],
    tee: &mut Tee,
    log: &ContainerLog,
) {
    let read = pipe.as_mut().map(|pipe| pipe.read(buffer));
    match read {
        Some(Ok(count)) if count > 0 => {
            log.write(stream, tee.feed(stream, buffer.get(..count).unwrap_or_default()));
        }
        Some(Err(error))
            if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
        _ => {
            log.write(stream, tee.finish(stream));
            *pipe = None;
        }
    }
}
