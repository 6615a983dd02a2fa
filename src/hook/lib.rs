//! The GitHub Actions runner's container hook: job, service and step containers as ephemeral
//! containers of the runner's own pod.
//!
//! One process per call: the request comes on standard input, the response is written to a file,
//! and the exit code is the step's. `request`, `options`, `ports`, `names`, `template`, `volumes`,
//! `spec` and `timeline` are pure; only `api` connects to the API server, and only `socket` to an init. A
//! script step uses the socket only, unless init cannot run in its image (`fallback`).

mod api;
mod arguments;
mod call;
mod cleanup;
mod console;
mod container_step;
mod context;
mod dry_run;
mod enforced;
mod exec;
mod fallback;
mod inputs;
mod job_summary;
mod journal;
mod journals;
mod launch;
mod leftovers;
mod log;
mod names;
mod options;
mod outcome;
mod pod_view;
mod ports;
mod prepare;
mod pulls;
mod request;
mod response;
mod script_step;
mod secrets;
mod service_keys;
mod settings;
mod socket;
mod spec;
mod standby;
mod starter;
mod state;
mod step;
mod step_name;
mod step_usage;
mod stop;
mod summary;
mod telemetry;
mod template;
mod timeline;
mod unexpected_exit;
mod volumes;
mod words;
mod worker_log;
mod workspace;

use std::cell::RefCell;
use std::io::{self, Read};
use std::process::ExitCode;
use std::time::Instant;

use ephemon_base::clock::{nanos, now_ns};
use ephemon_contract::{Phase, Record};
use tracing::Instrument as _;

use call::{Call, Error};
use console::Console;
pub use dry_run::{DryRun, dry_run};
use outcome::Outcome;
use request::{Command, Request};
use response::Response;
use settings::Settings;
use step::Signals;
use telemetry::Telemetry;

