//! What a step of a job or of a composite action uses. Pure.

/// Marks an image of a registry.
const DOCKER: &str = "docker://";

/// A step, as far as it says which container it needs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) reference: Reference,
    /// Whether its inputs name an entrypoint, which counts where the action has none of its own.
    pub(super) entry_point: bool,
}

/// What a step uses.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reference {
    Image(String),
    /// An action that the runner has downloaded: its path below the directory of actions.
    Action(String),
    /// An action of the workspace, which is not there yet; or a script.
    Other,
}

// === impl Reference ===

impl Reference {
    /// The text after `uses:`.
    pub(super) fn parse(text: &str) -> Self {
        if let Some(image) = image(text) {
            return Self::Image(image.to_owned());
        }
        // A path of the workspace has no reference behind it.
        match text.split_once('@') {
            Some((name, version)) if !name.starts_with('.') => Self::of(name, version),
            _ => Self::Other,
        }
    }

    /// `OWNER/REPOSITORY[/PATH]` and a version.
    pub(super) fn of(name: &str, version: &str) -> Self {
        let mut parts = name.splitn(3, '/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(owner), Some(repository), path) if !version.is_empty() => {
                let path = path.map(|path| format!("/{path}")).unwrap_or_default();
                Self::Action(format!("{owner}/{repository}/{version}{path}"))
            }
            _ => Self::Other,
        }
    }
}

/// The image, if the text names one of a registry. A Dockerfile is none.
pub(super) fn image(text: &str) -> Option<&str> {
    let (scheme, image) = text.trim().split_at_checked(DOCKER.len())?;
    scheme.eq_ignore_ascii_case(DOCKER).then_some(image)
}
