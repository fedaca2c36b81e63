//! The control plane's binaries: found, or built once from the Go modules that `hack/tools` pins.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    announce,
    environment::Environment,
    go_module::{GoBuild, GoModule, build_once},
    workspace_root,
};

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
        let module = KubernetesModule::of(minor)?;
        let dir = cache.join(module.cache_key());
        build_once(&dir, "the control plane", |into| build(&module, into))?;
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

fn build(module: &KubernetesModule, into: &Path) -> Result<()> {
    let what = "the control plane";
    let kubernetes = module.version()?;
    let etcd = module.0.version_of("go.etcd.io/etcd/server/v3")?;
    let start = Instant::now();
    announce(&format!(
        "building etcd {etcd}, kube-apiserver and kubectl {kubernetes} from hack/tools, once, into {}. This takes \
         five to ten minutes on two cores; set KUBEBUILDER_ASSETS to a folder with these three to skip it",
        into.with_extension("").display()
    ));
    module.build(what, &["go.etcd.io/etcd/server/v3"], &into.join("etcd"))?;
    module.build(what, &["k8s.io/kubernetes/cmd/kube-apiserver", "k8s.io/kubernetes/cmd/kubectl"], into)?;
    announce(&format!("the control plane is built, after {} s", start.elapsed().as_secs()));
    Ok(())
}

/// The module that pins Kubernetes.
pub(crate) struct KubernetesModule(GoModule);

impl KubernetesModule {
    /// The module of a minor such as `1.32`, else the one that tests usually run.
    pub(crate) fn of(minor: Option<&str>) -> Result<Self> {
        let tools = workspace_root().join("hack/tools");
        let usual = Self(GoModule::read(&tools)?);
        let Some(minor) = minor else { return Ok(usual) };
        let (usual_minor, _patch) = usual.version()?.rsplit_once('.').unwrap_or_default();
        if usual_minor == format!("v{minor}") {
            return Ok(usual);
        }
        let module = GoModule::read(&tools.join("compat").join(format!("v{minor}"))).with_context(|| {
            format!("KUBERNETES_MINOR is {minor}, which nothing pins: see hack/tools/compat/pin")
        })?;
        Ok(Self(module))
    }

    /// Such as `v1.36.3`.
    pub(crate) fn version(&self) -> Result<&str> {
        self.0.version_of(KUBERNETES)
    }

    pub(crate) fn cache_key(&self) -> String {
        self.0.cache_key(KUBERNETES)
    }

    pub(crate) fn build(&self, what: &str, packages: &[&str], output: &Path) -> Result<()> {
        let kubernetes = self.version()?;
        // Without a version the API server calls itself v0.0.0-master, which clients refuse to work with.
        let mut parts = kubernetes.trim_start_matches('v').split('.');
        let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let version = "-X k8s.io/component-base/version.git";
        let ldflags = format!("{version}Version={kubernetes} {version}Major={major} {version}Minor={minor}");
        self.0.build(&GoBuild { what, packages, ldflags: &ldflags, ..GoBuild::default() }, output)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_pinned_versions_are_found_in_the_go_module() {
        let module = KubernetesModule::of(None).unwrap();
        assert_eq!(module.version().unwrap(), "v1.36.3");
        assert!(module.0.version_of("go.etcd.io/etcd/server/v3").unwrap().starts_with("v3."));
        assert!(!module.cache_key().contains('.'));
    }

    #[test]
    fn each_minor_has_a_module_that_pins_it() {
        let pinned = |minor: &str| KubernetesModule::of(Some(minor)).unwrap();
        assert_eq!(pinned("1.36").0.dir, workspace_root().join("hack/tools"));
        let folders = fs::read_dir(workspace_root().join("hack/tools/compat")).unwrap();
        let mut minors = 0;
        for folder in folders.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
            let minor = folder.file_name().unwrap().to_str().unwrap();
            let module = pinned(minor.trim_start_matches('v'));
            assert!(module.version().unwrap().starts_with(&format!("{minor}.")), "{minor}");
            assert!(module.0.version_of("go.etcd.io/etcd/server/v3").unwrap().starts_with("v3."), "{minor}");
            minors += 1;
        }
        assert!(minors > 1, "the modules are not found");
    }

    #[test]
    fn a_minor_that_nothing_pins_is_refused_with_the_way_out() {
        for minor in ["1.7", "1", "latest"] {
            let error = format!("{:#}", KubernetesModule::of(Some(minor)).err().expect(minor));
            assert!(error.contains(minor) && error.contains("hack/tools/compat/pin"), "{error}");
        }
    }
}
