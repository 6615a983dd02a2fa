//! Which containers' logs are taken. Pure: what is known of the container is handed in.

use crate::crilog::Choice;
use crate::discovery::inventory::Verdict;
use crate::model::ContainerType;

/// Of a wanted pod, whose logs are exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Containers {
    /// Ephemeral containers; where nobody tells a container's type (`--no-api`), every container.
    #[default]
    Ephemeral,
    /// Every container, the runner's own included.
    All,
}

/// What actions-runner-controller calls the runner's container.
const RUNNER: &str = "runner";

// === impl Containers ===

impl Containers {
    /// Whether the log of a container that is taken is only listened to.
    pub(super) fn only_listens(self, container_type: Option<ContainerType>) -> bool {
        self == Self::Ephemeral && container_type == Some(ContainerType::Container)
    }

    /// What to do with a log of a pod of this verdict, and of a container of this name and type. No
    /// type: no source has told of the container yet; `typed`: one will, since there is an API server.
    pub(super) fn choose(
        self,
        verdict: Verdict,
        name: &str,
        container_type: Option<ContainerType>,
        typed: bool,
    ) -> Choice {
        match (verdict, self, container_type) {
            // Listened to: it says how its job is called and how it ended.
            (Verdict::Wanted, Self::Ephemeral, Some(ContainerType::Container))
                if name == RUNNER =>
            {
                Choice::Take
            }
            (Verdict::Unwanted, ..) | (_, _, Some(ContainerType::Sandbox)) => Choice::Leave,
            (Verdict::Open, ..) => Choice::Unsure,
            (Verdict::Wanted, Self::All, _)
            | (Verdict::Wanted, Self::Ephemeral, Some(ContainerType::Ephemeral)) => Choice::Take,
            (Verdict::Wanted, Self::Ephemeral, None | Some(ContainerType::Unknown)) => {
                if typed {
                    Choice::Unsure
                } else {
                    Choice::Take
                }
            }
            (Verdict::Wanted, Self::Ephemeral, Some(_)) => Choice::Leave,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logs_of_wanted_pods_ephemeral_containers_are_taken_and_no_others() {
        let choose = |verdict, kind| Containers::Ephemeral.choose(verdict, "job", kind, true);
        assert_eq!(choose(Verdict::Wanted, Some(ContainerType::Ephemeral)), Choice::Take);
        assert_eq!(choose(Verdict::Wanted, Some(ContainerType::Container)), Choice::Leave);
        assert_eq!(choose(Verdict::Wanted, Some(ContainerType::Sidecar)), Choice::Leave);
        assert_eq!(choose(Verdict::Wanted, None), Choice::Unsure);
        assert_eq!(choose(Verdict::Open, Some(ContainerType::Ephemeral)), Choice::Unsure);
        assert_eq!(choose(Verdict::Unwanted, Some(ContainerType::Ephemeral)), Choice::Leave);
    }

    #[test]
    fn where_nobody_tells_of_types_every_container_is_taken() {
        let choose = |kind| Containers::Ephemeral.choose(Verdict::Wanted, "job", kind, false);
        assert_eq!(choose(None), Choice::Take);
        assert_eq!(choose(Some(ContainerType::Unknown)), Choice::Take);
        let container = Some(ContainerType::Container);
        let all = Containers::All.choose(Verdict::Wanted, "web", container, true);
        assert_eq!(all, Choice::Take);
        assert!(!Containers::All.only_listens(container));
    }

    #[test]
    fn the_runners_own_log_is_listened_to_and_not_exported() {
        let container = Some(ContainerType::Container);
        let choice = Containers::Ephemeral.choose(Verdict::Wanted, "runner", container, true);
        assert_eq!(choice, Choice::Take);
        assert!(Containers::Ephemeral.only_listens(container));
        assert!(!Containers::Ephemeral.only_listens(Some(ContainerType::Ephemeral)));
    }
}
