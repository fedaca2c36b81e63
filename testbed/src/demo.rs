//! The demo: every example, applied to a DLQ with thousands of entries.
#![expect(clippy::print_stdout, reason = "this is what the demo is for")]

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::json;
use testbed::{ControlPlane, Entry, Operator, OperatorOptions, Simulator, workspace_root};
use tokio::time::{Instant, sleep};

const NAMESPACE: &str = "payments";
/// Where the Secret of the cluster's connection is.
const PLATFORM: &str = "platform";
const DLQ: &str = "demo";
const TOKEN: &str = "demo-token";
const FIRST_RUNS: Duration = Duration::from_secs(120);
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

pub(crate) async fn run(once: bool) -> Result<()> {
    println!("Starting etcd and kube-apiserver ...");
    let control_plane = ControlPlane::start().await?;
    control_plane.install_crd(&workspace_root().join("crds")).await?;
    control_plane.kubectl_apply(&namespaces_and_secrets()).await?.ok()?;

    println!("Starting a simulated Upstash, and filling its dead letter queue ...");
    let simulator = Simulator::start().await?;
    simulator.allow(TOKEN, DLQ).await?;
    let entries = fill(&control_plane, &simulator).await?;

    println!("Starting the operator ...");
    let options = OperatorOptions {
        pod_namespace: "dlq-operator".to_owned(),
        namespaces: Vec::new(),
        ..OperatorOptions::new(&control_plane, &simulator, NAMESPACE)
    };
    let mut operator = Operator::start(options).await?;

    let examples = workspace_root().join("examples").display().to_string();
    println!(
        "\n$ kubectl apply -f examples/\n{}",
        kubectl(&control_plane, &["apply", "-f", &examples]).await?
    );
    run_scheduled_ones_now(&control_plane).await?;
    if !once {
        print_how_to_look_around(&control_plane, &simulator, &operator, entries);
    }

    let shown = show(&control_plane, once).await;
    let left = simulator.entries(DLQ).await.ok();
    if let Some(left) = left.as_ref().and_then(|left| left["entries"].as_array()) {
        println!("{} of {entries} entries are left in the dead letter queue.", left.len());
    }
    match shown {
        Ok(()) => operator.terminate().await.map(drop),
        Err(error) => {
            println!("{}", operator.process().log_tail());
            // It may have ended: what failed says more than that.
            let _ = operator.kill();
            Err(error)
        }
    }
}

async fn kubectl(control_plane: &ControlPlane, args: &[&str]) -> Result<String> {
    control_plane.kubectl(args).await?.ok()
}

/// What the examples expect to be there. JSON is YAML.
fn namespaces_and_secrets() -> String {
    let namespace = |name: &str, labels: serde_json::Value| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
    let secret = |namespace: &str| {
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "upstash", "namespace": namespace},
            "stringData": {"token": TOKEN},
        })
    };
    let objects = [
        // The label by which the cluster's connection selects it.
        namespace(NAMESPACE, json!({"upstash": "allowed"})),
        namespace(PLATFORM, json!({})),
        secret(NAMESPACE),
        secret(PLATFORM),
    ];
    objects.map(|object| object.to_string()).join("\n---\n")
}

