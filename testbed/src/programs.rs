//! Programs that a machine may do without: what needs them is skipped there, aloud, unless a variable forbids that.

use anyhow::{Result, ensure};

use crate::{announce, environment::Environment};

/// Programs that some tests need in `PATH`.
#[derive(Clone, Copy, Debug)]
pub struct Programs {
    names: &'static [&'static str],
    /// `1` makes it an error that one is missing.
    variable: &'static str,
    package: &'static str,
}

impl Programs {
    /// What scrapes and queries metrics.
    pub const PROMETHEUS: Self = Self {
        names: &["prometheus", "promtool"],
        variable: "REQUIRE_PROMETHEUS",
        package: "Debian: apt-get install prometheus",
    };
    /// What draws the dashboard's picture from Prometheus' answers.
    pub const PICTURE: Self = Self {
        names: &["python3"],
        variable: "REQUIRE_PROMETHEUS",
        package: "Debian: apt-get install python3",
    };
    /// What asks libraries of Kubernetes' own.
    pub const GO: Self = Self { names: &["go"], variable: "REQUIRE_GO", package: "https://go.dev/dl" };
    /// What builds the image, and runs an operator in it.
    pub const IMAGE: Self = Self {
        names: &["buildah", "dpkg-query", "python3", "setpriv", "strip", "unshare"],
        variable: "REQUIRE_IMAGE",
        package: "Debian: apt-get install buildah",
    };

    /// What a node is built with, and runs with.
    pub const NODE: Self = Self {
        names: &[
            "buildah",
            "busybox",
            "gcc",
            "go",
            "ip",
            "nft",
            "nsenter",
            "pkg-config",
            "sysctl",
            "unshare",
        ],
        variable: "REQUIRE_NODE",
        package: "Debian: apt-get install buildah busybox-static gcc iproute2 libseccomp-dev nftables pkg-config procps, \
                  and https://go.dev/dl",
    };

    /// Whether they are in `PATH`. Where they are not the caller skips its test, and this has said so.
    pub fn are_installed(self) -> Result<bool> {
        let environment = Environment::read();
        let is_missing = |name: &&&str| environment.find(name).is_none();
        let missing: Vec<_> = self.names.iter().filter(is_missing).copied().collect();
        if missing.is_empty() {
            return Ok(true);
        }
        let (missing, variable) = (missing.join(" and "), self.variable);
        ensure!(!Environment::is_set(variable), "{variable}=1, and {missing} not in PATH");
        announce(&format!(
            "SKIPPED: a test needs {missing} in PATH ({}). {variable}=1 makes this a failure.",
            self.package
        ));
        Ok(false)
    }
}
