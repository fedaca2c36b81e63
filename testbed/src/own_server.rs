//! An etcd and a kube-apiserver of our own, which can be killed, started again and frozen each by itself.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    Assets, Process, Program, Signal, User, announce,
    eventually::Patience,
    forward::Forwarder,
    node::{ADDRESS, Namespaces, PARTS},
    ports::free_port,
    random_hex,
};

const START_TIMEOUT: Duration = Duration::from_secs(60);
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// Somebody else may take a port between our finding it free and the server's listening on it.
const START_ATTEMPTS: u32 = 5;

/// Nothing else takes a port in a node's namespaces.
const NODE_PORT: u16 = 6443;
const NODE_ETCD_PORT: u16 = 2379;

/// What the kubelet is to trust.
pub(crate) const KUBELET_CLIENT: &str = "kubelet-client.crt";
const AUDIT_LOG: &str = "audit.log";
/// What `ServiceAccounts` ask for. Nobody else is looked at: that would be much.
const AUDIT_POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1",
  "kind": "Policy",
  "omitStages": ["RequestReceived"],
  "rules": [{ "level": "Metadata", "userGroups": ["system:serviceaccounts"] }, { "level": "None" }]
}
"#;

/// One of the two processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    KubeApiserver,
    Etcd,
}

/// Where the two run.
#[derive(Clone)]
pub(crate) enum Site {
    /// On the machine's loopback, without nodes and without controllers.
    Machine,
    /// In the namespaces of a node, at fixed ports.
    Node(Arc<Namespaces>),
}

pub(crate) struct OwnServer {
    /// For clients outside the namespaces.
    forwarder: Option<Forwarder>,
    // The one that uses the other is stopped first.
    kube_apiserver: Mutex<Process>,
    etcd: Mutex<Process>,
    commands: Commands,
    pub(crate) url: String,
    pub(crate) ca: PathBuf,
    tokens: Vec<(&'static str, String)>,
}

/// How the two are started, each time with the same ports and folder.
struct Commands {
    assets: Assets,
    dir: PathBuf,
    etcd_url: String,
    port: u16,
    site: Site,
}

impl Commands {
    fn start(&self, part: Part) -> Result<Process> {
        let (name, binary, args) = match part {
            Part::Etcd => ("etcd", self.assets.etcd(), etcd_args(&self.dir, &self.etcd_url)),
            Part::KubeApiserver => (
                "kube-apiserver",
                self.assets.kube_apiserver(),
                kube_apiserver_args(&self.dir, &self.etcd_url, self.port, &self.site),
            ),
        };
        let program = Program { name, binary: &binary, args, env: Vec::new(), dir: &self.dir };
        match &self.site {
            Site::Machine => Process::start(program),
            Site::Node(namespaces) => namespaces.run(program),
        }
    }
}

impl OwnServer {
    pub(crate) async fn start(assets: &Assets, dir: &Path, site: Site) -> Result<Self> {
        let users = User::ALL.map(|user| (user.name(), user.groups()));
        let secret = |(name, groups)| (name, groups, format!("{}{}", random_hex(), random_hex()));
        let users: Vec<_> = users.into_iter().chain(PARTS).map(secret).collect();
        let line =
            |(name, groups, token): &(&str, &str, String)| format!("{token},{name},{name},\"{groups}\"\n");
        let lines: Vec<_> = users.iter().map(line).collect();
        fs::write(dir.join("tokens.csv"), lines.concat()).context("write the tokens of the users")?;
        let tokens = users.into_iter().map(|(name, _, token)| (name, token)).collect::<Vec<_>>();
        fs::write(dir.join("audit-policy.yaml"), AUDIT_POLICY).context("write the audit policy")?;
        let key = rcgen::KeyPair::generate().context("make the key that signs ServiceAccount tokens")?;
        fs::write(dir.join("service-account.key"), key.serialize_pem()).context("write a key")?;
        fs::write(dir.join("service-account.pub"), key.public_key_pem()).context("write a key")?;

        if matches!(site, Site::Node(_)) {
            write_kubelet_client(dir)?;
        }
        let mut attempt = 1;
        loop {
            let dir = dir.join(attempt.to_string());
            fs::create_dir(&dir).context("create a folder for the control plane")?;
            match Self::try_start(assets, dir, tokens.clone(), site.clone()).await {
                Ok(server) => return Ok(server),
                Err(error) if attempt == START_ATTEMPTS => return Err(error),
                Err(error) => announce(&format!("the control plane did not start, trying again: {error:#}")),
            }
            attempt += 1;
        }
    }

