//! The hook's own container for jobs whose job container cannot provide the services' names and
//! ports: there is none, its user lacks the permission, or init does not run in it.

use ephemon_contract::{Limits, Volume, mount};
use k8s_openapi::api::core::v1::{
    Capabilities, EphemeralContainer, SeccompProfile, SecurityContext,
};

use super::{Common, Error, Planned, Role};
use crate::names::Names;
use crate::options::HealthOptions;
use crate::volumes::own_mount;

/// Its name in the pod, if unused.
const NAME: &str = "network";

/// A runtime's default capabilities except `NET_BIND_SERVICE` and `SETUID`: the container listens,
/// and writes `/etc/hosts`, which belongs to root. They are dropped one by one, because the
/// admission policy forbids adding one to `drop: [ALL]`.
const NOT_NEEDED: [&str; 12] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SYS_CHROOT",
];

/// The user if the hook itself is root.
const NOBODY: i64 = 65_534;

// === impl Planned ===

impl Planned {
    /// Plans it: only init, in the runner's image, which is already on the node.
    pub(crate) fn network(common: &Common<'_>, names: &mut Names) -> Result<Self, Error> {
        let image = common.pod.runner_image.clone().ok_or(Error::NoImage("runner"))?;
        let volumes = Role::Network.volumes(true);
        let missing: Vec<&str> =
            volumes.iter().copied().filter(|name| common.pod.volume(name).is_none()).collect();
        if !missing.is_empty() {
            return Err(Error::MissingVolumes(missing.join(", ")));
        }
        let mut planned = Self {
            role: Role::Network,
            spec: EphemeralContainer {
                name: names.take(NAME),
                image: Some(image.clone()),
                // If the tag has moved since the runner started, init is not affected.
                image_pull_policy: Some("IfNotPresent".to_owned()),
                command: Some(vec![
                    Volume::new(mount::EPHEMON).init().to_string_lossy().into_owned(),
                ]),
                security_context: Some(security_context()),
                volume_mounts: Some(volumes.iter().map(|name| own_mount(name)).collect()),
                ..EphemeralContainer::default()
            },
            image,
            has_init: true,
            asks_init: false,
            main: None,
            env: Vec::new(),
            secret: None,
            cwd: None,
            user: None,
            links: Vec::new(),
            directories: Vec::new(),
            ports: Vec::new(),
            names: Vec::new(),
            hosts: Vec::new(),
            health: HealthOptions::default(),
            limits: Limits::default(),
            registry: None,
            warnings: Vec::new(),
            warnings_without_init: Vec::new(),
        };
        planned.spec.env = Some(planned.plain_env(Vec::new(), None, common));
        Ok(planned)
    }

    /// The same for a namespace with the Pod Security level `restricted`: it forwards only ports
    /// from 1024.
    pub(crate) fn restricted(&self, uid: u32) -> Self {
        let uid = if uid == 0 { NOBODY } else { i64::from(uid) };
        let mut restricted = self.clone();
        restricted.spec.security_context = Some(SecurityContext {
            run_as_user: Some(uid),
            run_as_non_root: Some(true),
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..SecurityContext::default()
        });
        restricted
    }
}

fn security_context() -> SecurityContext {
    SecurityContext {
        run_as_user: Some(0),
        run_as_group: Some(0),
        run_as_non_root: Some(false),
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            add: None,
            drop: Some(NOT_NEEDED.map(str::to_owned).to_vec()),
        }),
        ..SecurityContext::default()
    }
}
