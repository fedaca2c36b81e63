//! The simulated Upstash, and what it is told through its admin API.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    ControlPlane, Entry, Ledger, Order, Process, Program, ScratchDir, Tokens, binary, eventually::Patience,
};

const START_TIMEOUT: Duration = Duration::from_secs(20);

/// The ports of its Service in a cluster.
const API_PORT: u16 = 8081;
const ADMIN_PORT: u16 = 8082;

/// A running `dlq-simulator`. It holds any number of DLQs, each under a name; a token opens one of them.
pub struct Simulator {
    /// Itself, or what leads to one in a cluster.
    process: Process,
    addresses: Addresses,
    http: reqwest::Client,
    tokens: Tokens,
    _dir: ScratchDir,
}

/// The first line it prints.
#[derive(Deserialize)]
struct Addresses {
    api: String,
    admin: String,
}

impl Addresses {
    fn find(log: &str) -> Result<Self> {
        // A line that has no end yet is not read yet.
        let (line, _) = log.split_once('\n').context("it has printed nothing")?;
        serde_json::from_str(line).with_context(|| line.to_owned())
    }
}

impl Simulator {
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// With further flags.
    pub async fn start_with(args: &[&str]) -> Result<Self> {
        let dir = ScratchDir::create("simulator")?;
        let listen = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        let mut process = Process::start(Program {
            name: "dlq-simulator",
            binary: &binary("dlq-simulator").await?,
            args: listen.iter().chain(args).map(|arg| (*arg).to_owned()).collect(),
            env: Vec::new(),
            dir: dir.path(),
        })?;
        let mut patience = Patience::new(START_TIMEOUT, "dlq-simulator prints its addresses");
        let addresses = loop {
            process.check_running()?;
            match Addresses::find(&process.log()) {
                Ok(addresses) => break addresses,
                Err(error) => patience.not_yet(error).await?,
            }
        };
        Self::at(addresses, process, dir)
    }

    /// The one that runs in a cluster as the Service `dlq-simulator` of a namespace.
    pub async fn in_cluster(control_plane: &ControlPlane, namespace: &str) -> Result<Self> {
        let dir = ScratchDir::create("simulator")?;
        let kubeconfig = control_plane.kubeconfig().display();
        let mut process = Process::start(Program {
            name: "port-forward",
            binary: control_plane.kubectl_binary(),
            args: vec![
                "port-forward".to_owned(),
                format!("--kubeconfig={kubeconfig}"),
                format!("--namespace={namespace}"),
                "--address=127.0.0.1".to_owned(),
                "service/dlq-simulator".to_owned(),
                format!(":{ADMIN_PORT}"),
            ],
            env: Vec::new(),
            dir: dir.path(),
        })?;
        let mut patience = Patience::new(START_TIMEOUT, "kubectl forwards a port to dlq-simulator");
        let admin = loop {
            process.check_running()?;
            let log = process.log();
            let address =
                log.lines().find_map(|line| line.strip_prefix("Forwarding from ")?.split_once(" -> "));
            match address {
                Some((address, _)) => break format!("http://{address}"),
                None => patience.not_yet(log).await?,
            }
        };
        let api = format!("http://dlq-simulator.{namespace}.svc:{API_PORT}");
        Self::at(Addresses { api, admin }, process, dir)
    }

