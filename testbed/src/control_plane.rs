//! A Kubernetes control plane: etcd and kube-apiserver, without nodes and without controllers.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tokio::sync::OnceCell;

pub use crate::own_server::Part;
use crate::{
    Assets, AuditedCall, CommandOutput, Kubectl, Namespace, ScratchDir, Signal, audit,
    environment::Environment, eventually::Patience, own_server::OwnServer, own_server::Site, random_hex,
};

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Who a kubeconfig authenticates as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// In `system:masters`: may do anything.
    Admin,
    /// May do what a test grants to the user `alice`: nothing to begin with.
    Alice,
    /// Likewise `bob`.
    Bob,
}

impl User {
    pub(crate) const ALL: [Self; 3] = [Self::Admin, Self::Alice, Self::Bob];

    /// The name in a `RoleBinding`'s subjects.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Alice => "alice",
            Self::Bob => "bob",
        }
    }

    pub(crate) fn groups(self) -> &'static str {
        match self {
            Self::Admin => "system:masters",
            Self::Alice | Self::Bob => "",
        }
    }
}

/// A control plane, ours or (with `USE_EXISTING_CLUSTER=true`) the current kubeconfig's.
pub struct ControlPlane {
    kubectl: Kubectl,
    server: Server,
    // After the processes that write into it: fields are dropped in this order.
    dir: ScratchDir,
}

enum Server {
    Own(Box<OwnServer>),
    Existing,
}

impl ControlPlane {
    /// Starts a control plane, or connects to the existing one.
    pub async fn start() -> Result<Self> {
        let dir = ScratchDir::create("control-plane")?;
        let kubeconfig = dir.path().join("kubeconfig");
        if Environment::read().use_existing_cluster {
            let kubectl = existing_cluster(&kubeconfig).await?;
            return Ok(Self { kubectl, server: Server::Existing, dir });
        }
        Self::start_at(Site::Machine, dir).await
    }

    /// Starts one of our own, in a folder that goes with it.
    pub(crate) async fn start_at(site: Site, dir: ScratchDir) -> Result<Self> {
        let kubeconfig = dir.path().join("kubeconfig");
        let assets = Assets::find().await?;
        let server = OwnServer::start(&assets, dir.path(), site).await?;
        let kubectl = Kubectl::new(assets.kubectl(), kubeconfig.clone());
        let control_plane = Self { kubectl, server: Server::Own(Box::new(server)), dir };
        fs::write(&kubeconfig, control_plane.kubeconfig_content(control_plane.token(User::Admin)?)?)
            .context("write the kubeconfig")?;
        Ok(control_plane)
    }

