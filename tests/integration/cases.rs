//! Many policies at once in one scene, each with a DLQ of its own.

use std::fmt::Debug;

use futures::future::join_all;
use serde_json::{Value, json};
use testbed::{Entry, Ledger, eventually};

use crate::scene::{PATIENCE, Scene};

/// What is in a DLQ, and the policy that works on it: a spec without its connection.
pub(crate) struct Case {
    pub(crate) entries: Vec<Entry>,
    pub(crate) spec: Value,
}

/// What became of a case.
pub(crate) struct Outcome {
    pub(crate) status: Value,
    pub(crate) ledger: Ledger,
}

/// Cases whose policies are applied.
pub(crate) struct Cases<'a> {
    scene: &'a Scene,
    count: usize,
}

/// The name of a case's policy, DLQ and Secret.
pub(crate) fn name(index: usize) -> String {
    format!("case-{index:02}")
}

/// The token of a case's Secret.
pub(crate) fn token(index: usize) -> String {
    format!("token-of-{}", name(index))
}

impl<'a> Cases<'a> {
    /// Fills the DLQs, and then applies all the policies with one kubectl.
    pub(crate) async fn apply(scene: &'a Scene, cases: Vec<Case>) -> Self {
        let count = cases.len();
        let namespace = scene.namespace.name();
        let metadata = |index| json!({ "name": name(index), "namespace": namespace });
        join_all(cases.iter().enumerate().map(async |(index, case)| {
            scene.simulator.allow(&token(index), &name(index)).await.unwrap();
            scene.simulator.add(&name(index), &case.entries).await.unwrap();
        }))
        .await;
        let secrets = (0..count).map(|index| {
            json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": metadata(index),
                "stringData": { "token": token(index) },
            })
        });
        let policies = cases.into_iter().enumerate().map(|(index, Case { mut spec, .. })| {
            spec["connection"] = json!({ "tokenSecretRef": { "name": name(index), "key": "token" } });
            json!({
                "apiVersion": "dlq-operator.dev/v1alpha1",
                "kind": "DlqPolicy",
                "metadata": metadata(index),
                "spec": spec,
            })
        });
        let items: Vec<_> = secrets.chain(policies).collect();
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        scene.control_plane.kubectl_apply(&list.to_string()).await.unwrap().ok().unwrap();
        Self { scene, count }
    }

    /// Waits until every policy's status is as wished, and gives them in order.
    pub(crate) async fn statuses(&self, what: &str, wished: impl Fn(&Value) -> bool) -> Vec<Value> {
        eventually(PATIENCE, what, async || {
            let list: Value =
                serde_json::from_str(&self.scene.kubectl(&["get", "dlqp", "--output=json"]).await).unwrap();
            let status = |index| {
                let is_its = |policy: &&Value| policy["metadata"]["name"] == name(index);
                list["items"].as_array()?.iter().find(is_its).map(|policy| policy["status"].clone())
            };
            let statuses: Vec<_> = (0..self.count).map(|index| status(index).unwrap_or_default()).collect();
            match statuses.iter().position(|status| !wished(status)) {
                None => Ok(statuses),
                Some(index) => Err(format!("{}: {:#}", name(index), statuses[index])),
            }
        })
        .await
        .unwrap_or_else(|error| panic!("{error}\n--- the operator's log\n{}", self.scene.operator.log()))
    }

    /// Waits until every policy has run, and gives what became of them in order.
    pub(crate) async fn outcomes(&self) -> Vec<Outcome> {
        let has_run = |status: &Value| status["totals"]["runs"] == 1 && status["currentRun"].is_null();
        let statuses = self.statuses("every policy has run", has_run).await;
        join_all(statuses.into_iter().enumerate().map(async |(index, status)| {
            let ledger = self.scene.simulator.ledger(&name(index)).await.unwrap();
            Outcome { status, ledger }
        }))
        .await
    }
}

/// Collects what is wrong with the rows of a table, so that all of it is seen at once.
#[derive(Default)]
pub(crate) struct Differences(Vec<String>);

impl Differences {
    pub(crate) fn expect_eq<T: Debug + PartialEq>(&mut self, row: &str, what: &str, actual: T, expected: T) {
        if actual != expected {
            self.0.push(format!("{row}: {what}\n    is       {actual:?}\n    expected {expected:?}"));
        }
    }

    pub(crate) fn report(self) {
        assert!(self.0.is_empty(), "{} differences:\n\n{}\n", self.0.len(), self.0.join("\n"));
    }
}
