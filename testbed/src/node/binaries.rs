//! The programs of a node, built once from the Go modules that pin them.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result};

use crate::{
    announce,
    assets::KubernetesModule,
    environment::Environment,
    go_module::{GoBuild, GoModule, build_once},
    workspace_root,
};

const CONTAINERD: &str = "github.com/containerd/containerd/v2";
const RUNC: &str = "github.com/opencontainers/runc";

/// Two folders of programs: Kubernetes' own, of the version of the control plane, and what runs containers.
#[derive(Clone, Debug)]
pub(super) struct Binaries {
    kubernetes: PathBuf,
    runtime: PathBuf,
}

impl Binaries {
    /// Those below the target folder, built there the first time.
    pub(super) async fn find() -> Result<Self> {
        let environment = Environment::read();
        let cache = environment.target_dir.join("node");
        let minor = environment.kubernetes_minor;
        tokio::task::spawn_blocking(move || Self::build(&cache, minor.as_deref()))
            .await
            .context("build the node")?
    }

    fn build(cache: &Path, minor: Option<&str>) -> Result<Self> {
        let module = KubernetesModule::of(minor)?;
        let kubernetes = cache.join(module.cache_key());
        build_once(&kubernetes, "the node", |into| build_kubernetes(&module, into))?;
        let module = GoModule::read(&workspace_root().join("hack/node"))?;
        let runtime = cache.join(format!("containerd-{}", module.cache_key(CONTAINERD)));
        build_once(&runtime, "the container runtime", |into| build_runtime(&module, into))?;
        Ok(Self { kubernetes, runtime })
    }

    /// kubelet and its like.
    pub(super) fn kubernetes(&self, name: &str) -> PathBuf {
        self.kubernetes.join(name)
    }

    /// containerd and its like.
    pub(super) fn runtime(&self, name: &str) -> PathBuf {
        self.runtime.join(name)
    }

    /// Where containerd finds runc, its shim and the network plugins.
    pub(super) fn runtime_folder(&self) -> &Path {
        &self.runtime
    }
}

fn build_kubernetes(module: &KubernetesModule, into: &Path) -> Result<()> {
    let (version, start) = (module.version()?, Instant::now());
    announce(&format!(
        "building kubelet, kube-proxy, kube-scheduler and kube-controller-manager {version} from hack/tools, once, into {}. \
         This takes one to four minutes on two cores",
        into.with_extension("").display()
    ));
    let packages = ["kubelet", "kube-proxy", "kube-scheduler", "kube-controller-manager"]
        .map(|name| format!("k8s.io/kubernetes/cmd/{name}"));
    module.build("the node", &packages.each_ref().map(String::as_str), into)?;
    announce(&format!("the node is built, after {} s", start.elapsed().as_secs()));
    Ok(())
}

fn build_runtime(module: &GoModule, into: &Path) -> Result<()> {
    let (containerd, runc) = (module.version_of(CONTAINERD)?, module.version_of(RUNC)?);
    let start = Instant::now();
    announce(&format!(
        "building containerd {containerd}, runc {runc}, CNI plugins and CoreDNS from hack/node, once, into {}. This takes \
         two to three minutes on two cores",
        into.with_extension("").display()
    ));
    let plugins = "github.com/containernetworking/plugins/plugins";
    let packages = [
        format!("{CONTAINERD}/cmd/containerd"),
        format!("{CONTAINERD}/cmd/containerd-shim-runc-v2"),
        format!("{CONTAINERD}/cmd/ctr"),
        format!("{plugins}/main/bridge"),
        format!("{plugins}/main/loopback"),
        format!("{plugins}/ipam/host-local"),
        "dlq-operator.dev/hack/node/dns".to_owned(),
    ];
    let build = GoBuild { what: "the container runtime", ..GoBuild::default() };
    module.build(
        &GoBuild {
            packages: &packages.each_ref().map(String::as_str),
            // Snapshotters that would need C libraries, or that no test uses.
            tags: "no_btrfs,no_devmapper,no_zfs",
            ..build
        },
        into,
    )?;
    let build = GoBuild { what: "runc", packages: &[RUNC], tags: "seccomp", cgo: true, ..GoBuild::default() };
    module.build(&build, &into.join("runc"))?;
    announce(&format!("the container runtime is built, after {} s", start.elapsed().as_secs()));
    Ok(())
}
