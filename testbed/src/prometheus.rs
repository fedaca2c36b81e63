//! A real Prometheus that scrapes what a test has started, and promtool.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{
    Process, Program, Programs, ScratchDir,
    environment::{Environment, inherited},
    eventually::Patience,
};

const READY_TIMEOUT: Duration = Duration::from_secs(30);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How it tells the port that it was given.
const LISTENING: &str = "Listening on";

/// What Prometheus is started with.
#[derive(Clone, Debug, Default)]
pub struct PrometheusOptions {
    /// `HOST:PORT` or a base URL, each scraped at `/metrics` as `job="dlq-operator"`.
    pub targets: Vec<String>,
    /// Files of alerting and recording rules.
    pub rules: Vec<PathBuf>,
    /// Samples of the past in the text format of OpenMetrics, each with its time. Two hours of them in a text, from an even
    /// hour on, are read fastest.
    pub past: Vec<String>,
    /// Further command line.
    pub args: Vec<String>,
}

/// One element of a query's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The labels, `__name__` among them where the query keeps it.
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// One series of a query over a range.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub labels: BTreeMap<String, String>,
    /// At which Unix times it has a value, and which.
    pub values: Vec<(f64, f64)>,
}

/// A running Prometheus. It scrapes and evaluates every second.
pub struct Prometheus {
    process: Process,
    url: String,
    http: reqwest::Client,
    _dir: ScratchDir,
}

impl Prometheus {
    /// Whether prometheus and promtool are there: where they are not, the caller skips its test, and this has said so.
    pub fn is_installed() -> Result<bool> {
        Programs::PROMETHEUS.are_installed()
    }

    /// Starts one that scrapes these targets: `HOST:PORT`, or a base URL such as an operator's `admin_url`.
    pub async fn start(targets: &[&str]) -> Result<Self> {
        let targets = targets.iter().map(|target| (*target).to_owned()).collect();
        Self::start_with(PrometheusOptions { targets, ..PrometheusOptions::default() }).await
    }

    pub async fn start_with(options: PrometheusOptions) -> Result<Self> {
        let dir = ScratchDir::create("prometheus")?;
        std::fs::write(dir.path().join("prometheus.yml"), configuration(&options)?)
            .context("write Prometheus' configuration")?;
        for past in &options.past {
            remember(dir.path(), past).await?;
        }
        let own = [
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--storage.tsdb.retention.time=100y",
            // It looks for a port itself, and says which.
            "--web.listen-address=127.0.0.1:0",
            "--log.format=json",
        ];
        let mut process = Process::start(Program {
            name: "prometheus",
            binary: &find("prometheus")?,
            args: own.into_iter().map(str::to_owned).chain(options.args).collect(),
            env: Vec::new(),
            dir: dir.path(),
        })?;
        // Kept connections would belong to the runtime of the test that opened them.
        let http = reqwest::Client::builder().timeout(REQUEST_TIMEOUT).pool_max_idle_per_host(0).build()?;
        let mut patience = Patience::new(READY_TIMEOUT, "Prometheus is ready");
        let url = loop {
            process.check_running()?;
            match ready(&http, &process.log()).await {
                Ok(url) => break url,
                Err(error) => patience.not_yet(error).await?,
            }
        };
        Ok(Self { process, url, http, _dir: dir })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn process(&self) -> &Process {
        &self.process
    }

    pub fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    /// A scheduled time query, now. It fails unless the answer is a vector or a scalar.
    pub async fn query(&self, promql: &str) -> Result<Vec<Sample>> {
        let data = self.get("query", &[("query", promql)]).await?;
        samples(&data).with_context(|| format!("{promql}: {data}"))
    }

    /// A scheduled time query about a Unix time.
    pub async fn query_at(&self, promql: &str, time: i64) -> Result<Vec<Sample>> {
        let data = self.get("query", &[("query", promql), ("time", &time.to_string())]).await?;
        samples(&data).with_context(|| format!("{promql}: {data}"))
    }

    /// A query about every `step` seconds between two Unix times.
    pub async fn query_range(&self, promql: &str, start: i64, end: i64, step: i64) -> Result<Vec<Series>> {
        let [from, to, width] = [start, end, step].map(|number| number.to_string());
        let parameters = [("query", promql), ("start", &from), ("end", &to), ("step", &width)];
        let data = self.get("query_range", &parameters).await?;
        matrix(&data).with_context(|| format!("{promql}: {data}"))
    }

    /// The alerts that are pending or firing, as `/api/v1/alerts` has them.
    pub async fn alerts(&self) -> Result<Vec<Value>> {
        let mut data = self.get("alerts", &[]).await?;
        serde_json::from_value(data["alerts"].take()).context("read the alerts")
    }

    /// What became of the last scrapes, as `/api/v1/targets` has it.
    pub async fn targets(&self) -> Result<Vec<Value>> {
        let mut data = self.get("targets", &[("state", "active")]).await?;
        serde_json::from_value(data["activeTargets"].take()).context("read the targets")
    }

    /// The `data` of a call of `/api/v1/`, for whatever has no method here.
    pub async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let mut url = reqwest::Url::parse(&format!("{}/api/v1/{path}", self.url))?;
        url.query_pairs_mut().extend_pairs(parameters);
        let answer = self.http.get(url).send().await.with_context(|| format!("ask Prometheus for {path}"))?;
        let text = answer.text().await.with_context(|| format!("ask Prometheus for {path}"))?;
        let mut answer: Value =
            serde_json::from_str(&text).with_context(|| format!("Prometheus gave {text}"))?;
        ensure!(answer["status"] == "success", "Prometheus says: {}", answer["error"]);
        Ok(answer["data"].take())
    }
}

