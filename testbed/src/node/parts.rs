//! The processes of a node and of the controllers, each with what it is told.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    NAME,
    binaries::Binaries,
    cgroups::Cgroups,
    images::SANDBOX,
    namespaces::{ADDRESS, Namespaces, POD_NETWORK},
};
use crate::{ControlPlane, Process, Program, User, environment::path_with, own_server::KUBELET_CLIENT};

const CONTROLLERS: &str = "system:kube-controller-manager";
const SCHEDULER: &str = "system:kube-scheduler";
const KUBELET: &str = "system:node:testbed";
const PROXY: &str = "system:kube-proxy";

/// The users of those that ask the API server, each with its groups. The API server has roles for them.
pub(crate) const USERS: [(&str, &str); 4] =
    [(CONTROLLERS, ""), (SCHEDULER, ""), (KUBELET, "system:nodes"), (PROXY, "")];

const CLUSTER_DOMAIN: &str = "cluster.local";

/// The running processes; what each says is in a log of its name.
pub(super) struct Parts {
    processes: Vec<Process>,
}

pub(super) fn containerd_socket(dir: &Path) -> PathBuf {
    dir.join("containerd.sock")
}

/// What all parts need to know.
struct Site<'a> {
    control_plane: &'a ControlPlane,
    state: &'a Path,
    binaries: &'a Binaries,
    dir: &'a Path,
}

impl Parts {
    pub(super) fn start(
        control_plane: &ControlPlane,
        namespaces: &Namespaces,
        binaries: &Binaries,
        cgroups: &Cgroups,
        dir: &Path,
    ) -> Result<Self> {
        let site = Site { control_plane, state: namespaces.state(), binaries, dir };
        let programs = [
            site.containerd()?,
            site.kubelet(&cgroups.root())?,
            site.controllers()?,
            site.scheduler()?,
            site.proxy()?,
            site.dns()?,
        ];
        // containerd finds its shim, runc and the plugins there.
        let path = path_with(binaries.runtime_folder());
        let processes = programs
            .into_iter()
            .map(|(name, binary, args)| {
                let env = vec![("PATH".to_owned(), path.clone())];
                namespaces.run(Program { name, binary: &binary, args, env, dir })
            })
            .collect::<Result<_>>()?;
        Ok(Self { processes })
    }
}

impl Parts {
    /// Fails with the log of one that has ended.
    pub(super) fn check_running(&mut self) -> Result<()> {
        self.processes.iter_mut().try_for_each(Process::check_running)
    }
}

