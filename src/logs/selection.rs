//! Which containers' logs are taken. Pure: what is known of the container is handed in.

use ephemon_crilog::Choice;
use ephemon_discovery::identity::{Answer, KnownLog, Terms};
use ephemon_discovery::inventory::{Teller, Verdict};
use ephemon_model::ContainerType;

/// Of a wanted pod, whose logs are exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Containers {
    /// Ephemeral containers; where nobody tells a container's type (`--no-api`), every container.
    #[default]
    Ephemeral,
    /// Every container, the runner's own included.
    All,
    /// None: nobody takes logs. The runner's own is listened to.
    #[value(skip)]
    None,
}

/// What becomes of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// They go to the collector.
    Exported,
    /// They are those of a runner or of its scripts: listened to, for what they say of the job.
    Heard,
    /// Both.
    Both,
}

impl Purpose {
    /// Whether what the lines say of a job counts.
    pub(super) fn is_heard(self) -> bool {
        self != Self::Exported
    }

    /// Whether the lines are sent, and so masked.
    pub(super) fn is_exported(self) -> bool {
        self != Self::Heard
    }
}

// === impl Containers ===

impl Containers {
    /// What is done with the lines of a container whose log is taken. An ephemeral container tells nothing
    /// of the job, whatever its name.
    pub(super) fn purpose(
        self,
        name: &str,
        container_type: Option<ContainerType>,
        teller: Teller,
    ) -> Purpose {
        let own = [None, Some(ContainerType::Unknown), Some(ContainerType::Container)];
        match self {
            Self::None => Purpose::Heard,
            Self::Ephemeral if container_type == Some(ContainerType::Container) => Purpose::Heard,
            _ if teller.is(name) && own.contains(&container_type) => Purpose::Both,
            Self::Ephemeral | Self::All => Purpose::Exported,
        }
    }

    /// The same, of what the inventory knows.
    pub(super) fn purpose_of(self, name: &str, known: KnownLog) -> Purpose {
        self.purpose(name, known.container_type, known.teller)
    }

    /// What to do with the log of a container of this name.
    pub(super) fn choose(self, name: &str, known: KnownLog) -> Choice {
        let tells = known.teller.is(name);
        if self == Self::None && !tells {
            // Who tells is known with the pod.
            let is_open = known.has_api && known.verdict == Verdict::Open;
            return if is_open { Choice::Unsure } else { Choice::Leave };
        }
        let container_type = match known.container_type(self.terms()) {
            Answer::Known(container_type) => container_type,
            Answer::NotYet => return Choice::Unsure,
            Answer::Nobody => return Choice::Leave,
        };
        match (self, container_type) {
            // Listened to: it says how its job is called and how it ended.
            (_, ContainerType::Container) if tells => Choice::Take,
            // Of an unknown type where nobody tells of any.
            (Self::All, _)
            | (Self::Ephemeral, ContainerType::Ephemeral)
            | (_, ContainerType::Unknown) => Choice::Take,
            (Self::Ephemeral | Self::None, _) => Choice::Leave,
        }
    }

    /// Whether the lines of a container whose log was taken are only listened to. One of an unknown type
    /// is gone from the node: an API server had told its type, and a runner's is no ephemeral one.
    pub(super) fn only_hears(self, name: &str, known: KnownLog) -> bool {
        match self {
            Self::All => false,
            Self::Ephemeral if known.container_type.is_none() => {
                known.has_api && known.teller.is(name)
            }
            _ => self.purpose_of(name, known) == Purpose::Heard,
        }
    }