/// Handles the request on standard input.
pub fn main() -> ExitCode {
    let console = Console::new();
    match std::env::args_os().nth(1).as_deref().and_then(std::ffi::OsStr::to_str) {
        Some("--version") => {
            console.line(concat!("ephemon-hook ", env!("CARGO_PKG_VERSION")));
            return ExitCode::SUCCESS;
        }
        Some(enforced::ARGUMENT) => {
            console.line(&enforced::shown());
            return ExitCode::SUCCESS;
        }
        Some(job_summary::ARGUMENT) => {
            job_summary::write(&Settings::from_process(), &console);
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    if let Err(gone) = starter::cancel_when_it_ends() {
        console.error(&gone.to_string());
        return ExitCode::FAILURE;
    }
    let settings = Settings::from_process();
    let uid = rustix::process::getuid().as_raw();
    let call = Call {
        settings: &settings,
        console: &console,
        uid,
        began_ns: now_ns(),
        id: format!("{:016x}", fastrand::u64(..)),
        container: RefCell::default(),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            console.error(&format!("the hook cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        let telemetry = Telemetry::start(&settings, &console);
        let Outcome { code, cancelled, .. } = Box::pin(answer(&call)).await;
        if let Some(telemetry) = telemetry {
            telemetry.finish(cancelled, &console).await;
        }
        code
    });
    // Does not wait for a DNS lookup that is still running.
    runtime.shutdown_background();
    ExitCode::from(code)
}

async fn answer(call: &Call<'_>) -> Outcome {
    let began = Instant::now();
    let request = match read() {
        Ok(request) => request,
        Err(error) => {
            let sentence = error.to_string();
            call.console.error(&sentence);
            return Outcome { code: 1, sentence: Some(sentence), cancelled: false };
        }
    };
    let phase = phase(&request.command);
    let (step_id, context) = (call.settings.step_id.as_deref(), call.context());
    let (name, traceparent, display_name) = match phase {
        Phase::RunScriptStep | Phase::RunContainerStep => {
            (step_id, context.step(call.began_ns), step_name::of(call.settings))
        }
        Phase::PrepareJob | Phase::CleanupJob => (None, context.job(), None),
    };
    let shown = display_name.as_deref().or(name);
    let span = telemetry::call_span(phase.as_str(), shown, traceparent);
    let result = Box::pin(perform(call, &request)).instrument(span.clone()).await;
    let kind = result.as_ref().err().map(Error::kind);
    let outcome = result.unwrap_or_else(|error| Outcome {
        code: code_of(&error),
        sentence: Some(error.to_string()),
        cancelled: matches!(error, Error::Cancelled(_) | Error::Step(step::Error::TimedOut(_))),
    });
    if let Some(sentence) = &outcome.sentence {
        call.console.error(sentence);
    }
    telemetry::end_call(&span, &outcome, kind);
    drop(span);
    call.record(&Record::HookPhase {
        at_ns: call.began_ns,
        phase,
        duration_ns: nanos(began.elapsed()),
        success: outcome.code == 0,
        container: call.container.take(),
        name: step_id.map(Record::text),
        display_name: display_name.as_deref().map(Record::text),
        traceparent: traceparent.map(|traceparent| traceparent.to_string()),
        exit_code: Some(outcome.code),
    });
    outcome
}

fn read() -> Result<Request, Error> {
    let mut input = Vec::new();
    io::stdin().lock().take(request::MAX_BYTES).read_to_end(&mut input).map_err(Error::Input)?;
    Ok(Request::parse(&input)?)
}

async fn perform(call: &Call<'_>, request: &Request) -> Result<Outcome, Error> {
    let mut signals = Signals::listen().map_err(Error::Signals)?;
    let state = request.state.as_ref();
    let success = Outcome { code: 0, sentence: None, cancelled: false };
    let (outcome, response) = match &request.command {
        Command::PrepareJob(asked) => {
            let response = tokio::select! {
                response = prepare::run(call, asked) => response?,
                signal = signals.next() => return Err(Error::Cancelled(signal)),
            };
            (success, response)
        }
        Command::RunScriptStep(asked) => {
            let step = Box::pin(script_step::run(call, asked, state, &mut signals));
            (in_time(step).await?, Response::default())
        }
        Command::RunContainerStep(asked) => {
            let step = Box::pin(container_step::run(call, asked, state, &mut signals));
            (in_time(step).await?, Response::default())
        }
        Command::CleanupJob => {
            tokio::select! {
                () = cleanup::run(call, state) => {}
                signal = signals.next() => return Err(Error::Cancelled(signal)),
            }
            (success, Response::default())
        }
    };
    let Some(path) = &request.response_file else { return Ok(outcome) };
    let written = response.write(path);
    if matches!(request.command, Command::PrepareJob(_)) {
        written.map_err(|source| Error::Response { path: path.clone(), source })?;
        leftovers::forget(call.settings);
    } else if let Err(error) = written {
        // The runner reads only the response of `prepare_job`, and a step may have emptied the
        // directory, so the step's own result counts.
        call.console.debug(&format!("cannot write the response file: {error}"));
    }
    Ok(outcome)
}

/// Ends a step's call before the runner kills the hook, whatever it waits for when the signal
/// arrives.
async fn in_time(step: impl Future<Output = Result<Outcome, Error>>) -> Result<Outcome, Error> {
    let overdue = Signals::listen().map_err(Error::Signals)?.overdue();
    tokio::select! {
        biased;
        outcome = step => outcome,
        signal = overdue => Err(Error::Cancelled(signal)),
    }
}

fn code_of(error: &Error) -> u8 {
    match error {
        Error::Cancelled(signal) | Error::Step(step::Error::TimedOut(signal)) => {
            step::cancelled_code(*signal)
        }
        Error::UnexpectedExit { code, .. } => unexpected_exit::passed(*code),
        Error::Step(step::Error::NotRun(failure)) => failure.code.exit_code(),
        _ => 1,
    }
}

fn phase(command: &Command) -> Phase {
    match command {
        Command::PrepareJob(_) => Phase::PrepareJob,
        Command::RunScriptStep(_) => Phase::RunScriptStep,
        Command::RunContainerStep(_) => Phase::RunContainerStep,
        Command::CleanupJob => Phase::CleanupJob,
    }
}