/// Name, binary and arguments.
type Part = (&'static str, PathBuf, Vec<String>);

impl Site<'_> {
    fn file(&self, name: &str, content: &str) -> Result<String> {
        let path = self.dir.join(name);
        fs::write(&path, content).with_context(|| format!("write {name}"))?;
        Ok(path.display().to_string())
    }

    fn state(&self, name: &str) -> String {
        self.state.join(name).display().to_string()
    }

    fn kubeconfig(&self, user: &str) -> Result<String> {
        Ok(self.control_plane.kubeconfig_inside(user)?.display().to_string())
    }

    fn containerd(&self) -> Result<Part> {
        let network = json!({
            "cniVersion": "1.0.0",
            "name": "pods",
            "plugins": [{
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": self.state("cni"),
                    "ranges": [[{ "subnet": POD_NETWORK }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            }],
        });
        let networks = self.dir.join("networks");
        fs::create_dir(&networks).context("create a folder for the pods' network")?;
        fs::write(networks.join("pods.conflist"), network.to_string()).context("write the pods' network")?;
        let config = format!(
            "version = 3\n\
             root = {root:?}\n\
             state = '/run/containerd'\n\
             [grpc]\n\
             address = {socket:?}\n\
             [plugins.'io.containerd.cri.v1.images'.pinned_images]\n\
             sandbox = '{SANDBOX}'\n\
             [plugins.'io.containerd.cri.v1.runtime']\n\
             # Some machines have no CAP_SYS_RESOURCE.\n\
             restrict_oom_score_adj = true\n\
             [plugins.'io.containerd.cri.v1.runtime'.cni]\n\
             bin_dirs = [{plugins:?}]\n\
             conf_dir = {networks:?}\n",
            root = self.state("containerd"),
            socket = containerd_socket(self.dir).display().to_string(),
            plugins = self.binaries.runtime_folder().display().to_string(),
            networks = networks.display().to_string(),
        );
        let args = vec![format!("--config={}", self.file("containerd.toml", &config)?)];
        Ok(("containerd", self.binaries.runtime("containerd"), args))
    }

    fn kubelet(&self, cgroup: &str) -> Result<Part> {
        let client = self.control_plane.dir().join(KUBELET_CLIENT);
        let config = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": format!("unix://{}", containerd_socket(self.dir).display()),
            "authentication": {
                "anonymous": { "enabled": false },
                "webhook": { "enabled": true },
                "x509": { "clientCAFile": client },
            },
            "authorization": { "mode": "Webhook" },
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": cgroup,
            // Version 1 is what some machines have.
            "failCgroupV1": false,
            "failSwapOn": false,
            "enforceNodeAllocatable": [],
            // The machine's disk is not the node's.
            "evictionHard": { "memory.available": "100Mi" },
            "imageGCHighThresholdPercent": 100,
            "podLogsDir": self.dir.join("pods"),
            "clusterDNS": [ADDRESS],
            "clusterDomain": CLUSTER_DOMAIN,
            "resolvConf": "",
        });
        let args = vec![
            format!("--config={}", self.file("kubelet.json", &config.to_string())?),
            format!("--kubeconfig={}", self.kubeconfig(KUBELET)?),
            format!("--root-dir={}", self.state("kubelet")),
            format!("--cert-dir={}", self.state("kubelet-certificates")),
            format!("--hostname-override={NAME}"),
            format!("--node-ip={ADDRESS}"),
        ];
        Ok(("kubelet", self.binaries.kubernetes("kubelet"), args))
    }

    fn controllers(&self) -> Result<Part> {
        let key = self.control_plane.dir().join("service-account.key");
        let args = vec![
            format!("--kubeconfig={}", self.kubeconfig(CONTROLLERS)?),
            format!("--service-account-private-key-file={}", key.display()),
            format!("--root-ca-file={}", self.control_plane.ca()?.display()),
            "--use-service-account-credentials".to_owned(),
            "--leader-elect=false".to_owned(),
        ];
        Ok(("kube-controller-manager", self.binaries.kubernetes("kube-controller-manager"), args))
    }

    fn scheduler(&self) -> Result<Part> {
        let args =
            vec![format!("--kubeconfig={}", self.kubeconfig(SCHEDULER)?), "--leader-elect=false".to_owned()];
        Ok(("kube-scheduler", self.binaries.kubernetes("kube-scheduler"), args))
    }

    fn proxy(&self) -> Result<Part> {
        let config: Value = json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": { "kubeconfig": self.kubeconfig(PROXY)? },
            "clusterCIDR": POD_NETWORK,
            "hostnameOverride": NAME,
            // Pods share a bridge: an answer must come back through the node, which knows the Service's address.
            "nftables": { "masqueradeAll": true },
            // Limits of the whole machine.
            "conntrack": { "maxPerCore": 0, "min": 0 },
        });
        let args = vec![format!("--config={}", self.file("kube-proxy.json", &config.to_string())?)];
        Ok(("kube-proxy", self.binaries.kubernetes("kube-proxy"), args))
    }

    fn dns(&self) -> Result<Part> {
        let kubeconfig = self.kubeconfig(User::Admin.name())?;
        let config = format!(
            ".:53 {{\n  errors\n  kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{\n    kubeconfig {kubeconfig} testbed\n  }}\n}}\n"
        );
        let args = vec!["-conf".to_owned(), self.file("Corefile", &config)?];
        Ok(("dns", self.binaries.runtime("dns"), args))
    }
}
