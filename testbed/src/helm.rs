//! The real Helm, with one kubeconfig and a home of its own: the pinned one, or the oldest that the chart promises to work with.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result};
use tokio::{process::Command, sync::OnceCell};

use crate::{
    ScratchDir, announce,
    command::{CommandOutput, client, output_of},
    environment::Environment,
    go_module::{GoBuild, GoModule, build_once},
    workspace_root,
};

/// A Helm that a Go module of the project pins.
struct Pin {
    /// The folder of that module.
    folder: &'static str,
    module: &'static str,
}

const CURRENT: Pin = Pin { folder: "hack/helm", module: "helm.sh/helm/v4" };
const OLDEST: Pin = Pin { folder: "hack/helm/oldest", module: "helm.sh/helm/v3" };

/// Runs Helm as one user. It knows nothing of the repositories, plugins and kubeconfigs of the person who runs the tests.
pub struct Helm {
    binary: PathBuf,
    kubeconfig: PathBuf,
    home: ScratchDir,
}

impl Helm {
    /// For the cluster of a kubeconfig.
    pub async fn new(kubeconfig: &Path) -> Result<Self> {
        static BINARY: OnceCell<PathBuf> = OnceCell::const_new();
        Self::with(BINARY.get_or_try_init(|| CURRENT.find()).await?, kubeconfig)
    }

    /// The oldest version that the chart's documentation promises, for the cluster of a kubeconfig.
    pub async fn oldest(kubeconfig: &Path) -> Result<Self> {
        static BINARY: OnceCell<PathBuf> = OnceCell::const_new();
        Self::with(BINARY.get_or_try_init(|| OLDEST.find()).await?, kubeconfig)
    }

    fn with(binary: &Path, kubeconfig: &Path) -> Result<Self> {
        let (binary, kubeconfig) = (binary.to_owned(), kubeconfig.to_owned());
        Ok(Self { binary, kubeconfig, home: ScratchDir::create("helm")? })
    }

    /// For what needs no cluster, such as `template`.
    pub async fn offline() -> Result<Self> {
        Self::new(Path::new("/dev/null")).await
    }

    pub fn binary(&self) -> &Path {
        &self.binary
    }

    pub async fn run(&self, args: &[&str]) -> Result<CommandOutput> {
        self.run_with_input(args, "").await
    }

    /// For `--values -`.
    pub async fn run_with_input(&self, args: &[&str], input: &str) -> Result<CommandOutput> {
        let home = self.home.path();
        let mut command = client(&self.binary, args, &self.kubeconfig, home);
        command
            .env("HELM_CACHE_HOME", home.join("cache"))
            .env("HELM_CONFIG_HOME", home.join("config"))
            .env("HELM_DATA_HOME", home.join("data"));
        output_of(command, input).await
    }
}

impl Pin {
    /// Beside the control plane's binaries, else in `PATH`, else our own build. Other versions than the pinned one are passed
    /// over: what they print and wait for differs.
    async fn find(&'static self) -> Result<PathBuf> {
        let module = GoModule::read(&workspace_root().join(self.folder))?;
        let pinned = module.version_of(self.module)?.to_owned();
        let environment = Environment::read();
        let beside = environment.kubebuilder_assets.as_ref().map(|dir| dir.join("helm"));
        for binary in beside.into_iter().chain(environment.find("helm")) {
            if version(&binary).await.is_ok_and(|version| version == pinned) {
                return Ok(binary);
            }
        }
        let cache = environment.target_dir.join("helm");
        let build = move || {
            let dir = cache.join(module.cache_key(self.module));
            build_once(&dir, "Helm", |into| self.build(&module, &pinned, into))?;
            Ok(dir.join("helm"))
        };
        tokio::task::spawn_blocking(build).await.context("build Helm")?
    }

    fn build(&self, module: &GoModule, version: &str, into: &Path) -> Result<()> {
        let start = Instant::now();
        announce(&format!(
            "building Helm {version} from {}, once, into {}. This takes two to four minutes on two cores; a helm of \
             that version in PATH is used instead",
            self.folder,
            into.with_extension("").display()
        ));
        let ldflags = format!("-X {}/internal/version.version={version}", self.module);
        let package = format!("{}/cmd/helm", self.module);
        let build = GoBuild { what: "Helm", packages: &[&package], ldflags: &ldflags, ..GoBuild::default() };
        module.build(&build, &into.join("helm"))?;
        announce(&format!("Helm is built, after {} s", start.elapsed().as_secs()));
        Ok(())
    }
}

/// Such as `v4.3.1`.
async fn version(binary: &Path) -> Result<String> {
    let mut command = Command::new(binary);
    command.args(["version", "--template={{.Version}}"]);
    let output = output_of(command, "").await?;
    Ok(output.stdout.trim().to_owned())
}
