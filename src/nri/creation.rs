//! A container that the runtime is about to create, and what is changed of it. Pure.

use bytes::{Buf, Bytes};
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::wire::{
    CONTAINER_ARGS, CONTAINER_ENV, CONTAINER_MOUNTS, Container, ContainerAdjustment,
    CreateContainerRequest, CreateContainerResponse, LinuxContainerAdjustment, LinuxCpu,
    LinuxMemory, LinuxPids, LinuxResources, Mount, OptionalInt64, OptionalUint64,
    RESOURCES_UNIFIED, UnifiedEntry,
};

/// Most memory of a command that is changed, in bytes.
pub(super) const MAX_ARGS_BYTES: usize = 32 << 10;

/// A container that the runtime is about to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creation {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's UID.
    pub pod_uid: String,
    /// The container's name in the pod's spec.
    pub container: String,
    /// What the request limits already.
    pub there: InRequest,
    raw: Bytes,
}

/// The limits that the runtime, or a plugin before this one, gives the container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InRequest {
    /// CPU time of each period, microseconds.
    pub cpu_quota_us: Option<u64>,
    /// The period of CPU time, microseconds.
    pub cpu_period_us: Option<u64>,
    /// Memory, bytes.
    pub memory_bytes: Option<u64>,
    /// Memory and swap together, bytes.
    pub both_bytes: Option<u64>,
    /// Tasks.
    pub pids: Option<u64>,
    /// Files of cgroup v2 that are written as they are, after everything else, limit CPU time.
    pub cpu_is_written: bool,
    /// The same of memory, or of swap beside it.
    pub memory_is_written: bool,
    /// Tasks are limited by such a file, or the runtime's version of NRI does not know them: before
    /// v0.7.0 an answer that limits them is taken and changes nothing.
    pub pids_are_fixed: bool,
}

/// What to change. `None`: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adjustment {
    /// CPU time of each period, microseconds.
    pub cpu_quota_us: Option<u64>,
    /// The period, where the request has none.
    pub cpu_period_us: Option<u64>,
    /// Memory in bytes, without additional swap.
    pub memory_bytes: Option<u64>,
    /// Tasks.
    pub pids: Option<u64>,
    /// The whole command; empty: it stays. A runtime with an older NRI than v0.10.0 leaves it, too.
    pub args: Vec<String>,
}

// === impl Creation ===

impl Creation {
    /// Reads the payload of `CreateContainer` (NRI, `pkg/api/api.proto`); `None` if it is not one.
    pub fn read(payload: Bytes) -> Option<Self> {
        let CreateContainerRequest { pod, container: raw } =
            CreateContainerRequest::decode(payload).ok()?;
        let (pod, container) = (pod?, Container::decode(raw.clone()).ok()?);
        let raw_resources = container.linux.unwrap_or_default().resources;
        let resources = LinuxResources::decode(raw_resources.clone()).ok()?;
        let cpu = resources.cpu.unwrap_or_default();
        let memory = resources.memory.unwrap_or_default();
        let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
        let limit = |value: Option<OptionalInt64>| positive(value?.value);
        let mut there = InRequest {
            cpu_quota_us: limit(cpu.quota),
            cpu_period_us: cpu.period.map(|period| period.value).filter(|period| *period > 0),
            memory_bytes: limit(memory.limit),
            both_bytes: limit(memory.swap),
            pids: resources.pids.and_then(|pids| positive(pids.limit)),
            ..InRequest::default()
        };
        there.written(raw_resources)?;
        Some(Self {
            namespace: pod.namespace,
            pod: pod.name,
            pod_uid: pod.uid,
            container: container.name,
            there,
            raw,
        })
    }

    /// Whether the container's environment has this variable.
    pub fn has_variable(&self, name: &str) -> bool {
        self.fields(CONTAINER_ENV).flatten().any(|entry| {
            let value = entry.strip_prefix(name.as_bytes());
            value.is_some_and(|value| value.starts_with(b"="))
        })
    }

    /// The container's command, as the runtime has resolved it from image and spec. `None` if it is
    /// empty, takes more than 32 KiB, or is no text.
    pub fn args(&self) -> Option<Vec<String>> {
        let (mut args, mut bytes) = (Vec::new(), 0);
        for word in self.fields(CONTAINER_ARGS) {
            let word = word.ok()?;
            bytes += word.len() + size_of::<String>();
            if bytes > MAX_ARGS_BYTES {
                return None;
            }
            args.push(String::from_utf8(word.to_vec()).ok()?);
        }
        (!args.is_empty()).then_some(args)
    }

    /// Whether something is mounted read only exactly there.
    pub fn is_mounted_read_only(&self, path: &str) -> bool {
        // The last of two would cover the first.
        let mounts =
            self.fields(CONTAINER_MOUNTS).flatten().filter_map(|it| Mount::decode(it).ok());
        let last = mounts.filter(|mount| mount.destination == path).last();
        last.is_some_and(|mount| mount.options.iter().any(|option| option == "ro"))
    }

