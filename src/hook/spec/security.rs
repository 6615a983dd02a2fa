//! The user of a container's process and its privileges.

use k8s_openapi::api::core::v1::{AppArmorProfile, Capabilities, SeccompProfile, SecurityContext};
use serde_json::Value;

use super::{Error, Planned, Role};
use crate::options::{Options, Security};

/// Every capability.
const ALL: &str = "ALL";
/// No seccomp or `AppArmor` profile.
const UNCONFINED: &str = "Unconfined";

/// `--user`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum User {
    /// The image's default user.
    Image,
    /// By number, which a pod spec can contain.
    Number { uid: i64, gid: Option<i64> },
    /// By name, which only the image can resolve.
    Named(String),
}

// === impl User ===

impl User {
    pub(super) fn parse(text: Option<&str>) -> Self {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Self::Image };
        let (user, group) = match text.split_once(':') {
            // As Docker treats it: without text after the colon there is no group, without text
            // before it the user is root.
            Some((user, "")) => (user, None),
            Some(("", group)) => ("root", Some(group)),
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let number = |name: &str| match name {
            "root" => Some(0),
            digits => digits.parse::<u32>().ok().map(i64::from),
        };
        match (number(user), group.map(number)) {
            (Some(uid), None) => Self::Number { uid, gid: None },
            (Some(uid), Some(Some(gid))) => Self::Number { uid, gid: Some(gid) },
            _ => Self::Named(text.to_owned()),
        }
    }
}

/// The default capabilities of container runtimes (containerd, `defaultUnixCaps`; moby has the
/// same).
const USUAL: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The privileges that a container gets from its options.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Granted {
    privileged: bool,
    add: Vec<String>,
    drop: Vec<String>,
    security: Security,
    /// The options that are refused.
    pub(super) refused: Vec<String>,
}

// === impl Granted ===

impl Granted {
    /// `allowed`: whether the operator permits options that weaken the isolation.
    pub(super) fn of(options: &Options, allowed: bool) -> Self {
        let mut granted = Self {
            privileged: options.privileged,
            add: options.cap_add.clone(),
            drop: options.cap_drop.clone(),
            security: options.security,
            refused: Vec::new(),
        };
        if !allowed {
            granted.confine();
        }
        // The API server rejects this combination.
        let strong = granted.privileged || granted.may_mount();
        granted.security.no_new_privileges &= !strong;
        granted
    }

    /// Keeps the default privileges, and records what is refused.
    fn confine(&mut self) {
        let add = std::mem::take(&mut self.add);
        let usual = |name: &String| USUAL.contains(&name.as_str());
        if self.privileged {
            self.refused.push("--privileged".to_owned());
        }
        let more = add.iter().filter(|name| !usual(name));
        self.refused.extend(more.map(|name| format!("--cap-add {name}")));
        if self.security.seccomp_unconfined {
            self.refused.push("--security-opt seccomp=unconfined".to_owned());
        }
        if self.security.apparmor_unconfined {
            self.refused.push("--security-opt apparmor=unconfined".to_owned());
        }
        let no_new_privileges = self.security.no_new_privileges;
        self.security = Security { no_new_privileges, ..Security::default() };
        self.privileged = false;
        // A capability that is dropped with all and added again is not dropped.
        if add.iter().any(usual) {
            if self.drop.iter().any(|name| name == ALL) {
                self.drop = USUAL.map(str::to_owned).to_vec();
            }
            self.drop.retain(|name| !add.contains(name));
        }
    }

    /// Whether it can mount file systems.
    pub(super) fn may_mount(&self) -> bool {
        self.privileged || self.add.iter().any(|name| name == ALL || name == "SYS_ADMIN")
    }
}

/// The workflow's options, overridden by the operator's security context.
pub(super) fn context(
    granted: &Granted,
    read_only: bool,
    user: &User,
    operators: Option<SecurityContext>,
) -> Option<SecurityContext> {
    let mut wishes = SecurityContext::default();
    if let User::Number { uid, gid } = user {
        wishes.run_as_user = Some(*uid);
        wishes.run_as_group = *gid;
    }
    wishes.privileged = granted.privileged.then_some(true);
    wishes.read_only_root_filesystem = read_only.then_some(true);
    let security = granted.security;
    wishes.allow_privilege_escalation = security.no_new_privileges.then_some(false);
    wishes.seccomp_profile = security
        .seccomp_unconfined
        .then(|| SeccompProfile { type_: UNCONFINED.to_owned(), ..SeccompProfile::default() });
    wishes.app_armor_profile = security
        .apparmor_unconfined
        .then(|| AppArmorProfile { type_: UNCONFINED.to_owned(), ..AppArmorProfile::default() });
    let list = |names: &[String]| (!names.is_empty()).then(|| names.to_vec());
    if !granted.add.is_empty() || !granted.drop.is_empty() {
        wishes.capabilities =
            Some(Capabilities { add: list(&granted.add), drop: list(&granted.drop) });
    }
    let merged = match operators {
        None => wishes,
        Some(operators) => overlay(&wishes, &operators).unwrap_or(operators),
    };
    (merged != SecurityContext::default()).then_some(merged)
}

// === impl Planned ===

