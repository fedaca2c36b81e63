//! The cgroups that the kubelet puts pods below, so that two nodes of one machine have different ones.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{random_hex, reaper::Reaper};

/// A cgroup of the same name in every hierarchy, removed with all below it when this is dropped: after the processes in it.
#[derive(Debug)]
pub(super) struct Cgroups {
    name: String,
    hierarchies: Vec<PathBuf>,
}

impl Cgroups {
    pub(super) fn create() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("read which cgroups are mounted")?;
        let name = format!("testbed-node-{}", &random_hex()[..8]);
        // Also where only a shell is left to remove them.
        Reaper::shared()?.watch_cgroup(&name)?;
        let cgroups = Self { name, hierarchies: hierarchies(&mounts) };
        for hierarchy in &cgroups.hierarchies {
            delegate_controllers(hierarchy);
        }
        for path in cgroups.paths() {
            fs::create_dir(&path).with_context(|| format!("create the cgroup {}", path.display()))?;
        }
        Ok(cgroups)
    }

    /// As the kubelet is told it.
    pub(super) fn root(&self) -> String {
        format!("/{}", self.name)
    }

    /// Its folder in each hierarchy.
    pub(super) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.hierarchies.iter().map(|hierarchy| hierarchy.join(&self.name))
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        // Busy while the last of its processes are being cleared away.
        for _ in 0..100 {
            self.paths().for_each(|path| remove(&path));
            if !self.paths().any(|path| path.exists()) {
                if let Ok(reaper) = Reaper::shared() {
                    reaper.forget_cgroup(&self.name);
                }
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

/// Lets cgroups below the root have every controller that the root has, as the kubelet wants it. Version 1 needs none of this, and
/// where it is not allowed the kubelet says what it misses.
fn delegate_controllers(hierarchy: &Path) {
    let controllers = fs::read_to_string(hierarchy.join("cgroup.controllers")).unwrap_or_default();
    for controller in controllers.split_whitespace() {
        let _ = fs::write(hierarchy.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

/// What cannot be removed yet is left for the next try.
fn remove(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(path);
}

/// Where cgroups are mounted, of version 1 or 2.
fn hierarchies(mounts: &str) -> Vec<PathBuf> {
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let is_cgroup = |fields: &Vec<&str>| matches!(fields.get(2), Some(&("cgroup" | "cgroup2")));
    fields.filter(is_cgroup).map(|fields| PathBuf::from(fields[1])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_both_versions_are_found() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                      cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let expected = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"].map(PathBuf::from);
        assert_eq!(hierarchies(mounts), expected);
    }
}