    /// All values of a field of the container, looked through where they lie.
    fn fields(&self, field: u32) -> impl Iterator<Item = Result<Bytes, Unreadable>> {
        let mut rest = self.raw.clone();
        std::iter::from_fn(move || {
            while rest.has_remaining() {
                match next(&mut rest, field) {
                    Ok(Some(value)) => return Some(Ok(value)),
                    Ok(None) => {}
                    Err(unreadable) => {
                        rest.clear();
                        return Some(Err(unreadable));
                    }
                }
            }
            None
        })
    }
}

// === impl InRequest ===

impl InRequest {
    /// Enters what files of cgroup v2 limit. The kubelet writes `memory.oom.group` for every container
    /// (v1.28 on, unless `singleProcessOOMKill` is set), which limits nothing, and `memory.swap.max`
    /// where it gives containers swap (`pkg/kubelet/kuberuntime/kuberuntime_container_linux.go`).
    fn written(&mut self, mut resources: Bytes) -> Option<()> {
        while resources.has_remaining() {
            let Some(entry) = next(&mut resources, RESOURCES_UNIFIED).ok()? else { continue };
            let UnifiedEntry { file, value } = UnifiedEntry::decode(entry).ok()?;
            match &*file {
                "cpu.max" => self.cpu_is_written = true,
                "memory.max" => self.memory_is_written = true,
                // None is what a limit of memory brings, too.
                "memory.swap.max" => self.memory_is_written |= value.trim() != "0",
                "pids.max" => self.pids_are_fixed = true,
                _ => {}
            }
        }
        Some(())
    }
}

/// A message that ends within a field, or has none.
struct Unreadable;

/// The next field, if it is this one.
fn next(rest: &mut Bytes, field: u32) -> Result<Option<Bytes>, Unreadable> {
    let (tag, wire_type) = decode_key(rest).map_err(|_| Unreadable)?;
    if (tag, wire_type) != (field, WireType::LengthDelimited) {
        skip_field(wire_type, tag, rest, DecodeContext::default()).map_err(|_| Unreadable)?;
        return Ok(None);
    }
    let length = decode_varint(rest).map_err(|_| Unreadable)?;
    let length = usize::try_from(length).ok().filter(|length| *length <= rest.len());
    length.map(|length| Some(rest.split_to(length))).ok_or(Unreadable)
}

// === impl Adjustment ===