impl Planned {
    /// Sets the user and the privileges of the container's process.
    pub(super) fn secure(
        &mut self,
        options: &Options,
        operators: Option<SecurityContext>,
        allowed: bool,
    ) -> Result<(), Error> {
        let choice = User::parse(options.user.as_deref());
        if let User::Named(name) = &choice
            && self.role != Role::Service
        {
            if !self.has_init {
                return Err(Error::UserByName { image: self.image.clone(), user: name.clone() });
            }
            self.user = Some(name.clone());
        }
        let granted = Granted::of(options, allowed);
        self.warnings.extend(granted.refused.iter().map(|what| {
            format!(
                "{} requests {what}, which this runner does not allow: operations that need it fail in the container; the operator of the runner can allow it with EPHEMON_ALLOW_PRIVILEGED=true",
                self.image
            )
        }));
        let mounts_memory = granted.may_mount() && self.has_init;
        let read_only = options.read_only && (options.tmpfs.is_empty() || mounts_memory);
        if read_only != options.read_only {
            self.warnings.push(format!(
                "option --read-only of {} is ignored: its --tmpfs cannot be mounted, but must be writable",
                self.image
            ));
        }
        self.spec.security_context = context(&granted, read_only, &choice, operators);
        Ok(())
    }
}

/// Merges field by field; the operator's value takes precedence.
fn overlay(below: &SecurityContext, above: &SecurityContext) -> Option<SecurityContext> {
    let mut merged = serde_json::to_value(below).ok()?;
    let Value::Object(above) = serde_json::to_value(above).ok()? else { return None };
    merged.as_object_mut()?.extend(above);
    serde_json::from_value(merged).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_root_are_told_from_names() {
        assert_eq!(User::parse(None), User::Image);
        assert_eq!(User::parse(Some("root")), User::Number { uid: 0, gid: None });
        assert_eq!(User::parse(Some("1000:0")), User::Number { uid: 1000, gid: Some(0) });
        assert_eq!(User::parse(Some("node")), User::Named("node".into()));
        assert_eq!(User::parse(Some("1000:staff")), User::Named("1000:staff".into()));
        assert_eq!(User::parse(Some("1000:")), User::Number { uid: 1000, gid: None });
        assert_eq!(User::parse(Some(":7")), User::Number { uid: 0, gid: Some(7) });
        assert_eq!(User::parse(Some("-1")), User::Named("-1".into()));
    }

    fn granted(line: &str, allowed: bool) -> Granted {
        Granted::of(&Options::parse(line, "a").unwrap(), allowed)
    }

    #[test]
    fn the_operators_word_counts_over_the_workflows() {
        let operators = SecurityContext {
            privileged: Some(false),
            run_as_non_root: Some(true),
            ..SecurityContext::default()
        };
        let granted = granted("--privileged", true);
        let context = context(&granted, true, &User::Image, Some(operators)).unwrap();
        assert_eq!(context.privileged, Some(false));
        assert_eq!(context.run_as_non_root, Some(true));
        assert_eq!(context.read_only_root_filesystem, Some(true));
    }

    #[test]
    fn no_wish_is_no_security_context() {
        assert_eq!(context(&Granted::default(), false, &User::Image, None), None);
    }

    #[test]
    fn what_loosens_the_confinement_needs_the_operators_word() {
        let line = "--privileged --cap-add sys_nice --security-opt seccomp=unconfined \
                    --security-opt apparmor=unconfined";
        let refused = granted(line, false);
        assert_eq!(context(&refused, false, &User::Image, None), None);
        let expected = [
            "--privileged",
            "--cap-add SYS_NICE",
            "--security-opt seccomp=unconfined",
            "--security-opt apparmor=unconfined",
        ];
        assert_eq!(refused.refused, expected);
        let given = granted(line, true);
        assert!(given.refused.is_empty() && given.may_mount());
        let context = context(&given, false, &User::Image, None).unwrap();
        assert_eq!(context.capabilities.unwrap().add.unwrap(), ["SYS_NICE"]);
        assert_eq!(context.seccomp_profile.unwrap().type_, "Unconfined");
        assert_eq!(context.app_armor_profile.unwrap().type_, "Unconfined");
    }

    #[test]
    fn what_narrows_it_needs_nobodys() {
        let context =
            |line: &str| context(&granted(line, false), false, &User::Image, None).unwrap();
        let nothing_new = context("--security-opt no-new-privileges");
        assert_eq!(nothing_new.allow_privilege_escalation, Some(false));
        let dropped = |line: &str| context(line).capabilities.unwrap().drop.unwrap();
        assert_eq!(dropped("--cap-drop all"), ["ALL"]);
        assert_eq!(dropped("--cap-drop all --cap-add sys_nice"), ["ALL"]);
        let most = dropped("--cap-drop all --cap-add chown --cap-add sys_nice");
        assert!(most.len() == 13 && !most.contains(&"CHOWN".to_owned()), "{most:?}");
        assert_eq!(granted("--cap-add chown", false), Granted::default());
        // The API server rejects it together with privileges.
        let line = "--privileged --security-opt no-new-privileges";
        assert!(!granted(line, true).security.no_new_privileges);
    }
}