/// Runs promtool, such as `check metrics` or `test rules FILE`, in a folder, with this as its input.
pub async fn promtool(dir: &Path, args: &[&str], input: &str) -> Result<Output> {
    let mut child = Command::new(find("promtool")?)
        .args(args)
        .env_clear()
        .envs(inherited())
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("start promtool")?;
    let mut stdin = child.stdin.take().context("promtool has no stdin")?;
    // It answers once it has read all.
    stdin.write_all(input.as_bytes()).await.context("write to promtool")?;
    drop(stdin);
    child.wait_with_output().await.context("wait for promtool")
}

fn find(name: &str) -> Result<PathBuf> {
    Environment::read()
        .find(name)
        .with_context(|| format!("there is no {name} in PATH (Debian: apt-get install prometheus)"))
}

/// Quoted as JSON, which is YAML too.
fn configuration(options: &PrometheusOptions) -> Result<String> {
    let targets: Vec<_> = options
        .targets
        .iter()
        .map(|target| target.trim_start_matches("http://").trim_end_matches('/'))
        .collect();
    let mut text = "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n".to_owned();
    writeln!(text, "rule_files: {}", serde_json::to_string(&options.rules)?)?;
    writeln!(text, "scrape_configs:\n- job_name: dlq-operator\n  static_configs:")?;
    writeln!(text, "  - targets: {}", serde_json::to_string(&targets)?)?;
    Ok(text)
}

/// Its URL, once it serves.
async fn ready(http: &reqwest::Client, log: &str) -> Result<String> {
    // A line that has no end yet is not read yet.
    let whole = log.rsplit_once('\n').map_or("", |(lines, _)| lines);
    let line = whole.lines().find(|line| line.contains(LISTENING)).context("it does not listen yet")?;
    let line: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
    let url = format!("http://{}", line["address"].as_str().context("its log names no address")?);
    let status = http.get(format!("{url}/-/ready")).send().await?.status();
    ensure!(status.is_success(), "/-/ready answers {status}");
    Ok(url)
}

/// Puts samples of the past into the database.
async fn remember(dir: &Path, past: &str) -> Result<()> {
    let file = dir.join("past.txt");
    std::fs::write(&file, past).context("write the samples of the past")?;
    let output =
        promtool(dir, &["tsdb", "create-blocks-from", "openmetrics", "past.txt", "data"], "").await?;
    ensure!(output.status.success(), "promtool says: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_file(&file).context("remove the samples of the past")
}

/// The value of a pair of time and value. Values come as texts, as JSON has neither NaN nor infinity.
fn value(pair: &Value) -> Result<f64> {
    Ok(pair[1].as_str().context("no value")?.parse()?)
}

fn matrix(data: &Value) -> Result<Vec<Series>> {
    ensure!(data["resultType"] == "matrix", "no matrix");
    let elements = data["result"].as_array().context("no elements")?.iter();
    let series = elements.map(|element| {
        let labels = serde_json::from_value(element["metric"].clone())?;
        let pairs = element["values"].as_array().context("no values")?.iter();
        let pairs = pairs.map(|pair| Ok((pair[0].as_f64().context("no time")?, value(pair)?)));
        Ok(Series { labels, values: pairs.collect::<Result<_>>()? })
    });
    series.collect()
}

fn samples(data: &Value) -> Result<Vec<Sample>> {
    match data["resultType"].as_str() {
        Some("scalar") => Ok(vec![Sample { labels: BTreeMap::default(), value: value(&data["result"])? }]),
        Some("vector") => data["result"]
            .as_array()
            .context("no elements")?
            .iter()
            .map(|element| {
                let labels = serde_json::from_value(element["metric"].clone())?;
                Ok(Sample { labels, value: value(&element["value"])? })
            })
            .collect(),
        other => bail!("neither a vector nor a scalar: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_admin_url_is_a_target() {
        let options = PrometheusOptions {
            targets: vec!["http://127.0.0.1:7/".to_owned(), "localhost:8".to_owned()],
            ..PrometheusOptions::default()
        };
        let text = configuration(&options).unwrap();
        assert!(text.contains(r#"- targets: ["127.0.0.1:7","localhost:8"]"#), "{text}");
    }

    #[test]
    fn an_answer_is_read_as_samples() {
        let vector = json!({ "resultType": "vector", "result": [
            { "metric": { "__name__": "up", "job": "a" }, "value": [1.5, "1"] },
            { "metric": {}, "value": [1.5, "+Inf"] },
        ] });
        let samples = samples(&vector).unwrap();
        assert_eq!(samples[0].labels["job"], "a");
        let values: Vec<_> = samples.iter().map(|sample| sample.value.to_string()).collect();
        assert_eq!(values, ["1", "inf"]);
        let scalar = super::samples(&json!({ "resultType": "scalar", "result": [1, "7"] })).unwrap();
        assert_eq!(scalar[0].value.to_string(), "7");
        assert!(super::samples(&json!({ "resultType": "matrix", "result": [] })).is_err());
    }

    #[test]
    fn an_answer_about_a_range_is_read_as_series() {
        let answer = json!({ "resultType": "matrix", "result": [
            { "metric": { "job": "a" }, "values": [[1.5, "1"], [2, "NaN"]] },
        ] });
        let series = matrix(&answer).unwrap();
        assert_eq!((series.len(), series[0].labels["job"].as_str()), (1, "a"));
        let values: Vec<_> = series[0].values.iter().map(|value| format!("{value:?}")).collect();
        assert_eq!(values, ["(1.5, 1.0)", "(2.0, NaN)"]);
        assert!(matrix(&json!({ "resultType": "vector", "result": [] })).is_err());
    }
}
