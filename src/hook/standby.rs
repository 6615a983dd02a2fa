//! Standby containers: made ahead for container actions, so that a step neither waits for the
//! kubelet nor for its image. Init waits in each; a step takes one whose spec is what the step's own
//! would be, and all of the step goes over init's socket.
//!
//! `uses` says which images the job's steps will use, by the runner's own files, and `look` waits for
//! it; `book` is what is known of them, and `store` keeps it between calls. Whatever goes wrong here,
//! the step gets a container of its own, as without.

mod book;
mod look;
mod manifest;
mod message;
mod step;
mod store;
mod uses;

use std::time::Duration;

use ephemon_base::clock::now_ns;
use ephemon_contract::{Record, Token};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::api::{self, Api};
use super::call::Call;
use super::names::Names;
use super::pod_view::PodView;
use super::request::Container;
use super::settings::Settings;
use super::spec::{self, Common, Planned, Role};
use super::template::Template;
use super::{leftovers, stop};
use book::Book;
pub(super) use look::{Look, look};
use store::Store;

/// How long the API server may take to accept a standby container: a call waits for it at most so
/// long.
const ADD_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a step that is over waits for the one of a later step.
const MOMENT: Duration = Duration::from_millis(250);
/// How long the end waits for a container that has just started, and how often it looks.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(1);
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// What a step may have, and what is to follow it.
#[derive(Debug)]
pub(super) struct Turn {
    /// The pod, as it was when the job was prepared: what a spec depends on does not change.
    pub(super) view: PodView,
    /// What the step runs in.
    pub(super) image: String,
    /// The container that the step has taken.
    pub(super) container: Option<String>,
    /// The container to make for a later step.
    pub(super) next: Option<Planned>,
}

/// Adds the first standby containers of a job whose own containers are ready. Neither waits for them
/// nor fails.
///
/// They are not in the patch with the job's own: the kubelet starts a pod's containers one after the
/// other, and says nothing new of any of them while it pulls an image, so that a slow registry would
/// hold up services. And what the API server refuses of them it must not refuse of the job. Their images
/// are told with the job's own, so that an agent may have them pulled by now.
pub(super) async fn begin(
    call: &Call<'_>,
    api: &Api,
    template: &Template,
    (view, token): (&PodView, &Token),
    look: Look,
) {
    let most = call.settings.standby;
    let Some(store) = Store::of(call.settings).filter(|_| most > 0) else { return };
    let planner = Planner { call, template, view, token };
    let mut book = Book::new(most, view.clone());
    book.expect(look.end().await, |one| planner.of_image(&one.image, one.entry_point).is_some());
    let mut all = Vec::new();
    while let Some(planned) = planner.next(&mut book, None) {
        all.push(planned);
    }
    if let Err(error) = store.create(&book) {
        call.console.debug(&format!("no containers stand by for actions: {error}"));
        return;
    }
    add(call, api, &store, &all.iter().collect::<Vec<_>>()).await;
}

/// What a step gets: each standby container is one step's only, however many calls run at once.
pub(super) fn turn(
    call: &Call<'_>,
    asked: &Container,
    template: &Template,
    token: &Token,
) -> Option<Turn> {
    let store = Store::of(call.settings).filter(|_| call.settings.standby > 0)?;
    let turn = store.with(|book| {
        let view = book.view.clone();
        let planner = Planner { call, template, view: &view, token };
        let asked = spec::bare(asked);
        let own = planner.plan(&asked)?;
        let container = book.take(&own.image, &own.shape()?);
        book.used(&own.image);
        let next = planner.next(book, Some((&own.image, &asked)));
        Some(Turn { view, image: own.image, container, next })
    });
    match turn {
        Ok(turn) => turn,
        // None stand by in this job.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            call.console.debug(&format!("no container stands by: {error}"));
            None
        }
    }
}

/// Runs a step while the container that stands by for a later one is added, if there is to be one.
/// The step ends when it ends: a slow API server may take a moment more, no longer.
pub(super) async fn beside<T>(
    call: &Call<'_>,
    api: &Api,
    next: Option<&Planned>,
    step: impl Future<Output = T>,
) -> T {
    let (Some(next), Some(store)) = (next, Store::of(call.settings)) else { return step.await };
    let next = [next];
    let mut follow = Box::pin(add(call, api, &store, &next));
    let mut step = Box::pin(step);
    tokio::select! {
        biased;
        result = &mut step => {
            if timeout(MOMENT, follow).await.is_err() {
                doubt(&store, &next);
            }
            result
        }
        () = &mut follow => step.await,
    }
}

/// Gives up a container that was to be added, and perhaps was not.
pub(super) fn release(call: &Call<'_>, next: Option<&Planned>) {
    if let (Some(next), Some(store)) = (next, Store::of(call.settings)) {
        doubt(&store, &[next]);
    }
}

/// Notes that a step could not be started: nobody waits for another one of an image that may not be
/// had.
pub(super) fn unlearn(call: &Call<'_>, turn: &Turn) {
    if let Some(store) = Store::of(call.settings) {
        // At the worst one container waits for nothing.
        drop(store.with(|book| book.unlearn(&turn.image)));
    }
}

/// Ends all that still stand by, in whatever phase of their start they are.
pub(super) async fn end(call: &Call<'_>, token: &Token) {
    let Some(store) = Store::of(call.settings) else { return };
    let left = store.close();
    join_all(left.iter().map(|container| end_one(call, token, container))).await;
}