impl Adjustment {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The answer to `CreateContainer`.
    pub(super) fn answer(&self) -> CreateContainerResponse {
        if self.is_empty() {
            return CreateContainerResponse { adjust: None };
        }
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let optional = |value: u64| OptionalInt64 { value: signed(value) };
        let cpu = self.cpu_quota_us.map(|quota| LinuxCpu {
            quota: Some(optional(quota)),
            period: self.cpu_period_us.map(|value| OptionalUint64 { value }),
        });
        let memory = self
            .memory_bytes
            .map(|bytes| LinuxMemory { limit: Some(optional(bytes)), swap: Some(optional(bytes)) });
        let pids = self.pids.map(|tasks| LinuxPids { limit: signed(tasks) });
        let resources = LinuxResources { memory, cpu, pids };
        let linux = (resources != LinuxResources::default())
            .then_some(LinuxContainerAdjustment { resources: Some(resources) });
        // From whichever plugin has set it before: this one's contains what that one made of it.
        let taken = (!self.args.is_empty()).then(String::new);
        let args = taken.into_iter().chain(self.args.iter().cloned()).collect();
        CreateContainerResponse { adjust: Some(ContainerAdjustment { linux, args }) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{LinuxContainer, PodSandbox};

    /// A container with these variables and resources, as the runtime sends it.
    fn request(env: &[&str], resources: &LinuxResources) -> Bytes {
        written(env, resources, &[])
    }

    fn created(args: &[&str], mounts: &[(&str, &[&str])]) -> Creation {
        let mut container = Container { name: "job".into(), linux: None }.encode_to_vec();
        for word in args {
            prost::encoding::string::encode(CONTAINER_ARGS, &(*word).to_owned(), &mut container);
        }
        for (destination, options) in mounts {
            let options = options.iter().map(|option| (*option).to_owned()).collect();
            let mount = Mount { destination: (*destination).to_owned(), options };
            prost::encoding::message::encode(CONTAINER_MOUNTS, &mount, &mut container);
        }
        let pod = Some(PodSandbox::default());
        let request = CreateContainerRequest { pod, container: container.into() };
        Creation::read(request.encode_to_vec().into()).unwrap()
    }

    /// The same with files of cgroup v2.
    fn written(env: &[&str], resources: &LinuxResources, files: &[(&str, &str)]) -> Bytes {
        let mut resources = resources.encode_to_vec();
        for (file, value) in files {
            let entry = UnifiedEntry { file: (*file).into(), value: (*value).into() };
            prost::encoding::message::encode(RESOURCES_UNIFIED, &entry, &mut resources);
        }
        let linux = Some(LinuxContainer { resources: resources.into() });
        let mut container = Container { name: "job".into(), linux }.encode_to_vec();
        for entry in env {
            prost::encoding::string::encode(CONTAINER_ENV, &(*entry).to_owned(), &mut container);
        }
        let pod = PodSandbox { name: "runner".into(), uid: "uid-1".into(), namespace: "ci".into() };
        CreateContainerRequest { pod: Some(pod), container: container.into() }
            .encode_to_vec()
            .into()
    }

    #[test]
    fn a_request_tells_who_it_is_for_and_what_is_set() {
        let resources = LinuxResources {
            cpu: Some(LinuxCpu {
                quota: Some(OptionalInt64 { value: -1 }),
                period: Some(OptionalUint64 { value: 50_000 }),
            }),
            memory: Some(LinuxMemory { limit: Some(OptionalInt64 { value: 5 }), swap: None }),
            pids: Some(LinuxPids { limit: 0 }),
        };
        let creation = Creation::read(request(&["A=1", "LIMITS=x"], &resources)).unwrap();
        assert_eq!((&*creation.namespace, &*creation.pod), ("ci", "runner"));
        assert_eq!((&*creation.pod_uid, &*creation.container), ("uid-1", "job"));
        let expected = InRequest {
            memory_bytes: Some(5),
            cpu_period_us: Some(50_000),
            ..InRequest::default()
        };
        assert_eq!(creation.there, expected);
        assert!(creation.has_variable("LIMITS") && creation.has_variable("A"));
        assert!(!creation.has_variable("LIMIT") && !creation.has_variable("x"));
    }

    #[test]
    fn of_the_files_of_cgroup_v2_those_count_that_limit_something() {
        let there = |files: &[(&str, &str)]| {
            let request = written(&[], &LinuxResources::default(), files);
            Creation::read(request).unwrap().there
        };
        // What the kubelet writes for every container.
        let kubelets = [("memory.oom.group", "1"), ("memory.swap.max", "0")];
        assert_eq!(there(&kubelets), InRequest::default());
        let memory = InRequest { memory_is_written: true, ..InRequest::default() };
        assert_eq!(there(&[("memory.oom.group", "1"), ("memory.swap.max", "max")]), memory);
        assert_eq!(there(&[("memory.max", "1")]), memory);
        let rest = InRequest { cpu_is_written: true, pids_are_fixed: true, ..InRequest::default() };
        assert_eq!(there(&[("cpu.max", "1 2"), ("pids.max", "1")]), rest);
    }

    #[test]
    fn an_answer_sets_what_is_asked_for_and_nothing_else() {
        assert_eq!(Adjustment::default().answer().encode_to_vec(), Vec::<u8>::new());
        let pids = Adjustment { pids: Some(7), ..Adjustment::default() }.answer();
        let resources = pids.adjust.unwrap().linux.unwrap().resources.unwrap();
        assert_eq!(resources.pids, Some(LinuxPids { limit: 7 }));
        assert_eq!((resources.cpu, resources.memory), (None, None));
    }

    #[test]
    fn the_command_is_read_as_the_runtime_has_resolved_it_and_within_bounds() {
        let args = ["/entry.sh", "", "two words"];
        assert_eq!(created(&args, &[]).args().unwrap(), args);
        assert_eq!(created(&[], &[]).args(), None);
        assert_eq!(created(&["a", &"x".repeat(MAX_ARGS_BYTES)], &[]).args(), None);
        assert_eq!(created(&vec![""; MAX_ARGS_BYTES / size_of::<String>() + 1], &[]).args(), None);
    }

    #[test]
    fn only_a_mount_at_the_very_path_that_is_read_only_counts() {
        let (ro, rw): (&[&str], &[&str]) = (&["rbind", "ro"], &["rbind", "rw"]);
        let is = |mounts: &[(&str, &[&str])]| created(&[], mounts).is_mounted_read_only("/a/b");
        assert!(is(&[("/a", rw), ("/a/b", ro)]));
        assert!(!is(&[("/a", ro), ("/a/b/c", ro)]));
        assert!(!is(&[("/a/b", ro), ("/a/b", rw)]));
        assert!(!is(&[]));
    }

    #[test]
    fn a_command_is_taken_from_whoever_has_set_it_before() {
        let args = ["init", "--", "a"].map(str::to_owned).to_vec();
        let adjust = Adjustment { args, ..Adjustment::default() }.answer().adjust.unwrap();
        assert_eq!(
            (&adjust.args[..], adjust.linux),
            (&["", "init", "--", "a"].map(str::to_owned)[..], None)
        );
        let pids = Adjustment { pids: Some(7), ..Adjustment::default() }.answer();
        assert_eq!(pids.adjust.unwrap().args, Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some(creation) = Creation::read(bytes.clone().into()) {
                creation.has_variable("A");
                creation.args();
                creation.is_mounted_read_only("/a");
            }
            let pod = Some(PodSandbox::default());
            let whole = CreateContainerRequest { pod, container: bytes.into() }.encode_to_vec();
            if let Some(creation) = Creation::read(whole.into()) {
                creation.has_variable("A");
                creation.args();
                creation.is_mounted_read_only("/a");
            }
        }
    }
}
