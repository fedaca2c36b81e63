//! The operator's binary, run as a pod would run it.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    ControlPlane, ImageRoot, MemoryCgroup, Process, Program, ScratchDir, Signal, Simulator, Tokens, binary,
    eventually::Patience, ports::free_port,
};

const READY_TIMEOUT: Duration = Duration::from_secs(30);
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// Longer than a busy machine keeps anybody waiting; nothing waits for it to pass.
const METRICS_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than the grace the operator gives itself at SIGTERM.
const TERMINATE_TIMEOUT: Duration = Duration::from_secs(15);
/// Somebody else may take a port between our finding it free and the operator's listening on it.
const START_ATTEMPTS: u32 = 3;

/// How an operator is started. Change the fields after [`OperatorOptions::new`].
#[derive(Clone, Debug)]
pub struct OperatorOptions {
    pub kubeconfig: PathBuf,
    /// `POD_NAME`, also the name in messages: what tells two replicas apart.
    pub pod_name: String,
    /// `POD_NAMESPACE`: where its Lease and its default connection's namespace are.
    pub pod_namespace: String,
    /// `--namespaces`; all when empty.
    pub namespaces: Vec<String>,
    /// `--allowed-url` and `QSTASH_URL`: no test reaches the real Upstash by leaving a URL out.
    pub upstash_url: String,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    /// What its log must not show: those of its simulator.
    pub tokens: Tokens,
    /// Started from this image instead of the folder where cargo puts the binary. It finds its cluster as a pod does,
    /// so it needs `KUBERNETES_SERVICE_HOST` and its like in `env`.
    pub image: Option<Arc<ImageRoot>>,
    /// Held to the memory of this cgroup, as in a container with a limit.
    pub memory: Option<Arc<MemoryCgroup>>,
}

impl OperatorOptions {
    /// An admin's operator that serves one namespace, so that the operators of parallel tests do not meet.
    pub fn new(control_plane: &ControlPlane, simulator: &Simulator, namespace: &str) -> Self {
        Self {
            kubeconfig: control_plane.kubeconfig().to_owned(),
            pod_name: "dlq-operator-0".to_owned(),
            pod_namespace: namespace.to_owned(),
            namespaces: vec![namespace.to_owned()],
            upstash_url: simulator.api_url().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            tokens: simulator.tokens().clone(),
            image: None,
            memory: None,
        }
    }

    fn command_line(&self, port: u16) -> Vec<String> {
        let mut args =
            vec![format!("--admin-address=127.0.0.1:{port}"), format!("--allowed-url={}", self.upstash_url)];
        if !self.namespaces.is_empty() {
            args.push(format!("--namespaces={}", self.namespaces.join(",")));
        }
        args.extend(self.args.iter().cloned());
        args
    }

    fn environment(&self) -> Vec<(String, String)> {
        let own = [
            ("POD_NAME", self.pod_name.clone()),
            ("POD_NAMESPACE", self.pod_namespace.clone()),
            ("QSTASH_URL", self.upstash_url.clone()),
        ];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
        let mut env: Vec<_> = match &self.image {
            None => vec![("KUBECONFIG".to_owned(), self.kubeconfig.display().to_string())],
            Some(image) => image.env().to_vec(),
        };
        env.extend(own);
        // The caller's come last: the last of two with the same name counts.
        env.extend(self.env.iter().cloned());
        env
    }
}

/// A running operator. Its log is kept over restarts, and searched for tokens when this is dropped; so are its metrics
/// before each stop. A test in which a token is shown fails, and so does one in which the metrics cannot be read: that an
/// operator ended by itself is no reason not to look.
pub struct Operator {
    options: OperatorOptions,
    process: Process,
    admin_url: String,
    dir: ScratchDir,
    /// Its metrics were searched for the last time: the test stops it.
    is_searched: bool,
}

impl Operator {
    /// Starts it and waits until it is ready.
    pub async fn start(options: OperatorOptions) -> Result<Self> {
        Self::start_until(options, "/readyz").await
    }

    /// Starts it and waits until it is alive: for one that may never be ready.
    pub async fn start_alive(options: OperatorOptions) -> Result<Self> {
        Self::start_until(options, "/livez").await
    }

    async fn start_until(options: OperatorOptions, probe: &str) -> Result<Self> {
        let dir = ScratchDir::create("operator")?;
        let (process, admin_url) = launch(&options, &dir, probe).await?;
        Ok(Self { options, process, admin_url, dir, is_searched: false })
    }