    fn at(addresses: Addresses, process: Process, dir: ScratchDir) -> Result<Self> {
        // Kept connections would belong to the runtime of the test that opened them, which may end before the next.
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).build()?;
        Ok(Self { process, addresses, http, tokens: Tokens::default(), _dir: dir })
    }

    /// Where the API is, for `QSTASH_URL` and `--allowed-url`.
    pub fn api_url(&self) -> &str {
        self.addresses.api.trim_end_matches('/')
    }

    pub fn admin_url(&self) -> &str {
        self.addresses.admin.trim_end_matches('/')
    }

    pub fn process(&self) -> &Process {
        &self.process
    }

    pub fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The tokens that it was told by [`allow`](Self::allow) and [`allow_read_only`](Self::allow_read_only).
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Lets a token open a DLQ.
    pub async fn allow(&self, token: &str, dlq: &str) -> Result<()> {
        self.set_token(token, &json!({"dlq": dlq})).await
    }

    /// Lets a token list a DLQ, and nothing else.
    pub async fn allow_read_only(&self, token: &str, dlq: &str) -> Result<()> {
        self.set_token(token, &json!({"dlq": dlq, "readOnly": true})).await
    }

    async fn set_token(&self, token: &str, properties: &Value) -> Result<()> {
        self.tokens.remember(token);
        self.send(Method::PUT, &format!("/tokens/{token}"), Some(properties)).await.map(drop)
    }

    /// Adds entries, and gives their IDs in the same order.
    pub async fn add(&self, dlq: &str, entries: &[Entry]) -> Result<Vec<String>> {
        self.seed(dlq, &json!({"entries": entries})).await
    }

    /// Adds `count` entries that differ in their IDs only.
    pub async fn generate(&self, dlq: &str, count: usize, entry: &Entry) -> Result<Vec<String>> {
        self.seed(dlq, &json!({"generate": {"count": count, "entry": entry}})).await
    }

    /// Adds `count` entries that failed evenly over so many milliseconds up to now.
    pub async fn generate_spread(&self, dlq: &str, count: usize, spread_ms: u32) -> Result<Vec<String>> {
        self.seed(dlq, &json!({ "generate": { "count": count, "spreadMs": spread_ms } })).await
    }

    async fn seed(&self, dlq: &str, body: &Value) -> Result<Vec<String>> {
        let mut answer = self.send(Method::POST, &format!("/dlqs/{dlq}/entries"), Some(body)).await?;
        serde_json::from_value(answer["dlqIds"].take()).context("the simulator gave no dlqIds")
    }

    /// What is in a DLQ now, as the simulator shows it.
    pub async fn entries(&self, dlq: &str) -> Result<Value> {
        self.send(Method::GET, &format!("/dlqs/{dlq}/entries"), None).await
    }

    /// Everything that ever happened to a DLQ.
    pub async fn ledger(&self, dlq: &str) -> Result<Ledger> {
        let answer = self.send(Method::GET, &format!("/dlqs/{dlq}/ledger"), None).await?;
        serde_json::from_value(answer).context("read the ledger")
    }

    /// Forgets a DLQ with its ledger.
    pub async fn clear(&self, dlq: &str) -> Result<()> {
        self.send(Method::DELETE, &format!("/dlqs/{dlq}"), None).await.map(drop)
    }

    /// Replaces the fault rules with these, given as the simulator's README describes them.
    pub async fn set_faults(&self, rules: &Value) -> Result<()> {
        self.send(Method::PUT, "/faults", Some(&json!({"rules": rules}))).await.map(drop)
    }

    pub async fn add_faults(&self, rules: &Value) -> Result<()> {
        self.send(Method::POST, "/faults", Some(&json!({"rules": rules}))).await.map(drop)
    }

    pub async fn clear_faults(&self) -> Result<()> {
        self.send(Method::DELETE, "/faults", None).await.map(drop)
    }

    /// Makes workflow runs that were resumed or restarted fail again.
    pub async fn refail(&self, dlq: &str, rule: &Value) -> Result<()> {
        self.send(Method::PUT, &format!("/dlqs/{dlq}/refail"), Some(rule)).await.map(drop)
    }

    /// Leaves entries that were acted on selectable for so long.
    pub async fn lag(&self, dlq: &str, millis: u32) -> Result<()> {
        self.send(Method::PUT, &format!("/dlqs/{dlq}/lag"), Some(&json!({"ms": millis}))).await.map(drop)
    }

    /// Sets in which order calls of a DLQ list entries and act on them. The service promises none.
    pub async fn set_order(&self, dlq: &str, order: Order) -> Result<()> {
        self.set_service(dlq, &json!({"order": order})).await
    }

    /// Sets all switches of a DLQ, as the simulator's README describes them. What is left out is as documented.
    pub async fn set_service(&self, dlq: &str, switches: &Value) -> Result<()> {
        self.send(Method::PUT, &format!("/dlqs/{dlq}/service"), Some(switches)).await.map(drop)
    }

    /// One call of the admin API, for whatever has no method here.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.admin_url()));
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.with_context(|| format!("{method} {path} of the simulator"))?;
        let status = answer.status();
        let text = answer.text().await.with_context(|| format!("{method} {path} of the simulator"))?;
        ensure!(status.is_success(), "the simulator answered {method} {path} with {status}: {text}");
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).with_context(|| format!("{method} {path} of the simulator gave {text}"))
    }
}
