//! How many calls a second the simulator takes: as a process of its own, over loopback, with a million entries.
//!
//! `cargo bench -p dlq-simulator --bench throughput -- --rounds 9 --clients 4`

use std::{
    fmt, fs,
    io::{self, BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    time::Instant,
};

use bytes::Bytes;
use clap::Parser;
use futures::future::try_join_all;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, de::IgnoredAny};
use tokio::net::TcpStream;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Debug, Clone, Parser)]
struct Options {
    /// Entries in the simulator at the start of a round.
    #[arg(long, default_value_t = 1_000_000)]
    entries: usize,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Clients of the rounds with several; each has a DLQ of its own.
    #[arg(long, default_value_t = 8)]
    clients: usize,
    /// Entries per call.
    #[arg(long, default_value_t = 50)]
    count: usize,
    /// The one operation to measure, in place of all.
    #[arg(long)]
    only: Option<String>,
    /// The simulator to measure, in place of the one built with the benchmark.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_dlq-simulator"))]
    simulator: String,
    /// Cargo says that this is a benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let options = Options::parse();
    let mut out = io::stdout();
    writeln!(out, "median (least to most) of {} rounds", options.rounds)?;
    for (name, method, path) in
        [("resume", Method::POST, "/resume"), ("delete", Method::DELETE, ""), ("list", Method::GET, "")]
    {
        if options.only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        for clients in [1, options.clients] {
            let mut rounds = Vec::new();
            for _ in 0..options.rounds {
                rounds.push(round(&options, &method, path, clients).await?);
            }
            let of = |figure: fn(&Round) -> f64| Spread::of(rounds.iter().map(figure));
            writeln!(out, "{name} by {clients} client(s), each with a DLQ of its own")?;
            writeln!(out, "  {:>28} calls/s  {:>30} entries/s", of(|r| r.calls), of(|r| r.entries))?;
            writeln!(out, "  {:>28} MB after seeding  {:>22} MB peak", of(|r| r.seeded), of(|r| r.peak))?;
            writeln!(out, "  {:>28} ms for a list that matches nothing", of(|r| r.scan))?;
        }
    }
    Ok(())
}

/// Figures of one round: per second, in MB, in ms.
struct Round {
    calls: f64,
    entries: f64,
    seeded: f64,
    peak: f64,
    scan: f64,
}

/// Goes through all entries of a fresh simulator, page by page.
async fn round(options: &Options, method: &Method, path: &str, clients: usize) -> Result<Round> {
    let simulator = Simulator::start(&options.simulator, clients)?;
    let share = options.entries / clients;
    let seed = format!(r#"{{"generate":{{"count":{share},"entry":{{"labels":["payments"]}}}}}}"#);
    let mut admin = Client::connect(&simulator.admin, "").await?;
    for dlq in 0..clients {
        admin.call(Method::POST, &format!("/dlqs/d{dlq}/entries"), seed.clone()).await?;
    }
    let seeded = simulator.memory("VmRSS:")?;
    let mut drains = Vec::new();
    for dlq in 0..clients {
        let client = Client::connect(&simulator.api, &format!("Bearer t{dlq}")).await?;
        let path = format!("/v2/workflows/dlq{path}?label=payments&count={}", options.count);
        drains.push(Drain { client, method: method.clone(), path, cursor: String::new() });
    }
    let start = Instant::now();
    drains[0].client.call(Method::GET, "/v2/workflows/dlq?label=none", String::new()).await?;
    let scan = start.elapsed().as_secs_f64() * 1e3;

    let warm_up = (share / options.count).div_ceil(20);
    try_join_all(drains.iter_mut().map(|drain| drain.go_on(warm_up))).await?;
    let start = Instant::now();
    let done = try_join_all(drains.iter_mut().map(|drain| drain.go_on(usize::MAX))).await?;
    let seconds = start.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    let per_second = |total: usize| total as f64 / seconds;
    Ok(Round {
        calls: per_second(done.iter().map(|done| done.0).sum()),
        entries: per_second(done.iter().map(|done| done.1).sum()),
        seeded,
        peak: simulator.memory("VmHWM:")?,
        scan,
    })
}

/// One client on its way through one DLQ.
struct Drain {
    client: Client,
    method: Method,
    path: String,
    cursor: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Page {
    workflow_runs: Vec<IgnoredAny>,
    messages: Vec<IgnoredAny>,
    deleted: usize,
    cursor: Option<String>,
}

impl Drain {
    /// Makes calls until there is no cursor any more, and gives the numbers of calls and entries.
    async fn go_on(&mut self, most_calls: usize) -> Result<(usize, usize)> {
        let (mut calls, mut entries) = (0, 0);
        while calls < most_calls {
            let path = format!("{}&cursor={}", self.path, self.cursor);
            let body = self.client.call(self.method.clone(), &path, String::new()).await?;
            let page: Page = serde_json::from_slice(&body)?;
            calls += 1;
            entries += page.workflow_runs.len() + page.messages.len() + page.deleted;
            let Some(cursor) = page.cursor else { break };
            self.cursor = utf8_percent_encode(&cursor, NON_ALPHANUMERIC).to_string();
        }
        Ok((calls, entries))
    }
}

struct Client {
    connection: SendRequest<Full<Bytes>>,
    authorization: String,
}

impl Client {
    async fn connect(url: &str, authorization: &str) -> Result<Self> {
        let stream = TcpStream::connect(url.trim_start_matches("http://")).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { connection: sender, authorization: authorization.into() })
    }

    async fn call(&mut self, method: Method, path: &str, body: String) -> Result<Bytes> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::AUTHORIZATION, &self.authorization)
            .body(Full::from(body))?;
        self.connection.ready().await?;
        let response = self.connection.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status.is_success() { Ok(body) } else { Err(format!("{path}: {status} {body:?}").into()) }
    }
}

/// A simulator that ends with this value.
struct Simulator {
    process: Child,
    api: String,
    admin: String,
}

#[derive(Deserialize)]
struct Addresses {
    api: String,
    admin: String,
}

impl Simulator {
    /// Starts one that knows the tokens `t0`, `t1`, ... of the DLQs `d0`, `d1`, ...
    fn start(binary: &str, tokens: usize) -> Result<Self> {
        let mut process = Command::new(binary)
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args((0..tokens).map(|n| format!("--token=t{n}:d{n}")))
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = process.stdout.take();
        let mut simulator = Self { process, api: String::new(), admin: String::new() };
        let mut line = String::new();
        BufReader::new(stdout.ok_or("no standard output")?).read_line(&mut line)?;
        let addresses: Addresses = serde_json::from_str(&line)?;
        (simulator.api, simulator.admin) = (addresses.api, addresses.admin);
        Ok(simulator)
    }

    /// A figure of the kernel's, in MB.
    fn memory(&self, name: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such figure")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The median of several figures, the least and the most.
struct Spread([f64; 3]);

impl Spread {
    fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut all: Vec<f64> = figures.collect();
        all.sort_by(f64::total_cmp);
        Self(
            [all.len() / 2, 0, all.len().saturating_sub(1)]
                .map(|at| all.get(at).copied().unwrap_or(f64::NAN)),
        )
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, least, most] = self.0;
        formatter.pad(&format!("{median:.0} ({least:.0} to {most:.0})"))
    }
}