    /// The one control plane that the tests of this process share, started on first use. It is never dropped: the
    /// reaper stops it when the process ends.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// The kubeconfig of [`User::Admin`], or a copy of the existing cluster's.
    pub fn kubeconfig(&self) -> &Path {
        self.kubectl.kubeconfig()
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> Result<&str> {
        Ok(&self.own()?.url)
    }

    /// The certificate authority of [`url`](Self::url), as PEM: what a pod finds as its `ca.crt`.
    pub fn ca(&self) -> Result<&Path> {
        Ok(&self.own()?.ca)
    }

    /// The bearer token of a user.
    pub fn token(&self, user: User) -> Result<&str> {
        self.own()?.token(user.name())
    }

    /// Writes a kubeconfig for a part of a node, in whose namespaces the API server has another address.
    pub(crate) fn kubeconfig_inside(&self, user: &str) -> Result<PathBuf> {
        let server = self.own()?;
        let path = self.dir.path().join(format!("kubeconfig-{}", user.replace(':', "-")));
        let cluster = json!({ "server": server.url_inside(), "certificate-authority": server.ca });
        fs::write(&path, kubeconfig(&cluster, server.token(user)?)).context("write a kubeconfig")?;
        Ok(path)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A token of an existing `ServiceAccount`, as the `TokenRequest` API gives it to pods.
    pub async fn service_account_token(&self, namespace: &str, name: &str) -> Result<String> {
        let token = self.kubectl(&["create", "token", name, "--namespace", namespace]).await?.ok()?;
        Ok(token.trim().to_owned())
    }

    /// What a `ServiceAccount` has asked the API server for, and what it answered. `None` of an existing cluster.
    pub fn audited(&self, namespace: &str, name: &str) -> Result<Option<Vec<AuditedCall>>> {
        let Server::Own(server) = &self.server else { return Ok(None) };
        let user = format!("system:serviceaccount:{namespace}:{name}");
        audit::calls_of(&user, &server.audit_log()?).map(Some)
    }

    /// Writes a kubeconfig for whoever holds `token`; `name` tells it from others.
    pub fn kubeconfig_for(&self, name: &str, token: &str) -> Result<PathBuf> {
        let path = self.dir.path().join(format!("kubeconfig-{name}"));
        fs::write(&path, self.kubeconfig_content(token)?).context("write a kubeconfig")?;
        Ok(path)
    }

    /// Writes a kubeconfig for a server that stands in front of the API server.
    pub(crate) fn kubeconfig_at(&self, url: &str, token: &str) -> Result<PathBuf> {
        let path = self.dir.path().join(format!("kubeconfig-proxy-{}", random_hex()));
        fs::write(&path, kubeconfig(&json!({ "server": url }), token)).context("write a kubeconfig")?;
        Ok(path)
    }

    /// SIGKILL, as a machine that dies. The other part and whatever it holds go on.
    pub fn kill(&self, part: Part) -> Result<()> {
        self.own()?.kill(part)
    }

    /// Starts a part that was killed, with the same port and data; [`ready`](Self::ready) waits for it.
    pub fn restart(&self, part: Part) -> Result<()> {
        self.own()?.restart(part)
    }

    /// SIGSTOP: connections to it stay open, and nothing on them is answered.
    pub fn freeze(&self, part: Part) -> Result<()> {
        self.own()?.signal(part, Signal::STOP)
    }

    /// SIGCONT, after [`freeze`](Self::freeze).
    pub fn thaw(&self, part: Part) -> Result<()> {
        self.own()?.signal(part, Signal::CONT)
    }

    /// Waits until the API server says that it and etcd are ready.
    pub async fn ready(&self) -> Result<()> {
        self.own()?.ready().await
    }

    /// kubectl as another user.
    pub fn kubectl_as(&self, user: User) -> Kubectl {
        self.kubectl.acting_as(user.name())
    }

    /// The kubectl that is run here, of the same version as the API server.
    pub fn kubectl_binary(&self) -> &Path {
        self.kubectl.binary()
    }

    /// Runs kubectl as admin.
    pub async fn kubectl(&self, args: &[&str]) -> Result<CommandOutput> {
        self.kubectl.run(args).await
    }

    /// Applies YAML documents as admin. A refusal is in the output, for tests that expect one.
    pub async fn kubectl_apply(&self, yaml: &str) -> Result<CommandOutput> {
        self.kubectl.apply(yaml).await
    }

    /// Applies `CustomResourceDefinition`s from a file, and waits until their resources can be used.
    pub async fn install_crd(&self, path: &Path) -> Result<()> {
        let path = path.to_str().context("a path that is not UTF-8")?;
        // Server-side, as an annotation with the last applied version would be too big for a long schema.
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", path]).await?.ok()?;
        // One that was made this moment has no conditions yet, which is an error to it.
        let wait = ["wait", "--for=condition=Established", "--timeout=30s", "-f", path];
        let mut patience = Patience::new(START_TIMEOUT, "the definition is established");
        while let Err(error) = self.kubectl(&wait).await?.ok() {
            patience.not_yet(error).await?;
        }
        let names = "jsonpath={range .items[*]}{.spec.names.plural}.{.spec.group} {end}\
                     {range @}{.spec.names.plural}.{.spec.group}{end}";
        let names = self.kubectl(&["get", "-f", path, "-o", names]).await?.ok()?;
        for name in names.split_whitespace().filter(|name| name.len() > 1) {
            // Established comes a moment before the storage is there: until then the answer is 429 or 404.
            let what = format!("{name} can be listed");
            let mut patience = Patience::new(START_TIMEOUT, &what);
            while let Err(error) = self.kubectl(&["get", name, "--all-namespaces", "-o", "name"]).await?.ok()
            {
                patience.not_yet(error).await?;
            }
        }
        Ok(())
    }

    /// Creates a namespace whose name begins with `prefix` and is nobody else's.
    pub async fn namespace(&self, prefix: &str) -> Result<Namespace> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{prefix}-{number}-{}", &random_hex()[..6]);
        self.kubectl(&["create", "namespace", &name]).await?.ok()?;
        let has_controllers = match &self.server {
            Server::Own(server) => server.has_controllers(),
            Server::Existing => true,
        };
        let delete_with = has_controllers.then(|| self.kubectl.clone());
        Ok(Namespace::new(name, delete_with))
    }

    fn own(&self) -> Result<&OwnServer> {
        match &self.server {
            Server::Own(server) => Ok(server),
            Server::Existing => bail!("not known of an existing cluster (USE_EXISTING_CLUSTER is set)"),
        }
    }

    fn kubeconfig_content(&self, token: &str) -> Result<String> {
        let cluster = match &self.server {
            Server::Own(server) => json!({ "server": server.url, "certificate-authority": server.ca }),
            Server::Existing => {
                let copy = fs::read(self.kubeconfig()).context("read the kubeconfig")?;
                let copy: serde_json::Value = serde_json::from_slice(&copy).context("read the kubeconfig")?;
                copy["clusters"][0]["cluster"].clone()
            }
        };
        Ok(kubeconfig(&cluster, token))
    }
}

/// JSON is YAML.
fn kubeconfig(cluster: &serde_json::Value, token: &str) -> String {
    let content = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "testbed", "cluster": cluster}],
        "users": [{"name": "testbed", "user": {"token": token}}],
        "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": "testbed"}}],
        "current-context": "testbed",
    });
    format!("{content:#}\n")
}

/// A copy of the current context alone, so that nothing changes when somebody switches it meanwhile.
async fn existing_cluster(kubeconfig: &Path) -> Result<Kubectl> {
    let binary = match Environment::read().kubebuilder_assets {
        Some(_) => Assets::find().await?.kubectl(),
        None => PathBuf::from("kubectl"),
    };
    let output = tokio::process::Command::new(&binary)
        .args(["config", "view", "--raw", "--minify", "--flatten", "--output=json"])
        .output()
        .await
        .context("run kubectl, which reads the kubeconfig of the existing cluster")?;
    if !output.status.success() {
        bail!("kubectl finds no current cluster: {}", String::from_utf8_lossy(&output.stderr));
    }
    fs::write(kubeconfig, output.stdout).context("write the kubeconfig")?;
    Ok(Kubectl::new(binary, kubeconfig.to_owned()))
}
