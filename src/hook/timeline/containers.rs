//! The bars of a job's containers. Pure.

use ephemon_contract::Phase;
use ephemon_contract::journals::{Call, HookJournal, InitJournal};
use ephemon_markdown::{Bar, State};

use super::{bar, cleaned_ns};

/// From the request for each container to its end. A container that has told of no end, because it was
/// killed, has no init, or takes its time to stop, is drawn up to the end of `cleanup_job`.
pub(super) fn containers<'a>(
    hook: &HookJournal<'a, ()>,
    inits: &[(&'a str, InitJournal<'a, ()>)],
) -> Vec<Bar<'a>> {
    let end_of = |container: &str| {
        let own = inits.iter().find(|(name, _)| *name == container);
        let by_init = own.and_then(|(_, init)| init.ended).map(|((), at_ns, _)| at_ns);
        // One without init ends with its step.
        by_init.or_else(|| {
            let mut calls = hook.calls.iter().map(|((), call)| call);
            let of_step = calls.find(|call| {
                call.phase == Phase::RunContainerStep && call.container == Some(container)
            });
            of_step.map(Call::end_ns)
        })
    };
    let cleaned = cleaned_ns(hook);
    let bars = hook.launched.iter().map(|((), launched)| {
        let by_cleanup = || cleaned.filter(|cleaned| *cleaned >= launched.at_ns);
        let end = end_of(launched.container).or_else(by_cleanup);
        let state = if end.is_some() { State::Done } else { State::Unknown };
        bar(launched.container, launched.at_ns, end, state)
    });
    bars.collect()
}
