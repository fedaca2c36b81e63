//! Programs that are built once from a Go module that pins them.

use std::{
    fs::{self, File, TryLockError},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{announce, reaper::Reaper};

/// Makes `dir` exist, whole, with what `what` names: of several processes (and threads) that ask, one builds and the others wait. What a build
/// that was interrupted left behind is thrown away.
pub(crate) fn build_once(dir: &Path, what: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let cache = dir.parent().context("a cache folder lies in another folder")?;
    fs::create_dir_all(cache).with_context(|| format!("create {}", cache.display()))?;
    let lock = File::create(dir.with_extension("lock"))
        .with_context(|| format!("open the lock of the build of {what}"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            announce(&format!("another process builds {what}; waiting for it"));
            lock.lock().with_context(|| format!("wait for another process that builds {what}"))?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("lock the build of {what}"));
        }
    }
    // Somebody may have built it while we waited.
    if dir.is_dir() {
        return Ok(());
    }
    let unfinished = dir.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).context("remove an unfinished build")?;
    }
    fs::create_dir(&unfinished).with_context(|| format!("create {}", unfinished.display()))?;
    build(&unfinished)?;
    fs::rename(&unfinished, dir).context("move the finished build to its place")
}

/// A Go module that pins tools: `hack/tools`, those of other minors of Kubernetes below
/// `hack/tools/compat`, `hack/node`, `hack/helm` and `hack/helm/oldest`.
pub(crate) struct GoModule {
    pub(crate) dir: PathBuf,
    go_mod: String,
    go_sum: String,
}

impl GoModule {
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let read = |name| {
            let path = dir.join(name);
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        Ok(Self { dir: dir.to_owned(), go_mod: read("go.mod")?, go_sum: read("go.sum")? })
    }

    /// Such as `v1.36.3`.
    pub(crate) fn version_of(&self, module: &str) -> Result<&str> {
        let mut words = self.go_mod.lines().map(str::split_whitespace);
        words
            .find_map(|mut line| line.find(|word| *word == module).and_then(|_| line.next()))
            .filter(|version| version.starts_with('v'))
            .with_context(|| format!("{} requires no {module}", self.dir.join("go.mod").display()))
    }

    /// A name for what is built of it, which begins with the version of one of its modules.
    pub(crate) fn cache_key(&self, module: &str) -> String {
        let mut hasher = DefaultHasher::new();
        (&self.go_mod, &self.go_sum).hash(&mut hasher);
        let version = self.version_of(module).unwrap_or("unknown");
        // No dots: a suffix is added to it with `with_extension`.
        format!("{}-{:016x}", version.replace('.', "-"), hasher.finish())
    }

    /// Builds packages of the pinned modules. `output` is a file, or a folder in which each binary is named after its package.
    pub(crate) fn build(&self, build: &GoBuild<'_>, output: &Path) -> Result<()> {
        let mut command = Command::new("go");
        command
            .current_dir(&self.dir)
            .args(["build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-tags", build.tags, "-ldflags"])
            .args([&format!("-s -w {}", build.ldflags), "-o"])
            .arg(output)
            .args(build.packages)
            .env("CGO_ENABLED", if build.cgo { "1" } else { "0" })
            // A workspace file in a folder above ours would replace the pinned versions.
            .env("GOWORK", "off")
            .stdin(Stdio::null());
        run_for_minutes(build.what, command, &output.with_extension("build.log"))
    }
}

/// What is built of a module, and how.
#[derive(Default)]
pub(crate) struct GoBuild<'a> {
    /// Names it in messages.
    pub(crate) what: &'a str,
    pub(crate) packages: &'a [&'a str],
    /// What sets variables.
    pub(crate) ldflags: &'a str,
    /// Build tags, separated by commas.
    pub(crate) tags: &'a str,
    /// Whether it holds C, for which there must be a compiler.
    pub(crate) cgo: bool,
}

/// Runs `go` with its output in a file, and says now and then that it still runs.
fn run_for_minutes(what: &str, mut command: Command, log: &Path) -> Result<()> {
    const LOOK: Duration = Duration::from_millis(200);
    const SAY: Duration = Duration::from_secs(30);
    let output = File::create(log).context("open the log of a build")?;
    let errors = output.try_clone().context("open the log of a build")?;
    let reaper = Reaper::shared()?;
    // A group of its own, for the reaper: an unfinished build stops when we do.
    let mut child = match command.stdout(output).stderr(errors).process_group(0).spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
            "there is nothing to build {what} with: install Go. For the control plane and Helm alone, KUBEBUILDER_ASSETS can \
             name a folder with etcd, kube-apiserver, kubectl and helm instead"
        ),
        Err(error) => return Err(error).context("start go"),
    };
    reaper.watch_process(child.id())?;
    let start = Instant::now();
    let mut said = 0;
    let status = loop {
        if let Some(status) = child.try_wait().context("wait for go")? {
            reaper.forget_process(child.id());
            break status;
        }
        let elapsed = start.elapsed();
        if elapsed.as_secs() / SAY.as_secs() > said {
            said += 1;
            announce(&format!("still building {what}, for {} s so far", elapsed.as_secs()));
        }
        std::thread::sleep(LOOK);
    };
    ensure!(
        status.success(),
        "go could not build {what} ({status}):\n{}",
        fs::read_to_string(log).unwrap_or_default()
    );
    fs::remove_file(log).context("remove the log of a build")
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use super::*;

    const MODULE: &str = "example.com/tool";

    #[test]
    fn two_racing_builds_build_once() {
        let cache = tempfile::tempdir().unwrap();
        let dir = cache.path().join("v1-0");
        let builds = AtomicUsize::new(0);
        let build = |into: &Path| {
            builds.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(200));
            fs::write(into.join("etcd"), "built").map_err(Into::into)
        };
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    build_once(&dir, "a thing", build).unwrap();
                    assert_eq!(fs::read_to_string(dir.join("etcd")).unwrap(), "built");
                });
            }
        });
        assert_eq!(builds.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_failed_build_leaves_nothing_that_looks_finished() {
        let cache = tempfile::tempdir().unwrap();
        let dir = cache.path().join("v1-0");
        let failed = build_once(&dir, "a thing", |into| {
            fs::write(into.join("etcd"), "half")?;
            bail!("no space left")
        });
        assert!(failed.is_err());
        assert!(!dir.exists());
        build_once(&dir, "a thing", |into| {
            ensure!(!into.join("etcd").exists(), "the failed build is still there");
            Ok(())
        })
        .unwrap();
        assert!(dir.is_dir());
    }

    #[test]
    fn another_pin_is_another_build() {
        let module = |go_sum: &str| GoModule {
            dir: PathBuf::new(),
            go_mod: format!("require {MODULE} v1.2.3 // indirect"),
            go_sum: go_sum.to_owned(),
        };
        assert_ne!(module("a").cache_key(MODULE), module("b").cache_key(MODULE));
        assert!(module("a").cache_key(MODULE).starts_with("v1-2-3-"));
    }
}