    /// Where all are taken their types do not matter.
    fn terms(self) -> Terms {
        Terms { typed: self != Self::All, nameless: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(verdict: Verdict, container_type: Option<ContainerType>, has_api: bool) -> KnownLog {
        KnownLog { verdict, has_api, container_type, teller: Teller::Runner }
    }

    #[test]
    fn the_logs_of_wanted_pods_ephemeral_containers_are_taken_and_no_others() {
        let choose =
            |verdict, kind| Containers::Ephemeral.choose("job", known(verdict, kind, true));
        assert_eq!(choose(Verdict::Wanted, Some(ContainerType::Ephemeral)), Choice::Take);
        assert_eq!(choose(Verdict::Wanted, Some(ContainerType::Container)), Choice::Leave);
        assert_eq!(choose(Verdict::Wanted, Some(ContainerType::Sidecar)), Choice::Leave);
        assert_eq!(choose(Verdict::Wanted, None), Choice::Unsure);
        assert_eq!(choose(Verdict::Open, Some(ContainerType::Ephemeral)), Choice::Unsure);
        assert_eq!(choose(Verdict::Nameless, Some(ContainerType::Ephemeral)), Choice::Unsure);
        assert_eq!(choose(Verdict::Unwanted, Some(ContainerType::Ephemeral)), Choice::Leave);
    }

    #[test]
    fn no_log_of_a_pod_that_nobody_has_listed_is_taken() {
        for containers in [Containers::Ephemeral, Containers::All, Containers::None] {
            for name in ["runner", "web"] {
                for kind in [None, Some(ContainerType::Unknown), Some(ContainerType::Container)] {
                    let choice = containers.choose(name, known(Verdict::Nameless, kind, true));
                    assert_ne!(choice, Choice::Take, "{containers:?} {name} {kind:?}");
                }
            }
        }
    }

    #[test]
    fn where_nobody_tells_of_types_every_container_is_taken() {
        let choose =
            |kind| Containers::Ephemeral.choose("job", known(Verdict::Wanted, kind, false));
        assert_eq!(choose(None), Choice::Take);
        assert_eq!(choose(Some(ContainerType::Unknown)), Choice::Take);
        let container = Some(ContainerType::Container);
        let all = Containers::All.choose("web", known(Verdict::Wanted, container, true));
        assert_eq!(all, Choice::Take);
        assert_eq!(Containers::All.purpose("web", container, Teller::Runner), Purpose::Exported);
    }

    #[test]
    fn where_nobody_takes_logs_the_runners_own_is_listened_to_and_no_other_is_read() {
        let choose =
            |name, kind, typed| Containers::None.choose(name, known(Verdict::Wanted, kind, typed));
        let container = Some(ContainerType::Container);
        assert_eq!(choose("runner", container, true), Choice::Take);
        assert_eq!(choose("runner", None, true), Choice::Unsure);
        assert_eq!(choose("runner", None, false), Choice::Take);
        assert_eq!(choose("runner", Some(ContainerType::Ephemeral), true), Choice::Leave);
        for kind in [None, container, Some(ContainerType::Ephemeral)] {
            assert_eq!(choose("job", kind, true), Choice::Leave);
            assert_eq!(choose("job", kind, false), Choice::Leave);
            assert_eq!(Containers::None.purpose("runner", kind, Teller::Runner), Purpose::Heard);
        }
        let open = Containers::None.choose("build", known(Verdict::Open, container, true));
        assert_eq!(open, Choice::Unsure, "of a pod that may turn out to be GitLab's");
    }

    #[test]
    fn the_runners_own_log_is_listened_to_and_exported_where_all_are_or_nobody_knows_its_type() {
        let container = Some(ContainerType::Container);
        let choice =
            Containers::Ephemeral.choose("runner", known(Verdict::Wanted, container, true));
        assert_eq!(choice, Choice::Take);
        let purpose = |of: Containers, name, kind| of.purpose(name, kind, Teller::Runner);
        assert_eq!(purpose(Containers::Ephemeral, "runner", container), Purpose::Heard);
        assert_eq!(purpose(Containers::All, "runner", container), Purpose::Both);
        assert_eq!(purpose(Containers::Ephemeral, "runner", None), Purpose::Both);
        for all in [Containers::Ephemeral, Containers::All] {
            let ephemeral = Some(ContainerType::Ephemeral);
            assert_eq!(purpose(all, "runner", ephemeral), Purpose::Exported);
        }
    }

    #[test]
    fn a_container_of_that_name_in_anothers_pod_is_no_runner() {
        let container = Some(ContainerType::Container);
        let others = KnownLog { teller: Teller::Nobody, ..known(Verdict::Wanted, container, true) };
        for containers in [Containers::Ephemeral, Containers::None] {
            assert_eq!(containers.choose("runner", others), Choice::Leave, "{containers:?}");
        }
        assert_eq!(Containers::All.choose("runner", others), Choice::Take);
        assert_eq!(Containers::All.purpose("runner", container, Teller::Nobody), Purpose::Exported);
    }

    #[test]
    fn of_a_gitlab_jobs_pod_the_two_containers_of_its_stages_are_listened_to() {
        let container = Some(ContainerType::Container);
        let gitlab = KnownLog { teller: Teller::Gitlab, ..known(Verdict::Wanted, container, true) };
        for containers in [Containers::Ephemeral, Containers::None] {
            for (name, choice) in [
                ("build", Choice::Take),
                ("helper", Choice::Take),
                ("runner", Choice::Leave),
                ("postgres", Choice::Leave),
            ] {
                assert_eq!(containers.choose(name, gitlab), choice, "{containers:?} {name}");
            }
            assert_eq!(containers.purpose_of("build", gitlab), Purpose::Heard);
        }
        assert_eq!(Containers::All.purpose_of("build", gitlab), Purpose::Both);
        assert_eq!(Containers::All.purpose_of("postgres", gitlab), Purpose::Exported);
        let ephemeral = KnownLog { container_type: Some(ContainerType::Ephemeral), ..gitlab };
        assert_eq!(Containers::Ephemeral.purpose_of("build", ephemeral), Purpose::Exported);
    }

    #[test]
    fn of_a_log_that_is_gone_the_name_says_whether_it_was_only_listened_to() {
        let hears = |containers: Containers, name, kind, has_api| {
            containers.only_hears(name, known(Verdict::Nameless, kind, has_api))
        };
        assert!(hears(Containers::Ephemeral, "runner", None, true));
        assert!(!hears(Containers::Ephemeral, "runner", None, false));
        assert!(!hears(Containers::Ephemeral, "job", None, true));
        assert!(!hears(Containers::All, "runner", None, true));
        assert!(hears(Containers::None, "runner", None, true));
        let kind = Some(ContainerType::Container);
        assert!(hears(Containers::Ephemeral, "runner", kind, true));
        assert!(!hears(Containers::Ephemeral, "runner", Some(ContainerType::Ephemeral), true));
    }
}
