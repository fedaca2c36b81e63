//! A node of real parts, with the controllers that make pods and the scheduler that places them.

mod binaries;
mod cgroups;
mod images;
mod namespaces;
mod parts;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tokio::sync::OnceCell;

pub use self::images::image_archives;
use self::{binaries::Binaries, cgroups::Cgroups, parts::Parts};
pub(crate) use self::{
    namespaces::{ADDRESS, Namespaces},
    parts::USERS as PARTS,
};
use crate::{
    ControlPlane, Programs, ScratchDir, announce, command::output_of, environment::Environment,
    eventually::Patience, forward::Forwarder, own_server::Site,
};

const START_TIMEOUT: Duration = Duration::from_secs(90);

/// The name of the node.
const NAME: &str = "testbed";

/// A cluster that runs pods: a control plane with kube-controller-manager and kube-scheduler, and a node with kubelet,
/// kube-proxy, containerd, runc and CNI plugins. `CoreDNS` is a process beside them. All of it lives in namespaces of its own: the
/// addresses of pods and Services exist nowhere else. With `USE_EXISTING_CLUSTER=true` it is the current kubeconfig's cluster.
pub struct Node {
    control_plane: ControlPlane,
    own: Option<Own>,
}

/// Dropped in this order: with the namespaces everything in them ends, and then the cgroups can be removed.
struct Own {
    parts: Parts,
    namespaces: Arc<Namespaces>,
    binaries: Binaries,
    cgroups: Cgroups,
    dir: ScratchDir,
}

impl Node {
    /// Whether one can run here: where it cannot, the caller skips its test, and this has said so. `REQUIRE_NODE=1` makes it
    /// an error.
    pub fn is_possible() -> Result<bool> {
        static PROBLEM: OnceLock<Option<String>> = OnceLock::new();
        if Environment::read().use_existing_cluster {
            return Ok(true);
        }
        if !Programs::NODE.are_installed()? {
            return Ok(false);
        }
        let Some(problem) = PROBLEM.get_or_init(problem) else { return Ok(true) };
        ensure!(!Environment::is_set("REQUIRE_NODE"), "REQUIRE_NODE=1, and no node can run here: {problem}");
        announce(&format!(
            "SKIPPED: a test needs a node, which cannot run here: {problem}. REQUIRE_NODE=1 makes this a failure."
        ));
        Ok(false)
    }

    /// Builds the programs of one where that was not done yet, which takes minutes.
    pub async fn build() -> Result<()> {
        Binaries::find().await.map(drop)
    }

    /// Starts one, with the images of the operator, the simulator and busybox.
    pub async fn start() -> Result<Self> {
        if Environment::read().use_existing_cluster {
            return Ok(Self { control_plane: ControlPlane::start().await?, own: None });
        }
        let dir = ScratchDir::create("node")?;
        let binaries = Binaries::find().await?;
        let cgroups = Cgroups::create()?;
        let namespaces = Arc::new(Namespaces::start(dir.path()).await?);
        let control_plane =
            ControlPlane::start_at(Site::Node(Arc::clone(&namespaces)), ScratchDir::create("control-plane")?)
                .await?;
        let parts = Parts::start(&control_plane, &namespaces, &binaries, &cgroups, dir.path())?;
        let own = Own { parts, namespaces, binaries, cgroups, dir };
        let mut node = Self { control_plane, own: Some(own) };
        node.ready().await?;
        for archive in images::archives().await? {
            node.load(&archive).await?;
        }
        Ok(node)
    }

    /// The one that the tests of this process share, started on first use. It is never dropped: the reaper stops it when the
    /// process ends.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Node> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// Whether a test may use what lies beyond its API: its cgroups, processes and log, its image store, and the way to a server
    /// of the test. Where it may not, the caller skips that, and this has said so.
    pub fn is_own(&self) -> bool {
        if self.own.is_none() {
            announce("SKIPPED: a test, or a part of one, needs more of the existing cluster than its API.");
        }
        self.own.is_some()
    }

    /// Loads an image from an archive, as `docker save` writes it.
    pub async fn load(&self, archive: &Path) -> Result<()> {
        let (program, args) = self.image_loader()?;
        let mut command = tokio::process::Command::new(program);
        command.args(args).arg(archive);
        output_of(command, "").await?.ok().with_context(|| format!("load {}", archive.display())).map(drop)
    }