/// Notes that the step is over which had taken this one.
pub(super) fn settle(call: &Call<'_>, container: &str) {
    if let Some(store) = Store::of(call.settings) {
        // What stays in the book is ended at the job's end.
        drop(store.with(|book| book.settle(container)));
    }
}

/// Ends one that waits. If it has not started, it finds the marker and exits at once. If it has just
/// started, it listens in a moment; if it has died, it has a socket on which nobody listens, or none.
/// Returns whether it was found in one of the first two states.
pub(super) async fn end_one(call: &Call<'_>, token: &Token, container: &str) -> bool {
    if leftovers::mark(call, container) {
        return true;
    }
    let until = Instant::now() + LISTEN_TIMEOUT;
    let socket = call.settings.volume.socket(container);
    loop {
        if stop::stop(call, token, container).await {
            return true;
        }
        if socket.exists() || Instant::now() >= until {
            return false;
        }
        sleep(RETRY_INTERVAL).await;
    }
}

/// Removes what a job left that was never prepared, or not to the end.
pub(super) fn drop_book(settings: &Settings) {
    if let Some(store) = Store::of(settings) {
        store.remove();
    }
}

async fn add(call: &Call<'_>, api: &Api, store: &Store, all: &[&Planned]) {
    if !all.is_empty() && timeout(ADD_TIMEOUT, ask(call, api, store, all)).await.is_err() {
        call.console.debug("no container stands by for actions: the API server is too slow");
        doubt(store, all);
    }
}

/// Asks for all in one patch. What a policy refuses, as an image that it does not allow, must not
/// keep out the others: then for each by itself.
async fn ask(call: &Call<'_>, api: &Api, store: &Store, all: &[&Planned]) {
    match ask_once(call, api, store, all).await {
        Err(error) if is_final(&error) && all.len() > 1 => {
            for planned in all {
                if let Err(error) = ask_once(call, api, store, &[planned]).await {
                    refused(call, store, planned, &error);
                }
            }
        }
        Err(error) => {
            for planned in all {
                refused(call, store, planned, &error);
            }
        }
        Ok(()) => {}
    }
}

async fn ask_once(
    call: &Call<'_>,
    api: &Api,
    store: &Store,
    all: &[&Planned],
) -> Result<(), api::Error> {
    let at_ns = now_ns();
    let specs: Vec<_> = all.iter().map(|planned| &planned.spec).collect();
    api.add(&specs).await?;
    for planned in all {
        call.record(&Record::HookLaunched {
            at_ns,
            container: planned.name().to_owned(),
            image: Record::text(&planned.image),
            running_at_ns: None,
        });
    }
    let names: Vec<&str> = all.iter().map(|planned| planned.name()).collect();
    // If it cannot be written, no step takes them, and the job's end ends them.
    drop(store.with(|book| book.asked(&names)));
    Ok(())
}

fn refused(call: &Call<'_>, store: &Store, planned: &Planned, error: &api::Error) {
    let (image, name) = (&planned.image, planned.name());
    call.console.debug(&format!("no container of {image} stands by for actions: {error}"));
    // What stays in the book counts against the bound, no more.
    drop(store.with(|book| match error {
        error if error.is_name_taken() => book.forget(name),
        error if is_final(error) => book.refuse(name),
        // It may exist.
        _ => book.doubt(name),
    }));
}

/// Whether the API server will not accept the same another time.
fn is_final(error: &api::Error) -> bool {
    matches!(error, api::Error::Refused { code: 400 | 403 | 422, .. })
}

/// They may exist: no step takes them, and the job's end ends them.
fn doubt(store: &Store, all: &[&Planned]) {
    drop(store.with(|book| {
        for planned in all {
            book.doubt(planned.name());
        }
    }));
}

/// Plans the containers of steps to come.
#[derive(Clone, Copy)]
struct Planner<'a> {
    call: &'a Call<'a>,
    template: &'a Template,
    view: &'a PodView,
    token: &'a Token,
}

// === impl Planner ===

impl Planner<'_> {
    /// `None` if the step's container has no init of ours, or cannot be.
    fn plan(&self, asked: &Container) -> Option<Planned> {
        self.named(asked, &mut Names::default())
    }

    fn of_image(&self, image: &str, entry_point: bool) -> Option<Planned> {
        self.plan(&spec::of_image(image, entry_point))
    }

    fn named(&self, asked: &Container, names: &mut Names) -> Option<Planned> {
        let common = Common {
            settings: self.call.settings,
            pod: self.view,
            token: self.token,
            uid: self.call.uid,
            call: &self.call.id,
        };
        let part = |_: &[String]| self.template.step();
        let planned = Planned::new(Role::Standby, asked, part, &common, names);
        planned.ok().filter(|planned| planned.has_init)
    }

    /// The next container that is missing, entered in the book. One of the present step's image is
    /// what the step's own is; for others only the image is known.
    fn next(&self, book: &mut Book, present: Option<(&str, &Container)>) -> Option<Planned> {
        let image = book.missing()?;
        let asked = match present {
            Some((own, asked)) if own == image => asked.clone(),
            _ => spec::of_image(&image, true),
        };
        let mut names = Names::new(book.names());
        let planned = self.named(&asked, &mut names)?;
        book.reserve(planned.name(), &image, planned.shape()?);
        Some(planned)
    }
}
