//! Containers of containerd and crun, driven as those of runc are in `containers`.

use crate::containers::{one_after_the_other, scenario_by};
use crate::support::containerd::CRUN;
use crate::support::kubelet::Spec;
use crate::support::parts::{Part, all_there};

#[test]
fn cruns_containers_are_shown_like_runcs() {
    if !all_there(&[Part::Program("crun")]) {
        return;
    }
    scenario_by(CRUN, &["--cri-socket"], |pod, cri| {
        let oom = Spec::load("out-of-memory", "burn 50 memory 96").limited(48 << 20);
        let specs = [
            Spec::load("burn-50ms", "burn 50"),
            Spec::load("burn-1s", "burn 1000"),
            Spec::load("many-pids", "pids 50"),
            Spec::new("shell", ["sh", "-c", "echo one; exit 3"]),
            oom,
            Spec::new("missing-command", ["/bin/there-is-no-such-file"]),
        ];
        let ran = specs.map(|spec| one_after_the_other(pod, cri, &spec)).to_vec();
        assert_eq!(cri.container_status(&ran[3].id).unwrap().exit_code, 3);
        assert_eq!(cri.container_status(&ran[4].id).unwrap().exit_code, 137);
        assert!(!ran[5].runs, "a command that is not there cannot have started");
        ran
    });
}
