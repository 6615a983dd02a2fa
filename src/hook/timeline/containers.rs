//! The bars of a job's containers. Pure.

use ephemon_contract::{Phase, Record};
use ephemon_markdown::{Bar, State};

use super::super::journals::Journals;
use super::{bar, cleaned_ns};

/// From the request for each container to its end. A container that has told of no end, because it was
/// killed, has no init, or takes its time to stop, is drawn up to the end of `cleanup_job`.
pub(super) fn containers(journals: &Journals) -> Vec<Bar<'_>> {
    let end_of = |container: &str| {
        let own = journals.containers.iter().find(|(name, _)| name == container);
        let by_init = own.and_then(|(_, records)| {
            records.iter().find_map(|record| match record {
                Record::ContainerEnded { at_ns, .. } => Some(*at_ns),
                _ => None,
            })
        });
        // One without init ends with its step.
        let by_hook = || {
            journals.hook.iter().find_map(|record| match record {
                Record::HookPhase {
                    at_ns,
                    phase: Phase::RunContainerStep,
                    duration_ns,
                    container: Some(name),
                    ..
                } if name == container => Some(at_ns.saturating_add(*duration_ns)),
                _ => None,
            })
        };
        by_init.or_else(by_hook)
    };
    let cleaned = cleaned_ns(journals);
    let bars = journals.hook.iter().filter_map(|record| match record {
        Record::HookLaunched { at_ns, container, .. } => {
            let by_cleanup = || cleaned.filter(|cleaned| cleaned >= at_ns);
            let end = end_of(container).or_else(by_cleanup);
            let state = if end.is_some() { State::Done } else { State::Unknown };
            Some(bar(container, *at_ns, end, state))
        }
        _ => None,
    });
    bars.collect()
}
