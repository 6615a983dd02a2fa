//! An action's manifest (`action.yml`), as far as it says which images the action uses. Pure.
//!
//! Source: actions/runner v2.336.0, `ActionManifestManager.cs`, `ContainerActionHandler.cs`.

use serde_json::Value;

use super::step::{Reference, Step, image};

/// Most steps of a composite action that are looked at.
const STEPS_MAX: usize = 128;

/// What runs an action.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Manifest {
    /// A container, and whether each stage names an entrypoint: the stages before and after exist
    /// only if they do.
    Container {
        image: String,
        before: bool,
        main: bool,
        after: bool,
    },
    Composite(Vec<Step>),
}

// === impl Manifest ===

impl Manifest {
    /// `None` for an action that uses no image of a registry, and for what is no manifest. The parser
    /// bounds aliases, depth and nodes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let whole: Value = serde_saphyr::from_str(text).ok()?;
        let runs = whole.get("runs")?;
        let is_given = |name: &str| field(runs, name).is_some_and(|text| !text.is_empty());
        match field(runs, "using")?.to_ascii_lowercase().as_str() {
            "docker" => Some(Self::Container {
                image: image(field(runs, "image")?)?.to_owned(),
                before: is_given("pre-entrypoint"),
                main: is_given("entrypoint"),
                after: is_given("post-entrypoint"),
            }),
            "composite" => {
                let steps = runs.get("steps")?.as_array()?.iter().take(STEPS_MAX);
                Some(Self::Composite(steps.map(step).collect()))
            }
            _ => None,
        }
    }
}

fn step(step: &Value) -> Step {
    let reference = field(step, "uses").map_or(Reference::Other, Reference::parse);
    let with = step.get("with").and_then(Value::as_object);
    let entry_point = with
        .into_iter()
        .flatten()
        .any(|(name, value)| name.eq_ignore_ascii_case("entrypoint") && value.as_str() != Some(""));
    Step { reference, entry_point }
}

fn field<'a>(mapping: &'a Value, name: &str) -> Option<&'a str> {
    mapping.get(name)?.as_str()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn container(image: &str, [before, main, after]: [bool; 3]) -> Manifest {
        Manifest::Container { image: image.to_owned(), before, main, after }
    }

    #[test]
    fn the_image_and_the_stages_of_a_container_action_are_read() {
        let runs =
            |rest: &str| Manifest::parse(&format!("name: x\nruns:\n  using: docker\n{rest}"));
        assert_eq!(runs("  image: docker://alpine:3"), Some(container("alpine:3", [false; 3])));
        let all = "  image: 'DOCKER://ghcr.io/a/b@sha256:0'\n  entrypoint: /a\n  pre-entrypoint: /b\n  post-entrypoint: /c\n  args: ['${{ inputs.x }}']";
        assert_eq!(runs(all), Some(container("ghcr.io/a/b@sha256:0", [true; 3])));
        let empty = "  image: docker://a\n  entrypoint: ''";
        assert_eq!(runs(empty), Some(container("a", [false; 3])));
        assert_eq!(runs("  image: Dockerfile"), None);
        assert_eq!(runs("  image: [docker://a]"), None);
        assert_eq!(runs(""), None);
        let script = "runs: {using: node20, main: a.js}";
        assert_eq!(Manifest::parse(script), None);
    }

    #[test]
    fn the_steps_of_a_composite_action_are_read() {
        let text = r"
runs:
  using: Composite
  steps:
    - run: echo
      shell: bash
    - uses: docker://alpine:3
      with: {entryPoint: /bin/echo}
    - uses: o/r/sub/dir@v1
    - uses: o/r@feature/x
    - uses: ./local
    - uses: nothing@
";
        let step = |reference, entry_point| Step { reference, entry_point };
        let action = |path: &str| Reference::Action(path.to_owned());
        let steps = vec![
            step(Reference::Other, false),
            step(Reference::Image("alpine:3".to_owned()), true),
            step(action("o/r/v1/sub/dir"), false),
            step(action("o/r/feature/x"), false),
            step(Reference::Other, false),
            step(Reference::Other, false),
        ];
        assert_eq!(Manifest::parse(text), Some(Manifest::Composite(steps)));
    }

    #[test]
    fn what_is_made_to_exhaust_the_reader_is_refused() {
        let mut bomb = "a0: &a0 [x, x]\n".to_owned();
        for n in 1..40 {
            let (list, before) = (format!("*a{}, ", n - 1).repeat(9), n);
            writeln!(bomb, "a{before}: &a{before} [{list}]").unwrap();
        }
        bomb.push_str("runs: {using: docker, image: 'docker://a'}\n");
        assert_eq!(Manifest::parse(&bomb), None);
        assert_eq!(Manifest::parse(&"[".repeat(100_000)), None);
        let twice = "runs: {using: docker, image: 'docker://a', image: 'docker://b'}";
        assert_eq!(Manifest::parse(twice), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}", rest in "[a-z:@/{}\\[\\]&*' \n-]{0,200}") {
            drop(Manifest::parse(&text));
            drop(Manifest::parse(&format!("runs:\n  using: docker\n  image: {rest}")));
            drop(Reference::parse(&text));
        }
    }
}
