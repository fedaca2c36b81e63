//! Two replicas of the operator over one scene.

use serde_json::Value;
use testbed::{Ledger, LedgerCall, Operator, OperatorOptions, Simulator, eventually};

use crate::cluster::control_plane;
use crate::scene::{DLQ, PATIENCE, Scene};

pub(crate) const FIRST: &str = "dlq-operator-0";
pub(crate) const SECOND: &str = "dlq-operator-1";

/// A scene whose operator has a second replica beside it. Each reaches Upstash by another name, so that the ledger tells
/// whose call it was.
pub(crate) struct Replicas {
    /// Before the scene, whose policies are gone after it.
    pub(crate) second: Operator,
    pub(crate) scene: Scene,
}

impl Replicas {
    /// The first leads.
    pub(crate) async fn start(name: &str, args: &[&str]) -> Self {
        Self::start_changed(name, args, |_| {}).await
    }

    /// With other options for the first.
    pub(crate) async fn start_changed(
        name: &str,
        args: &[&str],
        change: impl FnOnce(&mut OperatorOptions),
    ) -> Self {
        let args: Vec<_> = ["--leader-elect"].iter().chain(args).copied().collect();
        let simulator = Simulator::start().await.unwrap();
        let scene = Scene::start_on(control_plane().await, name, simulator, &args, change).await;
        let mut options = OperatorOptions::new(scene.control_plane, &scene.simulator, scene.namespace.name());
        SECOND.clone_into(&mut options.pod_name);
        options.upstash_url = options.upstash_url.replace("127.0.0.1", "localhost");
        options.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let replicas = Self { scene, second: Operator::start(options).await.unwrap() };
        replicas.led_by(FIRST).await;
        replicas
    }

    pub(crate) fn replica(&mut self, pod: &str) -> &mut Operator {
        if pod == FIRST { &mut self.scene.operator } else { &mut self.second }
    }

    /// Who holds the lease, as `POD/ID`; empty when nobody does.
    pub(crate) async fn leader(&self) -> String {
        let leases = self.scene.kubectl(&["get", "leases", "--output=json"]).await;
        let leases: Value = serde_json::from_str(&leases).unwrap();
        leases["items"][0]["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) async fn led_by(&self, pod: &str) {
        eventually(PATIENCE, &format!("{pod} holds the lease"), async || {
            let holder = self.leader().await;
            if holder.starts_with(&format!("{pod}/")) { Ok(()) } else { Err(holder) }
        })
        .await
        .unwrap();
    }

    pub(crate) async fn ledger(&self) -> Ledger {
        self.scene.simulator.ledger(DLQ).await.unwrap()
    }
}

/// The calls that a replica made.
pub(crate) fn calls_of<'a>(ledger: &'a Ledger, pod: &str) -> impl Iterator<Item = &'a LedgerCall> {
    let host = if pod == FIRST { "127.0.0.1" } else { "localhost" };
    ledger.calls.iter().filter(move |call| call.header("host").is_some_and(|name| name.starts_with(host)))
}

/// The acting calls whose outcome the operator cannot know: without a whole answer, or with one that leaves it open.
pub(crate) fn lost_calls(ledger: &Ledger) -> impl Iterator<Item = &LedgerCall> {
    let is_doubtful = |status: u16| matches!(status, 408 | 499 | 500 | 502 | 504..);
    let acting =
        ledger.calls.iter().filter(|call| ["resume", "restart", "delete"].contains(&call.operation.as_str()));
    acting.filter(move |call| !call.delivered || is_doubtful(call.status))
}

/// Those among them that were lost on the way back, and not as their caller had gone.
pub(crate) fn lost_to_faults(ledger: &Ledger) -> usize {
    let is_lost = |fault: Option<&str>| matches!(fault, Some("lostAnswer" | "drop" | "body"));
    lost_calls(ledger).filter(|call| is_lost(call.fault.as_deref())).count()
}
