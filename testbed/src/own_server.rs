//! An etcd and a kube-apiserver of our own, which can be killed, started again and frozen each by itself.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    Assets, Process, Program, Signal, User, announce, eventually::Patience, ports::free_port, random_hex,
};

const START_TIMEOUT: Duration = Duration::from_secs(60);
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// Somebody else may take a port between our finding it free and the server's listening on it.
const START_ATTEMPTS: u32 = 5;

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

pub(crate) struct OwnServer {
    // The one that uses the other is stopped first.
    kube_apiserver: Mutex<Process>,
    etcd: Mutex<Process>,
    commands: Commands,
    pub(crate) url: String,
    pub(crate) ca: PathBuf,
    tokens: [(User, String); 3],
}

/// How the two are started, each time with the same ports and folder.
struct Commands {
    assets: Assets,
    dir: PathBuf,
    etcd_url: String,
    port: u16,
}

impl Commands {
    fn start(&self, part: Part) -> Result<Process> {
        let (name, binary, args) = match part {
            Part::Etcd => ("etcd", self.assets.etcd(), etcd_args(&self.dir, &self.etcd_url)),
            Part::KubeApiserver => (
                "kube-apiserver",
                self.assets.kube_apiserver(),
                kube_apiserver_args(&self.dir, &self.etcd_url, self.port),
            ),
        };
        Process::start(Program { name, binary: &binary, args, env: Vec::new(), dir: &self.dir })
    }
}

impl OwnServer {
    pub(crate) async fn start(assets: &Assets, dir: &Path) -> Result<Self> {
        let tokens = User::ALL.map(|user| (user, format!("{}{}", random_hex(), random_hex())));
        let lines = tokens.each_ref().map(|(user, token)| {
            let name = user.name();
            format!("{token},{name},{name},\"{}\"\n", user.groups())
        });
        fs::write(dir.join("tokens.csv"), lines.concat()).context("write the tokens of the users")?;
        fs::write(dir.join("audit-policy.yaml"), AUDIT_POLICY).context("write the audit policy")?;
        let key = rcgen::KeyPair::generate().context("make the key that signs ServiceAccount tokens")?;
        fs::write(dir.join("service-account.key"), key.serialize_pem()).context("write a key")?;
        fs::write(dir.join("service-account.pub"), key.public_key_pem()).context("write a key")?;

        let mut attempt = 1;
        loop {
            let dir = dir.join(attempt.to_string());
            fs::create_dir(&dir).context("create a folder for the control plane")?;
            match Self::try_start(assets, dir, tokens.clone()).await {
                Ok(server) => return Ok(server),
                Err(error) if attempt == START_ATTEMPTS => return Err(error),
                Err(error) => announce(&format!("the control plane did not start, trying again: {error:#}")),
            }
            attempt += 1;
        }
    }

    /// `dir` is this attempt's; what all attempts share is in the folder above.
    async fn try_start(assets: &Assets, dir: PathBuf, tokens: [(User, String); 3]) -> Result<Self> {
        let etcd_url = format!("http://127.0.0.1:{}", free_port()?);
        let mut commands = Commands { assets: assets.clone(), dir, etcd_url, port: 0 };
        let etcd = commands.start(Part::Etcd)?;
        commands.port = free_port()?;
        let kube_apiserver = commands.start(Part::KubeApiserver)?;
        let server = Self {
            kube_apiserver: Mutex::new(kube_apiserver),
            etcd: Mutex::new(etcd),
            url: format!("https://127.0.0.1:{}", commands.port),
            ca: commands.dir.join("certificates/apiserver.crt"),
            commands,
            tokens,
        };
        server.ready().await?;
        Ok(server)
    }

    pub(crate) fn token(&self, user: User) -> Result<&str> {
        let known = self.tokens.iter().find(|(known, _)| *known == user);
        known.map(|(_, token)| token.as_str()).context("every user has a token")
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
        let admin = self.token(User::Admin)?;
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

fn kube_apiserver_args(dir: &Path, etcd_url: &str, port: u16) -> Vec<String> {
    let shared = |name: &str| dir.with_file_name(name).display().to_string();
    vec![
        format!("--etcd-servers={etcd_url}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        // It signs its serving certificate itself, and keeps it here.
        format!("--cert-dir={}", dir.join("certificates").display()),
        format!("--token-auth-file={}", shared("tokens.csv")),
        format!("--audit-policy-file={}", shared("audit-policy.yaml")),
        format!("--audit-log-path={}", dir.join(AUDIT_LOG).display()),
        "--authorization-mode=RBAC".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-signing-key-file={}", shared("service-account.key")),
        format!("--service-account-key-file={}", shared("service-account.pub")),
        // It waits for a `default` ServiceAccount that only a controller would make.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
    ]
}
