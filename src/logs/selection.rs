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

// === impl Containers ===

impl Containers {
    /// What to do with a log of a pod of this verdict, and of a container of this type. `None`: no
    /// source has told of the container yet; `typed`: one will, since there is an API server.
    pub(super) fn choose(
        self,
        verdict: Verdict,
        container_type: Option<ContainerType>,
        typed: bool,
    ) -> Choice {
        match (verdict, self, container_type) {
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
        let choose = |verdict, kind| Containers::Ephemeral.choose(verdict, kind, true);
        assert_eq!(choose(Verdict::Wanted, Some(ContainerType::Ephemeral)), Choice::Take);
        assert_eq!(choose(Verdict::Wanted, Some(ContainerType::Container)), Choice::Leave);
        assert_eq!(choose(Verdict::Wanted, Some(ContainerType::Sidecar)), Choice::Leave);
        assert_eq!(choose(Verdict::Wanted, None), Choice::Unsure);
        assert_eq!(choose(Verdict::Open, Some(ContainerType::Ephemeral)), Choice::Unsure);
        assert_eq!(choose(Verdict::Unwanted, Some(ContainerType::Ephemeral)), Choice::Leave);
    }

    #[test]
    fn where_nobody_tells_of_types_every_container_is_taken() {
        let choose = |kind| Containers::Ephemeral.choose(Verdict::Wanted, kind, false);
        assert_eq!(choose(None), Choice::Take);
        assert_eq!(choose(Some(ContainerType::Unknown)), Choice::Take);
        let all = Containers::All.choose(Verdict::Wanted, Some(ContainerType::Container), true);
        assert_eq!(all, Choice::Take);
    }
}