/// Entries for every example, and some that none selects. Gives their number.
async fn fill(control_plane: &ControlPlane, simulator: &Simulator) -> Result<usize> {
    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let now = unix_milliseconds()?;
    let failed = |ago: i64, workflow: &str, state: &str| Entry {
        labels: vec![workflow.to_owned()],
        workflow_url: Some(format!("https://app.example.com/api/{workflow}")),
        failed_at: Some(now - ago),
        workflow_created_at: Some(now - ago - MINUTE),
        failure_function_state: Some(state.to_owned()),
        ..Entry::default()
    };
    let transfer = Entry {
        flow_control_key: Some("bank-api".to_owned()),
        ..failed(3 * HOUR, "transfer", "CALLBACK_FAIL")
    };
    let order = |ago: i64, attempts: u32| Entry {
        labels: vec!["order".to_owned(), format!("dlq-attempt-{attempts}")],
        ..failed(ago, "order", "CALLBACK_FAIL")
    };
    let shipment = |status: u16, body: &str| Entry {
        response_status: Some(status),
        response_body: Some(body.to_owned()),
        ..failed(2 * HOUR, "shipment", "CALLBACK_FAIL")
    };
    let batches = [
        (1200, failed(2 * DAY, "payment", "CALLBACK_FAIL")),
        (100, failed(9 * DAY, "payment", "CALLBACK_FAIL")),
        (400, failed(HOUR, "invoice", "CALLBACK_FAIL")),
        (300, failed(5 * HOUR, "receipt", "CALLBACK_SUCCESS")),
        (40, failed(0, "receipt", "CALLBACK_INPROGRESS")),
        (700, failed(20 * MINUTE, "notify", "CALLBACK_SUCCESS")),
        (500, failed(4 * DAY, "checkout", "CALLBACK_FAIL")),
        (350, failed(6 * HOUR, "refund", "CALLBACK_FAIL")),
        (600, failed(40 * DAY, "import", "CALLBACK_SUCCESS")),
        (150, failed(50 * DAY, "export", "CALLBACK_CANCELED")),
        (60, failed(40 * DAY, "import", "CALLBACK_FAIL")),
        (450, transfer),
        (200, failed(HOUR, "order", "CALLBACK_FAIL")),
        (80, order(HOUR, 2)),
        (60, order(HOUR, 3)),
        (40, order(3 * DAY, 4)),
        (250, shipment(503, "the carrier had a timeout")),
        (120, shipment(503, "closed for maintenance")),
        (90, shipment(422, "no such address")),
        (130, failed(2 * HOUR, "subscription-renewal", "CALLBACK_FAIL")),
        (170, failed(3 * HOUR, "payout", "CALLBACK_FAIL")),
    ];
    let mut count = 0;
    for (number, entry) in &batches {
        count += simulator.generate(DLQ, *number, entry).await?.len();
    }
    let named: Vec<Entry> = dlq_ids_of_the_examples(control_plane)
        .await?
        .into_iter()
        .map(|id| Entry { dlq_id: Some(id), ..failed(HOUR, "subscription", "CALLBACK_FAIL") })
        .collect();
    count += simulator.add(DLQ, &named).await?.len();
    Ok(count)
}

#[expect(
    clippy::disallowed_methods,
    reason = "entries are made relative to the real time, which the operator goes by"
)]
fn unix_milliseconds() -> Result<i64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    i64::try_from(now.as_millis()).context("the clock is beyond its range")
}

/// Asked of the API server, which reads the examples' YAML for us and stores nothing.
async fn dlq_ids_of_the_examples(control_plane: &ControlPlane) -> Result<Vec<String>> {
    let examples = workspace_root().join("examples").display().to_string();
    let list = kubectl(control_plane, &["apply", "--dry-run=server", "-o", "json", "-f", &examples]).await?;
    let mut list: serde_json::Value =
        serde_json::from_str(&list).context("read what kubectl makes of the examples")?;
    // Connections are examples too.
    if let Some(items) = list["items"].as_array_mut() {
        items.retain(|item| item["kind"] == "DlqPolicy");
    }
    let list: List = serde_json::from_value(list).context("read the policies of the examples")?;
    Ok(list.items.into_iter().flat_map(|policy| policy.spec.filters.dlq_ids).collect())
}

/// Nobody wants to wait for the middle of the night: asks for a run of every policy that has a schedule.
async fn run_scheduled_ones_now(control_plane: &ControlPlane) -> Result<()> {
    for policy in policies(control_plane).await?.iter().filter(|policy| policy.spec.schedule.is_some()) {
        let Metadata { namespace, name } = &policy.metadata;
        let requests = ["dlq-operator.dev/requestedAt=now", "dlq-operator.dev/requestedBy=demo"];
        let args = ["annotate", "dlqpolicy", name, "-n", namespace, requests[0], requests[1]];
        kubectl(control_plane, &args).await?;
        println!("$ kubectl annotate dlqpolicy {name} -n {namespace} {}", requests[0]);
    }
    Ok(())
}

