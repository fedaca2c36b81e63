//! The control plane's binaries: found, or built once from the Go modules that `hack/tools` pins.

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

use crate::{announce, environment::Environment, reaper::Reaper, workspace_root};

const NAMES: [&str; 3] = ["etcd", "kube-apiserver", "kubectl"];
const KUBERNETES: &str = "k8s.io/kubernetes";

/// A folder with etcd, kube-apiserver and kubectl.
#[derive(Clone, Debug)]
pub struct Assets {
    dir: PathBuf,
}

impl Assets {
    /// `KUBEBUILDER_ASSETS`, else our own build below the target folder, which takes minutes the first time.
    pub async fn find() -> Result<Self> {
        let environment = Environment::read();
        if let Some(dir) = environment.kubebuilder_assets {
            // Whichever won, somebody would believe that the other had been tested.
            ensure!(
                environment.kubernetes_minor.is_none(),
                "KUBEBUILDER_ASSETS and KUBERNETES_MINOR are both set: unset one"
            );
            let assets = Self { dir };
            assets.check().context("KUBEBUILDER_ASSETS is set")?;
            return Ok(assets);
        }
        let cache = environment.target_dir.join("control-plane");
        let minor = environment.kubernetes_minor;
        tokio::task::spawn_blocking(move || Self::build(&cache, minor.as_deref()))
            .await
            .context("build the control plane")?
    }

    fn build(cache: &Path, minor: Option<&str>) -> Result<Self> {
        let source = GoModule::of(minor)?;
        let dir = cache.join(source.cache_key(KUBERNETES));
        build_once(&dir, "the control plane", |into| source.build(into))?;
        Ok(Self { dir })
    }

    fn check(&self) -> Result<()> {
        for name in NAMES {
            let path = self.path(name);
            ensure!(path.is_file(), "{} does not exist", path.display());
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn etcd(&self) -> PathBuf {
        self.path("etcd")
    }

    pub fn kube_apiserver(&self) -> PathBuf {
        self.path("kube-apiserver")
    }

    pub fn kubectl(&self) -> PathBuf {
        self.path("kubectl")
    }
}

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
/// `hack/tools/compat`, `hack/helm` and `hack/helm/oldest`.
pub(crate) struct GoModule {
    dir: PathBuf,
    go_mod: String,
    go_sum: String,
}

impl GoModule {
    /// The module of a minor such as `1.32`, else the one that tests usually run.
    fn of(minor: Option<&str>) -> Result<Self> {
        let tools = workspace_root().join("hack/tools");
        let usual = Self::read(&tools)?;
        let Some(minor) = minor else { return Ok(usual) };
        let (usual_minor, _patch) = usual.version_of(KUBERNETES)?.rsplit_once('.').unwrap_or_default();
        if usual_minor == format!("v{minor}") {
            return Ok(usual);
        }
        Self::read(&tools.join("compat").join(format!("v{minor}"))).with_context(|| {
            format!("KUBERNETES_MINOR is {minor}, which nothing pins: see hack/tools/compat/pin")
        })
    }

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

    fn build(&self, into: &Path) -> Result<()> {
        let kubernetes = self.version_of(KUBERNETES)?;
        let etcd = self.version_of("go.etcd.io/etcd/server/v3")?;
        let start = Instant::now();
        announce(&format!(
            "building etcd {etcd}, kube-apiserver and kubectl {kubernetes} from hack/tools, once, into {}. This takes \
             five to ten minutes on two cores; set KUBEBUILDER_ASSETS to a folder with these three to skip it",
            into.with_extension("").display()
        ));
        self.go_build(kubernetes, &into.join("etcd"), &["go.etcd.io/etcd/server/v3"])?;
        // A folder: each binary in it is then named after its package.
        self.go_build(
            kubernetes,
            into,
            &["k8s.io/kubernetes/cmd/kube-apiserver", "k8s.io/kubernetes/cmd/kubectl"],
        )?;
        announce(&format!("the control plane is built, after {} s", start.elapsed().as_secs()));
        Ok(())
    }

    fn go_build(&self, kubernetes: &str, output: &Path, packages: &[&str]) -> Result<()> {
        // Without a version the API server calls itself v0.0.0-master, which clients refuse to work with.
        let mut parts = kubernetes.trim_start_matches('v').split('.');
        let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let version = "-X k8s.io/component-base/version.git";
        let ldflags = format!("{version}Version={kubernetes} {version}Major={major} {version}Minor={minor}");
        self.go("the control plane", &ldflags, output, packages)
    }

    /// Builds packages of the pinned modules, with `ldflags` that set variables.
    pub(crate) fn go(&self, what: &str, ldflags: &str, output: &Path, packages: &[&str]) -> Result<()> {
        let mut command = Command::new("go");
        command
            .current_dir(&self.dir)
            .args(["build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags"])
            .args([&format!("-s -w {ldflags}"), "-o"])
            .arg(output)
            .args(packages)
            .env("CGO_ENABLED", "0")
            // A workspace file in a folder above ours would replace the pinned versions.
            .env("GOWORK", "off")
            .stdin(Stdio::null());
        run_for_minutes(what, command, &output.with_extension("build.log"))
    }
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
            "there is nothing to build {what} with: install Go, or set KUBEBUILDER_ASSETS to a folder with {}, and helm",
            NAMES.join(", ")
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
    fn the_pinned_versions_are_found_in_the_go_module() {
        let module = GoModule::read(&workspace_root().join("hack/tools")).unwrap();
        assert_eq!(module.version_of("k8s.io/kubernetes").unwrap(), "v1.36.3");
        assert!(module.version_of("go.etcd.io/etcd/server/v3").unwrap().starts_with("v3."));
        assert!(!module.cache_key(KUBERNETES).contains('.'));
    }

    #[test]
    fn each_minor_has_a_module_that_pins_it() {
        let pinned = |minor: &str| GoModule::of(Some(minor)).unwrap();
        assert_eq!(pinned("1.36").dir, workspace_root().join("hack/tools"));
        let folders = fs::read_dir(workspace_root().join("hack/tools/compat")).unwrap();
        let mut minors = 0;
        for folder in folders.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
            let minor = folder.file_name().unwrap().to_str().unwrap();
            let module = pinned(minor.trim_start_matches('v'));
            assert!(module.version_of(KUBERNETES).unwrap().starts_with(&format!("{minor}.")), "{minor}");
            assert!(module.version_of("go.etcd.io/etcd/server/v3").unwrap().starts_with("v3."), "{minor}");
            minors += 1;
        }
        assert!(minors > 1, "the modules are not found");
    }

    #[test]
    fn a_minor_that_nothing_pins_is_refused_with_the_way_out() {
        for minor in ["1.7", "1", "latest"] {
            let error = format!("{:#}", GoModule::of(Some(minor)).err().expect(minor));
            assert!(error.contains(minor) && error.contains("hack/tools/compat/pin"), "{error}");
        }
    }

    #[test]
    fn another_pin_is_another_build() {
        let module = |go_sum: &str| GoModule {
            dir: PathBuf::new(),
            go_mod: "require k8s.io/kubernetes v1.2.3 // indirect".to_owned(),
            go_sum: go_sum.to_owned(),
        };
        assert_ne!(module("a").cache_key(KUBERNETES), module("b").cache_key(KUBERNETES));
        assert!(module("a").cache_key(KUBERNETES).starts_with("v1-2-3-"));
    }
}