    /// The command that loads an image, but for its last argument: the archive.
    pub fn image_loader(&self) -> Result<(PathBuf, Vec<String>)> {
        let own = self.own()?;
        let (program, mut args) = own.namespaces.enter(&own.binaries.runtime("ctr"));
        let socket = parts::containerd_socket(own.dir.path()).display().to_string();
        args.extend(["--address", &socket, "--namespace", "k8s.io", "images", "import"].map(str::to_owned));
        Ok((program, args))
    }

    /// Lets pods reach a port of this machine's loopback at the same port of the address that this gives, as long as the
    /// value lives.
    pub async fn expose(&self, port: u16) -> Result<Exposed> {
        let own = self.own()?;
        let from = format!("{ADDRESS}:{port}");
        let forwarder = Forwarder::into(&own.namespaces, &from, port, own.dir.path()).await?;
        Ok(Exposed { _forwarder: forwarder })
    }

    /// The cgroup of a container in the hierarchy that limits memory.
    pub fn memory_cgroup(&self, container_id: &str) -> Result<PathBuf> {
        let id = container_id.rsplit('/').next().unwrap_or(container_id);
        let is_memory =
            |path: &Path| ["memory.limit_in_bytes", "memory.max"].iter().any(|file| path.join(file).exists());
        self.own()?
            .cgroups
            .paths()
            .flat_map(|root| below(&root))
            .find(|path| path.ends_with(id) && is_memory(path))
            .with_context(|| format!("no cgroup of the container {id}"))
    }

    async fn ready(&mut self) -> Result<()> {
        let wait = ["wait", "node", NAME, "--for=condition=Ready", "--timeout=5s"];
        let mut patience = Patience::new(START_TIMEOUT, "the node is ready");
        while let Err(error) = self.control_plane.kubectl(&wait).await?.ok() {
            if let Some(own) = &mut self.own {
                own.parts.check_running()?;
            }
            patience.not_yet(error).await?;
        }
        Ok(())
    }

    fn own(&self) -> Result<&Own> {
        self.own.as_ref().context("not known of an existing cluster (USE_EXISTING_CLUSTER is set)")
    }
}

/// A port of this machine that pods reach.
pub struct Exposed {
    _forwarder: Forwarder,
}

impl Exposed {
    /// Where it is for pods.
    pub const HOST: &str = ADDRESS;
}

/// Folders below one, at any depth.
fn below(root: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.flat_map(|entry| [vec![entry.path()], below(&entry.path())].concat()).collect()
}

/// What a node does with the kernel and with busybox, tried once.
const TRIAL: &str = r#"set -e
ip link add testbed type bridge
ip link add one type veth peer name other
nft add table ip testbed
mount -t tmpfs tmpfs /mnt
mkdir /mnt/1 /mnt/2 /mnt/3 /mnt/4
mount -t overlay -o lowerdir=/mnt/1,upperdir=/mnt/2,workdir=/mnt/3 overlay /mnt/4
sysctl -qw net.ipv4.ip_forward=1
cp "$(command -v busybox)" /mnt/busybox
chroot /mnt /busybox true || { echo 'busybox is not linked statically (Debian: apt-get install busybox-static)' >&2; exit 1; }
"#;

/// More than what follows the folder of temporary files in the path of a socket, of which a path has at most 107 bytes.
const LONGEST_SOCKET: usize = 60;

/// Why the kernel, the user or the machine does not let a node run.
fn problem() -> Option<String> {
    if Environment::read().kubebuilder_assets.is_some() {
        return Some(
            "KUBEBUILDER_ASSETS is set, and a kubelet must be of the API server's version".to_owned(),
        );
    }
    if !rustix::process::geteuid().is_root() {
        return Some("it needs root".to_owned());
    }
    let scratch = std::env::temp_dir();
    if scratch.as_os_str().len() + LONGEST_SOCKET > 107 {
        return Some(format!("the path of {} is too long for that of a socket below it", scratch.display()));
    }
    // What the runtime is built with.
    let seccomp = Command::new("pkg-config").args(["--exists", "libseccomp"]).status();
    if !seccomp.is_ok_and(|status| status.success()) {
        return Some(
            "there is no libseccomp to build runc with (Debian: apt-get install libseccomp-dev)".to_owned(),
        );
    }
    if let Err(error) = Cgroups::create() {
        return Some(format!("{error:#}"));
    }
    match Command::new("unshare").args(["--net", "--mount", "/bin/sh", "-c", TRIAL]).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    }
}