fn print_how_to_look_around(
    control_plane: &ControlPlane,
    simulator: &Simulator,
    operator: &Operator,
    entries: usize,
) {
    println!(
        "\nLook around, in another terminal:\n\n  \
         export KUBECONFIG={kubeconfig}\n  \
         alias kubectl={kubectl}\n  \
         kubectl get dlqp -A -o wide\n  \
         kubectl describe dlqp careful -n {NAMESPACE}\n  \
         kubectl get events -n {NAMESPACE}\n  \
         curl {admin}/dlqs/{DLQ}/ledger       # what Upstash saw\n  \
         tail -f {log}\n\n\
         {entries} entries were in the dead letter queue. Ctrl-C ends the demo and removes everything.",
        kubeconfig = control_plane.kubeconfig().display(),
        kubectl = control_plane.kubectl_binary().display(),
        admin = simulator.admin_url(),
        log = operator.process().log_path().display(),
    );
}

/// Prints the policies whenever something happened to one. Ends only when asked to, once all have run.
async fn show(control_plane: &ControlPlane, once: bool) -> Result<()> {
    let start = Instant::now();
    let mut before = None;
    loop {
        let policies = policies(control_plane).await?;
        // Of the table itself the ages change all the time.
        let now: BTreeMap<_, _> =
            policies.iter().map(|policy| (policy.metadata.clone(), policy.status.clone())).collect();
        if before.as_ref() != Some(&now) {
            println!("\n{}", kubectl(control_plane, &["get", "dlqpolicies", "-A"]).await?.trim_end());
            before = Some(now);
        }
        if once {
            if let Some(failed) = policies.iter().find(|policy| policy.status.has_failed()) {
                bail!("the run of {failed} failed");
            }
            let waiting: Vec<String> = policies
                .iter()
                .filter(|policy| !policy.has_done_its_work())
                .map(ToString::to_string)
                .collect();
            if waiting.is_empty() {
                println!("\nEvery policy has run or looked, after {} s.", start.elapsed().as_secs());
                return Ok(());
            }
            if start.elapsed() > FIRST_RUNS {
                bail!("after {FIRST_RUNS:?} there was no run of {}", waiting.join("; "));
            }
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

async fn policies(control_plane: &ControlPlane) -> Result<Vec<Policy>> {
    let list = kubectl(control_plane, &["get", "dlqpolicies", "-A", "-o", "json"]).await?;
    let list: List = serde_json::from_str(&list).context("read the policies")?;
    Ok(list.items)
}

/// As much of the policies as the demo looks at.
#[derive(Deserialize)]
struct List {
    items: Vec<Policy>,
}

#[derive(Deserialize)]
struct Policy {
    metadata: Metadata,
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Metadata {
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    schedule: Option<String>,
    trigger: Option<String>,
    backlog: Option<serde_json::Value>,
    filters: Filters,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filters {
    #[serde(default)]
    dlq_ids: Vec<String>,
}

#[derive(Clone, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: Option<String>,
    message: Option<String>,
    processed: Option<u64>,
    last_run: Option<LastRun>,
    backlog: Option<serde_json::Value>,
}

impl Policy {
    /// Whether it has run. One that waits for a request has looked by then, if it is to.
    fn has_done_its_work(&self) -> bool {
        let waits = self.spec.trigger.as_deref() == Some("Manual") && self.status.phase.is_some();
        let has_looked = self.status.backlog.is_some() || self.spec.backlog.is_none();
        self.status.last_run.is_some() || (waits && has_looked)
    }
}

#[derive(Clone, Deserialize, PartialEq)]
struct LastRun {
    id: String,
    result: Option<String>,
}

impl Status {
    fn has_failed(&self) -> bool {
        let result = self.last_run.as_ref().and_then(|run| run.result.as_deref());
        matches!(result, Some("Failed" | "DeadlineExceeded" | "Cancelled"))
    }
}

impl std::fmt::Display for Policy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Status { phase, message, .. } = &self.status;
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "nothing said".to_owned());
        write!(formatter, "{} ({}: {})", self.metadata.name, text(phase), text(message))
    }
}
