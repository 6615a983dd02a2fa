//! What the agent logs, changed while it runs: for a time, after which the flag's filter is in force
//! again, so that nobody forgets a `debug`.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ephemon_base::lock;
use tokio::sync::Notify;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Changes the filter of the log; every clone is the same.
#[derive(Debug, Clone)]
pub(super) struct LogLevel(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    handle: Option<reload::Handle<EnvFilter, Registry>>,
    /// As `--log` says.
    configured: String,
    changed: Mutex<Option<Changed>>,
    news: Notify,
}

#[derive(Debug)]
struct Changed {
    filter: String,
    until: Instant,
}

// === impl LogLevel ===

impl LogLevel {
    /// `handle` changes a log that runs by `configured`. Without one nothing can be changed.
    pub(super) fn new(
        handle: Option<reload::Handle<EnvFilter, Registry>>,
        configured: String,
    ) -> Self {
        Self(Arc::new(Shared {
            handle,
            configured,
            changed: Mutex::default(),
            news: Notify::new(),
        }))
    }

    /// Logs by `filter` for `time` from `now` on.
    pub(super) fn change(
        &self,
        filter: &str,
        time: Duration,
        now: Instant,
    ) -> Result<(), ParseError> {
        let parsed = EnvFilter::try_new(filter)?;
        let mut changed = lock(&self.0.changed);
        self.apply(parsed);
        let until = now.checked_add(time).unwrap_or(now);
        *changed = Some(Changed { filter: filter.to_owned(), until });
        drop(changed);
        self.0.news.notify_one();
        tracing::info!(filter, seconds = time.as_secs(), "the log's filter was changed");
        Ok(())
    }

    /// Waits until the time of a changed filter is over. For one caller.
    pub(super) async fn until_due(&self) {
        loop {
            let until = lock(&self.0.changed).as_ref().map(|changed| changed.until);
            let Some(until) = until else {
                self.0.news.notified().await;
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep_until(until.into()) => return,
                () = self.0.news.notified() => {}
            }
        }
    }

    /// Returns to the configured filter where the time of another is over.
    pub(super) fn look(&self, now: Instant) {
        let mut changed = lock(&self.0.changed);
        if changed.as_ref().is_none_or(|changed| now < changed.until) {
            return;
        }
        *changed = None;
        // It was parsed at the start.
        if let Ok(filter) = EnvFilter::try_new(&self.0.configured) {
            self.apply(filter);
        }
        drop(changed);
        tracing::info!(filter = self.0.configured, "the log's filter is the configured one again");
    }

    /// The filter in force, and for how long yet where that is not the configured one.
    pub(super) fn current(&self, now: Instant) -> (String, Option<Duration>) {
        match lock(&self.0.changed).as_ref() {
            Some(changed) => {
                (changed.filter.clone(), Some(changed.until.saturating_duration_since(now)))
            }
            None => (self.0.configured.clone(), None),
        }
    }

    fn apply(&self, filter: EnvFilter) {
        if let Some(handle) = &self.0.handle
            && let Err(error) = handle.reload(filter)
        {
            tracing::warn!("cannot change the log's filter: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::level_filters::LevelFilter;
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::{Layer as _, fmt, registry};

    use super::*;

    #[test]
    fn a_change_holds_for_its_time_and_a_wrong_filter_changes_nothing() {
        let (filter, handle) = reload::Layer::new(EnvFilter::new("info"));
        let log = registry().with(fmt::layer().with_writer(std::io::sink).with_filter(filter));
        let level = LogLevel::new(Some(handle.clone()), "info".into());
        let _guard = tracing::subscriber::set_default(log);
        let hint = || handle.with_current(EnvFilter::max_level_hint).unwrap();
        let now = Instant::now();
        level.change("debug", Duration::from_mins(1), now).unwrap();
        assert_eq!(hint(), Some(LevelFilter::DEBUG));
        level.change("a=b=c", Duration::from_mins(1), now).unwrap_err();
        level.look(now + Duration::from_secs(59));
        let (filter, left) = level.current(now + Duration::from_secs(59));
        assert_eq!((filter.as_str(), left), ("debug", Some(Duration::from_secs(1))));
        level.look(now + Duration::from_mins(1));
        assert_eq!(level.current(now), ("info".into(), None));
        assert_eq!(hint(), Some(LevelFilter::INFO));
    }
}
