//! Pods as the API server has them, and texts in their specs, the kubelet's names and the kernel's
//! files.

use ephemon_cgroup::{format, name};
use ephemon_contract::action_images::{self, MAX_ACTION_IMAGES};
use ephemon_contract::trace::Traceparent;
use ephemon_contract::{Limits, Setup, Tmpfs, Ulimit};
use ephemon_discovery::awaited_images::{AwaitedImages, Awaiting, ForKubelet, MAX_IMAGES_PER_POD};
use ephemon_discovery::inventory::Evidence;
use ephemon_discovery::logs::names;
use ephemon_discovery::pod_view::PodView;
use ephemon_model::{Limit, Pressure};
use k8s_openapi::api::core::v1::Pod;

/// Longest text that is kept of a status' reason or of an image's name.
const LONGEST: usize = 1024;

/// A pod where `data` begins with a brace; otherwise texts, one a line.
pub(super) fn pod(data: &[u8]) {
    if data.first() == Some(&b'{') {
        if let Ok(pod) = serde_json::from_slice::<Pod>(data) {
            view(&pod);
            awaited(&pod);
        }
        return;
    }
    let Ok(text) = str::from_utf8(data) else { return };
    kernel(text);
    for line in text.lines() {
        contract(line);
        kubelet(line);
    }
}

fn view(pod: &Pod) {
    let (Some(view), _) = PodView::of(pod) else { return };
    let listed = pod.spec.as_ref().map_or(0, |spec| {
        let rest = [
            spec.init_containers.as_ref().map_or(0, Vec::len),
            spec.ephemeral_containers.as_ref().map_or(0, Vec::len),
        ];
        spec.containers.len() + rest.iter().sum::<usize>()
    });
    assert!(view.spec.len() <= listed, "{} of {listed}", view.spec.len());
    for evidence in view.evidence() {
        match evidence {
            Evidence::Pod { pod, .. } => {
                assert!(
                    names::is_pod_name(&pod.name) && names::is_label(&pod.namespace),
                    "{pod:?}"
                );
            }
            Evidence::Spec { entries, .. } => {
                for entry in entries {
                    assert!(names::is_label(&entry.name), "{entry:?}");
                    let image = entry.image.as_deref().map_or(0, str::len);
                    assert!(image <= LONGEST, "{image} bytes");
                }
            }
            Evidence::Container { word, .. } => {
                assert!(names::is_label(&word.name), "{:?}", word.name);
                let reason = word.exit.map_or(0, |exit| exit.reason.len());
                assert!(reason <= LONGEST * 4, "{reason} bytes");
            }
            _ => {}
        }
    }
}

/// What the runtime is asked for has the name of an image, and is no more than there is room for.
fn awaited(pod: &Pod) {
    let all = AwaitedImages::default();
    all.apply(pod);
    for change in all.take().0 {
        let Awaiting::Pod(pod) = change else { continue };
        assert!(pod.images.len() <= MAX_IMAGES_PER_POD, "{pod:?}");
        assert!(pod.taken.len() <= MAX_ACTION_IMAGES, "{pod:?}");
        assert!(pod.more.len() <= MAX_ACTION_IMAGES, "{pod:?}");
        for image in &pod.images {
            assert_eq!(image.name.is_empty(), image.for_kubelet == Some(ForKubelet::Name));
            assert!(image.container.as_deref().is_none_or(names::is_label), "{image:?}");
            is_image(&image.name);
        }
        for taken in &pod.taken {
            assert!(!taken.name.is_empty() && names::is_label(&taken.container), "{taken:?}");
            is_image(&taken.name);
        }
    }
}

fn is_image(name: &str) {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@+[]".contains(&byte);
    assert!(name.len() <= LONGEST && name.bytes().all(is_known), "{name:?}");
}

