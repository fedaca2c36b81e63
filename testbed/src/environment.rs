//! The environment variables the testbed looks at: all of them, in one place.

use std::{
    env::{split_paths, var_os},
    ffi::OsString,
    path::PathBuf,
};

/// What a process started by the testbed inherits; everything else it must be given. `HOME` is left out on purpose:
/// nothing may find the kubeconfig of the person who runs the tests.
const INHERITED: [&str; 6] =
    ["PATH", "TMPDIR", "RUST_BACKTRACE", "LLVM_PROFILE_FILE", "SSL_CERT_FILE", "SSL_CERT_DIR"];

pub(crate) struct Environment {
    /// `KUBEBUILDER_ASSETS`: a folder with etcd, kube-apiserver and kubectl, as setup-envtest prints it.
    pub(crate) kubebuilder_assets: Option<PathBuf>,
    /// `KUBERNETES_MINOR`, such as `1.30`: build that minor of Kubernetes, not the one that tests usually run.
    pub(crate) kubernetes_minor: Option<String>,
    /// `USE_EXISTING_CLUSTER=true`: the current kubeconfig's cluster instead of one of our own.
    pub(crate) use_existing_cluster: bool,
    /// `TESTBED_BIN_DIR`: a folder with the workspace's binaries, so that none are built.
    pub(crate) bin_dir: Option<PathBuf>,
    /// `CARGO_TARGET_DIR`, absolute.
    pub(crate) target_dir: PathBuf,
    /// `CARGO`: the cargo that runs us, else the one in `PATH`.
    pub(crate) cargo: PathBuf,
    path: OsString,
}

impl Environment {
    pub(crate) fn read() -> Self {
        let path = |name| var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = crate::workspace_root();
        Self {
            kubebuilder_assets: path("KUBEBUILDER_ASSETS"),
            kubernetes_minor: var_os("KUBERNETES_MINOR")
                .map(|minor| minor.to_string_lossy().into_owned())
                .filter(|minor| !minor.is_empty()),
            use_existing_cluster: var_os("USE_EXISTING_CLUSTER").is_some_and(|value| value == "true"),
            bin_dir: path("TESTBED_BIN_DIR"),
            target_dir: root.join(path("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into())),
            cargo: path("CARGO").unwrap_or_else(|| "cargo".into()),
            path: var_os("PATH").unwrap_or_default(),
        }
    }

    /// Whether a switch is on: `REQUIRE_PROMETHEUS` and its like, with which no test is skipped for want of them.
    pub(crate) fn is_set(variable: &str) -> bool {
        var_os(variable).is_some_and(|value| !value.is_empty() && value != "0")
    }

    /// A program in `PATH`.
    pub(crate) fn find(&self, name: &str) -> Option<PathBuf> {
        split_paths(&self.path).map(|dir| dir.join(name)).find(|path| path.is_file())
    }
}

/// `PATH` with one more folder at its end.
pub(crate) fn path_with(folder: &std::path::Path) -> String {
    let path = var_os("PATH").unwrap_or_default();
    format!("{}:{}", path.to_string_lossy(), folder.display())
}

/// The variables of [`INHERITED`] that are set.
pub(crate) fn inherited() -> impl Iterator<Item = (&'static str, OsString)> {
    INHERITED.into_iter().filter_map(|name| var_os(name).map(|value| (name, value)))
}
