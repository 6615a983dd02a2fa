//! A container's mounts: the hook's own volumes, the workflow's, and the operator's.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::VolumeMount;

use super::{Common, Error, Planned, Role, wishes};
use crate::options::Options;
use crate::request::Container;
use crate::volumes;
use crate::volumes::Means;
use crate::words;

// === impl Planned ===

impl Planned {
    /// All mounts; also stores what init must create in addition.
    pub(super) fn mounts(
        &mut self,
        asked: &Container,
        options: &Options,
        operators: Vec<VolumeMount>,
        common: &Common<'_>,
    ) -> Result<Vec<VolumeMount>, Error> {
        let pod = common.pod;
        let mut own = self.role.volumes(self.has_init || self.asks_init).to_vec();
        let missing: Vec<&str> =
            own.iter().copied().filter(|name| pod.volume(name).is_none()).collect();
        if !missing.is_empty() {
            return Err(Error::MissingVolumes(missing.join(", ")));
        }
        if self.role == Role::Job && pod.volume(volumes::RUNNER_IMAGE).is_some() {
            own.push(volumes::RUNNER_IMAGE);
        }
        let mut mounts: Vec<VolumeMount> = own.into_iter().map(volumes::own_mount).collect();
        let means = Means {
            pod,
            settings: common.settings,
            has_init: self.has_init,
            has_work: self.role != Role::Service,
        };
        let planned = volumes::plan(asked, means)?;
        mounts.extend(planned.mounts);
        self.warnings.extend(planned.warnings);
        (self.links, self.directories) = (planned.links, planned.directories);
        for entry in &options.volumes {
            let one = Container { user_mount_volumes: vec![entry.clone()], ..Container::default() };
            match volumes::plan(&one, means) {
                Ok(planned) => {
                    mounts.extend(planned.mounts);
                    self.warnings.extend(planned.warnings);
                    self.links.extend(planned.links);
                    self.directories.extend(planned.directories);
                }
                Err(error) => self.warnings.push(wishes::volume_left(&self.image, &error)),
            }
        }
        mounts.extend(wishes::shared_memory(options, pod));
        for operators in &operators {
            mounts.retain(|known| !wishes::is_shm_beside(known, operators));
        }
        if let Some(mount) = operators.iter().find(|mount| pod.volume(&mount.name).is_none()) {
            return Err(Error::TemplateVolume(mount.name.clone()));
        }
        mounts.extend(operators);
        let mut paths = BTreeSet::new();
        match mounts.iter().find(|mount| !paths.insert(volumes::path::clean(&mount.mount_path))) {
            Some(twice) => Err(Error::MountedTwice(twice.mount_path.clone())),
            None => Ok(mounts),
        }
    }

    /// What init creates before a service's own process starts, as its arguments.
    pub(super) fn volume_args(&self) -> Vec<String> {
        let directories = self.directories.iter().map(|path| vec!["--directory", path.as_str()]);
        let links = self.links.iter();
        let links = links.map(|link| vec!["--link", link.path.as_str(), link.target.as_str()]);
        directories.chain(links).flatten().map(words::literal).collect()
    }
}
