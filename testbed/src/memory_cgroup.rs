//! A cgroup that holds a process to as much memory as its container would have.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result};

/// Where the controller of memory is mounted: version 2, and version 1.
const UNIFIED: &str = "/sys/fs/cgroup";
const LEGACY: &str = "/sys/fs/cgroup/memory";

/// A cgroup of its own. A process that needs more memory than it may have is killed by the kernel.
#[derive(Debug)]
pub struct MemoryCgroup {
    dir: PathBuf,
    is_unified: bool,
}

impl MemoryCgroup {
    /// Makes one; needs root.
    ///
    /// # Errors
    /// Where this user may not make cgroups, or the kernel accounts for no memory.
    pub fn create(bytes: u64) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let is_unified = fs::read_to_string(Path::new(UNIFIED).join("cgroup.controllers"))
            .is_ok_and(|controllers| controllers.split_whitespace().any(|name| name == "memory"));
        let name = format!("dlq-operator-test-{}-{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let dir = Path::new(if is_unified { UNIFIED } else { LEGACY }).join(name);
        fs::create_dir(&dir).with_context(|| format!("make the cgroup {}", dir.display()))?;
        let cgroup = Self { dir, is_unified };
        cgroup.write(if is_unified { "memory.max" } else { "memory.limit_in_bytes" }, bytes)?;
        if is_unified {
            // Swap would hide what a pod has not.
            cgroup.write("memory.swap.max", 0).or_else(|error| {
                if cgroup.dir.join("memory.swap.max").exists() { Err(error) } else { Ok(()) }
            })?;
        }
        Ok(cgroup)
    }

    fn write(&self, file: &str, value: u64) -> Result<()> {
        fs::write(self.dir.join(file), value.to_string()).with_context(|| format!("write {file}"))
    }

    /// The command before a binary and its arguments that makes the process join before it begins.
    pub(crate) fn joining(&self) -> (PathBuf, Vec<String>) {
        let script = r#"echo $$ > "$0/cgroup.procs" && exec "$@""#;
        let arguments = ["-c", script, &self.dir.display().to_string()].map(ToOwned::to_owned).to_vec();
        (PathBuf::from("/bin/sh"), arguments)
    }

    /// The most memory that its processes had at once, in bytes; page cache and the kernel's own is in it.
    pub fn peak(&self) -> Result<u64> {
        let file = if self.is_unified { "memory.peak" } else { "memory.max_usage_in_bytes" };
        let text = fs::read_to_string(self.dir.join(file)).with_context(|| format!("read {file}"))?;
        text.trim().parse().with_context(|| format!("{file}: {text}"))
    }
}

impl Drop for MemoryCgroup {
    fn drop(&mut self) {
        // Busy while its last process is being cleared away.
        for _ in 0..50 {
            match fs::remove_dir(&self.dir) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
                _ => return,
            }
        }
    }
}
