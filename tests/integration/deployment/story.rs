//! The operator in a cluster without an account: `make kind`, and what comes after it.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use testbed::{ControlPlane, Helm, Node, Simulator, eventually, workspace_root};
use tokio::process::Command;

use crate::scene::PATIENCE;

const DLQ: &str = "payments";
const HOME: &str = "dlq-simulator";
const FAILED: usize = 200;
const SYSTEM: &str = "dlq-operator-system";
const NODE: &str = "testbed";

struct Story {
    node: Node,
    helm: Helm,
}

impl Story {
    fn control_plane(&self) -> &ControlPlane {
        self.node.control_plane()
    }

    async fn kubectl(&self, args: &[&str]) -> String {
        self.control_plane().kubectl(args).await.unwrap().ok().unwrap()
    }

    /// Runs the script of `make kind`, and gives what it said.
    async fn install(&self) -> String {
        let (loader, args) = self.node.image_loader().unwrap();
        let loader = [vec![loader.display().to_string()], args].concat().join(" ");
        let images = testbed::image_archives().await.unwrap();
        let beside = |binary: &Path| binary.parent().unwrap().display().to_string();
        let path = [beside(self.helm.binary()), beside(self.control_plane().kubectl_binary())].join(":");
        let output = Command::new("/bin/sh")
            .args(["-c", r#"PATH="$1:$PATH" exec "$0" "$2""#])
            .arg(workspace_root().join("hack/kind/run"))
            .arg(path)
            .arg(images)
            .env("KUBECONFIG", self.control_plane().kubeconfig())
            .env("LOAD_IMAGE", loader)
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let (said, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}{errors}");
        said.into_owned()
    }

    async fn status(&self) -> Value {
        let args = ["get", "dlqpolicy", "try-payments", "--namespace", HOME, "--output=json"];
        let mut policy: Value = serde_json::from_str(&self.kubectl(&args).await).unwrap();
        policy["status"].take()
    }

    /// Asks for a run, and gives the status once so many have ended.
    async fn run(&self, runs: i64) -> Value {
        self.request(runs).await;
        self.ran(runs).await
    }

    async fn request(&self, number: i64) {
        let request = format!("dlq-operator.dev/requestedAt={number}");
        self.kubectl(&[
            "annotate",
            "dlqpolicy",
            "try-payments",
            "--namespace",
            HOME,
            "--overwrite",
            &request,
        ])
        .await;
    }

    async fn ran(&self, runs: i64) -> Value {
        eventually(PATIENCE, &format!("{runs} runs have ended"), async || {
            let status = self.status().await;
            let has_ended = status["totals"]["runs"] == runs && status["currentRun"].is_null();
            if has_ended { Ok(status) } else { Err(format!("{status:#}")) }
        })
        .await
        .unwrap()
    }

    /// Waits until everything that was resumed has failed again.
    async fn failed_again(&self, simulator: &Simulator) {
        eventually(PATIENCE, "all have failed again", async || {
            simulator.entries(DLQ).await.unwrap()["entries"].as_array().unwrap().len() == FAILED
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_cluster_without_an_account_can_try_everything() {
    if !Node::is_possible().unwrap() {
        return;
    }
    let node = Node::start().await.unwrap();
    if !node.is_own() {
        return;
    }
    let helm = Helm::new(node.control_plane().kubeconfig()).await.unwrap();
    let story = Story { node, helm };
    story.install().await;
    // Again, as after a change.
    let said = story.install().await;
    assert!(said.contains("try-payments"), "{said}");
    let simulator = Simulator::in_cluster(story.control_plane(), HOME).await.unwrap();
    simulator.tokens().remember("local-token");
    let acted = story.ran(2).await;
    let runs = acted["history"].as_array().unwrap();
    let told: Vec<_> = runs.iter().map(|run| (&run["dryRun"], &run["processed"])).collect();
    let count = json!(FAILED);
    assert_eq!(told, [(&json!(false), &count), (&json!(true), &count)], "a dry run first");

    // The second wave, in the middle of which the node is drained.
    story.failed_again(&simulator).await;
    let slow = json!([{ "operation": "resume", "fault": { "latency": { "ms": 1000 } } }]);
    simulator.set_faults(&slow).await.unwrap();
    story.request(3).await;
    eventually(PATIENCE, "the run has begun", async || story.status().await["currentRun"].is_object())
        .await
        .unwrap();
    // As before a repair of the node: what is evicted waits until there is a node for it again.
    let selector = "--pod-selector=app.kubernetes.io/name=dlq-operator";
    story.kubectl(&["drain", NODE, selector, "--timeout=60s"]).await;
    let drained = story.status().await;
    assert!(drained["currentRun"].is_object(), "it ended before the node was drained: {drained:#}");
    story.kubectl(&["uncordon", NODE]).await;
    simulator.clear_faults().await.unwrap();
    let second = story.ran(3).await;
    assert_eq!(
        (&second["lastRun"]["processed"], &second["lastRun"]["result"]),
        (&json!(FAILED), &json!("Succeeded"))
    );

    // And the third time is refused.
    story.failed_again(&simulator).await;
    let third = story.run(4).await;
    let last = &third["lastRun"];
    assert_eq!((&last["processed"], &last["exhausted"]), (&json!(0), &json!(FAILED)), "{last:#}");
    let ledger = simulator.ledger(DLQ).await.unwrap();
    assert_eq!(
        ledger.entries.iter().map(|entry| entry.actions).sum::<u32>(),
        2 * u32::try_from(FAILED).unwrap()
    );

    story
        .helm
        .run(&["uninstall", "dlq-operator", "--namespace", SYSTEM, "--wait"])
        .await
        .unwrap()
        .ok()
        .unwrap();
    assert_eq!(story.status().await["totals"], third["totals"], "the policy and its status are kept");
}
