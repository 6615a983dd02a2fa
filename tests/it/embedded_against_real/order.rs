//! The order of an aspect's values in a pod's life, with those marked that a watcher may miss. Pure.
//!
//! A kubelet sends no status but the newest. A value that lasts until the scenario goes on is in some
//! event; one that lasts for an instant may be in none. Such instants are declared, in parentheses, in
//! their places among the values that are held. An order that only lacks instants takes the declared
//! form; any other stays as it was seen: with a value that is not declared, without one that is held, or
//! with two that have changed places.
//!
//! Source: kubernetes v1.36.3, `pkg/kubelet/status/status_manager.go` (`syncBatch`).

/// What stands between two values.
const THEN: &str = " > ";

/// A line's name, and the order of its values.
pub(super) type Order = (&'static str, &'static str);

/// A value, and whether a watcher may miss it.
type State<'a> = (&'a str, bool);

/// The orders in which a real node may leave something out. Each instant was seen on one, and the
/// embedded node shows all of them, each time.
pub(super) const ORDERS: [Order; 11] = [
    ("deleted: condition PodReadyToStartContainers", "- > (False) > True > False"),
    ("deleted: condition ContainersReady", READY),
    ("deleted: condition Ready", READY),
    ("deleted: main ready", "- > (false) > true > false"),
    ("deleted: main started", "- > (false) > true > false"),
    ("deleted: main state", "- > (waiting ContainerCreating) > running > terminated 0 Completed"),
    ("deleted: deaf state", "- > (waiting ContainerCreating) > running > terminated 137 Error"),
    ("completed: condition PodReadyToStartContainers", "- > (False) > True > False"),
    ("completed: before started", "- > (false) > true > false"),
    ("completed: before state", "- > (waiting PodInitializing) > running > terminated 0 Completed"),
    ("completed: beside state", "- > (waiting PodInitializing) > running > terminated 0 Completed"),
];

const READY: &str = "- > (False ContainersNotReady containers with unready status: [main]) > True \
    > False PodCompleted";

/// The order as it is declared for the line, if nothing but instants is missing in it; otherwise as it
/// was seen.
pub(super) fn folded(orders: &[Order], line: &str, seen: &[String]) -> String {
    let declared = orders.iter().find(|(name, _)| *name == line).map(|(_, order)| *order);
    match declared {
        Some(order) if admits(&states(order), seen, None) => order.to_owned(),
        _ => seen.join(THEN),
    }
}

/// Whether every value of a declared order was seen, the instants among them.
pub(super) fn is_whole(order: &str, seen: &[String]) -> bool {
    states(order).iter().map(|(value, _)| *value).eq(seen.iter().map(String::as_str))
}

fn states(order: &str) -> Vec<State<'_>> {
    let state = |part| {
        let instant = || str::strip_suffix(str::strip_prefix(part, '(')?, ')');
        instant().map_or((part, false), |value| (value, true))
    };
    order.split(THEN).map(state).collect()
}

/// Whether these states, some of the instants left out, are what was seen after `last`. The same value
/// twice in a row is seen once.
fn admits(states: &[State<'_>], seen: &[String], last: Option<&str>) -> bool {
    let Some(((value, is_instant), rest)) = states.split_first() else {
        return seen.is_empty();
    };
    let shown = || match seen.split_first() {
        _ if last == Some(*value) => admits(rest, seen, last),
        Some((first, later)) => first == value && admits(rest, later, Some(value)),
        None => false,
    };
    shown() || (*is_instant && admits(rest, seen, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "a: main state";
    const DECLARED: &str = "- > (waiting X) > running > (waiting Y) > running > terminated 0";
    const TABLE: [Order; 1] = [(LINE, DECLARED)];

    fn seen(order: &str) -> Vec<String> {
        order.split(THEN).map(str::to_owned).collect()
    }

    #[test]
    fn an_order_that_lacks_instants_has_the_declared_form() {
        for order in [
            "- > waiting X > running > waiting Y > running > terminated 0",
            "- > running > waiting Y > running > terminated 0",
            "- > waiting X > running > terminated 0",
            "- > running > terminated 0",
        ] {
            assert_eq!(folded(&TABLE, LINE, &seen(order)), DECLARED, "{order}");
        }
    }

    #[test]
    fn any_other_order_stays_as_it_was_seen() {
        for order in [
            // What is held is missing, at the beginning, within and at the end.
            "running > terminated 0",
            "- > waiting X > terminated 0",
            "- > waiting X > running",
            // Places changed.
            "- > running > waiting X > terminated 0",
            "- > waiting Y > running > waiting X > running > terminated 0",
            // Not declared.
            "- > waiting Z > running > terminated 0",
            "- > running > terminated 0 > running",
            "- > running > terminated 137",
            "-",
        ] {
            assert_eq!(folded(&TABLE, LINE, &seen(order)), order);
        }
        // Nor is one of another line.
        assert_eq!(folded(&TABLE, "b: main state", &seen("- > running")), "- > running");
    }

    #[test]
    fn only_an_order_with_all_instants_is_whole() {
        assert!(is_whole("- > (False) > True", &seen("- > False > True")));
        assert!(!is_whole("- > (False) > True", &seen("- > True")));
        assert!(!is_whole("- > (False) > True", &seen("- > True > False")));
    }
}
