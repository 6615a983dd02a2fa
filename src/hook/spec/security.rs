//! Who a container's process is and what it may do.

use k8s_openapi::api::core::v1::{Capabilities, SecurityContext};
use serde_json::Value;

use crate::hook::options::Options;

/// `--user`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum User {
    /// The image's own.
    Image,
    /// By number, which a pod can express.
    Number { uid: i64, gid: Option<i64> },
    /// By name, which only the image knows.
    Named(String),
}

// === impl User ===

impl User {
    pub(super) fn parse(text: Option<&str>) -> Self {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Self::Image };
        let (user, group) = match text.split_once(':') {
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

/// The workflow's wishes under the operator's word.
pub(super) fn context(
    options: &Options,
    user: &User,
    operators: Option<SecurityContext>,
) -> Option<SecurityContext> {
    let mut wishes = SecurityContext::default();
    if let User::Number { uid, gid } = user {
        wishes.run_as_user = Some(*uid);
        wishes.run_as_group = *gid;
    }
    wishes.privileged = options.privileged.then_some(true);
    wishes.read_only_root_filesystem = options.read_only.then_some(true);
    let list = |names: &[String]| (!names.is_empty()).then(|| names.to_vec());
    if !options.cap_add.is_empty() || !options.cap_drop.is_empty() {
        wishes.capabilities =
            Some(Capabilities { add: list(&options.cap_add), drop: list(&options.cap_drop) });
    }
    let merged = match operators {
        None => wishes,
        Some(operators) => overlay(&wishes, &operators).unwrap_or(operators),
    };
    (merged != SecurityContext::default()).then_some(merged)
}

/// Field by field; the operator's counts where both say something.
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
        assert_eq!(User::parse(Some("-1")), User::Named("-1".into()));
    }

    #[test]
    fn the_operators_word_counts_over_the_workflows() {
        let options = Options { read_only: true, privileged: true, ..Options::default() };
        let operators = SecurityContext {
            privileged: Some(false),
            run_as_non_root: Some(true),
            ..SecurityContext::default()
        };
        let context = context(&options, &User::Image, Some(operators)).unwrap();
        assert_eq!(context.privileged, Some(false));
        assert_eq!(context.run_as_non_root, Some(true));
        assert_eq!(context.read_only_root_filesystem, Some(true));
    }

    #[test]
    fn no_wish_is_no_security_context() {
        assert_eq!(context(&Options::default(), &User::Image, None), None);
    }
}