    /// Whether it is ready now.
    pub async fn is_ready(&self) -> bool {
        look(&self.admin_url, "/readyz").await.is_ok()
    }

    /// `http://127.0.0.1:PORT`, with `/livez` and `/readyz`; another one after a restart.
    pub fn admin_url(&self) -> &str {
        &self.admin_url
    }

    pub fn process(&self) -> &Process {
        &self.process
    }

    pub fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Searches its metrics for tokens, for the last time before a test stops it by other means than those below.
    pub fn search_before_stop(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.is_searched, true) {
            return Ok(());
        }
        let name = &self.options.pod_name;
        let metrics = metrics(&self.admin_url).with_context(|| {
            format!(
                "read the metrics of {name} before it stops, to search them for tokens: did it end by itself?"
            )
        })?;
        match self.options.tokens.shown_in(&metrics) {
            None => Ok(()),
            Some(shown) => bail!("{name}: in its metrics {shown}"),
        }
    }

    /// SIGKILL, as a node that dies.
    pub fn kill(&mut self) -> Result<()> {
        let searched = self.search_before_stop();
        self.process.kill()?;
        searched
    }

    /// SIGTERM, as a pod that is deleted; waits until it has ended.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        self.search_before_stop()?;
        self.process.signal(Signal::TERM)?;
        self.process.wait(TERMINATE_TIMEOUT).await
    }

    /// Starts it again, with other options or the same; kills it first if it still runs.
    pub async fn restart(&mut self, options: Option<OperatorOptions>) -> Result<()> {
        self.kill()?;
        if let Some(options) = options {
            self.options = options;
        }
        (self.process, self.admin_url) = launch(&self.options, &self.dir, "/readyz").await?;
        self.is_searched = false;
        Ok(())
    }
}

impl Drop for Operator {
    #[expect(clippy::panic, reason = "a token that is shown fails the test, whatever it is about")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.process.kill();
            return;
        }
        // After it the operator writes no more to its log.
        if let Err(error) = self.kill() {
            panic!("{error:#}");
        }
        if let Some(shown) = self.options.tokens.shown_in(&self.process.log()) {
            panic!("{}: in its log {shown}", self.options.pod_name);
        }
    }
}

/// What an operator's metrics say. For where nothing can be awaited.
fn metrics(admin_url: &str) -> io::Result<String> {
    let mut connection = TcpStream::connect(admin_url.trim_start_matches("http://"))?;
    connection.set_read_timeout(Some(METRICS_TIMEOUT))?;
    connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    if answer.contains("dlq_operator_build_info") {
        Ok(answer)
    } else {
        Err(io::Error::other(format!("it answers {answer:?}")))
    }
}

async fn launch(options: &OperatorOptions, dir: &ScratchDir, probe: &str) -> Result<(Process, String)> {
    let (binary, before) = match &options.image {
        None => (binary("dlq-operator").await?, Vec::new()),
        Some(image) => image.command(),
    };
    let (binary, before) = match &options.memory {
        None => (binary, before),
        Some(memory) => {
            let (shell, mut joining) = memory.joining();
            joining.push(binary.display().to_string());
            joining.extend(before);
            (shell, joining)
        }
    };
    let mut attempt = 1;
    loop {
        let port = free_port()?;
        let mut process = Process::start(Program {
            name: &options.pod_name,
            binary: &binary,
            args: before.iter().cloned().chain(options.command_line(port)).collect(),
            env: options.environment(),
            dir: dir.path(),
        })?;
        let admin_url = format!("http://127.0.0.1:{port}");
        match answers(&mut process, &admin_url, probe).await {
            Ok(()) => return Ok((process, admin_url)),
            Err(_) if attempt < START_ATTEMPTS && process.log().contains("in use") => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

async fn answers(process: &mut Process, admin_url: &str, probe: &str) -> Result<()> {
    let what = format!("{} answers at {probe}", process.name());
    let mut patience = Patience::new(READY_TIMEOUT, &what);
    loop {
        process.check_running()?;
        match look(admin_url, probe).await {
            // Somebody else's operator may answer at a port that ours could not have.
            Ok(()) => return process.check_running(),
            Err(error) => patience.not_yet(error).await?,
        }
    }
}

async fn look(admin_url: &str, probe: &str) -> Result<()> {
    let client = reqwest::Client::builder().timeout(LOOK_TIMEOUT).build()?;
    let answer = client.get(format!("{admin_url}{probe}")).send().await?;
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    ensure!(status.is_success(), "{probe} answers {status}: {text}");
    Ok(())
}