/// What is printed is read back as the same.
fn contract(text: &str) {
    if let Ok(limits) = text.parse::<Limits>() {
        assert_eq!(limits.to_string().parse().as_ref(), Ok(&limits), "{text:?}");
    }
    if let Ok(ulimit) = text.parse::<Ulimit>() {
        assert_eq!(ulimit.to_string().parse().as_ref(), Ok(&ulimit), "{text:?}");
    }
    if let Ok(tmpfs) = text.parse::<Tmpfs>() {
        assert_eq!(tmpfs.to_string().parse().as_ref(), Ok(&tmpfs), "{text:?}");
        assert!(!tmpfs.path.split('/').any(|part| part == ".."), "{text:?}");
    }
    if let Some(context) = Traceparent::parse(text) {
        assert_eq!(Traceparent::parse(&context.to_string()), Some(context), "{text:?}");
    }
    let told: Vec<&str> = action_images::of_variable(text).collect();
    if let Some(value) = action_images::to_variable(told.iter().copied()) {
        let again: Vec<&str> = action_images::of_variable(&value).collect();
        assert!(again.len() <= MAX_ACTION_IMAGES && !value.contains('$'), "{text:?}");
        assert!(again.iter().all(|image| told.contains(image)), "{text:?}");
        assert_eq!(action_images::to_variable(again).as_ref(), Some(&value), "{text:?}");
    }
    let mut setup = Setup::default();
    let (option, value) = text.split_once(' ').unwrap_or((text, ""));
    if let Ok(true) = setup.read(option, value) {
        let args = setup.to_args();
        let mut again = Setup::default();
        assert_eq!(again.read(&args[0], &args[1]), Ok(true), "{text:?}");
        assert_eq!(again, setup, "{text:?}");
    }
}

/// Names in the kubelet's directories and in the cgroup tree.
fn kubelet(text: &str) {
    if let Some(link) = names::link(text) {
        assert!(names::is_pod_name(link.pod) && names::is_label(link.namespace), "{text:?}");
        assert!(names::is_label(link.container), "{text:?}");
    }
    if let Some(pod) = names::pod_directory(text) {
        let again = format!("{}_{}_{}", pod.namespace, pod.name, pod.uid);
        assert_eq!(again, text, "another pod's directory");
    }
    if let Some(rotated) = names::rotated_log(text) {
        assert!(
            text.starts_with(&rotated.attempt.to_string()) || text.starts_with('0'),
            "{text:?}"
        );
        assert!(text.contains(rotated.time), "{text:?}");
    }
    assert!(names::log_file(text).is_none() || text.strip_suffix(".log").is_some(), "{text:?}");
    if let Some(id) = name::container(text) {
        assert!(text.contains(id.as_str()), "{text:?}");
    }
    drop(name::below_kubepods(text));
}

/// Kernel files are trusted to be the kernel's, not to be well-formed.
fn kernel(text: &str) {
    for (key, value) in format::flat_keyed(text) {
        assert!(text.contains(key) && !key.contains(' '), "{key:?} {value}");
        assert!(format::flat_value(text, key).is_some(), "{key:?}");
    }
    if let Some(number) = format::single(text) {
        assert_eq!(format::limit(text), Some(Limit::At(number)), "{text:?}");
        if let Some(Limit::At(bytes)) = format::v1_limit(text) {
            assert_eq!(bytes, number, "{text:?}");
        }
    }
    let (quota, period) = text.split_once('\n').unwrap_or((text, ""));
    for quota in [format::cpu_quota(text), format::cfs(quota, period)].into_iter().flatten() {
        assert!(text.contains(&quota.period_us.to_string()) || text.contains('+'), "{text:?}");
    }
    // A period of nothing is no division.
    let limits = [format::cpu_max(text), format::cfs_quota(quota, period)];
    assert!(limits.iter().all(|limit| limit.is_none() || text.contains(char::is_numeric)));
    if let Some((major, minor)) = format::device(text) {
        assert_eq!(format::device(&format!("{major}:{minor}")), Some((major, minor)), "{text:?}");
    }
    let Pressure { waiting_us, stalled_us } = format::pressure(text);
    for total in [waiting_us, stalled_us].into_iter().flatten() {
        assert!(text.contains("total=") && text.contains(&total.to_string()), "{text:?}");
    }
}
