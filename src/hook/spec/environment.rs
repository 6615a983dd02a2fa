//! A container's environment: what may be in the spec, what goes into a Secret, and which source
//! takes precedence. Pure.

use std::collections::BTreeMap;

use ephemon_contract::{Setup, env, mount};
use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, SecretEnvSource};

use super::{Common, Planned};
use crate::context::Context;
use crate::names;
use crate::options::Options;
use crate::request::Container;
use crate::template::Part;
use crate::words;

// === impl Planned ===

impl Planned {
    /// Variables that everyone who can read pods may see.
    /// `setup`: what init is to set up if the node's agent puts it in front.
    pub(super) fn plain_env(
        &self,
        operators: Vec<EnvVar>,
        setup: Option<&Setup>,
        common: &Common<'_>,
    ) -> Vec<EnvVar> {
        let plain = |name: &str, value: String| EnvVar {
            name: name.to_owned(),
            value: Some(value),
            value_from: None,
        };
        let mut env = vec![
            plain("GITHUB_ACTIONS", "true".to_owned()),
            plain(env::CALL, common.call.to_owned()),
            plain(env::CONTAINER, self.spec.name.clone()),
            plain(env::ROLE, self.role.as_str().to_owned()),
        ];
        if !has(&self.env, "CI") {
            env.push(plain("CI", "true".to_owned()));
        }
        if let Some(setup) = setup {
            env.push(plain(env::INIT, words::literal(&setup.to_variable())));
        }
        if self.has_init || self.asks_init {
            let key = common.token.container_key(&self.spec.name);
            env.push(plain(env::HOOK_KEY, common.token.hook_key().to_string()));
            env.push(plain(env::CONTAINER_KEY, key.expose()));
            env.push(plain(env::PEER_UID, common.uid.to_string()));
            // Init reads no variable of the workflow or the image: those of the spec take precedence.
            env.push(plain(env::VOLUME, mount::EPHEMON.to_owned()));
        }
        if !self.limits.is_empty() {
            env.push(plain(env::LIMITS, self.limits.to_string()));
        }
        let identity = common.settings.identity.iter().cloned();
        let context = Context::of(common.settings).container_env(&self.spec.name);
        // The workflow's own trace context takes precedence.
        let context = context.into_iter().filter(|(name, _)| !has(&self.env, name));
        for (name, value) in identity.chain(context) {
            // Kubernetes expands $(NAME) in values.
            env.push(plain(name, words::literal(&value)));
        }
        env.extend(operators.into_iter().filter(is_free));
        env
    }

    /// Plans a Secret for the environment, and the references to it.
    pub(crate) fn env_by_secret(&mut self, common: &Common<'_>) -> Option<EnvFromSource> {
        self.env.retain(|(name, value)| {
            // The API server's rule for keys of a Secret, and the kernel's rule for values.
            let fits = !name.is_empty()
                && name.len() <= 253
                && name != "."
                && !name.starts_with("..")
                && !value.contains('\0')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
            if !fits {
                self.warnings.push(format!(
                    "{} does not get environment variable {:?}: it cannot be passed without an entrypoint",
                    self.image,
                    crate::console::quote(name)
                ));
            }
            fits
        });
        if self.env.is_empty() {
            return None;
        }
        let name = names::of_secret(&common.pod.uid, &self.spec.name, common.call);
        self.secret = Some(name.clone());
        Some(EnvFromSource {
            secret_ref: Some(SecretEnvSource { name, optional: None }),
            ..EnvFromSource::default()
        })
    }
}

/// The environment of a container as the runner sets it with Docker: `-e` of the options, then
/// `env:`, which takes precedence, `GITHUB_ACTIONS=true` always, and `CI=true` unless `env:` sets
/// it. The variables of the operator's template take precedence over all; they are in the spec, and
/// are omitted here.
pub(super) fn merged(asked: &Container, options: &Options, part: &Part) -> Vec<(String, String)> {
    let asked = asked.env();
    let has_ci = has(&asked, "CI");
    let mut env: BTreeMap<String, String> = options.env.iter().cloned().collect();
    env.extend(asked);
    env.retain(|name, _| {
        let is_operators =
            part.env.iter().any(|variable| is_free(variable) && variable.name == *name);
        let is_given = name == "GITHUB_ACTIONS" || (name == "CI" && !has_ci);
        !is_operators && !is_given
    });
    env.into_iter().collect()
}

/// Whether the operator may set it: the agent depends on the hook's values.
fn is_free(variable: &EnvVar) -> bool {
    !variable.name.starts_with("EPHEMON_")
}

fn has(env: &[(String, String)], name: &str) -> bool {
    env.iter().any(|(known, _)| known == name)
}
