//! Stops what this process started, even when it cannot do so itself.
//!
//! Tests share a control plane in a static, and statics are never dropped; panics in panics, aborts and SIGKILL run no
//! destructors either. So one tiny shell watches over each process of ours: it is told what is started and stopped,
//! and when its input ends, because this process is gone, it stops the rest. `PR_SET_PDEATHSIG` would need unsafe code,
//! exists on Linux only, and fires when the *thread* ends that started the child.

use std::{
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{ChildStdin, Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
};

use anyhow::{Context as _, Result, anyhow};
use tempfile::TempDir;

/// In the system's own shell, so that it also works before any binary of ours is built.
const SCRIPT: &str = include_str!("reaper.sh");

pub(crate) struct Reaper {
    input: Mutex<ChildStdin>,
}

impl Reaper {
    /// This process' reaper, started on first use.
    pub(crate) fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<Reaper, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| Self::start().map_err(|error| format!("{error:#}")));
        shared.as_ref().map_err(|error| anyhow!("{error}"))
    }

    fn start() -> Result<Self> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "testbed-reaper"])
            .current_dir("/")
            .stdin(Stdio::piped())
            // It outlives us, and would keep a pipe that somebody reads our output from open.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A group of its own: Ctrl-C goes to ours, and must not stop it before its work begins.
            .process_group(0)
            .spawn()
            .context("start /bin/sh as reaper")?;
        let input = child.stdin.take().context("the reaper has no stdin")?;
        Ok(Self { input: Mutex::new(input) })
    }

    fn tell(&self, line: &str) -> io::Result<()> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())
    }

    /// Owns the process group that `pid` leads, from now on.
    pub(crate) fn watch_process(&self, pid: u32) -> Result<()> {
        self.tell(&format!("+pid {pid}\n")).context("tell the reaper about a process")
    }

    /// Owns the cgroups of this name in every hierarchy, with all below them, from now on.
    pub(crate) fn watch_cgroup(&self, name: &str) -> Result<()> {
        self.tell(&format!("+cgroup {name}\n")).context("tell the reaper about a cgroup")
    }

    pub(crate) fn forget_cgroup(&self, name: &str) {
        // A reaper that is gone removes nothing.
        let _ = self.tell(&format!("-cgroup {name}\n"));
    }

    /// Call it once the process is waited for: from then on its number may be another's.
    pub(crate) fn forget_process(&self, pid: u32) {
        // A reaper that is gone kills nobody.
        let _ = self.tell(&format!("-pid {pid}\n"));
    }
}

/// A temporary folder that is also removed when this process dies without dropping it.
#[derive(Debug)]
pub struct ScratchDir {
    dir: TempDir,
}

impl ScratchDir {
    pub fn create(prefix: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix(&format!("testbed-{prefix}-")).tempdir()?;
        Reaper::shared()?
            .tell(&format!("+dir {}\n", dir.path().display()))
            .context("tell the reaper about a folder")?;
        Ok(Self { dir })
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        if let Ok(reaper) = Reaper::shared() {
            // The folder itself is removed by `TempDir`; a reaper that is gone removes nothing.
            let _ = reaper.tell(&format!("-dir {}\n", self.path().display()));
        }
    }
}
