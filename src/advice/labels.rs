//! The names that labels have in Prometheus, which a scrape may rename. Pure.

/// The names that labels have there: `exported_pod` where the scrape renames `pod`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    pub(crate) namespace: &'static str,
    pub(crate) pod: &'static str,
    pub(crate) container: &'static str,
    /// What only series of these names have; empty if all have them.
    pub(crate) apart: &'static str,
}

// === impl Labels ===

impl Labels {
    /// The family whose labels' names tell.
    pub const FAMILY: &str = "ephemon_container_start_time_seconds";

    /// By the names of labels that the family's series have: one for each way in which agents may be
    /// scraped. Where both are there, `pod` is the runner's of some series and the agent's of the others.
    pub fn of(names: &[String]) -> Vec<Self> {
        let has = |name: &str| names.iter().any(|known| known == name);
        let plain = Self { namespace: "namespace", pod: "pod", container: "container", apart: "" };
        let has_plain = [plain.namespace, plain.pod, plain.container].into_iter().all(has);
        if !has("exported_pod") {
            return Vec::from_iter(has_plain.then_some(plain));
        }
        let choose = |exported: &'static str, plain| if has(exported) { exported } else { plain };
        let exported = Self {
            namespace: choose("exported_namespace", plain.namespace),
            pod: "exported_pod",
            container: choose("exported_container", plain.container),
            apart: "exported_pod!=\"\"",
        };
        let plain = Self { apart: "exported_pod=\"\"", ..plain };
        Some(exported).into_iter().chain(has_plain.then_some(plain)).collect()
    }

    /// A pod.
    pub(crate) fn pod(&self) -> String {
        format!("cluster, {}, {}", self.namespace, self.pod)
    }

    /// A container.
    pub(crate) fn container(&self) -> String {
        format!("{}, {}", self.pod(), self.container)
    }

    /// The name of the label that has the pod's namespace, and of the one that has its name.
    pub(crate) fn names(&self) -> (&'static str, &'static str) {
        (self.namespace, self.pod)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_renamed_and_of_plain_labels_are_told_apart() {
        const PLAIN: [&str; 3] = ["namespace", "pod", "container"];
        const EXPORTED: [&str; 3] = ["exported_namespace", "exported_pod", "exported_container"];
        for (names, expected) in [
            (vec![], vec![]),
            (vec!["pod"], vec![]),
            (PLAIN.to_vec(), vec![("pod", "")]),
            (EXPORTED.to_vec(), vec![("exported_pod", "exported_pod!=\"\"")]),
            (
                [PLAIN, EXPORTED].concat(),
                vec![("exported_pod", "exported_pod!=\"\""), ("pod", "exported_pod=\"\"")],
            ),
        ] {
            let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
            let found = Labels::of(&names);
            let found: Vec<_> = found.iter().map(|it| (it.pod, it.apart)).collect();
            assert_eq!(found, expected, "{names:?}");
        }
    }
}