    /// `dir` is this attempt's; what all attempts share is in the folder above.
    async fn try_start(
        assets: &Assets,
        dir: PathBuf,
        tokens: Vec<(&'static str, String)>,
        site: Site,
    ) -> Result<Self> {
        let forwarder = match &site {
            Site::Machine => None,
            Site::Node(namespaces) => {
                Some(Forwarder::out_of(namespaces, &format!("{ADDRESS}:{NODE_PORT}"), &dir).await?)
            }
        };
        let port = |fixed| if forwarder.is_none() { free_port() } else { Ok(fixed) };
        let etcd_url = format!("http://127.0.0.1:{}", port(NODE_ETCD_PORT)?);
        let mut commands = Commands { assets: assets.clone(), dir, etcd_url, port: 0, site };
        let etcd = commands.start(Part::Etcd)?;
        commands.port = port(NODE_PORT)?;
        let kube_apiserver = commands.start(Part::KubeApiserver)?;
        let url = match &forwarder {
            None => format!("https://127.0.0.1:{}", commands.port),
            // Of the addresses in its certificate this is the one outside.
            Some(forwarder) => format!("https://localhost:{}", forwarder.port()),
        };
        let server = Self {
            forwarder,
            kube_apiserver: Mutex::new(kube_apiserver),
            etcd: Mutex::new(etcd),
            url,
            ca: commands.dir.join("certificates/apiserver.crt"),
            commands,
            tokens,
        };
        server.ready().await?;
        Ok(server)
    }

    /// Whether kube-controller-manager runs beside it.
    pub(crate) fn has_controllers(&self) -> bool {
        matches!(self.commands.site, Site::Node(_))
    }

    /// Where those in the namespaces find it.
    pub(crate) fn url_inside(&self) -> String {
        match self.forwarder {
            None => self.url.clone(),
            Some(_) => format!("https://{ADDRESS}:{NODE_PORT}"),
        }
    }

    /// Of a user, or of a part of a node.
    pub(crate) fn token(&self, name: &str) -> Result<&str> {
        let known = self.tokens.iter().find(|(known, _)| *known == name);
        known.map(|(_, token)| token.as_str()).with_context(|| format!("there is no user {name}"))
    }

    pub(crate) fn audit_log(&self) -> Result<String> {
        match fs::read_to_string(self.commands.dir.join(AUDIT_LOG)) {
            // Nobody was looked at yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            read => read.context("read the audit log"),
        }
    }

    pub(crate) fn kill(&self, part: Part) -> Result<()> {
        self.process(part).kill()
    }

    pub(crate) fn restart(&self, part: Part) -> Result<()> {
        let mut process = self.process(part);
        process.kill()?;
        *process = self.commands.start(part)?;
        Ok(())
    }

    pub(crate) fn signal(&self, part: Part, signal: Signal) -> Result<()> {
        self.process(part).signal(signal)
    }

    pub(crate) async fn ready(&self) -> Result<()> {
        let mut patience = Patience::new(START_TIMEOUT, "the kube-apiserver is ready");
        loop {
            self.process(Part::Etcd).check_running()?;
            self.process(Part::KubeApiserver).check_running()?;
            match self.look().await {
                Ok(()) => return Ok(()),
                Err(error) => patience.not_yet(error).await?,
            }
        }
    }

    async fn look(&self) -> Result<()> {
        let certificates = fs::read(&self.ca).context("it has made no certificate yet")?;
        let certificates = reqwest::Certificate::from_pem_bundle(&certificates)?;
        let client = reqwest::Client::builder().timeout(LOOK_TIMEOUT).tls_certs_only(certificates).build()?;
        let admin = self.token(User::Admin.name())?;
        client.get(format!("{}/readyz", self.url)).bearer_auth(admin).send().await?.error_for_status()?;
        Ok(())
    }

    /// Never held while somebody waits.
    fn process(&self, part: Part) -> MutexGuard<'_, Process> {
        let process = match part {
            Part::KubeApiserver => &self.kube_apiserver,
            Part::Etcd => &self.etcd,
        };
        process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn etcd_args(dir: &Path, url: &str) -> Vec<String> {
    vec![
        format!("--data-dir={}", dir.join("etcd").display()),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
        // Nothing here needs to survive a power cut.
        "--unsafe-no-fsync".to_owned(),
    ]
}

fn kube_apiserver_args(dir: &Path, etcd_url: &str, port: u16, site: &Site) -> Vec<String> {
    let shared = |name: &str| dir.with_file_name(name).display().to_string();
    let mut args = vec![
        format!("--etcd-servers={etcd_url}"),
        format!("--secure-port={port}"),
        // It signs its serving certificate itself, and keeps it here.
        format!("--cert-dir={}", dir.join("certificates").display()),
        format!("--token-auth-file={}", shared("tokens.csv")),
        format!("--audit-policy-file={}", shared("audit-policy.yaml")),
        format!("--audit-log-path={}", dir.join(AUDIT_LOG).display()),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-signing-key-file={}", shared("service-account.key")),
        format!("--service-account-key-file={}", shared("service-account.pub")),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
    ];
    match site {
        Site::Machine => args.extend([
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            // It waits for a `default` ServiceAccount that only a controller would make.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
        ]),
        Site::Node(_) => args.extend([
            // Of all addresses, so that its certificate names localhost too.
            "--bind-address=0.0.0.0".to_owned(),
            format!("--advertise-address={ADDRESS}"),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            format!("--kubelet-client-certificate={}", shared(KUBELET_CLIENT)),
            format!("--kubelet-client-key={}", shared("kubelet-client.key")),
        ]),
    }
    args
}

/// What the API server shows to the kubelet, where it asks for logs and forwards ports.
fn write_kubelet_client(dir: &Path) -> Result<()> {
    let key = rcgen::KeyPair::generate().context("make the key of the kubelet's client")?;
    let mut certificate = rcgen::CertificateParams::default();
    certificate.distinguished_name.push(rcgen::DnType::OrganizationName, User::Admin.groups());
    certificate.distinguished_name.push(rcgen::DnType::CommonName, "kube-apiserver");
    certificate.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    // The kubelet trusts it as its own authority.
    certificate.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate =
        certificate.self_signed(&key).context("sign the certificate of the kubelet's client")?;
    fs::write(dir.join("kubelet-client.key"), key.serialize_pem()).context("write a key")?;
    fs::write(dir.join(KUBELET_CLIENT), certificate.pem()).context("write a certificate")
}
