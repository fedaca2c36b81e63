//! The real Helm, with one kubeconfig and a home of its own.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result};
use tokio::{process::Command, sync::OnceCell};

use crate::{
    ScratchDir, announce,
    assets::{GoModule, build_once},
    command::{CommandOutput, client, output_of},
    environment::Environment,
    workspace_root,
};

const MODULE: &str = "helm.sh/helm/v4";

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
        let binary = BINARY.get_or_try_init(find).await?.clone();
        Ok(Self { binary, kubeconfig: kubeconfig.to_owned(), home: ScratchDir::create("helm")? })
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

/// Beside the control plane's binaries, else in `PATH`, else our own build. Other versions than the pinned one are passed over:
/// what they print and wait for differs.
async fn find() -> Result<PathBuf> {
    let module = GoModule::read(&workspace_root().join("hack/helm"))?;
    let pinned = module.version_of(MODULE)?.to_owned();
    let environment = Environment::read();
    let beside = environment.kubebuilder_assets.as_ref().map(|dir| dir.join("helm"));
    for binary in beside.into_iter().chain(environment.find("helm")) {
        if version(&binary).await.is_ok_and(|version| version == pinned) {
            return Ok(binary);
        }
    }
    let cache = environment.target_dir.join("helm");
    let build = move || {
        let dir = cache.join(module.cache_key(MODULE));
        build_once(&dir, "Helm", |into| build(&module, &pinned, into))?;
        Ok(dir.join("helm"))
    };
    tokio::task::spawn_blocking(build).await.context("build Helm")?
}

/// Such as `v4.3.1`.
async fn version(binary: &Path) -> Result<String> {
    let mut command = Command::new(binary);
    command.args(["version", "--template={{.Version}}"]);
    let output = output_of(command, "").await?;
    Ok(output.stdout.trim().to_owned())
}

fn build(module: &GoModule, version: &str, into: &Path) -> Result<()> {
    let start = Instant::now();
    announce(&format!(
        "building Helm {version} from hack/helm, once, into {}. This takes two to four minutes on two cores; a helm of \
         that version in PATH is used instead",
        into.with_extension("").display()
    ));
    let ldflags = format!("-X {MODULE}/internal/version.version={version}");
    module.go("Helm", &ldflags, &into.join("helm"), &[&format!("{MODULE}/cmd/helm")])?;
    announce(&format!("Helm is built, after {} s", start.elapsed().as_secs()));
    Ok(())
}
