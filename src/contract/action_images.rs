//! The grammar of `EPHEMON_ACTION_IMAGES`: names of images with a space between them, in the order in
//! which the job's steps use them.

/// Most images: the hook tells of no more, and the agent reads no more.
pub const MAX_ACTION_IMAGES: usize = 8;
/// Longest name that is told, in bytes. The longest that a registry can have is shorter.
const MAX_NAME_BYTES: usize = 640;

/// The variable's value: the first of these, each once; `None` if there is none. What cannot be told
/// is left out: Kubernetes expands `$(NAME)` in values, and no image has such a name.
pub fn to_variable<'a>(images: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut told: Vec<&str> = Vec::new();
    for image in images {
        let is_plain = image.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'$');
        let fits = (1..=MAX_NAME_BYTES).contains(&image.len());
        if is_plain && fits && !told.contains(&image) {
            told.push(image);
        }
        if told.len() >= MAX_ACTION_IMAGES {
            break;
        }
    }
    (!told.is_empty()).then(|| told.join(" "))
}

/// The names in a variable's value, which anybody may have written: they may be no names, and there
/// may be more than [`MAX_ACTION_IMAGES`].
pub fn of_variable(value: &str) -> impl Iterator<Item = &str> {
    value.split(' ').filter(|name| !name.is_empty())
}

/// Whether the API server sets `imagePullPolicy: Always` for a container of this image that has no
/// policy: its tag is `latest`, or it has neither tag nor digest.
///
/// Source: kubernetes v1.36, `pkg/apis/core/v1/defaults.go`, `SetDefaults_Container`;
/// `pkg/util/parsers/parsers.go`, `ParseImageName`.
pub fn is_always_pulled(image: &str) -> bool {
    let (name, digest) = image.split_once('@').map_or((image, ""), |(name, digest)| (name, digest));
    // A port is before the last slash.
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.rsplit_once(':') {
        Some((_, tag)) => tag == "latest",
        None => digest.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Vec<&str> {
        of_variable(value).collect()
    }

    #[test]
    fn each_image_is_told_once_in_its_order() {
        let value = to_variable(["b:1", "a", "b:1", "registry:5000/c@sha256:0"]).unwrap();
        assert_eq!(value, "b:1 a registry:5000/c@sha256:0");
        assert_eq!(read(&value), ["b:1", "a", "registry:5000/c@sha256:0"]);
    }

    #[test]
    fn what_cannot_be_told_is_left_out() {
        let long = "a".repeat(MAX_NAME_BYTES + 1);
        let odd = ["", "a b", "a\n", "$(HOME)", "é", &long];
        assert_eq!(to_variable(odd), None);
        assert_eq!(to_variable(odd.into_iter().chain(["a:1"])).as_deref(), Some("a:1"));
        assert_eq!(to_variable([]), None);
        assert_eq!(read("  a   b "), ["a", "b"]);
        assert_eq!(read(""), [""; 0]);
    }

    #[test]
    fn the_tag_decides_whether_the_kubelet_always_pulls() {
        let digest = format!("@sha256:{}", "0".repeat(64));
        let always = ["redis", "redis:latest", "localhost:5000/a", "localhost:5000/a:latest"];
        for image in always.into_iter().chain([&*format!("a:latest{digest}")]) {
            assert!(is_always_pulled(image), "{image}");
        }
        let fixed = [format!("a{digest}"), format!("localhost:5000/a:1{digest}")];
        for image in ["redis:7", "latest:1"].into_iter().chain(fixed.iter().map(String::as_str)) {
            assert!(!is_always_pulled(image), "{image}");
        }
    }

    #[test]
    fn no_more_are_told_than_are_read() {
        let many: Vec<String> = (0..100).map(|number| format!("image-{number}")).collect();
        let value = to_variable(many.iter().map(String::as_str)).unwrap();
        assert_eq!(read(&value), many[..MAX_ACTION_IMAGES]);
    }
}
